//! What keepalived accepts we accept, and what it rejects we reject, but for the differences that
//! docs/keepalived-differences.md lists with their reasons. Needs root (network namespaces) and keepalived.
//!
//! The corpus is config's golden files and seeded mutations of them; `ORACLE_MUTATIONS` and `ORACLE_SEED` change how
//! many and which.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "keepalived_oracle/classes.rs"]
mod classes;
#[path = "keepalived_oracle/mutate.rs"]
mod mutate;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use classes::{CLASSES, Class, Side};
use keepone_config::{Environment, Severity, load_with};

/// The id that both read the files with.
const NODE: &str = "n1";
/// Namespaces that work at a time.
const WORKERS: usize = 2;

/// In a network namespace of its own: the interfaces that the files name, then each file in turn. `setsid`, since
/// keepalived may signal its process group.
const SCRIPT: &str = r#"
ip link set lo up
for name in eth0 eth1 ens5 ens18 bond0 eth0.10 eth0.20 eth0.30 eth0.40 eth0.77 bond0.100; do
    ip link add "$name" type veth peer name "p-$name" || exit 1
    ip link set "$name" up; ip link set "p-$name" up
done
for file in "$@"; do
    timeout 10 setsid -w keepalived -t -i n1 -f "$file" >"$file.said" 2>&1
    echo $? >"$file.code"
done
"#;

/// What a reader said of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Verdict {
    /// With its warnings.
    Accepts(Vec<String>),
    /// With its complaints.
    Rejects(Vec<String>),
    /// It ended by a signal and said nothing.
    None,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/tests/golden")
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The golden files and their mutations, written out; includes beside them.
fn corpus(directory: &Path) -> Vec<PathBuf> {
    fs::create_dir(directory.join("conf.d")).unwrap();
    for entry in fs::read_dir(golden().join("conf.d")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, directory.join("conf.d").join(path.file_name().unwrap())).unwrap();
    }
    let mut names: Vec<String> =
        fs::read_dir(golden()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".conf"));
    names.sort();
    let texts: Vec<String> = names.iter().map(|name| fs::read_to_string(golden().join(name)).unwrap()).collect();
    let write = |name: String, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let mut files: Vec<PathBuf> = names.iter().zip(&texts).map(|(name, text)| write(name.clone(), text)).collect();
    let seed = number("ORACLE_SEED", 1);
    for round in 0..number("ORACLE_MUTATIONS", 1_000) {
        let at = round as usize % names.len();
        let mutated = mutate::mutate(&texts[at], seed.wrapping_mul(1_000_003).wrapping_add(round));
        files.push(write(format!("{}-{round}.conf", names[at].trim_end_matches(".conf")), &mutated));
    }
    files
}

/// Lets keepalived read the files, in batches side by side.
fn ask_keepalived(files: &[PathBuf]) {
    let workers: Vec<_> = files
        .chunks(files.len().div_ceil(WORKERS))
        .map(|batch| {
            let mut command = Command::new("unshare");
            command.args(["--net", "--mount", "sh", "-c", SCRIPT, "sh"]).args(batch);
            command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("unshare: needs root")
        })
        .collect();
    for mut worker in workers {
        assert!(worker.wait().unwrap().success(), "no network namespace with its interfaces: needs root");
    }
}

fn beside(file: &Path, suffix: &str) -> String {
    let path = PathBuf::from(format!("{}.{suffix}", file.display()));
    String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
}

fn keepalived(file: &Path) -> Verdict {
    let banner =
        ["Keepalived v", "Copyright(C)", "Built with", "Running on", "Command line:", "Configuration file ", "NOTICE"];
    let said = beside(file, "said");
    let said: Vec<String> = said
        .lines()
        .map(str::trim)
        // The first is the shell's; the second says that scripts run without enable_script_security.
        .filter(|line| *line != "Terminated" && !line.starts_with("SECURITY VIOLATION"))
        .filter(|line| !line.is_empty() && !banner.iter().any(|start| line.starts_with(start)))
        .map(str::to_owned)
        .collect();
    match beside(file, "code").trim().parse::<i32>().unwrap() {
        0 => Verdict::Accepts(said),
        // Scripts without enable_script_security: it runs them all the same.
        6 if said.is_empty() => Verdict::Accepts(said),
        124 => Verdict::Rejects(vec![String::from("(hangs)")]),
        code if code > 128 && said.is_empty() => Verdict::None,
        code if said.is_empty() => Verdict::Rejects(vec![format!("(code {code} without a word)")]),
        _ => Verdict::Rejects(said),
    }
}

fn ours(file: &Path) -> Verdict {
    let environment = Environment { variables: Vec::new(), config_id: NODE.to_owned() };
    match load_with(file, &environment) {
        Ok((_, warnings)) => Verdict::Accepts(warnings.iter().map(|one| one.message.clone()).collect()),
        Err(all) => {
            let errors = all.iter().filter(|one| one.severity == Severity::Error);
            Verdict::Rejects(errors.map(|one| one.message.clone()).collect())
        }
    }
}

#[test]
fn we_accept_what_keepalived_accepts_but_for_the_differences_that_are_listed() {
    let directory = tempfile::tempdir().unwrap();
    let files = corpus(directory.path());
    ask_keepalived(&files);

    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    let mut unlisted: BTreeMap<String, (usize, String)> = BTreeMap::new();
    let (mut agree, mut rejected, mut none) = (0, 0, 0);
    for file in &files {
        let name = file.file_name().unwrap().to_str().unwrap().to_owned();
        let (side, said, warned) = match (keepalived(file), ours(file)) {
            (Verdict::None, _) | (_, Verdict::None) => {
                none += 1;
                continue;
            }
            (Verdict::Accepts(_), Verdict::Accepts(_)) => {
                agree += 1;
                continue;
            }
            (Verdict::Rejects(_), Verdict::Rejects(_)) => {
                agree += 1;
                rejected += 1;
                continue;
            }
            (Verdict::Rejects(said), Verdict::Accepts(warned)) => (Side::Keepalived, said, warned),
            (Verdict::Accepts(_), Verdict::Rejects(said)) => (Side::Ours, said, Vec::new()),
        };
        // Each complaint of the stricter one must be listed: the others would hide behind the first.
        for line in &said {
            let fits = |class: &&Class| {
                let was = |words: &[&str], line: &String| words.iter().any(|word| line.contains(word));
                let warned = class.warned.is_empty() || warned.iter().any(|line| was(class.warned, line));
                class.side == side && was(class.says, line) && warned
            };
            match CLASSES.iter().find(fits) {
                Some(class) => *seen.entry(class.name).or_default() += 1,
                None => {
                    let key = format!("{side:?}: {}", line.split_once(") ").map_or(line.as_str(), |(_, rest)| rest));
                    let entry = unlisted.entry(key).or_insert((0, name.clone()));
                    entry.0 += 1;
                }
            }
        }
    }
    println!("{} files: {agree} agree ({rejected} rejected by both), {none} without a verdict", files.len());
    println!("complaints by listed difference: {seen:#?}");
    if let Ok(keep) = std::env::var("ORACLE_KEEP") {
        Command::new("cp").args(["-r", directory.path().to_str().unwrap(), &keep]).status().unwrap();
    }
    assert!(unlisted.is_empty(), "differences that docs/keepalived-differences.md does not list: {unlisted:#?}");
    assert!(rejected > files.len() / 5, "{rejected} of {} are bad enough to be rejected", files.len());
    assert!(none < files.len() / 10, "{none} files without a verdict");
}

/// The table of the page and the classes of the test are the same.
#[test]
fn the_page_lists_each_class_once() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/keepalived-differences.md")).unwrap();
    let rows: Vec<&str> = page
        .split("\n## ")
        .next()
        .unwrap()
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(n, _)| n)
        .collect();
    let listed: BTreeSet<&str> = rows.iter().copied().collect();
    assert_eq!(listed.len(), rows.len(), "a row is there twice");
    let classes: BTreeSet<&str> = CLASSES.iter().map(|class| class.name).collect();
    assert_eq!(classes.len(), CLASSES.len(), "a class is there twice");
    assert_eq!(listed, classes);
}
