//! Virtual and real servers.

use keepone_proto::balance::standing::{ServerStanding, ServiceStanding};

use super::{Labels, Text, yes};

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

/// All families, in the order of the configuration.
pub(super) fn families(text: &mut Text, services: &[ServiceStanding]) {
    let all: Vec<_> = services.iter().map(|of| (Labels::new(&[("virtual_server", &of.name)]), of)).collect();
    for (name, help, value) in SERVICES {
        text.family(name, "gauge", "", help);
        for (labels, service) in &all {
            text.sample_of(name, "", labels, "", value(service));
        }
    }
    let all = services.iter().flat_map(|service| service.servers.iter().map(move |server| (service, server)));
    let all: Vec<_> = all
        .map(|(of, server)| (Labels::new(&[("virtual_server", &of.name), ("real_server", &server.name)]), server))
        .collect();
    for (name, kind, help, value) in SERVERS {
        text.family(name, kind, "", help);
        let end = if kind == "counter" { "_total" } else { "" };
        for (labels, server) in &all {
            if let Some(value) = value(server) {
                text.sample_of(name, end, labels, "", value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        families(&mut text, &[service]);
        let samples: Vec<&str> = text.0.lines().filter(|line| !line.starts_with('#')).collect();
        let of = |name: &str, server: &str, value: u8| {
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
        ];
        assert_eq!(samples.get(5..), Some(wanted.each_ref().map(String::as_str).as_slice()), "{samples:#?}");
        assert_eq!(samples.first(), Some(&"keepone_virtual_server_quorum_met{virtual_server=\"w\\\"eb\"} 1"));
        assert_eq!(text.0.matches("# TYPE ").count(), 10);
    }
}
