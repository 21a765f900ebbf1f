//! What the watch knows of links and addresses: messages in, changes out. No sockets.
//!
//! The one thing that must stay true: after a complete reading this is what the kernel has, however
//! many notices were lost before.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use super::address::Wanted;
use super::message::{self, AddressInfo, LinkInfo, Message};
use super::watch::{Address, AddressGone, Change, Interface};

const IFF_UP: u32 = 1 << 0;
const IFF_RUNNING: u32 = 1 << 6;
const IFF_LOWER_UP: u32 = 1 << 16;

const IFA_F_SECONDARY: u32 = 0x01;
const IFA_F_DADFAILED: u32 = 0x08;
const IFA_F_TENTATIVE: u32 = 0x40;

#[derive(Debug, Default)]
struct Link {
    name: String,
    flags: u32,
    mac: Option<[u8; 6]>,
    mtu: u32,
    /// The reading in which it was last seen.
    reading: u64,
    /// By address and prefix: there may be thousands.
    addresses: BTreeMap<(IpAddr, u8), Known>,
}

#[derive(Debug, Clone, Copy)]
struct Known {
    address: Address,
    reading: u64,
    /// In the order in which they were told, which is the kernel's.
    number: u64,
    /// One of a virtual router's: no news to whoever is told of the interface.
    is_virtual: bool,
}

/// Links, addresses, and what has been told of them.
#[derive(Debug)]
pub(super) struct State {
    names: BTreeSet<String>,
    /// The addresses whose end is news.
    wanted: Wanted,
    links: BTreeMap<u32, Link>,
    reading: u64,
    told: BTreeMap<String, Interface>,
    /// Whether anything is not as it was when it was told last.
    changed: bool,
    /// Of the address that was told last.
    number: u64,
    changes: VecDeque<Change>,
}

impl State {
    pub fn new(names: BTreeSet<String>, wanted: Wanted) -> Self {
        State {
            names,
            wanted,
            links: BTreeMap::new(),
            reading: 0,
            told: BTreeMap::new(),
            changed: true,
            number: 0,
            changes: VecDeque::new(),
        }
    }

    /// Watches further interfaces; to be told of with the next change of any.
    pub fn watch(&mut self, names: impl IntoIterator<Item = String>) {
        self.names.extend(names);
        self.changed = true;
    }

    pub fn next_change(&mut self) -> Option<Change> {
        self.changes.pop_front()
    }

    /// Whether the watched interfaces have been told at all.
    pub fn has_told(&self) -> bool {
        !self.told.is_empty()
    }

    /// A reading of everything begins: what it does not name by its end is gone.
    pub fn begin_reading(&mut self) {
        self.reading += 1;
    }

    /// It ended.
    pub fn end_reading(&mut self) {
        let reading = self.reading;
        self.changed = true;
        let mut gone = Vec::new();
        self.links.retain(|ifindex, link| {
            let stays = link.reading == reading;
            for known in link.addresses.values() {
                if !stays || known.reading != reading {
                    gone.push((*ifindex, known.address));
                }
            }
            link.addresses.retain(|_, known| known.reading == reading);
            stays
        });
        for (ifindex, address) in gone {
            self.tell_gone(ifindex, address.address, address.prefix_len, None);
        }
    }

    /// One message, part of a reading or a notice of a change.
    pub fn absorb(&mut self, told: &Message<'_>) {
        match told.kind {
            message::RTM_NEWLINK | message::RTM_DELLINK => {
                // Bridges tell of their ports with messages of family AF_BRIDGE, and say that a port
                // left with a DELLINK, though the link lives on.
                let Some(link) = message::link(told.payload).filter(|link| link.family == 0) else { return };
                if told.kind == message::RTM_NEWLINK { self.link(link) } else { self.link_gone(link.ifindex) }
            }
            message::RTM_NEWADDR => {
                if let Some(address) = message::address(told.payload) {
                    self.address(&address);
                }
            }
            message::RTM_DELADDR => {
                if let Some(address) = message::address(told.payload) {
                    self.address_gone(&address, told.port);
                }
            }
            _ => {}
        }
    }

    fn link(&mut self, told: LinkInfo) {
        self.changed = true;
        let link = self.links.entry(told.ifindex).or_default();
        link.reading = self.reading;
        link.flags = told.flags;
        if let Some(name) = told.name {
            link.name = name;
        }
        link.mac = told.mac.or(link.mac);
        link.mtu = told.mtu.unwrap_or(link.mtu);
    }

    fn link_gone(&mut self, ifindex: u32) {
        self.changed = true;
        let Some(link) = self.links.remove(&ifindex) else { return };
        // The kernel tells of the addresses first; what is left here is what it did not tell.
        for Known { address, .. } in link.addresses.into_values() {
            self.tell_gone(ifindex, address.address, address.prefix_len, None);
        }
    }

    fn address(&mut self, told: &AddressInfo) {
        let reading = self.reading;
        let link = self.links.entry(told.ifindex).or_default();
        let address = Address {
            address: told.address,
            prefix_len: told.prefix_len,
            secondary: told.flags & IFA_F_SECONDARY != 0,
            usable: told.flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED) == 0,
            scope: told.scope,
        };
        let is_virtual = self.wanted.is_virtual(address.address);
        match link.addresses.get_mut(&(address.address, address.prefix_len)) {
            // A renewed lifetime, as a rule.
            Some(known) if known.address == address => known.reading = reading,
            Some(known) => {
                (known.address, known.reading) = (address, reading);
                self.changed |= !known.is_virtual;
            }
            None => {
                self.number += 1;
                let known = Known { address, reading, number: self.number, is_virtual };
                link.addresses.insert((address.address, address.prefix_len), known);
                self.changed |= !is_virtual;
            }
        }
    }

    fn address_gone(&mut self, told: &AddressInfo, port: u32) {
        let link = self.links.get_mut(&told.ifindex);
        let known = link.and_then(|link| link.addresses.remove(&(told.address, told.prefix_len)));
        self.changed |= known.is_none_or(|known| !known.is_virtual);
        self.tell_gone(told.ifindex, told.address, told.prefix_len, Some(port));
    }

    fn tell_gone(&mut self, ifindex: u32, address: IpAddr, prefix_len: u8, port: Option<u32>) {
        if self.wanted.contains(address) {
            self.changes.push_back(Change::AddressGone(AddressGone { ifindex, address, prefix_len, port }));
        }
    }

    /// Tells of each watched interface that is not as it was told last. Not within a reading, which
    /// knows only half.
    pub fn tell_interfaces(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        for name in &self.names {
            let now = self
                .links
                .iter()
                .find(|(_, link)| link.name == *name)
                .map_or_else(|| Interface::absent(name), |(ifindex, link)| snapshot(*ifindex, link));
            if self.told.get(name) != Some(&now) {
                self.told.insert(name.clone(), now.clone());
                self.changes.push_back(Change::Interface(now));
            }
        }
    }
}

fn snapshot(ifindex: u32, link: &Link) -> Interface {
    const UP: u32 = IFF_UP | IFF_RUNNING | IFF_LOWER_UP;
    let mut known: Vec<&Known> = link.addresses.values().filter(|known| !known.is_virtual).collect();
    // Within each kind the kernel's order stays.
    known.sort_by_key(|known| (known.address.secondary, known.number));
    let addresses = known.into_iter().map(|known| known.address).collect();
    Interface {
        name: link.name.clone(),
        ifindex: Some(ifindex),
        up: link.flags & UP == UP,
        mac: link.mac,
        mtu: link.mtu,
        addresses,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new(["eth0".to_owned()].into(), Wanted::of(&[vip(2).address]))
    }

    fn changes(state: &mut State) -> Vec<Change> {
        state.tell_interfaces();
        std::iter::from_fn(|| state.next_change()).collect()
    }

    fn eth0(ifindex: u32) -> LinkInfo {
        LinkInfo {
            family: 0,
            ifindex,
            flags: IFF_UP | IFF_RUNNING | IFF_LOWER_UP,
            name: Some("eth0".to_owned()),
            mac: Some([2, 0, 0, 0, 0, 1]),
            mtu: Some(1500),
            ..LinkInfo::default()
        }
    }

    fn vip(ifindex: u32) -> AddressInfo {
        let address = "10.0.0.100".parse().unwrap();
        AddressInfo { ifindex, address, prefix_len: 24, flags: 0, scope: 0 }
    }

    #[test]
    fn an_interface_that_is_missing_at_the_start_is_told_as_absent_once() {
        let mut state = state();
        assert_eq!(changes(&mut state), [Change::Interface(Interface::absent("eth0"))]);
        assert_eq!(changes(&mut state), []);
    }

    #[test]
    fn a_rename_takes_the_name_away_and_a_second_one_brings_it_back() {
        let mut state = state();
        state.link(eth0(2));
        assert_eq!(changes(&mut state).len(), 1);
        state.link(LinkInfo { name: Some("lan0".to_owned()), ..eth0(2) });
        assert_eq!(changes(&mut state), [Change::Interface(Interface::absent("eth0"))]);
        state.link(eth0(2));
        let [Change::Interface(back)] = &changes(&mut state)[..] else { panic!() };
        assert_eq!((back.ifindex, back.up), (Some(2), true));
    }

    #[test]
    fn what_a_reading_does_not_name_is_gone() {
        let mut state = state();
        state.begin_reading();
        state.link(eth0(2));
        state.address(&vip(2));
        state.end_reading();
        changes(&mut state);
        state.begin_reading();
        state.link(eth0(2));
        state.end_reading();
        let told = changes(&mut state);
        assert!(
            matches!(&told[..], [Change::AddressGone(gone)] if gone.port.is_none()),
            "of the interface it is no news: {told:?}"
        );
    }

    #[test]
    fn the_end_of_an_address_is_news_only_while_it_is_wanted() {
        for (wanted, news) in [(Wanted::of(&[vip(2).address]), 1), (Wanted::default(), 0)] {
            let mut state = State::new(["eth0".to_owned()].into(), wanted);
            state.link(eth0(2));
            state.address(&vip(2));
            changes(&mut state);
            state.address_gone(&vip(2), 4711);
            let gone = changes(&mut state).iter().filter(|told| matches!(told, Change::AddressGone(_))).count();
            assert_eq!(gone, news);
        }
    }

    #[test]
    fn a_link_without_carrier_is_down() {
        for missing in [IFF_UP, IFF_RUNNING, IFF_LOWER_UP] {
            let mut state = state();
            state.link(LinkInfo { flags: eth0(2).flags & !missing, ..eth0(2) });
            let [Change::Interface(now)] = &changes(&mut state)[..] else { panic!() };
            assert!(!now.up);
        }
    }
}
