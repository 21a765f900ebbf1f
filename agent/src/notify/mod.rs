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
use std::thread;

use keepone_config::model::Notify;
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
    queues: BTreeMap<DomainId, SyncSender<Transition>>,
}

impl Notifier {
    /// Starts the threads.
    pub(crate) fn start(domains: &BTreeMap<DomainId, DomainName>, rules: &Rules) -> Self {
        let mut queues = BTreeMap::new();
        for (id, domain) in domains {
            let silent = Notify::default();
            if domain.notify == silent && domain.members.iter().all(|(_, notify)| *notify == silent) {
                continue;
            }
            let (queue, transitions) = sync_channel(QUEUE);
            let (domain, rules) = (domain.clone(), rules.clone());
            let name = format!("notify {}", domain.name);
            if thread::Builder::new().name(name).spawn(move || serve(&domain, &rules, &transitions)).is_ok() {
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

fn serve(domain: &DomainName, rules: &Rules, transitions: &Receiver<Transition>) {
    while let Ok(transition) = transitions.recv() {
        for (name, notify) in &domain.members {
            run_all(notify, rules, "INSTANCE", name, &transition);
        }
        let kind = if domain.is_group { "GROUP" } else { "INSTANCE" };
        run_all(&domain.notify, rules, kind, &domain.name, &transition);
    }
}

fn run_all(notify: &Notify, rules: &Rules, kind: &str, name: &str, transition: &Transition) {
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
