//! Waits of the tokio runtime for file descriptors of ours.
//!
//! The one thing that must stay true: what is registered keeps its descriptor open and the same until
//! it is deregistered.

use std::io;
use std::os::fd::AsRawFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// What owns one file descriptor from its making to its drop.
///
/// # Safety
/// `as_raw_fd` gives the same, open descriptor as long as the value lives, also through a shared
/// reference's methods.
pub(crate) unsafe trait Owner: AsRawFd {}

// SAFETY: a socket2 socket owns its descriptor and gives it up only by value.
unsafe impl Owner for socket2::Socket {}
// SAFETY: a netlink socket is created with its descriptor and closes it in its drop.
unsafe impl Owner for netlink_sys::Socket {}
// SAFETY: it wraps nix's timer, which owns its descriptor and gives it up only by value.
unsafe impl Owner for crate::clock::Fd {}

/// Registers for reading; a tokio runtime with I/O must surround the call.
///
/// # Errors
/// epoll's: too many watches or too little memory.
pub(crate) fn readable<T: Owner>(owner: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: `Owner` promises what this asks for, and nobody here takes `get_mut` of the result.
    let registered = unsafe { AsyncFd::register_with_interest(owner, Interest::READABLE) };
    registered.map_err(|error| error.into_parts().1)
}
