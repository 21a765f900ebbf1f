//! Whole configurations in the shapes that real sites use, good and bad, each beside what is made of it:
//! `NAME.conf.out` holds the statements, the diagnostics and the model. `UPDATE=1 cargo test` rewrites them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::path::{Path, PathBuf};

use keepone_config::{Environment, Severity, load_with, render_all, statements};

const DIRECTORY: &str = "tests/golden";
/// The id of the node that the files are read on.
const NODES: [&str; 2] = ["n1", "left"];

fn names() -> Vec<String> {
    let entries = std::fs::read_dir(DIRECTORY).unwrap();
    let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".conf"));
    names.sort();
    names
}

/// What a site's own machine would be called is not in the outputs.
fn portable(text: &str) -> String {
    let here = std::env::current_dir().unwrap();
    text.replace(&format!("{}/", here.display()), "/etc/keepone/")
}

fn output(name: &str, node: &str) -> String {
    let path = Path::new(DIRECTORY).join(name);
    let environment = Environment { variables: Vec::new(), config_id: node.to_owned() };
    let text = std::fs::read_to_string(&path).unwrap();
    let mut out = format!("== statements on {node}\n{}", statements(&path, &text, &environment).unwrap());
    let (model, diagnostics) = match load_with(&path, &environment) {
        Ok((config, diagnostics)) => (format!("{config:#?}\n"), diagnostics),
        Err(diagnostics) => (String::from("refused\n"), diagnostics),
    };
    out.push_str(&format!("== diagnostics\n{}== model\n{model}", render_all(&diagnostics, false)));
    portable(&out)
}

#[test]
fn each_file_is_read_as_before() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut differ = Vec::new();
    for name in names() {
        let path = PathBuf::from(DIRECTORY).join(format!("{name}.out"));
        let found = output(&name, NODES[0]);
        if update {
            std::fs::write(&path, &found).unwrap();
        }
        let expected = std::fs::read_to_string(&path).unwrap_or_default();
        if let Some((line, found)) =
            found.lines().enumerate().find(|(at, line)| expected.lines().nth(*at) != Some(line))
        {
            differ.push(format!("{}:{}: {found}", path.display(), line + 1));
        } else if found.len() != expected.len() {
            differ.push(format!("{}: ends elsewhere", path.display()));
        }
    }
    assert!(differ.is_empty(), "UPDATE=1 rewrites these; review the difference:\n{}", differ.join("\n"));
}

#[test]
fn the_bad_ones_are_refused_and_the_others_are_not_the_languages_fault() {
    let names = names();
    assert!(names.len() >= 30, "{}", names.len());
    assert!(names.iter().filter(|name| name.starts_with("bad-")).count() >= 6);
    for name in names {
        let path = Path::new(DIRECTORY).join(&name);
        let environment = Environment { variables: Vec::new(), config_id: NODES[0].to_owned() };
        let refused = match load_with(&path, &environment) {
            Ok(_) => false,
            Err(errors) => errors.iter().any(|one| one.severity == Severity::Error),
        };
        assert_eq!(refused, name.starts_with("bad-") || REFUSED.contains(&&*name), "{name}");
    }
}

/// Files that keepalived reads and that are refused here for now or for good; their `.out` says why.
const REFUSED: [&str; 0] = [];

#[test]
fn one_file_serves_nodes_that_differ() {
    let [one, other] = NODES.map(|node| output("active-active.conf", node));
    assert!(one.contains("priority 100  #") && !one.contains("priority 150  #"), "{one}");
    assert!(other.contains("router_id LEFT  #") && other.contains("priority 150  #"), "{other}");
}

#[test]
fn no_password_is_in_any_output() {
    for name in names() {
        let out = output(&name, NODES[0]);
        let out = out.split_once("== model").unwrap().0;
        for secret in ["hunter22", "correct-horse", "s3cret-word", "unclosed secret", "and-more"] {
            let line = out.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{name}");
        }
    }
}
