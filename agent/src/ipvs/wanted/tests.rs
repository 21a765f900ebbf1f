//! The table of a configuration, and of what the checks say.

use std::path::Path;

use keepone_config::{Environment, load_text};

use ipvs_rs::Change;

use super::*;

const INSTANCE: &str = "vrrp_instance a { interface lo\n virtual_router_id 1\n virtual_ipaddress { 192.0.2.1/32 } }\n";

fn config(text: &str) -> Arc<Config> {
    let text = format!("{INSTANCE}{text}");
    match load_text(Path::new("t.conf"), &text, &Environment::default()) {
        Ok((config, _)) => Arc::new(config),
        Err(errors) => panic!("{errors:?}"),
    }
}

fn of(text: &str) -> VirtualServers {
    let mut servers = VirtualServers::default();
    servers.configure(&config(text));
    servers
}

fn tcp(address: &str) -> ServiceId {
    ServiceId::Address { protocol: Protocol::Tcp, address: address.parse().unwrap() }
}

fn weights(table: &Table, id: ServiceId) -> Vec<(String, u32)> {
    let entry = table.get(id).unwrap();
    entry.destinations.values().map(|one| (one.address.to_string(), one.weight)).collect()
}

fn pairs(list: &[(&str, u32)]) -> Vec<(String, u32)> {
    list.iter().map(|(address, weight)| ((*address).to_owned(), *weight)).collect()
}

const WEB: &str = "virtual_server 192.0.2.1 80 { protocol TCP\n lvs_sched wlc\n lvs_method DR\n
    sorry_server 10.0.0.9 80\n
    real_server 10.0.0.1 80 { weight 3 }\n real_server 10.0.0.2 80 { weight 5 } }\n";

#[test]
fn every_keyword_of_the_kernels_is_in_the_table() {
    let servers = of(
        "virtual_server_group g { 192.0.2.10-12 53\n fd00::1 53\n fwmark 9 }\n
        virtual_server group g { protocol UDP\n lvs_sched mh\n mh-port\n mh-fallback\n ops\n lvs_method TUN type gue port 6080 csum\n
            real_server 10.0.0.1 { weight 7\n uthreshold 100\n lthreshold 50 } }\n
        virtual_server fwmark 3 { protocol UDP\n lvs_sched rr\n persistence_timeout 60\n persistence_granularity 255.255.255.0\n
            persistence_engine sip\n real_server 10.0.0.2 5060 { lvs_method NAT\n lthreshold 5 } }\n",
    );
    assert_eq!(servers.faults(), &[] as &[String]);
    let table = servers.table();
    let udp = |address: &str| ServiceId::Address { protocol: Protocol::Udp, address: address.parse().unwrap() };
    let mark = |mark| ServiceId::Mark { mark, family: Family::Ipv4 };
    let wanted = ["192.0.2.10:53", "192.0.2.11:53", "192.0.2.12:53", "[fd00::1]:53"].map(udp);
    let wanted: BTreeSet<ServiceId> = wanted.into_iter().chain([mark(9), mark(3)]).collect();
    assert_eq!(table.ids().collect::<BTreeSet<_>>(), wanted);
    let entry = table.get(udp("192.0.2.12:53")).unwrap();
    assert_eq!(entry.service.scheduler, "mh");
    assert!(entry.service.one_packet && entry.service.scheduler_flags == [true, true, false], "{entry:?}");
    let tunnel = Tunnel { encapsulation: Encapsulation::Gue(6080), checksum: Checksum::Full };
    let destination = entry.destinations.get(&"10.0.0.1:53".parse().unwrap()).unwrap();
    assert_eq!(destination.forwarding, Forwarding::Tunnel(tunnel));
    assert_eq!((destination.weight, destination.upper_threshold, destination.lower_threshold), (7, 100, 50));
    assert!(table.get(mark(9)).unwrap().destinations.contains_key(&"10.0.0.1:0".parse().unwrap()));
    let entry = table.get(mark(3)).unwrap();
    let granularity = Granularity::Ipv4("255.255.255.0".parse().unwrap());
    assert_eq!(entry.service.persistence, Some(Persistence { timeout_s: 60, granularity }));
    assert_eq!(entry.service.engine.as_deref(), Some("sip"));
    let destination = entry.destinations.get(&"10.0.0.2:5060".parse().unwrap()).unwrap();
    assert_eq!(destination.lower_threshold, 0, "without an upper one the kernel takes no lower one");
}

#[test]
fn what_the_checks_say_is_followed() {
    let mut servers = of(WEB);
    let id = tcp("192.0.2.1:80");
    assert_eq!(weights(&servers.table(), id), pairs(&[("10.0.0.1:80", 3), ("10.0.0.2:80", 5)]));
    servers.tell(Wanted { virtual_server: 0, servers: vec![None, Some(0)], sorry: false });
    assert_eq!(weights(&servers.table(), id), pairs(&[("10.0.0.2:80", 0)]));
    servers.tell(Wanted { virtual_server: 0, servers: vec![None, None], sorry: true });
    assert_eq!(weights(&servers.table(), id), pairs(&[("10.0.0.9:80", 1)]));
    servers.tell(Wanted { virtual_server: 7, servers: vec![], sorry: true });
    servers.tell(Wanted { virtual_server: 0, servers: vec![Some(3), Some(5), Some(9)], sorry: false });
    assert_eq!(weights(&servers.table(), id), pairs(&[("10.0.0.1:80", 3), ("10.0.0.2:80", 5)]));
}

#[test]
fn a_reload_brings_nobody_back_that_is_down() {
    let mut servers = of(WEB);
    servers.tell(Wanted { virtual_server: 0, servers: vec![None, Some(5)], sorry: false });
    let other = "virtual_server 192.0.2.2 80 { protocol TCP\n real_server 10.0.0.1 80 { } }\n";
    let changed = WEB.replace("weight 5", "weight 6").replace("weight 3", "weight 4");
    servers.configure(&config(&format!("{other}{changed}")));
    let table = servers.table();
    assert_eq!(weights(&table, tcp("192.0.2.1:80")), pairs(&[("10.0.0.2:80", 6)]));
    assert_eq!(weights(&table, tcp("192.0.2.2:80")), pairs(&[("10.0.0.1:80", 1)]), "it is another virtual server");
}

#[test]
fn a_sorry_server_that_is_to_stay_has_no_weight_until_it_is_needed() {
    let mut servers = of(&WEB.replace("sorry_server 10.0.0.9 80", "sorry_server 10.0.0.9\n sorry_server_inhibit"));
    let id = tcp("192.0.2.1:80");
    assert_eq!(weights(&servers.table(), id)[2], ("10.0.0.9:80".to_owned(), 0));
    servers.tell(Wanted { virtual_server: 0, servers: vec![None, None], sorry: true });
    assert_eq!(weights(&servers.table(), id), pairs(&[("10.0.0.9:80", 1)]));
}

#[test]
fn a_service_that_two_virtual_servers_have_is_the_firsts() {
    let servers = of("virtual_server fwmark 1 { protocol TCP\n real_server 10.0.0.1 80 { } }\n
        virtual_server fwmark 1 { protocol UDP\n real_server 10.0.0.2 80 { } }\n");
    assert!(servers.faults()[0].contains("fwmark 1"), "{:?}", servers.faults());
    let table = servers.table();
    let id = ServiceId::Mark { mark: 1, family: Family::Ipv4 };
    assert_eq!(weights(&table, id), pairs(&[("10.0.0.1:80", 1)]));
}

#[test]
fn a_reload_that_changes_one_of_two_thousand_asks_the_kernel_for_one_change() {
    let config = |weight: u32| {
        let one = |at: usize| {
            let weight = if at == 1234 { weight } else { 1 };
            format!(
                "virtual_server 10.9.{}.{} 80 {{\n protocol TCP\n real_server 10.1.0.1 80 {{ }}\n \
                 real_server 10.1.0.2 80 {{\n weight {weight}\n }}\n}}\n",
                at / 250,
                at % 250 + 1
            )
        };
        config(&(0..2000).map(one).collect::<String>())
    };
    let down = Wanted { virtual_server: 7, servers: vec![None, Some(1)], sorry: false };
    let mut servers = VirtualServers::default();
    servers.configure(&config(1));
    servers.tell(down.clone());
    let made = servers.table();
    servers.configure(&config(5));
    // What was said stays true until the checks say it again, and then too.
    for _ in 0..2 {
        let changes = ipvs_rs::plan(&servers.table(), &made);
        let [Change::EditDestination(id, destination)] = changes.as_slice() else { panic!("{changes:?}") };
        assert_eq!(
            (super::super::ledger::show(*id), destination.address.to_string(), destination.weight),
            ("TCP 10.9.4.235:80".to_owned(), "10.1.0.2:80".to_owned(), 5)
        );
        servers.tell(down.clone());
        servers.tell(Wanted { virtual_server: 1234, servers: vec![Some(1), Some(5)], sorry: false });
    }
}
