//! Two agents with two heartbeat links and no authority, on real packets: what P2, D0, D1, D7 and the gate
//! of safety.md promise where nobody arbitrates. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::panic::Location;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Class, Network, Part};
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// m·h: beats each 100 ms, three of them missed.
const SILENCE: Duration = Duration::from_millis(300);
/// Master_Down_Interval of the worse node: three Advertisements of 250 ms and the skew of priority 100.
const DOWN: Duration = Duration::from_millis(902);
/// Late threads on a machine that is busy with other tests.
const BUSY: Duration = Duration::from_millis(500);
const A: usize = 0;
const B: usize = 1;

struct Pair {
    programs: [Program; 2],
    watch: Watch,
    lan: Lan,
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}

impl Pair {
    /// Both run, and the better one holds.
    fn steady() -> Self {
        let lan = Lan::build(2).unwrap();
        let cluster = Cluster::new(&lan).unwrap();
        let program = keepone_tests::binary::find("keepone");
        let programs = [A, B].map(|node| {
            let file = cluster.write(&lan, node).unwrap();
            lan.start(node, &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
        });
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let pair = Pair { programs, watch, lan };
        pair.must(pair.watch.alone(A, Duration::from_secs(10)).is_some(), "the better node does not become MASTER");
        pair.stays(A, Duration::from_secs(1));
        pair
    }

    #[track_caller]
    fn must(&self, good: bool, what: &str) {
        if !good {
            let spans: Vec<Vec<(u64, u64)>> = self.watch.spans().iter().map(|spans| spans.iter().collect()).collect();
            panic!(
                "{what}\n  {}, now {}\n  held, in ns: {spans:?}\nn1 said:\n{}\nn2 said:\n{}",
                Location::caller(),
                clock::now(),
                self.programs[A].said(),
                self.programs[B].said()
            );
        }
    }

    /// `node` alone has the address and answers, throughout.
    #[track_caller]
    fn stays(&self, node: usize, time: Duration) {
        self.must(self.watch.answered_by(node, Duration::from_secs(2)).is_some(), "the holder does not answer");
        let begin = clock::now();
        while clock::now() < begin + nanos(time) {
            self.must(self.watch.holders() == [node], "somebody else, nobody or both hold the address");
            thread::sleep(Duration::from_millis(10));
        }
        let (nodes, count) = self.watch.answers(begin, clock::now());
        self.must(nodes == [node] && count > 0, "another node answered, too, or nobody");
    }

    fn cut(&mut self, networks: &[Network], class: Class) {
        for network in networks {
            self.lan.cut_nodes(*network, class).unwrap();
        }
    }

    /// When `node` answered the client first and last, within `[from, to)`.
    fn first_and_last(&self, node: usize, from: u64, to: u64) -> Option<(u64, u64)> {
        let answers = self.watch.answers_of(node, from, to);
        Some((*answers.first()?, *answers.last()?))
    }
}

#[test]
fn vrrp_alone_is_cut_and_nothing_moves_d1() {
    let mut pair = Pair::steady();
    pair.cut(&[Network::Lan], Class::Vrrp);
    pair.stays(A, DOWN * 4);
    pair.must(pair.programs[B].said().contains("vrrp-silent"), "the silence of VRRP is not told");
    pair.lan.heal().unwrap();
    pair.stays(A, DOWN);
}

#[test]
fn one_heartbeat_link_is_cut_and_nothing_moves() {
    let mut pair = Pair::steady();
    pair.cut(&[Network::Heartbeat(0)], Class::All);
    pair.stays(A, DOWN * 3);
    for node in [A, B] {
        pair.must(pair.programs[node].said().contains("alert heartbeat-link-down"), "a lost link is not told");
    }
}

#[test]
fn a_frozen_master_is_silent_before_the_other_one_claims() {
    let pair = Pair::steady();
    let at = clock::now();
    pair.programs[A].signal(Part::Both, Signal::SIGSTOP);
    let claimed = pair.watch.has(B, DOWN + BUSY * 2);
    pair.must(claimed.is_some(), "no takeover from a frozen node");
    pair.must(pair.watch.answered_by(B, Duration::from_secs(2)).is_some(), "the new MASTER does not answer");
    thread::sleep(Duration::from_secs(1));
    let now = clock::now();
    let last = pair.first_and_last(A, at - nanos(SILENCE), now).map_or(0, |(_, last)| last);
    let first = pair.first_and_last(B, at, now).map_or(0, |(first, _)| first);
    pair.must(last < first, "the frozen node answered beside the other one");
    // The gate is open for m·h after the last sign of life, whatever the addresses' lifetime.
    pair.must(last < at + nanos(SILENCE + BUSY), "the frozen node's gate stayed open");
    let took = Duration::from_nanos(first - at);
    pair.must(took >= DOWN - Duration::from_millis(250) - SILENCE, &format!("claimed after {took:?}, too early"));

    // It thaws, finds its lease lapsed, and is given the address back in good order.
    let thawed = clock::now();
    pair.programs[A].signal(Part::Both, Signal::SIGCONT);
    pair.must(pair.watch.alone(A, Duration::from_secs(10)).is_some(), "the better node does not come back");
    pair.stays(A, Duration::from_secs(1));
    let last = pair.first_and_last(B, thawed, clock::now()).map_or(0, |(_, last)| last);
    let back = pair.watch.answers_of(A, thawed, clock::now());
    let beside = back.iter().filter(|at| **at < last).count();
    pair.must(beside == 0, &format!("{beside} answers of the thawed node beside the other one's"));
}

#[test]
fn two_holders_of_a_full_cut_become_one_when_it_heals_p2() {
    let mut pair = Pair::steady();
    pair.cut(&[Network::Lan, Network::Heartbeat(0), Network::Heartbeat(1)], Class::All);
    // Both hold: without a third party nobody can know better. Both say so.
    pair.must(pair.watch.has(B, DOWN + BUSY * 2).is_some(), "no takeover");
    thread::sleep(Duration::from_secs(2));
    for node in [A, B] {
        pair.must(pair.programs[node].said().contains("alert claimed-unarbitrated"), "a lone claim is not alarmed");
    }
    let healed = clock::now();
    pair.lan.heal().unwrap();
    // D7: who was MASTER before the split stays; the first Advertisement or beat says so.
    pair.must(pair.watch.alone(A, Duration::from_secs(5)).is_some(), "two holders after the repair");
    let overlap = pair.watch.overlap(healed, clock::now());
    pair.must(overlap <= Duration::from_millis(250) + BUSY, &format!("both held for {overlap:?} after the repair"));
    pair.stays(A, Duration::from_secs(2));
}

#[test]
fn an_orderly_stop_hands_over_at_once() {
    let mut pair = Pair::steady();
    let at = clock::now();
    pair.programs[A].signal(Part::Guardian, Signal::SIGTERM);
    pair.must(pair.watch.alone(B, Duration::from_secs(3)).is_some(), "no handover");
    pair.must(pair.watch.answered_by(B, Duration::from_secs(2)).is_some(), "the heir does not answer");
    let first = pair.first_and_last(B, at, clock::now()).map_or(u64::MAX, |(first, _)| first);
    let took = Duration::from_nanos(first.saturating_sub(at));
    // Milliseconds, where VRRP's Skew_Time alone would be 152 ms.
    pair.must(took <= BUSY, &format!("the heir answered after {took:?}"));
    pair.must(pair.watch.overlap(at, clock::now()) == Duration::ZERO, "both held the address");
    let ended = pair.programs[A].wait(Duration::from_secs(5)).and_then(|status| status.code());
    pair.must(ended == Some(0), "it did not end in good order");
}
