//! `keepone` as its operator meets it: files, messages and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const CONF: &str = "# one\nvrrp_instance A {\n    interface lo\n    virtual_router_id 1\n    virtual_ipaddress {\n        \
                    192.0.2.1/24  # vip\n    }\n}\n";

fn keepone(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_keepone"));
    command.args(arguments).current_dir(directory).env_remove("KEEPONE_LOG").output().unwrap()
}

/// Exit code, standard output, standard error.
fn outcome(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = keepone(directory, arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn room(files: &[(&str, &str)]) -> tempfile::TempDir {
    let room = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(room.path().join(name), text).unwrap();
    }
    room
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_converted_file_is_its_owners_and_replaces_nothing_unasked() {
    let room = room(&[("a.conf", CONF)]);
    let path = room.path();
    let convert =
        |more: &[&str]| outcome(path, &[&["convert", "a.conf", "--to", "toml", "-o", "a.toml"], more].concat());
    assert_eq!(convert(&[]), (0, String::new(), String::new()));
    assert_eq!(mode(path.join("a.toml")), 0o600);
    let first = fs::read_to_string(path.join("a.toml")).unwrap();
    assert!(first.contains("    \"192.0.2.1/24\",  # vip\n"), "{first}");
    let (code, _, said) = convert(&[]);
    assert_eq!((code, said.as_str()), (2, "keepone: a.toml is there already: name another file, or add --force\n"));
    fs::write(path.join("a.toml"), "old").unwrap();
    fs::set_permissions(path.join("a.toml"), fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(convert(&["--force"]).0, 0);
    assert_eq!(fs::read_to_string(path.join("a.toml")).unwrap(), first);
    assert_eq!(mode(path.join("a.toml")), 0o600);
    assert_eq!(fs::read_dir(path).unwrap().count(), 2, "nothing else is left");
    assert_eq!(outcome(path, &["check", "a.toml"]).0, 0);
}

#[test]
fn what_can_not_be_converted_is_said_and_nothing_is_written() {
    let room = room(&[("a.conf", "vrrp_instance A {\n")]);
    let (code, out, said) = outcome(room.path(), &["convert", "a.conf", "--to", "toml", "-o", "b.toml"]);
    assert_eq!((code, out.as_str()), (11, ""));
    assert!(said.contains("the block `vrrp_instance A` is never closed") && said.contains("(1 error above)"), "{said}");
    let (code, _, said) = outcome(room.path(), &["convert", "none.conf", "--to", "toml"]);
    assert_eq!(code, 10, "{said}");
    let (code, _, said) = outcome(room.path(), &["convert", "a.conf", "--to", "toml", "-o", "b.conf"]);
    assert_eq!(code, 11, "{said}");
    fs::write(room.path().join("a.conf"), CONF).unwrap();
    let (code, _, said) = outcome(room.path(), &["convert", "a.conf", "--to", "toml", "-o", "b.conf"]);
    assert_eq!(code, 2);
    assert!(said.contains("b.conf must end in .toml"), "{said}");
    assert_eq!(fs::read_dir(room.path()).unwrap().count(), 1);
}

#[test]
fn a_difference_has_an_exit_code_of_its_own() {
    let room = room(&[
        ("a.conf", CONF),
        ("b.conf", &CONF.replace("192.0.2.1", "192.0.2.2")),
        ("c.conf", "x"),
        ("d.conf", "y"),
    ]);
    let diff = |more: &[&str]| outcome(room.path(), &[&["check", "--diff"], more].concat());
    assert_eq!(diff(&["a.conf", "a.conf"]), (0, "changes nothing\n".to_owned(), String::new()));
    let (code, said, _) = diff(&["a.conf", "b.conf"]);
    assert_eq!(code, 20);
    assert!(said == "removes VIP 192.0.2.1/24 from A\nadds VIP 192.0.2.2/24 to A\nrestarts no instance\n", "{said}");
    let (code, said, _) = diff(&["a.conf", "b.conf", "--json"]);
    assert_eq!(code, 20);
    assert!(said.starts_with("{\"changes\":[{\"path\":\"instances[A].virtual_addresses[192.0.2.1]\""), "{said}");
    let (code, _, said) = diff(&["c.conf", "d.conf"]);
    assert_eq!(code, 11);
    assert!(said.contains("c.conf:1:1") && said.contains("d.conf:1:1"), "all at once: {said}");
    assert_eq!(diff(&["a.conf", "none.conf"]).0, 10);
    assert_eq!(diff(&["a.conf"]).0, 2);
}

#[test]
fn the_test_of_a_configuration_ends_with_keepaliveds_codes() {
    let room = room(&[("a.conf", CONF), ("b.conf", "vrrp_instance A {\n blub 1\n}\n")]);
    let test = |arguments: &[&str]| outcome(room.path(), arguments);
    assert_eq!(test(&["--config-test", "-f", "a.conf"]), (0, String::new(), String::new()));
    assert_eq!(test(&["-t", "-n", "-l", "-D", "-f", "a.conf"]).0, 0);
    let (code, _, said) = test(&["-t", "-f", "b.conf"]);
    assert_eq!(code, 4);
    assert!(said.contains("unknown keyword `blub`"), "{said}");
    assert_eq!(test(&["-t", "-f", "none.conf"]).0, 4);
    assert_eq!(test(&["-tlog", "-f", "b.conf"]), (4, String::new(), String::new()));
    assert!(fs::read_to_string(room.path().join("log")).unwrap().contains("unknown keyword `blub`"));
    assert_eq!(mode(room.path().join("log")), 0o640);
    std::os::unix::fs::symlink(room.path().join("victim"), room.path().join("link")).unwrap();
    assert_eq!(test(&["-tlink", "-f", "b.conf"]).0, 18, "a link is not followed");
}

#[test]
fn the_config_id_chooses_the_lines_of_this_node() {
    let text = CONF.replace("    interface", "    @n7 priority 7\n    interface");
    let room = room(&[("a.conf", &text)]);
    let dump = |id: &str| {
        let (_, _, said) = outcome(room.path(), &["-d", "-f", "a.conf", "-i", id, "-p", "/nowhere/x.pid"]);
        said.split_whitespace().collect::<String>()
    };
    assert!(dump("n7").contains("priority:Priority(7,)"));
    assert!(dump("n8").contains("priority:Priority(100,)"));
}

#[test]
fn a_wrong_flag_is_told_with_a_hint() {
    let room = room(&[]);
    let (code, out, said) = outcome(room.path(), &["--use-flie", "x", "-V"]);
    assert_eq!((code, out.as_str()), (2, ""));
    assert!(said.contains("did you mean `--use-file`?") && said.contains("\nkeepone: `-V` can't be had"), "{said}");
    assert_eq!(outcome(room.path(), &["--signum=JSON"]), (0, "36\n".to_owned(), String::new()));
    let (code, _, said) = outcome(room.path(), &["--signum=BLUB"]);
    assert_eq!(code, 1);
    assert!(said.contains("none of STOP, RELOAD"), "{said}");
    assert!(outcome(room.path(), &["-v"]).1.starts_with("keepone "));
}

#[test]
fn of_several_files_each_is_checked_and_the_highest_code_counts() {
    let wrong = CONF.replace("virtual_router_id 1", "virtual_router_id 999");
    let room = room(&[("a.conf", CONF), ("wrong.conf", &wrong)]);
    let (code, out, said) = outcome(room.path(), &["check", "wrong.conf", "a.conf"]);
    assert_eq!((code, out.as_str()), (11, "a.conf is good: 1 virtual router\n"));
    assert!(said.contains("wrong.conf:4:23"), "{said}");
    let (code, out, _) = outcome(room.path(), &["check", "--json", "wrong.conf", "a.conf", "nowhere.conf"]);
    let all: serde_json::Value = serde_json::from_str(&out).unwrap();
    let files: Vec<&str> = all.as_array().unwrap().iter().filter_map(|one| one["file"].as_str()).collect();
    assert!(code == 11 && files.contains(&"wrong.conf") && files.contains(&"nowhere.conf"), "{code} {out}");
}
