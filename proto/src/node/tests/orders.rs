//! What an operator's order to a witness means for the nodes.

use super::*;

#[test]
fn a_vote_taken_back_of_three_moves_nothing_and_is_told_to_whom_it_concerns() {
    let mut cluster = steady(Authority::Quorum(quorum()));
    let now = cluster.local(WITNESS);
    assert!(cluster.witness.revoke(now, VIP, Duration::from_secs(10)).is_some());
    cluster.run_to(9000);
    assert_eq!((cluster.open(), cluster.role(1).0), (vec![1], Role::Master));
    assert!(cluster.alerts(1).contains(&"voter-refuses"), "{:?}", cluster.alerts(1));
    assert!(!cluster.alerts(2).contains(&"voter-refuses"), "{:?}", cluster.alerts(2));
    cluster.run_to(30_000);
    assert_eq!(cluster.alerts(1), Vec::<&str>::new(), "it has the vote again");
    assert!(cluster.witness.granted(cluster.local(WITNESS), VIP).is_some_and(|granted| granted.epoch.node == id(1)));
}

#[test]
fn where_it_decides_alone_the_other_node_takes_over_and_never_do_both_hold() {
    let alone = QuorumSettings::new(vec![id(WITNESS)], quorum().timing);
    let mut cluster = steady(Authority::Quorum(alone));
    let now = cluster.local(WITNESS);
    assert!(cluster.witness.revoke(now, VIP, Duration::from_secs(10)).is_some());
    let mut holders = BTreeSet::new();
    for ms in 5000..9000 {
        cluster.run_to(ms);
        let open = cluster.open();
        assert!(open.len() <= 1, "{open:?} at {ms}");
        holders.extend(open);
    }
    assert_eq!((holders, cluster.open()), (BTreeSet::from([1, 2]), vec![2]));
    assert!(cluster.alerts(1).contains(&"voter-refuses"), "{:?}", cluster.alerts(1));
}
