//! A cluster on its way from no authority to one: until the last node has come under it, VRRP's timer is what keeps two from
//! holding (docs/decisions/0176).

use super::*;

/// Node 1 holds by nobody's leave, and node 2 has voters.
fn mixed() -> Cluster {
    let mut cluster = Cluster::new(Authority::Quorum(quorum()));
    cluster.start_with(1, settings(1, Authority::None));
    cluster.run_to(3000);
    cluster.start(2);
    cluster.run_to(6000);
    assert_eq!(cluster.open(), [1]);
    cluster
}

#[test]
fn who_has_an_authority_does_not_claim_while_it_hears_a_master_without_one_p2() {
    let mut cluster = mixed();
    // The beats are lost, and Advertisements are not.
    cluster.links_cut.insert(LinkId(0));
    for ms in (6000..12_000).step_by(5) {
        cluster.run_to(ms);
        assert_eq!(cluster.open(), [1], "at {ms} ms");
    }
    // It dies: VRRP's timer runs out, and the voters lend.
    cluster.nodes.remove(&1);
    cluster.run_to(14_000);
    assert_eq!(cluster.open(), [2]);
}

#[test]
fn a_master_without_an_authority_hands_over_to_who_has_one_and_back() {
    let mut cluster = mixed();
    let mut nobody = 0;
    cluster.give(1, Event::Stop);
    for ms in 6000..7000 {
        cluster.run_to(ms);
        assert!(cluster.open().len() < 2, "at {ms} ms");
        nobody += u64::from(cluster.open().is_empty());
    }
    assert_eq!(cluster.open(), [2]);
    assert!(nobody < 60, "{nobody} ms without a holder");
    // And from the voters to none: the better one comes back without.
    cluster.nodes.remove(&1);
    cluster.start_with(1, settings(1, Authority::None));
    for ms in 7000..12_000 {
        cluster.run_to(ms);
        assert!(cluster.open().len() < 2, "at {ms} ms");
        nobody += u64::from(cluster.open().is_empty());
    }
    assert!(nobody < 120, "{nobody} ms without a holder");
    assert_eq!(cluster.open(), [1]);
}
