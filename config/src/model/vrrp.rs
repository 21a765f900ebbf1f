//! Virtual routers, their addresses, and what moves together.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use keepone_proto::id::{Priority, Vrid};
use keepone_proto::settings::{AnnounceSettings, AuthType, Policy, VrrpVersion};

use super::{AddressOptions, Notify, Trackers, VrrpOptions};

/// `state`: how the instance would like to begin.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum InitialState {
    /// Stands for election at once.
    Master,
    /// Waits.
    Backup,
}

/// One virtual router.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct VrrpInstance {
    /// The operator's name for it.
    pub name: String,
    /// How it begins.
    pub state: InitialState,
    /// Where it advertises.
    pub interface: String,
    /// Its VRID.
    pub vrid: Vrid,
    /// Version of its Advertisements.
    pub version: VrrpVersion,
    /// Whether they travel over IPv6.
    pub ipv6: bool,
    /// Base priority, 1 to 255.
    pub priority: Priority,
    /// Advertisement_Interval; v2: whole seconds, 1 to 255; v3: 10 ms to 40.95 s.
    pub advert_int: Duration,
    /// Preempt_Mode.
    pub preempt: bool,
    /// How long a lower Master is tolerated, 0 to 1000 s.
    pub preempt_delay: Duration,
    /// Addresses in the order of the file, those that are advertised first.
    pub virtual_addresses: Vec<VirtualAddress>,
    /// How Advertisements travel.
    pub transport: Transport,
    /// Interfaces that it watches; its own comes first, unless `dont_track_primary` is set.
    pub track_interface: Vec<TrackInterface>,
    /// Password of VRRPv2's authentication.
    pub auth_pass: Option<Secret>,
    /// How the password is used.
    pub auth_type: AuthType,
    /// Announcements after an address has moved.
    pub announce: AnnounceSettings,
    /// What becomes of it while the arbiter is silent, where that differs from the arbiter's own policy (D4).
    pub policy: Option<Policy>,
    /// Which gateway it is tested from while this node is Master (D9).
    pub mirror: Mirror,
    /// Its scripts.
    pub notify: Notify,
    /// All else that it can be told.
    pub options: VrrpOptions,
}

/// Which gateway a Master pings from its virtual address, to see whether the answers come to it (D9).
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mirror {
    /// The first reference on a virtual address's own network; none if there is none.
    #[default]
    Auto,
    /// None.
    Off,
    /// This one.
    Gateway(IpAddr),
}

impl VrrpInstance {
    /// Whether the Master takes packets for its addresses (RFC 9568, 6.1, Accept_Mode): the owner always does.
    pub fn accepts(&self) -> bool {
        self.options.accept || self.priority == Priority::OWNER
    }

    /// What its Advertisements carry.
    pub fn advertised(&self) -> impl Iterator<Item = IpAddr> {
        self.virtual_addresses.iter().filter(|address| !address.excluded).map(|address| address.address)
    }
}

/// How Advertisements travel.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub enum Transport {
    /// To VRRP's group.
    Multicast {
        /// `mcast_src_ip`; `None`: the interface's first address.
        source: Option<IpAddr>,
    },
    /// To each peer.
    Unicast {
        /// `unicast_src_ip`; `None`: the interface's first address.
        source: Option<IpAddr>,
        /// Without one, which takes `unicast_fault_no_peer`, it stays in FAULT.
        peers: Vec<IpAddr>,
    },
}

/// `track_interface`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct TrackInterface {
    /// The kernel's name.
    pub interface: String,
    /// 0: its loss is a FAULT; above: added to the priority while it is up; below: while it is down.
    pub weight: i16,
    /// The other way round; not active yet.
    pub reverse: bool,
}

/// A virtual IP.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Prefix length; 32 or 128 unless written.
    pub prefix: u8,
    /// `dev`; `None`: the instance's interface.
    pub dev: Option<String>,
    /// `brd`.
    pub broadcast: Option<Ipv4Addr>,
    /// `scope`; global unless written.
    pub scope: Scope,
    /// `label`, at most 15 bytes.
    pub label: Option<String>,
    /// Held, but not carried in Advertisements (`virtual_ipaddress_excluded`).
    pub excluded: bool,
    /// What else the line says.
    pub options: AddressOptions,
}

/// Scope of an address: the kernel's number (`rtnetlink(7)`, `rtm_scope`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub u8);

impl Scope {
    /// Valid everywhere.
    pub const GLOBAL: Scope = Scope(0);
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("global"),
            200 => f.write_str("site"),
            253 => f.write_str("link"),
            254 => f.write_str("host"),
            255 => f.write_str("nowhere"),
            number => write!(f, "{number}"),
        }
    }
}

/// A password that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 8]);

impl Secret {
    /// The first eight bytes, padded with zeros, as VRRPv2 carries them (RFC 2338, 5.3.10).
    pub fn new(password: &str) -> Self {
        let mut bytes = [0; 8];
        for (to, from) in bytes.iter_mut().zip(password.bytes()) {
            *to = from;
        }
        Secret(bytes)
    }

    /// The eight bytes for the packet.
    pub fn reveal(&self) -> [u8; 8] {
        self.0
    }
}

/// A key or password of any length that never shows itself.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(pub(crate) Vec<u8>);

impl SecretBytes {
    /// What must not be shown.
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::hidden::serialize(&self.0, serializer)
    }
}

impl serde::Serialize for SecretBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        super::hidden::serialize(&self.0, serializer)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Instances that win, lose and move together.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct SyncGroup {
    /// The operator's name for it.
    pub name: String,
    /// Places in [`super::Config::instances`], ascending.
    pub instances: Vec<usize>,
    /// What becomes of it while the arbiter is silent, where that differs from the arbiter's own policy (D4).
    pub policy: Option<Policy>,
    /// Its scripts.
    pub notify: Notify,
    /// What its instances watch together, its interfaces apart.
    pub trackers: Trackers,
    /// Whether weights count within the group ([`super::Config::weights_count`]).
    pub tracking_weight: bool,
    /// Mail on every change; not active yet.
    pub smtp_alert: bool,
    /// FIFOs get changes of priority of its instances too.
    pub notify_priority_changes: bool,
}
