//! A snapshot as JSON.
//!
//! Times are `…_ms`, in milliseconds with a fraction; instants of the boot clock `…_ns`. The names are a promise:
//! `docs/control.md` has them.

use std::time::Duration;

use keepone_proto::node::{DomainStatus, FeatureStatus, Holder, PeerStatus, VoterStatus, Why};
use keepone_proto::time::Instant;
use serde_json::{Value, json};

use super::snapshot::Snapshot;
use super::statistics;

fn ms(time: Duration) -> f64 {
    // Microseconds are enough, and print short.
    let micros = u32::try_from(time.as_micros()).map_or_else(|_| time.as_secs_f64() * 1e6, f64::from);
    micros.round() / 1000.0
}

impl Snapshot {
    /// Everything at a glance.
    pub(crate) fn json(&self) -> Value {
        json!({
            "node": self.directory.node, "program": env!("CARGO_PKG_VERSION"), "pid": std::process::id(),
            "at_ns": self.at.as_nanos(), "maintenance": self.maintenance, "gate_passes": self.gate_passes,
            "domains": self.domains.iter().map(|status| self.domain(status)).collect::<Vec<_>>(),
            "peers": self.peers.iter().map(|peer| self.peer(peer)).collect::<Vec<_>>(),
            "features": self.features.iter().map(|status| self.feature(status)).collect::<Vec<_>>(),
            "etcd_lease_ms": self.directory.etcd_lease.map(ms),
            "voters": self.voters.iter().map(|word| self.voter(word)).collect::<Vec<_>>(),
            "alerts": self.alerts.iter().map(|alert| json!({
                "name": alert.name.as_str(), "domain": alert.domain.map(|domain| self.directory.name(domain)),
                "severity": alert.name.severity().as_str(), "what": alert.name.what(),
                "raised_ms": ms(self.at.since(alert.said_at)), "evidence": alert.said.evidence, "remedy": alert.said.remedy,
            })).collect::<Vec<_>>(),
        })
    }

    /// What is written on a signal: `vrrp` has an entry for each instance, as keepalived's JSON has.
    pub(crate) fn dump(&self) -> Value {
        let domains = self.domains.iter().map(|status| {
            let entry = self.directory.domains.get(&status.domain);
            json!({
                "name": self.directory.name(status.domain), "role": status.role.as_str(),
                "reason": status.reason.as_str(), "effective_priority": status.priority.0,
                "gate_open": status.open_until.is_some_and(|until| until > self.at),
                "epoch": status.epoch.map(|epoch| epoch.to_string()), "policy": entry.map(|entry| entry.policy),
                "instances": entry.map(|entry| entry.instances.iter().map(|one| &one.name).collect::<Vec<_>>()),
            })
        });
        let alerts = self.alerts.iter().map(|alert| {
            let domain = alert.domain.map(|domain| self.directory.name(domain));
            json!({ "name": alert.name.as_str(), "domain": domain })
        });
        json!({
            "version": env!("CARGO_PKG_VERSION"), "node": self.directory.node, "domains": domains.collect::<Vec<_>>(),
            "vrrp": self.keepalived_entries(), "alerts": alerts.collect::<Vec<_>>(),
        })
    }

    /// The counters of the whole node.
    pub(crate) fn counters(&self) -> Value {
        let counters = &self.counters;
        json!({
            "node": self.directory.node, "bad_advertisements": counters.bad_advertisements,
            "bad_beats": counters.bad_beats, "unauthentic_advertisements": counters.unauthentic_advertisements,
            "bad_lease_messages": counters.bad_lease_messages, "alerts": self.alerts.len(),
        })
    }

    /// One domain, with its evidence.
    pub(super) fn why(&self, why: &Why) -> Value {
        let mut domain = self.domain(&why.status);
        if let Value::Object(fields) = &mut domain {
            let answers = why.view.answers().map(|(question, answer)| (question.to_owned(), answer.into()));
            fields.insert("node".into(), self.directory.node.clone().into());
            fields.insert("maintenance".into(), self.maintenance.into());
            fields.insert("view".into(), Value::Object(answers.into_iter().collect()));
            fields.insert("evidence".into(), why.evidence.clone().into());
        }
        domain
    }

    fn left(&self, until: Option<Instant>) -> Option<f64> {
        until.map(|until| ms(until.since(self.at)))
    }

    fn domain(&self, status: &DomainStatus) -> Value {
        let entry = self.directory.domains.get(&status.domain);
        let instances = entry.into_iter().flat_map(|entry| &entry.instances).map(|instance| {
            let statistics = self.statistics.get(&instance.id).map(statistics::json);
            json!({ "name": instance.name, "vrid": instance.vrid, "interface": instance.interface,
                "addresses": instance.addresses, "statistics": statistics })
        });
        let node = |id| self.directory.names.node(id).into_owned();
        let (holder, by) = match status.holder {
            Holder::Here => (Some(self.directory.node.clone()), Some("gate")),
            Holder::Peer(id) => (Some(node(id)), Some("heartbeat")),
            Holder::ByVoters(id) => (Some(node(id)), Some("voters")),
            Holder::Router => (None, Some("advertisement")),
            Holder::Unknown => (None, None),
        };
        json!({
            "name": self.directory.name(status.domain), "is_group": entry.is_some_and(|entry| entry.is_group),
            "policy": entry.map(|entry| entry.policy), "role": status.role.as_str(),
            "for_ms": ms(self.at.since(status.since)), "reason": status.reason.as_str(), "what": status.reason.what(),
            "priority": status.priority.0, "holder": holder, "holder_by": by,
            "gate_open_ms": self.left(status.open_until),
            "epoch": status.epoch.map(|epoch| epoch.to_string()), "lease_ms": self.left(status.lease_until),
            "lease_length_ms": ms(status.lease_length), "lease_until_ns": status.lease_until.map(|until| until.as_nanos()),
            "open_until_ns": status.open_until.map(|until| until.as_nanos()),
            "voters_answering": status.voters.map(|(answering, _)| answering),
            "voters_needed": status.voters.map(|(_, needed)| needed),
            "instances": instances.collect::<Vec<_>>(),
        })
    }

    fn peer(&self, peer: &PeerStatus) -> Value {
        let links = peer.links.iter().map(|link| {
            let is_up = link.heard.is_some_and(|heard| heard <= peer.limit);
            json!({
                "name": self.directory.names.link(link.link), "up": is_up, "heard_ms": link.heard.map(ms),
                "rtt_ms": self.rtt(peer.node, link.link).map(ms), "loss": link.tally.loss(),
                "beats": link.tally.received, "beats_lost": link.tally.lost,
            })
        });
        json!({
            "name": self.directory.names.node(peer.node), "silent": peer.silent, "heard_ms": peer.heard.map(ms),
            "links": links.collect::<Vec<_>>(), "release": peer.release.map(|release| release.to_string()),
        })
    }

    fn feature(&self, status: &FeatureStatus) -> Value {
        let lacking = status.lacking.iter().map(|node| self.directory.names.node(*node));
        json!({ "name": status.feature.as_str(), "used": status.lacking.is_empty(), "lacking": lacking.collect::<Vec<_>>() })
    }

    fn voter(&self, status: &VoterStatus) -> Value {
        let answered = status.answered.map(ms);
        json!({ "name": self.directory.names.node(status.voter), "answers": status.answers, "answered_ms": answered })
    }
}
