//! Members, links, arbiter, gate, references.

use std::time::Duration;

use super::*;
use keepone_proto::id::NodeId;
use keepone_proto::settings::{Authority, Move};

#[test]
fn a_lease_that_does_not_fit_is_refused_with_the_formula() {
    let error =
        refused(&changed("lease 500ms", "lease 100ms"), "k.conf:34:11: error: lease too short", "--explain-timing");
    assert!(error.message.contains("L_h = L_a*(1-rho)/(1+rho) - E_tx - E_g - H = 100 ms"), "{}", error.message);
    refused(
        &changed("lease 500ms", "lease 2s\n    lease_max 1s"),
        "k.conf:34:11: error: lease L_a = 2000 ms is longer",
        "",
    );
}

#[test]
fn a_silence_longer_than_the_lease_is_refused_with_the_numbers() {
    let error = refused(
        &changed("period 100ms", "period 200ms"),
        "k.conf:34:11: error: a peer counts as silent",
        "lower `period`",
    );
    assert!(error.message.contains("3 * 200 ms = 600 ms"), "{}", error.message);
}

#[test]
fn two_voters_are_refused_and_one_witness_is_warned_of() {
    let error =
        refused(&changed("voters n1 n2 w", "voters n1 n2"), "k.conf:33:12: error: 2 voters", "at least 3 voters");
    assert!(error.message.contains("no failover would be possible"), "{}", error.message);
    refused(&changed("voters n1 n2 w", "voters n1"), "k.conf:33:12: error: 1 voter:", "");
    warned(&changed("voters n1 n2 w", "voters w"), "k.conf:33:12: warning: a single witness", "three witnesses");
}

#[test]
fn two_nodes_without_a_witness_are_refused_when_voters_are_the_default() {
    let text = changed("    voters n1 n2 w\n", "");
    assert!(load(&text).is_ok());
    let witness = format!(
        "    member w {{\n        id 3\n        public_key {}\n        witness 10.9.0.3:7947\n    }}\n",
        KEYS[2]
    );
    refused(&text.replace(&witness, ""), "k.conf:27:10: error: 2 voters", "add a witness");
}

#[test]
fn a_policy_is_for_the_whole_file_or_for_one_domain() {
    use keepone_proto::settings::Policy;
    let policies = |text: &str| {
        let (config, _) = load(text).unwrap();
        config.domains().into_iter().map(|domain| domain.policy).collect::<Vec<_>>()
    };
    assert_eq!(policies(&sound()), [Policy::Strict, Policy::Strict]);
    let general = changed("lease 500ms", "lease 500ms\n    policy degrade");
    assert_eq!(policies(&general), [Policy::Degrade, Policy::Degrade]);
    let one = general.replace("virtual_router_id 52", "virtual_router_id 52\n    arbiter_policy strict");
    assert_eq!(policies(&one), [Policy::Degrade, Policy::Strict]);
    let grouped =
        one + "vrrp_sync_group G {\n    arbiter_policy degrade\n    group {\n        A\n        B\n    }\n}\n";
    refused(&grouped, "k.conf:58:20: error: `B` moves with sync group `G`", "move `arbiter_policy` into");
}

#[test]
fn two_masters_are_accepted_only_by_that_very_word_and_with_a_warning() {
    let with = |word: &str| changed("lease 500ms", &format!("lease 500ms\n    policy {word}"));
    warned(&with("i-accept-dual-master"), "k.conf:35:12: warning: `i-accept-dual-master`", "`degrade`");
    refused(&with("dual-master"), "k.conf:35:12: error: policy: `dual-master` is not strict, degrade or", "`strict`");
    let none = with("degrade").replace("type quorum", "type none");
    refused(&none, "k.conf:35:12: error: policy `degrade` without an arbiter", "type quorum");
}

#[test]
fn a_mirror_is_a_gateway_of_the_family_and_no_virtual_address() {
    let with = |word: &str| changed("virtual_router_id 51", &format!("virtual_router_id 51\n    mirror {word}"));
    assert!(load(&with("192.0.2.1")).is_ok() && load(&with("off")).is_ok() && load(&with("auto")).is_ok());
    refused(
        &with("192.0.2.101"),
        "k.conf:47:12: error: mirror 192.0.2.101 is a virtual address",
        "outside the cluster",
    );
    refused(&with("2001:db8::1"), "k.conf:47:12: error: mirror 2001:db8::1: `A` has no", "");
    refused(&with("gateway"), "k.conf:47:12: error: mirror: `gateway` is not auto, off or an address", "");
}

#[test]
fn virtual_addresses_that_no_reference_judges_are_noted() {
    let (_, said) = load(&changed("198.51.100.1\n", "2001:db8::1\n")).unwrap();
    found(&said, Severity::Note, "k.conf:39:1: note: no reference address is IPv4", "each family is judged by its own");
}

#[test]
fn members_that_do_not_exist_are_named_with_a_guess() {
    refused(
        &changed("voters n1 n2 w", "voters n1 n22 w"),
        "k.conf:33:15: error: no member is named `n22`",
        "did you mean `n2`?",
    );
    refused(&changed("node n1", "node nowhere"), "k.conf:2:10: error: no member is named `nowhere`", "n1, n2, w");
    refused(&changed("peer n2 10.1", "peer n3 10.1"), "k.conf:24:10: error: no member is named `n3`", "");
    refused(&changed("voters n1 n2 w", "voters n1 n2 w n1"), "k.conf:33:20: error: `n1` is a voter twice", "once");
}

#[test]
fn a_witness_named_alone_votes_with_all_nodes() {
    let (all, _) = load(&sound()).unwrap();
    let (witness, _) = load(&changed("voters n1 n2 w", "witness w")).unwrap();
    assert_eq!(all.authority, witness.authority);
    refused(&changed("voters n1 n2 w", "voters w n1\n    witness n2"), "k.conf:34:13: error: `n2` is a node", "voters");
}

#[test]
fn ids_keys_and_names_are_given_once() {
    refused(
        &changed("id 2", "id 1"),
        "k.conf:9:12: error: `n2` has the id 1, which another member has; the first is at k.conf:5:12",
        "of its own",
    );
    refused(&changed(KEYS[1], KEYS[0]), "k.conf:10:20: error: `n2` has the public key", "keepone keys");
    refused(&changed("member w", "member n2"), "k.conf:12:12: error: a second member named `n2`", "");
    refused(&changed("heartbeat_link hb1", "heartbeat_link hb0"), "k.conf:26:16: error: a second heartbeat link", "");
    refused(
        &changed("address 10.2.0.1", "address 10.1.0.1"),
        "k.conf:28:13: error: link `hb1` uses 10.1.0.1 port 7946",
        "",
    );
    refused(
        &changed("vrrp_instance B", "vrrp_instance A"),
        "k.conf:53:15: error: a second vrrp_instance named `A`",
        "",
    );
}

#[test]
fn what_a_member_or_link_lacks_is_named() {
    refused(&changed("        id 2\n", ""), "k.conf:8:12: error: member `n2` has no id", "keepone keys");
    refused(&changed("    key_file n1.key\n", ""), "k.conf:1:9: error: cluster `demo` has no key_file", "");
    refused(&changed("    interface hb0\n", ""), "k.conf:21:16: error: heartbeat link `hb0` has no interface", "");
    refused(
        &changed("    peer n2 10.1.0.2\n", ""),
        "k.conf:21:16: error: heartbeat link `hb0` has no peer",
        "peer NAME ADDRESS",
    );
    refused(
        &changed("node n1", "node w"),
        "k.conf:2:10: error: this node is `w`, which is a witness",
        "keepone-witness",
    );
    refused(
        &sound()
            .replace("cluster demo {", "")
            .replacen("    }\n}\n", "    }\n", 1)
            .replace("    node n1\n    key_file n1.key\n", ""),
        "k.conf:2:12: error: a member without a cluster",
        "cluster NAME",
    );
}

#[test]
fn a_peer_is_another_node_with_another_address_of_the_same_family() {
    refused(
        &changed("peer n2 10.1.0.2", "peer n2 10.1.0.1"),
        "k.conf:24:13: error: peer `n2` has this node's own address",
        "",
    );
    refused(
        &changed("peer n2 10.1.0.2", "peer n2 2001:db8::2"),
        "k.conf:24:13: error: peer `n2` at 2001:db8::2",
        "one family",
    );
    refused(&changed("peer n2 10.1.0.2", "peer n1 10.1.0.2"), "k.conf:24:13: error: peer `n1` is this node itself", "");
    refused(&changed("peer n2 10.1.0.2", "peer w 10.1.0.2"), "k.conf:24:12: error: peer `w` is a witness", "");
}

#[test]
fn a_node_that_no_link_reaches_is_named() {
    let third = format!("    member n3 {{\n        id 4\n        public_key {}\n    }}\n}}\nheartbeat {{", KEYS[3]);
    refused(
        &changed("}\nheartbeat {", &third),
        "k.conf:17:12: error: no heartbeat link leads to `n3`",
        "peer n3 ADDRESS",
    );
}

#[test]
fn one_heartbeat_link_is_warned_of_and_none_is_refused() {
    let first = "heartbeat_link hb0 {\n    interface hb0\n    address 10.1.0.1\n    peer n2 10.1.0.2\n}\n";
    let second = "heartbeat_link hb1 {\n    interface hb1\n    address 10.2.0.1\n    peer n2 10.2.0.2\n}\n";
    let one = changed(second, "");
    warned(&one, "k.conf:21:16: warning: `hb0` is the only heartbeat link", "second link");
    refused(&one.replace(first, ""), "k.conf:22:10: error: `type quorum` without heartbeat links", "heartbeat_link");
}

#[test]
fn a_weak_gate_under_an_arbiter_must_be_asked_for() {
    let weak = changed("means auto", "means lifetime");
    refused(&weak, "k.conf:37:11: error: `means lifetime` is a weak gate", "claim_without_gate");
    warned(
        &weak.replace("    type quorum", "    type quorum\n    claim_without_gate"),
        "k.conf:38:11: warning: `means lifetime`",
        "means auto",
    );
    warned(
        &changed("    type quorum", "    type quorum\n    claim_without_gate on"),
        "k.conf:31:1: warning: `claim_without_gate`",
        "remove it",
    );
}

#[test]
fn an_arbiter_wants_a_cluster_and_a_type_that_works() {
    refused("arbiter {\n type quorum\n}\n", "k.conf:2:7: error: `type quorum` without a cluster", "cluster NAME");
    refused("arbiter {\n type etcd\n}\n", "k.conf:2:7: error: `type etcd` without a cluster", "cluster NAME");
    refused(&changed("    type quorum\n", ""), "k.conf:31:1: error: `arbiter` has no type", "type quorum");
    let (_, notes) = load(&changed("type quorum", "type none")).unwrap();
    found(&notes, Severity::Note, "k.conf:1:9: note: cluster `demo` has no arbiter", "two holders");
}

#[test]
fn etcd_wants_its_servers_and_nobody_else_who_decides() {
    const TYPE: &str = "    type quorum\n    voters n1 n2 w";
    let etcd = |lines: &str| changed(TYPE, &format!("    type etcd\n{lines}"));
    let servers = "    endpoints http://10.0.0.1:2379 http://10.0.0.2:2379 http://10.0.0.3:2379\n";
    let (config, _) = load(&etcd(servers)).unwrap();
    let known = config.etcd.unwrap();
    assert_eq!((known.endpoints.len(), known.prefix.as_str(), known.user), (3, "/keepone", None));
    refused(&etcd(""), "k.conf:32:10: error: `type etcd` without endpoints", "endpoints http://");
    let single = "    endpoints http://10.0.0.1:2379\n";
    warned(&etcd(single), "k.conf:33:15: warning: a single endpoint", "three or five");
    refused(&etcd("    endpoints 10.0.0.1:2379\n"), "k.conf:33:15: error: ", "http://10.0.0.1:2379");
    refused(&etcd(&format!("{servers}    etcd_lease\n")), "k.conf:34:", "`lease 2s` or more");
    let hangs = etcd(&format!("{servers}    etcd_lease\n")).replace("lease 500ms", "lease 2s");
    assert!(load(&hangs).unwrap().0.etcd.unwrap().lease);
    let voters = etcd(&format!("{servers}    voters n1 n2 w\n"));
    refused(&voters, "k.conf:34:12: error: voters, and `type etcd`", "remove");
    let both = changed(TYPE, &format!("{TYPE}\n{servers}"));
    refused(&both, "k.conf:32:10: error: `endpoints` of etcd, and `type quorum`", "never two");
    let user = etcd(&format!("{servers}    user keepone\n"));
    refused(&user, "k.conf:31:1: error: one of `user` and `password_file`", "both");
    let plain = etcd(&format!("{servers}    ca_file ca.pem\n"));
    refused(&plain, "k.conf:34:13: error: `http://10.0.0.1:2379` is spoken to without TLS", "https");
}

#[test]
fn a_virtual_machines_profile_makes_room_for_hidden_freezes_and_must_fit() {
    let vm = |more: &str| changed("    type quorum", &format!("    type quorum\n    profile vm{more}"));
    let sound = vm("").replace("    lease 500ms\n", "");
    let (config, _) = load(&sound).unwrap();
    let Authority::Quorum(quorum) = &config.authority else { panic!("{:?}", config.authority) };
    let t = &quorum.timing;
    let ms = Duration::from_millis;
    assert_eq!((t.lease, t.hidden_freeze, t.horizon(), t.renewal_interval()), (ms(2000), ms(500), ms(500), ms(160)));
    let words = keepone_config::explain_timing(&config, Duration::from_millis(4));
    assert!(words.contains("costs nothing up to H = 500 ms") && words.contains("G/(1-rho) = 505.050 ms"), "{words}");
    let (own, _) =
        load(&sound.replace("profile vm", "profile vm\n    hidden_freeze 200ms\n    gate_horizon 300ms")).unwrap();
    let Authority::Quorum(own) = own.authority else { panic!() };
    assert_eq!((own.timing.hidden_freeze, own.timing.horizon()), (ms(200), ms(300)));
    refused(
        &vm("\n    lease 1s").replace("    lease 500ms\n", ""),
        "k.conf:34:11: error: lease too short",
        "explain-timing",
    );
    refused(
        &vm("\n    gate_horizon 25ms").replace("    lease 500ms\n", ""),
        "k.conf:33:13: error: gate horizon too short",
        "explain-timing",
    );
    refused(&changed("    type quorum", "    type quorum\n    profile cloud"), "k.conf:33:13: error:", "metal");
}

#[test]
fn references_must_be_reachable_at_all() {
    refused(&changed("need 1", "need 2"), "k.conf:41:10: error: need 2 of 1 reference addresses", "from 1 to 1");
    refused(&changed("    198.51.100.1\n", ""), "k.conf:39:1: error: `reference_ip` without an address", "gateway");
    refused(
        &changed("need 1", "interval 100ms\n    timeout 200ms"),
        "k.conf:42:13: error: timeout 200 ms is longer than the interval 100 ms",
        "",
    );
    refused(
        &changed("198.51.100.1", "192.0.2.101"),
        "k.conf:40:5: error: reference address 192.0.2.101 is a virtual address",
        "outside the cluster",
    );
    refused(&changed("need 1", "198.51.100.1"), "k.conf:41:5: error: reference address 198.51.100.1 twice", "");
    refused(
        &changed("198.51.100.1", "198.51.100.1 need 1"),
        "k.conf:40:18: error: a reference address stands alone",
        "line of its own",
    );
}

#[test]
fn voter_sets_follow_one_another_one_member_at_a_time() {
    let next = |former: &str, generation: &str| {
        changed("voters n1 n2 w", &format!("voters n1 n2 w\n    {former}\n    {generation}"))
    };
    refused(
        &next("former_voters n1", "generation 2"),
        "k.conf:34:19: error: `former_voters` and the voters differ by 2",
        "one voter at a time",
    );
    refused(
        &next("former_voters n1 n2 w", "generation 2"),
        "k.conf:34:19: error: `former_voters` and the voters differ by 0 members",
        "",
    );
    refused(
        &next("former_voters n1 n2", ""),
        "k.conf:34:19: error: `former_voters` without a generation",
        "generation 2",
    );
    refused(&next("former_voters n1 n9", "generation 2"), "k.conf:34:22: error: no member is named `n9`", "");
    let (config, _) = load(&next("former_voters n1 n2", "generation 2")).unwrap();
    let Authority::Quorum(quorum) = config.authority else { panic!() };
    assert_eq!((quorum.generation, quorum.former.map(|former| former.len())), (2, Some(2)));
}

#[test]
fn a_move_names_the_old_authority_and_counts_on() {
    let moves = |lines: &str| load(&changed("voters n1 n2 w", &format!("voters n1 n2 w\n{lines}")));
    let servers = "endpoints http://10.0.0.1:2379 http://10.0.0.2:2379 http://10.0.0.3:2379";
    let (config, _) = moves(&format!("joint_voters etcd\ngeneration 2\n{servers}")).unwrap();
    let Authority::Quorum(quorum) = config.authority else { panic!() };
    assert_eq!(quorum.moving, Some(Move::Joint(vec![NodeId::STORE])));
    assert_eq!((quorum.former().unwrap().voters, quorum.generation), (vec![NodeId::STORE], 2));
    assert_eq!(config.etcd.unwrap().endpoints.len(), 3, "both are asked");
    let (config, _) = moves("former_joint_voters w\ngeneration 3").unwrap();
    let Authority::Quorum(quorum) = config.authority else { panic!() };
    assert_eq!(quorum.former().unwrap().moving, quorum.moving.map(|moving| Move::Joint(moving.from().to_vec())));
    for (lines, complaint) in [
        ("joint_voters w", "`joint_voters` with generation 1, where 2 is the least"),
        ("former_joint_voters w\ngeneration 2", "where 3 is the least"),
        ("joint_voters w\nformer_joint_voters w\ngeneration 3", "at once"),
        ("joint_voters n1 n2 w\ngeneration 2", "names what can't be left"),
        ("joint_voters etcd\ngeneration 2", "without endpoints"),
        ("joint_voters nobody\ngeneration 2", "no member is named `nobody`"),
        (servers, "`endpoints` of etcd, and `type quorum`"),
    ] {
        let errors = moves(lines).map(|_| ()).unwrap_err();
        let said = format!("{errors:?}");
        assert!(said.contains(complaint), "{lines}: {said}");
    }
}

#[test]
fn nodes_and_witnesses_vote_in_any_mix() {
    let witness = |number: u8| {
        format!(
            "    member w{number} {{\n        id {number}\n        public_key {}\n        witness 10.9.0.{number}:7947\n    }}\n",
            keepone_config::model::PublicKey([number; 32])
        )
    };
    let more: String = (10..15).map(witness).collect();
    let with = |voters: &str| {
        let text = changed("voters n1 n2 w", voters);
        let at = text.find("    member ").unwrap();
        format!("{}{more}{}", &text[..at], &text[at..])
    };
    for (voters, count) in [
        ("voters w10", 1),
        ("voters w10 w11 w12", 3),
        ("voters w10 w11 w12 w13 w14", 5),
        ("voters n1 w10 w11", 3),
        ("voters n1 n2 w10 w11", 4),
        ("voters n1 n2 w10 w11 w12", 5),
        ("witness w10", 3),
    ] {
        let (config, _) = load(&with(voters)).unwrap_or_else(|e| panic!("{voters}: {e:?}"));
        let Authority::Quorum(quorum) = config.authority else { panic!() };
        assert_eq!(quorum.voters.len(), count, "{voters}");
    }
    refused(&with("voters w10 w11"), "k.conf:58:12: error: 2 voters: a majority is 2", "at least 3 voters");
    refused(&with("voters n1"), "k.conf:58:12: error: 1 voter: a majority is 1", "at least 3 voters");
}
