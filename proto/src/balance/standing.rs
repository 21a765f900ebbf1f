//! How virtual and real servers stand, for the operator.

use alloc::string::String;
use alloc::vec::Vec;

use super::machine::Balance;
use super::service::{Server, Service};
use crate::time::Instant;

/// A virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceStanding {
    /// By the configuration.
    pub name: String,
    /// Whether the quorum is there.
    pub has_quorum: bool,
    /// The quorum: the least weight.
    pub quorum: u32,
    /// The weight of what is up.
    pub living: u64,
    /// Its address is elsewhere, so that nothing is checked (`ha_suspend`).
    pub is_suspended: bool,
    /// The sorry server stands in.
    pub is_sorry: bool,
    /// In the order of the configuration.
    pub servers: Vec<ServerStanding>,
}

/// A real server of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStanding {
    /// By the configuration.
    pub name: String,
    /// All its checks are.
    pub is_up: bool,
    /// It gets no new connections, by the operator's word.
    pub is_draining: bool,
    /// What the table gets; `None`: it is not in it.
    pub weight: Option<u32>,
    /// What speaks against it; empty if it is up.
    pub fault: String,
    /// Tries of its checks that have ended since it was configured first.
    pub checks: u64,
    /// Those of them that failed.
    pub failed: u64,
}

impl Balance {
    /// All of them, in the order of the configuration.
    pub fn standing(&self, now: Instant) -> Vec<ServiceStanding> {
        self.services().iter().enumerate().map(|(at, service)| standing(at, service, now)).collect()
    }
}

fn standing(at: usize, service: &Service, now: Instant) -> ServiceStanding {
    let wanted = service.wanted(at, now);
    let one = |(server, weight): (&Server, &Option<u32>)| ServerStanding {
        name: server.settings.name.clone(),
        is_up: server.is_up,
        is_draining: server.is_draining,
        weight: *weight,
        fault: if server.is_up { String::new() } else { server.fault() },
        checks: server.checks,
        failed: server.failed,
    };
    ServiceStanding {
        name: service.settings.name.clone(),
        has_quorum: service.has_quorum,
        quorum: service.settings.quorum,
        living: service.living_weight(),
        is_suspended: service.is_suspended,
        is_sorry: wanted.sorry,
        servers: service.servers.iter().zip(&wanted.servers).map(one).collect(),
    }
}
