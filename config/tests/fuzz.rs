//! Random damage to whole configurations: no panic, no hang, no memory beyond the bounds, no password shown.
//!
//! `FUZZ_SECONDS` (5) says for how long, `FUZZ_SEED` (1) which damage; a failure names its seed, and the text is left in
//! the directory for temporary files, with `FUZZ_KEEP` the slowest one too.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::time::{Duration, Instant};

use keepone_config::{Environment, load_text, render_all, statements, to_json};

/// What this process may ever hold, in KiB; 4 million words take about half of it.
const MAX_KIB: u64 = 3 << 20;
/// Of this thread's time, for a text however small, and for each byte of what it stands for.
const MAX_START: Duration = Duration::from_secs(if cfg!(debug_assertions) { 60 } else { 6 });
const MAX_PER_BYTE: Duration = Duration::from_micros(if cfg!(debug_assertions) { 200 } else { 20 });
/// And for any text at all: the longest that is read stands for a bounded number of words, and takes 4 s. Wide, for slow
/// machines; a text that took minutes was within the bound by its length.
const MAX_EVER: Duration = Duration::from_secs(if cfg!(debug_assertions) { 300 } else { 30 });

/// A word that is in none of the files but as a password.
const SECRET: &str = "Zk9-pw";

/// What makes the reader do more than copy.
const PIECES: &[&str] = &[
    "{",
    "}",
    "\n",
    "\n",
    "\"",
    "'",
    "#",
    "!",
    "\\",
    "\\\n",
    "$",
    "${",
    "}",
    "$A",
    "${A}",
    "$A=",
    "\n$A= \\\n",
    "@",
    "@n1 ",
    "@^n1 ",
    "~SEQ(A,1,3) ",
    "~SEQ(B,1,100000) ",
    "~SEQx(A,0x10,-1,0) ",
    "~LST({A,B},{1,2},{3}) ",
    "~LST(",
    ")",
    ",",
    "include",
    "include *.conf\n",
    "includea ",
    "${_PWD}",
    "${_RANDOM 1 2}",
    "${_ENV HOME}",
    "${_HASH}",
    "\0",
    "\t",
    "\r\n",
    "\u{a0}",
    "\u{fc}",
    "\u{feff}",
    "vrrp_instance",
    "global_defs",
    "virtual_server",
    "auth_pass Zk9-pw\n",
    "\nauth_pass ${A}Zk9-pw\n",
    "\n$A=Zk9-pw\nauth_pass $A\n",
    "include_check +match\n",
    "random_seed 1\n",
    "-1",
    "99999999999",
];

struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = Vec::new();
    for directory in ["tests/golden", "tests/golden/conf.d", "tests/fixtures"] {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "conf" || extension == "toml") {
                corpus.push(std::fs::read(path).unwrap());
            }
        }
    }
    assert!(corpus.len() > 30);
    corpus.sort();
    corpus
}

/// One of the files, with a few pieces taken out, put in, repeated, or taken from another.
fn damaged(corpus: &[Vec<u8>], numbers: &mut Numbers) -> String {
    let mut text = corpus[numbers.below(corpus.len())].clone();
    for _ in 0..=numbers.below(12) {
        let at = numbers.below(text.len() + 1);
        let end = (at + numbers.below(40)).min(text.len());
        match numbers.below(8) {
            0 => drop(text.drain(at..end)),
            1..=3 => {
                let piece = PIECES[numbers.below(PIECES.len())];
                text.splice(at..at, piece.bytes());
            }
            4 => {
                let part: Vec<u8> = text[at..end].to_vec();
                let times = numbers.below(50);
                text.splice(at..at, part.repeat(times));
            }
            5 => {
                let other = &corpus[numbers.below(corpus.len())];
                let from = numbers.below(other.len() + 1);
                let part = other[from..(from + numbers.below(400)).min(other.len())].to_vec();
                text.splice(at..at, part);
            }
            6 if at < text.len() => text[at] ^= 1 << numbers.below(8),
            _ => text.truncate(at.max(text.len() / 2)),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

/// Of this thread, on a processor: what others do on the machine doesn't count.
fn spent() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

/// The most memory that this process ever held, in KiB.
fn peak_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn environment() -> Environment {
    Environment { variables: vec![(String::from("HOME"), String::from("/root"))], config_id: String::from("n1") }
}

fn survives(path: &Path, text: &str) {
    let began = spent();
    let stands_for = match statements(path, text, &environment()) {
        Ok(shown) => shown.len(),
        Err(errors) => {
            assert!(!errors.is_empty(), "refused without a word");
            0
        }
    };
    let (Ok((_, diagnostics)) | Err(diagnostics)) = load_text(path, text, &environment());
    let (rendered, json) = (render_all(&diagnostics, false), to_json(&diagnostics));
    let took = spent() - began;
    let size = u32::try_from(text.len() + stands_for).unwrap();
    let allowed = (MAX_START + MAX_PER_BYTE * size).min(MAX_EVER);
    assert!(took < allowed, "{took:?} for {} bytes that stand for {stands_for}", text.len());
    assert!(peak_kib() < MAX_KIB, "{} KiB", peak_kib());
    for diagnostic in &diagnostics {
        // Where the keyword itself was damaged nobody can tell.
        let shown = shown_lines(diagnostic);
        let leak = shown.lines().find(|line| line.contains("auth_pass") && line.contains(SECRET));
        assert_eq!(leak, None, "a password is shown");
    }
    assert!(json.starts_with('[') && (diagnostics.is_empty() || !rendered.is_empty()));
}

/// What a diagnostic quotes from the file; what it says of a word is its own.
fn shown_lines(diagnostic: &keepone_config::Diagnostic) -> String {
    let mut diagnostic = diagnostic.clone();
    diagnostic.message.clear();
    diagnostic.help = None;
    diagnostic.render(false)
}

#[test]
fn damaged_configurations_are_survived() {
    let number = |name: &str, default| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default);
    let (seconds, seed): (u64, u64) = (number("FUZZ_SECONDS", 5), number("FUZZ_SEED", 1));
    let corpus = corpus();
    let path = Path::new("tests/golden/fuzzed.conf");
    let began = Instant::now();
    let mut rounds = 0_u64;
    let mut slowest = Duration::ZERO;
    while began.elapsed() < Duration::from_secs(seconds) {
        let round = seed.wrapping_mul(1 << 32).wrapping_add(rounds);
        let text = damaged(&corpus, &mut Numbers(round));
        let start = spent();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| survives(path, &text))) {
            let left = std::env::temp_dir().join(format!("fuzzed-{round}.conf"));
            std::fs::write(&left, &text).unwrap();
            eprintln!("round {round}, the text is in {}", left.display());
            std::panic::resume_unwind(panic);
        }
        if spent() - start > slowest {
            slowest = spent() - start;
            if std::env::var_os("FUZZ_KEEP").is_some() {
                std::fs::write(std::env::temp_dir().join("fuzzed-slowest.conf"), &text).unwrap();
            }
        }
        rounds += 1;
    }
    println!("{rounds} texts in {seconds} s, the slowest {slowest:?}, at most {} KiB", peak_kib());
    // How many is the machine's affair; that there are some, and not one that takes all the time, is not.
    assert!(rounds >= 3, "only {rounds} texts in {seconds} s");
}
