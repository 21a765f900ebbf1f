//! The two programs of the gate, instruction by instruction.
//!
//! What must stay true: from the deadline on, whatever the agent does, a frame that this node
//! originates and that names a gated address, or that came in for one and would be delivered here,
//! is dropped; everything else passes, but for what came in for an address that nobody here takes packets
//! for (Accept_Mode). An error of a helper in the middle of a judgement drops.
//!
//! Registers: R6 the context, R7 offset of the network header, R8 scratch that survives calls,
//! R9 the deadline. Limits, on purpose: IPv6 extension headers before an NA and Advertisements inside an
//! Authentication Header other than VRRPv2's (IPv4, HMAC-MD5-96) are not looked into (the addresses in the
//! IP header are, always); at most two VLAN tags are skipped.

use keepone_bpf::{Alu, Asm, AsmError, Cond, Insn, Label, Map, Reg, Size, helper, skb, verdict};

use super::slot;

use Reg::{R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10};

/// What a frame on an interface begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Header {
    /// Ethernet: also `lo`.
    Ethernet,
    /// Anything else, such as a tunnel: the kernel says where the network header is.
    Other,
}

/// What the programs look at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Maps<'a> {
    pub(super) deadlines: &'a Map,
    pub(super) vip4: &'a Map,
    pub(super) vip6: &'a Map,
    pub(super) vrid: &'a Map,
}

// Stack, from the frame pointer.
const SCRATCH: i16 = -8;
const KEY: i16 = -24;
const SLOT: i16 = -32;
/// Not 0: the frame bears the MAC of a virtual router whose gate is shut, and only a resignation may pass.
const FROM_SHUT: i16 = -40;
const FIB: i16 = -96;
/// Where the address that was looked up leads: its slot and [`slot::REFUSED`]; 0 if it is no gated one.
const LEAD: i16 = -104;

const FIB_BYTES: i32 = 64;
const FIB_SKIP_NEIGHBOUR: i32 = 1 << 2;
const FIB_NOT_FORWARDED: i32 = 4;
const FIB_FORWARDING_DISABLED: i32 = 5;
const HEADER_START_NET: i32 = 1;

/// The first four bytes of every virtual router's MAC, as they lie in the frame (RFC 9568, 7.3), and the fifth
/// by family: 1 for IPv4, 2 for IPv6. The sixth is the VRID.
const VIRTUAL_MAC: [u8; 4] = [0, 0, 0x5e, 0];
const PACKET_HOST: i32 = 0;

const IPV4: i32 = 0x0800;
const ARP: i32 = 0x0806;
const IPV6: i32 = 0x86dd;
const VLAN: i32 = 0x8100;
const VLAN_SERVICE: i32 = 0x88a8;
const VLAN_ID: i32 = 0x0fff;

/// IP protocol of VRRP, RFC 9568, 5.1.1.4.
const VRRP: i32 = 112;
const VRRP_ADVERTISEMENT: i32 = 1;
/// IP protocol of the Authentication Header, its length field with HMAC-MD5-96, and its octets then. RFC 2402, 2.
const AH: i32 = 51;
const AH_LENGTH: i32 = 4;
const AH_OCTETS: i32 = 24;
const ICMPV6: i32 = 58;
/// RFC 4861, 4.3, 4.4.
const NEIGHBOR_SOLICITATION: i32 = 135;
const NEIGHBOR_ADVERTISEMENT: i32 = 136;

/// The key of [`Maps::vrid`]: the family, 4 or 6, and the VRID, as one native word.
pub(super) fn vrid_key(ipv6: bool, vrid: u8) -> [u8; 4] {
    (u32::from(if ipv6 { 6_u8 } else { 4 }) << 8 | u32::from(vrid)).to_ne_bytes()
}

struct Build<'a> {
    asm: Asm,
    maps: Maps<'a>,
    header: Header,
    /// The frame is none of the gate's business, but for its MAC.
    pass: Label,
    /// It passes whatever its MAC.
    clear: Label,
    drop: Label,
}

impl<'a> Build<'a> {
    fn new(maps: Maps<'a>, header: Header) -> Self {
        let mut asm = Asm::new();
        let (pass, clear, drop) = (asm.label(), asm.label(), asm.label());
        asm.mov(R6, R1).store(Size::Double, R10, FROM_SHUT, 0);
        Build { asm, maps, header, pass, clear, drop }
    }

    fn finish(mut self) -> Result<Vec<Insn>, AsmError> {
        // NEXT, not PASS: the host's other programs have their say too.
        self.asm.bind(self.pass).load(Size::Double, R8, R10, FROM_SHUT).jump_if(Cond::Ne, R8, 0, self.drop);
        self.asm.bind(self.clear).mov(R0, verdict::NEXT).exit();
        self.asm.bind(self.drop).mov(R0, verdict::DROP).exit();
        self.asm.assemble()
    }

    /// Copies bytes of the frame, counted from R7, to the stack; passes a frame that is too short to
    /// have them, since it can't name anything there.
    fn fetch(&mut self, at: i32, len: i32, to: i16) {
        self.asm.mov(R1, R6).mov(R2, R7).add(R2, at).mov(R3, R10).add(R3, i32::from(to)).mov(R4, len);
        match self.header {
            Header::Ethernet => self.asm.call(helper::SKB_LOAD_BYTES),
            Header::Other => self.asm.mov(R5, HEADER_START_NET).call(helper::SKB_LOAD_BYTES_RELATIVE),
        };
        self.asm.jump_if(Cond::Ne, R0, 0, self.pass);
    }

    fn fetch_byte(&mut self, at: i32, into: Reg) {
        self.fetch(at, 1, SCRATCH);
        self.asm.load(Size::Byte, into, R10, SCRATCH);
    }

    fn fetch_half(&mut self, at: i32, into: Reg) {
        self.fetch(at, 2, SCRATCH);
        self.asm.load(Size::Half, into, R10, SCRATCH).to_be(into, 16);
    }

    /// R8 = EtherType, R7 = offset of the network header.
    fn ether_type(&mut self) {
        self.asm.mov(R7, 0);
        if self.header == Header::Other {
            self.asm.load(Size::Word, R8, R6, skb::PROTOCOL).to_be(R8, 16);
            return;
        }
        // Read from the frame: a raw sender may tell the kernel any protocol it likes.
        self.fetch_half(12, R8);
        self.asm.mov(R7, 14);
        for _ in 0..2 {
            let (tagged, untagged) = (self.asm.label(), self.asm.label());
            self.asm.jump_if(Cond::Eq, R8, VLAN, tagged).jump_if(Cond::Ne, R8, VLAN_SERVICE, untagged).bind(tagged);
            self.fetch_half(2, R8);
            self.asm.add(R7, 4).bind(untagged);
        }
    }

    /// Goes on at `open` if the name at `KEY` is no gated one or its gate is open, else falls through.
    fn unless_shut(&mut self, names: &Map, open: Label) {
        self.asm.map(R1, names).mov(R2, R10).add(R2, i32::from(KEY)).call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Cond::Eq, R0, 0, open);
        self.asm.load(Size::Word, R1, R0, 0).store(Size::Word, R10, LEAD, R1);
        self.asm.alu(Alu::And, R1, (!slot::REFUSED).cast_signed()).store(Size::Word, R10, SLOT, R1);
        self.asm.map(R1, self.maps.deadlines).mov(R2, R10).add(R2, i32::from(SLOT)).call(helper::MAP_LOOKUP_ELEM);
        self.asm.jump_if(Cond::Eq, R0, 0, self.drop);
        self.asm.load(Size::Double, R9, R0, 0).call(helper::KTIME_GET_BOOT_NS);
        // Absolute: a write that comes late opens nothing. 0 lies before every instant.
        self.asm.jump_if(Cond::Lt, R0, R9, open);
    }

    /// Drops if what `fetch` of these bytes finds names a shut gate.
    fn drop_if_shut(&mut self, at: i32, len: i32, names: &Map) {
        let open = self.asm.label();
        self.fetch(at, len, KEY);
        self.unless_shut(names, open);
        self.asm.jump(self.drop).bind(open);
    }

    /// R7 behind the IPv4 header that it is at.
    fn skip_ipv4(&mut self) {
        self.fetch_byte(0, R8);
        self.asm.alu(Alu::And, R8, 0x0f).alu(Alu::Lsh, R8, 2).add(R7, R8);
    }

    /// R7 at a VRRP header of the family 4 or 6: drops an Advertisement of a shut gate, unless it resigns.
    fn drop_advertisement(&mut self, family: i32) {
        self.fetch_byte(0, R8);
        self.asm.alu(Alu::And, R8, 0x0f).jump_if(Cond::Ne, R8, VRRP_ADVERTISEMENT, self.pass);
        // Priority 0 says "I no longer am": R8 sends it when the gate is shut already.
        self.fetch_byte(2, R8);
        self.asm.jump_if(Cond::Eq, R8, 0, self.clear);
        self.fetch_byte(1, R8);
        self.asm.alu(Alu::Or, R8, family << 8).store(Size::Word, R10, KEY, R8);
        self.unless_shut(self.maps.vrid, self.pass);
        self.asm.jump(self.drop);
    }

    /// Goes on at `shut` if the MAC at this place of the Ethernet header is a virtual router's whose gate is
    /// shut, else falls through. Too short a frame has none, and passes.
    fn if_virtual_mac_shut(&mut self, at: i32, shut: Label) {
        let (open, family) = (self.asm.label(), self.asm.label());
        self.asm.mov(R7, 0);
        self.fetch(at, 6, FIB);
        self.asm.load(Size::Word, R8, R10, FIB);
        self.asm.jump_if(Cond::Ne, R8, u32::from_ne_bytes(VIRTUAL_MAC).cast_signed(), open);
        self.asm.load(Size::Byte, R8, R10, FIB + 4).mov(R9, 4).jump_if(Cond::Eq, R8, 1, family);
        self.asm.mov(R9, 6).jump_if(Cond::Ne, R8, 2, open);
        self.asm.bind(family).alu(Alu::Lsh, R9, 8).load(Size::Byte, R8, R10, FIB + 5);
        self.asm.alu(Alu::Or, R8, R9).store(Size::Word, R10, KEY, R8);
        self.unless_shut(self.maps.vrid, open);
        self.asm.jump(shut).bind(open);
    }

    /// The destination at KEY, whose gate may be shut: passes what is not for a gated address, and what is for an open
    /// one that packets are taken for.
    fn unless_barred(&mut self, ipv6: bool) {
        let (open, barred) = (self.asm.label(), self.asm.label());
        let (names, pass) = (if ipv6 { self.maps.vip6 } else { self.maps.vip4 }, self.pass);
        self.asm.store(Size::Word, R10, LEAD, 0);
        self.unless_shut(names, open);
        self.asm.jump(barred).bind(open);
        // Shifted down, so that the flag is the lowest bit of a positive number.
        self.asm.load(Size::Word, R8, R10, LEAD).alu(Alu::Rsh, R8, 31).jump_if(Cond::Eq, R8, 0, pass);
        if ipv6 {
            // RFC 9568, 6.4.3: Neighbor Solicitations and Advertisements must not be dropped.
            self.fetch_byte(6, R8);
            self.asm.jump_if(Cond::Ne, R8, ICMPV6, barred);
            self.fetch_byte(40, R8);
            self.asm.jump_if(Cond::Eq, R8, NEIGHBOR_SOLICITATION, pass).jump_if(
                Cond::Eq,
                R8,
                NEIGHBOR_ADVERTISEMENT,
                pass,
            );
        }
        self.asm.bind(barred);
    }

    /// Drops what would be delivered here; passes what is forwarded.
    /// in bytes, 4 or 16, is known from `ipv6`; the addresses lie at R7.
    fn drop_if_local(&mut self, ipv6: bool) {
        for at in (0..FIB_BYTES as i16).step_by(8) {
            self.asm.store(Size::Double, R10, FIB + at, 0);
        }
        let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
        self.asm.store(Size::Byte, R10, FIB, family);
        self.asm.load(Size::Word, R1, R6, skb::IFINDEX).store(Size::Word, R10, FIB + 8, R1);
        let (source, destination, len) = if ipv6 { (8, 24, 16) } else { (12, 16, 4) };
        self.fetch(source, len, FIB + 16);
        self.fetch(destination, len, FIB + 32);
        self.asm.mov(R1, R6).mov(R2, R10).add(R2, i32::from(FIB)).mov(R3, FIB_BYTES).mov(R4, FIB_SKIP_NEIGHBOUR);
        self.asm.call(helper::FIB_LOOKUP);
        // Not forwarded: local, or no route. Forwarding disabled: the lookup does not even ask
        // whether it is local, so it counts as local. An error of the lookup likewise.
        self.asm.jump_if(Cond::SLt, R0, 0, self.drop);
        self.asm.jump_if(Cond::Eq, R0, FIB_NOT_FORWARDED, self.drop);
        self.asm.jump_if(Cond::Eq, R0, FIB_FORWARDING_DISABLED, self.drop);
        self.asm.jump(self.pass);
    }
}

/// Drops what this node originates in the name of a shut gate.
pub(super) fn egress(maps: Maps<'_>, header: Header) -> Result<Vec<Insn>, AsmError> {
    let mut b = Build::new(maps, header);
    let (ipv4, ipv6, advertisement) = (b.asm.label(), b.asm.label(), b.asm.label());
    let (bare, in_header) = (b.asm.label(), b.asm.label());
    // Transit is not holding: what came in over an interface is somebody else's.
    b.asm.load(Size::Word, R8, R6, skb::INGRESS_IFINDEX).jump_if(Cond::Ne, R8, 0, b.clear);
    if header == Header::Ethernet {
        let (noted, other) = (b.asm.label(), b.asm.label());
        b.if_virtual_mac_shut(6, noted);
        b.asm.jump(other).bind(noted).store(Size::Double, R10, FROM_SHUT, 1).bind(other);
    }
    b.ether_type();
    b.asm.jump_if(Cond::Eq, R8, IPV4, ipv4).jump_if(Cond::Eq, R8, IPV6, ipv6).jump_if(Cond::Ne, R8, ARP, b.pass);

    // The sender's protocol address of ARP for IPv4 over Ethernet (RFC 826).
    b.drop_if_shut(14, 4, maps.vip4);
    b.asm.jump(b.pass);

    b.asm.bind(ipv4);
    b.drop_if_shut(12, 4, maps.vip4);
    b.fetch_byte(9, R8);
    b.asm.jump_if(Cond::Eq, R8, VRRP, bare).jump_if(Cond::Ne, R8, AH, b.pass);
    b.skip_ipv4();
    b.fetch_byte(0, R8);
    b.asm.jump_if(Cond::Ne, R8, VRRP, b.pass);
    b.fetch_byte(1, R8);
    b.asm.jump_if(Cond::Ne, R8, AH_LENGTH, b.pass).add(R7, AH_OCTETS).jump(in_header);
    b.asm.bind(bare);
    b.skip_ipv4();
    b.asm.bind(in_header);
    b.drop_advertisement(4);

    b.asm.bind(ipv6);
    b.drop_if_shut(8, 16, maps.vip6);
    b.fetch_byte(6, R8);
    b.asm.jump_if(Cond::Eq, R8, VRRP, advertisement).jump_if(Cond::Ne, R8, ICMPV6, b.pass);
    b.fetch_byte(40, R8);
    b.asm.jump_if(Cond::Ne, R8, NEIGHBOR_ADVERTISEMENT, b.pass);
    b.drop_if_shut(48, 16, maps.vip6);
    b.asm.jump(b.pass);
    b.asm.bind(advertisement).add(R7, 40);
    b.drop_advertisement(6);
    b.finish()
}

/// Drops what would be delivered here for a shut gate, or for an address that nobody here takes packets for. ARP and ND pass: a BACKUP must learn where the
/// holder is, and its own answers end at the egress.
pub(super) fn ingress(maps: Maps<'_>, header: Header) -> Result<Vec<Insn>, AsmError> {
    let mut b = Build::new(maps, header);
    let (ipv6, untagged) = (b.asm.label(), b.asm.label());
    // A tagged frame is judged where it belongs, on its VLAN's interface, whose forwarding may be set
    // otherwise; tag 0 only carries a priority and is delivered here.
    b.asm.load(Size::Word, R8, R6, skb::VLAN_PRESENT).jump_if(Cond::Eq, R8, 0, untagged);
    b.asm.load(Size::Word, R8, R6, skb::VLAN_TCI).alu(Alu::And, R8, VLAN_ID).jump_if(Cond::Ne, R8, 0, b.pass);
    b.asm.bind(untagged);
    if header == Header::Ethernet {
        // To this very interface, so that it would be delivered or routed here, which a BACKUP must not
        // (RFC 9568, 6.4.2). What goes to a macvlan above is judged there.
        let elsewhere = b.asm.label();
        b.asm.load(Size::Word, R8, R6, skb::PKT_TYPE).jump_if(Cond::Ne, R8, PACKET_HOST, elsewhere);
        let drop = b.drop;
        b.if_virtual_mac_shut(0, drop);
        b.asm.bind(elsewhere);
    }
    b.ether_type();
    b.asm.jump_if(Cond::Eq, R8, IPV6, ipv6).jump_if(Cond::Ne, R8, IPV4, b.pass);

    b.fetch(16, 4, KEY);
    b.unless_barred(false);
    b.drop_if_local(false);

    b.asm.bind(ipv6);
    b.fetch(24, 16, KEY);
    b.unless_barred(true);
    b.drop_if_local(true);
    b.finish()
}
