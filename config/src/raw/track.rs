//! What is watched, and by whom, as it was written.

use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::settings::HmacMode;

use crate::model::{
    BfdInstance, ExtraInterfaces, FileTracker, NotifyDeleted, OwnInterface, ProcessTracker, Route, Rule, Script,
    ScriptTracker, SecretBytes, VirtualAddress, Weight,
};
use crate::source::{At, Place};

/// Trackers by kind.
#[derive(Debug, Default)]
pub(crate) struct RawSources {
    pub scripts: Vec<RawScript>,
    pub files: Vec<At<FileTracker>>,
    pub processes: Vec<At<ProcessTracker>>,
    pub bfd: Vec<At<BfdInstance>>,
    /// Names of those that could not be read: who refers to one need not hear of it.
    pub unread: Vec<String>,
}

#[derive(Debug)]
pub(crate) struct RawScript {
    pub name: Place,
    pub tracker: ScriptTracker,
    pub timeout: Option<Place>,
    pub weight: Option<Place>,
}

/// One line of a `track_` block.
#[derive(Debug)]
pub(crate) struct RawTracked {
    pub name: At<String>,
    /// `None`: the tracker's own.
    pub weight: Option<i32>,
    pub reverse: Option<bool>,
}

#[derive(Debug, Default)]
pub(crate) struct RawTrackers {
    pub scripts: Vec<RawTracked>,
    pub files: Vec<RawTracked>,
    pub processes: Vec<RawTracked>,
    pub bfd: Vec<RawTracked>,
    pub virtual_servers: Vec<RawTracked>,
}

impl RawTracked {
    /// With what is missing from the tracker.
    pub(crate) fn weight(&self, tracker: Weight) -> Weight {
        Weight { value: self.weight.unwrap_or(tracker.value), reverse: self.reverse.unwrap_or(tracker.reverse) }
    }
}

#[derive(Debug, Default)]
pub(crate) struct RawStatics {
    pub addresses: Vec<At<VirtualAddress>>,
    pub routes: Vec<At<Route>>,
    pub rules: Vec<At<Rule>>,
    pub track_groups: Vec<(At<String>, Vec<At<String>>)>,
}

/// What an instance says of itself, and `global_defs` of all of them.
#[derive(Debug, Default)]
pub(crate) struct RawOptions {
    pub strict: Option<At<bool>>,
    pub accept: Option<At<bool>>,
    pub skip_check_adv_addr: Option<bool>,
    pub check_unicast_src: Option<bool>,
    pub v3_checksum_as_v2: Option<bool>,
    pub lower_prio_no_advert: Option<bool>,
    pub higher_prio_send_advert: Option<bool>,
    pub owner_ignore_adverts: Option<bool>,
    pub notify_priority_changes: Option<bool>,
    pub smtp_alert: Option<bool>,
    pub down_timer_adverts: Option<At<u8>>,
    pub refresh: Option<Duration>,
    pub refresh_repeat: Option<u8>,
    pub lower_prio_delay: Option<Duration>,
    pub lower_prio_repeat: Option<u8>,
    pub extra_interfaces: Option<Option<ExtraInterfaces>>,
    pub unicast_fault_no_peer: bool,
    pub unicast_ttl: Option<u8>,
    pub peer_ttl: Vec<(IpAddr, u8, u8)>,
    pub linkbeat: bool,
    pub track_src_ip: bool,
    pub promote_secondaries: bool,
    pub timer_expired_backup: Option<At<u8>>,
    pub own_interface: Option<At<OwnInterface>>,
    pub vmac_xmit_base: Option<At<bool>>,
    pub use_vmac_addr: Option<At<bool>>,
    pub mcast_dst_ip: Option<At<IpAddr>>,
    pub trackers: RawTrackers,
    pub routes: Vec<At<Route>>,
    pub rules: Vec<At<Rule>>,
    pub hmac: Option<RawHmac>,
    pub notify_deleted: Option<NotifyDeleted>,
    pub notify_master_rx_lower_pri: Option<Script>,
}

#[derive(Debug)]
pub(crate) struct RawHmac {
    /// Of the block: a line with a key is not to be shown.
    pub place: Place,
    pub has_keys: bool,
    pub has_active_key: bool,
    pub keys: Vec<(u8, SecretBytes)>,
    pub active_key: Option<At<u8>>,
    pub mode: Option<At<HmacMode>>,
    pub time_window: Option<At<Duration>>,
    pub monotonic: bool,
}
