//! When the next attempt is due, and what goes with it.
//!
//! A first mail leaves at once, with what came in the same moment; what comes soon after it is folded into a digest,
//! later each time as long as it goes on. What can't wait goes by itself, before all others. A webhook gets each by
//! itself, as soon as the one before is taken. After a failed attempt both wait, longer each time.
//!
//! Pure: it is told what time it is.

use std::time::Duration;

use keepone_proto::time::Instant;

/// What comes within this of a first one goes with it.
const GATHER: Duration = Duration::from_millis(300);
/// From one mail to the next digest, doubled each time, and the longest.
const WINDOW: Duration = Duration::from_secs(5);
const LONGEST_WINDOW: Duration = Duration::from_secs(300);
/// From a failed attempt to the next, doubled each time, and the longest; and the longest where something can't wait.
const RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(60);
const LONGEST_RETRY_FIRST: Duration = Duration::from_secs(5);
/// What one mail holds at most.
const MOST: usize = 200;

/// Something that waits: when it came, and whether it goes first.
pub(super) type Waiting = (Instant, bool);

/// What is to be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// These are due, by their places.
    Carry(Vec<usize>),
    /// Not before then; `None`: not before something comes.
    Wait(Option<Instant>),
}

/// The pace of one spool.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    /// Several may go together.
    pub(super) folds: bool,
    window: Duration,
    /// When the last digest was taken.
    last: Option<Instant>,
    /// Attempts that failed one after the other, and when the last one did.
    failed: Option<(u32, Instant)>,
}

impl Pace {
    pub(super) fn new() -> Self {
        Pace { folds: false, window: WINDOW, last: None, failed: None }
    }

    /// What is due of what waits, in the order in which it came. `is_last`: there will be no later.
    pub(super) fn next(&self, now: Instant, waiting: &[Waiting], is_last: bool) -> Next {
        let first: Vec<usize> = (0..).zip(waiting).filter(|(_, (_, first))| *first).map(|(place, _)| place).collect();
        let Some((oldest, _)) = waiting.first() else { return Next::Wait(None) };
        let newest_first = waiting.iter().filter(|(_, first)| *first).map(|(at, _)| *at).max();
        if let Some((times, at)) = self.failed.filter(|_| !is_last) {
            let longest = if first.is_empty() { LONGEST_RETRY } else { LONGEST_RETRY_FIRST };
            let again = at + RETRY.saturating_mul(1 << times.saturating_sub(1).min(10)).min(longest);
            // Whatever came meanwhile and can't wait is tried at once.
            if now < again && newest_first.is_none_or(|came| came <= at) {
                return Next::Wait(Some(again));
            }
        }
        if !first.is_empty() {
            return Next::Carry(if self.folds { first } else { first.into_iter().take(1).collect() });
        }
        if !self.folds {
            return Next::Carry(vec![0]);
        }
        let gathered = *oldest + GATHER;
        let due = self.last.map_or(gathered, |last| gathered.max(last + self.window));
        if now < due && !is_last && waiting.len() < MOST {
            return Next::Wait(Some(due));
        }
        Next::Carry((0..waiting.len().min(MOST)).collect())
    }

    /// What was due is taken. `first`: it was what can't wait.
    pub(super) fn taken(&mut self, now: Instant, first: bool) {
        self.failed = None;
        if first {
            return;
        }
        let goes_on = self.last.is_some_and(|last| now.since(last) < self.window.saturating_mul(2));
        self.window = if goes_on { self.window.saturating_mul(2).min(LONGEST_WINDOW) } else { WINDOW };
        self.last = Some(now);
    }

    /// The attempt has failed.
    pub(super) fn failed(&mut self, now: Instant) {
        let times = self.failed.map_or(0, |(times, _)| times);
        self.failed = Some((times.saturating_add(1), now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn mail() -> Pace {
        Pace { folds: true, ..Pace::new() }
    }

    /// When mails leave, and with how many, if something comes at each of these times and the relay takes everything.
    fn mails(pace: &mut Pace, comes: &[u64], until: u64) -> Vec<(u64, usize)> {
        let (mut waiting, mut sent) = (Vec::new(), Vec::new());
        for ms in 0..until {
            waiting.extend(comes.iter().filter(|come| **come == ms).map(|_| (at(ms), false)));
            if let Next::Carry(places) = pace.next(at(ms), &waiting, false) {
                sent.push((ms, places.len()));
                waiting.drain(..places.len());
                pace.taken(at(ms), false);
            }
        }
        sent
    }

    #[test]
    fn what_flaps_is_one_mail_now_and_digests_that_come_more_and_more_seldom() {
        // Four changes a second for two minutes.
        let flapping: Vec<u64> = (0..120_000).step_by(250).collect();
        let sent = mails(&mut mail(), &flapping, 400_000);
        let times: Vec<u64> = sent.iter().map(|(ms, _)| *ms).collect();
        assert_eq!(times, [300, 5300, 15_300, 35_300, 75_300, 155_300]);
        assert_eq!(sent.iter().map(|(_, count)| count).sum::<usize>(), flapping.len(), "each once");
    }

    #[test]
    fn what_comes_seldom_is_mailed_at_once_each_time() {
        let sent = mails(&mut mail(), &[0, 100, 60_000, 120_000], 130_000);
        assert_eq!(sent, [(300, 2), (60_300, 1), (120_300, 1)]);
    }

    #[test]
    fn what_cannot_wait_goes_before_all_others_and_within_a_window() {
        let mut pace = mail();
        pace.taken(at(0), false);
        let waiting = [(at(100), false), (at(200), true), (at(300), false)];
        assert_eq!(pace.next(at(300), &waiting, false), Next::Carry(vec![1]));
        pace.taken(at(310), true);
        assert_eq!(pace.next(at(310), &[waiting[0], waiting[2]], false), Next::Wait(Some(at(5000))));
    }

    #[test]
    fn a_webhook_gets_each_by_itself_at_once() {
        let pace = Pace::new();
        let waiting = [(at(100), false), (at(200), true), (at(200), true)];
        assert_eq!(pace.next(at(200), &waiting, false), Next::Carry(vec![1]));
        assert_eq!(pace.next(at(200), &waiting[..1], false), Next::Carry(vec![0]));
    }

    #[test]
    fn failures_are_farther_and_farther_apart_and_a_new_alert_is_tried_at_once() {
        let mut pace = mail();
        let old = [(at(0), false)];
        let mut now = at(1000);
        let mut waits = Vec::new();
        for _ in 0..8 {
            pace.failed(now);
            let Next::Wait(Some(again)) = pace.next(now, &old, false) else { panic!() };
            waits.push(again.since(now).as_secs());
            now = again;
            assert_eq!(pace.next(now, &old, false), Next::Carry(vec![0]));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 60, 60]);
        pace.failed(now);
        let came = now + Duration::from_secs(1);
        assert_eq!(pace.next(came, &[old[0], (came, true)], false), Next::Carry(vec![1]));
        pace.failed(came);
        let again = Next::Wait(Some(came + LONGEST_RETRY_FIRST));
        assert_eq!(pace.next(came, &[old[0], (came, true)], false), again, "and not again and again");
        assert_eq!(pace.next(came, &old, true), Next::Carry(vec![0]), "at the end there is no later");
    }
}
