//! From what was seen to what it means: pure sums over a [`Record`].

use crate::history::History;
use crate::netns::observe::events::Said;
use crate::netns::observe::sniffer::Naming;
use crate::netns::record::{NodeRecord, Record};
use crate::outcome::Outcome;
use crate::scenario::{RETURN_MS, Scenario, Two};
use crate::spans::{Spans, millis};

/// Two frames of one node no farther apart than this show that it held the VIP in between.
///
/// The oracle asks every 2 ms, so a holder speaks that often; the rest is room for the machine's stalls.
pub const BRIDGE: u64 = 50_000_000;
/// Silence of all nodes that is longer than this counts as "no holder".
const HUSH: u64 = 10_000_000;
/// Who spoke within this before the end holds the VIP at the end.
const LAST_LOOK: u64 = 200_000_000;

/// E_tx: how long a frame may live behind the gate. What comes out of a node later than this after its gate was
/// certainly shut has passed a shut gate (I9).
const BEHIND_THE_GATE: u64 = 20_000_000;

/// When the frames of a node show it as the holder.
pub fn wire(node: &NodeRecord) -> Spans {
    Spans::from_sightings(instants(node), BRIDGE)
}

fn instants(node: &NodeRecord) -> Vec<u64> {
    let claims = node.sightings.iter().filter(|sighting| sighting.naming != Naming::Advertisement);
    claims.map(|sighting| sighting.at).filter(|&at| !node.paused.contains(at)).collect()
}

/// When some client was answered by each node.
pub fn answered(record: &Record) -> Vec<Spans> {
    let nodes = 0..record.nodes.len();
    let per_node = nodes.map(|node| {
        let answers = record.answers.iter().flatten().filter(|answer| answer.node == node);
        Spans::from_sightings(answers.map(|answer| answer.at).collect(), BRIDGE)
    });
    per_node.collect()
}

/// The silences that a client saw between `record.begin` and `record.end`.
pub fn silences(record: &Record, client: usize) -> Spans {
    let answers = record.answers.get(client).into_iter().flatten();
    Spans::from_sightings(answers.map(|answer| answer.at).collect(), 0).gaps(record.begin, record.end)
}

/// The silence of a client that says most against the cluster: its length, and how much of it the machine
/// kept the client from probing, or the agents from running, at all.
fn worst_silence(record: &Record, client: usize) -> (u64, u64) {
    let none = Spans::new();
    let stalls = record.stalls.get(client).unwrap_or(&none).union(&record.canary);
    let weighed = silences(record, client);
    let weighed = weighed.iter().map(|(from, to)| (to - from, stalls.within(from, to).total()));
    weighed.max_by_key(|(silence, stalled)| silence - stalled).unwrap_or((0, 0))
}

/// When two held at once, by each view.
struct Twos {
    wire: Spans,
    gate: Spans,
    clients: Spans,
}

impl Twos {
    fn of(record: &Record) -> Self {
        let shared = |sets: &[Spans]| Spans::shared_by_two(sets).within(record.begin, record.end);
        let wire = shared(&record.nodes.iter().map(wire).collect::<Vec<_>>());
        let gate = (0..record.nodes.iter().map(|node| node.more_open.len()).max().unwrap_or(0))
            .map(|more| record.nodes.iter().filter_map(|node| node.more_open.get(more).cloned()).collect::<Vec<_>>())
            .map(|sets| shared(&sets))
            .fold(shared(&record.nodes.iter().map(|node| node.open.clone()).collect::<Vec<_>>()), |all, more| {
                all.union(&more)
            });
        Twos { wire, gate, clients: shared(&answered(record)) }
    }

    /// By any view, from the first repair on; and when that was.
    fn after_repair(&self, record: &Record) -> (u64, Spans) {
        let first_repair = record.deeds.iter().find(|deed| deed.repair).map_or(record.end, |deed| deed.at);
        let all = self.wire.union(&self.gate).union(&self.clients);
        (first_repair, all.within(first_repair, record.end))
    }
}

/// The worst client gap, the two-holder times and everything else; without the breaches.
pub fn measure(scenario: &Scenario, record: &Record) -> Outcome {
    let (begin, end) = (record.begin, record.end);
    let twos = Twos::of(record);
    let [wire_ms, gate_ms, client_ms] = [&twos.wire, &twos.gate, &twos.clients].map(|spans| millis(spans.total()));
    let address = record.nodes.iter().map(|node| node.address.clone()).collect::<Vec<_>>();
    let dual_address = Spans::shared_by_two(&address).within(begin, end);
    let (first_repair, two) = twos.after_repair(record);
    let late = two.iter().map(|(_, to)| to).max().map_or(0, |last| last - first_repair);
    let everyone = Spans::from_sightings(record.nodes.iter().flat_map(instants).collect(), HUSH);
    Outcome {
        scenario: scenario.name.to_owned(),
        world: "netns",
        peer: "keepone",
        dual_holder_ms: wire_ms.max(gate_ms).max(client_ms),
        dual_holder_wire_ms: wire_ms,
        dual_holder_gate_ms: gate_ms,
        dual_holder_client_ms: client_ms,
        dual_address_ms: millis(dual_address.total()),
        overlap_after_repair_ms: millis(late),
        behind_shut_gate: behind_shut_gate(record),
        no_holder_ms: millis(everyone.gaps(begin, end).total()),
        client_outage_ms: millis(silences(record, 0).longest()),
        probe_stall_ms: millis(record.stalls.first().map_or(0, |stalls| stalls.within(begin, end).longest())),
        machine_stall_ms: millis(record.canary.within(begin, end).longest()),
        return_ms: returns(record).into_iter().map(|(_, took)| millis(took)).collect(),
        load: record.load,
        final_holder: final_holder(record),
        demotions: demotions(record),
        alerts: alerts(record),
        ..Outcome::default()
    }
}

/// From each repair to where service has come back for good, by client: to the next answer, or to the end of
/// the last silence of more than [`RETURN_MS`] before anything else is done. When the repair was, and how long it took.
///
/// The second part is for those who lose their service *because* of a repair, as when a stopped rival wakes
/// up, takes the address and lets go of it again without a word.
fn returns(record: &Record) -> Vec<(u64, u64)> {
    let mut returns = Vec::new();
    for (place, repair) in record.deeds.iter().enumerate().filter(|(_, deed)| deed.repair) {
        let until = record.deeds.get(place + 1).map_or(record.end, |next| next.at);
        for (client, answers) in record.answers.iter().enumerate() {
            let next = answers.iter().map(|answer| answer.at).find(|&at| at >= repair.at).unwrap_or(record.end);
            let long = silences(record, client).within(repair.at, until);
            let last = long.iter().filter(|(from, to)| to - from > RETURN_MS * 1_000_000).map(|(_, to)| to).max();
            returns.push((repair.at, last.unwrap_or(next).saturating_sub(repair.at)));
        }
    }
    returns
}

fn final_holder(record: &Record) -> String {
    let last = |node: &&NodeRecord| {
        let recent = record.end.saturating_sub(LAST_LOOK)..=record.end;
        instants(node).iter().any(|at| recent.contains(at))
    };
    let names: Vec<&str> = record.nodes.iter().filter(last).map(|node| node.name.as_str()).collect();
    if names.is_empty() { "none".to_owned() } else { names.join("+") }
}

fn name(record: &Record, node: usize) -> &str {
    record.nodes.get(node).map_or("?", |node| node.name.as_str())
}

/// The agents' words from the beginning of the scenario on.
fn said(record: &Record) -> impl Iterator<Item = (&str, &Said)> {
    let events = record.events.iter().filter(|event| event.at >= record.begin);
    events.map(|event| (name(record, event.node), &event.said))
}

fn demotions(record: &Record) -> Vec<String> {
    let lost = said(record).filter_map(|(node, said)| match said {
        Said::Transition { from, to, reason, .. } if from.eq_ignore_ascii_case("master") => {
            Some(format!("{node}: {from} → {to} ({reason})"))
        }
        _ => None,
    });
    lost.collect()
}

fn alerts(record: &Record) -> Vec<String> {
    let raised = said(record).filter_map(|(node, said)| match said {
        Said::Alert { name, raised: true, .. } => Some(format!("{node}: {name}")),
        _ => None,
    });
    let mut alerts: Vec<String> = raised.collect();
    alerts.sort();
    alerts.dedup();
    alerts
}

/// Milliseconds as reports have them.
fn in_ms(ms: u64) -> f64 {
    millis(ms.saturating_mul(1_000_000))
}

/// How many frames that name the VIP came out of a node whose gate had certainly been shut for E_tx.
///
/// The lines of this world are the machine's work too: while it let no agent run, it carried no frame either, and one
/// that had passed the gate in time came out of the line as much later.
fn behind_shut_gate(record: &Record) -> usize {
    let kept_back = |from: u64, at: u64| record.canary.within(from, at).total();
    let of = |node: &NodeRecord| {
        let shut: Vec<(u64, u64)> = node.shut.iter().filter(|(from, to)| to - from > BEHIND_THE_GATE).collect();
        let late = |at: u64| {
            let span = shut.iter().find(|(from, to)| (*from..*to).contains(&at));
            span.is_some_and(|(from, _)| at - from >= BEHIND_THE_GATE + kept_back(*from, at))
        };
        let seen = node.sightings.iter().map(|sighting| sighting.at);
        let seen = seen.filter(|at| (record.begin..record.end).contains(at) && !node.paused.contains(*at));
        seen.filter(|at| late(*at)).count()
    };
    record.nodes.iter().map(of).sum()
}

/// Everything that the scenario demands and that was not so, in words.
pub fn breaches(scenario: &Scenario, record: &Record, outcome: &Outcome) -> Vec<String> {
    let demands = &scenario.demands;
    let mut breaches = Vec::new();
    let mut breach = |text: String| breaches.push(text);
    match demands.two {
        Two::Never => {
            for (view, ms) in [
                ("on the wire", outcome.dual_holder_wire_ms),
                (if outcome.peer == "keepone" { "by gates" } else { "by addresses" }, outcome.dual_holder_gate_ms),
                ("by clients", outcome.dual_holder_client_ms),
            ] {
                if ms > 0.0 {
                    breach(format!("two holders for {ms} ms {view}"));
                }
            }
        }
        Two::UntilHealed(limit) => {
            // P2's bound is a promise: no slack stretches it. What is left out is only the time within the overlap
            // in which no agent could have run.
            let (limit, ms) = (in_ms(scenario.bound(limit)), outcome.overlap_after_repair_ms);
            let stalled = millis(Twos::of(record).after_repair(record).1.intersection(&record.canary).total());
            if ms > limit + stalled {
                breach(format!(
                    "two holders until {ms} ms after the first repair, {stalled} of them the machine's, limit {limit}"
                ));
            }
        }
    }
    let (outage_limit, return_limit) = (in_ms(scenario.limit(scenario.outage())), in_ms(scenario.limit(demands.back)));
    let (silence, stalled) = worst_silence(record, 0);
    if millis(silence - stalled) > outage_limit {
        let (silence, stalled) = (millis(silence), millis(stalled));
        breach(format!(
            "the client had no answer for {silence} ms, {stalled} of them the machine's, limit {outage_limit}"
        ));
    }
    for (at, took) in returns(record) {
        // Only what the machine cost between the repair and the answer: a stall at another time explains nothing.
        let stalled = record.canary.within(at, at + took).total();
        if millis(took - stalled) > return_limit {
            let (took, stalled) = (millis(took), millis(stalled));
            breach(format!(
                "a client was answered only {took} ms after a repair, {stalled} of them the machine's, limit {return_limit}"
            ));
        }
    }
    let wanted = demands.final_holder.map(|who| match who {
        crate::fault::Who::Master => record.first_holder,
        _ => usize::from(record.first_holder == 0),
    });
    match wanted.map(|node| name(record, node)) {
        Some(wanted) if wanted != outcome.final_holder => {
            breach(format!("{} holds the VIP in the end, {wanted} should", outcome.final_holder));
        }
        None if demands.silent_after.is_some() => {}
        None if outcome.final_holder == "none" || outcome.final_holder.contains('+') => {
            breach(format!("{} holds the VIP in the end, one node should", outcome.final_holder));
        }
        _ => {}
    }
    if let Some(limit) = demands.silent_after {
        let from = record.deeds.last().map_or(record.begin, |deed| deed.at);
        let last = record.nodes.iter().flat_map(instants).filter(|at| *at <= record.end).max().unwrap_or(0);
        let (held, limit) = (millis(last.saturating_sub(from)), in_ms(scenario.bound(limit)));
        if held > limit {
            breach(format!("somebody held the VIP until {held} ms after the last deed, limit {limit}"));
        }
    }
    if demands.keeps_holder {
        for (node, seen) in record.nodes.iter().enumerate().filter(|(node, _)| *node != record.first_holder) {
            let held = wire(seen).within(record.begin, record.end).total();
            if held > 0 {
                breach(format!(
                    "{} held the VIP for {} ms, and nothing called for it",
                    name(record, node),
                    millis(held)
                ));
            }
        }
    }
    breaches
}

/// What must hold of keepone in particular: its gates are seen, its words fit.
pub fn own_breaches(scenario: &Scenario, record: &Record, outcome: &Outcome) -> Vec<String> {
    let mut breaches = record.surprises.clone();
    if record.nodes.iter().all(|node| node.open.within(record.begin, record.end).is_empty()) {
        breaches.push("no gate was seen open: nothing is proven by gates".to_owned());
    }
    if outcome.behind_shut_gate > 0 {
        breaches.push(format!("{} frames named the VIP behind a shut gate (I9)", outcome.behind_shut_gate));
    }
    // Without an authority nobody makes epochs rise over the whole cluster.
    if scenario.demands.two == Two::Never && scenario.needs.authority != Some(false) {
        breaches.extend(History::of(record).breaches());
    }
    for wanted in scenario.demands.alerts {
        if !outcome.alerts.iter().any(|alert| alert.ends_with(&format!(": {wanted}"))) {
            breaches.push(format!("nobody raised the alert {wanted}"));
        }
    }
    let suspected = outcome.alerts.iter().filter(|alert| alert.ends_with(": dual-master"));
    // A claim that came late, and was told as that too.
    let late = |alert: &str| {
        let claimed = alert.replace(": dual-master", ": address-claimed");
        scenario.has_late_frames() && outcome.alerts.contains(&claimed)
    };
    let suspected = suspected.filter(|alert| !late(alert));
    for alert in suspected.filter(|_| scenario.demands.two == Two::Never && !scenario.is_attacked()) {
        breaches.push(format!("the alert {alert} was raised, and there never were two"));
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deed::{self, Weather};
    use crate::fault::{Fault, Who};
    use crate::netns::observe::client::Answer;
    use crate::netns::observe::sniffer::Sighting;
    use crate::netns::record::Deed;
    use crate::scenario::{CALM, Demands, Limit, PLAIN, Step};

    const MS: u64 = 1_000_000;

    const SCENARIO: Scenario = Scenario {
        name: "test",
        what: "",
        steps: &[],
        lasts_ms: 1000,
        demands: Demands {
            two: Two::Never,
            outage: Limit::ms(50),
            back: Limit::ms(100),
            keeps_holder: false,
            final_holder: Some(Who::Backup),
            alerts: &[],
            silent_after: None,
        },
        ..PLAIN
    };

    /// Each node speaks, and answers the client, every millisecond of its span.
    fn record(first: (u64, u64), second: (u64, u64)) -> Record {
        let mut record = Record { begin: 0, end: 1000 * MS, answers: vec![Vec::new()], ..Record::default() };
        for (node, (from, to)) in [first, second].into_iter().enumerate() {
            let instants = (from..to).map(|ms| ms * MS);
            record.answers[0].extend(instants.clone().map(|at| Answer { at, node }));
            record.nodes.push(NodeRecord {
                name: format!("n{}", node + 1),
                sightings: instants.map(|at| Sighting { at, naming: Naming::Ip }).collect(),
                open: Spans::from_pairs(vec![(from * MS, to * MS)]),
                ..NodeRecord::default()
            });
        }
        record.answers[0].sort_by_key(|answer| answer.at);
        record
    }

    #[test]
    fn a_clean_handover_has_no_breach() {
        let record = record((0, 500), (520, 1000));
        let outcome = measure(&SCENARIO, &record);
        assert_eq!(breaches(&SCENARIO, &record, &outcome), Vec::<String>::new());
        assert_eq!(outcome.final_holder, "n2");
        assert!((20.0..23.0).contains(&outcome.client_outage_ms), "{}", outcome.client_outage_ms);
        assert!((20.0..22.0).contains(&outcome.no_holder_ms), "{}", outcome.no_holder_ms);
    }

    #[test]
    fn an_alarm_of_two_is_excused_only_by_a_claim_that_came_late() {
        let weather = |delay_ms| Weather { lost: 0, doubled: 0, delay_ms, jitter_ms: 0 };
        let steps = |delay_ms| {
            let fault =
                Fault::Real(deed::Deed::Weather { from: Who::Others, to: Who::Master, weather: weather(delay_ms) });
            [Step { at_ms: 0, fault, label: "" }]
        };
        let record = record((0, 500), (520, 1000));
        let breaches = |delay_ms, alerts: &[&str]| {
            let steps: &'static [Step] = steps(delay_ms).to_vec().leak();
            let mut outcome = measure(&SCENARIO, &record);
            outcome.alerts = alerts.iter().map(|alert| (*alert).to_owned()).collect();
            let found = own_breaches(&Scenario { steps, ..SCENARIO }, &record, &outcome);
            found.iter().filter(|breach| breach.contains("never were two")).count()
        };
        assert_eq!(breaches(200, &["n2: dual-master", "n2: address-claimed"]), 0);
        assert_eq!(breaches(200, &["n2: dual-master", "n1: address-claimed"]), 1, "another node was told of the claim");
        assert_eq!(breaches(10, &["n2: dual-master", "n2: address-claimed"]), 1, "nothing is so late there");
    }

    #[test]
    fn three_milliseconds_of_two_holders_are_seen_from_every_side() {
        let record = record((0, 503), (500, 1000));
        let outcome = measure(&SCENARIO, &record);
        for seen in [outcome.dual_holder_wire_ms, outcome.dual_holder_gate_ms, outcome.dual_holder_client_ms] {
            assert!((2.0..=3.0).contains(&seen), "{seen}");
        }
        assert_eq!(breaches(&SCENARIO, &record, &outcome).len(), 3);
    }

    #[test]
    fn frames_of_a_machine_that_stands_still_went_nowhere() {
        let mut record = record((0, 1000), (400, 1000));
        record.nodes[0].paused = Spans::from_pairs(vec![(300 * MS, 1001 * MS)]);
        let outcome = measure(&SCENARIO, &record);
        assert!(outcome.dual_holder_wire_ms == 0.0 && outcome.dual_holder_gate_ms > 0.0);
        assert_eq!(outcome.final_holder, "n2");
    }

    #[test]
    fn who_holds_for_too_long_after_the_last_deed_is_told_where_all_must_fall_silent() {
        let mut record = record((0, 500), (0, 0));
        record.deeds = vec![Deed { at: 200 * MS, label: "gone", repair: false }];
        let told = |ms: u64| {
            let demands =
                Demands { silent_after: Some(Limit::ms(ms)), final_holder: None, outage: Limit::ms(9000), ..CALM };
            let scenario = Scenario { demands: Demands { keeps_holder: false, ..demands }, ..SCENARIO }.with_slack(3);
            breaches(&scenario, &record, &measure(&scenario, &record))
        };
        assert_eq!(told(299), Vec::<String>::new(), "a silence at the end is what is wanted");
        assert!(told(250).iter().any(|breach| breach.contains("until 299 ms after the last deed, limit 250")));
    }

    #[test]
    fn a_frame_behind_a_gate_that_was_shut_for_e_tx_is_counted_and_one_in_flight_is_not() {
        let mut record = record((0, 500), (520, 1000));
        record.nodes[0].shut = Spans::from_pairs(vec![(480 * MS, 1000 * MS)]);
        assert_eq!(measure(&SCENARIO, &record).behind_shut_gate, 0);
        record.nodes[0].shut = Spans::from_pairs(vec![(475 * MS, 1000 * MS)]);
        let outcome = measure(&SCENARIO, &record);
        assert_eq!(outcome.behind_shut_gate, 5);
        assert_eq!(own_breaches(&SCENARIO, &record, &outcome).len(), 1);
        let kept_back = |from: u64, to: u64| {
            let canary = Spans::from_pairs(vec![(from * MS, to * MS)]);
            measure(&SCENARIO, &Record { canary, ..record.clone() }).behind_shut_gate
        };
        assert_eq!((kept_back(476, 479), kept_back(476, 490)), (2, 0), "as much longer as the machine stood still");
        assert_eq!(kept_back(400, 470), 5, "which was before");
    }

    #[test]
    fn without_an_authority_two_holders_must_end_soon_after_the_first_repair() {
        let demands = Demands { two: Two::UntilHealed(Limit::ms(120)), ..SCENARIO.demands };
        let scenario = Scenario { demands, ..SCENARIO };
        let breaches_with = |until: u64| {
            let mut record = record((0, until), (300, 1000));
            record.deeds.push(Deed { at: 600 * MS, label: "healed", repair: true });
            breaches(&scenario, &record, &measure(&scenario, &record)).len()
        };
        assert_eq!((breaches_with(700), breaches_with(730)), (0, 1));
    }

    #[test]
    fn no_slack_stretches_how_long_two_may_hold_and_only_a_stall_within_the_overlap_excuses() {
        let demands = Demands { two: Two::UntilHealed(Limit::ms(120)), ..SCENARIO.demands };
        let scenario = Scenario { demands, ..SCENARIO }.with_slack(10);
        let breaches_with = |stall: (u64, u64)| {
            let mut record = record((0, 730), (300, 1000));
            record.deeds.push(Deed { at: 600 * MS, label: "healed", repair: true });
            record.canary = Spans::from_pairs(vec![(stall.0 * MS, stall.1 * MS)]);
            breaches(&scenario, &record, &measure(&scenario, &record)).len()
        };
        assert_eq!(breaches_with((0, 0)), 1, "130 ms where 120 are promised");
        assert_eq!((breaches_with((650, 670)), breaches_with((500, 600)), breaches_with((740, 900))), (0, 1, 1));
    }

    #[test]
    fn a_late_return_and_a_long_silence_are_breaches() {
        let mut record = record((0, 500), (800, 1000));
        record.deeds.push(Deed { at: 600 * MS, label: "healed", repair: true });
        let outcome = measure(&SCENARIO, &record);
        assert_eq!(outcome.return_ms, [200.0]);
        assert_eq!(breaches(&SCENARIO, &record, &outcome).len(), 2);
    }

    #[test]
    fn a_late_return_is_excused_by_a_stall_within_it_and_by_no_other() {
        let breaches_with = |stall: (u64, u64)| {
            let mut record = record((0, 600), (750, 1000));
            record.deeds.push(Deed { at: 600 * MS, label: "healed", repair: true });
            record.canary = Spans::from_pairs(vec![(stall.0 * MS, stall.1 * MS)]);
            let scenario = Scenario { demands: Demands { outage: Limit::ms(1000), ..SCENARIO.demands }, ..SCENARIO };
            breaches(&scenario, &record, &measure(&scenario, &record)).len()
        };
        assert_eq!(breaches_with((0, 0)), 1, "150 ms where 100 are allowed");
        assert_eq!((breaches_with((650, 705)), breaches_with((300, 400)), breaches_with((800, 900))), (0, 1, 1));
    }

    #[test]
    fn what_the_machine_kept_from_the_client_is_not_held_against_the_cluster() {
        let mut record = record((0, 500), (600, 1000));
        let outcome = measure(&SCENARIO, &record);
        assert_eq!(breaches(&SCENARIO, &record, &outcome).len(), 1, "100 ms where 50 are allowed");
        record.stalls = vec![Spans::from_pairs(vec![(520 * MS, 590 * MS)])];
        let outcome = measure(&SCENARIO, &record);
        assert_eq!(breaches(&SCENARIO, &record, &outcome), Vec::<String>::new());
        assert!(outcome.client_outage_ms > 99.0 && outcome.probe_stall_ms == 70.0, "it is reported all the same");
    }

    #[test]
    fn a_service_that_a_repair_costs_again_has_not_returned() {
        let mut record = record((0, 500), (800, 1000));
        record.deeds.push(Deed { at: 300 * MS, label: "healed", repair: true });
        assert_eq!(measure(&SCENARIO, &record).return_ms, [500.0]);
        record.deeds.push(Deed { at: 400 * MS, label: "killed", repair: false });
        assert_eq!(measure(&SCENARIO, &record).return_ms, [0.0], "what comes after the next deed is its own");
    }

    #[test]
    fn a_holder_that_should_have_stayed_is_missed() {
        let scenario = Scenario { demands: Demands { keeps_holder: true, ..SCENARIO.demands }, ..SCENARIO };
        let record = record((0, 500), (520, 1000));
        let outcome = measure(&scenario, &record);
        assert_eq!(breaches(&scenario, &record, &outcome).len(), 1);
    }

    #[test]
    fn an_observer_that_saw_nothing_proves_nothing() {
        let mut record = record((0, 500), (520, 1000));
        for node in &mut record.nodes {
            node.open = Spans::new();
        }
        let outcome = measure(&SCENARIO, &record);
        assert_eq!(own_breaches(&SCENARIO, &record, &outcome).len(), 1);
    }
}
