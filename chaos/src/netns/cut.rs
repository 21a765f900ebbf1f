//! Silent loss in the switch: one small eBPF program on the way out of every port drops the frames that
//! a rule names, by who sent them and what they are. No link goes down and nobody is told.

use std::collections::{BTreeMap, BTreeSet};

use keepone_bpf::{Alu, Asm, AsmError, Attach, BpfError, Cond, Insn, Link, Map, MapKind, Place, Program, Reg, Size};
use keepone_bpf::{helper, skb, verdict};

use super::error::Error;
use super::topology::{Host, Kind, Port, Topology};
use crate::fault::{Class, Network};

/// Frames of one class from one machine that may not leave the switch towards another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rule {
    port: u32,
    source: [u8; 6],
    class: Class,
}

const KEY: usize = 16;
const ALL: i32 = 0;
const VRRP: i32 = 1;
const UDP: i32 = 2;
const LONG: i32 = 3;
/// Octets of a frame that is not [`Class::Long`].
const SHORT: i32 = 1000;

impl Rule {
    /// Frames from `from` to `to` on `network`; `None` if one of them is not on it.
    pub fn between(from: &Host, to: &Host, network: Network, class: Class) -> Option<Self> {
        Some(Rule { port: to.port(network)?.index, source: from.port(network)?.mac, class })
    }

    /// The element's key, laid out as the program builds it: port, source, kind, UDP port.
    fn key(self) -> [u8; KEY] {
        let (kind, udp_port) = match self.class {
            Class::All => (ALL, 0),
            Class::Vrrp => (VRRP, 0),
            Class::Udp(port) => (UDP, u32::from(port)),
            Class::Long => (LONG, 0),
        };
        let mut key = [0; KEY];
        let kind = u16::try_from(kind).unwrap_or(0).to_ne_bytes();
        let octets = self.port.to_ne_bytes().into_iter().chain(self.source).chain(kind).chain(udp_port.to_ne_bytes());
        for (to, from) in key.iter_mut().zip(octets) {
            *to = from;
        }
        key
    }
}

/// Where the key begins on the program's stack, and where it puts what it reads of the frame.
const AT: i16 = -16;
const SCRATCH: i16 = -24;

/// An element's value: every such frame is lost.
const LOST: u8 = 1;
/// An element's value: only frames that [`super::weather`] has let through pass.
const WEATHERED: u8 = 2;
/// The mark of frames that have been through the weather.
pub const MARK: u32 = 0x6b65_6570;

/// Drops the frame if the key on the stack is in the map; R6 is the context.
fn drop_if_listed(asm: &mut Asm, map: &Map, drop: keepone_bpf::Label) {
    let on = asm.label();
    asm.map(Reg::R1, map).mov(Reg::R2, Reg::R10).add(Reg::R2, i32::from(AT));
    asm.call(helper::MAP_LOOKUP_ELEM).jump_if(Cond::Eq, Reg::R0, 0, on);
    asm.load(Size::Byte, Reg::R1, Reg::R0, 0).jump_if(Cond::Eq, Reg::R1, i32::from(LOST), drop);
    asm.load(Size::Word, Reg::R1, Reg::R6, skb::MARK).jump_if(Cond::Ne, Reg::R1, MARK as i32, drop);
    asm.bind(on);
}

/// Copies `length` octets of the frame, from the offset in R7, to the stack; passes the frame if it is shorter.
fn read(asm: &mut Asm, to: i16, length: i32, pass: keepone_bpf::Label) {
    asm.mov(Reg::R1, Reg::R6).mov(Reg::R2, Reg::R7).mov(Reg::R3, Reg::R10).add(Reg::R3, i32::from(to));
    asm.mov(Reg::R4, length).call(helper::SKB_LOAD_BYTES).jump_if(Cond::Ne, Reg::R0, 0, pass);
}

fn program(map: &Map) -> Result<Vec<Insn>, AsmError> {
    let mut asm = Asm::new();
    let (pass, drop, udp) = (asm.label(), asm.label(), asm.label());
    let (ipv4, vrrp) = (asm.label(), asm.label());
    asm.mov(Reg::R6, Reg::R1);
    // The key for every class: this port, the frame's source address, the rest zero.
    asm.load(Size::Word, Reg::R2, Reg::R6, skb::IFINDEX).store(Size::Word, Reg::R10, AT, Reg::R2);
    asm.mov(Reg::R7, 6);
    read(&mut asm, AT + 4, 6, pass);
    asm.store(Size::Half, Reg::R10, AT + 10, ALL).store(Size::Word, Reg::R10, AT + 12, 0);
    drop_if_listed(&mut asm, map, drop);

    let short = asm.label();
    asm.load(Size::Word, Reg::R2, Reg::R6, skb::LEN).jump_if(Cond::Le, Reg::R2, SHORT, short);
    asm.store(Size::Half, Reg::R10, AT + 10, LONG);
    drop_if_listed(&mut asm, map, drop);
    asm.bind(short);

    asm.load(Size::Word, Reg::R2, Reg::R6, skb::PROTOCOL);
    asm.jump_if(Cond::Eq, Reg::R2, i32::from(0x0800_u16.to_be()), ipv4);
    asm.jump_if(Cond::Ne, Reg::R2, i32::from(0x86dd_u16.to_be()), pass);
    // RFC 8200: the next header is octet 6; VRRP has no extension header before it.
    asm.mov(Reg::R7, 14 + 6);
    read(&mut asm, SCRATCH, 1, pass);
    asm.load(Size::Byte, Reg::R8, Reg::R10, SCRATCH);
    asm.jump_if(Cond::Eq, Reg::R8, 112, vrrp).jump(pass);
    asm.bind(ipv4);
    // RFC 791: the protocol is octet 9 of the header, whose length in words is in the first one.
    asm.mov(Reg::R7, 14 + 9);
    read(&mut asm, SCRATCH, 1, pass);
    asm.load(Size::Byte, Reg::R8, Reg::R10, SCRATCH);
    asm.jump_if(Cond::Eq, Reg::R8, 17, udp).jump_if(Cond::Ne, Reg::R8, 112, pass);
    asm.bind(vrrp);
    asm.store(Size::Half, Reg::R10, AT + 10, VRRP);
    drop_if_listed(&mut asm, map, drop);
    asm.jump(pass);

    asm.bind(udp);
    asm.mov(Reg::R7, 14);
    read(&mut asm, SCRATCH, 1, pass);
    asm.load(Size::Byte, Reg::R7, Reg::R10, SCRATCH);
    asm.alu(Alu::And, Reg::R7, 15).alu(Alu::Lsh, Reg::R7, 2).add(Reg::R7, 14);
    read(&mut asm, SCRATCH, 4, pass);
    asm.store(Size::Half, Reg::R10, AT + 10, UDP);
    for port in [SCRATCH, SCRATCH + 2] {
        asm.load(Size::Half, Reg::R8, Reg::R10, port).to_be(Reg::R8, 16);
        asm.store(Size::Word, Reg::R10, AT + 12, Reg::R8);
        drop_if_listed(&mut asm, map, drop);
    }
    asm.bind(pass).mov(Reg::R0, verdict::NEXT).exit();
    asm.bind(drop).mov(Reg::R0, verdict::DROP).exit();
    asm.assemble()
}

/// The rules in force, and the programs that apply them.
#[derive(Debug)]
pub struct Cuts {
    map: Map,
    /// They stay attached as long as these are open.
    links: Vec<Link>,
    program: Program,
    dropped: BTreeSet<Rule>,
    weathered: BTreeSet<Rule>,
    paused: BTreeMap<Kind, BTreeSet<Rule>>,
}

impl Cuts {
    /// Puts the program on every port of the switch; no rule yet.
    ///
    /// # Errors
    /// A kernel without tcx (before Linux 6.6), or no permission.
    pub fn new(topology: &Topology) -> Result<Self, Error> {
        let map = Map::create(MapKind::Hash, "chaos_cuts", KEY as u32, 1, 4096)?;
        let program = Program::load("chaos_cut", "Dual MIT/GPL", &program(&map)?)?;
        let links = topology.switch.run(|| {
            let ports = topology.hosts.iter().flat_map(|host| &host.ports);
            let links: Result<Vec<Link>, BpfError> =
                ports.map(|port| Link::attach(&program, port.index, Attach::TcxEgress, Place::First)).collect();
            Ok(links?)
        })?;
        Ok(Cuts { map, links, program, dropped: BTreeSet::new(), weathered: BTreeSet::new(), paused: BTreeMap::new() })
    }

    /// Puts the program on a port that has been made since.
    ///
    /// # Errors
    /// [`Error::Bpf`].
    pub fn attach(&mut self, topology: &Topology, port: &Port) -> Result<(), Error> {
        let program = &self.program;
        let attach = || Ok(Link::attach(program, port.index, Attach::TcxEgress, Place::First)?);
        self.links.push(topology.switch.run(attach)?);
        Ok(())
    }

    /// Brings the map in line with the rules.
    fn apply(&mut self, before: &BTreeMap<Rule, u8>) -> Result<(), Error> {
        let after = self.in_force();
        for (rule, value) in after.iter().filter(|(rule, value)| before.get(rule) != Some(value)) {
            self.map.update(&rule.key(), &[*value])?;
        }
        for rule in before.keys().filter(|rule| !after.contains_key(rule)) {
            self.map.delete(&rule.key())?;
        }
        Ok(())
    }

    fn in_force(&self) -> BTreeMap<Rule, u8> {
        let mut rules: BTreeMap<Rule, u8> = self.weathered.iter().map(|rule| (*rule, WEATHERED)).collect();
        rules.extend(self.dropped.iter().chain(self.paused.values().flatten()).map(|rule| (*rule, LOST)));
        rules
    }

    /// Adds rules.
    ///
    /// # Errors
    /// [`Error::Bpf`].
    pub fn drop(&mut self, rules: impl IntoIterator<Item = Rule>) -> Result<(), Error> {
        let before = self.in_force();
        self.dropped.extend(rules);
        self.apply(&before)
    }

    /// Ends these rules.
    ///
    /// # Errors
    /// [`Error::Bpf`].
    pub fn mend(&mut self, rules: impl IntoIterator<Item = Rule>) -> Result<(), Error> {
        let before = self.in_force();
        for rule in rules {
            self.dropped.remove(&rule);
        }
        self.apply(&before)
    }

    /// From now on only frames with [`MARK`] come through where these rules say.
    ///
    /// # Errors
    /// [`Error::Bpf`].
    pub fn set_weather(&mut self, rules: impl IntoIterator<Item = Rule>) -> Result<(), Error> {
        let before = self.in_force();
        self.weathered.extend(rules);
        self.apply(&before)
    }

    /// Ends every rule but those of machines that stand still.
    ///
    /// # Errors
    /// [`Error::Bpf`].
    pub fn heal(&mut self) -> Result<(), Error> {
        let before = self.in_force();
        self.dropped.clear();
        self.weathered.clear();
        self.apply(&before)
    }

    /// Silences a machine both ways on every network, the oracle's questions included, or ends that.
    ///
    /// # Errors
    /// [`Error::Bpf`].
    pub fn set_paused(&mut self, topology: &Topology, kind: Kind, paused: bool) -> Result<(), Error> {
        let before = self.in_force();
        self.paused.remove(&kind);
        if let (true, Some(own)) = (paused, topology.host(kind)) {
            let rules = self.paused.entry(kind).or_default();
            for other in topology.hosts.iter().filter(|other| other.kind != kind) {
                for port in &own.ports {
                    rules.extend(Rule::between(own, other, port.network, Class::All));
                    rules.extend(Rule::between(other, own, port.network, Class::All));
                }
            }
        }
        self.apply(&before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(source: [u8; 6], protocol: u8, ports: [u8; 4]) -> Vec<u8> {
        let mut frame = vec![0xff; 6];
        frame.extend(source);
        frame.extend([0x08, 0x00, 0x46, 0, 0, 32, 0, 0, 0, 0, 64, protocol, 0, 0]);
        // Six words of header: the ports are found behind the options.
        frame.extend([10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 1]);
        frame.extend(ports);
        frame.extend([0; 16]);
        frame
    }

    #[test]
    fn vrrp_over_ipv6_is_vrrp_too() {
        let map = Map::create(MapKind::Hash, "t", KEY as u32, 1, 8).unwrap();
        let program = Program::load("t", "Dual MIT/GPL", &program(&map).unwrap()).unwrap();
        let source = [2, 0, 0, 0, 1, 11];
        map.update(&Rule { port: 1, source, class: Class::Vrrp }.key(), &[LOST]).unwrap();
        let judge = |next_header: u8| {
            let mut frame = vec![0xff; 6];
            frame.extend(source);
            frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, 20, next_header, 255]);
            frame.resize(80, 0);
            program.test_run(&frame, 1).unwrap().verdict
        };
        assert_eq!((judge(112), judge(58)), (verdict::DROP, verdict::NEXT));
    }

    #[test]
    fn a_path_that_is_narrower_than_it_says_loses_what_is_long() {
        let map = Map::create(MapKind::Hash, "t", KEY as u32, 1, 8).unwrap();
        let program = Program::load("t", "Dual MIT/GPL", &program(&map).unwrap()).unwrap();
        let source = [2, 0, 0, 0, 1, 11];
        map.update(&Rule { port: 1, source, class: Class::Long }.key(), &[LOST]).unwrap();
        let judge = |length: usize| {
            let mut frame = frame(source, 17, [0x1f, 0x0a, 0x23, 0x28]);
            frame.resize(length, 0);
            program.test_run(&frame, 1).unwrap().verdict
        };
        assert_eq!(
            [100, 1000, 1001, 1242].map(judge).map(|verdict| verdict == verdict::DROP),
            [false, false, true, true]
        );
    }

    #[test]
    fn a_rule_drops_its_own_class_from_its_own_source_and_nothing_else() {
        // Run on made-up frames, for which the kernel gives the loopback's index, 1. Needs root.
        let map = Map::create(MapKind::Hash, "t", KEY as u32, 1, 8).unwrap();
        let program = Program::load("t", "Dual MIT/GPL", &program(&map).unwrap()).unwrap();
        let (near, far) = ([2, 0, 0, 0, 1, 11], [2, 0, 0, 0, 1, 12]);
        let verdict = |frame: &[u8]| program.test_run(frame, 1).unwrap().verdict;
        let vrrp = frame(near, 112, [0x31, 51, 150, 1]);
        let udp = frame(near, 17, [0x1f, 0x0a, 0x23, 0x28]);
        let rule = |class| Rule { port: 1, source: near, class };
        for (class, hits_vrrp, hits_udp) in [
            (Class::Vrrp, true, false),
            (Class::Udp(7946), false, true),
            (Class::Udp(9000), false, true),
            (Class::Udp(9001), false, false),
            (Class::All, true, true),
        ] {
            // Made-up frames bear no mark, so weather stops them as a cut does.
            for value in [LOST, WEATHERED] {
                map.update(&rule(class).key(), &[value]).unwrap();
                let wanted = |hit| if hit { verdict::DROP } else { verdict::NEXT };
                assert_eq!(verdict(&vrrp), wanted(hits_vrrp), "{class:?}");
                assert_eq!(verdict(&udp), wanted(hits_udp), "{class:?}");
                assert_eq!(verdict(&frame(far, 112, [0; 4])), verdict::NEXT, "{class:?}");
            }
            map.delete(&rule(class).key()).unwrap();
        }
    }
}
