//! What tshark makes of all that keepone sends for a virtual router: Advertisements of every kind, the last one
//! with priority 0 among them, gratuitous ARP and unsolicited Neighbor Advertisements.
//!
//! It listens on the other node, to which nothing but keepone's packets comes: what is judged is what was on the wire.

use std::net::IpAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::dissect::{Frame, Recorder, dissect};
use keepone_tests::lan::{Lan, VIP6};

use crate::parallel;
use crate::routers::Router::Keepone;
use crate::speech::{AH, HMAC, PASS, Speech, V2, V3};
use crate::story::{self, A, B, Story};

/// The hardware addresses of the two nodes on the LAN, and of the groups.
const MACS: [&str; 2] = ["02:00:00:00:01:0b", "02:00:00:00:01:0c"];
const GROUP4_MAC: &str = "01:00:5e:00:00:12";
const GROUP6_MAC: &str = "33:33:00:00:00:12";
const ALL_NODES_MAC: &str = "33:33:00:00:00:01";
/// `PI_WARN` of Wireshark: what an expert there warns of, or worse.
const WARNING: u32 = 0x0060_0000;
const LINK_LOCAL: &str = "fe80::5e:1";

/// Every kind of packet that keepone sends for a virtual router.
fn kinds() -> Vec<Speech> {
    let mut kinds = Vec::new();
    for unicast in [false, true] {
        kinds.extend([None, Some(PASS), Some(AH)].map(|auth| Speech { auth, unicast, ..V2 }));
        kinds.extend([false, true].map(|plain_checksum| Speech { plain_checksum, unicast, ..V3 }));
        kinds.push(Speech { ipv6: true, unicast, ..V3 });
        let signed = [V2, V3, Speech { ipv6: true, ..V3 }];
        kinds.extend(signed.map(|speech| Speech { hmac: Some(HMAC), unicast, ..speech }));
    }
    kinds
}

/// The whole life of a virtual router that speaks like this, from its start to its resignation.
fn record(speech: Speech, lan: Lan) -> (Story, PathBuf) {
    let mut story = Story::on(lan, speech, [Keepone, Keepone]);
    if speech.ipv6 && speech.unicast {
        // Of a router the R flag is set in a Neighbor Advertisement.
        story.lan.node(A).namespace.set_parameters(&[("ipv6/conf/all/forwarding", "1")]).unwrap();
    }
    let recorder = Recorder::start(&story.lan, Kind::Node(B)).unwrap();
    story.start(A);
    let alone = story.watch().alone(A, speech.preempts() + Duration::from_secs(20));
    story.must(alone.is_some(), "no MASTER");
    thread::sleep(speech.advert_int * 3);
    story.end(A);
    let capture = recorder.stop().unwrap();
    (story, capture)
}

/// Fails unless a frame has these values, and no others of these fields.
#[track_caller]
fn expect(frame: &Frame, wanted: &[(&str, &str)]) {
    for (field, value) in wanted {
        let found = frame.get(field).map_or("", String::as_str);
        assert_eq!(found, *value, "{field} of {frame:#?}");
    }
}

/// tshark knows no trailer, and takes the checksum of version 2 and of IPv4 for one over it, too, which it is over
/// IPv6 alone: that of keepalived's own packets it finds bad as well. keepalived, which does not, is in `matrix.rs`.
fn has_unknown_trailer(speech: Speech) -> bool {
    speech.hmac.is_some() && !speech.ipv6
}

fn check_advertisement(speech: Speech, frame: &Frame, [own, peer]: [IpAddr; 2], priority: &str) {
    let (group_mac, group) = if speech.ipv6 { (GROUP6_MAC, "ff02::12") } else { (GROUP4_MAC, "224.0.0.18") };
    let (mac, to) = if speech.unicast { (MACS[B], peer.to_string()) } else { (group_mac, group.to_owned()) };
    let interval = if speech.version == 2 { "1" } else { "25" };
    let (version, from) = (speech.version.to_string(), own.to_string());
    expect(
        frame,
        &[
            ("eth.src", MACS[A]),
            ("eth.dst", mac),
            ("vrrp.version", &version),
            ("vrrp.type", "1"),
            ("vrrp.virt_rtr_id", "51"),
            ("vrrp.prio", priority),
            // 1 is: good.
            ("vrrp.checksum.status", if has_unknown_trailer(speech) { "0" } else { "1" }),
        ],
    );
    if speech.ipv6 {
        let addresses = format!("{LINK_LOCAL},{VIP6}");
        expect(
            frame,
            &[
                ("ipv6.dst", &to),
                ("ipv6.hlim", "255"),
                ("ipv6.tclass", "0x000000c0"),
                ("ipv6.nxt", "112"),
                ("vrrp.addr_count", "2"),
                ("vrrp.ipv6_addr", &addresses),
            ],
        );
        // RFC 9568, 5.1.2.1: from the link-local address of the interface; in unicast from the configured one.
        let source: std::net::Ipv6Addr = frame["ipv6.src"].parse().unwrap();
        let right = if speech.unicast { IpAddr::V6(source) == own } else { source.is_unicast_link_local() };
        assert!(right && frame["ipv6.src"] != LINK_LOCAL, "{frame:#?}");
    } else {
        let protocol = if speech.auth == Some(AH) { "51" } else { "112" };
        let vip = VIP.to_string();
        expect(
            frame,
            &[
                ("ip.src", &from),
                ("ip.dst", &to),
                ("ip.ttl", "255"),
                ("ip.dsfield", "0xc0"),
                ("ip.proto", protocol),
                ("ip.checksum.status", "1"),
                ("vrrp.addr_count", "1"),
                ("vrrp.ip_addr", &vip),
            ],
        );
    }
    if speech.version == 3 {
        expect(frame, &[("vrrp.short_adver_int", interval), ("vrrp.reserved_mbz", "0"), ("vrrp.auth_type", "")]);
        return;
    }
    let (kind, password) = match speech.auth {
        None => ("0", ""),
        Some(PASS) => ("1", "s3cret12"),
        Some(_) => ("2", ""),
    };
    expect(frame, &[("vrrp.adver_int", interval), ("vrrp.auth_type", kind), ("vrrp.auth_string", password)]);
    if speech.auth == Some(AH) {
        let IpAddr::V4(own) = own else { panic!("AH is IPv4") };
        let spi = format!("0x{:08x}", u32::from(own));
        expect(frame, &[("ah.next_header", "112"), ("ah.length", "4"), ("ah.spi", &spi), ("ip.flags", "0x00")]);
    }
}

fn check_announcements(speech: Speech, frames: &[Frame]) {
    if speech.ipv6 {
        let unsolicited = |frame: &&Frame| {
            frame.get("icmpv6.type").is_some_and(|kind| kind == "136") && frame["eth.dst"] == ALL_NODES_MAC
        };
        let router = if speech.unicast { "1" } else { "0" };
        for address in [LINK_LOCAL.to_owned(), VIP6.to_string()] {
            let named = |frame: &&Frame| frame["icmpv6.nd.na.target_address"] == address;
            let found: Vec<&Frame> = frames.iter().filter(unsolicited).filter(named).collect();
            assert!(found.len() >= 5, "{} announcements of {address}", found.len());
            for frame in found {
                expect(
                    frame,
                    &[
                        ("ipv6.src", &address),
                        ("ipv6.dst", "ff02::1"),
                        ("ipv6.hlim", "255"),
                        ("icmpv6.checksum.status", "1"),
                        ("icmpv6.nd.na.flag.r", router),
                        ("icmpv6.nd.na.flag.s", "0"),
                        ("icmpv6.nd.na.flag.o", "1"),
                        ("icmpv6.opt.linkaddr", MACS[A]),
                    ],
                );
            }
        }
    } else {
        let vip = VIP.to_string();
        // The kernel asks for the client's address from the virtual one, besides.
        let claims = |frame: &&Frame| {
            ["arp.src.proto_ipv4", "arp.dst.proto_ipv4"].iter().all(|field| frame.get(field) == Some(&vip))
        };
        let found: Vec<&Frame> = frames.iter().filter(claims).collect();
        assert!(found.len() >= 5, "{} announcements", found.len());
        for frame in found {
            expect(frame, &[("eth.dst", "ff:ff:ff:ff:ff:ff"), ("arp.opcode", "1"), ("arp.src.hw_mac", MACS[A])]);
        }
    }
}

/// tshark must see a fault where there is one: another priority in a packet that is otherwise as it was.
fn check_that_faults_are_seen(speech: Speech, capture: &Path) {
    let mut octets = std::fs::read(capture).unwrap();
    let header = [speech.version << 4 | 1, 51, 150];
    let mut changed = 0;
    for place in 0..octets.len() - header.len() {
        if octets[place..].starts_with(&header) {
            octets[place + 2] = 149;
            changed += 1;
        }
    }
    let damaged = capture.with_extension("damaged");
    std::fs::write(&damaged, octets).unwrap();
    let frames = dissect(&damaged, speech.plain_checksum).unwrap();
    let of = |status| {
        move |frame: &&Frame| {
            frame.get("vrrp.prio").is_some_and(|priority| priority == "149") && frame["vrrp.checksum.status"] == status
        }
    };
    let (bad, good) = (frames.iter().filter(of("0")).count(), frames.iter().filter(of("1")).count());
    assert!(changed >= 3 && bad == changed && good == 0, "{changed} damaged, {bad} found bad and {good} good");
}

fn check(speech: Speech, lan: Lan) -> Lan {
    let (story, capture) = record(speech, lan);
    let own = |node| -> IpAddr { if speech.ipv6 { story.lan.address6(node).into() } else { story.lan.address(node) } };
    let frames: Vec<Frame> = dissect(&capture, speech.plain_checksum)
        .unwrap()
        .into_iter()
        .filter(|frame| frame.get("eth.src").is_some_and(|source| source == MACS[A]))
        .collect();
    for frame in &frames {
        let severities = frame.get("_ws.expert.severity").map_or("", String::as_str).split(',');
        let worst = severities.filter_map(|severity| severity.parse::<u32>().ok()).max().unwrap_or(0);
        let warned = worst >= WARNING && !(has_unknown_trailer(speech) && frame.contains_key("vrrp.version"));
        assert!(!frame.contains_key("_ws.malformed") && !warned, "malformed, or a warning: {frame:#?}");
    }
    let adverts: Vec<&Frame> = frames.iter().filter(|frame| frame.contains_key("vrrp.version")).collect();
    let (last, living) = adverts.split_last().unwrap();
    assert!(living.len() >= 3, "{} Advertisements", living.len());
    for frame in living {
        check_advertisement(speech, frame, [own(A), own(B)], "150");
    }
    check_advertisement(speech, last, [own(A), own(B)], "0");
    let numbers: Vec<u32> = adverts.iter().filter_map(|frame| frame.get("ah.sequence")?.parse().ok()).collect();
    assert!(numbers.iter().zip(1..).all(|(number, wanted)| *number == wanted), "{numbers:?}");
    check_announcements(speech, &frames);
    if !has_unknown_trailer(speech) {
        check_that_faults_are_seen(speech, &capture);
    }
    // The two checksums over IPv4 differ: read the other way, each is wrong.
    if speech.version == 3 && !speech.ipv6 {
        let other = dissect(&capture, !speech.plain_checksum).unwrap();
        let good = |frame: &&Frame| frame.get("vrrp.checksum.status").is_some_and(|status| status == "1");
        assert_eq!(other.iter().filter(good).count(), 0);
    }
    story.leave()
}

#[test]
fn tshark_finds_nothing_wrong_with_any_packet_of_keepone_s() {
    let kinds = kinds();
    assert_eq!(kinds.len(), 18);
    let failures = parallel::map(&kinds, |speech, lan| match catch_unwind(AssertUnwindSafe(|| check(speech, lan))) {
        Ok(lan) => (None, Some(lan)),
        Err(cause) => (Some(format!("{speech:?}: {}", story::words_of(cause))), None),
    });
    let failures: Vec<String> = failures.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
