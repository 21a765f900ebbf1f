//! Two agents' links in one process, over loopback addresses that no other test uses.

use std::net::Ipv4Addr;
use std::time::Instant;

use keepone_arbiter::quic::{MAX_DATAGRAM, PublicKey};
use tokio::time::{sleep, timeout};

use super::*;

const PORT: u16 = 7946;
const LINK: LinkId = LinkId(0);
/// Generous against a busy machine, tight against a protocol timeout of seconds.
pub(super) const SOON: Duration = Duration::from_secs(3);

pub(super) fn node(id: u16) -> NodeId {
    NodeId::new(id).unwrap()
}

fn address(net: u8, host: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 7, net, host), PORT).into()
}

/// Node `id` of a pair on the loopback nets, one link each.
fn config(identity: &Identity, members: &[(PublicKey, u16)], id: u8, nets: &[u8]) -> HeartbeatConfig {
    let link = |(at, net): (usize, &u8)| LinkConfig {
        id: LinkId(at as u8),
        name: format!("hb{at}"),
        interface: None,
        local: address(*net, id),
        peers: vec![(node(u16::from(3 - id)), address(*net, 3 - id))],
    };
    HeartbeatConfig {
        identity: identity.clone(),
        roster: Arc::new(Roster::new(members.iter().map(|(key, id)| (*key, node(*id))))),
        links: nets.iter().enumerate().map(link).collect(),
        transport: TransportSettings::default(),
    }
}

/// Configurations of two nodes that know each other.
pub(super) fn pair(nets: &[u8]) -> (HeartbeatConfig, HeartbeatConfig) {
    let (a, b) = (Identity::generate().unwrap(), Identity::generate().unwrap());
    let members = [(a.public_key(), 1), (b.public_key(), 2)];
    (config(&a, &members, 1, nets), config(&b, &members, 2, nets))
}

pub(super) fn beat(len: usize, fill: u8) -> Vec<u8> {
    let mut bytes = vec![fill; len];
    bytes[0] = b'B';
    bytes
}

/// Sends until what is wanted arrives; how long that took, or `None` if it did not within the time.
pub(super) async fn until(
    within: Duration,
    mut send: impl FnMut(),
    events: &mut mpsc::Receiver<Event>,
    wanted: impl Fn(&Event) -> bool,
) -> Option<Duration> {
    let start = Instant::now();
    while start.elapsed() < within {
        send();
        while let Ok(Some(event)) = timeout(Duration::from_millis(10), events.recv()).await {
            if wanted(&event) {
                return Some(start.elapsed());
            }
        }
    }
    None
}

async fn beats_pass(
    from: &Heartbeats,
    from_id: u16,
    link: LinkId,
    to: u16,
    events: &mut mpsc::Receiver<Event>,
) -> Duration {
    let bytes = beat(64, rand_octet());
    let wanted = Event::BeatReceived { link, from: node(from_id), bytes: bytes.clone() };
    let send = || _ = from.send_beat(link, node(to), bytes.clone());
    until(SOON, send, events, |event| *event == wanted).await.expect("no beat arrived")
}

fn rand_octet() -> u8 {
    getrandom::u32().unwrap().to_ne_bytes()[0]
}

#[tokio::test]
async fn beats_and_leases_pass_both_ways_on_every_link() {
    let (a, b) = pair(&[1, 2]);
    let (a, mut to_a) = Heartbeats::start(&a).unwrap();
    let (b, mut to_b) = Heartbeats::start(&b).unwrap();
    for link in [LinkId(0), LinkId(1)] {
        beats_pass(&a, 1, link, 2, &mut to_b).await;
        beats_pass(&b, 2, link, 1, &mut to_a).await;
    }
    let lease = b"L lease".to_vec();
    assert_eq!(a.send_lease(node(2), &lease), 2);
    let wanted = Event::LeaseReceived { from: node(1), bytes: lease };
    for _ in 0..2 {
        until(SOON, || {}, &mut to_b, |event| *event == wanted).await.expect("the lease message comes over both links");
    }
    assert_eq!(a.send_lease(node(9), b"L"), 0);
    assert!(a.status().iter().all(|link| link.state == LinkState::Bound && link.peers[0].connected));
}

#[tokio::test]
async fn the_longest_datagram_passes_and_a_longer_one_is_refused() {
    let (a, b) = pair(&[3]);
    let (a, _to_a) = Heartbeats::start(&a).unwrap();
    let (_b, mut to_b) = Heartbeats::start(&b).unwrap();
    beats_pass(&a, 1, LINK, 2, &mut to_b).await;
    let longest = beat(MAX_DATAGRAM, 7);
    a.send_beat(LINK, node(2), longest.clone()).unwrap();
    let wanted = Event::BeatReceived { link: LINK, from: node(1), bytes: longest };
    until(SOON, || {}, &mut to_b, |event| *event == wanted).await.expect("1162 octets fit");
    assert_eq!(a.send_beat(LINK, node(2), beat(MAX_DATAGRAM + 1, 7)), Err(SendError::TooLong(MAX_DATAGRAM + 1)));
}

#[tokio::test]
async fn a_stranger_gets_nothing_through_in_either_direction() {
    let (a, b) = pair(&[4]);
    // The stranger knows both keys, but its own is in nobody's roster.
    let stranger = HeartbeatConfig { identity: Identity::generate().unwrap(), ..b };
    let roster = a.roster.clone();
    let (a, mut to_a) = Heartbeats::start(&a).unwrap();
    let (stranger, mut to_stranger) = Heartbeats::start(&stranger).unwrap();
    let quarter = Duration::from_millis(250);
    // Both are told whose key was refused, with the member that has the address, and nothing else.
    let refused = std::cell::RefCell::new(std::collections::BTreeSet::new());
    let else_came = |event: &Event| match event {
        Event::KeyRefused { node, theirs, .. } => {
            refused.borrow_mut().insert((*node, *theirs));
            false
        }
        _ => true,
    };
    for _ in 0..3 {
        let send = || _ = stranger.send_beat(LINK, node(1), beat(64, 1));
        assert_eq!(until(quarter, send, &mut to_a, else_came).await, None);
        let send = || _ = a.send_beat(LINK, node(2), beat(64, 1));
        assert_eq!(until(quarter, send, &mut to_stranger, else_came).await, None);
    }
    assert!(roster.strangers() > 0);
    assert_eq!(refused.take(), [(Some(node(2)), true), (Some(node(1)), false)].into());
}

#[tokio::test]
async fn a_member_at_anothers_address_is_not_taken_for_it() {
    let (mut a, b) = pair(&[5]);
    a.roster = Arc::new(Roster::new([(b.identity.public_key(), node(3))]));
    let (a, mut to_a) = Heartbeats::start(&a).unwrap();
    let (b, mut to_b) = Heartbeats::start(&b).unwrap();
    let send = || _ = a.send_beat(LINK, node(2), beat(64, 1));
    assert_eq!(until(Duration::from_millis(600), send, &mut to_b, |_| true).await, None);
    // What it says counts in the name that its key proves, whatever its address.
    let send = || _ = b.send_beat(LINK, node(1), beat(64, 1));
    let as_three = |event: &Event| matches!(event, Event::BeatReceived { from, .. } if *from == node(3));
    until(SOON, send, &mut to_a, as_three).await.expect("it is member 3");
}

#[tokio::test]
async fn beats_resume_at_once_after_a_peer_was_killed_and_started_again() {
    let (mut a, mut b_config) = pair(&[6]);
    // What is tried here must not need the silence to be noticed: a beat or two would be lost by it.
    for config in [&mut a, &mut b_config] {
        config.transport.silence = Duration::from_secs(3600);
    }
    let (a, mut to_a) = Heartbeats::start(&a).unwrap();
    let (mut b, mut to_b) = Heartbeats::start(&b_config).unwrap();
    beats_pass(&a, 1, LINK, 2, &mut to_b).await;
    beats_pass(&b, 2, LINK, 1, &mut to_a).await;
    // Longer than the life after which the end of a connection is taken for a refusal.
    sleep(Duration::from_millis(1100)).await;
    for round in 0..3 {
        drop(b);
        let silent = Duration::from_millis(100 + 300 * round);
        until(silent, || _ = a.send_beat(LINK, node(2), beat(64, 1)), &mut to_a, |_| false).await;
        (b, to_b) = Heartbeats::start(&b_config).unwrap();
        let forth = beats_pass(&a, 1, LINK, 2, &mut to_b).await;
        let back = beats_pass(&b, 2, LINK, 1, &mut to_a).await;
        println!("after {silent:?} of silence: {forth:?} to the restarted, {back:?} from it");
        assert!(forth < Duration::from_secs(1) && back < Duration::from_secs(1), "{forth:?} {back:?}");
    }
}

#[tokio::test]
async fn a_peer_that_stays_is_not_dialed_again_and_again() {
    let (a, b) = pair(&[8]);
    let (a, _to_a) = Heartbeats::start(&a).unwrap();
    let (b, mut to_b) = Heartbeats::start(&b).unwrap();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        let _ = a.send_beat(LINK, node(2), beat(64, 1));
        let _ = b.send_beat(LINK, node(1), beat(64, 1));
        let _ = timeout(Duration::from_millis(20), to_b.recv()).await;
    }
    let (of_a, of_b) = (a.status()[0].peers[0].dials, b.status()[0].peers[0].dials);
    assert!(of_a <= 3 && of_b <= 3, "{of_a} and {of_b} connections in 1.5 s");
}

#[tokio::test]
async fn an_address_in_use_is_fatal_and_a_missing_one_is_waited_for() {
    let (mut a, b) = pair(&[9]);
    let taken = std::net::UdpSocket::bind(a.links[0].local).unwrap();
    let error = Heartbeats::start(&a).unwrap_err();
    assert!(matches!(&error, StartError::Bind { source: BindError::AddressInUse { .. }, .. }), "{error}");
    assert!(error.to_string().contains("127.7.9.1:7946 is in use"), "{error}");
    drop(taken);

    // Of the documentation's addresses (RFC 5737), so on no host.
    a.links[0].local = "198.51.100.77:7946".parse().unwrap();
    let (a, _events) = Heartbeats::start(&a).unwrap();
    assert!(matches!(&a.status()[0].state, LinkState::Waiting(why) if why.contains("not on this host")));
    let mut no_interface = b.clone();
    no_interface.links[0].interface = Some("no-such-if".into());
    let (b, _events) = Heartbeats::start(&no_interface).unwrap();
    assert!(matches!(&b.status()[0].state, LinkState::Waiting(why) if why.contains("no-such-if")));
}

#[tokio::test]
async fn packets_of_other_addresses_are_dropped_before_they_are_parsed() {
    let (a, _) = pair(&[10]);
    let (a, _events) = Heartbeats::start(&a).unwrap();
    let other = std::net::UdpSocket::bind("127.7.10.9:0").unwrap();
    for _ in 0..10 {
        other.send_to(&[0xc0; 1200], address(10, 1)).unwrap();
    }
    let start = Instant::now();
    while a.status()[0].filtered < 10 {
        assert!(start.elapsed() < SOON, "{} filtered", a.status()[0].filtered);
        sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_link_leaves_the_dscp_of_network_control_on_its_packets() {
    let (a, _) = pair(&[11]);
    let peer = socket2::Socket::from(std::net::UdpSocket::bind(address(11, 2)).unwrap());
    peer.set_recv_tos_v4(true).unwrap();
    peer.set_read_timeout(Some(SOON)).unwrap();
    let (_a, _events) = Heartbeats::start(&a).unwrap();
    let tos = tokio::task::spawn_blocking(move || received_tos(&peer)).await.unwrap();
    assert_eq!(tos, Some(0xc0));
}

/// The TOS octet of the next packet, from its control message (ip(7), IP_RECVTOS).
fn received_tos(socket: &socket2::Socket) -> Option<u8> {
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg};
    use std::io::IoSliceMut;
    use std::os::fd::AsRawFd as _;
    let mut octets = [0; 2048];
    let mut iov = [IoSliceMut::new(&mut octets)];
    let mut control = nix::cmsg_space!(u8);
    let message = recvmsg::<SockaddrIn>(socket.as_raw_fd(), &mut iov, Some(&mut control), MsgFlags::empty()).ok()?;
    message.cmsgs().ok()?.find_map(|cmsg| match cmsg {
        ControlMessageOwned::Ipv4Tos(tos) => Some(tos),
        _ => None,
    })
}
