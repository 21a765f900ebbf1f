//! Every way to speak VRRP, beside every other program: what the two routers do when one stops, dies or comes
//! back. The page `docs/interop.md` has the results; `UPDATE=1` writes them into it.
//!
//! Cells run several at a time, each in namespaces of its own. One that fails runs once more when the others
//! have ended: the machine may have been too busy for its bounds.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_tests::lan::Lan;

use crate::page::{self, Section};
use crate::parallel;
use crate::routers::Router::{self, Frr, Keepalived, Keepone};
use crate::routers::older;
use crate::speech::{AH, HMAC, PASS, Speech, V2, V3};
use crate::story::{self, A, B, Story};

/// How a router proves itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    None,
    Pass,
    Ah,
    Hmac,
}

/// A way to speak, whether or not there are two programs that do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Way {
    version: u8,
    ipv6: bool,
    unicast: bool,
    proof: Proof,
    plain_checksum: bool,
    /// Each 100 ms.
    fast: bool,
}

impl Way {
    /// All of them.
    fn all() -> Vec<Way> {
        let mut all = Vec::new();
        for version in [2, 3] {
            for ipv6 in [false, true] {
                for unicast in [false, true] {
                    for proof in [Proof::None, Proof::Pass, Proof::Ah, Proof::Hmac] {
                        for plain_checksum in [false, true] {
                            // Version 2 has one checksum, and IPv6 one: RFC 9568, 5.2.8.
                            let one = version == 2 || ipv6;
                            if !(one && plain_checksum) {
                                all.push(Way { version, ipv6, unicast, proof, plain_checksum, fast: false });
                            }
                        }
                    }
                    // Version 2 counts in seconds.
                    if version == 3 {
                        all.push(Way { version, ipv6, unicast, proof: Proof::None, plain_checksum: false, fast: true });
                    }
                }
            }
        }
        all
    }

    fn name(self) -> String {
        let family = if self.ipv6 { "IPv6" } else { "IPv4" };
        let way = if self.unicast { "unicast" } else { "multicast" };
        let proof = match self.proof {
            Proof::None => "none",
            Proof::Pass => "PASS",
            Proof::Ah => "AH",
            Proof::Hmac => "HMAC",
        };
        let version = self.version;
        let proof = match (self.plain_checksum, self.proof) {
            (false, _) => proof.to_owned(),
            (true, Proof::None) => "none, plain checksum".to_owned(),
            (true, _) => format!("{proof}, plain checksum"),
        };
        let fast = if self.fast { ", each 100 ms" } else { "" };
        format!("{version} | {family} | {way} | {proof}{fast}")
    }

    /// Why keepone and `peer` don't speak like this; `None`: they do.
    fn absent(self, peer: Router, version_of_peer: &str) -> Option<&'static str> {
        match self {
            Way { proof: Proof::Hmac, .. } if peer == Frr => Some("FRR's vrrpd has no authentication"),
            Way { proof: Proof::Hmac, .. } if peer == Keepalived && older(version_of_peer, "2.4.2") => {
                Some("keepalived has `auth_hmac` since 2.4.0, and signs the same as now since 2.4.2")
            }
            Way { version: 2, ipv6: true, .. } => {
                Some("VRRPv2 is for IPv4 alone (RFC 3768, 1); keepone and FRR refuse it, keepalived speaks version 3")
            }
            Way { version: 3, proof: Proof::Pass | Proof::Ah, .. } => {
                Some("VRRPv3 has no field for it (RFC 9568, 9): all three leave the authentication out")
            }
            Way { proof: Proof::Pass | Proof::Ah, .. } if peer == Frr => Some("FRR's vrrpd has no authentication"),
            Way { unicast: true, .. } if peer == Frr => Some("FRR's vrrpd has no unicast"),
            Way { plain_checksum: true, .. } if peer == Frr => {
                Some("FRR 8.4 has the pseudo-header only; `checksum-with-ipv4-pseudoheader` came later")
            }
            Way { plain_checksum: true, .. } if peer == Keepalived && older(version_of_peer, "2.2.8") => {
                Some("keepalived 2.2.7 has the pseudo-header only; `v3_checksum_as_v2` came later")
            }
            Way { .. } => None,
        }
    }

    fn speech(self) -> Speech {
        let Way { unicast, ipv6, plain_checksum, .. } = self;
        let auth = match self.proof {
            Proof::None | Proof::Hmac => None,
            Proof::Pass => Some(PASS),
            Proof::Ah => Some(AH),
        };
        let hmac = (self.proof == Proof::Hmac).then_some(HMAC);
        Speech { unicast, ipv6, auth, hmac, plain_checksum, ..self.timing() }
    }

    fn timing(self) -> Speech {
        match self {
            Way { version: 2, .. } => V2,
            Way { fast: true, .. } => Speech { advert_int: Duration::from_millis(100), ..V3 },
            Way { .. } => HALF_A_SECOND,
        }
    }
}

/// Version 3 with an interval that leaves room for a busy machine.
const HALF_A_SECOND: Speech = Speech { advert_int: Duration::from_millis(500), ..V3 };

/// A column: what is seen, in this order.
const COLUMNS: [&str; 6] = ["follows", "priority 0", "preempts", "gives way", "takes over", "nopreempt"];

/// Two routers, of which the first is the better one and begins.
#[derive(Debug, Clone, Copy)]
struct Cell {
    way: Way,
    routers: [Router; 2],
}

/// How far a cell came, and why no further.
struct Result {
    cell: Cell,
    reached: usize,
    failure: Option<String>,
}

impl Cell {
    fn run(self, lan: Lan) -> (Result, Option<Lan>) {
        let reached = std::cell::Cell::new(0);
        let lived = catch_unwind(AssertUnwindSafe(|| {
            let mut story = Story::on(lan, self.way.speech(), self.routers);
            story.begin();
            reached.set(1);
            story.terminate_a();
            story.stays(B, story.speech.advert_int * 4);
            reached.set(2);
            let at = story.preempts();
            reached.set(3);
            story.gives_way(at);
            reached.set(4);
            story.kill_a();
            thread::sleep(story.speech.advert_int * 2);
            story.must(story.watch().holders().contains(&B), "the new MASTER lost the address again");
            reached.set(5);
            story.does_not_preempt();
            story.stays(A, Duration::from_secs(1));
            reached.set(6);
            story.leave()
        }));
        let reached = reached.get();
        match lived {
            Ok(lan) => (Result { cell: self, reached, failure: None }, Some(lan)),
            Err(cause) => (Result { cell: self, reached, failure: Some(story::words_of(cause)) }, None),
        }
    }
}

impl Result {
    fn row(&self) -> String {
        let marks: Vec<&str> = (0..COLUMNS.len())
            .map(|column| match column.cmp(&self.reached) {
                std::cmp::Ordering::Less => "yes",
                std::cmp::Ordering::Equal => "**no**",
                std::cmp::Ordering::Greater => "",
            })
            .collect();
        let [better, worse] = self.cell.routers.map(Router::name);
        format!("| {} | {better} | {worse} | {} |", self.cell.way.name(), marks.join(" | "))
    }
}

/// Runs all cells, in their order of the table.
fn run(cells: &[Cell]) -> Vec<Result> {
    let again = |result: Result| match &result.failure {
        Some(failure) => {
            println!("{}: once more, alone, after {failure}", result.row());
            result.cell.run(parallel::lan()).0
        }
        None => result,
    };
    parallel::map(cells, Cell::run).into_iter().map(again).collect()
}

/// A table of `docs/interop.md`: keepone beside one other program.
fn section(peer: Router) -> (Section, Vec<Result>) {
    let version = peer.version();
    let ways: Vec<Way> = Way::all().into_iter().filter(|way| way.absent(peer, &version).is_none()).collect();
    let cells: Vec<Cell> = ways
        .iter()
        .flat_map(|way| [[Keepone, peer], [peer, Keepone]].map(|routers| Cell { way: *way, routers }))
        .collect();
    let results = run(&cells);
    let mut lines = vec![
        format!("| version | family | way | authentication | better, first | worse | {} |", COLUMNS.join(" | ")),
        "|---".repeat(6 + COLUMNS.len()) + "|",
    ];
    lines.extend(results.iter().map(Result::row));
    lines.push(String::new());
    lines.push(format!("Not there with {} {version}:", peer.name()));
    lines.push(String::new());
    lines.push("| why | ways |".to_owned());
    lines.push("|---|---|".to_owned());
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for way in Way::all() {
        let Some(why) = way.absent(peer, &version) else { continue };
        let name = way.name().replace(" | ", " ");
        match reasons.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, ways)) => ways.push(name),
            None => reasons.push((why, vec![name])),
        }
    }
    lines.extend(reasons.iter().map(|(why, ways)| format!("| {why} | {} |", ways.join("; "))));
    (Section { title: format!("{} {version}", peer.name()), lines }, results)
}

/// What keepone says of a configuration that asks for a way which does not exist.
fn said(way: Way) -> (bool, String) {
    let proof = match way.proof {
        Proof::None => "",
        Proof::Pass => "authentication {\n auth_type PASS\n auth_pass s3cret12\n}\n",
        Proof::Ah => "authentication {\n auth_type AH\n auth_pass s3cret12\n}\n",
        Proof::Hmac => "auth_hmac {\n key 1 0123456789abcdef0123456789abcdef\n active_key 1\n}\n",
    };
    let (address, own, peer) = if way.ipv6 {
        ("fe80::5e:1/64\nfd00::100/64", "fd00::1", "fd00::2")
    } else {
        ("192.0.2.100/24", "192.0.2.1", "192.0.2.2")
    };
    let unicast =
        if way.unicast { format!("unicast_src_ip {own}\nunicast_peer {{\n {peer}\n}}\n") } else { String::new() };
    let version = way.version;
    let text = format!(
        "vrrp_instance VI_1 {{\nstate BACKUP\ninterface lan0\nvirtual_router_id 51\nversion {version}\npriority 100\n\
         {proof}{unicast}virtual_ipaddress {{\n{address}\n}}\n}}\n"
    );
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("keepalived.conf");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(keepone_tests::binary::find("keepone")).arg("check").arg(&file).output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
fn keepone_says_of_every_way_that_does_not_exist_what_is_missing() {
    for way in Way::all() {
        let (good, said) = said(way);
        let (is_good, words) = match way {
            Way { version: 2, ipv6: true, .. } => (false, "has IPv6 addresses, but VRRP version 2 is for IPv4"),
            Way { version: 3, proof: Proof::Pass | Proof::Ah, .. } => {
                (true, "which has no authentication: it is ignored")
            }
            Way { .. } => (true, "is good"),
        };
        assert!(good == is_good && said.contains(words), "{way:?}: {said}");
    }
}

fn holds(peer: Router) {
    let (section, results) = section(peer);
    let failures = results.iter().filter_map(|result| result.failure.clone());
    page::compare(&section, &failures.collect::<Vec<_>>());
}

#[test]
fn keepone_and_keepalived_are_one_virtual_router_in_every_way_that_both_speak() {
    holds(Keepalived);
}

#[test]
fn keepone_and_frr_are_one_virtual_router_in_every_way_that_both_speak() {
    holds(Frr);
}
