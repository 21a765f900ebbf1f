//! Gratuitous ARP and unsolicited Neighbor Advertisements as a client's machine sees them (D10; RFC 4861, 7.2.6;
//! keepalived.conf(5)): how many, how far apart, with which flags, and when again. Needs root and tshark.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use keepone_chaos::fault::{Class, Network, Part};
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::observe::packet;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_proto::id::{Priority, Vrid};
use keepone_proto::settings::VrrpVersion;
use keepone_proto::wire::arp;
use keepone_proto::wire::vrrp::{Advertisement, Auth, Checksum};
use keepone_tests::cluster::Cluster;
use keepone_tests::dissect::{Frame, Recorder, dissect};
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;
use nix::sys::socket::{MsgFlags, send};

/// Wide: the machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(20);
/// How late a thread may be on such a machine.
const BUSY: f64 = 0.5;
const STRANGER: [u8; 6] = [2, 0, 0, 0, 0, 0x66];

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64()
}

fn start(lan: &Lan, node: usize, file: &Path) -> Program {
    let keepone = keepone_tests::binary::find("keepone");
    lan.start(node, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
}

/// keepalived.conf with one instance of IPv4 and one of IPv6.
fn configuration(global: &str, own: &str) -> String {
    format!(
        "global_defs {{\n{global}\n}}\nvrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n    \
         version 3\n    priority 150\n    advert_int 0.2\n{own}\n    virtual_ipaddress {{\n        {VIP}/24\n    }}\n}}\n\
         vrrp_instance VI_6 {{\n    interface {INTERFACE}\n    virtual_router_id 52\n    version 3\n    priority 150\n    \
         advert_int 0.2\n{own}\n    virtual_ipaddress {{\n        fe80::100/64\n        {VIP6}/64\n    }}\n}}\n"
    )
}

fn on(lan: &Lan, node: usize, words: &str) -> String {
    let run = || Command::new("bash").args(["-c", words]).output().map_err(io_error("run bash"));
    let output = lan.node(node).namespace.run(run).unwrap();
    assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn mac(lan: &Lan, node: usize) -> String {
    on(lan, node, &format!("ip -o link show {INTERFACE} | grep -o 'link/ether [0-9a-f:]*' | cut -d ' ' -f 2"))
}

/// Begins to capture, and has begun: tshark says so some time before.
fn record(lan: &Lan) -> Recorder {
    let recorder = Recorder::start(lan, Kind::Client(0)).unwrap();
    thread::sleep(Duration::from_secs(2));
    recorder
}

/// What was captured.
struct Seen(Vec<Frame>);

impl Seen {
    fn stop(recorder: Recorder) -> Self {
        Seen(dissect(&recorder.stop().unwrap(), false).unwrap())
    }

    /// A node's announcements of an address, by its MAC: gratuitous ARP, or unsolicited NAs.
    fn of(&self, mac: &str, address: &str) -> Vec<&Frame> {
        let is = |frame: &Frame, field: &str, value: &str| frame.get(field).is_some_and(|found| found == value);
        let announces = |frame: &&Frame| {
            let by_arp = is(frame, "arp.src.proto_ipv4", address) && is(frame, "arp.dst.proto_ipv4", address);
            let by_na = is(frame, "icmpv6.nd.na.target_address", address) && is(frame, "ipv6.dst", "ff02::1");
            is(frame, "eth.src", mac) && (by_arp || by_na)
        };
        self.0.iter().filter(announces).collect()
    }

    /// When they were, in seconds, from `since` on.
    fn times(&self, mac: &str, address: &str, since: f64) -> Vec<f64> {
        let times = self.of(mac, address).into_iter().map(|frame| frame["frame.time_epoch"].parse::<f64>().unwrap());
        times.filter(|at| *at >= since).collect()
    }
}

/// How many of them there are within so many seconds of the first.
fn within(times: &[f64], seconds: f64) -> usize {
    times.first().map_or(0, |first| times.iter().filter(|at| **at - first < seconds).count())
}

#[test]
fn a_burst_a_second_one_and_a_refresh_are_as_the_file_says_and_the_flags_of_an_na_as_the_interface_is() {
    let lan = Lan::build(0).unwrap();
    lan.add_ipv6().unwrap();
    on(
        &lan,
        0,
        &format!(
            "echo 0 >/proc/sys/net/ipv6/conf/all/forwarding; echo 0 >/proc/sys/net/ipv6/conf/{INTERFACE}/forwarding"
        ),
    );
    let recorder = record(&lan);
    let global = "vrrp_min_garp\nvrrp_garp_master_repeat 3\nvrrp_garp_master_delay 2\nvrrp_garp_master_refresh 3\n\
                  vrrp_garp_master_refresh_repeat 2";
    let file = lan.write("k.conf", &configuration(global, "")).unwrap();
    let mut program = start(&lan, 0, &file);
    assert!(program.says("VI_6: CLAIMING -> MASTER", SOON), "{}", program.said());
    thread::sleep(Duration::from_secs(7));
    // Of this interface alone: the global switch says nothing of it.
    on(&lan, 0, &format!("echo 1 >/proc/sys/net/ipv6/conf/{INTERFACE}/forwarding"));
    let routes_since = now();
    thread::sleep(Duration::from_secs(4));
    let mac = mac(&lan, 0);
    let seen = Seen::stop(recorder);
    for address in [VIP.to_string(), VIP6.to_string()] {
        let times = seen.times(&mac, &address, 0.0);
        // 3 at once; 3 after 2 s; 2 each 3 s from then on: at 5 and 8 s.
        let at = |from: f64, to: f64| times.iter().filter(|at| (from..to).contains(&(**at - times[0]))).count();
        let found = [at(0.0, 1.0), at(1.0, 4.0), at(4.0, 7.0), at(7.0, 9.5)];
        assert_eq!(found, [3, 3, 2, 2], "{address}: {times:?}");
    }
    let mut routers = [0, 0];
    for frame in seen.of(&mac, &VIP6.to_string()) {
        let routes = frame["frame.time_epoch"].parse::<f64>().unwrap() > routes_since;
        let flag = |name: &str| ["1", "True", "true"].contains(&frame[name].as_str());
        assert!(flag("icmpv6.nd.na.flag.o") && !flag("icmpv6.nd.na.flag.s"), "RFC 4861, 7.2.6: {frame:?}");
        assert_eq!(flag("icmpv6.nd.na.flag.r"), routes, "{frame:?}");
        let fields = ["ipv6.hlim", "ipv6.src", "icmpv6.opt.linkaddr", "eth.dst", "icmpv6.checksum.status"];
        let vip = VIP6.to_string();
        assert_eq!(
            fields.map(|field| frame[field].as_str()),
            ["255", vip.as_str(), mac.as_str(), "33:33:00:00:00:01", "1"]
        );
        routers[usize::from(routes)] += 1;
    }
    assert!(routers.iter().all(|count| *count > 0), "{routers:?}");
}

/// `dadfailed` and `tentative` are what an address shows that waits, or lost.
#[test]
fn a_virtual_address_does_not_wait_for_duplicate_address_detection_and_a_static_one_does() {
    let lan = Lan::build(0).unwrap();
    lan.add_ipv6().unwrap();
    let text = format!(
        "static_ipaddress {{\n    fd00::201/64 dev {INTERFACE}\n    fd00::202/64 dev {INTERFACE} -nodad\n}}\n{}",
        configuration("", "")
    );
    let file = lan.write("k.conf", &text).unwrap();
    let mut program = start(&lan, 0, &file);
    assert!(program.says("VI_6: CLAIMING -> MASTER", SOON), "{}", program.said());
    let shown = on(&lan, 0, &format!("ip -6 addr show dev {INTERFACE}"));
    let line = |address: &str| shown.lines().find(|line| line.contains(address)).unwrap_or_default().to_owned();
    for address in [VIP6.to_string(), "fe80::100".into(), "fd00::202".into()] {
        let line = line(&format!("{address}/"));
        assert!(line.contains("nodad") && !line.contains("tentative"), "{address}: {shown}");
    }
    assert!(!line("fd00::201/").is_empty() && !line("fd00::201/").contains("nodad"), "{shown}");
}

#[test]
fn frames_keep_the_interval_and_whoever_steps_down_sends_none_that_still_waits() {
    let lan = Lan::build(0).unwrap();
    let recorder = record(&lan);
    // 60 addresses, 5 frames each: six seconds of frames.
    let more: String = (1..60).map(|last| format!("        10.99.0.{last}/32\n")).collect();
    let flag = lan.write("flag", "0").unwrap();
    let text = configuration("vrrp_garp_interval 0.02", "track_file {\n        flag\n    }\n");
    let text = text.split("vrrp_instance VI_6").next().unwrap().to_owned();
    let text = text.replace(&format!("        {VIP}/24\n"), &format!("        {VIP}/24\n{more}"));
    // No gate in the kernel stops what still waits.
    let source = format!("track_file flag {{\n    file {}\n    weight 0\n}}\n", flag.display());
    let file = lan.write("k.conf", &format!("gate {{\n    means lifetime\n}}\n{source}{text}")).unwrap();
    let mut program = start(&lan, 0, &file);
    assert!(program.says("VI_1: CLAIMING -> MASTER", SOON), "{}", program.said());
    thread::sleep(Duration::from_secs(2));
    // It steps down, and lives on.
    std::fs::write(&flag, "1").unwrap();
    assert!(program.says("VI_1: MASTER -> FAULT", SOON), "{}", program.said());
    thread::sleep(Duration::from_secs(1));
    let mac = mac(&lan, 0);
    let seen = Seen::stop(recorder);
    let frames: Vec<&Frame> = seen.0.iter().filter(|frame| frame.get("eth.src") == Some(&mac)).collect();
    let arps = frames.iter().filter(|frame| frame.contains_key("arp.src.proto_ipv4"));
    let arps: Vec<&&Frame> = arps.filter(|frame| frame["arp.src.proto_ipv4"] == frame["arp.dst.proto_ipv4"]).collect();
    let times: Vec<f64> = arps.iter().map(|frame| frame["frame.time_epoch"].parse().unwrap()).collect();
    assert!(times.len() > 20, "{}", times.len());
    let gaps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // Each is stamped where it arrives: a stamp may be late, and the next one's in time.
    let close = gaps.iter().filter(|gap| **gap < 0.015).count();
    assert!(close * 10 <= gaps.len(), "{close} of {} are closer than 15 ms: {gaps:?}", gaps.len());
    let span = times[times.len() - 1] - times[0];
    assert!(span >= 0.019 * (times.len() - 1) as f64, "{} in {span} s", times.len());
    // All addresses in turns: by the 60th frame each was there.
    let mut first: Vec<&str> = arps.iter().take(60).map(|frame| frame["arp.src.proto_ipv4"].as_str()).collect();
    first.sort_unstable();
    first.dedup();
    assert_eq!(first.len(), 60);
    // Advertisements went on in time beside them: none waited for a frame.
    let adverts = frames.iter().filter(|frame| frame.contains_key("vrrp.prio"));
    let adverts: Vec<(f64, &str)> =
        adverts.map(|frame| (frame["frame.time_epoch"].parse().unwrap(), frame["vrrp.prio"].as_str())).collect();
    let late = adverts.windows(2).map(|pair| pair[1].0 - pair[0].0).fold(0.0, f64::max);
    assert!(late < 0.2 + BUSY, "{late} s between two Advertisements");
    // Two seconds of six: most still waited.
    assert!(times.len() < 250, "{}", times.len());
    let (resigned, _) = adverts.iter().find(|(_, priority)| *priority == "0").unwrap();
    let after = times.iter().filter(|at| *at > resigned).count();
    assert_eq!(after, 0, "announced after it had resigned");
}

/// Two agents with heartbeats, of which the first one is Master, past its first announcements; `garp_master_repeat` is 7,
/// so that a burst is told from whatever else is announced.
struct Pair {
    programs: [Program; 2],
    watch: Watch,
    lan: Lan,
    macs: [String; 2],
}

impl Pair {
    fn steady() -> Self {
        let lan = Lan::build(2).unwrap();
        let cluster = Cluster::new(&lan).unwrap();
        let programs = [0, 1].map(|node| {
            let text = cluster.of_node(&lan, node) + "garp_master_repeat = 7\n";
            let file = lan.write(&format!("n{}.toml", node + 1), &text).unwrap();
            start(&lan, node, &file)
        });
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        assert!(watch.alone(0, SOON).is_some(), "no MASTER:\n{}", programs[0].said());
        thread::sleep(Duration::from_secs(5));
        let macs = [0, 1].map(|node| mac(&lan, node));
        Pair { programs, watch, lan, macs }
    }

    #[track_caller]
    fn bursts(&self, times: &[f64], by: f64, why: &str) {
        let first = times.first().copied().unwrap_or(f64::INFINITY);
        let said = || format!("{why}: {times:?}\n{}\n---\n{}", self.programs[0].said(), self.programs[1].said());
        assert!(first <= by, "nothing by {by}, {}", said());
        assert!(within(times, 0.04) >= 7, "no burst, {}", said());
        assert!(within(times, 2.6) >= 7 + 6, "and not again for seconds, {}", said());
    }
}

#[test]
fn a_master_that_has_slept_and_lost_it_announces_when_it_has_it_again() {
    let pair = Pair::steady();
    let recorder = record(&pair.lan);
    // The guardian would end a worker that is silent for long: it sleeps, too, as the whole machine would.
    pair.programs[0].signal(Part::Both, Signal::SIGSTOP);
    assert!(pair.watch.answered_by(1, SOON).is_some(), "nobody took over:\n{}", pair.programs[1].said());
    thread::sleep(Duration::from_secs(1));
    let woken = now();
    pair.programs[0].signal(Part::Both, Signal::SIGCONT);
    assert!(pair.watch.alone(0, SOON).is_some(), "it does not come back:\n{}", pair.programs[0].said());
    thread::sleep(Duration::from_secs(4));
    let seen = Seen::stop(recorder);
    let mine = seen.times(&pair.macs[0], &VIP.to_string(), woken);
    let theirs = seen.times(&pair.macs[1], &VIP.to_string(), 0.0);
    pair.bursts(&theirs, woken, "the other one's");
    pair.bursts(&mine, woken + 10.0, "after the sleep");
    assert!(mine[0] > theirs[theirs.len() - 1], "and it has the last word");
}

#[test]
fn a_sleep_too_short_to_lose_it_is_announced_as_well() {
    let pair = Pair::steady();
    let recorder = record(&pair.lan);
    let begin = now();
    // SLEPT is 300 ms; the lease without an authority lasts for as long, so that it is lost and taken back at once.
    pair.programs[0].signal(Part::Both, Signal::SIGSTOP);
    thread::sleep(Duration::from_millis(330));
    pair.programs[0].signal(Part::Both, Signal::SIGCONT);
    let woken = now();
    thread::sleep(Duration::from_secs(6));
    assert_eq!(pair.watch.holders(), [0], "{}", pair.programs[0].said());
    let seen = Seen::stop(recorder);
    pair.bursts(&seen.times(&pair.macs[0], &VIP.to_string(), begin), woken + 5.0, "after a short sleep");
}

#[test]
fn a_heal_of_all_lines_is_announced_by_whoever_stays() {
    let mut pair = Pair::steady();
    for network in [Network::Lan, Network::Heartbeat(0), Network::Heartbeat(1)] {
        pair.lan.cut_nodes(network, Class::All).unwrap();
    }
    assert!(pair.watch.has(1, SOON).is_some(), "without an authority both hold");
    thread::sleep(Duration::from_secs(5));
    let recorder = record(&pair.lan);
    let healed = now();
    pair.lan.heal().unwrap();
    assert!(pair.watch.alone(0, SOON).is_some(), "two holders after the repair");
    let alone = now();
    thread::sleep(Duration::from_secs(4));
    let seen = Seen::stop(recorder);
    let mine = seen.times(&pair.macs[0], &VIP.to_string(), healed);
    // While its peer was silent it said so every 50 ms: the burst is in the midst of that.
    let burst = mine.iter().position(|at| mine.iter().filter(|other| (*at..*at + 0.04).contains(other)).count() >= 7);
    let burst = burst.unwrap_or_else(|| panic!("no burst after the heal: {mine:?}\n{}", pair.programs[0].said()));
    assert!(mine[burst] <= healed + 2.0, "{mine:?}");
    let theirs = seen.times(&pair.macs[1], &VIP.to_string(), alone);
    assert!(theirs.is_empty(), "who yielded has no word any more: {theirs:?}");
}

#[test]
fn a_cable_that_was_out_is_announced_when_it_is_back() {
    // One that is tracked: FAULT and back. One that is not: the address stays, and is announced with the carrier.
    for own in ["", "dont_track_primary"] {
        let lan = Lan::build(0).unwrap();
        lan.add_ipv6().unwrap();
        let file = lan.write("k.conf", &configuration("vrrp_garp_master_repeat 7", own)).unwrap();
        let mut program = start(&lan, 0, &file);
        assert!(program.says("VI_6: CLAIMING -> MASTER", SOON), "{}", program.said());
        thread::sleep(Duration::from_secs(5));
        lan.set_cable(0, false).unwrap();
        thread::sleep(Duration::from_secs(1));
        let recorder = record(&lan);
        let back = now();
        lan.set_cable(0, true).unwrap();
        thread::sleep(Duration::from_secs(6));
        let mac = mac(&lan, 0);
        let seen = Seen::stop(recorder);
        for address in [VIP.to_string(), VIP6.to_string()] {
            let times = seen.times(&mac, &address, back);
            let burst =
                times.iter().any(|at| times.iter().filter(|other| (*at..*at + 0.04).contains(other)).count() >= 7);
            assert!(burst && times.len() >= 7 + 6, "{address} {own}: {times:?}\n{}", program.said());
        }
    }
}

/// Sends from the client's machine.
fn forge(lan: &Lan, frames: u32, every: Duration, send_one: impl Fn() + Send + Sync) {
    let forge = || {
        for _ in 0..frames {
            send_one();
            thread::sleep(every);
        }
        Ok(())
    };
    lan.host(Kind::Client(0)).namespace.run(forge).unwrap();
}

#[test]
fn a_rivals_arp_and_a_lower_routers_advertisement_are_answered_and_a_flood_of_them_is_bounded() {
    let lan = Lan::build(0).unwrap();
    let global = "vrrp_garp_master_repeat 7\nvrrp_garp_lower_prio_repeat 9\nvrrp_garp_lower_prio_delay 2";
    let text = configuration(global, "").split("vrrp_instance VI_6").next().unwrap().to_owned();
    let file = lan.write("k.conf", &text).unwrap();
    let mut program = start(&lan, 0, &file);
    assert!(program.says("VI_1: CLAIMING -> MASTER", SOON), "{}", program.said());
    thread::sleep(Duration::from_secs(5));
    let client = &lan.host(Kind::Client(0)).namespace;
    let socket = client
        .run(|| {
            let index = nix::net::if_::if_nametoindex(INTERFACE).map_err(io_error("find lan0"))?;
            packet::open(index).map_err(io_error("open a packet socket"))
        })
        .unwrap();
    let claim = arp::gratuitous_request(STRANGER, VIP);
    let source = lan.host(Kind::Client(0)).port(Network::Lan).unwrap().address;
    let raw = client
        .run(|| {
            let raw =
                socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(socket2::Protocol::from(112)));
            let raw = raw.map_err(io_error("open a raw socket"))?;
            raw.set_multicast_ttl_v4(255).map_err(io_error("set the hop limit"))?;
            raw.set_multicast_if_v4(&source).map_err(io_error("choose lan0"))?;
            Ok(raw)
        })
        .unwrap();
    let group = Ipv4Addr::new(224, 0, 0, 18);
    let lower = Advertisement {
        version: VrrpVersion::V3,
        vrid: Vrid::new(51).unwrap(),
        priority: Priority(1),
        advert_int: Duration::from_millis(200),
        addresses: vec![VIP.into()],
        auth: Auth::None,
    };
    let lower = lower.emit(IpAddr::V4(source), IpAddr::V4(group), Checksum::PseudoHeader).unwrap();
    let arp_once = || assert!(send(socket.as_raw_fd(), &claim, MsgFlags::empty()).is_ok());
    let advert_once = || assert!(raw.send_to(&lower, &std::net::SocketAddr::from((group, 0)).into()).is_ok());
    let mac = mac(&lan, 0);
    let vip = VIP.to_string();

    let recorder = record(&lan);
    let begin = now();
    forge(&lan, 1, Duration::ZERO, arp_once);
    thread::sleep(Duration::from_secs(5));
    let advertised = now();
    forge(&lan, 1, Duration::ZERO, advert_once);
    thread::sleep(Duration::from_secs(6));
    let flood = now();
    forge(&lan, 2000, Duration::from_millis(1), || (arp_once(), advert_once()).0);
    let flooded = now();
    thread::sleep(Duration::from_secs(1));
    let seen = Seen::stop(recorder);
    let times = seen.times(&mac, &vip, begin);
    let between = |from: f64, to: f64| times.iter().filter(|at| (from..to).contains(*at)).count();
    assert!(between(begin, begin + 1.0) >= 1, "a claim is answered: {times:?}\n{}", program.said());
    let burst = between(advertised, advertised + BUSY);
    assert!(burst >= 9, "{burst}: the burst beside a lower router: {times:?}\n{}", program.said());
    let second = times.iter().filter(|at| (1.9..2.0 + BUSY).contains(&(**at - advertised))).count();
    assert!(second >= 9, "{second}: the second one: {times:?}");
    // Four thousand packets. A burst of 7 or 9 and some single frames each half second, and one each 50 ms.
    let seconds = flooded - flood;
    let count = between(flood, flooded + 0.5);
    let most = ((seconds + 0.5) / 0.5 + 1.0) * (9.0 + 4.0) + seconds * 20.0;
    assert!((count as f64) <= most, "{count} in {seconds} s, where {most} are the bound");
    assert!(count >= 9, "and it went on saying so: {count}");
    let resigned = seen.0.iter().any(|frame| frame.get("vrrp.prio").is_some_and(|priority| priority == "0"));
    assert!(!resigned, "nobody stepped down");
}
