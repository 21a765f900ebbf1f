//! Scripts on a change of role, run after the kernel has changed, never before, and never on the decision
//! loop (R15).
//!
//! What must stay true: the scripts of one domain run one after the other, in the order of its transitions
//! (I22). Arguments are keepalived's: `INSTANCE|GROUP name STATE priority`; the environment bears the epoch,
//! the fencing token by which a script can refuse to act for an old holder.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use keepone_config::model::{Notify, Script};
use keepone_proto::action::Transition;
use keepone_proto::decision::Role;
use keepone_proto::id::DomainId;

use crate::assemble::DomainName;

/// Transitions of one domain that may wait for its scripts.
const QUEUE: usize = 256;
/// A script that runs longer is killed.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a running script is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// The way to the scripts: one thread for each domain that has any.
#[derive(Debug)]
pub struct Notifier {
    queues: BTreeMap<DomainId, SyncSender<Transition>>,
}

impl Notifier {
    /// Starts the threads.
    pub fn start(domains: &BTreeMap<DomainId, DomainName>) -> Self {
        let mut queues = BTreeMap::new();
        for (id, domain) in domains {
            let silent = Notify::default();
            if domain.notify == silent && domain.members.iter().all(|(_, notify)| *notify == silent) {
                continue;
            }
            let (queue, transitions) = sync_channel(QUEUE);
            let domain = domain.clone();
            let name = format!("notify {}", domain.name);
            if thread::Builder::new().name(name).spawn(move || serve(&domain, &transitions)).is_ok() {
                queues.insert(*id, queue);
            }
        }
        Notifier { queues }
    }

    /// Tells the scripts, without waiting.
    pub fn tell(&self, transition: &Transition) {
        if let Some(queue) = self.queues.get(&transition.domain)
            && queue.try_send(transition.clone()).is_err()
        {
            tracing::warn!("the notify scripts are {QUEUE} transitions behind: this one is not told");
        }
    }
}

fn serve(domain: &DomainName, transitions: &Receiver<Transition>) {
    while let Ok(transition) = transitions.recv() {
        for (name, notify) in &domain.members {
            run_all(notify, "INSTANCE", name, &transition);
        }
        run_all(&domain.notify, if domain.is_group { "GROUP" } else { "INSTANCE" }, &domain.name, &transition);
    }
}

fn run_all(notify: &Notify, kind: &str, name: &str, transition: &Transition) {
    // The words that keepalived's scripts know; what holds nothing and may not is a FAULT to them.
    let (state, own) = match transition.to {
        Role::Master => ("MASTER", &notify.master),
        Role::Backup => ("BACKUP", &notify.backup),
        Role::Fault | Role::Fenced => ("FAULT", &notify.fault),
        Role::Init => ("STOP", &notify.stop),
        Role::Claiming => return,
    };
    for (script, arguments) in [(own, false), (&notify.any, true)] {
        let Some(script) = script else { continue };
        run(script, arguments.then_some((kind, name, state)), transition);
    }
}

fn run(script: &Script, arguments: Option<(&str, &str, &str)>, transition: &Transition) {
    let Some((program, fixed)) = script.command.split_first() else { return };
    let mut command = Command::new(program);
    command.args(fixed).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if let Some((kind, name, state)) = arguments {
        command.args([kind, name, state, &transition.priority.0.to_string()]);
    }
    command.env("KEEPONE_ROLE", transition.to.as_str()).env("KEEPONE_REASON", transition.reason.as_str());
    command.env("KEEPONE_EVIDENCE", &transition.evidence);
    if let Some(epoch) = transition.epoch {
        command.env("KEEPONE_EPOCH", epoch.to_string());
    }
    if let Err(why) = become_user(&mut command, script) {
        tracing::error!(program, "notify script not run: {why}");
        return;
    }
    match command.spawn() {
        Ok(child) => wait(child, program),
        Err(error) => tracing::error!(program, %error, "notify script not run: check its path and permissions"),
    }
}

/// Makes `command` run as the script's user and group.
///
/// # Errors
/// The name that does not exist, with the remedy.
pub(crate) fn become_user(command: &mut Command, script: &Script) -> Result<(), String> {
    let Some(name) = &script.user else { return Ok(()) };
    let lookup = |what: &str, name: &str| format!("there is no {what} {name}: create it, or change the configuration");
    let user = nix::unistd::User::from_name(name).ok().flatten().ok_or_else(|| lookup("user", name))?;
    let gid = match &script.group {
        Some(group) => {
            let found = nix::unistd::Group::from_name(group).ok().flatten();
            found.ok_or_else(|| lookup("group", group))?.gid
        }
        None => user.gid,
    };
    command.uid(user.uid.as_raw()).gid(gid.as_raw());
    Ok(())
}

/// Waits, and kills what takes too long: a script that hangs must not keep later ones from running.
fn wait(mut child: Child, program: &str) {
    let mut waited = Duration::ZERO;
    loop {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => return,
            Ok(Some(status)) => return tracing::warn!(program, %status, "notify script failed"),
            Ok(None) if waited >= TIMEOUT => {
                tracing::error!(program, "notify script ran longer than {TIMEOUT:?} and is killed");
                let _ = child.kill();
                let _ = child.wait();
                return;
            }
            Ok(None) => {
                thread::sleep(LOOK);
                waited += LOOK;
            }
            Err(error) => return tracing::error!(program, %error, "cannot wait for the notify script"),
        }
    }
}
