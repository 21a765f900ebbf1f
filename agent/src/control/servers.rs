//! How real servers stand, as JSON.

use std::collections::BTreeMap;

use keepone_proto::balance::standing::{ServerStanding, ServiceStanding};
use serde_json::{Value, json};

use crate::ipvs::connections::{Answer, Connections, Who};
use crate::ipvs::counted::{Counts, RealCounts, Traffic};

/// A virtual server, and what the kernel counts of it.
pub(super) type Counted = (ServiceStanding, Counts);

/// A list of virtual servers, with what the last look at the kernel's table has counted; with the connections of those that
/// are emptied as they are now, or why those are not known.
pub(super) fn json(services: &[Counted], known: &Answer, age_ms: Option<f64>) -> Value {
    let services = services.iter().map(|one| service(one, known.as_ref().ok())).collect::<Vec<_>>();
    let fault = known.as_ref().err().map(String::as_str);
    json!({ "virtual_servers": services, "connections_fault": fault, "counted_ms": age_ms })
}

/// All of them in a few numbers; `None` where there are none.
pub(super) fn summary(services: &[Counted]) -> Option<Value> {
    let all = || services.iter().flat_map(|(service, counts)| service.servers.iter().zip(&counts.servers));
    let counted = || all().filter_map(|(_, counts)| *counts);
    let sum = |of: fn(&RealCounts) -> u32| counted().map(|counts| u64::from(of(&counts))).sum::<u64>();
    let is_counted = counted().next().is_some();
    (!services.is_empty()).then(|| {
        json!({
            "virtual_servers": services.len(),
            "with_quorum": services.iter().filter(|(service, _)| service.has_quorum).count(),
            "real_servers": all().count(),
            "up": all().filter(|(server, _)| server.is_up).count(),
            "active": is_counted.then(|| sum(|counts| counts.active)),
            "inactive": is_counted.then(|| sum(|counts| counts.inactive)),
        })
    })
}

type Known = BTreeMap<Who, Connections>;

fn service((service, counts): &Counted, known: Option<&Known>) -> Value {
    let servers = service.servers.iter().enumerate();
    let server = |(at, one)| server(service, one, counts.servers.get(at).copied().flatten(), known);
    json!({
        "name": service.name,
        "has_quorum": service.has_quorum,
        "quorum": service.quorum,
        "weight": service.living,
        "suspended": service.is_suspended,
        "sorry": service.is_sorry,
        "traffic": counts.traffic.as_ref().map(traffic),
        "real_servers": servers.map(server).collect::<Vec<_>>(),
    })
}

fn server(
    service: &ServiceStanding,
    server: &ServerStanding,
    counts: Option<RealCounts>,
    known: Option<&Known>,
) -> Value {
    let connections = if server.is_draining {
        let who = (service.name.clone(), server.name.clone());
        known.and_then(|known| known.get(&who)).map(|left| {
            json!({ "active": left.active, "inactive": left.inactive, "kept": left.kept, "kernel_weight": left.weight })
        })
    } else {
        counts.map(|of| json!({ "active": of.active, "inactive": of.inactive, "kept": of.kept }))
    };
    json!({
        "name": server.name,
        "up": server.is_up,
        "draining": server.is_draining,
        "connections": connections,
        "traffic": counts.map(|counts| traffic(&counts.traffic)),
        "weight": server.weight,
        "fault": if server.fault.is_empty() { Value::Null } else { server.fault.as_str().into() },
    })
}

/// Since the kernel has the entry.
fn traffic(of: &Traffic) -> Value {
    json!({
        "connections": of.connections,
        "in_packets": of.in_packets,
        "out_packets": of.out_packets,
        "in_bytes": of.in_octets,
        "out_bytes": of.out_octets,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted() -> Counted {
        let server = |name: &str, is_draining: bool| ServerStanding {
            name: name.to_owned(),
            is_up: !is_draining,
            is_draining,
            weight: Some(1),
            fault: String::new(),
            checks: 0,
            failed: 0,
        };
        let service = ServiceStanding {
            name: "web".to_owned(),
            has_quorum: true,
            quorum: 1,
            living: 1,
            is_suspended: false,
            is_sorry: false,
            servers: vec![server("a", false), server("b", true), server("c", false)],
        };
        let of = |active, connections| RealCounts {
            active,
            inactive: 2,
            kept: 3,
            traffic: Traffic { connections, ..Traffic::default() },
        };
        let traffic = Traffic { in_octets: 1 << 40, ..Traffic::default() };
        (service, Counts { traffic: Some(traffic), servers: vec![Some(of(1, 7)), Some(of(9, 8)), None] })
    }

    #[test]
    fn who_is_emptied_has_what_is_left_now_and_the_others_what_was_counted_last() {
        let left = Connections { active: 4, inactive: 0, kept: 0, weight: 0 };
        let known = BTreeMap::from([(("web".to_owned(), "b".to_owned()), left)]);
        let told = json(&[counted()], &Ok(known), Some(1500.0));
        let servers = &told["virtual_servers"][0]["real_servers"];
        assert_eq!(servers[0]["connections"], json!({ "active": 1, "inactive": 2, "kept": 3 }));
        assert_eq!(servers[0]["traffic"]["connections"], 7);
        let left = json!({ "active": 4, "inactive": 0, "kept": 0, "kernel_weight": 0 });
        assert_eq!(servers[1]["connections"], left, "not the 9 of the last look");
        assert_eq!((&servers[2]["connections"], &servers[2]["traffic"]), (&Value::Null, &Value::Null));
        assert_eq!(told["virtual_servers"][0]["traffic"]["in_bytes"], 1_u64 << 40);
        assert_eq!(told["counted_ms"], 1500.0);
    }

    #[test]
    fn a_summary_adds_up_what_is_counted_and_says_nothing_where_nothing_is() {
        assert_eq!(summary(&[]), None);
        let (service, counts) = counted();
        let told = summary(&[(service.clone(), counts)]).unwrap();
        let wanted =
            json!({ "virtual_servers": 1, "with_quorum": 1, "real_servers": 3, "up": 2, "active": 10, "inactive": 4 });
        assert_eq!(told, wanted);
        let none = Counts { traffic: None, servers: vec![None; 3] };
        assert_eq!(summary(&[(service, none)]).unwrap()["active"], Value::Null);
    }
}
