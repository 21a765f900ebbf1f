//! Advertisements (skeleton).

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::id::{Priority, Vrid};
use crate::settings::VrrpVersion;

/// One VRRP Advertisement, either version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advertisement {
    /// Version of the packet.
    pub version: VrrpVersion,
    /// Virtual router.
    pub vrid: Vrid,
    /// Sender's priority, 0 when it resigns.
    pub priority: Priority,
    /// Sender's Advertisement_Interval (v2: whole seconds; v3: centiseconds).
    pub advert_int: Duration,
    /// Virtual addresses, all of one family.
    pub addresses: Vec<IpAddr>,
    /// VRRPv2 simple password.
    pub auth_pass: Option<[u8; 8]>,
}
