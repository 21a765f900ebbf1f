//! References that are lost, by one node or by all (D2, I16).

use super::*;

#[test]
fn who_reaches_neither_peer_nor_reference_shuts_its_gate_d2() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    // Its lease would be renewed on: the witness is reached.
    cluster.cut_between(1, 2);
    cluster.references_lost.insert(1);
    cluster.run_to(7000);
    assert_eq!(cluster.role(1), (Role::Fenced, Reason::Isolated));
    assert_eq!(cluster.open(), [2]);
    assert!(cluster.alerts(1).contains(&"isolated"));
}

#[test]
fn references_lost_by_all_move_nothing_i16() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.references_lost.extend([1, 2]);
    cluster.run_to(9000);
    assert_eq!((cluster.role(1).0, cluster.open()), (Role::Master, vec![1]));
    assert!(!cluster.order(1, 5000).contains(&"shut"));
}

#[test]
fn references_lost_here_alone_hand_over_d2() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    cluster.references_lost.insert(1);
    cluster.run_to(7000);
    assert_eq!(cluster.role(2).0, Role::Master);
    assert_eq!(cluster.open(), [2]);
}
