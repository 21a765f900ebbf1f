//! How real servers stand, as JSON.

use std::collections::BTreeMap;

use keepone_proto::balance::standing::{ServerStanding, ServiceStanding};
use serde_json::{Value, json};

use crate::ipvs::connections::{Answer, Connections, Who};

/// A list of virtual servers, with the connections of those that are emptied, or why those are not known.
pub(super) fn json(services: &[ServiceStanding], known: &Answer) -> Value {
    let services = services.iter().map(|one| service(one, known.as_ref().ok())).collect::<Vec<_>>();
    let fault = known.as_ref().err().map(String::as_str);
    json!({ "virtual_servers": services, "connections_fault": fault })
}

type Known = BTreeMap<Who, Connections>;

fn service(service: &ServiceStanding, known: Option<&Known>) -> Value {
    json!({
        "name": service.name,
        "has_quorum": service.has_quorum,
        "quorum": service.quorum,
        "weight": service.living,
        "suspended": service.is_suspended,
        "sorry": service.is_sorry,
        "real_servers": service.servers.iter().map(|one| server(service, one, known)).collect::<Vec<_>>(),
    })
}

fn server(service: &ServiceStanding, server: &ServerStanding, known: Option<&Known>) -> Value {
    let who = (service.name.clone(), server.name.clone());
    let connections = known.filter(|_| server.is_draining).and_then(|known| known.get(&who)).map(|left| {
        json!({ "active": left.active, "inactive": left.inactive, "kept": left.kept, "kernel_weight": left.weight })
    });
    json!({
        "name": server.name,
        "up": server.is_up,
        "draining": server.is_draining,
        "connections": connections,
        "weight": server.weight,
        "fault": if server.fault.is_empty() { Value::Null } else { server.fault.as_str().into() },
    })
}
