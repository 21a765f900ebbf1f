//! `keepone doctor`: looks at the machine for what a configuration needs.

use std::path::Path;

use keepone_agent::doctor::{self, Report};
use keepone_agent::exit::{ExitCode as Code, Failure};
use serde_json::json;

use super::{load, say};

/// 0 unless something does not work.
pub(crate) fn run(file: &Path, json: bool) -> Result<u8, Failure> {
    // Its remarks are `keepone check`'s to tell.
    let report = doctor::examine(&load(file, None, false)?);
    say(if json { in_json(&report) } else { in_words(&report) }.trim_end());
    Ok(if report.has_fault() { Code::Faults as u8 } else { 0 })
}

fn in_words(report: &Report) -> String {
    let mut out: String = report.findings.iter().map(|finding| format!("{finding}\n")).collect();
    out.extend(report.skipped.iter().map(|words| format!("not looked at: {words}\n")));
    if report.findings.is_empty() {
        out.push_str("nothing was found\n");
    }
    out
}

fn in_json(report: &Report) -> String {
    let findings = report.findings.iter().map(|finding| {
        json!({ "name": finding.name, "severity": finding.severity.as_str(), "place": finding.place,
            "what": finding.what, "remedy": finding.remedy })
    });
    json!({ "findings": findings.collect::<Vec<_>>(), "skipped": report.skipped }).to_string()
}
