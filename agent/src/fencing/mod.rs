//! The rings outside the gate, carried out: the fence command, the watchdog, the restart of the machine.
//!
//! What must stay true: nothing here runs on the decision thread but the restart, after which there is none
//! (R15). A command has a thread of its own; the watchdog is the guardian's.

pub mod command;
pub mod reboot;
pub mod watchdog;

use std::collections::BTreeMap;
use std::thread;

use keepone_config::model::FenceCommand;
use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch, NodeId};
use tokio::sync::mpsc;

use self::command::Victim;

/// The way to the fence commands.
#[derive(Debug)]
pub struct Fencing {
    command: Option<FenceCommand>,
    /// What the operator calls the members and the domains.
    nodes: BTreeMap<NodeId, String>,
    events: mpsc::Sender<Event>,
}

impl Fencing {
    /// For the configured command; its answers go to `events`.
    pub fn new(command: Option<FenceCommand>, nodes: BTreeMap<NodeId, String>, events: mpsc::Sender<Event>) -> Self {
        Fencing { command, nodes, events }
    }

    /// Starts the command against `victim`, without waiting; [`Event::Fenced`] follows.
    pub fn fence(&self, domain: (DomainId, &str), victim: NodeId, epoch: Epoch, held: Option<Epoch>) {
        let (id, name) = (domain.0, domain.1.to_owned());
        let node = self.nodes.get(&victim).cloned().unwrap_or_else(|| victim.to_string());
        let answer = move |error| Event::Fenced { domain: id, victim, error };
        let Some(command) = self.command.clone() else {
            // Unreachable from a checked configuration; an answer keeps the core from waiting.
            let _ = self.events.try_send(answer(Some("no fence command is configured".to_owned())));
            return;
        };
        tracing::warn!("{name}: {node} held it and is silent: the fence command runs under epoch {epoch}");
        let events = self.events.clone();
        let run = move || {
            let victim = Victim { name: node, id: victim, domain: name, epoch, held };
            let outcome = command::run(&command, &victim);
            match &outcome {
                Ok(()) => tracing::warn!("{}: {} is fenced", victim.domain, victim.name),
                Err(error) => tracing::error!("{}: {} is not fenced: {error}", victim.domain, victim.name),
            }
            let _ = events.blocking_send(answer(outcome.err().map(|error| error.to_string())));
        };
        if let Err(error) = thread::Builder::new().name("fence".to_owned()).spawn(run) {
            let _ = self.events.try_send(answer(Some(format!("no thread for the fence command: {error}"))));
        }
    }
}
