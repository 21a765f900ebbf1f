//! The guardian does its deeds whatever becomes of its words, and of the program that it starts (R15, R16). Needs
//! root.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(20);

struct Alone {
    lan: Lan,
    watch: Watch,
    program: Program,
}

/// One node that holds the address; its standard error goes to `stderr`.
fn holder(lan: Lan, binary: &Path, stderr: &Path) -> Alone {
    let conf = format!(
        "vrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    advert_int 1\n    \
         virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n"
    );
    let file = lan.write("x.conf", &conf).unwrap();
    let shell = format!("exec \"$@\" 2>>{}", stderr.display());
    let command = ["sh", "-c", &shell, "sh", binary.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
    let log = lan.room().join("output.log");
    let mut program = Program::start(&lan.node(0).namespace, &command, &log).unwrap();
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    assert!(watch.answered_by(0, SOON).is_some(), "it holds nothing");
    assert!(program.wait(Duration::ZERO).is_none());
    Alone { lan, watch, program }
}

impl Alone {
    fn kill_worker(&self) {
        self.program.signal(Part::Worker, Signal::SIGKILL);
        // What was on its way.
        thread::sleep(Duration::from_millis(500));
    }

    /// A new worker holds the address: the guardian lives, and has come to its start.
    #[track_caller]
    fn comes_back(&mut self) {
        let since = clock::now();
        let until = since + u64::try_from(SOON.as_nanos()).unwrap();
        while self.watch.answers_of(0, since, u64::MAX).is_empty() {
            assert!(self.program.wait(Duration::ZERO).is_none(), "the guardian has ended:\n{}", self.said());
            assert!(clock::now() < until, "no new worker holds the address:\n{}", self.said());
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn said(&self) -> String {
        let log = std::fs::read_to_string(self.lan.room().join("stderr.log")).unwrap_or_default();
        self.program.said() + &log
    }
}

fn pipe(lan: &Lan) -> PathBuf {
    let path = lan.room().join("stderr.pipe");
    nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
    path
}

fn open(pipe: &Path, write: bool) -> File {
    OpenOptions::new().read(true).write(write).custom_flags(nix::libc::O_NONBLOCK).open(pipe).unwrap()
}

#[test]
fn a_log_that_nobody_reads_keeps_no_gate_open_and_no_worker_from_its_start() {
    let lan = Lan::build(0).unwrap();
    let path = pipe(&lan);
    let mut both_ends = open(&path, true);
    let mut alone = holder(lan, &keepone_tests::binary::find("keepone"), &path);
    for size in [4096, 1] {
        while both_ends.write(&vec![b'x'; size]).is_ok() {}
    }
    // The answer to this one would be the first to wait.
    alone.program.signal(Part::Guardian, Signal::SIGHUP);
    thread::sleep(Duration::from_millis(200));
    alone.kill_worker();
    alone.comes_back();
}

#[test]
fn a_log_whose_reader_has_gone_does_not_end_the_guardian() {
    let lan = Lan::build(0).unwrap();
    let path = pipe(&lan);
    let reader = open(&path, false);
    let mut alone = holder(lan, &keepone_tests::binary::find("keepone"), &path);
    drop(reader);
    alone.kill_worker();
    alone.comes_back();
}

#[test]
fn a_worker_that_can_not_be_started_anew_is_tried_again() {
    let lan = Lan::build(0).unwrap();
    let binary = lan.room().join("keepone");
    std::fs::copy(keepone_tests::binary::find("keepone"), &binary).unwrap();
    let stderr = lan.room().join("stderr.log");
    let mut alone = holder(lan, &binary, &stderr);
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o644)).unwrap();
    alone.kill_worker();
    thread::sleep(Duration::from_secs(1));
    assert!(alone.program.wait(Duration::ZERO).is_none(), "the guardian has ended:\n{}", alone.said());
    assert!(alone.said().contains("no worker can be started"), "{}", alone.said());
    std::fs::set_permissions(&binary, PermissionsExt::from_mode(0o755)).unwrap();
    alone.comes_back();
}
