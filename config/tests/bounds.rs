//! What is too much is refused with its remedy, before it costs time or memory; what is merely large is read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use keepone_config::{Diagnostic, Environment, Severity, load_text, load_with};

/// For the slowest of these, on a busy machine.
const SOON: Duration = Duration::from_secs(if cfg!(debug_assertions) { 90 } else { 10 });

/// The errors, which come soon.
#[track_caller]
fn errors(text: &str) -> Vec<Diagnostic> {
    let began = Instant::now();
    let mut errors = load_text(Path::new("k.conf"), text, &Environment::default()).unwrap_err();
    let took = began.elapsed();
    assert!(took < SOON, "{took:?}");
    errors.retain(|one| one.severity == Severity::Error);
    errors
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let errors = errors(text);
    let found = errors.iter().find(|one| one.message.contains(expected));
    let found = found.unwrap_or_else(|| panic!("no {expected:?} in {:?}", errors.first()));
    assert!(found.help.is_some(), "no remedy: {found}");
}

#[test]
fn a_billion_laughs_are_refused() {
    let mut text = format!("$L0={}\n", "ha".repeat(100));
    for n in 1..40 {
        text.push_str(&format!("$L{n}=${{L{0}}}${{L{0}}}\n", n - 1));
    }
    refused(&format!("{text}x ${{L39}}\n"), "this line has more than 64 KiB");
    let silent = text.replace("ha", "");
    refused(&format!("{silent}x ${{L39}}\n"), "more than 4096 values");
}

#[test]
fn lines_that_repeat_each_other_are_refused() {
    let mut text = String::from("$L0= \\\nx \\\ny\n");
    for n in 1..30 {
        text.push_str(&format!("$L{n}= \\\n$L{0} \\\n$L{0}\n", n - 1));
    }
    refused(&format!("{text}$L29\n"), "more than 4000000 words and repeated lines");
    refused("~SEQ(A, 4000000000) ~SEQ(B, 4000000000) $C=1\n", "more than 4000000 words and repeated lines");
    let deep = "~SEQ(A, 1) ".repeat(5_000);
    refused(&format!("{deep} x\n"), "within each other");
}

#[test]
fn a_long_value_that_is_used_often_is_refused() {
    let text = format!("$A={}\n{}", "x".repeat(60_000), "x ${A}\n".repeat(20_000));
    refused(&text, "more than 64 MiB");
}

#[test]
fn ten_million_words_are_refused() {
    refused(&"a b c d e f g h i j\n".repeat(1_000_000), "more than 4000000 words");
    refused(&"a ".repeat(10_000_000), "more than 4000000 words");
}

#[test]
fn a_file_of_100_mb_is_refused_before_it_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("k.conf");
    std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
    let errors = load_with(&path, &Environment::default()).unwrap_err();
    assert!(errors[0].message.contains("104857600 bytes, more than the 64 MiB"), "{}", errors[0]);

    // The bound is of all files together.
    let part = "# padding\n".repeat(4 << 20);
    std::fs::write(dir.path().join("part.conf"), part).unwrap();
    std::fs::write(&path, "include part.conf\ninclude ./part.conf\n").unwrap();
    let errors = load_with(&path, &Environment::default()).unwrap_err();
    assert!(errors.iter().any(|one| one.message.contains("the files have more than 64 MiB")), "{}", errors[0]);
}

#[test]
fn includes_without_end_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("x")).unwrap();
    let path = dir.path().join("k.conf");
    for line in
        ["include k.conf\n", "include x/../k.conf\n", "include *.conf\n", "include x/../*.conf\ninclude *.conf\n"]
    {
        std::fs::write(&path, line).unwrap();
        let errors = load_with(&path, &Environment::default()).unwrap_err();
        assert!(errors.iter().any(|one| one.message.contains("without end")), "{line}: {}", errors[0]);
    }
}

#[test]
fn an_include_that_is_repeated_without_measure_is_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("small.inc"), "# nothing\n").unwrap();
    let path = dir.path().join("k.conf");
    for pattern in ["*.inc", "nowhere/*.inc"] {
        std::fs::write(&path, format!("~SEQ(N, 1, 100000) include {pattern}\n")).unwrap();
        let errors = load_with(&path, &Environment::default()).unwrap_err();
        assert!(errors.iter().any(|one| one.message.contains("or 4096 includes")), "{pattern}: {}", errors[0]);
    }
}
