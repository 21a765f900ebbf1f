//! Whom keepalived's users are told by: FIFOs, their readers, scripts, beside keepalived itself where both can be
//! asked. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::error::Error;
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(40);

fn write_script(room: &Path, name: &str, body: &str) -> String {
    let path = room.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// A group of two instances, and a third one that goes by a file; every script writes its tag and its arguments.
fn configuration(room: &Path, globals: &str) -> String {
    let calls = room.join("calls");
    let tell = write_script(room, "tell.sh", &format!("echo \"$*\" >> {}", calls.display()));
    let all = |tag: &str| {
        let states = ["notify", "notify_master", "notify_backup", "notify_fault", "notify_stop"];
        states.map(|state| format!("    {state} \"{tell} {tag}-{state}\"\n")).concat()
    };
    let instance = |name: &str, number: u8, priority: u8, more: &str| {
        format!(
            "vrrp_instance {name} {{\n    interface {INTERFACE}\n    virtual_router_id {number}\n    priority {priority}\n    \
             advert_int 1\n    virtual_ipaddress {{\n        192.0.2.{number}/24\n    }}\n{}{more}}}\n",
            all(name)
        )
    };
    format!(
        "global_defs {{\n    router_id n1\n    script_user root\n    vrrp_notify_priority_changes true\n{globals}}}\n\
         track_file tf {{\n    file {}\n    weight 1\n}}\nvrrp_sync_group G1 {{\n    group {{\n        VI_1\n        VI_2\n    \
         }}\n{}}}\n{}{}{}",
        room.join("tf").display(),
        all("G1"),
        instance("VI_1", 101, 100, ""),
        instance("VI_2", 102, 90, ""),
        instance("VI_3", 103, 80, "    track_file {\n        tf weight 1\n    }\n"),
    )
}

/// A node with one of the two programs.
struct Node {
    lan: Lan,
    program: Program,
    fifo: File,
    read: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Who {
    Keepalived,
    Keepone,
}

impl Node {
    fn start(who: Who) -> Self {
        let lan = Lan::build(0).unwrap();
        let room = lan.room().to_owned();
        let path = room.join("fifo");
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o640)).unwrap();
        std::fs::write(room.join("tf"), "0").unwrap();
        // For both, so that it is there before and after the program.
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let text = configuration(&room, &format!("    vrrp_notify_fifo {}\n", path.display()));
        let file = lan.write("x.conf", &text).unwrap();
        let file = file.to_str().unwrap();
        let at = |name: &str| room.join(name).to_str().unwrap().to_owned();
        let program = match who {
            Who::Keepone => lan.start(0, &[binary::find("keepone").to_str().unwrap(), "run", "-c", file]),
            Who::Keepalived => {
                let binary = binary::keepalived();
                let (pid, vrrp) = (at("k.pid"), at("v.pid"));
                let program = [binary.to_str().unwrap(), "-nlDP", "-f", file, "-p", &pid, "-r", &vrrp];
                lan.start(0, &program)
            }
        };
        Node { lan, program: program.unwrap(), fifo, read: String::new() }
    }

    fn lines(&mut self) -> Vec<String> {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.fifo.read(&mut bytes) {
            self.read += std::str::from_utf8(&bytes[..count]).unwrap();
        }
        self.read.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn until(&mut self, last: &[&str]) {
        let begin = std::time::Instant::now();
        while !last.iter().all(|last| self.lines().iter().any(|line| line == last)) {
            assert!(begin.elapsed() < SOON, "not {last:?} but\n{}\n{}", self.read, self.program.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        // Whatever else comes with it.
        std::thread::sleep(Duration::from_millis(700));
        self.lines();
    }

    /// What a life brings, in parts: the begin, another priority, a fault, its end, and the stop.
    fn live(&mut self) -> Vec<Vec<String>> {
        let mut parts = Vec::new();
        let mut seen = 0;
        let mut part = |node: &mut Node, last: &[&str]| {
            node.until(last);
            let lines = node.lines();
            parts.push(lines[seen..].to_vec());
            seen = lines.len();
            node.read = node.read.replace("MASTER", "master").replace("STOP", "stop");
        };
        let masters = ["GROUP \"G1\" MASTER 0", "INSTANCE \"VI_3\" MASTER 80"];
        part(self, &masters);
        std::fs::write(self.lan.room().join("tf"), "5").unwrap();
        part(self, &["INSTANCE \"VI_3\" MASTER_PRIORITY 85"]);
        self.lan.set_cable(0, false).unwrap();
        part(self, &["GROUP \"G1\" FAULT 0", "INSTANCE \"VI_3\" FAULT 85"]);
        self.lan.set_cable(0, true).unwrap();
        part(self, &["GROUP \"G1\" MASTER 0", "INSTANCE \"VI_3\" MASTER 85"]);
        self.program.signal(Part::Guardian, Signal::SIGTERM);
        part(self, &["GROUP \"G1\" STOP 0", "INSTANCE \"VI_3\" STOP 85"]);
        assert!(self.program.wait(SOON).is_some_and(|status| status.success()), "{}", self.program.said());
        parts
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.lan.room().join("calls")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// By what they are about: which of two instances is first is nothing to go by.
fn by_name(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut by = BTreeMap::<String, Vec<String>>::new();
    for line in lines {
        let name = line.split(' ').nth(1).unwrap_or_default();
        by.entry(name.to_owned()).or_default().push(line.clone());
    }
    by
}

/// By the script, whose tag comes first: keepalived does not wait for one before it starts the next.
fn by_tag(lines: &[String]) -> BTreeMap<String, Vec<String>> {
    let mut by = BTreeMap::<String, Vec<String>>::new();
    for line in lines {
        by.entry(line.split(' ').next().unwrap_or_default().to_owned()).or_default().push(line.clone());
    }
    by
}

#[test]
fn fifos_and_scripts_are_told_what_keepalived_tells() {
    let mut theirs = Node::start(Who::Keepalived);
    let said = theirs.live();
    let mut ours = Node::start(Who::Keepone);
    let ours_said = ours.live();
    for (theirs, ours) in said.iter().zip(&ours_said) {
        assert_eq!(by_name(ours), by_name(theirs), "\nours {ours:#?}\ntheirs {theirs:#?}");
        // A group is before its instances at the begin, and after them later.
        for lines in [ours, theirs] {
            let group = |state: &str| lines.iter().position(|line| line.starts_with(&format!("GROUP \"G1\" {state}")));
            let member =
                |state: &str| lines.iter().position(|line| line.starts_with(&format!("INSTANCE \"VI_1\" {state} ")));
            for state in ["BACKUP", "MASTER", "FAULT", "STOP"] {
                let Some((group, member)) = group(state).zip(member(state)) else { continue };
                let is_begin = state == "BACKUP"
                    && std::ptr::eq(lines, &raw const ours_said[0]) | std::ptr::eq(lines, &raw const said[0]);
                assert_eq!(group < member, is_begin, "{state}: {lines:#?}");
            }
        }
    }
    assert_eq!(by_tag(&ours.calls()), by_tag(&theirs.calls()));
    // One after the other: a state's own script before the one for all states, an instance's before the group's.
    let calls = ours.calls();
    let place = |line: &str| calls.iter().position(|call| call == line).unwrap_or_else(|| panic!("{line}: {calls:#?}"));
    assert!(place("VI_1-notify_master") < place("VI_1-notify INSTANCE VI_1 MASTER 100"));
    assert!(place("VI_2-notify INSTANCE VI_2 MASTER 90") < place("G1-notify_master"));
    assert!(place("G1-notify_stop") < place("G1-notify GROUP G1 STOP 0"));
    let mode = std::fs::metadata(ours.lan.room().join("fifo")).unwrap().mode();
    assert_eq!(mode & 0o777, 0o640, "one that was there stays as it was, after both");
}

/// A router of lower priority that hears nobody.
fn deaf_router(lan: &Lan) -> Program {
    let text = format!(
        "vrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    priority 50\n    advert_int 1\n    \
         virtual_ipaddress {{\n        192.0.2.100/24\n    }}\n}}\n"
    );
    let file = lan.write("deaf.conf", &text).unwrap();
    lan.node(1)
        .namespace
        .run(|| {
            let rules =
                "add table inet t; add chain inet t i { type filter hook input priority 0; ip protocol 112 drop; }";
            assert!(Command::new("nft").arg(rules).status().unwrap().success());
            Ok::<_, Error>(())
        })
        .unwrap();
    let at = |name: &str| lan.room().join(name).to_str().unwrap().to_owned();
    let (pid, vrrp) = (at("deaf.pid"), at("deaf-v.pid"));
    let binary = binary::keepalived();
    lan.start(1, &[binary.to_str().unwrap(), "-nlDP", "-f", file.to_str().unwrap(), "-p", &pid, "-r", &vrrp]).unwrap()
}

#[test]
fn a_master_that_hears_a_lower_router_says_so_each_time() {
    let lan = Lan::build(0).unwrap();
    let (heard, path) = (lan.room().join("heard"), lan.room().join("fifo"));
    let tell = write_script(lan.room(), "tell.sh", &format!("echo \"$*.\" >> {}", heard.display()));
    let text = format!(
        "global_defs {{\n    notify_fifo {}\n}}\nvrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    \
         priority 100\n    advert_int 1\n    virtual_ipaddress {{\n        192.0.2.100/24\n    }}\n    \
         notify_master_rx_lower_pri \"{tell} lower\" root\n}}\n",
        path.display()
    );
    let file = lan.write("x.conf", &text).unwrap();
    let program =
        lan.start(0, &[binary::find("keepone").to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    let said = || program.said();
    let mut fifo = eventually(
        SOON,
        || format!("no FIFO: {}", said()),
        || OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).ok(),
    );
    let mut read = String::new();
    let mut line = |wanted: &str, count: usize| {
        eventually(
            SOON,
            || format!("no {wanted}: {}", said()),
            || {
                let mut bytes = [0; 4096];
                if let Ok(count) = fifo.read(&mut bytes) {
                    read += std::str::from_utf8(&bytes[..count]).unwrap();
                }
                (read.lines().filter(|line| *line == wanted).count() >= count).then_some(())
            },
        );
    };
    line("INSTANCE \"VI_1\" MASTER 100", 1);
    let _deaf = deaf_router(&lan);
    line("INSTANCE \"VI_1\" MASTER_RX_LOWER_PRI 100", 3);
    let calls = || std::fs::read_to_string(&heard).unwrap_or_default();
    eventually(SOON, calls, || (calls().lines().count() >= 3).then_some(()));
    assert!(calls().lines().all(|call| call == "lower."), "no arguments besides its own: {}", calls());
}

/// A FIFO with its reader, which says who it is, and what it reads.
struct Reading {
    lan: Lan,
    program: Program,
    out: PathBuf,
    fifo: PathBuf,
}

impl Reading {
    fn start() -> Self {
        let lan = Lan::build(0).unwrap();
        std::fs::set_permissions(lan.room(), std::fs::Permissions::from_mode(0o777)).unwrap();
        let (out, fifo) = (lan.room().join("out"), lan.room().join("fifo"));
        std::fs::write(&out, "").unwrap();
        std::fs::set_permissions(&out, std::fs::Permissions::from_mode(0o666)).unwrap();
        let out_path = out.display();
        let body = format!(
            "echo \"start $* $$ $(id -un):$(id -gn)\" >> {out_path}\nfor last; do :; done\n\
             while read -r line; do echo \"$line\" >> {out_path}; done < \"$last\"\necho \"end $$\" >> {out_path}\nexec sleep 600"
        );
        let reader = write_script(lan.room(), "reader.sh", &body);
        let text = format!(
            "global_defs {{\n    notify_fifo {} nobody\n    notify_fifo_script \"{reader} one two\" nobody nogroup\n}}\n\
             vrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    advert_int 1\n    \
             virtual_ipaddress {{\n        192.0.2.100/24\n    }}\n}}\n",
            fifo.display()
        );
        let file = lan.write("x.conf", &text).unwrap();
        let keepone = binary::find("keepone");
        let program = lan.start(0, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
        Reading { lan, program, out, fifo }
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.out).unwrap()
    }

    #[track_caller]
    fn until(&self, count: usize, words: &str) {
        let found = || self.text().lines().filter(|line| line.starts_with(words)).count() >= count;
        eventually(
            SOON,
            || format!("not {count} of {words} in\n{}\n{}", self.text(), self.program.said()),
            || found().then_some(()),
        );
    }

    /// Processes of all readers so far.
    fn pids(&self) -> Vec<String> {
        let text = self.text();
        let starts = text.lines().filter(|line| line.starts_with("start "));
        starts.map(|line| line.split(' ').nth(4).unwrap().to_owned()).collect()
    }
}

fn lives(pid: &str) -> bool {
    let state = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !(state.is_empty() || state.contains(") Z "))
}

#[track_caller]
fn ends(pid: &str) {
    eventually(SOON, || format!("{pid} lives"), || (!lives(pid)).then_some(()));
}

#[test]
fn a_reader_gets_its_fifo_is_started_again_and_ends_with_the_agent_after_the_last_line() {
    let mut reading = Reading::start();
    reading.until(1, "INSTANCE \"VI_1\" MASTER 100");
    let (path, metadata) = (reading.fifo.display().to_string(), std::fs::metadata(&reading.fifo).unwrap());
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let owner = (metadata.uid(), metadata.gid(), metadata.mode() & 0o777);
    assert_eq!(owner, (nobody.uid.as_raw(), nobody.gid.as_raw(), 0o600));
    let first = reading.pids().remove(0);
    assert!(
        reading.text().starts_with(&format!("start one two {path} {first} nobody:nogroup\n")),
        "{}",
        reading.text()
    );

    let kill = |pid: &str| assert!(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
    kill(&first);
    reading.until(2, "start ");
    reading.lan.set_cable(0, false).unwrap();
    reading.until(1, "INSTANCE \"VI_1\" FAULT 100");
    reading.lan.set_cable(0, true).unwrap();
    reading.until(2, "INSTANCE \"VI_1\" MASTER 100");

    // Another worker, and another reader in the place of the first one's: no two take lines from one FIFO.
    let second = reading.pids().remove(1);
    reading.program.signal(Part::Worker, Signal::SIGKILL);
    ends(&second);
    reading.until(3, "start ");
    reading.until(3, "INSTANCE \"VI_1\" MASTER 100");

    let third = reading.pids().remove(2);
    reading.program.signal(Part::Guardian, Signal::SIGTERM);
    reading.until(1, "INSTANCE \"VI_1\" STOP 100");
    reading.until(1, &format!("end {third}"));
    assert!(reading.program.wait(SOON).is_some_and(|status| status.success()), "{}", reading.program.said());
    ends(&third);
    assert!(!reading.fifo.exists(), "who made it takes it away, whichever worker that was");
    let lines = reading.text();
    let states: Vec<&str> = lines.lines().filter(|line| line.starts_with("INSTANCE")).collect();
    let (backup, master) = ("INSTANCE \"VI_1\" BACKUP 100", "INSTANCE \"VI_1\" MASTER 100");
    let fault = "INSTANCE \"VI_1\" FAULT 100";
    let life = [backup, master, fault, backup, master, backup, master, "INSTANCE \"VI_1\" STOP 100"];
    assert_eq!(states, life, "in order, and none twice");
}

#[test]
fn who_hangs_in_its_startup_script_is_killed_and_a_failure_keeps_nobody_from_starting() {
    let lan = Lan::build(0).unwrap();
    let said = lan.room().join("said");
    let script = |name: &str, body: &str| {
        write_script(
            lan.room(),
            name,
            &format!("echo {name} $(ip -br addr show {INTERFACE} | grep -c 192.0.2.100) >> {}\n{body}", said.display()),
        )
    };
    let (hangs, fails, stop) = (script("hangs", "sleep 600"), script("fails", "exit 3"), script("stop", ""));
    let conf = |startup: &str| {
        format!(
            "global_defs {{\n    startup_script {startup} root\n    startup_script_timeout 2\n    shutdown_script {stop} root\n}}\n\
             vrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    advert_int 1\n    \
             virtual_ipaddress {{\n        192.0.2.100/24\n    }}\n}}\n"
        )
    };
    let read = || std::fs::read_to_string(&said).unwrap_or_default();
    // The log of both lives is one file.
    for (life, startup, words) in [(1, &hangs, "killed after 2s"), (2, &fails, "exit status: 3")] {
        let file = lan.write("x.conf", &conf(startup)).unwrap();
        let keepone = binary::find("keepone");
        let mut program = lan.start(0, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
        let is_master = || program.said().matches("-> MASTER").count() == life;
        eventually(SOON, || program.said(), || is_master().then_some(()));
        assert!(program.said().contains(words), "{}", program.said());
        program.signal(Part::Guardian, Signal::SIGTERM);
        let status = program.wait(SOON);
        assert!(status.is_some_and(|status| status.success()), "{status:?}: {}", program.said());
    }
    assert_eq!(read(), "hangs 0\nstop 0\nfails 0\nstop 0\n", "before the address is there, and after it has gone");

    // Told to stop while it waits, it waits no longer.
    std::fs::remove_file(&said).unwrap();
    let file = lan.write("x.conf", &conf(&hangs).replace("timeout 2", "timeout 1000")).unwrap();
    let keepone = binary::find("keepone");
    let mut program = lan.start(0, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    eventually(SOON, || program.said(), || read().contains("hangs").then_some(()));
    program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(program.wait(SOON).is_some_and(|status| status.success()), "{}", program.said());
    assert_eq!(read(), "hangs 0\nstop 0\n");
}
