//! Connections that are begun and looked at together, and what the keeper makes of them.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use keepone_config::Config;
use keepone_config::model::Target;
use keepone_proto::balance::machine::Place;
use keepone_proto::time::Instant;

use super::config;
use super::servers::alone;
use crate::checkers::dialled;
use crate::checkers::dials::{Dial, Dials, Seen, checked, grid};
use crate::clock;

const GRID: Duration = Duration::from_millis(5);
const PLACE: Place = Place { service: 0, server: 0, checker: 0 };

fn check(port: u16, timeout: &str) -> Arc<Config> {
    Arc::new(config("", &format!("TCP_CHECK {{ connect_port {port}\n connect_timeout {timeout} }}")))
}

fn target(config: &Config) -> &Target {
    checked(config, PLACE).and_then(|probe| dialled(probe, 0)).unwrap()
}

fn begin(dials: &mut Dials, config: &Arc<Config>, run: u64) {
    dials.push(Dial::begin(config, target(config), (PLACE, 0, run)).unwrap());
}

/// By their runs, in order: `+`, why it failed, or `?`.
fn seen(dials: &mut Dials) -> Vec<(u64, String)> {
    let mut all = Vec::new();
    dials.look(GRID, &mut all);
    let mut seen: Vec<_> = all
        .into_iter()
        .map(|(dial, seen)| {
            let words = match seen {
                Seen::Open => "+".to_owned(),
                Seen::Failed(fault) => fault.to_string(),
                Seen::Nothing => "?".to_owned(),
            };
            (dial.run, words)
        })
        .collect();
    seen.sort();
    seen
}

#[tokio::test]
async fn what_is_there_or_refused_is_seen_at_once_and_what_is_not_at_the_next_point_and_then_left_to_the_runtime() {
    alone();
    let _taken = TcpListener::bind("127.0.0.1:80").unwrap();
    // A full backlog drops what comes, as a host does that is gone.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 82)).into()).unwrap();
    full.listen(0).unwrap();
    let address = SocketAddr::from(([127, 0, 0, 1], 82));
    let filling: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    assert!(filling.iter().any(Result::is_err), "the backlog is not full");
    let mut dials = Dials::default();
    assert_eq!(dials.deadline(), None);
    let (there, refused, lost) = (check(80, "20"), check(81, "20"), check(82, "20"));
    begin(&mut dials, &there, 1);
    begin(&mut dials, &refused, 2);
    begin(&mut dials, &lost, 3);
    // One whose time may be over at the next point is not kept until then.
    begin(&mut dials, &check(82, "0.002"), 4);
    assert_eq!(dials.deadline(), Some(Instant::BOOT), "at once");
    let wanted = [(1, "+"), (2, "no connection: Connection refused (os error 111)"), (4, "?")];
    assert_eq!(seen(&mut dials), wanted.map(|(run, words)| (run, words.to_owned())));
    let again = dials.deadline().unwrap();
    assert!(again.as_nanos().is_multiple_of(5_000_000), "on the grid: {again:?}");
    // Another that begins meanwhile does not hurry it.
    begin(&mut dials, &there, 5);
    if clock::now() < again {
        assert_eq!(seen(&mut dials), [(5, "+".to_owned())]);
    }
    clock::sleep_until(again).await.unwrap();
    assert!(seen(&mut dials).contains(&(3, "?".to_owned())));
    assert_eq!(dials.deadline(), None);
}

#[test]
fn points_of_the_grid_are_never_before_and_never_a_distance_after() {
    let at = |micros: u64| Instant::from_nanos(micros * 1000);
    let points = [0, 1, 4999, 5000, 5001].map(|micros| clock::together(at(micros), GRID));
    assert_eq!(points, [at(0), at(5000), at(5000), at(5000), at(10_000)]);
    assert_eq!(clock::together(at(7), Duration::ZERO), at(7));
    let last = [0, 4999, 5000, 9999].map(|micros| clock::at_last(at(micros), GRID));
    assert_eq!(last, [at(0), at(0), at(5000), at(5000)]);
    assert_eq!(clock::at_last(at(7), Duration::ZERO), at(7));
}

#[test]
fn the_grid_is_no_more_than_a_hundredth_of_what_some_check_waits() {
    let of = |words: &str| {
        let config = config("", &format!("TCP_CHECK {{ {words} }}"));
        grid(config.virtual_servers[0].real_servers[0].checkers.iter())
    };
    assert_eq!(of("delay_loop 1\n retry 0"), GRID);
    assert_eq!(of("delay_loop 0.1\n retry 0"), Duration::from_millis(1));
    assert_eq!(of("delay_loop 10\n retry 2\n delay_before_retry 0.2"), Duration::from_millis(2));
    assert_eq!(of("delay_loop 10\n retry 0\n delay_before_retry 0.2"), GRID);
    assert_eq!(grid([].iter()), GRID);
}

/// Connections of this namespace to or from that port, in that state (`include/net/tcp_states.h`).
fn connections(port: u16, state: &str) -> usize {
    let table = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap();
    let is_of = |line: &&str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        words[1..3].iter().any(|end| end.ends_with(&format!(":{port:04X}"))) && words[3] == state
    };
    table.lines().skip(1).filter(is_of).count()
}

#[tokio::test]
async fn a_check_of_a_port_leaves_nothing_in_the_kernel_and_the_server_s_program_does_not_hear_of_it() {
    const TIMES: u64 = 50;
    const TIME_WAIT: &str = "06";
    alone();
    let server = TcpListener::bind("127.0.0.1:80").unwrap();
    server.set_nonblocking(true).unwrap();
    let (there, mut dials) = (check(80, "20"), Dials::default());
    for run in 0..TIMES {
        begin(&mut dials, &there, run);
        // Seen, and closed with that.
        assert_eq!(seen(&mut dials), [(run, "+".to_owned())]);
    }
    assert_eq!(connections(80, TIME_WAIT), 0);
    // Where this thread had to wait for 40 ms between two lines, the kernel has answered for it.
    let heard = std::iter::from_fn(|| server.accept().ok()).count();
    assert!(heard < TIMES as usize / 2, "the server's program has heard of {heard} of {TIMES}");
    // What is closed as others are is seen by both means.
    drop(TcpStream::connect("127.0.0.1:80").unwrap());
    let (mut last, _) = server.accept().unwrap();
    assert_eq!(std::io::Read::read(&mut last, &mut [0]).unwrap(), 0);
    drop(last);
    assert_eq!(connections(80, TIME_WAIT), 1);
}
