//! VRRPV3-MIB (RFC 6527): its table of virtual routers, that of their addresses, and what is counted.

use keepone_config::model::VrrpInstance;
use keepone_proto::decision::Role;
use keepone_proto::node::Counters;
use keepone_proto::vrrp::statistics::{NewMasterReason, ProtocolError, Statistics};

use super::pdu::Value;
use super::standing::{Now, Standing};
use super::tree::Tree;
use super::{Settings, number, octets_of_address};

/// The whole MIB.
pub(super) const ROOT: [u32; 8] = [1, 3, 6, 1, 2, 1, 207, 1];
/// vrrpv3OperationsEntry.
const OPERATIONS: [u32; 11] = [1, 3, 6, 1, 2, 1, 207, 1, 1, 1, 1];
/// vrrpv3AssociatedIpAddrEntry.
const ADDRESSES: [u32; 11] = [1, 3, 6, 1, 2, 1, 207, 1, 1, 2, 1];
/// vrrpv3Statistics: counters of the node.
const COUNTERS: [u32; 9] = [1, 3, 6, 1, 2, 1, 207, 1, 2];
/// vrrpv3StatisticsEntry.
const STATISTICS: [u32; 11] = [1, 3, 6, 1, 2, 1, 207, 1, 2, 5, 1];
/// They have been counted since the agent began, and never set back: no discontinuity.
const SINCE_THE_BEGINNING: Value = Value::TimeTicks(0);
/// RowStatus (RFC 2579): active.
const ACTIVE: Value = Value::Integer(1);

/// TruthValue (RFC 2579).
fn truth(is: bool) -> Value {
    Value::Integer(if is { 1 } else { 2 })
}

/// All that it has of these instances.
pub(super) fn fill(tree: &mut Tree, settings: &Settings, standing: &Standing) {
    of_node(tree, standing.counters);
    for instance in &settings.config.instances {
        // Rows are known by the interface's number: without an interface there is none.
        let Ok(ifindex) = nix::net::if_::if_nametoindex(instance.interface.as_str()) else { continue };
        let family = if instance.ipv6 { 2 } else { 1 };
        let index = [ifindex, instance.vrid.get().into(), family];
        one(tree, index, instance, standing.instance(&instance.name));
        statistics(tree, index, instance, &standing.statistics(&instance.name));
    }
}

fn of_node(tree: &mut Tree, counters: Counters) {
    let columns = [
        Value::Counter64(counters.checksum_errors),
        Value::Counter64(counters.version_errors),
        Value::Counter64(counters.vrid_errors),
        SINCE_THE_BEGINNING,
    ];
    for (place, value) in (1..).zip(columns) {
        tree.scalar(&[&COUNTERS[..], &[place]].concat(), value);
    }
}

fn statistics(tree: &mut Tree, index: [u32; 3], instance: &VrrpInstance, of: &Statistics) {
    let reason = match of.new_master_reason {
        NewMasterReason::NotMaster => 0,
        NewMasterReason::Priority => 1,
        NewMasterReason::Preempted => 2,
        NewMasterReason::MasterNoResponse => 3,
    };
    let error = match of.last_error {
        ProtocolError::None => 0,
        ProtocolError::Ttl => 1,
        ProtocolError::Version => 2,
        ProtocolError::Checksum => 3,
    };
    let interval = u64::try_from(instance.advert_int.as_millis()).unwrap_or(u64::MAX);
    // A Counter32 goes on at 0 after its last number.
    let transitions = u32::try_from(of.became_master & u64::from(u32::MAX)).unwrap_or(0);
    let columns = [
        Value::Counter(transitions),
        Value::Integer(reason),
        Value::Counter64(of.received),
        Value::Counter64(of.interval_errors),
        Value::Counter64(of.ttl_errors),
        Value::Integer(error),
        Value::Counter64(of.zero_received),
        Value::Counter64(of.zero_sent),
        Value::Counter64(of.type_errors),
        Value::Counter64(of.address_list_errors),
        Value::Counter64(of.length_errors),
        SINCE_THE_BEGINNING,
        number(interval),
    ];
    tree.row(&STATISTICS, &index, (1..).zip(columns));
}

fn one(tree: &mut Tree, index: [u32; 3], instance: &VrrpInstance, now: Option<Now>) {
    let status = match now.map(|now| now.role) {
        Some(Role::Master) => 3,
        Some(Role::Backup | Role::Claiming) => 2,
        _ => 1,
    };
    let centiseconds = |time: std::time::Duration| u64::try_from(time.as_millis() / 10).unwrap_or(u64::MAX);
    let interval = i32::try_from(centiseconds(instance.advert_int)).unwrap_or(i32::MAX);
    let count = i32::try_from(instance.advertised().count()).unwrap_or(i32::MAX);
    // Since the last change of role, as long as the row is not in `initialize`.
    let up = now.filter(|_| status > 1).map_or(0, |now| u32::try_from(centiseconds(now.lasts)).unwrap_or(u32::MAX));
    let columns = [
        (6, Value::Integer(status)),
        (7, number(now.map_or(instance.priority.0, |now| now.priority).into())),
        (8, Value::Integer(count)),
        (9, Value::Integer(interval)),
        (10, truth(instance.preempt)),
        (11, truth(instance.accepts())),
        (12, Value::TimeTicks(up)),
        (13, ACTIVE),
    ];
    tree.row(&OPERATIONS, &index, columns);
    for address in instance.advertised() {
        let octets = octets_of_address(address).into_iter().map(u32::from);
        let row: Vec<u32> = index.into_iter().chain(octets).collect();
        tree.row(&ADDRESSES, &row, [(2, ACTIVE)]);
    }
}
