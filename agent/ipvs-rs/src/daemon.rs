//! What IPVS has beside its table: sync daemons, timeouts, its version.

use std::net::IpAddr;

use crate::error::Incomplete;
use crate::wire::{Attribute, DaemonAttribute, InfoAttribute, IpvsMessage, MainAttribute};

/// `IP_VS_STATE_*`.
const MASTER: u32 = 1;
const BACKUP: u32 = 2;

/// What a sync daemon does. The kernel may run one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DaemonRole {
    /// Tells others of connections.
    Master,
    /// Hears of them.
    Backup,
}

impl DaemonRole {
    /// What the kernel finds it by.
    pub fn attribute(self) -> DaemonAttribute {
        DaemonAttribute::State(match self {
            DaemonRole::Master => MASTER,
            DaemonRole::Backup => BACKUP,
        })
    }
}

/// A sync daemon. `None` is the kernel's default when it is started; the kernel then shows what that is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Daemon {
    /// What it does.
    pub role: DaemonRole,
    /// Where; at most 15 octets.
    pub interface: String,
    /// 0 to 255; a backup with 0 hears all.
    pub sync_id: u32,
    /// The longest message in octets; by default what the interface takes in one frame.
    pub max_len: Option<u16>,
    /// By default 224.0.0.81.
    pub group: Option<IpAddr>,
    /// By default 8848.
    pub port: Option<u16>,
    /// Hop limit; by default 1.
    pub ttl: Option<u8>,
}

impl Daemon {
    /// For a message.
    pub fn attributes(&self) -> Vec<DaemonAttribute> {
        let mut attributes = vec![
            self.role.attribute(),
            DaemonAttribute::Interface(self.interface.clone()),
            DaemonAttribute::SyncId(self.sync_id),
        ];
        attributes.extend(self.max_len.map(DaemonAttribute::MaxLen));
        attributes.extend(self.group.map(|group| match group {
            IpAddr::V4(group) => DaemonAttribute::Group(group.octets()),
            IpAddr::V6(group) => DaemonAttribute::Group6(group.octets()),
        }));
        attributes.extend(self.port.map(DaemonAttribute::Port));
        attributes.extend(self.ttl.map(DaemonAttribute::Ttl));
        attributes
    }

    /// Of a message.
    ///
    /// # Errors
    /// Something is missing that it can't be told without.
    pub fn from_attributes(attributes: &[DaemonAttribute]) -> Result<Self, Incomplete> {
        let (mut role, mut interface, mut sync_id) = (None, None, None);
        let (mut max_len, mut group, mut port, mut ttl) = (None, None, None, None);
        for attribute in attributes {
            match attribute {
                DaemonAttribute::State(MASTER) => role = Some(DaemonRole::Master),
                DaemonAttribute::State(BACKUP) => role = Some(DaemonRole::Backup),
                DaemonAttribute::Interface(name) => interface = Some(name.clone()),
                DaemonAttribute::SyncId(id) => sync_id = Some(*id),
                DaemonAttribute::MaxLen(octets) => max_len = Some(*octets),
                DaemonAttribute::Group(octets) => group = Some((*octets).into()),
                DaemonAttribute::Group6(octets) => group = Some((*octets).into()),
                DaemonAttribute::Port(number) => port = Some(*number),
                DaemonAttribute::Ttl(hops) => ttl = Some(*hops),
                DaemonAttribute::State(_) | DaemonAttribute::Other(_) => {}
            }
        }
        Ok(Daemon {
            role: role.ok_or(Incomplete("state of a sync daemon"))?,
            interface: interface.ok_or(Incomplete("interface of a sync daemon"))?,
            sync_id: sync_id.ok_or(Incomplete("id of a sync daemon"))?,
            max_len,
            group,
            port,
            ttl,
        })
    }

    /// Whether a daemon that the kernel shows is this one: what is left to the kernel may be anything.
    pub fn is_met_by(&self, running: &Daemon) -> bool {
        fn met<T: PartialEq>(wanted: Option<&T>, running: Option<&T>) -> bool {
            wanted.is_none() || wanted == running
        }
        (self.role, &self.interface, self.sync_id) == (running.role, &running.interface, running.sync_id)
            && met(self.max_len.as_ref(), running.max_len.as_ref())
            && met(self.group.as_ref(), running.group.as_ref())
            && met(self.port.as_ref(), running.port.as_ref())
            && met(self.ttl.as_ref(), running.ttl.as_ref())
    }
}

/// When connections that are idle are forgotten, in seconds. In a request, `None` and 0 change nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timeouts {
    /// TCP.
    pub tcp_s: Option<u32>,
    /// TCP after a FIN.
    pub tcp_fin_s: Option<u32>,
    /// UDP.
    pub udp_s: Option<u32>,
}

impl Timeouts {
    /// For a message.
    pub fn attributes(&self) -> Vec<MainAttribute> {
        let tcp = self.tcp_s.map(MainAttribute::TimeoutTcp);
        let tcp_fin = self.tcp_fin_s.map(MainAttribute::TimeoutTcpFin);
        tcp.into_iter().chain(tcp_fin).chain(self.udp_s.map(MainAttribute::TimeoutUdp)).collect()
    }

    /// Of a message.
    pub fn from_message(message: &IpvsMessage) -> Self {
        let mut timeouts = Timeouts::default();
        for attribute in message.main() {
            match attribute {
                MainAttribute::TimeoutTcp(seconds) => timeouts.tcp_s = Some(*seconds),
                MainAttribute::TimeoutTcpFin(seconds) => timeouts.tcp_fin_s = Some(*seconds),
                MainAttribute::TimeoutUdp(seconds) => timeouts.udp_s = Some(*seconds),
                _ => {}
            }
        }
        timeouts
    }

    /// Whether what the kernel shows has all that is asked for.
    pub fn are_met_by(&self, running: &Timeouts) -> bool {
        let met = |wanted: Option<u32>, running| wanted.is_none_or(|seconds| seconds == 0 || Some(seconds) == running);
        met(self.tcp_s, running.tcp_s) && met(self.tcp_fin_s, running.tcp_fin_s) && met(self.udp_s, running.udp_s)
    }
}

/// What the kernel's IPVS is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Major, minor, patch.
    pub version: [u8; 3],
    /// Buckets of the connection table.
    pub table_size: u32,
}

impl Info {
    /// Of a message.
    ///
    /// # Errors
    /// Something is missing.
    pub fn from_message(message: &IpvsMessage) -> Result<Self, Incomplete> {
        let (mut version, mut table_size) = (None, None);
        for attribute in &message.attributes {
            match attribute {
                Attribute::Info(InfoAttribute::Version(number)) => {
                    let [_, major, minor, patch] = number.to_be_bytes();
                    version = Some([major, minor, patch]);
                }
                Attribute::Info(InfoAttribute::TableSize(buckets)) => table_size = Some(*buckets),
                Attribute::Info(InfoAttribute::Other(_)) | Attribute::Main(_) => {}
            }
        }
        let version = version.ok_or(Incomplete("version"))?;
        Ok(Info { version, table_size: table_size.ok_or(Incomplete("table size"))? })
    }
}
