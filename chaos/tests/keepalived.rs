//! The whole program against the installed keepalived, whose two holders are the proof that the
//! observers can see two. Needs root; without keepalived there is nothing to compare and the test says so.
#![allow(clippy::unwrap_used)]

use std::process::Command;

#[test]
fn keepalived_has_two_holders_when_vrrp_is_dropped_and_the_exit_code_says_so() {
    if keepone_chaos::netns::agent::keepalived().is_none() {
        eprintln!("no keepalived is installed: not compared");
        return;
    }
    let ran = Command::new(env!("CARGO_BIN_EXE_keepone-chaos"))
        .args(["run", "cut-vrrp-only", "--peer", "keepalived", "--json", "--seed", "7"])
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&ran.stdout);
    let last = text.lines().last().unwrap_or_default();
    let outcome: serde_json::Value = serde_json::from_str(last).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{text}");
    assert_eq!((&outcome["world"], &outcome["seed"]), (&"netns".into(), &7.into()));
    // The cut lasts 8 s; the backup waits for 3 advertisements and the skew, 3.6 s.
    let dual = outcome["dual_holder_ms"].as_f64().unwrap();
    assert!((3000.0..7000.0).contains(&dual), "{last}");
    assert!(!outcome["violations"].as_array().unwrap().is_empty());
}
