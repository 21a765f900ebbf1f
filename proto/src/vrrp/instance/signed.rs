//! Signed Advertisements, each heard once: `auth_hmac`, see [`crate::wire::vrrp::hmac`].
//!
//! What must stay true: what was heard of a sender once, is not heard of it again; and no wall clock keeps a Master
//! from being heard (T1), since who is not heard has a second one beside it. What the wall clock does decide:
//!
//! - A resignation that is far from it, and out of step with what its sender said before, is not believed: an old one
//!   would have a Backup take over early. Unheard, it costs the difference between Skew_Time and Master_Down_Interval.
//! - A sender whose own clock was set back is heard again, if it agrees with ours now and did not before.

use alloc::collections::BTreeMap;
use core::net::IpAddr;
use core::time::Duration;

use super::{Discard, Instance, Output};
use crate::id::Priority;
use crate::settings::HmacMode;
use crate::time::Instant;
use crate::wire::vrrp::hmac::{Fault, Stamp, seconds};
use crate::wire::vrrp::{Advertisement, Auth};

/// How many senders are remembered. Only who has a key of ours is one, and each only under its own address.
const MOST: usize = 16;

/// The last that was heard of each sender.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Heard {
    last: BTreeMap<IpAddr, Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    stamp: Stamp,
    at: Instant,
}

/// What a signed Advertisement says, as far as it matters here.
#[derive(Debug, Clone, Copy)]
struct Said {
    stamp: Stamp,
    /// Seconds behind our wall clock, if we look at it.
    behind: Option<i64>,
    resigns: bool,
}

impl Said {
    fn of(advert: &Advertisement, stamp: Stamp, behind: Option<i64>) -> Self {
        Said { stamp, behind, resigns: advert.priority == Priority::RESIGN }
    }
}

impl Instance {
    /// What is wrong with its signature, if it needs one or has one. A good one is remembered, so that it counts once.
    pub(super) fn unsigned(&mut self, now: Instant, from: IpAddr, advert: &Advertisement) -> Option<Discard> {
        let hmac = self.params.hmac.as_ref()?;
        match advert.auth {
            Auth::Signed { stamp, behind } => self.stamps.hear(now, from, Said::of(advert, stamp, behind), hmac.window),
            Auth::Unsigned(Fault::Missing) if hmac.mode != HmacMode::Enforce => None,
            Auth::Unsigned(fault) => Some(Discard::Unsigned(fault)),
            // Nobody looked for a signature.
            Auth::None | Auth::Simple(_) | Auth::Header { .. } | Auth::Unproven => {
                Some(Discard::Unsigned(Fault::Missing))
            }
        }
    }

    /// Told from half the window on: keepalived discards what is beyond the whole.
    pub(super) fn clocks_apart(&self, from: IpAddr, advert: &Advertisement) -> Option<Output> {
        let window = self.params.hmac.as_ref()?.window?;
        let Auth::Signed { behind: Some(behind), .. } = advert.auth else { return None };
        let [half, whole] = [window / 2, window].map(|bound| bound.as_secs());
        let by = [whole, half].into_iter().find(|bound| behind.unsigned_abs() > *bound)?;
        Some(Output::ClocksApart { from, by: u16::try_from(by).unwrap_or(u16::MAX) })
    }
}

impl Heard {
    /// Hears this from there, or says why not. `window` as in [`crate::settings::HmacSettings::window`].
    fn hear(&mut self, now: Instant, from: IpAddr, said: Said, window: Option<Duration>) -> Option<Discard> {
        let known = self.last.get(&from).copied();
        // By both clocks, where they are looked at.
        let clocks = window.map(seconds).zip(said.behind);
        let is_late = |window: i64, behind: i64| behind.abs() > window;
        if let Some(Mark { stamp: last, .. }) = known
            && !said.stamp.is_after(last)
        {
            // How far the last one is behind our clock: below zero, ahead of it.
            let was_ahead = |window: i64, behind: i64| behind - last.ahead_of(said.stamp) < -window;
            let was_set_back =
                clocks.is_some_and(|(window, behind)| !is_late(window, behind) && was_ahead(window, behind));
            if !was_set_back {
                return Some(Discard::Repeated { found: said.stamp, last });
            }
        }
        if let Some((window, behind)) = clocks.filter(|_| said.resigns)
            && is_late(window, behind)
            && !known.is_some_and(|known| known.is_in_step(now, said.stamp, window))
        {
            return Some(Discard::Stale(behind));
        }
        if known.is_none() && self.last.len() >= MOST {
            let oldest = self.last.iter().min_by_key(|(_, mark)| mark.at).map(|(address, _)| *address);
            oldest.and_then(|oldest| self.last.remove(&oldest));
        }
        self.last.insert(from, Mark { stamp: said.stamp, at: now });
        None
    }
}

impl Mark {
    /// Whether as much has passed for its sender as for us: then its clock is only set otherwise.
    fn is_in_step(self, now: Instant, stamp: Stamp, window: i64) -> bool {
        (stamp.ahead_of(self.stamp) - seconds(now.since(self.at))).abs() <= window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 2));
    const OTHER: IpAddr = IpAddr::V4(core::net::Ipv4Addr::new(192, 0, 2, 3));
    const WINDOW: Option<Duration> = Some(Duration::from_secs(5));

    fn at(second: u64) -> Instant {
        Instant::from_nanos(second * 1_000_000_000)
    }

    /// Signed at this second of the sender's clock, heard so many seconds later by ours.
    fn said(second: u64, behind: i64) -> Said {
        Said { stamp: Stamp(second << 32), behind: Some(behind), resigns: false }
    }

    fn resignation(second: u64, behind: i64) -> Said {
        Said { resigns: true, ..said(second, behind) }
    }

    #[test]
    fn each_is_heard_once_and_none_below_it_and_each_sender_counts_for_itself() {
        let mut heard = Heard::default();
        for window in [WINDOW, None] {
            let again = Some(Discard::Repeated { found: Stamp(100 << 32), last: Stamp(100 << 32) });
            let mut heard = Heard::default();
            assert_eq!(heard.hear(at(1), FROM, said(100, 0), window), None);
            assert_eq!(heard.hear(at(1), FROM, said(100, 0), window), again);
            assert_eq!(heard.hear(at(9), FROM, said(100, 8), window), again);
            assert!(heard.hear(at(2), FROM, said(99, 2), window).is_some());
            assert_eq!(heard.hear(at(2), OTHER, said(99, 2), window), None);
            assert_eq!(heard.hear(at(3), FROM, said(101, 1), window), None);
        }
        assert_eq!(heard.hear(at(1), FROM, Said { behind: None, ..said(7, 0) }, WINDOW), None);
        assert!(heard.hear(at(1), FROM, Said { behind: None, ..said(6, 0) }, WINDOW).is_some());
    }

    #[test]
    fn no_wall_clock_keeps_a_master_from_being_heard() {
        for behind in [-100_000, -6, 6, 100_000] {
            let mut heard = Heard::default();
            for second in 0..5 {
                assert_eq!(heard.hear(at(second), FROM, said(1_000_000 + second, behind), WINDOW), None, "{behind}");
            }
            // Its clock jumps ahead.
            assert_eq!(heard.hear(at(6), FROM, said(2_000_000, behind), WINDOW), None);
        }
    }

    #[test]
    fn a_sender_whose_clock_was_set_back_is_heard_once_it_agrees_with_ours() {
        let mut heard = Heard::default();
        // Our clock says 1000; the sender's is an hour ahead, and then right.
        assert_eq!(heard.hear(at(0), FROM, said(4600, -3600), WINDOW), None);
        assert_eq!(heard.hear(at(1), FROM, said(1001, 0), WINDOW), None);
        assert!(heard.hear(at(1), FROM, said(1001, 0), WINDOW).is_some(), "once");
        // Within the window it goes on counting from its last one, and an old one is one that came again.
        assert_eq!(heard.hear(at(2), FROM, said(1005, -3), WINDOW), None);
        assert!(heard.hear(at(2), FROM, said(1002, 0), WINDOW).is_some());
        // Without a look at the clocks, never.
        let mut heard = Heard::default();
        assert_eq!(heard.hear(at(0), FROM, said(4600, -3600), None), None);
        assert!(heard.hear(at(1), FROM, said(1001, 0), None).is_some());
    }

    #[test]
    fn an_old_resignation_is_not_believed_and_one_in_step_is_whatever_the_clocks_say() {
        let mut heard = Heard::default();
        assert_eq!(heard.hear(at(0), FROM, resignation(100, 900), WINDOW), Some(Discard::Stale(900)));
        assert_eq!(heard.hear(at(0), FROM, resignation(100, 900), None), None, "no clock is looked at");
        let mut heard = Heard::default();
        assert_eq!(heard.hear(at(0), FROM, said(100, 900), WINDOW), None);
        assert_eq!(heard.hear(at(3), FROM, resignation(103, 900), WINDOW), None, "in step");
        assert_eq!(heard.hear(at(900), FROM, resignation(104, 1796), WINDOW), Some(Discard::Stale(1796)), "kept back");
        assert_eq!(heard.hear(at(3), OTHER, resignation(103, 5), WINDOW), None, "by the wall clock");
    }

    #[test]
    fn a_crowd_of_senders_fills_no_memory_and_drives_out_who_was_silent_longest() {
        let mut heard = Heard::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in 0..100 {
            assert_eq!(heard.hear(at(n.into()), address(n), said(1000, 0), WINDOW), None);
        }
        assert_eq!(heard.last.len(), MOST);
        assert!(heard.hear(at(100), address(99), said(1000, 0), WINDOW).is_some());
    }
}
