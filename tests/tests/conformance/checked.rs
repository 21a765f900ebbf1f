//! What may be configured, and what holds where nothing is.

use std::path::Path;
use std::time::Duration;

use keepone_config::{Config, Diagnostic, Environment, Severity, load_text};
use keepone_proto::settings::VrrpVersion;

/// `lines` in an instance for one address.
fn read(lines: &str, address: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let text = format!("vrrp_instance VI_1 {{\ninterface lan0\n{lines}\nvirtual_ipaddress {{\n{address}\n}}\n}}\n");
    load_text(Path::new("keepalived.conf"), &text, &Environment::default())
}

const V4: &str = "192.0.2.100/24";
const ID: &str = "virtual_router_id 51\nversion 3";

/// Whether a keyword is accepted with each of these values, and refused with each of those.
fn takes(before: &str, keyword: &str, values: &[&str], others: &[&str]) {
    for value in values {
        let lines = format!("{before}\n{keyword} {value}");
        assert!(read(&lines, V4).is_ok(), "{keyword} {value}: {:?}", read(&lines, V4));
    }
    for value in others {
        let found = read(&format!("{before}\n{keyword} {value}"), V4);
        let said = found.err().unwrap_or_default();
        assert!(said.iter().any(|diagnostic| diagnostic.severity == Severity::Error), "{keyword} {value}: {said:?}");
    }
}

#[test]
fn rfc9568_5_2_3_a_vrid_is_configured_from_1_to_255_and_has_no_default() {
    takes("version 3", "virtual_router_id", &["1", "255"], &["0", "256"]);
    assert!(read("version 3", V4).is_err());
}

#[test]
fn rfc9568_5_2_4_priorities_are_1_to_254_for_backups_and_255_for_the_owner() {
    takes(ID, "priority", &["1", "254", "255"], &["0", "256"]);
}

#[test]
fn rfc9568_6_1_the_defaults_are_priority_100_an_interval_of_1_s_and_preemption() {
    for version in ["version 2", "version 3"] {
        let (config, _) = read(&format!("virtual_router_id 51\n{version}"), V4).unwrap();
        let instance = &config.instances[0];
        assert_eq!((instance.priority.0, instance.advert_int, instance.preempt), (100, Duration::from_secs(1), true));
    }
}

#[test]
fn rfc9568_5_2_7_an_interval_is_10_ms_to_40_95_s() {
    takes(ID, "advert_int", &["0.01", "40.95"], &["0", "40.96"]);
}

#[test]
fn rfc9568_5_2_9_without_a_link_local_address_an_ipv6_router_is_warned_of() {
    let (config, said) = read("virtual_router_id 51", "fd00::100/64").unwrap();
    assert_eq!(config.instances[0].version, VrrpVersion::V3);
    assert!(said.iter().any(|diagnostic| diagnostic.message.contains("no link-local address")), "{said:?}");
    let (_, said) = read("virtual_router_id 51", "fd00::100/64\nfe80::5e:1/64").unwrap();
    assert!(!said.iter().any(|diagnostic| diagnostic.message.contains("no link-local address")), "{said:?}");
}

#[test]
fn rfc9568_5_2_9_addresses_of_two_families_are_refused() {
    let said = read(ID, "192.0.2.100/24\nfd00::100/64").unwrap_err();
    assert!(said.iter().any(|diagnostic| diagnostic.message.contains("mixes families")), "{said:?}");
}

#[test]
fn rfc9568_9_authentication_beside_version_3_is_named_and_left_out() {
    let lines = format!("{ID}\nauthentication {{\nauth_type PASS\nauth_pass s3cret12\n}}");
    let (config, said) = read(&lines, V4).unwrap();
    assert!(config.instances[0].auth_pass.is_none());
    assert!(said.iter().any(|diagnostic| diagnostic.message.contains("which has no authentication")), "{said:?}");
}
