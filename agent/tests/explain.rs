//! `keepone explain` and `keepone schema` as an operator sees them.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use std::process::{Command, Output};

fn keepone(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_keepone")).args(arguments).output().unwrap()
}

#[test]
fn a_keyword_is_explained_on_standard_output() {
    let output = keepone(&["explain", "advert_int"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(text.starts_with("advert_int: ") && text.contains("vrrp_instance"), "{text}");
}

#[test]
fn an_unknown_keyword_ends_with_2_and_a_suggestion() {
    let output = keepone(&["explain", "prioritty"]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty() && text.contains("did you mean priority?"), "{text}");
}

#[test]
fn the_schema_is_json() {
    let output = keepone(&["schema"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.starts_with('{') && text.ends_with("}\n"));
}
