//! What a pause must not have done, from what was seen on the wires.

use std::time::Duration;

use keepone_proto::lease::timing::LeaseTiming;

use super::{MS, PACE, Pause, Report};
use crate::sim::overlap_bound;
use crate::spans::{Spans, millis};

/// Of these the guest must raise one that has slept beyond H: its clock, its rival or its lease tells it.
const TOLD_BY: [&str; 3] = ["clock-assumption-violated", "dual-master", "lease-lost"];
/// Two frames of a node that are no further apart are one span.
const BRIDGE: u64 = 50 * MS;
/// One case, before the wire's record is there.
pub(super) struct Case {
    pub(super) pause: Pause,
    pub(super) asked: u64,
    pub(super) begin: u64,
    pub(super) resumed: u64,
    pub(super) end: u64,
    pub(super) hidden: [i64; 3],
    pub(super) error: u64,
    pub(super) alerts: Vec<String>,
}

/// G/(1−ρ): how long two may hold at most after a pause beyond H.
fn bound() -> u64 {
    let timing = LeaseTiming {
        hidden_freeze: Duration::from_millis(PACE.hidden_freeze_ms),
        ..LeaseTiming::for_lease(Duration::from_millis(PACE.lease_ms))
    };
    overlap_bound(&timing, 0)
}

/// `spoke`: by node, when it sent a frame that names the VIP.
pub(super) fn judge(case: &Case, spoke: &[Vec<u64>]) -> Report {
    let of_case = |instants: &Vec<u64>| {
        instants.iter().copied().filter(|at| (case.begin..case.end).contains(at)).collect::<Vec<u64>>()
    };
    let frames: Vec<Vec<u64>> = spoke.iter().map(of_case).collect();
    let within: Vec<Spans> = frames.iter().map(|frames| Spans::from_sightings(frames.clone(), BRIDGE)).collect();
    let overlap = Spans::shared_by_two(&within).total();
    // A single late frame is no measurable time, and still one too many.
    let late = frames
        .first()
        .zip(within.get(1))
        .map_or(0, |(frames, other)| frames.iter().filter(|at| other.contains(**at)).count());
    let taken_over = within.get(1).is_some_and(|spans| !spans.is_empty());
    let lasted = case.resumed - case.begin;
    let mut violations = Vec::new();
    let allowed = match case.pause {
        Pause::Visible => 0,
        // Within H nothing can happen at all; beyond, no more than the gate's deadline is left.
        Pause::Hidden if case.asked <= PACE.hidden_freeze_ms => 0,
        Pause::Hidden | Pause::HiddenDeaf | Pause::Snapshot => bound(),
    };
    if allowed > 0 && !case.alerts.iter().any(|alert| TOLD_BY.contains(&alert.as_str())) {
        violations.push(format!("the guest raised none of {TOLD_BY:?}"));
    }
    if late > 0 && allowed == 0 {
        violations.push(format!("{late} frames of the one that stood still while the other held"));
    }
    if overlap > allowed {
        violations.push(format!("two holders for {} ms, where {} ms are allowed", millis(overlap), millis(allowed)));
    }
    let expected = lasted > (PACE.lease_ms + 1000) * MS || case.pause == Pause::Snapshot;
    if expected && !taken_over {
        violations.push("the other node did not take over".to_owned());
    }
    let hidden = case.hidden.map(|nanos| millis(nanos.unsigned_abs()) * if nanos < 0 { -1.0 } else { 1.0 });
    let [hidden_mono_ms, hidden_boot_ms, hidden_wall_ms] = hidden;
    Report {
        pause: case.pause.as_str(),
        asked_ms: case.asked,
        lasted_ms: millis(lasted),
        hidden_mono_ms,
        hidden_boot_ms,
        hidden_wall_ms,
        clock_error_ms: millis(case.error),
        overlap_ms: millis(overlap),
        late_frames: late,
        taken_over,
        alerts: case.alerts.clone(),
        violations,
    }
}

/// The names of the alerts that began, each once, in the words of an event log.
pub(super) fn alerts(events: &str) -> Vec<String> {
    let mut names = Vec::new();
    for line in events.lines() {
        let Ok(event) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        let is_alert = event.get("kind").and_then(serde_json::Value::as_str) == Some("alert");
        let raised = event.get("raised").and_then(serde_json::Value::as_bool) == Some(true);
        if let Some(name) = event.get("name").and_then(serde_json::Value::as_str)
            && is_alert
            && raised
            && !names.iter().any(|known| known == name)
        {
            names.push(name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(pause: Pause, asked: u64, lasted_ms: u64) -> Case {
        let begin = 1000 * MS;
        let resumed = begin + lasted_ms * MS;
        let end = resumed + 10_000 * MS;
        Case { pause, asked, begin, resumed, end, hidden: [0; 3], error: 0, alerts: vec!["dual-master".to_owned()] }
    }

    /// A frame each millisecond.
    fn frames(from_ms: u64, to_ms: u64) -> Vec<u64> {
        (from_ms..to_ms).map(|at| at * MS).collect()
    }

    #[test]
    fn one_millisecond_of_two_holders_is_too_much_after_a_visible_pause_and_allowed_after_a_hidden_one() {
        let spoke = [frames(0, 6502), frames(6500, 20_000)];
        let violations = |pause, asked| judge(&case(pause, asked, 5500), &spoke).violations.len();
        assert_eq!((violations(Pause::Visible, 5500), violations(Pause::Hidden, 5500)), (2, 0));
        assert_eq!(violations(Pause::Hidden, 300), 2, "within H nothing may happen");
        let one = [vec![6600 * MS], frames(6500, 20_000)];
        assert!(!judge(&case(Pause::Visible, 5500, 5500), &one).violations.is_empty(), "a single late frame");
    }

    #[test]
    fn after_a_hidden_pause_two_hold_no_longer_than_the_gate_would_be_open() {
        let bound = bound() / MS;
        assert!((3300..3600).contains(&bound), "{bound} ms of a lease of {} ms", PACE.lease_ms);
        let violations = |together_ms| {
            let spoke = [frames(0, 6500 + together_ms), frames(6500, 20_000)];
            judge(&case(Pause::Hidden, 5500, 5500), &spoke).violations.len()
        };
        assert_eq!((violations(bound - 10), violations(bound + 10)), (0, 1));
    }

    #[test]
    fn who_has_slept_beyond_h_says_so() {
        let spoke = [frames(0, 1000), frames(6500, 20_000)];
        let quiet = |pause, asked| {
            let case = Case { alerts: vec!["vrrp-silent".to_owned()], ..case(pause, asked, asked) };
            judge(&case, &spoke).violations.len()
        };
        assert_eq!((quiet(Pause::Hidden, 5500), quiet(Pause::Snapshot, 15_000)), (1, 1));
        assert_eq!((quiet(Pause::Hidden, 300), quiet(Pause::Visible, 5500)), (0, 0));
    }

    #[test]
    fn nobody_taking_over_from_a_long_pause_is_no_proof() {
        let spoke = [frames(0, 1000), Vec::new()];
        assert_eq!(judge(&case(Pause::Visible, 6000, 6000), &spoke).violations.len(), 1);
        assert!(judge(&case(Pause::Visible, 100, 100), &spoke).violations.is_empty());
    }

    #[test]
    fn alerts_are_named_once_and_only_when_they_begin() {
        let log = "{\"kind\":\"alert\",\"name\":\"lease-lost\",\"raised\":true}\ncut {\n\
                   {\"kind\":\"alert\",\"name\":\"lease-lost\",\"raised\":true}\n\
                   {\"kind\":\"alert\",\"name\":\"link-down\",\"raised\":false}\n";
        assert_eq!(alerts(log), ["lease-lost"]);
    }
}
