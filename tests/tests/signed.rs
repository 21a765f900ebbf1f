//! Signed Advertisements (`auth_hmac`) on real packets: what nobody can do who has no key, though it hears everything.
//! Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::advert::{Forger, GROUP, Listener, version_3};
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;

/// Wide: the machine may be busy with other tests.
const SOON: Duration = Duration::from_secs(20);
const OWN: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 0, 2, 11), Ipv4Addr::new(192, 0, 2, 12)];
const SIGNED: &str = "auth_hmac {\nkey 1 s3cret-0123456789abcdef0123456789abcdef\nactive_key 1\n}";
/// At half a second, priority 100: the Backup's timer.
const DOWN: Duration = Duration::from_micros(1_804_688);

struct World {
    programs: Vec<Program>,
    watch: Watch,
    listener: Listener,
    forger: Forger,
    lan: Lan,
}

impl World {
    /// The Master and its Backup, and who hears them on the client.
    fn new(lines: &str) -> Self {
        let lan = Lan::build(0).unwrap();
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let client = &lan.host(Kind::Client(0)).namespace;
        let (listener, forger) = (Listener::start(client, &[GROUP]).unwrap(), Forger::new(client).unwrap());
        let mut world = World { programs: Vec::new(), watch, listener, forger, lan };
        for (node, priority) in [(0, 150), (1, 100)] {
            let text = format!(
                "vrrp_instance VI_1 {{\ninterface {INTERFACE}\nvirtual_router_id 51\nversion 3\npriority {priority}\n\
                 advert_int 0.5\n{lines}\nvirtual_ipaddress {{\n{VIP}/24\n}}\n}}\n"
            );
            let file = world.lan.write(&format!("{node}.conf"), &text).unwrap();
            let keepone = keepone_tests::binary::find("keepone");
            let command = [keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
            world.programs.push(world.lan.start(node, &command).unwrap());
            assert!(world.watch.alone(0, SOON).is_some(), "{}", world.said());
        }
        // The Backup has heard some.
        thread::sleep(Duration::from_secs(3));
        assert_eq!(world.watch.holders(), [0], "{}", world.said());
        world
    }

    fn said(&self) -> String {
        self.programs.iter().map(Program::said).collect::<Vec<_>>().join("\n---\n")
    }

    /// The Master dies, and all that it ever said is said again in its name, over and over; when the Backup has the
    /// address, unless it has it not for so long.
    fn takes_over_from_a_ghost(&mut self, limit: Duration) -> Option<Duration> {
        let recorded: Vec<Vec<u8>> = self.listener.since(OWN[0], 0).into_iter().map(|heard| heard.octets).collect();
        assert!(recorded.len() > 4 && recorded.iter().all(|octets| octets[2] == 150), "{recorded:?}");
        self.programs[0].kill();
        let begin = clock::now();
        for octets in recorded.iter().rev().cycle() {
            self.forger.send_as(OWN[0], GROUP, octets);
            thread::sleep(Duration::from_millis(50));
            let passed = Duration::from_nanos(clock::now() - begin);
            if self.watch.holders().contains(&1) {
                return Some(passed);
            }
            if passed > limit {
                return None;
            }
        }
        None
    }
}

#[test]
fn who_has_no_key_makes_nobody_give_way_or_take_over() {
    let world = World::new(SIGNED);
    let heard = world.listener.since(OWN[0], 0);
    let octets = &heard.last().unwrap().octets;
    assert_eq!(octets.len(), 12 + 28, "an Advertisement with one address, and its trailer");
    for _ in 0..10 {
        for priority in [200, 0] {
            let bare = version_3(51, priority, 50, VIP);
            // From an address of its own, and in the names of both nodes.
            world.forger.send(GROUP, &bare);
            world.forger.send_as(OWN[0], GROUP, &bare);
            world.forger.send_as(OWN[1], GROUP, &bare);
            // With the trailer of another one.
            world.forger.send_as(OWN[0], GROUP, &[&bare[..], &octets[12..]].concat());
        }
        // As it was heard, in another name.
        world.forger.send(GROUP, octets);
        world.forger.send_as(OWN[1], GROUP, octets);
        thread::sleep(Duration::from_millis(100));
        assert_eq!(world.watch.holders(), [0], "{}", world.said());
    }
    thread::sleep(DOWN);
    assert_eq!(world.watch.holders(), [0], "{}", world.said());
    for words in ["advertises unsigned", "with another key 1 than ours"] {
        let said = || (world.said().contains(words)).then_some(());
        eventually(SOON, || format!("nobody says {words:?}:\n{}", world.said()), said);
    }
}

/// Without signatures the same does keep the Backup waiting: that is what they are for.
#[test]
fn what_a_dead_master_said_keeps_no_backup_waiting_if_it_was_signed() {
    let after = World::new(SIGNED).takes_over_from_a_ghost(SOON);
    let after = after.unwrap_or_else(|| panic!("old Advertisements keep it waiting"));
    assert!(after < DOWN + Duration::from_secs(4), "{after:?}");
    let after = World::new("").takes_over_from_a_ghost(DOWN * 3);
    assert_eq!(after, None, "unsigned ones should have: nothing is shown here");
}
