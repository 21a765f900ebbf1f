//! What an agent that runs here has seen itself: its alerts, and packets that it could make nothing of.

use std::collections::BTreeMap;
use std::time::Duration;

use keepone_arbiter::control::{AskError, Request, ask};
use serde_json::Value;

use super::{Finding, Report, Severity};
use crate::assemble::Plan;
use crate::control;

/// Longer than the agent's socket waits for the decision thread: it says why itself.
const PATIENCE: Duration = Duration::from_secs(3);
/// More alerts than that are no help.
const MOST: usize = 256;

/// What each counter means that is not zero.
const COUNTERS: [(&str, &str, &str); 4] = [
    (
        "keepone_bad_advertisements_total",
        "Advertisements were malformed, of another version or of a configuration that does not fit",
        "`tcpdump -nvi INTERFACE ip proto 112` shows their senders; compare version, VRID, interval and addresses with theirs",
    ),
    (
        "keepone_unauthentic_advertisements_total",
        "Advertisements were not authentic",
        "`tcpdump -nvi INTERFACE ip proto 112` shows their senders; compare the passwords or keys",
    ),
    (
        "keepone_bad_beats_total",
        "heartbeats could not be read",
        "compare the nodes' versions, and look who else sends to the heartbeat port",
    ),
    (
        "keepone_bad_lease_messages_total",
        "lease messages could not be read",
        "compare the versions of nodes and witnesses",
    ),
];

/// Asks it, if there is one.
pub(super) fn look(plan: &Plan, report: &mut Report) {
    let socket = control::socket(&plan.run_dir);
    let status = match ask(&socket, &Request::new("status"), PATIENCE) {
        Ok(status) => status,
        Err(AskError::Nobody { error, .. })
            if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused) =>
        {
            return;
        }
        Err(error) => return report.skipped.push(format!("the agent that runs here: {error}")),
    };
    for finding in alerts(&status) {
        report.add(finding);
    }
    if let Ok(Value::String(metrics)) = ask(&socket, &Request::new("metrics"), PATIENCE) {
        report.findings.extend(counters(&metrics));
    }
}

fn alerts(status: &Value) -> Vec<Finding> {
    let text = |alert: &Value, name: &str| alert.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let all = status.get("alerts").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let seen = |evidence: &str| if evidence.is_empty() { String::new() } else { format!(" Seen: {evidence}.") };
    let finding = |alert: &Value| {
        let domain = alert.get("domain").and_then(Value::as_str).map(|domain| format!(" of {domain}"));
        Finding {
            name: "alert",
            severity: if text(alert, "severity") == "critical" { Severity::Fault } else { Severity::Warning },
            place: format!("{}{}", text(alert, "name"), domain.unwrap_or_default()),
            what: format!("the agent that runs here says: {}{}", text(alert, "what"), seen(&text(alert, "evidence"))),
            remedy: text(alert, "remedy"),
        }
    };
    all.iter().take(MOST).map(finding).collect()
}

fn counters(metrics: &str) -> Vec<Finding> {
    let values: BTreeMap<&str, f64> = metrics
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
        .collect();
    let counted = |(name, what, remedy): &(&'static str, &str, &str)| {
        let count = values.get(name).copied().filter(|count| *count > 0.0)?;
        Some(Finding::warning("bad-packets", name, format!("{count} {what} since the worker's start"), *remedy))
    };
    COUNTERS.iter().filter_map(counted).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_agent_alarms_of_is_found_with_its_remedy() {
        let alert = |severity| json!({ "name": "x", "domain": "VI_1", "severity": severity, "what": "w", "evidence": "e", "remedy": "r" });
        let found = alerts(&json!({ "alerts": [alert("warning"), alert("critical")] }));
        assert_eq!(found.iter().map(|one| one.severity).collect::<Vec<_>>(), [Severity::Warning, Severity::Fault]);
        assert_eq!(found.first().map(|one| (one.place.as_str(), one.remedy.as_str())), Some(("x of VI_1", "r")));
        assert_eq!(found.first().map(|one| one.what.as_str()), Some("the agent that runs here says: w Seen: e."));
        assert_eq!(alerts(&json!({})), []);
    }

    #[test]
    fn only_what_was_counted_is_told() {
        let text = "# TYPE keepone_bad_beats counter\nkeepone_bad_beats_total 0\nkeepone_bad_advertisements_total 7\n";
        let found = counters(text);
        assert_eq!(found.len(), 1);
        assert!(found.iter().all(|one| one.what.starts_with("7 Advertisements were malformed")), "{found:?}");
    }
}
