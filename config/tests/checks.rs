//! One test a check: a sound file, one thing changed, and what is said about it, where, and with what help.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::path::Path;

use keepone_config::{Config, Diagnostic, Environment, Severity, load_text};

const KEYS: [&str; 4] = [
    "bjEtcHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0=",
    "bjItcHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0=",
    "dy0tcHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0=",
    "eC0tcHVibGljLWtleS1vZi0zMi1ieXRlcy0tLS0tLS0=",
];

/// A sound cluster; the tests change one line of it.
fn sound() -> String {
    let [n1, n2, w, _] = KEYS;
    format!(
        "cluster demo {{
    node n1
    key_file n1.key
    member n1 {{
        id 1
        public_key {n1}
    }}
    member n2 {{
        id 2
        public_key {n2}
    }}
    member w {{
        id 3
        public_key {w}
        witness 10.9.0.3:7947
    }}
}}
heartbeat {{
    period 100ms
}}
heartbeat_link hb0 {{
    interface hb0
    address 10.1.0.1
    peer n2 10.1.0.2
}}
heartbeat_link hb1 {{
    interface hb1
    address 10.2.0.1
    peer n2 10.2.0.2
}}
arbiter {{
    type quorum
    voters n1 n2 w
    lease 500ms
}}
gate {{
    means auto
}}
reference_ip {{
    198.51.100.1
    need 1
}}
vrrp_instance A {{
    state BACKUP
    interface lan0
    virtual_router_id 51
    priority 100
    advert_int 1
    virtual_ipaddress {{
        192.0.2.100/24
    }}
}}
vrrp_instance B {{
    state BACKUP
    interface lan0
    virtual_router_id 52
    virtual_ipaddress {{
        192.0.2.101/24
    }}
}}
"
    )
}

fn load(text: &str) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    load_text(Path::new("k.conf"), text, &Environment::default())
}

/// The sound file with the first `from` replaced.
fn changed(from: &str, to: &str) -> String {
    let text = sound();
    assert!(text.contains(from), "{from}");
    text.replacen(from, to, 1)
}

/// Loads a text that must be refused, and finds the complaint that begins so.
#[track_caller]
fn refused(text: &str, start: &str, help: &str) -> Diagnostic {
    let errors = load(text).expect_err("refused");
    found(&errors, Severity::Error, start, help)
}

#[track_caller]
fn warned(text: &str, start: &str, help: &str) -> Diagnostic {
    let (_, diagnostics) = load(text).unwrap_or_else(|errors| panic!("{errors:#?}"));
    found(&diagnostics, Severity::Warning, start, help)
}

#[track_caller]
fn found(all: &[Diagnostic], severity: Severity, start: &str, help: &str) -> Diagnostic {
    let lines: Vec<String> = all.iter().map(ToString::to_string).collect();
    let found = all.iter().find(|d| d.severity == severity && d.to_string().starts_with(start));
    let found = found.unwrap_or_else(|| panic!("no `{start}` in {lines:#?}"));
    let said = found.help.clone().unwrap_or_default();
    assert!(said.contains(help), "help `{said}` has no `{help}`");
    found.clone()
}

#[test]
fn the_sound_file_is_sound() {
    let (config, diagnostics) = load(&sound()).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    assert_eq!(config.domains().len(), 2);
}

#[test]
fn one_mistake_brings_no_others_with_it() {
    for (from, to) in [
        ("virtual_router_id 51", "virtual_router_id 999"),
        ("priority 100", "prioritty 100"),
        ("interface lan0", "interface lan0/1"),
        ("192.0.2.100/24", "192.0.2.100/33"),
        ("id 2", "id x"),
        ("public_key bjI", "public_key @"),
        ("type quorum", "type quorums"),
        ("lease 500ms", "lease 500xs"),
        ("address 10.1.0.1", "address 10.1.0"),
        ("peer n2 10.1.0.2", "peer n2 10.1.0.2x"),
        ("node n1", "node n9"),
        ("key_file n1.key", "key_file"),
        ("means auto", "means magic"),
        ("198.51.100.1", "targets x"),
        ("cluster demo {", "cluster {"),
        ("need 1", "need 0"),
        ("advert_int 1", "unicast_src_ip 192.0.2.1\n unicast_peer {\n bogus\n }"),
        ("priority 100", "priority \"100"),
    ] {
        let errors = load(&changed(from, to)).expect_err(to);
        assert_eq!(errors.len(), 1, "{to}: {errors:#?}");
    }
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let text = changed("virtual_router_id 51", "virtual_router_id 0").replace("period 100ms", "perriod 100ms");
    let errors = load(&text.replace("52", "300")).unwrap_err();
    let places: Vec<_> = errors.iter().map(|d| (d.line.unwrap(), d.column.unwrap())).collect();
    assert_eq!(places, [(19, 5), (46, 23), (56, 23)], "{errors:#?}");
}

#[test]
fn an_unknown_keyword_has_its_place_and_a_guess() {
    let error = refused(
        &changed("priority 100", "prioritiy 100"),
        "k.conf:47:5: error: unknown keyword `prioritiy`",
        "did you mean `priority`?",
    );
    assert_eq!((error.line, error.column), (Some(47), Some(5)));
    assert_eq!(error.text.as_deref(), Some("    prioritiy 100"));
    let shown = error.render(false);
    assert!(
        shown.contains("k.conf:47:5") && shown.contains("    prioritiy 100") && shown.contains("^^^^^^^^^"),
        "{shown}"
    );
    assert!(shown.contains("help: did you mean `priority`?"), "{shown}");
    let json = keepone_config::to_json(&[error]);
    assert!(json.contains(r#""severity":"error","file":"k.conf","line":47,"column":5"#), "{json}");
}

#[test]
fn a_keyword_at_the_wrong_place_is_sent_home() {
    refused(
        &changed("means auto", "virtual_router_id 5"),
        "k.conf:37:5: error: `virtual_router_id` means nothing in gate",
        "vrrp_instance",
    );
}

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
    refused(
        &changed("type quorum", "type etcd"),
        "k.conf:32:10: error: `type etcd` is known, but it does nothing yet",
        "type quorum",
    );
    refused(&changed("    type quorum\n", ""), "k.conf:31:1: error: `arbiter` has no type", "type quorum");
    let (_, notes) = load(&changed("type quorum", "type none")).unwrap();
    found(&notes, Severity::Note, "k.conf:1:9: note: cluster `demo` has no arbiter", "two holders");
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
fn one_vrid_serves_one_router_of_an_interface_and_family() {
    refused(
        &changed("virtual_router_id 52", "virtual_router_id 51"),
        "k.conf:56:23: error: `B` has virtual_router_id 51 on lan0 (IPv4)",
        "of its own",
    );
    assert!(load(&changed("192.0.2.101/24", "2001:db8::1/64").replace(" 52", " 51")).is_ok(), "another family");
}

#[test]
fn one_address_is_in_one_instance() {
    refused(
        &changed("192.0.2.101/24", "192.0.2.100/24"),
        "k.conf:58:9: error: 192.0.2.100 in `B` is a virtual address already; the first is at k.conf:50:9",
        "remove",
    );
}

#[test]
fn families_and_prefixes_fit() {
    refused(
        &changed("        192.0.2.100/24\n", "        192.0.2.100/24\n        2001:db8::1/64\n"),
        "k.conf:51:9: error: `A` mixes families",
        "vrrp_sync_group",
    );
    refused(
        &changed("192.0.2.100/24", "192.0.2.100/33"),
        "k.conf:50:9: error: virtual_ipaddress: `192.0.2.100/33` is not an address with a prefix length from 1 to 32",
        "/24",
    );
    refused(&changed("192.0.2.100/24", "2001:db8::1/129"), "k.conf:50:9: error:", "/64");
    refused(&changed("192.0.2.100/24", "224.0.0.1"), "k.conf:50:9: error:", "");
    refused(
        &changed("192.0.2.100/24", "192.0.2.100/24 192.0.2.105"),
        "k.conf:50:24: error: `192.0.2.105` after the address",
        "line of its own",
    );
    refused(&changed("192.0.2.100/24", "192.0.2.100/24 labell x"), "k.conf:50:24: error:", "did you mean `label`?");
}

#[test]
fn versions_fit_families_and_intervals() {
    refused(
        &changed("192.0.2.101/24", "2001:db8::1/64").replace("router_id 52", "router_id 52\n    version 2"),
        "k.conf:57:13: error: `B` has IPv6 addresses",
        "version 3",
    );
    let error =
        refused(&changed("advert_int 1", "advert_int 0.5"), "k.conf:48:16: error: advert_int of 500 ms", "version 3");
    assert!(error.message.contains("whole seconds from 1 to 255"), "{}", error.message);
    let v3 = |interval: &str| changed("advert_int 1", &format!("version 3\n    advert_int {interval}"));
    for fits in ["0.01", "0.5", "40.95"] {
        assert!(load(&v3(fits)).is_ok(), "{fits}");
    }
    for out in ["0", "0.005", "0.015", "41"] {
        refused(&v3(out), "k.conf:49:16: error: advert_int of", "0.1 for 100 ms");
    }
}

#[test]
fn what_an_instance_lacks_is_named() {
    refused(
        &changed("    virtual_router_id 51\n", ""),
        "k.conf:43:15: error: vrrp_instance `A` has no virtual_router_id",
        "1 to 255",
    );
    refused(&changed("    interface lan0\n", ""), "k.conf:43:15: error: vrrp_instance `A` has no interface", "ip link");
    warned(
        &changed("    virtual_ipaddress {\n        192.0.2.100/24\n    }\n", ""),
        "k.conf:43:15: warning: vrrp_instance `A` has no virtual address",
        "",
    );
}

#[test]
fn nopreempt_and_master_contradict_each_other() {
    let text = changed("state BACKUP", "state MASTER\n    nopreempt");
    warned(&text, "k.conf:45:5: warning: `A`: nopreempt with state MASTER", "state BACKUP");
    warned(
        &changed("priority 100", "priority 255\n    nopreempt"),
        "k.conf:48:5: warning: `A`: nopreempt does nothing at priority 255",
        "254",
    );
    warned(
        &changed("state BACKUP", "state MASTER").replace("    priority 100\n", ""),
        "k.conf:44:11: warning: `A` has state MASTER and no priority, which means 255",
        "150",
    );
}

#[test]
fn unicast_wants_peers_of_its_family_and_not_itself() {
    let unicast =
        |peers: &str| changed("priority 100", &format!("unicast_src_ip 192.0.2.1\n    unicast_peer {{\n{peers}}}"));
    refused(&unicast(""), "k.conf:48:5: error: `A`: unicast_peer without a peer", "other nodes");
    refused(
        &unicast("192.0.2.1\n"),
        "k.conf:49:1: error: unicast peer 192.0.2.1 is this node's own",
        "other nodes only",
    );
    refused(&unicast("2001:db8::1\n"), "k.conf:49:1: error: 2001:db8::1 in `A`", "IPv4");
    refused(&unicast("192.0.2.2\n192.0.2.2\n"), "k.conf:50:1: error: unicast peer 192.0.2.2 twice", "");
    warned(
        &changed("priority 100", "unicast_src_ip 192.0.2.1"),
        "k.conf:47:20: warning: `A` has unicast_src_ip, but no unicast_peer",
        "mcast_src_ip",
    );
}

#[test]
fn authentication_is_whole_or_refused_and_never_shown() {
    let auth = |lines: &str| changed("priority 100", &format!("authentication {{\n{lines}\n    }}"));
    let all = |result: Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>>| match result {
        Ok((config, diagnostics)) => format!("{config:?} {}", keepone_config::render_all(&diagnostics, false)),
        Err(errors) => keepone_config::render_all(&errors, false) + &keepone_config::to_json(&errors),
    };
    for lines in [
        "auth_type PASS\nauth_pass hunter2xyz",
        "auth_pass hunter2xyz",
        "auth_type AH\nauth_pass \"hunter2xyz",
        "auth_pass hunter2xyz extra",
    ] {
        let shown = all(load(&auth(lines)));
        assert!(!shown.contains("hunter2"), "{shown}");
    }
    warned(
        &auth("auth_type PASS\nauth_pass hunter2xyz"),
        "k.conf:49:11: warning: auth_pass is longer than 8 bytes",
        "shorten",
    );
    refused(&auth("auth_pass x"), "k.conf:48:11: error: `A` has auth_pass, but no auth_type", "auth_type PASS");
    refused(&auth("auth_type PASS"), "k.conf:48:11: error: `A`: PASS without auth_pass", "auth_pass PASSWORD");
    refused(&auth("auth_type AH\nauth_pass x"), "k.conf:48:11: error: `A`: auth_type AH is known", "PASS");
    warned(
        &auth("auth_type PASS\nauth_pass x").replace("interface lan0", "version 3\n    interface lan0"),
        "k.conf:49:11: warning: `A` is VRRP version 3",
        "version 2",
    );
}

#[test]
fn sync_groups_name_instances_once() {
    let group = |members: &str| format!("{}vrrp_sync_group G {{\n group {{\n{members}}}\n}}\n", sound());
    let (config, _) = load(&group("A\nB\n")).unwrap();
    assert_eq!(config.domains().len(), 1);
    refused(&group("A\nBB\n"), "k.conf:64:1: error: no vrrp_instance is named `BB`", "did you mean `B`?");
    refused(&group("A\nA\n"), "k.conf:64:1: error: `A` is in a sync group already", "other");
    refused(&group(""), "k.conf:61:17: error: sync group `G` has no instances", "VI_1 VI_2");
    refused(
        &group("A\n").replace("vrrp_sync_group G", "vrrp_sync_group B"),
        "k.conf:53:15: error: a sync group and an instance outside it are both named `B`",
        "rename",
    );
}

#[test]
fn more_domains_than_the_gate_has_room_for_are_refused() {
    let mut text = String::new();
    for n in 1..=65 {
        text.push_str(&format!(
            "vrrp_instance I{n} {{\n interface lan0\n virtual_router_id {n}\n virtual_ipaddress {{ 192.0.2.{n} }}\n}}\n"
        ));
    }
    let error = refused(&text, "k.conf:321:15: error: 65 domains", "sync groups");
    assert!(error.message.contains("room for 64"), "{}", error.message);
    assert!(
        load(&text.replace(
            "vrrp_instance I65 {\n interface lan0\n virtual_router_id 65\n virtual_ipaddress { 192.0.2.65 }\n}\n",
            ""
        ))
        .is_ok()
    );
}

#[test]
fn a_plain_keepalived_file_has_no_cluster_and_its_defaults() {
    let (config, diagnostics) =
        load("vrrp_instance A {\n interface lan0\n virtual_router_id 1\n virtual_ipaddress { 192.0.2.1 }\n}\n")
            .unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    assert!(config.cluster.is_none() && config.links.is_empty());
    assert_eq!(config.authority, keepone_proto::settings::Authority::None);
    let a = &config.instances[0];
    assert_eq!((a.priority.0, a.advert_int.as_secs(), a.preempt), (100, 1, true));
    assert_eq!(a.version, keepone_proto::settings::VrrpVersion::V2);
}

#[test]
fn a_wrong_word_count_says_what_the_keyword_wants() {
    refused(
        &changed("priority 100", "priority"),
        "k.conf:47:5: error: `priority` wants one value",
        "one statement a line",
    );
    refused(
        &changed("priority 100", "priority 100 200"),
        "k.conf:47:5: error: `priority` wants one value: `priority VALUE`; found 2",
        "",
    );
    refused(&changed("priority 100", "priority 100 {\n}"), "k.conf:47:5: error: `priority` takes no block", "braces");
    refused(&changed("vrrp_instance A {", "vrrp_instance {"), "k.conf:43:1: error: `vrrp_instance` wants one name", "");
    warned(
        &changed("priority 100", "priority 100\n    priority 110"),
        "k.conf:48:5: warning: `priority` was given before, at k.conf:47:5",
        "last one counts",
    );
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let errors =
        keepone_config::load_with(Path::new("/nonexistent/keepone.toml"), &Environment::default()).unwrap_err();
    assert!(errors[0].to_string().starts_with("/nonexistent/keepone.toml: error: can't read it:"), "{}", errors[0]);
    let errors = keepone_config::load_with(Path::new("/dev/zero"), &Environment::default()).unwrap_err();
    assert!(errors[0].message.contains("not a plain file"), "{}", errors[0]);
}

#[test]
fn a_wrong_variable_is_named() {
    let text = "[[vrrp_instance]]\nname = \"A\"\ninterface = \"lan0\"\nvirtual_router_id = 1\nvirtual_ipaddress = [\"192.0.2.1\"]\n";
    let environment = Environment {
        variables: vec![(String::from("KEEPONE_HEARTBEAT__PERIOD"), String::from("soon"))],
        config_id: String::new(),
    };
    let errors = load_text(Path::new("k.toml"), text, &environment).unwrap_err();
    assert_eq!(errors[0].variable.as_deref(), Some("KEEPONE_HEARTBEAT__PERIOD"));
    assert!(
        errors[0].to_string().starts_with("KEEPONE_HEARTBEAT__PERIOD: error: period: `soon` is not a duration"),
        "{}",
        errors[0]
    );
    assert!(errors[0].render(false).contains("environment variable KEEPONE_HEARTBEAT__PERIOD"));
}

#[test]
fn a_toml_mistake_has_its_line_and_column() {
    let text = "[[vrrp_instance]]\nname = \"A\"\ninterface = \"lan0\"\nvirtual_router_id = 256\nprioritty = 3\nvirtual_ipaddress = [\"192.0.2.1\", \"192.0.2.300\"]\n";
    let errors = load_text(Path::new("k.toml"), text, &Environment::default()).unwrap_err();
    found(
        &errors,
        Severity::Error,
        "k.toml:4:21: error: virtual_router_id: `256` is not a whole number from 1 to 255",
        "same number",
    );
    found(&errors, Severity::Error, "k.toml:5:1: error: unknown keyword `prioritty`", "did you mean `priority`?");
    let nameless = format!("{text}[[vrrp_instance]]\ninterface = \"lan0\"\n[cluster]\nname = \"x\"\n");
    let all = load_text(Path::new("k.toml"), &nameless, &Environment::default()).unwrap_err();
    found(&all, Severity::Error, "k.toml:7:1: error: `vrrp_instance` without a name", "name = ");
    found(&all, Severity::Error, "k.toml:10:8: error: cluster `x` has no members", "member");
    found(&errors, Severity::Error, "k.toml:6:35: error: virtual_ipaddress: `192.0.2.300`", "");
    assert_eq!(errors.len(), 3);
}
