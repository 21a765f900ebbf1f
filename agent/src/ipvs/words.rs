//! What is told of the kernel's table.

use ipvs_rs::{Change, Error, ServiceId};

use super::ledger::show;

/// So many changes are told one by one.
const MOST: usize = 20;

/// `ENOENT` and what it means of a service.
const ENOENT: i32 = libc::ENOENT;

/// What somebody else has done, given what undoes it: each with what becomes of it.
pub(super) fn of_others(undone: &[Change]) -> Vec<String> {
    let mut lines: Vec<String> = undone
        .iter()
        .take(MOST)
        .map(|change| match change {
            Change::AddService(service) => format!("somebody deleted the virtual server {}", show(service.id)),
            Change::EditService(service) => format!("somebody changed the virtual server {}", show(service.id)),
            Change::DeleteService(id) => format!("somebody added the virtual server {}, which was ours", show(*id)),
            Change::AddDestination(id, destination) => {
                format!("somebody deleted the real server {} of {}", destination.address, show(*id))
            }
            Change::EditDestination(id, destination) => {
                format!("somebody changed the real server {} of {}", destination.address, show(*id))
            }
            Change::DeleteDestination(id, address) => {
                format!("somebody added the real server {address} to {}", show(*id))
            }
        })
        .collect();
    if undone.len() > MOST {
        lines.push(format!("somebody changed {} more virtual and real servers", undone.len() - MOST));
    }
    lines
}

/// What is done.
pub(super) fn of_change(change: &Change) -> String {
    match change {
        Change::AddService(service) => format!("add virtual server {} ({})", show(service.id), service.scheduler),
        Change::EditService(service) => format!("change virtual server {} ({})", show(service.id), service.scheduler),
        Change::DeleteService(id) => format!("delete virtual server {}", show(*id)),
        Change::AddDestination(id, destination) => {
            format!("add real server {} to {}, weight {}", destination.address, show(*id), destination.weight)
        }
        Change::EditDestination(id, destination) => {
            format!("change real server {} of {}, weight {}", destination.address, show(*id), destination.weight)
        }
        Change::DeleteDestination(id, address) => format!("delete real server {address} of {}", show(*id)),
    }
}

/// Why the kernel refused a change, and what to do.
pub(super) fn of_refusal(change: &Change, error: &Error) -> String {
    let what = of_change(change);
    let service = match change {
        Change::AddService(service) | Change::EditService(service) => Some(service),
        Change::DeleteService(_)
        | Change::AddDestination(..)
        | Change::EditDestination(..)
        | Change::DeleteDestination(..) => None,
    };
    match (service, error.errno()) {
        (Some(service), Some(ENOENT)) => {
            let engine = service.engine.as_ref().map(|engine| format!(" and `modprobe ip_vs_pe_{engine}`"));
            let engine = engine.unwrap_or_default();
            format!("{what}: the kernel has no such scheduler: `modprobe ip_vs_{}`{engine}", service.scheduler)
        }
        (Some(service), Some(libc::EINVAL)) if is_every_port(service.id) && service.persistence.is_none() => {
            format!("{what}: the kernel takes every port only with `persistence_timeout`")
        }
        (_, Some(libc::EINVAL)) => format!(
            "{what}: {error}; with lvs_sync_daemon real servers have to be of the virtual server's family, and `gue` \
             needs a port"
        ),
        (_, Some(libc::EPERM)) => format!("{what}: {error}: keepone needs CAP_NET_ADMIN"),
        _ => format!("{what}: {error}"),
    }
}

/// Of a change of a destination, its service.
pub(super) fn service_of(change: &Change) -> Option<ServiceId> {
    match change {
        Change::AddDestination(id, _) | Change::EditDestination(id, _) | Change::DeleteDestination(id, _) => Some(*id),
        Change::AddService(_) | Change::EditService(_) | Change::DeleteService(_) => None,
    }
}

fn is_every_port(id: ServiceId) -> bool {
    matches!(id, ServiceId::Address { address, .. } if address.port() == 0)
}

#[cfg(test)]
mod tests {
    use ipvs_rs::{Family, Service};

    use super::*;

    #[test]
    fn a_scheduler_that_is_not_there_is_named_with_its_module() {
        let service = Service::new(ServiceId::Mark { mark: 1, family: Family::Ipv4 }, "mh");
        let words = of_refusal(&Change::AddService(service), &Error::Kernel(libc::ENOENT));
        assert!(words.contains("fwmark 1") && words.contains("modprobe ip_vs_mh"), "{words}");
    }

    #[test]
    fn a_flood_of_changes_is_told_in_few_lines() {
        let change = |mark| Change::DeleteService(ServiceId::Mark { mark, family: Family::Ipv4 });
        let lines = of_others(&(1..=100).map(change).collect::<Vec<_>>());
        assert_eq!(lines.len(), MOST + 1);
        assert!(lines.last().unwrap().contains("80 more"), "{lines:?}");
    }
}
