//! The numbers that an Authentication Header is told apart by when it comes again. RFC 2402, 2.5 and 3.4.3.

/// Sequence numbers of Authentication Headers: one row for the whole virtual router, as keepalived counts, so that
/// the next Master goes on where the last one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Numbers {
    /// The greatest that was heard in a right header; 0 before the first.
    pub(super) heard: u32,
    /// The greatest that we have sent.
    pub(super) sent: u32,
}

impl Numbers {
    pub(super) fn last(self) -> u32 {
        self.heard.max(self.sent)
    }

    /// Never 0, and never around the end: RFC 2402, 2.5. At one a second that is a century away.
    pub(super) fn next(self) -> u32 {
        self.last().saturating_add(1)
    }

    /// Equal to our own is fresh, where keepalived drops it: two Masters in step would never hear each other.
    pub(super) fn is_fresh(self, number: u32) -> bool {
        number > self.heard && number >= self.sent
    }
}
