//! What the machine of [`super::instance`] answers: values only.

use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::id::Priority;
use crate::settings::VrrpVersion;
use crate::time::Instant;
use crate::wire::vrrp::Advertisement;
use crate::wire::vrrp::hmac::{Fault, Stamp};

impl Discard {
    /// Whether what is wrong with it is its proof.
    pub fn is_unproven(self) -> bool {
        match self {
            Discard::Authentication
            | Discard::Replayed { .. }
            | Discard::Unsigned(_)
            | Discard::Repeated { .. }
            | Discard::Stale(_) => true,
            Discard::Vrid { .. } | Discard::Version { .. } | Discard::Family | Discard::Owner | Discard::OwnAddress => {
                false
            }
        }
    }
}

/// The last Master heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MasterSeen {
    /// Its primary address.
    pub address: IpAddr,
    /// Its priority, 1..=255.
    pub priority: Priority,
    /// When its last Advertisement came.
    pub at: Instant,
    /// The interval that it advertised.
    pub advert_int: Duration,
}

/// What a Backup's timers say about the mastership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Election {
    /// A Master is there, or may still be; also the answer of one who is no Backup.
    Lost,
    /// A lower Master is there, and may be asked to hand over. One who never does becomes `Won` when
    /// the timer has run out, which nothing that it says restarts.
    Preempts,
    /// The timer ran out: by RFC 9568, 6.4.2, we would be Master now.
    Won,
}

/// What a machine tells its caller, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send this now.
    Advertise(Advertisement),
    /// We are Master, and this Advertisement says that its sender should be: by RFC 9568, 6.4.3, we
    /// would be Backup now. Call [`super::instance::Instance::resign`] to follow it.
    HigherSeen {
        /// The better one.
        from: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// We are Master, and one who should not be believes to be, too: announce the addresses again, since
    /// the network may have learnt them from it.
    LowerSeen {
        /// The rival.
        from: IpAddr,
        /// Its priority.
        priority: Priority,
    },
    /// We are Master, and our Advertisement would have left so late that a Backup may have taken over
    /// (`timer_expired_backup`): nothing was sent. Call [`super::instance::Instance::resign`] to follow it.
    Overslept {
        /// By how much.
        late: Duration,
    },
    /// The sender's interval is not ours. Its packet counted all the same. RFC 9568, 7.1.
    IntervalMismatch {
        /// The sender.
        from: IpAddr,
        /// Its interval.
        found: Duration,
        /// Ours.
        wanted: Duration,
    },
    /// The sender's virtual addresses are not ours (their order does not matter). Its packet counted all
    /// the same.
    AddressListMismatch {
        /// The sender.
        from: IpAddr,
        /// Its addresses.
        found: Vec<IpAddr>,
    },
    /// The sender's wall clock and ours are further apart than this; its packet counted all the same.
    ClocksApart {
        /// The sender.
        from: IpAddr,
        /// Whole seconds.
        by: u16,
    },
    /// The packet is not for this instance, and was discarded.
    Discarded {
        /// The sender.
        from: IpAddr,
        /// Why.
        why: Discard,
    },
}

/// Why an Advertisement was discarded. RFC 9568, 7.1; RFC 3768, 7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Discard {
    /// Another virtual router.
    #[error("virtual router id {found}, not {wanted}: another virtual router on this network")]
    Vrid {
        /// As received.
        found: u8,
        /// Ours.
        wanted: u8,
    },
    /// The other version.
    #[error("VRRP {found:?}, not {wanted:?}: set one version on all routers")]
    Version {
        /// As received.
        found: VrrpVersion,
        /// Ours.
        wanted: VrrpVersion,
    },
    /// The other family's virtual router of the same VRID.
    #[error("an advertisement of the other address family: it belongs to another virtual router")]
    Family,
    /// v2: another password or key, one where we have none, or none where we have one.
    #[error("authentication differs from ours: set the same auth_type and auth_pass on all routers")]
    Authentication,
    /// v2 in an Authentication Header: its number is not above all that were heard. RFC 2402, 3.4.3.
    #[error("sequence number {found}, where {last} has been seen: it came again, late, or from one who never heard us")]
    Replayed {
        /// As received.
        found: u32,
        /// The greatest so far.
        last: u32,
    },
    /// Not signed by one of our keys.
    #[error("{0}: give all routers the same keys in auth_hmac")]
    Unsigned(Fault),
    /// Signed, and its stamp is not above the last one of this sender.
    #[error("signed at {found:?}, where {last:?} has been heard from there: it came again, or late")]
    Repeated {
        /// As received.
        found: Stamp,
        /// The greatest of this sender so far.
        last: Stamp,
    },
    /// A resignation that was signed so many seconds from now, by our wall clock and by what its sender said before.
    #[error("a resignation signed {0} s ago: an old one, or one of the two clocks is wrong")]
    Stale(i64),
    /// We own the addresses, and are to listen to nobody (`owner_ignore_adverts`).
    #[error("we own the addresses, and listen to nobody")]
    Owner,
    /// Our own, looped back; or somebody has taken our primary address.
    #[error("sent from our own address: looped back, or another host uses the address")]
    OwnAddress,
}
