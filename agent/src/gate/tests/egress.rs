//! What leaves: raw frames in every form that can name the VIP.

use std::io::{Read, Write};

use super::world::{Raw, mac};
use super::*;

/// Ethernet frame.
fn ether(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = [mac(9, 2), mac(9, 1)].concat();
    frame.extend(ether_type.to_be_bytes());
    frame.extend(payload);
    frame.resize(frame.len().max(60), 0);
    frame
}

fn arp(operation: u16, sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut payload = vec![0, 1, 8, 0, 6, 4];
    payload.extend(operation.to_be_bytes());
    payload.extend(mac(9, 1));
    payload.extend(sender);
    payload.extend([0; 6]);
    payload.extend(target);
    payload
}

/// IPv4 with as many words of options as asked.
fn ipv4(protocol: u8, source: [u8; 4], options: u8, payload: &[u8]) -> Vec<u8> {
    let header = 20 + 4 * options;
    let mut packet = vec![0x40 | (header / 4), 0, 0, header + payload.len() as u8, 0, 0, 0, 0, 255, protocol, 0, 0];
    packet.extend(source);
    packet.extend([224, 0, 0, 18]);
    packet.resize(header.into(), 1);
    packet.extend(payload);
    packet
}

fn ipv6(next: u8, source: [u8; 16], payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, payload.len() as u8, next, 255];
    packet.extend(source);
    packet.extend("ff02::12".parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(payload);
    packet
}

/// Neighbor Advertisement or Solicitation.
fn nd(kind: u8, target: [u8; 16]) -> Vec<u8> {
    [&[kind, 0, 0, 0, 0x20, 0, 0, 0], target.as_slice()].concat()
}

/// An Advertisement.
fn vrrp(version_type: u8, vrid: u8, priority: u8) -> [u8; 8] {
    [version_type, vrid, priority, 0, 0, 100, 0, 0]
}

/// The same in an Authentication Header of this length.
fn ah(length: u8, vrrp: [u8; 8]) -> Vec<u8> {
    let mut packet = vec![112, length, 0, 0, 10, 9, 0, 1, 0, 0, 0, 7];
    packet.extend([0xa5; 12]);
    packet.extend(vrrp);
    packet
}

/// The same, signed: with a trailer (`auth_hmac`).
fn signed(vrrp: [u8; 8]) -> Vec<u8> {
    let mut packet = vrrp.to_vec();
    packet.extend([1, 7, 0, 0, 0x6b, 8, 0x2e, 0xfe, 0x74, 0x99, 0, 0]);
    packet.extend([0xa5; 16]);
    packet
}

const OWN4: [u8; 4] = [10, 9, 0, 1];
const OWN6: [u8; 16] = [0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// Every row: what it is, the frame, and whether a shut gate lets it pass.
fn matrix() -> Vec<(&'static str, Vec<u8>, bool)> {
    let (vip4, vip6) = (VIP4.octets(), VIP6.octets());
    let untagged: Vec<(&str, u16, Vec<u8>, bool)> = vec![
        ("ARP reply of the VIP", 0x0806, arp(2, vip4, OWN4), false),
        ("gratuitous ARP request of the VIP", 0x0806, arp(1, vip4, vip4), false),
        ("ARP request for the VIP by a BACKUP", 0x0806, arp(1, OWN4, vip4), true),
        ("ARP probe for the VIP (RFC 5227)", 0x0806, arp(1, [0; 4], vip4), true),
        ("ARP of the node itself", 0x0806, arp(2, OWN4, OWN4), true),
        ("IPv4 from the VIP", 0x0800, ipv4(17, vip4, 0, &[0; 8]), false),
        ("IPv4 from the VIP with options", 0x0800, ipv4(17, vip4, 3, &[0; 8]), false),
        ("IPv4 from the node", 0x0800, ipv4(17, OWN4, 0, &[0; 8]), true),
        ("Advertisement v2", 0x0800, ipv4(112, OWN4, 0, &vrrp(0x21, VRID, 100)), false),
        ("Advertisement v3", 0x0800, ipv4(112, OWN4, 0, &vrrp(0x31, VRID, 1)), false),
        ("Advertisement behind IP options", 0x0800, ipv4(112, OWN4, 2, &vrrp(0x31, VRID, 255)), false),
        ("resignation", 0x0800, ipv4(112, OWN4, 0, &vrrp(0x31, VRID, 0)), true),
        ("resignation from the VIP itself", 0x0800, ipv4(112, vip4, 0, &vrrp(0x31, VRID, 0)), false),
        ("Advertisement of a foreign VRID", 0x0800, ipv4(112, OWN4, 0, &vrrp(0x31, 52, 100)), true),
        ("Advertisement in an AH", 0x0800, ipv4(51, OWN4, 0, &ah(4, vrrp(0x21, VRID, 100))), false),
        ("Advertisement in an AH behind IP options", 0x0800, ipv4(51, OWN4, 9, &ah(4, vrrp(0x21, VRID, 1))), false),
        ("resignation in an AH", 0x0800, ipv4(51, OWN4, 0, &ah(4, vrrp(0x21, VRID, 0))), true),
        ("Advertisement of a foreign VRID in an AH", 0x0800, ipv4(51, OWN4, 0, &ah(4, vrrp(0x21, 52, 100))), true),
        ("AH of another algorithm", 0x0800, ipv4(51, OWN4, 0, &ah(6, vrrp(0x21, VRID, 100))), true),
        ("signed Advertisement v2", 0x0800, ipv4(112, OWN4, 0, &signed(vrrp(0x21, VRID, 100))), false),
        ("signed Advertisement v3", 0x0800, ipv4(112, OWN4, 0, &signed(vrrp(0x31, VRID, 1))), false),
        ("signed resignation", 0x0800, ipv4(112, OWN4, 0, &signed(vrrp(0x31, VRID, 0))), true),
        ("signed Advertisement of a foreign VRID", 0x0800, ipv4(112, OWN4, 0, &signed(vrrp(0x31, 52, 1))), true),
        ("signed IPv6 Advertisement", 0x86dd, ipv6(112, OWN6, &signed(vrrp(0x31, VRID, 100))), false),
        ("signed IPv6 resignation", 0x86dd, ipv6(112, OWN6, &signed(vrrp(0x31, VRID, 0))), true),
        ("IPv6 from the VIP", 0x86dd, ipv6(17, vip6, &[0; 8]), false),
        ("IPv6 from the node", 0x86dd, ipv6(17, OWN6, &[0; 8]), true),
        ("unsolicited NA for the VIP", 0x86dd, ipv6(58, OWN6, &nd(136, vip6)), false),
        ("NA for the node", 0x86dd, ipv6(58, OWN6, &nd(136, OWN6)), true),
        ("NS for the VIP", 0x86dd, ipv6(58, OWN6, &nd(135, vip6)), true),
        ("IPv6 Advertisement", 0x86dd, ipv6(112, OWN6, &vrrp(0x31, VRID, 100)), false),
        ("IPv6 resignation", 0x86dd, ipv6(112, OWN6, &vrrp(0x31, VRID, 0)), true),
        ("something else", 0x88b5, vip4.repeat(12), true),
    ];
    let tag = |ether_type: u16, payload: &[u8]| [&[0, 7], &ether_type.to_be_bytes()[..], payload].concat();
    let mut rows = Vec::new();
    for (name, ether_type, payload, passes) in untagged {
        rows.push((name, ether(ether_type, &payload), passes));
        let once = tag(ether_type, &payload);
        rows.push((name, ether(0x8100, &once), passes));
        rows.push((name, ether(0x88a8, &tag(0x8100, &once)), passes));
    }
    rows
}

fn a_shut_gate_stops_every_frame_that_names_the_vip_and_no_other(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, means, 1);
    let raw = Raw::new(&host, "v0");
    for (name, frame, passes) in matrix() {
        assert_eq!(raw.passes(&frame), passes, "shut: {name}, EtherType {:02x?}", &frame[12..14]);
    }
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    for (name, frame, _) in matrix() {
        assert!(raw.passes(&frame), "open: {name}");
    }
    gate.shut(D, epoch(1)).unwrap();
    for (name, frame, passes) in matrix() {
        assert_eq!(raw.passes(&frame), passes, "shut again: {name}");
    }
}

/// From the virtual router's own MAC nothing leaves while shut, whatever it says: a switch would learn it here.
fn a_shut_gate_stops_what_bears_its_virtual_mac(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, means, 1);
    let raw = Raw::new(&host, "v0");
    let from = |family: u8, vrid: u8, mut frame: Vec<u8>| {
        frame[6..12].copy_from_slice(&[0, 0, 0x5e, 0, family, vrid]);
        frame
    };
    let own4 = || ether(0x0800, &ipv4(17, OWN4, 0, &[0; 8]));
    let own6 = || ether(0x86dd, &ipv6(17, OWN6, &[0; 8]));
    let rows: Vec<(&str, Vec<u8>, bool)> = vec![
        ("ARP of the node itself", from(1, VRID, ether(0x0806, &arp(2, OWN4, OWN4))), false),
        ("IPv4 from the node", from(1, VRID, own4()), false),
        ("IPv6 from the node", from(2, VRID, own6()), false),
        ("something that is no IP", from(1, VRID, ether(0x88b5, &[0; 20])), false),
        ("Advertisement", from(1, VRID, ether(0x0800, &ipv4(112, OWN4, 0, &vrrp(0x31, VRID, 100)))), false),
        ("resignation", from(1, VRID, ether(0x0800, &ipv4(112, OWN4, 0, &vrrp(0x31, VRID, 0)))), true),
        ("resignation, IPv6", from(2, VRID, ether(0x86dd, &ipv6(112, OWN6, &vrrp(0x31, VRID, 0)))), true),
        ("in an AH", from(1, VRID, ether(0x0800, &ipv4(51, OWN4, 0, &ah(4, vrrp(0x21, VRID, 9))))), false),
        ("resignation in an AH", from(1, VRID, ether(0x0800, &ipv4(51, OWN4, 0, &ah(4, vrrp(0x21, VRID, 0))))), true),
        ("IPv4 of another virtual router", from(1, VRID + 1, own4()), true),
        ("neither family", from(3, VRID, own4()), true),
    ];
    for (name, frame, passes) in &rows {
        assert_eq!(raw.passes(frame), *passes, "shut: {name}");
    }
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    for (name, frame, _) in &rows {
        assert!(raw.passes(frame), "open: {name}");
    }
}

fn one_domain_open_leaves_the_other_shut(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, means, 1);
    gate.open(OTHER, epoch(1), in_future(60_000)).unwrap();
    let raw = Raw::new(&host, "v0");
    assert!(!raw.passes(&ether(0x0806, &arp(2, VIP4.octets(), OWN4))));
    assert!(raw.passes(&ether(0x0806, &arp(2, [10, 9, 0, 101], OWN4))));
}

fn a_frame_cut_short_before_the_name_passes_and_harms_nobody(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let _gate = gate(&host, means, 1);
    let raw = Raw::new(&host, "v0");
    let whole = ether(0x0800, &ipv4(17, VIP4.octets(), 0, &[0; 8]));
    for len in [14, 20, 29] {
        assert!(raw.passes(&whole[..len]), "{len} bytes");
    }
    assert!(!raw.passes(&whole[..30]), "the source address is there");
}

fn one_vrid_in_two_families_is_two_routers_each_behind_the_gate_of_its_domain(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut config = config(&host, means, 1);
    config.domains[0].routers = vec![(Vrid::new(VRID).unwrap(), true)];
    config.domains[1].routers = vec![(Vrid::new(VRID).unwrap(), false)];
    let mut gate = gate_of(&host, config);
    assert!(gate.warnings().is_empty(), "{:?}", gate.warnings());
    let raw = Raw::new(&host, "v0");
    let four = ether(0x0800, &ipv4(112, OWN4, 0, &vrrp(0x31, VRID, 100)));
    let six = ether(0x86dd, &ipv6(112, OWN6, &vrrp(0x31, VRID, 100)));
    let passes = || [raw.passes(&four), raw.passes(&six)];
    assert_eq!(passes(), [false, false]);
    gate.open(OTHER, epoch(1), in_future(60_000)).unwrap();
    assert_eq!(passes(), [false, true]);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert_eq!(passes(), [true, true]);
    gate.shut(OTHER, epoch(1)).unwrap();
    assert_eq!(passes(), [true, false]);
}

fn lo_is_gated_as_well_whether_the_host_forwards_or_not(means: Means) {
    for forwarding in ["0", "1"] {
        let host = Host::new();
        host.sysctl("ipv4/ip_forward", forwarding);
        host.ip("addr add 10.9.0.100/32 dev lo");
        let mut gate = gate(&host, means, 1);
        let (client, server) = (host.udp("127.0.0.1:0"), host.udp("0.0.0.0:7000"));
        assert!(world::reaches(&client, "127.0.0.1:7000", &server), "lo itself works");
        assert!(!world::reaches(&client, "10.9.0.100:7000", &server), "towards the VIP: ingress");
        let as_vip = host.udp("10.9.0.100:0");
        assert!(!world::reaches(&as_vip, "127.0.0.1:7000", &server), "from the VIP: egress");
        gate.open(D, epoch(1), in_future(60_000)).unwrap();
        assert!(world::reaches(&client, "10.9.0.100:7000", &server));
        assert!(world::reaches(&as_vip, "127.0.0.1:7000", &server));
    }
}

fn a_tunnel_without_a_link_header_is_gated(means: Means) {
    let host = Host::new();
    let far_end = world::tun(&host, "t0");
    host.ip("link set t0 up");
    host.ip("addr add 10.8.0.1/24 dev t0");
    host.ip("addr add 10.9.0.100/32 dev t0");
    let mut gate = gate(&host, means, 1);
    let here = host.udp("0.0.0.0:7000");
    let peer = [10, 8, 0, 2];
    let to_vip = world::udp_packet(peer, VIP4.octets(), 7000);
    let arrives = |packet: &[u8]| {
        (&far_end).write_all(packet).unwrap();
        here.recv_from(&mut [0; 16]).is_ok()
    };
    assert!(arrives(&world::udp_packet(peer, [10, 8, 0, 1], 7000)), "the tunnel works");
    assert!(!arrives(&to_vip), "ingress");
    let mut leave = far_end.try_clone().unwrap();
    // UDP is not told of the drop, so ask the far end. The kernel's own packets may come in between.
    let mut leaves = |socket: &std::net::UdpSocket| {
        socket.send_to(b"leaving", "10.8.0.2:7000").unwrap();
        let mut buffer = [0; 2000];
        std::iter::from_fn(|| leave.read(&mut buffer).ok().map(|len| buffer[..len].ends_with(b"leaving")))
            .any(|ours| ours)
    };
    let (from_own, from_vip) = (host.udp("10.8.0.1:0"), host.udp("10.9.0.100:0"));
    assert!(leaves(&from_own), "the tunnel works");
    assert!(!leaves(&from_vip), "egress");
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(arrives(&to_vip));
    assert!(leaves(&from_vip));
    host.run(move || gate.self_test().unwrap());
}

/// The egress rules once more, in Rust and from the other side: whether a frame from this node names
/// the VIP's domain in a way that a shut gate must stop.
fn names_the_vip(frame: &[u8]) -> bool {
    fn bytes<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
        frame.get(at..at + N)?.try_into().ok()
    }
    fn rules(frame: &[u8]) -> Option<bool> {
        let gated4 =
            |at| bytes::<4>(frame, at).map(|a| a == VIP4.octets() || a == [10, 9, 0, 101] || a == [192, 0, 0, 8]);
        let gated6 = |at| bytes::<16>(frame, at).map(|a| a == VIP6.octets());
        let advertisement = |at| {
            let [version_type, vrid, priority] = bytes::<3>(frame, at)?;
            Some(version_type & 0x0f == 1 && vrid == VRID && priority != 0)
        };
        let mut at = 14;
        let mut ether_type = bytes::<2>(frame, 12)?;
        for _ in 0..2 {
            if [[0x81, 0], [0x88, 0xa8]].contains(&ether_type) {
                ether_type = bytes::<2>(frame, at + 2)?;
                at += 4;
            }
        }
        match ether_type {
            [8, 6] => gated4(at + 14),
            [8, 0] if gated4(at + 12)? => Some(true),
            [8, 0] if frame.get(at + 9)? == &112 => advertisement(at + usize::from(frame.get(at)? & 0x0f) * 4),
            [8, 0] if frame.get(at + 9)? == &51 => {
                let at = at + usize::from(frame.get(at)? & 0x0f) * 4;
                if bytes::<2>(frame, at)? == [112, 4] { advertisement(at + 24) } else { Some(false) }
            }
            [0x86, 0xdd] if gated6(at + 8)? => Some(true),
            [0x86, 0xdd] => match frame.get(at + 6)? {
                112 => advertisement(at + 40),
                58 if frame.get(at + 40)? == &136 => gated6(at + 48),
                _ => Some(false),
            },
            _ => Some(false),
        }
    }
    rules(frame).unwrap_or(false)
}

/// The next of a sequence that is the same in each run, below a bound.
fn numbers() -> impl FnMut(usize) -> usize {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    move |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below as u64) as usize
    }
}

/// One of the matrix, with some bytes changed and perhaps cut short.
fn mangled(frames: &[(&str, Vec<u8>, bool)], random: &mut impl FnMut(usize) -> usize) -> Vec<u8> {
    let mut frame = frames[random(frames.len())].1.clone();
    for _ in 0..random(3) {
        let at = random(frame.len());
        frame[at] = if random(2) == 0 { frame[at] ^ (1 << random(8)) } else { random(256) as u8 };
    }
    if random(4) == 0 {
        frame.truncate(14 + random(frame.len() - 14));
    }
    frame
}

fn mangled_frames_are_judged_on_the_way_out_as_the_rules_say(means: Means) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let _gate = gate(&host, means, 1);
    let raw = Raw::new(&host, "v0");
    let (frames, mut random, mut dropped) = (matrix(), numbers(), 0);
    for _ in 0..20_000 {
        let frame = mangled(&frames, &mut random);
        let stopped = !raw.passes(&frame);
        assert_eq!(stopped, names_the_vip(&frame), "{frame:02x?}");
        dropped += u32::from(stopped);
    }
    assert!(dropped > 3_000, "{dropped}");
}

#[test]
fn the_program_judges_mangled_frames_as_the_rules_say() {
    let host = Host::new();
    let gate = gate(&host, Means::Bpf, 1);
    let keeper = gate.keeper().expect("means 1 was asked for");
    let kept = keeper.lock();
    let Kept::Bpf(bpf) = &*kept else { panic!("means 1 was asked for") };
    let egress = bpf.programs().1;
    let (frames, mut random) = (matrix(), numbers());
    let (mut judged, mut dropped) = (0, 0);
    for _ in 0..30_000 {
        let frame = mangled(&frames, &mut random);
        // The kernel refuses to run on some frames that are too short for their EtherType.
        let Ok(run) = egress.test_run(&frame, 1) else { continue };
        let stopped = run.verdict == keepone_bpf::verdict::DROP;
        assert_eq!(stopped, names_the_vip(&frame), "{frame:02x?}");
        judged += 1;
        dropped += u32::from(stopped);
    }
    println!("{judged} frames judged, {dropped} of them dropped");
    assert!(judged > 15_000 && dropped > 3_000);
}

#[test]
fn the_cost_of_a_packet_is_small() {
    let host = Host::new();
    let mut gate = gate(&host, Means::Bpf, 1);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    let keeper = gate.keeper().expect("means 1 was asked for");
    let kept = keeper.lock();
    let Kept::Bpf(bpf) = &*kept else { panic!("means 1 was asked for") };
    let (ingress, egress) = bpf.programs();
    let mut to_vip = ether(0x0800, &ipv4(17, OWN4, 0, &[0; 8]));
    to_vip[30..34].copy_from_slice(&VIP4.octets());
    for (name, program, frame) in [
        ("egress, other address", egress, ether(0x0800, &ipv4(17, OWN4, 0, &[0; 8]))),
        ("egress, VIP, open", egress, ether(0x0800, &ipv4(17, VIP4.octets(), 0, &[0; 8]))),
        ("ingress, other address", ingress, ether(0x0800, &ipv4(17, OWN4, 0, &[0; 8]))),
        ("ingress, VIP, open", ingress, to_vip.clone()),
        ("ingress, IPv6", ingress, ether(0x86dd, &ipv6(17, OWN6, &[0; 8]))),
    ] {
        let run = program.test_run(&frame, 200_000).unwrap();
        println!("{name}: {:?} a packet", run.duration);
        assert_eq!(run.verdict, keepone_bpf::verdict::NEXT, "{name}");
        assert!(run.duration < Duration::from_micros(20), "{name}: {:?}", run.duration);
    }
    gate.shut(D, epoch(1)).unwrap();
    let run = bpf.programs().0.test_run(&to_vip, 1).unwrap();
    assert_eq!(run.verdict, keepone_bpf::verdict::DROP, "shut, and no route but here");
}

by_both_means!(
    a_shut_gate_stops_what_bears_its_virtual_mac,
    mangled_frames_are_judged_on_the_way_out_as_the_rules_say,
    a_shut_gate_stops_every_frame_that_names_the_vip_and_no_other,
    one_domain_open_leaves_the_other_shut,
    a_frame_cut_short_before_the_name_passes_and_harms_nobody,
    lo_is_gated_as_well_whether_the_host_forwards_or_not,
    a_tunnel_without_a_link_header_is_gated,
    one_vrid_in_two_families_is_two_routers_each_behind_the_gate_of_its_domain,
);
