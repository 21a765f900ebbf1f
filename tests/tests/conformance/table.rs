//! `docs/conformance.md`: every test of it exists, and every test stands in it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// The names of this crate's tests for an RFC.
fn tests() -> BTreeSet<String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance");
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(directory).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for pair in lines.windows(2) {
            let name = pair[1].strip_prefix("fn rfc").and_then(|rest| rest.split('(').next());
            if let (true, Some(name)) = (pair[0] == "#[test]", name) {
                assert!(names.insert(format!("rfc{name}")), "rfc{name} is there twice");
            }
        }
    }
    names
}

#[test]
fn the_table_names_every_test_and_every_name_is_a_test() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let text = fs::read_to_string(page).unwrap();
    // Every test that a row names, and those that a row of their own section names.
    let (mut named, mut placed) = (BTreeSet::new(), BTreeSet::new());
    let mut document = "";
    for line in text.lines() {
        if let Some(title) = line.strip_prefix("## RFC ") {
            document = title.split(' ').next().unwrap_or("");
        }
        let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
        let is_row = line.starts_with('|') && !document.is_empty() && !line.starts_with("|---");
        if !is_row || cells[0] == "section" {
            continue;
        }
        let [section, level, requirement, followed, test] = cells[..] else { panic!("not five cells: {line}") };
        assert!(["MUST", "SHOULD", "MAY", "step"].contains(&level), "{line}");
        assert!(!requirement.is_empty() && (followed == "yes" || followed.len() > 10), "{line}");
        let tests: Vec<&str> = test.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty() || test == "–", "neither a test nor a dash: {line}");
        // What is followed by our own doing is tested.
        assert!(followed != "yes" || !tests.is_empty(), "followed, and no test: {line}");
        for test in tests {
            let number = section.replace('.', "_");
            if test.starts_with(&format!("rfc{document}_{number}_")) {
                placed.insert(test.to_owned());
            }
            named.insert(test.to_owned());
        }
    }
    let tests = tests();
    let missing: Vec<&String> = tests.difference(&placed).collect();
    let lost: Vec<&String> = named.difference(&tests).collect();
    assert!(missing.is_empty(), "not in docs/conformance.md under their sections: {missing:#?}");
    assert!(lost.is_empty(), "named in docs/conformance.md, and no tests: {lost:#?}");
    assert!(tests.len() > 80, "{} tests", tests.len());
}
