//! Names of things, as small types that can't be mixed up.

use core::fmt;
use core::num::{NonZeroU8, NonZeroU16};

/// A member of the cluster, agent or witness: 1..=65535, unique in the cluster.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct NodeId(NonZeroU16);

impl NodeId {
    /// `None` for 0.
    pub const fn new(id: u16) -> Option<Self> {
        match NonZeroU16::new(id) {
            Some(id) => Some(NodeId(id)),
            None => None,
        }
    }

    /// Not a member of any cluster: what etcd's answers bear, which stands in a voter's place.
    pub const STORE: NodeId = NodeId(NonZeroU16::MAX);

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Virtual Router Identifier, 1..=255. RFC 9568, 5.2.3.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Vrid(NonZeroU8);

impl Vrid {
    /// `None` for 0.
    pub const fn new(vrid: u8) -> Option<Self> {
        match NonZeroU8::new(vrid) {
            Some(vrid) => Some(Vrid(vrid)),
            None => None,
        }
    }

    /// The number as on the wire.
    pub const fn get(self) -> u8 {
        self.0.get()
    }
}

impl fmt::Debug for Vrid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "vrid{}", self.0)
    }
}

/// VRRP priority: 255 is the address owner, 0 says "I resign", 1..=254 are candidates.
///
/// RFC 9568, 5.2.4.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Priority(pub u8);

impl Priority {
    /// The resigning Master's priority.
    pub const RESIGN: Priority = Priority(0);
    /// The address owner's priority.
    pub const OWNER: Priority = Priority(255);
}

macro_rules! index {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub $inner);
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0)
            }
        }
    };
}

index!(/// A heartbeat link, the same number on every node: 0..=255.
    LinkId(u8), "link");
index!(/// A network interface, by its place in [`crate::settings::Settings::interfaces`].
    InterfaceId(u16), "if");
index!(/// A virtual router, by its place in [`crate::settings::Settings::instances`].
    InstanceId(u16), "vr");
index!(/// A reference address, by its place in [`crate::settings::ReferenceSettings::targets`].
    ReferenceId(u16), "ref");
index!(/// A tracked script, by its place in [`crate::settings::Settings::scripts`].
    ScriptId(u16), "script");
index!(/// A file, a set of processes or a BFD session, by its place in [`crate::settings::Settings::watches`].
    WatchId(u16), "watch");

macro_rules! hashed {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
        pub struct $name(pub u64);
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:016x}", self.0)
            }
        }
    };
}

hashed!(/// A fencing domain, what moves together: a sync group, or an instance that is in none.
    ///
    /// [`hash_name`] of the name, which is the same on every node.
    DomainId);
hashed!(/// The cluster, [`hash_name`] of its name.
    ClusterId);
hashed!(/// Digest of what every voter must agree on: the voter set and the lease's bounds (V9).
    #[derive(Default)]
    ConfigDigest);
hashed!(/// A new random number at each start of an agent or witness (R6, R17); also the boot id of beats.
    Incarnation);

/// 64-bit FNV-1a of a name: how domains and clusters are called on the wire.
///
/// Not against attackers, who can't speak without a pinned key; the configuration refuses two
/// domains with one hash.
pub const fn hash_name(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut at = 0;
    while at < bytes.len() {
        #[allow(clippy::indexing_slicing, reason = "`at` is below the length; const fn has no iterator")]
        let byte = bytes[at];
        hash = (hash ^ byte as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
}

/// The fencing token: it belongs to one attempt of one node and is never used again, not even after
/// amnesia.
///
/// Ordered by `counter` first, which is above every epoch that the node had seen when it made the
/// attempt; the rest makes it unique (safety.md, Messages).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Epoch {
    /// Above the counter of every epoch seen.
    pub counter: u64,
    /// Of the node that attempts.
    pub incarnation: Incarnation,
    /// Number of the attempt within the incarnation, from 1.
    pub attempt: u32,
    /// The node that attempts.
    pub node: NodeId,
}

impl Epoch {
    /// Whether `later` is above it and of the same life of the same node.
    pub fn is_before(&self, later: &Epoch) -> bool {
        self.node == later.node && self.incarnation == later.incarnation && self < later
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "e{}@{:?}.{}", self.counter, self.node, self.attempt)
    }
}

impl fmt::Display for Epoch {
    /// The form for logs, notify arguments and outside users: `counter-node-incarnation-attempt`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:016x}-{}", self.counter, self.node, self.incarnation.0, self.attempt)
    }
}
