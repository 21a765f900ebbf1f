use super::*;
use crate::net::namespace::{FAR_V4, FAR_V6, World, ip, soon};

async fn verdicts(targets: &[&str], interface: Option<&str>, timeout: Duration) -> Vec<bool> {
    let (events, mut queue) = mpsc::channel(64);
    let addresses: Vec<IpAddr> = targets.iter().map(|target| target.parse().unwrap()).collect();
    let references = References::spawn(addresses, timeout, interface.map(str::to_owned), events);
    for at in 0..targets.len() {
        references.ping(ReferenceId(u16::try_from(at).unwrap()));
    }
    let mut verdicts = vec![None; targets.len()];
    for _ in targets {
        let Some(Event::Pinged { reference, rtt }) = soon(queue.recv()).await else { panic!() };
        assert!(rtt.is_none_or(|rtt| rtt < timeout), "{rtt:?}");
        let before = verdicts[usize::from(reference.0)].replace(rtt.is_some());
        assert_eq!(before, None, "answered twice");
    }
    verdicts.into_iter().map(|verdict| verdict.unwrap()).collect()
}

#[test]
fn living_references_answer_and_others_do_not() {
    World::run(async |world: &World| {
        world.far(|| ip("addr add fd09::2/64 dev far0 nodad"));
        ip("addr add fd09::1/64 dev near0 nodad");
        let targets = [FAR_V4, "fd09::2", "127.0.0.1", "10.9.0.77", "fd09::77", "192.0.2.1"];
        let answers = verdicts(&targets, None, Duration::from_secs(5)).await;
        assert_eq!(answers, [true, true, true, false, false, false]);
    });
}

#[test]
fn a_router_that_cannot_deliver_a_ping_does_not_answer_for_its_target() {
    World::run(async |world: &World| {
        world.far(|| {
            std::fs::write("/proc/sys/net/ipv4/conf/all/forwarding", "1").unwrap();
            std::fs::write("/proc/sys/net/ipv6/conf/all/forwarding", "1").unwrap();
            ip("route add unreachable 192.0.2.0/24");
            ip("-6 route add unreachable fd77::/64");
            ip("addr add fd09::2/64 dev far0 nodad");
        });
        ip(&format!("route add 192.0.2.0/24 via {FAR_V4}"));
        ip("addr add fd09::1/64 dev near0 nodad");
        ip("-6 route add fd77::/64 via fd09::2");
        let begun = crate::clock::now();
        let answers = verdicts(&["192.0.2.1", "fd77::1"], None, Duration::from_secs(30)).await;
        assert_eq!(answers, [false, false]);
        // The verdict is the router's, not the end of the wait.
        assert!(crate::clock::now().since(begun) < Duration::from_secs(20));
    });
}

#[test]
fn pings_leave_by_the_interface_they_are_bound_to() {
    World::run(async |_: &World| {
        let answers = verdicts(&[FAR_V4, "127.0.0.1"], Some("near0"), Duration::from_secs(5)).await;
        assert_eq!(answers, [true, false]);
        let answers = verdicts(&[FAR_V4], Some("nothere0"), Duration::from_secs(5)).await;
        assert_eq!(answers, [false]);
    });
}

#[test]
fn a_link_local_reference_answers_when_bound_to_its_interface() {
    World::run(async |_: &World| {
        assert_eq!(verdicts(&[FAR_V6], Some("near0"), Duration::from_secs(5)).await, [true]);
    });
}

#[test]
fn a_silent_reference_keeps_no_other_waiting() {
    World::run(async |_: &World| {
        let (events, mut queue) = mpsc::channel(64);
        let targets = ["10.9.0.77", FAR_V4].map(|target| target.parse().unwrap()).to_vec();
        let references = References::spawn(targets, Duration::from_secs(5), None, events);
        references.ping(ReferenceId(0));
        references.ping(ReferenceId(1));
        references.ping(ReferenceId(9));
        let mut order = Vec::new();
        for _ in 0..3 {
            let Some(Event::Pinged { reference, .. }) = soon(queue.recv()).await else { panic!() };
            order.push(reference.0);
        }
        assert_eq!(order.last(), Some(&0), "{order:?}");
    });
}

#[test]
fn more_pings_than_fit_are_lost_at_once() {
    World::run(async |_: &World| {
        let (events, mut queue) = mpsc::channel(2048);
        let references = References::spawn(vec!["127.0.0.1".parse().unwrap()], Duration::from_secs(5), None, events);
        // The task does not run before the next await.
        for _ in 0..QUEUE + 10 {
            references.ping(ReferenceId(0));
        }
        let mut lost = 0;
        for _ in 0..QUEUE + 10 {
            let Some(Event::Pinged { rtt, .. }) = soon(queue.recv()).await else { panic!() };
            lost += usize::from(rtt.is_none());
        }
        assert!((10..QUEUE).contains(&lost), "{lost} lost");
    });
}
