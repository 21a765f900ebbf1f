//! What is said of a change at each point of it.

use super::*;
use keepone_proto::lease::generation::Opened;
use keepone_proto::lease::timing::{LeaseTiming, Profile};

const CLUSTER: ClusterId = ClusterId(7);

fn id(number: u16) -> NodeId {
    NodeId::new(number).unwrap()
}

/// Members 1 to 5: two nodes and three witnesses.
fn names() -> Names {
    let nodes = [(1, "n1"), (2, "n2"), (3, "w"), (4, "w2"), (5, "w3")];
    Names { nodes: nodes.map(|(number, name)| (id(number), name.to_owned())).into(), ..Names::default() }
}

fn quorum(generation: u32, voters: &[u16], former: &[u16]) -> QuorumSettings {
    let list = |numbers: &[u16]| numbers.iter().map(|number| id(*number)).collect::<Vec<_>>();
    let mut timing = LeaseTiming::for_profile(Profile::default(), Duration::from_secs(1));
    timing.lease_max = Duration::from_secs(3);
    let former = (!former.is_empty()).then(|| list(former));
    QuorumSettings { voters: list(voters), timing, generation, former, moving: None }
}

/// A voter that runs with `quorum`, closed to what is older for so long, and asked under the generation of `lent`.
fn answer(quorum: &QuorumSettings, floor: u32, floor_for: u64, lent: &QuorumSettings) -> Answer {
    let standing = Standing {
        generation: quorum.generation,
        floor,
        floor_for: Duration::from_secs(floor_for),
        opened: Opened { generation: lent.generation, set: set_digest(CLUSTER, lent) },
        quiet_for: Duration::ZERO,
        lent: 1,
    };
    Answer { standing, digest: config_digest(CLUSTER, quorum), from_disk: false }
}

fn all(members: &[u16], answer: Answer) -> Heard {
    members.iter().map(|member| (id(*member), Ok(answer))).collect()
}

fn steps(quorum: &QuorumSettings, heard: &Heard) -> String {
    Judge { cluster: CLUSTER, quorum, names: &names(), heard, others: &[] }.next_steps().join("\n")
}

/// Beside the nodes n1 and n2, which have no vote.
fn obstacles(quorum: &QuorumSettings, heard: &Heard) -> String {
    Judge { cluster: CLUSTER, quorum, names: &names(), heard, others: &[id(1), id(2)] }.obstacles().join("\n")
}

#[test]
fn a_first_generation_that_all_vote_on_is_complete() {
    let first = quorum(1, &[1, 2, 3], &[]);
    let mut heard = all(&[1, 2, 3], answer(&first, 1, 100, &first));
    assert_eq!(steps(&first, &heard), "");
    heard.insert(id(3), Err("nothing comes back".into()));
    assert_eq!(steps(&first, &heard), "w does not answer: nothing comes back");
    heard.remove(&id(3));
    assert_eq!(steps(&first, &heard), "w was not asked");
}

#[test]
fn adding_a_voter_from_the_file_to_the_end() {
    let (first, second) = (quorum(1, &[1, 2, 3], &[]), quorum(2, &[1, 2, 3, 4], &[1, 2, 3]));
    let old = answer(&first, 1, 100, &first);
    let mut heard = all(&[1, 2, 3], old);
    heard.insert(id(4), Err("no".into()));
    let said = steps(&second, &heard);
    assert_eq!(
        said,
        "w2 does not answer: no\nrestart n1, then n2, then w with generation 2, each when the one before answers again"
    );
    heard.insert(id(4), Ok(answer(&second, 1, 0, &QuorumSettings { generation: 0, ..first.clone() })));
    heard.insert(id(1), Ok(answer(&second, 1, 1, &first)));
    heard.insert(id(3), Ok(answer(&second, 1, 1, &first)));
    assert_eq!(steps(&second, &heard), "restart n2 with generation 2");
    // All run with it, and nobody has asked under it.
    heard.insert(id(2), Ok(answer(&second, 1, 1, &first)));
    assert!(
        steps(&second, &heard).starts_with("no voter has lent under generation 2 yet"),
        "{}",
        steps(&second, &heard)
    );
    let heard = all(&[1, 2, 3, 4], answer(&second, 1, 5, &second));
    let said = steps(&second, &heard);
    assert_eq!(
        said,
        "generation 2 votes: remove former_voters here and on n1, then n2, then w, then w2, and restart one after the other"
    );
    // The operator has taken it out of this file, and restarted two.
    let settled = QuorumSettings { former: None, ..second.clone() };
    let mut heard = heard;
    for member in [1, 2] {
        heard.insert(id(member), Ok(answer(&settled, 2, 5, &second)));
    }
    assert_eq!(
        steps(&settled, &heard),
        "generation 2 votes: remove former_voters on w, then w2, and restart one after the other"
    );
    assert_eq!(steps(&settled, &all(&[1, 2, 3, 4], answer(&settled, 2, 5, &second))), "");
}

#[test]
fn the_next_change_waits_until_a_majority_has_closed_the_generation_before_the_former() {
    let (second, third) = (quorum(2, &[1, 2, 3, 4], &[]), quorum(3, &[1, 2, 4], &[1, 2, 3, 4]));
    let mut heard = all(&[1, 2, 3, 4], answer(&third, 2, 1, &second));
    assert_eq!(steps(&third, &heard), "wait 2 s: until then a holder of generation 1 may be left");
    // Two are no majority of four, three are.
    for (member, waits) in [(1, true), (2, true), (3, false)] {
        heard.insert(id(member), Ok(answer(&third, 2, 3, &second)));
        assert_eq!(steps(&third, &heard).starts_with("wait 2 s"), waits, "{member}: {}", steps(&third, &heard));
    }
    // One that serves generation 1 for ever is no matter of time.
    let heard = all(&[1, 2, 3, 4], answer(&third, 1, 9, &second));
    assert!(steps(&third, &heard).contains("no longer take generation 1"), "{}", steps(&third, &heard));
}

#[test]
fn a_removed_voter_may_be_gone_once_the_next_generation_votes() {
    let (second, third) = (quorum(2, &[1, 2, 3, 4], &[]), quorum(3, &[1, 2, 4], &[1, 2, 3, 4]));
    let mut heard = all(&[1, 2, 4], answer(&third, 2, 1, &second));
    heard.insert(id(3), Err("gone".into()));
    assert!(steps(&third, &heard).starts_with("w does not answer: gone"), "{}", steps(&third, &heard));
    let mut heard = all(&[1, 2, 4], answer(&third, 2, 9, &third));
    heard.insert(id(3), Err("gone".into()));
    let said = steps(&third, &heard);
    assert!(said.starts_with("generation 3 votes") && said.ends_with("w has no vote any more"), "{said}");
}

#[test]
fn a_file_that_is_wrong_is_said_before_anybody_is_restarted() {
    let (first, second) = (quorum(1, &[1, 2, 3], &[]), quorum(2, &[1, 2, 3, 4], &[1, 2, 3]));
    let mut heard = all(&[1, 2], answer(&first, 1, 9, &first));
    heard.insert(id(3), Ok(answer(&second, 1, 9, &first)));
    assert!(
        steps(&first, &heard).starts_with("w votes in generation 2, newer than this file's 1"),
        "{}",
        steps(&first, &heard)
    );
    // Other voters under the same number.
    let other = quorum(2, &[1, 2, 3, 5], &[1, 2, 3]);
    let heard = all(&[1, 2, 3, 4], answer(&second, 1, 9, &other));
    assert_eq!(steps(&second, &heard).matches("has on record other voters under generation 2").count(), 4);
    let heard = all(&[1, 2, 3, 4], answer(&other, 1, 9, &first));
    assert!(steps(&second, &heard).contains("with other voters or lengths of the lease"), "{}", steps(&second, &heard));
    // A generation that comes from nowhere.
    let alone = quorum(2, &[1, 2, 3], &[]);
    let heard = all(&[1, 2, 3], answer(&alone, 2, 9, &first));
    assert!(steps(&alone, &heard).contains("name those of generation 1 in former_voters"), "{}", steps(&alone, &heard));
}

/// Where only witnesses vote, the nodes have to go along all the same.
#[test]
fn a_node_without_a_vote_is_waited_for_too() {
    let (first, second) = (quorum(1, &[3, 4, 5], &[]), quorum(2, &[3, 4, 5], &[3, 4, 5]));
    let mut heard = all(&[3, 4, 5], answer(&second, 2, 60, &second));
    // It says its generation and nothing else.
    let node = |quorum: &QuorumSettings| answer(quorum, 0, 0, &QuorumSettings { generation: 0, ..first.clone() });
    let said = |heard: &Heard| obstacles(&second, heard);
    heard.insert(id(1), Ok(node(&second)));
    heard.insert(id(2), Err("nothing comes back".into()));
    assert_eq!(said(&heard), "n2 does not answer: nothing comes back");
    heard.insert(id(2), Ok(node(&first)));
    assert_eq!(said(&heard), "restart n2 with generation 2");
    heard.insert(id(2), Ok(node(&second)));
    assert_eq!(said(&heard), "");
    heard.insert(id(2), Ok(node(&quorum(3, &[3, 4, 5], &[3, 4, 5]))));
    assert!(said(&heard).starts_with("n2 runs in generation 3, newer than this file's 2"), "{}", said(&heard));
    // It bears nothing out, whatever it says: the voters' floors are not old enough.
    let third = quorum(3, &[3, 4, 5], &[3, 4, 5]);
    let mut heard = all(&[3, 4, 5], answer(&third, 2, 1, &second));
    heard.extend(all(&[1, 2], answer(&third, 3, 60, &third)));
    assert_eq!(obstacles(&third, &heard), "wait 2 s: until then a holder of generation 1 may be left");
}
