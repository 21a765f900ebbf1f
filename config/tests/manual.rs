//! The manual names every key that is honoured, and its examples are read and mean the same.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::path::Path;

use keepone_config::{Config, Environment, load_text, render_all};

fn manual() -> String {
    std::fs::read_to_string("../docs/configuration.md").unwrap()
}

/// The fenced examples, keys filled in.
fn examples() -> Vec<String> {
    let keys = ["bjEt", "bjIt", "dy0t"].map(|start| format!("{start}cHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0="));
    let fill = |text: &str| keys.iter().fold(text.to_owned(), |text, key| text.replacen('\u{2026}', key, 1));
    manual().split("```").skip(1).step_by(2).map(fill).collect()
}

fn load(path: &str, text: &str) -> Config {
    match load_text(Path::new(path), text, &Environment::default()) {
        Ok((config, diagnostics)) => {
            assert!(diagnostics.is_empty(), "{}", render_all(&diagnostics, false));
            config
        }
        Err(errors) => panic!("{}", render_all(&errors, false)),
    }
}

#[test]
fn the_examples_are_sound_and_mean_the_same() {
    let examples = examples();
    let native = load("k.toml", examples[0].strip_prefix("toml").unwrap());
    assert_eq!(native, load("k.conf", &examples[1]));
}

/// Sound, but for being named where it is not yet active.
#[test]
fn the_example_of_load_balancing_is_sound() {
    let examples = examples();
    let text = examples.iter().find(|text| text.contains("[[virtual_server]]")).unwrap().strip_prefix("toml").unwrap();
    let (config, diagnostics) = load_text(Path::new("k.toml"), text, &Environment::default()).unwrap();
    assert_eq!(config.virtual_servers.len(), 1);
    let named: Vec<&str> = diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert!(named.iter().all(|words| words.contains("not yet active")), "{named:?}");
}
