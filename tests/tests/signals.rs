//! keepone called as keepalived is: its flags, and the signals of the running agent. Needs root.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(20);

struct Alone {
    lan: Lan,
    watch: Watch,
    program: Program,
}

fn conf(more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    @n7 priority 77\n    {more}\n    \
         virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n"
    )
}

impl Alone {
    fn start() -> Self {
        let lan = Lan::build(0).unwrap();
        let file = lan.write("x.conf", &conf("")).unwrap();
        let at = |name: &str| lan.room().join(name).to_str().unwrap().to_owned();
        let binary = binary::find("keepone");
        let (guardian, worker) = (at("g.pid"), format!("--vrrp_pid={}", at("w.pid")));
        let command = [
            binary.to_str().unwrap(),
            "-nl",
            "-f",
            file.to_str().unwrap(),
            "-in7",
            "-p",
            &guardian,
            &worker,
            "-S3",
            "--vrrp",
        ];
        let program = Program::start(&lan.node(0).namespace, &command, &lan.room().join("output.log")).unwrap();
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        assert!(watch.answered_by(0, SOON).is_some(), "it holds nothing:\n{}", program.said());
        Alone { lan, watch, program }
    }

    fn pid(&self, name: &str) -> Option<i32> {
        std::fs::read_to_string(self.lan.room().join(name)).ok()?.trim().parse().ok()
    }

    /// A file of its run directory, which no other machine sees.
    fn run_file(&self, name: &str) -> PathBuf {
        Path::new(&format!("/proc/{}/root/run/keepone", self.program.pid())).join(name)
    }

    #[track_caller]
    fn comes(&self, name: &str) -> String {
        let path = self.run_file(name);
        let text = eventually(SOON, || name.to_owned(), || std::fs::read_to_string(&path).ok());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600, "{name}");
        std::fs::remove_file(path).unwrap();
        text
    }

    #[track_caller]
    fn says(&mut self, words: &str) {
        assert!(self.program.says(words, SOON), "{words}\n{}", self.program.said());
    }

    /// From now on.
    #[track_caller]
    fn holds(&self) {
        let since = keepone_chaos::netns::clock::now();
        eventually(
            SOON,
            || "it holds nothing".to_owned(),
            || (!self.watch.answers_of(0, since, u64::MAX).is_empty()).then_some(()),
        );
    }

    fn write(&self, text: &str) {
        self.lan.write("x.conf", text).unwrap();
    }
}

#[test]
fn dumps_are_written_on_keepaliveds_signals() {
    let alone = Alone::start();
    let worker = alone.pid("w.pid").unwrap();
    assert_eq!(alone.pid("g.pid"), Some(alone.program.pid()));
    assert_eq!(members(alone.program.pid(), Part::Worker), [worker]);
    alone.program.signal(Part::Guardian, Signal::SIGUSR1);
    let data = alone.comes("keepone.data");
    assert!(data.contains("  role = MASTER\n") && data.contains("iname = VI_1\n"), "{data}");
    let json: serde_json::Value = serde_json::from_str(&alone.comes("keepone.json")).unwrap();
    let instance = &json["vrrp"][0]["data"];
    assert_eq!(
        (&instance["state"], &instance["vrid"], &instance["base_priority"]),
        (&2.into(), &51.into(), &77.into())
    );
    assert_eq!(instance["vips"], serde_json::json!([format!("{VIP}/24 dev {INTERFACE} scope global set")]));
    assert_eq!(json["domains"][0]["instances"], serde_json::json!(["VI_1"]));
    alone.program.signal(Part::Guardian, Signal::SIGUSR2);
    assert!(alone.comes("keepone.stats").contains("bad_advertisements = 0\n"));
    assert!(alone.comes("keepalived.stats").starts_with("VRRP Instance: VI_1\n  Advertisements:\n"));
    // By number, and to the worker itself.
    for pid in [alone.program.pid(), worker] {
        let number = Command::new(binary::find("keepone")).arg("--signum=JSON").output().unwrap().stdout;
        let number = String::from_utf8(number).unwrap();
        assert!(Command::new("kill").args(["-s", number.trim(), &pid.to_string()]).status().unwrap().success());
        assert!(alone.comes("keepone.json").contains("\"iname\": \"VI_1\""));
        assert!(alone.comes("keepalived.json").starts_with("[{\"data\":{\"iname\":\"VI_1\""));
    }
    assert_eq!(alone.pid("w.pid"), Some(worker), "no signal has ended it");
}

#[test]
fn a_reload_takes_a_good_configuration_and_keeps_the_running_one_from_a_bad_one() {
    let mut alone = Alone::start();
    let first = alone.pid("w.pid").unwrap();
    // As a service manager may, to all processes.
    let reload = |alone: &Alone| alone.program.signal(Part::Both, Signal::SIGHUP);
    alone.write("vrrp_instance {\n");
    reload(&alone);
    alone.says("the running configuration stays: the new one is refused");
    alone.says("is never closed");
    alone.write(&conf("").replace(INTERFACE, "lan9"));
    reload(&alone);
    alone.says("interface lan9 does not exist");
    alone.write(&format!("# nothing else\n{}", conf("")));
    reload(&alone);
    alone.says("the configuration means the same, nothing is restarted");
    alone.write(&format!("fencing {{\n watchdog /dev/none\n}}\n{}", conf("")));
    reload(&alone);
    alone.says("the new watchdog can't come with a reload");
    assert_eq!(alone.pid("w.pid"), Some(first), "the running configuration stays");
    alone.write(&conf("advert_int 2"));
    reload(&alone);
    alone.says("reload: changes the advert_int of VI_1 from 1s to 2s");
    assert_eq!(members(alone.program.pid(), Part::Worker), [first], "nothing that it has to start anew for");
    alone.holds();
    alone.program.signal(Part::Guardian, Signal::SIGUSR1);
    alone.comes("keepone.data");
    let json: serde_json::Value = serde_json::from_str(&alone.comes("keepone.json")).unwrap();
    assert_eq!(json["vrrp"][0]["data"]["adver_int"], 2);
    // What runs now is what the next one is compared with.
    alone.write(&conf(""));
    reload(&alone);
    alone.says("reload: changes the advert_int of VI_1 from 2s to 1s");
    alone.write(&format!("global_defs {{\n script_user root\n}}\n{}", conf("")));
    reload(&alone);
    let second = eventually(SOON, || "no new worker".to_owned(), || alone.pid("w.pid").filter(|pid| *pid != first));
    assert_eq!(members(alone.program.pid(), Part::Worker), [second]);
    alone.holds();
    assert!(!alone.program.said().contains("the worker ended"), "in good order: {}", alone.program.said());
    alone.program.signal(Part::Guardian, Signal::SIGTERM);
    let status = alone.program.wait(SOON).unwrap();
    assert_eq!(status.code(), Some(0), "{}", alone.program.said());
    assert_eq!((alone.pid("g.pid"), alone.pid("w.pid")), (None, None), "the files go with their processes");
}

/// Long and short names of a help text.
fn flags(help: &str) -> BTreeMap<String, Option<char>> {
    let mut flags = BTreeMap::new();
    for line in help.lines().filter(|line| line.trim_start().starts_with('-') && line.starts_with("  ")) {
        let long: String = match line.split_once("--") {
            Some((_, rest)) => rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).collect(),
            None => continue,
        };
        let short = line.trim_start().strip_prefix('-').and_then(|rest| rest.chars().next()).filter(|c| *c != '-');
        flags.insert(long, short);
    }
    flags
}

/// What the manual page of keepalived has beyond the help of a build that was made without it.
const MANUAL: [&str; 5] = ["log-file", "flush-log-file", "perf", "debug", "no-mem-check"];

#[test]
fn every_flag_of_the_installed_keepalived_is_known() {
    let help = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program).args(arguments).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    let theirs = flags(&help(&binary::keepalived(), &["--help"]));
    let ours = flags(&help(&binary::find("keepone"), &["-n", "--help"]));
    assert!(theirs.len() > 30, "{theirs:?}");
    for (long, short) in &theirs {
        assert_eq!(ours.get(long), Some(short), "--{long}");
    }
    for long in MANUAL {
        assert!(ours.contains_key(long), "--{long}");
    }
    let number = |name: &str| {
        let argument = format!("--signum={name}");
        [binary::keepalived(), binary::find("keepone")].map(|program| help(&program, &[&argument]))
    };
    for name in ["STOP", "RELOAD", "DATA", "STATS", "STATS_CLEAR", "JSON"] {
        let [theirs, ours] = number(name);
        assert_eq!(theirs, ours, "{name}");
    }
}
