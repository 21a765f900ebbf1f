//! `keepone doctor`: the usual faults of the machine under an agent, each with its place and its remedy.
//!
//! - [`interfaces`]: interfaces, and the kernel's settings of them
//! - [`firewall`]: rules of nftables (and iptables-nft) that drop VRRP or heartbeats
//! - [`duplicate`]: somebody else who answers for a virtual address
//! - [`machine`]: what the kernel lacks, clock, who else manages an interface
//! - [`running`]: what an agent that runs here has seen itself
//!
//! It changes nothing, and is for before the start as well.

mod duplicate;
mod firewall;
mod interfaces;
mod machine;
mod running;

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

impl Finding {
    fn fault(name: &'static str, place: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        let severity = Severity::Fault;
        Finding { name, severity, place: place.to_owned(), what: what.into(), remedy: remedy.into() }
    }

    fn warning(name: &'static str, place: &str, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { severity: Severity::Warning, ..Finding::fault(name, place, what, remedy) }
    }
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

    /// Once, whoever finds it.
    fn add(&mut self, finding: Finding) {
        if !self.findings.contains(&finding) {
            self.findings.push(finding);
        }
    }
}

/// Looks at everything that a configuration needs.
pub fn examine(config: &Config) -> Report {
    let plan = Plan::new(config);
    let mut report = Report::default();
    if let Err(failure) = crate::rights::check(config) {
        let remedy = "run `keepone doctor` as the service does; in a unit, see AmbientCapabilities=";
        report.add(Finding::fault("capabilities", "this process", failure.message, remedy));
    }
    interfaces::look(&plan, &mut report);
    machine::look(config, &plan, &mut report);
    firewall::look(&plan, &mut report);
    duplicate::look(&plan, &mut report);
    running::look(&plan, &mut report);
    report.findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    report
}
