//! A snapshot in the OpenMetrics text format (1.0), for Prometheus by way of node_exporter's textfile collector.
//!
//! Each family has its type, its unit where it has one, and its help; a counter's samples end in `_total`. Ends with
//! `# EOF`, so that half a text is refused. No type but gauge and counter: node_exporter reads the older text format, which
//! knows neither `info` nor `stateset`.

mod servers;

use std::fmt::{Display, Write as _};
use std::time::Duration;

use keepone_proto::balance::standing::ServiceStanding;
use keepone_proto::decision::Role;
use keepone_proto::id::NodeId;
use keepone_proto::node::{Holder, LinkStatus};

use super::snapshot::Snapshot;
use super::statistics;

const ROLES: [Role; 6] = [Role::Init, Role::Backup, Role::Claiming, Role::Master, Role::Fault, Role::Fenced];

/// The text under way.
struct Text(String);

impl Text {
    fn family(&mut self, name: &str, kind: &str, unit: &str, help: &str) {
        let _ = writeln!(self.0, "# TYPE {name} {kind}");
        if !unit.is_empty() {
            let _ = writeln!(self.0, "# UNIT {name} {unit}");
        }
        let _ = writeln!(self.0, "# HELP {name} {help}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        // Without a text of its own for each label: there are a dozen samples of each instance.
        self.0.push_str(name);
        self.labels(labels);
        let _ = writeln!(self.0, " {value}");
    }

    fn labels(&mut self, labels: &[(&str, &str)]) {
        for (place, (label, value)) in labels.iter().enumerate() {
            self.0.push(if place == 0 { '{' } else { ',' });
            self.0.push_str(label);
            self.0.push_str("=\"");
            self.escaped(value);
            self.0.push('"');
        }
        if !labels.is_empty() {
            self.0.push('}');
        }
    }

    fn escaped(&mut self, value: &str) {
        for letter in value.chars() {
            match letter {
                '\\' => self.0.push_str("\\\\"),
                '"' => self.0.push_str("\\\""),
                '\n' => self.0.push_str("\\n"),
                other => self.0.push(other),
            }
        }
    }
}

fn yes(is: bool) -> u8 {
    u8::from(is)
}

impl Snapshot {
    /// As a scraper reads it, with how virtual servers stand.
    pub(super) fn metrics(&self, servers: &[ServiceStanding]) -> String {
        let mut text = Text(String::new());
        text.family("keepone_build_info", "gauge", "", "The program and the node that it runs as.");
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("node", self.directory.node.as_str())];
        text.sample("keepone_build_info", &labels, 1);
        text.family("keepone_maintenance", "gauge", "", "1 while the operator has taken the node out.");
        text.sample("keepone_maintenance", &[], yes(self.maintenance));
        text.family("keepone_gate_test_passed", "gauge", "", "1 while the gate passes its self-test (R14).");
        text.sample("keepone_gate_test_passed", &[], yes(self.gate_passes == Some(true)));
        self.domains_in(&mut text);
        self.statistics_in(&mut text);
        self.peers_in(&mut text);
        servers::families(&mut text, servers);
        text.family("keepone_alert", "gauge", "", "1 for each alert that stands; docs/alerts.md says what to do.");
        for (name, domain) in &self.alerts {
            let domain = domain.map_or("", |domain| self.directory.name(domain));
            let labels = [("name", name.as_str()), ("domain", domain), ("severity", name.severity().as_str())];
            text.sample("keepone_alert", &labels, 1);
        }
        let counters = [
            ("keepone_bad_advertisements", self.counters.bad_advertisements, "VRRP packets that were of no use."),
            (
                "keepone_unauthentic_advertisements",
                self.counters.unauthentic_advertisements,
                "VRRP packets whose authentication was missing, wrong or seen before.",
            ),
            ("keepone_vrrp_checksum_errors", self.counters.checksum_errors, "VRRP packets whose checksum is wrong."),
            (
                "keepone_vrrp_version_errors",
                self.counters.version_errors,
                "VRRP packets of a version that is unknown, or not that of the virtual router.",
            ),
            (
                "keepone_vrrp_vrid_errors",
                self.counters.vrid_errors,
                "VRRP packets whose VRID is that of no virtual router here.",
            ),
            ("keepone_bad_beats", self.counters.bad_beats, "Heartbeats that were of no use."),
            ("keepone_bad_lease_messages", self.counters.bad_lease_messages, "Lease messages that were of no use."),
        ];
        for (name, count, help) in counters {
            text.family(name, "counter", "", help);
            text.sample(&format!("{name}_total"), &[], count);
        }
        text.0.push_str("# EOF\n");
        text.0
    }

    fn domains_in(&self, text: &mut Text) {
        let all = || self.domains.iter().map(|status| (self.directory.name(status.domain), status));
        let left = |until: Option<keepone_proto::time::Instant>| {
            until.map_or(Duration::ZERO, |until| until.since(self.at)).as_secs_f64()
        };
        text.family("keepone_domain_role", "gauge", "", "1 for what the domain is on this node.");
        for (name, status) in all() {
            for role in ROLES {
                let labels = [("domain", name), ("role", role.as_str())];
                text.sample("keepone_domain_role", &labels, yes(status.role == role));
            }
        }
        text.family("keepone_domain_holder_known", "gauge", "", "1 while this node knows who holds the domain.");
        for (name, status) in all() {
            text.sample("keepone_domain_holder_known", &[("domain", name)], yes(status.holder != Holder::Unknown));
        }
        text.family(
            "keepone_gate_open_seconds",
            "gauge",
            "seconds",
            "How long the gate stays open unrenewed; 0 is shut.",
        );
        for (name, status) in all() {
            text.sample("keepone_gate_open_seconds", &[("domain", name)], left(status.open_until));
        }
        text.family(
            "keepone_lease_remaining_seconds",
            "gauge",
            "seconds",
            "D - now of the lease; 0 where none is held.",
        );
        for (name, status) in all() {
            text.sample("keepone_lease_remaining_seconds", &[("domain", name)], left(status.lease_until));
        }
        text.family("keepone_domain_priority", "gauge", "", "The effective priority.");
        for (name, status) in all() {
            text.sample("keepone_domain_priority", &[("domain", name)], status.priority.0);
        }
        text.family("keepone_role_age_seconds", "gauge", "seconds", "How long the domain has been what it is.");
        for (name, status) in all() {
            text.sample("keepone_role_age_seconds", &[("domain", name)], self.at.since(status.since).as_secs_f64());
        }
        for (name, help) in [
            ("keepone_voters_answering", "Voters that have answered lately."),
            ("keepone_voters_needed", "Voters that a majority takes."),
        ] {
            text.family(name, "gauge", "", help);
            for (domain, (answering, needed)) in all().filter_map(|(name, status)| Some((name, status.voters?))) {
                let count = if name == "keepone_voters_needed" { needed } else { answering };
                text.sample(name, &[("domain", domain)], count);
            }
        }
    }

    /// What each virtual router has sent, heard and refused.
    fn statistics_in(&self, text: &mut Text) {
        let all = || {
            let entries = self.domains.iter().filter_map(|status| self.directory.domains.get(&status.domain));
            let instances = entries.flat_map(|entry| entry.instances.iter().map(move |one| (entry, one)));
            instances.filter_map(|(entry, one)| Some((entry, one, self.statistics.get(&one.id)?)))
        };
        for counter in statistics::COUNTERS {
            let family = format!("keepone_vrrp_{}", counter.metric);
            text.family(&family, "counter", "", counter.help);
            for (entry, instance, statistics) in all() {
                let labels = [("domain", entry.name.as_str()), ("instance", instance.name.as_str())];
                text.sample(&format!("{family}_total"), &labels, (counter.of)(statistics));
            }
        }
        let (name, help) =
            ("keepone_vrrp_packet_errors", "VRRP packets with this virtual router's VRID that have a fault.");
        text.family(name, "counter", "", help);
        for (entry, instance, statistics) in all() {
            for error in statistics::ERRORS {
                let names = (entry.name.as_str(), instance.name.as_str());
                let labels = [("domain", names.0), ("instance", names.1), ("error", error.metric)];
                text.sample("keepone_vrrp_packet_errors_total", &labels, (error.of)(statistics));
            }
        }
    }

    fn peers_in(&self, text: &mut Text) {
        text.family("keepone_peer_heard", "gauge", "", "1 while the peer is heard on any link.");
        for peer in &self.peers {
            let name = self.directory.names.node(peer.node);
            text.sample("keepone_peer_heard", &[("peer", &name)], yes(!peer.silent && peer.heard.is_some()));
        }
        text.family(
            "keepone_link_age_seconds",
            "gauge",
            "seconds",
            "How long ago the peer was last heard on the link.",
        );
        for peer in &self.peers {
            let name = self.directory.names.node(peer.node);
            for link in &peer.links {
                let age = link.heard.map_or(f64::NAN, |heard| heard.as_secs_f64());
                let link = self.directory.names.link(link.link);
                text.sample("keepone_link_age_seconds", &[("peer", &name), ("link", &link)], age);
            }
        }
        self.lines_in(text);
    }

    /// What the transport and the sequences of the beats tell of each link.
    fn lines_in(&self, text: &mut Text) {
        let all = || self.peers.iter().flat_map(|peer| peer.links.iter().map(move |link| (peer.node, link)));
        let mut family =
            |name: &str, kind: &str, unit: &str, help: &str, value: &dyn Fn(NodeId, &LinkStatus) -> f64| {
                text.family(name, kind, unit, help);
                let sample = if kind == "counter" { format!("{name}_total") } else { name.to_owned() };
                for (node, link) in all() {
                    let (peer, line) = (self.directory.names.node(node), self.directory.names.link(link.link));
                    text.sample(&sample, &[("peer", &peer), ("link", &line)], value(node, link));
                }
            };
        family(
            "keepone_link_rtt_seconds",
            "gauge",
            "seconds",
            "Smoothed round trip of the connection to the peer over the link; NaN while there is none.",
            &|node, link| self.rtt(node, link.link).map_or(f64::NAN, |rtt| rtt.as_secs_f64()),
        );
        family("keepone_link_beats", "counter", "", "Heartbeats of the peer that came over the link.", &|_, link| {
            link.tally.received as f64
        });
        family(
            "keepone_link_beats_lost",
            "counter",
            "",
            "Heartbeats that the peer made for the link and that did not come before a newer one.",
            &|_, link| link.tally.lost as f64,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_has_its_labels_in_braces_and_what_would_end_one_is_escaped() {
        let mut text = Text(String::new());
        text.sample("a", &[], 1);
        text.sample("b", &[("x", "1\"2"), ("y", "3\\4\n5")], 0.5);
        assert_eq!(text.0, "a 1\nb{x=\"1\\\"2\",y=\"3\\\\4\\n5\"} 0.5\n");
    }
}
