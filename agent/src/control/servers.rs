//! How real servers stand, as JSON.

use keepone_proto::balance::standing::{ServerStanding, ServiceStanding};
use serde_json::{Value, json};

/// A list of virtual servers.
pub(super) fn json(services: &[ServiceStanding]) -> Value {
    json!({ "virtual_servers": services.iter().map(service).collect::<Vec<_>>() })
}

fn service(service: &ServiceStanding) -> Value {
    json!({
        "name": service.name,
        "has_quorum": service.has_quorum,
        "quorum": service.quorum,
        "weight": service.living,
        "suspended": service.is_suspended,
        "sorry": service.is_sorry,
        "real_servers": service.servers.iter().map(server).collect::<Vec<_>>(),
    })
}

fn server(server: &ServerStanding) -> Value {
    json!({
        "name": server.name,
        "up": server.is_up,
        "draining": server.is_draining,
        "weight": server.weight,
        "fault": if server.fault.is_empty() { Value::Null } else { server.fault.as_str().into() },
    })
}
