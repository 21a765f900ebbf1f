//! What an instance is told of its election and of whom it listens to, beyond RFC 9568, 6.1: keepalived's options.
//!
//! What must stay true: none of them makes a Master. They change when a Backup stands, what a Master answers, and which
//! packets count; leave to hold is the lease's alone (D6).

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::id::Priority;

/// How an instance stands for election, and how it answers others. keepalived.conf(5), vrrp_instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct ElectionOptions {
    /// `down_timer_adverts`: how many Advertisements must miss before a Backup stands, 1..=100; 3 as RFC 9568, 6.1.
    pub down_timer_adverts: u8,
    /// `lower_prio_no_advert`: a Master does not answer a lower Advertisement at once (RFC 3768, 6.4.3).
    pub lower_prio_no_advert: bool,
    /// `higher_prio_send_advert`: a Master answers a higher Advertisement before it yields.
    pub higher_prio_send_advert: bool,
    /// `owner_ignore_adverts`: the owner of the addresses (priority 255) discards Advertisements (RFC 9568, 7.1).
    pub owner_ignore_adverts: bool,
    /// `timer_expired_backup`: with `nopreempt`, a Master whose Advertisement leaves so late that a Backup of this
    /// priority may have taken over meanwhile becomes Backup; `None`: it advertises on.
    pub timer_expired_backup: Option<Priority>,
    /// `skip_check_adv_addr`: the addresses of a sender's further Advertisements are not compared once they were ours.
    pub skip_check_adv_addr: bool,
}

impl Default for ElectionOptions {
    fn default() -> Self {
        ElectionOptions {
            down_timer_adverts: 3,
            lower_prio_no_advert: false,
            higher_prio_send_advert: false,
            owner_ignore_adverts: false,
            timer_expired_backup: None,
            skip_check_adv_addr: false,
        }
    }
}

/// Whose packets are taken, and without what the instance can't speak. keepalived.conf(5), vrrp_instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Reception {
    /// The multicast group whose packets are for this instance; `None`: any that comes in.
    pub group: Option<IpAddr>,
    /// `unicast_peer … min_ttl … max_ttl`: peers whose packets count only with a hop limit between these two.
    pub hop_limits: Vec<(IpAddr, u8, u8)>,
    /// `track_src_ip`: a FAULT while this address is not on the interface.
    pub tracked_source: Option<IpAddr>,
    /// `unicast_fault_no_peer`, and no peer: a FAULT for good.
    pub lacks_peer: bool,
}

impl Reception {
    /// Whether a unicast packet of that peer may have come in with that hop limit.
    pub fn admits(&self, peer: IpAddr, hop_limit: u8) -> bool {
        let bounds = self.hop_limits.iter().find(|(of, ..)| *of == peer);
        bounds.is_none_or(|(_, least, most)| (*least..=*most).contains(&hop_limit))
    }
}

/// `interface_up_down_delays`: how long a change of a link must last until it counts; zero: at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct LinkDelays {
    /// Until a link that went down is down.
    pub down: Duration,
    /// Until one that came back is up.
    pub up: Duration,
}
