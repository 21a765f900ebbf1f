//! The service on D-Bus, on a bus of the test's own: what signals leave, who may ask for what, and what becomes of a bus
//! that comes and goes. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(40);
const FLAPS: usize = 4;
const NAME: &str = "org.keepalived.Vrrp1";
const VRRP: &str = "/org/keepalived/Vrrp1/Vrrp";

/// Ended with the test.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(command: &mut Command) -> Kept {
    Kept(command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
}

/// A bus on which everybody may do everything: what is refused, the agent refuses.
struct Bus {
    socket: PathBuf,
    daemon: Option<Kept>,
}

impl Bus {
    fn new(room: &Path, name: &str) -> Self {
        // Other users are to get to the socket.
        std::fs::set_permissions(room, std::fs::Permissions::from_mode(0o755)).unwrap();
        Bus { socket: room.join(name), daemon: None }
    }

    fn address(&self) -> String {
        format!("unix:path={}", self.socket.display())
    }

    fn start(&mut self) {
        let file = self.socket.with_extension("xml");
        let text = format!(
            "<busconfig><listen>{}</listen><auth>EXTERNAL</auth><policy context=\"default\"><allow user=\"*\"/><allow \
             own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy></busconfig>",
            self.address()
        );
        std::fs::write(&file, text).unwrap();
        let _ = std::fs::remove_file(&self.socket);
        let config = format!("--config-file={}", file.display());
        self.daemon = Some(start(Command::new("dbus-daemon").args([&config, "--nofork", "--nopidfile"])));
        eventually(SOON, || "no bus".to_owned(), || self.socket.exists().then_some(()));
        std::fs::set_permissions(&self.socket, std::fs::Permissions::from_mode(0o777)).unwrap();
    }

    fn stop(&mut self) {
        self.daemon = None;
    }

    /// Somebody who listens; whoever asks for the word of it gets all signals so far.
    fn listen(&self) -> Listener {
        let file = self.socket.with_extension("heard");
        let output = File::create(&file).unwrap();
        let address = self.address();
        let rule = "type='signal',path_namespace='/org/keepalived'";
        let mut monitor = Command::new("dbus-monitor");
        let monitor = start(monitor.args(["--address", &address, rule]).stdout(output));
        let listener = Listener { _monitor: monitor, file };
        // The bus tells a monitor that it is one.
        let is_one = || std::fs::read_to_string(&listener.file).unwrap().contains("NameLost").then_some(());
        eventually(SOON, || "nobody listens".to_owned(), is_one);
        listener
    }

    fn call(&self, uid: u32, path: &str, interface: &str, rest: &[&str]) -> Output {
        let mut command = Command::new("setpriv");
        command.args([&format!("--reuid={uid}"), "--clear-groups", "busctl"]);
        command.arg(format!("--address={}", self.address()));
        command.args(["call", NAME, path, interface]).args(rest).output().unwrap()
    }

    /// What it answers; the error in words.
    fn ask(&self, uid: u32, path: &str, interface: &str, rest: &[&str]) -> Result<String, String> {
        let output = self.call(uid, path, interface, rest);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn property(&self, uid: u32, path: &str, name: &str) -> Result<String, String> {
        let interface = "org.freedesktop.DBus.Properties";
        self.ask(uid, path, interface, &["Get", "ss", "org.keepalived.Vrrp1.Instance", name])
    }
}

struct Listener {
    _monitor: Kept,
    file: PathBuf,
}

impl Listener {
    /// `MEMBER` or `LAST-PARTS-OF-THE-PATH NUMBER`, in the order in which they came.
    fn heard(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.file).unwrap();
        let mut heard = Vec::<String>::new();
        for line in text.lines() {
            if let (Some(number), Some(last)) = (line.strip_prefix("   uint32 "), heard.last_mut()) {
                *last = format!("{last} {number}");
            }
            let word = |name: &str| line.split_once(name).map(|(_, rest)| rest.split([';', ' ']).next().unwrap());
            let Some((path, member)) = word("path=").zip(word("member=")) else { continue };
            match path.strip_prefix("/org/keepalived/Vrrp1/") {
                Some("Vrrp") => heard.push(member.to_owned()),
                Some(instance) => heard.push(instance.trim_start_matches("Instance/").to_owned()),
                None => {}
            }
        }
        heard
    }

    #[track_caller]
    fn until(&self, last: &str, program: &Program) -> Vec<String> {
        let look = || self.heard().iter().any(|heard| heard == last).then_some(());
        eventually(SOON, || format!("no {last} but {:#?}\n{}", self.heard(), program.said()), look);
        self.heard()
    }
}

fn instance(vrid: u8) -> String {
    format!("{INTERFACE}/{vrid}/IPv4")
}

fn path(vrid: u8) -> String {
    format!("/org/keepalived/Vrrp1/Instance/{}", instance(vrid))
}

/// A group of two and a lone one.
fn configuration(priority: u8, globals: &str) -> String {
    let router = |vrid: u8| {
        format!(
            "vrrp_instance VI_{vrid} {{\n    version 3\n    interface {INTERFACE}\n    virtual_router_id {vrid}\n    \
             priority {priority}\n    advert_int 0.2\n    virtual_ipaddress {{\n        192.0.2.{vrid}/24\n    }}\n}}\n"
        )
    };
    let group = "vrrp_sync_group G1 {\n    group {\n        VI_101\n        VI_102\n    }\n}\n";
    format!(
        "global_defs {{\n    router_id n1\n    enable_dbus\n{globals}}}\n{group}{}{}{}",
        router(101),
        router(102),
        router(103)
    )
}

fn run(lan: &Lan, node: usize, file: &Path, bus: &Bus) -> Program {
    let address = format!("DBUS_SYSTEM_BUS_ADDRESS={}", bus.address());
    let program = binary::find("keepone");
    lan.start(node, &["env", &address, program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
}

/// A node with a bus, a listener, and a FIFO that is told the same by another way.
struct Node {
    program: Program,
    listener: Listener,
    fifo: File,
    read: String,
    _bus: Bus,
}

impl Node {
    fn start(lan: &Lan, number: usize, priority: u8) -> Self {
        let mut bus = Bus::new(lan.room(), &format!("bus-{number}"));
        bus.start();
        let listener = bus.listen();
        let path = lan.room().join(format!("fifo-{number}"));
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o640)).unwrap();
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let text = configuration(priority, &format!("    vrrp_notify_fifo {}\n", path.display()));
        let file = lan.write(&format!("{number}.conf"), &text).unwrap();
        let program = run(lan, number, &file, &bus);
        Node { program, listener, fifo, read: String::new(), _bus: bus }
    }

    /// The FIFO's lines of instances, in the words of [`Listener::heard`].
    fn lines(&mut self) -> Vec<String> {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.fifo.read(&mut bytes) {
            self.read += std::str::from_utf8(&bytes[..count]).unwrap();
        }
        let of_instances = self.read.lines().filter_map(|line| line.strip_prefix("INSTANCE \"VI_"));
        let line = |line: &str| {
            let (vrid, rest) = line.split_once("\" ").unwrap();
            let number = match rest.split_once(' ').unwrap().0 {
                "BACKUP" => 1,
                "MASTER" => 2,
                "FAULT" => 3,
                "STOP" => 98,
                other => panic!("{other}"),
            };
            format!("{} {number}", instance(vrid.parse().unwrap()))
        };
        of_instances.map(line).collect()
    }

    /// Until all three are so for the so manieth time.
    #[track_caller]
    fn until(&mut self, state: u32, times: usize) {
        let wanted: Vec<String> = (101..=103).map(|vrid| format!("{} {state}", instance(vrid))).collect();
        let listener = &self.listener;
        let has = |heard: &[String], wanted: &String| heard.iter().filter(|line| *line == wanted).count() >= times;
        let look = || wanted.iter().all(|wanted| has(&listener.heard(), wanted)).then_some(());
        eventually(SOON, || format!("{wanted:?}: {:#?}\n{}", listener.heard(), self.program.said()), look);
    }
}

#[test]
fn each_change_of_two_nodes_that_flap_is_signalled_once_and_in_order() {
    let lan = Lan::build(0).unwrap();
    let mut first = Node::start(&lan, 0, 150);
    first.until(2, 1);
    let mut second = Node::start(&lan, 1, 100);
    second.until(1, 1);
    for flap in 1..=FLAPS {
        lan.set_cable(0, false).unwrap();
        first.until(3, flap);
        second.until(2, flap);
        lan.set_cable(0, true).unwrap();
        first.until(2, flap + 1);
        second.until(1, flap + 1);
    }
    for node in [&mut first, &mut second] {
        node.program.signal(Part::Guardian, Signal::SIGTERM);
        assert!(node.program.wait(SOON).is_some_and(|status| status.success()), "{}", node.program.said());
        let heard = node.listener.until("VrrpStopped", &node.program);
        assert_eq!(heard.first().map(String::as_str), Some("VrrpStarted"), "{heard:#?}");
        assert_eq!(heard.last().map(String::as_str), Some("VrrpStopped"), "{heard:#?}");
        let lines = node.lines();
        assert_eq!(heard[1..heard.len() - 1], lines, "{}", node.program.said());
        let count = |state: u32| lines.iter().filter(|line| **line == format!("{} {state}", instance(103))).count();
        assert_eq!(count(98), 1, "{lines:#?}");
    }
    // Neither way may have missed one.
    let faults = first.lines().iter().filter(|line| **line == format!("{} 3", instance(101))).count();
    assert_eq!(faults, FLAPS);
    let masters = second.lines().iter().filter(|line| **line == format!("{} 2", instance(101))).count();
    assert!(masters >= FLAPS, "{masters}");
}

#[test]
fn root_alone_has_something_done_and_everybody_may_read() {
    let lan = Lan::build(0).unwrap();
    let mut bus = Bus::new(lan.room(), "bus");
    bus.start();
    let listener = bus.listen();
    let file = lan.write("x.conf", &configuration(100, "")).unwrap();
    let program = run(&lan, 0, &file, &bus);
    listener.until(&format!("{} 2", instance(103)), &program);
    for uid in [0, 1] {
        assert_eq!(bus.property(uid, &path(103), "Name").as_deref(), Ok("v (s) \"VI_103\""));
        assert_eq!(bus.property(uid, &path(103), "State").as_deref(), Ok("v (us) 2 \"Master\""));
    }
    assert!(bus.property(0, &path(104), "Name").is_err());
    let whole = "org.keepalived.Vrrp1.Vrrp";
    let one = "org.keepalived.Vrrp1.Instance";
    let written = |name: &str| PathBuf::from(format!("/proc/{}/root/run/keepone/{name}", program.pid()));
    for method in ["PrintData", "PrintStats", "PrintStatsClear", "ReloadConfig"] {
        let refused = bus.ask(1, VRRP, whole, &[method]).unwrap_err();
        assert!(refused.contains("Access denied"), "{method}: {refused}");
    }
    assert!(bus.ask(1, &path(103), one, &["SendGarp"]).unwrap_err().contains("Access denied"));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!written("keepone.data").exists() && !listener.heard().iter().any(|heard| heard == "VrrpReloaded"));
    bus.ask(0, VRRP, whole, &["PrintData"]).unwrap();
    bus.ask(0, VRRP, whole, &["PrintStats"]).unwrap();
    let all = || ["keepone.data", "keepone.stats"].iter().all(|name| written(name).exists()).then_some(());
    eventually(SOON, || program.said(), all);
    // Another address is taken over in place; the instance stays where it is, and what it is.
    let more = configuration(100, "").replace("192.0.2.103/24", "192.0.2.103/24\n        192.0.2.104/24");
    lan.write("x.conf", &more).unwrap();
    bus.ask(0, VRRP, whole, &["ReloadConfig"]).unwrap();
    listener.until("VrrpReloaded", &program);
    assert_eq!(bus.property(0, &path(103), "State").as_deref(), Ok("v (us) 2 \"Master\""));
    let made = bus.ask(0, VRRP, whole, &["CreateInstance", "ssuu", "VI_9", INTERFACE, "9", "2"]).unwrap_err();
    assert!(made.contains("configuration file"), "{made}");
    bus.ask(0, &path(103), one, &["SendGarp"]).unwrap();
    assert!(program.said().contains("VI_103 announced by D-Bus"), "{}", program.said());
    lan.set_cable(0, false).unwrap();
    listener.until(&format!("{} 3", instance(103)), &program);
    let refused = bus.ask(0, &path(103), one, &["SendGarp"]).unwrap_err();
    assert!(refused.contains("only a MASTER"), "{refused}");
}

#[test]
fn a_bus_that_is_not_there_is_said_once_and_told_how_everything_is_when_it_comes() {
    let lan = Lan::build(0).unwrap();
    let mut bus = Bus::new(lan.room(), "bus");
    let file = lan.write("x.conf", &configuration(100, "")).unwrap();
    let mut program = run(&lan, 0, &file, &bus);
    assert!(program.says("VI_103: CLAIMING -> MASTER", SOON), "{}", program.said());
    // Two attempts or more have failed.
    std::thread::sleep(Duration::from_secs(4));
    let complaints = |program: &Program| program.said().matches("nobody is told by D-Bus").count();
    assert_eq!(complaints(&program), 1, "{}", program.said());
    assert!(program.said().contains("systemctl start dbus"));
    let each: Vec<String> = (101..=103).map(|vrid| format!("{} 2", instance(vrid))).collect();
    let begin = |bus: &mut Bus, program: &Program| {
        bus.start();
        let listener = bus.listen();
        listener.until(&each[2], program);
        // Whatever else comes with it.
        std::thread::sleep(Duration::from_millis(300));
        listener.heard()
    };
    let told: Vec<String> = std::iter::once("VrrpStarted".to_owned()).chain(each.clone()).collect();
    assert_eq!(begin(&mut bus, &program), told, "what was before is no news");
    bus.stop();
    eventually(SOON, || program.said(), || (complaints(&program) == 2).then_some(()));
    lan.set_cable(0, false).unwrap();
    assert!(program.says("VI_103: MASTER -> FAULT", SOON), "{}", program.said());
    lan.set_cable(0, true).unwrap();
    let again = || program.said().matches("VI_103: CLAIMING -> MASTER").count() == 2;
    eventually(SOON, || program.said(), || again().then_some(()));
    assert_eq!(begin(&mut bus, &program), told);
    assert_eq!(complaints(&program), 2, "{}", program.said());
    program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(program.wait(SOON).is_some_and(|status| status.success()), "{}", program.said());
}
