//! A witness in operation: several clusters, a node that floods, another configuration while it runs, the operator's
//! orders.

use std::time::{Duration, Instant};

use keepone_proto::id::{DomainId, hash_name};
use keepone_proto::wire::lease::{Envelope, Message, RefuseReason};
use tokio::time::sleep;

use super::config::{self, WitnessConfig};
use super::orders::{Ask, Which};
use super::report::{ClusterStatus, Lease, other_release};
use super::server::{ReloadError, Witness};
use super::tests::{Candidate, LEASE, SOON, World, acquire, epoch, node};
use crate::quic::Identity;

/// One node of each cluster, and both clusters call their domain the same.
const TWO: &str = "[[cluster]]\nname = \"one\"\nlease = \"1200ms\"\ndomains = [\"vip\"]\n";

/// A configuration of two clusters with a node each, and what else is to be in it.
fn two_clusters(world: &World, more: &str, members: [&str; 2]) -> WitnessConfig {
    let listen = world.config.listen;
    let [one, two] = members;
    let text = format!(
        "name = \"w\"\nid = 3\nkey_file = \"w.key\"\nlisten = \"{listen}\"\nstate_dir = \"state\"\n{more}{TWO}{one}{}{two}",
        TWO.replace("\"one\"", "\"two\"")
    );
    config::parse(&world.dir.path().join("witness.toml"), &text).unwrap()
}

fn member(world: &World, id: u16) -> String {
    let key = world.keys[&id].public_key();
    format!("[[cluster.member]]\nname = \"n{id}\"\nid = {id}\npublic_key = \"{key}\"\n")
}

/// n1 of the first cluster and n2 of the second, whose witness runs.
async fn start(net: u8, more: &str) -> (World, Witness, Candidate, Candidate) {
    let mut world = World::new(net);
    world.config = two_clusters(&world, more, [&member(&world, 1), &member(&world, 2)]);
    let witness = world.witness().await;
    let (mut one, mut two) = (world.candidate(1), world.candidate(2));
    for (candidate, cluster) in [(&mut one, 0), (&mut two, 1)] {
        let cluster = &world.config.clusters[cluster];
        (candidate.blank.cluster, candidate.blank.digest) = (cluster.id, cluster.digest);
        candidate.blank.domain = DomainId(hash_name("vip"));
    }
    (world, witness, one, two)
}

fn which(cluster: Option<&str>, name: &str) -> Which {
    Which { cluster: cluster.map(Into::into), name: name.into() }
}

async fn leases(witness: &Witness) -> Vec<Lease> {
    witness.ask(Ask::Leases).await.unwrap()
}

async fn status(witness: &Witness) -> Vec<ClusterStatus> {
    witness.ask(Ask::Status).await.unwrap().1
}

#[tokio::test]
async fn domains_of_one_name_in_two_clusters_are_two_and_nobody_gets_at_the_others() {
    let (world, witness, mut one, mut two) = start(20, "").await;
    one.granted_in_the_end(epoch(1, 1)).await;
    two.granted_in_the_end(epoch(1, 2)).await;
    // With its own key and the other's names it gets nothing, not even the holder's name.
    let other = &world.config.clusters[1];
    let own = (one.blank.cluster, one.blank.digest);
    (one.blank.cluster, one.blank.digest) = (other.id, other.digest);
    for message in [
        Message::Query { priority: 9 },
        acquire(epoch(2, 1), 0),
        Message::Release { epoch: epoch(1, 2) },
        Message::Transfer { epoch: epoch(1, 2), heir: epoch(3, 1) },
        Message::Inspect,
    ] {
        let answer = one.ask(message).await;
        assert!(
            matches!(answer, Message::Refuse { why: RefuseReason::Cluster, holder: None, max_counter: 0, .. }),
            "{message:?}: {answer:?}"
        );
    }
    (one.blank.cluster, one.blank.digest) = own;
    assert!(one.granted(epoch(1, 1)).await && two.granted(epoch(1, 2)).await, "both hold as before");
    let holders: Vec<_> = leases(&witness).await.into_iter().map(|l| (l.cluster, l.name.unwrap(), l.holder)).collect();
    let wanted =
        [("one", "n1"), ("two", "n2")].map(|(cluster, node)| (cluster.into(), "vip".into(), Some(node.into())));
    assert_eq!(holders, wanted);
}

#[tokio::test]
async fn a_node_that_floods_is_cut_and_told_and_costs_the_others_nothing() {
    let (_world, witness, mut one, mut two) = start(21, "max_rate = 50\n").await;
    one.granted_in_the_end(epoch(1, 1)).await;
    sleep(Duration::from_secs(1)).await;
    let flood = tokio::spawn(async move {
        let (begin, mut told) = (Instant::now(), false);
        while begin.elapsed() < Duration::from_secs(3) {
            for _ in 0..20 {
                two.nonce += 1;
                let request =
                    Envelope { nonce: two.nonce, message: Message::Query { priority: 1 }, ..two.blank.clone() };
                let _ = two.client.send_lease(super::tests::node(3), request.emit());
            }
            sleep(Duration::from_millis(5)).await;
            while let Ok(event) = two.answers.try_recv() {
                let keepone_proto::event::Event::LeaseReceived { bytes, .. } = event else { continue };
                told |= matches!(
                    Envelope::parse(&bytes).unwrap().message,
                    Message::Refuse { why: RefuseReason::TooMuch, .. }
                );
            }
        }
        told
    });
    while !flood.is_finished() {
        assert!(one.granted(epoch(1, 1)).await, "a calm node waits for nothing");
        sleep(Duration::from_millis(100)).await;
    }
    assert!(flood.await.unwrap(), "it was told");
    let clusters = status(&witness).await;
    assert!(clusters[1].members[0].dropped > 1000, "{clusters:?}");
    assert_eq!(clusters[0].members[0].dropped, 0);
    assert!(clusters[1].refusals["too-much"] <= 5, "told once a second: {clusters:?}");
}

#[tokio::test]
async fn a_reload_takes_members_keys_and_clusters_over_and_no_lease_is_lost() {
    let (world, mut witness, mut one, mut two) = start(22, "").await;
    one.granted_in_the_end(epoch(1, 1)).await;
    two.granted_in_the_end(epoch(1, 2)).await;

    // A second key for n1 while the first is in use, and another key of the witness's own.
    let fresh = Identity::generate().unwrap();
    let both = member(&world, 1).replace("public_key = ", "public_key = [").trim_end().to_owned();
    let both = format!("{both}, \"{}\"]\n", fresh.public_key());
    std::fs::remove_file(world.dir.path().join("w.key")).unwrap();
    let own = Identity::generate().unwrap();
    own.save(&world.dir.path().join("w.key")).unwrap();
    let config = two_clusters(&world, "", [&both, &member(&world, 2)]);
    let words = witness.reload(&config).await.unwrap();
    assert!(words.iter().any(|w| w.contains("cluster one: its members")) && words.len() == 2, "{words:?}");
    assert!(one.granted(epoch(1, 1)).await && two.granted(epoch(1, 2)).await, "old connections stand");
    // Who dials anew meets the new key.
    let mut dialed = world.candidate(1);
    let event = tokio::time::timeout(SOON, dialed.answers.recv()).await.unwrap().unwrap();
    assert!(matches!(event, keepone_proto::event::Event::KeyRefused { theirs: true, .. }), "{event:?}");
    drop(dialed);

    // Its own key back, for the clients of this test, and cluster two is gone.
    std::fs::remove_file(world.dir.path().join("w.key")).unwrap();
    world.keys[&3].save(&world.dir.path().join("w.key")).unwrap();
    let mut config = two_clusters(&world, "", [&both, &member(&world, 2)]);
    config.clusters.pop();
    let words = witness.reload(&config).await.unwrap();
    assert!(words.contains(&"cluster two is no longer served".to_owned()), "{words:?}");
    let mut renewed = world.candidate_with(fresh);
    renewed.blank = one.blank.clone();
    assert!(renewed.granted(epoch(1, 1)).await, "either key proves the name");
    assert!(one.granted(epoch(1, 1)).await);
    let answer = two.ask_within(Duration::from_millis(700), acquire(epoch(1, 2), 0)).await;
    assert!(!matches!(answer, Some(Message::Grant { .. })), "{answer:?}");

    // It comes back: what was lent there is remembered.
    let config = two_clusters(&world, "", [&both, &member(&world, 2)]);
    witness.reload(&config).await.unwrap();
    two.granted_in_the_end(epoch(1, 2)).await;
}

#[tokio::test]
async fn a_reload_that_can_not_be_changes_nothing_and_says_why() {
    let (world, mut witness, mut one, _two) = start(23, "").await;
    one.granted_in_the_end(epoch(1, 1)).await;
    let mut config = world.config.clone();
    config.clusters.pop();
    config.listen.set_port(7999);
    let error = witness.reload(&config).await.unwrap_err();
    assert!(matches!(error, ReloadError::NeedsRestart("listen")), "{error}");
    let mut config = world.config.clone();
    config.clusters.pop();
    config.key_file = world.dir.path().join("none.key");
    let error = witness.reload(&config).await.unwrap_err();
    assert!(error.to_string().contains("none.key"), "{error}");
    assert!(one.granted(epoch(1, 1)).await);
    assert_eq!(status(&witness).await.len(), 2);
}

#[tokio::test]
async fn another_lease_begins_the_voter_anew_and_only_the_recorded_holder_goes_on() {
    let (mut world, mut witness, mut one, _two) = start(24, "").await;
    one.granted_in_the_end(epoch(1, 1)).await;
    let members = format!("{}{}", member(&world, 1), member(&world, 2).replace("n2", "n4").replace("id = 2", "id = 4"));
    // n4 may hold and does not vote, or the voters would be others under the same generation.
    let longer = |text: String| text.replace("1200ms\"\n", "1400ms\"\nvoters = [\"n1\", \"w\"]\n");
    let listen = world.config.listen;
    let text = format!(
        "name = \"w\"\nid = 3\nkey_file = \"w.key\"\nlisten = \"{listen}\"\nstate_dir = \"state\"\n{}{members}",
        longer(TWO.to_owned())
    );
    let config = config::parse(&world.dir.path().join("witness.toml"), &text).unwrap();
    let words = witness.reload(&config).await.unwrap();
    assert!(words[0].contains("begins anew"), "{words:?}");
    assert_eq!(one.why_refused(acquire(epoch(1, 1), 0)).await, RefuseReason::Digest);
    world.config = config;
    let digest = world.config.clusters[0].digest;
    let mut other = world.candidate(2);
    (other.blank.cluster, other.blank.digest, other.blank.domain) = (one.blank.cluster, digest, one.blank.domain);
    one.blank.digest = digest;
    let stranger = super::tests::node(4);
    let epoch_of_4 = keepone_proto::id::Epoch { node: stranger, ..epoch(9, 2) };
    assert_eq!(other.why_refused(acquire(epoch_of_4, 0)).await, RefuseReason::Quiet);
    let renewal = Message::Acquire { epoch: epoch(1, 1), lease: LEASE, prev_ack: 0, priority: 100 };
    assert!(matches!(one.ask(renewal).await, Message::Grant { .. }), "the recorded holder is served at once");
}

#[tokio::test]
async fn a_vote_taken_back_goes_to_the_other_when_the_loan_has_run_out() {
    let world = World::new(25);
    let witness = world.witness().await;
    let (mut one, mut two) = (world.candidate(1), world.candidate(2));
    one.granted_in_the_end(epoch(1, 1)).await;
    let domain = leases(&witness).await[0].domain.clone();
    let revoke = |name: &str, cluster: Option<&str>| {
        let (what, length) = (which(cluster, name), Duration::from_secs(3));
        witness.ask(move |answer| Ask::Revoke { what, length, answer })
    };
    assert!(one.granted(epoch(1, 1)).await);
    let begin = Instant::now();
    let revoked = revoke(&domain, None).await.unwrap().unwrap();
    assert_eq!((revoked.node.as_str(), revoked.cluster.as_str()), ("n1", "demo"));
    assert!(revoked.left_ms > 0 && revoked.left_ms <= 1200, "{revoked:?}");
    assert_eq!(one.why_refused(acquire(epoch(1, 1), 1)).await, RefuseReason::Revoked);
    two.granted_in_the_end(epoch(2, 2)).await;
    let waited = begin.elapsed();
    assert!(waited + Duration::from_millis(50) >= Duration::from_millis(revoked.left_ms), "{waited:?} for {revoked:?}");
    assert_eq!(one.why_refused(Message::Query { priority: 200 }).await, RefuseReason::Revoked);

    let error = revoke("nothing", None).await.unwrap().unwrap_err();
    assert!(error.contains("keepone-witness leases"), "{error}");
    assert!(revoke(&domain, Some("other")).await.unwrap().is_err());
    // Nothing of a domain that is held, or of who holds it, is forgotten.
    for (name, said) in
        [(domain.as_str(), "is held by n2"), ("n2", "holds 1 domains"), ("n1", "ago"), ("n9", "neither")]
    {
        let what = which(None, name);
        let error = witness.ask(|answer| Ask::Forget { what, answer }).await.unwrap().unwrap_err();
        assert!(error.contains(said), "{name}: {error}");
    }
}

#[tokio::test]
async fn what_is_told_in_numbers_is_what_happened() {
    let (_world, witness, mut one, mut two) = start(26, "").await;
    one.granted_in_the_end(epoch(1, 1)).await;
    for _ in 0..3 {
        assert!(one.granted(epoch(1, 1)).await);
    }
    two.granted_in_the_end(epoch(1, 2)).await;
    assert!(matches!(two.ask(Message::Release { epoch: epoch(1, 2) }).await, Message::Ended { .. }));
    let begin = Instant::now();
    let text = loop {
        let text: String = witness.ask(Ask::Metrics).await.unwrap();
        if text.contains("write_seconds_count{cluster=\"one\"} 1\n") || begin.elapsed() > SOON {
            break text;
        }
        sleep(Duration::from_millis(20)).await;
    };
    let has = |line: &str| assert!(text.contains(&format!("\nkeepone_witness_{line}\n")), "{line} is not in\n{text}");
    has("grants_total{cluster=\"one\"} 1");
    has("lent{cluster=\"one\"} 1");
    has("lent{cluster=\"two\"} 0");
    has("ended_total{cluster=\"two\"} 1");
    has("nodes_connected{cluster=\"one\"} 1");
    has("write_seconds_bucket{cluster=\"one\",le=\"+Inf\"} 1");
    has("write_seconds_count{cluster=\"one\"} 1");
    assert!(text.ends_with("\n# EOF\n"));
    // No metric twice, and each after its type.
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| line.rsplit_once(' ').unwrap().0);
    let names: Vec<&str> = lines.collect();
    let different: std::collections::BTreeSet<&&str> = names.iter().collect();
    assert_eq!(different.len(), names.len(), "{text}");
    let renewals = text.lines().find_map(|line| line.strip_prefix("keepone_witness_renewals_total{cluster=\"one\"} "));
    assert!(renewals.unwrap().parse::<u64>().unwrap() >= 3);
}

#[tokio::test]
async fn a_member_of_another_release_is_named_until_it_can_be_read() {
    let (world, witness, mut one, _two) = start(27, "").await;
    one.granted_in_the_end(epoch(1, 1)).await;
    let mut newer = Envelope { nonce: 1 << 40, message: Message::Query { priority: 9 }, ..one.blank.clone() }.emit();
    newer[1] += 1;
    let unread = async |witness: &Witness| {
        let clusters = status(witness).await;
        let members = clusters.iter().flat_map(|cluster| &cluster.members);
        members.filter_map(|member| Some((member.name.clone(), member.unread_version?))).collect::<Vec<_>>()
    };
    assert_eq!(unread(&witness).await, []);
    let begin = Instant::now();
    while unread(&witness).await.is_empty() && begin.elapsed() < SOON {
        let _ = one.client.send_lease(node(3), newer.clone());
        sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(unread(&witness).await, [("n1".to_owned(), newer[1])]);
    let text: String = witness.ask(Ask::Metrics).await.unwrap();
    assert!(text.contains("\nkeepone_witness_nodes_unread{cluster=\"one\"} 1\n"), "{text}");
    let words = other_release("n1", newer[1]);
    assert!(words.contains("version 3, this witness reads version 2") && words.contains("this witness runs the older"));
    assert!(other_release("n1", 1).contains("n1 runs the older release"), "{words}");
    // Upgraded meanwhile, or taken back.
    assert!(one.granted(epoch(1, 1)).await);
    assert_eq!(unread(&witness).await, []);
    drop(world);
}
