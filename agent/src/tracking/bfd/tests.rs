use keepone_config::model::Weight;
use keepone_proto::wire::bfd::Control;
use socket2::Socket;

use super::ways::{SOURCES, open};
use super::*;

fn settings(neighbor: &str, max_hops: Option<u8>) -> BfdInstance {
    BfdInstance {
        name: "router".to_owned(),
        neighbor: neighbor.parse().unwrap(),
        source: None,
        min_rx: Duration::from_millis(10),
        min_tx: Duration::from_millis(10),
        idle_tx: Duration::from_secs(1),
        multiplier: 5,
        passive: false,
        hop_limit: 255,
        max_hops,
        multihop: false,
        weight: Weight { value: 0, reverse: false },
        for_vrrp: true,
        for_checkers: true,
    }
}

fn session(neighbor: &str, max_hops: Option<u8>) -> Served {
    let (sender, _) = tokio::sync::mpsc::channel(1);
    let settings = settings(neighbor, max_hops);
    Served::new(
        (WatchId(0), settings.clone()),
        teller(WatchId(0), &settings, &sender),
        &mut Jitter::new(1),
        clock::now(),
    )
}

/// RFC 5881, 5: 255 shows that it has crossed no router.
#[test]
fn only_the_neighbours_packets_that_crossed_no_router_are_taken() {
    let near = session("192.0.2.1", Some(0));
    let from = |source: &str, hop_limit| heard(source, "192.0.2.9", false, hop_limit);
    let takes = |session: &Served, hops: u8| session.takes(&from("192.0.2.1", hops));
    assert_eq!([takes(&near, 255), takes(&near, 254), takes(&near, 1)], [true, false, false]);
    assert!(!near.takes(&from("192.0.2.2", 255)));
    let farther = session("192.0.2.1", Some(2));
    assert_eq!([takes(&farther, 253), takes(&farther, 252)], [true, false]);
    assert!(takes(&session("192.0.2.1", None), 1));
}

/// RFC 5883, 3 and 5.
#[test]
fn over_several_hops_another_port_counts_and_the_address_that_was_spoken_to() {
    let mut far = session("192.0.2.1", Some(9));
    far.settings.multihop = true;
    far.settings.source = "198.51.100.1".parse().ok();
    let takes = |to: &str, multihop| far.takes(&heard("192.0.2.1", to, multihop, 250));
    assert!(takes("198.51.100.1", true));
    assert!(!takes("198.51.100.2", true), "of another session");
    assert!(!takes("198.51.100.1", false), "to the port of one hop");
    assert!(!session("192.0.2.1", Some(9)).takes(&heard("192.0.2.1", "198.51.100.1", true, 250)));
}

fn heard(source: &str, destination: &str, multihop: bool, hop_limit: u8) -> Heard {
    let mut session = Session::new(
        SessionSettings { min_tx: SLOW, idle_tx: SLOW, min_rx: SLOW, multiplier: 1, passive: false },
        NonZeroU32::MIN,
        1,
        Instant::BOOT,
    );
    let control = session.on_timer(Instant::BOOT).unwrap();
    let (source, destination) = (source.parse().unwrap(), destination.parse().ok());
    Heard { source, destination, multihop, hop_limit, control }
}

const SLOW: Duration = Duration::from_secs(1);

/// RFC 5881, 4: a port of 49152 to 65535, and another one for each session.
#[test]
fn each_session_speaks_from_a_port_of_its_own_with_the_ttl_of_one_hop() {
    let mut jitter = Jitter::new(7);
    for (neighbor, ipv6) in [("127.0.0.1", false), ("::1", true)] {
        let served = session(neighbor, Some(0));
        let sockets = [(); 3].map(|()| open(&served.settings, &mut jitter).unwrap());
        let mut ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
        assert!(ports.iter().all(|port| SOURCES.contains(port)), "{ports:?}");
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 3);
        let socket = Socket::from(sockets.into_iter().next().unwrap());
        let sent = if ipv6 { socket.unicast_hops_v6().unwrap() } else { socket.ttl_v4().unwrap() };
        assert_eq!(sent, 255);
    }
}

/// The name by which a session is known to its neighbour, as it says it at its next time.
fn name(served: &mut Served) -> u32 {
    let at = served.session.next_deadline().unwrap();
    served.session.on_timer(at).unwrap().mine.get()
}

/// The neighbour is there, and says that it is in that state.
fn says(served: &mut Served, state: State) {
    let mine = NonZeroU32::new(name(served));
    let control = Control { state, yours: mine, desired_min_tx: 10_000, multiplier: 200, ..*packet() };
    served.session.on_packet(clock::now(), &control);
}

fn packet() -> Box<Control> {
    Box::new(heard("192.0.2.1", "192.0.2.9", false, 255).control)
}

#[test]
fn another_list_leaves_sessions_alone_that_it_has_and_tells_the_neighbours_of_those_that_it_has_not() {
    let (events, mut told) = tokio::sync::mpsc::channel(16);
    let wanted = |last: &[u16]| -> Wanted {
        last.iter().map(|last| (WatchId(*last), settings(&format!("127.0.0.{last}"), None))).collect()
    };
    let now = clock::now();
    let mut sessions = Sessions::new(wanted(&[1, 2, 3]), events, now);
    for served in &mut sessions.all {
        says(served, State::Down);
        says(served, State::Init);
        assert_eq!(served.session.state(), State::Up);
    }
    let names: Vec<u32> = sessions.all.iter_mut().map(name).collect();
    // The third has another pace, and a number of its own for that; the first is gone, and a fourth is there.
    let mut other = wanted(&[4, 3, 2]);
    other[1] =
        (WatchId(9), BfdInstance { name: "other".to_owned(), min_rx: Duration::from_millis(70), ..other[1].1.clone() });
    sessions.set(other, now);
    let of = |sessions: &Sessions| {
        sessions.all.iter().map(|served| (served.id.0, served.session.state())).collect::<Vec<_>>()
    };
    assert_eq!(of(&sessions), [(9, State::Up), (2, State::Up), (4, State::Down)]);
    let kept: Vec<u32> = sessions.all.iter_mut().take(2).map(name).collect();
    assert_eq!(kept, [names[2], names[1]]);
    // It asks whether the other pace is understood.
    let at = sessions.all[0].session.next_deadline().unwrap();
    let said = sessions.all[0].session.on_timer(at).unwrap();
    assert!(said.poll && said.required_min_rx == 70_000 && said.state == State::Up, "{said:?}");
    assert_eq!(sessions.leaving.len(), 1);

    let ears = Ears::default();
    sessions.serve(&ears).unwrap();
    assert_eq!(sessions.leaving[0].served.session.state(), State::AdminDown);
    let until = clock::now() + Duration::from_secs(10);
    while !sessions.leaving.is_empty() && clock::now() < until {
        std::thread::sleep(PARTING);
        sessions.serve(&ears).unwrap();
    }
    assert!(sessions.leaving.is_empty(), "it is told some times, and then there is nothing of it");
    let mut ids = std::collections::BTreeSet::new();
    while let Ok(Event::Watched { watch, reading }) = told.try_recv() {
        assert_eq!(reading, Reading::Up, "{watch:?}");
        ids.insert(watch.0);
    }
    assert_eq!(ids, [2, 9].into(), "what a reload has brought is not down before it had time to come up");
    // Nobody is there: that is said then.
    let late = now + LONGEST_QUIET;
    sessions.all[2].tell(&ears, late).unwrap();
    let Ok(Event::Watched { watch: WatchId(4), reading: Reading::Down(_) }) = told.try_recv() else { panic!() };
}

#[test]
fn the_thread_takes_orders_and_ends_with_who_gives_them() {
    let (events, mut told) = tokio::sync::mpsc::channel(64);
    let neighbor = |last: u8| settings(&format!("127.0.0.{last}"), None);
    let mut all = vec![super::super::Watched::Bfd(neighbor(1))];
    let mut watching = super::super::Watching::start(&all, &events);
    let Some(Event::Watched { watch: WatchId(0), .. }) = told.blocking_recv() else { panic!() };
    all.push(super::super::Watched::Bfd(neighbor(2)));
    watching.set(&all, &[WatchId(1)].into());
    // Whatever was said of the first before.
    let second = std::iter::from_fn(|| told.blocking_recv())
        .find(|event| matches!(event, Event::Watched { watch: WatchId(1), .. }));
    assert!(second.is_some());
    watching.set(&all, &Default::default());
    watching.stop();
    drop(events);
    while told.blocking_recv().is_some() {}
}
