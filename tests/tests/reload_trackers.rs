//! BFD sessions and track groups that a running agent takes over, beside a Master that nobody may notice it on. Needs root,
//! and FRR (`frr` of the distribution).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Network, Part};
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::alone::{LoneAgent, TAKEN};
use keepone_tests::dissect::{Frame, Recorder, dissect};
use keepone_tests::frr::Frr;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::patience::eventually;
use keepone_tests::unbroken::Unbroken;
use nix::sys::signal::Signal;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);
/// An Advertisement of 100 ms that is missing doubles the interval; a busy machine delays one by less than that.
const LATEST: Duration = Duration::from_millis(190);
/// What tshark says of a session that is up, and of one that is held down.
const UP: &str = "0x03";
const ADMIN_DOWN: &str = "0x00";

struct Alone {
    program: LoneAgent,
    lan: Lan,
}

impl Alone {
    fn start(lan: Lan, text: &str) -> Self {
        let file = lan.write("x.conf", text).unwrap();
        let program = LoneAgent::start(&lan, true, &file, &[]).unwrap();
        let mut alone = Alone { program, lan };
        assert!(alone.program.says("VI_1: CLAIMING -> MASTER", SOON), "{}", alone.said());
        // All that follows a start has been said.
        thread::sleep(Duration::from_secs(1));
        alone
    }

    fn said(&self) -> String {
        self.program.said()
    }

    /// Another file; `words` are said so often more then, soon.
    #[track_caller]
    fn reload(&mut self, text: &str, words: &str, times: usize) {
        self.lan.write("x.conf", text).unwrap();
        let before = [TAKEN, words].map(|words| self.said().matches(words).count());
        self.program.signal(Part::Guardian, Signal::SIGHUP);
        for (words, count) in [(TAKEN, before[0] + 1), (words, before[1] + times)] {
            eventually(
                SOON,
                || format!("`{words}` is not said:\n{text}\n{}", self.said()),
                || (self.said().matches(words).count() >= count).then_some(()),
            );
        }
    }

    fn worker(&self) -> Vec<i32> {
        members(self.program.pid(), Part::Worker)
    }
}

fn configuration(sources: &str, tracks: &str) -> String {
    format!(
        "{sources}\nvrrp_instance VI_1 {{\n interface {INTERFACE}\n version 3\n advert_int 0.1\n virtual_router_id 51\n \
         priority 100\n virtual_ipaddress {{\n {VIP}/24\n }}\n track_bfd {{\n {tracks}\n }}\n}}\n"
    )
}

fn session(name: &str, (own, neighbor): (&str, &str), interval: u32) -> String {
    format!(
        "bfd_instance {name} {{\n neighbor_ip {neighbor}\n source_ip {own}\n min_rx {interval}\n min_tx {interval}\n \
         multiplier 6\n}}\n"
    )
}

/// What a session's neighbour has heard of it since it was up first: states, and names.
fn heard(frames: &[Frame], source: (&str, &str)) -> (Vec<String>, BTreeSet<String>) {
    let of = |frame: &Frame, field: &str| frame.get(field).map(String::as_str).unwrap_or_default().to_owned();
    let ours = frames.iter().filter(|frame| of(frame, source.0) == source.1 && of(frame, "udp.dstport") == "3784");
    let ours: Vec<&Frame> = ours.skip_while(|frame| of(frame, "bfd.sta") != UP).collect();
    let names = ours.iter().map(|frame| of(frame, "bfd.my_discriminator")).collect();
    (ours.iter().map(|frame| of(frame, "bfd.sta")).collect(), names)
}

#[test]
fn sessions_come_change_and_go_and_those_that_stay_and_the_master_notice_nothing() {
    let lan = Lan::build(0).unwrap();
    lan.add_ipv6().unwrap();
    let client = lan.host(Kind::Client(0)).port(Network::Lan).unwrap().address.to_string();
    let own = lan.address(0).to_string();
    let here = format!("interface {INTERFACE}");
    let (four, six) = ((own.as_str(), client.as_str()), ("fd00::11", "fd00::33"));
    let peers = [four, six].map(|(own, client)| (own.to_owned(), client.to_owned(), here.as_str()));
    let frr = Frr::new(&lan, &peers);
    let _zebra = frr.start(&lan, "zebra");
    thread::sleep(Duration::from_secs(1));
    let _bfdd = frr.start(&lan, "bfdd");
    let recorder = Recorder::start(&lan, Kind::Client(0)).unwrap();
    let first = session("router4", four, 50);
    let mut alone = Alone::start(lan, &configuration(&first, "router4"));
    // At a start it is so until it is up first.
    let downs = |alone: &Alone| alone.said().matches("what is tracked is down").count();
    let (worker, before) = (alone.worker(), downs(&alone));
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    thread::sleep(Duration::from_millis(500));

    let up = "what is tracked is up";
    let both = format!("{first}{}", session("router6", six, 50));
    alone.reload(&configuration(&both, "router4\n router6"), up, 1);
    // The second at another pace, and then by another name.
    let slower = format!("{first}{}", session("router6", six, 150));
    alone.reload(&configuration(&slower, "router4\n router6"), up, 1);
    thread::sleep(Duration::from_secs(2));
    let renamed = slower.replace("router6", "far6");
    alone.reload(&configuration(&renamed, "router4\n far6"), up, 1);
    thread::sleep(Duration::from_secs(1));
    // Nobody tracks it any more.
    alone.reload(&configuration(&first, "router4"), TAKEN, 1);
    thread::sleep(Duration::from_secs(1));
    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert_eq!(alone.worker(), worker, "{}", alone.said());
    assert_eq!(downs(&alone), before, "{}", alone.said());
    assert!(!alone.said().contains("VI_1: MASTER -> "), "{}", alone.said());

    let frames = dissect(&recorder.stop().unwrap(), false).unwrap();
    let (states, names) = heard(&frames, ("ip.src", &own));
    assert!(states.len() > 50 && states.iter().all(|state| state == UP) && names.len() == 1, "{names:?} {states:?}");
    let (states, names) = heard(&frames, ("ipv6.src", six.0));
    let last = states.iter().rposition(|state| state == UP).unwrap();
    assert!(states.iter().take(last).all(|state| state == UP) && names.len() == 1, "{names:?} {states:?}");
    // RFC 5880, 6.8.16.
    assert!(states.len() > last + 1 && states.iter().skip(last + 1).all(|state| state == ADMIN_DOWN), "{states:?}");
}

#[test]
fn a_session_that_comes_with_a_reload_and_does_not_come_up_is_a_fault_and_one_that_goes_is_none() {
    let lan = Lan::build(0).unwrap();
    let first = "bfd_instance nobody {\n neighbor_ip 192.0.2.99\n}\n";
    let mut alone = Alone::start(lan, &configuration("", ""));
    let worker = alone.worker();
    alone.reload(&configuration(first, "nobody"), "what is tracked is down: no session with 192.0.2.99", 1);
    assert!(alone.program.says("VI_1: MASTER -> FAULT", SOON), "{}", alone.said());
    alone.reload(&configuration("", ""), "-> MASTER", 1);
    assert_eq!(alone.worker(), worker, "{}", alone.said());
}

#[test]
fn track_groups_come_and_go_beside_a_master_and_what_is_missing_is_a_fault_of_their_members() {
    let fixed = |dev: &str, group: &str| {
        let members = "track_group G {\n group {\n VI_1\n }\n}\n";
        let members = if group.is_empty() { "" } else { members };
        format!("{members}static_ipaddress {{\n 198.51.100.1/24 dev {dev} {group}\n}}\n")
    };
    let mut alone = Alone::start(Lan::build(0).unwrap(), &configuration(&fixed(INTERFACE, ""), ""));
    let worker = alone.worker();
    let observed = Unbroken::watch(&alone.lan, 0, VIP).unwrap();
    thread::sleep(Duration::from_millis(500));
    alone.reload(&configuration(&fixed(INTERFACE, "track_group G"), ""), TAKEN, 1);
    thread::sleep(Duration::from_secs(4));
    alone.reload(&configuration(&fixed(INTERFACE, ""), ""), TAKEN, 1);
    // Longer than silence is believed: one that comes back is not judged by it.
    thread::sleep(Duration::from_secs(16));
    alone.reload(&configuration(&fixed(INTERFACE, "track_group G"), ""), TAKEN, 1);
    thread::sleep(Duration::from_secs(1));
    println!("{}", observed.end(LATEST, &|| alone.said()));
    assert!(!alone.said().contains("VI_1: MASTER -> "), "{}", alone.said());
    alone.reload(&configuration(&fixed("lan9", "track_group G"), ""), "VI_1: MASTER -> FAULT", 1);
    alone.reload(&configuration(&fixed(INTERFACE, "track_group G"), ""), "-> MASTER", 1);
    assert_eq!(alone.worker(), worker, "{}", alone.said());
}
