//! Members of another release, whose messages this one can't read (docs/upgrading.md).

use alloc::format;
use alloc::vec::Vec;

use super::{Difference, Findings, LASTS, Node};
use crate::id::NodeId;
use crate::time::Instant;
use crate::wire::{heartbeat, lease, profile};

/// What a member has made in another version than ours: what it is called, and the version of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::node) struct Unread {
    what: &'static str,
    theirs: u8,
    ours: u8,
}

impl Unread {
    /// The error of a heartbeat, if that is its version.
    pub(in crate::node) fn beat(error: heartbeat::DecodeError) -> Option<Self> {
        let heartbeat::DecodeError::Version(theirs) = error else { return None };
        Some(Unread { what: "heartbeats", theirs, ours: heartbeat::VERSION })
    }

    /// The same of a profile.
    pub(in crate::node) fn profile(error: profile::DecodeError) -> Option<Self> {
        let profile::DecodeError::Version(theirs) = error else { return None };
        Some(Unread { what: "profiles", theirs, ours: profile::VERSION })
    }

    /// The same of a datagram of lease messages.
    pub(in crate::node) fn lease(error: lease::DecodeError) -> Option<Self> {
        let lease::DecodeError::Version(theirs) = error else { return None };
        Some(Unread { what: "lease messages", theirs, ours: lease::VERSION })
    }
}

impl Findings {
    /// A member whose key has been proven sends what can't be read here.
    pub(in crate::node) fn unread(&mut self, now: Instant, from: NodeId, unread: Option<Unread>) {
        if let Some(unread) = unread {
            self.releases.see((from, unread), now + LASTS);
        }
    }
}

impl Node {
    /// One difference for each member and kind of message; who is older is told to upgrade.
    pub(super) fn other_releases(&self) -> Vec<Difference> {
        let tell = |(node, unread): &(NodeId, Unread)| {
            let (name, Unread { what, theirs, ours }) = (self.settings.names.node(*node), *unread);
            let here = self.settings.names.node(self.settings.node);
            let older = if theirs > ours { &here } else { &name };
            Difference {
                domain: None,
                words: format!("{name} sends {what} of version {theirs}, this node reads version {ours}"),
                remedy: format!(
                    "{older} runs the older release: upgrade it, or take the other back, so that all members run \
                     releases that are neighbours"
                ),
            }
        };
        self.findings.releases.iter().map(tell).collect()
    }
}
