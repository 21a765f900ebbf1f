//! That the reading keeps up with the largest files; what the checks say is tested in `tests/checks`.

use std::path::Path;
use std::time::Duration;

use super::check;
use crate::cost::{assert_grows_with_the_size, spent};
use crate::diagnostic::Report;
use crate::keepalived::{Parsing, parse};
use crate::lower::lower;

/// About a kilobyte each, with four real servers.
fn director(services: usize) -> String {
    let mut text =
        String::from("vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 }\n}\n");
    for n in 0..services {
        let (b, c, d) = (n >> 16, n >> 8 & 255, n & 255);
        text.push_str(&format!(
            "virtual_server 10.{b}.{c}.{d} 443 {{\n    delay_loop 10\n    lvs_sched wrr\n    lvs_method DR\n"
        ));
        text.push_str("    persistence_timeout 300\n    protocol TCP\n    quorum 2\n    sorry_server 10.255.0.9 443\n");
        for real in 1..=4 {
            text.push_str(&format!(
                "    real_server 172.{real}.{c}.{d} 443 {{\n        weight {real}\n        inhibit_on_failure\n        \
                 TCP_CHECK {{\n            connect_port 443\n            connect_timeout 3\n            retry 2\n            \
                 delay_before_retry 1\n        }}\n    }}\n"
            ));
        }
        text.push_str("}\n");
    }
    text
}

/// The same as TOML.
fn native_director(services: usize) -> String {
    let mut text = String::new();
    for n in 0..services {
        let (b, c, d) = (n >> 16, n >> 8 & 255, n & 255);
        text.push_str(&format!("[[virtual_server]]\naddress = \"10.{b}.{c}.{d}\"\nport = 443\ndelay_loop = 10\n"));
        text.push_str("lvs_sched = \"wrr\"\nlvs_method = \"DR\"\nprotocol = \"TCP\"\nquorum = 2\n");
        for real in 1..=4 {
            text.push_str(&format!(
                "[[virtual_server.real_server]]\naddress = \"172.{real}.{c}.{d}\"\nport = 443\nweight = {real}\n\
                 tcp_check = {{ connect_timeout = 3, retry = 2 }}\n"
            ));
        }
    }
    text
}

/// Of lowering and checking.
fn cost(services: usize) -> Duration {
    let text = director(services);
    let mut report = Report::default();
    let file = report.sources.add(String::from("k.conf"), &text);
    let items = parse(&mut report, file, Path::new("k.conf"), &Parsing::default());
    let begun = spent();
    let (raw, inactive) = lower(&mut report, &items);
    let config = check(&mut report, &raw, inactive).unwrap();
    let took = spent() - begun;
    assert_eq!(config.virtual_servers.len(), services);
    assert!(report.diagnostics.len() < 10, "what is not yet active is named once");
    took
}

/// Of all of it.
fn native_cost(services: usize) -> Duration {
    let text = native_director(services);
    let mut report = Report::default();
    report.sources.add(String::from("k.toml"), &text);
    let begun = spent();
    let items = crate::native::parse(&mut report, &text, &[]).unwrap();
    let (raw, inactive) = lower(&mut report, &items);
    let config = check(&mut report, &raw, inactive).unwrap();
    assert_eq!(config.virtual_servers.len(), services);
    spent() - begun
}

/// Of a list whose lines are looked for among each other.
fn list_cost(lines: usize) -> Duration {
    let text = format!(
        "vrrp_instance A {{\n interface eth0\n virtual_router_id 1\n track_interface {{\n  ~SEQ(N, 1, {lines}) eth${{N}}\n }}\n}}\n\
         vrrp_sync_group G {{\n group {{\n  ~SEQ(N, 1, {lines}) V${{N}}\n }}\n}}\n"
    );
    let mut report = Report::default();
    let file = report.sources.add(String::from("k.conf"), &text);
    let items = parse(&mut report, file, Path::new("k.conf"), &Parsing::default());
    let begun = spent();
    let (raw, inactive) = lower(&mut report, &items);
    assert_eq!(check(&mut report, &raw, inactive), None, "the group's members are unknown");
    spent() - begun
}

#[test]
fn virtual_servers_are_lowered_and_checked_in_one_pass() {
    assert_grows_with_the_size(100, cost);
}

#[test]
fn virtual_servers_are_read_from_toml_in_one_pass() {
    assert_grows_with_the_size(50, native_cost);
}

#[test]
fn interfaces_and_members_are_checked_in_one_pass() {
    assert_grows_with_the_size(2_000, list_cost);
}
