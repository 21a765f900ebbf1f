use std::collections::BTreeMap;

use keepone_proto::id::{Epoch, Incarnation, NodeId};
use keepone_proto::watch::Reading;

use super::serve::Server;
use super::*;
use crate::net::namespace::{World, ip};

const A: DomainId = DomainId(1);
const B: DomainId = DomainId(2);

fn vip(text: &str, prefix_len: u8) -> VirtualAddress {
    VirtualAddress::new("near0", text.parse().unwrap(), prefix_len)
}

fn epoch() -> Epoch {
    Epoch { counter: 1, incarnation: Incarnation(1), attempt: 0, node: NodeId::new(1).unwrap() }
}

fn set(domain: DomainId) -> Ask {
    Ask::Set { domain, epoch: epoch(), lifetime_s: 60 }
}

fn remove(domain: DomainId) -> Ask {
    Ask::Remove { domain, epoch: epoch() }
}

fn has(text: &str) -> bool {
    ip("addr show dev near0").contains(text)
}

/// The server, and what it says.
fn open(wanted: Wanted) -> (Server, mpsc::Receiver<Said>) {
    let (answers, said) = mpsc::channel(64);
    (Server::open(wanted, answers).unwrap(), said)
}

fn events(said: &mut mpsc::Receiver<Said>) -> Vec<Event> {
    std::iter::from_fn(|| said.try_recv().ok())
        .map(|said| match said {
            Said::Event(event) => event,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn done(events: &[Event]) -> Vec<(DomainId, bool, bool)> {
    let of = |event: &Event| match event {
        Event::AddressesDone { domain, present, error, .. } => Some((*domain, *present, error.is_none())),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

#[test]
fn many_asks_are_one_request_and_each_domain_has_its_own_answer_in_order() {
    World::run(async |_: &World| {
        let nowhere = VirtualAddress::new("nothere0", "10.9.0.102".parse().unwrap(), 24);
        let addresses = BTreeMap::from([(A, vec![vip("10.9.0.100", 24), nowhere]), (B, vec![vip("10.9.0.101", 24)])]);
        let (mut server, mut said) = open(Wanted { addresses, ..Wanted::default() });
        server.carry_out(&mut [set(A), set(B), remove(A), set(B), remove(B)].into()).await;
        let expected = [(A, true, false), (B, true, true), (A, false, true), (B, true, true), (B, false, true)];
        assert_eq!(done(&events(&mut said)), expected);
        assert!(!has("10.9.0.100") && !has("10.9.0.101"));
    });
}

#[test]
fn what_was_asked_to_go_is_not_put_back() {
    World::run(async |_: &World| {
        let addresses = BTreeMap::from([(A, vec![vip("10.9.0.100", 24)])]);
        let (mut server, _said) = open(Wanted { addresses, ..Wanted::default() });
        let back = Ask::PutBack { domain: A, address: "10.9.0.100".parse().unwrap(), lifetime_s: 60 };
        server.carry_out(&mut [set(A)].into()).await;
        ip("addr del 10.9.0.100/24 dev near0");
        server.carry_out(&mut [back.clone()].into()).await;
        assert!(has("10.9.0.100"));
        // The notice comes when it has been removed in good order meanwhile.
        server.carry_out(&mut [remove(A), back].into()).await;
        assert!(!has("10.9.0.100"));
    });
}

#[test]
fn an_address_of_no_track_stays_out_until_the_next_mastership() {
    World::run(async |_: &World| {
        let addresses = BTreeMap::from([(
            A,
            vec![vip("10.8.0.100", 32), VirtualAddress { no_track: true, ..vip("10.9.0.101", 32) }],
        )]);
        let (mut server, _said) = open(Wanted { addresses, ..Wanted::default() });
        server.carry_out(&mut [set(A)].into()).await;
        ip("addr del 10.9.0.101/32 dev near0");
        let gone = Ask::PutBack { domain: A, address: "10.9.0.101".parse().unwrap(), lifetime_s: 60 };
        server.carry_out(&mut [gone, set(A)].into()).await;
        assert!(has("10.8.0.100") && !has("10.9.0.101"), "a renewal does not bring it back");
        server.carry_out(&mut [remove(A), set(A)].into()).await;
        assert!(has("10.8.0.100") && has("10.9.0.101"));
    });
}

#[test]
fn static_addresses_wait_for_their_interface_and_say_so_to_their_group() {
    World::run(async |_: &World| {
        let later = VirtualAddress::new("later0", "10.7.0.1".parse().unwrap(), 24);
        let statics = vec![(vip("10.6.0.1", 24), None), (later, Some("G".to_owned()))];
        let groups = vec![(WatchId(3), "G".to_owned())];
        let (mut server, mut said) = open(Wanted { statics, groups, ..Wanted::default() });
        server.begin().await;
        assert!(has("10.6.0.1/24"));
        let first = events(&mut said);
        let [
            Event::RoutesSeen { domain: None, error: Some(words) },
            Event::Watched { watch, reading: Reading::Down(why) },
        ] = &first[..]
        else {
            panic!("{first:?}")
        };
        assert!(words.contains("later0 does not exist") && why == words && *watch == WatchId(3), "{words}");
        ip("link add later0 type veth");
        server.try_again().await;
        let then = events(&mut said);
        assert!(
            matches!(&then[..], [Event::RoutesSeen { error: None, .. }, Event::Watched { reading: Reading::Up, .. }]),
            "{then:?}"
        );
        assert!(ip("addr show dev later0").contains("10.7.0.1/24"));
    });
}

/// Another configuration of an agent without virtual routers.
fn configuration(statics: Vec<(VirtualAddress, Option<String>)>) -> Ask {
    configuration_with(statics, Vec::new())
}

fn configuration_with(statics: Vec<(VirtualAddress, Option<String>)>, groups: Vec<(WatchId, String)>) -> Ask {
    Ask::Configure(Box::new(Configuration {
        addresses: BTreeMap::from([(A, vec![vip("10.6.0.100", 24)])]),
        statics,
        groups,
        paths: BTreeMap::new(),
        links: Vec::new(),
        settings: Vec::new(),
        gone: Vec::new(),
        number: 7,
    }))
}

#[test]
fn another_configuration_sets_static_addresses_that_are_new_and_takes_out_those_that_are_gone_and_touches_no_other() {
    World::run(async |_: &World| {
        let one = |text: &str| (vip(text, 24), None);
        let addresses = BTreeMap::from([(A, vec![vip("10.6.0.100", 24)])]);
        let statics = vec![one("10.6.0.1"), one("10.6.0.2"), (vip("10.7.0.1", 24), None)];
        let wanted = Wanted { addresses, statics, settings: promoting(), ..Wanted::default() };
        let (mut server, mut said) = open(wanted);
        server.begin().await;
        server.carry_out(&mut [set(A)].into()).await;
        let mut heard = std::process::Command::new("ip")
            .args(["monitor", "address"])
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let statics = vec![one("10.6.0.2"), (vip("10.7.0.1", 25), None), one("10.6.0.3")];
        server.carry_out(&mut [configuration(statics.clone()), configuration(statics)].into()).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        heard.kill().unwrap();
        let heard = String::from_utf8(heard.wait_with_output().unwrap().stdout).unwrap();
        let (gone, come): (Vec<&str>, Vec<&str>) =
            heard.lines().filter(|line| line.contains("inet ")).partition(|line| line.starts_with("Deleted"));
        let of = |lines: &[&str], words: &str| lines.iter().filter(|line| line.contains(words)).count();
        assert_eq!((of(&gone, "10.6.0.1/24"), of(&gone, "10.7.0.1/24"), gone.len()), (1, 1, 2), "{heard}");
        // What the kernel promotes it says again.
        assert_eq!((of(&come, "10.6.0.3/24"), of(&come, "10.7.0.1/25")), (1, 1), "{heard}");
        for there in ["10.6.0.100/24", "10.6.0.2/24", "10.6.0.3/24", "10.7.0.1/25"] {
            assert!(has(there), "{there}");
        }
        assert!(!has("10.6.0.1/24") && !has("10.7.0.1/24"));
        let words: Vec<Said> = std::iter::from_fn(|| said.try_recv().ok()).collect();
        assert!(!words.iter().any(|said| matches!(said, Said::Event(Event::RoutesSeen { .. }))), "{words:?}");
        // Somebody takes one away that a reload has brought.
        ip("addr del 10.6.0.3/24 dev near0");
        server.carry_out(&mut [Ask::PutBackStatic { address: "10.6.0.3".parse().unwrap() }].into()).await;
        assert!(has("10.6.0.3/24"));
    });
}

/// As the plan has it where static addresses stand beside virtual ones.
fn promoting() -> Vec<Setting> {
    vec![Setting::ipv4("near0", "promote_secondaries", crate::sysctl::Value::AtLeast(1))]
}

#[test]
fn a_static_address_of_a_new_configuration_waits_for_its_interface_and_a_fault_goes_with_what_had_it() {
    World::run(async |_: &World| {
        let later = VirtualAddress::new("later0", "10.7.0.1".parse().unwrap(), 24);
        let (mut server, mut said) = open(Wanted::default());
        server.begin().await;
        let faults = |said: &mut mpsc::Receiver<Said>| {
            std::iter::from_fn(|| said.try_recv().ok())
                .filter_map(|said| match said {
                    Said::Event(Event::RoutesSeen { error, .. }) => Some(error.is_some()),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        server.carry_out(&mut [configuration(vec![(later, None)])].into()).await;
        assert_eq!(faults(&mut said), [true]);
        server.carry_out(&mut [configuration(Vec::new())].into()).await;
        assert_eq!(faults(&mut said), [false]);
        ip("link add later0 type veth");
        server.try_again().await;
        assert!(!ip("addr show dev later0").contains("10.7.0.1/24"));
    });
}

#[test]
fn a_track_group_of_a_new_configuration_is_told_of_at_once_and_one_that_is_gone_no_more() {
    World::run(async |_: &World| {
        let (g, h) = ((WatchId(3), "G".to_owned()), (WatchId(4), "H".to_owned()));
        let statics = |group: &str| vec![(vip("10.6.0.1", 24), Some(group.to_owned()))];
        let (mut server, mut said) =
            open(Wanted { statics: statics("G"), groups: vec![g.clone()], ..Wanted::default() });
        server.begin().await;
        let told = |said: &mut mpsc::Receiver<Said>| {
            std::iter::from_fn(|| said.try_recv().ok())
                .filter_map(|said| match said {
                    Said::Event(Event::Watched { watch, reading }) => Some((watch.0, reading)),
                    _ => None,
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(told(&mut said), [(3, Reading::Up)]);
        server.carry_out(&mut [configuration_with(statics("H"), vec![g, h.clone()])].into()).await;
        assert_eq!(told(&mut said), [(4, Reading::Up)], "and of the other nothing new");
        let later = VirtualAddress::new("later0", "10.7.0.1".parse().unwrap(), 24);
        server.carry_out(&mut [configuration_with(vec![(later, Some("H".to_owned()))], vec![h])].into()).await;
        let then = told(&mut said);
        assert!(matches!(&then[..], [(4, Reading::Down(why))] if why.contains("later0")), "{then:?}");
    });
}
