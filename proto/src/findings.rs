//! Finders: what is set up differently on two sides, who else speaks on our segment, whose key is not ours.
//!
//! What must stay true: nothing here decides anything. A finding is words for the operator, and names the side,
//! the setting and the remedy; a password is compared by its hash and never shown.

pub(crate) mod compare;
pub(crate) mod known;
pub(crate) mod sightings;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

use crate::id::{DomainId, hash_name};
use crate::wire::vrrp::hmac::Fault;

pub(crate) use known::Known;
pub(crate) use sightings::Sightings;

/// What is told of one setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Difference {
    /// The domain that it concerns; `None`: the whole node.
    pub(crate) domain: Option<DomainId>,
    /// Who has what, where.
    pub(crate) words: String,
    /// What to do.
    pub(crate) remedy: String,
}

/// What is odd about an Advertisement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Oddity {
    /// Its sender is none of our peers, and speaks for our VRID.
    Foreign,
    /// Its interval is another.
    Interval(Duration),
    /// Its addresses are others.
    Addresses(Vec<IpAddr>),
    /// It is of the other version.
    Version(u8),
    /// Its authentication is not ours.
    Authentication,
    /// Its Authentication Header has been seen before, or is older than the last one.
    Replayed,
    /// It is not signed, or not with a key of ours.
    Unsigned(Fault),
    /// Its signature has been seen before, or is older than the last one.
    Repeated,
    /// It is a resignation that was signed long ago.
    Stale,
    /// It is signed, and we have no key.
    Signed,
    /// Its sender's wall clock and ours are further apart than so many seconds.
    ClocksApart(u16),
    /// It comes from our own address.
    OwnAddress,
    /// It is unicast where we speak multicast (`true`), or the other way round.
    Unicast(bool),
    /// It can't be read, for this reason.
    Unreadable(&'static str),
    /// It carries our address under this VRID, which is not ours.
    Vrid(u8, IpAddr),
}

/// Told apart from any other list of words.
pub(crate) fn topic<'a>(words: impl Iterator<Item = &'a str>) -> u64 {
    words.fold(0, |topic, words| topic.rotate_left(7) ^ hash_name(words))
}

/// One text of many, each once.
pub(crate) fn join<'a>(parts: impl Iterator<Item = &'a str>) -> String {
    let mut seen: Vec<&str> = Vec::new();
    for part in parts {
        if !seen.contains(&part) {
            seen.push(part);
        }
    }
    seen.join("; ")
}
