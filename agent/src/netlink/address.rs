//! Puts addresses into the kernel, renews their lifetime, takes them out.
//!
//! The one thing that must stay true: when a removal reports success the addresses are not on their
//! interfaces, under any prefix, whoever put them there.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::stream::TryStreamExt;
use keepone_arbiter::realtime::{self, Rank};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo};
use nix::errno::Errno;
use rtnetlink::Handle;
use tokio::task::JoinHandle;

/// How long the kernel may take over one request: it waits for the rtnl lock, which others hold for
/// tens of milliseconds.
const REQUEST: Duration = Duration::from_secs(2);
/// Requests under way at once; the socket's buffer holds the answers of a few hundred.
const BATCH: usize = 64;
/// One address may be there under several prefixes; more than so many is not believed.
const PREFIXES: usize = 8;
/// The kernel's number for an unlimited lifetime (`INFINITY_LIFE_TIME`, linux/if_addr.h).
const FOREVER: u32 = u32::MAX;

/// A virtual address as it goes into the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualAddress {
    /// Name of the interface that bears it.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Its prefix: 0..=32, or 0..=128.
    pub prefix_len: u8,
    /// `brd`, IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// `scope`, `RT_SCOPE_*`: 0 universe, 200 site, 253 link, 254 host. The kernel ignores it on IPv6.
    pub scope: u8,
    /// `label`, IPv4 only: at most 15 octets, of which the first are the interface's name.
    pub label: Option<String>,
}

impl VirtualAddress {
    /// An address of universe scope without broadcast address and label.
    pub fn new(interface: &str, address: IpAddr, prefix_len: u8) -> Self {
        VirtualAddress { interface: interface.to_owned(), address, prefix_len, broadcast: None, scope: 0, label: None }
    }
}

/// How long the kernel keeps an address that nobody renews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// `valid_lft`, seconds, at least 1 (0 is taken as 1): then the kernel removes the address, up to
    /// a second late. `u32::MAX`: never.
    pub valid_s: u32,
    /// `preferred_lft`, seconds, at most `valid_s` (more is taken as `valid_s`): then it is no longer
    /// chosen as the source of new connections. 0: never chosen.
    pub preferred_s: u32,
}

impl Lifetime {
    /// Until it is removed.
    pub const FOREVER: Lifetime = Lifetime { valid_s: FOREVER, preferred_s: FOREVER };

    /// Valid and preferred for so many seconds, at least 1.
    pub const fn seconds(seconds: u32) -> Self {
        Lifetime { valid_s: seconds, preferred_s: seconds }
    }
}

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
        "cannot {deed} {address} on {interface}: the kernel did not answer within {REQUEST:?}; is something holding its rtnl lock?"
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

impl From<AddressError> for AddressErrors {
    fn from(error: AddressError) -> Self {
        AddressErrors(vec![error])
    }
}

/// The addresses that this process has set and not removed since. Cheap to clone, all clones are one
/// set: [`Addresses`] writes it, the watch looks there whether the end of an address is news.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Arc<Mutex<BTreeSet<IpAddr>>>);

impl Wanted {
    /// Whether the address should be in the kernel.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.lock().contains(&address)
    }

    #[cfg(test)]
    pub(super) fn of(addresses: &[IpAddr]) -> Self {
        Wanted(Arc::new(Mutex::new(addresses.iter().copied().collect())))
    }

    fn insert(&self, addresses: &[VirtualAddress]) {
        self.lock().extend(addresses.iter().map(|address| address.address));
    }

    fn remove(&self, addresses: &[VirtualAddress]) {
        let mut wanted = self.lock();
        for address in addresses {
            wanted.remove(&address.address);
        }
    }

    // Each change is one call on the set, so a panic elsewhere leaves it whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeSet<IpAddr>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer of addresses: one netlink socket. Works in the network namespace of the thread that
/// opened it; interfaces are looked up by name in that of the thread that runs the request.
pub struct Addresses {
    handle: Handle,
    wanted: Wanted,
    connection: JoinHandle<()>,
}

impl Drop for Addresses {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

impl Addresses {
    /// Opens the socket and starts the task that reads it; a tokio runtime must surround the call.
    ///
    /// # Errors
    /// [`AddressError::Netlink`].
    pub fn open() -> Result<Self, AddressError> {
        let fail = |what| move |source| AddressError::Netlink { what, source };
        let (connection, handle, _notices) = rtnetlink::new_connection().map_err(fail("open a netlink socket"))?;
        Ok(Addresses { handle, wanted: Wanted::default(), connection: tokio::spawn(connection) })
    }

    /// What is set and not removed, for the watch.
    pub fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Adds the addresses, or renews the lifetime of those that are there. All are tried.
    ///
    /// IPv6 ones skip duplicate address detection: the lease has decided already, and a second of
    /// waiting would be a second of outage.
    ///
    /// # Errors
    /// What went wrong with each.
    pub async fn set(&self, addresses: &[VirtualAddress], lifetime: Lifetime) -> Result<(), AddressErrors> {
        self.wanted.insert(addresses);
        let answers = all(addresses, |address| self.set_one(address, lifetime)).await;
        done(answers.into_iter().filter_map(Result::err).collect())
    }

    /// Removes the addresses, under whatever prefix. Absent ones and absent interfaces are no errors.
    /// All are tried.
    ///
    /// # Errors
    /// What went wrong with each.
    pub async fn remove(&self, addresses: &[VirtualAddress]) -> Result<(), AddressErrors> {
        self.wanted.remove(addresses);
        let (unsure, mut errors) = self.remove_listed(addresses).await;
        if !unsure.is_empty() {
            match self.find(&unsure).await {
                Ok(elsewise) => errors.extend(self.remove_listed(&elsewise).await.1),
                Err(error) => errors.push(error),
            }
        }
        done(errors)
    }

    /// Removes what an earlier life has left (R12), and says what that was.
    ///
    /// # Errors
    /// The addresses could not be listed, or one could not be removed.
    pub async fn remove_stale(&self, addresses: &[VirtualAddress]) -> Result<Vec<IpAddr>, AddressErrors> {
        let stale = self.find(addresses).await?;
        done(self.remove_listed(&stale).await.1)?;
        let removed: BTreeSet<IpAddr> = stale.iter().map(|address| address.address).collect();
        Ok(removed.into_iter().collect())
    }

    /// Those of the addresses that are there, with the prefixes that they have there.
    async fn find(&self, addresses: &[VirtualAddress]) -> Result<Vec<VirtualAddress>, AddressError> {
        let present = self.present().await?;
        let mut found = Vec::new();
        for wanted in addresses {
            let Ok(ifindex) = ifindex(&wanted.interface) else { continue };
            let there = present.iter().filter(|(on, address, _)| (*on, *address) == (ifindex, wanted.address));
            found.extend(there.map(|(_, _, prefix_len)| VirtualAddress { prefix_len: *prefix_len, ..wanted.clone() }));
        }
        Ok(found)
    }

    /// Index of the interface, address and prefix of every address there is.
    async fn present(&self) -> Result<Vec<(u32, IpAddr, u8)>, AddressError> {
        let fail = |source| AddressError::Netlink { what: "list the addresses", source };
        let listing = self.handle.address().get().execute().try_collect::<Vec<_>>();
        let messages = tokio::time::timeout(REQUEST, listing)
            .await
            .map_err(|_elapsed| fail(io::ErrorKind::TimedOut.into()))?
            .map_err(|error| fail(io_error(&error)))?;
        Ok(messages
            .iter()
            .filter_map(|message| Some((message.header.index, own(message)?, message.header.prefix_len)))
            .collect())
    }

    async fn set_one(&self, address: &VirtualAddress, lifetime: Lifetime) -> Result<(), AddressError> {
        let fail = |source| failure("add", address.address, &address.interface, source);
        let ifindex = ifindex(&address.interface).map_err(fail)?;
        let mut request = self.handle.address().add(ifindex, address.address, address.prefix_len).replace();
        *request.message_mut() = new_address(address, ifindex, lifetime);
        within(request.execute()).await.map_err(fail)
    }

    /// Removes the addresses; gives back the IPv6 ones that may still be there under another prefix,
    /// which the kernel takes for another address.
    async fn remove_listed(&self, addresses: &[VirtualAddress]) -> (Vec<VirtualAddress>, Vec<AddressError>) {
        let (mut unsure, mut errors) = (Vec::new(), Vec::new());
        for (address, answer) in addresses.iter().zip(all(addresses, |address| self.remove_one(address)).await) {
            match answer {
                Ok(removed) if removed || address.address.is_ipv4() => {}
                Ok(_absent) => unsure.push(address.clone()),
                Err(error) => errors.push(error),
            }
        }
        (unsure, errors)
    }

    /// `false`: it was not there under this prefix.
    async fn remove_one(&self, address: &VirtualAddress) -> Result<bool, AddressError> {
        let fail = |source| failure("remove", address.address, &address.interface, source);
        for round in 0..PREFIXES {
            let message = match ifindex(&address.interface) {
                Ok(ifindex) => header(address.address, address.prefix_len, ifindex),
                // Nothing is on an interface that does not exist.
                Err(error) if errno(&error) == Some(Errno::ENODEV) => return Ok(true),
                Err(error) => return Err(fail(error)),
            };
            // Of IPv4 addresses the kernel takes one under any prefix, since the message has no
            // IFA_ADDRESS; again, until there is none. An IPv6 address is only once on an interface.
            match within(self.handle.address().del(message).execute()).await {
                Ok(()) if address.address.is_ipv6() => return Ok(true),
                Ok(()) => {}
                Err(error) if errno(&error) == Some(Errno::EADDRNOTAVAIL) => return Ok(round > 0),
                Err(error) if errno(&error) == Some(Errno::ENODEV) => return Ok(true),
                Err(error) => return Err(fail(error)),
            }
        }
        Err(fail(io::Error::other("it comes back as fast as it is removed")))
    }
}

/// Removes addresses at once, for a caller without a runtime (R16). Waits for the kernel, at most two
/// seconds for each 64 addresses, and does something else, `meanwhile`, each `step` of that. Absent addresses and
/// absent interfaces are no errors; all are tried.
///
/// Interface name, address, prefix (IPv4 ones go under whatever prefix).
///
/// # Errors
/// What went wrong with each.
pub fn remove_now(
    addresses: &[(String, IpAddr, u8)],
    step: Duration,
    meanwhile: impl FnMut(),
) -> Result<(), AddressErrors> {
    let addresses: Vec<VirtualAddress> = addresses
        .iter()
        .map(|(interface, address, prefix_len)| VirtualAddress::new(interface, *address, *prefix_len))
        .collect();
    on_a_thread(async move { Addresses::open()?.remove(&addresses).await }, step, meanwhile)
}

/// Carries a future out on a thread of its own: a runtime can't be started within another one's. Whoever waits for
/// it does something else each `step`.
fn on_a_thread<T: Send + 'static>(
    work: impl Future<Output = Result<T, AddressErrors>> + Send + 'static,
    step: Duration,
    mut meanwhile: impl FnMut(),
) -> Result<T, AddressErrors> {
    let fail = |what, source| AddressErrors::from(AddressError::Netlink { what, source });
    let (done, result) = mpsc::channel();
    let thread = std::thread::Builder::new().name("addresses".to_owned()).spawn(move || {
        realtime::ask(Rank::CarriesOut);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|source| fail("start a runtime", source));
        let _ = done.send(runtime.and_then(|runtime| runtime.block_on(work)));
    });
    thread.map_err(|source| fail("start a thread", source))?;
    loop {
        match result.recv_timeout(step) {
            Ok(result) => return result,
            Err(RecvTimeoutError::Timeout) => meanwhile(),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(fail("finish the request", io::Error::other("it panicked")));
            }
        }
    }
}

/// Carries out one request for each address, a batch at a time; their answers in order.
async fn all<'a, T, F>(addresses: &'a [VirtualAddress], request: impl Fn(&'a VirtualAddress) -> F) -> Vec<T>
where
    F: Future<Output = T>,
{
    let mut answers = Vec::with_capacity(addresses.len());
    for batch in addresses.chunks(BATCH) {
        answers.extend(join_all(batch.iter().map(&request)).await);
    }
    answers
}

fn done(errors: Vec<AddressError>) -> Result<(), AddressErrors> {
    if errors.is_empty() { Ok(()) } else { Err(AddressErrors(errors)) }
}

async fn within(request: impl Future<Output = Result<(), rtnetlink::Error>>) -> io::Result<()> {
    match tokio::time::timeout(REQUEST, request).await {
        Ok(answer) => answer.map_err(|error| io_error(&error)),
        Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// The kernel's answer, if the error bears one.
fn io_error(error: &rtnetlink::Error) -> io::Error {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.to_io(),
        other => io::Error::other(other.to_string()),
    }
}

fn errno(error: &io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

fn failure(deed: &'static str, address: IpAddr, interface: &str, source: io::Error) -> AddressError {
    let interface = interface.to_owned();
    match errno(&source) {
        Some(Errno::ENODEV) => AddressError::InterfaceGone { deed, address, interface },
        Some(Errno::EPERM | Errno::EACCES) => AddressError::NotPermitted { deed, address, interface },
        _ if source.kind() == io::ErrorKind::TimedOut => AddressError::TimedOut { deed, address, interface },
        _ => AddressError::Refused { deed, address, interface, source },
    }
}

fn ifindex(interface: &str) -> io::Result<u32> {
    Ok(nix::net::if_::if_nametoindex(interface)?)
}

/// The address of this side in a listing: on a point-to-point link IFA_ADDRESS is the peer's.
fn own(message: &AddressMessage) -> Option<IpAddr> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn header(address: IpAddr, prefix_len: u8, ifindex: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    message.header.prefix_len = prefix_len;
    message.header.index = ifindex;
    message.attributes.push(AddressAttribute::Local(address));
    message
}

fn new_address(address: &VirtualAddress, ifindex: u32, lifetime: Lifetime) -> AddressMessage {
    let mut message = header(address.address, address.prefix_len, ifindex);
    message.header.scope = AddressScope::from(address.scope);
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Address(address.address));
    if address.address.is_ipv6() {
        attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
    } else {
        attributes.extend(address.broadcast.map(AddressAttribute::Broadcast));
        attributes.extend(address.label.clone().map(AddressAttribute::Label));
    }
    let mut cache = CacheInfo::default();
    cache.ifa_valid = lifetime.valid_s.max(1);
    cache.ifa_preferred = lifetime.preferred_s.min(cache.ifa_valid);
    attributes.push(AddressAttribute::CacheInfo(cache));
    message
}

#[cfg(test)]
mod tests;
