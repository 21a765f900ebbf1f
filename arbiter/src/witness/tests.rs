//! Two candidates and a witness over real QUIC on loopback.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keepone_proto::event::Event;
use keepone_proto::id::{ClusterId, DomainId, Epoch, Incarnation, NodeId};
use keepone_proto::wire::lease::{Envelope, Message, RefuseReason, unpack};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::client::{ClientSettings, WitnessClient};
use super::config::{self, WitnessConfig};
use super::server::{StartError, Witness};
use super::state::StoreError;
use crate::quic::{Identity, Roster, TransportSettings};

pub(super) const LEASE: Duration = Duration::from_millis(1200);
pub(super) const SOON: Duration = Duration::from_secs(3);

pub(super) fn node(id: u16) -> NodeId {
    NodeId::new(id).unwrap()
}

pub(super) fn epoch(counter: u64, by: u16) -> Epoch {
    Epoch { counter, incarnation: Incarnation(u64::from(by)), attempt: 1, node: node(by) }
}

pub(super) fn acquire(epoch: Epoch, prev_ack: u64) -> Message {
    Message::Acquire { epoch, lease: LEASE, prev_ack, priority: 100 }
}

/// A witness's files, and the keys of its members.
pub(super) struct World {
    pub(super) dir: tempfile::TempDir,
    pub(super) config: WitnessConfig,
    pub(super) keys: BTreeMap<u16, Identity>,
}

impl World {
    /// On loopback net `net`, which is this test's own.
    pub(super) fn new(net: u8) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keys: BTreeMap<u16, Identity> = (1..=3).map(|id| (id, Identity::generate().unwrap())).collect();
        keys[&3].save(&dir.path().join("w.key")).unwrap();
        let listen = SocketAddr::from((Ipv4Addr::new(127, 8, net, 3), 7947));
        let mut text = format!(
            "name = \"w\"\nid = 3\nkey_file = \"w.key\"\nlisten = \"{listen}\"\nstate_dir = \"state\"\n\
             [[cluster]]\nname = \"demo\"\nlease = \"{}ms\"\n",
            LEASE.as_millis()
        );
        for id in [1, 2] {
            let key = keys[&id].public_key();
            text.push_str(&format!("[[cluster.member]]\nname = \"n{id}\"\nid = {id}\npublic_key = \"{key}\"\n"));
        }
        let config = config::parse(&dir.path().join("witness.toml"), &text).unwrap();
        World { dir, config, keys }
    }

    pub(super) fn state(&self) -> std::path::PathBuf {
        self.dir.path().join("state")
    }

    /// Starts the witness; a former one's lock and socket are gone a moment after it.
    pub(super) async fn witness(&self) -> Witness {
        let start = Instant::now();
        loop {
            match Witness::start(&self.config) {
                Ok(witness) => return witness,
                Err(error) if start.elapsed() > SOON => panic!("{error}"),
                Err(_) => sleep(Duration::from_millis(5)).await,
            }
        }
    }

    pub(super) fn candidate(&self, id: u16) -> Candidate {
        self.candidate_with(self.keys[&id].clone())
    }

    pub(super) fn candidate_with(&self, identity: Identity) -> Candidate {
        let (events, answers) = mpsc::unbounded_channel();
        let settings = ClientSettings {
            identity,
            roster: Arc::new(Roster::new([(self.keys[&3].public_key(), node(3))])),
            witnesses: vec![(node(3), self.config.listen)],
            source: None,
            interface: None,
            transport: TransportSettings::default(),
        };
        let client = WitnessClient::start(&settings, move |event| drop(events.send(event)));
        let cluster = &self.config.clusters[0];
        let blank = Envelope {
            cluster: cluster.id,
            digest: cluster.digest,
            domain: DomainId(5),
            nonce: 0,
            message: Message::Query { priority: 100 },
        };
        Candidate { client, answers, blank, nonce: 0 }
    }
}

pub(super) struct Candidate {
    pub(super) client: WitnessClient,
    pub(super) answers: mpsc::UnboundedReceiver<Event>,
    pub(super) blank: Envelope,
    pub(super) nonce: u64,
}

impl Candidate {
    /// Asks, with a new nonce every 50 ms, until the newest or an older one is answered.
    pub(super) async fn ask(&mut self, message: Message) -> Message {
        self.ask_within(SOON, message).await.expect("no answer")
    }

    pub(super) async fn ask_within(&mut self, within: Duration, message: Message) -> Option<Message> {
        let (start, first) = (Instant::now(), self.nonce + 1);
        while start.elapsed() < within {
            self.nonce += 1;
            let request = Envelope { nonce: self.nonce, message, ..self.blank.clone() };
            let _ = self.client.send_lease(node(3), request.emit());
            while let Ok(Some(event)) = timeout(Duration::from_millis(50), self.answers.recv()).await {
                if matches!(event, Event::KeyRefused { theirs: false, .. }) {
                    continue;
                }
                let Event::LeaseReceived { from, bytes } = event else { panic!("{event:?}") };
                assert_eq!(from, node(3));
                let answers = unpack(&bytes).unwrap().map(Result::unwrap);
                if let Some(answer) = answers.filter(|answer| answer.nonce >= first).last() {
                    return Some(answer.message);
                }
            }
        }
        None
    }

    pub(super) async fn why_refused(&mut self, message: Message) -> RefuseReason {
        match self.ask(message).await {
            Message::Refuse { why, .. } => why,
            other => panic!("not refused: {other:?}"),
        }
    }

    pub(super) async fn granted(&mut self, epoch: Epoch) -> bool {
        let answer = self.ask(acquire(epoch, self.nonce)).await;
        matches!(answer, Message::Grant { epoch: granted, .. } if granted == epoch)
    }

    /// Asks until it is granted; how long that took.
    pub(super) async fn granted_in_the_end(&mut self, epoch: Epoch) -> Duration {
        let start = Instant::now();
        while !self.granted(epoch).await {
            assert!(start.elapsed() < SOON, "never granted");
            sleep(Duration::from_millis(10)).await;
        }
        start.elapsed()
    }
}

#[tokio::test]
async fn one_acquires_and_renews_while_the_other_is_refused_until_the_release() {
    let world = World::new(1);
    let _witness = world.witness().await;
    let (mut one, mut two) = (world.candidate(1), world.candidate(2));
    assert_eq!(one.why_refused(Message::Query { priority: 9 }).await, RefuseReason::Quiet);
    let waited = one.granted_in_the_end(epoch(1, 1)).await;
    assert!(waited > Duration::from_millis(300), "{waited:?}: it starts quiet (V7)");
    assert!(one.granted(epoch(1, 1)).await, "renewed");
    assert_eq!(two.why_refused(acquire(epoch(2, 2), 0)).await, RefuseReason::Held);
    assert_eq!(two.why_refused(acquire(epoch(2, 1), 0)).await, RefuseReason::NotYou);
    assert!(matches!(one.ask(Message::Release { epoch: epoch(1, 1) }).await, Message::Ended { .. }));
    assert!(matches!(two.ask(Message::Query { priority: 9 }).await, Message::Free { max_counter: 1, .. }));
    assert!(two.granted(epoch(2, 2)).await);
    assert_eq!(one.why_refused(acquire(epoch(1, 1), 0)).await, RefuseReason::Held);
}

#[tokio::test]
async fn who_waits_is_told_the_moment_that_the_grant_ends() {
    let world = World::new(2);
    let _witness = world.witness().await;
    let (mut one, mut two) = (world.candidate(1), world.candidate(2));
    one.granted_in_the_end(epoch(1, 1)).await;
    assert_eq!(two.why_refused(Message::Query { priority: 9 }).await, RefuseReason::Held);
    let start = Instant::now();
    let event = timeout(SOON, two.answers.recv()).await.unwrap().unwrap();
    let Event::LeaseReceived { bytes, .. } = event else { panic!() };
    assert!(matches!(Envelope::parse(&bytes).unwrap().message, Message::Free { .. }));
    let waited = start.elapsed();
    assert!(waited > LEASE / 4 && waited < LEASE * 2, "{waited:?} for a grant of {LEASE:?}");
}

#[tokio::test]
async fn after_a_kill_the_holder_renews_at_once_and_the_others_wait_out_the_longest_lease() {
    let world = World::new(3);
    let mut witness = world.witness().await;
    let (mut one, mut two) = (world.candidate(1), world.candidate(2));
    one.granted_in_the_end(epoch(1, 1)).await;
    let _ = two.ask(Message::Query { priority: 9 }).await;
    // Longer than the life after which the end of a connection is taken for a refusal.
    for _ in 0..6 {
        assert!(one.granted(epoch(1, 1)).await);
        sleep(Duration::from_millis(200)).await;
    }
    witness.abandon();
    witness = world.witness().await;
    let start = Instant::now();
    assert!(one.granted(epoch(1, 1)).await);
    let gap = start.elapsed();
    println!("renewed {gap:?} after the restart");
    assert!(gap < Duration::from_millis(1000), "{gap:?}");
    let refused = two.why_refused(acquire(epoch(2, 2), 0)).await;
    assert!(matches!(refused, RefuseReason::Held | RefuseReason::Quiet), "{refused:?}");
    // Another life of the same node is another holder.
    let other_life = Epoch { incarnation: Incarnation(77), ..epoch(3, 1) };
    let refused = one.why_refused(acquire(other_life, 0)).await;
    assert!(matches!(refused, RefuseReason::Held | RefuseReason::Quiet), "{refused:?}");
    two.granted_in_the_end(epoch(4, 2)).await;
    let quiet = start.elapsed();
    assert!(quiet > LEASE - Duration::from_millis(200), "granted to another after {quiet:?} only");
    drop(witness);
}

#[tokio::test]
async fn without_its_record_a_witness_lets_even_the_holder_wait() {
    the_holder_waits_after(4, |record| fs::remove_file(record).unwrap()).await;
}

#[tokio::test]
async fn a_torn_record_is_no_record() {
    the_holder_waits_after(5, |record| {
        let bytes = fs::read(record).unwrap();
        fs::write(record, &bytes[..bytes.len() / 2]).unwrap();
    })
    .await;
}

async fn the_holder_waits_after(net: u8, damage: impl Fn(&Path)) {
    let world = World::new(net);
    let witness = world.witness().await;
    let mut one = world.candidate(1);
    one.granted_in_the_end(epoch(1, 1)).await;
    witness.abandon();
    damage(&world.state().join("demo.voter"));
    let _witness = world.witness().await;
    assert_eq!(one.why_refused(acquire(epoch(1, 1), 0)).await, RefuseReason::Quiet);
    one.granted_in_the_end(epoch(2, 1)).await;
}

#[tokio::test]
async fn a_disk_that_fails_refuses_new_epochs_and_never_grants_a_second_one() {
    let world = World::new(6);
    let _witness = world.witness().await;
    let (mut one, mut two) = (world.candidate(1), world.candidate(2));
    one.granted_in_the_end(epoch(1, 1)).await;
    fs::rename(world.state(), world.dir.path().join("gone")).unwrap();
    assert!(one.granted(epoch(1, 1)).await, "a renewal touches no disk");
    assert_eq!(two.why_refused(acquire(epoch(2, 2), 0)).await, RefuseReason::Held);
    let _ = one.ask(Message::Release { epoch: epoch(1, 1) }).await;
    assert_eq!(two.why_refused(acquire(epoch(2, 2), 0)).await, RefuseReason::Disk);
    fs::rename(world.dir.path().join("gone"), world.state()).unwrap();
    assert_eq!(two.why_refused(acquire(epoch(2, 2), 0)).await, RefuseReason::Stale);
    assert!(two.granted(epoch(3, 2)).await);
}

/// The disk thread hangs in its `open` until somebody reads the FIFO.
#[tokio::test]
async fn renewals_go_on_while_a_new_epoch_waits_for_the_disk() {
    let world = World::new(10);
    let _witness = world.witness().await;
    let (mut one, mut two) = (world.candidate(1), world.candidate(2));
    one.granted_in_the_end(epoch(1, 1)).await;
    let fifo = world.state().join("demo.voter.new");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
    two.blank.domain = DomainId(6);
    let quarter = Duration::from_millis(250);
    for _ in 0..3 {
        assert_eq!(two.ask_within(quarter, acquire(epoch(1, 2), 0)).await, None, "answered before it is on disk (V6)");
        assert!(one.granted(epoch(1, 1)).await);
    }
    // A FIFO can't be synced, so the write fails in the end.
    let read = tokio::task::spawn_blocking(move || fs::read(&fifo).map(|_| fs::remove_file(&fifo)));
    // Those that waited are told of the disk; who asks later is told that the epoch is used up.
    let why = two.why_refused(acquire(epoch(1, 2), 0)).await;
    assert!(matches!(why, RefuseReason::Disk | RefuseReason::Stale), "{why:?}");
    read.await.unwrap().unwrap().unwrap();
    assert!(two.granted(epoch(2, 2)).await);
}

#[tokio::test]
async fn bound_to_all_addresses_it_answers_from_the_one_that_was_asked() {
    let mut world = World::new(11);
    world.config.listen = "0.0.0.0:17947".parse().unwrap();
    let _witness = world.witness().await;
    world.config.listen = "127.8.11.3:17947".parse().unwrap();
    let mut one = world.candidate(1);
    // The client listens to no other address.
    let _ = one.ask(Message::Query { priority: 9 }).await;
}

#[tokio::test]
async fn strangers_and_other_clusters_get_nothing() {
    let world = World::new(7);
    let _witness = world.witness().await;
    let mut stranger = world.candidate_with(Identity::generate().unwrap());
    let answer = stranger.ask_within(Duration::from_millis(700), Message::Query { priority: 1 }).await;
    assert_eq!(answer, None);
    let mut one = world.candidate(1);
    one.blank.cluster = ClusterId(99);
    assert_eq!(one.why_refused(Message::Query { priority: 1 }).await, RefuseReason::Cluster);
    let mut two = world.candidate(2);
    two.blank.digest.0 ^= 1;
    assert_eq!(two.why_refused(Message::Query { priority: 1 }).await, RefuseReason::Digest);
}

#[tokio::test]
async fn what_keeps_a_witness_from_starting_has_its_own_exit_code() {
    let world = World::new(8);
    let _witness = world.witness().await;
    let locked = Witness::start(&world.config).unwrap_err();
    assert!(matches!(locked, StartError::State(StoreError::Locked { .. })), "{locked}");
    assert_eq!(locked.exit_code(), 5);
    let elsewhere = WitnessConfig { state_dir: world.dir.path().join("state2"), ..world.config.clone() };
    let in_use = Witness::start(&elsewhere).unwrap_err();
    assert_eq!(in_use.exit_code(), 4, "{in_use}");
    let keyless = WitnessConfig { key_file: world.dir.path().join("none.key"), ..world.config.clone() };
    assert_eq!(Witness::start(&keyless).unwrap_err().exit_code(), 3);
    let mut other_key = world.config.clone();
    other_key.clusters[0].own_keys = vec![world.keys[&1].public_key()];
    let error = Witness::start(&other_key).unwrap_err();
    assert!(matches!(error, StartError::OtherKey { .. }) && error.exit_code() == 3, "{error}");
}
