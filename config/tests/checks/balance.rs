//! Virtual servers, real servers, their checks.

use super::*;

/// A sound service; the tests change one line of it.
const SERVICE: &str = "virtual_server 192.0.2.10 80 {
    delay_loop 10
    lvs_sched wlc
    lvs_method NAT
    protocol TCP
    quorum 1
    sorry_server 10.0.0.9 80
    real_server 10.0.0.1 80 {
        weight 1
        TCP_CHECK {
            connect_timeout 3
        }
    }
    real_server 10.0.0.2 80 {
        TCP_CHECK {
        }
    }
}
";

fn service(from: &str, to: &str) -> String {
    assert!(SERVICE.contains(from), "{from}");
    SERVICE.replacen(from, to, 1)
}

#[test]
fn a_sound_service_is_only_named_as_not_yet_active() {
    silent(SERVICE);
    let (config, diagnostics) = load(SERVICE).unwrap();
    assert!(diagnostics.iter().all(|one| one.message.contains("not yet active")), "{diagnostics:?}");
    assert!(config.inactive.iter().all(|one| one.what != "virtual_server"), "{:?}", config.inactive);
    let server = &config.virtual_servers[0];
    assert_eq!((server.real_servers.len(), server.quorum, server.scheduler.as_str()), (2, 1, "wlc"));
    let timing = server.real_servers[0].checkers[0].timing;
    assert_eq!((timing.interval.as_secs(), timing.warmup.as_secs(), timing.retry), (10, 10, 1));
}

#[test]
fn checks_inherit_from_their_servers_and_those_from_keepalived() {
    use keepone_config::model::{CheckTiming, Probe};
    let text = service("    lvs_sched wlc\n", "    retry 5\n    connect_timeout 7\n    alpha\n")
        .replace("weight 1\n", "retry 6\n        delay_loop 8\n")
        .replace("TCP_CHECK {\n        }", "DNS_CHECK {\n retry 2\n }\n MISC_CHECK {\n misc_path /bin/true\n }");
    let (config, _) = load(&text).unwrap();
    let check = |real: usize, at: usize| &config.virtual_servers[0].real_servers[real].checkers[at];
    let times = |t: CheckTiming| (t.interval.as_secs(), t.retry, t.delay_before_retry.as_secs(), t.alpha);
    assert_eq!(times(check(0, 0).timing), (8, 6, 1, true));
    assert_eq!(times(check(1, 0).timing), (10, 2, 10, true), "a DNS_CHECK tries again after delay_loop");
    assert_eq!(times(check(1, 1).timing), (10, 5, 1, true));
    assert!(matches!(&check(0, 0).probe, Probe::Tcp(target) if target.timeout.as_secs() == 3));
    assert!(matches!(&check(1, 0).probe, Probe::Dns { target, .. } if target.timeout.as_secs() == 7));
}

#[test]
fn values_that_ipvs_does_not_have_are_refused() {
    for (from, to, start) in [
        ("lvs_sched wlc", "lvs_sched fast", "k.conf:3:15: error: lvs_sched: `fast` is not rr, wrr,"),
        ("lvs_method NAT", "lvs_method MASQ", "k.conf:4:16: error: lvs_method: `MASQ` is not NAT, DR or TUN"),
        ("lvs_method NAT", "lvs_method DR csum", "k.conf:4:19: error: `csum` after `DR`"),
        ("protocol TCP", "protocol ICMP", "k.conf:5:14: error: protocol: `ICMP` is not TCP, UDP,"),
        ("192.0.2.10 80", "192.0.2.10 80000", "k.conf:1:27: error: virtual_server: `80000` is not a whole number"),
        ("192.0.2.10 80", "web 80", "k.conf:1:16: error: virtual_server: `web` is not an IP address"),
        ("weight 1", "weight -1", "k.conf:9:16: error: weight: `-1` is not a whole number"),
        ("quorum 1", "quorum 0", "k.conf:6:12: error: quorum: `0` is not a whole number from 1"),
        ("connect_timeout 3", "connect_timeout soon", "k.conf:11:29: error: connect_timeout: `soon`"),
        ("connect_timeout 3", "conect_timeout 3", "k.conf:11:13: error: unknown keyword `conect_timeout` in TCP_CHECK"),
    ] {
        refused(&service(from, to), start, "");
    }
}

#[test]
fn a_service_and_a_real_server_are_there_once() {
    let twice = format!("{SERVICE}{SERVICE}");
    refused(
        &twice,
        "k.conf:19:1: error: a second virtual_server of this address, port and protocol; the first is at k.conf:1:1",
        "first one",
    );
    assert!(load(&format!("{SERVICE}{}", SERVICE.replace("TCP\n", "UDP\n"))).is_ok(), "another protocol");
    refused(
        &service("real_server 10.0.0.2 80", "real_server 10.0.0.1 80"),
        "k.conf:14:5: error: real server 10.0.0.1:80 twice in a virtual server; the first is at k.conf:8:5",
        "more weight",
    );
}

#[test]
fn quorum_and_hysteresis_can_be_reached() {
    let warning = warned(
        &service("quorum 1", "quorum 3"),
        "k.conf:6:12: warning: a quorum of 3, where all real servers together weigh 2",
        "at most 2",
    );
    assert!(warning.help.unwrap().contains("weights, not servers"));
    silent(&service("quorum 1", "quorum 3").replace("weight 1", "weight 2"));
    warned(
        &service("quorum 1", "quorum 2\n    hysteresis 2"),
        "k.conf:7:16: warning: a hysteresis of 2 with a quorum of 2",
        "at most 1",
    );
}

#[test]
fn a_sorry_server_is_another_machine() {
    warned(
        &service("sorry_server 10.0.0.9 80", "sorry_server 10.0.0.2 80"),
        "k.conf:7:5: warning: the sorry server 10.0.0.2:80 is a real server too, at k.conf:14:5",
        "another",
    );
    warned(
        &service("sorry_server 10.0.0.9 80", "sorry_server_inhibit"),
        "k.conf:7:5: warning: an option of a sorry server, but no sorry_server",
        "sorry_server ADDRESS",
    );
}

#[test]
fn times_of_checks_fit_each_other() {
    warned(
        &service("connect_timeout 3", "connect_timeout 10"),
        "k.conf:11:29: warning: connect_timeout 10000 ms is not below delay_loop 10000 ms",
        "longer delay_loop",
    );
    warned(
        &service("delay_loop 10", "delay_loop 4"),
        "k.conf:15:9: warning: connect_timeout 5000 ms is not below delay_loop 4000 ms",
        "longer delay_loop",
    );
    warned(
        &service("TCP_CHECK {\n            connect_timeout 3", "MISC_CHECK {\n misc_path /bin/true\n misc_timeout 20"),
        "k.conf:12:15: warning: misc_timeout 20000 ms is not below delay_loop 10000 ms",
        "",
    );
}

#[test]
fn a_check_has_a_port_to_go_to() {
    silent(&service("real_server 10.0.0.2 80", "real_server 10.0.0.2"));
    let text = service("real_server 10.0.0.2 80", "real_server 10.0.0.2")
        .replace("virtual_server 192.0.2.10 80", "virtual_server fwmark 1");
    refused(&text, "k.conf:15:9: error: a check of a real server without a port has no connect_port", "connect_port N");
    silent(&text.replace("TCP_CHECK {\n        }", "TCP_CHECK {\n connect_port 80\n }"));
    silent(&text.replace("TCP_CHECK {\n        }", "PING_CHECK {\n }"));
}

#[test]
fn what_ipvs_cannot_bridge_is_said() {
    refused(
        &service("real_server 10.0.0.2 80", "real_server 2001:db8::2 80"),
        "k.conf:14:5: error: real server 2001:db8::2 is of another family",
        "TUN",
    );
    silent(&service("real_server 10.0.0.2 80", "real_server 2001:db8::2 80").replace("NAT", "TUN"));
    warned(
        &service("lvs_method NAT", "lvs_method DR").replace("10.0.0.2 80", "10.0.0.2 8080"),
        "k.conf:14:5: warning: port 8080 behind port 80, where only NAT changes ports",
        "NAT",
    );
    warned(
        &service("192.0.2.10 80", "192.0.2.10"),
        "k.conf:1:1: warning: a virtual_server of every port without persistence",
        "persistence_timeout",
    );
}

#[test]
fn options_that_contradict_the_service_are_said() {
    warned(&service("    protocol TCP\n", ""), "k.conf:1:1: warning: a virtual_server without protocol is UDP", "TCP");
    warned(&service("quorum 1", "ops"), "k.conf:6:5: warning: `ops` is for UDP", "remove");
    warned(
        &service("quorum 1", "sh-port"),
        "k.conf:6:5: warning: a flag of the scheduler sh, but the scheduler is wlc",
        "lvs_sched sh",
    );
    silent(&service("quorum 1", "sh-port").replace("wlc", "sh"));
    noted(&service("quorum 1", "persistence_timeout 0"), "k.conf:6:25: note: `persistence_timeout 0`", "leave it out");
    refused(
        &service("quorum 1", "persistence_timeout 60\n    persistence_granularity 64"),
        "k.conf:7:29: error: this persistence_granularity is not IPv4's",
        "netmask",
    );
    warned(
        &service("weight 1", "uthreshold 10\n        lthreshold 20"),
        "k.conf:10:20: warning: lthreshold 20 is above uthreshold 10",
        "below",
    );
}

#[test]
fn real_servers_that_nobody_checks_are_named_once() {
    let text = SERVICE
        .replace("TCP_CHECK {\n            connect_timeout 3\n        }", "")
        .replace("TCP_CHECK {\n        }", "");
    noted(&text, "k.conf:8:5: note: a real server without a check counts as up for ever (2 of them)", "TCP_CHECK");
    let empty = "virtual_server 192.0.2.1 80 {\n protocol TCP\n}\n";
    warned(empty, "k.conf:1:1: warning: a virtual_server without real servers", "left out");
    assert!(load(empty).unwrap().0.virtual_servers.is_empty());
}

#[test]
fn groups_trackers_and_sessions_that_are_named_exist() {
    let group = SERVICE.replace("virtual_server 192.0.2.10 80", "virtual_server group WEBB");
    let all = format!("virtual_server_group WEB {{\n    192.0.2.10 80\n}}\n{group}");
    refused(&all, "k.conf:4:22: error: no virtual_server_group is named `WEBB`", "did you mean `WEB`?");
    silent(&all.replace("WEBB", "WEB"));
    let check = |check: &str| service("TCP_CHECK {\n        }", check);
    refused(
        &check("FILE_CHECK {\n track_file load\n }"),
        "k.conf:16:13: error: no track_file is named `load`",
        "track_file load",
    );
    refused(&check("BFD_CHECK {\n name up\n }"), "k.conf:16:7: error: no bfd_instance is named `up`", "bfd_instance");
    for (line, start) in [
        ("192.0.2.9-1 80", "k.conf:2:5: error: virtual_server_group: `192.0.2.9-1`"),
        ("192.0.0.0/8 80", "k.conf:2:5: error: virtual_server_group: `192.0.0.0/8`"),
        ("fwmark 0", "k.conf:2:12: error: fwmark: `0`"),
    ] {
        refused(&all.replace("192.0.2.10 80", line).replace("WEBB", "WEB"), start, "");
    }
}

#[test]
fn http_checks_are_whole() {
    let http = |lines: &str| service("TCP_CHECK {\n        }", &format!("HTTP_GET {{\n{lines}\n}}"));
    refused(&http(""), "k.conf:15:9: error: HTTP_GET without a url", "path /");
    refused(&http("url {\n}"), "k.conf:16:1: error: url has no path", "path /");
    refused(&http("url {\npath health\n}"), "k.conf:17:6: error: path: `health` is not a path that begins with /", "");
    refused(&http("url {\npath /\nstatus_code 700\n}"), "k.conf:18:13: error: status_code: `700`", "200-299");
    refused(&http("url {\npath /\ndigest 12\n}"), "k.conf:18:8: error: digest: `12` is not an MD5 digest", "32");
    warned(&http("enable_sni\nurl {\npath /\n}"), "k.conf:15:9: warning: HTTP_GET has no TLS handshake", "SSL_GET");
    refused(
        &http("http_protocol 2\nurl {\npath /\n}"),
        "k.conf:15:9: error: HTTP/2 is spoken over TLS only",
        "SSL_GET",
    );
    let verified = http("verify_certificate\nurl {\npath /\n}").replace("HTTP_GET", "SSL_GET");
    refused(&verified, "k.conf:15:9: error: verify_certificate without authorities", "ca /path");
    let look_ahead = http("url {\npath /\nregex \"(?=a)b\"\n}");
    refused(&look_ahead, "k.conf:15:9: error: the regex `(?=a)b` can't be used", "linear time");
    let option = http("url {\npath /\nregex b\nregex_options alt_circumflex\n}");
    refused(&option, "k.conf:15:9: error: the regex `b` can't be used: there is no option `alt_circumflex`", "linear");
    let tls = http("enable_sni\nurl {\npath /\n}").replace("HTTP_GET", "SSL_GET");
    warned(&tls, "k.conf:15:9: warning: enable_sni without virtualhost", "virtualhost NAME");
    silent(&tls.replace("enable_sni", "enable_sni\nvirtualhost www.example.net"));
}

/// There may be tens of thousands: a vector that grew by itself has room for four.
#[test]
fn a_real_server_has_room_for_its_checks_and_no_more() {
    let two = service(
        "        TCP_CHECK {\n        }\n",
        "        TCP_CHECK {\n        }\n        PING_CHECK {\n        }\n",
    );
    let (config, _) = load(&two).unwrap();
    let room = config.virtual_servers[0].real_servers.iter().map(|real| real.checkers.capacity());
    assert_eq!(room.collect::<Vec<_>>(), [1, 2]);
}
