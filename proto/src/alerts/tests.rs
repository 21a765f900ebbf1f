//! The table against its page for the operator, and the folding of what comes and goes.

use super::name::{AlertName, Severity};
use super::*;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

const PAGE: &str = include_str!("../../../docs/alerts.md");

/// The cells of the rows of the page's table of alerts: five, the first of them a name in backticks.
fn rows() -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| {
        line.trim().strip_prefix('|')?.strip_suffix('|').map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
    };
    let alert = |cells: &Vec<&str>| cells.len() == 5 && cells[0].starts_with('`');
    PAGE.lines().filter_map(cells).filter(alert).collect()
}

#[test]
fn the_page_holds_every_alert_of_the_table_in_its_words_and_no_other() {
    let rows = rows();
    for name in AlertName::ALL {
        let (quoted, severity) = (alloc::format!("`{}`", name.as_str()), name.severity().as_str());
        let row = rows.iter().find(|row| row[0] == quoted);
        let row = row.unwrap_or_else(|| panic!("docs/alerts.md has no row of five cells for {quoted}"));
        let [_, level, meaning, evidence, remedy] = row[..] else { panic!("{quoted}: {row:?}") };
        assert_eq!((level, meaning, remedy), (severity, name.what(), name.remedy()), "{quoted}");
        assert!(!evidence.is_empty(), "{quoted} has no evidence");
    }
    let known: BTreeSet<_> = AlertName::ALL.iter().map(|name| name.as_str()).collect();
    for row in &rows {
        assert!(known.contains(row[0].trim_matches('`')), "docs/alerts.md tells of {}, which is no alert", row[0]);
    }
    assert_eq!(known.len(), AlertName::ALL.len(), "two alerts of one name");
    assert_eq!(rows.len(), known.len(), "an alert has two rows");
}

#[test]
fn what_waits_to_be_said_is_never_what_an_operator_must_hear_within_the_second_i23() {
    for name in [AlertName::DualMaster, AlertName::LeaseLost, AlertName::SelfDemoted, AlertName::ClaimedUnarbitrated] {
        assert_eq!((name.damping().raise_ms, name.severity()), (0, Severity::Critical), "{}", name.as_str());
    }
    assert!(AlertName::ALL.iter().all(|name| name.damping().raise_ms <= 1000));
}

/// One alert, set at the given milliseconds; what was said, and when.
struct Told {
    alerts: Alerts,
    said: Vec<(u64, bool, String)>,
}

impl Told {
    fn new() -> Self {
        Told { alerts: Alerts::default(), said: Vec::new() }
    }

    fn set(&mut self, ms: u64, name: AlertName, raised: bool) {
        self.until(ms);
        self.alerts.at(at(ms));
        self.alerts.set(name, None, raised, || format!("found at {ms}"));
        self.take(ms);
    }

    fn take(&mut self, ms: u64) {
        let mut out = Vec::new();
        self.alerts.at(at(ms));
        self.alerts.take(&mut out);
        self.said.extend(out.into_iter().map(|action| match action {
            Action::Alert(alert) => (ms, alert.raised, alert.evidence),
            other => panic!("{other:?}"),
        }));
    }

    /// Nothing is set any more, and the deadlines are kept.
    fn until(&mut self, ms: u64) {
        while let Some(due) = self.alerts.next_deadline().filter(|due| *due < at(ms)) {
            self.take(due.as_nanos() / 1_000_000);
        }
    }

    fn said(&self) -> Vec<(u64, bool)> {
        self.said.iter().map(|(ms, raised, _)| (*ms, *raised)).collect()
    }
}

fn at(ms: u64) -> Instant {
    Instant::from_nanos(ms * 1_000_000)
}

const PATIENT: AlertName = AlertName::HeartbeatLinkDown;
const AT_ONCE: AlertName = AlertName::DualMaster;

#[test]
fn what_is_gone_before_its_time_is_never_said() {
    let mut told = Told::new();
    told.set(1000, PATIENT, true);
    told.set(1499, PATIENT, false);
    told.until(60_000);
    assert_eq!(told.said(), []);
}

#[test]
fn what_lasts_is_said_when_its_time_has_come_and_its_end_a_second_after_it() {
    let mut told = Told::new();
    told.set(1000, PATIENT, true);
    told.set(3000, PATIENT, false);
    told.until(60_000);
    assert_eq!(told.said(), [(1500, true), (4000, false)]);
    assert_eq!(told.said[0].2, "found at 1000", "nothing newer was found");
}

#[test]
fn what_must_be_heard_within_the_second_is_said_at_once_and_so_is_its_end() {
    let mut told = Told::new();
    told.set(1000, AT_ONCE, true);
    told.set(1700, AT_ONCE, false);
    assert_eq!(told.said(), [(1000, true), (1700, false)]);
}

#[test]
fn a_condition_that_flaps_for_a_minute_is_told_a_few_times_and_the_last_end_counts_the_returns() {
    for (name, most) in [(PATIENT, 2), (AT_ONCE, 6)] {
        let mut told = Told::new();
        for ms in (1000..61_000).step_by(1000) {
            told.set(ms, name, true);
            told.set(ms + 600, name, false);
        }
        told.until(200_000);
        assert!(told.said.len() <= most, "{}: {:?}", name.as_str(), told.said);
        let (ended, raised, words) = told.said.last().unwrap();
        assert!(!raised && *ended <= 60_600 + 30_000, "{ended}");
        assert!(words.contains("it came back "), "{words}");
    }
}

#[test]
fn blips_that_are_each_too_short_are_said_when_there_are_many() {
    let mut told = Told::new();
    for ms in (1000..5000).step_by(500) {
        told.set(ms, PATIENT, true);
        told.set(ms + 200, PATIENT, false);
    }
    assert_eq!(told.said(), [(2500, true)], "with the fourth");
    let mut seldom = Told::new();
    for ms in (1000..100_000).step_by(6000) {
        seldom.set(ms, PATIENT, true);
        seldom.set(ms + 200, PATIENT, false);
    }
    assert_eq!(seldom.said(), []);
}

#[test]
fn trouble_of_an_hour_ago_does_not_make_todays_stand_the_longer() {
    let mut told = Told::new();
    for ms in [1000, 3_600_000] {
        told.set(ms, PATIENT, true);
        told.set(ms + 2000, PATIENT, false);
    }
    told.until(4_000_000);
    assert_eq!(told.said(), [(1500, true), (4000, false), (3_600_500, true), (3_603_000, false)]);
}

#[test]
fn a_moment_is_over_when_it_is_not_seen_again() {
    let mut told = Told::new();
    for ms in [1000, 2000, 3000] {
        told.alerts.at(at(ms));
        told.alerts.seen(AT_ONCE, None, 7, Duration::from_secs(5), || String::from("a claim"));
        told.take(ms);
    }
    told.until(60_000);
    assert_eq!(told.said(), [(1000, true), (8000, false)]);
}

#[test]
fn an_alert_that_is_about_something_else_now_is_told_anew_but_not_each_time() {
    let mut told = Told::new();
    for ms in (1000..5000).step_by(100) {
        told.alerts.at(at(ms));
        told.alerts.set_about(AT_ONCE, None, true, ms, || String::from("about"));
        told.take(ms);
    }
    assert_eq!(told.said(), [(1000, true), (2000, true), (3000, true), (4000, true)]);
}

#[test]
fn the_remedy_is_the_tables_unless_it_is_known_better_and_none_at_the_end() {
    let mut alerts = Alerts::default();
    let mut out = Vec::new();
    let exact = Words { evidence: String::new(), remedy: Some(String::from("turn it off")) };
    alerts.set(AT_ONCE, None, true, || exact.clone());
    alerts.set(AlertName::LeaseLost, None, true, || String::from("late"));
    alerts.set(AT_ONCE, None, false, || exact);
    alerts.take(&mut out);
    let remedies: Vec<_> = out
        .iter()
        .map(|action| match action {
            Action::Alert(alert) => alert.remedy.as_ref(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(remedies, ["turn it off", AlertName::LeaseLost.remedy(), ""]);
}
