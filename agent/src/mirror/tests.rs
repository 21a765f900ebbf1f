use std::time::Duration;

use super::*;
use crate::net::namespace::{FAR_V4, NEAR_V4, World, ip, soon};

const VIP: &str = "10.9.0.100";
const VIP6: &str = "fd09::100";
/// Nobody's.
const STRANGER: &str = "02:00:00:00:00:66";

async fn look(world: &World, gateway: &str, own: &str, virtual_one: &str) -> (bool, bool) {
    let _ = world;
    let (events, mut queue) = mpsc::channel(4);
    let mirrors = Mirrors::spawn(events);
    let address = |text: &str| text.parse().unwrap();
    let (gateway, own, virtual_one) = (address(gateway), address(own), address(virtual_one));
    mirrors.look(Look { domain: DomainId(7), place: 3, gateway, own, virtual_one });
    match soon(queue.recv()).await {
        Some(Event::Mirrored { domain: DomainId(7), place: 3, own, virtual_one }) => (own, virtual_one),
        other => panic!("{other:?}"),
    }
}

#[test]
fn answers_that_go_to_a_stranger_are_missed_and_those_to_ourselves_are_not() {
    World::run(async |world: &World| {
        ip(&format!("addr add {VIP}/24 dev near0"));
        assert_eq!(look(world, FAR_V4, NEAR_V4, VIP).await, (true, true));
        world.far(|| ip(&format!("neigh replace {VIP} lladdr {STRANGER} dev far0 nud permanent")));
        assert_eq!(look(world, FAR_V4, NEAR_V4, VIP).await, (true, false));
        assert_eq!(look(world, "10.9.0.77", NEAR_V4, VIP).await, (false, false), "nobody is there");
    });
}

#[test]
fn the_same_over_ipv6() {
    World::run(async |world: &World| {
        ip("addr add fd09::1/64 dev near0 nodad");
        ip(&format!("addr add {VIP6}/64 dev near0 nodad"));
        world.far(|| ip("addr add fd09::2/64 dev far0 nodad"));
        // The kernel takes up to a second to know that a cable has come, and IPv6 answers nothing before.
        for _ in 0..20 {
            if look(world, "fd09::2", "fd09::1", VIP6).await == (true, true) {
                break;
            }
        }
        assert_eq!(look(world, "fd09::2", "fd09::1", VIP6).await, (true, true));
        world.far(|| ip(&format!("neigh replace {VIP6} lladdr {STRANGER} dev far0 nud permanent")));
        assert_eq!(look(world, "fd09::2", "fd09::1", VIP6).await, (true, false));
    });
}

#[test]
fn an_address_that_is_not_here_is_no_look_and_holds_nothing_up() {
    World::run(async |_: &World| {
        let (events, mut queue) = mpsc::channel(4);
        let mirrors = Mirrors::spawn(events);
        let address = |text: &str| text.parse().unwrap();
        let look = |place, virtual_one| Look {
            domain: DomainId(7),
            place,
            gateway: address(FAR_V4),
            own: address(NEAR_V4),
            virtual_one: address(virtual_one),
        };
        mirrors.look(look(1, VIP));
        mirrors.look(look(2, NEAR_V4));
        let told = tokio::time::timeout(Duration::from_secs(10), queue.recv()).await.unwrap();
        assert!(matches!(told, Some(Event::Mirrored { place: 2, own: true, virtual_one: true, .. })), "{told:?}");
    });
}
