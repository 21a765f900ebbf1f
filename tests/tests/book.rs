//! The operator's book, done: its first chapter command by command on two nodes and a witness, then the handbook's on
//! that cluster; every other configuration is checked, every script is read by a shell, every page is found. Needs root.
//!
//! What a block is for stands behind its language: `toml HOST PATH` is that file on that host, `sh HOST` is run there,
//! `sh script PATH` is a script, `conf check node` and `toml check cluster` are parts of a configuration. What a comment says
//! of an exit code is what is asserted. The service manager's words start and stop the programs themselves.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_proto::action::AlertName;
use keepone_tests::binary;
use keepone_tests::book::{Block, blocks, docs, exit_code};
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);
/// The book's names of interfaces and networks, and those of the machines here.
const HERE: [(&str, &str); 4] = [("eth0", "lan0"), ("eth1", "hb0"), ("eth2", "hb1"), ("10.2.0.", "10.1.1.")];
const HOSTS: [(&str, Kind); 3] = [("n1", Kind::Node(0)), ("n2", Kind::Node(1)), ("w", Kind::Witness(0))];

fn pages() -> Vec<PathBuf> {
    let mut pages: Vec<_> = fs::read_dir(docs().join("book")).unwrap().map(|entry| entry.unwrap().path()).collect();
    pages.sort();
    assert!(pages.len() > 5, "{pages:?}");
    pages
}

/// The machines of the first chapter.
struct Machines {
    lan: Lan,
    running: BTreeMap<&'static str, Program>,
}

impl Machines {
    fn new() -> Self {
        let lan = Lan::build(2).unwrap();
        for (host, _) in HOSTS {
            for part in ["etc/default", "run", "lib"] {
                fs::create_dir_all(lan.room().join(host).join(part)).unwrap();
            }
        }
        Machines { lan, running: BTreeMap::new() }
    }

    /// As it is said in the book, for a machine of ours: `/etc` is shared, so that keepone's part of it has a place of its own.
    fn here(&self, host: &str, text: &str) -> String {
        let etc = self.lan.room().join(host).join("etc");
        let text = text.replace("/etc/default", etc.join("default").to_str().unwrap());
        let text = text.replace("/etc/keepone", etc.to_str().unwrap());
        HERE.iter().fold(text, |text, (theirs, ours)| text.replace(theirs, ours))
    }

    fn start(&self, host: &'static str, command: &str) -> Program {
        let kind = HOSTS.iter().find(|(name, _)| *name == host).unwrap().1;
        let room = self.lan.room().join(host);
        let bin = binary::find("keepone").parent().unwrap().to_owned();
        let line = format!(
            "mount --bind {0}/run /run && mount --bind {0}/lib /var/lib && PATH={1}:$PATH && export PATH && {command}",
            room.display(),
            bin.display()
        );
        self.lan.start_at(kind, &["sh", "-c", &line]).unwrap()
    }

    fn said(&self) -> String {
        let logs = HOSTS.map(|(host, _)| fs::read_to_string(self.lan.room().join(format!("{host}.log"))));
        logs.map(Result::unwrap_or_default).join("\n--\n")
    }

    fn write(&self, block: &Block, host: &str, path: &str) {
        let path = self.here(host, path);
        fs::write(&path, self.here(host, &block.text))
            .unwrap_or_else(|error| panic!("{}: {path}: {error}", block.place));
    }

    /// One line of the book; its exit code must be 0, or what its comment says.
    fn run(&mut self, block: &Block, host: &'static str, line: &str) {
        let service = |name: &str| match name {
            "keepone-witness" => "exec keepone-witness run -c /etc/keepone/witness.toml",
            _ => "exec keepone run -c /etc/keepone/keepone.toml",
        };
        match *line.split_whitespace().collect::<Vec<_>>() {
            ["systemctl", "enable", "--now", name] => {
                let started = self.start(host, &self.here(host, service(name)));
                assert!(self.running.insert(host, started).is_none(), "{}: it runs already", block.place);
                return self.serves(block, host);
            }
            ["systemctl", "reload", _] => return self.running[host].signal(Part::Guardian, Signal::SIGHUP),
            ["systemctl", ..] => panic!("{}: `{line}` is not known to this test", block.place),
            _ => {}
        }
        let wanted = exit_code(line);
        // Where its file is, since that is not where it looks.
        let named = line.starts_with("keepone-witness") && !line.contains("/etc/keepone");
        let line = if named { format!("{line} -c /etc/keepone/witness.toml") } else { line.to_owned() };
        let mut command = self.start(host, &self.here(host, &line));
        let ended =
            command.wait(SOON).unwrap_or_else(|| panic!("{}: `{line}` does not end\n{}", block.place, self.said()));
        assert_eq!(ended.code(), Some(wanted), "{}: `{line}` on {host}\n{}", block.place, self.said());
    }

    /// Until whoever was started answers.
    fn serves(&self, block: &Block, host: &'static str) {
        let ask = if host == "w" { "keepone-witness status -c /etc/keepone/witness.toml" } else { "keepone status" };
        eventually(
            SOON,
            || format!("{}: {host} does not serve\n{}", block.place, self.said()),
            || {
                let mut asked = self.start(host, &self.here(host, ask));
                asked.wait(SOON)?.success().then_some(())
            },
        );
    }

    /// Does what a page says, in its order.
    fn follow(&mut self, page: &str, after: impl Fn(&Self, &str)) {
        for block in blocks(&docs().join("book").join(page)) {
            match (block.language.as_str(), block.words().as_slice()) {
                ("toml", [host, path]) => self.write(&block, host, path),
                ("sh", [host]) => {
                    let host = HOSTS
                        .iter()
                        .find(|(name, _)| name == host)
                        .unwrap_or_else(|| panic!("{}: {host}?", block.place))
                        .0;
                    for line in block.text.lines() {
                        self.run(&block, host, line);
                        after(self, line);
                    }
                }
                ("text", []) => {}
                other => panic!("{}: nobody knows what to do with {other:?}", block.place),
            }
        }
    }

    /// "n1.key goes to n1, n2.key to n2, w.key to w …; members.toml to all."
    fn hand_out_keys(&self) {
        let keys = self.lan.room().join("n1/etc/keys");
        for (host, _) in HOSTS {
            let etc = self.lan.room().join(host).join("etc");
            fs::copy(keys.join(format!("{host}.key")), etc.join(format!("{host}.key"))).unwrap();
            if host != "n1" {
                fs::create_dir(etc.join("keys")).unwrap();
                fs::copy(keys.join("members.toml"), etc.join("keys/members.toml")).unwrap();
            }
        }
    }
}

#[test]
fn the_first_chapter_and_the_handbook_do_what_they_say() {
    let mut machines = Machines::new();
    let watch = Watch::start(&machines.lan, VIP.into()).unwrap();
    machines.follow("first-cluster.md", |machines, line| {
        let holds = |node| {
            let seen = watch.answered_by(node, SOON);
            assert!(seen.is_some(), "`{line}`: n{} does not answer\n{}", node + 1, machines.said());
            eventually(SOON, || machines.said(), || (watch.holders() == [node]).then_some(()));
            // It is handed on a second after it came, at the earliest.
            thread::sleep(Duration::from_millis(1500));
        };
        match line {
            _ if line.starts_with("keepone keys") => machines.hand_out_keys(),
            _ if line.starts_with("keepone-witness check") => {
                assert!(
                    machines.said().contains("cluster web: voters n1, n2, w, lease 1000 ms"),
                    "{}",
                    machines.said()
                );
            }
            // The first to start holds it, as the better one.
            "systemctl enable --now keepone" => holds(0),
            "keepone handover WEB --to n2" | "keepone maintenance on" => holds(1),
            "keepone handover WEB --to n1" | "keepone maintenance off" => holds(0),
            "systemctl reload keepone" => eventually(
                SOON,
                || machines.said(),
                || {
                    let log = fs::read_to_string(machines.lan.room().join("n1.log")).unwrap();
                    log.contains("reload: taken over").then_some(())
                },
            ),
            _ => {}
        }
    });
    machines.follow("handbook.md", |_, _| {});
}

/// What a part of a configuration stands in: a pair with a witness, or three nodes.
fn whole(language: &str, around: &str, part: &str) -> String {
    let key = |number: u8| format!("{}=", "A".repeat(42) + char::from(b'A' + 4 * number).to_string().as_str());
    let third = if around == "node" { "witness" } else { "" };
    let toml = language == "toml";
    let mut text = if toml {
        "[cluster]\nname = \"web\"\n[node]\nname = \"n1\"\nkey_file = \"n1.key\"\n".to_owned()
    } else {
        "cluster web {\n node n1\n key_file n1.key\n".to_owned()
    };
    for (number, name) in [(1, "n1"), (2, "n2"), (3, "n3")] {
        let witness = if name == "n3" { third } else { "" };
        let listens = "10.9.0.3:7947";
        text += &match (toml, witness) {
            (true, "") => format!("[[member]]\nname = \"{name}\"\nid = {number}\npublic_key = \"{}\"\n", key(number)),
            (true, _) => format!(
                "[[member]]\nname = \"{name}\"\nid = {number}\npublic_key = \"{}\"\nwitness = \"{listens}\"\n",
                key(number)
            ),
            (false, "") => format!(" member {name} {{\n  id {number}\n  public_key {}\n }}\n", key(number)),
            (false, _) => {
                format!(" member {name} {{\n  id {number}\n  public_key {}\n  witness {listens}\n }}\n", key(number))
            }
        };
    }
    let others: &[(&str, u8)] = if third.is_empty() { &[("n2", 2), ("n3", 3)] } else { &[("n2", 2)] };
    if toml {
        let peers: Vec<_> = others.iter().map(|(name, last)| format!("{name} = \"10.1.0.{last}\"")).collect();
        text += &format!(
            "[[heartbeat_link]]\nname = \"hb0\"\ninterface = \"eth1\"\naddress = \"10.1.0.1\"\npeers = {{ {} }}\n",
            peers.join(", ")
        );
        text += "[[vrrp_instance]]\nname = \"VI\"\ninterface = \"eth0\"\nvirtual_router_id = 51\nversion = 3\nadvert_int = \"200ms\"\nvirtual_ipaddress = [\"192.0.2.100/24\"]\n";
    } else {
        let peers: String = others.iter().map(|(name, last)| format!(" peer {name} 10.1.0.{last}\n")).collect();
        text += &format!(
            "}}\nheartbeat_link hb0 {{\n interface eth1\n address 10.1.0.1\n{peers}}}\narbiter {{\n type quorum\n}}\n"
        );
    }
    text + part
}

#[test]
fn every_configuration_is_read_and_every_script_is_one() {
    let room = tempfile::tempdir().unwrap();
    let (mut configurations, mut scripts) = (0, 0);
    for block in pages().iter().flat_map(|page| blocks(page)) {
        match (block.language.as_str(), block.words().as_slice()) {
            (language @ ("conf" | "toml"), ["check", around]) => {
                let file = room.path().join(format!("x.{language}"));
                fs::write(&file, whole(language, around, &block.text)).unwrap();
                let checked = Command::new(binary::find("keepone")).arg("check").arg(&file).output().unwrap();
                let said = String::from_utf8_lossy(&checked.stderr);
                assert!(checked.status.success(), "{}: {said}", block.place);
                configurations += 1;
            }
            ("sh", ["script", _]) => {
                let file = room.path().join("script");
                fs::write(&file, &block.text).unwrap();
                assert!(Command::new("sh").arg("-n").arg(&file).status().unwrap().success(), "{}", block.place);
                scripts += 1;
            }
            ("toml" | "sh", [_] | [_, _]) | ("text", []) => {}
            other => panic!("{}: nobody knows what to do with {other:?}", block.place),
        }
    }
    assert!(configurations >= 8 && scripts >= 5, "{configurations} configurations, {scripts} scripts");
}

/// `(target)` of every link in a page, without what is behind `#`.
fn links(page: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(page).unwrap();
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let targets = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    targets.map(|target| target.split('#').next().unwrap().to_owned()).collect()
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let listed = links(&docs().join("SUMMARY.md"));
    for page in pages() {
        let name = format!("book/{}", page.file_name().unwrap().to_str().unwrap());
        assert!(listed.contains(&name), "{name} is not in SUMMARY.md");
        for link in links(&page) {
            assert!(page.parent().unwrap().join(&link).exists(), "{name}: {link} is not there");
        }
    }
    for link in listed {
        assert!(docs().join(&link).is_file(), "SUMMARY.md: {link} is not there");
    }
}

#[test]
fn every_alert_has_its_place() {
    let text = fs::read_to_string(docs().join("book/alerts.md")).unwrap();
    let found: BTreeSet<&str> = text.lines().filter_map(|line| line.strip_prefix("## ")).collect();
    let wanted: BTreeSet<&str> = AlertName::ALL.iter().map(|name| name.as_str()).collect();
    assert_eq!(found, wanted);
}
