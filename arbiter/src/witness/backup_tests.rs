use std::collections::BTreeMap;
use std::time::Duration;

use keepone_proto::id::{ClusterId, ConfigDigest, DomainId, NodeId};
use keepone_proto::lease::generation::Opened;
use keepone_proto::lease::voter::{Voter, VoterOutput, VoterSettings};
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::{Envelope, Message, RefuseReason};

use super::*;

const L: Duration = Duration::from_secs(1);

fn epoch(counter: u64, by: u16) -> Epoch {
    Epoch { counter, incarnation: Incarnation(70), attempt: 2, node: NodeId::new(by).unwrap() }
}

fn record(counter: u64, by: u16) -> Record {
    let domains = BTreeMap::from([(DomainId(5), epoch(counter, by))]);
    Record { floor: 2, opened: Opened { generation: 2, set: ConfigDigest(6) }, lease_max: L, domains, forgotten: 0 }
}

fn kept(record: &Record) -> Kept {
    let octets = record.emit();
    Kept { cluster: "demo".into(), crc: crc32fast::hash(&octets), record: BASE64.encode(octets) }
}

fn restored(backup: &Record, on_disk: Option<&Record>) -> Record {
    let dir = tempfile::tempdir().unwrap();
    let (state, file) = (dir.path().join("state"), dir.path().join("backup"));
    std::fs::write(&file, write("w", &[kept(backup)])).unwrap();
    if let Some(record) = on_disk {
        StateDir::open(&state).unwrap().store("demo").unwrap().save(&record.emit()).unwrap();
    }
    restore(&state, "w", &file).unwrap();
    StateDir::open(&state).unwrap().store("demo").unwrap().load().unwrap().unwrap()
}

/// What a voter with that record says to `by` at `ms` after its start.
fn says(voter: &mut Voter, ms: u64, message: Message, by: u16) -> Message {
    let envelope = Envelope { cluster: ClusterId(1), digest: ConfigDigest(2), domain: DomainId(5), nonce: ms, message };
    let now = Instant::from_nanos(ms * 1_000_000);
    let mut outputs = voter.handle(now, NodeId::new(by).unwrap(), &envelope);
    while let Some(output) = outputs.pop() {
        match output {
            VoterOutput::Send { envelope, .. } => return envelope.message,
            VoterOutput::Persist { ticket, .. } => outputs.extend(voter.persisted(now, ticket, true)),
        }
    }
    panic!("nothing")
}

fn voter(record: &Record) -> Voter {
    let settings = VoterSettings {
        cluster: ClusterId(1),
        digest: ConfigDigest(2),
        generation: 2,
        set: ConfigDigest(6),
        former: None,
        candidates: [1, 2].map(|id| NodeId::new(id).unwrap()).into(),
        lease_max: L,
        incarnation: Incarnation(9),
    };
    Voter::new(settings, Instant::from_nanos(0), Some(record))
}

fn acquire(epoch: Epoch) -> Message {
    Message::Acquire { epoch, lease: L, prev_ack: 0, priority: 100 }
}

/// The backup says n1; the domain was n2's when the disk was lost. Nobody is served while n2's loan may live.
#[test]
fn not_even_the_holder_that_a_restored_record_names_is_served_before_the_longest_lease_is_over_v7() {
    for on_disk in [None, Some(record(8, 2)), Some(record(3, 1))] {
        let mut voter = voter(&restored(&record(4, 1), on_disk.as_ref()));
        for (epoch, by) in [(epoch(4, 1), 1), (epoch(8, 2), 2), (epoch(99, 2), 2)] {
            for ms in [1, 999] {
                let answer = says(&mut voter, ms, acquire(epoch), by);
                assert!(
                    matches!(answer, Message::Refuse { why: RefuseReason::Quiet, .. }),
                    "{epoch} after {ms} ms: {answer:?}"
                );
            }
        }
        // Who held all the time is lent it again, and to the other one it is held.
        assert!(matches!(says(&mut voter, 1001, acquire(epoch(8, 2)), 2), Message::Grant { .. }));
        let other = says(&mut voter, 1002, acquire(epoch(9, 1)), 1);
        assert!(matches!(other, Message::Refuse { why: RefuseReason::Held, .. }), "{other:?}");
    }
}

#[test]
fn a_restored_voter_takes_no_epoch_below_the_highest_and_has_new_ones_begin_above_what_may_be_lost_v4() {
    let mut voter = voter(&restored(&record(4, 1), Some(&record(8, 2))));
    let stale = says(&mut voter, 1500, acquire(epoch(7, 1)), 1);
    assert!(matches!(stale, Message::Refuse { why: RefuseReason::Stale, .. }), "{stale:?}");
    let free = says(&mut voter, 1501, Message::Query { priority: 1 }, 1);
    let above = 8 + (1 << 20);
    assert!(matches!(free, Message::Free { max_counter, .. } if max_counter == above), "{free:?}");
}

#[test]
fn of_both_records_the_later_generation_and_the_longer_lease_are_kept_v9() {
    let newer =
        Record { floor: 3, opened: Opened { generation: 4, set: ConfigDigest(7) }, lease_max: L * 5, ..record(1, 1) };
    for (backup, on_disk) in [(record(4, 1), newer.clone()), (newer.clone(), record(4, 1))] {
        let found = restored(&backup, Some(&on_disk));
        assert_eq!((found.floor, found.opened, found.lease_max), (3, newer.opened, L * 5));
    }
}

#[test]
fn what_is_no_whole_backup_of_this_witness_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (state, file) = (dir.path().join("state"), dir.path().join("backup"));
    StateDir::open(&state).unwrap().store("demo").unwrap().save(&record(1, 1).emit()).unwrap();
    let good = write("w", &[kept(&record(4, 1))]);
    let lines: Vec<&str> = good.lines().collect();
    let mut wrong = vec![
        ("no backup", "hello\n".to_owned()),
        ("no end", lines[..2].join("\n")),
        ("a record is missing", [lines[0], lines[2]].join("\n")),
        ("another format", good.replace("backup\":1", "backup\":2")),
        ("another witness", good.replace("\"w\"", "\"x\"")),
        ("another checksum", good.replace("\"crc\":", "\"crc\":1")),
        ("nothing", String::new()),
    ];
    wrong.extend((0..good.len() - 1).map(|end| ("cut", good[..end].to_owned())));
    for (what, text) in wrong {
        std::fs::write(&file, &text).unwrap();
        let error = restore(&state, "w", &file).unwrap_err();
        assert!(!matches!(error, RestoreError::Store { .. }), "{what}: {error}");
        let found = StateDir::open(&state).unwrap().store("demo").unwrap().load().unwrap();
        assert_eq!(found, Some(record(1, 1)), "{what}: {text}");
    }
    std::fs::write(&file, &good).unwrap();
    let running = StateDir::open(&state).unwrap();
    let error = restore(&state, "w", &file).unwrap_err();
    assert!(error.to_string().contains("stop it first"), "{error}");
    drop(running);
    restore(&state, "w", &file).unwrap();
}
