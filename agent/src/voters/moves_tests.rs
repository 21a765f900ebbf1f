//! The lines of each step.

use super::*;
use keepone_proto::lease::timing::LeaseTiming;
use std::time::Duration;

fn id(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

fn names() -> Names {
    let nodes = [(1, "n1"), (2, "n2"), (3, "w")];
    Names { nodes: nodes.map(|(number, name)| (id(number), name.to_owned())).into(), ..Names::default() }
}

#[test]
fn a_move_has_a_middle_an_end_and_nothing_after_that() {
    let voters = vec![id(1), id(2), id(3)];
    let first = QuorumSettings::new(voters.clone(), LeaseTiming::for_lease(Duration::from_secs(1)));
    let middle = begin(&first, &names(), vec![NodeId::STORE]).unwrap();
    assert_eq!((middle.generation, &middle.moving), (2, &Some(Move::Joint(voters.clone()))));
    assert_eq!(middle.former(), Some(first.clone()), "what was there is served on");
    let servers = ["http://10.0.0.1:2379".to_owned()];
    let text = fragment(&middle, &names(), &servers);
    let lines = "[arbiter]\ntype = \"etcd\"\njoint_voters = [\"n1\", \"n2\", \"w\"]\ngeneration = 2\nendpoints = [\"http://10.0.0.1:2379\"]\n";
    assert!(text.contains(lines), "{text}");
    assert!(text.contains("[[cluster]]\nvoters = [\"etcd\"]\njoint_voters"), "{text}");
    let end = next(&middle).unwrap();
    assert_eq!((end.generation, &end.moving), (3, &Some(Move::After(voters))));
    assert_eq!(end.former(), Some(middle));
    let settled = next(&end).unwrap();
    assert_eq!((settled.generation, &settled.moving), (3, &None));
    assert!(next(&settled).is_err() && begin(&settled, &names(), vec![NodeId::STORE]).is_err());
    let back = fragment(&begin(&settled, &names(), vec![id(1), id(2), id(3)]).unwrap(), &names(), &servers);
    assert!(
        back.contains("voters = [\"n1\", \"n2\", \"w\"]\njoint_voters = [\"etcd\"]\ngeneration = 4\nendpoints"),
        "{back}"
    );
}
