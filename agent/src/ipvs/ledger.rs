//! Which services of the kernel's table are ours, kept in the run directory: those that a former run left and the
//! configuration has no more go, those of others stay.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use ipvs_rs::{Family, Protocol, ServiceId};

/// A service a line.
const NAME: &str = "ipvs-services";

/// The file, and what stands in it.
#[derive(Debug)]
pub(super) struct Ledger {
    file: PathBuf,
    ours: BTreeSet<ServiceId>,
}

/// Whether a former run has left one.
pub(super) fn is_there(run_dir: &Path) -> bool {
    run_dir.join(NAME).is_file()
}

impl Ledger {
    /// With what a former run has written.
    pub(super) fn open(run_dir: &Path) -> Self {
        let file = run_dir.join(NAME);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Ledger { file, ours: text.lines().filter_map(parse).collect() }
    }

    /// Whose they are.
    pub(super) fn ours(&self) -> &BTreeSet<ServiceId> {
        &self.ours
    }

    /// From now on these are ours: written down before they are made.
    pub(super) fn set(&mut self, ours: BTreeSet<ServiceId>) {
        if self.ours == ours {
            return;
        }
        self.ours = ours;
        let lines: String = self.ours.iter().map(|id| show(*id) + "\n").collect();
        let kept = match lines.is_empty() {
            true => std::fs::remove_file(&self.file).or_else(|error| match error.kind() {
                io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
            false => std::fs::write(&self.file, lines),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "{} can't be written: after a crash virtual servers may stay", self.file.display());
        }
    }
}

/// A service in words that [`parse`] reads.
pub(super) fn show(id: ServiceId) -> String {
    match id {
        ServiceId::Address { protocol, address } => format!("{} {address}", protocol_name(protocol)),
        ServiceId::Mark { mark, family: Family::Ipv4 } => format!("fwmark {mark}"),
        ServiceId::Mark { mark, family: Family::Ipv6 } => format!("fwmark {mark} inet6"),
    }
}

fn protocol_name(protocol: Protocol) -> String {
    match protocol {
        Protocol::Tcp => "TCP".to_owned(),
        Protocol::Udp => "UDP".to_owned(),
        Protocol::Sctp => "SCTP".to_owned(),
        other => format!("{other:?}"),
    }
}

fn parse(line: &str) -> Option<ServiceId> {
    let (first, rest) = line.split_once(' ')?;
    let protocol = match first {
        "fwmark" => {
            let (mark, family) = match rest.split_once(' ') {
                Some((mark, "inet6")) => (mark, Family::Ipv6),
                Some(_) => return None,
                None => (rest, Family::Ipv4),
            };
            return Some(ServiceId::Mark { mark: mark.parse().ok()?, family });
        }
        "TCP" => Protocol::Tcp,
        "UDP" => Protocol::Udp,
        "SCTP" => Protocol::Sctp,
        _ => return None,
    };
    Some(ServiceId::Address { protocol, address: rest.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_by_the_next_run() {
        let directory = tempfile::tempdir().unwrap();
        let address = |protocol, address: &str| ServiceId::Address { protocol, address: address.parse().unwrap() };
        let ours = BTreeSet::from([
            address(Protocol::Tcp, "192.0.2.1:80"),
            address(Protocol::Udp, "[fd00::1]:53"),
            address(Protocol::Sctp, "192.0.2.1:0"),
            ServiceId::Mark { mark: 7, family: Family::Ipv4 },
            ServiceId::Mark { mark: 7, family: Family::Ipv6 },
        ]);
        let mut ledger = Ledger::open(directory.path());
        assert!(ledger.ours().is_empty() && !is_there(directory.path()));
        ledger.set(ours.clone());
        assert!(is_there(directory.path()));
        assert_eq!(*Ledger::open(directory.path()).ours(), ours);
        ledger.set(BTreeSet::new());
        assert!(!is_there(directory.path()), "what is empty is not there");
    }

    #[test]
    fn a_line_that_is_damaged_is_passed_over() {
        for line in ["", "TCP", "TCP nonsense", "fwmark 1 inet7", "fwmark x", "ICMP 192.0.2.1:80"] {
            assert_eq!(parse(line), None, "{line}");
        }
    }
}
