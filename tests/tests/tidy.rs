//! The directions of the crates' dependencies, and rules of the house that no compiler holds.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn manifest(directory: &str) -> toml::Table {
    let path = root().join(directory).join("Cargo.toml");
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).parse().unwrap()
}

/// The workspace's crates, by their directories.
fn crates() -> Vec<String> {
    let members = manifest("")["workspace"]["members"].clone();
    members.as_array().unwrap().iter().map(|member| member.as_str().unwrap().to_owned()).collect()
}

/// What a crate is built from, its tests apart, for every target.
fn dependencies(directory: &str) -> BTreeSet<String> {
    let manifest = manifest(directory);
    let mut tables = vec![manifest.clone()];
    if let Some(targets) = manifest.get("target") {
        tables.extend(targets.as_table().unwrap().values().map(|target| target.as_table().unwrap().clone()));
    }
    let kinds = ["dependencies", "build-dependencies"];
    let of =
        |table: &toml::Table| kinds.iter().filter_map(|kind| table.get(*kind)?.as_table()).cloned().collect::<Vec<_>>();
    tables.iter().flat_map(of).flat_map(|table| table.into_iter().map(|(name, _)| name)).collect()
}

/// Every Rust file below a directory.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(&directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no Rust below {}", directory.display());
    found.sort();
    found
}

/// Whether a file is compiled for tests only.
fn is_test(path: &Path) -> bool {
    let below = path.strip_prefix(root()).unwrap();
    let name = |part: &std::ffi::OsStr| {
        let part = part.to_str().unwrap();
        part == "tests" || part == "tests.rs" || part.ends_with("_tests.rs") || part == "properties.rs"
    };
    below.iter().any(name)
}

/// A file's lines of code with their numbers: no comments, and nothing from the test module on, which
/// stands last.
fn code(path: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(path).unwrap();
    let before_tests = text.lines().zip(1..).scan(false, |seen, (line, number)| {
        let ends = *seen && line.starts_with("mod ") && line.ends_with('{');
        *seen = line.trim() == "#[cfg(test)]";
        (!ends).then(|| (number, line.split("//").next().unwrap_or("").to_owned()))
    });
    before_tests.collect()
}

/// The lines of a crate's own code with any of `words`.
fn with(directory: &str, words: &[&str]) -> Vec<String> {
    let files = sources(&root().join(directory).join("src"));
    let lines = files.iter().filter(|path| !is_test(path)).flat_map(|path| {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        code(path).into_iter().map(move |(number, line)| (format!("{shown}:{number}: {}", line.trim()), line))
    });
    let hits = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
    hits.map(|(shown, _)| shown).collect()
}

/// Of a crate, what it may never be built from.
const NEVER: [(&str, &[&str]); 9] = [
    ("proto", &["tokio", "nix", "libc", "socket2", "getrandom", "rand", "keepone-config", "keepone-arbiter"]),
    ("config", &["tokio", "nix", "libc", "socket2", "quinn", "keepone-arbiter", "keepone-agent", "keepone-chaos"]),
    ("arbiter", &["keepone-config", "keepone-agent", "keepone-chaos"]),
    ("agent", &["keepone-chaos"]),
    ("agent/bpf", &["keepone-proto", "keepone-config", "keepone-arbiter", "keepone-agent", "keepone-chaos"]),
    ("agent/ipvs-rs", &["keepone-proto", "keepone-config", "keepone-arbiter", "keepone-agent", "keepone-bpf", "libc"]),
    ("chaos", &["keepone-agent", "keepone-config"]),
    ("packaging", &["keepone-proto", "keepone-config", "keepone-arbiter", "keepone-agent", "keepone-chaos", "tokio"]),
    ("model", &["keepone-config", "keepone-arbiter", "keepone-agent", "keepone-chaos", "tokio"]),
];

#[test]
fn dependencies_go_in_one_direction() {
    for (directory, never) in NEVER {
        let found = dependencies(directory);
        let wrong: Vec<&&str> = never.iter().filter(|name| found.contains(**name)).collect();
        assert!(wrong.is_empty(), "{directory} must not depend on {wrong:?}: see ARCHITECTURE.md");
    }
}

#[test]
fn every_crate_has_its_row_and_the_tests_are_imported_by_none() {
    let known: BTreeSet<&str> = NEVER.iter().map(|(directory, _)| *directory).chain(["tests"]).collect();
    for directory in crates() {
        assert!(known.contains(directory.as_str()), "{directory}: say what it may never depend on");
        assert!(!dependencies(&directory).contains("keepone-tests"), "{directory} depends on the tests");
    }
}

#[test]
fn the_core_is_pure() {
    let allowed = BTreeSet::from(["thiserror", "serde", "hmac", "md-5", "sha2"].map(str::to_owned));
    let found = dependencies("proto");
    assert!(found.is_subset(&allowed), "proto is built from {found:?}, where it may be from {allowed:?}");
    for name in &allowed {
        let features = manifest("")["workspace"]["dependencies"][name.as_str()].clone();
        assert_eq!(features.get("default-features"), Some(&toml::Value::Boolean(false)), "{name} with std");
    }

    let lib = fs::read_to_string(root().join("proto/src/lib.rs")).unwrap();
    assert!(lib.lines().any(|line| line == "#![no_std]"), "proto/src/lib.rs lacks #![no_std]");
    let after = lib.split_once("extern crate std");
    assert!(after.is_none_or(|(before, _)| before.trim_end().ends_with("#[cfg(test)]")), "std outside of tests");
    let impure = with("proto", &["std::", "HashMap", "HashSet"]);
    assert!(impure.is_empty(), "not in the core: {impure:#?}");
}

#[test]
fn the_agent_reads_its_clock_in_one_place() {
    let clocks = ["Instant::now", "SystemTime::now", "clock_gettime", "elapsed()"];
    let mut found = with("agent", &clocks);
    found.retain(|line| !line.starts_with("agent/src/clock.rs"));
    assert!(found.is_empty(), "call crate::clock::now instead: {found:#?}");
}

/// T1: step it by a day, and nobody gets or loses an address by it. One file reads it, for keepalived's signatures. What measures from outside (chaos, tests) may stamp with it.
#[test]
fn the_wall_clock_decides_nothing() {
    for directory in ["proto", "config", "arbiter", "agent", "agent/bpf", "agent/ipvs-rs"] {
        let mut found = with(directory, &["SystemTime", "CLOCK_REALTIME", "UNIX_EPOCH", "CLOCK_TAI", "Utc::now"]);
        found.retain(|line| !line.starts_with("agent/src/wall_clock.rs"));
        assert!(found.is_empty(), "the wall clock may be stepped at any time: {found:#?}");
    }
}

#[test]
fn nothing_of_ours_goes_past_the_gate() {
    // R4: BPF can't stop a sender that asks for this, so we never do.
    for directory in ["agent", "arbiter", "proto", "config"] {
        let found = with(directory, &["QDISC_BYPASS", "AF_XDP", "SO_TXTIME"]);
        assert!(found.is_empty(), "goes past the gate: {found:#?}");
    }
}

#[test]
fn the_simulator_reads_no_wall_clock() {
    let found = with("chaos", &["Instant::now", "SystemTime::now", "clock_gettime"]);
    // A sweep says how long it took on this machine; no verdict depends on that.
    let simulator = found.iter().filter(|line| line.starts_with("chaos/src/sim/"));
    let found: Vec<&String> = simulator.filter(|line| !line.starts_with("chaos/src/sim/sweep.rs")).collect();
    assert!(found.is_empty(), "the simulated world has its own time: {found:#?}");
}

#[test]
fn every_crate_says_its_licence() {
    let workspace = manifest("")["workspace"]["package"].clone();
    assert_eq!(workspace["license"].as_str(), Some("MIT OR Apache-2.0"));
    for directory in crates() {
        let package = manifest(&directory)["package"].clone();
        let inherited = package.get("license").and_then(|license| license.get("workspace"));
        assert_eq!(inherited, Some(&toml::Value::Boolean(true)), "{directory}: license.workspace = true");
        assert!(package.get("description").is_some(), "{directory} has no description");
    }
    for file in ["LICENSE-MIT", "LICENSE-APACHE"] {
        assert!(root().join(file).is_file(), "no {file}");
    }
}

#[test]
fn the_map_names_every_crate() {
    let map = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for directory in crates() {
        assert!(map.contains(&format!("`{directory}")), "ARCHITECTURE.md does not name `{directory}`");
    }
}

#[test]
fn no_file_outgrows_a_reader() {
    let files = crates().into_iter().flat_map(|directory| sources(&root().join(directory).join("src")));
    let long: BTreeSet<(PathBuf, usize)> = files
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap().lines().count()))
        .filter(|(path, lines)| *lines > 600 && !is_test(path))
        .collect();
    assert!(long.is_empty(), "split these at their joints: {long:#?}");
}

/// What stands between backticks.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Of `docs/safety.md`, the rows of the table of rules: rule, where it is kept, what misses it.
fn rules() -> Vec<[String; 3]> {
    let text = fs::read_to_string(root().join("docs/safety.md")).unwrap();
    let (_, table) = text
        .split_once("| rule | kept in | missed by |\n")
        .unwrap_or_else(|| panic!("docs/safety.md has no table of rules"));
    let rows = table.lines().skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        <[&str; 3]>::try_from(cells).unwrap_or_else(|_| panic!("not three cells: {row}")).map(str::to_owned)
    })
    .collect()
}

/// Whether a line of `text` defines an item of that name.
fn defines(text: &str, name: &str) -> bool {
    text.match_indices(&format!("fn {name}")).any(|(at, found)| {
        let next = text.get(at + found.len()..).and_then(|rest| rest.chars().next());
        next.is_none_or(|next| !next.is_alphanumeric() && next != '_')
    })
}

#[test]
fn the_table_of_rules_names_every_rule() {
    let named: Vec<String> = rules().into_iter().map(|[rule, ..]| rule).collect();
    let numbered =
        |letter: char, numbers: std::ops::RangeInclusive<u8>| numbers.map(move |number| format!("{letter}{number}"));
    let all = numbered('V', 1..=11).chain(numbered('R', 1..=17)).chain(numbered('D', 0..=10));
    let all = all.chain(numbered('T', 1..=2)).chain(numbered('I', 1..=25));
    let all = all.chain(["gate: bpf", "gate: nft", "gate: lifetime"].map(str::to_owned));
    let missing: Vec<String> = all.filter(|rule| named.iter().filter(|name| *name == rule).count() != 1).collect();
    assert!(missing.is_empty(), "not once in the table of docs/safety.md: {missing:?}");
}

#[test]
fn what_the_table_of_rules_names_exists() {
    let files: Vec<(PathBuf, String)> = crates()
        .iter()
        .flat_map(|directory| ["src", "tests"].map(|below| root().join(directory).join(below)))
        .filter(|directory| directory.is_dir())
        .flat_map(|directory| sources(&directory))
        .map(|path| (path.clone(), fs::read_to_string(&path).unwrap()))
        .collect();
    let quotes = |file: &str, name: &str| {
        let within = |path: &Path| path.strip_prefix(root()).is_ok_and(|path| path.starts_with(file));
        files.iter().any(|(path, text)| within(path) && text.contains(&format!("\"{name}\"")))
    };
    let mut wrong = Vec::new();
    for [rule, kept, missed] in rules() {
        for place in kept.split(';') {
            let names = quoted(place);
            let Some((file, functions)) = names.split_first() else { continue };
            match fs::read_to_string(root().join(file)) {
                Err(error) => wrong.push(format!("{rule}: {file}: {error}")),
                Ok(text) => {
                    let lost = functions.iter().filter(|name| !defines(&text, name));
                    wrong.extend(lost.map(|name| format!("{rule}: {file} has no fn {name}")));
                }
            }
        }
        for part in missed.split(';').map(str::trim) {
            let (kind, names) = part.split_once(' ').unwrap_or((part, ""));
            let listed = quoted(names);
            let exists = |name: &str| match kind {
                // A test by both means of the gate is a function of its own that a macro calls.
                "test" => files.iter().any(|(path, text)| {
                    defines(text, name) && (is_test(path) || text.contains("#[test]") || text.contains("#[tokio::test"))
                }),
                "mutant" => quotes("chaos/src/sim/mutant.rs", name),
                "model" => quotes("model/src/guard.rs", name),
                "scenario" => quotes("chaos/src/scenario", name),
                _ => false,
            };
            match kind {
                "sim" => {
                    let lost = names.split(", ").filter(|invariant| !quotes("chaos/src/sim", invariant));
                    wrong.extend(lost.map(|invariant| format!("{rule}: the simulator does not check {invariant}")));
                }
                "none:" => {}
                _ if listed.is_empty() => wrong.push(format!("{rule}: {part:?} names nothing")),
                _ => {
                    let lost = listed.into_iter().filter(|name| !exists(name));
                    wrong.extend(lost.map(|name| format!("{rule}: no {kind} {name}")));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "docs/safety.md: {wrong:#?}");
}
