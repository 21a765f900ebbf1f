use std::time::Duration;

use keepone_proto::id::{Priority, Vrid};
use keepone_proto::settings::{InterfaceSettings, LinkDelays, VrrpVersion};
use keepone_proto::wire::vrrp::{Advertisement, Auth};

use super::*;
use crate::net::namespace::{FAR_V4, FAR_V6, NEAR_V4, NEAR_V6, World, ip, silent, soon};
use crate::net::packet;
use crate::netlink::watch::Interface;

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn pair(world: &World, family: Family, groups: &[IpAddr]) -> (VrrpSocket, VrrpSocket) {
    let near = VrrpSocket::open("near0", family, Carrier::Ip, groups).unwrap();
    let far = world.far(|| VrrpSocket::open("far0", family, Carrier::Ip, groups)).unwrap();
    (near, far)
}

async fn carries(from: &VrrpSocket, to: &VrrpSocket, source: &str, destination: &str) {
    let bytes = [0x31, 51, 100, 1, 0, 100, 0xab, 0xcd, 10, 9, 0, 100];
    assert_eq!(from.send(address(source), (address(destination), 255), &bytes), Ok(Sent::Taken));
    let received = soon(to.recv()).await.unwrap();
    let wanted =
        Received { source: address(source), destination: address(destination), hop_limit: 255, bytes: bytes.to_vec() };
    assert_eq!(received, wanted);
}

#[test]
fn an_ipv4_advertisement_reaches_the_group_and_not_its_sender() {
    World::run(async |world: &World| {
        let (near, far) = pair(world, Family::V4, &[GROUP_V4.into()]);
        carries(&near, &far, NEAR_V4, "224.0.0.18").await;
        carries(&far, &near, FAR_V4, "224.0.0.18").await;
        assert!(silent(near.recv()).await && silent(far.recv()).await);
    });
}

/// In a header, the IPv4 header goes as it was made, since the check value covers it.
#[test]
fn what_has_an_authentication_header_goes_and_comes_with_its_ipv4_header() {
    World::run(async |world: &World| {
        let group = [GROUP_V4.into()];
        let near = VrrpSocket::open("near0", Family::V4, Carrier::Ah, &group).unwrap();
        let far = world.far(|| VrrpSocket::open("far0", Family::V4, Carrier::Ah, &group)).unwrap();
        let bare = world.far(|| VrrpSocket::open("far0", Family::V4, Carrier::Ip, &group)).unwrap();
        let advertisement = Advertisement {
            version: VrrpVersion::V2,
            vrid: Vrid::new(51).unwrap(),
            priority: Priority(100),
            advert_int: Duration::from_secs(1),
            addresses: vec![address("10.9.0.100")],
            auth: Auth::Header { sequence: 0x1_0000 },
        };
        for destination in ["224.0.0.18", FAR_V4] {
            let packet = ah::emit(&advertisement, address(NEAR_V4), address(destination), b"sesame\0\0").unwrap();
            assert_eq!(near.send(address(NEAR_V4), (address(destination), 255), &packet), Ok(Sent::Taken));
            let received = soon(far.recv()).await.unwrap();
            assert_eq!((received.source, received.hop_limit), (address(NEAR_V4), 255));
            assert_eq!(received.destination, address(destination));
            assert_eq!(received.bytes, packet);
            assert_eq!(ah::parse(&received.bytes).unwrap().open(b"sesame\0\0"), advertisement);
        }
        assert!(silent(near.recv()).await && silent(bare.recv()).await);
    });
}

#[test]
fn an_ipv6_advertisement_reaches_the_group_and_not_its_sender() {
    World::run(async |world: &World| {
        let (near, far) = pair(world, Family::V6, &[GROUP_V6.into()]);
        carries(&near, &far, NEAR_V6, "ff02::12").await;
        carries(&far, &near, FAR_V6, "ff02::12").await;
        assert!(silent(near.recv()).await && silent(far.recv()).await);
    });
}

#[test]
fn another_group_is_only_heard_by_those_who_joined_it() {
    World::run(async |world: &World| {
        let (near, far) = pair(world, Family::V4, &[address("224.0.0.99")]);
        let stranger = world.far(|| VrrpSocket::open("far0", Family::V4, Carrier::Ip, &[GROUP_V4.into()])).unwrap();
        carries(&near, &far, NEAR_V4, "224.0.0.99").await;
        assert!(silent(stranger.recv()).await);
    });
}

#[test]
fn a_unicast_advertisement_reaches_its_peer_over_both_families() {
    World::run(async |world: &World| {
        let (near, far) = pair(world, Family::V4, &[]);
        carries(&near, &far, NEAR_V4, FAR_V4).await;
        let (near, far) = pair(world, Family::V6, &[]);
        carries(&near, &far, NEAR_V6, FAR_V6).await;
    });
}

#[test]
fn the_source_is_the_one_that_was_asked_for() {
    World::run(async |world: &World| {
        ip("addr add 10.9.0.11/24 dev near0");
        let (near, far) = pair(world, Family::V4, &[GROUP_V4.into()]);
        carries(&near, &far, "10.9.0.11", "224.0.0.18").await;
        let strange = near.send(address("192.0.2.1"), (GROUP_V4.into(), 255), &[0; 8]);
        assert!(matches!(strange, Err(SendError::NoSource | SendError::Unreachable)), "{strange:?}");
        let (near6, _) = pair(world, Family::V6, &[]);
        let strange = near6.send(address("fd00::dead"), (address(FAR_V6), 255), &[0; 8]);
        assert_eq!(strange, Err(SendError::NoSource));
        assert_eq!(near.send(address(NEAR_V6), (GROUP_V4.into(), 255), &[0; 8]), Err(SendError::WrongFamily));
    });
}

#[test]
fn a_packet_with_another_hop_limit_is_handed_on_as_it_is() {
    World::run(async |world: &World| {
        let (near, far) = pair(world, Family::V4, &[]);
        assert_eq!(near.send(address(NEAR_V4), (address(FAR_V4), 17), &[1, 2, 3]), Ok(Sent::Taken));
        assert_eq!(soon(far.recv()).await.unwrap().hop_limit, 17);
    });
}

/// One system call's worth: until the kernel refuses one.
#[test]
fn several_packets_leave_in_their_order_up_to_the_first_that_is_refused() {
    World::run(async |world: &World| {
        let cases = [
            (Family::V4, GROUP_V4.into(), NEAR_V4, FAR_V4, FAR_V6),
            (Family::V6, GROUP_V6.into(), NEAR_V6, FAR_V6, FAR_V4),
        ];
        // No length field can tell that length.
        let too_long = vec![5; 70_000];
        for (family, group, source, peer, stranger) in cases {
            let (near, far) = pair(world, family, &[group]);
            let (source, peer) = (address(source), address(peer));
            let list: [(IpAddr, &[u8]); 3] = [(group, &[1; 8]), (peer, &[2; 9]), (group, &[3; 8])];
            assert_eq!(near.send_all(source, 17, &list), Ok(3));
            for (destination, bytes) in list {
                let wanted = Received { source, destination, hop_limit: 17, bytes: bytes.to_vec() };
                assert_eq!(soon(far.recv()).await.unwrap(), wanted);
            }
            let list: [(IpAddr, &[u8]); 3] = [(peer, &[4; 8]), (peer, &too_long), (peer, &[6; 8])];
            assert_eq!(near.send_all(source, 255, &list), Ok(1));
            assert_eq!(soon(far.recv()).await.unwrap().bytes, [4; 8]);
            assert_eq!(near.send_all(source, 255, &list[1..]), Err(SendError::TooLong));
            let list: [(IpAddr, &[u8]); 2] = [(peer, &[7; 8]), (address(stranger), &[8; 8])];
            assert_eq!(near.send_all(source, 255, &list), Err(SendError::WrongFamily));
            assert!(silent(far.recv()).await);
        }
    });
}

#[test]
fn packets_leave_as_internetwork_control() {
    World::run(async |world: &World| {
        let sniffer = world.far(|| {
            let socket = packet::open().unwrap();
            packet::bind(&socket, nix::net::if_::if_nametoindex("far0").unwrap(), 0x0003).unwrap();
            socket
        });
        let (near4, _far4) = pair(world, Family::V4, &[GROUP_V4.into()]);
        let (near6, _far6) = pair(world, Family::V6, &[GROUP_V6.into()]);
        assert_eq!(near4.send(address(NEAR_V4), (GROUP_V4.into(), 255), &[0; 8]), Ok(Sent::Taken));
        assert_eq!(near6.send(address(NEAR_V6), (GROUP_V6.into(), 255), &[0; 8]), Ok(Sent::Taken));
        let (mut v4, mut v6) = (None, None);
        soon(async {
            while v4.is_none() || v6.is_none() {
                let mut frame = [0; 256];
                match nix::sys::socket::recv(sniffer.as_raw_fd(), &mut frame, MsgFlags::MSG_DONTWAIT) {
                    Ok(_) if frame[12..14] == [0x08, 0x00] && frame[23] == 112 => v4 = Some(frame),
                    Ok(_) if frame[12..14] == [0x86, 0xdd] && frame[20] == 112 => v6 = Some(frame),
                    Ok(_) => {}
                    Err(_) => tokio::time::sleep(std::time::Duration::from_millis(1)).await,
                }
            }
        })
        .await;
        let (v4, v6) = (v4.unwrap(), v6.unwrap());
        assert_eq!((v4[15], v4[22]), (0xc0, 255), "TOS and TTL");
        assert_eq!((v6[14], v6[15] >> 4, v6[21]), (0x6c, 0, 255), "version, traffic class and hop limit");
        assert_eq!(&v4[0..6], &[0x01, 0x00, 0x5e, 0, 0, 0x12]);
        assert_eq!(&v6[0..6], &[0x33, 0x33, 0, 0, 0, 0x12]);
    });
}

#[test]
fn a_missing_interface_is_named() {
    World::run(async |_: &World| {
        let error = VrrpSocket::open("nothere0", Family::V4, Carrier::Ip, &[]).err().unwrap();
        assert!(matches!(&error, OpenError::NoInterface(name) if name == "nothere0"), "{error}");
        let error = VrrpSocket::open("near0", Family::V4, Carrier::Ip, &[address("10.9.0.9")]).err().unwrap();
        assert!(matches!(error, OpenError::Join { .. }), "{error}");
    });
}

#[test]
fn sending_on_a_lost_interface_says_what_is_lost() {
    World::run(async |world: &World| {
        let (near, _far) = pair(world, Family::V4, &[GROUP_V4.into()]);
        ip("link set near0 down");
        let down = near.send(address(NEAR_V4), (GROUP_V4.into(), 255), &[0; 8]);
        assert!(matches!(down, Err(SendError::InterfaceDown | SendError::Unreachable)), "{down:?}");
        ip("link del near0");
        let gone = near.send(address(NEAR_V4), (GROUP_V4.into(), 255), &[0; 8]);
        assert!(matches!(gone, Err(SendError::InterfaceGone | SendError::Unreachable)), "{gone:?}");
    });
}

#[test]
fn the_sockets_follow_an_interface_that_is_made_again() {
    World::run(async |world: &World| {
        let interfaces =
            Interfaces::new(&[InterfaceSettings { name: "near0".to_owned(), delays: LinkDelays::default() }]);
        let id = InterfaceId(0);
        let (events, mut queue) = mpsc::channel(16);
        let settings = [Family::V4, Family::V6]
            .map(|family| VrrpSettings {
                above: false,
                interface: id,
                family,
                carrier: Carrier::Ip,
                groups: vec![if family == Family::V4 { GROUP_V4.into() } else { GROUP_V6.into() }],
            })
            .to_vec();
        let sockets = VrrpSockets::new(settings, interfaces.clone(), events);
        for opened in sockets.refresh() {
            assert!(opened.await.unwrap());
        }
        let absent = sockets.send((id, Carrier::Ip), address(NEAR_V4), (GROUP_V4.into(), 255), &[0; 8]);
        assert_eq!(absent, Err(SendError::NotOpen));

        for life in 0..2 {
            if life > 0 {
                ip("link del near0");
                world.cable();
            }
            let ifindex = nix::net::if_::if_nametoindex("near0").unwrap();
            interfaces.update(&Interface { ifindex: Some(ifindex), ..Interface::absent("near0") });
            for opened in sockets.refresh() {
                assert!(opened.await.unwrap());
            }
            let far = world.far(|| VrrpSocket::open("far0", Family::V6, Carrier::Ip, &[GROUP_V6.into()])).unwrap();
            assert_eq!(
                sockets.send((id, Carrier::Ip), address(NEAR_V6), (GROUP_V6.into(), 255), &[7; 8]),
                Ok(Sent::Taken)
            );
            assert_eq!(soon(far.recv()).await.unwrap().bytes, [7; 8]);
            assert_eq!(far.send(address(FAR_V6), (GROUP_V6.into(), 255), &[9; 8]), Ok(Sent::Taken));
            let Some(Event::VrrpReceived { interface, source, bytes, .. }) = soon(queue.recv()).await else { panic!() };
            assert_eq!((interface, source, bytes), (id, address(FAR_V6), vec![9; 8]), "life {life}");
        }
    });
}
