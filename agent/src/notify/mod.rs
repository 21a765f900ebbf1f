//! Whom we tell: scripts on a change of role and on alerts, and a FIFO.
//!
//! - [`run`]: one script, with its user and its timeout
//! - [`alerts`]: the alert script
//! - [`fifo`]: the event FIFO
//!
//! Scripts on a change of role are run after the kernel has changed, never before, and never on the
//! decision loop (R15).
//!
//! What must stay true: the scripts of one domain run one after the other, in the order of its transitions
//! (I22). Arguments are keepalived's: `INSTANCE|GROUP name STATE priority`; the environment bears the epoch,
//! the fencing token by which a script can refuse to act for an old holder.

pub mod alerts;
pub mod fifo;
pub(crate) mod run;

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use keepone_config::model::{Notify, NotifyDeleted};
use keepone_proto::action::Transition;
use keepone_proto::decision::Role;
use keepone_proto::id::DomainId;

use crate::assemble::DomainName;
use run::{Rules, run};

/// Transitions of one domain that may wait for its scripts.
const QUEUE: usize = 256;

/// The way to the scripts: one thread for each domain that has any.
#[derive(Debug)]
pub struct Notifier {
    threads: BTreeMap<DomainId, Thread>,
    rules: Rules,
}

#[derive(Debug)]
struct Thread {
    domain: DomainName,
    queue: SyncSender<Told>,
    thread: JoinHandle<()>,
}

/// A transition, and whether it is the last since a new configuration has the domain no more.
#[derive(Debug)]
struct Told(Transition, bool);

impl Notifier {
    /// Starts the threads.
    pub(crate) fn start(domains: &BTreeMap<DomainId, DomainName>, rules: &Rules) -> Self {
        let mut notifier = Notifier { threads: BTreeMap::new(), rules: rules.clone() };
        notifier.set(domains);
        notifier
    }

    /// Other scripts, for the domains that have others: theirs follow what is still to be run of the former ones.
    pub(crate) fn set(&mut self, domains: &BTreeMap<DomainId, DomainName>) {
        let mut former = std::mem::take(&mut self.threads);
        for (id, domain) in domains {
            let before = former.remove(id);
            let silent = Notify::default();
            let is_silent = domain.notify == silent && domain.members.iter().all(|(_, notify)| *notify == silent);
            let thread = match before {
                Some(before) if before.domain == *domain => Some(before),
                _ if is_silent && domain.deleted.is_empty() => None,
                before => self.begin(domain, before),
            };
            self.threads.extend(thread.map(|thread| (*id, thread)));
        }
    }

    fn begin(&self, domain: &DomainName, before: Option<Thread>) -> Option<Thread> {
        let (queue, transitions) = sync_channel(QUEUE);
        let (served, rules) = (domain.clone(), self.rules.clone());
        let before = before.map(|Thread { thread, .. }| thread);
        let serve = move || {
            // I22: its queue has no sender any more, so that it ends.
            before.map(JoinHandle::join);
            serve(&served, &rules, &transitions);
        };
        let thread = thread::Builder::new().name(format!("notify {}", domain.name)).spawn(serve).ok()?;
        Some(Thread { domain: domain.clone(), queue, thread })
    }

    /// Tells the scripts, without waiting. `is_removed`: a new configuration has the domain no more.
    pub fn tell(&self, transition: &Transition, is_removed: bool) {
        if let Some(thread) = self.threads.get(&transition.domain)
            && thread.queue.try_send(Told(transition.clone(), is_removed)).is_err()
        {
            tracing::warn!("the notify scripts are {QUEUE} transitions behind: this one is not told");
        }
    }
}

fn serve(domain: &DomainName, rules: &Rules, transitions: &Receiver<Told>) {
    while let Ok(told) = transitions.recv() {
        for (name, notify) in &domain.members {
            run_all(notify, domain.deleted.get(name), rules, ("INSTANCE", name), &told);
        }
        let kind = if domain.is_group { "GROUP" } else { "INSTANCE" };
        run_all(&domain.notify, domain.deleted.get(&domain.name), rules, (kind, &domain.name), &told);
    }
}

fn run_all(
    notify: &Notify,
    deleted: Option<&NotifyDeleted>,
    rules: &Rules,
    (kind, name): (&str, &str),
    Told(transition, is_removed): &Told,
) {
    // The words that keepalived's scripts know; what holds nothing and may not is a FAULT to them.
    let (state, own) = match (transition.to, deleted) {
        (Role::Master, _) => ("MASTER", &notify.master),
        (Role::Backup, _) => ("BACKUP", &notify.backup),
        (Role::Fault | Role::Fenced, _) => ("FAULT", &notify.fault),
        (Role::Init, Some(deleted)) if *is_removed => ("DELETED", &deleted.script),
        (Role::Init, None) if *is_removed => ("FAULT", &notify.fault),
        (Role::Init, _) => ("STOP", &notify.stop),
        (Role::Claiming, _) => return,
    };
    for (script, arguments) in [(own, false), (&notify.any, true)] {
        let Some(script) = script else { continue };
        let priority = transition.priority.0.to_string();
        let all = [kind, name, state, &priority];
        let epoch = transition.epoch.map(|epoch| epoch.to_string());
        let mut variables = vec![
            ("KEEPONE_ROLE", transition.to.as_str()),
            ("KEEPONE_REASON", transition.reason.as_str()),
            ("KEEPONE_EVIDENCE", transition.evidence.as_str()),
        ];
        variables.extend(epoch.as_deref().map(|epoch| ("KEEPONE_EPOCH", epoch)));
        run(script, rules, if arguments { &all } else { &[] }, &variables);
    }
}

#[cfg(test)]
mod tests;
