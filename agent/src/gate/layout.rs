//! What a configuration makes of the gate's maps: which domain has which slot, and which name leads there.
//!
//! What must stay true: two layouts with the same digest make gates that judge every frame alike, so
//! that the one may be put into the other's place.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::MetadataExt;

use keepone_bpf::{AsmError, Insn};
use keepone_proto::id::DomainId;

use super::program::{self, Header, Maps};
use super::{GateConfig, GateDomain, GateError, slot};

/// Words of a digest.
pub(super) const DIGEST_WORDS: usize = 3;
/// The first 192 bits of a SHA-256.
pub(super) type Digest = [u64; DIGEST_WORDS];

/// To be counted up when the meaning of a slot or of a pin changes, which the digest would not see.
const VERSION: u64 = 3;

/// The slots and the names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Layout {
    pub(super) slots: BTreeMap<DomainId, u32>,
    /// In canonical form: no IPv4 address inside an IPv6 one.
    pub(super) addresses: BTreeMap<IpAddr, u32>,
    /// Those of the addresses that nobody here takes packets for.
    pub(super) refused: BTreeSet<IpAddr>,
    /// By family (`true`: IPv6) and VRID.
    pub(super) routers: BTreeMap<(bool, u8), u32>,
    pub(super) exempt: BTreeSet<String>,
    /// For the operator, one sentence each.
    pub(super) warnings: Vec<String>,
}

impl Layout {
    /// A VRID that two domains use (on two networks, as it may be) is left out: its Advertisements are
    /// then held back by the agent alone, and a warning names it.
    pub(super) fn new(config: &GateConfig) -> Result<Self, GateError> {
        Self::of(&config.domains, &config.exempt, &BTreeMap::new())
    }

    /// The same for other domains; those that were there keep their slots.
    pub(super) fn after(&self, domains: &[GateDomain]) -> Result<Self, GateError> {
        Self::of(domains, &self.exempt, &self.slots)
    }

    /// The same with the slots that a former run had given; `None` if it had given one of these domains none.
    pub(super) fn renumbered(&self, former: &BTreeMap<DomainId, u32>) -> Option<Self> {
        let moved = self.slots.iter().map(|(domain, slot)| Some((*slot, *former.get(domain)?)));
        let moved = moved.collect::<Option<BTreeMap<u32, u32>>>()?;
        let to = |slot: &u32| moved.get(slot).copied();
        Some(Layout {
            slots: self.slots.iter().filter_map(|(domain, slot)| Some((*domain, to(slot)?))).collect(),
            addresses: self.addresses.iter().filter_map(|(address, slot)| Some((*address, to(slot)?))).collect(),
            routers: self.routers.iter().filter_map(|(router, slot)| Some((*router, to(slot)?))).collect(),
            ..self.clone()
        })
    }

    pub(super) fn of(
        domains: &[GateDomain],
        exempt: &BTreeSet<String>,
        former: &BTreeMap<DomainId, u32>,
    ) -> Result<Self, GateError> {
        let mut domains: Vec<&GateDomain> = domains.iter().collect();
        domains.sort_by_key(|domain| domain.id);
        if domains.len() > slot::MAX_DOMAINS {
            return Err(GateError::TooManyDomains { have: domains.len(), max: slot::MAX_DOMAINS });
        }
        let ids: BTreeSet<DomainId> = domains.iter().map(|domain| domain.id).collect();
        let mut slots: BTreeMap<DomainId, u32> =
            former.iter().filter(|(id, _)| ids.contains(id)).map(|(id, slot)| (*id, *slot)).collect();
        let taken: BTreeSet<u32> = slots.values().copied().collect();
        let mut free = (slot::FIRST_SLOT..).filter(|slot| !taken.contains(slot));
        for domain in &domains {
            // There is no end of numbers.
            slots.entry(domain.id).or_insert_with(|| free.next().unwrap_or(slot::SHUT_SLOT));
        }
        let mut layout = Layout {
            slots,
            addresses: BTreeMap::new(),
            refused: BTreeSet::new(),
            routers: BTreeMap::new(),
            exempt: exempt.clone(),
            warnings: Vec::new(),
        };
        let mut routers: BTreeMap<(bool, u8), Option<u32>> = BTreeMap::new();
        for domain in domains {
            let Some(slot) = layout.slots.get(&domain.id).copied() else { continue };
            for address in &domain.addresses {
                if layout.addresses.insert(address.to_canonical(), slot).is_some_and(|other| other != slot) {
                    return Err(GateError::SharedAddress(*address));
                }
            }
            layout.refused.extend(domain.refused.iter().map(IpAddr::to_canonical));
            for (vrid, ipv6) in &domain.routers {
                routers
                    .entry((*ipv6, vrid.get()))
                    .and_modify(|owner| *owner = owner.filter(|owner| *owner == slot))
                    .or_insert(Some(slot));
            }
        }
        let mut shared = Vec::new();
        for ((ipv6, vrid), owner) in routers {
            match owner {
                Some(slot) => {
                    layout.routers.insert((ipv6, vrid), slot);
                }
                None => shared.push(format!("{vrid} (IPv{})", if ipv6 { 6 } else { 4 })),
            }
        }
        if !shared.is_empty() {
            layout.warnings.push(format!(
                "virtual_router_id {} {} used by two domains: the kernel's gate leaves such Advertisements alone; give \
                 each router its own id to have them gated",
                shared.join(", "),
                if shared.len() == 1 { "is" } else { "are each" }
            ));
        }
        Ok(layout)
    }

    /// Where each address leads, as the maps have it: its slot, and [`slot::REFUSED`].
    pub(super) fn leads(&self) -> impl Iterator<Item = (IpAddr, u32)> {
        self.addresses.keys().filter_map(|address| Some((*address, self.lead(*address)?)))
    }

    /// See [`Layout::leads`].
    pub(super) fn lead(&self, address: IpAddr) -> Option<u32> {
        let refused = if self.refused.contains(&address) { slot::REFUSED } else { 0 };
        self.addresses.get(&address).map(|slot| slot | refused)
    }

    /// Slots of its array.
    pub(super) fn slot_count(&self) -> u32 {
        slot::count(self.slots.len())
    }

    /// Of everything that decides over a frame: programs, slots, names, exempt interfaces, and the network
    /// namespace, whose interface numbers mean nothing in another. `None` without a /proc that names it.
    pub(super) fn digest(&self, maps: Maps<'_>) -> Result<Option<Digest>, AsmError> {
        let Ok(namespace) = std::fs::metadata("/proc/thread-self/ns/net") else { return Ok(None) };
        let mut sum = Sum::new();
        sum.numbers([
            VERSION,
            u64::from(self.slot_count()),
            u64::from(slot::SLOT_BYTES),
            namespace.dev(),
            namespace.ino(),
        ]);
        for header in [Header::Ethernet, Header::Other] {
            sum.program(maps, &program::ingress(maps, header)?);
            sum.program(maps, &program::egress(maps, header)?);
        }
        sum.numbers(self.slots.iter().flat_map(|(domain, slot)| [domain.0, u64::from(*slot)]));
        sum.texts(self.leads().map(|(address, lead)| format!("{address} {lead}")));
        sum.texts(self.routers.iter().map(|(router, slot)| format!("{router:?} {slot}")));
        sum.texts(self.exempt.iter().cloned());
        Ok(Some(sum.finish()))
    }
}

/// A hash over parts, each with its length before it, so that no part can pass for a piece of another.
struct Sum(ring::digest::Context);

impl Sum {
    fn new() -> Self {
        Sum(ring::digest::Context::new(&ring::digest::SHA256))
    }

    fn part(&mut self, bytes: &[u8]) {
        self.0.update(&(bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn numbers(&mut self, numbers: impl IntoIterator<Item = u64>) {
        let bytes: Vec<u8> = numbers.into_iter().flat_map(u64::to_le_bytes).collect();
        self.part(&bytes);
    }

    fn texts(&mut self, texts: impl Iterator<Item = String>) {
        let texts: Vec<String> = texts.collect();
        self.numbers([texts.len() as u64]);
        texts.iter().for_each(|text| self.part(text.as_bytes()));
    }

    /// The instructions, with the maps by their role instead of by this process's descriptors.
    fn program(&mut self, maps: Maps<'_>, insns: &[Insn]) {
        let roles = [maps.deadlines, maps.vip4, maps.vip6, maps.vrid].map(|map| map.as_fd().as_raw_fd());
        let mut bytes = Vec::with_capacity(insns.len() * 8);
        for insn in insns {
            let mut insn_bytes = insn.bytes();
            if let Some(fd) = insn.map_fd() {
                let role = roles.iter().position(|role| *role == fd).and_then(|role| u8::try_from(role).ok());
                let [_, _, _, _, rest @ ..] = &mut insn_bytes;
                *rest = [role.unwrap_or(u8::MAX), 0, 0, 0];
            }
            bytes.extend(insn_bytes);
        }
        self.part(&bytes);
    }

    fn finish(self) -> Digest {
        let digest = self.0.finish();
        let mut words = [0; DIGEST_WORDS];
        for (word, bytes) in words.iter_mut().zip(digest.as_ref().chunks_exact(8)) {
            *word = bytes.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        }
        words
    }
}
