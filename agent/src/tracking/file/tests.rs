use std::fs;

use keepone_config::model::{InitFile, Weight};
use keepone_proto::event::Event;
use keepone_proto::id::WatchId;
use tokio::sync::mpsc;

use super::*;
use crate::tracking::teller::Mute;

fn tracker(path: &Path, init: Option<InitFile>) -> FileTracker {
    FileTracker { name: "load".to_owned(), file: path.to_owned(), weight: Weight { value: 1, reverse: false }, init }
}

/// A thread that watches one file, and what it has told.
struct Watching {
    events: mpsc::Receiver<Event>,
    last: Option<Reading>,
}

impl Watching {
    fn begin(path: &Path) -> Self {
        let (sender, events) = mpsc::channel(64);
        let file = tracker(path, None);
        thread::spawn(move || {
            serve(vec![(file, Teller::new(WatchId(3), "load", sender, Mute::of(&Default::default())))])
        });
        Watching { events, last: None }
    }

    /// The next reading that is another one, within so many milliseconds.
    fn next(&mut self, within: u64) -> Option<Reading> {
        let until = clock::now() + Duration::from_millis(within);
        while clock::now() < until {
            match self.events.try_recv() {
                Ok(Event::Watched { watch, reading }) => {
                    assert_eq!(watch, WatchId(3));
                    if self.last.as_ref() != Some(&reading) {
                        self.last = Some(reading.clone());
                        return Some(reading);
                    }
                }
                Ok(other) => panic!("{other:?}"),
                Err(_) => thread::sleep(Duration::from_millis(2)),
            }
        }
        None
    }

    /// Well below the time after which a file is read again without any word of inotify.
    fn soon(&mut self) -> Option<Reading> {
        self.next(2000)
    }
}

#[test]
fn each_way_of_changing_a_file_is_seen_by_inotify() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("load");
    fs::write(&path, "5\n").unwrap();
    let mut watching = Watching::begin(&path);
    assert_eq!(watching.soon(), Some(Reading::Number(5)));
    fs::write(&path, " -7 \n").unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(-7)), "written over");

    let other = room.path().join("new");
    fs::write(&other, "8").unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(8)), "replaced");
    fs::write(&path, "9").unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(9)), "the new one is watched too");

    fs::rename(&path, &other).unwrap();
    assert_eq!(watching.soon(), Some(Reading::Missing), "moved away");
    fs::write(&other, "10").unwrap();
    fs::rename(&other, &path).unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(10)), "and back");
    fs::remove_file(&path).unwrap();
    assert_eq!(watching.soon(), Some(Reading::Missing), "removed");
    fs::write(&path, "11").unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(11)), "made anew");
}

#[test]
fn a_directory_that_comes_later_or_is_replaced_is_followed() {
    let room = tempfile::tempdir().unwrap();
    let (outer, inner) = (room.path().join("a"), room.path().join("a/b"));
    let path = inner.join("load");
    let mut watching = Watching::begin(&path);
    assert_eq!(watching.soon(), Some(Reading::Missing));
    fs::create_dir_all(&inner).unwrap();
    fs::write(&path, "1").unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(1)));

    let next = room.path().join("next");
    fs::create_dir_all(next.join("b")).unwrap();
    fs::write(next.join("b/load"), "2").unwrap();
    fs::rename(&outer, room.path().join("former")).unwrap();
    assert_eq!(watching.soon(), Some(Reading::Missing));
    fs::rename(&next, &outer).unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(2)));
    fs::write(&path, "3").unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(3)));
}

/// inotify on the link's directory says nothing of what the link leads to.
#[test]
fn what_a_link_leads_to_is_followed_at_the_latest_when_it_is_read_again() {
    let room = tempfile::tempdir().unwrap();
    let (real, links) = (room.path().join("real"), room.path().join("links"));
    fs::create_dir_all(&real).unwrap();
    fs::create_dir_all(&links).unwrap();
    fs::write(real.join("load"), "1").unwrap();
    std::os::unix::fs::symlink(real.join("load"), links.join("load")).unwrap();
    let mut watching = Watching::begin(&links.join("load"));
    assert_eq!(watching.soon(), Some(Reading::Number(1)));
    fs::write(real.join("load"), "2").unwrap();
    assert_eq!(watching.soon(), Some(Reading::Number(2)));
    fs::write(real.join("new"), "3").unwrap();
    fs::rename(real.join("new"), real.join("load")).unwrap();
    // Three seconds, and wide: a busy machine may be late.
    assert_eq!(watching.next(30_000), Some(Reading::Number(3)));
}

#[test]
fn others_files_in_a_busy_directory_neither_wake_it_nor_keep_it_from_telling_again() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("load");
    fs::write(&path, "1").unwrap();
    let names = Names::of(std::slice::from_ref(&path)).unwrap();
    let noise = room.path().join("noise");
    let began = clock::now();
    let noisy = thread::spawn(move || {
        while clock::now().since(began) < RETELL * 2 {
            fs::write(&noise, "2").unwrap();
            fs::remove_file(&noise).unwrap();
            thread::sleep(LOOK);
        }
    });
    assert!(names.wait(), "they are made anew when it is time to tell again");
    let waited = clock::now().since(began);
    // The kernel counts whole milliseconds.
    assert!(waited + LOOK >= RETELL && waited < RETELL * 2, "{waited:?}");
    noisy.join().unwrap();
}

#[test]
fn what_is_no_number_can_not_be_read_and_says_why() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("load");
    let said = |text: &str| {
        fs::write(&path, text).unwrap();
        match read(&path) {
            Reading::Unreadable(words) => words,
            other => format!("{other:?}"),
        }
    };
    assert_eq!((said("\t+12\n"), said("-2147483648")), ("Number(12)".into(), "Number(-2147483648)".into()));
    assert!(said("7abc").starts_with("`7abc` is no whole number"), "{}", said("7abc"));
    assert!(said("").contains("empty"), "{}", said(""));
    assert!(said("2147483648").contains("too large"), "{}", said("2147483648"));
    assert!(said(&"1".repeat(65)).contains("more than 64 bytes"), "{}", said(&"1".repeat(65)));
    assert_eq!(read(&room.path().join("none")), Reading::Missing);
    assert_eq!(
        read(&path.join("below")),
        Reading::Unreadable(format!("{}: Not a directory (os error 20)", path.join("below").display()))
    );
    let Reading::Unreadable(words) = read(room.path()) else { panic!("a directory was read") };
    assert!(words.ends_with("it is not a regular file"), "{words}");
    let pipe = room.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRUSR).unwrap();
    let Reading::Unreadable(words) = read(&pipe) else { panic!("a pipe was read") };
    assert!(words.ends_with("it is not a regular file"), "{words}");
}

#[test]
fn a_file_that_is_empty_for_a_moment_is_being_written() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("load");
    fs::write(&path, "").unwrap();
    let writer = path.clone();
    let writing = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        fs::write(&writer, "4").unwrap();
    });
    assert_eq!(read(&path), Reading::Number(4));
    writing.join().unwrap();
}

#[test]
fn init_file_makes_what_is_not_there_and_overwrites_only_at_the_start_of_the_program() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("load");
    let begin = |value, overwrite, may_overwrite| {
        let begun = begin(&tracker(&path, Some(InitFile { value, overwrite })), may_overwrite);
        (begun.is_ok(), read(&path))
    };
    assert_eq!(begin(5, false, false), (true, Reading::Number(5)));
    assert_eq!(begin(6, false, true), (true, Reading::Number(5)));
    assert_eq!(begin(7, true, false), (true, Reading::Number(5)), "a new worker keeps what the operator wrote");
    assert_eq!(begin(-8, true, true), (true, Reading::Number(-8)));
    fs::remove_file(&path).unwrap();
    let elsewhere = room.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
    assert_eq!(begin(1, true, true), (false, Reading::Missing), "no link is followed");
    assert_eq!(begin(1, false, true), (true, Reading::Missing), "something is there");
    assert!(!elsewhere.exists());
}
