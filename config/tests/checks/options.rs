//! What would be unsafe to ignore, strict mode, and other options of instances.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use super::*;

pub(super) fn option(lines: &str) -> String {
    changed("    advert_int 1\n", &format!("    advert_int 1\n    {lines}\n"))
}

#[test]
fn what_peers_would_not_hear_is_refused() {
    refused(&option("vrf red"), "k.conf:49:5: error: `vrf` is known, but keepone can't do it", "interface");
    refused(
        &format!("net_namespace blue\n{}", sound()),
        "k.conf:1:1: error: `net_namespace` is known, but keepone can't do it",
        "ip netns exec",
    );
}

const KEY: &str = "0123456789abcdef0123456789abcdef";

fn hmac(lines: &str) -> String {
    option(&format!("auth_hmac {{\n{lines}\n}}"))
}

#[test]
fn signed_advertisements_are_whole_or_refused_and_no_key_is_shown() {
    let whole = hmac(&format!("key 1 {KEY}\nactive_key 1"));
    refused(&hmac("active_key 1"), "k.conf:49:5: error: `A`: auth_hmac without a key", "every node");
    refused(&hmac(&format!("key 1 {KEY}")), "k.conf:49:5: error: `A`: auth_hmac without active_key", "active_key");
    refused(
        &hmac(&format!("key 1 {KEY}\nactive_key 2")),
        "k.conf:51:12: error: `A`: active_key 2 is none of its keys",
        "number of a `key`",
    );
    let unread = "k.conf:49:5: error: key 1 of `auth_hmac` can't be read";
    for key in ["short", "hex:0", &format!("hex:{KEY}"), &format!("hex:{KEY}{KEY}0"), &format!("{KEY}{KEY}1")] {
        refused(&hmac(&format!("key 1 {key}\nactive_key 1")), unread, "32 to 64");
    }
    refused(
        &hmac(&format!("key 1 {KEY}\nkey 1 {KEY}\nactive_key 1")),
        "k.conf:49:5: error: two keys of `auth_hmac` have the number 1",
        "a number of its own",
    );
    refused(
        &hmac(&format!("key 0 {KEY}\nactive_key 1")),
        "k.conf:49:5: error: a key of `auth_hmac` can't be read",
        "1 to 255",
    );
    for text in [hmac(&format!("key 0 {KEY}")), hmac(&format!("key 1 {KEY}")), hmac(&format!("key 1 {KEY}z{KEY}"))] {
        let errors = load(&text).unwrap_err();
        let shown = keepone_config::render_all(&errors, false) + &format!("{errors:?}");
        assert!(!shown.contains("0123456789"), "{shown}");
    }
    let (config, diagnostics) = load(&whole).unwrap();
    assert!(diagnostics.is_empty() && !format!("{config:?}").contains("0123456789"), "{diagnostics:?}");
}

#[test]
fn what_auth_hmac_says_is_what_is_done() {
    use keepone_proto::settings::HmacMode;
    let of = |lines: &str| {
        let (config, _) = load(&hmac(&format!("key 1 {KEY}\nkey 7 hex:{KEY}{KEY}\nactive_key 7\n{lines}"))).unwrap();
        config.instances[0].options.hmac.clone().unwrap()
    };
    let plain = of("");
    let keys: Vec<(u8, usize)> = plain.keys.iter().map(|(number, key)| (*number, key.reveal().len())).collect();
    assert_eq!((keys, plain.active_key, plain.mode), (vec![(1, 32), (7, 32)], 7, HmacMode::Enforce));
    assert_eq!(plain.window, Some(Duration::from_secs(5)), "three intervals, 5 s at least");
    assert_eq!(of("time_window 30").window, Some(Duration::from_secs(30)));
    assert_eq!(of("anti_replay monotonic").window, None);
    assert_eq!(of("mode receive-only").mode, HmacMode::ReceiveOnly);
    assert_eq!(of("mode permissive").mode, HmacMode::Permissive);
    let slow =
        changed("    advert_int 1\n", &format!("    advert_int 30\n    auth_hmac {{\nkey 1 {KEY}\nactive_key 1\n}}\n"));
    let window = load(&slow).unwrap().0.instances[0].options.hmac.as_ref().and_then(|hmac| hmac.window);
    assert_eq!(window, Some(Duration::from_secs(90)));
    noted(
        &hmac(&format!("key 1 {KEY}\nactive_key 1\nanti_replay monotonic\ntime_window 9")),
        "k.conf:53:13: note: `A`: time_window with `anti_replay monotonic`",
        "remove",
    );
    warned(
        &option(&format!("strict_mode\naccept\nauth_hmac {{\nkey 1 {KEY}\nactive_key 1\nmode permissive\n}}")),
        "k.conf:54:6: warning: `A` is in strict mode, in which auth_hmac is enforced",
        "mode enforce",
    );
    let both =
        option(&format!("version 2\nauth_type PASS\nauth_pass s3cret12\nauth_hmac {{\nkey 1 {KEY}\nactive_key 1\n}}"));
    warned(&both, "k.conf:50:11: warning: `A` has auth_hmac, which replaces authentication", "one of them");
    assert!(load(&both).unwrap().0.instances[0].auth_pass.is_none());
}

#[test]
fn a_key_in_a_file_of_its_own_is_there_or_an_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("vrrp.key");
    let text = hmac(&format!("key 1 file:{}\nactive_key 1", file.display()));
    let failed = "k.conf:49:5: error: key 1 of `auth_hmac` can't be read";
    refused(&text, failed, "readable");
    let write = |text: &str, mode| {
        std::fs::write(&file, text).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    };
    for bad in [String::new(), "\n".into(), "hex:00\n".into(), format!("{KEY}\n{KEY}\n{KEY}\n"), "x".repeat(300)] {
        write(&bad, 0o600);
        refused(&text, failed, "");
    }
    for (good, length) in [(format!("{KEY}\n"), 32), (format!("hex:{KEY}{KEY}\r\n"), 32), ("y".repeat(64), 64)] {
        write(&good, 0o600);
        let (config, diagnostics) = load(&text).unwrap();
        let hmac = config.instances[0].options.hmac.as_ref().unwrap();
        assert_eq!((hmac.keys[0].1.reveal().len(), diagnostics.len()), (length, 0), "{diagnostics:?}");
    }
    write(KEY, 0o640);
    warned(&text, "k.conf:49:5: warning: ", "chmod 600");
    std::fs::remove_file(&file).unwrap();
    nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRWXU).unwrap();
    refused(&text, failed, "no file");
    refused(&hmac("key 1 file:vrrp.key\nactive_key 1"), failed, "absolute path");
}

#[test]
fn strict_mode_refuses_what_it_forbids_and_puts_the_rest_right() {
    warned(
        &option("strict_mode"),
        "k.conf:49:5: warning: `A` is in strict mode: its addresses would not answer a ping",
        "`accept`",
    );
    warned(
        &option("strict_mode\n    unicast_peer {\n192.0.2.2\n}"),
        "k.conf:49:5: warning: `A` is in strict mode, which knows no unicast_peer",
        "remove",
    );
    let empty = changed("    virtual_ipaddress {\n        192.0.2.100/24\n    }\n", "    strict_mode\n");
    refused(
        &empty,
        "k.conf:49:5: error: `A` is in strict mode, which knows no instance without virtual",
        "strict_mode off",
    );
    let ipv6 = option("strict_mode\n    accept").replace("192.0.2.100/24", "2001:db8::1/64");
    refused(&ipv6, "k.conf:52:9: error: `A` is in strict mode, which wants a link-local address", "fe80::5e:1/64");
    let (config, _) = load(&ipv6.replace("2001:db8::1/64", "fe80::5e:1/64\n 2001:db8::1/64")).unwrap();
    assert!(config.instances[0].options.accept, "version 3 may say so");
    for (lines, said) in [
        ("authentication {\n auth_type PASS\n auth_pass x\n}", "authentication is not used (RFC 3768, 9)"),
        ("state MASTER", "state goes by the priority"),
        ("preempt_delay 5", "preempt_delay is 0"),
        ("down_timer_adverts 5", "down_timer_adverts is 3"),
        ("accept", "version 2 has no accept mode"),
        ("garp_lower_prio_repeat 3", "garp_lower_prio_repeat is 0"),
        ("lower_prio_no_advert off", "lower_prio_no_advert is on"),
        ("higher_prio_send_advert", "higher_prio_send_advert is off"),
        ("owner_ignore_adverts off", "owner_ignore_adverts is on"),
        ("use_vmac\n    vmac_xmit_base", "vmac_xmit_base is off"),
    ] {
        let text = option(&format!("strict_mode\n    {lines}"));
        warned(&text, &format!("k.conf:49:5: warning: `A` is in strict mode: {said}"), "strict_mode off");
        let (config, _) = load(&text).unwrap();
        let (instance, options) = (&config.instances[0], &config.instances[0].options);
        assert!(instance.auth_pass.is_none() && instance.preempt_delay.is_zero(), "{lines}");
        assert_eq!(instance.state, keepone_config::model::InitialState::Backup, "{lines}");
        let flags = (options.accept, options.lower_prio_no_advert, options.higher_prio_send_advert);
        assert_eq!((options.down_timer_adverts, flags), (3, (false, true, false)), "{lines}");
        assert!(options.owner_ignore_adverts && config.instances[0].announce.rival_burst == 0, "{lines}");
        assert!(options.own_interface.as_ref().is_none_or(|own| !own.transmit_on_base), "{lines}");
    }
    let owner =
        option("strict_mode").replacen("priority 100", "priority 255", 1).replacen("state BACKUP", "state MASTER", 1);
    let (config, diagnostics) = load(&owner).unwrap();
    assert!(config.instances[0].options.accept && diagnostics.is_empty(), "{diagnostics:?}");
    let global = format!("global_defs {{\n    vrrp_strict\n}}\n{}", sound());
    warned(&global, "k.conf:2:5: warning: `B` is in strict mode", "accept");
    let (config, _) = load(&global).unwrap();
    assert!(config.instances.iter().all(|i| i.options.strict && !i.options.accept));
    let own = global.replacen("    advert_int 1\n", "    advert_int 1\n    strict_mode off\n", 1);
    assert!(!load(&own).unwrap().0.instances[0].options.strict, "the instance has the last word");
}

#[test]
fn instances_inherit_from_global_defs() {
    let global = "global_defs {\n vrrp_garp_master_refresh 60\n vrrp_down_timer_adverts 5\n smtp_alert\n}\n";
    let text = format!("{global}{}", option("down_timer_adverts 4\n    smtp_alert off"));
    let (config, _) = load(&text).unwrap();
    let options = |at: usize| &config.instances[at].options;
    assert_eq!((options(0).down_timer_adverts, options(1).down_timer_adverts), (4, 5));
    assert_eq!((options(0).smtp_alert, options(1).smtp_alert), (false, true));
    assert_eq!(config.instances[0].announce.refresh.map(|refresh| refresh.interval.as_secs()), Some(60));
}

#[test]
fn options_that_need_each_other_are_together() {
    warned(&option("vmac_xmit_base"), "k.conf:49:5: warning: `A`: vmac_xmit_base without use_vmac", "use_vmac");
    warned(
        &option("use_vmac\n    unicast_peer {\n192.0.2.2\n}"),
        "k.conf:49:5: warning: `A`: use_vmac with unicast peers",
        "vmac_xmit_base",
    );
    let global = |lines: &str| format!("global_defs {{\n{lines}\n}}\n{}", sound());
    warned(
        &global("startup_script_timeout 5"),
        "k.conf:2:24: warning: startup_script_timeout without",
        "startup_script",
    );
    warned(&global("notify_fifo_script /bin/x"), "k.conf:2:1: warning: a reader without its FIFO", "FIFO");
    refused(&global("lvs_sync_daemon lan0 X"), "k.conf:2:22: error: no vrrp_instance is named `X`", "");
    warned(
        &global("smtp_server 192.0.2.25"),
        "k.conf:46:15: warning: smtp_server without notification_email",
        "notification_email",
    );
}

#[test]
fn a_group_of_its_own_fits_the_family_and_tells_routers_of_one_vrid_apart() {
    let (config, diagnostics) = load(&option("mcast_dst_ip 239.1.1.1")).unwrap();
    assert_eq!(config.instances[0].options.mcast_dst_ip, Some("239.1.1.1".parse().unwrap()));
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    refused(&option("mcast_dst_ip ff02::99"), "k.conf:49:18: error: ff02::99 in `A`", "IPv4");
    refused(&option("mcast_dst_ip 192.0.2.9"), "k.conf:49:18: error: mcast_dst_ip: `192.0.2.9`", "224.0.0.18");
    let ipv6 = |group: &str| option(&format!("mcast_dst_ip {group}")).replace("192.0.2.100/24", "fe80::5e:1/64");
    assert!(load(&ipv6("ff12::5")).is_ok());
    refused(&ipv6("ff05::5"), "k.conf:49:18: error: `A`: mcast_dst_ip ff05::5 is not of the link", "ff02");
    warned(
        &option("mcast_dst_ip 239.1.1.1\n    unicast_peer {\n192.0.2.2\n}"),
        "k.conf:49:18: warning: `A` has mcast_dst_ip and unicast_peer",
        "remove one",
    );
    let same = |lines: &str| option(lines).replace("virtual_router_id 52", "virtual_router_id 51");
    refused(
        &same("mcast_dst_ip 224.0.0.18"),
        "k.conf:57:23: error: `B` has virtual_router_id 51 on lan0",
        "mcast_dst_ip",
    );
    assert!(load(&same("mcast_dst_ip 239.1.1.1")).is_ok());
    let macs = same("mcast_dst_ip 239.1.1.1\n    use_vmac");
    let macs = macs.replace("virtual_router_id 51\n    virtual", "virtual_router_id 51\n    use_vmac\n    virtual");
    refused(&macs, "k.conf:59:5: error: `B` has the virtual MAC of another on lan0", "after use_vmac");
}

#[test]
fn hop_limits_of_peers_are_whole_and_in_order() {
    let peer = |line: &str| option(&format!("unicast_peer {{\n{line}\n}}\n    unicast_ttl 3"));
    let (config, diagnostics) = load(&peer("192.0.2.2 min_ttl 64 max_ttl 200")).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let options = &config.instances[0].options;
    assert_eq!((options.unicast_ttl, options.peer_ttl.len()), (Some(3), 1));
    refused(&peer("192.0.2.2 min_ttl 9 max_ttl 3"), "k.conf:50:11: error: min_ttl 9 above max_ttl 3", "lesser");
    refused(&option("unicast_ttl 0"), "k.conf:49:17: error: unicast_ttl: `0`", "1 to 255");
    let none = option("unicast_fault_no_peer\n    unicast_peer {\n}");
    warned(&none, "k.conf:50:5: warning: `A`: unicast_peer without a peer: it stays in FAULT", "addresses");
}

#[test]
fn a_link_is_not_believed_dead_later_than_others_stand() {
    let delays = |lines: &str| format!("{}interface_up_down_delays {{\n{lines}\n}}\n", option("down_timer_adverts 4"));
    // B has the default of 3 adverts of a second: two seconds.
    let (config, diagnostics) = load(&delays("lan0 1.5 9")).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let of = |config: &Config| config.global.vrrp.link_delays.clone();
    let ms = std::time::Duration::from_millis;
    assert_eq!(of(&config), [("lan0".to_owned(), ms(1500), ms(9000))]);
    warned(
        &delays("lan0 2.5"),
        "k.conf:63:1: warning: interface_up_down_delays: lan0 would be down 2500 ms late",
        "shorten",
    );
    assert_eq!(of(&load(&delays("lan0 2.5")).unwrap().0), [("lan0".to_owned(), ms(2000), ms(2500))]);
    noted(&delays("lan9 1"), "k.conf:63:1: note: interface_up_down_delays: no instance uses or tracks lan9", "remove");
    refused(
        &delays("lan0 1\nlan0 2"),
        "k.conf:64:1: error: interface_up_down_delays: a second line for lan0",
        "remove",
    );
    refused(&delays("lan0"), "k.conf:62:1: error: interface_up_down_delays: a line without a delay", "seconds");
    refused(&delays("lan0 256"), "k.conf:63:6: error: interface_up_down_delays: `256`", "");
}

#[test]
fn ignored_words_say_what_to_do_instead() {
    let global = |lines: &str| format!("global_defs {{\n{lines}\n}}\n{}", sound());
    noted(&global("vrrp_priority -5"), "k.conf:2:1: note: nothing follows from `vrrp_priority in global_defs`", "unit");
    noted(&global("nftables"), "k.conf:2:1: note: nothing follows from `nftables in global_defs`", "table of its own");
}

#[test]
fn an_address_line_is_read_whole() {
    let line = |line: &str| changed("192.0.2.100/24", line);
    let (config, _) = load(&line("192.0.2.100/24 no_track preferred_lft forever peer 192.0.2.7/32")).unwrap();
    let options = &config.instances[0].virtual_addresses[0].options;
    assert!(options.no_track && options.preferred_lft == Some(u32::MAX) && options.peer.is_some());
    assert!(load(&line("192.0.2.100/24 use_vmac")).unwrap().1.is_empty());
    refused(
        &line("192.0.2.100/24 preferred_lft soon"),
        "k.conf:50:38: error: preferred_lft: `soon`",
        "new connections",
    );
}

#[test]
fn an_address_that_moves_is_nobodys_own() {
    refused(
        &option("unicast_src_ip 192.0.2.100\n    unicast_peer {\n192.0.2.2\n}"),
        "k.conf:49:20: error: unicast_src_ip 192.0.2.100 is a virtual address, at k.conf:54:9",
        "stays with its node",
    );
    refused(
        &changed("192.0.2.101/24", "10.1.0.2/24"),
        "k.conf:24:13: error: peer of a heartbeat link 10.1.0.2 is a virtual address",
        "stays",
    );
    warned(
        &option("unicast_fault_no_peer"),
        "k.conf:43:15: warning: `A` has unicast_fault_no_peer, and no unicast_peer",
        "FAULT",
    );
    noted(
        &option("nopreempt\n    preempt_delay 5"),
        "k.conf:50:19: note: `A`: preempt_delay with nopreempt",
        "one of them",
    );
}

#[test]
fn a_lease_longer_than_the_adverts_is_said() {
    let note = noted(
        &changed("lease 500ms", "lease 8s"),
        "k.conf:34:11: note: the lease is 8000 ms, and `A` would stand for election after 3609.375 ms",
        "shorten",
    );
    assert!(note.message.contains("the lease decides"), "{}", note.message);
}
