//! The array that the kernel reads: one slot of 64 bytes for each domain, behind one that is always shut; and the names
//! of the pins.
//!
//! ```text
//!  offset  0   u64  deadline: nanoseconds of CLOCK_BOOTTIME until which frames pass; 0 = shut
//!          8   u64  domain
//!         16   u64  epoch: counter
//!         24   u64  epoch: incarnation
//!         32   u32  epoch: attempt
//!         36   u16  epoch: node
//!         38   u16  zero
//!         40        zeros; in the first slot: the digest of the layout that the gate was made for, 24 bytes,
//!                   written when the gate stands on every interface
//! ```
//! All in native byte order. What must stay true: the deadline is one aligned word, so a reader never
//! sees half of it; the first slot belongs to no domain and its deadline is always 0.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use keepone_bpf::{Attach, BpfError, Map, Mapping};
use keepone_proto::id::{DomainId, Epoch, Incarnation, NodeId};

use super::LeftOpen;
use super::layout::{DIGEST_WORDS, Digest};

/// The slot that is always shut: of the self-test's dummy address, and of every address once the
/// guardian has sealed a dead worker's gate.
pub(super) const SHUT_SLOT: u32 = 0;
/// Beside the slot in what an address leads to: nobody here takes packets for it, however open.
pub(super) const REFUSED: u32 = 1 << 31;
/// The slot of the first domain.
pub(super) const FIRST_SLOT: u32 = 1;
/// Domains at most: 4 MiB of slots.
pub(super) const MAX_DOMAINS: usize = (1 << 16) - 1;
/// Bytes of a slot.
pub(super) const SLOT_BYTES: u32 = 64;

const DEADLINE: usize = 0;
const DOMAIN: usize = 1;
const COUNTER: usize = 2;
const INCARNATION: usize = 3;
const ATTEMPT_NODE: usize = 4;
const LAYOUT: usize = 5;

/// Slots of an array for so many domains, the reserved one included.
pub(super) fn count(domains: usize) -> u32 {
    u32::try_from((domains.min(MAX_DOMAINS) + 1).next_power_of_two().max(64)).unwrap_or(u32::MAX)
}

/// The suffix of the pin of a link.
pub(super) fn link_suffix(at: Attach, ifindex: u32) -> String {
    match at {
        Attach::TcxIngress => format!("-in-{ifindex}"),
        Attach::TcxEgress => format!("-out-{ifindex}"),
    }
}

/// Reads [`link_suffix`]; `None` for a map's.
pub(super) fn parse_link(suffix: &str) -> Option<(Attach, u32)> {
    let (at, index) = match suffix.strip_prefix("-in-") {
        Some(index) => (Attach::TcxIngress, index),
        None => (Attach::TcxEgress, suffix.strip_prefix("-out-")?),
    };
    Some((at, index.parse().ok()?))
}

/// The suffix of the pin of the array.
pub(super) const DEADLINES: &str = "-deadlines";
/// The suffixes of the maps from a name to its slot.
pub(super) const NAMES: [&str; 3] = ["-vip4", "-vip6", "-vrid"];

/// Where something of an incarnation is pinned: `<bpf_dir>/<16 hex digits><suffix>`.
pub(super) fn pin(bpf_dir: &Path, incarnation: Incarnation, suffix: &str) -> PathBuf {
    bpf_dir.join(format!("{:016x}{suffix}", incarnation.0))
}

/// The incarnation that a pin's name begins with, and the rest of the name; `None` for anything
/// that is not ours.
pub(super) fn parse_pin(path: &Path) -> Option<(Incarnation, &str)> {
    let (digits, suffix) = path.file_name()?.to_str()?.split_at_checked(16)?;
    let lower = digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !lower || !suffix.starts_with('-') {
        return None;
    }
    Some((Incarnation(u64::from_str_radix(digits, 16).ok()?), suffix))
}

fn attempt_node(epoch: Epoch) -> u64 {
    let [a, b, c, d] = epoch.attempt.to_ne_bytes();
    let [e, f] = epoch.node.get().to_ne_bytes();
    u64::from_ne_bytes([a, b, c, d, e, f, 0, 0])
}

/// Sets everything of a slot but its deadline.
pub(super) fn write_epoch(mapping: &Mapping, slot: usize, epoch: Epoch) -> bool {
    mapping.store(slot, COUNTER, epoch.counter)
        && mapping.store(slot, INCARNATION, epoch.incarnation.0)
        && mapping.store(slot, ATTEMPT_NODE, attempt_node(epoch))
}

/// Says whose slot it is.
pub(super) fn write_domain(mapping: &Mapping, slot: usize, domain: DomainId) -> bool {
    mapping.store(slot, DOMAIN, domain.0)
}

/// Moves the deadline and reads it back.
pub(super) fn write_deadline(mapping: &Mapping, slot: usize, nanos: u64) -> bool {
    mapping.store(slot, DEADLINE, nanos) && mapping.load(slot, DEADLINE) == Some(nanos)
}

/// The deadline, 0 if shut.
pub(super) fn deadline(mapping: &Mapping, slot: usize) -> Option<u64> {
    mapping.load(slot, DEADLINE)
}

/// Domain and epoch of a slot under which the gate was ever opened.
fn held(mapping: &Mapping, slot: usize) -> Option<(DomainId, Epoch)> {
    let domain = DomainId(mapping.load(slot, DOMAIN)?);
    let counter = mapping.load(slot, COUNTER)?;
    let incarnation = Incarnation(mapping.load(slot, INCARNATION)?);
    let [a, b, c, d, e, f, _, _] = mapping.load(slot, ATTEMPT_NODE)?.to_ne_bytes();
    let node = NodeId::new(u16::from_ne_bytes([e, f]))?;
    Some((domain, Epoch { counter, incarnation, attempt: u32::from_ne_bytes([a, b, c, d]), node }))
}

/// What the slots had held.
pub(super) fn all_held(mapping: &Mapping) -> Vec<(DomainId, Epoch)> {
    (0..mapping.elements()).filter_map(|slot| held(mapping, slot)).collect()
}

/// Which domain has which slot.
pub(super) fn all_domains(mapping: &Mapping) -> BTreeMap<DomainId, u32> {
    let of = |slot: u32| Some((DomainId(mapping.load(slot as usize, DOMAIN)?), slot));
    let slots = u32::try_from(mapping.elements()).unwrap_or(u32::MAX);
    (FIRST_SLOT..slots).filter_map(of).collect()
}

/// Makes a slot one that no domain has, and that never held anything: shut first.
pub(super) fn clear(mapping: &Mapping, slot: usize) -> bool {
    write_deadline(mapping, slot, 0)
        && [DOMAIN, COUNTER, INCARNATION, ATTEMPT_NODE].into_iter().all(|word| mapping.store(slot, word, 0))
}

/// Which slots are open exactly as they were left.
pub(super) fn open_as(mapping: &Mapping, left: &[LeftOpen]) -> Vec<(usize, LeftOpen)> {
    let at = |slot: usize| {
        let (domain, epoch) = held(mapping, slot)?;
        let until = deadline(mapping, slot)?;
        let as_left = left.iter().find(|(other, of, at)| (*other, *of, at.as_nanos()) == (domain, epoch, until));
        as_left.map(|left| (slot, *left))
    };
    (0..mapping.elements()).filter_map(at).collect()
}

/// Shuts every slot but these; whether all of them read back so.
pub(super) fn shut_all_slots_but(mapping: &Mapping, open: &BTreeSet<usize>) -> bool {
    let shut = (0..mapping.elements()).filter(|slot| !open.contains(slot));
    shut.filter(|slot| !write_deadline(mapping, *slot, 0)).count() == 0
}

/// Shuts every slot; whether all of them read back so.
pub(super) fn shut_all_slots(mapping: &Mapping) -> bool {
    // Every one is written, also after one that would not be.
    shut_all_slots_but(mapping, &BTreeSet::new())
}

/// Says for which layout the gate was made, and so that it is complete.
pub(super) fn write_layout(mapping: &Mapping, digest: Digest) -> bool {
    digest.into_iter().enumerate().all(|(word, value)| mapping.store(SHUT_SLOT as usize, LAYOUT + word, value))
}

/// What [`write_layout`] wrote; zeros in a gate that was never finished.
pub(super) fn layout(mapping: &Mapping) -> Option<Digest> {
    let mut digest = [0; DIGEST_WORDS];
    for (word, value) in digest.iter_mut().enumerate() {
        *value = mapping.load(SHUT_SLOT as usize, LAYOUT + word)?;
    }
    Some(digest)
}

/// Shuts every slot of a pinned array; what it had held, and how many slots were not shut before.
pub(super) fn shut_pinned(path: &Path) -> Result<(Vec<(DomainId, Epoch)>, usize), BpfError> {
    let map = Map::open_pinned(path)?;
    let mapping = map.mmap(true)?;
    let open = (0..mapping.elements()).filter(|slot| deadline(&mapping, *slot) != Some(0)).count();
    if !shut_all_slots(&mapping) {
        let source = std::io::Error::other("a deadline reads back other than written: somebody else writes it");
        return Err(BpfError::System { what: format!("shutting {}", path.display()), source });
    }
    Ok((all_held(&mapping), open))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_links_pin_says_where_it_stands() {
        for at in [Attach::TcxIngress, Attach::TcxEgress] {
            assert_eq!(parse_link(&link_suffix(at, 7)), Some((at, 7)));
        }
        assert_eq!(parse_link(DEADLINES).or(parse_link("-in-x")).or(parse_link("-out--1")), None);
    }

    #[test]
    fn a_pins_name_says_whose_it_is() {
        let path = pin(Path::new("/x"), Incarnation(0xab), DEADLINES);
        assert_eq!(path, Path::new("/x/00000000000000ab-deadlines"));
        assert_eq!(parse_pin(&path), Some((Incarnation(0xab), DEADLINES)));
        for foreign in ["/x/deadlines", "/x/00000000000000AB-in-1", "/x/00000000000000abdeadlines", "/x/äääääääääää"]
        {
            assert_eq!(parse_pin(Path::new(foreign)), None, "{foreign}");
        }
    }
}
