//! Another configuration for an agent that runs, by SIGHUP: what is equal is not touched, on real packets. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::io::BufReader;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::observe::responder::{PORT, PROBE};
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_chaos::replay::replay;
use keepone_tests::alone::{LoneAgent, TAKEN};
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::patience::eventually;
use keepone_tests::unbroken::Unbroken;
use nix::sys::signal::Signal;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);
/// An Advertisement of 100 ms that is missing doubles the interval; a busy machine delays one by less than that.
const LATEST: Duration = Duration::from_millis(190);
/// What its core is told.
const RECORDING: &str = "x.recording";
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);
const THIRD: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 102);

/// A virtual router of a file, in either language.
struct Router {
    name: &'static str,
    vrid: u8,
    priority: u8,
    addresses: Vec<Ipv4Addr>,
    script: Option<&'static str>,
    more: &'static str,
}

impl Router {
    fn new(name: &'static str, vrid: u8, addresses: &[Ipv4Addr]) -> Self {
        Router { name, vrid, priority: 100, addresses: addresses.to_vec(), script: None, more: "" }
    }

    fn tracks(self, script: &'static str) -> Self {
        Router { script: Some(script), ..self }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    Keepalived,
    Toml,
}

impl Language {
    fn file(self) -> &'static str {
        match self {
            Language::Keepalived => "x.conf",
            Language::Toml => "x.toml",
        }
    }

    fn write(self, routers: &[Router]) -> String {
        let mut text = String::new();
        for script in routers.iter().filter_map(|router| router.script).collect::<BTreeSet<_>>() {
            let (name, command) = (script.rsplit('/').next().unwrap(), script);
            text += &match self {
                Language::Keepalived => {
                    format!("vrrp_script {name} {{\n    script \"{command}\"\n    interval 1\n    user root\n}}\n")
                }
                Language::Toml => {
                    format!(
                        "[[vrrp_script]]\nname = \"{name}\"\nscript = \"{command}\"\ninterval = 1\nuser = \"root\"\n"
                    )
                }
            };
        }
        for Router { name, vrid, priority, addresses, script, more } in routers {
            let script = script.map(|script| script.rsplit('/').next().unwrap());
            text += &match self {
                Language::Keepalived => {
                    let list: Vec<String> = addresses.iter().map(|address| format!("        {address}/24\n")).collect();
                    let track = script.map(|name| format!("    track_script {{\n        {name}\n    }}\n"));
                    format!(
                        "vrrp_instance {name} {{\n    interface {INTERFACE}\n    version 3\n    advert_int 0.1\n    \
                         virtual_router_id {vrid}\n    priority {priority}\n{}    {more}\n    virtual_ipaddress {{\n{}    \
                         }}\n}}\n",
                        track.unwrap_or_default(),
                        list.concat()
                    )
                }
                Language::Toml => {
                    let list: Vec<String> = addresses.iter().map(|address| format!("\"{address}/24\"")).collect();
                    let track = script.map(|name| format!("track_script = [\"{name}\"]\n")).unwrap_or_default();
                    format!(
                        "[[vrrp_instance]]\nname = \"{name}\"\ninterface = \"{INTERFACE}\"\nversion = 3\nadvert_int = \
                         \"100ms\"\nvirtual_router_id = {vrid}\npriority = {priority}\n{track}virtual_ipaddress = \
                         [{}]\n",
                        list.join(", ")
                    )
                }
            };
        }
        text
    }
}

struct Alone {
    program: LoneAgent,
    language: Language,
    lan: Lan,
}

impl Alone {
    fn start(language: Language, bpf: bool, routers: &[Router]) -> Self {
        let lan = Lan::build(0).unwrap();
        let file = lan.write(language.file(), &language.write(routers)).unwrap();
        let recording = lan.room().join(RECORDING);
        let record = ["--record", recording.to_str().unwrap()];
        let program = LoneAgent::start(&lan, bpf, &file, &record).unwrap();
        let alone = Alone { program, language, lan };
        alone.comes(VIP);
        // All that follows a start has been said.
        thread::sleep(Duration::from_secs(1));
        alone
    }

    fn said(&self) -> String {
        self.program.said()
    }

    fn addresses(&self) -> BTreeSet<IpAddr> {
        let namespace = &self.lan.node(0).namespace;
        namespace
            .run(|| {
                let all = nix::ifaddrs::getifaddrs().unwrap();
                let of = |at: nix::ifaddrs::InterfaceAddress| Some(IpAddr::V4(at.address?.as_sockaddr_in()?.ip()));
                Ok::<_, keepone_tests::Error>(all.filter_map(of).collect())
            })
            .unwrap()
    }

    #[track_caller]
    fn comes(&self, address: Ipv4Addr) {
        eventually(
            SOON,
            || format!("{address} does not come\n{}", self.said()),
            || self.addresses().contains(&address.into()).then_some(()),
        );
    }

    /// Long before its lifetime of 30 s would end it.
    #[track_caller]
    fn goes(&self, address: Ipv4Addr) {
        let begin = Instant::now();
        while self.addresses().contains(&address.into()) {
            assert!(begin.elapsed() < SOON / 3, "{address} does not go\n{}", self.said());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Another file, and the word of the agent that follows.
    #[track_caller]
    fn reload(&mut self, routers: &[Router], word: &str) {
        let text = self.language.write(routers);
        self.reload_text(&text, word);
    }

    #[track_caller]
    fn reload_text(&mut self, text: &str, word: &str) {
        self.lan.write(self.language.file(), text).unwrap();
        let before = self.said().matches(word).count();
        self.program.signal(Part::Guardian, Signal::SIGHUP);
        eventually(
            SOON,
            || format!("`{word}` is not said\n{}", self.said()),
            || (self.said().matches(word).count() > before).then_some(()),
        );
    }

    /// Ends it: what its core was told, new configurations among it, gives the same actions once more (I25).
    fn replays(mut self) {
        self.program.signal(Part::Guardian, Signal::SIGTERM);
        assert!(self.program.wait(SOON).is_some(), "it does not end\n{}", self.said());
        let file = std::fs::File::open(self.lan.room().join(RECORDING)).unwrap();
        let outcome = replay(BufReader::new(file), false, None).unwrap();
        assert_eq!((&outcome.differs, &outcome.ended, outcome.torn), (&None, &None, false), "{}", outcome.words());
        assert!(outcome.events > 100, "{} events", outcome.events);
    }

    fn worker(&self) -> Vec<i32> {
        members(self.program.pid(), Part::Worker)
    }

    /// What it says of itself.
    fn dump(&self) -> serde_json::Value {
        let path = format!("/proc/{}/root/run/keepone/keepone.json", self.program.pid());
        let _ = std::fs::remove_file(&path);
        self.program.signal(Part::Guardian, Signal::SIGUSR1);
        eventually(SOON, || "no dump".to_owned(), || serde_json::from_str(&std::fs::read_to_string(&path).ok()?).ok())
    }

    fn epoch(&self, domain: &str) -> String {
        let dump = self.dump();
        let domains = dump["domains"].as_array().unwrap().clone();
        domains.iter().find(|of| of["name"] == domain).unwrap()["epoch"].to_string()
    }

    /// Whether a client's question to an address is answered, now.
    fn answers(&self, address: Ipv4Addr) -> bool {
        let ping = self.lan.host(Kind::Client(0)).namespace.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let _ = socket.send_to(&[0; PROBE], (address, PORT));
            Ok::<_, keepone_tests::Error>(socket.recv(&mut [0; PROBE + 1]).is_ok())
        });
        ping.unwrap()
    }
}

fn script(room: &Path, name: &str, body: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = room.join(name);
    std::fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Instances, addresses and scripts come, change and go beside a Master that nobody may notice it on.
fn beside_a_master(language: Language, bpf: bool) {
    let first = || Router::new("VI_1", 51, &[VIP]);
    let mut alone = Alone::start(language, bpf, &[first()]);
    let (worker, epoch) = (alone.worker(), alone.epoch("VI_1"));
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    thread::sleep(Duration::from_millis(500));

    alone.reload(&[first(), Router::new("VI_2", 52, &[SECOND])], TAKEN);
    alone.comes(SECOND);
    eventually(SOON, || "VI_2 does not answer".to_owned(), || alone.answers(SECOND).then_some(()));
    let second = alone.epoch("VI_2");
    alone.reload(&[first(), Router::new("VI_2", 52, &[SECOND, THIRD]).tracks("/bin/true")], TAKEN);
    alone.comes(THIRD);
    eventually(SOON, || "the new VIP does not answer".to_owned(), || alone.answers(THIRD).then_some(()));
    assert_eq!(alone.epoch("VI_2"), second, "no other lease for another address");
    alone.reload(&[first(), Router::new("VI_2", 52, &[THIRD]).tracks("/bin/true")], TAKEN);
    alone.goes(SECOND);
    assert!(alone.answers(THIRD) && !alone.answers(SECOND));
    alone.reload_text("vrrp_instance {\n", "the running configuration stays: the new one is refused");
    // Another virtual router of the same name.
    alone.reload(&[first(), Router::new("VI_2", 53, &[THIRD])], TAKEN);
    eventually(
        SOON,
        || "VI_2 is no Master anew".to_owned(),
        || {
            let dump = alone.dump();
            let is_it = |of: &&serde_json::Value| of["data"]["iname"] == "VI_2" && of["data"]["vrid"] == 53;
            let all = dump["vrrp"].as_array().unwrap().clone();
            all.iter().find(is_it).filter(|of| of["data"]["state"] == 2).map(|_| ())
        },
    );
    alone.comes(THIRD);
    alone.reload(&[first()], TAKEN);
    alone.goes(THIRD);
    assert_eq!(alone.dump()["vrrp"].as_array().unwrap().len(), 1);
    // What the gate has no more is anybody's; what it has is not.
    let set = |address: Ipv4Addr| {
        let net = format!("--net=/proc/{}/ns/net", alone.program.pid());
        let address = format!("{address}/32");
        let ip = Command::new("nsenter").args([&net, "ip", "address", "add", &address, "dev", INTERFACE]).status();
        assert!(ip.unwrap().success());
    };
    set(THIRD);
    eventually(SOON, || "the gate bars what it has no more".to_owned(), || alone.answers(THIRD).then_some(()));

    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert_eq!((alone.worker(), alone.epoch("VI_1")), (worker, epoch), "{}", alone.said());
    alone.replays();
}

#[test]
fn what_changes_beside_a_master_is_not_noticed_on_it_keepalived_conf() {
    beside_a_master(Language::Keepalived, true);
}

#[test]
fn what_changes_beside_a_master_is_not_noticed_on_it_toml() {
    beside_a_master(Language::Toml, true);
}

#[test]
fn what_changes_beside_a_master_is_not_noticed_on_it_nftables() {
    beside_a_master(Language::Keepalived, false);
}

/// The Master's own addresses, priority and script change.
fn on_a_master(bpf: bool) {
    let mut alone = Alone::start(Language::Keepalived, bpf, &[Router::new("VI_1", 51, &[VIP, SECOND])]);
    let (worker, epoch) = (alone.worker(), alone.epoch("VI_1"));
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    alone.reload(&[Router::new("VI_1", 51, &[VIP, SECOND, THIRD])], TAKEN);
    alone.comes(THIRD);
    eventually(SOON, || "the new VIP does not answer".to_owned(), || alone.answers(THIRD).then_some(()));
    alone.reload(&[Router::new("VI_1", 51, &[VIP, THIRD])], TAKEN);
    alone.goes(SECOND);
    assert!(alone.answers(THIRD) && !alone.answers(SECOND));
    alone.reload(&[Router { priority: 77, ..Router::new("VI_1", 51, &[VIP, THIRD]).tracks("/bin/true") }], TAKEN);
    assert_eq!(alone.dump()["vrrp"][0]["data"]["effective_priority"], 77);
    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert_eq!((alone.worker(), alone.epoch("VI_1")), (worker, epoch), "{}", alone.said());
}

#[test]
fn a_masters_own_addresses_change_without_a_loss_on_the_others() {
    on_a_master(true);
}

#[test]
fn a_masters_own_addresses_change_without_a_loss_on_the_others_nftables() {
    on_a_master(false);
}

#[test]
fn a_bad_file_changes_nothing_and_says_why_and_what_can_not_be_taken_over_takes_a_new_worker() {
    let first = || Router::new("VI_1", 51, &[VIP]);
    let mut alone = Alone::start(Language::Keepalived, true, &[first()]);
    let (worker, text) = (alone.worker(), Language::Keepalived.write(&[first()]));
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    alone.reload_text("vrrp_instance {\n", "the running configuration stays: the new one is refused");
    assert!(alone.said().contains("is never closed"));
    alone.reload_text(&text.replace(INTERFACE, "lan9"), "interface lan9 does not exist");
    alone.reload_text(&format!("# nothing else\n{text}"), "the configuration means the same");
    thread::sleep(Duration::from_secs(1));
    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert_eq!(alone.worker(), worker);
    let global = "global_defs {\n script_user root\n}\n";
    alone.reload_text(&format!("{global}{text}"), "reload: it takes a new worker: sets the script_user");
    eventually(
        SOON,
        || "no new worker".to_owned(),
        || {
            let now = alone.worker();
            (!now.is_empty() && now != worker).then_some(())
        },
    );
    alone.comes(VIP);
    // An address that moves to another lease.
    let worker = alone.worker();
    let text = text.replace("VI_1", "VI_9");
    alone.reload_text(&format!("{global}{text}"), "it takes a new worker: moves 192.0.2.100 from VI_1 to VI_9");
    eventually(
        SOON,
        || "no third worker".to_owned(),
        || {
            let now = alone.worker();
            (!now.is_empty() && now != worker).then_some(())
        },
    );
    alone.comes(VIP);
}

#[test]
fn scripts_hear_of_an_instance_that_is_removed_by_their_own_word() {
    let first = || Router::new("VI_1", 51, &[VIP]);
    let mut alone = Alone::start(Language::Keepalived, true, &[first()]);
    let heard = alone.lan.room().join("heard");
    let tell = script(alone.lan.room(), "tell.sh", &format!("echo \"$*\" >> {}", heard.display()));
    let with = |deleted: &str| {
        let text = Language::Keepalived.write(&[first(), Router::new("VI_2", 52, &[SECOND])]);
        let (before, after) = text.split_once("virtual_router_id 52").unwrap();
        let script = |words: &str| format!("\"{tell} {words}\" root");
        format!(
            "{before}virtual_router_id 52\n    notify {}\n    notify_fault {}\n    {}{after}",
            script("any"),
            script("fault"),
            if deleted.is_empty() { String::new() } else { format!("notify_deleted {}", script(deleted)) }
        )
    };
    for (deleted, own, any) in [("", "fault", "FAULT"), ("gone", "gone", "DELETED")] {
        alone.reload_text(&with(deleted), TAKEN);
        alone.comes(SECOND);
        eventually(
            SOON,
            || "MASTER is not told".to_owned(),
            || std::fs::read_to_string(&heard).ok().filter(|text| text.contains("any INSTANCE VI_2 MASTER 100\n")),
        );
        alone.reload(&[first()], TAKEN);
        let last = format!("{own}\nany INSTANCE VI_2 {any} 100\n");
        let text = || std::fs::read_to_string(&heard).unwrap_or_default();
        eventually(
            SOON,
            || format!("not `{last}` but `{}`\n{}", text(), alone.said()),
            || text().ends_with(&last).then_some(()),
        );
        alone.goes(SECOND);
        // Until the former one is gone, one of the same name would wait for it.
        thread::sleep(Duration::from_secs(1));
        std::fs::remove_file(&heard).unwrap();
    }
}
