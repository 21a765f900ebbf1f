//! Two agents that are set up otherwise, or whose network is, on real packets: each side says what differs and
//! what to do, and the address never has two holders (S17, F26, F55, F56, F60, F62). Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use keepone_agent::net::Sent;
use keepone_agent::net::neighbor::FrameSender;
use keepone_chaos::fault::{Class, Network};
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_proto::wire::arp;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;

/// A start, some profiles and the folding take four seconds; the rest is for a machine that is busy with other
/// tests.
const SOON: Duration = Duration::from_secs(30);
const A: usize = 0;
const B: usize = 1;

/// A pair under an authority: both vote, and the witness is never there.
struct Pair {
    programs: [Program; 2],
    watch: Watch,
    lan: Lan,
    began: u64,
}

impl Pair {
    /// `change` makes of the file of each node what it runs with.
    fn start(change: impl Fn(usize, String) -> String) -> Self {
        Pair::start_on(Lan::build(2).unwrap(), change)
    }

    fn start_on(lan: Lan, change: impl Fn(usize, String) -> String) -> Self {
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum();
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let began = clock::now();
        let program = keepone_tests::binary::find("keepone");
        let programs = [A, B].map(|node| {
            let text = change(node, cluster.of_node(&lan, node));
            let file = lan.write(&format!("n{}.toml", node + 1), &text).unwrap();
            lan.start(node, &[program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap()
        });
        Pair { programs, watch, lan, began }
    }

    /// The pair as it should be, with the better node holding.
    fn steady() -> Self {
        let pair = Pair::start(|_, text| text);
        pair.must(pair.watch.alone(A, Duration::from_secs(15)).is_some(), "the better node does not become MASTER");
        pair
    }

    #[track_caller]
    fn must(&self, good: bool, what: &str) {
        if !good {
            panic!("{what}\nn1 said:\n{}\nn2 said:\n{}", self.programs[A].said(), self.programs[B].said());
        }
    }

    /// A node raises an alert whose line has all these words.
    #[track_caller]
    fn raises(&mut self, node: usize, name: &str, words: &[&str]) {
        let fits = |said: &str| {
            let lines = said.lines().filter(|line| line.contains(&format!("alert {name}")) && line.contains("to do: "));
            lines.into_iter().any(|line| words.iter().all(|word| line.contains(word)))
        };
        let begin = clock::now();
        while !fits(&self.programs[node].said()) {
            let late = Duration::from_nanos(clock::now() - begin) > SOON;
            self.must(!late, &format!("n{} does not raise {name} with {words:?}", node + 1));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Nobody ever held beside the other, and nobody changed but at the start.
    #[track_caller]
    fn one_holder_at_most(&self) {
        let overlap = self.watch.overlap(self.began, clock::now());
        self.must(overlap == Duration::ZERO, &format!("both held the address for {overlap:?}"));
    }

    /// The better node holds, and did not let go.
    #[track_caller]
    fn first_holds(&self) {
        self.must(self.watch.alone(A, Duration::from_secs(15)).is_some(), "the better node does not hold");
        self.one_holder_at_most();
        let left = self.programs[A].said().lines().any(|line| line.contains("MASTER -> "));
        self.must(!left, "the holder changed");
    }
}

/// Replaces what must be there.
#[track_caller]
fn with(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in\n{text}");
    text.replace(from, to)
}

/// The second node has `to` where the file says `from`.
fn second_has(from: &str, to: &str) -> Pair {
    Pair::start(|node, text| if node == B { with(&text, from, to) } else { text })
}

#[test]
fn another_vrid() {
    let mut pair = second_has("virtual_router_id = 51", "virtual_router_id = 52");
    pair.raises(
        A,
        "config-mismatch of VI_1",
        &["virtual_router_id 52 on n2, 51 here", "set the same virtual_router_id"],
    );
    pair.raises(B, "config-mismatch of VI_1", &["virtual_router_id 51 on n1, 52 here", "under VRID 51, ours is 52"]);
    pair.first_holds();
}

#[test]
fn another_list_of_addresses() {
    let list = format!("[\"{VIP}/24 dev {INTERFACE}\"]");
    let longer = format!("[\"{VIP}/24 dev {INTERFACE}\", \"192.0.2.101/24 dev {INTERFACE}\"]");
    let mut pair = second_has(&list, &longer);
    pair.raises(A, "config-mismatch of VI_1", &["other virtual addresses on n2 (2 of them)", "virtual_ipaddress"]);
    pair.raises(B, "config-mismatch of VI_1", &["other virtual addresses on n1 (1 of them)", "192.0.2.101"]);
    pair.first_holds();
}

#[test]
fn another_interval() {
    let mut pair = second_has("advert_int = \"250ms\"", "advert_int = \"500ms\"");
    pair.raises(A, "config-mismatch of VI_1", &["advert_int 500 ms on n2, 250 ms here"]);
    pair.raises(B, "config-mismatch of VI_1", &["advert_int 250 ms on n1, 500 ms here"]);
    pair.first_holds();
}

#[test]
fn another_password_which_is_never_shown() {
    let version_2 = |text: &str, password: &str| {
        let text = with(text, "version = 3", "version = 2");
        let authentication = format!("advert_int = \"1s\"\nauth_type = \"PASS\"\nauth_pass = \"{password}\"");
        with(&text, "advert_int = \"250ms\"", &authentication)
    };
    let mut pair = Pair::start(|node, text| version_2(&text, ["sesame", "mustard"][node]));
    pair.raises(A, "config-mismatch of VI_1", &["another password on n2 than here", "auth_pass"]);
    pair.raises(B, "config-mismatch of VI_1", &["another password on n1 than here"]);
    pair.first_holds();
    for node in [A, B] {
        let said = pair.programs[node].said();
        pair.must(!said.contains("sesame") && !said.contains("mustard"), "a password was shown");
    }
}

#[test]
fn another_voter_set_and_lease_form_no_majority() {
    let voters = "voters = [\"n1\", \"n2\", \"w\"]\nlease = \"500ms\"";
    let mut pair = second_has(voters, "voters = [\"w\"]\nlease = \"1s\"");
    pair.raises(A, "config-mismatch", &["voters: w on n2, n1, n2, w here", "lease: 1000 ms on n2, 500 ms here"]);
    pair.raises(B, "config-mismatch", &["voters: n1, n2, w on n1, w here", "[arbiter]"]);
    pair.raises(A, "arbiter-unreachable of VI_1", &["voters answering=1 needed=2"]);
    // Two digests are no majority (I14), and the witness is not there.
    pair.must(pair.watch.holders().is_empty(), "somebody holds without a majority");
    pair.one_holder_at_most();
}

#[test]
fn another_key() {
    let key_of = |text: &str, member: &str| {
        let entry = text.split("[[member]]").find(|entry| entry.contains(&format!("name = \"{member}\""))).unwrap();
        let line = entry.lines().find(|line| line.starts_with("public_key")).unwrap();
        line.split('"').nth(1).unwrap().to_owned()
    };
    let mut pair = Pair::start(|node, text| match node {
        B => {
            // A key of nobody, one letter from the right one.
            let key = key_of(&text, "n1");
            let (first, rest) = key.split_at(1);
            let other = format!("{}{rest}", if first == "A" { "B" } else { "A" });
            with(&text, &key, &other)
        }
        _ => text,
    });
    pair.raises(B, "unknown-key", &["what answers as n1 at 10.1.0.1:7946 has another key", "public_key of n1"]);
    pair.raises(A, "unknown-key", &["n2 at 10.1.0.2:7946 refuses this node's key", "n2's member list"]);
    for node in [A, B] {
        pair.raises(node, "all-heartbeats-down", &["silent for 300 ms on every link"]);
    }
    pair.one_holder_at_most();
}

#[test]
fn vrrp_is_filtered_and_both_sides_say_what_to_open_f26() {
    let mut pair = Pair::steady();
    pair.lan.cut_nodes(Network::Lan, Class::Vrrp).unwrap();
    let open = ["protocol 112", "224.0.0.18", INTERFACE, "firewall", "IGMP snooping"];
    pair.raises(B, "vrrp-silent of VI_1", &[&open[..], &["no Advertisement comes in on lan0, the last came"]].concat());
    pair.raises(A, "vrrp-silent of VI_1", &[&open[..], &["n2 hears our heartbeats, but none of"]].concat());
    pair.first_holds();
    pair.lan.heal().unwrap();
    for node in [A, B] {
        let told = pair.programs[node].says("alert vrrp-silent of VI_1 is over", SOON);
        pair.must(told, "the end is not told");
    }
}

#[test]
fn one_heartbeat_link_is_filtered_and_the_other_tells_of_it() {
    let mut pair = Pair::steady();
    pair.lan.cut_nodes(Network::Heartbeat(1), Class::All).unwrap();
    pair.raises(A, "heartbeat-link-down", &["hb1 to n2 (last heard ", "it does not hear us either"]);
    pair.raises(B, "heartbeat-link-down", &["hb1 to n1 (last heard ", "firewall"]);
    pair.first_holds();
}

#[test]
fn another_vlan() {
    // No frame passes between the nodes on the LAN, from the start; kernels without 802.1Q can show that, too.
    let mut lan = Lan::build(2).unwrap();
    lan.cut_nodes(Network::Lan, Class::All).unwrap();
    let mut pair = Pair::start_on(lan, |_, text| text);
    pair.raises(B, "vrrp-silent of VI_1", &["no Advertisement comes in on lan0, none ever came", "VLAN"]);
    pair.raises(A, "vrrp-silent of VI_1", &["n2 hears our heartbeats, but none of", "VLAN"]);
    pair.first_holds();
}

#[test]
fn a_host_takes_the_address_and_is_named_f55() {
    let mut pair = Pair::steady();
    let mac = [0x02, 0x00, 0x5e, 0x10, 0x20, 0x30];
    let frame = arp::gratuitous_request(mac, VIP);
    let client = pair.lan.host(Kind::Client(0)).namespace.clone();
    // Again and again, for the node may have just become MASTER.
    for _ in 0..20 {
        client
            .run(|| {
                assert_eq!(FrameSender::open(INTERFACE).unwrap().send(&frame).unwrap(), Sent::Taken);
                Ok(())
            })
            .unwrap();
        std::thread::sleep(Duration::from_millis(100));
    }
    pair.raises(A, "address-claimed of VI_1", &["02:00:5e:10:20:30", &VIP.to_string()]);
    pair.must(pair.watch.answered_by(A, Duration::from_secs(5)).is_some(), "the holder does not win its address back");
    pair.first_holds();
}

#[test]
fn a_second_cluster_on_the_same_vrid_is_named_f56() {
    let mut pair = Pair::steady();
    // The better one by its priority, so that it speaks; a lease is not taken by that (D6).
    let text = format!(
        "[gate]\nmeans = \"lifetime\"\n\n[[vrrp_instance]]\nname = \"OTHER\"\nstate = \"BACKUP\"\n\
         interface = \"{INTERFACE}\"\nvirtual_router_id = 51\nversion = 3\npriority = 250\nadvert_int = \"250ms\"\n\
         virtual_ipaddress = [\"198.51.100.9/32 dev {INTERFACE}\"]\n"
    );
    let file = pair.lan.write("other.toml", &text).unwrap();
    let program = keepone_tests::binary::find("keepone");
    let command = [program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
    let client = pair.lan.host(Kind::Client(0)).namespace.clone();
    let _other = Program::start(&client, &command, &pair.lan.room().join("other.log")).unwrap();
    for node in [A, B] {
        pair.raises(node, "foreign-router of VI_1", &["192.0.2.51 advertises", "198.51.100.9", "another VRID"]);
    }
    pair.first_holds();
    let dual = pair.programs.iter().any(|program| program.said().contains("dual-master"));
    pair.must(!dual, "a router of other addresses is taken for a second holder of ours");
}
