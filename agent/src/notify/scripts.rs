//! Notify scripts: one thread for each domain that has any.
//!
//! What must stay true: the scripts of one domain run one after the other, in the order of its transitions (I22). The
//! environment bears the epoch, the fencing token by which a script can refuse to act for an old holder.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use keepone_config::model::{Notify, Script};
use keepone_proto::action::Transition;
use keepone_proto::event::Event;
use keepone_proto::id::DomainId;
use tokio::sync::mpsc;

use super::run::{Rules, run};
use super::words::Word;
use crate::assemble::DomainName;

/// What may wait for the scripts of one domain.
const QUEUE: usize = 256;

/// The way to the scripts.
#[derive(Debug)]
pub(super) struct Scripts {
    threads: BTreeMap<DomainId, Thread>,
    rules: Rules,
    events: mpsc::Sender<Event>,
}

#[derive(Debug)]
struct Thread {
    domain: DomainName,
    queue: SyncSender<Told>,
    thread: JoinHandle<()>,
    missed: Arc<AtomicU64>,
    /// Instances of which it waits to be told that a lower router was heard: once is enough.
    lower: BTreeMap<String, Arc<AtomicBool>>,
}

/// What happened.
#[derive(Debug)]
enum Told {
    Transition(Vec<Word>, Transition),
    Lower(Script, Arc<AtomicBool>),
}

impl Scripts {
    pub(super) fn start(domains: &BTreeMap<DomainId, DomainName>, rules: &Rules, events: &mpsc::Sender<Event>) -> Self {
        let mut scripts = Scripts { threads: BTreeMap::new(), rules: rules.clone(), events: events.clone() };
        scripts.set(domains);
        scripts
    }

    /// Other scripts, for the domains that have others: theirs follow what is still to be run of the former ones.
    pub(super) fn set(&mut self, domains: &BTreeMap<DomainId, DomainName>) {
        let mut former = std::mem::take(&mut self.threads);
        for (id, domain) in domains {
            let before = former.remove(id);
            let silent = Notify::default();
            let is_silent = domain.notify == silent && domain.members.iter().all(|(_, notify)| *notify == silent);
            let is_silent = is_silent && domain.deleted.is_empty() && domain.lower.is_empty();
            let thread = match before {
                Some(before) if before.domain == *domain => Some(before),
                _ if is_silent => None,
                before => self.begin(domain, before),
            };
            self.threads.extend(thread.map(|thread| (*id, thread)));
        }
    }

    fn begin(&self, domain: &DomainName, before: Option<Thread>) -> Option<Thread> {
        let (queue, told) = sync_channel(QUEUE);
        let (served, rules, events) = (domain.clone(), self.rules.clone(), self.events.clone());
        let before = before.map(|Thread { thread, .. }| thread);
        let missed = Arc::<AtomicU64>::default();
        let counted = missed.clone();
        let serve = move || {
            // I22: its queue has no sender any more, so that it ends.
            before.map(JoinHandle::join);
            while let Ok(next) = told.recv() {
                serve(&served, &rules, next);
                caught_up(&served.name, &told, &counted, &events)
                    .into_iter()
                    .for_each(|told| serve(&served, &rules, told));
            }
        };
        let thread = thread::Builder::new().name(format!("notify {}", domain.name)).spawn(serve);
        let thread = thread.inspect_err(|error| tracing::error!(%error, "no thread for notify scripts")).ok()?;
        let lower = domain.lower.keys().map(|name| (name.clone(), Arc::default())).collect();
        Some(Thread { domain: domain.clone(), queue, thread, missed, lower })
    }

    /// Tells of a change of role, without waiting.
    pub(super) fn tell(&self, transition: &Transition, words: &[Word]) {
        if let Some(thread) = self.threads.get(&transition.domain) {
            self.put(thread, Told::Transition(words.to_vec(), transition.clone()));
        }
    }

    /// Tells that a Master has heard a lower router.
    pub(super) fn tell_lower(&self, domain: DomainId, instance: &str) {
        let Some(thread) = self.threads.get(&domain) else { return };
        let waits = thread.lower.get(instance).zip(thread.domain.lower.get(instance));
        if let Some((waits, script)) = waits.filter(|(waits, _)| !waits.swap(true, Ordering::AcqRel)) {
            self.put(thread, Told::Lower(script.clone(), waits.clone()));
        }
    }

    fn put(&self, thread: &Thread, told: Told) {
        if let Err(refused) = thread.queue.try_send(told) {
            let missed = thread.missed.fetch_add(1, Ordering::AcqRel) + 1;
            let (std::sync::mpsc::TrySendError::Full(told) | std::sync::mpsc::TrySendError::Disconnected(told)) =
                refused;
            if let Told::Lower(_, waits) = told {
                waits.store(false, Ordering::Release);
            }
            let _ = self.events.try_send(Event::ListenerBehind { who: who(&thread.domain.name), missed: Some(missed) });
        }
    }

    /// What still waits is run; the threads that do so.
    pub(super) fn finish(self) -> Vec<(String, JoinHandle<()>)> {
        self.threads.into_values().map(|thread| (who(&thread.domain.name), thread.thread)).collect()
    }
}

fn who(domain: &str) -> String {
    format!("notify scripts of {domain}")
}

/// Says that nothing is missed any more, once all that waited has been told; what came meanwhile.
fn caught_up(domain: &str, told: &Receiver<Told>, missed: &AtomicU64, events: &mpsc::Sender<Event>) -> Option<Told> {
    if missed.load(Ordering::Acquire) == 0 {
        return None;
    }
    let next = told.try_recv();
    if next.is_err() {
        missed.store(0, Ordering::Release);
        let _ = events.try_send(Event::ListenerBehind { who: who(domain), missed: None });
    }
    next.ok()
}

fn serve(domain: &DomainName, rules: &Rules, told: Told) {
    match told {
        Told::Lower(script, waits) => {
            waits.store(false, Ordering::Release);
            run(&script, rules, &[], &[]);
        }
        Told::Transition(words, transition) => words.iter().for_each(|word| run_all(domain, rules, word, &transition)),
    }
}

/// First the state's own script, then the one for all states (keepalived.conf(5)).
fn run_all(domain: &DomainName, rules: &Rules, word: &Word, transition: &Transition) {
    let member = domain.members.iter().find(|(name, _)| !word.is_group && *name == word.name);
    let notify = member.map_or(&domain.notify, |(_, notify)| notify);
    let own = match word.state {
        "MASTER" => &notify.master,
        "BACKUP" => &notify.backup,
        "FAULT" => &notify.fault,
        "DELETED" => domain.deleted.get(&word.name).map_or(&None, |deleted| &deleted.script),
        _ => &notify.stop,
    };
    let priority = word.priority.to_string();
    let all = [word.kind(), &word.name, word.state, &priority];
    let epoch = transition.epoch.map(|epoch| epoch.to_string());
    let mut variables = vec![
        ("KEEPONE_DOMAIN", domain.name.as_str()),
        ("KEEPONE_ROLE", transition.to.as_str()),
        ("KEEPONE_REASON", transition.reason.as_str()),
        ("KEEPONE_EVIDENCE", transition.evidence.as_str()),
    ];
    variables.extend(epoch.as_deref().map(|epoch| ("KEEPONE_EPOCH", epoch)));
    for (script, arguments) in [(own, &[][..]), (&notify.any, &all[..])] {
        if let Some(script) = script {
            run(script, rules, arguments, &variables);
        }
    }
}
