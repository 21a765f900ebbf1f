//! One script, run to its end or to its timeout.
//!
//! What must stay true: a script that hangs, and what it started, is killed at its timeout, so that later ones
//! run; whatever it does, only the thread that ran it waits.

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use keepone_config::model::Script;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

/// How often a running script is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// Who runs scripts that name nobody, and for how long they may run.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// `script_user`.
    pub(crate) user: Option<(String, Option<String>)>,
    /// `script_timeout`.
    pub(crate) timeout: Duration,
}

/// Runs a script with further arguments and variables, and waits for it.
pub(super) fn run(script: &Script, rules: &Rules, arguments: &[&str], variables: &[(&str, &str)]) {
    let Some((program, fixed)) = script.command.split_first() else { return };
    let mut command = Command::new(program);
    command.args(fixed).args(arguments).envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // A group of its own: what it starts ends with it.
    command.process_group(0);
    if let Err(why) = become_user(&mut command, script, rules.user.as_ref()) {
        tracing::error!(program, "script not run: {why}");
        return;
    }
    match command.spawn() {
        Ok(child) => wait(child, program, rules.timeout),
        Err(error) => tracing::error!(program, %error, "script not run: check its path and permissions"),
    }
}

/// Makes `command` run as the script's user and group, or as `otherwise` where it names none.
///
/// # Errors
/// The name that does not exist, with the remedy.
pub(crate) fn become_user(
    command: &mut Command,
    script: &Script,
    otherwise: Option<&(String, Option<String>)>,
) -> Result<(), String> {
    let (name, group) = match (&script.user, otherwise) {
        (Some(name), _) => (name, &script.group),
        (None, Some((name, group))) => (name, group),
        (None, None) => return Ok(()),
    };
    let lookup = |what: &str, name: &str| format!("there is no {what} {name}: create it, or change the configuration");
    let user = nix::unistd::User::from_name(name).ok().flatten().ok_or_else(|| lookup("user", name))?;
    let gid = match group {
        Some(group) => {
            let found = nix::unistd::Group::from_name(group).ok().flatten();
            found.ok_or_else(|| lookup("group", group))?.gid
        }
        None => user.gid,
    };
    command.uid(user.uid.as_raw()).gid(gid.as_raw());
    Ok(())
}

fn wait(mut child: Child, program: &str, timeout: Duration) {
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return,
            Ok(Some(status)) => return tracing::warn!(program, %status, "script failed"),
            Ok(None) if waited >= timeout => {
                tracing::error!(program, "script ran longer than {timeout:?} and is killed");
                if let Ok(group) = i32::try_from(child.id()) {
                    let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
                }
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            Ok(None) => {
                thread::sleep(LOOK);
                waited += LOOK;
            }
            Err(error) => return tracing::error!(program, %error, "cannot wait for the script"),
        }
    }
}
