//! Virtual routers on our wires that are none of ours: `log_unknown_vrids`. keepalived.conf(5).
//!
//! What must stay true: each is told once, and whoever makes them up fills neither the log nor the memory.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::id::InterfaceId;
use keepone_proto::time::Instant;

use super::vrrp::Family;

/// How many are remembered; who sees more of them has another trouble.
const MOST: usize = 256;
/// Between two that are told.
const GAP: Duration = Duration::from_millis(100);

/// Where one is.
pub(super) type Router = (InterfaceId, Family, u8);

/// Ours, and the strangers that were told of.
#[derive(Debug, Default)]
pub(super) struct Strangers {
    ours: BTreeSet<Router>,
    told: BTreeSet<(Router, IpAddr)>,
    told_at: Option<Instant>,
}

impl Strangers {
    /// These are ours.
    pub(super) fn set(&mut self, ours: BTreeSet<Router>) {
        self.ours = ours;
    }

    /// An Advertisement came. Whether it is of a stranger that is to be told of.
    pub(super) fn is_news(&mut self, now: Instant, router: Router, source: IpAddr) -> bool {
        let lately = self.told_at.is_some_and(|at| now.since(at) < GAP);
        if self.ours.contains(&router) || lately || self.told.len() >= MOST || !self.told.insert((router, source)) {
            return false;
        }
        self.told_at = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn each_stranger_is_told_once_and_ours_never() {
        let router = |vrid| (InterfaceId(0), Family::V4, vrid);
        let source = |last| IpAddr::from([192, 0, 2, last]);
        let mut strangers = Strangers::default();
        strangers.set([router(51)].into());
        assert!(!strangers.is_news(at(0), router(51), source(1)));
        assert!(strangers.is_news(at(0), router(52), source(1)));
        assert!(!strangers.is_news(at(1000), router(52), source(1)));
        assert!(strangers.is_news(at(2000), router(52), source(2)));
        assert!(strangers.is_news(at(3000), (InterfaceId(0), Family::V6, 51), source(1)));
        assert!(strangers.is_news(at(4000), (InterfaceId(1), Family::V4, 51), source(1)));
    }

    #[test]
    fn a_flood_of_made_up_routers_is_told_slowly_and_not_for_ever() {
        let mut strangers = Strangers::default();
        let mut told = 0;
        for ms in 0..60_000_u32 {
            let source = IpAddr::from(ms.to_be_bytes());
            told += usize::from(strangers.is_news(at(ms.into()), (InterfaceId(0), Family::V4, 1), source));
            assert!(ms > 1000 || told <= 11, "{told} after {ms} ms");
        }
        assert_eq!(told, MOST);
    }
}
