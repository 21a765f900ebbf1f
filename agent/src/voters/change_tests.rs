//! The next configuration, and when there is none.

use super::*;
use keepone_proto::lease::timing::{LeaseTiming, Profile};
use std::time::Duration;

fn id(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

fn names() -> Names {
    let nodes = [(1, "n1"), (2, "n2"), (3, "w"), (4, "w2")];
    Names { nodes: nodes.map(|(number, name)| (id(number), name.to_owned())).into(), ..Names::default() }
}

fn quorum(voters: &[u16]) -> QuorumSettings {
    let timing = LeaseTiming::for_profile(Profile::default(), Duration::from_secs(1));
    QuorumSettings::new(voters.iter().map(|number| id(*number)).collect(), timing)
}

#[test]
fn the_lines_of_the_next_generation_in_both_languages() {
    let next = next(&quorum(&[1, 2, 4]), &names(), Change::Add(id(3))).unwrap();
    assert_eq!((next.generation, next.voters.len()), (2, 4));
    let lines = "voters = [\"n1\", \"n2\", \"w\", \"w2\"]\nformer_voters = [\"n1\", \"n2\", \"w2\"]\ngeneration = 2\n";
    let native = fragment(&next, &names(), Path::new("keepone.toml"));
    assert!(native.contains(&format!("[arbiter]\n{lines}")), "{native}");
    assert!(native.contains(&format!("[[cluster]]\n{lines}")), "{native}");
    let block = "arbiter {\n    voters n1 n2 w w2\n    former_voters n1 n2 w2\n    generation 2\n}\n";
    let other = fragment(&next, &names(), Path::new("keepalived.conf"));
    assert!(other.contains(block) && other.contains(&format!("[[cluster]]\n{lines}")), "{other}");
}

#[test]
fn a_change_that_makes_no_sense_is_refused_with_a_remedy() {
    let (three, four) = (quorum(&[1, 2, 3]), quorum(&[1, 2, 3, 4]));
    let refused = |quorum: &QuorumSettings, change| next(quorum, &names(), change).unwrap_err();
    assert_eq!(refused(&three, Change::Add(id(3))), Refusal::Votes("w".into()));
    assert_eq!(refused(&three, Change::Remove(id(4))), Refusal::VotesNot("w2".into()));
    assert_eq!(refused(&three, Change::Remove(id(3))), Refusal::TooFew { left: "n1, n2".into() });
    let changing = QuorumSettings { generation: 2, former: Some(vec![id(1), id(2), id(3)]), ..four.clone() };
    assert_eq!(refused(&changing, Change::Remove(id(3))), Refusal::UnderWay);
    assert!(next(&four, &names(), Change::Remove(id(3))).is_ok());
}

#[test]
fn a_set_whose_majority_does_not_answer_is_refused() {
    let silent = |members: &[u16]| -> Heard {
        let answer = |member: &u16| (id(*member), Err(String::from("silent")));
        members.iter().map(answer).collect()
    };
    let adding = next(&quorum(&[1, 2, 3]), &names(), Change::Add(id(4))).unwrap();
    let refusal = enough(&adding, &names(), &silent(&[1, 2, 3])).unwrap_err();
    assert!(
        matches!(&refusal, Refusal::NoMajority { up: 1, needed: 3, silent, .. } if silent == "n1, n2, w"),
        "{refusal}"
    );
}
