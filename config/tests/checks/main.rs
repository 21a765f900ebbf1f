//! One test a check: a sound file, one thing changed, and what is said about it, where, and with what help.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod announce;
mod balance;
mod cluster;
mod fencing;
mod mail;
mod options;
mod text;
mod track;
mod vrrp;
mod web;

use std::path::Path;

use keepone_config::{Config, Diagnostic, Environment, Severity, load_text};

const KEYS: [&str; 4] = [
    "bjEtcHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0=",
    "bjItcHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0=",
    "dy0tcHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0=",
    "eC0tcHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0=",
];

/// A sound cluster; the tests change one line of it.
fn sound() -> String {
    let [n1, n2, w, _] = KEYS;
    format!(
        "cluster demo {{
    node n1
    key_file n1.key
    member n1 {{
        id 1
        public_key {n1}
    }}
    member n2 {{
        id 2
        public_key {n2}
    }}
    member w {{
        id 3
        public_key {w}
        witness 10.9.0.3:7947
    }}
}}
heartbeat {{
    period 100ms
}}
heartbeat_link hb0 {{
    interface hb0
    address 10.1.0.1
    peer n2 10.1.0.2
}}
heartbeat_link hb1 {{
    interface hb1
    address 10.2.0.1
    peer n2 10.2.0.2
}}
arbiter {{
    type quorum
    voters n1 n2 w
    lease 500ms
}}
gate {{
    means auto
}}
reference_ip {{
    198.51.100.1
    need 1
}}
vrrp_instance A {{
    state BACKUP
    interface lan0
    virtual_router_id 51
    priority 100
    advert_int 1
    virtual_ipaddress {{
        192.0.2.100/24
    }}
}}
vrrp_instance B {{
    state BACKUP
    interface lan0
    virtual_router_id 52
    virtual_ipaddress {{
        192.0.2.101/24
    }}
}}
"
    )
}

fn load(text: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    load_text(Path::new("k.conf"), text, &Environment::default())
}

/// The sound file with the first `from` replaced.
fn changed(from: &str, to: &str) -> String {
    let text = sound();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

/// Loads a text that must be refused, and finds the complaint that begins so.
#[track_caller]
fn refused(text: &str, start: &str, help: &str) -> Diagnostic {
    let errors = load(text).expect_err("refused");
    found(&errors, Severity::Error, start, help)
}

#[track_caller]
fn warned(text: &str, start: &str, help: &str) -> Diagnostic {
    let (_, diagnostics) = load(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    found(&diagnostics, Severity::Warning, start, help)
}

#[track_caller]
fn noted(text: &str, start: &str, help: &str) -> Diagnostic {
    let (_, diagnostics) = load(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    found(&diagnostics, Severity::Note, start, help)
}

/// What is said beyond what is not yet active.
#[track_caller]
fn silent(text: &str) {
    let (_, diagnostics) = load(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    let said: Vec<String> = diagnostics.iter().map(ToString::to_string).collect();
    let said: Vec<&String> = said.iter().filter(|line| !line.contains("not yet active")).collect();
    assert!(said.is_empty(), "{said:#?}");
}

#[track_caller]
fn found(all: &[Diagnostic], severity: Severity, start: &str, help: &str) -> Diagnostic {
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    let found = all.iter().find(|d| d.severity == severity && d.to_string().starts_with(start));
    let found = found.unwrap_or_else(|| panic!("no `{start}` in {lines:#?}"));
    let said = found.help.clone().unwrap_or_default();
    assert!(said.contains(help), "help `{said}` has no `{help}`");
    found.clone()
}
