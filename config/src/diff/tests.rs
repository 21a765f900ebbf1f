use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::cost::{assert_grows_with_the_size, spent};
use crate::{Environment, load_text};

fn model(text: &str) -> Config {
    let name = if text.contains("[[") { "t.toml" } else { "t.conf" };
    let loaded = load_text(Path::new(name), text, &Environment::default());
    loaded.unwrap_or_else(|errors| panic!("{errors:#?}\n{text}")).0
}

/// Three instances and a group of two.
const SITE: &str = "global_defs {\n router_id one\n}\n\
    vrrp_sync_group G {\n group {\n VI_2\n VI_3\n }\n}\n\
    vrrp_instance VI_1 {\n interface eth0\n virtual_router_id 1\n priority 100\n authentication {\n auth_type PASS\n \
    auth_pass geheim\n }\n virtual_ipaddress {\n 192.0.2.1/24\n 192.0.2.2/24\n }\n unicast_peer {\n 192.0.2.9\n }\n}\n\
    vrrp_instance VI_2 {\n interface eth0\n virtual_router_id 2\n virtual_ipaddress {\n 192.0.2.3\n }\n \
    notify_master /bin/a\n}\n\
    vrrp_instance VI_3 {\n interface eth1\n virtual_router_id 3\n virtual_ipaddress {\n 192.0.2.4\n }\n}\n";

fn told(from: &str, to: &str) -> Vec<String> {
    assert!(SITE.contains(from), "{from}");
    diff(&model(SITE), &model(&SITE.replacen(from, to, 1))).text().lines().map(str::to_owned).collect()
}

#[test]
fn what_an_instance_has_in_the_kernel_comes_and_goes_with_it_in_place() {
    let plain =
        "vrrp_instance VI_4 {\n interface eth0\n virtual_router_id 4\n virtual_ipaddress {\n 192.0.2.5\n }\n}\n";
    let routed = plain.replace(" }\n}", " }\n virtual_routes {\n 198.51.100.0/24 via 192.0.2.9\n }\n}");
    let mac = plain.replace(" virtual_router_id", " use_vmac\n virtual_router_id");
    let fixed = "static_routes {\n 198.51.100.0/24 via 192.0.2.9\n}\n";
    let other = fixed.replace("192.0.2.9", "192.0.2.8");
    let address = "static_ipaddress {\n 198.51.100.1/24 dev eth0\n}\n";
    let rule = "static_rules {\n from 198.51.100.0/24 lookup 100\n}\n";
    let session = "bfd_instance r {\n neighbor_ip 192.0.2.9\n}\n";
    let pace = session.replace(".9\n", ".9\n min_rx 50\n");
    let group =
        format!("track_group T {{\n group {{\n VI_1\n }}\n}}\n{}", address.replace("eth0", "eth0 track_group T"));
    let with = |text: &str| model(&format!("{SITE}{text}"));
    for (one, other, restarts) in [
        ("", plain, false),
        ("", routed.as_str(), false),
        ("", mac.as_str(), false),
        (plain, routed.as_str(), false),
        (plain, mac.as_str(), false),
        ("", fixed, false),
        (fixed, other.as_str(), false),
        ("", address, false),
        ("", rule, false),
        ("", session, false),
        (session, pace.as_str(), false),
        (address, group.as_str(), false),
    ] {
        for (from, to) in [(one, other), (other, one)] {
            let difference = diff(&with(from), &with(to));
            assert_eq!(difference.restarts_agent, restarts, "{from} -> {to}: {}", difference.text());
        }
    }
}

#[test]
fn each_change_is_told_in_words_of_its_own() {
    let (kept, agent) = ("restarts no instance", "restarts the agent");
    for (from, to, expected) in [
        ("", "", vec!["changes nothing"]),
        ("priority 100", "priority 150", vec!["changes the priority of VI_1 from 100 to 150", kept]),
        (
            " 192.0.2.2/24\n",
            " 192.0.2.2/24\n 192.0.2.7/24 dev eth9\n",
            vec!["adds VIP 192.0.2.7/24 dev eth9 to VI_1", kept],
        ),
        (" 192.0.2.2/24\n", "", vec!["removes VIP 192.0.2.2/24 from VI_1", kept]),
        ("192.0.2.2/24", "192.0.2.2/25", vec!["changes the prefix of VIP 192.0.2.2 of VI_1 from 24 to 25", kept]),
        (
            "192.0.2.1/24\n 192.0.2.2/24",
            "192.0.2.2/24\n 192.0.2.1/24",
            vec!["changes the order of the VIPs of VI_1", kept],
        ),
        (" 192.0.2.9\n", " 192.0.2.9\n 192.0.2.8\n", vec!["adds unicast peer 192.0.2.8 to VI_1", kept]),
        (
            "router_id one",
            "router_id two",
            vec!["changes the router_id from one to two; it is set up once, at the start", agent],
        ),
        ("/bin/a", "\"/bin/a b\"", vec!["changes the notify.master.command of VI_2 from /bin/a to /bin/a b", kept]),
        (" notify_master /bin/a\n", "", vec!["removes the notify.master /bin/a of VI_2", kept]),
        ("geheim", "geheim2", vec!["changes the password of VI_1", kept]),
        ("auth_type PASS\n auth_pass geheim\n", "", vec!["removes the password of VI_1", kept]),
        ("auth_type PASS", "auth_type AH", vec!["changes the auth_type of VI_1 from pass to ah", kept]),
        (
            "interface eth1",
            "interface eth2",
            vec![
                "restarts VI_3: its interface changes from eth1 to eth2 (a new virtual router)",
                "removes tracked interface eth1 weight 0 from VI_3",
                "adds tracked interface eth2 weight 0 to VI_3",
                "restarts VI_3; no other instance",
            ],
        ),
        (
            " VI_3\n",
            "",
            vec!["removes instance VI_3 from G", "moves 192.0.2.4 from G to VI_3; each has a lease of its own", agent],
        ),
    ] {
        let mut expected = expected;
        let mut told = told(from, to);
        expected.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, expected, "{from} -> {to}");
    }
}

#[test]
fn an_instance_that_comes_first_moves_no_place_of_a_group() {
    let more = "vrrp_instance VI_0 {\n interface eth0\n virtual_router_id 9\n virtual_ipaddress {\n 192.0.2.5\n }\n}\n";
    let new = SITE.replacen("vrrp_instance", &format!("{more}vrrp_instance"), 1);
    assert_eq!(diff(&model(SITE), &model(&new)).text(), "adds instance VI_0\nrestarts no instance\n");
    assert_eq!(diff(&model(&new), &model(SITE)).text(), "removes instance VI_0\nrestarts no instance\n");
    // The same places, and other instances at them.
    let swapped = SITE.replace("VI_1", "X").replace("VI_2", "VI_1").replace('X', "VI_2");
    let told = diff(&model(SITE), &model(&swapped)).text();
    assert!(told.contains("removes instance VI_2 from G") && told.contains("adds instance VI_1 to G"), "{told}");
}

#[test]
fn a_cluster_says_what_else_is_to_be_done() {
    let text = std::fs::read_to_string("tests/fixtures/cluster.toml").unwrap();
    let told = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        diff(&model(&text), &model(&text.replacen(from, to, 1))).text()
    };
    assert_eq!(
        told("misses = 3", "misses = 4"),
        "changes the heartbeat.misses from 3 to 4; the cluster changes: the same is needed on every member\n\
         restarts the agent\n"
    );
    let lease = told("lease = \"500ms\"", "lease = \"400ms\"");
    assert!(lease.starts_with("changes the lease from 500ms to 400ms; the lease changes: voters refuse"), "{lease}");
    let generation = told("[arbiter]\n", "[arbiter]\ngeneration = 2\n");
    assert!(
        generation.contains("generation of the voter set from 1 to 2; the voter set changes: use `keepone voters`")
    );
}

#[test]
fn no_password_is_shown_in_words_or_json() {
    let new = SITE.replace("geheim", "secret");
    let found = diff(&model(SITE), &model(&new));
    assert!(!found.is_none());
    for text in [found.text(), found.json(), format!("{found:?}")] {
        assert!(!text.contains("geheim") && !text.contains("secret"), "{text}");
    }
}

#[test]
fn the_json_has_the_path_both_values_and_what_restarts() {
    let found = diff(&model(SITE), &model(&SITE.replace("interface eth1", "interface eth2")));
    let json: serde_json::Value = serde_json::from_str(&found.json()).unwrap();
    assert_eq!(json["restarts"], serde_json::json!(["VI_3"]));
    let change = &json["changes"][0];
    assert_eq!(change["path"], "instances[VI_3].interface");
    assert_eq!((&change["from"], &change["to"]), (&"eth1".into(), &"eth2".into()));
}

/// As the model of virtual servers is, and with a field that no table knows.
#[derive(Serialize, Clone)]
struct Director {
    virtual_servers: Vec<Server>,
}

#[derive(Serialize, Clone)]
struct Server {
    service: Service,
    protocol: &'static str,
    whatever: Option<u32>,
    real_servers: Vec<Real>,
}

#[derive(Serialize, Clone)]
enum Service {
    Address { address: std::net::IpAddr, port: u16 },
    Mark { mark: u32 },
}

#[derive(Serialize, Clone)]
struct Real {
    address: std::net::IpAddr,
    port: u16,
    weight: u32,
    timeout: std::time::Duration,
    limits: (u32, u32),
    checkers: Vec<(String, std::time::Duration)>,
}

fn director(servers: u32, reals: u8) -> Director {
    let real = |at: u32, real: u8| Real {
        address: std::net::Ipv4Addr::from(0x0a00_0000 + at * 16 + u32::from(real)).into(),
        port: 80,
        weight: 1,
        timeout: std::time::Duration::from_secs(3),
        limits: (0, 0),
        checkers: vec![(String::from("/health"), std::time::Duration::from_secs(5)); 2],
    };
    let server = |at: u32| Server {
        service: Service::Address { address: std::net::Ipv4Addr::from(0xc000_0200 + at).into(), port: 80 },
        protocol: "tcp",
        whatever: None,
        real_servers: (0..reals).map(|number| real(at, number)).collect(),
    };
    Director { virtual_servers: (0..servers).map(server).collect() }
}

fn lines(old: &Director, new: &Director) -> Vec<String> {
    compare::changes(old, new, &[], &[]).into_iter().map(|change| change.text).collect()
}

#[test]
fn what_no_table_knows_is_told_by_its_name() {
    let old = director(3, 2);
    let mut new = old.clone();
    new.virtual_servers[0].whatever = Some(7);
    new.virtual_servers[1].real_servers[1].weight = 5;
    new.virtual_servers[1].real_servers[0].limits.1 = 9;
    new.virtual_servers[1].real_servers[0].timeout = std::time::Duration::from_millis(1500);
    new.virtual_servers[2].service = Service::Mark { mark: 3 };
    let expected = [
        "sets the whatever of virtual server 192.0.2.0 80 tcp to 7",
        "changes the timeout of real server 10.0.0.16 80 of virtual server 192.0.2.1 80 tcp from 3s to 1.5s",
        "changes the limits.1 of real server 10.0.0.16 80 of virtual server 192.0.2.1 80 tcp from 0 to 9",
        "changes the weight of real server 10.0.0.17 80 of virtual server 192.0.2.1 80 tcp from 1 to 5",
        "removes virtual server 192.0.2.2 80 tcp",
        "adds virtual server mark 3 tcp",
    ];
    assert_eq!(lines(&old, &new), expected);
}

fn time(count: u32, all: bool) -> std::time::Duration {
    let old = director(count, 4);
    let mut new = old.clone();
    for server in new.virtual_servers.iter_mut().take(if all { usize::MAX } else { 1 }) {
        server.whatever = Some(1);
    }
    let started = spent();
    assert_eq!(lines(&old, &new).len(), if all { count as usize } else { 1 });
    spent() - started
}

#[test]
fn virtual_servers_are_compared_in_one_pass() {
    for all in [false, true] {
        assert_grows_with_the_size(200, |count| time(u32::try_from(count).unwrap(), all));
    }
}

#[test]
#[ignore = "a measurement, of use in release only"]
fn ten_thousand_virtual_servers_are_compared_within_a_third_of_a_second() {
    let (one, all) = (time(10_000, false), time(10_000, true));
    println!("10 000 virtual servers: {one:?} where one changed, {all:?} where all did");
    assert!(one < std::time::Duration::from_millis(300), "{one:?}");
    assert!(all < std::time::Duration::from_secs(1), "{all:?}");
}

fn number(range: std::ops::Range<u8>) -> impl Strategy<Value = u8> {
    range
}

proptest! {
    /// Two models have a change exactly if they differ.
    #[test]
    fn a_difference_is_found_exactly_if_there_is_one(
        a in (number(1..3), number(1..3), number(1..3), number(0..2)),
        b in (number(1..3), number(1..3), number(1..3), number(0..2)),
    ) {
        let text = |(vrid, priority, address, group): (u8, u8, u8, u8)| {
            let group = if group == 0 { "" } else { "vrrp_sync_group G {\n group {\n A\n }\n}\n" };
            format!(
                "{group}vrrp_instance A {{\n interface eth0\n virtual_router_id {vrid}\n priority {priority}\n \
                 authentication {{\n auth_type PASS\n auth_pass p{priority}\n }}\n virtual_ipaddress {{\n \
                 192.0.2.{address}\n }}\n}}\n"
            )
        };
        let (old, new) = (model(&text(a)), model(&text(b)));
        prop_assert_eq!(diff(&old, &new).is_none(), old == new);
        prop_assert_eq!(diff(&new, &old).changes.len(), diff(&old, &new).changes.len());
    }
}

#[test]
fn a_tracked_virtual_server_is_told_by_its_word_and_not_by_its_place() {
    let server =
        |last: u8| format!("virtual_server 192.0.2.{last} 80 {{\n protocol TCP\n real_server 10.0.0.1 80 {{ }}\n}}\n");
    let tied = |words: &str| {
        let track = format!(" track_virtual_server {{\n{words}\n }}\n virtual_router_id 1\n");
        SITE.replacen(" virtual_router_id 1\n", &track, 1)
    };
    let lines =
        |from: &str, to: &str| diff(&model(from), &model(to)).text().lines().map(str::to_owned).collect::<Vec<_>>();
    let one = format!("{}{}", server(1), tied("192.0.2.1:80"));
    let first = format!("{}{}{}", server(2), server(1), tied("192.0.2.1:80"));
    let told = lines(&one, &first);
    assert!(told.iter().all(|line| !line.contains("tracked")) && told.len() == 2, "{told:?}");
    let told = lines(&first, &format!("{}{}{}", server(2), server(1), tied("192.0.2.1:80 weight -20")));
    assert!(told[0].contains("tracked virtual server [192.0.2.1]:tcp:80"), "{told:?}");
    assert_eq!(told[1], "restarts no instance");
    let told = lines(&first, &format!("{}{}{}", server(2), server(1), tied("")));
    assert_eq!(told, ["removes tracked virtual server [192.0.2.1]:tcp:80 from VI_1", "restarts no instance"]);
}

/// So many virtual servers of two real servers each; `weight` is that of the first one's first.
fn servers_text(servers: std::ops::Range<usize>, weight: u32) -> String {
    let first = servers.start;
    let server = |at: usize| {
        let weight = if at == first { weight } else { 1 };
        format!(
            "virtual_server 10.9.{}.{} 80 {{\n protocol TCP\n real_server 10.1.0.1 80 {{\n weight {weight}\n }}\n \
             real_server 10.1.0.2 80 {{\n }}\n}}\n",
            at / 250,
            at % 250 + 1
        )
    };
    servers.map(server).collect()
}

#[test]
fn in_brief_the_first_virtual_servers_that_differ_are_told_and_the_others_counted() {
    let old = model(&format!("{SITE}{}", servers_text(0..500, 1)));
    let one = model(&format!("{SITE}{}", servers_text(0..500, 2)));
    assert_eq!(brief(&old, &one, 1), (diff(&old, &one), 0));
    assert_eq!(brief(&old, &one, 1).0.changes.len(), 1);
    // One that changes, ten that come at the end, and ten that go: those that go are told last.
    let other = model(&format!("{}{}", SITE.replace("priority 100", "priority 150"), servers_text(0..490, 2)));
    let more = model(&format!("{SITE}{}", servers_text(0..510, 1)));
    let (told, left) = brief(&more, &other, 3);
    assert_eq!((told.changes.len(), left), (1 + 3, 1 + 20 - 3), "{}", told.text());
    assert!(told.text().contains("priority of VI_1") && told.text().contains("10.9.1.241"), "{}", told.text());
    let (told, left) = brief(&other, &more, 3);
    assert_eq!((told.changes.len(), left), (1 + 3, 1 + 20 - 3), "{}", told.text());
    assert_eq!(brief(&more, &other, 21), (diff(&more, &other), 0));
}

#[test]
fn in_brief_another_order_and_other_names_behind_places_are_seen() {
    let servers = format!("{}{}", servers_text(5..6, 1), servers_text(0..5, 1));
    let (old, new) = (model(&servers_text(0..6, 1)), model(&servers));
    assert_eq!(brief(&old, &new, 9), (diff(&old, &new), 0));
    assert!(!brief(&old, &new, 9).0.is_none());
    let track =
        |of: &str| SITE.replace(" priority 100", &format!(" track_virtual_server {{\n {of}\n }}\n priority 100"));
    let tied = track("[10.9.0.3]:tcp:80");
    let (old, new) =
        (model(&format!("{tied}{}", servers_text(1..6, 1))), model(&format!("{tied}{}", servers_text(0..6, 1))));
    let (told, left) = brief(&old, &new, 9);
    assert_eq!((told.changes.len(), left), (1, 0), "the same one is tracked: {}", told.text());
}

#[test]
fn a_digest_beside_servers_is_of_all_the_rest() {
    let digest = |text: &str| digest_beside_servers(&model(text));
    let bare = SITE.replace(" authentication {\n auth_type PASS\n auth_pass geheim\n }\n", "");
    assert_eq!(digest(&bare), digest(&format!("{bare}{}", servers_text(0..3, 7))));
    for (from, to) in [("priority 100", "priority 101"), ("192.0.2.4", "192.0.2.5"), ("router_id one", "router_id two")]
    {
        assert!(bare.contains(from), "{from}");
        assert_ne!(digest(&bare), digest(&bare.replace(from, to)), "{from}");
    }
}

#[test]
fn static_things_are_told_one_by_one() {
    let text = |address: &str, route: &str| {
        model(&format!("{SITE}static_ipaddress {{\n {address}\n}}\nstatic_routes {{\n {route}\n}}\n"))
    };
    let old = text("198.51.100.1/24 dev eth0", "203.0.113.0/24 via 198.51.100.9");
    let told =
        diff(&old, &text("198.51.100.1/25 dev eth0\n 198.51.100.2/24 dev eth0", "203.0.113.0/24 via 198.51.100.8"));
    let lines: Vec<String> = told.text().lines().map(str::to_owned).collect();
    let expected = [
        "changes the prefix of static address 198.51.100.1 from 24 to 25",
        "adds static address 198.51.100.2",
        "removes static route",
        "adds static route",
        "restarts no instance",
    ];
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    for (line, expected) in lines.iter().zip(expected) {
        assert!(line.starts_with(expected), "{lines:#?}");
    }
}

#[test]
fn another_policy_is_in_place_but_for_the_way_back_from_two_accepted_masters() {
    let text = std::fs::read_to_string("tests/fixtures/cluster.toml").unwrap();
    let with = |policy: &str| model(&text.replacen("[arbiter]\n", &format!("[arbiter]\npolicy = \"{policy}\"\n"), 1));
    let all = ["strict", "degrade", "i-accept-dual-master"];
    for (from, to) in all.iter().flat_map(|from| all.iter().map(move |to| (*from, *to))) {
        let difference = diff(&with(from), &with(to));
        let leaves = from == all[2] && to != from;
        assert_eq!(difference.restarts_agent, leaves, "{from} -> {to}: {}", difference.text());
        assert_eq!(
            difference.text().contains("no more; it may be held by nobody's leave"),
            leaves,
            "{}",
            difference.text()
        );
    }
}
