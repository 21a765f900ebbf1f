//! Interfaces of virtual routers' own: which there are to be, and which address goes on which.

use std::collections::{BTreeMap, BTreeSet};

use keepone_config::Config;
use keepone_config::model::{OwnInterface, OwnInterfaceKind, VirtualAddress, VrrpInstance};
use keepone_proto::id::DomainId;

use crate::netlink::address::VirtualAddress as InKernel;
use crate::netlink::link::{OwnKind, OwnLink, Sharing};
use crate::sysctl::{Setting, Value};

/// How names of them begin.
const PREFIX: &str = "vrrp";
/// The kernel's word for that an address which goes takes none along.
const PROMOTES: &str = "promote_secondaries";

/// All of them, and what they are for.
#[derive(Debug, Clone, Default)]
pub(crate) struct OwnLinks {
    all: Vec<OwnLink>,
    /// Of each instance, by its place: its own.
    own: Vec<Option<usize>>,
    /// Of each instance, that of each of its addresses.
    of_addresses: Vec<Vec<Option<usize>>>,
}

impl OwnLinks {
    /// Of a configuration.
    pub(crate) fn of(config: &Config) -> Self {
        let mut links = OwnLinks::default();
        let settings = &config.global.vrrp;
        let prefix = settings.vmac_prefix.as_deref().unwrap_or(PREFIX);
        for instance in &config.instances {
            let own = instance.options.own_interface.as_ref().map(|own| links.own_of(instance, own, prefix));
            links.own.push(own);
        }
        let prefix = settings.vmac_addr_prefix.as_deref().unwrap_or(prefix);
        for (place, instance) in config.instances.iter().enumerate() {
            let own = links.own.get(place).copied().flatten();
            let of = |links: &mut OwnLinks, address| links.of_address(instance, own, address, prefix);
            let places = instance.virtual_addresses.iter().map(|address| of(&mut links, address)).collect();
            links.of_addresses.push(places);
        }
        links
    }

    /// All of them, each once.
    pub(super) fn all(&self) -> &[OwnLink] {
        &self.all
    }

    /// That of an instance.
    pub(crate) fn own(&self, place: usize) -> Option<&OwnLink> {
        self.all.get((*self.own.get(place)?)?)
    }

    /// Where the Advertisements of an instance leave, if not from its interface.
    pub(super) fn transmits(&self, place: usize, instance: &VrrpInstance) -> Option<&str> {
        let own = instance.options.own_interface.as_ref()?;
        let unicast = matches!(instance.transport, keepone_config::model::Transport::Unicast { .. });
        // An ipvlan has the MAC of the interface below: on the wire there is no difference.
        let link = self.own(place)?;
        let vmac = matches!(link.kind, OwnKind::Macvlan(_));
        (vmac && !own.transmit_on_base && !unicast).then_some(link.name.as_str())
    }

    /// Where an address of an instance goes, if not on the interface that it or the instance names.
    pub(crate) fn bears(&self, place: usize, address: usize) -> Option<&str> {
        let link = (*self.of_addresses.get(place)?.get(address)?)?;
        self.all.get(link).map(|link| link.name.as_str())
    }

    fn own_of(&mut self, instance: &VrrpInstance, own: &OwnInterface, prefix: &str) -> usize {
        let kind = match &own.kind {
            OwnInterfaceKind::Vmac { mac } => OwnKind::Macvlan(mac.unwrap_or(virtual_mac(instance, instance.ipv6))),
            OwnInterfaceKind::Ipvlan { mode, .. } => OwnKind::Ipvlan(match *mode {
                "private" => Sharing::Private,
                "vepa" => Sharing::Vepa,
                _ => Sharing::Bridge,
            }),
        };
        let name = own.name.clone().unwrap_or_else(|| self.free_name(prefix, instance, instance.ipv6));
        self.add(OwnLink { name, base: instance.interface.clone(), kind, group: own.group })
    }

    fn of_address(
        &mut self,
        instance: &VrrpInstance,
        own: Option<usize>,
        address: &VirtualAddress,
        prefix: &str,
    ) -> Option<usize> {
        let base = address.dev.as_ref().unwrap_or(&instance.interface);
        let settings = instance.options.own_interface.as_ref();
        let ipv6 = address.address.is_ipv6();
        let both = settings.is_some_and(|own| matches!(own.kind, OwnInterfaceKind::Ipvlan { .. }));
        if own.is_some() && *base == instance.interface && (ipv6 == instance.ipv6 || both) {
            return own;
        }
        if !address.options.use_vmac && !settings.is_some_and(|own| own.for_other_addresses) {
            return None;
        }
        let kind = OwnKind::Macvlan(virtual_mac(instance, ipv6));
        let known = self.all.iter().position(|link| link.base == *base && link.kind == kind);
        Some(known.unwrap_or_else(|| {
            let name = self.free_name(prefix, instance, ipv6);
            self.add(OwnLink { name, base: base.clone(), kind, group: None })
        }))
    }

    fn add(&mut self, link: OwnLink) -> usize {
        self.all.push(link);
        self.all.len() - 1
    }

    /// `vrrp.51`; where that is taken, `vrrp6.51` for IPv6, and `vrrp1.51`, `vrrp2.51`...
    fn free_name(&self, prefix: &str, instance: &VrrpInstance, ipv6: bool) -> String {
        let vrid = instance.vrid.get();
        let second = ipv6.then(|| format!("{prefix}6.{vrid}"));
        let numbered = (1..).filter(|number| *number != 6).map(|number| format!("{prefix}{number}.{vrid}"));
        let mut names = std::iter::once(format!("{prefix}.{vrid}")).chain(second).chain(numbered);
        names.find(|name| self.all.iter().all(|link| link.name != *name)).unwrap_or_default()
    }
}

/// RFC 9568, 7.3.
fn virtual_mac(instance: &VrrpInstance, ipv6: bool) -> [u8; 6] {
    [0, 0, 0x5e, 0, if ipv6 { 2 } else { 1 }, instance.vrid.get()]
}

/// That a static address which a reload removes takes no virtual one of its network along, nor the other way round.
pub(super) fn promotions(
    links: &[OwnLink],
    statics: &[(InKernel, Option<String>)],
    addresses: &BTreeMap<DomainId, Vec<InKernel>>,
) -> BTreeSet<Setting> {
    let virtual_ones: BTreeSet<&str> =
        addresses.values().flatten().filter(|one| one.address.is_ipv4()).map(|one| one.interface.as_str()).collect();
    let both = statics.iter().map(|(one, _)| one).filter(|one| one.address.is_ipv4());
    let both = both.map(|one| one.interface.as_str()).filter(|name| virtual_ones.contains(name));
    // Interfaces of our own have it in any case.
    let both = both.filter(|name| links.iter().all(|link| link.name != *name));
    both.map(|name| Setting::ipv4(name, PROMOTES, Value::AtLeast(1)).returning()).collect()
}

/// What the kernel is to be told of them, of the interfaces below, and of `promote_secondaries`.
pub(super) fn settings(
    config: &Config,
    links: &[OwnLink],
    bears_ipv6: impl Fn(&str) -> bool,
    promotions: BTreeSet<Setting>,
) -> Vec<Setting> {
    let mut all = promotions;
    if config.global.vrrp.disable_local_igmp {
        // Of the whole network namespace. Switches flood these groups in any case (RFC 4541, 2.1.2).
        let name = String::from("net/ipv4/igmp_link_local_mcast_reports");
        all.insert(Setting { name, value: Value::Exactly(0), returns: true });
    }
    let promotes = config.instances.iter().filter(|instance| instance.options.promote_secondaries);
    for instance in promotes {
        all.insert(Setting::ipv4(&instance.interface, PROMOTES, Value::AtLeast(1)).returning());
        let others = instance.virtual_addresses.iter().filter_map(|address| address.dev.as_ref());
        all.extend(others.map(|dev| Setting::ipv4(dev, PROMOTES, Value::AtLeast(1)).returning()));
    }
    for OwnLink { name, base, kind, .. } in links {
        if matches!(kind, OwnKind::Macvlan(_)) {
            // It does not answer for addresses of the interface above it, and asks in the name of its own ones only.
            for below in [("arp_ignore", 1), ("arp_filter", 1), ("arp_announce", 2)] {
                all.insert(Setting::ipv4(base, below.0, Value::AtLeast(below.1)).returning());
            }
        }
        all.insert(Setting::ipv4(name, "arp_ignore", Value::AtLeast(1)));
        // What comes for the address may come from this very host, or from where routes lead over the base.
        all.insert(Setting::ipv4(name, "accept_local", Value::Exactly(1)));
        all.insert(Setting::ipv4(name, "rp_filter", Value::NoReversePath));
        all.insert(Setting::ipv4(name, PROMOTES, Value::Exactly(1)));
        // No link-local address of its own, no router asked for, nothing made of their answers: a Backup is to be
        // heard of by nobody from this MAC.
        all.insert(Setting::ipv6(name, "addr_gen_mode", Value::Exactly(1)));
        all.insert(Setting::ipv6(name, "accept_ra", Value::Exactly(0)));
        all.insert(Setting::ipv6(name, "router_solicitations", Value::Exactly(0)));
        let off = u8::from(!bears_ipv6(name));
        all.insert(Setting::ipv6(name, "disable_ipv6", Value::Exactly(off)));
    }
    all.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "
vrrp_instance A {
    interface eth0
    virtual_router_id 51
    use_vmac
    use_vmac_addr
    virtual_ipaddress {
        192.0.2.10/24
        198.51.100.10/24 dev eth1
    }
    virtual_ipaddress_excluded {
        fd00::10/64
    }
}
vrrp_instance B {
    interface eth0
    virtual_router_id 51
    version 3
    use_vmac lan6 02:00:00:00:00:51 group 3
    vmac_xmit_base
    virtual_ipaddress {
        fe80::10/64
        fd00::11/64
    }
    virtual_ipaddress_excluded {
        192.0.2.12/24
    }
}
vrrp_instance C {
    interface eth0
    virtual_router_id 53
    virtual_ipaddress {
        192.0.2.13/24
        198.51.100.13/24 dev eth1 use_vmac
        198.51.100.14/24 dev eth1
    }
}
";

    #[test]
    fn each_address_is_on_the_interface_with_the_mac_of_its_router_and_family() {
        let read =
            keepone_config::load_text(std::path::Path::new("t.conf"), TEXT, &keepone_config::Environment::default());
        let (config, _) = read.unwrap_or_else(|error| panic!("{error:?}"));
        let links = OwnLinks::of(&config);
        let shown: Vec<_> = links.all().iter().map(|l| (l.name.as_str(), l.base.as_str(), l.kind)).collect();
        let vmac = |family, vrid| OwnKind::Macvlan([0, 0, 0x5e, 0, family, vrid]);
        assert_eq!(
            shown,
            [
                ("vrrp.51", "eth0", vmac(1, 51)),
                ("lan6", "eth0", OwnKind::Macvlan([2, 0, 0, 0, 0, 0x51])),
                ("vrrp1.51", "eth1", vmac(1, 51)),
                ("vrrp6.51", "eth0", vmac(2, 51)),
                ("vrrp.53", "eth1", vmac(1, 53)),
            ]
        );
        let bears = |place, count| (0..count).map(|at| links.bears(place, at)).collect::<Vec<_>>();
        assert_eq!(bears(0, 3), [Some("vrrp.51"), Some("vrrp1.51"), Some("vrrp6.51")]);
        assert_eq!(bears(1, 3), [Some("lan6"), Some("lan6"), None]);
        assert_eq!(bears(2, 3), [None, Some("vrrp.53"), None]);
        let transmits: Vec<_> =
            config.instances.iter().enumerate().map(|(at, instance)| links.transmits(at, instance)).collect();
        assert_eq!(transmits, [Some("vrrp.51"), None, None]);
        assert_eq!(links.all()[1].group, Some(3));
    }
}
