//! Whom we tell: scripts on a change of role and on alerts, and FIFOs.
//!
//! - [`words`]: what happened, in keepalived's words
//! - [`scripts`]: notify scripts, and [`run`]: one of them, with its user and its timeout
//! - [`servers`]: scripts of virtual and real servers
//! - [`pipe`]: a FIFO of keepalived's kind, with its [`reader`]
//! - [`alerts`]: the alert script
//! - [`fifo`]: the event FIFO
//!
//! Mail and webhooks are [`crate::post`].
//!
//! What must stay true: all are told after the kernel has changed, never before, in order (I22), and never on the
//! decision loop (R15): it only puts into queues, which have bounds.

pub mod alerts;
pub mod fifo;
mod ledger;
mod pipe;
pub mod reader;
pub(crate) mod run;
mod scripts;
pub(crate) mod servers;
mod words;

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_config::model::{Fifo, Fifos};
use keepone_proto::action::{Alert, Transition};
use keepone_proto::decision::Role;
use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, InstanceId, Priority};
use tokio::sync::mpsc;

use crate::assemble::Plan;
use crate::clock;
use crate::dbus::Dbus;
use crate::post::{self, Post, ServerPost};
use crate::snmp::Changes;
use ledger::Ledger;
pub(crate) use pipe::LineWriter;
use pipe::Pipe;
use run::Rules;
use scripts::Scripts;
use words::Word;

/// At the end scripts and readers are waited for so long; keepalived waits for a second.
const END: Duration = Duration::from_secs(3);
/// How often they are looked at then.
const LOOK: Duration = Duration::from_millis(5);

/// The way to scripts and FIFOs.
#[derive(Debug)]
pub struct Notifier {
    scripts: Scripts,
    pipes: Vec<Pipe>,
    /// `lvs_notify_fifo`, into which others write.
    server_pipe: Option<Pipe>,
    server_fifos: Vec<LineWriter>,
    post: Post,
    /// For SNMP's notifications.
    changes: Changes,
    /// The service on D-Bus.
    dbus: Option<Dbus>,
    states_on_reload: bool,
    /// What was last told of each domain.
    last: BTreeMap<DomainId, (Role, Vec<Word>)>,
}

impl Notifier {
    /// Makes the FIFOs, and starts the threads. A FIFO that can't be made is said, and keeps nobody from serving.
    pub(crate) fn start(
        plan: &Plan,
        fifos: &Fifos,
        rules: &Rules,
        events: &mpsc::Sender<Event>,
        (changes, dbus): (Changes, Option<Dbus>),
    ) -> Self {
        let mut ledger = Ledger::open(&plan.run_dir);
        let mut pipe = |fifo: &Fifo| {
            let pipe = Pipe::start(fifo, &rules.user, &mut ledger, events);
            let path = fifo.path.display();
            pipe.inspect_err(|error| tracing::error!(%error, "nothing is written into the FIFO {path}")).ok()
        };
        let of_all = fifos.all.as_ref().and_then(&mut pipe);
        let server_pipe = fifos.ipvs.as_ref().and_then(&mut pipe);
        let server_fifos = of_all.iter().chain(&server_pipe).map(Pipe::writer).collect();
        let pipes = of_all.into_iter().chain(fifos.vrrp.as_ref().and_then(&mut pipe)).collect();
        ledger.keep();
        Notifier {
            scripts: Scripts::start(&plan.domain_names, rules, events),
            pipes,
            server_pipe,
            server_fifos,
            post: Post::start(&plan.post, events),
            changes,
            dbus,
            states_on_reload: fifos.states_on_reload,
            last: BTreeMap::new(),
        }
    }

    /// Where what becomes of virtual and real servers is written; they are whoever's that asks first.
    pub(crate) fn server_fifos(&mut self) -> Vec<LineWriter> {
        std::mem::take(&mut self.server_fifos)
    }

    /// Other scripts and receivers, after a reload.
    pub(crate) fn set(&mut self, plan: &Plan) {
        let domains = &plan.domain_names;
        self.scripts.set(domains);
        self.post.set(&plan.post);
        self.dbus.iter().for_each(|dbus| dbus.set(plan));
        self.last.retain(|id, _| domains.contains_key(id));
    }

    /// Tells of a change of role, without waiting.
    pub(crate) fn tell(&mut self, transition: &Transition, plan: &Plan) {
        let Some(domain) = plan.domain_names.get(&transition.domain) else { return };
        let is_removed = plan.is_removed(transition.domain);
        let words = words::of(domain, transition, is_removed, |id| plan.instance_name(id));
        // Whoever was a candidate in between has no news for those who do not know of it.
        let former = self.last.get(&transition.domain);
        if words.is_empty() || former.is_some_and(|(role, _)| *role == transition.to) {
            return;
        }
        self.scripts.tell(transition, &words);
        let from = former.map_or(transition.from, |(role, _)| *role);
        let states = words.iter().map(|word| post::state(word.is_group, &word.name, word.state, word.priority));
        self.post.tell(transition, from, &domain.name, states.collect());
        // Two reasons for FAULT are one for who reads states alone.
        let states = |words: &[Word]| words.iter().map(|word| word.state).collect::<Vec<_>>();
        if former.is_none_or(|(_, former)| states(former) != states(&words)) {
            words.iter().for_each(|word| self.write(word));
            words.iter().for_each(|word| self.changes.tell(word.is_group, &word.name, word.state));
            if let Some(dbus) = &self.dbus {
                words.iter().filter(|word| !word.is_group).for_each(|word| dbus.tell(&word.name, word.state));
            }
        }
        self.last.insert(transition.domain, (transition.to, words));
    }

    /// Tells of the begin or the end of an alert by mail and webhooks; the alert script has a way of its own.
    pub(crate) fn tell_alert(&mut self, alert: &Alert, plan: &Plan) {
        let domain = alert.domain.map(|domain| plan.domain_name(domain));
        self.post.tell_alert(alert, domain);
    }

    /// The way of virtual and real servers to mail and webhooks: what comes out of it goes to [`Self::tell_server`].
    pub(crate) fn server_post(&self) -> (ServerPost, mpsc::Receiver<post::Server>) {
        self.post.servers()
    }

    /// Tells of a virtual or a real server by mail and webhooks.
    pub fn tell_server(&mut self, server: post::Server) {
        self.post.tell_server(server);
    }

    /// Tells that a Master has heard a lower router.
    pub(crate) fn tell_lower(&self, domain: DomainId, instance: InstanceId, priority: Priority, plan: &Plan) {
        let Some(name) = plan.instance_name(instance) else { return };
        self.scripts.tell_lower(domain, name);
        self.write(&Word::of_instance(name, "MASTER_RX_LOWER_PRI", priority));
    }

    /// Tells of another effective priority, if the instance is to have that told.
    pub(crate) fn tell_priority(
        &self,
        domain: DomainId,
        (instance, priority): (InstanceId, Priority),
        plan: &Plan,
        is_master: bool,
    ) {
        let domain = plan.domain_names.get(&domain);
        let name = plan.instance_name(instance).zip(domain).filter(|(name, domain)| domain.priorities.contains(*name));
        if let Some((name, _)) = name {
            let state = if is_master { "MASTER_PRIORITY" } else { "BACKUP_PRIORITY" };
            self.write(&Word::of_instance(name, state, priority));
        }
    }

    /// Another configuration runs: all states are told anew, if they are to be.
    pub(crate) fn tell_states(&self) {
        if self.states_on_reload {
            self.last.values().flat_map(|(_, words)| words).for_each(|word| self.write(word));
        }
    }

    /// D-Bus is told that another configuration runs.
    pub(crate) fn tell_reloaded(&self) {
        self.dbus.iter().for_each(Dbus::reloaded);
    }

    fn write(&self, word: &Word) {
        if !self.pipes.is_empty() {
            let line = word.to_string();
            self.pipes.iter().for_each(|pipe| pipe.put(&line));
        }
    }

    /// What was told is run and read to its end, by threads of others too, for as long as [`END`]; then the FIFOs go.
    pub(crate) fn stop(self, others: Vec<(String, JoinHandle<()>)>) {
        let Notifier { scripts, pipes, post, dbus, server_pipe, server_fifos, .. } = self;
        drop(server_fifos);
        let until = clock::now() + END;
        let pipes = pipes.into_iter().chain(server_pipe).map(Pipe::finish).collect::<Vec<_>>();
        let mut threads: Vec<(String, JoinHandle<()>)> = scripts.finish();
        threads.extend(others);
        threads.extend(pipes);
        threads.extend(post.finish());
        threads.extend(dbus.map(Dbus::finish));
        while clock::now() < until && threads.iter().any(|(_, thread)| !thread.is_finished()) {
            thread::sleep(LOOK);
        }
        for (who, _) in threads.iter().filter(|(_, thread)| !thread.is_finished()) {
            tracing::warn!("{who} still run: they are not waited for");
        }
    }
}

#[cfg(test)]
mod tests;
