use keepone_proto::settings::{InterfaceSettings, LinkDelays};
use tokio::sync::mpsc;

use super::*;
use crate::net::interfaces::Interfaces;
use crate::net::namespace::{FAR_V4, NEAR_V4, World, ip, silent, soon};
use crate::net::vrrp::{Family, GROUP_V4, VrrpSettings, VrrpSocket};
use crate::netlink::watch::Interface;

const LAN: Way = (InterfaceId(0), Carrier::Ip);
/// Of a virtual MAC whose interface is not there yet.
const ABSENT: Way = (InterfaceId(1), Carrier::Ip);

fn packet(way: Way, source: &str, destination: &str, number: usize) -> Packet {
    let number = u8::try_from(number).unwrap();
    Packet {
        way,
        below: (way == ABSENT).then_some(LAN.0),
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        hop_limit: 255,
        bytes: vec![number; 8],
    }
}

async fn sockets() -> VrrpSockets {
    let named = |name: &str| InterfaceSettings { name: name.to_owned(), delays: LinkDelays::default() };
    let interfaces = Interfaces::new(&[named("near0"), named("vrrp.51")]);
    let settings = [LAN, ABSENT].map(|(interface, carrier)| VrrpSettings {
        above: false,
        interface,
        family: Family::V4,
        carrier,
        groups: vec![GROUP_V4.into()],
    });
    let sockets = VrrpSockets::new(settings.to_vec(), interfaces.clone(), mpsc::channel(16).0);
    let ifindex = nix::net::if_::if_nametoindex("near0").unwrap();
    interfaces.update(&Interface { ifindex: Some(ifindex), ..Interface::absent("near0") });
    for opened in sockets.refresh() {
        let _ = opened.await;
    }
    sockets
}

#[test]
fn all_leave_in_the_order_of_their_source_and_who_is_refused_keeps_nobody_back() {
    World::run(async |world: &World| {
        ip("addr add 10.9.0.11/24 dev near0");
        let sockets = sockets().await;
        let far = world.far(|| VrrpSocket::open("far0", Family::V4, Carrier::Ip, &[GROUP_V4.into()])).unwrap();
        let mut outbox = Outbox::default();
        // More than leave together, with one among them that is too long for the kernel.
        let first = TOGETHER + 6;
        for number in 0..first {
            let mut packet = packet(LAN, NEAR_V4, FAR_V4, number);
            packet.bytes.resize(if number == 5 { 70_000 } else { 8 }, 0);
            outbox.put(packet);
        }
        outbox.put(packet(LAN, "10.9.0.11", "224.0.0.18", first));
        outbox.put(packet(ABSENT, NEAR_V4, FAR_V4, first + 1));
        outbox.put(packet(ABSENT, NEAR_V4, FAR_V4, first + 2));
        outbox.leave(&sockets);
        let mut seen = Vec::new();
        for _ in 0..first + 2 {
            let received = soon(far.recv()).await.unwrap();
            seen.push((received.source.to_string(), usize::from(*received.bytes.first().unwrap())));
        }
        let wanted = (0..first).filter(|number| *number != 5).map(|number| (NEAR_V4.to_owned(), number));
        let others = [("10.9.0.11", first), (NEAR_V4, first + 1), (NEAR_V4, first + 2)];
        let others = others.map(|(source, number)| (source.to_owned(), number));
        assert_eq!(seen, wanted.chain(others).collect::<Vec<_>>());
        // Nothing leaves twice.
        outbox.leave(&sockets);
        assert!(silent(far.recv()).await);
    });
}
