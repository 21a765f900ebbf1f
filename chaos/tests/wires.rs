//! The wires, the cuts and the observers on a real kernel, without any agent. Needs root; all traffic is
//! inside namespaces that the tests make.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::TryStreamExt;
use keepone_chaos::fault::{Class, Network};
use keepone_chaos::netns::clock;
use keepone_chaos::netns::cut::{Cuts, Rule};
use keepone_chaos::netns::error::Error;
use keepone_chaos::netns::observe::responder::PORT;
use keepone_chaos::netns::observe::sniffer::Naming;
use keepone_chaos::netns::observe::{Live, Stop, address, client, oracle, responder, sniffer};
use keepone_chaos::netns::topology::{Host, Kind, Topology, VIP};
use keepone_chaos::spans::Spans;

const MOMENT: Duration = Duration::from_millis(300);

/// Gives a node the VIP, or takes it away.
fn set_vip(host: &Host, present: bool) {
    let set = |handle: rtnetlink::Handle| async move {
        let netlink = |source| Error::Netlink { what: "set the VIP".to_owned(), source };
        let mut links = handle.link().get().match_name("lan0".to_owned()).execute();
        let index = links.try_next().await.map_err(netlink)?.unwrap().header.index;
        if present {
            return handle.address().add(index, IpAddr::V4(VIP), 24).execute().await.map_err(netlink);
        }
        let mut addresses = handle.address().get().set_address_filter(IpAddr::V4(VIP)).execute();
        while let Some(message) = addresses.try_next().await.map_err(netlink)? {
            handle.address().del(message).execute().await.map_err(netlink)?;
        }
        Ok(())
    };
    host.namespace.netlink(set).unwrap();
}

/// Whether a client that asks `address` was answered within the last moment.
struct Asker {
    live: Arc<Live>,
    stop: Stop,
}

impl Asker {
    fn new(topology: &Topology, address: Ipv4Addr) -> Self {
        let (live, stop) = (Arc::new(Live::new(2, 1)), Stop::default());
        for (number, node) in topology.node_hosts().enumerate() {
            responder::start(&node.namespace, u8::try_from(number).unwrap(), stop.clone()).unwrap();
        }
        let host = topology.host(Kind::Client(0)).unwrap();
        client::start(&host.namespace, 0, address, Arc::clone(&live), stop.clone()).unwrap();
        Asker { live, stop }
    }

    /// Waits until the answers are as wanted; what they are after at most four seconds.
    fn sees(&self, wanted: bool) -> bool {
        let mut seen = !wanted;
        for _ in 0..80 {
            thread::sleep(Duration::from_millis(50));
            let last = self.live.last_answer(0);
            seen = last.is_some_and(|(at, _)| clock::now().saturating_sub(at) < 100_000_000);
            if seen == wanted {
                break;
            }
        }
        seen
    }
}

impl Drop for Asker {
    fn drop(&mut self) {
        self.stop.set();
    }
}

#[test]
fn a_cut_is_silent_one_way_by_class_and_ends_with_the_heal() {
    let topology = Topology::build(2, 1, 1, 0).unwrap();
    let mut cuts = Cuts::new(&topology).unwrap();
    let node = topology.host(Kind::Node(0)).unwrap();
    let client = topology.host(Kind::Client(0)).unwrap();
    let asker = Asker::new(&topology, node.port(Network::Lan).unwrap().address);
    assert!(asker.sees(true), "nothing is cut yet");

    let rule = |from, to, class| Rule::between(from, to, Network::Lan, class);
    for (from, to, class, cut) in [
        (node, client, Class::Vrrp, false),
        (node, client, Class::Udp(PORT + 1), false),
        (node, client, Class::Udp(PORT), true),
        (client, node, Class::Udp(PORT), true),
        (client, node, Class::All, true),
    ] {
        cuts.drop(rule(from, to, class)).unwrap();
        thread::sleep(MOMENT);
        assert_eq!(asker.sees(!cut), !cut, "{class:?} from {} to {}", from.name, to.name);
        cuts.heal().unwrap();
        assert!(asker.sees(true), "healed after {class:?}");
    }
    cuts.set_paused(&topology, Kind::Node(0), true).unwrap();
    cuts.heal().unwrap();
    assert!(!asker.sees(false), "a heal does not wake a machine that stands still");
    cuts.set_paused(&topology, Kind::Node(0), false).unwrap();
    assert!(asker.sees(true), "resumed");
}

#[test]
fn a_pulled_cable_is_seen_by_the_machine_and_can_be_put_back() {
    let topology = Topology::build(2, 1, 1, 1).unwrap();
    let node = topology.host(Kind::Node(1)).unwrap();
    let lan = node.port(Network::Lan).unwrap();
    let asker = Asker::new(&topology, lan.address);
    let carrier = || {
        node.namespace.netlink(|handle| async move {
            let mut links = handle.link().get().match_name("lan0".to_owned()).execute();
            let link = links.try_next().await.unwrap().unwrap();
            Ok(link.header.flags.contains(netlink_packet_route::link::LinkFlags::LowerUp))
        })
    };
    assert!(asker.sees(true) && carrier().unwrap());
    topology.set_link(lan, false).unwrap();
    assert!(!asker.sees(false) && !carrier().unwrap());
    topology.set_link(lan, true).unwrap();
    assert!(asker.sees(true) && carrier().unwrap());
}

#[test]
fn the_observers_see_one_holder_then_two_then_the_other_one() {
    let topology = Topology::build(2, 1, 1, 0).unwrap();
    let asker = Asker::new(&topology, VIP);
    let (live, stop) = (Arc::clone(&asker.live), asker.stop.clone());
    oracle::start(&topology, VIP, stop.clone()).unwrap();
    let (mut taps, mut watchers) = (Vec::new(), Vec::new());
    for (number, node) in topology.node_hosts().enumerate() {
        let lan = node.port(Network::Lan).unwrap();
        taps.push(sniffer::start(&topology, lan, number, VIP.into(), Arc::clone(&live), stop.clone()).unwrap());
        watchers.push(address::start(&node.namespace, number, VIP, Arc::clone(&live), stop.clone()).unwrap());
    }
    let (first, second) = (topology.host(Kind::Node(0)).unwrap(), topology.host(Kind::Node(1)).unwrap());
    thread::sleep(MOMENT);
    let begin = clock::now();
    set_vip(first, true);
    thread::sleep(MOMENT);
    let two = clock::now();
    set_vip(second, true);
    thread::sleep(MOMENT);
    let one = clock::now();
    set_vip(first, false);
    thread::sleep(MOMENT);
    let end = clock::now();
    stop.set();

    let wire: Vec<Spans> = taps
        .into_iter()
        .map(|tap| {
            let frames = tap.join().unwrap();
            assert!(frames.iter().all(|frame| frame.naming == Naming::Ip || frame.naming == Naming::Arp));
            Spans::from_sightings(frames.iter().map(|frame| frame.at).collect(), 50_000_000)
        })
        .collect();
    let address: Vec<Spans> = watchers.into_iter().map(|watcher| watcher.join().unwrap()).collect();
    for (view, spans) in [("wire", wire), ("address", address)] {
        let shared = Spans::shared_by_two(&spans).total();
        let really = one - two;
        assert!(shared > really / 2 && shared < really * 2, "{view}: {shared} of {really} ns with two holders");
        assert!(spans[0].within(one + really / 2, end).is_empty(), "{view}: the first one has let go");
        assert!(spans[1].within(begin, two).is_empty(), "{view}: the second one was not there yet");
    }
}
