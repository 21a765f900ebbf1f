//! Puts addresses into the kernel, renews their lifetime, takes them out.
//!
//! The one thing that must stay true: when a removal reports success the addresses are not on their
//! interfaces, under any prefix, whoever put them there.

mod error;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope, CacheInfo};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use nix::errno::Errno;

use super::batch::{Answer, Batch, Indexes, Refusal, Request};
pub use error::{AddressError, AddressErrors};

/// What a listing failed with.
const LIST: &str = "list the addresses";
/// One address may be there under several prefixes; more than so many is not believed.
const PREFIXES: usize = 8;
/// The kernel's number for an unlimited lifetime (`INFINITY_LIFE_TIME`, linux/if_addr.h).
const FOREVER: u32 = u32::MAX;

/// Flags of an address (`IFA_F_*`, linux/if_addr.h).
pub mod flags {
    /// No duplicate address detection.
    pub const NODAD: u32 = 0x02;
    /// The home address of a mobile host.
    pub const HOMEADDRESS: u32 = 0x10;
    /// Temporary addresses are made from it.
    pub const MANAGETEMPADDR: u32 = 0x100;
    /// No route to its network comes with it.
    pub const NOPREFIXROUTE: u32 = 0x200;
    /// The interface joins the multicast group that it is.
    pub const MCAUTOJOIN: u32 = 0x400;
}

/// An address as it goes into the kernel.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct VirtualAddress {
    /// Name of the interface that bears it.
    pub interface: String,
    /// The address.
    pub address: IpAddr,
    /// Its prefix: 0..=32, or 0..=128.
    pub prefix_len: u8,
    /// The other end of a point-to-point link, and the prefix of that.
    pub peer: Option<(IpAddr, u8)>,
    /// `brd`, IPv4 only.
    pub broadcast: Option<Ipv4Addr>,
    /// `scope`, `RT_SCOPE_*`: 0 universe, 200 site, 253 link, 254 host. The kernel ignores it on IPv6.
    pub scope: u8,
    /// `label`, IPv4 only: at most 15 octets, of which the first are the interface's name.
    pub label: Option<String>,
    /// Of [`flags`].
    pub flags: u32,
    /// `preferred_lft`, seconds from when it is set first; `None`: as long as it is valid.
    pub preferred_s: Option<u32>,
    /// Whether others may take it away for good.
    pub no_track: bool,
}

impl VirtualAddress {
    /// An address of universe scope without broadcast address and label. An IPv6 one skips duplicate address
    /// detection: the lease has decided already, and a second of waiting would be a second of outage.
    pub fn new(interface: &str, address: IpAddr, prefix_len: u8) -> Self {
        VirtualAddress {
            interface: interface.to_owned(),
            address,
            prefix_len,
            peer: None,
            broadcast: None,
            scope: 0,
            label: None,
            flags: if address.is_ipv6() { flags::NODAD } else { 0 },
            preferred_s: None,
            no_track: false,
        }
    }

    /// The lifetime that it gets, `age` after it was set first.
    pub(crate) fn lifetime(&self, valid_s: u32, age: Duration) -> Lifetime {
        let preferred_s = match self.preferred_s {
            None | Some(FOREVER) => valid_s,
            Some(seconds) => seconds.saturating_sub(u32::try_from(age.as_secs()).unwrap_or(FOREVER)),
        };
        Lifetime { valid_s, preferred_s }
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

/// The addresses that this process has set and not removed since, and which of them are virtual. Cheap to clone, all
/// clones are one map: [`Addresses`] writes it, the watch looks there whether the end of an address is news.
#[derive(Debug, Clone, Default)]
pub struct Wanted(Arc<Mutex<BTreeMap<IpAddr, bool>>>);

impl Wanted {
    /// Whether the address should be in the kernel.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.lock().contains_key(&address)
    }

    /// Whether it is one of a virtual router's, which has a lifetime; of a static one it is unlimited.
    pub(super) fn is_virtual(&self, address: IpAddr) -> bool {
        self.lock().get(&address).copied().unwrap_or(false)
    }

    #[cfg(test)]
    pub(super) fn of(addresses: &[IpAddr]) -> Self {
        Wanted(Arc::new(Mutex::new(addresses.iter().map(|address| (*address, true)).collect())))
    }

    fn insert<'a>(&self, addresses: impl Iterator<Item = &'a (&'a VirtualAddress, Lifetime)>) {
        let addresses = addresses.map(|(address, lifetime)| (address.address, lifetime.valid_s != FOREVER));
        self.lock().extend(addresses);
    }

    fn remove(&self, addresses: &[&VirtualAddress]) {
        let mut wanted = self.lock();
        for address in addresses {
            wanted.remove(&address.address);
        }
    }

    // Each change is one call on the map, so a panic elsewhere leaves it whole.
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<IpAddr, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The writer of addresses: one netlink socket. Works in the network namespace of the thread that
/// opened it; interfaces are looked up by name in that of the thread that runs the request.
pub struct Addresses {
    batch: Batch,
    wanted: Wanted,
}

impl Addresses {
    /// Opens the socket.
    ///
    /// # Errors
    /// [`AddressError::Netlink`].
    pub fn open() -> Result<Self, AddressError> {
        let batch = Batch::open().map_err(|source| AddressError::Netlink { what: "open a netlink socket", source })?;
        Ok(Addresses { batch, wanted: Wanted::default() })
    }

    /// What is set and not removed, for the watch.
    pub fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Adds the addresses, or renews the lifetime of those that are there. All are tried.
    ///
    /// # Errors
    /// What went wrong with each.
    pub async fn set(&self, addresses: &[VirtualAddress], lifetime: Lifetime) -> Result<(), AddressErrors> {
        let lived = |address| (address, lifetime);
        AddressErrors::of(self.set_each(addresses.iter().map(lived).collect()).await)
    }

    /// The same for addresses of different lifetimes; an answer for each, in their order.
    pub(crate) async fn set_each(&self, addresses: Vec<(&VirtualAddress, Lifetime)>) -> Vec<Result<(), AddressError>> {
        self.wanted.insert(addresses.iter());
        let lives: Vec<Lifetime> = addresses.iter().map(|(_, lifetime)| *lifetime).collect();
        let list: Vec<&VirtualAddress> = addresses.into_iter().map(|(address, _)| address).collect();
        let mut lives = lives.into_iter();
        let new = |address: &VirtualAddress, ifindex| {
            let lifetime = lives.next().unwrap_or(Lifetime::seconds(1));
            Request {
                message: RouteNetlinkMessage::NewAddress(new_address(address, ifindex, lifetime)),
                flags: NLM_F_CREATE | NLM_F_REPLACE,
            }
        };
        let answers = self.ask(&list, new).await;
        let told = list.iter().zip(answers).map(|(address, answer)| {
            answer.map_err(|refusal| AddressError::of("add", address.address, &address.interface, refusal))
        });
        told.collect()
    }

    /// Removes the addresses, under whatever prefix. Absent ones and absent interfaces are no errors.
    /// All are tried.
    ///
    /// # Errors
    /// What went wrong with each.
    pub async fn remove(&self, addresses: &[VirtualAddress]) -> Result<(), AddressErrors> {
        AddressErrors::of(self.remove_each(&addresses.iter().collect::<Vec<_>>()).await)
    }

    /// The same, with an answer for each, in their order.
    pub(crate) async fn remove_each(&self, addresses: &[&VirtualAddress]) -> Vec<Result<(), AddressError>> {
        self.wanted.remove(addresses);
        let mut ends = self.delete(addresses).await;
        let unsure = |end: &Result<End, AddressError>| matches!(end, Ok(End::Unsure));
        if ends.iter().any(unsure) {
            let found = self.find(addresses);
            for (address, end) in addresses.iter().zip(&mut ends).filter(|(_, end)| unsure(end)) {
                let there = match &found {
                    Ok(found) => found.iter().filter(|there| is_same(there, address)).collect::<Vec<_>>(),
                    Err(error) => {
                        *end = Err(AddressError::Netlink { what: LIST, source: io::Error::other(error.to_string()) });
                        continue;
                    }
                };
                // Under each prefix that it has there.
                let answers = self.delete(&there).await;
                *end = answers.into_iter().find(Result::is_err).unwrap_or(Ok(End::Gone));
            }
        }
        ends.into_iter().map(|end| end.map(|_| ())).collect()
    }

    /// Removes what an earlier life has left (R12), and says what that was.
    ///
    /// # Errors
    /// The addresses could not be listed, or one could not be removed.
    pub async fn remove_stale(&self, addresses: &[VirtualAddress]) -> Result<Vec<IpAddr>, AddressErrors> {
        let addresses: Vec<&VirtualAddress> = addresses.iter().collect();
        let stale = self.find(&addresses).map_err(|source| AddressError::Netlink { what: LIST, source })?;
        AddressErrors::of(self.delete(&stale.iter().collect::<Vec<_>>()).await)?;
        let removed: BTreeSet<IpAddr> = stale.iter().map(|address| address.address).collect();
        Ok(removed.into_iter().collect())
    }

    /// Those of the addresses that are there, with the prefixes that they have there.
    fn find(&self, addresses: &[&VirtualAddress]) -> io::Result<Vec<VirtualAddress>> {
        let mut indexes = Indexes::default();
        let mut places = BTreeMap::<(u32, IpAddr), &VirtualAddress>::new();
        for wanted in addresses {
            if let Ok(ifindex) = indexes.of(&wanted.interface) {
                places.insert((ifindex, wanted.address), wanted);
            }
        }
        let present = self.batch.addresses()?;
        let there = present.iter().filter_map(|there| {
            let wanted = places.get(&(there.ifindex, there.address))?;
            Some(VirtualAddress { prefix_len: there.prefix_len, ..(*wanted).clone() })
        });
        Ok(there.collect())
    }

    /// One request for each address whose interface there is; an answer for each.
    async fn ask(
        &self,
        addresses: &[&VirtualAddress],
        mut request: impl FnMut(&VirtualAddress, u32) -> Request,
    ) -> Vec<Answer> {
        let mut indexes = Indexes::default();
        let mut answers = Vec::with_capacity(addresses.len());
        let mut requests = Vec::with_capacity(addresses.len());
        for address in addresses {
            let ifindex = indexes.of(&address.interface);
            // In any case, so that each has its own.
            let request = request(address, ifindex.unwrap_or(0));
            answers.push(ifindex.map(|_| ()).map_err(|errno| Refusal { errno: Some(errno), words: String::new() }));
            requests.extend(ifindex.is_ok().then_some(request));
        }
        let mut told = self.batch.run(&requests).await.into_iter();
        for answer in answers.iter_mut().filter(|answer| answer.is_ok()) {
            *answer = told.next().unwrap_or(Ok(()));
        }
        answers
    }

    /// Of IPv4 addresses the kernel takes one under any prefix, since the message has no IFA_ADDRESS; again, until
    /// there is none. An IPv6 address is only once on an interface.
    async fn delete(&self, addresses: &[&VirtualAddress]) -> Vec<Result<End, AddressError>> {
        let mut ends: Vec<Result<End, AddressError>> = addresses.iter().map(|_| Ok(End::Again)).collect();
        for round in 0..PREFIXES {
            let again: Vec<usize> =
                ends.iter().enumerate().filter(|(_, end)| matches!(end, Ok(End::Again))).map(|(at, _)| at).collect();
            if again.is_empty() {
                return ends;
            }
            let list: Vec<&VirtualAddress> = again.iter().filter_map(|at| addresses.get(*at).copied()).collect();
            let answers = self.ask(&list, |address, ifindex| Request {
                message: RouteNetlinkMessage::DelAddress(header(address.address, address.prefix_len, ifindex)),
                flags: 0,
            });
            for ((at, address), answer) in again.into_iter().zip(&list).zip(answers.await) {
                let end = match answer {
                    Ok(()) if address.address.is_ipv6() => Ok(End::Gone),
                    Ok(()) => Ok(End::Again),
                    // Nothing is on an interface that does not exist.
                    Err(Refusal { errno: Some(Errno::ENODEV), .. }) => Ok(End::Gone),
                    Err(Refusal { errno: Some(Errno::EADDRNOTAVAIL), .. })
                        if round > 0 || address.address.is_ipv4() =>
                    {
                        Ok(End::Gone)
                    }
                    // It may still be there under another prefix, which the kernel takes for another address.
                    Err(Refusal { errno: Some(Errno::EADDRNOTAVAIL), .. }) => Ok(End::Unsure),
                    Err(refusal) => Err(AddressError::of("remove", address.address, &address.interface, refusal)),
                };
                if let Some(place) = ends.get_mut(at) {
                    *place = end;
                }
            }
        }
        for (end, address) in ends.iter_mut().zip(addresses).filter(|(end, _)| matches!(end, Ok(End::Again))) {
            let words = "it comes back as fast as it is removed".to_owned();
            let refusal = Refusal { errno: Some(Errno::EBUSY), words };
            *end = Err(AddressError::of("remove", address.address, &address.interface, refusal));
        }
        ends
    }
}

/// How far the removal of one address has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It may be there once more.
    Again,
    /// It was not there under this prefix.
    Unsure,
    Gone,
}

fn is_same(one: &VirtualAddress, other: &VirtualAddress) -> bool {
    (one.address, &one.interface) == (other.address, &other.interface)
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
    let prefix_len = address.peer.map_or(address.prefix_len, |(_, prefix_len)| prefix_len);
    let mut message = header(address.address, prefix_len, ifindex);
    message.header.scope = AddressScope::from(address.scope);
    let attributes = &mut message.attributes;
    attributes.push(AddressAttribute::Address(address.peer.map_or(address.address, |(peer, _)| peer)));
    if address.flags != 0 {
        attributes.push(AddressAttribute::Flags(AddressFlags::from_bits_retain(address.flags)));
    }
    if address.address.is_ipv4() {
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
