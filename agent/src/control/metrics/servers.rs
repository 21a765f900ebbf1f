//! Virtual and real servers.

use keepone_proto::balance::standing::{ServerStanding, ServiceStanding};

use super::super::servers::Counted;
use super::{Labels, Text, yes};
use crate::ipvs::counted::{RealCounts, Traffic};

/// A family of gauges of virtual servers.
type OfService = (&'static str, &'static str, fn(&ServiceStanding) -> u64);

const SERVICES: [OfService; 5] = [
    ("keepone_virtual_server_quorum_met", "1 while the virtual server has its quorum.", |of| yes(of.has_quorum).into()),
    ("keepone_virtual_server_quorum", "The weight that it takes.", |of| of.quorum.into()),
    ("keepone_virtual_server_weight", "The weight of its real servers that are up.", |of| of.living),
    ("keepone_virtual_server_suspended", "1 while its address is elsewhere, so that nothing is checked.", |of| {
        yes(of.is_suspended).into()
    }),
    ("keepone_virtual_server_sorry", "1 while the sorry server stands in.", |of| yes(of.is_sorry).into()),
];

/// A family of real servers: its name, its type, its help, its value; `None`: it has no sample.
type OfServer = (&'static str, &'static str, &'static str, fn(&ServerStanding) -> Option<u64>);

const SERVERS: [OfServer; 5] = [
    ("keepone_real_server_up", "gauge", "1 while all checks of the real server pass.", |of| Some(yes(of.is_up).into())),
    ("keepone_real_server_weight", "gauge", "Its weight in the kernel's table; none while it is not in it.", |of| {
        of.weight.map(u64::from)
    }),
    ("keepone_real_server_draining", "gauge", "1 for each that the operator is emptying.", |of| {
        of.is_draining.then_some(1)
    }),
    ("keepone_real_server_checks", "counter", "Tries of its checks that have ended.", |of| Some(of.checks)),
    ("keepone_real_server_checks_failed", "counter", "Those of them that failed.", |of| Some(of.failed)),
];

/// A family of what the kernel counts: the end of its name, its type, its unit, its help, its value.
type OfKernel<T> = (&'static str, &'static str, &'static str, &'static str, fn(&T) -> u64);

const CONNECTIONS: [OfKernel<RealCounts>; 3] = [
    ("active_connections", "gauge", "", "Connections that are established.", |of| of.active.into()),
    ("inactive_connections", "gauge", "", "Others that the kernel still remembers.", |of| of.inactive.into()),
    ("persistent_clients", "gauge", "", "Clients that persistence keeps there.", |of| of.kept.into()),
];

/// Both of virtual and of real servers. Since the kernel has the entry.
const TRAFFIC: [OfKernel<Traffic>; 5] = [
    ("connections", "counter", "", "Connections scheduled.", |of| of.connections),
    ("in_packets", "counter", "", "Packets of clients.", |of| of.in_packets),
    ("out_packets", "counter", "", "Packets to clients, which only masquerading sees.", |of| of.out_packets),
    ("in_bytes", "counter", "bytes", "Octets of clients.", |of| of.in_octets),
    ("out_bytes", "counter", "bytes", "Octets to clients, which only masquerading sees.", |of| of.out_octets),
];

/// All families, in the order of the configuration.
pub(super) fn families(text: &mut Text, services: &[Counted]) {
    let of_services: Vec<_> =
        services.iter().map(|(of, counts)| (Labels::new(&[("virtual_server", &of.name)]), of, counts)).collect();
    for (name, help, value) in SERVICES {
        text.family(name, "gauge", "", help);
        for (labels, service, _) in &of_services {
            text.sample_of(name, "", labels, "", value(service));
        }
    }
    let all = services.iter().flat_map(|(of, counts)| of.servers.iter().zip(&counts.servers).map(move |one| (of, one)));
    let of_servers: Vec<_> = all
        .map(|(of, (server, counts))| {
            (Labels::new(&[("virtual_server", &of.name), ("real_server", &server.name)]), server, counts)
        })
        .collect();
    for (name, kind, help, value) in SERVERS {
        text.family(name, kind, "", help);
        let end = if kind == "counter" { "_total" } else { "" };
        for (labels, server, _) in &of_servers {
            if let Some(value) = value(server) {
                text.sample_of(name, end, labels, "", value);
            }
        }
    }
    let connections = || of_servers.iter().filter_map(|(labels, _, counts)| Some((labels, counts.as_ref()?)));
    counted(text, "keepone_real_server_", &CONNECTIONS, connections);
    counted(text, "keepone_real_server_", &TRAFFIC, || connections().map(|(labels, counts)| (labels, &counts.traffic)));
    counted(text, "keepone_virtual_server_", &TRAFFIC, || {
        of_services.iter().filter_map(|(labels, _, counts)| Some((labels, counts.traffic.as_ref()?)))
    });
}

/// Families of what the kernel counts; who is not in its table has no sample.
fn counted<'a, T: 'a, I: Iterator<Item = (&'a Labels, &'a T)>>(
    text: &mut Text,
    begin: &str,
    families: &[OfKernel<T>],
    all: impl Fn() -> I,
) {
    for (name, kind, unit, help, value) in families {
        let name = format!("{begin}{name}");
        text.family(&name, kind, unit, help);
        let end = if *kind == "counter" { "_total" } else { "" };
        for (labels, of) in all() {
            text.sample_of(&name, end, labels, "", value(of));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipvs::counted::Counts;

    #[test]
    fn each_server_has_its_samples_and_one_that_is_out_of_the_table_no_weight() {
        let server = |name: &str, weight: Option<u32>, is_draining| ServerStanding {
            name: name.to_owned(),
            is_up: weight.is_some(),
            is_draining,
            weight,
            fault: String::new(),
            checks: 7,
            failed: 2,
        };
        let service = ServiceStanding {
            name: "w\"eb".to_owned(),
            has_quorum: true,
            quorum: 2,
            living: 3,
            is_suspended: false,
            is_sorry: false,
            servers: vec![server("a", Some(0), true), server("b", None, false)],
        };
        let mut text = Text(String::new());
        let traffic = |connections| Traffic { connections, in_octets: 1 << 40, ..Traffic::default() };
        let counts = RealCounts { active: 3, inactive: 2, kept: 1, traffic: traffic(5) };
        let counts = Counts { traffic: Some(traffic(6)), servers: vec![Some(counts), None] };
        families(&mut text, &[(service, counts)]);
        let samples: Vec<&str> = text.0.lines().filter(|line| !line.starts_with('#')).collect();
        let of = |name: &str, server: &str, value: u64| {
            format!("keepone_real_server_{name}{{virtual_server=\"w\\\"eb\",real_server=\"{server}\"}} {value}")
        };
        let wanted = [
            of("up", "a", 1),
            of("up", "b", 0),
            of("weight", "a", 0),
            of("draining", "a", 1),
            of("checks_total", "a", 7),
            of("checks_total", "b", 7),
            of("checks_failed_total", "a", 2),
            of("checks_failed_total", "b", 2),
            of("active_connections", "a", 3),
            of("inactive_connections", "a", 2),
            of("persistent_clients", "a", 1),
            of("connections_total", "a", 5),
            of("in_packets_total", "a", 0),
            of("out_packets_total", "a", 0),
            of("in_bytes_total", "a", 1 << 40),
            of("out_bytes_total", "a", 0),
        ];
        let (of_services, samples) =
            samples.into_iter().partition::<Vec<_>, _>(|line| line.starts_with("keepone_virtual"));
        assert_eq!(samples, wanted, "who is not in the kernel's table has no connections");
        assert_eq!(of_services.first(), Some(&"keepone_virtual_server_quorum_met{virtual_server=\"w\\\"eb\"} 1"));
        let connections = "keepone_virtual_server_connections_total{virtual_server=\"w\\\"eb\"} 6";
        assert_eq!(of_services.get(5), Some(&connections), "{of_services:#?}");
        assert_eq!(text.0.matches("# TYPE ").count(), 23);
        assert!(
            text.0.contains("# TYPE keepone_real_server_in_bytes counter\n# UNIT keepone_real_server_in_bytes bytes\n")
        );
    }
}
