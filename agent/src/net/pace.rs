//! At what pace announcements leave: the addresses that wait, in turns, no sooner than the operator's interval after one
//! another. No thread, no clock, no socket.
//!
//! What must stay true: an address waits once, however often it is asked for, so that what waits is bounded by the
//! configuration; and what the caller finds to be over is never handed out.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::id::{DomainId, InterfaceId};
use keepone_proto::time::Instant;

/// An address where it lives.
pub(super) type Place = (InterfaceId, IpAddr);

/// For whom an address is announced: a domain, and which of its tenures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tenure {
    pub(super) domain: DomainId,
    pub(super) number: u64,
}

#[derive(Debug)]
struct Waiting {
    tenure: Tenure,
    rounds: u8,
}

/// Frames that share a pace.
#[derive(Debug, Default)]
struct Lane {
    /// Least time between two of them.
    interval: Duration,
    next_at: Instant,
    queue: VecDeque<Place>,
}

/// Which lane the frames of an interface and family (`true`: IPv6) are in, and the interval of each lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lanes {
    pub(crate) of: BTreeMap<(InterfaceId, bool), usize>,
    pub(crate) intervals: Vec<Duration>,
}

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Pacer {
    lanes: Vec<Lane>,
    lane_of: BTreeMap<(InterfaceId, bool), usize>,
    waiting: BTreeMap<Place, Waiting>,
    /// Whose turn it is.
    turn: usize,
}

impl Pacer {
    /// Other lanes; what waits goes on waiting, in new ones.
    pub(super) fn set(&mut self, lanes: &Lanes) {
        let before: Vec<Place> = self.lanes.iter_mut().flat_map(|lane| lane.queue.drain(..)).collect();
        let next_at = self.lanes.iter().map(|lane| lane.next_at).max().unwrap_or_default();
        self.lane_of.clone_from(&lanes.of);
        let paced = |interval: Duration| if interval.is_zero() { Instant::BOOT } else { next_at };
        let lane =
            |interval: &Duration| Lane { interval: *interval, next_at: paced(*interval), queue: VecDeque::new() };
        self.lanes = lanes.intervals.iter().map(lane).collect();
        before.into_iter().for_each(|place| self.queue(place));
    }

    fn queue(&mut self, place: Place) {
        let (interface, address) = place;
        let lane = self.lane_of.get(&(interface, address.is_ipv6())).and_then(|lane| self.lanes.get_mut(*lane));
        match lane {
            Some(lane) => lane.queue.push_back(place),
            // An interface that no configuration has any more.
            None => drop(self.waiting.remove(&place)),
        }
    }

    /// So many rounds of an address, or what is left of those that it waits for, whichever is more.
    pub(super) fn add(&mut self, tenure: Tenure, place: Place, rounds: u8) {
        if rounds == 0 {
            return;
        }
        match self.waiting.get_mut(&place) {
            Some(known) if known.tenure == tenure => known.rounds = known.rounds.max(rounds),
            Some(known) => *known = Waiting { tenure, rounds },
            None => {
                self.waiting.insert(place, Waiting { tenure, rounds });
                self.queue(place);
            }
        }
    }

    /// The next one that may leave now, of those that are not over.
    pub(super) fn next(&mut self, now: Instant, mut is_over: impl FnMut(Tenure) -> bool) -> Option<Place> {
        for _ in 0..self.lanes.len() {
            self.turn = (self.turn + 1) % self.lanes.len();
            let Some(lane) = self.lanes.get_mut(self.turn).filter(|lane| lane.next_at <= now) else { continue };
            while let Some(place) = lane.queue.pop_front() {
                let Some(waiting) = self.waiting.get_mut(&place).filter(|waiting| !is_over(waiting.tenure)) else {
                    self.waiting.remove(&place);
                    continue;
                };
                waiting.rounds = waiting.rounds.saturating_sub(1);
                if waiting.rounds > 0 {
                    lane.queue.push_back(place);
                } else {
                    self.waiting.remove(&place);
                }
                if !lane.interval.is_zero() {
                    lane.next_at = now + lane.interval;
                }
                return Some(place);
            }
        }
        None
    }

    /// When one may leave; `None`: nothing waits.
    pub(super) fn next_at(&self) -> Option<Instant> {
        self.lanes.iter().filter(|lane| !lane.queue.is_empty()).map(|lane| lane.next_at).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAN: InterfaceId = InterfaceId(0);
    const DMZ: InterfaceId = InterfaceId(1);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn tenure(number: u64) -> Tenure {
        Tenure { domain: DomainId(7), number }
    }

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    fn pacer(lanes: &[(InterfaceId, bool, usize)], intervals_ms: &[u64]) -> Pacer {
        let mut pacer = Pacer::default();
        pacer.set(&Lanes {
            of: lanes.iter().map(|(interface, ipv6, lane)| ((*interface, *ipv6), *lane)).collect(),
            intervals: intervals_ms.iter().copied().map(Duration::from_millis).collect(),
        });
        pacer
    }

    /// What leaves when, in ms, until nothing waits.
    fn run(pacer: &mut Pacer) -> Vec<(u64, Place)> {
        let mut sent = Vec::new();
        let mut now = at(0);
        while let Some(due) = pacer.next_at() {
            now = now.max(due);
            if let Some(place) = pacer.next(now, |_| false) {
                sent.push((now.as_nanos() / 1_000_000, place));
            }
        }
        sent
    }

    #[test]
    fn addresses_take_turns_and_no_two_leave_closer_than_the_interval() {
        let mut pacer = pacer(&[(LAN, false, 0)], &[100]);
        pacer.add(tenure(1), (LAN, address(1)), 2);
        pacer.add(tenure(1), (LAN, address(2)), 2);
        let sent = run(&mut pacer);
        let order: Vec<_> = sent.iter().map(|(ms, (_, address))| (*ms, *address)).collect();
        assert_eq!(order, [(0, address(1)), (100, address(2)), (200, address(1)), (300, address(2))]);
        assert_eq!(pacer.next_at(), None);
    }

    #[test]
    fn a_late_caller_makes_up_for_nothing() {
        let mut pacer = pacer(&[(LAN, false, 0)], &[100]);
        pacer.add(tenure(1), (LAN, address(1)), 3);
        assert!(pacer.next(at(1000), |_| false).is_some());
        assert_eq!(pacer.next(at(1099), |_| false), None);
        assert!(pacer.next(at(1550), |_| false).is_some());
        assert_eq!(pacer.next(at(1649), |_| false), None, "counted from when the last one left");
    }

    #[test]
    fn interfaces_of_a_group_share_one_pace_and_others_do_not_wait_for_them() {
        let third = InterfaceId(2);
        let mut pacer = pacer(&[(LAN, false, 0), (DMZ, false, 0), (third, false, 1)], &[100, 0]);
        for interface in [LAN, DMZ, third] {
            pacer.add(tenure(1), (interface, address(1)), 2);
        }
        let sent = run(&mut pacer);
        let of = |wanted: &[InterfaceId]| {
            let those = sent.iter().filter(|(_, (interface, _))| wanted.contains(interface));
            those.map(|(ms, _)| *ms).collect::<Vec<_>>()
        };
        assert_eq!((of(&[LAN, DMZ]), of(&[third])), (vec![0, 100, 200, 300], vec![0, 0]));
    }

    #[test]
    fn both_families_have_a_pace_of_their_own() {
        let six: IpAddr = "2001:db8::1".parse().unwrap();
        let mut pacer = pacer(&[(LAN, false, 0), (LAN, true, 1)], &[100, 1000]);
        pacer.add(tenure(1), (LAN, address(1)), 2);
        pacer.add(tenure(1), (LAN, six), 2);
        let sent = run(&mut pacer);
        let of = |ipv6| sent.iter().filter(|(_, (_, a))| a.is_ipv6() == ipv6).map(|(ms, _)| *ms).collect::<Vec<_>>();
        assert_eq!((of(false), of(true)), (vec![0, 100], vec![0, 1000]));
    }

    #[test]
    fn what_is_asked_for_again_and_again_waits_once() {
        let mut pacer = pacer(&[(LAN, false, 0)], &[100]);
        for _ in 0..100_000 {
            pacer.add(tenure(1), (LAN, address(1)), 5);
            pacer.add(tenure(1), (LAN, address(2)), 1);
        }
        assert_eq!((pacer.waiting.len(), pacer.lanes[0].queue.len()), (2, 2));
        assert_eq!(run(&mut pacer).len(), 6);
    }

    #[test]
    fn what_is_over_does_not_leave_and_takes_no_turn() {
        let mut pacer = pacer(&[(LAN, false, 0)], &[100]);
        (1..=200).for_each(|last| pacer.add(tenure(1), (LAN, address(last)), 5));
        assert!(pacer.next(at(0), |_| false).is_some());
        assert_eq!(pacer.next(at(100), |tenure| tenure.number == 1), None);
        assert_eq!((pacer.next_at(), pacer.waiting.len()), (None, 0));
        // The next tenure's, in the same place, is its own.
        pacer.add(tenure(1), (LAN, address(1)), 5);
        pacer.add(tenure(2), (LAN, address(1)), 2);
        let left = (0..9).filter_map(|n| pacer.next(at(1000 + n * 100), |tenure| tenure.number == 1)).count();
        assert_eq!(left, 2);
    }

    #[test]
    fn under_other_lanes_what_waits_still_leaves_and_no_sooner() {
        let mut pacer = pacer(&[(LAN, false, 0), (DMZ, false, 1)], &[100, 0]);
        pacer.add(tenure(1), (LAN, address(1)), 2);
        pacer.add(tenure(1), (DMZ, address(1)), 2);
        assert!(pacer.next(at(0), |_| false).is_some());
        assert!(pacer.next(at(0), |_| false).is_some());
        pacer.set(&Lanes { of: [((LAN, false), 0)].into(), intervals: vec![Duration::from_millis(50)] });
        assert_eq!(pacer.next_at(), Some(at(100)), "no sooner than by the former pace");
        assert_eq!(pacer.next(at(100), |_| false), Some((LAN, address(1))));
        assert_eq!((pacer.next_at(), pacer.waiting.len()), (None, 0), "of an interface that is gone nothing");
    }
}
