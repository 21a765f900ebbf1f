//! KEEPALIVED-MIB (enterprises 9586.100.5), with the numbers, units and columns that monitoring of keepalived asks for.
//! Where keepalived says nothing, nothing is said here.

use std::net::IpAddr;

use keepone_config::model::{Config, InitialState, Protocol, Service, Transport, VirtualAddress, VrrpInstance};
use keepone_proto::decision::Role;
use keepone_proto::settings::VrrpVersion;

use super::pdu::{Binding, Oid, Value};
use super::standing::{Now, Standing};
use super::tree::Tree;
use super::{Settings, number, octets, of_address};
use crate::ipvs::counted::Traffic;

/// The whole MIB.
pub(super) const ROOT: [u32; 9] = [1, 3, 6, 1, 4, 1, 9586, 100, 5];
const GLOBAL: u32 = 1;
const VRRP: u32 = 2;
const CHECK: u32 = 3;

/// `enabled(1), disabled(2)`, and all its kin.
fn switch(is_on: bool) -> Value {
    Value::Integer(if is_on { 1 } else { 2 })
}

fn at(path: &[u32]) -> Oid {
    [&ROOT, path].concat()
}

/// `VrrpState`.
fn state(role: Role) -> i32 {
    match role {
        Role::Init => 0,
        Role::Backup | Role::Claiming => 1,
        Role::Master => 2,
        Role::Fault | Role::Fenced => 3,
    }
}

/// The same, of the words that scripts are told.
fn state_of_word(word: &str) -> i32 {
    match word {
        "BACKUP" => 1,
        "MASTER" => 2,
        "FAULT" => 3,
        "STOP" => 5,
        "DELETED" => 6,
        _ => 4,
    }
}

/// What is asked for of it.
pub(super) fn fill(tree: &mut Tree, settings: &Settings, standing: &Standing) {
    let global = |tree: &mut Tree, place: u32, value| tree.scalar(&at(&[GLOBAL, place]), value);
    global(tree, 1, octets(&format!("keepone v{}", env!("CARGO_PKG_VERSION"))));
    global(tree, 2, octets(&settings.router_id));
    global(tree, 4, switch(settings.traps));
    // The kernel tells of every link's changes.
    global(tree, 5, Value::Integer(1));
    if settings.vrrp {
        groups(tree, &settings.config, standing);
        for (place, instance) in (1..).zip(&settings.config.instances) {
            one_instance(tree, &settings.config, (place, instance), standing);
        }
    }
    if settings.checkers {
        servers(tree, &settings.config, standing);
    }
}

fn groups(tree: &mut Tree, config: &Config, standing: &Standing) {
    for (place, group) in (1..).zip(&config.sync_groups) {
        let role = standing.group(&group.name).map_or(Role::Init, |now| now.role);
        let columns = [
            (2, octets(&group.name)),
            (3, Value::Integer(state(role))),
            (4, switch(group.smtp_alert)),
            (10, switch(group.tracking_weight)),
        ];
        tree.row(&at(&[VRRP, 1, 1]), &[place], columns);
        for (member, name) in (1..).zip(group.instances.iter().filter_map(|at| config.instances.get(*at))) {
            tree.row(&at(&[VRRP, 2, 1]), &[place, member], [(2, octets(&name.name))]);
        }
    }
}

fn one_instance(tree: &mut Tree, config: &Config, (place, instance): (u32, &VrrpInstance), standing: &Standing) {
    let now = standing.instance(&instance.name);
    let role = now.map_or(Role::Init, |now| now.role);
    let group = config.sync_groups.iter().find(|group| {
        group.instances.iter().any(|at| config.instances.get(*at).is_some_and(|one| one.name == instance.name))
    });
    let begins = Value::Integer(match instance.state {
        InitialState::Master => 2,
        InitialState::Backup => 1,
    });
    // VRRPv2's are whole seconds there, VRRPv3's hundredths.
    let interval = match instance.version {
        VrrpVersion::V2 => instance.advert_int.as_secs(),
        VrrpVersion::V3 => u64::try_from(instance.advert_int.as_millis() / 10).unwrap_or(u64::MAX),
    };
    let mut columns = vec![
        (2, octets(&instance.name)),
        (3, Value::Gauge(instance.vrid.get().into())),
        (4, Value::Integer(state(role))),
        (5, begins),
        // What it would become: what it is, since nothing is wanted that is not done.
        (6, Value::Integer(state(role))),
        (7, Value::Integer(instance.priority.0.into())),
        (8, Value::Integer(now.map_or(instance.priority.0, |now: Now| now.priority).into())),
        (9, switch(role == Role::Master)),
        (10, octets(&instance.interface)),
        (11, switch(instance.track_interface.iter().any(|track| track.interface == instance.interface))),
        (12, number(interval)),
        (13, switch(instance.preempt)),
        (14, number(instance.preempt_delay.as_secs())),
        (27, switch(instance.accepts())),
        (30, Value::Integer(if instance.version == VrrpVersion::V2 { 2 } else { 3 })),
    ];
    columns.extend(group.map(|group| (18, octets(&group.name))));
    if let Transport::Multicast { .. } = instance.transport {
        let global = &config.global;
        let address: IpAddr =
            if instance.ipv6 { global.vrrp_mcast_group6.into() } else { global.vrrp_mcast_group4.into() };
        let (kind, address) = of_address(address);
        columns.extend([(34, kind), (35, address)]);
    }
    tree.row(&at(&[VRRP, 3, 1]), &[place], columns);
    for (at, address) in (1..).zip(&instance.virtual_addresses) {
        one_address(tree, (place, at), instance, address, role == Role::Master);
    }
}

fn one_address(tree: &mut Tree, index: (u32, u32), of: &VrrpInstance, address: &VirtualAddress, is_set: bool) {
    let dev = address.dev.as_ref().unwrap_or(&of.interface);
    let (kind, octets_of) = of_address(address.address);
    // InetScopeType has other numbers than the kernel (RFC 4007 and `rtnetlink(7)`).
    let scope = match address.scope.0 {
        255 => 0,
        254 => 1,
        253 => 2,
        200 => 5,
        _ => 14,
    };
    let mut columns = vec![
        (2, kind),
        (3, octets_of),
        (5, Value::Gauge(address.prefix.into())),
        (6, Value::Integer(scope)),
        (8, octets(dev)),
        (10, switch(is_set)),
        (11, switch(!address.excluded)),
    ];
    let ifindex = nix::net::if_::if_nametoindex(dev.as_str()).ok().and_then(|index| i32::try_from(index).ok());
    columns.extend(ifindex.map(|index| (7, Value::Integer(index))));
    columns.extend(address.label.as_deref().map(|label| (9, octets(label))));
    let broadcast = address.broadcast.map(|broadcast| (4, Value::Octets(broadcast.octets().to_vec())));
    columns.extend(broadcast);
    tree.row(&at(&[VRRP, 6, 1]), &[index.0, index.1], columns);
}

fn servers(tree: &mut Tree, config: &Config, standing: &Standing) {
    for ((place, server), (now, counts)) in (1..).zip(&config.virtual_servers).zip(&standing.servers) {
        let up = now.servers.iter().filter(|server| server.is_up).count();
        let (kind, mut columns) = match &server.service {
            Service::Mark { mark, .. } => (1, vec![(4, Value::Gauge(*mark))]),
            Service::Address { address, port } => {
                let (kind, address) = of_address(*address);
                (2, vec![(5, kind), (6, address), (7, Value::Gauge((*port).into()))])
            }
            Service::Group(at) => {
                (3, config.server_groups.get(*at).map(|of| (3, octets(&of.name))).into_iter().collect())
            }
        };
        let protocol = match server.protocol {
            Protocol::Tcp => 1,
            Protocol::Udp => 2,
            Protocol::Sctp => 3,
        };
        columns.extend([
            (2, Value::Integer(kind)),
            (8, Value::Integer(protocol)),
            (11, switch(now.has_quorum)),
            (20, number(now.servers.len() as u64)),
            (21, number(up as u64)),
            (22, Value::Gauge(server.quorum)),
            (23, switch(now.has_quorum)),
            (26, Value::Gauge(server.hysteresis)),
        ]);
        columns.extend(counts.traffic.iter().flat_map(|traffic| passed(traffic, 27, 28, 38)));
        columns.extend(server.snmp_name.as_deref().map(|name| (71, octets(name))));
        tree.row(&at(&[CHECK, 3, 1]), &[place], columns);
        let states = now.servers.iter().zip(&counts.servers);
        for ((row, real), (now, counts)) in (1..).zip(&server.real_servers).zip(states) {
            let (kind, address) = of_address(real.address);
            let mut columns = vec![
                (2, Value::Integer(1)),
                (3, kind),
                (4, address),
                (5, Value::Gauge(real.port.into())),
                (6, switch(now.is_up)),
                (7, Value::Integer(i32::try_from(real.weight).unwrap_or(i32::MAX))),
                (8, Value::Gauge(real.upper_threshold)),
                (9, Value::Gauge(real.lower_threshold)),
                (10, Value::Integer(if real.inhibit_on_failure { 2 } else { 1 })),
            ];
            columns.extend(counts.iter().flat_map(|of| {
                let connections = [(15, of.active), (16, of.inactive), (17, of.kept)];
                connections.map(|(at, count)| (at, Value::Gauge(count))).into_iter().chain(passed(
                    &of.traffic,
                    14,
                    18,
                    27,
                ))
            }));
            tree.row(&at(&[CHECK, 4, 1]), &[place, row], columns);
        }
    }
}

/// What the kernel counts, in the columns of either table: connections, from `packets` on packets and octets and what passes
/// in a second, and from `wide` on in 64 bits what the MIB has in 32 first. Counters of 32 bits begin anew at their end.
fn passed(of: &Traffic, connections: u32, packets: u32, wide: u32) -> impl Iterator<Item = (u32, Value)> + use<> {
    let first = (connections, number(of.connections));
    let narrow = [of.in_packets, of.out_packets].map(|count| Value::Counter((count & u64::from(u32::MAX)) as u32));
    let octets = [of.in_octets, of.out_octets].map(Value::Counter64);
    let rates = of.rates.map(Value::Gauge);
    let wider = [of.connections, of.in_packets, of.out_packets].map(Value::Counter64);
    let in_row = narrow.into_iter().chain(octets).chain(rates);
    std::iter::once(first).chain((packets..).zip(in_row)).chain((wide..).zip(wider))
}

/// A notification of what an instance or a group has become: its identity, and the objects that go with it.
/// `None`: there is no row of that name any more.
pub(super) fn notification(
    settings: &Settings,
    is_group: bool,
    name: &str,
    state: &str,
) -> Option<(Oid, Vec<Binding>)> {
    let config = &settings.config;
    let names: Vec<&str> = if is_group {
        config.sync_groups.iter().map(|group| group.name.as_str()).collect()
    } else {
        config.instances.iter().map(|instance| instance.name.as_str()).collect()
    };
    let place = names.iter().position(|known| *known == name)?;
    let row = u32::try_from(place).ok()?.checked_add(1)?;
    let (table, trap) = if is_group { (1, 1) } else { (3, 2) };
    let state_column = if is_group { 3 } else { 4 };
    let cell = |column| at(&[VRRP, table, 1, column, row]);
    let mut objects = vec![(cell(2), octets(name)), (cell(state_column), Value::Integer(state_of_word(state)))];
    if let Some(instance) = config.instances.get(place).filter(|_| !is_group) {
        let begins = if instance.state == InitialState::Master { 2 } else { 1 };
        objects.push((cell(5), Value::Integer(begins)));
    }
    objects.push((at(&[GLOBAL, 2, 0]), octets(&settings.router_id)));
    Some((at(&[VRRP, 10, 0, trap]), objects))
}

#[cfg(test)]
mod tests {
    use keepone_proto::balance::machine::Balance;

    use super::super::pdu::Range;
    use super::*;
    use crate::checkers::settings;
    use crate::ipvs::counted::{Counts, RealCounts};

    const TEXT: &str = "global_defs { enable_snmp_checker\n }
        virtual_server 192.0.2.1 80 { protocol TCP\n real_server 10.0.0.1 80 { }\n real_server 10.0.0.2 80 { }\n }\n";

    /// The numbers are those of KEEPALIVED-MIB.txt (`realServerStatsActiveConns` is `realServerEntry 15`).
    #[test]
    fn what_the_kernel_counts_is_in_the_mibs_columns_and_nothing_where_it_is_not_known() {
        let path = std::path::Path::new("t.conf");
        let (config, _) = keepone_config::load_text(path, TEXT, &keepone_config::Environment::default()).unwrap();
        let now = keepone_proto::time::Instant::from_nanos(0);
        let service = Balance::new(&settings::balance(&config), 0, now).0.standing(now).remove(0);
        let settings = Settings::of(&config.into(), "n1").unwrap();
        let traffic = |connections| Traffic {
            connections,
            in_packets: (1 << 32) + 2,
            out_packets: 3,
            in_octets: 4 << 32,
            out_octets: 5,
            rates: [6, 7, 8, 9, 10],
        };
        let real = RealCounts { active: 11, inactive: 12, kept: 13, traffic: traffic(14) };
        let mut standing = Standing::default();
        standing.servers = vec![(service, Counts { traffic: Some(traffic(1 << 40)), servers: vec![Some(real), None] })];
        let mut tree = Tree::default();
        fill(&mut tree, &settings, &standing);
        let get = |path: &[u32]| tree.get(&Range { start: at(path), include: true, end: Vec::new() }).1;
        let of_virtual = |column| get(&[CHECK, 3, 1, column, 1]);
        let of_real = |column, row| get(&[CHECK, 4, 1, column, 1, row]);
        let gauges = [(14, 14), (15, 11), (16, 12), (17, 13), (22, 6), (23, 7), (24, 8), (25, 9), (26, 10)];
        for (column, wanted) in gauges {
            assert_eq!(of_real(column, 1), Value::Gauge(wanted), "{column}");
        }
        assert_eq!([of_real(18, 1), of_real(19, 1)], [2, 3].map(Value::Counter), "32 bits begin anew");
        assert_eq!([of_real(20, 1), of_real(21, 1)], [4 << 32, 5].map(Value::Counter64));
        assert_eq!([27, 28, 29].map(|column| of_real(column, 1)), [14, (1 << 32) + 2, 3].map(Value::Counter64));
        assert_eq!(of_virtual(27), Value::Gauge(u32::MAX), "a gauge stays at its end");
        assert_eq!([of_virtual(28), of_virtual(29)], [2, 3].map(Value::Counter));
        assert_eq!([of_virtual(30), of_virtual(31)], [4 << 32, 5].map(Value::Counter64));
        assert_eq!([32, 33, 34, 35, 36].map(of_virtual), [6, 7, 8, 9, 10].map(Value::Gauge));
        assert_eq!([38, 39, 40].map(of_virtual), [1 << 40, (1 << 32) + 2, 3].map(Value::Counter64));
        assert_eq!(of_virtual(37), Value::NoSuchInstance, "one-packet scheduling is not told");
        for column in 14..30 {
            assert_eq!(of_real(column, 2), Value::NoSuchInstance, "{column}");
        }
        assert_eq!(of_real(5, 2), Value::Gauge(80), "what is configured is told all the same");
    }
}
