//! The rules of means 2: the same judgement as the programs of means 1, in the words of nf_tables.
//!
//! What must stay true: a frame that this node originates and that names a gated address, or that came in for
//! one and would be delivered here, is dropped while the name is missing from either of the two sets of open
//! names; everything else passes, but for what came in for an address that nobody here takes packets for.
//!
//! Transit can't be told at the egress hook by an interface of origin, which nf_tables does not show there.
//! What a bridge passes on bears a packet type other than "to us"; what is forwarded is given a mark as the last
//! thing at that hook, which is taken off again as it leaves, before any queue discipline sees it. After routing it would be
//! too late: the kernel's own packets may have come in by an interface there (a Neighbor Advertisement by that which it leaves
//! by, what a tunnel carries by the tunnel, what is sent in a VRF by the VRF).
//! Limits, on purpose, as in means 1: IPv6 extension headers before an NA, Advertisements inside an
//! Authentication Header other than VRRPv2's (IPv4, HMAC-MD5-96), more than two VLAN tags.

use super::expression::{Base, Meta, Rule, Verdict};
use super::sets::{COPIES, Kind, REFUSED4, REFUSED6};

use Kind::{Vip4, Vip6, Vrid4, Vrid6};

use Verdict::{Accept, Drop, Goto};

const IPV4: [u8; 2] = [0x08, 0x00];
const ARP: [u8; 2] = [0x08, 0x06];
const IPV6: [u8; 2] = [0x86, 0xdd];
/// 802.1Q and 802.1ad.
const VLAN: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
/// IP protocol of VRRP, RFC 9568, 5.1.1.4.
const VRRP: u8 = 112;
/// IP protocol of the Authentication Header, and how one begins that has VRRP in it with HMAC-MD5-96: the next
/// header, and the length; then it has 24 octets. RFC 2402, 2.
const AH: u8 = 51;
const AH_OF_VRRP: [u8; 2] = [VRRP, 4];
const AH_OCTETS: u32 = 24;
const ICMPV6: u8 = 58;
/// RFC 4861, 4.3, 4.4.
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
/// PACKET_HOST: to us, or made here.
const TO_US: u8 = 0;
/// RTN_LOCAL.
const LOCAL: u32 = 2;
/// All but the last byte of a virtual router's MAC, RFC 9568, 7.3: IPv4, IPv6.
const VIRTUAL_MAC: [([u8; 5], Kind); 2] = [([0, 0, 0x5e, 0, 1], Vrid4), ([0, 0, 0x5e, 0, 2], Vrid6)];

/// Where a hook's chain goes on, by what its interface's frames begin with.
pub(super) const OUT_ETHERNET: &str = "out_ethernet";
/// See [`OUT_ETHERNET`].
pub(super) const OUT_OTHER: &str = "out_other";
/// See [`OUT_ETHERNET`].
pub(super) const IN_ETHERNET: &str = "in_ethernet";
/// See [`OUT_ETHERNET`]: of a VLAN.
pub(super) const IN_VLAN: &str = "in_vlan";
/// See [`OUT_ETHERNET`].
pub(super) const IN_OTHER: &str = "in_other";
/// Of the table that sees what is forwarded.
pub(super) const ROUTED: &str = "routed";

/// Where a network header begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    base: Base,
    at: u32,
}

impl Place {
    const PLAIN: Place = Place { base: Base::Link, at: 14 };
    const TAGGED: Place = Place { base: Base::Link, at: 18 };
    const TWICE: Place = Place { base: Base::Link, at: 22 };
    const BARE: Place = Place { base: Base::Network, at: 0 };

    fn load(self, offset: u32, length: u32) -> Rule {
        Rule::new().load(self.base, self.at + offset, length)
    }

    fn and(self, rule: Rule, offset: u32, length: u32) -> Rule {
        rule.load(self.base, self.at + offset, length)
    }

    fn plus(self, offset: u32) -> Place {
        Place { at: self.at + offset, ..self }
    }

    fn chain(self, what: &str) -> String {
        let base = if self.base == Base::Link { "link" } else { "net" };
        format!("{what}_{base}_{}", self.at)
    }
}

/// Chains with their rules; a chain stands before those that go to it.
#[derive(Debug, Default)]
pub(super) struct Ruleset(pub(super) Vec<(String, Vec<Rule>)>);

impl Ruleset {
    fn chain(&mut self, name: String, rules: Vec<Rule>) -> String {
        if !self.0.iter().any(|(known, _)| *known == name) {
            self.0.push((name.clone(), rules));
        }
        name
    }

    /// An Advertisement's VRRP header at the place: dropped unless its gate is open, or it resigns.
    fn advertisement(&mut self, place: Place, vrids: Kind) -> String {
        let mut rules = vec![place.load(0, 1).mask(&[0x0f]).differs(&[1]).then(Accept)];
        // Priority 0 says "I no longer am": R8 sends it when the gate is shut already.
        let announces = place.load(2, 1).differs(&[0]);
        rules.extend(shut(&place.and(announces, 1, 1), vrids, Drop));
        self.chain(place.chain(&format!("advert_{}", vrids.names())), rules)
    }

    fn out_ipv4(&mut self, place: Place, mark: u32) -> String {
        // The VRRP header stands behind 5 to 15 words, and perhaps an Authentication Header.
        let by_length = (5_u8..=15).map(|words| {
            let chain = self.advertisement(place.plus(u32::from(words) * 4), Vrid4);
            place.load(0, 1).mask(&[0x0f]).equals(&[words]).then(Goto(&chain))
        });
        let by_length = by_length.collect();
        let vrrp = self.chain(place.chain("vrrp4"), by_length);
        let by_length = (5_u8..=15).map(|words| {
            let at = u32::from(words) * 4;
            let chain = self.advertisement(place.plus(at + AH_OCTETS), Vrid4);
            let long = place.load(0, 1).mask(&[0x0f]).equals(&[words]);
            place.and(long, at, 2).equals(&AH_OF_VRRP).then(Goto(&chain))
        });
        let by_length = by_length.collect();
        let ah = self.chain(place.chain("ah4"), by_length);
        let mut rules = vec![routed(mark)];
        rules.extend(shut(&place.load(12, 4), Vip4, Drop));
        rules.push(place.load(9, 1).equals(&[VRRP]).then(Goto(&vrrp)));
        rules.push(place.load(9, 1).equals(&[AH]).then(Goto(&ah)));
        self.chain(place.chain("out4"), rules)
    }

    fn out_ipv6(&mut self, place: Place, mark: u32) -> String {
        let advertisement = self.advertisement(place.plus(40), Vrid6);
        let mut rules = vec![routed(mark)];
        rules.extend(shut(&place.load(8, 16), Vip6, Drop));
        rules.push(place.load(6, 1).equals(&[VRRP]).then(Goto(&advertisement)));
        let announced = place.and(place.load(6, 1).equals(&[ICMPV6]), 40, 1).equals(&[NEIGHBOR_ADVERTISEMENT]);
        rules.extend(shut(&place.and(announced, 48, 16), Vip6, Drop));
        self.chain(place.chain("out6"), rules)
    }

    /// By the EtherType that stands right before the network header.
    fn out_by_type(&mut self, place: Place, mark: u32) -> Vec<Rule> {
        let arp = shut(&place.load(14, 4), Vip4, Drop).to_vec();
        let arp = self.chain(place.chain("out_arp"), arp);
        let ipv4 = self.out_ipv4(place, mark);
        let ipv6 = self.out_ipv6(place, mark);
        [(ARP, arp), (IPV4, ipv4), (IPV6, ipv6)].map(|(kind, chain)| ether_type(place, kind).then(Goto(&chain))).into()
    }

    fn out(&mut self, mark: u32) {
        let mut next = self.out_by_type(Place::TWICE, mark);
        for (place, name) in [(Place::TAGGED, "out_tagged_twice"), (Place::PLAIN, "out_tagged")] {
            let tagged = self.chain(name.into(), next);
            next = self.out_by_type(place, mark);
            next.extend(VLAN.map(|tag| ether_type(place, tag).then(Goto(&tagged))));
        }
        let resignation = self.virtual_mac(mark);
        // Transit is not holding: what a bridge passes on is not "to us".
        let mut rules = vec![Rule::new().meta(Meta::Kind).differs(&[TO_US]).then(Accept)];
        for (mac, vrids) in VIRTUAL_MAC {
            let source = Rule::new().load(Base::Link, 6, 5).equals(&mac).load(Base::Link, 11, 1);
            rules.extend(shut(&source, vrids, Goto(&resignation)));
        }
        rules.extend(next);
        self.chain(OUT_ETHERNET.into(), rules);

        let (ipv4, ipv6) = (self.out_ipv4(Place::BARE, mark), self.out_ipv6(Place::BARE, mark));
        let by_type = |kind: &[u8], chain| Rule::new().meta(Meta::Protocol).equals(kind).then(Goto(chain));
        self.chain(OUT_OTHER.into(), vec![by_type(&IPV4, &ipv4), by_type(&IPV6, &ipv6)]);
    }

    /// From a virtual router's MAC with its gate shut: nothing but a resignation, which then has to pass
    /// the other rules.
    fn virtual_mac(&mut self, mark: u32) -> String {
        let place = Place::PLAIN;
        let (ipv4, ipv6) = (self.out_ipv4(place, mark), self.out_ipv6(place, mark));
        let plain = place.and(ether_type(place, IPV4), 0, 1).equals(&[0x45]);
        let four = place.and(place.and(plain.clone(), 9, 1).equals(&[VRRP]), 22, 1).equals(&[0]).then(Goto(&ipv4));
        let header = place.and(place.and(plain, 9, 1).equals(&[AH]), 20, 2).equals(&AH_OF_VRRP);
        let header = place.and(header, 22 + AH_OCTETS, 1).equals(&[0]).then(Goto(&ipv4));
        let six = place.and(ether_type(place, IPV6), 6, 1).equals(&[VRRP]);
        let six = place.and(six, 42, 1).equals(&[0]).then(Goto(&ipv6));
        self.chain("out_virtual_mac".into(), vec![four, header, six, Rule::new().then(Drop)])
    }

    fn in_by_family(&mut self, place: Place) -> [String; 2] {
        let local = |here| Rule::new().destination_type(here).equals(&LOCAL.to_ne_bytes()).then(Drop);
        let deliver = self.chain("in_if_local".into(), vec![local(false), local(true)]);
        let refused = |at, length, set| place.load(at, length).within(set).then(Goto(&deliver));
        let mut four = shut(&place.load(16, 4), Vip4, Goto(&deliver)).to_vec();
        four.push(refused(16, 4, REFUSED4));
        let mut six = shut(&place.load(24, 16), Vip6, Goto(&deliver)).to_vec();
        // RFC 9568, 6.4.3: Neighbor Solicitations and Advertisements must not be dropped.
        let neighbor = |kind| place.and(place.load(6, 1).equals(&[ICMPV6]), 40, 1).equals(&[kind]).then(Accept);
        six.extend([NEIGHBOR_SOLICITATION, NEIGHBOR_ADVERTISEMENT].map(neighbor));
        six.push(refused(24, 16, REFUSED6));
        [self.chain(place.chain("in4"), four), self.chain(place.chain("in6"), six)]
    }

    /// ARP and ND pass: a BACKUP must learn where the holder is, and its own answers end at the egress.
    fn incoming(&mut self) {
        let by_type = |rules: &mut Ruleset, place| {
            let [four, six] = rules.in_by_family(place);
            vec![ether_type(place, IPV4).then(Goto(&four)), ether_type(place, IPV6).then(Goto(&six))]
        };
        // A tagged frame is judged where it belongs, on its VLAN's interface; tag 0 only carries a priority.
        let inner = by_type(self, Place::TAGGED);
        let priority = self.chain("in_priority_tag".into(), inner);
        let mut rules = Vec::new();
        for (mac, vrids) in VIRTUAL_MAC {
            // To this very interface, so it would be delivered or routed here (RFC 9568, 6.4.2).
            let to_us = Rule::new().meta(Meta::Kind).equals(&[TO_US]).load(Base::Link, 0, 5).equals(&mac);
            rules.extend(shut(&to_us.load(Base::Link, 5, 1), vrids, Drop));
        }
        let mut of_vlan = rules.clone();
        rules.extend(by_type(self, Place::PLAIN));
        rules.extend(VLAN.map(|tag| {
            let tagged = ether_type(Place::PLAIN, tag).load(Base::Link, 14, 2).mask(&[0x0f, 0xff]).equals(&[0, 0]);
            tagged.then(Goto(&priority))
        }));
        self.chain(IN_ETHERNET.into(), rules);

        let [four, six] = self.in_by_family(Place::BARE);
        let by_type = |kind: &[u8], chain| Rule::new().meta(Meta::Protocol).equals(kind).then(Goto(chain));
        let bare = [by_type(&IPV4, &four), by_type(&IPV6, &six)];
        // Where the tag stays in the frame, its length is not known; where the network header is, the kernel says.
        of_vlan.extend(bare.iter().cloned());
        self.chain(IN_VLAN.into(), of_vlan);
        self.chain(IN_OTHER.into(), bare.into());
    }
}

/// Two rules, since either set of open names alone shuts.
fn shut(loaded: &Rule, kind: Kind, verdict: Verdict<'_>) -> [Rule; 2] {
    COPIES.map(|copy| loaded.clone().shut_in(kind.names(), kind.open(copy)).then(verdict))
}

fn ether_type(place: Place, kind: [u8; 2]) -> Rule {
    Rule::new().load(Base::Link, place.at - 2, 2).equals(&kind)
}

/// Passes what [`forwarded`] marked, and takes the mark off.
fn routed(mark: u32) -> Rule {
    Rule::new().meta(Meta::Mark).equals(&mark.to_ne_bytes()).set_mark(0).then(Accept)
}

/// Of the netdev table.
pub(super) fn frames(mark: u32) -> Ruleset {
    let mut rules = Ruleset::default();
    rules.out(mark);
    rules.incoming();
    rules
}

/// Of the inet table, as the last thing of what is forwarded: marks what bears a gated source.
pub(super) fn forwarded(mark: u32) -> Vec<Rule> {
    /// NFPROTO_IPV4, NFPROTO_IPV6.
    const FAMILIES: [(u8, u32, u32, Kind); 2] = [(2, 12, 4, Vip4), (10, 8, 16, Vip6)];
    let rule = |(family, offset, length, names): (u8, u32, u32, Kind)| {
        let of_family = Rule::new().meta(Meta::Family).equals(&[family]);
        of_family.load(Base::Network, offset, length).within(names.names()).set_mark(mark)
    };
    FAMILIES.map(rule).into()
}
