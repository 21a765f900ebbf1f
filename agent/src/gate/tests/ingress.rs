//! What comes in: delivered here, or on its way to somebody else.

use super::world::{Raw, mac, reaches, reaches_soon, udp_packet};
use super::*;

/// Host with the VIP, and a client that knows its MAC; every interface forwards or not.
pub fn server(forwarding: &'static str) -> (Host, Host) {
    let (host, client) = (Host::new(), Host::new());
    host.cable("v0", &client, "v1", 9);
    host.sysctl("ipv4/ip_forward", forwarding);
    host.sysctl("ipv6/conf/all/forwarding", forwarding);
    host.ip("addr add 10.9.0.100/32 dev v0");
    host.ip("addr add fd09::100/128 dev v0 nodad");
    client.ip("neigh replace 10.9.0.100 lladdr 02:00:00:00:09:01 dev v1");
    client.ip("neigh replace fd09::100 lladdr 02:00:00:00:09:01 dev v1");
    (host, client)
}

fn nothing_is_delivered_to_the_vip_while_shut_whether_the_host_forwards_or_not(means: Means) {
    for forwarding in ["0", "1"] {
        let (host, client) = server(forwarding);
        let (at4, at6) = (host.udp("0.0.0.0:7000"), host.udp("[fd09::100]:7000"));
        let (from4, from6) = (client.udp("10.9.0.2:0"), client.udp("[fd09::2]:0"));
        assert!(reaches(&from4, "10.9.0.100:7000", &at4), "IPv4 without a gate");
        // A fresh link may take a moment for IPv6.
        assert!((0..20).any(|_| reaches(&from6, "[fd09::100]:7000", &at6)), "IPv6 without a gate");
        // What came late must not be taken for what a shut gate let through.
        std::thread::sleep(Duration::from_millis(300));
        while at6.recv(&mut [0; 16]).is_ok() {}
        let mut gate = gate(&host, means, 1);
        assert!(!reaches(&from4, "10.9.0.100:7000", &at4), "IPv4 shut, forwarding {forwarding}");
        assert!(!reaches(&from6, "[fd09::100]:7000", &at6), "IPv6 shut, forwarding {forwarding}");
        assert!(reaches(&from4, "10.9.0.1:7000", &at4), "the host's own address is not gated");
        gate.open(D, epoch(1), in_future(60_000)).unwrap();
        assert!(reaches(&from4, "10.9.0.100:7000", &at4), "IPv4 open");
        assert!(reaches(&from6, "[fd09::100]:7000", &at6), "IPv6 open");
        gate.shut(D, epoch(1)).unwrap();
        assert!(!reaches(&from4, "10.9.0.100:7000", &at4));
        assert!(!reaches(&from6, "[fd09::100]:7000", &at6));
    }
}

fn an_arp_request_for_the_vip_is_heard_but_not_answered_while_shut(means: Means) {
    let (host, client) = server("0");
    let mut gate = gate(&host, means, 1);
    client.ip("neigh flush all");
    client.ip("neigh del 10.9.0.100 dev v1");
    let (from, at) = (client.udp("10.9.0.2:0"), host.udp("0.0.0.0:7000"));
    assert!(!reaches(&from, "10.9.0.100:7000", &at));
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    std::thread::sleep(Duration::from_millis(1200));
    assert!(reaches(&from, "10.9.0.100:7000", &at) || reaches(&from, "10.9.0.100:7000", &at), "answered when open");
}

/// The kernel makes the answer itself, and says of it that it came in by the interface that it leaves by.
fn a_neighbor_solicitation_for_the_vip_is_heard_but_not_answered_while_shut(means: Means) {
    let (host, client) = server("0");
    let mut gate = gate(&host, means, 1);
    client.ip("-6 neigh del fd09::100 dev v1");
    let (from, at) = (client.udp("[fd09::2]:0"), host.udp("[::]:7000"));
    assert!(!reaches(&from, "[fd09::100]:7000", &at));
    let known = client.run(|| {
        let output = std::process::Command::new("ip").args(["-6", "neigh", "show", "fd09::100"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    });
    assert!(!known.contains("lladdr"), "an answer has passed the shut gate: {known}");
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(world::reaches_soon(&from, "[fd09::100]:7000", &at), "answered when open");
}

/// client – router (shut) – holder of the VIP, which answers.
fn router() -> (Host, Host, Host) {
    let (client, router, holder) = (Host::new(), Host::new(), Host::new());
    router.cable("c0", &client, "r0", 7);
    router.cable("h0", &holder, "r0", 9);
    for family in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
        router.sysctl(family, "1");
    }
    client.ip("route add default via 10.7.0.1");
    client.ip("-6 route add default via fd07::1");
    holder.ip("route add default via 10.9.0.1");
    holder.ip("-6 route add default via fd09::1");
    holder.ip("addr add 10.9.0.100/32 dev r0");
    holder.ip("addr add fd09::100/128 dev r0 nodad");
    router.ip("neigh replace 10.9.0.100 lladdr 02:00:00:00:09:02 dev h0");
    router.ip("neigh replace fd09::100 lladdr 02:00:00:00:09:02 dev h0");
    (client, router, holder)
}

/// There and back: the VIP as destination and as source, both in transit.
fn round_trip(client: &Host, holder: &Host) -> bool {
    [("10.7.0.2:7001", "10.9.0.100:7000"), ("[fd07::2]:7001", "[fd09::100]:7000")].into_iter().all(|(from, to)| {
        let (from_socket, to_socket) = (client.udp(from), holder.udp(to));
        reaches_soon(&from_socket, to, &to_socket) && reaches_soon(&to_socket, from, &from_socket)
    })
}

fn a_backup_that_routes_goes_on_routing_to_and_from_the_holder(means: Means) {
    let (client, router, holder) = router();
    let mut gate = gate(&router, means, 1);
    assert!(round_trip(&client, &holder), "shut, the VIP elsewhere");
    assert_eq!(gate.deadline(D), None);

    // The VIP is still here, as in the grace of R5: what would be delivered here is dropped.
    router.ip("addr add 10.9.0.100/32 dev lo");
    let (from, at, holder_socket) =
        (client.udp("10.7.0.2:7001"), router.udp("0.0.0.0:7000"), holder.udp("10.9.0.100:7000"));
    assert!(!reaches(&from, "10.9.0.100:7000", &at), "not delivered");
    let mut buffer = [0; 1];
    assert!(holder_socket.recv_from(&mut buffer).is_err(), "nor forwarded, being local");
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(reaches(&from, "10.9.0.100:7000", &at), "delivered once the gate is open");
}

fn a_backup_that_bridges_goes_on_bridging_but_delivers_nothing_to_itself(means: Means) {
    let (client, bridge, holder) = (Host::new(), Host::new(), Host::new());
    bridge.ip("link add br0 type bridge");
    bridge.ip("link set br0 up");
    for (host, mine) in [(&client, "p0"), (&holder, "p1")] {
        bridge.cable(mine, host, "v1", 9);
        bridge.ip(&format!("addr flush dev {mine}"));
        bridge.ip(&format!("link set {mine} master br0"));
        host.ip("neigh flush nud permanent dev v1");
    }
    holder.ip("link set v1 address 02:00:00:00:09:03");
    holder.ip("addr flush dev v1");
    holder.ip("addr add 10.9.0.3/24 dev v1");
    holder.ip("addr add 10.9.0.100/24 dev v1");
    let mut gate = gate(&bridge, means, 1);
    let (from, to) = (client.udp("10.9.0.2:7001"), holder.udp("10.9.0.100:7000"));
    assert!(reaches(&from, "10.9.0.100:7000", &to), "through the bridge, ARP included");
    assert!(reaches(&to, "10.9.0.2:7001", &from), "and back");

    bridge.ip("addr add 10.9.0.100/24 dev br0");
    let here = bridge.udp("0.0.0.0:7000");
    assert!(reaches(&from, "10.9.0.100:7000", &to), "the holder still has it");
    let text = bridge.run(|| {
        let output = std::process::Command::new("ip").args(["-br", "link", "show", "br0"]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).split_whitespace().nth(2).unwrap().to_owned()
    });
    client.ip(&format!("neigh replace 10.9.0.100 lladdr {text} dev v1"));
    assert!(!reaches(&from, "10.9.0.100:7000", &here), "to the bridge's own MAC: delivered here, so dropped");
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(reaches(&from, "10.9.0.100:7000", &here));
}

fn a_vlan_interface_is_judged_by_itself(means: Means) {
    let (host, client) = server("0");
    for (here, name, n) in [(&host, "v0", 1), (&client, "v1", 2)] {
        if let Err(error) = here.try_ip(&format!("link add link {name} name vlan7 type vlan id 7")) {
            println!("not tested, this kernel has no VLAN interfaces: {error}");
            return;
        }
        here.ip("link set vlan7 up");
        here.ip(&format!("addr add 10.6.0.{n}/24 dev vlan7"));
    }
    host.ip("addr del 10.9.0.100/32 dev v0");
    host.ip("addr add 10.9.0.100/32 dev vlan7");
    client.ip("route add 10.9.0.100/32 dev vlan7");
    client.ip("neigh replace 10.9.0.100 lladdr 02:00:00:00:09:01 dev vlan7");
    let mut gate = gate(&host, means, 1);
    let (from, at) = (client.udp("10.6.0.2:0"), host.udp("0.0.0.0:7000"));
    assert!(reaches(&from, "10.6.0.1:7000", &at), "the VLAN works");
    assert!(!reaches(&from, "10.9.0.100:7000", &at));
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(reaches(&from, "10.9.0.100:7000", &at));
}

fn a_priority_tag_does_not_smuggle_a_frame_past_the_gate(means: Means) {
    let (host, client) = server("0");
    let at = host.udp("0.0.0.0:7000");
    let raw = Raw::new(&client, "v1");
    let frame = |vid: u8| {
        let mut frame = [mac(9, 1), mac(9, 2)].concat();
        frame.extend([0x81, 0, 0xe0, vid, 8, 0]);
        frame.extend(udp_packet([10, 9, 0, 2], VIP4.octets(), 7000));
        frame
    };
    let arrives = |vid| raw.passes(&frame(vid)) && at.recv_from(&mut [0; 16]).is_ok();
    assert!(arrives(0), "without a gate, the kernel delivers what only carries a priority");
    assert!(!arrives(7), "and not what belongs to a VLAN that it does not have");
    let mut gate = gate(&host, means, 1);
    assert!(!arrives(0));
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(arrives(0));
}

fn a_virtual_mac_on_a_macvlan_is_gated(means: Means) {
    let (host, client) = server("0");
    host.ip("addr del 10.9.0.100/32 dev v0");
    host.ip("link add link v0 name vmac type macvlan mode bridge");
    host.ip("link set vmac address 00:00:5e:00:01:33 up");
    host.ip("addr add 10.9.0.100/32 dev vmac");
    client.ip("neigh replace 10.9.0.100 lladdr 00:00:5e:00:01:33 dev v1");
    let (from, at) = (client.udp("10.9.0.2:0"), host.udp("0.0.0.0:7000"));
    assert!(reaches(&from, "10.9.0.100:7000", &at), "works without a gate");
    let mut gate = gate(&host, means, 1);
    assert!(!reaches(&from, "10.9.0.100:7000", &at));
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(reaches(&from, "10.9.0.100:7000", &at));
}

/// A BACKUP must discard what is sent to the virtual router's MAC, whoever's address is in it (RFC 9568, 6.4.2);
/// what is sent to the interface below the macvlan is its own affair.
fn what_is_sent_to_the_virtual_mac_is_discarded_while_shut(means: Means) {
    let (host, client) = server("1");
    host.ip("link add link v0 name vmac type macvlan mode bridge");
    host.ip("link set vmac address 00:00:5e:00:01:33 up");
    let far = Host::new();
    host.cable("f0", &far, "f1", 7);
    far.ip("route add default via 10.7.0.1");
    // Both ways of answering ARP for the host go: the client is told.
    let at = host.udp("0.0.0.0:7000");
    let at_far = far.udp("0.0.0.0:7000");
    client.ip("route add 10.7.0.0/24 via 10.9.0.1");
    let from = client.udp("10.9.0.2:0");
    let to = |mac: &str| client.ip(&format!("neigh replace 10.9.0.1 lladdr {mac} dev v1"));
    let (own, virtual_mac) = ("02:00:00:00:09:01", "00:00:5e:00:01:33");
    host.sysctl("ipv4/conf/all/rp_filter", "0");
    host.sysctl("ipv4/conf/vmac/rp_filter", "0");
    to(virtual_mac);
    assert!(reaches_soon(&from, "10.9.0.1:7000", &at), "works without a gate");
    assert!(reaches_soon(&from, "10.7.0.2:7000", &at_far), "and is routed");
    let mut gate = gate(&host, means, 1);
    assert!(!reaches(&from, "10.9.0.1:7000", &at), "delivered");
    assert!(!reaches(&from, "10.7.0.2:7000", &at_far), "routed");
    to(own);
    assert!(
        reaches_soon(&from, "10.9.0.1:7000", &at) && reaches_soon(&from, "10.7.0.2:7000", &at_far),
        "the node's own MAC"
    );
    to(virtual_mac);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(reaches_soon(&from, "10.9.0.1:7000", &at) && reaches_soon(&from, "10.7.0.2:7000", &at_far), "open");
}

/// The holder behind a BACKUP that is a bridge uses the virtual MAC, and goes on doing so.
fn a_bridge_passes_the_holders_virtual_mac(means: Means) {
    let (client, bridge, holder) = (Host::new(), Host::new(), Host::new());
    bridge.ip("link add br0 type bridge");
    bridge.ip("link set br0 up");
    for (host, mine) in [(&client, "p0"), (&holder, "p1")] {
        bridge.cable(mine, host, "v1", 9);
        bridge.ip(&format!("addr flush dev {mine}"));
        bridge.ip(&format!("link set {mine} master br0"));
        host.ip("neigh flush nud permanent dev v1");
    }
    holder.ip("link set v1 address 00:00:5e:00:01:33");
    holder.ip("addr flush dev v1");
    holder.ip("addr add 10.9.0.100/24 dev v1");
    let _gate = gate(&bridge, means, 1);
    let (from, to) = (client.udp("10.9.0.2:7001"), holder.udp("10.9.0.100:7000"));
    assert!(reaches_soon(&from, "10.9.0.100:7000", &to), "there");
    assert!(reaches_soon(&to, "10.9.0.2:7001", &from), "and back");
}

#[test]
fn an_interface_that_joins_a_bridge_hands_its_incoming_frames_to_it_and_takes_them_back() {
    let (host, client) = server("0");
    let gate = gate(&host, Means::Bpf, 1);
    let pin = slot::pin(&host.bpf_dir, Incarnation(1), &format!("-in-{}", host.index("v0")));
    host.ip("link add br0 type bridge");
    host.ip("link set br0 up");
    host.ip("link set v0 master br0");
    let (at_pin, mut gate) = (pin.clone(), gate);
    let mut gate = host.run(move || {
        assert_eq!(gate.attach_new().unwrap(), 1, "the bridge is new");
        assert!(!at_pin.exists());
        gate.self_test().unwrap();
        gate
    });
    host.ip("link set v0 nomaster");
    host.run(move || {
        assert_eq!(gate.attach_new().unwrap(), 1);
        assert!(pin.exists());
        gate.self_test().unwrap();
    });
    drop(client);
}

by_both_means!(
    what_is_sent_to_the_virtual_mac_is_discarded_while_shut,
    a_bridge_passes_the_holders_virtual_mac,
    nothing_is_delivered_to_the_vip_while_shut_whether_the_host_forwards_or_not,
    an_arp_request_for_the_vip_is_heard_but_not_answered_while_shut,
    a_neighbor_solicitation_for_the_vip_is_heard_but_not_answered_while_shut,
    a_backup_that_routes_goes_on_routing_to_and_from_the_holder,
    a_backup_that_bridges_goes_on_bridging_but_delivers_nothing_to_itself,
    a_vlan_interface_is_judged_by_itself,
    a_priority_tag_does_not_smuggle_a_frame_past_the_gate,
    a_virtual_mac_on_a_macvlan_is_gated,
);
