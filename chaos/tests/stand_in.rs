//! How the program treats the agents that it starts, shown with a stand-in that ends at once. Needs root.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const STAND_IN: &str = r#"#!/bin/sh
case $1 in
keys) # --cluster NAME --out DIR NAMES
    id=0; directory=$5; shift 5
    for name; do
        id=$((id + 1))
        printf '[[member]]\nname = "%s"\nid = %s\npublic_key = "k%s"\n' "$name" $id $id
    done > "$directory/members.toml" ;;
run)
    grep SigBlk /proc/self/status
    exit 3 ;;
esac
"#;

#[test]
fn an_agent_that_ends_is_reported_with_its_log_and_had_no_signal_blocked() {
    let directory = std::env::temp_dir().join(format!("keepone-chaos-stand-in-{}", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    for name in ["keepone", "keepone-witness"] {
        let path = directory.join(name);
        fs::write(&path, STAND_IN).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let ran = Command::new(env!("CARGO_BIN_EXE_keepone-chaos"))
        .args(["run", "graceful-stop", "--json", "--bin-dir"])
        .arg(&directory)
        .output()
        .unwrap();
    fs::remove_dir_all(&directory).unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(70), "{said}");
    assert!(said.contains(": its program ended: exit code 3"), "{said}");
    let mask = said.split("SigBlk:").nth(1).unwrap().split_whitespace().next().unwrap().trim_end_matches(';');
    assert_eq!(mask, "0000000000000000", "{said}");
}
