//! Who writes the gate: the decision loop itself, or a thread for it.
//!
//! Means 1 is a store in memory and is written in line. Means 2 is a transaction of nf_tables, which waits
//! while somebody else loads a large rule set, and the decision loop must not (R15): a thread of its own
//! writes, in the order in which it is asked, and its answers come back as events like any others, each with
//! the deadline that was written. Meanwhile the gate shuts at its deadline by itself.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use keepone_arbiter::realtime::{self, Rank};
use keepone_proto::event::{Event, GateStrength};
use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::time::Instant;
use tokio::sync::mpsc;

use crate::gate::{Changed, FormerGone, Gate, GateError, Keeper, Means};

#[derive(Debug)]
enum Job {
    Open { domain: DomainId, epoch: Epoch, until: Instant },
    Shut { domain: DomainId, epoch: Epoch },
    Change(Box<Changed>),
}

enum Hand {
    Here(Box<Gate>),
    Thread { jobs: Sender<Job>, thread: JoinHandle<Gate> },
}

/// The gate in the driver's hand.
pub(crate) struct GateWriter {
    hand: Hand,
    strength: GateStrength,
    former: FormerGone,
    keeper: Option<Keeper>,
}

impl GateWriter {
    /// Starts the thread, if the gate needs one.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(gate: Gate, events: mpsc::Sender<Event>) -> std::io::Result<Self> {
        let (strength, former, keeper) = (gate.strength(), gate.former_gone(), gate.keeper());
        let hand = match gate.means() {
            Means::Bpf | Means::Lifetime => Hand::Here(Box::new(gate)),
            Means::Nft => {
                let (jobs, queue) = channel();
                let thread = thread::Builder::new().name("gate-writer".into());
                let thread = thread.spawn(move || {
                    realtime::ask(Rank::Decides);
                    serve(gate, &queue, &events)
                })?;
                Hand::Thread { jobs, thread }
            }
        };
        Ok(GateWriter { hand, strength, former, keeper })
    }

    /// By which means, as far as that is known without asking a thread.
    pub(crate) fn means(&self) -> Means {
        match &self.hand {
            Hand::Here(gate) => gate.means(),
            Hand::Thread { .. } => Means::Nft,
        }
    }

    /// How well it holds.
    pub(crate) fn strength(&self) -> GateStrength {
        self.strength
    }

    /// See [`Gate::former_gone`].
    pub(crate) fn former_gone(&self) -> FormerGone {
        self.former.clone()
    }

    /// See [`Gate::keeper`].
    pub(crate) fn keeper(&self) -> Option<Keeper> {
        self.keeper.clone()
    }

    /// Opens, or moves the deadline; the answer at once, or later as an event.
    pub(crate) fn open(&mut self, domain: DomainId, epoch: Epoch, until: Instant) -> Option<Event> {
        match &mut self.hand {
            Hand::Here(gate) => Some(answer(domain, epoch, Some(until), gate.open(domain, epoch, until))),
            Hand::Thread { jobs, .. } => ask(jobs, Job::Open { domain, epoch, until }),
        }
    }

    /// Sets a tombstone; the answer at once, or later as an event.
    pub(crate) fn shut(&mut self, domain: DomainId, epoch: Epoch) -> Option<Event> {
        match &mut self.hand {
            Hand::Here(gate) => Some(shut(gate, domain, epoch)),
            Hand::Thread { jobs, .. } => ask(jobs, Job::Shut { domain, epoch }),
        }
    }

    /// See [`Gate::change`].
    pub(crate) fn change(&mut self, changed: Changed) {
        match &mut self.hand {
            Hand::Here(gate) => change(gate, &changed),
            // A thread that has gone is told of by the next write.
            Hand::Thread { jobs, .. } => drop(jobs.send(Job::Change(Box::new(changed)))),
        }
    }

    /// See [`Gate::take_down`].
    pub(crate) fn take_down(self) {
        match self.hand {
            Hand::Here(gate) => gate.take_down(),
            Hand::Thread { jobs, thread } => {
                drop(jobs);
                // A thread that panicked leaves the tables, which shut by themselves.
                if let Ok(gate) = thread.join() {
                    gate.take_down();
                }
            }
        }
    }
}

fn ask(jobs: &Sender<Job>, job: Job) -> Option<Event> {
    let (domain, epoch, until) = match &job {
        Job::Open { domain, epoch, until } => (*domain, *epoch, Some(*until)),
        Job::Shut { domain, epoch } => (*domain, *epoch, None),
        Job::Change(_) => return None,
    };
    let error = String::from("the thread that writes the gate has ended");
    jobs.send(job).is_err().then_some(Event::GateWritten { domain, epoch, until, error: Some(error) })
}

fn serve(mut gate: Gate, queue: &Receiver<Job>, events: &mpsc::Sender<Event>) -> Gate {
    while let Ok(job) = queue.recv() {
        let mut jobs = std::iter::once(job).chain(queue.try_iter()).peekable();
        while let Some(job) = jobs.next() {
            let mut answers = Vec::new();
            match job {
                Job::Change(changed) => change(&mut gate, &changed),
                Job::Shut { domain, epoch } => answers.push(shut(&mut gate, domain, epoch)),
                Job::Open { domain, epoch, until } => {
                    let mut asked = vec![(domain, epoch, until)];
                    while let Some(Job::Open { domain, epoch, until }) =
                        jobs.next_if(|next| matches!(next, Job::Open { .. }))
                    {
                        asked.push((domain, epoch, until));
                    }
                    let written = gate.open_all(&asked);
                    let written = asked.iter().zip(written);
                    answers.extend(
                        written.map(|((domain, epoch, until), written)| answer(*domain, *epoch, Some(*until), written)),
                    );
                }
            }
            for event in answers {
                if events.blocking_send(event).is_err() {
                    return gate;
                }
            }
        }
    }
    gate
}

fn change(gate: &mut Gate, changed: &Changed) {
    if let Err(error) = gate.change(changed) {
        tracing::error!(%error, "the gate's new names were not written: they stay shut until the next renewal");
    }
}

fn shut(gate: &mut Gate, domain: DomainId, epoch: Epoch) -> Event {
    // Open under a newer epoch: this one has its tombstone, which is what was asked.
    let written = match gate.shut(domain, epoch) {
        Err(GateError::Stale { .. }) => Ok(()),
        other => other,
    };
    answer(domain, epoch, None, written)
}

fn answer(domain: DomainId, epoch: Epoch, until: Option<Instant>, written: Result<(), GateError>) -> Event {
    let error = written.err().map(|error| {
        tracing::error!(%error, "the gate was not written");
        error.to_string()
    });
    Event::GateWritten { domain, epoch, until, error }
}
