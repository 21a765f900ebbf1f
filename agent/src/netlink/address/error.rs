//! What can go wrong with an address.

use std::fmt;
use std::io;
use std::net::IpAddr;

use nix::errno::Errno;

use super::super::batch::Refusal;

/// Why one address could not be set or removed.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// `ENODEV`.
    #[error("cannot {deed} {address}: interface {interface} does not exist; it is tried again when it comes back")]
    InterfaceGone {
        /// `add` or `remove`.
        deed: &'static str,
        /// Which address.
        address: IpAddr,
        /// Which interface.
        interface: String,
    },
    /// `EPERM`.
    #[error("not permitted to {deed} {address} on {interface}; run as root or with CAP_NET_ADMIN")]
    NotPermitted {
        /// `add` or `remove`.
        deed: &'static str,
        /// Which address.
        address: IpAddr,
        /// Which interface.
        interface: String,
    },
    /// No answer in time.
    #[error(
        "cannot {deed} {address} on {interface}: the kernel did not answer in time; is something holding its rtnl lock?"
    )]
    TimedOut {
        /// `add` or `remove`.
        deed: &'static str,
        /// Which address.
        address: IpAddr,
        /// Which interface.
        interface: String,
    },
    /// Anything else.
    #[error(
        "cannot {deed} {address} on {interface}: {source}; check prefix, label, scope and that the protocol is enabled there"
    )]
    Refused {
        /// `add` or `remove`.
        deed: &'static str,
        /// Which address.
        address: IpAddr,
        /// Which interface.
        interface: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// No socket, or no runtime.
    #[error("cannot {what} to set or remove addresses; is AF_NETLINK allowed to this service?")]
    Netlink {
        /// The step that failed.
        what: &'static str,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
}

/// All that went wrong with a list of addresses; the others of the list are done.
#[derive(Debug)]
pub struct AddressErrors(pub Vec<AddressError>);

impl fmt::Display for AddressErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, error) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("; ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for AddressErrors {}

impl AddressErrors {
    pub(super) fn of<T>(answers: Vec<Result<T, AddressError>>) -> Result<(), AddressErrors> {
        let errors: Vec<AddressError> = answers.into_iter().filter_map(Result::err).collect();
        if errors.is_empty() { Ok(()) } else { Err(AddressErrors(errors)) }
    }
}

impl From<AddressError> for AddressErrors {
    fn from(error: AddressError) -> Self {
        AddressErrors(vec![error])
    }
}

impl AddressError {
    pub(super) fn of(deed: &'static str, address: IpAddr, interface: &str, refusal: Refusal) -> Self {
        let interface = interface.to_owned();
        match refusal.errno {
            Some(Errno::ENODEV) => AddressError::InterfaceGone { deed, address, interface },
            Some(Errno::EPERM | Errno::EACCES) => AddressError::NotPermitted { deed, address, interface },
            None => AddressError::TimedOut { deed, address, interface },
            Some(_) => AddressError::Refused { deed, address, interface, source: io::Error::other(refusal) },
        }
    }
}
