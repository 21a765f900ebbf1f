//! Whole files, each beside its printed model; `UPDATE=1 cargo test` rewrites the models.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::path::{Path, PathBuf};

use keepone_config::{Config, Diagnostic, Environment, Severity, explain_timing, load_with, render_all};

/// Of a kernel with CONFIG_HZ=250.
const TICK: std::time::Duration = std::time::Duration::from_millis(4);

fn fixture(name: &str) -> PathBuf {
    Path::new("tests/fixtures").join(name)
}

fn read(name: &str) -> (Config, Vec<Diagnostic>) {
    let loaded = load_with(&fixture(name), &Environment::default());
    loaded.unwrap_or_else(|errors| panic!("{name}:\n{}", render_all(&errors, false)))
}

fn snapshot(name: &str, found: &str) {
    let path = fixture(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == found, "{name} differs (UPDATE=1 rewrites it); found:\n{found}");
}

fn printed(name: &str) -> String {
    let (config, diagnostics) = read(name);
    let mut out = format!("{config:#?}\n\ndomains: {:#?}\n\n", config.domains());
    for diagnostic in diagnostics {
        out.push_str(&format!("{diagnostic}\n"));
    }
    out
}

#[test]
fn the_directors_file_is_read_and_all_of_it_is_active() {
    snapshot("director.conf.model", &printed("director.conf"));
    let (config, _) = read("director.conf");
    assert_eq!(config.inactive, []);
    assert_eq!(config.instances.len(), 2, "one of them included");
}

#[test]
fn active_active_is_read() {
    snapshot("active-active.conf.model", &printed("active-active.conf"));
}

#[test]
fn a_cluster_is_the_same_model_in_both_languages() {
    snapshot("cluster.model", &printed("cluster.toml"));
    let (keepalived, _) = read("cluster.conf");
    let (native, _) = read("cluster.toml");
    assert_eq!(keepalived, native);
    assert_eq!(format!("{keepalived:#?}"), format!("{native:#?}"));
}

/// All of load balancing and tracking; places differ, the meaning does not.
#[test]
fn a_director_is_the_same_model_in_both_languages() {
    snapshot("balanced.conf.model", &printed("balanced.conf"));
    let (mut keepalived, mut native) = (read("balanced.conf").0, read("balanced.toml").0);
    let named = |config: &Config| {
        let mut named: Vec<_> = config.inactive.iter().map(|i| (i.what.clone(), i.count)).collect();
        named.sort();
        named
    };
    assert_eq!(named(&keepalived), named(&native), "what is not yet active");
    (keepalived.inactive, native.inactive) = (Vec::new(), Vec::new());
    assert_eq!(format!("{keepalived:#?}"), format!("{native:#?}"));
    assert_eq!(keepalived, native);
}

#[test]
fn a_sound_cluster_has_no_warnings() {
    for name in ["cluster.toml", "cluster.conf", "active-active.conf"] {
        let (_, diagnostics) = read(name);
        let loud: Vec<_> = diagnostics.iter().filter(|d| d.severity != Severity::Note).collect();
        assert!(loud.is_empty(), "{name}: {loud:?}");
    }
}

#[test]
fn the_formulas_are_printed_with_their_numbers() {
    snapshot("cluster.timing", &explain_timing(&read("cluster.toml").0, TICK));
    let mut nft = read("cluster.toml").0;
    nft.gate = keepone_config::model::GateMeans::Nft;
    let text = explain_timing(&nft, TICK);
    assert!(text.contains("E_g = max(0.1 ms, 1/HZ = 4 ms) = 4 ms") && text.contains("- 20 ms - 4 ms"), "{text}");
    snapshot("active-active.timing", &explain_timing(&read("active-active.conf").0, TICK));
}

#[test]
fn a_model_never_prints_its_password() {
    let (config, _) = read("director.conf");
    assert!(config.instances.iter().any(|instance| instance.auth_pass.is_some()));
    assert!(!format!("{config:?}").contains("tr0ub4do"));
}
