//! Scripts and other trackers, their weights, static addresses.

use super::*;

const SCRIPT: &str = "vrrp_script web {
    script \"/usr/bin/pgrep nginx\"
    interval 2
    weight -30
}
vrrp_instance A {
    interface lan0
    virtual_router_id 51
    priority 120
    virtual_ipaddress {
        192.0.2.100/24
    }
    track_script {
        web
    }
}
";

fn script(from: &str, to: &str) -> String {
    assert!(SCRIPT.contains(from), "{from}");
    SCRIPT.replacen(from, to, 1)
}

#[test]
fn a_sound_tracker_is_only_named_as_not_yet_active() {
    silent(SCRIPT);
    let (config, _) = load(SCRIPT).unwrap();
    let tracked = &config.instances[0].options.trackers.scripts;
    assert_eq!((tracked.len(), tracked[0].weight.value), (1, -30));
    assert_eq!(config.trackers.scripts[0].timeout.as_secs(), 2, "the interval, unless it is said");
    assert_eq!(config.trackers.scripts[0].script.command, ["/usr/bin/pgrep", "nginx"]);
}

#[test]
fn what_is_tracked_exists_and_is_whole() {
    refused(
        &script("        web\n", "        wbe\n"),
        "k.conf:14:9: error: no vrrp_script is named `wbe`",
        "did you mean `web`?",
    );
    refused(
        &script("        web\n", "        web\n        web\n"),
        "k.conf:15:9: error: `web` is tracked twice",
        "remove",
    );
    refused(
        &format!("{SCRIPT}vrrp_script web {{\n script x\n}}\n"),
        "k.conf:17:13: error: a second vrrp_script",
        "own",
    );
    let without = script("    script \"/usr/bin/pgrep nginx\"\n", "");
    refused(&without, "k.conf:1:13: error: vrrp_script `web` has no script", "arguments");
    let errors = load(&without).unwrap_err().into_iter().filter(|d| d.severity == Severity::Error);
    assert_eq!(errors.count(), 1, "who tracks it need not hear of it");
    refused(
        &script("        web\n", "        web weigth 3\n"),
        "k.conf:14:13: error: `weigth` after `web`",
        "weight N",
    );
    let process = "vrrp_track_process p {\n process x\n quorum 3\n quorum_max 2\n}\n";
    refused(process, "k.conf:1:20: error: `p`: quorum_max 2 is below the quorum 3", "raise");
    refused("track_file f {\n}\n", "k.conf:1:12: error: track_file `f` has no file", "file /path");
    refused("bfd_instance b {\n}\n", "k.conf:1:14: error: bfd_instance `b` has no neighbor_ip", "other end");
    refused(
        "bfd_instance b {\n neighbor_ip 192.0.2.1\n source_ip 2001:db8::1\n}\n",
        "k.conf:2:14: error: `b`: source_ip and neighbor_ip are of different families",
        "both",
    );
}

#[test]
fn a_script_ends_before_it_begins_again() {
    warned(
        &script("interval 2", "interval 2\n    timeout 5"),
        "k.conf:4:13: warning: `web`: a timeout of 5000 ms is longer than the interval of 2000 ms",
        "at most",
    );
}

#[test]
fn weights_that_cannot_move_the_address_are_said() {
    warned(&script("weight -30", "weight -254"), "k.conf:4:12: warning: a weight of -254 is cut to -253", "0");
    refused(&script("weight -30", "weight -300"), "k.conf:4:12: error: weight: `-300`", "FAULT");
    warned(
        &script("priority 120", "priority 255"),
        "k.conf:14:9: warning: `A` has priority 255, which no weight moves",
        "254",
    );
    noted(
        &script("priority 120", "priority 120\n    nopreempt"),
        "k.conf:15:9: note: `A` has nopreempt, and weights",
        "weight 0",
    );
    warned(
        &script("weight -30", "weight -130"),
        "k.conf:14:9: warning: `A`: priority 120 and its weights reach from -10 to 120, and are cut to 1 to 254",
        "lower the weights",
    );
    warned(
        &script("weight -30", "weight 150"),
        "k.conf:14:9: warning: `A`: priority 120 and its weights reach from 120 to 270",
        "",
    );
    noted(
        &script("weight -30", "weight -10"),
        "k.conf:14:9: note: `A`: if everything fails, the priority falls from 120 to 110: a peer of 100",
        "above 110",
    );
    noted(
        &script("        web\n", "        web weight 0\n"),
        "k.conf:14:9: note: `weight 0` makes a failure of `web` a FAULT here",
        "-30",
    );
}

#[test]
fn weights_do_not_count_within_a_sync_group() {
    let group =
        format!("{SCRIPT}vrrp_sync_group G {{\n    group {{\n        A\n    }}\n    track_script {{\n web\n }}\n}}\n");
    warned(&group, "k.conf:17:17: warning: weights do not count within sync group `G`", "sync_group_tracking_weight");
    silent(&group.replace("    group {", "    sync_group_tracking_weight\n    group {"));
    let member = format!("{SCRIPT}vrrp_sync_group G {{\n    group {{\n        A\n    }}\n}}\n");
    warned(
        &member.replace("        web\n", "        web weight -40\n"),
        "k.conf:14:9: warning: weights do not count",
        "",
    );
    warned(&member, "k.conf:14:9: warning: weights do not count within sync group `G`", "weight 0");
    let without = member.replace("weight -30", "weight 0");
    silent(&without);
    let interface =
        without.replace("track_script {\n        web\n", "track_interface {\n        lan0 weight -30 reverse\n");
    assert_ne!(interface, without);
    warned(
        &interface,
        "k.conf:14:9: warning: weights do not count within sync group `G`: what has one is not tracked",
        "weight 0",
    );
}

#[test]
fn what_is_static_does_not_move() {
    let with = |lines: &str| format!("{SCRIPT}{lines}");
    refused(
        &with("static_ipaddress {\n 192.0.2.100/24 dev lan0\n}\n"),
        "k.conf:18:2: error: static address 192.0.2.100 is there already; the first is at k.conf:11:9",
        "static",
    );
    refused(
        &with("static_routes {\n 198.51.100.0/24 via 192.0.2.1 track_group T\n}\n"),
        "k.conf:18:2: error: no track_group is named `T`",
        "track_group T",
    );
    refused(&with("track_group T {\n group {\n B\n }\n}\n"), "k.conf:19:2: error: no vrrp_instance is named `B`", "");
}

#[test]
fn routes_and_rules_are_read_as_ip_reads_them() {
    let route = |line: &str| {
        script("    track_script {", &format!("    virtual_routes {{\n{line}\n    }}\n    track_script {{"))
    };
    let rule = |line: &str| route(line).replace("virtual_routes", "virtual_rules");
    refused(&route("via 192.0.2.1"), "k.conf:14:1: error: a route without a destination", "default");
    refused(&route("198.51.100.0/33"), "k.conf:14:1: error: the destination of a route: `198.51.100.0/33`", "");
    refused(&route("default via"), "k.conf:14:9: error: `via` without a value", "after it");
    refused(&route("default viaa 192.0.2.1"), "k.conf:14:9: error: `viaa` in a route", "did you mean `via`?");
    refused(&route("2001:db8::/32 via 192.0.2.1"), "k.conf:14:1: error: 192.0.2.1 is of another family", "IPv6");
    refused(&rule("from 192.0.2.0/24 to 2001:db8::/32 lookup 1"), "k.conf:14:1: error: 2001:db8:: is of another", "");
    refused(&rule("frm 192.0.2.0/24"), "k.conf:14:1: error: `frm` in a rule", "did you mean `from`?");
    warned(&rule("from 192.0.2.0/24"), "k.conf:14:1: warning: a rule without an action", "lookup");
    for line in [
        "default via 192.0.2.1",
        "blackhole 192.0.2.0/25 metric 5",
        "192.0.2.0/25 dev lan0 mtu lock 1400 src 192.0.2.5",
    ] {
        silent(&route(line));
    }
}

const TIED: &str = "virtual_server 192.0.2.100 53 {
    protocol TCP
    real_server 10.0.0.1 53 { }
}
virtual_server 192.0.2.100 53 {
    protocol UDP
    ha_suspend
    real_server 10.0.0.1 53 { }
}
virtual_server fwmark 7 {
    protocol TCP
    real_server fd00::1 80 { }
}
virtual_server_group WEB {
    192.0.2.100 80
}
virtual_server group WEB {
    protocol TCP
    real_server 10.0.0.1 80 { }
}
vrrp_instance A {
    interface lan0
    virtual_router_id 51
    priority 120
    virtual_ipaddress {
        192.0.2.100/24
    }
    track_virtual_server {
        [192.0.2.100]:udp:53 weight -30 reverse
        fwmark:7
        group:WEB weight 20
    }
}
";

#[test]
fn a_virtual_server_is_tracked_by_its_address_its_mark_or_its_group() {
    let (config, _) = load(TIED).unwrap();
    let tracked = |config: &keepone_config::Config| {
        let all = config.instances[0].options.trackers.virtual_servers.clone();
        all.iter().map(|one| (one.tracker, one.weight.value, one.weight.reverse)).collect::<Vec<_>>()
    };
    assert_eq!(tracked(&config), [(1, -30, true), (2, 0, false), (3, 20, false)]);
    let words = config.virtual_servers.iter().map(|server| server.word(&config.server_groups)).collect::<Vec<_>>();
    assert_eq!(words, ["[192.0.2.100]:tcp:53", "[192.0.2.100]:udp:53", "fwmark:7:inet6", "group:WEB:tcp"]);
    for (at, word) in words.iter().enumerate() {
        let text = TIED.replace("fwmark:7\n", "").replace("group:WEB weight 20\n", "");
        let (config, _) = load(&text.replace("[192.0.2.100]:udp:53 weight -30 reverse", word)).unwrap();
        assert_eq!(tracked(&config), [(at, 0, false)], "{word}");
    }
    // It could not show that it is well again.
    assert!(!config.virtual_servers[1].ha_suspend);
    warned(TIED, "k.conf:29:9: warning: ha_suspend of `[192.0.2.100]:udp:53` does not count", "remove ha_suspend");
    assert!(
        load(&TIED.replace("[192.0.2.100]:udp:53 weight -30 reverse", "")).unwrap().0.virtual_servers[1].ha_suspend
    );
}

#[test]
fn the_other_language_says_the_same() {
    let (config, _) = load(TIED).unwrap();
    let (path, environment) = (std::path::Path::new("k.conf"), keepone_config::Environment::default());
    let language = keepone_config::Language::Toml;
    let (written, _) = keepone_config::convert_text(path, TIED, language, &environment).unwrap();
    assert!(written.contains("track_virtual_server = ["), "{written}");
    let path = std::path::Path::new("k.toml");
    let (same, _) = keepone_config::load_text(path, &written, &keepone_config::Environment::default()).unwrap();
    let of = |config: &keepone_config::Config| format!("{:?}", config.instances[0].options.trackers);
    assert_eq!(of(&same), of(&config));
}

#[test]
fn what_no_virtual_server_is_called_or_several_are_is_refused() {
    let with = |word: &str| TIED.replace("fwmark:7\n", &format!("{word}\n"));
    refused(&with("192.0.2.100:80"), "k.conf:30:9: error: no virtual_server is `192.0.2.100:80`", "did you mean");
    refused(&with("x"), "k.conf:30:9: error: no virtual_server is `x`", "there are [192.0.2.100]:tcp:53");
    refused(
        &with("192.0.2.100:53"),
        "k.conf:30:9: error: several virtual servers are `192.0.2.100:53`",
        "write one of [192.0.2.100]:tcp:53, [192.0.2.100]:udp:53",
    );
    refused(&with("group:WEB:tcp"), "k.conf:31:9: error: `group:WEB` is tracked twice", "remove");
    refused(
        &SCRIPT.replace("track_script {\n        web", "track_virtual_server {\n        192.0.2.1:80"),
        "k.conf:14:9: error: no virtual_server is `192.0.2.1:80`",
        "add `virtual_server ADDRESS PORT { ... }`",
    );
}
