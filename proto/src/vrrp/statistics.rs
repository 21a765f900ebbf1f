//! What a virtual router has sent, heard and refused.
//!
//! The counters are those of RFC 6527 (vrrpv3StatisticsTable) and of keepalived, which has those of RFC 2787 for
//! authentication beside them. They only grow, from the virtual router's beginning: a reload that goes on with it goes on
//! with them, a new life of the agent begins at 0.
//!
//! What must stay true: a packet that is refused counts as no Advertisement received, and once at most as an error.

use crate::wire::vrrp::{Advertisement, Auth, DecodeError};

use super::instance::State;
use super::output::{Discard, Output};
use crate::id::Priority;

/// Of one virtual router. Each counter saturates.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Statistics {
    /// Advertisements that were taken, those of priority 0 among them.
    pub received: u64,
    /// Advertisements that were handed to the network, to all unicast peers as one.
    pub sent: u64,
    /// Times that it became Master.
    pub became_master: u64,
    /// Times that it was Master no more.
    pub released_master: u64,
    /// Packets cut short, or longer than padding explains.
    pub length_errors: u64,
    /// Packets whose interval is not ours (they are taken all the same), or is 0.
    pub interval_errors: u64,
    /// Packets from further away than is allowed, by their TTL or hop limit.
    pub ttl_errors: u64,
    /// Packets of a type that there is not.
    pub type_errors: u64,
    /// Packets with other addresses than ours (they are taken all the same), or with none.
    pub address_list_errors: u64,
    /// Packets with an authentication type that there is not.
    pub unknown_auth_types: u64,
    /// Packets with another authentication type than ours.
    pub auth_type_mismatches: u64,
    /// Packets whose password, signature or sequence number was refused.
    pub auth_failures: u64,
    /// Advertisements of priority 0 that were taken.
    pub zero_received: u64,
    /// Advertisements of priority 0 that were sent.
    pub zero_sent: u64,
    /// Packets for it whose checksum is wrong.
    pub checksum_errors: u64,
    /// Packets for it of another version.
    pub version_errors: u64,
    /// Why it last became Master.
    pub new_master_reason: NewMasterReason,
    /// What was last wrong.
    pub last_error: ProtocolError,
    /// The Master has resigned, and no other was heard since.
    pub(crate) resigned: bool,
}

/// Vrrpv3NewMasterReason. RFC 6527, vrrpv3StatisticsNewMasterReason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NewMasterReason {
    /// It has never been Master.
    #[default]
    NotMaster,
    /// The Master gave it up: by priority 0, or by handing it over.
    Priority,
    /// It preempted a lower Master.
    Preempted,
    /// No Master was heard.
    MasterNoResponse,
}

/// Vrrpv3ProtoErrReason. RFC 6527, vrrpv3StatisticsProtoErrReason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ProtocolError {
    /// Nothing.
    #[default]
    None,
    /// TTL or hop limit.
    Ttl,
    /// Version.
    Version,
    /// Checksum.
    Checksum,
}

fn count(counter: &mut u64) {
    *counter = counter.saturating_add(1);
}

impl Statistics {
    /// An Advertisement goes out.
    pub(crate) fn sends(&mut self, advertisement: &Advertisement) {
        count(&mut self.sent);
        if advertisement.priority == Priority::RESIGN {
            count(&mut self.zero_sent);
        }
    }

    /// It becomes Master; `before`: where its machine was; `is_heir`: the Master has named this node for it.
    pub(crate) fn becomes_master(&mut self, before: State, is_heir: bool) {
        count(&mut self.became_master);
        self.new_master_reason = match before {
            State::Backup { lower: Some(_), .. } => NewMasterReason::Preempted,
            _ if self.resigned || is_heir => NewMasterReason::Priority,
            State::Backup { .. } | State::Initialize | State::Master { .. } => NewMasterReason::MasterNoResponse,
        };
        self.resigned = false;
    }

    /// It is Master no more.
    pub(crate) fn releases_master(&mut self) {
        count(&mut self.released_master);
    }

    /// What its machine made of an Advertisement; `ours`: how its own are proven.
    pub(crate) fn hears(&mut self, advertisement: &Advertisement, ours: Auth, outputs: &[Output]) {
        let discarded = outputs.iter().find_map(|output| match output {
            Output::Discarded { why, .. } => Some(*why),
            _ => None,
        });
        if let Some(why) = discarded {
            return self.refuses(why, ours.kind() == advertisement.auth.kind());
        }
        count(&mut self.received);
        self.resigned = advertisement.priority == Priority::RESIGN;
        if self.resigned {
            count(&mut self.zero_received);
        }
        for output in outputs {
            match output {
                Output::IntervalMismatch { .. } => count(&mut self.interval_errors),
                Output::AddressListMismatch { .. } => count(&mut self.address_list_errors),
                Output::Advertise(_)
                | Output::HigherSeen { .. }
                | Output::LowerSeen { .. }
                | Output::Overslept { .. }
                | Output::ClocksApart { .. }
                | Output::Discarded { .. } => {}
            }
        }
    }

    fn refuses(&mut self, why: Discard, is_of_our_type: bool) {
        match why {
            Discard::Version { .. } => self.errs(ProtocolError::Version),
            Discard::Authentication if !is_of_our_type => count(&mut self.auth_type_mismatches),
            Discard::Authentication
            | Discard::Replayed { .. }
            | Discard::Unsigned(_)
            | Discard::Repeated { .. }
            | Discard::Stale(_) => count(&mut self.auth_failures),
            // Not for this one, or no error.
            Discard::Vrid { .. } | Discard::Family | Discard::Owner | Discard::OwnAddress => {}
        }
    }

    /// A packet with its VRID that is no Advertisement.
    pub(crate) fn cannot_read(&mut self, error: &DecodeError) {
        match error {
            DecodeError::Truncated { .. } | DecodeError::Trailing { .. } => count(&mut self.length_errors),
            DecodeError::HopLimit(_) => self.is_from_afar(),
            DecodeError::Version(_) | DecodeError::V2OverIpv6 => self.errs(ProtocolError::Version),
            DecodeError::Type(_) => count(&mut self.type_errors),
            DecodeError::NoAddresses => count(&mut self.address_list_errors),
            DecodeError::Interval => count(&mut self.interval_errors),
            // A type that there is, but that nothing in the packet bears out.
            DecodeError::AuthType(_) if error.is_auth_of_a_header() => count(&mut self.auth_type_mismatches),
            DecodeError::AuthType(_) => count(&mut self.unknown_auth_types),
            DecodeError::Checksum { .. } => self.errs(ProtocolError::Checksum),
            DecodeError::Vrid | DecodeError::MixedFamilies => {}
        }
    }

    /// A packet that has passed more routers than it may.
    pub(crate) fn is_from_afar(&mut self) {
        self.errs(ProtocolError::Ttl);
    }

    fn errs(&mut self, what: ProtocolError) {
        self.last_error = what;
        match what {
            ProtocolError::None => {}
            ProtocolError::Ttl => count(&mut self.ttl_errors),
            ProtocolError::Version => count(&mut self.version_errors),
            ProtocolError::Checksum => count(&mut self.checksum_errors),
        }
    }
}
