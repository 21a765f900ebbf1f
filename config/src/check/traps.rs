//! What each part allows, and the whole does not bear.

use std::collections::BTreeMap;
use std::net::IpAddr;

use keepone_proto::lease::timing::Millis;
use keepone_proto::settings::Authority;

use crate::diagnostic::Severity;
use crate::model::VrrpInstance;
use crate::source::{At, Place};

use super::Check;

impl Check<'_> {
    pub(super) fn traps(&mut self, authority: Option<&Authority>, instances: &[VrrpInstance]) {
        self.own_addresses();
        self.peerless();
        self.lease_and_adverts(authority, instances);
    }

    /// An address that moves is no address to speak from, or to.
    fn own_addresses(&mut self) {
        let raw = self.raw;
        let mut vips: BTreeMap<IpAddr, &Place> = BTreeMap::new();
        for vip in raw.instances.iter().flat_map(|instance| instance.addresses.iter().chain(&instance.excluded)) {
            vips.entry(vip.value.address).or_insert(&vip.place);
        }
        let of_instances = raw.instances.iter().flat_map(|instance| {
            let sources = [(&instance.unicast_src_ip, "unicast_src_ip"), (&instance.mcast_src_ip, "mcast_src_ip")];
            let sources = sources.into_iter().filter_map(|(at, what)| at.as_ref().map(|at| (at, what)));
            let peers = instance.unicast_peers.iter().flat_map(|peers| &peers.value);
            sources.chain(peers.map(|peer| (peer, "unicast peer")))
        });
        let of_links = raw.links.iter().flat_map(|link| {
            let own = link.address.iter().map(|at| (at, "address of a heartbeat link"));
            own.chain(link.peers.iter().map(|(_, at)| (at, "peer of a heartbeat link")))
        });
        let spoken: Vec<(&At<IpAddr>, &str)> = of_instances.chain(of_links).collect();
        for (at, what) in spoken {
            let Some(vip) = vips.get(&at.value) else { continue };
            let vip = self.report.describe(vip);
            let message = format!("{what} {} is a virtual address, at {vip}", at.value);
            self.report.error(&at.place, message, "write an address that stays with its node");
        }
    }

    fn peerless(&mut self) {
        for instance in &self.raw.instances {
            if instance.options.unicast_fault_no_peer && !instance.written.has("unicast_peer") {
                let message = format!("`{}` has unicast_fault_no_peer, and no unicast_peer", instance.name.value);
                let help = "add `unicast_peer { ADDRESS }`, or remove it: the instance would never leave FAULT";
                self.report.warning(&instance.name.place, message, help);
            }
            let nopreempt = instance.nopreempt.as_ref().is_some_and(|flag| flag.value);
            if let Some(delay) = instance.preempt_delay.as_ref().filter(|at| nopreempt && !at.value.is_zero()) {
                let message = format!("`{}`: preempt_delay with nopreempt, which never preempts", instance.name.value);
                self.report.push(Severity::Note, &delay.place, message, String::from("remove one of them"));
            }
        }
    }

    /// After a crash the address is free when the lease has run out, however fast the Advertisements are.
    fn lease_and_adverts(&mut self, authority: Option<&Authority>, instances: &[VrrpInstance]) {
        let Some(Authority::Quorum(quorum)) = authority else { return };
        let lease = quorum.timing.lease;
        let Some(arbiter) = &self.raw.arbiter else { return };
        let place = arbiter.lease.as_ref().map_or(&arbiter.place, |at| &at.place);
        // RFC 9568, 6.1: Active_Down_Interval.
        let down = |instance: &VrrpInstance| {
            instance.advert_int * u32::from(instance.options.down_timer_adverts)
                + instance.advert_int * u32::from(256 - u16::from(instance.priority.0)) / 256
        };
        let slow = instances.iter().map(|instance| (down(instance), instance)).filter(|(down, _)| *down * 2 < lease);
        if let Some((down, instance)) = slow.min_by_key(|(down, _)| *down) {
            let message = format!(
                "the lease is {}, and `{}` would stand for election after {}: after a crash the lease decides",
                Millis(lease),
                instance.name,
                Millis(down)
            );
            let help = "shorten the lease if takeover is to be as fast as the Advertisements";
            self.report.push(Severity::Note, place, message, String::from(help));
        }
    }
}
