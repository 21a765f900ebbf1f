//! The rings outside the gate.

use std::path::PathBuf;
use std::time::Duration;

use keepone_config::model::{FenceCommand, Script, Watchdog};

use super::{changed, load, refused, sound, warned};

fn with(lines: &str) -> String {
    changed("gate {", &format!("fencing {{\n{lines}\n}}\ngate {{"))
}

#[test]
fn everything_is_read_with_its_defaults() {
    let (config, diagnostics) = load(&with("watchdog /dev/watchdog\ncommand \"/bin/off -x\" root")).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let half_a_minute = Duration::from_secs(30);
    let script =
        Script { command: vec!["/bin/off".to_owned(), "-x".to_owned()], user: Some("root".to_owned()), group: None };
    let command = FenceCommand { script, timeout: half_a_minute, retry: half_a_minute };
    assert_eq!(config.fencing.command, Some(command));
    let watchdog = Watchdog { device: PathBuf::from("/dev/watchdog"), timeout_s: 5 };
    assert_eq!(config.fencing.watchdog, Some(watchdog));
    assert_eq!(config.fencing.reboot_after, None);
    assert!(config.fencing.concerns("A") && config.fencing.concerns("B"));
    let (none, _) = load(&sound()).unwrap();
    assert_eq!((none.fencing.watchdog, none.fencing.command), (None, None));
}

#[test]
fn the_watchdogs_default_is_the_lease_in_whole_seconds() {
    let text = with("watchdog /dev/watchdog").replace("lease 500ms", "lease 7500ms");
    assert_eq!(load(&text).unwrap().0.fencing.watchdog.unwrap().timeout_s, 8);
}

#[test]
fn domains_limit_it_and_must_exist() {
    let (config, _) = load(&with("reboot_after 400ms\ndomains A")).unwrap();
    assert!(config.fencing.concerns("A") && !config.fencing.concerns("B"));
    refused(&with("reboot_after 400ms\ndomains C"), "k.conf:38:9: error: no vrrp_sync_group", "leave `domains` out");
    let grouped =
        with("reboot_after 400ms\ndomains A") + "vrrp_sync_group G {\n    group {\n        A\n        B\n    }\n}\n";
    refused(&grouped, "k.conf:38:9: error: `A` is in a sync group", "name the sync group");
}

#[test]
fn what_can_not_work_is_refused() {
    refused(&with("watchdog /dev/watchdog\nwatchdog_timeout 1500ms"), "k.conf:38:18: error:", "whole seconds");
    refused(&with("watchdog_timeout 5s"), "k.conf:37:18: error: `watchdog_timeout` without", "/dev/watchdog");
    refused(&with("timeout 5s"), "k.conf:37:9: error: a time for a fence command", "`command`");
    refused(&with("command /bin/off\nwhen sometimes"), "k.conf:38:6: error:", "before-takeover");
}

#[test]
fn what_is_unwise_is_warned_of() {
    warned(&with(""), "k.conf:36:1: warning: `fencing` that does nothing", "remove the block");
    warned(&with("reboot_after 2s"), "k.conf:37:14: warning: reboot_after 2000 ms is longer than the lease", "shorten");
    let alone = with("command /bin/off").replace("type quorum\n    voters n1 n2 w\n    lease 500ms", "type none");
    warned(&alone, "k.conf:35:1: warning: a fence command without an arbiter", "add an arbiter");
}
