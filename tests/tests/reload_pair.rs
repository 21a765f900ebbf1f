//! A pair under a witness's lease takes other configurations over, node by node: instances, addresses and heartbeat
//! links. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::Ipv4Addr;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::alone::TAKEN;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use keepone_tests::unbroken::Unbroken;
use nix::sys::signal::Signal;

/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);
/// An Advertisement of 250 ms that is missing doubles the interval.
const LATEST: Duration = Duration::from_millis(480);
const SECOND: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 101);

struct Pair {
    nodes: [Program; 2],
    _witness: Program,
    watch: Watch,
    cluster: Cluster,
    lan: Lan,
}

impl Pair {
    /// Three networks between the nodes, of which two are links.
    fn steady() -> Self {
        let lan = Lan::build(3).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum();
        let file = cluster.write_witness(&lan, 0).unwrap();
        let program = |name: &str| keepone_tests::binary::find(name).to_str().unwrap().to_owned();
        let witness = [&program("keepone-witness"), "run", "-c", file.to_str().unwrap()];
        let witness = lan.start_at(Kind::Witness(0), &witness).unwrap();
        let nodes = [0, 1].map(|node| {
            let file = lan.write(&format!("n{}.toml", node + 1), &text(&cluster, &lan, node, 2)).unwrap();
            lan.start(node, &[&program("keepone"), "run", "-c", file.to_str().unwrap()]).unwrap()
        });
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let pair = Pair { nodes, _witness: witness, watch, cluster, lan };
        assert!(pair.watch.answered_by(0, SOON).is_some(), "{}", pair.said());
        // All that follows a start has been said.
        thread::sleep(Duration::from_secs(2));
        pair
    }

    fn said(&self) -> String {
        format!("{}\n--\n{}", self.nodes[0].said(), self.nodes[1].said())
    }

    fn text(&self, node: usize, links: usize) -> String {
        text(&self.cluster, &self.lan, node, links)
    }

    #[track_caller]
    fn reload(&mut self, node: usize, text: &str, word: &str) {
        self.lan.write(&format!("n{}.toml", node + 1), text).unwrap();
        let before = self.nodes[node].said().matches(word).count();
        self.nodes[node].signal(Part::Guardian, Signal::SIGHUP);
        eventually(
            SOON,
            || format!("n{}: `{word}` is not said\n{}", node + 1, self.said()),
            || (self.nodes[node].said().matches(word).count() > before).then_some(()),
        );
    }

    fn dump(&self, node: usize) -> serde_json::Value {
        let path = self.lan.room().join(format!("n{}-run/keepone.json", node + 1));
        let _ = std::fs::remove_file(&path);
        self.nodes[node].signal(Part::Guardian, Signal::SIGUSR1);
        eventually(SOON, || "no dump".to_owned(), || serde_json::from_str(&std::fs::read_to_string(&path).ok()?).ok())
    }

    fn domain(&self, node: usize, name: &str) -> serde_json::Value {
        let dump = self.dump(node);
        dump["domains"].as_array().unwrap().iter().find(|of| of["name"] == name).cloned().unwrap_or_default()
    }

    fn workers(&self) -> [Vec<i32>; 2] {
        [0, 1].map(|node| members(self.nodes[node].pid(), Part::Worker))
    }
}

/// With so many of the heartbeat links.
fn text(cluster: &Cluster, lan: &Lan, node: usize, links: usize) -> String {
    let text = cluster.of_node(lan, node);
    let (before, rest) = text.split_once("\n[[heartbeat_link]]").unwrap();
    let (all, after) = rest.split_once("\n[arbiter]").unwrap();
    let kept: Vec<&str> = all.split("[[heartbeat_link]]").take(links).collect();
    format!("{before}\n[[heartbeat_link]]{}\n[arbiter]{after}", kept.join("[[heartbeat_link]]"))
}

fn second(priority: u8) -> String {
    format!(
        "\n[[vrrp_instance]]\nname = \"VI_2\"\ninterface = \"{INTERFACE}\"\nvirtual_router_id = 52\nversion = 3\npriority \
         = {priority}\nadvert_int = \"250ms\"\nvirtual_ipaddress = [\"{SECOND}/24\"]\n"
    )
}

#[test]
fn instances_addresses_and_links_change_under_a_lease_that_does_not_notice() {
    let mut pair = Pair::steady();
    let (workers, epoch) = (pair.workers(), pair.domain(0, "VI_1")["epoch"].clone());
    let unbroken = Unbroken::watch(&pair.lan, 0, VIP).unwrap();
    // One link more, first on the node that only the other one dials.
    for node in [1, 0] {
        let text = pair.text(node, 3);
        pair.reload(node, &text, TAKEN);
        assert!(pair.nodes[node].said().contains("reload: adds heartbeat link hb2"), "{}", pair.said());
    }
    eventually(
        SOON,
        || pair.said(),
        || {
            let down = |node| {
                let alerts = pair.dump(node)["alerts"].as_array().unwrap().clone();
                alerts.iter().any(|alert| alert["name"] == "heartbeat-link-down")
            };
            (!down(0) && !down(1)).then_some(())
        },
    );
    // An instance more; and a second address on the first one.
    for node in [1, 0] {
        let priority = if node == 0 { 150 } else { 100 };
        let text = pair.text(node, 3).replace(
            &format!("virtual_ipaddress = [\"{VIP}/24 dev {INTERFACE}\"]"),
            &format!("virtual_ipaddress = [\"{VIP}/24 dev {INTERFACE}\", \"192.0.2.102/24\"]"),
        );
        pair.reload(node, &(text + &second(priority)), TAKEN);
    }
    eventually(SOON, || pair.said(), || (pair.domain(0, "VI_2")["role"] == "MASTER").then_some(()));
    // Only the Master has it no more: it goes to the other node in good order.
    let text = pair.text(0, 3);
    pair.reload(0, &text, TAKEN);
    eventually(SOON, || pair.said(), || (pair.domain(1, "VI_2")["role"] == "MASTER").then_some(()));
    eventually(SOON, || pair.said(), || pair.domain(0, "VI_2").is_null().then_some(()));
    for node in [1, 0] {
        let text = pair.text(node, 2);
        pair.reload(node, &text, TAKEN);
    }
    println!("{}", unbroken.end(LATEST, &|| pair.said()));
    assert_eq!((pair.workers(), pair.domain(0, "VI_1")["epoch"].clone()), (workers, epoch), "{}", pair.said());
    assert!(!pair.said().contains("lease-lost") && !pair.said().contains("dual-master"), "{}", pair.said());
    // Links that change their places take a new worker.
    let text = pair.text(1, 1).replace("hb0", "hb1").replace("10.1.0.", "10.1.1.");
    pair.reload(1, &text, "reload: it takes a new worker: ");
}

#[test]
fn the_policy_changes_under_a_lease_that_does_not_notice_and_what_may_have_been_promised_outlives_a_worker() {
    let mut pair = Pair::steady();
    let (workers, epoch) = (pair.workers(), pair.domain(0, "VI_1")["epoch"].clone());
    let unbroken = Unbroken::watch(&pair.lan, 0, VIP).unwrap();
    let with = |pair: &Pair, node: usize, policy: &str| {
        pair.text(node, 2).replacen("[arbiter]\n", &format!("[arbiter]\npolicy = \"{policy}\"\n"), 1)
    };
    for (policy, node) in ["degrade", "strict", "degrade"].iter().flat_map(|policy| [(*policy, 1), (*policy, 0)]) {
        let text = with(&pair, node, policy);
        pair.reload(node, &text, TAKEN);
        assert!(pair.nodes[node].said().contains("reload: changes the policy from "), "{}", pair.said());
    }
    thread::sleep(Duration::from_secs(1));
    println!("{}", unbroken.end(LATEST, &|| pair.said()));
    assert_eq!((pair.workers(), &pair.domain(0, "VI_1")["epoch"]), (workers, &epoch), "{}", pair.said());
    // A worker that dies soon after it has left `degrade` does not know what it promised.
    let text = with(&pair, 1, "strict");
    pair.reload(1, &text, TAKEN);
    let former = pair.workers();
    pair.nodes[1].signal(Part::Worker, Signal::SIGKILL);
    let waits = "what was promised under `degrade` runs out first: the next start in";
    assert!(pair.nodes[1].says(waits, SOON), "{}", pair.said());
    let is_new = |pair: &Pair, former: &[Vec<i32>; 2]| !pair.workers()[1].is_empty() && pair.workers()[1] != former[1];
    eventually(SOON, || pair.said(), || is_new(&pair, &former).then_some(()));
    // Until it takes signals.
    thread::sleep(Duration::from_secs(2));
    eventually(SOON, || pair.said(), || (pair.domain(1, "VI_1")["role"] == "BACKUP").then_some(()));
    // There is a way to two accepted Masters, and none back.
    let workers = pair.workers();
    let text = with(&pair, 1, "i-accept-dual-master");
    pair.reload(1, &text, TAKEN);
    assert_eq!(pair.workers(), workers, "{}", pair.said());
    let text = with(&pair, 1, "strict");
    pair.reload(1, &text, "reload: it takes a new worker: accepts two Masters of VI_1 no more");
    eventually(
        SOON,
        || pair.said(),
        || (!pair.workers()[1].is_empty() && pair.workers()[1] != workers[1]).then_some(()),
    );
    assert_eq!(pair.domain(0, "VI_1")["epoch"], epoch, "{}", pair.said());
}
