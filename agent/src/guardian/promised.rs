//! How long a node has no worker that has left the policy `degrade`: what the former one promised to other nodes, the next one
//! does not know (I13).
//!
//! A worker that starts under `degrade` waits so long by itself, and one that a reload takes out of it in place keeps what it
//! has promised; so this is for who starts anew under another policy soon after.

use std::collections::BTreeMap;
use std::time::Duration;

use keepone_proto::id::DomainId;
use keepone_proto::settings::{Authority, Policy};
use keepone_proto::time::Instant;

use crate::assemble::Plan;

/// What may have been promised, and until when.
#[derive(Debug, Default)]
pub(super) struct Promised {
    /// Domains under `degrade`, each with its longest promise.
    now: BTreeMap<DomainId, Duration>,
    until: Option<Instant>,
}

impl Promised {
    /// Under the first configuration.
    pub(super) fn new(plan: &Plan) -> Self {
        Promised { now: under(plan), until: None }
    }

    /// Another configuration runs, or is to.
    pub(super) fn follow(&mut self, plan: &Plan, at: Instant) {
        let now = under(plan);
        let left = std::mem::replace(&mut self.now, now).into_iter().filter(|(id, _)| !self.now.contains_key(id));
        if let Some(longest) = left.map(|(_, longest)| longest).max() {
            self.until = self.until.max(Some(at + longest));
        }
    }

    /// How long no worker may start.
    pub(super) fn left(&self, at: Instant) -> Duration {
        self.until.map_or(Duration::ZERO, |until| until.since(at))
    }
}

fn under(plan: &Plan) -> BTreeMap<DomainId, Duration> {
    let longest = |authority: &Authority| match authority {
        Authority::Quorum(quorum) => quorum.timing.lease_max,
        Authority::None => Duration::ZERO,
    };
    let degrades = plan.settings.domains.iter().filter(|domain| domain.policy == Policy::Degrade);
    degrades.map(|domain| (domain.id, longest(&domain.authority))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(policy: &str) -> Plan {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/tests/fixtures/cluster.toml");
        let text = std::fs::read_to_string(path).unwrap().replacen(
            "[arbiter]\n",
            &format!("[arbiter]\npolicy = \"{policy}\"\n"),
            1,
        );
        let loaded =
            keepone_config::load_text(std::path::Path::new("t.toml"), &text, &keepone_config::Environment::default());
        Plan::new(&loaded.unwrap_or_else(|errors| panic!("{errors:?}")).0)
    }

    #[test]
    fn who_leaves_degrade_is_left_without_a_worker_for_the_longest_lease_and_nobody_else_i13() {
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let (strict, degrade) = (plan("strict"), plan("degrade"));
        let longest = *under(&degrade).values().max().unwrap();
        assert!(longest >= Duration::from_millis(100) && under(&strict).is_empty());
        let mut promised = Promised::new(&strict);
        promised.follow(&degrade, at(10_000));
        promised.follow(&degrade, at(20_000));
        assert_eq!(promised.left(at(20_000)), Duration::ZERO);
        promised.follow(&strict, at(30_000));
        promised.follow(&strict, at(30_001));
        assert_eq!((promised.left(at(30_000)), promised.left(at(30_000) + longest)), (longest, Duration::ZERO));
    }
}
