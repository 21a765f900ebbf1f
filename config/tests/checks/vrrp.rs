//! Virtual routers and sync groups.

use super::*;
use keepone_config::model::Secret;
use keepone_proto::settings::AuthType;

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
fn one_vrid_of_two_domains_is_told_of() {
    let shared =
        changed("virtual_router_id 52", "virtual_router_id 51").replacen("interface lan0", "interface lan1", 1);
    let told = warned(
        &shared,
        "k.conf:56:23: warning: two domains have virtual_router_id 51 (IPv4): the kernel's gate can't tell their",
        "of its own",
    );
    assert!(told.message.contains("gates their addresses"), "{}", told.message);
    let quiet = |text: &str| {
        let (_, diagnostics) = load(text).unwrap();
        assert!(!diagnostics.iter().any(|told| told.message.contains("two domains")), "{diagnostics:#?}");
    };
    quiet(&sound());
    quiet(&shared.replace("192.0.2.101/24", "2001:db8::1/64"));
    quiet(&(shared + "vrrp_sync_group AB {\n group { A B }\n}\n"));
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
    refused(&changed("advert_int 1", "advert_int 1.5"), "k.conf:48:16: error: advert_int of 1500 ms", "version 3");
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
        "auth_type AH\nauth_pass hunter2xyz",
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
    refused(&auth("auth_type AH"), "k.conf:48:11: error: `A`: AH without auth_pass", "auth_pass PASSWORD");
    warned(
        &auth("auth_type AH\nauth_pass hunter2xyz"),
        "k.conf:49:11: warning: auth_pass is longer than 8 bytes",
        "shorten",
    );
    for (kind, wanted) in [("PASS", AuthType::Pass), ("AH", AuthType::Ah)] {
        let (config, diagnostics) = load(&auth(&format!("auth_type {kind}\nauth_pass x"))).unwrap();
        assert!(diagnostics.is_empty(), "{kind}: {diagnostics:?}");
        let instance = &config.instances[0];
        assert_eq!((instance.auth_type, instance.auth_pass.clone()), (wanted, Some(Secret::new("x"))));
    }
    for kind in ["PASS", "AH"] {
        warned(
            &auth(&format!("auth_type {kind}\nauth_pass x")).replace("interface lan0", "version 3\n    interface lan0"),
            "k.conf:49:11: warning: `A` is VRRP version 3",
            "version 2",
        );
    }
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
    let instance = |n: usize| {
        let (interface, vrid) = (n / 255, n % 255 + 1);
        format!(
            "vrrp_instance I{n} {{\n interface lan{interface}\n virtual_router_id {vrid}\n virtual_ipaddress {{ \
             10.{interface}.0.{vrid} }}\n}}\n"
        )
    };
    let text: String = (0..=4096).map(instance).collect();
    let error = refused(&text, "k.conf:20481:15: error: 4097 domains", "sync groups");
    assert!(error.message.contains("room for 4096"), "{}", error.message);
    assert!(load(&text.replace(&instance(4096), "")).is_ok());
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
fn state_master_without_a_priority_is_the_address_owner() {
    let (config, _) = load(&changed("state BACKUP", "state MASTER").replace("    priority 100\n", "")).unwrap();
    assert_eq!(config.instances[0].priority, keepone_proto::id::Priority::OWNER);
    let (config, _) = load(&changed("state BACKUP", "state MASTER")).unwrap();
    assert_eq!(config.instances[0].priority.0, 100);
}
