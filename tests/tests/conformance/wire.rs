//! What needs real packets: two routers and a client on a LAN, recorded and read by tshark. The better router starts,
//! then the worse one; a damaged packet comes; the better one ends, and the worse one takes over.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::panic::catch_unwind;
use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::dissect::{Frame, Recorder, dissect};
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::observe::Watch;
use keepone_tests::{Error, binary};
use nix::sys::signal::Signal;
use socket2::{Domain, Protocol, Socket, Type};

const MACS: [&str; 2] = ["02:00:00:00:01:0b", "02:00:00:00:01:0c"];
/// Where the client's probes go, the routers' own addresses and the group's.
const ROUTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 11), Ipv4Addr::new(192, 0, 2, 12)];
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
const LINK_LOCAL: &str = "fe80::5e:1";

/// How the two speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    Version2,
    Version3,
    Ipv6,
}

/// What was seen of them.
struct Recording {
    speech: Speech,
    /// From the start to the end of the better router, whose last Advertisement is the last frame.
    frames: Vec<Frame>,
    /// All later ones.
    after: Vec<Frame>,
    /// Who answered the client while the better router was Master, by node.
    answered: [bool; 2],
    /// Whether the Backup answered when the client sent to the virtual address at the Backup's hardware address.
    backup_answered: bool,
    /// What the better router said.
    said: String,
}

/// The first test that asks makes it; where that fails, all fail.
fn recording(speech: Speech) -> &'static Recording {
    static RECORDINGS: [OnceLock<Option<Recording>>; 3] = [const { OnceLock::new() }; 3];
    let place = match speech {
        Speech::Version2 => 0,
        Speech::Version3 => 1,
        Speech::Ipv6 => 2,
    };
    let made = RECORDINGS[place].get_or_init(|| catch_unwind(|| record(speech)).ok());
    made.as_ref().unwrap_or_else(|| panic!("{speech:?} could not be recorded: another test says why"))
}

fn version_2() -> &'static Recording {
    recording(Speech::Version2)
}

fn version_3() -> &'static Recording {
    recording(Speech::Version3)
}

fn ipv6() -> &'static Recording {
    recording(Speech::Ipv6)
}

fn configuration(speech: Speech, priority: u8) -> String {
    // The link-local address last, so that its place in the packet is the router's doing.
    let (version, addresses) = match speech {
        Speech::Version2 => (2, format!("{VIP}/24")),
        Speech::Version3 => (3, format!("{VIP}/24")),
        Speech::Ipv6 => (3, format!("{VIP6}/64\n{LINK_LOCAL}/64")),
    };
    format!(
        "vrrp_instance VI_1 {{\ninterface {INTERFACE}\nvirtual_router_id 51\nversion {version}\npriority {priority}\n\
         advert_int 1\nv3_checksum_as_v2\nvirtual_ipaddress {{\n{addresses}\n}}\n}}\n"
    )
}

/// An Advertisement of the highest priority, from the client, with a checksum of zero.
fn send_damaged(lan: &Lan, speech: Speech) {
    let version = if speech == Speech::Version2 { 0x21 } else { 0x31 };
    let packet = [version, 51, 254, 1, 0, 100, 0, 0, 192, 0, 2, 100, 0, 0, 0, 0, 0, 0, 0, 0];
    let packet = if speech == Speech::Version2 { &packet[..] } else { &packet[..12] };
    let send = || -> Result<(), Error> {
        let fail = || io_error("send a damaged packet");
        let socket = Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(112))).map_err(fail())?;
        socket.bind_device(Some(INTERFACE.as_bytes())).map_err(fail())?;
        socket.set_multicast_ttl_v4(255).map_err(fail())?;
        socket.send_to(packet, &SocketAddr::from((GROUP, 0)).into()).map_err(fail())?;
        Ok(())
    };
    lan.host(Kind::Client(0)).namespace.run(send).unwrap();
}

fn neighbour(lan: &Lan, words: &str) {
    let run = || {
        let status = Command::new("ip").args(words.split(' ')).status().map_err(io_error("run ip"))?;
        assert!(status.success(), "ip {words}");
        Ok(())
    };
    lan.host(Kind::Client(0)).namespace.run(run).unwrap();
}

fn record(speech: Speech) -> Recording {
    let lan = Lan::with_witnesses(0, 0).unwrap();
    let vip: IpAddr = if speech == Speech::Ipv6 { VIP6.into() } else { VIP.into() };
    if speech == Speech::Ipv6 {
        lan.add_ipv6().unwrap();
        for node in 0..2 {
            lan.node(node).namespace.set_parameters(&[("ipv6/conf/all/forwarding", "1")]).unwrap();
        }
    }
    let recorder = Recorder::start(&lan, Kind::Client(0)).unwrap();
    let watch = Watch::start(&lan, vip).unwrap();
    let start = |node: usize, priority| {
        let file = lan.write(&format!("{node}.conf"), &configuration(speech, priority)).unwrap();
        let keepone = binary::find("keepone").display().to_string();
        lan.start(node, &[&keepone, "run", "-c", &file.display().to_string()]).unwrap()
    };
    let mut better = start(0, 150);
    let said = |program: &keepone_tests::program::Program| format!("{speech:?}: {}", program.said());
    assert!(watch.alone(0, Duration::from_secs(10)).is_some(), "no Master: {}", said(&better));
    let mut worse = start(1, 100);
    // Longer than its Master_Down_Interval, so that it would have taken over if it were deaf.
    let begin = clock::now();
    thread::sleep(Duration::from_secs(5));
    assert_eq!(watch.holders(), [0], "{}", said(&worse));
    let (answerers, _) = watch.answers(begin, clock::now());
    let answered = [0, 1].map(|node| answerers.contains(&node));
    if speech != Speech::Ipv6 {
        send_damaged(&lan, speech);
        assert!(better.says("can't be read", Duration::from_secs(5)), "{}", said(&better));
        assert_eq!(watch.holders(), [0], "a damaged packet was believed: {}", said(&better));
    }
    neighbour(&lan, &format!("neighbor replace {vip} lladdr {} dev {INTERFACE} nud permanent", MACS[1]));
    thread::sleep(Duration::from_millis(200));
    let begin = clock::now();
    thread::sleep(Duration::from_secs(1));
    // One that forwards may hand them on to the Master, who answers.
    let backup_answered = watch.answers(begin, clock::now()).0.contains(&1);
    neighbour(&lan, &format!("neighbor delete {vip} dev {INTERFACE}"));
    // It asks anew, whatever it has learnt from announcements.
    thread::sleep(Duration::from_millis(500));

    for (program, heir) in [(&mut better, Some(1)), (&mut worse, None)] {
        program.signal(Part::Guardian, Signal::SIGTERM);
        let ended = program.wait(Duration::from_secs(10)).and_then(|status| status.code());
        assert_eq!(ended, Some(0), "{}", said(program));
        if let Some(heir) = heir {
            assert!(watch.alone(heir, Duration::from_secs(5)).is_some(), "no heir: {}", said(program));
            assert!(watch.answered_by(heir, Duration::from_secs(5)).is_some(), "{}", said(program));
        }
    }
    let capture = recorder.stop().unwrap();
    let mut frames = dissect(&capture, true).unwrap();
    let resigned = |frame: &Frame| frame["eth.src"] == MACS[0] && is(frame, "vrrp.prio", "0");
    let end = frames.iter().rposition(resigned).unwrap_or_else(|| panic!("no resignation: {}", said(&better)));
    let after = frames.split_off(end + 1);
    Recording { speech, frames, after, answered, backup_answered, said: better.said() }
}

fn is(frame: &Frame, field: &str, value: &str) -> bool {
    frame.get(field).is_some_and(|found| found == value)
}

impl Recording {
    /// The better router's Advertisements, its resignation last.
    fn adverts(&self) -> Vec<&Frame> {
        let adverts: Vec<&Frame> = self
            .frames
            .iter()
            .filter(|frame| is(frame, "eth.src", MACS[0]) && frame.contains_key("vrrp.prio"))
            .collect();
        assert!(adverts.len() >= 5, "{} Advertisements", adverts.len());
        adverts
    }

    /// Each of them has this value.
    #[track_caller]
    fn each_has(&self, field: &str, value: &str) {
        for frame in self.adverts() {
            assert!(is(frame, field, value), "{:?}: {field} is not {value}: {frame:#?}", self.speech);
        }
    }

    /// A router's announcements of an address: gratuitous ARP, or unsolicited Neighbor Advertisements.
    fn announced<'a>(frames: &'a [Frame], router: usize, address: &str) -> Vec<&'a Frame> {
        let announces = |frame: &&Frame| {
            let arp = is(frame, "arp.src.proto_ipv4", address) && is(frame, "arp.dst.proto_ipv4", address);
            let na = is(frame, "icmpv6.nd.na.target_address", address) && is(frame, "icmpv6.nd.na.flag.s", "0");
            is(frame, "eth.src", MACS[router]) && (arp || na)
        };
        frames.iter().filter(announces).collect()
    }

    /// The hardware addresses that answered the client's question for the virtual address while the better router
    /// was Master.
    fn answers(&self) -> Vec<&Frame> {
        let vip = VIP.to_string();
        let answers = |frame: &&Frame| {
            let arp = is(frame, "arp.opcode", "2") && is(frame, "arp.src.proto_ipv4", &vip);
            let to_us = is(frame, "icmpv6.nd.na.target_address", &VIP6.to_string());
            arp || (to_us && is(frame, "icmpv6.nd.na.flag.s", "1"))
        };
        let answers: Vec<&Frame> = self.frames.iter().filter(answers).collect();
        assert!(!answers.is_empty(), "{:?}: nobody answered", self.speech);
        answers
    }
}

#[test]
fn rfc3768_5_2_1_the_source_is_the_interface_s_primary_address() {
    version_2().each_has("ip.src", &ROUTERS[0].to_string());
}

#[test]
fn rfc3768_5_2_2_the_destination_is_the_group() {
    version_2().each_has("ip.dst", "224.0.0.18");
    version_2().each_has("eth.dst", "01:00:5e:00:00:12");
}

#[test]
fn rfc3768_5_2_3_the_ttl_is_255() {
    version_2().each_has("ip.ttl", "255");
}

#[test]
fn rfc3768_5_2_4_the_protocol_is_112() {
    version_2().each_has("ip.proto", "112");
}

#[test]
fn rfc3768_7_2_the_fields_are_the_virtual_router_s_and_the_checksum_is_right() {
    for (field, value) in [
        ("vrrp.version", "2"),
        ("vrrp.type", "1"),
        ("vrrp.virt_rtr_id", "51"),
        ("vrrp.addr_count", "1"),
        ("vrrp.ip_addr", "192.0.2.100"),
        ("vrrp.adver_int", "1"),
        ("vrrp.auth_type", "0"),
        ("vrrp.checksum.status", "1"),
    ] {
        version_2().each_has(field, value);
    }
    let adverts = version_2().adverts();
    let (last, living) = adverts.split_last().unwrap();
    assert!(is(last, "vrrp.prio", "0") && living.iter().all(|frame| is(frame, "vrrp.prio", "150")));
}

/// By default; `use_vmac` is the other way (tests/vmac.rs).
#[test]
fn rfc3768_7_2_the_source_mac_is_the_interface_s_own() {
    version_2().each_has("eth.src", MACS[0]);
}

#[test]
fn rfc3768_6_4_2_a_new_master_broadcasts_gratuitous_arp() {
    for (frames, router) in [(&version_2().frames, 0), (&version_2().after, 1)] {
        let announced = Recording::announced(frames, router, "192.0.2.100");
        assert!(announced.len() >= 5, "{} by n{}", announced.len(), router + 1);
        for frame in announced {
            assert!(is(frame, "arp.opcode", "1") && is(frame, "eth.dst", "ff:ff:ff:ff:ff:ff"), "{frame:#?}");
        }
    }
}

#[test]
fn rfc3768_6_4_2_a_backup_answers_no_arp_and_the_master_does() {
    assert!(version_2().answers().iter().all(|frame| is(frame, "arp.src.hw_mac", MACS[0])));
}

#[test]
fn rfc3768_6_4_2_a_backup_takes_no_packets_for_the_virtual_address() {
    assert!(!version_2().backup_answered && !version_2().answered[1]);
}

/// A departure: RFC 3768 lets the owner alone take them.
#[test]
fn rfc3768_6_4_3_the_master_takes_packets_for_the_virtual_address() {
    assert!(version_2().answered[0]);
}

#[test]
fn rfc3768_7_1_what_is_dropped_is_logged() {
    assert!(version_2().said.contains("can't be read: its checksum is wrong"), "{}", version_2().said);
}

#[test]
fn rfc9568_5_1_1_1_the_source_is_the_interface_s_primary_address() {
    version_3().each_has("ip.src", &ROUTERS[0].to_string());
}

#[test]
fn rfc9568_5_1_1_2_the_destination_is_the_group() {
    version_3().each_has("ip.dst", "224.0.0.18");
    version_3().each_has("eth.dst", "01:00:5e:00:00:12");
}

#[test]
fn rfc9568_5_1_1_3_the_ttl_is_255() {
    version_3().each_has("ip.ttl", "255");
}

#[test]
fn rfc9568_5_1_1_4_the_protocol_is_112() {
    version_3().each_has("ip.proto", "112");
}

#[test]
fn rfc9568_5_1_2_1_the_source_is_the_interface_s_link_local_address() {
    for frame in ipv6().adverts() {
        let source: std::net::Ipv6Addr = frame["ipv6.src"].parse().unwrap();
        assert!(source.is_unicast_link_local() && source.to_string() != LINK_LOCAL, "{frame:#?}");
    }
}

#[test]
fn rfc9568_5_1_2_2_the_destination_is_the_group() {
    ipv6().each_has("ipv6.dst", "ff02::12");
    ipv6().each_has("eth.dst", "33:33:00:00:00:12");
}

#[test]
fn rfc9568_5_1_2_3_the_hop_limit_is_255() {
    ipv6().each_has("ipv6.hlim", "255");
}

#[test]
fn rfc9568_5_1_2_4_the_next_header_is_112() {
    ipv6().each_has("ipv6.nxt", "112");
}

#[test]
fn rfc9568_5_2_9_the_first_ipv6_address_is_the_link_local_one() {
    ipv6().each_has("vrrp.ipv6_addr", &format!("{LINK_LOCAL},{VIP6}"));
}

#[test]
fn rfc9568_7_2_the_fields_are_the_virtual_router_s_and_the_checksum_is_right() {
    for recording in [version_3(), ipv6()] {
        for (field, value) in [
            ("vrrp.version", "3"),
            ("vrrp.type", "1"),
            ("vrrp.virt_rtr_id", "51"),
            ("vrrp.reserved_mbz", "0"),
            ("vrrp.short_adver_int", "100"),
            ("vrrp.checksum.status", "1"),
        ] {
            recording.each_has(field, value);
        }
        let adverts = recording.adverts();
        let (last, living) = adverts.split_last().unwrap();
        assert!(is(last, "vrrp.prio", "0") && living.iter().all(|frame| is(frame, "vrrp.prio", "150")));
    }
    version_3().each_has("vrrp.ip_addr", "192.0.2.100");
}

/// By default; `use_vmac` is the other way (tests/vmac.rs).
#[test]
fn rfc9568_7_2_the_source_mac_is_the_interface_s_own() {
    version_3().each_has("eth.src", MACS[0]);
    ipv6().each_has("eth.src", MACS[0]);
}

#[test]
fn rfc9568_6_4_2_a_new_active_router_broadcasts_gratuitous_arp() {
    for (frames, router) in [(&version_3().frames, 0), (&version_3().after, 1)] {
        let announced = Recording::announced(frames, router, "192.0.2.100");
        assert!(announced.len() >= 5, "{} by n{}", announced.len(), router + 1);
        assert!(announced.iter().all(|frame| is(frame, "arp.src.hw_mac", MACS[router])));
    }
}

#[test]
fn rfc9568_6_4_2_a_new_active_router_sends_unsolicited_neighbor_advertisements() {
    for (frames, router) in [(&ipv6().frames, 0), (&ipv6().after, 1)] {
        for address in [LINK_LOCAL.to_owned(), VIP6.to_string()] {
            let announced = Recording::announced(frames, router, &address);
            assert!(announced.len() >= 5, "{} of {address} by n{}", announced.len(), router + 1);
            for frame in announced {
                // It forwards, so that it is a router.
                let flags = ["r", "s", "o"].map(|flag| frame[format!("icmpv6.nd.na.flag.{flag}").as_str()].as_str());
                assert!(flags == ["1", "0", "1"] && is(frame, "icmpv6.opt.linkaddr", MACS[router]), "{frame:#?}");
            }
        }
    }
}

#[test]
fn rfc9568_6_4_2_a_backup_answers_no_arp_and_the_active_router_does() {
    assert!(version_3().answers().iter().all(|frame| is(frame, "arp.src.hw_mac", MACS[0])));
}

#[test]
fn rfc9568_6_4_2_a_backup_answers_no_neighbor_solicitation_and_the_active_router_does_as_a_router() {
    for frame in ipv6().answers() {
        assert!(is(frame, "eth.src", MACS[0]) && is(frame, "icmpv6.nd.na.flag.r", "1"), "{frame:#?}");
    }
}

#[test]
fn rfc9568_6_4_2_a_backup_takes_no_packets_for_the_virtual_address() {
    for recording in [version_3(), ipv6()] {
        assert!(!recording.backup_answered && !recording.answered[1], "{:?}", recording.speech);
    }
}

/// As with Accept_Mode, which is False by default in the RFC and not yet to be turned off here.
#[test]
fn rfc9568_6_4_3_the_active_router_takes_packets_for_the_virtual_address() {
    assert!(version_3().answered[0] && ipv6().answered[0]);
}

#[test]
fn rfc9568_6_4_2_neither_router_sends_router_advertisements() {
    let sends = |frame: &&Frame| is(frame, "icmpv6.type", "134");
    assert_eq!(ipv6().frames.iter().chain(&ipv6().after).filter(sends).count(), 0);
}

#[test]
fn rfc9568_7_1_what_is_dropped_is_logged() {
    assert!(version_3().said.contains("can't be read: its checksum is wrong"), "{}", version_3().said);
}

/// By default, like the source of Advertisements; `use_vmac` is the other way (tests/vmac.rs).
#[test]
fn rfc9568_8_1_2_arp_is_answered_with_the_interface_s_own_mac() {
    assert!(version_3().answers().iter().all(|frame| is(frame, "arp.src.hw_mac", MACS[0])));
}
