//! keepalived's options of election and receiving on real packets, and what forged and broken Advertisements can not do.
//! Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::advert::{Forger, GROUP, Listener, version_3};
use keepone_tests::dissect::{Recorder, dissect};
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// Wide: the machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(20);
/// By how much a takeover may come later than its timer says, on a busy machine.
const LATE: Duration = Duration::from_secs(3);
const SECOND: u64 = 1_000_000_000;
const OWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 11), Ipv4Addr::new(192, 0, 2, 12)];

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

struct World {
    programs: Vec<Program>,
    watch: Watch,
    lan: Lan,
}

impl World {
    fn new() -> Self {
        let lan = Lan::build(0).unwrap();
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        World { programs: Vec::new(), watch, lan }
    }

    /// keepone on a node: lines of its `global_defs`, of its only instance, and of the file.
    fn start(&mut self, node: usize, global: &str, lines: &str, file: &str) {
        let text = format!(
            "global_defs {{\n{global}\n}}\nvrrp_instance VI_1 {{\ninterface {INTERFACE}\nvirtual_router_id 51\nversion 3\n\
             {lines}\nvirtual_ipaddress {{\n{VIP}/24\n}}\n}}\n{file}\n"
        );
        let file = self.lan.write(&format!("{node}.conf"), &text).unwrap();
        let keepone = keepone_tests::binary::find("keepone");
        let command = [keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
        self.programs.push(self.lan.start(node, &command).unwrap());
    }

    fn on(&self, node: usize, words: &str) -> String {
        let run = || Ok(Command::new("bash").args(["-c", words]).output().unwrap());
        let output = self.lan.node(node).namespace.run(run).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    }

    fn said(&self) -> String {
        self.programs.iter().map(Program::said).collect::<Vec<_>>().join("\n---\n")
    }

    #[track_caller]
    fn alone(&self, node: usize) -> u64 {
        self.watch.alone(node, SOON).unwrap_or_else(|| panic!("node {node} does not hold it alone:\n{}", self.said()))
    }

    #[track_caller]
    fn says(&self, words: &str) {
        let said = || (self.said().contains(words)).then_some(());
        eventually(SOON, || format!("nobody says {words:?}:\n{}", self.said()), said);
    }

    #[track_caller]
    fn nobody(&self) {
        let none = || self.watch.holders().is_empty().then_some(());
        eventually(SOON, || format!("somebody holds it:\n{}", self.said()), none);
    }

    /// On the client, whose address is above both nodes'.
    fn forger(&self) -> Forger {
        Forger::new(&self.lan.host(Kind::Client(0)).namespace).unwrap()
    }

    fn listener(&self, groups: &[Ipv4Addr]) -> Listener {
        Listener::start(&self.lan.host(Kind::Client(0)).namespace, groups).unwrap()
    }
}

/// Two hundred lower Advertisements a second for three seconds: what they provoke. The answers, and the announcements.
fn provoked(lines: &str) -> (usize, usize) {
    let mut world = World::new();
    world.start(0, "", &format!("priority 150\nadvert_int 1\n{lines}"), "");
    world.alone(0);
    let (forger, listener) = (world.forger(), world.listener(&[GROUP]));
    // The announcements of a new Master are over.
    thread::sleep(ms(5000));
    let recorder = Recorder::start(&world.lan, Kind::Client(0)).unwrap();
    let (begin, packet) = (clock::now(), version_3(51, 50, 100, VIP));
    for _ in 0..600 {
        forger.send(GROUP, &packet);
        thread::sleep(ms(5));
    }
    let lasted = Duration::from_nanos(clock::now() - begin);
    let sent = listener.since(OWN[0], begin);
    assert!(sent.iter().all(|heard| heard.says() == Some((51, 150))), "{sent:?}");
    assert_eq!(world.watch.holders(), [0], "{}", world.said());
    let frames = dissect(&recorder.stop().unwrap(), false).unwrap();
    let vip = VIP.to_string();
    let announced = frames.iter().filter(|frame| {
        let of = |field: &str| frame.get(field).map(String::as_str);
        of("arp.src.proto_ipv4") == Some(&vip) && of("arp.dst.proto_ipv4") == Some(&vip)
    });
    let announced = announced.count();
    println!("in {lasted:?} 600 forged Advertisements provoked {} of ours and {announced} announcements", sent.len());
    // Seconds begun, for what goes by the second.
    let seconds = usize::try_from(lasted.as_secs()).unwrap() + 1;
    (sent.len().div_ceil(seconds), announced.div_ceil(seconds))
}

#[test]
fn what_forged_lower_advertisements_provoke_is_limited() {
    let (answers, announcements) = provoked("");
    // One of the timer's and an answer each tenth of the interval; a burst of five each half second, and the rounds that
    // repeat it.
    assert!((4..=11).contains(&answers), "{answers} Advertisements a second");
    assert!((1..=24).contains(&announcements), "{announcements} announcements a second");
}

#[test]
fn with_lower_prio_no_advert_a_forged_lower_advertisement_is_not_answered() {
    let (answers, _) = provoked("lower_prio_no_advert");
    assert!(answers <= 2, "{answers} Advertisements a second, where the timer sends one");
}

/// Three bad packets each second, all the time: of every kind that must not count.
#[test]
fn three_bad_packets_a_second_do_not_disturb_a_backups_timer() {
    let mut world = World::new();
    world.start(0, "", "priority 150\nadvert_int 1", "");
    world.alone(0);
    world.start(1, "", "priority 100\nadvert_int 1", "");
    world.says("BACKUP");
    let forger = world.forger();
    let whole = version_3(51, 200, 100, VIP);
    let resigns = version_3(51, 0, 100, VIP);
    let damaged = |mut packet: Vec<u8>, at: usize, octet: u8| {
        packet[at] = octet;
        packet
    };
    let bad = [
        damaged(whole.clone(), 6, 0),
        damaged(resigns.clone(), 7, 0),
        whole[..10].to_vec(),
        damaged(whole.clone(), 0, 0x32),
        damaged(whole.clone(), 0, 0x41),
        version_3(52, 200, 100, VIP),
    ];
    let mut number = 0_usize;
    let mut annoy = || {
        match number % (bad.len() + 2) {
            kind if kind < bad.len() => forger.send(GROUP, &bad[kind]),
            // Whole, but from beyond a router: RFC 9568, 7.1.
            kind if kind == bad.len() => forger.send_from_afar(GROUP, &whole, 254),
            _ => forger.send_from_afar(GROUP, &resigns, 64),
        }
        number += 1;
        thread::sleep(ms(333));
    };
    (0..15).for_each(|_| annoy());
    assert_eq!(world.watch.holders(), [0], "they made another Master:\n{}", world.said());
    let killed = clock::now();
    world.programs[0].kill();
    // Its addresses stay behind; who answers is the heir.
    let mut took = None;
    while took.is_none() && clock::now() < killed + 15 * SECOND {
        annoy();
        let spans = world.watch.spans()[1].clone();
        took = (world.watch.holders().contains(&1) && spans.within(0, u64::MAX).total() > 0).then(clock::now);
    }
    let took = took.unwrap_or_else(|| panic!("they kept the Backup waiting:\n{}", world.said()));
    let after = Duration::from_nanos(took - killed);
    println!("Master {after:?} after the last Advertisement or up to a second later, by its timer 2.6 s to 3.6 s");
    assert!(after > ms(2500), "they made it stand too soon: {after:?}\n{}", world.said());
    assert!(after < ms(3610) + LATE, "{after:?}\n{}", world.said());
}

#[test]
fn a_backup_waits_for_down_timer_adverts_intervals_and_the_skew() {
    // At priority 100 and half a second: 5.30 s after the last Advertisement, which was sent up to 0.5 s before.
    let mut world = World::new();
    world.start(0, "", "priority 150\nadvert_int 0.5", "");
    world.alone(0);
    world.start(1, "vrrp_down_timer_adverts 10", "priority 100\nadvert_int 0.5", "");
    world.says("BACKUP");
    thread::sleep(ms(2000));
    let killed = clock::now();
    world.programs[0].kill();
    let took = world.watch.has(1, SOON).unwrap_or_else(|| panic!("{}", world.said()));
    let after = Duration::from_nanos(took - killed);
    println!("with 10 adverts of half a second the Backup is Master after {after:?}");
    assert!(after > ms(4700) && after < ms(5305) + LATE, "{after:?}\n{}", world.said());
}

#[test]
fn a_master_told_so_advertises_once_more_before_it_yields() {
    for (lines, answers) in [("higher_prio_send_advert", true), ("", false)] {
        let mut world = World::new();
        // Its timer sends seldom, so that what comes at once is an answer.
        world.start(0, "", &format!("priority 150\nadvert_int 5\ndown_timer_adverts 1\n{lines}"), "");
        world.alone(0);
        let (forger, listener) = (world.forger(), world.listener(&[GROUP]));
        let due = eventually(SOON, || world.said(), || listener.since(OWN[0], 0).last().map(|heard| heard.at));
        assert!(clock::now() < due + SECOND, "just after one of the timer's");
        let begin = clock::now();
        forger.send(GROUP, &version_3(51, 200, 500, VIP));
        let said = || listener.since(OWN[0], begin).iter().filter_map(|heard| heard.says()).collect::<Vec<_>>();
        eventually(SOON, || format!("{:?}\n{}", said(), world.said()), || said().ends_with(&[(51, 0)]).then_some(()));
        assert_eq!(said().contains(&(51, 150)), answers, "{lines}: {:?}\n{}", said(), world.said());
    }
}

#[test]
fn an_owner_told_so_listens_to_nobody_and_tells_of_the_other() {
    let mut world = World::new();
    world.start(0, "", "priority 255\nadvert_int 0.2\nowner_ignore_adverts", "");
    world.alone(0);
    let forger = world.forger();
    let begin = clock::now();
    for _ in 0..20 {
        // From a higher address, as the better of two owners.
        forger.send(GROUP, &version_3(51, 255, 20, VIP));
        thread::sleep(ms(100));
    }
    assert!(world.watch.spans()[0].within(begin, clock::now()).total() > 1_800_000_000, "{}", world.said());
    world.says("alert dual-master");
}

#[test]
fn instances_begin_after_the_startup_delay_once_for_the_agent() {
    let mut world = World::new();
    let begin = clock::now();
    // An owner stands at once.
    world.start(0, "vrrp_startup_delay 4", "priority 255\nadvert_int 0.2", "");
    world.says("instances begin in");
    let held = world.alone(0);
    let after = Duration::from_nanos(held - begin);
    println!("an owner with a startup delay of 4 s holds after {after:?}");
    assert!(after >= ms(4000), "{after:?}");
    let killed = clock::now();
    world.programs[0].signal(Part::Worker, Signal::SIGKILL);
    world.nobody();
    world.alone(0);
    let after = Duration::from_nanos(clock::now() - killed);
    println!("and after the end of its worker again after {after:?}");
    assert!(after < ms(3900), "{after:?}\n{}", world.said());
}

#[test]
fn instances_begin_so_long_after_the_boot() {
    let mut world = World::new();
    let begin = clock::now();
    let uptime: f64 = std::fs::read_to_string("/proc/uptime").unwrap().split(' ').next().unwrap().parse().unwrap();
    if uptime > 86_000.0 {
        println!("the machine has been up for longer than any delay: left to the unit tests");
        return;
    }
    world.start(0, &format!("vrrp_delay_after_boot {:.2}", uptime + 5.0), "priority 255\nadvert_int 0.2", "");
    let after = Duration::from_nanos(world.alone(0) - begin);
    // /proc/uptime has hundredths, and was read a moment before.
    assert!(after > ms(4800), "{after:?}");
}

#[test]
fn unicast_leaves_with_its_ttl_and_counts_within_the_peers_bounds() {
    for auth in ["", "authentication {\nauth_type AH\nauth_pass s3cret\n}\n"] {
        let mut world = World::new();
        let listener = Listener::start(&world.lan.node(1).namespace, &[]).unwrap();
        let speaks = |peer: &str, more: &str| {
            let version = if auth.is_empty() { "" } else { "version 2\n" };
            format!("{version}advert_int 1\n{auth}{more}\nunicast_peer {{\n{peer}\n}}")
        };
        world.start(0, "", &speaks(&OWN[1].to_string(), "priority 150\nunicast_ttl 3"), "");
        world.alone(0);
        eventually(SOON, || world.said(), || (listener.since(OWN[0], 0).len() >= 2).then_some(()));
        let heard = listener.since(OWN[0], 0);
        assert!(heard.iter().all(|one| (one.ttl, one.to) == (3, OWN[1])), "{auth}: {heard:?}");
        if !auth.is_empty() {
            assert!(heard.iter().all(|one| one.octets.is_empty()), "in its header: {heard:?}");
        }
        // Who admits them stays Backup for longer than its timer.
        world.start(1, "", &speaks(&format!("{} min_ttl 3 max_ttl 3", OWN[0]), "priority 100"), "");
        world.says("BACKUP");
        thread::sleep(ms(6000));
        assert_eq!(world.watch.holders(), [0], "{auth}:\n{}", world.said());
        world.programs.pop();
        // Who does not, hears no Master.
        world.start(1, "", &speaks(&format!("{} min_ttl 4", OWN[0]), "priority 100"), "");
        assert!(world.watch.has(1, SOON).is_some(), "{auth}:\n{}", world.said());
        world.says("outside min_ttl and max_ttl");
    }
}

#[test]
fn an_instance_has_a_group_of_its_own_and_hears_no_other() {
    let group = Ipv4Addr::new(239, 1, 1, 1);
    let other = Ipv4Addr::new(192, 0, 2, 101);
    let mut world = World::new();
    let listener = world.listener(&[GROUP, group]);
    // The same VRID on the group of all others.
    let second = format!(
        "vrrp_instance VI_2 {{\ninterface {INTERFACE}\nvirtual_router_id 51\nversion 3\npriority 120\nadvert_int 0.2\n\
         virtual_ipaddress {{\n{other}/24\n}}\n}}\n"
    );
    world.start(0, "", &format!("priority 150\nadvert_int 0.2\nmcast_dst_ip {group}"), &second);
    world.alone(0);
    let both = || {
        let heard = listener.since(OWN[0], 0);
        let to = |to, priority| heard.iter().any(|one| one.to == to && one.says() == Some((51, priority)));
        (to(group, 150) && to(GROUP, 120)).then_some(heard)
    };
    let heard = eventually(SOON, || world.said(), both);
    assert!(heard.iter().all(|one| (one.to == group) == (one.says() == Some((51, 150)))), "{heard:?}");
    let forger = world.forger();
    let shown = || world.on(0, &format!("ip -4 addr show dev {INTERFACE}"));
    for _ in 0..10 {
        forger.send(GROUP, &version_3(51, 200, 20, other));
        thread::sleep(ms(100));
    }
    let addresses = shown();
    assert!(addresses.contains("192.0.2.100/") && !addresses.contains("192.0.2.101/"), "{addresses}");
    for _ in 0..10 {
        forger.send(group, &version_3(51, 200, 20, VIP));
        thread::sleep(ms(100));
    }
    assert!(!shown().contains("192.0.2.100/"), "{}", world.said());
}

#[test]
fn an_instance_without_its_source_or_a_peer_is_in_fault() {
    let mut world = World::new();
    world.on(0, &format!("ip addr add 192.0.2.21/24 dev {INTERFACE}"));
    world.start(0, "", "priority 150\nadvert_int 0.2\nmcast_src_ip 192.0.2.21\ntrack_src_ip", "");
    world.alone(0);
    world.on(0, &format!("ip addr del 192.0.2.21/24 dev {INTERFACE}"));
    world.nobody();
    world.says("source address 192.0.2.21 is not there");
    world.on(0, &format!("ip addr add 192.0.2.21/24 dev {INTERFACE}"));
    world.alone(0);
    world.programs.pop();
    world.start(1, "", "priority 150\nadvert_int 0.2\nunicast_fault_no_peer", "");
    world.says("VI_1 has no unicast_peer");
    thread::sleep(ms(3000));
    assert!(!world.watch.holders().contains(&1), "{}", world.said());
}

#[test]
fn strange_virtual_routers_are_logged_once() {
    let mut world = World::new();
    world.start(0, "log_unknown_vrids", "priority 150\nadvert_int 0.2", "");
    world.alone(0);
    let forger = world.forger();
    for _ in 0..10 {
        forger.send(GROUP, &version_3(77, 100, 100, Ipv4Addr::new(192, 0, 2, 177)));
        thread::sleep(ms(20));
    }
    let words = "virtual router 77 advertises there, and is none of ours";
    world.says(words);
    thread::sleep(ms(500));
    assert_eq!(world.said().matches(words).count(), 1, "{}", world.said());
    assert!(!world.said().contains("virtual router 51 advertises there"), "{}", world.said());
}

#[test]
fn a_link_that_bounces_within_its_delay_is_no_fault() {
    let mut world = World::new();
    let delays = format!("interface_up_down_delays {{\n{INTERFACE} 4 1\n}}");
    world.start(0, "", "priority 150\nadvert_int 3\ndown_timer_adverts 3", &delays);
    world.alone(0);
    world.lan.set_cable(0, false).unwrap();
    thread::sleep(ms(1000));
    world.lan.set_cable(0, true).unwrap();
    thread::sleep(ms(5000));
    assert!(!world.said().contains("FAULT"), "{}", world.said());
    let begin = clock::now();
    world.lan.set_cable(0, false).unwrap();
    world.says("-> FAULT");
    let after = Duration::from_nanos(clock::now() - begin);
    println!("a dead link with a delay of 4 s is a FAULT after {after:?}");
    assert!(after > ms(3900), "{after:?}");
    world.lan.set_cable(0, true).unwrap();
    world.says("FAULT -> BACKUP");
}

#[test]
fn an_interface_may_come_later_where_the_file_says_so() {
    let mut world = World::new();
    let late = "vrrp_instance LATE {\ninterface late0\nvirtual_router_id 60\nversion 3\npriority 255\nadvert_int 0.2\n\
                virtual_ipaddress {\n198.51.100.9/24\n}\n}\n";
    world.start(0, "dynamic_interfaces", "priority 150\nadvert_int 0.2", late);
    world.alone(0);
    world.says("interface late0 is not there yet");
    world.says("LATE: INIT -> FAULT");
    world.on(0, "ip link add late0 type veth peer name late1 && ip link set late1 up && ip link set late0 up");
    world.on(0, "ip addr add 198.51.100.1/24 dev late0");
    world.says("LATE: CLAIMING -> MASTER");
    let mut without = World::new();
    without.start(0, "", "priority 150\nadvert_int 0.2", late);
    without.says("interface late0 does not exist");
}
