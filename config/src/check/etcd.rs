//! etcd as the authority: its servers, and how they know us.

use std::time::Duration;

use keepone_proto::id::NodeId;
use keepone_proto::lease::timing::{Millis, Profile};
use keepone_proto::settings::{HeartbeatSettings, QuorumSettings};

use crate::model::Etcd;
use crate::raw::{ArbiterType, RawArbiter};
use crate::source::{At, Place};

use super::arbiter::leaves_etcd;
use super::{Check, Names, or};

/// The shortest lease that etcd grants with its default election timeout of a second.
const SHORTEST: Duration = Duration::from_secs(2);

impl Check<'_> {
    /// etcd is the one voter.
    pub(super) fn etcd_quorum(
        &mut self,
        arbiter: &RawArbiter,
        place: &Place,
        names: &Names,
        heartbeat: &HeartbeatSettings,
    ) -> Option<QuorumSettings> {
        if self.raw.cluster.is_none() {
            if !self.raw.written.has("cluster") {
                let help = "add `cluster NAME { ... }` with its members, or write `type none`";
                self.report.error(place, "`type etcd` without a cluster: nobody could be told apart", help);
            }
            return None;
        }
        let voting = arbiter.voters.iter().chain(&arbiter.witnesses).chain(&arbiter.former_voters).next();
        if let Some(voter) = voting {
            let help = "remove the voters: where etcd decides, nobody else does";
            self.report.error(&voter.place, "voters, and `type etcd`", help);
        }
        self.etcd_servers(arbiter, place);
        let timing = self.timing(arbiter, place, heartbeat);
        self.heartbeats_and_gate(arbiter, place);
        let generation = arbiter.generation.as_ref().map_or(1, |generation| generation.value);
        let voters = vec![NodeId::STORE];
        let moving = self.moving(arbiter, names, generation, &voters)?;
        Some(QuorumSettings { voters, timing, generation, former: None, moving })
    }

    /// Where it is: the one authority, or one of two in a move.
    pub(super) fn etcd_servers(&mut self, arbiter: &RawArbiter, place: &Place) {
        for member in self.raw.members.iter().filter_map(|member| member.id.as_ref()) {
            if member.value == NodeId::STORE {
                self.report.error(&member.place, "65535 is etcd's own id", "give the member another id");
            }
        }
        let lease = or(&arbiter.lease, or(&arbiter.profile, Profile::default()).default_lease());
        if let Some(flag) = arbiter.etcd_lease.as_ref().filter(|flag| flag.value && lease < SHORTEST) {
            let message =
                format!("`etcd_lease` with a lease of {}: etcd has none below {}", Millis(lease), Millis(SHORTEST));
            let help =
                "write `lease 2s` or more, or leave `etcd_lease` out: a key that stands still needs no lease of etcd's";
            self.report.error(&flag.place, message, help);
        }
        if arbiter.endpoints.is_empty() && !arbiter.written.has("endpoints") {
            let help = "write `endpoints http://10.0.0.1:2379 http://10.0.0.2:2379 http://10.0.0.3:2379`";
            self.report.error(place, "`type etcd` without endpoints", help);
        }
        if let [only] = arbiter.endpoints.as_slice() {
            let help = "name all three or five servers: another is asked when one does not answer";
            let message = "a single endpoint: while it is down nobody can take over or go on";
            self.report.warning(&only.place, message, help);
        }
    }

    /// How etcd is reached.
    pub(super) fn etcd(&mut self) -> Option<Etcd> {
        let arbiter = self.raw.arbiter.as_ref()?;
        let kind = arbiter.kind.as_ref()?.value;
        if kind != ArbiterType::Etcd && !(kind == ArbiterType::Quorum && leaves_etcd(arbiter)) {
            return None;
        }
        let both = |one: &Option<At<_>>, other: &Option<At<_>>| one.is_some() == other.is_some();
        if arbiter.user.is_some() != arbiter.password_file.is_some() {
            let help = "write both, or neither";
            self.report.error(&arbiter.place, "one of `user` and `password_file` without the other", help);
        }
        if !both(&arbiter.cert_file, &arbiter.cert_key_file) {
            let help = "write both, or neither";
            self.report.error(&arbiter.place, "one of `cert_file` and `cert_key_file` without the other", help);
        }
        let tls = arbiter.ca_file.as_ref().or(arbiter.cert_file.as_ref());
        let plain = arbiter.endpoints.iter().find(|endpoint| endpoint.value.starts_with("http://"));
        if let Some((tls, plain)) = tls.zip(plain) {
            let message = format!("`{}` is spoken to without TLS, although there are certificates", plain.value);
            self.report.error(&tls.place, message, "write https in each endpoint, or remove the certificates");
        }
        let value = |at: &Option<At<std::path::PathBuf>>| at.as_ref().map(|at| at.value.clone());
        let user = arbiter.user.as_ref().map(|user| user.value.clone());
        Some(Etcd {
            endpoints: arbiter.endpoints.iter().map(|endpoint| endpoint.value.clone()).collect(),
            lease: arbiter.etcd_lease.as_ref().is_some_and(|flag| flag.value),
            prefix: arbiter.prefix.as_ref().map_or_else(|| "/keepone".to_owned(), |prefix| prefix.value.clone()),
            user: user.zip(value(&arbiter.password_file)),
            ca_file: value(&arbiter.ca_file),
            identity: value(&arbiter.cert_file).zip(value(&arbiter.cert_key_file)),
        })
    }
}
