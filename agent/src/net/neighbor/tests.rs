use std::net::Ipv4Addr;
use std::process::Command;

use keepone_proto::settings::{InterfaceSettings, LinkDelays};

use super::*;
use crate::net::namespace::{World, ip, silent, soon};
use crate::netlink::watch::Interface;

const VIP_V4: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 100);
const FOREIGN: Mac = [2, 0, 0, 0, 0, 0xfe];

fn vip_v6() -> std::net::Ipv6Addr {
    "fd00::100".parse().unwrap()
}

fn vips() -> Vec<IpAddr> {
    vec![VIP_V4.into(), vip_v6().into()]
}

fn watch(addresses: &[IpAddr]) -> ClaimWatch {
    ClaimWatch::open("near0", addresses.iter().copied()).unwrap()
}

#[test]
fn announcements_of_both_families_are_heard_across_the_cable() {
    World::run(async |world: &World| {
        let near = watch(&vips());
        let far = world.far(|| FrameSender::open("far0")).unwrap();
        let mac = far.mac().unwrap();
        assert_eq!(far.send(&arp::gratuitous_request(mac, VIP_V4)), Ok(Sent::Taken));
        assert_eq!(soon(near.recv()).await.unwrap(), Claim { address: VIP_V4.into(), mac });
        assert_eq!(far.send(&ndp::unsolicited(mac, vip_v6(), false)), Ok(Sent::Taken));
        assert_eq!(soon(near.recv()).await.unwrap(), Claim { address: vip_v6().into(), mac });
    });
}

#[test]
fn only_claims_of_watched_addresses_wake_the_watch() {
    World::run(async |world: &World| {
        let near = watch(&vips());
        let far = world.far(|| FrameSender::open("far0")).unwrap();
        let strangers = [Ipv4Addr::new(10, 9, 0, 101), Ipv4Addr::new(10, 9, 0, 2)];
        for stranger in strangers {
            assert_eq!(far.send(&arp::gratuitous_request(FOREIGN, stranger)), Ok(Sent::Taken));
        }
        assert_eq!(far.send(&ndp::unsolicited(FOREIGN, "fd00::101".parse().unwrap(), false)), Ok(Sent::Taken));
        // A VLAN's frame on its way past.
        let mut tagged = arp::gratuitous_request(FOREIGN, VIP_V4);
        tagged.splice(12..12, [0x81, 0x00, 0, 5]);
        assert_eq!(far.send(&tagged), Ok(Sent::Taken));
        assert!(silent(near.recv()).await);
    });
}

#[test]
fn so_many_addresses_that_no_filter_holds_them_are_heard_all_the_same() {
    World::run(async |world: &World| {
        let far = world.far(|| FrameSender::open("far0")).unwrap();
        for count in [0, 1, 127, 128, 300, 301, 5000_u32] {
            let many: Vec<IpAddr> =
                (0..count).map(|n| IpAddr::from(Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 200, 0, 0)) + n))).collect();
            let near = watch(&many);
            let Some(IpAddr::V4(last)) = many.last().copied() else { continue };
            assert_eq!(far.send(&arp::gratuitous_request(FOREIGN, last)), Ok(Sent::Taken));
            assert_eq!(soon(near.recv()).await.unwrap().address, IpAddr::from(last), "of {count}");
        }
    });
}

#[test]
fn what_this_node_sends_is_not_heard() {
    World::run(async |_: &World| {
        let near = watch(&vips());
        let own = FrameSender::open("near0").unwrap();
        assert_eq!(own.send(&arp::gratuitous_request(own.mac().unwrap(), VIP_V4)), Ok(Sent::Taken));
        assert!(silent(near.recv()).await);
    });
}

#[test]
fn a_kernel_that_answers_for_the_address_claims_it() {
    World::run(async |world: &World| {
        let near = watch(&vips());
        world.far(|| ip("addr add 10.9.0.100/24 dev far0"));
        let mac = world.far(|| FrameSender::open("far0")).unwrap().mac().unwrap();
        // Whatever becomes of the connection, the near kernel asks who has the address.
        let asks = tokio::net::TcpStream::connect((VIP_V4, 9));
        let _ = soon(asks).await;
        assert_eq!(soon(near.recv()).await.unwrap(), Claim { address: VIP_V4.into(), mac });
    });
}

#[test]
fn a_foreign_claim_is_an_event_and_our_own_is_none() {
    World::run(async |world: &World| {
        let interfaces =
            Interfaces::new(&[InterfaceSettings { name: "near0".to_owned(), delays: LinkDelays::default() }]);
        let (id, domain) = (InterfaceId(0), DomainId(7));
        let (events, mut queue) = mpsc::channel(16);
        let watched = vips().into_iter().map(|address| (address, domain)).collect();
        let neighbors = Neighbors::new([(id, watched)].into(), interfaces.clone(), events);
        let far = world.far(|| FrameSender::open("far0")).unwrap();
        for life in 0..2 {
            let own = FrameSender::open("near0").unwrap();
            let seen = Interface { ifindex: Some(own.ifindex()), mac: own.mac(), ..Interface::absent("near0") };
            interfaces.update(&seen);
            for opened in neighbors.refresh() {
                assert!(opened.await.unwrap());
            }
            if life > 0 {
                break;
            }
            // As if a loop in the network brought it back.
            assert_eq!(far.send(&arp::gratuitous_request(own.mac().unwrap(), VIP_V4)), Ok(Sent::Taken));
            assert_eq!(far.send(&ndp::unsolicited(FOREIGN, vip_v6(), false)), Ok(Sent::Taken));
            assert_eq!(soon(queue.recv()).await, Some(Event::ForeignClaim { domain, mac: FOREIGN }));
            assert!(silent(queue.recv()).await);
            ip("link del near0");
            assert_eq!(neighbors.send(id, &[0; 60]), Err(SendError::InterfaceGone));
            world.cable();
        }
        let near = interfaces.mac(id).unwrap();
        let ear = world.far(|| ClaimWatch::open("far0", vips().into_iter())).unwrap();
        for address in vips() {
            assert_eq!(neighbors.voice().announce(id, address, false), Ok(Sent::Taken));
            assert_eq!(soon(ear.recv()).await.unwrap(), Claim { address, mac: near });
        }
        assert_eq!(neighbors.send(id, &arp::gratuitous_request(FOREIGN, VIP_V4)), Ok(Sent::Taken));
        let far = world.far(|| FrameSender::open("far0")).unwrap();
        assert_eq!(far.send(&arp::gratuitous_request(FOREIGN, VIP_V4)), Ok(Sent::Taken));
        assert_eq!(soon(queue.recv()).await, Some(Event::ForeignClaim { domain, mac: FOREIGN }));
    });
}

#[test]
fn a_frame_that_the_queue_discipline_refuses_is_an_answer() {
    World::run(async |_: &World| {
        let near = FrameSender::open("near0").unwrap();
        let frame = arp::gratuitous_request(FOREIGN, VIP_V4);
        assert_eq!(near.send(&frame), Ok(Sent::Taken));
        let tc = Command::new("tc").args("qdisc add dev near0 root pfifo limit 0".split(' ')).status().unwrap();
        assert!(tc.success());
        assert_eq!(near.send(&frame), Ok(Sent::Refused));
        ip("link set near0 down");
        assert_eq!(near.send(&frame), Err(SendError::InterfaceDown));
    });
}

#[test]
fn damaged_frames_are_no_claims() {
    let whole = [arp::gratuitous_request(FOREIGN, VIP_V4), ndp::unsolicited(FOREIGN, vip_v6(), false)];
    for frame in whole {
        assert!(parse_claim(&frame).is_some());
        for cut in 0..frame.len() {
            assert_eq!(parse_claim(&frame[..cut]), None, "{cut} octets");
        }
    }
}
