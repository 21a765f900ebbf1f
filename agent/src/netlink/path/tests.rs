use std::path::Path as File;
use std::time::Duration;

use super::*;
use crate::assemble::Plan;
use crate::net::namespace::{World, ip, soon};

/// The plan's paths of a configuration of one instance, with these lines as virtual routes, rules and static ones.
fn owned(routes: &str, rules: &str, statics: &str) -> BTreeMap<Owner, Vec<Path>> {
    let text = format!(
        "{statics}\nvrrp_instance A {{\n interface near0\n virtual_router_id 1\n virtual_ipaddress {{\n 10.9.0.100\n }}\n \
         virtual_routes {{\n{routes}\n}}\n virtual_rules {{\n{rules}\n}}\n}}\n"
    );
    let read = keepone_config::load_text(File::new("t.conf"), &text, &keepone_config::Environment::default());
    let (config, _) = read.unwrap_or_else(|error| panic!("{error:?}"));
    Plan::new(&config).paths
}

const DOMAIN: Owner = Owner::Domain(DomainId(keepone_proto::id::hash_name("A")));

fn routes(table: &str) -> Vec<String> {
    let of = |arguments: &str| ip(arguments).lines().map(|line| line.trim().to_owned()).collect::<Vec<_>>();
    [of(&format!("-N -d route show table {table}")), of(&format!("-N -d -6 route show table {table}"))].concat()
}

fn rules() -> Vec<String> {
    let of = |arguments: &str| ip(arguments).lines().map(|line| line.replace('\t', " ")).collect::<Vec<_>>();
    [of("-N rule show"), of("-N -6 rule show")].concat()
}

/// A line of the first with all the words of the second.
#[track_caller]
fn has(lines: &[String], words: &str) {
    let fits = |line: &&String| words.split(' ').all(|word| line.split(' ').any(|known| known == word));
    assert!(lines.iter().any(|line| fits(&line)), "no line has all of `{words}`: {lines:#?}");
}

const MANY: &str = "
10.1.0.0/24 via 10.9.0.2 dev near0 table 100
10.2.0.0/24 dev near0 scope link table 100 src 10.9.0.1 metric 7 tos 0x08
10.3.0.0/24 via 10.9.0.2 table 100 mtu lock 1400 advmss 1200 hoplimit 9 initcwnd 11 initrwnd 12 cwnd 13 window 14 ssthresh 15 reordering 4 quickack 1 rtt 100ms rttvar 10ms rto_min 300ms features ecn congctl reno fastopen_no_cookie 1
10.4.0.0/24 nexthop via 10.9.0.2 weight 3 nexthop via 10.9.0.3 dev near0 onlink table 100
10.5.0.0/24 via 10.9.0.2 or 10.9.0.4 dev near0 table 100
blackhole 10.6.0.0/24 table 100
unreachable 10.7.0.0/24 table 100
prohibit 10.8.0.0/24 table 100
throw 10.10.0.0/24 table 100
local 10.11.0.0/24 dev lo table 100
broadcast 10.12.0.255 dev near0 table 100
10.13.0.0/24 via 10.99.0.1 dev near0 onlink table 100 protocol static
10.14.0.0/24 dev near0 realms 3/7 table 100
10.15.0.0/24 encap ip id 5 dst 10.9.0.9 ttl 7 tos 0x10 via 10.9.0.2 dev near0 table 100
10.16.0.0/24 encap ip6 id 6 dst fd00::9 hoplimit 8 via 10.9.0.2 dev near0 table 100
default via 10.9.0.2 table 1000
fd06::/64 encap ip6 id 6 dst fd00::9 src fd00::8 tc 3 via fe80::2 dev near0 table 100
fd01::/64 via fe80::2 dev near0 table 100 metric 5 pref high
fd02::/64 dev near0 expires 600 table 100
default from fd03::/64 via fe80::2 dev near0 table 100
blackhole fd04::/64 table 100
fd05::/64 nexthop via fe80::2 dev near0 nexthop via fe80::3 dev near0 weight 2 table 100
inet6 default via fe80::2 dev near0 table 101
";

const MANY_RULES: &str = "
from 10.1.0.0/24 lookup 100 preference 100
to 10.2.0.0/24 fwmark 0x10/0xff lookup 100 preference 101
not from 10.3.0.0/24 iif near0 tos 0x08 table 100 preference 102
oif near0 ipproto tcp sport 80 dport 1000-2000 uidrange 10-20 lookup 100 preference 103
from 10.4.0.0/24 goto 200 preference 104
nop preference 200
from 10.5.0.0/24 blackhole preference 105
from 10.6.0.0/24 prohibit preference 106
lookup main suppress_prefixlength 0 preference 107
lookup main suppress_ifgroup 3 preference 108
from 10.7.0.0/24 realms 3/4 lookup 100 preference 109
tunnel-id 77 lookup 100 preference 110
from fd01::/64 lookup 100 preference 111
inet6 fwmark 5 lookup 1000 preference 112
from 10.8.0.0/24 lookup 100
";

#[test]
fn routes_and_rules_of_every_kind_come_and_go() {
    World::run(async |_: &World| {
        let before = (routes("all"), rules());
        let mut paths = Paths::open(owned(MANY, MANY_RULES, "")).unwrap();
        paths.raise(DOMAIN).await;
        assert_eq!(paths.fault_of(DOMAIN), None);
        let all = routes("100");
        // Kinds and scopes by their numbers.
        for line in [
            "10.1.0.0/24 via 10.9.0.2 dev near0 proto 18",
            "10.2.0.0/24 tos 0x08 dev near0 scope 253 src 10.9.0.1 metric 7",
            "10.3.0.0/24 mtu lock 1400 advmss 1200 hoplimit 9 initcwnd 11 initrwnd 12 cwnd 13 window 14 ssthresh 15 \
             reordering 4 quickack 1 rtt 100ms rttvar 10ms rto_min 300ms features ecn congctl reno fastopen_no_cookie",
            "nexthop via 10.9.0.3 dev near0 weight 1 onlink",
            "nexthop via 10.9.0.2 dev near0 weight 3",
            "nexthop via 10.9.0.4 dev near0 weight 1",
            "6 10.6.0.0/24",
            "7 10.7.0.0/24",
            "8 10.8.0.0/24",
            "9 10.10.0.0/24",
            "2 10.11.0.0/24 dev lo",
            "3 10.12.0.255 dev near0",
            "10.13.0.0/24 via 10.99.0.1 dev near0 proto 4 onlink",
            "10.14.0.0/24 dev near0 realms 3/7",
            "10.15.0.0/24 encap ip id 5 dst 10.9.0.9 ttl 7 tos 16 via 10.9.0.2 dev near0",
            "10.16.0.0/24 encap ip6 id 6 dst fd00::9 hoplimit 8 via 10.9.0.2 dev near0",
            "fd06::/64 encap ip6 id 6 src fd00::8 dst fd00::9 tc 3 via fe80::2 dev near0",
            "fd01::/64 via fe80::2 dev near0 metric 5 pref high",
            "fd02::/64 dev near0 expires",
            "default from fd03::/64 via fe80::2 dev near0",
            "6 fd04::/64",
            "nexthop via fe80::3 dev near0 weight 2",
        ] {
            has(&all, line);
        }
        has(&routes("all"), "default via 10.9.0.2 table 1000 proto 18");
        has(&routes("all"), "default via fe80::2 dev near0 table 101");
        let all = rules();
        for line in [
            "100: from 10.1.0.0/24 lookup 100",
            "101: to 10.2.0.0/24 fwmark 0x10/0xff lookup 100",
            "102: not from 10.3.0.0/24 tos 0x08 iif near0 lookup 100",
            "103: oif near0 ipproto-6 sport 80 dport 1000-2000 uidrange 10-20 lookup 100",
            "104: from 10.4.0.0/24 goto 200",
            "200: nop",
            "105: from 10.5.0.0/24 6",
            "106: from 10.6.0.0/24 8",
            "107: lookup 254 suppress_prefixlength 0",
            "108: lookup 254 suppress_ifgroup 3",
            "109: from 10.7.0.0/24 lookup 100 realms 3/4",
            "110: tun_id 77 lookup 100",
            "111: from fd01::/64 lookup 100",
            "112: fwmark 0x5 lookup 1000",
            "16384: from 10.8.0.0/24 lookup 100 proto 18",
        ] {
            has(&all, line);
        }
        paths.lower(DOMAIN).await.unwrap();
        assert_eq!((routes("all"), rules()), before, "and nothing of anybody else's went along");
        paths.lower(DOMAIN).await.unwrap();
    });
}

#[test]
fn a_route_that_fails_is_named_and_comes_as_soon_as_it_can() {
    World::run(async |_: &World| {
        let lines = "10.1.0.0/24 via 10.77.0.1\n10.2.0.0/24 dev nothere0\n10.3.0.0/24 via 10.9.0.2 table blue-ish\n10.4.0.0/24 via 10.9.0.2";
        let mut paths = Paths::open(owned(lines, "", "")).unwrap();
        paths.raise(DOMAIN).await;
        let fault = paths.fault_of(DOMAIN).unwrap();
        assert!(fault.contains("route 10.1.0.0/24 via 10.77.0.1: ") && fault.contains("invalid gateway"), "{fault}");
        assert!(fault.contains("interface nothere0 does not exist"), "{fault}");
        assert!(fault.contains("no routing table is named blue-ish"), "{fault}");
        has(&routes("main"), "10.4.0.0/24 via 10.9.0.2");
        ip("addr add 10.77.0.9/24 dev near0");
        ip("link add nothere0 type veth");
        ip("link set nothere0 up");
        paths.look().await;
        let fault = paths.fault_of(DOMAIN).unwrap();
        assert!(!fault.contains("10.1.0.0") && !fault.contains("10.2.0.0") && fault.contains("blue-ish"), "{fault}");
        has(&routes("main"), "10.1.0.0/24 via 10.77.0.1");
        paths.lower(DOMAIN).await.unwrap();
        assert!(!paths.is_faulty());
        assert!(!routes("main").iter().any(|line| line.contains("proto 18")));
    });
}

#[test]
fn what_is_taken_away_is_heard_of_and_put_back_unless_it_does_not_matter() {
    World::run(async |_: &World| {
        let lines = "10.1.0.0/24 via 10.9.0.2\n10.2.0.0/24 via 10.9.0.2 no_track\nfd01::/64 via fe80::2 dev near0\n10.3.0.0/24 via 10.9.0.3";
        let mut paths = Paths::open(owned(
            lines,
            "from 10.1.0.0/24 lookup 100 preference 100\n from 10.2.0.0/24 lookup 100 preference 101 no_track",
            "",
        ))
        .unwrap();
        let look = Arc::new(tokio::sync::Notify::new());
        tokio::spawn(watch::watch(paths.wanted(), Arc::clone(&look)));
        soon(look.notified()).await;
        paths.raise(DOMAIN).await;
        let there = || (routes("main").concat() + &rules().concat()).matches("proto 18").count();
        assert_eq!(there(), 6);
        for (what, left) in [
            ("route del 10.1.0.0/24", 6),
            ("-6 route del fd01::/64", 6),
            ("rule del preference 100", 6),
            // Another gateway.
            ("route replace 10.3.0.0/24 via 10.9.0.9 proto 18", 7),
            ("route del 10.2.0.0/24", 6),
            ("rule del preference 101", 5),
        ] {
            ip(what);
            // Of what does not matter nothing is heard, as a rule.
            let _ = tokio::time::timeout(Duration::from_secs(2), look.notified()).await;
            paths.look().await;
            assert_eq!(there(), left, "after `{what}`");
        }
        // With the link go all routes, IPv4's without a word.
        ip("link set near0 down");
        soon(look.notified()).await;
        paths.look().await;
        assert!(paths.is_faulty());
        ip("link set near0 up");
        while paths.is_faulty() {
            soon(look.notified()).await;
            paths.look().await;
        }
        has(&routes("main"), "10.1.0.0/24 via 10.9.0.2");
        has(&routes("main"), "fd01::/64 via fe80::2");
    });
}

#[test]
fn a_route_of_somebody_elses_stays_behind_ours_and_is_there_after_it() {
    World::run(async |_: &World| {
        ip("route add default via 10.9.0.3");
        let mut paths = Paths::open(owned(
            "default via 10.9.0.2\n10.1.0.0/24 via 10.9.0.2 add\n10.2.0.0/24 via 10.9.0.2 append",
            "",
            "",
        ))
        .unwrap();
        ip("route add 10.1.0.0/24 via 10.9.0.3");
        ip("route add 10.2.0.0/24 via 10.9.0.3");
        paths.raise(DOMAIN).await;
        assert_eq!(paths.fault_of(DOMAIN), None);
        let list = routes("main");
        let order = |to: &str| {
            list.iter().filter(|line| line.contains(to)).map(|line| line.contains("via 10.9.0.2")).collect::<Vec<_>>()
        };
        assert_eq!(order("default via"), [true, false]);
        assert_eq!(order("10.1.0.0/24"), [false], "`add` only where nothing is");
        assert_eq!(order("10.2.0.0/24"), [false, true]);
        paths.lower(DOMAIN).await.unwrap();
        let list = routes("main");
        assert_eq!(list.iter().filter(|line| line.contains("via 10.9.0.3")).count(), 3);
        assert_eq!(list.iter().filter(|line| line.contains("via 10.9.0.2")).count(), 0);
    });
}

#[test]
fn a_second_agent_takes_over_what_is_there_and_whoever_comes_after_removes_it() {
    World::run(async |_: &World| {
        let statics = "static_routes {\n 10.8.0.0/24 via 10.9.0.2\n}\nstatic_rules {\n from 10.8.0.0/24 lookup 100\n}";
        let all = owned("10.1.0.0/24 via 10.9.0.2", "from 10.1.0.0/24 lookup 100", statics);
        let there = || (routes("main").concat() + &rules().concat()).matches("proto 18").count();
        for _ in 0..2 {
            let mut paths = Paths::open(all.clone()).unwrap();
            paths.raise(Owner::Agent).await;
            paths.raise(DOMAIN).await;
            assert_eq!((paths.is_faulty(), there()), (false, 4));
        }
        remove_all(&all[&DOMAIN]).await.unwrap();
        assert_eq!(there(), 2);
        has(&rules(), "16384: from 10.8.0.0/24");
        remove_all(&all[&Owner::Agent]).await.unwrap();
        assert_eq!(there(), 0);
    });
}

#[test]
fn the_words_of_tunnels_are_the_kernels() {
    let words = |text: &str| encap::attributes(&text.split(' ').collect::<Vec<_>>());
    assert_eq!(words("ip id 7 dst 10.0.0.1 src 10.0.0.2 tos 0x10 ttl 9 flags 4").unwrap().len(), 2);
    assert_eq!(words("ip6 id 7 dst fd00::1 hoplimit 3 tc 1").unwrap().len(), 2);
    assert_eq!(words("mpls 100/200 ttl 5").unwrap().len(), 2);
    assert_eq!(words("ila 2001:db8:0:1").unwrap().len(), 2);
    for wrong in ["ip dst fd00::1", "ip ttl", "mpls x", "mpls 1048576", "ila 1:2:3", "gre 1"] {
        assert!(words(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn another_configuration_touches_nothing_that_stays_and_leaves_no_moment_without_a_way() {
    World::run(async |_: &World| {
        let old = "10.1.0.0/24 via 10.9.0.2 table 100\n10.2.0.0/24 via 10.9.0.2 table 100 mtu 1400\n\
                   fd01::/64 via fe80::2 dev near0 table 100 mtu 1400\n10.3.0.0/24 via 10.9.0.2 table 100";
        let new = "10.1.0.0/24 via 10.9.0.2 table 100\n10.2.0.0/24 via 10.9.0.3 table 100\n\
                   fd01::/64 via fe80::2 dev near0 table 100 mtu 1300\n10.4.0.0/24 via 10.9.0.2 table 100";
        let mut paths = Paths::open(owned(old, "from 10.1.0.1 table 100\nfrom 10.1.0.2 table 100", "")).unwrap();
        paths.raise(DOMAIN).await;
        let mut heard = std::process::Command::new("ip")
            .args(["monitor", "route", "rule"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        paths.replace(owned(new, "from 10.1.0.2 table 100", ""));
        assert_eq!(paths.waiting(), [DOMAIN]);
        has(&routes("100"), "10.3.0.0/24");
        paths.change(DOMAIN).await;
        assert!(paths.waiting().is_empty() && paths.fault_of(DOMAIN).is_none(), "{:?}", paths.fault_of(DOMAIN));
        tokio::time::sleep(Duration::from_millis(300)).await;
        heard.kill().unwrap();
        let heard = String::from_utf8(heard.wait_with_output().unwrap().stdout).unwrap();
        assert!(!heard.contains("10.1.0.0/24"), "what stays is not touched: {heard}");
        let at = |words: &str| heard.lines().position(|line| line.contains(words)).unwrap();
        assert!(at("10.2.0.0/24 via 10.9.0.3") < at("Deleted 10.2.0.0/24"), "{heard}");
        let (now, rules) = (routes("100"), rules());
        for words in ["10.2.0.0/24 via 10.9.0.3", "10.4.0.0/24", "fd01::/64 mtu 1300"] {
            has(&now, words);
        }
        for words in ["10.3.0.0/24", "1400"] {
            assert!(!now.iter().any(|line| line.contains(words)), "{words}: {now:#?}");
        }
        // As at a start: the first of the file has the first preference.
        has(&rules, "16384: from 10.1.0.2 lookup");
        assert!(!rules.iter().any(|line| line.contains("10.1.0.1") || line.starts_with("16383")), "{rules:#?}");
        paths.replace(owned("", "", ""));
        paths.lower(DOMAIN).await.unwrap();
        assert!(routes("100").is_empty(), "what was there goes with its domain, whatever is configured meanwhile");
    });
}

#[test]
fn a_way_that_becomes_static_and_back_is_there_all_the_time() {
    World::run(async |_: &World| {
        let way = "10.1.0.0/24 via 10.9.0.2";
        let (virtual_one, fixed) = (owned(way, "", ""), owned("", "", &format!("static_routes {{\n {way}\n}}")));
        let mut paths = Paths::open(virtual_one.clone()).unwrap();
        paths.raise(Owner::Agent).await;
        paths.raise(DOMAIN).await;
        let mut heard = std::process::Command::new("ip")
            .args(["monitor", "route"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        for (owned, first, second) in
            [(&fixed, Owner::Agent, DOMAIN), (&virtual_one, Owner::Agent, DOMAIN), (&fixed, DOMAIN, Owner::Agent)]
        {
            paths.replace(owned.clone());
            paths.change(first).await;
            paths.change(second).await;
        }
        // It stays the agent's, and is the domain's no more.
        paths.lower(DOMAIN).await.unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        heard.kill().unwrap();
        let heard = String::from_utf8(heard.wait_with_output().unwrap().stdout).unwrap();
        assert!(!heard.contains("10.1.0.0/24"), "{heard}");
        has(&routes("main"), "10.1.0.0/24");
        paths.replace(virtual_one);
        paths.change(Owner::Agent).await;
        let left = routes("main");
        assert!(!left.iter().any(|line| line.contains("10.1.0.0/24")), "nobody is up who has it: {left:#?}");
    });
}
