//! The table against its page for the operator, and the folding of what comes and goes.

use super::name::{AlertName, Severity};
use super::*;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

const PAGE: &str = include_str!("../../../docs/alerts.md");

/// The cells of the page's rows whose first one is a name in backticks.
fn rows() -> Vec<Vec<&'static str>> {
    let cells = |line: &'static str| {
        line.trim().strip_prefix('|')?.strip_suffix('|').map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
    };
    PAGE.lines().filter_map(cells).filter(|cells| cells.first().is_some_and(|name| name.starts_with('`'))).collect()
}

#[test]
fn the_page_holds_every_alert_of_the_table_in_its_words_and_no_other() {
    let rows = rows();
    for name in AlertName::ALL {
        let (quoted, severity) = (alloc::format!("`{}`", name.as_str()), name.severity().as_str());
        let row = rows.iter().find(|row| row[0] == quoted);
        let row = row.unwrap_or_else(|| panic!("docs/alerts.md has no row for {quoted}"));
        let [_, level, meaning, evidence, remedy] = row[..] else { panic!("{quoted} has not five cells: {row:?}") };
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
