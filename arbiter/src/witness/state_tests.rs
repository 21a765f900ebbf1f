use std::collections::BTreeMap;
use std::sync::mpsc;

use keepone_proto::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation, NodeId};
use keepone_proto::lease::voter::{Voter, VoterOutput, VoterSettings};
use keepone_proto::time::Instant as At;
use keepone_proto::wire::lease::{Envelope, Message, RefuseReason};
use nix::mount::{MsFlags, mount};

use super::*;

fn record(counter: u64) -> Record {
    let epoch = Epoch { counter, incarnation: Incarnation(7), attempt: 1, node: NodeId::new(1).unwrap() };
    Record { floor: 1, domains: BTreeMap::from([(DomainId(3), epoch)]), ..Record::default() }
}

#[test]
fn a_saved_record_is_there_in_the_next_life() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), "demo").unwrap();
    assert_eq!(store.load().unwrap(), None);
    store.save(&record(1).emit()).unwrap();
    store.save(&record(2).emit()).unwrap();
    drop(store);
    assert_eq!(Store::open(dir.path(), "demo").unwrap().load().unwrap(), Some(record(2)));
}

/// Words for it, and the file.
type Damage = (String, Option<Vec<u8>>);

/// Files that a voter may find where its record of counter 1 belongs; before them, the record.
fn damages(store: &Store) -> (Vec<u8>, Vec<Damage>) {
    store.save(&record(1).emit()).unwrap();
    let good = fs::read(store.path()).unwrap();
    let mut bad = vec![("no file".to_owned(), None)];
    for at in 0..good.len() {
        // The first is the empty file.
        bad.push((format!("cut at {at}"), Some(good[..at].to_vec())));
        for bit in 0..8 {
            let mut turned = good.clone();
            turned[at] ^= 1 << bit;
            bad.push((format!("octet {at}, bit {bit}"), Some(turned)));
        }
    }
    for more in [&[0][..], &good] {
        bad.push((format!("{} octets too many", more.len()), Some([&good, more].concat())));
    }
    bad.push(("zeros, as after a journal's replay".to_owned(), Some(vec![0; good.len()])));
    (good, bad)
}

fn put(store: &Store, file: Option<&[u8]>) {
    let _ = fs::remove_file(store.path());
    if let Some(bytes) = file {
        fs::write(store.path(), bytes).unwrap();
    }
}

#[test]
fn a_record_with_any_bit_turned_or_any_end_missing_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), "demo").unwrap();
    let (good, bad) = damages(&store);
    for (what, file) in bad {
        put(&store, file.as_deref());
        match store.load() {
            Ok(None) => assert_eq!(file, None, "{what}"),
            Err(error @ StoreError::Torn { .. }) => {
                let said = error.to_string();
                assert!(said.contains("demo.voter is torn") && said.contains("test the disk"), "{what}: {said}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    put(&store, Some(&good));
    assert_eq!(store.load().unwrap(), Some(record(1)));
}

/// V7 with every damage: whoever held by the record, nobody else is granted anything before the longest lease is
/// over, and the damage itself is mended by the first grant.
#[test]
fn a_voter_with_any_damage_to_its_record_grants_nobody_for_the_longest_lease() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), "demo").unwrap();
    let (good, bad) = damages(&store);
    for (what, file) in bad {
        put(&store, file.as_deref());
        let mut voter = Voter::new(voter_settings(), START, store.load().unwrap_or(None).as_ref());
        for (after, by) in [(0, 1), (0, 2), (5_000, 2), (9_999, 1), (9_999, 2)] {
            let why = refusal(&voter.handle(START + Duration::from_millis(after), node(by), &acquire(9, by)));
            assert_eq!(why, Some(RefuseReason::Quiet), "{what}: n{by} after {after} ms");
        }
        let granted = voter.handle(START + Duration::from_secs(10), node(2), &acquire(9, 2));
        let [VoterOutput::Persist { bytes, .. }] = granted.as_slice() else { panic!("{what}: {granted:?}") };
        store.save(bytes).unwrap();
        assert_eq!(store.load().unwrap().unwrap().domains[&DomainId(3)].counter, 9, "{what}");
    }
    // With it, the holder alone goes on at once, and the others wait as long.
    put(&store, Some(&good));
    let mut voter = Voter::new(voter_settings(), START, store.load().unwrap().as_ref());
    let why = refusal(&voter.handle(START, node(2), &acquire(9, 2)));
    assert_eq!(why, Some(RefuseReason::Quiet));
    let renewed = voter.handle(START, node(1), &acquire(1, 1));
    assert!(
        matches!(renewed.as_slice(), [VoterOutput::Send { envelope, .. }] if matches!(envelope.message, Message::Grant { .. })),
        "{renewed:?}"
    );
}

const START: At = At::from_nanos(1_000_000_000_000);

fn node(id: u16) -> NodeId {
    NodeId::new(id).unwrap()
}

fn voter_settings() -> VoterSettings {
    VoterSettings {
        cluster: ClusterId(1),
        digest: ConfigDigest(2),
        generation: 1,
        set: ConfigDigest(4),
        former: None,
        candidates: [1, 2].map(node).into(),
        lease_max: Duration::from_secs(10),
        incarnation: Incarnation(3),
    }
}

/// The epoch of [`record`] where node and counter are 1.
fn acquire(counter: u64, by: u16) -> Envelope {
    let epoch = Epoch { counter, incarnation: Incarnation(7), attempt: 1, node: node(by) };
    let lease = Duration::from_secs(1);
    let message = Message::Acquire { epoch, lease, prev_ack: 0, priority: 100 };
    Envelope { cluster: ClusterId(1), digest: ConfigDigest(2), domain: DomainId(3), nonce: 5, message }
}

fn refusal(outputs: &[VoterOutput]) -> Option<RefuseReason> {
    outputs.iter().find_map(|output| match output {
        VoterOutput::Send { envelope: Envelope { message: Message::Refuse { why, .. }, .. }, .. } => Some(*why),
        _ => None,
    })
}

#[test]
fn a_whole_record_of_another_version_is_told_apart_and_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), "demo").unwrap();
    let mut later = record(1).emit();
    later[7] = b'9';
    later.extend([1, 2, 3]);
    store.save(&later).unwrap();
    let error = store.load().unwrap_err();
    assert!(matches!(error, StoreError::Version { .. }), "{error}");
    assert!(error.to_string().contains("demo.voter was written by another version"), "{error}");
    store.save(&record(2).emit()).unwrap();
    assert_eq!(store.load().unwrap(), Some(record(2)));
}

#[test]
fn whatever_else_is_in_the_records_place_is_said_with_a_remedy_and_hangs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), "demo").unwrap();
    nix::unistd::mkfifo(store.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(matches!(store.load(), Err(StoreError::Torn { .. })), "a FIFO without a writer");
    fs::remove_file(store.path()).unwrap();
    File::create(store.path()).unwrap().set_len(LONGEST * 1000).unwrap();
    assert!(matches!(store.load(), Err(StoreError::Torn { .. })), "gigabytes");
    fs::remove_file(store.path()).unwrap();
    fs::create_dir(store.path()).unwrap();
    for error in [store.load().unwrap_err(), store.save(&record(1).emit()).unwrap_err()] {
        let said = error.to_string();
        assert!(said.contains("demo.voter: ") && said.contains("a directory is where the file belongs"), "{said}");
    }
}

#[test]
fn a_state_directory_that_is_missing_is_made_and_one_that_can_not_be_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let deep = dir.path().join("a/b");
    drop(StateDir::open(&deep).unwrap());
    assert!(deep.is_dir());
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    for wrong in [file.clone(), file.join("below")] {
        let said = StateDir::open(&wrong).unwrap_err().to_string();
        assert!(said.contains(&wrong.display().to_string()) && said.contains("make it again"), "{said}");
    }
}

#[test]
fn a_directory_has_one_user_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = Store::open(dir.path(), "demo").unwrap();
    let second = Store::open(dir.path(), "other").unwrap_err();
    assert!(matches!(second, StoreError::Locked { .. }), "{second}");
    drop(first);
    Store::open(dir.path(), "other").unwrap();
}

#[test]
fn names_that_lead_out_of_the_directory_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = StateDir::open(dir.path()).unwrap();
    for name in ["", "..", "a/b", "../x", ".hidden", "a b", &"x".repeat(101)] {
        assert!(matches!(state.store(name), Err(StoreError::Name(_))), "{name}");
    }
}

/// On a small file system of its own at the directory, in a mount namespace of this test's thread alone.
fn on_tmpfs(size: &'static str, test: impl FnOnce(&Path) + Send + 'static) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_path_buf();
    let thread = thread::spawn(move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("needs root");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tiny"), &at, Some("tmpfs"), MsFlags::empty(), Some(size)).unwrap();
        test(&at);
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The whole file system, as a failing disk makes its own.
fn remount(at: &Path, flags: MsFlags) {
    mount(None::<&str>, at, None::<&str>, MsFlags::MS_REMOUNT | flags, None::<&str>).unwrap();
}

#[test]
fn a_full_disk_is_an_error_that_says_so_and_the_old_record_stays() {
    on_tmpfs("size=8k", |at| {
        let store = Store::open(at, "demo").unwrap();
        store.save(&record(1).emit()).unwrap();
        store.probe().unwrap();
        fs::write(at.join("filler"), [0; 4096]).unwrap();
        for error in [store.probe().unwrap_err(), store.save(&record(2).emit()).unwrap_err()] {
            assert!(error.to_string().contains("disk is full"), "{error}");
        }
        assert_eq!(store.load().unwrap(), Some(record(1)));
        fs::remove_file(at.join("filler")).unwrap();
        store.save(&record(3).emit()).unwrap();
        assert_eq!(store.load().unwrap(), Some(record(3)));
    });
}

#[test]
fn on_a_file_system_that_has_become_read_only_a_voter_starts_with_its_record_and_writes_nothing() {
    on_tmpfs("size=16k", |at| {
        let store = Store::open(at, "demo").unwrap();
        store.save(&record(1).emit()).unwrap();
        remount(at, MsFlags::MS_RDONLY);
        for error in [store.probe().unwrap_err(), store.save(&record(2).emit()).unwrap_err()] {
            let said = error.to_string();
            assert!(said.contains("demo.voter: ") && said.contains("remount it read-write"), "{said}");
        }
        drop(store);
        let store = Store::open(at, "demo").unwrap();
        assert_eq!(store.load().unwrap(), Some(record(1)));
        let other = Store::open(at, "other").unwrap_err();
        assert!(matches!(other, StoreError::Locked { .. }), "{other}");
        remount(at, MsFlags::empty());
        store.save(&record(2).emit()).unwrap();
        assert_eq!(store.load().unwrap(), Some(record(2)));
    });
    on_tmpfs("size=16k", |at| {
        remount(at, MsFlags::MS_RDONLY);
        let said = Store::open(at, "demo").unwrap_err().to_string();
        assert!(said.contains(&at.display().to_string()) && said.contains("remount it read-write"), "{said}");
    });
}

#[test]
fn the_writer_tells_of_a_disk_that_fails_before_anything_is_written_and_of_its_mending() {
    on_tmpfs("size=16k", |at| {
        let store = Store::open(at, "demo").unwrap();
        store.save(&record(1).emit()).unwrap();
        remount(at, MsFlags::MS_RDONLY);
        let (told, outcomes) = mpsc::channel();
        let writer =
            Writer::spawn(store, move |ticket, outcome| told.send((ticket, outcome.is_ok())).unwrap()).unwrap();
        // Far more than PROBE_EVERY.
        let next = || outcomes.recv_timeout(Duration::from_secs(60)).unwrap();
        assert_eq!(next(), (PROBED, false));
        assert!(writer.write(1, record(2).emit()));
        let of_ticket = std::iter::from_fn(|| Some(next())).find(|(ticket, _)| *ticket == 1);
        assert_eq!(of_ticket, Some((1, false)));
        remount(at, MsFlags::empty());
        let well = std::iter::from_fn(|| Some(next())).find(|(_, well)| *well);
        assert_eq!(well, Some((PROBED, true)));
        assert!(writer.write(2, record(3).emit()));
        assert_eq!(next(), (2, true));
        drop(writer);
        assert_eq!(outcomes.recv_timeout(Duration::from_secs(60)).ok(), None, "nothing more to tell");
    });
}

#[test]
fn the_writer_answers_every_ticket_in_order_and_the_last_record_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (told, outcomes) = mpsc::channel();
    let store = Store::open(dir.path(), "demo").unwrap();
    let writer = Writer::spawn(store, move |ticket, outcome| told.send((ticket, outcome.is_ok())).unwrap()).unwrap();
    for ticket in 1..=50 {
        assert!(writer.write(ticket, record(ticket).emit()));
    }
    drop(writer);
    let outcomes: Vec<_> = outcomes.iter().collect();
    assert_eq!(outcomes, (1..=50).map(|ticket| (ticket, true)).collect::<Vec<_>>());
    assert_eq!(Store::open(dir.path(), "demo").unwrap().load().unwrap(), Some(record(50)));
}

#[test]
fn a_failed_write_is_reported_for_each_ticket_that_it_covered() {
    let mut told = Vec::new();
    let path = PathBuf::from("x");
    let fail = || Err(StoreError::Torn { path: path.clone() });
    report(&[1, 2], fail, &mut |ticket, outcome| told.push((ticket, outcome.is_ok())));
    assert_eq!(told, [(1, false), (2, false)]);
}
