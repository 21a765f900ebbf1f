//! Accept mode: an open gate that lets nobody take packets for the addresses (RFC 9568, 6.1, 6.4.3).

use std::process::Command;

use super::ingress::server;
use super::world::{nft, reaches, reaches_soon};
use super::*;

/// Addresses of [`D`] that nobody takes packets for.
fn refusing(host: &Host, means: Means, refused: &[IpAddr]) -> GateConfig {
    let mut config = config(host, means, 1);
    config.domains[1].refused = refused.to_vec();
    config
}

const BOTH: [IpAddr; 2] = [IpAddr::V4(VIP4), IpAddr::V6(VIP6)];

fn an_open_gate_takes_no_packets_for_an_address_that_is_not_accepted(means: Means) {
    for forwarding in ["0", "1"] {
        let (host, client) = server(forwarding);
        let (at4, at6) = (host.udp("0.0.0.0:7000"), host.udp("[fd09::100]:7000"));
        let (from4, from6) = (client.udp("10.9.0.2:0"), client.udp("[fd09::2]:0"));
        let mut gate = gate_of(&host, refusing(&host, means, &BOTH[..1]));
        gate.open(D, epoch(1), in_future(60_000)).unwrap();
        assert!(reaches_soon(&from6, "[fd09::100]:7000", &at6), "one that is accepted");
        assert!(!reaches(&from4, "10.9.0.100:7000", &at4), "one that is not, forwarding {forwarding}");
        assert!(reaches_soon(&from4, "10.9.0.1:7000", &at4), "the host's own");
        drop(gate);
        let mut gate = gate_of(&host, GateConfig { incarnation: Incarnation(2), ..refusing(&host, means, &BOTH) });
        gate.open(D, epoch_of(2, 2), in_future(60_000)).unwrap();
        assert!(!reaches(&from4, "10.9.0.100:7000", &at4) && !reaches(&from6, "[fd09::100]:7000", &at6));
        // Over lo as well, as keepalived's rules at the input hook have it.
        let (inner, near) = (host.udp("0.0.0.0:0"), host.udp("10.9.0.100:7001"));
        assert!(!reaches(&inner, "10.9.0.100:7001", &near), "from this very host");
        gate.shut(D, epoch_of(2, 2)).unwrap();
        assert!(!reaches(&from4, "10.9.0.100:7000", &at4) && !reaches(&from6, "[fd09::100]:7000", &at6), "shut");
    }
}

/// The addresses are there to be found and routed by: ARP, ND to the address itself, and what is forwarded.
fn whoever_asks_for_it_finds_it_and_what_is_sent_by_it_is_forwarded(means: Means) {
    let (host, client) = server("1");
    let far = Host::new();
    host.cable("f0", &far, "f1", 7);
    far.ip("route add default via 10.7.0.1");
    far.ip("-6 route add default via fd07::1");
    let mut gate = gate_of(&host, refusing(&host, means, &BOTH));
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    for address in ["10.9.0.100", "fd09::100"] {
        client.ip(&format!("neigh del {address} dev v1"));
    }
    client.ip("route add 10.7.0.0/24 via 10.9.0.100");
    client.ip("-6 route add fd07::/64 via fd09::100");
    let (at4, at6) = (far.udp("0.0.0.0:7000"), far.udp("[fd07::2]:7000"));
    let (from4, from6) = (client.udp("10.9.0.2:0"), client.udp("[fd09::2]:0"));
    assert!(reaches_soon(&from4, "10.7.0.2:7000", &at4), "by the address as a gateway, which ARP has found");
    assert!(reaches_soon(&from6, "[fd07::2]:7000", &at6), "and ND");
    // Asked again at the address itself (RFC 4861, 7.3.3: a probe is unicast), it answers.
    let state = |client: &Host| {
        client.run(|| {
            let output = Command::new("ip").args(["-6", "neigh", "show", "fd09::100", "dev", "v1"]).output().unwrap();
            String::from_utf8_lossy(&output.stdout).into_owned()
        })
    };
    client.ip("neigh change fd09::100 dev v1 nud probe");
    let answered = (0..40).any(|_| {
        std::thread::sleep(Duration::from_millis(50));
        state(&client).contains("REACHABLE")
    });
    assert!(answered, "{}", state(&client));
    let at = host.udp("[fd09::100]:7000");
    assert!(!reaches(&from6, "[fd09::100]:7000", &at), "and takes nothing all the same");
}

fn a_reload_changes_for_whom_packets_are_taken_in_an_open_gate(means: Means) {
    let (host, client) = server("0");
    let (at, from) = (host.udp("0.0.0.0:7000"), client.udp("10.9.0.2:0"));
    let mut gate = gate(&host, means, 1);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(reaches_soon(&from, "10.9.0.100:7000", &at));
    let change = |gate: &mut Gate, refused: &[IpAddr], number| {
        let (keeper, domains) = (gate.keeper().unwrap(), refusing(&host, means, refused).domains);
        let changed = host.run(move || keeper.change(&domains, number).unwrap().unwrap());
        gate.change(&changed).unwrap();
    };
    change(&mut gate, &BOTH, 1);
    assert!(!reaches(&from, "10.9.0.100:7000", &at));
    change(&mut gate, &[], 2);
    assert!(reaches_soon(&from, "10.9.0.100:7000", &at));
    change(&mut gate, &BOTH, 3);
    // A run with the same configuration finds it so, and one with another has it its own way.
    drop(gate);
    let heir = gate_of(&host, GateConfig { incarnation: Incarnation(2), ..refusing(&host, means, &BOTH) });
    assert_eq!(heir.is_adopted(), means == Means::Bpf);
    drop(heir);
    let mut other = gate_of(&host, config(&host, means, 3));
    assert!(!other.is_adopted());
    other.open(D, epoch_of(3, 4), in_future(60_000)).unwrap();
    assert!(reaches_soon(&from, "10.9.0.100:7000", &at));
}

#[test]
fn who_takes_the_rules_of_accept_mode_away_is_found_out_and_they_are_back() {
    let (host, client) = server("0");
    let (at, from) = (host.udp("0.0.0.0:7000"), client.udp("10.9.0.2:0"));
    let mut gate = gate_of(&host, refusing(&host, Means::Nft, &BOTH));
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    let listed = nft(&host, "list ruleset");
    let table = listed.split_whitespace().find(|word| word.starts_with("keepone_")).unwrap().to_owned();
    nft(&host, &format!("flush set netdev {table} refused4"));
    assert!(reaches_soon(&from, "10.9.0.100:7000", &at), "somebody's hand");
    let (mut gate, fault) = host.run(move || {
        let fault = gate.self_test().unwrap_err();
        (gate, fault)
    });
    assert!(fault.contains("no_accept") && fault.contains("made anew"), "{fault}");
    gate.open(D, epoch(2), in_future(60_000)).unwrap();
    assert!(!reaches(&from, "10.9.0.100:7000", &at));
}

by_both_means!(
    an_open_gate_takes_no_packets_for_an_address_that_is_not_accepted,
    whoever_asks_for_it_finds_it_and_what_is_sent_by_it_is_forwarded,
    a_reload_changes_for_whom_packets_are_taken_in_an_open_gate,
);
