//! `keepone doctor`: the usual faults of the machine under an agent, each with its place and its remedy.
//!
//! - [`firewall`]: rules of nftables (and iptables-nft) that drop VRRP or heartbeats
//! - [`machine`]: settings of the kernel, interfaces, clock, who else manages an interface
//! - [`duplicate`]: somebody else who answers for a virtual address
//!
//! It changes nothing, and asks the agent nothing: it is for before the start as well.

mod duplicate;
mod firewall;
mod machine;

use std::fmt;

use keepone_config::Config;

use crate::assemble::Plan;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// It works, and might not always.
    Warning,
    /// It does not work.
    Fault,
}

impl Severity {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Warning => "warning",
            Severity::Fault => "fault",
        }
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// A stable name, for scripts.
    pub name: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// Where.
    pub place: String,
    /// What is so.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { name, severity, place, what, remedy } = self;
        write!(f, "{} {name}: {place}: {what}\n  to do: {remedy}", severity.as_str())
    }
}

/// What was found, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Report {
    /// The worst first.
    pub findings: Vec<Finding>,
    /// In words.
    pub skipped: Vec<String>,
}

impl Report {
    /// Whether something does not work.
    pub fn has_fault(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Fault)
    }
}

/// Looks at everything that a configuration needs.
pub fn examine(config: &Config) -> Report {
    let plan = Plan::new(config);
    let mut report = Report::default();
    if let Err(failure) = crate::rights::check() {
        report.findings.push(Finding {
            name: "capabilities",
            severity: Severity::Fault,
            place: String::from("this process"),
            what: failure.message,
            remedy: String::from("run `keepone doctor` as the service does; in a unit, see AmbientCapabilities="),
        });
    }
    machine::look(&plan, &mut report);
    firewall::look(&plan, &mut report);
    duplicate::look(&plan, &mut report);
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report
}
