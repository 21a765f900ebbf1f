//! Who may ask: root, the program's own user, and members of a group that the operator names.
//!
//! The file's mode keeps others out already (0660); this is asked of the kernel as well, since a mode can be changed by
//! mistake and a connection may have been made before.
#![allow(unsafe_code)]

use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;

/// Groups of one process at most (NGROUPS_MAX).
const GROUPS: usize = 65_536;

/// Whom the program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The program's own user.
    pub user: u32,
    /// Whose members may ask, besides that one and root.
    pub group: Option<u32>,
}

impl Access {
    /// For root, the user of this process, and a group.
    pub fn of_process(group: Option<u32>) -> Self {
        Access { user: nix::unistd::geteuid().as_raw(), group }
    }

    /// Whether somebody may ask.
    pub fn admits(&self, caller: &Caller) -> bool {
        let in_group = |group| caller.group == group || caller.groups.contains(&group);
        caller.user == 0 || caller.user == self.user || self.group.is_some_and(in_group)
    }
}

/// Who has connected, as the kernel noted it then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// Its process, 0 from another pid namespace.
    pub pid: i32,
    /// Its user.
    pub user: u32,
    /// Its group.
    pub group: u32,
    /// And its other ones.
    pub groups: Vec<u32>,
}

/// For the log: `uid 0 (pid 17)`.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {} (pid {})", self.user, self.pid)
    }
}

impl Caller {
    /// The other end of a connection.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn of(connection: &impl AsFd) -> io::Result<Self> {
        let credentials = getsockopt(connection, PeerCredentials)?;
        let groups = groups(connection.as_fd().as_raw_fd())?;
        Ok(Caller { pid: credentials.pid(), user: credentials.uid(), group: credentials.gid(), groups })
    }
}

/// The supplementary groups of the other end (SO_PEERGROUPS, Linux 4.13).
fn groups(socket: i32) -> io::Result<Vec<u32>> {
    let mut groups = vec![0_u32; 64];
    loop {
        let octets = groups.len() * size_of::<libc::gid_t>();
        let mut length = libc::socklen_t::try_from(octets).map_err(io::Error::other)?;
        // SAFETY: `groups` is valid for writes of `length` octets, of which the kernel uses no more, and `length` is
        // valid for reads and writes; both outlive the call. gid_t is u32 on Linux.
        let answered = unsafe {
            let (level, option) = (libc::SOL_SOCKET, libc::SO_PEERGROUPS);
            libc::getsockopt(socket, level, option, groups.as_mut_ptr().cast(), &raw mut length)
        };
        let error = (answered != 0).then(io::Error::last_os_error);
        match error {
            None => {
                groups.truncate(length as usize / size_of::<libc::gid_t>());
                return Ok(groups);
            }
            // There are more: the kernel has said how many octets they take.
            Some(error) if error.raw_os_error() == Some(libc::ERANGE) && groups.len() < GROUPS => {
                groups.resize((groups.len() * 2).min(GROUPS), 0);
            }
            Some(error) => return Err(error),
        }
    }
}
