//! Real sockets, with clients that are good, many, slow, long-winded or not permitted.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::access::{Access, Caller};
use super::caller::{AskError, Asking, ask};
use super::desk::{Desk, Unanswered};
use super::message::{LONGEST, Reply, Request};
use super::server::{Answering, Lines, Right, Server, Settings, serve};

/// A busy machine may need the whole of it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Says things back; `lines` has so many of them, each with 64 KiB; `wait` goes on until the client has gone.
struct Echo;

impl Answering for Echo {
    fn answer(&self, request: &Request, who: &str, lines: &mut dyn Lines) -> Result<Value, String> {
        match request.ask.as_str() {
            "echo" => Ok(json!({ "said": request.text("say"), "who": who })),
            "lines" => {
                let count = request.with.get("count").and_then(Value::as_u64).unwrap_or(0);
                for number in 0..count {
                    let line = json!([number, "x".repeat(64 << 10)]);
                    lines.more(line).map_err(|error| error.to_string())?;
                }
                Ok(json!("end"))
            }
            "wait" => {
                lines.more(json!("waiting")).map_err(|error| error.to_string())?;
                while !lines.has_gone() {
                    thread::sleep(Duration::from_millis(5));
                }
                Ok(json!("gone"))
            }
            other => Err(format!("no question {other}")),
        }
    }

    fn right(&self, _: &str) -> Option<Right> {
        Some(Right::Read)
    }
}

fn settings(room: &Path) -> Settings {
    Settings::new(&room.join("control"), None)
}

fn say(stream: &mut UnixStream, line: &[u8]) -> Reply {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(line).unwrap();
    let mut answer = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut answer).unwrap();
    Reply::parse(&answer).unwrap()
}

fn soon(mut done: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    while begin.elapsed() < PATIENCE {
        if done() {
            return true;
        }
        thread::sleep(Duration::from_millis(5));
    }
    false
}

#[test]
fn a_question_is_answered_and_a_wrong_one_is_told_why() {
    let room = tempfile::tempdir().unwrap();
    let _server = Server::start(settings(room.path()), Echo).unwrap();
    let path = room.path().join("control");
    let answer = ask(&path, &Request::new("echo").with("say", "hello"), PATIENCE).unwrap();
    assert_eq!(
        answer,
        json!({ "said": "hello", "who": format!("uid {} (pid {})", nix::unistd::geteuid(), std::process::id()) })
    );
    let refused = ask(&path, &Request::new("nothing"), PATIENCE).unwrap_err();
    assert!(matches!(&refused, AskError::Refused(words) if words == "no question nothing"), "{refused}");

    let mut stream = UnixStream::connect(&path).unwrap();
    let good = br#"{"version":1,"ask":"echo"}"#;
    for _ in 0..2 {
        let mut line = good.to_vec();
        line.push(b'\n');
        assert!(matches!(say(&mut stream, &line), Reply::Last(_)), "one connection, several questions");
    }
    let wrong: [(&[u8], &str); 4] = [
        (b"{\"version\":2,\"ask\":\"echo\"}\n", "version 1 is"),
        (b"{\"ask\":\"echo\"}\n", "no version"),
        (b"[1]\n", "not a JSON object"),
        (b"nonsense\n", "not a line of JSON"),
    ];
    for (line, why) in wrong {
        let reply = say(&mut UnixStream::connect(&path).unwrap(), line);
        assert!(matches!(&reply, Reply::Error(words) if words.contains(why)), "{reply:?}");
    }
}

#[test]
fn the_file_is_for_its_owner_and_group_alone_and_goes_with_the_server() {
    let room = tempfile::tempdir().unwrap();
    let path = room.path().join("control");
    std::fs::write(&path, "left by a former run").unwrap();
    let server = Server::start(settings(room.path()), Echo).unwrap();
    let found = std::fs::metadata(&path).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o777, 0o660);
    drop(server);
    assert!(!path.exists());
    assert!(matches!(ask(&path, &Request::new("echo"), PATIENCE), Err(AskError::Nobody { .. })));
}

#[test]
fn root_the_programs_user_and_the_named_group_may_ask_and_nobody_else() {
    let access = Access { user: 7, group: Some(40) };
    let caller = |user, group, groups: &[u32]| Caller { pid: 1, user, group, groups: groups.to_vec() };
    assert!(access.admits(&caller(0, 0, &[])));
    assert!(access.admits(&caller(7, 7, &[])));
    assert!(access.admits(&caller(9, 40, &[])));
    assert!(access.admits(&caller(9, 9, &[1, 40])));
    assert!(!access.admits(&caller(9, 9, &[1, 41])));
    assert!(!Access { group: None, ..access }.admits(&caller(9, 40, &[40])));

    let (one, _other) = UnixStream::pair().unwrap();
    let own = Caller::of(&one).unwrap();
    assert_eq!((own.user, own.pid), (nix::unistd::geteuid().as_raw(), std::process::id().cast_signed()));
    let groups: Vec<u32> = nix::unistd::getgroups().unwrap().into_iter().map(nix::unistd::Gid::as_raw).collect();
    assert_eq!(own.groups, groups);
}

#[test]
fn somebody_who_may_not_ask_is_told_so_and_takes_nobodys_place() {
    if !nix::unistd::geteuid().is_root() {
        return eprintln!("skipped: it takes root to become somebody else");
    }
    let room = tempfile::tempdir().unwrap();
    std::fs::set_permissions(room.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let _server = Server::start(Settings { clients: 1, ..settings(room.path()) }, Echo).unwrap();
    let path = room.path().join("control");
    // Somebody has changed the mode by mistake.
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    // Who is let in hears nothing before it asks: the alarm ends that, as a failure.
    let body = r#"alarm 10; my $s = IO::Socket::UNIX->new($ARGV[0]) or die "no socket: $!"; print scalar <$s>;"#;
    let asked = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/perl", "-MIO::Socket::UNIX", "-e", body])
        .arg(&path)
        .output()
        .unwrap();
    let told = String::from_utf8(asked.stdout).unwrap();
    assert!(told.contains("not permitted"), "{told}{}", String::from_utf8_lossy(&asked.stderr));
    assert!(ask(&path, &Request::new("echo"), PATIENCE).is_ok());
}

#[test]
fn clients_have_a_bound_and_places_become_free_again() {
    let room = tempfile::tempdir().unwrap();
    let _server = Server::start(Settings { clients: 2, ..settings(room.path()) }, Echo).unwrap();
    let path = room.path().join("control");
    let mut waiting: Vec<UnixStream> = (0..2).map(|_| UnixStream::connect(&path).unwrap()).collect();
    waiting.iter_mut().for_each(|stream| stream.write_all(&Request::new("wait").emit()).unwrap());
    let refused = ask(&path, &Request::new("echo"), PATIENCE).unwrap_err();
    assert!(matches!(&refused, AskError::Refused(words) if words.contains("2 others")), "{refused}");
    waiting.pop();
    assert!(soon(|| ask(&path, &Request::new("echo"), PATIENCE).is_ok()), "its place is free again");
}

#[test]
fn a_request_without_an_end_is_cut_off() {
    let room = tempfile::tempdir().unwrap();
    let _server = Server::start(settings(room.path()), Echo).unwrap();
    let mut stream = UnixStream::connect(room.path().join("control")).unwrap();
    let reply = say(&mut stream, &vec![b'x'; LONGEST]);
    assert!(matches!(&reply, Reply::Error(words) if words.contains("octets")), "{reply:?}");
    assert_eq!(stream.read(&mut [0; 8]).unwrap_or(0), 0, "and closed");
}

#[test]
fn a_client_that_says_nothing_is_let_go() {
    let room = tempfile::tempdir().unwrap();
    let idle = Duration::from_millis(200);
    let _server = Server::start(Settings { idle, ..settings(room.path()) }, Echo).unwrap();
    let mut stream = UnixStream::connect(room.path().join("control")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    // A line that trickles is no better than none.
    stream.write_all(b"{").unwrap();
    assert_eq!(stream.read(&mut [0; 8]).unwrap(), 0);
}

#[test]
fn a_slow_reader_is_dropped_and_others_are_served_meanwhile() {
    let room = tempfile::tempdir().unwrap();
    let slow = Duration::from_millis(300);
    let _server = Server::start(Settings { slow, clients: 2, ..settings(room.path()) }, Echo).unwrap();
    let path = room.path().join("control");
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(&Request::new("lines").with("count", 1000).emit()).unwrap();
    assert!(ask(&path, &Request::new("echo"), PATIENCE).is_ok());
    // Once it is dropped, both places are free again.
    thread::sleep(slow);
    let free = || {
        let other = UnixStream::connect(&path).unwrap();
        let got = ask(&path, &Request::new("echo"), PATIENCE).is_ok();
        drop(other);
        if !got {
            // The server has to see that these two have gone, or the next two would find their places taken.
            thread::sleep(slow);
        }
        got
    };
    assert!(soon(free), "it holds its place");
    let mut all = Vec::new();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let _ = stream.read_to_end(&mut all);
    assert!(all.len() < 1000 * (64 << 10), "it was told everything: {} octets", all.len());
}

#[test]
fn an_answer_of_many_lines_comes_whole_and_ends() {
    let room = tempfile::tempdir().unwrap();
    let _server = Server::start(settings(room.path()), Echo).unwrap();
    let request = Request::new("lines").with("count", 50);
    let mut asking = Asking::ask(&room.path().join("control"), &request, Some(PATIENCE)).unwrap();
    for number in 0..50 {
        assert_eq!(asking.next_line().unwrap().unwrap()[0], json!(number));
    }
    assert_eq!(asking.next_line().unwrap(), Some(json!("end")));
    assert_eq!(asking.next_line().unwrap(), None);
}

#[test]
fn a_server_that_ends_waits_for_nobody() {
    let room = tempfile::tempdir().unwrap();
    let server = Server::start(settings(room.path()), Echo).unwrap();
    let request = Request::new("wait");
    let mut asking = Asking::ask(&room.path().join("control"), &request, Some(PATIENCE)).unwrap();
    assert_eq!(asking.next_line().unwrap(), Some(json!("waiting")));
    let _silent = UnixStream::connect(room.path().join("control")).unwrap();
    let begin = Instant::now();
    drop(server);
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(asking.next_line().unwrap(), Some(json!("gone")), "who was being answered sees the end");
}

#[test]
fn a_loop_that_is_stuck_keeps_its_clients_no_longer_than_their_patience() {
    let (desk, mut counter) = Desk::<u32, u32>::new(Duration::from_millis(50));
    assert_eq!(desk.ask(1), Err(Unanswered::Late));
    for _ in 0..15 {
        assert_eq!(desk.ask(2), Err(Unanswered::Late));
    }
    let begin = Instant::now();
    assert_eq!(desk.ask(3), Err(Unanswered::Busy), "sixteen wait already");
    assert!(begin.elapsed() < Duration::from_secs(1));
    // What was given up is not done later: its client has been told that there was no answer.
    let mut waited = 0;
    while let Ok(question) = counter.try_recv() {
        waited += 1;
        question.answer(|asked| panic!("{asked} is done behind its client's back"));
    }
    assert_eq!(waited, 16);
    let (desk, mut counter) = Desk::<u32, u32>::new(PATIENCE);
    let patient = desk.clone();
    let asking = thread::spawn(move || patient.ask(20));
    counter.blocking_recv().unwrap().answer(|asked| asked + 1);
    assert!(matches!(asking.join().unwrap(), Ok(21)));
    drop(counter);
    assert_eq!(desk.ask(4), Err(Unanswered::Ended));
}

#[test]
fn what_the_loop_has_begun_on_is_waited_for_since_it_will_be_done() {
    let patience = Duration::from_millis(200);
    let (desk, mut counter) = Desk::<u32, u32>::new(patience);
    let asking = thread::spawn(move || desk.ask(20));
    counter.blocking_recv().unwrap().answer(|asked| {
        thread::sleep(patience * 2);
        asked + 1
    });
    assert_eq!(asking.join().unwrap(), Ok(21));
}

#[test]
fn what_is_asked_by_somebody_who_has_hung_up_is_not_done() {
    struct Deed(AtomicBool);
    impl Answering for Deed {
        fn answer(&self, _: &Request, _: &str, _: &mut dyn Lines) -> Result<Value, String> {
            self.0.store(true, Ordering::Relaxed);
            Ok(Value::Null)
        }

        fn right(&self, _: &str) -> Option<Right> {
            Some(Right::Operate)
        }
    }
    let room = tempfile::tempdir().unwrap();
    let caller = Caller { pid: 1, user: 0, group: 0, groups: Vec::new() };
    for (has_gone, done) in [(false, true), (true, false)] {
        let (mut asking, served) = UnixStream::pair().unwrap();
        asking.write_all(&Request::new("deed").emit()).unwrap();
        let asking = (!has_gone).then_some(asking);
        asking.iter().for_each(|asking| asking.shutdown(std::net::Shutdown::Write).unwrap());
        let deed = Deed(AtomicBool::new(false));
        serve(&served, &settings(room.path()), &caller, &AtomicBool::new(false), &deed);
        assert_eq!(deed.0.load(Ordering::Relaxed), done, "has gone: {has_gone}");
    }
}
