//! The worker as its guardian has it: a child, the pipe that it answers by, and the one that it is ordered through.

use std::fs::File;
use std::io::{Read, Write};
use std::process::Child;
use std::time::Duration;

use keepone_proto::time::Instant;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{STOP, pulse};
use crate::clock;
use crate::dump::What;
use crate::takeover::{Answer, Order};
use crate::voice::say;

/// A worker and its pulse.
pub(super) struct Worker {
    pub(super) child: Child,
    pub(super) pulse: File,
    pub(super) orders: File,
    /// What it has answered to the last order.
    pub(super) answer: Option<Answer>,
    pub(super) started_at: Instant,
    pub(super) heard_at: Instant,
    /// It has answered since the last look.
    pub(super) answered: bool,
    /// It has answered once: from now on silence is a fault.
    pub(super) alive: bool,
    /// It has said since the last look that the node is harmless.
    pub(super) harmless: bool,
    /// It holds nothing any more, and only tidies up.
    pub(super) done: bool,
    /// The operator wants the program replaced.
    pub(super) upgrade: bool,
    /// It can't hand on what it holds.
    pub(super) stays: bool,
}

impl Worker {
    /// Takes what has come over the pipe.
    pub(super) fn listen(&mut self) {
        let mut bytes = [0; 64];
        while let Ok(count) = self.pulse.read(&mut bytes) {
            if count == 0 {
                return;
            }
            self.heard_at = clock::now();
            self.alive = true;
            self.answered = true;
            let read = bytes.get(..count).unwrap_or_default();
            self.harmless |= read.contains(&pulse::HARMLESS);
            self.done |= read.contains(&pulse::DONE);
            self.upgrade |= read.contains(&pulse::UPGRADE);
            self.stays |= read.contains(&pulse::STAYS);
            self.answer = read.iter().copied().find_map(Answer::of).or(self.answer);
        }
    }

    /// Tells it to reload.
    pub(super) fn order(&mut self) {
        self.answer = None;
        // A worker that has gone is found out otherwise.
        let _ = self.orders.write(&[Order::Reload.octet()]);
    }

    /// Tells it to hand on and end, if so much is left of what it holds.
    pub(super) fn order_to_hand_on(&mut self, needed: Duration) {
        let _ = self.orders.write(&[Order::HandOn(needed).octet()]);
    }
}

/// In good order, and by then.
pub(super) fn ask_to_stop(worker: &Worker, stop_by: &mut Option<Instant>) {
    stop_by.get_or_insert(clock::now() + STOP);
    send(worker, Signal::SIGTERM);
}

/// Before its loop runs the signal would end it.
pub(super) fn ask_for(worker: &Worker, what: What) {
    if !worker.alive {
        return say(format_args!("nothing is written: the worker is starting; ask again"));
    }
    send(worker, if what == What::Data { Signal::SIGUSR1 } else { Signal::SIGUSR2 });
}

fn send(worker: &Worker, signal: Signal) {
    if let Ok(pid) = i32::try_from(worker.child.id()) {
        let _ = kill(Pid::from_raw(pid), signal);
    }
}
