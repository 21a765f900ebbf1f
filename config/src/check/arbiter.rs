//! The authority: voters, the lease's lengths, the gate under it.

use std::collections::BTreeSet;

use keepone_proto::id::NodeId;
use keepone_proto::lease::timing::{LeaseTiming, Millis, Profile};
use keepone_proto::settings::{Authority, HeartbeatSettings, Move, QuorumSettings};

use crate::diagnostic::Severity;
use crate::model::GateMeans;
use crate::raw::{ArbiterType, RawArbiter};
use crate::source::{At, Place};

use super::{Check, Names, or};

impl Check<'_> {
    pub(super) fn arbiter(&mut self, names: &Names, heartbeat: &HeartbeatSettings) -> Option<Authority> {
        let raw = self.raw;
        let Some(arbiter) = &raw.arbiter else {
            self.unarbitrated();
            return Some(Authority::None);
        };
        let Some(kind) = &arbiter.kind else {
            if !arbiter.written.has("type") {
                let help = "write `type quorum`, or `type none` for none";
                self.report.error(&arbiter.place, "`arbiter` has no type", help);
            }
            return None;
        };
        match kind.value {
            ArbiterType::None => {
                self.unarbitrated();
                Some(Authority::None)
            }
            ArbiterType::Etcd => self.etcd_quorum(arbiter, &kind.place, names, heartbeat).map(Authority::Quorum),
            ArbiterType::Quorum if !arbiter.endpoints.is_empty() && !leaves_etcd(arbiter) => {
                let help = "remove `endpoints`, or write `type etcd`: one arbiter decides, never two, but in a move from \
                            etcd, which `joint_voters etcd` begins";
                self.report.error(&kind.place, "`endpoints` of etcd, and `type quorum`", help);
                None
            }
            ArbiterType::Quorum => self.quorum(arbiter, &kind.place, names, heartbeat).map(Authority::Quorum),
        }
    }

    /// A plain VRRP router never had one; a cluster could.
    fn unarbitrated(&mut self) {
        if let Some(cluster) = &self.raw.cluster {
            let message = format!("cluster `{}` has no arbiter", cluster.value);
            let help = "add `arbiter { type quorum }` with 3 voters: without one, two holders are possible while all \
                        paths between the nodes are cut";
            self.report.push(Severity::Note, &cluster.place, message, String::from(help));
        }
    }

    fn quorum(
        &mut self,
        arbiter: &RawArbiter,
        place: &Place,
        names: &Names,
        heartbeat: &HeartbeatSettings,
    ) -> Option<QuorumSettings> {
        if self.raw.cluster.is_none() {
            if !self.raw.written.has("cluster") {
                let help = "add `cluster NAME { ... }` with its members, or write `type none`";
                self.report.error(place, "`type quorum` without a cluster: nobody could vote", help);
            }
            return None;
        }
        let voters = self.voters(arbiter, place, names);
        let timing = self.timing(arbiter, place, heartbeat);
        self.heartbeats_and_gate(arbiter, place);
        let voters = voters?;
        if leaves_etcd(arbiter) {
            self.etcd_servers(arbiter, place);
        }
        let (generation, former) = self.generation(arbiter, names, &voters)?;
        let moving = self.moving(arbiter, names, generation, &voters)?;
        Some(QuorumSettings { voters, timing, generation, former, moving })
    }

    /// How far a move from another authority has come. `Some(None)`: there is none; `None`: complained of.
    pub(super) fn moving(
        &mut self,
        arbiter: &RawArbiter,
        names: &Names,
        generation: u32,
        voters: &[NodeId],
    ) -> Option<Option<Move>> {
        let (list, least, keyword, make): (_, _, _, fn(Vec<NodeId>) -> Move) =
            match (arbiter.joint_voters.as_slice(), arbiter.former_joint_voters.as_slice()) {
                ([], []) => return Some(None),
                (joint, []) => (joint, 2, "joint_voters", Move::Joint),
                ([], after) => (after, 3, "former_joint_voters", Move::After),
                ([first, ..], _) => {
                    let help = "first `joint_voters`, on all nodes; then `former_joint_voters` in its place";
                    self.report.error(&first.place, "`joint_voters` and `former_joint_voters` at once", help);
                    return None;
                }
            };
        let from: Option<BTreeSet<NodeId>> = list.iter().map(|name| self.voter(names, name)).collect();
        let from: Vec<NodeId> = from?.into_iter().collect();
        let place = &list.first()?.place;
        if let Some(former) = arbiter.former_voters.first() {
            let help = "remove `former_voters`: a move changes all voters at once, and is no change of one voter";
            self.report.error(&former.place, format!("`former_voters` and `{keyword}` at once"), help);
            return None;
        }
        if generation < least {
            let help = "`keepone authority move` counts on from the generation that the cluster has";
            let message = format!("`{keyword}` with generation {generation}, where {least} is the least");
            self.report.error(place, message, help);
            return None;
        }
        if from == voters || (from.len() > 1 && from.contains(&NodeId::STORE)) {
            let help = "name the old authority: its voters, or `etcd` alone";
            self.report.error(place, format!("`{keyword}` names what can't be left"), help);
            return None;
        }
        Some(Some(make(from)))
    }

    /// A member, or etcd.
    fn voter(&mut self, names: &Names, name: &At<String>) -> Option<NodeId> {
        if name.value == ETCD && !names.contains_key(ETCD) { Some(NodeId::STORE) } else { self.member(names, name) }
    }

    /// Which in the row of voter sets this is, and the set before it, which differs by one member (V9).
    fn generation(
        &mut self,
        arbiter: &RawArbiter,
        names: &Names,
        voters: &[NodeId],
    ) -> Option<(u32, Option<Vec<NodeId>>)> {
        let generation = arbiter.generation.as_ref().map_or(1, |generation| generation.value);
        let Some(first) = arbiter.former_voters.first() else { return Some((generation, None)) };
        if generation == 1 {
            let help = "write `generation 2`, or the next number after the one that the former voters had";
            self.report.error(
                &first.place,
                "`former_voters` without a generation: nothing comes before the first",
                help,
            );
            return None;
        }
        let former: Option<BTreeSet<NodeId>> =
            arbiter.former_voters.iter().map(|name| self.member(names, name)).collect();
        let former = former?;
        let now: BTreeSet<NodeId> = voters.iter().copied().collect();
        let differ = former.symmetric_difference(&now).count();
        if differ != 1 {
            let message = format!("`former_voters` and the voters differ by {differ} members, and must by one");
            let help = "change one voter at a time, each time with the next generation: two sets that differ by more may \
                        each have a majority that does not know of the other's";
            self.report.error(&first.place, message, help);
            return None;
        }
        Some((generation, Some(former.into_iter().collect())))
    }

    /// The voter set in ascending order: those named; or all nodes and the witnesses named; or all members.
    fn voters(&mut self, arbiter: &RawArbiter, place: &Place, names: &Names) -> Option<Vec<NodeId>> {
        let raw = self.raw;
        let mut voters = BTreeSet::new();
        let mut complete = true;
        if arbiter.voters.is_empty() {
            let all = arbiter.witnesses.is_empty();
            let implied = raw.members.iter().filter(|member| all || member.witness.is_none());
            for member in implied {
                complete &= member.id.is_some();
                voters.extend(member.id.as_ref().map(|id| id.value));
            }
        }
        for name in arbiter.voters.iter().chain(&arbiter.witnesses) {
            match self.member(names, name) {
                Some(id) if !voters.insert(id) => {
                    let message = format!("`{}` is a voter twice", name.value);
                    self.report.error(&name.place, message, "name each voter once");
                }
                Some(_) => {}
                None => complete = false,
            }
        }
        for name in &arbiter.witnesses {
            let node = raw.members.iter().any(|m| m.name.value == name.value && !m.written.has("witness"));
            if node {
                let message = format!("`{}` is a node, not a witness", name.value);
                self.report.error(
                    &name.place,
                    message,
                    "name it in `voters`, or add `witness ADDRESS:PORT` to the member",
                );
            }
        }
        if !complete {
            return None;
        }
        let place = arbiter.voters.iter().chain(&arbiter.witnesses).next().map_or(place, |voter| &voter.place);
        let voters: Vec<NodeId> = voters.into_iter().collect();
        self.enough_voters(place, &voters);
        Some(voters)
    }

    fn enough_voters(&mut self, place: &Place, voters: &[NodeId]) {
        let count = voters.len();
        let majority = count / 2 + 1;
        if count.saturating_sub(majority) >= 1 {
            return;
        }
        let witness = |id: &NodeId| {
            let member = self.raw.members.iter().find(|m| m.id.as_ref().is_some_and(|at| at.value == *id));
            member.is_some_and(|member| member.witness.is_some())
        };
        if count == 1 && voters.iter().all(witness) {
            let help = "use two nodes and one witness, or three witnesses, to outlive one voter";
            let message = "a single witness is the only voter: while it is down nobody can take over or go on";
            return self.report.warning(place, message, help);
        }
        let plural = if count == 1 { "voter" } else { "voters" };
        let message = format!(
            "{count} {plural}: a majority is {majority}, so after one failure there is none, and no failover would be possible"
        );
        let help = "have at least 3 voters: add a witness as a member and voter, or a third node";
        self.report.error(place, message, help);
    }

    pub(super) fn timing(&mut self, arbiter: &RawArbiter, place: &Place, heartbeat: &HeartbeatSettings) -> LeaseTiming {
        let profile = or(&arbiter.profile, Profile::default());
        let lease = or(&arbiter.lease, profile.default_lease());
        let default = LeaseTiming::for_profile(profile, lease);
        let timing = LeaseTiming {
            own_gate: std::time::Duration::ZERO,
            lease,
            lease_max: or(&arbiter.lease_max, lease),
            rate_error_ppm: or(&arbiter.rate_error_ppm, default.rate_error_ppm),
            transmit: or(&arbiter.transmit, default.transmit),
            gate: or(&arbiter.gate_lateness, default.gate),
            hidden_freeze: or(&arbiter.hidden_freeze, default.hidden_freeze),
            gate_horizon: or(&arbiter.gate_horizon, default.gate_horizon),
            round_trip: or(&arbiter.round_trip, default.round_trip),
        };
        let chosen = arbiter.lease.as_ref().map(|at| &at.place).or(arbiter.profile.as_ref().map(|at| &at.place));
        let place = chosen.unwrap_or(place).clone();
        if let Err(error) = timing.check() {
            let help = "`keepone check --explain-timing` shows every formula with its numbers";
            self.report.error(&place, error.to_string(), help);
        }
        let silence = heartbeat.silence();
        if silence > lease {
            let message = format!(
                "a peer counts as silent after m*h = {} * {} = {}, later than its lease L_a = {} has run out: \
                 the lease could not speed up any takeover",
                heartbeat.misses,
                Millis(heartbeat.period),
                Millis(silence),
                Millis(lease)
            );
            let help = "lower `period` or `misses` in `heartbeat`, or lengthen the lease, until m*h <= L_a";
            self.report.error(&place, message, help);
        }
        timing
    }

    pub(super) fn heartbeats_and_gate(&mut self, arbiter: &RawArbiter, place: &Place) {
        if self.raw.links.is_empty() && !self.raw.written.has("heartbeat_link") {
            let help = "add at least one `heartbeat_link`, better two on separate networks";
            let message = "`type quorum` without heartbeat links: the voters could not be reached";
            self.report.error(place, message, help);
        }
        let gate = self.raw.gate.as_ref();
        match gate.filter(|gate| gate.value == GateMeans::Lifetime) {
            Some(gate) if !arbiter.claim_without_gate => {
                let message =
                    "`means lifetime` is a weak gate, and under an arbiter a node with a weak gate never claims";
                let help = "write `means auto`, or `claim_without_gate` in `arbiter` to give up the promise that the VIP \
                            never has two holders";
                self.report.error(&gate.place, message, help);
            }
            Some(gate) => {
                let message =
                    "`means lifetime` is a weak gate: a frozen node may hold the VIP a second or more too long";
                self.report.warning(&gate.place, message, "write `means auto`");
            }
            None if arbiter.claim_without_gate => {
                let message = "`claim_without_gate`: where the kernel has no strong gate, two holders are possible";
                self.report.warning(&arbiter.place, message, "remove it unless a node without a gate must serve");
            }
            None => {}
        }
    }
}

/// How etcd is called where it is named among voters.
const ETCD: &str = "etcd";

/// Whether a move from etcd to voters is under way.
pub(super) fn leaves_etcd(arbiter: &RawArbiter) -> bool {
    arbiter.joint_voters.iter().chain(&arbiter.former_joint_voters).any(|name| name.value == ETCD)
}
