//! The capabilities that the agent can't do without, looked at before anything is opened: without them it
//! would run, hear and vote, and fail only when it is to hold an address.

use keepone_config::Config;

use crate::exit::{ExitCode, Failure};

/// What the agent needs beside the gate's own rights, whose lack the gate reports: number in
/// linux/capability.h, name, and what for.
const NEEDED: [(u32, &str, &str); 2] =
    [(12, "CAP_NET_ADMIN", "set addresses"), (13, "CAP_NET_RAW", "send VRRP, ARP and ND")];

/// What only some configurations need: to become another user than root.
const CAP_SETUID: u32 = 7;

/// Whether this process has them all, and what the configuration needs besides.
///
/// # Errors
/// [`ExitCode::NotPermitted`] naming what is missing; /proc can't be read.
pub fn check(config: &Config) -> Result<(), Failure> {
    let status = std::fs::read_to_string("/proc/thread-self/status").map_err(|error| {
        Failure::say(ExitCode::Unexpected, format!("/proc does not tell the agent's rights: {error}; mount /proc"))
    })?;
    // A /proc without the line is none of Linux's; then the first deed that is refused tells.
    let effective = effective(&status);
    if let Some(words) = effective.and_then(complain) {
        return Err(Failure::say(ExitCode::NotPermitted, words));
    }
    let user = config.global.script_user.as_ref().map(|(name, _)| name.as_str());
    let processes = !config.trackers.processes.is_empty();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match needs(user, processes, effective.is_none_or(|all| all & (1 << CAP_SETUID) != 0), &mounts) {
        Some(words) => Err(Failure::say(ExitCode::NotPermitted, words)),
        None => Ok(()),
    }
}

/// What this configuration asks for and the service's sandbox keeps from it. Said at the start: a script that can't run,
/// or a process that is not seen, would be found out at the worst moment.
fn needs(script_user: Option<&str>, processes: bool, may_change_user: bool, mounts: &str) -> Option<String> {
    if let Some(user) = script_user.filter(|user| *user != "root" && !may_change_user) {
        return Some(format!(
            "missing CAP_SETUID, to run scripts as {user}: put /usr/share/doc/keepone/scripts.conf into \
             /etc/systemd/system/keepone.service.d/, or let them run as root"
        ));
    }
    // proc(5): hidepid shows a process those of its own user alone.
    let hidden = |line: &str| {
        let is_proc = line.split_whitespace().nth(4) == Some("/proc");
        is_proc
            && ["hidepid=1", "hidepid=2", "hidepid=noaccess", "hidepid=invisible"].iter().any(|how| line.contains(how))
    };
    // The last mount over a place is the one that is seen.
    let last = mounts.lines().rfind(|line| line.split_whitespace().nth(4) == Some("/proc"));
    (processes && last.is_some_and(hidden)).then(|| {
        "/proc hides other users' processes, which vrrp_track_process is to find: write ProtectProc=default in a drop-in \
         of keepone.service"
            .to_owned()
    })
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
    fn what_only_some_configurations_need_is_asked_of_them_alone() {
        let open = "22 1 0:20 / /proc rw,relatime - proc proc rw\n";
        let hidden = format!("{open}23 1 0:21 / /proc rw,relatime - proc proc rw,hidepid=invisible\n");
        assert_eq!(needs(None, false, false, &hidden), None);
        assert_eq!(needs(Some("root"), true, false, open), None);
        assert_eq!(needs(Some("nobody"), false, true, open), None);
        let words = needs(Some("nobody"), false, false, open).unwrap();
        assert!(words.contains("CAP_SETUID") && words.contains("nobody"), "{words}");
        assert!(needs(None, true, true, &hidden).unwrap().contains("ProtectProc"));
    }

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
