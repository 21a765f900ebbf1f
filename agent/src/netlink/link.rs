//! Interfaces that are made for virtual routers: macvlans with the virtual MAC, and ipvlans.
//!
//! What must stay true: one is made down, and goes up only once the gate is there; nothing is deleted that is not one
//! of ours by kind, MAC and the interface below.

use std::collections::BTreeMap;
use std::io;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, IpVlanFlags, IpVlanMode, LinkAttribute, LinkFlags, LinkInfo as Info,
    LinkMessage, MacVlanMode,
};
use nix::errno::Errno;

use super::batch::{Batch, Indexes, Request};
use super::message::LinkInfo;

/// Bytes of a name (`IFNAMSIZ`, linux/if.h, less the zero).
const MOST: usize = 15;

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnLink {
    /// Its name, at most 15 bytes.
    pub name: String,
    /// The interface below.
    pub base: String,
    /// What it is.
    pub kind: OwnKind,
    /// Its group, for firewalls.
    pub group: Option<u32>,
}

/// What it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnKind {
    /// A macvlan of mode VEPA with this MAC.
    Macvlan([u8; 6]),
    /// An ipvlan of layer 2.
    Ipvlan(Sharing),
}

/// How ipvlans of one interface see each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// They do.
    Bridge,
    /// They don't.
    Private,
    /// Over the switch.
    Vepa,
}

impl OwnKind {
    fn name(self) -> &'static str {
        match self {
            OwnKind::Macvlan(_) => "macvlan",
            OwnKind::Ipvlan(_) => "ipvlan",
        }
    }
}

/// The writer.
#[derive(Debug)]
pub(crate) struct Links(Batch);

impl Links {
    /// Opens a socket in the network namespace of the thread.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(crate) fn open() -> io::Result<Self> {
        Batch::open().map(Links)
    }

    /// Makes those that are missing, down. Which were made.
    ///
    /// # Errors
    /// What keeps one from being there, with the remedy.
    pub(crate) fn make<'a>(&self, wanted: &'a [OwnLink]) -> Result<Vec<&'a OwnLink>, String> {
        let present = self.0.links().map_err(|error| format!("interfaces can't be listed: {error}"))?;
        let mut indexes = Indexes::default();
        let mut made = Vec::new();
        for link in wanted {
            let base = indexes.of(&link.base);
            let base =
                base.map_err(|_| format!("interface {}, for {} above it, does not exist", link.base, link.name))?;
            if let Some(there) = present.iter().find(|there| there.name.as_deref() == Some(link.name.as_str())) {
                if is_it(there, link, base) {
                    continue;
                }
                if there.kind.as_deref() != Some(link.kind.name()) {
                    return Err(format!(
                        "an interface named {} is there already and is none of keepone's: give another name after \
                         use_vmac or use_ipvlan",
                        link.name
                    ));
                }
                self.delete(there.ifindex).map_err(|error| format!("{} can't be made anew: {error}", link.name))?;
            }
            self.add(link, base)?;
            made.push(link);
        }
        Ok(made)
    }

    /// Those of them that are missing.
    pub(crate) fn missing(wanted: &[OwnLink]) -> impl Iterator<Item = &OwnLink> {
        wanted.iter().filter(|link| nix::net::if_::if_nametoindex(link.name.as_str()).is_err())
    }

    /// Sets one up.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(crate) fn raise(&self, name: &str) -> Result<(), String> {
        let fail = |error: &dyn std::fmt::Display| format!("{name} can't be set up: {error}");
        let index = nix::net::if_::if_nametoindex(name).map_err(|error| fail(&error))?;
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.one(RouteNetlinkMessage::SetLink(message), 0).map_err(|error| fail(&error))
    }

    /// Deletes those that are there. What is still there, and why.
    pub(crate) fn remove(&self, links: &[OwnLink]) -> Vec<String> {
        let present = match self.0.links() {
            Ok(present) => present,
            Err(error) => return vec![format!("interfaces can't be listed: {error}")],
        };
        let mut indexes = Indexes::default();
        let mut faults = Vec::new();
        for link in links {
            let Ok(base) = indexes.of(&link.base) else { continue };
            let mut mine = present.iter().filter(|there| is_it(there, link, base));
            if let Some(there) = mine.find(|there| there.name.as_deref() == Some(link.name.as_str())) {
                let gone = self.delete(there.ifindex);
                faults.extend(gone.err().map(|error| format!("{} can't be deleted: {error}", link.name)));
            }
        }
        faults
    }

    fn add(&self, link: &OwnLink, base: u32) -> Result<(), String> {
        let mut message = LinkMessage::default();
        let all = &mut message.attributes;
        all.push(LinkAttribute::IfName(link.name.clone()));
        all.push(LinkAttribute::Link(base));
        all.extend(link.group.map(LinkAttribute::Group));
        let (kind, data) = match link.kind {
            OwnKind::Macvlan(mac) => {
                all.push(LinkAttribute::Address(mac.to_vec()));
                // Of a private one the kernel would take a peer's frames, which bear the same MAC, for its own, and hide
                // them from the interface below.
                (InfoKind::MacVlan, InfoData::MacVlan(vec![InfoMacVlan::Mode(MacVlanMode::Vepa)]))
            }
            OwnKind::Ipvlan(sharing) => {
                let flags = match sharing {
                    Sharing::Bridge => IpVlanFlags::empty(),
                    Sharing::Private => IpVlanFlags::Private,
                    Sharing::Vepa => IpVlanFlags::Vepa,
                };
                let data = vec![InfoIpVlan::Mode(IpVlanMode::L2), InfoIpVlan::Flags(flags)];
                (InfoKind::IpVlan, InfoData::IpVlan(data))
            }
        };
        all.push(LinkAttribute::LinkInfo(vec![Info::Kind(kind), Info::Data(data)]));
        self.one(RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL).map_err(|refusal| {
            let (name, kind, base) = (&link.name, link.kind.name(), &link.base);
            let help = match refusal.errno {
                Some(Errno::EOPNOTSUPP) => format!("this kernel has no {kind} (CONFIG_{})", kind.to_uppercase()),
                // The name: `use_vmac NAME`, `vmac_prefix`.
                _ if name.len() > MOST => format!("its name has more than {MOST} bytes: give it a shorter one"),
                Some(Errno::EBUSY) => format!("{base} can't bear macvlans and ipvlans, or a bridge, at once"),
                Some(Errno::EPERM | Errno::EACCES) => "run as root or with CAP_NET_ADMIN".to_owned(),
                _ => format!("can {base} bear a {kind}?"),
            };
            format!("cannot make {name}, a {kind} above {base}: {refusal}: {help}")
        })
    }

    fn delete(&self, index: u32) -> Result<(), super::batch::Refusal> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        match self.one(RouteNetlinkMessage::DelLink(message), 0) {
            Err(refusal) if refusal.errno == Some(Errno::ENODEV) => Ok(()),
            other => other,
        }
    }

    fn one(&self, message: RouteNetlinkMessage, flags: u16) -> Result<(), super::batch::Refusal> {
        self.0.run_now(&[Request { message, flags }]).pop().unwrap_or(Ok(()))
    }
}

/// An interface as it is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) index: u32,
    /// Whether somebody has set it up.
    pub(crate) is_up: bool,
    /// Whether its driver says that the line is there, or says nothing of it.
    pub(crate) has_carrier: bool,
    pub(crate) mtu: Option<u32>,
}

/// All interfaces of the network namespace of the thread, by name.
///
/// # Errors
/// The kernel's answer.
pub(crate) fn seen() -> io::Result<BTreeMap<String, Seen>> {
    let has = |link: &LinkInfo, flag: libc::c_int| link.flags & flag.unsigned_abs() != 0;
    let one = |link: LinkInfo| {
        let (is_up, has_carrier) = (has(&link, libc::IFF_UP), has(&link, libc::IFF_RUNNING));
        Some((link.name?, Seen { index: link.ifindex, is_up, has_carrier, mtu: link.mtu }))
    };
    Ok(Links::open()?.0.links()?.into_iter().filter_map(one).collect())
}

fn is_it(there: &LinkInfo, link: &OwnLink, base: u32) -> bool {
    let mac = match link.kind {
        OwnKind::Macvlan(mac) => there.mac == Some(mac),
        OwnKind::Ipvlan(_) => true,
    };
    mac && there.kind.as_deref() == Some(link.kind.name()) && there.below == Some(base)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::namespace::{World, ip};

    const MAC: [u8; 6] = [0, 0, 0x5e, 0, 1, 51];

    fn vmac(name: &str) -> OwnLink {
        OwnLink { name: name.to_owned(), base: "near0".to_owned(), kind: OwnKind::Macvlan(MAC), group: Some(7) }
    }

    #[test]
    fn one_is_made_down_taken_over_made_anew_and_deleted() {
        World::run(async |_: &World| {
            let links = Links::open().unwrap();
            let wanted = [vmac("vrrp.51")];
            assert_eq!(links.make(&wanted).unwrap().len(), 1);
            let shown = ip("-d link show vrrp.51");
            for words in ["vrrp.51@near0", "state DOWN", "00:00:5e:00:01:33", "macvlan mode vepa", "group 7"] {
                assert!(shown.contains(words), "{words}: {shown}");
            }
            assert_eq!(Links::missing(&wanted).count(), 0);
            links.raise(&wanted[0].name).unwrap();
            assert!(ip("link show vrrp.51").contains("UP"));
            // A next agent takes it over as it is.
            assert_eq!(links.make(&wanted).unwrap().len(), 0);
            ip("link set vrrp.51 address 02:00:00:00:00:01");
            assert_eq!(links.remove(&wanted), Vec::<String>::new());
            assert!(ip("link show vrrp.51").contains("02:00:00:00:00:01"), "another MAC is another interface");
            assert_eq!(links.make(&wanted).unwrap().len(), 1);
            assert_eq!(links.remove(&wanted), Vec::<String>::new());
            assert_eq!(Links::missing(&wanted).count(), 1);
            assert_eq!(links.remove(&wanted), Vec::<String>::new());
        });
    }

    #[test]
    fn what_keeps_one_from_being_there_is_said_with_the_remedy() {
        World::run(async |_: &World| {
            let links = Links::open().unwrap();
            ip("link add taken0 type veth");
            let says = |link: OwnLink| links.make(std::slice::from_ref(&link)).unwrap_err();
            assert!(says(vmac("taken0")).contains("none of keepone's"));
            assert!(
                says(OwnLink { base: "nothere0".into(), ..vmac("v") })
                    .contains("nothere0, for v above it, does not exist")
            );
            assert!(
                says(vmac("a-name-of-17-byte")).contains("more than 15 bytes"),
                "{}",
                says(vmac("a-name-of-17-byte"))
            );
            assert!(says(OwnLink { base: "lo".into(), ..vmac("v") }).contains("can lo bear a macvlan?"));
        });
    }
}
