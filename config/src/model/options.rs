//! What an instance can be told beyond its election: how it travels, announces, and how strict it is.

use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::settings::HmacMode;

use super::{Route, Rule, Script, SecretBytes, Trackers};

/// Options of an instance, `global_defs` filled in.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct VrrpOptions {
    /// To the letter of the RFC.
    pub strict: bool,
    /// Take packets for the addresses though not their owner.
    pub accept: bool,
    /// Compare the addresses in an Advertisement only when the sender changes.
    pub skip_check_adv_addr: bool,
    /// Drop unicast Advertisements from addresses that are no peers.
    pub check_unicast_src: bool,
    /// FAULT rather than multicast without a peer.
    pub unicast_fault_no_peer: bool,
    /// Hop limit of unicast Advertisements.
    pub unicast_ttl: Option<u8>,
    /// Peers whose hop limit is bounded: least and greatest.
    pub peer_ttl: Vec<(IpAddr, u8, u8)>,
    /// Where Advertisements go in multicast; `None`: to the group of `global_defs`.
    pub mcast_dst_ip: Option<IpAddr>,
    /// Its interface is asked for its link each second.
    pub linkbeat: bool,
    /// FAULT while the sender's address is not there.
    pub track_src_ip: bool,
    /// Version 3 over IPv4 sums without the pseudo-header.
    pub v3_checksum_as_v2: bool,
    /// How many Advertisements must miss before a Backup stands, 1 to 100; 3 by default.
    pub down_timer_adverts: u8,
    /// A Master whose timer ran too late steps down, for this priority, 1 to 254.
    pub timer_expired_backup: Option<u8>,
    /// A Master does not answer a lower node at once.
    pub lower_prio_no_advert: bool,
    /// A Master advertises once more before it yields.
    pub higher_prio_send_advert: bool,
    /// The owner of the address listens to nobody.
    pub owner_ignore_adverts: bool,
    /// The interface that it lives on, made for it.
    pub own_interface: Option<OwnInterface>,
    /// Other addresses of a network survive its first one.
    pub promote_secondaries: bool,
    /// On which of its other interfaces it announces at [`keepone_proto::settings::AnnounceSettings::elsewhere`].
    pub extra_interfaces: Option<ExtraInterfaces>,
    /// What it watches, its interfaces apart.
    pub trackers: Trackers,
    /// There while it is Master.
    pub routes: Vec<Route>,
    /// There while it is Master.
    pub rules: Vec<Rule>,
    /// Signed Advertisements.
    pub hmac: Option<Hmac>,
    /// Mail on every change.
    pub smtp_alert: bool,
    /// FIFOs get changes of priority too.
    pub notify_priority_changes: bool,
    /// DELETED instead of FAULT when a reload removes it.
    pub notify_deleted: Option<NotifyDeleted>,
    /// Run when a Master hears a lower node advertise.
    pub notify_master_rx_lower_pri: Option<Script>,
}

/// `notify_deleted`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct NotifyDeleted {
    /// Run then; `None`: the FIFOs and `notify` alone.
    pub script: Option<Script>,
}

/// `garp_extra_if`.
#[derive(Debug, serde::Serialize, Clone, Copy, PartialEq, Eq)]
pub struct ExtraInterfaces {
    /// 1 s to a day.
    pub interval: Duration,
    /// Not only those with virtual MACs.
    pub all: bool,
}

/// An interface that is made for an instance.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct OwnInterface {
    /// How it is made.
    pub kind: OwnInterfaceKind,
    /// Its name; `None`: `vmac_prefix` and the VRID.
    pub name: Option<String>,
    /// Its group, for the firewall.
    pub group: Option<u32>,
    /// Advertise on the interface below.
    pub transmit_on_base: bool,
    /// The same for addresses on other interfaces.
    pub for_other_addresses: bool,
}

/// How it is made.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub enum OwnInterfaceKind {
    /// `use_vmac`: a private macvlan.
    Vmac {
        /// Another MAC than VRRP's.
        mac: Option<[u8; 6]>,
    },
    /// `use_ipvlan`.
    Ipvlan {
        /// Its address.
        address: Option<IpAddr>,
        /// bridge, private or vepa.
        mode: &'static str,
    },
}

/// `auth_hmac`.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Hmac {
    /// Number and key of 32 to 64 bytes, in the order of the file; what stood in a file of its own, too.
    pub keys: Vec<(u8, SecretBytes)>,
    /// Which of them signs.
    pub active_key: u8,
    /// What becomes of unsigned Advertisements.
    pub mode: HmacMode,
    /// Within what both clocks should agree, 1 to 300 s; `None`: they are not looked at.
    pub window: Option<Duration>,
}
