//! Whom a program runs as: user, group, and all groups of the user where that is wanted
//! (`set_supplementary_groups` of keepalived.conf(5)).
//!
//! `std`'s own means drop all supplementary groups before the user changes, and nothing can be added behind them.

use std::ffi::CString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::unistd::{Gid, Uid, getgrouplist, setgid, setgroups, setuid};

/// Of the whole process, like the user that it runs as.
static ALL_GROUPS: AtomicBool = AtomicBool::new(false);

/// From now on a program gets all groups of its user, or none but the one that it runs with.
pub(crate) fn give_all_groups(given: bool) {
    ALL_GROUPS.store(given, Ordering::Relaxed);
}

/// Makes `command` run as that user, whose name is `name`.
///
/// # Errors
/// The user's groups can't be told, with the remedy.
pub(super) fn assume(command: &mut Command, name: &str, uid: Uid, gid: Gid) -> Result<(), String> {
    if !ALL_GROUPS.load(Ordering::Relaxed) {
        command.uid(uid.as_raw()).gid(gid.as_raw());
        return Ok(());
    }
    with_all_groups(command, name, uid, gid)
}

fn with_all_groups(command: &mut Command, name: &str, uid: Uid, gid: Gid) -> Result<(), String> {
    let unknown = |why: String| format!("the groups of user {name} can't be told: {why}: check /etc/group");
    let c_name = CString::new(name).map_err(|error| unknown(error.to_string()))?;
    let groups = getgrouplist(&c_name, gid).map_err(|error| unknown(error.to_string()))?;
    let become_it = move || -> io::Result<()> {
        setgroups(&groups)?;
        setgid(gid)?;
        Ok(setuid(uid)?)
    };
    // SAFETY: between fork and exec only async-signal-safe calls are made: three system calls, through wrappers that
    // neither allocate nor lock (glibc's setgroups, setgid and setuid signal other threads of the process, and the
    // forked child has none). What the closure reads was allocated before the fork.
    unsafe { command.pre_exec(become_it) };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::script::user_and_group;

    /// FRR's user is in a group beside its own, `frrvty` (Debian's package `frr`, which the tests need anyway).
    #[test]
    fn a_program_has_all_groups_of_its_user_or_none_but_the_one_it_runs_with() {
        let (uid, gid) = user_and_group("frr", None).expect("Debian's package frr is installed");
        let said = |become_it: &dyn Fn(&mut Command)| {
            let mut command = Command::new("id");
            become_it(command.args(["-u", "-n"]));
            let user = String::from_utf8(command.output().unwrap().stdout).unwrap();
            let mut command = Command::new("id");
            become_it(command.args(["-G", "-n"]));
            let groups = String::from_utf8(command.output().unwrap().stdout).unwrap();
            (user.trim().to_owned(), groups.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
        };
        let all = said(&|command| with_all_groups(command, "frr", uid, gid).unwrap());
        assert_eq!(all, ("frr".to_owned(), vec!["frr".to_owned(), "frrvty".to_owned()]));
        let one = said(&|command| assume(command, "frr", uid, gid).unwrap());
        assert_eq!(one, ("frr".to_owned(), vec!["frr".to_owned()]));
    }
}
