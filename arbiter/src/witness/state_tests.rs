use std::collections::BTreeMap;
use std::sync::mpsc;

use keepone_proto::id::{DomainId, Epoch, Incarnation, NodeId};

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

#[test]
fn a_record_with_any_bit_turned_or_any_end_missing_is_torn() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), "demo").unwrap();
    store.save(&record(1).emit()).unwrap();
    let good = fs::read(store.path()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(store.path(), &bad).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Torn { .. })), "octet {at}");
        fs::write(store.path(), &good[..at]).unwrap();
        assert!(matches!(store.load(), Err(StoreError::Torn { .. })), "cut at {at}");
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

/// On a file system of two pages, in a mount namespace of this thread alone.
#[test]
fn a_full_disk_is_an_error_that_says_so_and_the_old_record_stays() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_path_buf();
    thread::spawn(move || {
        use nix::mount::{MsFlags, mount};
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).expect("needs root");
        let none = None::<&str>;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some("tiny"), &at, Some("tmpfs"), MsFlags::empty(), Some("size=8k")).unwrap();
        let store = Store::open(&at, "demo").unwrap();
        store.save(&record(1).emit()).unwrap();
        fs::write(at.join("filler"), [0; 4096]).unwrap();
        let error = store.save(&record(2).emit()).unwrap_err();
        assert!(error.to_string().contains("disk is full"), "{error}");
        assert_eq!(store.load().unwrap(), Some(record(1)));
        fs::remove_file(at.join("filler")).unwrap();
        store.save(&record(3).emit()).unwrap();
        assert_eq!(store.load().unwrap(), Some(record(3)));
    })
    .join()
    .unwrap();
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
