//! The rings outside the gate.

use std::time::Duration;

use keepone_proto::lease::timing::Millis;
use keepone_proto::settings::Authority;

use super::{Check, or};
use crate::model::{FenceCommand, Fencing, Watchdog};

/// The shortest watchdog timeout that is chosen by itself: a machine under load must not be reset for it.
const WATCHDOG_S: u32 = 5;
const TIMEOUT: Duration = Duration::from_secs(30);

impl Check<'_> {
    /// `authority` is `None` where it could not be read.
    pub(super) fn fencing(&mut self, authority: Option<&Authority>) -> Fencing {
        let raw = self.raw;
        let Some(fencing) = &raw.fencing else { return Fencing::default() };
        let lease = match authority {
            Some(Authority::Quorum(quorum)) => Some(quorum.timing.lease),
            Some(Authority::None) | None => None,
        };
        // Whole seconds, and not shorter than the lease without being asked.
        let whole = lease.map_or(0, |lease| lease.as_secs() + u64::from(lease.subsec_nanos() > 0));
        let default = u32::try_from(whole).unwrap_or(u32::MAX).max(WATCHDOG_S);
        let timeout_s = or(&fencing.watchdog_timeout, default);
        if let (Some(timeout), None) = (&fencing.watchdog_timeout, &fencing.watchdog) {
            self.report.error(&timeout.place, "`watchdog_timeout` without `watchdog`", "add `watchdog /dev/watchdog`");
        }
        for setting in fencing.timeout.iter().chain(&fencing.retry).filter(|_| fencing.command.is_none()) {
            let help = "add the `command` that it is for, or remove it";
            self.report.error(&setting.place, "a time for a fence command, but no `command`", help);
        }
        let idle = fencing.watchdog.is_none() && fencing.command.is_none() && fencing.reboot_after.is_none();
        if idle {
            let help = "add `watchdog`, `command` or `reboot_after`, or remove the block";
            self.report.warning(&fencing.place, "`fencing` that does nothing", help);
        }
        if let Some((place, _)) = &fencing.command
            && matches!(authority, Some(Authority::None))
        {
            let message = "a fence command without an arbiter: a BACKUP that is merely cut off shoots a healthy MASTER";
            self.report.warning(place, message, "add an arbiter: then only who has won the lease may shoot");
        }
        for name in &fencing.domains {
            let group = raw.groups.iter().any(|group| group.name.value == name.value);
            let instance = raw.instances.iter().any(|instance| instance.name.value == name.value);
            if !group && !instance {
                let message = format!("no vrrp_sync_group or vrrp_instance is named `{}`", name.value);
                self.report.error(
                    &name.place,
                    message,
                    "name the domains that are to be fenced, or leave `domains` out",
                );
            } else if !group && raw.groups.iter().any(|g| g.members.iter().any(|m| m.value == name.value)) {
                let message = format!("`{}` is in a sync group, which is what is fenced", name.value);
                self.report.error(&name.place, message, "name the sync group instead");
            }
        }
        if let (Some(after), Some(lease)) = (&fencing.reboot_after, lease)
            && after.value > lease
        {
            let message = format!(
                "reboot_after {} is longer than the lease {}: between the two only the kernel's deadline is in the way \
                 of a second holder",
                Millis(after.value),
                Millis(lease)
            );
            self.report.warning(&after.place, message, "shorten it, if the machine may be restarted that soon");
        }
        Fencing {
            watchdog: fencing.watchdog.as_ref().map(|device| Watchdog { device: device.value.clone(), timeout_s }),
            command: fencing.command.as_ref().map(|(_, script)| FenceCommand {
                script: script.clone(),
                timeout: or(&fencing.timeout, TIMEOUT),
                retry: or(&fencing.retry, TIMEOUT),
            }),
            reboot_after: fencing.reboot_after.as_ref().map(|after| after.value),
            domains: fencing.domains.iter().map(|name| name.value.clone()).collect(),
        }
    }
}
