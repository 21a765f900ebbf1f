//! A snapshot in the OpenMetrics text format (1.0), for Prometheus by way of node_exporter's textfile collector.
//!
//! Each family has its type, its unit where it has one, and its help; a counter's samples end in `_total`. Ends with
//! `# EOF`, so that half a text is refused. No type but gauge and counter: node_exporter reads the older text format, which
//! knows neither `info` nor `stateset`.

mod servers;

use std::fmt::Write as _;
use std::time::Duration;

use keepone_proto::alerts::Standing;
use keepone_proto::decision::Role;
use keepone_proto::id::NodeId;
use keepone_proto::node::{DomainStatus, Holder, LinkStatus};

use super::servers::Counted;
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

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Value) {
        self.sample_of(name, "", &Labels::new(labels), "", value);
    }

    /// A sample of somebody whose labels are written already; `more` of them come behind those ([`further`]), and `end`
    /// behind the name.
    fn sample_of(&mut self, name: &str, end: &str, of: &Labels, more: &str, value: impl Value) {
        let text = &mut self.0;
        text.push_str(name);
        text.push_str(end);
        text.push_str(&of.0);
        text.push_str(more);
        text.push_str(if of.0.is_empty() { " " } else { "} " });
        value.push_to(text);
        text.push('\n');
    }
}

/// What a sample has: tens of thousands of whole numbers, for which the formatter of the standard library is most of the work.
trait Value {
    fn push_to(self, text: &mut String);
}

impl Value for u64 {
    fn push_to(self, text: &mut String) {
        text.push_str(itoa::Buffer::new().format(self));
    }
}

impl Value for u8 {
    fn push_to(self, text: &mut String) {
        u64::from(self).push_to(text);
    }
}

impl Value for f64 {
    fn push_to(self, text: &mut String) {
        let _ = write!(text, "{self}");
    }
}

/// The labels of a domain, a virtual router, a real server, up to the brace that closes them: written once, and used in the
/// dozen families that each of thousands stands in.
struct Labels(String);

impl Labels {
    fn new(labels: &[(&str, &str)]) -> Self {
        let mut text = String::new();
        for label in labels {
            push(&mut text, label);
        }
        // The first one's comma.
        if let Some(rest) = text.strip_prefix(',') {
            text = format!("{{{rest}");
        }
        Labels(text)
    }
}

/// A label behind others, for the samples of many.
fn further(label: &str, value: &str) -> String {
    let mut text = String::new();
    push(&mut text, &(label, value));
    text
}

/// A label behind others.
fn push(text: &mut String, (label, value): &(&str, &str)) {
    text.push(',');
    text.push_str(label);
    text.push_str("=\"");
    let mut rest = *value;
    while let Some((plain, special)) = rest.find(['\\', '"', '\n']).and_then(|at| rest.split_at_checked(at)) {
        text.push_str(plain);
        let mut letters = special.chars();
        text.push_str(match letters.next() {
            Some('\\') => "\\\\",
            Some('"') => "\\\"",
            _ => "\\n",
        });
        rest = letters.as_str();
    }
    text.push_str(rest);
    text.push('"');
}

fn yes(is: bool) -> u8 {
    u8::from(is)
}

impl Snapshot {
    /// As a scraper reads it, with how virtual servers stand and what is counted of them, in an empty text.
    pub(super) fn metrics(&self, text: String, servers: &[Counted]) -> String {
        let mut text = Text(text);
        text.family("keepone_build_info", "gauge", "", "The program and the node that it runs as.");
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("node", self.directory.node.as_str())];
        text.sample("keepone_build_info", &labels, 1_u8);
        text.family("keepone_maintenance", "gauge", "", "1 while the operator has taken the node out.");
        text.sample("keepone_maintenance", &[], yes(self.maintenance));
        text.family("keepone_gate_test_passed", "gauge", "", "1 while the gate passes its self-test (R14).");
        text.sample("keepone_gate_test_passed", &[], yes(self.gate_passes == Some(true)));
        self.domains_in(&mut text);
        self.statistics_in(&mut text);
        self.peers_in(&mut text);
        servers::families(&mut text, servers);
        text.family("keepone_alert", "gauge", "", "1 for each alert that stands; docs/alerts.md says what to do.");
        for Standing { name, domain, .. } in &self.alerts {
            let domain = domain.map_or("", |domain| self.directory.name(domain));
            let labels = [("name", name.as_str()), ("domain", domain), ("severity", name.severity().as_str())];
            text.sample("keepone_alert", &labels, 1_u8);
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
        let labels = |status: &DomainStatus| Labels::new(&[("domain", self.directory.name(status.domain))]);
        let domains: Vec<_> = self.domains.iter().map(|status| (labels(status), status)).collect();
        let left = |until: Option<keepone_proto::time::Instant>| {
            until.map_or(Duration::ZERO, |until| until.since(self.at)).as_secs_f64()
        };
        text.family("keepone_domain_role", "gauge", "", "1 for what the domain is on this node.");
        let roles = ROLES.map(|role| (role, further("role", role.as_str())));
        for (domain, status) in &domains {
            for (role, label) in &roles {
                text.sample_of("keepone_domain_role", "", domain, label, yes(status.role == *role));
            }
        }
        let mut family = |name: &str, unit: &str, help: &str, value: &dyn Fn(&DomainStatus) -> Option<f64>| {
            text.family(name, "gauge", unit, help);
            for (domain, status) in &domains {
                if let Some(value) = value(status) {
                    text.sample_of(name, "", domain, "", value);
                }
            }
        };
        family("keepone_domain_holder_known", "", "1 while this node knows who holds the domain.", &|status| {
            Some(yes(status.holder != Holder::Unknown).into())
        });
        family(
            "keepone_gate_open_seconds",
            "seconds",
            "How long the gate stays open unrenewed; 0 is shut.",
            &|status| Some(left(status.open_until)),
        );
        family(
            "keepone_lease_remaining_seconds",
            "seconds",
            "D - now of the lease; 0 where none is held.",
            &|status| Some(left(status.lease_until)),
        );
        family("keepone_domain_priority", "", "The effective priority.", &|status| Some(status.priority.0.into()));
        family("keepone_role_age_seconds", "seconds", "How long the domain has been what it is.", &|status| {
            Some(self.at.since(status.since).as_secs_f64())
        });
        family("keepone_voters_answering", "", "Voters that have answered lately.", &|status| {
            status.voters.map(|(answering, _)| answering as f64)
        });
        family("keepone_voters_needed", "", "Voters that a majority takes.", &|status| {
            status.voters.map(|(_, needed)| needed as f64)
        });
    }

    /// What each virtual router has sent, heard and refused.
    fn statistics_in(&self, text: &mut Text) {
        let entries = self.domains.iter().filter_map(|status| self.directory.domains.get(&status.domain));
        let instances = entries.flat_map(|entry| entry.instances.iter().map(move |one| (entry, one)));
        let all: Vec<_> = instances
            .filter_map(|(entry, one)| {
                Some((Labels::new(&[("domain", &entry.name), ("instance", &one.name)]), self.statistics.get(&one.id)?))
            })
            .collect();
        for counter in statistics::COUNTERS {
            let family = format!("keepone_vrrp_{}", counter.metric);
            text.family(&family, "counter", "", counter.help);
            for (instance, statistics) in &all {
                text.sample_of(&family, "_total", instance, "", (counter.of)(statistics));
            }
        }
        let (name, help) =
            ("keepone_vrrp_packet_errors", "VRRP packets with this virtual router's VRID that have a fault.");
        text.family(name, "counter", "", help);
        let errors = statistics::ERRORS.map(|error| (further("error", error.metric), error.of));
        for (instance, statistics) in &all {
            for (label, of) in &errors {
                text.sample_of(name, "_total", instance, label, of(statistics));
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
        text.sample("a", &[], 1_u8);
        text.sample("b", &[("x", "1\"2"), ("y", "3\\4\n5")], 0.5);
        assert_eq!(text.0, "a 1\nb{x=\"1\\\"2\",y=\"3\\\\4\\n5\"} 0.5\n");
    }
}
