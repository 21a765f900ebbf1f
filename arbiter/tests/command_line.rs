//! `keepone-witness` as its operator meets it: messages and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use keepone_arbiter::quic::Identity;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A directory with a key and a good configuration, listening on loopback net `net`.
fn directory(net: u8) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    Identity::generate().unwrap().save(&dir.path().join("w.key")).unwrap();
    let member = Identity::generate().unwrap().public_key();
    let text = format!(
        "name = \"w\"\nid = 3\nkey_file = \"w.key\"\nlisten = \"127.9.{net}.3:7947\"\nstate_dir = \"state\"\n\
         [[cluster]]\nname = \"demo\"\n[[cluster.member]]\nname = \"n1\"\nid = 1\npublic_key = \"{member}\"\n"
    );
    fs::write(dir.path().join("w.toml"), text).unwrap();
    dir
}

fn witness(arguments: &[&str], config: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keepone-witness"));
    command.args(arguments).arg(config).env_remove("KEEPONE_LOG");
    command
}

/// Runs to the end: exit code and what it said.
fn outcome(arguments: &[&str], config: &Path) -> (Option<i32>, String) {
    let output = witness(arguments, config).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Runs until it says that it votes.
fn voting(config: &Path) -> Child {
    let mut child = witness(&["run", "-c"], config).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let ready = lines.by_ref().any(|line| line.unwrap().contains("votes on"));
    assert!(ready, "it ended before it voted");
    // Read on, or it would meet a closed pipe at its next line.
    std::thread::spawn(move || lines.for_each(drop));
    child
}

#[test]
fn sigterm_ends_it_with_code_0() {
    let dir = directory(1);
    let mut child = voting(&dir.path().join("w.toml"));
    kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_witness_on_the_same_state_exits_with_5_and_on_the_same_address_with_4() {
    let dir = directory(2);
    let config = dir.path().join("w.toml");
    let mut first = voting(&config);
    let (code, said) = outcome(&["run", "-c"], &config);
    assert!(code == Some(5) && said.contains("in use by another voter"), "{code:?}: {said}");
    let elsewhere = fs::read_to_string(&config).unwrap().replace("\"state\"", "\"state2\"");
    fs::write(&config, elsewhere).unwrap();
    let (code, said) = outcome(&["run", "-c"], &config);
    assert!(code == Some(4) && said.contains("127.9.2.3:7947 is in use"), "{code:?}: {said}");
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn a_wrong_configuration_exits_with_2_and_a_missing_key_with_3() {
    let dir = directory(3);
    let config = dir.path().join("w.toml");
    let (code, said) = outcome(&["check"], &config);
    assert!(code == Some(0) && said.contains("member n1 (id 1) may hold"), "{code:?}: {said}");
    fs::remove_file(dir.path().join("w.key")).unwrap();
    let (code, said) = outcome(&["run", "-c"], &config);
    assert!(code == Some(3) && said.contains("w.key"), "{code:?}: {said}");
    let misspelt = fs::read_to_string(&config).unwrap().replace("state_dir", "statedir");
    fs::write(&config, misspelt).unwrap();
    for arguments in [&["check"][..], &["run", "-c"]] {
        let (code, said) = outcome(arguments, &config);
        assert!(code == Some(2) && said.contains("w.toml:5:1: unknown field `statedir`"), "{code:?}: {said}");
    }
    let (code, said) = outcome(&["run", "-c"], &dir.path().join("none.toml"));
    assert!(code == Some(2) && said.contains("none.toml: can't read"), "{code:?}: {said}");
}
