//! Which kernel interface stands behind each configured name, as last seen by the watch.

use std::net::IpAddr;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use keepone_proto::event::Event;
use keepone_proto::id::InterfaceId;
use keepone_proto::settings::InterfaceSettings;

use super::is_on_network;
use super::vrrp::Family;
use crate::netlink::watch::Interface;

/// An Ethernet hardware address.
pub type Mac = [u8; 6];

/// The configured interfaces: name, index, hardware address. Cheap to clone, all clones are one table.
///
/// The watch writes it, the shells read it.
#[derive(Debug, Clone)]
pub struct Interfaces(Arc<RwLock<Vec<Interface>>>);

impl Interfaces {
    /// All absent until the watch has seen them; the order gives the [`InterfaceId`]s.
    pub fn new(settings: &[InterfaceSettings]) -> Self {
        let absent = settings.iter().map(|interface| Interface::absent(&interface.name)).collect();
        Interfaces(Arc::new(RwLock::new(absent)))
    }

    /// Further interfaces, all absent until the watch has seen them: of the whole list those that are not known yet.
    pub fn extend(&self, settings: &[InterfaceSettings]) {
        let mut table = self.write();
        let known = table.len();
        table.extend(settings.iter().skip(known).map(|interface| Interface::absent(&interface.name)));
    }

    /// Takes over what the watch has seen; `None` for an interface that is not configured.
    pub fn update(&self, seen: &Interface) -> Option<InterfaceId> {
        let mut table = self.write();
        let at = table.iter().position(|known| known.name == seen.name)?;
        let known = table.get_mut(at)?;
        known.clone_from(seen);
        u16::try_from(at).ok().map(InterfaceId)
    }

    /// The id of a configured name.
    pub fn id(&self, name: &str) -> Option<InterfaceId> {
        let at = self.read().iter().position(|known| known.name == name)?;
        u16::try_from(at).ok().map(InterfaceId)
    }

    /// The id of the interface that has this kernel index now.
    pub fn id_of_index(&self, ifindex: u32) -> Option<InterfaceId> {
        let at = self.read().iter().position(|known| known.ifindex == Some(ifindex))?;
        u16::try_from(at).ok().map(InterfaceId)
    }

    /// All that is known of one; `None` for an id that is not configured.
    pub fn get(&self, id: InterfaceId) -> Option<Interface> {
        self.look(id, Interface::clone)
    }

    /// Looks at one without a copy, of which thousands of addresses would be part.
    fn look<T>(&self, id: InterfaceId, look: impl FnOnce(&Interface) -> T) -> Option<T> {
        self.read().get(usize::from(id.0)).map(look)
    }

    /// Its configured name.
    pub fn name(&self, id: InterfaceId) -> Option<String> {
        self.look(id, |known| known.name.clone())
    }

    /// Its configured name and its kernel index, while it exists.
    pub fn named_index(&self, id: InterfaceId) -> Option<(String, u32)> {
        self.look(id, |known| Some((known.name.clone(), known.ifindex?)))?
    }

    /// Its kernel index, while it exists.
    pub fn ifindex(&self, id: InterfaceId) -> Option<u32> {
        self.look(id, |known| known.ifindex)?
    }

    /// Its hardware address, while it exists and is Ethernet.
    pub fn mac(&self, id: InterfaceId) -> Option<Mac> {
        self.look(id, |known| known.mac)?
    }

    /// Whence Advertisements of an instance on this interface come: its first usable IPv4 address, or
    /// its link-local IPv6 address (RFC 9568, 5.1.2.1), never a virtual one. `None`: there is none yet.
    pub fn advert_source(
        &self,
        id: InterfaceId,
        family: Family,
        is_virtual: impl Fn(IpAddr) -> bool,
    ) -> Option<IpAddr> {
        let fits = |address: &IpAddr| match address {
            IpAddr::V4(_) => family == Family::V4,
            IpAddr::V6(address) => family == Family::V6 && address.is_unicast_link_local(),
        };
        // For each Advertisement, of an interface that may have thousands of addresses: nothing is copied.
        self.look(id, |known| known.usable().filter(fits).find(|address| !is_virtual(*address)))?
    }

    /// The first usable address of ours that is on one network with `other`, never a virtual one.
    pub fn neighbor_of(&self, id: InterfaceId, other: IpAddr, is_virtual: impl Fn(IpAddr) -> bool) -> Option<IpAddr> {
        self.look(id, |seen| {
            let mut own = seen.addresses.iter().filter(|own| own.usable && !is_virtual(own.address));
            own.find(|own| is_on_network(own.address, own.prefix_len, other)).map(|own| own.address)
        })?
    }

    /// Whether a hardware address is one of ours.
    pub fn is_own_mac(&self, mac: Mac) -> bool {
        self.read().iter().any(|known| known.mac == Some(mac))
    }

    /// What the core is told of an interface: its state, and its addresses without the virtual ones.
    pub fn event(&self, id: InterfaceId, is_virtual: impl Fn(IpAddr) -> bool) -> Option<Event> {
        self.look(id, |known| {
            let addresses = known.usable().filter(|address| !is_virtual(*address)).collect();
            Event::Interface { interface: id, up: known.up, addresses }
        })
    }

    // A panic elsewhere while the lock was held leaves whole entries: the table stays usable.
    fn read(&self) -> RwLockReadGuard<'_, Vec<Interface>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Vec<Interface>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::watch::Address;

    fn table() -> Interfaces {
        let settings =
            ["eth0", "eth1"].map(|name| InterfaceSettings { name: name.to_owned(), delays: Default::default() });
        Interfaces::new(&settings)
    }

    #[test]
    fn a_configured_interface_keeps_its_id_while_its_index_changes() {
        let interfaces = table();
        let mut seen = Interface::absent("eth1");
        for ifindex in [7, 9] {
            seen.ifindex = Some(ifindex);
            seen.mac = Some([2, 0, 0, 0, 0, 7]);
            assert_eq!(interfaces.update(&seen), Some(InterfaceId(1)));
            assert_eq!(interfaces.id_of_index(ifindex), Some(InterfaceId(1)));
        }
        assert_eq!(interfaces.id_of_index(7), None);
        assert_eq!(interfaces.id("eth1"), Some(InterfaceId(1)));
        assert!(interfaces.is_own_mac([2, 0, 0, 0, 0, 7]));
        assert!(!interfaces.is_own_mac([2, 0, 0, 0, 0, 8]));
    }

    #[test]
    fn an_interface_that_is_not_configured_is_ignored() {
        assert_eq!(table().update(&Interface::absent("docker0")), None);
    }

    #[test]
    fn advertisements_come_from_the_first_own_address_of_the_family() {
        let interfaces = table();
        let [vip, own4, global6, own6] =
            ["10.0.0.100", "10.0.0.1", "fd00::1", "fe80::1"].map(|text| text.parse::<IpAddr>().unwrap());
        let mut seen = Interface::absent("eth0");
        seen.addresses = [vip, own4, global6, own6].map(|address| Address::new(address, 24)).to_vec();
        interfaces.update(&seen);
        let source = |family| interfaces.advert_source(InterfaceId(0), family, |address| address == vip);
        assert_eq!((source(Family::V4), source(Family::V6)), (Some(own4), Some(own6)));
        assert_eq!(interfaces.advert_source(InterfaceId(1), Family::V4, |_| false), None);
    }

    #[test]
    fn the_core_is_not_told_of_virtual_addresses() {
        let interfaces = table();
        let own = "10.0.0.1".parse().unwrap();
        let vip = "10.0.0.100".parse().unwrap();
        let mut seen = Interface::absent("eth0");
        seen.addresses = vec![Address::new(vip, 24), Address::new(own, 24)];
        interfaces.update(&seen);
        let event = interfaces.event(InterfaceId(0), |address| address == vip);
        assert_eq!(event, Some(Event::Interface { interface: InterfaceId(0), up: false, addresses: vec![own] }));
    }
}
