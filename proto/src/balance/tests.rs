//! What keepalived.conf(5) says of quorums, sorry servers and their kin, one by one.

use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

use super::checker::Outcome;
use super::handed::Handed;
use super::machine::{Action, Balance, Event, Place};
use super::settings::{BalanceSettings, CheckerKind, CheckerSettings, ServerSettings, ServiceSettings};
use crate::time::Instant;

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

fn check() -> CheckerSettings {
    CheckerSettings {
        key: "tcp".into(),
        kind: CheckerKind::Told,
        interval: Duration::from_secs(10),
        warmup: Duration::ZERO,
        retry: 0,
        delay_before_retry: Duration::from_secs(1),
        alpha: false,
        timeout: Duration::from_secs(2),
        tell_all: false,
    }
}

fn asked() -> CheckerSettings {
    CheckerSettings { kind: CheckerKind::Asked { steps: 1, fast_recovery: false }, ..check() }
}

fn server(name: &str, weight: u32) -> ServerSettings {
    ServerSettings { name: String::from(name), weight, inhibit: false, checkers: vec![check()] }
}

fn service(servers: Vec<ServerSettings>) -> ServiceSettings {
    ServiceSettings {
        name: String::from("web"),
        quorum: 1,
        hysteresis: 0,
        omega: false,
        ha_suspend: false,
        has_sorry: false,
        slow_start: Duration::ZERO,
        servers,
    }
}

fn all(services: Vec<ServiceSettings>) -> BalanceSettings {
    BalanceSettings { services, init_notifies: false }
}

fn start(service: ServiceSettings) -> (Balance, Vec<String>) {
    let (balance, actions) = Balance::new(&all(vec![service]), 1, at(0));
    (balance, words(&actions))
}

/// What comes of actions, in few words.
fn words(actions: &[Action]) -> Vec<String> {
    let sign = |up: bool| if up { "up" } else { "down" };
    let word = |action: &Action| match action {
        Action::Probe { place, run, .. } => alloc::format!("probe {} {run}", place.server),
        Action::Wanted(wanted) => {
            let weight = |weight: &Option<u32>| weight.map_or(String::from("-"), |weight| alloc::format!("{weight}"));
            let servers: Vec<String> = wanted.servers.iter().map(weight).collect();
            alloc::format!("[{}]{}", servers.join(" "), if wanted.sorry { " sorry" } else { "" })
        }
        Action::Server { server, is_up, .. } => alloc::format!("{server} {}", sign(*is_up)),
        Action::Quorum { is_up, .. } => alloc::format!("quorum {}", sign(*is_up)),
        Action::Failed { why, left, .. } => alloc::format!("failed: {why} {left:?}"),
    };
    actions.iter().map(word).collect()
}

fn told(balance: &mut Balance, server: usize, outcome: Outcome) -> Vec<String> {
    let place = Place { service: 0, server, checker: 0 };
    words(&balance.handle(at(1000), Event::Told { place, outcome }))
}

fn fail() -> Outcome {
    Outcome::Failed(String::from("refused"))
}

#[test]
fn the_quorum_is_of_weights_and_has_hysteresis() {
    let servers = (0..6).map(|n| server(&alloc::format!("r{n}"), 1)).collect();
    let (mut balance, first) = start(ServiceSettings { quorum: 3, hysteresis: 2, ..service(servers) });
    assert_eq!(first, ["quorum up", "[1 1 1 1 1 1]"]);
    for down in 0..5 {
        let said = told(&mut balance, down, fail());
        // Below 3 - 2 only.
        assert!(!said.contains(&String::from("quorum down")), "{said:?}");
    }
    assert_eq!(told(&mut balance, 5, fail()), ["r5 down", "quorum down", "[- - - - - -]"]);
    for up in 0..4 {
        assert!(!told(&mut balance, up, Outcome::Passed).contains(&String::from("quorum up")));
    }
    assert_eq!(told(&mut balance, 4, Outcome::Passed), ["r4 up", "quorum up", "[1 1 1 1 1 -]"]);
}

#[test]
fn a_sorry_server_serves_alone_while_the_quorum_is_lost() {
    let servers = vec![server("a", 2), ServerSettings { inhibit: true, ..server("b", 3) }];
    let (mut balance, _) = start(ServiceSettings { quorum: 4, has_sorry: true, ..service(servers) });
    assert_eq!(told(&mut balance, 0, fail()), ["a down", "quorum down", "[- 0] sorry"]);
    assert_eq!(told(&mut balance, 1, fail()), ["b down"], "the table has it at 0 already");
    assert_eq!(told(&mut balance, 1, Outcome::Passed), ["b up"]);
    assert_eq!(told(&mut balance, 0, Outcome::Passed), ["a up", "quorum up", "[2 3]"]);
}

#[test]
fn without_one_whoever_is_up_goes_on() {
    let (mut balance, _) = start(ServiceSettings { quorum: 2, ..service(vec![server("a", 1), server("b", 1)]) });
    assert_eq!(told(&mut balance, 0, fail()), ["a down", "quorum down", "[- 1]"]);
}

#[test]
fn weights_that_are_set_and_added_are_one_sum_within_bounds() {
    let mut one = server("a", 10);
    one.checkers.push(CheckerSettings { key: "file".into(), ..check() });
    let (mut balance, _) = start(service(vec![one]));
    assert_eq!(told(&mut balance, 0, Outcome::Weight(3)), ["[3]"]);
    assert!(told(&mut balance, 0, Outcome::Passed).is_empty(), "a plain success leaves it");
    let file = Place { service: 0, server: 0, checker: 1 };
    let mut add = |by| words(&balance.handle(at(1000), Event::Told { place: file, outcome: Outcome::Added(by) }));
    assert_eq!(add(5), ["[8]"]);
    assert_eq!(add(-100), ["quorum down", "[0]"], "never below 0; a weight of 0 is no quorum");
    assert_eq!(add(i64::MAX), ["quorum up", "[2147483647]"]);
}

#[test]
fn with_alpha_all_begins_as_down() {
    let mut one = server("a", 1);
    one.checkers[0].alpha = true;
    let (mut balance, first) = start(ServiceSettings { has_sorry: true, ..service(vec![one]) });
    assert_eq!(first, ["[-] sorry"]);
    assert_eq!(told(&mut balance, 0, Outcome::Passed), ["a up", "quorum up", "[1]"]);
}

#[test]
fn with_omega_the_end_is_told_of_what_was_up() {
    let omega = ServiceSettings { omega: true, ..service(vec![server("a", 1), server("b", 1)]) };
    let (mut balance, _) = start(omega);
    told(&mut balance, 0, fail());
    assert_eq!(words(&balance.handle(at(2000), Event::Stop)), ["b down", "quorum down"]);
    let (mut balance, _) = start(service(vec![server("a", 1)]));
    assert!(balance.handle(at(2000), Event::Stop).is_empty());
}

#[test]
fn with_ha_suspend_no_check_is_made_while_the_address_is_elsewhere() {
    let one = ServerSettings { checkers: vec![asked()], ..server("a", 1) };
    let (mut balance, _) = start(ServiceSettings { ha_suspend: true, ..service(vec![one]) });
    assert_eq!(balance.next_deadline(at(0)), None);
    assert!(balance.handle(at(60_000), Event::Tick).is_empty());
    let held = |is_held| Event::Held { service: 0, is_held };
    assert_eq!(words(&balance.handle(at(60_000), held(true))), ["probe 0 1"]);
    assert!(balance.handle(at(60_100), held(false)).is_empty());
    let late = Event::Ended { run: 1, outcome: fail() };
    assert!(balance.handle(at(60_200), late).is_empty(), "it says nothing any more");
    assert_eq!(words(&balance.handle(at(61_000), held(true))), ["probe 0 2"]);
}

#[test]
fn a_server_that_comes_back_starts_slowly() {
    let slow = ServiceSettings { slow_start: Duration::from_secs(20), ..service(vec![server("a", 100)]) };
    let (mut balance, first) = start(slow);
    assert_eq!(first, ["quorum up", "[100]"], "not at the start");
    told(&mut balance, 0, fail());
    assert_eq!(told(&mut balance, 0, Outcome::Passed), ["a up", "quorum up", "[4]"]);
    let (mut weights, mut now) = (Vec::new(), at(1000));
    while let Some(next) = balance.next_deadline(now) {
        assert!(next > now, "it would never sleep");
        now = next;
        weights.extend(words(&balance.handle(now, Event::Tick)));
    }
    assert_eq!(now, at(21_000));
    assert_eq!((weights.len(), weights.first().unwrap().as_str()), (20, "[9]"), "{weights:?}");
    assert_eq!(weights.last().unwrap(), "[100]");
}

#[test]
fn one_that_is_drained_gets_nothing_new_and_counts_all_the_same() {
    let (mut balance, _) = start(ServiceSettings { quorum: 2, ..service(vec![server("a", 1), server("b", 1)]) });
    let drain = |is_draining| Event::Drain { service: 0, server: 1, is_draining };
    assert_eq!(words(&balance.handle(at(1), drain(true))), ["[1 0]"]);
    let standing = &balance.standing(at(1))[0];
    assert_eq!((standing.has_quorum, standing.living, standing.is_sorry), (true, 2, false));
    let servers: Vec<_> = standing.servers.iter().map(|one| (one.is_up, one.is_draining, one.weight)).collect();
    assert_eq!(servers, [(true, false, Some(1)), (true, true, Some(0))]);
    assert_eq!(words(&balance.handle(at(2), drain(false))), ["[1 1]"]);
}

#[test]
fn a_reload_leaves_everybody_as_he_was() {
    let (mut balance, _) = start(service(vec![server("a", 1), server("b", 1)]));
    told(&mut balance, 0, fail());
    // Another weight, another time, a new check and a new server; the first one is down still.
    let mut a = server("a", 5);
    a.checkers[0].interval = Duration::from_secs(3);
    a.checkers.push(CheckerSettings { key: "http".into(), ..check() });
    let new = ServiceSettings { quorum: 2, ..service(vec![server("c", 1), a, server("b", 7)]) };
    assert_eq!(words(&balance.reconfigure(&all(vec![new]), at(2000))), ["[1 - 7]"]);
    let place = |checker| Place { service: 0, server: 1, checker };
    let up = |place| Event::Told { place, outcome: Outcome::Passed };
    assert!(balance.handle(at(3000), up(place(0))).is_empty(), "its new check has not passed yet");
    assert_eq!(words(&balance.handle(at(3000), up(place(1)))), ["a up", "[1 5 7]"]);
}

#[test]
fn a_try_that_is_under_way_outlives_a_reload() {
    let one = |name| ServerSettings { checkers: vec![asked()], ..server(name, 1) };
    let (mut balance, _) = start(service(vec![one("a"), one("b")]));
    assert_eq!(words(&balance.handle(at(0), Event::Tick)), ["probe 0 1", "probe 1 2"]);
    balance.reconfigure(&all(vec![service(vec![one("b")])]), at(10));
    assert!(balance.handle(at(20), Event::Ended { run: 1, outcome: fail() }).is_empty(), "it has gone");
    assert_eq!(
        words(&balance.handle(at(20), Event::Ended { run: 2, outcome: fail() })),
        ["b down", "quorum down", "[-]"]
    );
}

#[test]
fn the_quorum_and_servers_are_told_at_the_start_as_they_are_to_be() {
    let settings = BalanceSettings { init_notifies: true, ..all(vec![service(vec![server("a", 1)])]) };
    let (mut balance, actions) = Balance::new(&settings, 1, at(0));
    assert_eq!(words(&actions), ["a up", "quorum up", "[1]"]);
    assert_eq!(words(&balance.reconfigure(&settings, at(1))), ["[1]"], "and not again");
}

#[test]
fn tries_are_counted_with_their_server_and_a_reload_goes_on_with_them() {
    let settings = service(vec![server("a", 1), server("b", 1)]);
    let (mut balance, _) = start(settings.clone());
    let place = Place { service: 0, server: 1, checker: 0 };
    for outcome in [Outcome::Passed, Outcome::Failed(String::from("refused")), Outcome::Weight(3)] {
        balance.handle(at(1), Event::Told { place, outcome });
    }
    // Of a check that there is not.
    balance.handle(at(1), Event::Told { place: Place { checker: 1, ..place }, outcome: Outcome::Passed });
    balance.handle(at(1), Event::Ended { run: 99, outcome: Outcome::Passed });
    let counted = |balance: &Balance| {
        let standing = balance.standing(at(2)).remove(0);
        standing.servers.iter().map(|server| (server.checks, server.failed)).collect::<Vec<_>>()
    };
    assert_eq!(counted(&balance), [(0, 0), (3, 1)]);
    balance.reconfigure(&all(vec![ServiceSettings { quorum: 2, ..settings }]), at(3));
    assert_eq!(counted(&balance), [(0, 0), (3, 1)]);
}

#[test]
fn a_reload_that_changes_one_of_two_thousand_services_makes_nothing_of_the_others() {
    let name = |at: usize| alloc::format!("s{at}");
    let server = |at: usize| ServerSettings { checkers: vec![asked()], ..server(&alloc::format!("r{at}"), 1) };
    let settings = |weight: u32| {
        let mut services: Vec<_> = (0..2000)
            .map(|at| ServiceSettings { name: name(at), omega: true, ..service((0..2).map(server).collect()) })
            .collect();
        services[1234].servers[1].weight = weight;
        all(services)
    };
    let (mut balance, _) = Balance::new(&BalanceSettings { init_notifies: true, ..settings(1) }, 1, at(0));
    // All are tried at once, and one fails.
    let probed = balance.handle(at(0), Event::Tick).len();
    assert_eq!(probed, 4000);
    let said = balance.handle(at(1), Event::Ended { run: 7, outcome: fail() });
    assert_eq!(words(&said), ["r0 down", "[- 1]"]);
    let before = balance.next_deadline(at(2));
    let said = balance.reconfigure(&BalanceSettings { init_notifies: true, ..settings(5) }, at(2));
    // What the table should hold is the whole answer for each, and told anew by its place; nothing else is said.
    let wanted = said.iter().filter_map(|action| match action {
        Action::Wanted(wanted) => Some(wanted),
        _ => None,
    });
    assert_eq!((said.len(), wanted.clone().count()), (2000, 2000));
    let other = |wanted: &&super::wanted::Wanted| wanted.servers != [Some(1), Some(1)];
    let others: Vec<_> = wanted.filter(other).map(|wanted| (wanted.virtual_server, wanted.servers.clone())).collect();
    assert_eq!(others, [(3, vec![None, Some(1)]), (1234, vec![Some(1), Some(5)])]);
    // No check begins anew, and those that are under way go on.
    assert_eq!(balance.next_deadline(at(2)), before);
    assert_eq!(words(&balance.handle(at(3), Event::Tick)), [] as [&str; 0]);
    assert_eq!(
        words(&balance.handle(at(3), Event::Ended { run: 8, outcome: fail() })),
        ["r1 down", "quorum down", "[- -]"]
    );
}

/// What a next process goes on with, and its first words.
fn in_the_next_process(balance: &Balance, settings: &BalanceSettings, now: Instant) -> (Balance, Vec<String>) {
    let handed = Handed::parse(&balance.hand_on()).unwrap();
    let (next, actions) = Balance::resume(settings, 7, handed, now);
    (next, words(&actions))
}

#[test]
fn the_next_process_knows_who_is_down_drained_or_starts_slowly_and_how_often_one_has_failed() {
    let mut of = service(vec![server("a", 21), server("b", 21), server("c", 21), server("d", 21)]);
    of.slow_start = Duration::from_secs(10);
    of.servers[3].checkers = vec![CheckerSettings { retry: 2, ..asked() }];
    let (mut balance, _) = start(of.clone());
    told(&mut balance, 0, fail());
    told(&mut balance, 2, fail());
    assert!(told(&mut balance, 2, Outcome::Passed).contains(&String::from("c up")));
    balance.handle(at(1000), Event::Drain { service: 0, server: 1, is_draining: true });
    // Twice of the three times that it may, and the third try is under way.
    let mut now = at(0);
    for run in 1..=2 {
        balance.handle(now, Event::Ended { run, outcome: fail() });
        now = balance.next_deadline(now).unwrap().max(at(1500));
        balance.handle(now, Event::Tick);
    }
    let at_hand = balance.standing(at(2500));
    // Like a start with `rs_init_notifies`, which tells of everybody who is up.
    let settings = BalanceSettings { init_notifies: true, ..all(vec![of]) };
    let (mut next, first) = in_the_next_process(&balance, &settings, at(2500));
    assert_eq!(first, ["[- 0 4 21]"], "and nobody is told of");
    assert_eq!(next.standing(at(2500)), at_hand);
    // The try that was under way is made again within a second, and is the last that may fail.
    let probed = words(&next.handle(at(3500), Event::Tick));
    let probed: Vec<_> = probed.iter().filter(|word| word.starts_with("probe")).collect();
    assert_eq!(probed, ["probe 3 1"]);
    let went = words(&next.handle(at(3500), Event::Ended { run: 1, outcome: fail() }));
    assert!(went.contains(&String::from("d down")), "{went:?}");
}

#[test]
fn under_another_configuration_the_next_process_does_as_a_reload_does() {
    let of = ServiceSettings { omega: true, ..service(vec![server("a", 1), server("b", 1)]) };
    let (mut balance, _) = start(of.clone());
    told(&mut balance, 1, fail());
    let changed = ServiceSettings { servers: vec![server("c", 5), server("b", 2)], ..of };
    let (next, first) = in_the_next_process(&balance, &all(vec![changed]), at(2000));
    assert_eq!(first, ["a down", "[5 -]"]);
    assert!(!next.is_up(0, 1) && next.has_quorum(0));
}
