//! What a virtual server's entry of the kernel's table should hold.
//!
//! The seam between health and kernel: the checks' machines say it, the keeper of the kernel's table follows it. What
//! must stay true: it is the whole answer for one virtual server, never a difference, so that one which is lost is
//! made good by the next.

use alloc::vec::Vec;

/// The wanted entry of one virtual server.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Wanted {
    /// Its place in the configuration.
    pub virtual_server: usize,
    /// The weight of each real server, in the configuration's order, 0 to 2^31 - 1; `None`: not in the table.
    ///
    /// Real servers beyond its end are wanted as configured.
    pub servers: Vec<Option<u32>>,
    /// Whether the sorry server stands in.
    pub sorry: bool,
}
