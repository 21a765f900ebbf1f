//! The capabilities that the agent can't do without, looked at before anything is opened: without them it
//! would run, hear and vote, and fail only when it is to hold an address.

use crate::exit::{ExitCode, Failure};

/// What the agent needs beside the gate's own rights, whose lack the gate reports: number in
/// linux/capability.h, name, and what for.
const NEEDED: [(u32, &str, &str); 2] =
    [(12, "CAP_NET_ADMIN", "set addresses"), (13, "CAP_NET_RAW", "send VRRP, ARP and ND")];

/// Whether this process has them all.
///
/// # Errors
/// [`ExitCode::NotPermitted`] naming what is missing; /proc can't be read.
pub fn check() -> Result<(), Failure> {
    let status = std::fs::read_to_string("/proc/thread-self/status").map_err(|error| {
        Failure::say(ExitCode::Unexpected, format!("/proc does not tell the agent's rights: {error}; mount /proc"))
    })?;
    // A /proc without the line is none of Linux's; then the first deed that is refused tells.
    match effective(&status).and_then(complain) {
        Some(words) => Err(Failure::say(ExitCode::NotPermitted, words)),
        None => Ok(()),
    }
}

/// The effective set, from proc_pid_status(5).
fn effective(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

fn complain(effective: u64) -> Option<String> {
    let lacks: Vec<String> = NEEDED
        .iter()
        .filter(|(number, _, _)| effective & (1 << number) == 0)
        .map(|(_, name, what)| format!("{name}, to {what}"))
        .collect();
    (!lacks.is_empty()).then(|| format!("missing {}: run as root, or grant it to the service", lacks.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_use() {
        let all = effective("Name:\tx\nCapPrm:\t0000000000000000\nCapEff:\t000001ffffffffff\n").unwrap();
        assert_eq!(complain(all), None);
        let words = complain(all & !(1 << 12)).unwrap();
        assert!(words.contains("CAP_NET_ADMIN") && !words.contains("CAP_NET_RAW"), "{words}");
        assert!(complain(0).unwrap().contains("CAP_NET_RAW, to send VRRP"));
        assert_eq!(effective("Name:\tx\n"), None);
    }
}
