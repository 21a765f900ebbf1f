//! The sets of means 2, and their elements.
//!
//! ```text
//!  vip4 vip6 vrid4 vrid6     what is gated: never changes while the agent runs
//!  refused4 refused6         those of the addresses that nobody here takes packets for
//!  open_KIND_a open_KIND_b   the same names, each with a timeout: open as long as they are in both
//!  armed                     token of one attempt to write, with a short timeout
//!  writer                    the run that may write; taken out by the guardian's seal
//!  held                      a domain's number here, with the epoch of its last opening as a comment
//! ```
//! No maps from names to domains and from there to deadlines: the `nft` program of 1.0 stops with a failed
//! assertion where it is to list rules that look up what a map gave.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use keepone_proto::id::{DomainId, Epoch, Incarnation, NodeId};

use super::wire::{self, Attributes, Batch, INET, NETDEV, NEW, message};
use crate::gate::layout::Layout;
use crate::gate::probe::DUMMY;
use crate::gate::slot::SHUT_SLOT;

/// What a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Vip4,
    Vip6,
    /// Virtual routers over IPv4, one byte.
    Vrid4,
    /// And over IPv6.
    Vrid6,
}

/// Two, because one write may be held up inside the kernel between its check and its deed: see the writer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Copied {
    A,
    B,
}

pub(super) const COPIES: [Copied; 2] = [Copied::A, Copied::B];
pub(super) const KINDS: [Kind; 4] = [Kind::Vip4, Kind::Vip6, Kind::Vrid4, Kind::Vrid6];

impl Kind {
    /// The set of what is gated.
    pub(super) fn names(self) -> &'static str {
        match self {
            Kind::Vip4 => "vip4",
            Kind::Vip6 => "vip6",
            Kind::Vrid4 => "vrid4",
            Kind::Vrid6 => "vrid6",
        }
    }

    /// The set of what is open.
    pub(super) fn open(self, copy: Copied) -> &'static str {
        match (self, copy) {
            (Kind::Vip4, Copied::A) => "open_vip4_a",
            (Kind::Vip4, Copied::B) => "open_vip4_b",
            (Kind::Vip6, Copied::A) => "open_vip6_a",
            (Kind::Vip6, Copied::B) => "open_vip6_b",
            (Kind::Vrid4, Copied::A) => "open_vrid4_a",
            (Kind::Vrid4, Copied::B) => "open_vrid4_b",
            (Kind::Vrid6, Copied::A) => "open_vrid6_a",
            (Kind::Vrid6, Copied::B) => "open_vrid6_b",
        }
    }

    fn key(self) -> Key {
        match self {
            Kind::Vip4 => Key::Ipv4,
            Kind::Vip6 => Key::Ipv6,
            Kind::Vrid4 | Kind::Vrid6 => Key::Vrid,
        }
    }
}

/// See above.
pub(super) const REFUSED4: &str = "refused4";
/// See above.
pub(super) const REFUSED6: &str = "refused6";
pub(super) const ARMED: &str = "armed";
pub(super) const WRITER: &str = "writer";
pub(super) const HELD: &str = "held";

/// Elements in one list, whose length has 16 bits: one without a comment takes 40 octets at most.
const TOGETHER: usize = 1_000;

/// NFT_SET_TIMEOUT.
const TIMEOUT: u32 = 16;

/// What a set's key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    /// 4 bytes.
    Ipv4,
    /// 16 bytes.
    Ipv6,
    /// One byte.
    Vrid,
    /// 4 bytes, in the host's order.
    Slot,
    /// 16 bytes that no two attempts share; shown as an IPv6 address for want of a better kind.
    Token,
}

impl Key {
    /// The kind as the `nft` program numbers it, for its listing, and the length; a VRID has none, and goes as an IP
    /// protocol.
    fn kind(self) -> (u32, u32) {
        match self {
            Key::Ipv4 => (7, 4),
            Key::Ipv6 | Key::Token => (8, 16),
            Key::Vrid => (12, 1),
            Key::Slot => (19, 4),
        }
    }
}

fn set(batch: &mut Batch, family: u8, table: &str, name: &str, key: Key, flags: u32, id: u32) {
    batch.add(format!("making the set {name}"), message::NEW_SET, NEW, family, |a| {
        let (kind, length) = key.kind();
        a.text(1, table).text(2, name).word(3, flags).word(4, kind).word(5, length).word(10, id);
    });
}

/// The sets of the netdev table.
pub(super) fn create(batch: &mut Batch, table: &str) {
    let gated = KINDS.map(|kind| (kind.names(), kind.key(), 0));
    let open = COPIES.into_iter().flat_map(|copy| KINDS.map(|kind| (kind.open(copy), kind.key(), TIMEOUT)));
    let refused = [(REFUSED4, Key::Ipv4, 0), (REFUSED6, Key::Ipv6, 0)];
    let own = [(ARMED, Key::Token, TIMEOUT), (WRITER, Key::Token, 0), (HELD, Key::Slot, 0)];
    for ((name, key, flags), id) in gated.into_iter().chain(open).chain(refused).chain(own).zip(1..) {
        set(batch, NETDEV, table, name, key, flags, id);
    }
}

/// The sets of the inet table.
pub(super) fn create_routed(batch: &mut Batch, table: &str) {
    for (kind, id) in [Kind::Vip4, Kind::Vip6].into_iter().zip(1..) {
        set(batch, INET, table, kind.names(), kind.key(), 0, id);
    }
}

/// An element to be put into a set, or taken out.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Element {
    key: Vec<u8>,
    timeout_ms: Option<u64>,
    comment: Option<String>,
}

impl Element {
    pub(super) fn of(key: &[u8]) -> Self {
        Element { key: key.to_vec(), ..Element::default() }
    }

    pub(super) fn slot(slot: u32) -> Self {
        Element::of(&slot.to_ne_bytes())
    }

    pub(super) fn for_ms(mut self, timeout_ms: u64) -> Self {
        self.timeout_ms = Some(timeout_ms);
        self
    }

    fn with_comment(mut self, comment: String) -> Self {
        self.comment = Some(comment);
        self
    }

    fn put(&self, a: &mut Attributes<'_>) {
        a.nested(1, |a| {
            a.nested(1, |a| {
                a.bytes(1, &self.key);
            });
            if let Some(timeout) = self.timeout_ms {
                a.double(4, timeout);
            }
            if let Some(comment) = &self.comment {
                // libnftnl's NFTNL_UDATA_SET_ELEM_COMMENT: kind, length, text with its zero.
                let length = u8::try_from(comment.len() + 1).unwrap_or(u8::MAX);
                let text = comment.bytes().take(254).chain([0]);
                a.bytes(6, &[0, length].into_iter().chain(text).collect::<Vec<u8>>());
            }
        });
    }
}

fn elements(a: &mut Attributes<'_>, table: &str, set: &str, elements: &[Element]) {
    a.text(1, table).text(2, set).nested(3, |a| elements.iter().for_each(|element| element.put(a)));
}

/// Puts elements into a set.
pub(super) fn add(batch: &mut Batch, family: u8, table: &str, set: &'static str, list: &[Element]) {
    for part in list.chunks(TOGETHER) {
        batch.add(set, message::NEW_ELEMENTS, NEW, family, |a| elements(a, table, set, part));
    }
}

/// Takes an element out, which fails if it is not there any more.
pub(super) fn take_out(batch: &mut Batch, table: &str, set: &'static str, element: &Element) {
    batch.add(set, message::DELETE_ELEMENTS, 0, NETDEV, |a| elements(a, table, set, std::slice::from_ref(element)));
}

/// The same of either table.
pub(super) fn take_all_out(batch: &mut Batch, family: u8, table: &str, set: &'static str, list: &[Element]) {
    for part in list.chunks(TOGETHER) {
        batch.add(set, message::DELETE_ELEMENTS, 0, family, |a| elements(a, table, set, part));
    }
}

/// Takes everything out of a set.
pub(super) fn empty(batch: &mut Batch, table: &str, set: &'static str) {
    batch.add(set, message::DELETE_ELEMENTS, 0, NETDEV, |a| {
        a.text(1, table).text(2, set);
    });
}

/// Asks for one element.
pub(super) fn question(a: &mut Attributes<'_>, table: &str, set: &str, element: &Element) {
    elements(a, table, set, std::slice::from_ref(element));
}

/// The token of a run.
pub(super) fn writer(incarnation: Incarnation) -> Element {
    token(incarnation, 0)
}

/// The token of one attempt of a run.
pub(super) fn token(incarnation: Incarnation, attempt: u64) -> Element {
    Element::of(&[incarnation.0.to_be_bytes(), attempt.to_be_bytes()].concat())
}

/// A name that is gated.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Name {
    pub(super) kind: Kind,
    pub(super) key: Vec<u8>,
}

impl Name {
    fn of_address(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Name { kind: Kind::Vip4, key: address.octets().to_vec() },
            IpAddr::V6(address) => Name { kind: Kind::Vip6, key: address.octets().to_vec() },
        }
    }

    pub(super) fn element(&self) -> Element {
        Element::of(&self.key)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind, self.key.as_slice()) {
            (Kind::Vip4, key) if let Ok(key) = <[u8; 4]>::try_from(key) => IpAddr::from(key).fmt(f),
            (Kind::Vip6, key) if let Ok(key) = <[u8; 16]>::try_from(key) => IpAddr::from(key).fmt(f),
            (_, key) => write!(f, "virtual router {}", key.first().copied().unwrap_or_default()),
        }
    }
}

/// Every name of the layout with the slot of its domain, and the probe frame's, whose slot nobody opens.
pub(super) fn names(layout: &Layout) -> BTreeMap<Name, u32> {
    let addresses = layout.addresses.iter().map(|(address, slot)| (*address, *slot));
    let addresses = addresses.chain([(DUMMY.into(), SHUT_SLOT)]);
    let addresses = addresses.map(|(address, slot)| (Name::of_address(address), slot));
    let routers = layout.routers.iter().map(|((ipv6, vrid), slot)| {
        (Name { kind: if *ipv6 { Kind::Vrid6 } else { Kind::Vrid4 }, key: vec![*vrid] }, *slot)
    });
    addresses.chain(routers).collect()
}

/// Addresses of the layout that nobody here takes packets for: each with its set.
pub(super) fn refused(layout: &Layout) -> BTreeSet<(&'static str, Vec<u8>)> {
    let of = |address: &IpAddr| match address {
        IpAddr::V4(address) => (REFUSED4, address.octets().to_vec()),
        IpAddr::V6(address) => (REFUSED6, address.octets().to_vec()),
    };
    layout.refused.iter().map(of).collect()
}

/// What was held, in a form that a person can read as well.
pub(super) fn held(slot: u32, domain: DomainId, epoch: Epoch) -> Element {
    let Epoch { counter, incarnation, attempt, node } = epoch;
    Element::slot(slot).with_comment(format!(
        "domain {:016x} epoch {counter} {:016x} {attempt} {}",
        domain.0,
        incarnation.0,
        node.get()
    ))
}

fn parse_held(comment: &str) -> Option<(DomainId, Epoch)> {
    let mut words = comment.split(' ');
    let mut after = |label: Option<&str>| match label {
        Some(label) => (words.next()? == label).then(|| words.next())?,
        None => words.next(),
    };
    let domain = DomainId(u64::from_str_radix(after(Some("domain"))?, 16).ok()?);
    let counter = after(Some("epoch"))?.parse().ok()?;
    let incarnation = Incarnation(u64::from_str_radix(after(None)?, 16).ok()?);
    let attempt = after(None)?.parse().ok()?;
    let node = NodeId::new(after(None)?.parse().ok()?)?;
    Some((domain, Epoch { counter, incarnation, attempt, node }))
}

/// An element as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) key: Vec<u8>,
    /// What is left of its life.
    pub(super) left_ms: Option<u64>,
    pub(super) held: Option<(DomainId, Epoch)>,
}

impl Found {
    /// Of [`HELD`]: which slot.
    pub(super) fn slot(&self) -> Option<u32> {
        self.key.first_chunk::<4>().copied().map(u32::from_ne_bytes)
    }
}

/// The elements in an answer to a question about a set.
pub(super) fn found(object: &[u8]) -> Vec<Found> {
    let list = wire::find(object, 3).unwrap_or_default();
    let one = |bytes: &[u8]| {
        let key = wire::find(wire::find(bytes, 1)?, 1)?.to_vec();
        let left_ms = wire::find(bytes, 5).and_then(wire::double);
        let comment = wire::find(bytes, 6).and_then(|udata| udata.get(2..)).map(wire::text);
        Some(Found { key, left_ms, held: comment.and_then(parse_held) })
    };
    wire::parse(list).into_iter().filter_map(|(_, bytes)| one(bytes)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_held_is_read_from_its_comment() {
        let epoch = Epoch { counter: 7, incarnation: Incarnation(0xc0), attempt: 3, node: NodeId::new(2).unwrap() };
        let element = held(5, DomainId(0xd0), epoch);
        let object = wire::attributes(|a| elements(a, "t", HELD, std::slice::from_ref(&element)));
        let found = found(&object);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].key, 5_u32.to_ne_bytes());
        assert_eq!(found[0].held, Some((DomainId(0xd0), epoch)));
        for foreign in ["", "domain", "domain x epoch 1 1 1 1", "domain 1 epoch 1 1 1 0", "a comment of somebody's"] {
            assert_eq!(parse_held(foreign), None, "{foreign}");
        }
    }
}
