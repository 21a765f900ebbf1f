//! The capabilities that the agent can't do without, looked at before anything is opened: without them it
//! would run, hear and vote, and fail only when it is to hold an address.

use keepone_config::Config;
use keepone_config::model::Notify;

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
    let user = users(config).find(|user| *user != "root");
    let processes = !config.trackers.processes.is_empty();
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    match needs(user, processes, effective.is_none_or(|all| all & (1 << CAP_SETUID) != 0), &mounts) {
        Some(words) => Err(Failure::say(ExitCode::NotPermitted, words)),
        None => Ok(()),
    }
}

/// Whom scripts run as whose first run may be the moment that they are for: the common user, and those that scripts name
/// themselves. A check of a real server that can't run is seen at once.
fn users(config: &Config) -> impl Iterator<Item = &str> {
    let common = config.global.script_user.as_ref().map(|(name, _)| name.as_str());
    let groups = config.sync_groups.iter().map(|group| &group.notify);
    let notify = config.instances.iter().map(|instance| &instance.notify).chain(groups);
    let scripts = notify.flat_map(|Notify { any, master, backup, fault, stop }| [any, master, backup, fault, stop]);
    let fencing = config.fencing.command.as_ref().map(|command| &command.script);
    let tracked = config.trackers.scripts.iter().map(|tracker| &tracker.script);
    let all = scripts.flatten().chain(&config.global.alert_script).chain(fencing).chain(tracked);
    common.into_iter().chain(all.filter_map(|script| script.user.as_deref()))
}

/// What this configuration asks for and the service's sandbox keeps from it. Said at the start: a script that can't run,
/// or a process that is not seen, would be found out at the worst moment.
fn needs(other_user: Option<&str>, processes: bool, may_change_user: bool, mounts: &str) -> Option<String> {
    if let Some(user) = other_user.filter(|_| !may_change_user) {
        return Some(format!(
            "missing CAP_SETUID, to run scripts as {user}: put /usr/share/doc/keepone/scripts.conf into \
             /etc/systemd/system/keepone.service.d/, or let them run as root"
        ));
    }
    // proc(5): hidepid shows a process those of its own user alone, or those that it may trace.
    let hidden =
        |line: &str| line.contains("hidepid=") && !["hidepid=0", "hidepid=off"].iter().any(|off| line.contains(off));
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
        assert_eq!(needs(None, true, false, open), None);
        assert_eq!(needs(Some("nobody"), false, true, open), None);
        let words = needs(Some("nobody"), false, false, open).unwrap();
        assert!(words.contains("CAP_SETUID") && words.contains("nobody"), "{words}");
        for how in ["invisible", "2", "noaccess", "ptraceable", "4"] {
            let hidden = hidden.replace("invisible", how);
            assert!(needs(None, true, true, &hidden).is_some_and(|words| words.contains("ProtectProc")), "{how}");
        }
        assert_eq!(needs(None, true, true, &hidden.replace("invisible", "off")), None);
    }

    #[test]
    fn a_script_that_names_its_user_is_found_wherever_it_stands() {
        let place = |text: &str| {
            let directory = tempfile::tempdir().unwrap();
            let file = directory.path().join("x.conf");
            std::fs::write(&file, text).unwrap();
            let (config, _) = keepone_config::load(&file).unwrap();
            users(&config).map(str::to_owned).collect::<Vec<_>>()
        };
        let instance = |more: &str| {
            format!(
                "vrrp_instance A {{\n interface lo\n virtual_router_id 1\n virtual_ipaddress {{\n 192.0.2.1\n }}\n {more}\n}}\n"
            )
        };
        assert_eq!(place(&instance("")), [""; 0]);
        assert_eq!(place(&format!("global_defs {{\n script_user games\n}}\n{}", instance(""))), ["games"]);
        assert_eq!(place(&instance("notify_stop \"/bin/true\" games")), ["games"]);
        let tracked = "vrrp_script s {\n script \"/bin/true\"\n user games\n}\n";
        assert_eq!(place(&format!("{tracked}{}", instance("track_script {\n s\n }"))), ["games"]);
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
