//! The decision table (skeleton).

/// What a domain is on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Not started yet.
    Init,
    /// Holds nothing and may be asked to.
    Backup,
    /// Asks for the lease.
    Claiming,
    /// Holds.
    Master,
    /// Cannot serve.
    Fault,
    /// May not serve.
    Fenced,
}

/// Why (skeleton).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Skeleton.
    Started,
}
