//! What can go wrong.

use std::time::Duration;

/// A message that lacks, or has nonsense for, something that its meaning depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the kernel's answer has no usable {0}")]
pub struct Incomplete(pub &'static str);

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No netlink socket may be had.
    #[error("no netlink socket")]
    Socket(#[source] std::io::Error),
    /// The kernel has no IPVS, or its module is not loaded.
    #[error("the kernel has no IPVS: run `modprobe ip_vs`")]
    NoFamily,
    /// The kernel refused; an errno.
    #[error("{}", std::io::Error::from_raw_os_error(*.0))]
    Kernel(i32),
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Late(Duration),
    /// The connection has ended: open another.
    #[error("the netlink connection has ended")]
    Closed,
    /// An answer that does not mean anything.
    #[error(transparent)]
    Incomplete(#[from] Incomplete),
}

/// `ENOENT` (include/uapi/asm-generic/errno-base.h).
pub(crate) const ENOENT: i32 = 2;

impl Error {
    /// The kernel's number, if it has refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Kernel(errno) => Some(*errno),
            Error::Socket(_) | Error::NoFamily | Error::Late(_) | Error::Closed | Error::Incomplete(_) => None,
        }
    }
}
