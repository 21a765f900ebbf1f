//! `lvs_sync_daemon`: which sync daemons are to run.

use ipvs_rs::{Daemon, DaemonRole};
use keepone_config::Config;
use keepone_config::model::IpvsSync;
use keepone_proto::id::DomainId;

/// The sync daemons of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sync {
    settings: IpvsSync,
    /// Whose role they follow; `None`: both run.
    pub(super) domain: Option<DomainId>,
    id: u32,
}

impl Sync {
    /// `None`: there are to be none.
    pub(super) fn of(config: &Config) -> Option<Self> {
        let settings = config.global.ipvs.sync.clone()?;
        let instance = settings.instance.and_then(|place| config.instances.get(place));
        let place = settings.instance;
        let domain = place.and_then(|place| config.domains().into_iter().find(|one| one.instances.contains(&place)));
        let id = settings.id.map(u32::from).or(instance.map(|instance| u32::from(instance.vrid.get()))).unwrap_or(0);
        Some(Sync { settings, domain: domain.map(|domain| domain.id), id })
    }

    /// What is to run: without an instance both, else by whether this node is its Master.
    pub(super) fn daemons(&self, is_master: bool) -> Vec<Daemon> {
        let roles: &[DaemonRole] = match (self.domain, is_master) {
            (None, _) => &[DaemonRole::Backup, DaemonRole::Master],
            (Some(_), true) => &[DaemonRole::Master],
            (Some(_), false) => &[DaemonRole::Backup],
        };
        let settings = &self.settings;
        let daemon = |role: &DaemonRole| Daemon {
            role: *role,
            interface: settings.interface.clone(),
            sync_id: self.id,
            max_len: settings.maxlen,
            group: settings.group,
            port: Some(settings.port),
            ttl: settings.ttl,
        };
        roles.iter().map(daemon).collect()
    }
}
