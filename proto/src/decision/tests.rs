extern crate std;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use std::path::Path;

use super::*;
use crate::id::{Epoch, Incarnation, NodeId};
use crate::time::Instant;

const HEALTH: [Health; 6] = [
    Health::Healthy,
    Health::ClockOff,
    Health::InterfaceDown,
    Health::TrackerFails,
    Health::GateBroken,
    Health::Leaving,
];
const REFERENCES: [References; 4] =
    [References::Unconfigured, References::Reachable, References::LostHere, References::LostEverywhere];
const PEERS: [Peers; 7] = [
    Peers::Absent,
    Peers::Silent,
    Peers::NoMaster,
    Peers::SeenElsewhere,
    Peers::Master,
    Peers::RivalYields,
    Peers::RivalWins,
];
const ELECTION: [Election; 3] = [Election::Lost, Election::Won, Election::Preempts];

fn leases() -> [Lease; 9] {
    let epoch = Epoch { counter: 1, incarnation: Incarnation(1), attempt: 1, node: NodeId::new(1).unwrap() };
    let held = |backing| Lease::Held(Grant::forged_by(backing, epoch, Instant::from_nanos(1)));
    [
        Lease::Vacant,
        held(Backing::Authority),
        held(Backing::Promises),
        held(Backing::Nobody),
        Lease::Refused,
        Lease::Unanswered,
        Lease::Unruled,
        Lease::Bound,
        Lease::Lapsed,
    ]
}

fn every_view() -> Vec<View> {
    let mut views = Vec::new();
    for health in HEALTH {
        for references in REFERENCES {
            for peers in PEERS {
                for election in ELECTION {
                    for lease in leases() {
                        views.push(View { health, references, peers, election, lease });
                    }
                }
            }
        }
    }
    views
}

fn lease_word(lease: Lease) -> &'static str {
    match lease {
        Lease::Vacant => "Vacant",
        Lease::Held(grant) => match grant.backing() {
            Backing::Authority => "Held",
            Backing::Promises => "Promised",
            Backing::Nobody => "Alone",
        },
        Lease::Refused => "Refused",
        Lease::Unanswered => "Unanswered",
        Lease::Unruled => "Unruled",
        Lease::Bound => "Bound",
        Lease::Lapsed => "Lapsed",
    }
}

fn verdict_words(verdict: Verdict) -> String {
    let (word, reason) = match verdict {
        Verdict::Master(_, reason) => ("Master", reason),
        Verdict::Claim(reason) => ("Claim", reason),
        Verdict::Wait(reason) => ("Wait", reason),
        Verdict::Yield(reason) => ("Yield", reason),
        Verdict::Fenced(reason) => ("Fenced", reason),
        Verdict::Fault(reason) => ("Fault", reason),
    };
    format!("{word:<6} {reason}")
}

/// Every row, one a line: the diff of this file shows each case that a change moves.
#[test]
fn every_row_is_as_reviewed() {
    let mut table = String::from("health        references     peers         election lease      | verdict\n");
    for view in every_view() {
        let line = format!(
            "{:<13} {:<14} {:<13} {:<8} {:<10} | {}\n",
            format!("{:?}", view.health),
            format!("{:?}", view.references),
            format!("{:?}", view.peers),
            format!("{:?}", view.election),
            lease_word(view.lease),
            verdict_words(decide(&view)),
        );
        table.push_str(&line);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/decision/table.snap");
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let reviewed = std::fs::read_to_string(&path).unwrap();
    for (now, then) in table.lines().zip(reviewed.lines()) {
        assert_eq!(now, then, "a row moved; review it, then UPDATE=1");
    }
    assert_eq!(table.lines().count(), reviewed.lines().count());
}

#[test]
fn master_needs_health_an_election_and_a_live_lease() {
    let mut masters = 0;
    for view in every_view() {
        if let Verdict::Master(grant, _) = decide(&view) {
            masters += 1;
            assert_eq!(view.lease, Lease::Held(grant), "{view:?}");
            assert_eq!(view.health, Health::Healthy, "{view:?}");
            assert_ne!(view.election, Election::Lost, "{view:?}");
            assert_ne!(view.peers, Peers::RivalWins, "{view:?}");
        }
    }
    assert_eq!(masters, 96, "96 of 4536 views");
}

#[test]
fn a_lapse_is_fenced_whatever_else_is_seen_d5() {
    for view in every_view().into_iter().filter(|view| view.lease == Lease::Lapsed) {
        assert_eq!(decide(&view), Verdict::Fenced(Reason::LeaseLost), "{view:?}");
    }
}

#[test]
fn nobody_claims_while_a_peer_is_seen_to_be_master_d1() {
    let seen = [Peers::Master, Peers::RivalWins, Peers::RivalYields];
    for view in every_view().into_iter().filter(|view| seen.contains(&view.peers)) {
        assert!(!matches!(decide(&view), Verdict::Claim(_)), "{view:?}");
    }
}

#[test]
fn nobody_claims_under_its_own_promise_i13() {
    for view in every_view().into_iter().filter(|view| view.lease == Lease::Bound) {
        assert!(!matches!(decide(&view), Verdict::Claim(_) | Verdict::Master(..)), "{view:?}");
    }
}

#[test]
fn nobody_claims_against_a_master_that_a_third_party_sees_d3() {
    for view in every_view().into_iter().filter(|view| view.peers == Peers::SeenElsewhere) {
        assert!(!matches!(decide(&view), Verdict::Claim(_)), "{view:?}");
    }
}

#[test]
fn only_a_silent_authority_and_the_operators_word_make_a_claim_without_leave_d4() {
    for view in every_view() {
        let alone = decide(&view) == Verdict::Claim(Reason::WithoutAuthority);
        assert!(!alone || (view.lease == Lease::Unruled && view.election == Election::Won), "{view:?}");
    }
}

#[test]
fn who_reaches_neither_peer_nor_reference_neither_claims_nor_holds_d2() {
    for view in every_view() {
        let lost = matches!(view.references, References::LostHere | References::LostEverywhere);
        if lost && matches!(view.peers, Peers::Silent | Peers::Absent) {
            assert!(!matches!(decide(&view), Verdict::Claim(_) | Verdict::Master(..)), "{view:?}");
        }
    }
}

#[test]
fn references_that_everybody_lost_demote_nobody_i16() {
    for view in every_view() {
        if view.references != References::LostEverywhere || matches!(view.peers, Peers::Silent | Peers::Absent) {
            continue;
        }
        let reachable = View { references: References::Reachable, ..view };
        assert_eq!(decide(&view), decide(&reachable), "{view:?}");
    }
}

#[test]
fn less_evidence_never_makes_a_master() {
    for view in every_view().into_iter().filter(|view| !matches!(decide(view), Verdict::Master(..))) {
        for lease in leases().into_iter().filter(|lease| !matches!(lease, Lease::Held(_))) {
            assert!(!matches!(decide(&View { lease, ..view }), Verdict::Master(..)));
        }
    }
}
