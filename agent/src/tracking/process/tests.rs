use std::process::{Child, Command, Stdio};

use keepone_config::model::Weight;
use keepone_proto::event::Event;
use keepone_proto::id::WatchId;
use tokio::sync::mpsc;

use super::*;
use crate::tracking::teller::Mute;

fn wanted(command: &[&str], arguments: ArgumentMatch, full_command: bool) -> ProcessTracker {
    ProcessTracker {
        name: "proxy".to_owned(),
        command: command.iter().map(|word| (*word).to_owned()).collect(),
        arguments,
        full_command,
        weight: Weight { value: 0, reverse: false },
        quorum: 1,
        quorum_max: None,
        terminate_delay: Duration::ZERO,
        fork_delay: Duration::ZERO,
    }
}

fn process(name: &str, command: &[&str]) -> Process {
    Process { name: name.to_owned(), command: command.iter().map(|word| (*word).to_owned()).collect() }
}

#[test]
fn without_arguments_the_kernels_name_counts_and_else_the_command_line() {
    use ArgumentMatch::{Any, Exact, Initial, NoArguments, Partial};
    let bare = process("haproxy", &["/usr/sbin/haproxy"]);
    let full = process("haproxy", &["haproxy", "-f", "/etc/haproxy.cfg", "-q"]);
    let is = |program: &[&str], arguments, full_command| {
        let wanted = wanted(program, arguments, full_command);
        [bare.is(&wanted), full.is(&wanted)]
    };
    assert_eq!(is(&["haproxy"], Any, false), [true, true]);
    assert_eq!(is(&["/usr/local/sbin/haproxy"], Any, false), [true, true], "the kernel knows no path");
    assert_eq!(is(&["hapro"], Any, false), [false, false]);
    assert_eq!(is(&["haproxy"], Any, true), [false, true]);
    assert_eq!(is(&["/usr/sbin/haproxy"], NoArguments, false), [true, false]);
    assert_eq!(is(&["haproxy", "-f", "/etc/haproxy.cfg", "-q"], Exact, false), [false, true]);
    assert_eq!(is(&["haproxy", "-f", "/etc/haproxy.cfg"], Exact, false), [false, false]);
    assert_eq!(is(&["haproxy", "-f", "/etc/haproxy.cfg"], Partial, false), [false, true]);
    assert_eq!(is(&["haproxy", "-f", "/etc/hap"], Partial, false), [false, false]);
    assert_eq!(is(&["haproxy", "-f", "/etc/hap"], Initial, false), [false, true]);
    assert_eq!(is(&["haproxy", "-x", "/etc/hap"], Initial, false), [false, false]);
    let long = process("a-name-that-is-", &["a-name-that-is-longer"]);
    assert!(long.is(&wanted(&["a-name-that-is-longer"], Any, false)));
    assert!(!process("kthreadd", &[]).is(&wanted(&["kthreadd"], Any, true)), "it has no command line");
}

#[test]
fn a_name_may_have_anything_in_it_and_a_zombie_does_not_run() {
    assert_eq!(name_and_state("7 (a) b (c)) S 1 7"), Some(("a) b (c)".to_owned(), false)));
    assert_eq!(name_and_state("7 (x) Z 1 7"), Some(("x".to_owned(), true)));
    assert_eq!((name_and_state(""), name_and_state("7 (x")), (None, None));
    assert_eq!(words(b"a\0\0b\0"), ["a", "", "b"]);
    assert!(words(b"").is_empty());
}

#[test]
fn too_few_and_too_many_are_down_and_say_how_many_run() {
    let reading = |quorum, quorum_max, run: u32| {
        let wanted = ProcessTracker { quorum, quorum_max, ..wanted(&["x"], ArgumentMatch::Any, false) };
        let mut counts = Counts::new(vec![wanted]);
        counts.matched = (0..run).map(|pid| (pid, BTreeSet::from([0]))).collect();
        match counts.reading(0) {
            Reading::Down(words) => words,
            other => format!("{other:?}"),
        }
    };
    assert_eq!([reading(2, None, 1), reading(2, None, 2)], ["1 of 2 run", "Up"]);
    assert_eq!([reading(1, Some(2), 2), reading(1, Some(2), 3)], ["Up", "3 run, of at most 2"]);
    assert_eq!([reading(1, Some(0), 0), reading(1, Some(0), 1)], ["Up", "1 run, of at most 0"]);
}

/// A program under a name of its own, as nothing else on this machine has it.
struct Program {
    _room: tempfile::TempDir,
    path: String,
}

impl Program {
    fn new(name: &str) -> Self {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join(name);
        fs::copy("/bin/sleep", &path).unwrap();
        Program { path: path.display().to_string(), _room: room }
    }

    fn start(&self, seconds: &str) -> Child {
        Command::new(&self.path).arg(seconds).stdin(Stdio::null()).spawn().unwrap()
    }
}

fn name(what: &str) -> String {
    format!("k1{what}{}", std::process::id())
}

/// Reads until it is told what is wanted.
fn told(events: &mut mpsc::Receiver<Event>, wanted: &Reading, within: u64) {
    let until = clock::now() + Duration::from_millis(within);
    let mut last = None;
    while clock::now() < until {
        match events.try_recv() {
            Ok(Event::Watched { watch: WatchId(4), reading }) if reading == *wanted => return,
            Ok(event) => last = Some(event),
            Err(_) => thread::sleep(Duration::from_millis(2)),
        }
    }
    panic!("{wanted:?} was not told, but {last:?}");
}

fn down(count: u16, quorum: u16) -> Reading {
    Reading::Down(format!("{count} of {quorum} run"))
}

#[test]
fn processes_that_start_and_end_are_counted() {
    let program = Program::new(&name("a"));
    let (sender, mut events) = mpsc::channel(64);
    let tracker = ProcessTracker { quorum: 2, ..wanted(&[&program.path], ArgumentMatch::Any, false) };
    let mut first = program.start("600");
    thread::spawn(move || serve(vec![(tracker, Teller::new(WatchId(4), "a", sender, Mute::of(&Default::default())))]));
    // Wide: by looks, where there are no events, it may take a second and more.
    told(&mut events, &down(1, 2), 20_000);
    let mut second = program.start("600");
    told(&mut events, &Reading::Up, 20_000);
    first.kill().unwrap();
    // Not waited for yet: a zombie does not run.
    told(&mut events, &down(1, 2), 20_000);
    first.wait().unwrap();
    second.kill().unwrap();
    told(&mut events, &down(0, 2), 20_000);
    second.wait().unwrap();
}

/// Only the first network namespace has a connector; elsewhere, this test has nothing to look at.
fn has_events() -> bool {
    fs::read_to_string("/proc/net/connector").is_ok_and(|table| table.contains("cn_proc"))
}

#[test]
fn the_kernels_events_tell_of_each_start_name_and_end() {
    if !has_events() {
        eprintln!("skipped: no process events here");
        return;
    }
    let program = Program::new(&name("b"));
    let connector = Connector::open().unwrap();
    let mut counts = Counts::new(vec![wanted(&[&program.path, "600"], ArgumentMatch::Exact, false)]);
    let until = |counts: &mut Counts, what: &Reading| {
        let patience = clock::now() + Duration::from_secs(20);
        while counts.reading(0) != *what && clock::now() < patience {
            match connector.wait(Duration::from_millis(100)).unwrap() {
                Heard::All(seen) => seen.into_iter().for_each(|seen| counts.on_seen(seen)),
                Heard::Overrun => counts.scan().unwrap(),
            }
        }
        assert_eq!(counts.reading(0), *what);
    };
    let mut child = program.start("600");
    until(&mut counts, &Reading::Up);
    child.kill().unwrap();
    until(&mut counts, &down(0, 1));
    child.wait().unwrap();
    // By another way to the same: a shell that becomes it keeps its number.
    let command = format!("read line; exec {} 600", program.path);
    let mut shell = Command::new("/bin/sh").args(["-c", &command]).stdin(Stdio::piped()).spawn().unwrap();
    until(&mut counts, &down(0, 1));
    drop(shell.stdin.take());
    until(&mut counts, &Reading::Up);
    shell.kill().unwrap();
    until(&mut counts, &down(0, 1));
    shell.wait().unwrap();
}
