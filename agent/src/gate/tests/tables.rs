//! Means 2 alone: other hands in the tables, and what the kernel says of them.

use super::life::garp;
use super::world::{self, Raw};
use super::*;

/// Does something to a gate that is open, and wants it noticed, made anew and shut.
fn is_noticed_and_mended(what: &str, meddle: impl FnOnce(&Host, &str)) {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut gate = gate(&host, Means::Nft, 1);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    let mut gate = host.run(move || {
        gate.self_test().unwrap();
        gate
    });
    let tables = world::nft(&host, "list tables netdev");
    meddle(&host, tables.split_whitespace().nth(2).unwrap());
    let (fault, again, mut gate) = host.run(move || {
        let fault = gate.self_test();
        let again = gate.self_test();
        (fault, again, gate)
    });
    let fault = fault.expect_err(what);
    println!("{what}: {fault}");
    assert!(fault.contains("made anew"), "{what}: {fault}");
    assert_eq!(again, Ok(()), "{what}");
    assert!(!raw.passes(&garp()), "{what}: what was made anew is shut");
    gate.shut(D, epoch(1)).unwrap();
    gate.open(D, epoch(2), in_future(60_000)).unwrap();
    assert!(raw.passes(&garp()), "{what}: and opens under a new epoch");
}

#[test]
fn a_flushed_ruleset_is_noticed_and_made_anew_shut() {
    is_noticed_and_mended("flush ruleset", |host, _| {
        world::nft(host, "flush ruleset");
        assert!(Raw::new(host, "v0").passes(&garp()), "nothing bars any more until the self-test");
    });
}

#[test]
fn every_other_hand_in_the_tables_is_noticed() {
    type Hand = fn(&str) -> String;
    let hands: [(&str, Hand); 8] = [
        ("rules of what leaves", |table| format!("flush chain netdev {table} out4_link_14")),
        ("rules of what comes in", |table| format!("flush chain netdev {table} in_ethernet")),
        ("a rule before the others", |table| format!("insert rule netdev {table} in_if_local accept")),
        ("an address", |table| format!("delete element netdev {table} vip6 {{ fd09::100 }}")),
        ("a VRID", |table| format!("delete element netdev {table} vrid4 {{ 51 }}")),
        ("the table to sleep", |table| format!("add table netdev {table} {{ flags dormant; }}")),
        ("the mark of what is routed", |table| format!("flush chain inet {table} routed")),
        ("the other table", |table| format!("delete table inet {table}")),
    ];
    for (what, hand) in hands {
        is_noticed_and_mended(what, |host, table| {
            world::nft(host, &hand(table));
        });
    }
}

#[test]
fn a_chain_that_was_taken_off_its_interface_is_noticed() {
    is_noticed_and_mended("the chain of what leaves", |host, table| {
        world::nft(host, &format!("delete chain netdev {table} egress_{}", host.index("v0")));
    });
    is_noticed_and_mended("the chain of what comes in", |host, table| {
        world::nft(host, &format!("delete chain netdev {table} ingress_{}", host.index("v0")));
    });
}

#[test]
fn an_open_slot_that_somebody_else_put_there_for_ever_is_taken_out_by_the_next_write() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut gate = gate(&host, Means::Nft, 1);
    let tables = world::nft(&host, "list tables netdev");
    let table = tables.split_whitespace().nth(2).unwrap();
    for set in ["open_vip4_a", "open_vip4_b"] {
        world::nft(&host, &format!("add element netdev {table} {set} {{ 10.9.0.100 timeout 1d }}"));
    }
    assert!(raw.passes(&garp()), "root can");
    gate.open(OTHER, epoch(1), in_future(60_000)).unwrap();
    assert!(!raw.passes(&garp()));
}

/// Somebody else's rules, `TABLE` being the gate's.
fn foreign_rules(rules: &str) {
    let tables = std::process::Command::new("nft").args(["list", "tables", "netdev"]).output().unwrap();
    let tables = String::from_utf8(tables.stdout).unwrap();
    let table = format!("netdev {}", tables.split_whitespace().nth(2).unwrap());
    let rules = rules.replace("TABLE", &table);
    assert!(std::process::Command::new("nft").arg(rules).status().unwrap().success());
}

/// Takes one of two copies of an open name out again.
fn foreign_hand() {
    foreign_rules("delete element TABLE open_vip4_b { 10.9.0.100 }");
}

/// Has both copies live for a day, and bars every further write.
fn foreign_hand_that_seals() {
    for set in ["open_vip4_a", "open_vip4_b"] {
        foreign_rules(&format!("delete element TABLE {set} {{ 10.9.0.100 }}"));
        foreign_rules(&format!("add element TABLE {set} {{ 10.9.0.100 timeout 1d }}"));
    }
    foreign_rules("flush set TABLE writer");
}

#[test]
fn what_reads_back_other_than_written_and_can_t_be_written_again_is_shut() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut gate = gate(&host, Means::Nft, 1);
    let written = host.run(move || {
        nft::as_written(1, foreign_hand_that_seals);
        (gate.open(D, epoch(1), in_future(120_000)), gate)
    });
    assert!(matches!(&written.0, Err(GateError::ReadBack { domain: D })), "{:?}", written.0);
    assert!(!raw.passes(&garp()));
}

#[test]
fn what_reads_back_other_than_written_is_written_again_before_it_is_shut() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut gate = gate(&host, Means::Nft, 1);
    let later = in_future(120_000);
    let (written, gate) = host.run(move || {
        nft::as_written(2, foreign_hand);
        (gate.open(D, epoch(1), later), gate)
    });
    written.unwrap();
    assert_eq!(gate.deadline(D), Some(later));
    assert!(raw.passes(&garp()));
}

#[test]
fn what_reads_back_other_than_written_every_time_is_shut_alone_and_stays_out_of_the_books() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut gate = gate(&host, Means::Nft, 1);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    let later = in_future(120_000);
    let (written, gate) = host.run(move || {
        nft::as_written(3, foreign_hand);
        (gate.open_all(&[(OTHER, epoch(1), later), (D, epoch(1), later)]), gate)
    });
    assert!(matches!(&written[..], [Ok(()), Err(GateError::ReadBack { domain: D })]), "{written:?}");
    assert_eq!(gate.deadline(D), None, "shut, in the books as well");
    assert_eq!(gate.deadline(OTHER), Some(later));
    assert!(!raw.passes(&garp()));
    let mut gate = gate;
    gate.open(OTHER, epoch(1), later).unwrap();
    assert!(!raw.passes(&garp()), "the next write of another does not open it again");
    gate.open(D, epoch(1), later).unwrap();
    assert!(raw.passes(&garp()));
}

#[test]
fn six_thousand_addresses_are_one_gate() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let mut config = config(&host, Means::Nft, 1);
    let many = (0..3_000_u16).flat_map(|n| {
        let [high, low] = n.to_be_bytes();
        [IpAddr::from([10, 8, high, low]), IpAddr::from(Ipv6Addr::new(0xfd08, 0, 0, 0, 0, 0, 0, n))]
    });
    config.domains[1].addresses.extend(many);
    let mut gate = gate_of(&host, config);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    assert!(raw.passes(&garp()));
    let fault = host.run(move || {
        let fault = gate.self_test();
        gate.shut(D, epoch(1)).unwrap();
        fault
    });
    assert_eq!(fault, Ok(()));
    assert!(!raw.passes(&garp()));
}

#[test]
fn the_tables_can_be_listed_and_say_what_is_held() {
    let host = Host::new();
    let mut gate = gate(&host, Means::Nft, 1);
    gate.open(D, epoch(7), in_future(60_000)).unwrap();
    let listed = world::nft(&host, "list ruleset");
    assert!(listed.contains("domain 00000000000000d0 epoch 7 0000000000000001 1 1"), "{listed}");
    assert!(listed.matches("10.9.0.100 timeout").count() == 2, "{listed}");
    println!("{listed}");
}

#[test]
fn a_sender_that_goes_past_the_queue_disciplines_is_stopped_by_means_2_and_not_by_means_1() {
    for means in [Means::Bpf, Means::Nft] {
        let (host, peer) = (Host::new(), Host::new());
        host.cable("v0", &peer, "v1", 9);
        let _gate = gate(&host, means, 1);
        let raw = Raw::new(&host, "v0");
        assert!(!raw.passes(&garp()));
        raw.bypass_queue_disciplines();
        assert_eq!(raw.passes(&garp()), means == Means::Bpf, "{means:?}: docs/gate.md says so");
    }
}

#[test]
fn tcp_that_is_sent_again_does_not_pass_for_transit() {
    let (host, client) = (Host::new(), Host::new());
    host.cable("v0", &client, "v1", 9);
    host.ip("addr add 10.9.0.100/32 dev v0");
    client.ip("neigh replace 10.9.0.100 lladdr 02:00:00:00:09:01 dev v1");
    let mut gate = gate(&host, Means::Nft, 1);
    gate.open(D, epoch(1), in_future(60_000)).unwrap();
    let listener = host.run(|| std::net::TcpListener::bind("10.9.0.100:7000").unwrap());
    let mut at_client = client.run(|| std::net::TcpStream::connect("10.9.0.100:7000").unwrap());
    let (mut at_host, _) = listener.accept().unwrap();
    std::io::Write::write_all(&mut at_host, b"one").unwrap();
    let mut buffer = [0; 3];
    std::io::Read::read_exact(&mut at_client, &mut buffer).unwrap();
    gate.shut(D, epoch(1)).unwrap();
    at_client.set_read_timeout(Some(Duration::from_millis(1500))).unwrap();
    // Sent again some three times meanwhile, from the list that shares its room with the device's pointer.
    std::io::Write::write_all(&mut at_host, b"two").unwrap();
    assert!(std::io::Read::read_exact(&mut at_client, &mut buffer).is_err(), "passed a shut gate: {buffer:?}");
    gate.open(D, epoch(2), in_future(60_000)).unwrap();
    at_client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    std::io::Read::read_exact(&mut at_client, &mut buffer).unwrap();
    assert_eq!(&buffer, b"two", "the connection has outlived the gap");
}

#[test]
fn a_renamed_interface_is_gated_again_and_one_with_a_new_address_still() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, Means::Nft, 1);
    host.ip("link set v0 name renamed0");
    host.ip("link set renamed0 address 02:00:00:00:09:77");
    let fault = host.run(move || {
        let fault = gate.attach_new().map_err(|error| error.to_string());
        (fault, gate.self_test(), gate)
    });
    assert_eq!((fault.0, fault.1), (Ok(0), Ok(())));
    assert!(!Raw::new(&host, "renamed0").passes(&garp()));
}

#[test]
fn an_interface_that_is_deleted_and_made_again_is_gated_again() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, Means::Nft, 1);
    for _ in 0..3 {
        host.ip("link del v0");
        host.cable("v0", &peer, "v1", 9);
        gate = host.run(move || {
            assert_eq!(gate.attach_new().unwrap(), 1);
            gate.self_test().unwrap();
            gate
        });
        assert!(!Raw::new(&host, "v0").passes(&garp()));
    }
}

#[test]
fn an_interface_that_joins_a_bridge_and_leaves_it_is_followed() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let mut gate = gate(&host, Means::Nft, 1);
    let chain = format!("ingress_{}", host.index("v0"));
    host.ip("link add br0 type bridge");
    host.ip("link set br0 up");
    host.ip("link set v0 master br0");
    let mut gate = host.run(move || {
        assert_eq!(gate.attach_new().unwrap(), 1, "the bridge is new");
        gate.self_test().unwrap();
        gate
    });
    assert!(!world::nft(&host, "list ruleset").contains(&chain));
    host.ip("link set v0 nomaster");
    host.run(move || {
        assert_eq!(gate.attach_new().unwrap(), 1);
        gate.self_test().unwrap();
    });
    assert!(world::nft(&host, "list ruleset").contains(&chain));
}

#[test]
fn a_later_run_takes_over_at_once_and_a_change_of_means_leaves_nothing_of_the_former() {
    let (host, peer) = (Host::new(), Host::new());
    host.cable("v0", &peer, "v1", 9);
    let raw = Raw::new(&host, "v0");
    let turns = [(Means::Nft, 1), (Means::Nft, 2), (Means::Bpf, 3), (Means::Nft, 4), (Means::Lifetime, 5)];
    let mut held = Vec::new();
    for (means, incarnation) in turns {
        let mut gate = gate(&host, means, incarnation);
        assert_eq!(gate.leftovers(), held.as_slice(), "{means:?} {incarnation}");
        let until = now() + Duration::from_secs(10);
        while !gate.is_alone() && now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(gate.is_alone());
        assert_eq!(raw.passes(&garp()), means == Means::Lifetime, "{means:?} {incarnation}: shut");
        gate.open(D, epoch_of(incarnation, 1), in_future(60_000)).unwrap();
        assert!(raw.passes(&garp()), "{means:?} {incarnation}");
        held = vec![(D, epoch_of(incarnation, 1))];
        drop(gate);
    }
    assert_eq!(world::nft(&host, "list ruleset"), "");
}

#[test]
fn without_rights_means_2_says_which() {
    let host = Host::new();
    let config = config(&host, Means::Nft, 1);
    host.run(move || {
        // This thread gives up all capabilities (struct __user_cap_header_struct, version 3).
        let (header, none) = ([0x2008_0522_u32, 0], [0_u32; 6]);
        // SAFETY: two words, and two blocks of three, as capset(2) wants them.
        assert_eq!(unsafe { libc::syscall(libc::SYS_capset, header.as_ptr(), none.as_ptr()) }, 0);
        let error = Gate::open_new(&config).unwrap_err().to_string();
        assert!(error.contains("CAP_NET"), "{error}");
    });
}

#[test]
fn a_renewal_costs_little() {
    let host = Host::new();
    let mut gate = gate(&host, Means::Nft, 1);
    let mut times: Vec<Duration> = (0..200)
        .map(|_| {
            let began = now();
            gate.open(D, epoch(1), in_future(1000)).unwrap();
            now().since(began)
        })
        .collect();
    times.sort();
    println!("a renewal: median {:?}, 99 % {:?}, longest {:?}", times[100], times[197], times[199]);
    // Of a lease's fifth: generous, for a busy machine.
    assert!(times[100] < Duration::from_millis(50));
}
