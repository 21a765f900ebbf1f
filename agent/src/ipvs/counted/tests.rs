//! From what the kernel shows to what is told of each real server.

use std::path::Path;

use ipvs_rs::{Destination, Service};
use keepone_config::{Environment, load_text};
use keepone_proto::balance::machine::Balance;

use super::*;
use crate::checkers::settings;
use crate::ipvs::wanted::VirtualServers;

/// Two members of a group share real servers; the other has one, whose port is the client's.
const TEXT: &str = "virtual_server_group g { 192.0.2.1 80\n fwmark 7\n }
    virtual_server group g { protocol TCP\n real_server 10.0.0.1 80 { }\n real_server 10.0.0.2 80 { }\n }
    virtual_server 192.0.2.3 443 { protocol TCP\n real_server 10.0.0.3 { }\n real_server 10.0.0.1 443 { }\n }\n";

struct Room {
    config: Arc<Config>,
    servers: VirtualServers,
    board: Board,
}

impl Room {
    fn of(text: &str) -> Self {
        let (config, _) = load_text(Path::new("t.conf"), text, &Environment::default()).unwrap();
        let mut room = Room { config: Arc::new(config), servers: VirtualServers::default(), board: Board::default() };
        room.configure();
        room
    }

    fn configure(&mut self) {
        self.servers.configure(&self.config);
        self.board.configure(&self.config, self.servers.ids());
    }

    /// How they stand by the checks, which go by the same configuration.
    fn standing(&self) -> Vec<ServiceStanding> {
        let now = Instant::from_nanos(0);
        Balance::new(&settings::balance(&self.config), 0, now).0.standing(now)
    }

    fn told(&self) -> Vec<Counts> {
        self.board.of(&self.standing())
    }
}

fn service(id: &str, connections: u64) -> ServiceEntry {
    let id = match id.strip_prefix("fwmark ") {
        Some(mark) => ServiceId::Mark { mark: mark.parse().unwrap(), family: ipvs_rs::Family::Ipv4 },
        None => ServiceId::Address { protocol: ipvs_rs::Protocol::Tcp, address: id.parse().unwrap() },
    };
    let stats = Stats { connections, in_octets: u64::from(u32::MAX) + 1, connection_rate: 1 << 40, ..Stats::default() };
    ServiceEntry { service: Service::new(id, "rr"), stats }
}

fn real(address: &str, active: u32) -> DestinationEntry {
    DestinationEntry {
        destination: Destination::new(address.parse().unwrap()),
        active,
        inactive: 10 * active,
        persistent: 100 * active,
        stats: Stats { connections: 1000 * u64::from(active), out_octets: 7, in_packet_rate: 3, ..Stats::default() },
    }
}

fn look(room: &Room) {
    let mut found = Found::default();
    // Not in the order of addresses, and with one that is not configured, as a sorry server is.
    found
        .insert(&service("192.0.2.1:80", 5), &[real("10.0.0.2:80", 2), real("10.0.0.1:80", 1), real("10.0.0.9:80", 9)]);
    found.insert(&service("fwmark 7", 6), &[real("10.0.0.1:80", 4)]);
    found.insert(&service("192.0.2.3:443", 7), &[real("10.0.0.3:443", 5)]);
    room.board.put(found, Instant::from_nanos(1));
}

#[test]
fn each_real_server_has_its_own_and_that_of_a_group_the_sum_of_its_services() {
    let room = Room::of(TEXT);
    assert_eq!(room.board.at(), None);
    let nothing = Counts { traffic: None, servers: vec![None, None] };
    assert_eq!(room.told(), [nothing.clone(), nothing], "not looked at yet");
    look(&room);
    assert_eq!(room.board.at(), Some(Instant::from_nanos(1)));
    let told = room.told();
    let connections = |place: usize, server: usize| {
        told[place].servers[server].map(|one| (one.active, one.inactive, one.kept, one.traffic.connections))
    };
    assert_eq!(connections(0, 0), Some((5, 50, 500, 5000)), "in both services");
    assert_eq!(connections(0, 1), Some((2, 20, 200, 2000)), "in one of them");
    assert_eq!(connections(1, 0), Some((5, 50, 500, 5000)), "by the client's port");
    assert_eq!(connections(1, 1), None, "not in the table");
    let traffic = told[0].traffic.unwrap();
    assert_eq!((traffic.connections, traffic.in_octets), (11, 2 * (u64::from(u32::MAX) + 1)));
    assert_eq!(traffic.rates, [u32::MAX, 0, 0, 0, 0], "a rate beyond 32 bits is the most");
    let of_real = told[0].servers[0].unwrap().traffic;
    assert_eq!((of_real.out_octets, of_real.rates), (14, [0, 6, 0, 0, 0]));
}

#[test]
fn a_reload_that_moves_places_gives_nobody_the_numbers_of_another() {
    let mut room = Room::of(TEXT);
    look(&room);
    let before = room.standing();
    // The real servers of the group in another order, and a virtual server before it.
    let text = TEXT.replace(
        "real_server 10.0.0.1 80 { }\n real_server 10.0.0.2 80 { }",
        "real_server 10.0.0.2 80 { }\n real_server 10.0.0.1 80 { }",
    );
    let first = "virtual_server 192.0.2.9 80 { protocol TCP\n real_server 10.0.0.1 80 { }\n }\n";
    let (config, _) = load_text(Path::new("t.conf"), &format!("{first}{text}"), &Environment::default()).unwrap();
    room.config = Arc::new(config);
    // The checks are ahead.
    let is_unknown =
        |told: &[Counts]| told.iter().all(|one| one.traffic.is_none() && one.servers.iter().all(Option::is_none));
    assert!(is_unknown(&room.told()), "{:?}", room.told());
    room.configure();
    let active = |told: &[Counts]| -> Vec<Vec<Option<u32>>> {
        told.iter().map(|one| one.servers.iter().map(|real| real.map(|real| real.active)).collect()).collect()
    };
    assert_eq!(active(&room.told()), [vec![None], vec![Some(2), Some(5)], vec![Some(5), None]], "each has its own");
    // The checks are behind.
    assert!(is_unknown(&room.board.of(&before)));
    room.board.forget();
    assert!(is_unknown(&room.told()) && room.board.at().is_none(), "the table can't be read");
}
