//! `keepone-witness` as its operator meets it: messages and exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

/// One that votes and can be asked: the socket comes a moment after the vote.
fn voting(config: &Path) -> Child {
    let child = voting_as(witness(&["run", "-c"], config));
    let socket = config.with_file_name("state").join("control");
    // Wide: the machine may be busy.
    let found = (0..1000).any(|_| {
        let is_there = socket.exists();
        std::thread::sleep(Duration::from_millis(if is_there { 0 } else { 10 }));
        is_there
    });
    assert!(found, "no {}", socket.display());
    child
}

/// Runs until it says that it votes.
fn voting_as(mut command: Command) -> Child {
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
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

fn tell(child: &Child, what: Signal) {
    kill(Pid::from_raw(child.id().try_into().unwrap()), what).unwrap();
}

#[test]
fn the_commands_ask_the_running_witness_and_say_what_to_do_where_none_runs() {
    let dir = directory(4);
    let config = dir.path().join("w.toml");
    let (code, said) = outcome(&["status", "-c"], &config);
    assert!(code == Some(1) && said.contains("is the witness running with this configuration"), "{code:?}: {said}");

    let mut child = voting(&config);
    let (code, said) = outcome(&["status", "-c"], &config);
    assert!(code == Some(0) && said.contains("cluster demo: generation 1, 0 of 1 members connected"), "{said}");
    let (code, said) = outcome(&["status", "--json", "-c"], &config);
    let status: serde_json::Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &status["name"], &status["clusters"][0]["name"]),
        (Some(0), &"w".into(), &"demo".into()),
        "{said}"
    );
    let (code, said) = outcome(&["leases", "-c"], &config);
    assert!(code == Some(0) && said.starts_with("  cluster  domain") && said.lines().count() == 1, "{said}");
    for (command, words) in [("revoke", "no domain \"web\" is known here"), ("forget", "neither a domain nor a node")] {
        let (code, said) = outcome(&[command, "web", "-c"], &config);
        assert!(code == Some(1) && said.contains(words), "{command}: {code:?}: {said}");
    }
    let (code, said) = outcome(&["revoke", "web", "--seconds", "0", "-c"], &config);
    assert!(code == Some(1) && said.contains("from 1 to 86400"), "{code:?}: {said}");

    let file = dir.path().join("backup");
    let backup = file.to_str().unwrap();
    let (code, said) = outcome(&["backup", backup, "-c"], &config);
    assert!(code == Some(0) && said.contains("1 clusters are in"), "{code:?}: {said}");
    let (code, said) = outcome(&["backup", backup, "-c"], &config);
    assert!(code == Some(1) && said.contains("not overwritten"), "{code:?}: {said}");
    let (code, said) = outcome(&["restore", backup, "-c"], &config);
    assert!(code == Some(1) && said.contains("stop it first"), "{code:?}: {said}");
    tell(&child, Signal::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert!(!dir.path().join("state/control").exists(), "its socket goes with it");
    let (code, said) = outcome(&["restore", backup, "-c"], &config);
    assert!(code == Some(0) && said.contains("cluster demo: 0 domains"), "{code:?}: {said}");
}

#[test]
fn only_root_and_its_own_user_may_ask() {
    let dir = directory(5);
    let config = dir.path().join("w.toml");
    let mut child = voting(&config);
    // The directories let everybody pass, so that the socket itself is what refuses.
    let open = |path: &Path, mode| {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    };
    open(dir.path(), 0o755);
    open(&dir.path().join("state"), 0o755);
    open(&dir.path().join("state/control"), 0o666);
    let asked = |user: u32| {
        use std::os::unix::process::CommandExt as _;
        let mut command = witness(&["status", "-c"], &config);
        if user != 0 {
            command.uid(user).gid(user);
        }
        let output = command.output();
        output.map(|output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
    };
    assert!(asked(0).unwrap().contains("cluster demo"));
    // The program itself may lie where another user can't start it.
    if let Ok(said) = asked(65_534) {
        assert!(said.contains("not permitted"), "{said}");
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn the_service_manager_hears_each_step_and_a_wrong_file_changes_nothing() {
    let dir = directory(6);
    let config = dir.path().join("w.toml");
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let heard = || {
        let mut bytes = [0; 512];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    // What comes but the word that it lives.
    let next = || std::iter::repeat_with(heard).find(|said| said != "WATCHDOG=1\n").unwrap();
    let mut command = witness(&["run", "-c"], &config);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "200000");
    let mut child = voting_as(command);
    assert_eq!(heard(), "READY=1\nSTATUS=votes on 127.9.6.3:7947 in 1 clusters\n");
    for _ in 0..3 {
        assert_eq!(heard(), "WATCHDOG=1\n");
    }

    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, good.replace("id = 1", "id = 0")).unwrap();
    tell(&child, Signal::SIGHUP);
    assert!(next().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(next(), "READY=1\nSTATUS=votes on 127.9.6.3:7947 in 1 clusters\n");
    // With a file that is right again, for the command.
    fs::write(&config, &good).unwrap();
    let (_, said) = outcome(&["status", "-c"], &config);
    assert!(said.contains("n1      1   may hold"), "{said}");

    fs::write(
        &config,
        good.replace("\"n1\"", "\"n9\"") + &good[good.find("[[cluster]]").unwrap()..].replace("demo", "more"),
    )
    .unwrap();
    tell(&child, Signal::SIGHUP);
    assert!(next().starts_with("RELOADING=1\n"));
    assert_eq!(next(), "READY=1\nSTATUS=votes on 127.9.6.3:7947 in 2 clusters\n");
    let (_, said) = outcome(&["status", "-c"], &config);
    assert!(said.contains("n9      1   may hold") && said.contains("cluster more:"), "{said}");
    tell(&child, Signal::SIGTERM);
    assert_eq!(next(), "STOPPING=1\n");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn metrics_are_for_this_host_and_nothing_else_is_served() {
    let dir = directory(7);
    let config = dir.path().join("w.toml");
    let good = fs::read_to_string(&config).unwrap();
    fs::write(&config, format!("metrics = \"192.0.2.1:9947\"\n{good}")).unwrap();
    let (code, said) = outcome(&["check"], &config);
    assert!(code == Some(2) && said.contains("write a loopback address"), "{code:?}: {said}");
    fs::write(&config, format!("metrics = \"127.9.7.3:9947\"\n{good}")).unwrap();
    let mut child = voting(&config);
    let asked = |request: &str| {
        let mut stream = (0..100)
            .find_map(|_| {
                let stream = TcpStream::connect("127.9.7.3:9947").ok();
                stream.or_else(|| {
                    std::thread::sleep(Duration::from_millis(50));
                    None
                })
            })
            .unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut said = String::new();
        stream.read_to_string(&mut said).unwrap();
        said
    };
    let said = asked("GET /metrics HTTP/1.1\r\nHost: w\r\n\r\n");
    let (head, body) = said.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text;"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", body.len())) && body.ends_with("# EOF\n"), "{said}");
    assert!(body.contains("keepone_witness_nodes{cluster=\"demo\"} 1\n"), "{body}");
    assert!(asked("GET /etc/passwd HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    assert!(asked("POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(asked("hello\r\n\r\n").starts_with("HTTP/1.1 405 "));
    child.kill().unwrap();
    child.wait().unwrap();
}
