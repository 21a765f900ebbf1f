//! What the guardian listens to, how long it waits, and what it says.

use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};

use super::{LONGEST_PATIENCE, LONGEST_WAIT, SHORTEST_PATIENCE};
use crate::assemble::Plan;
use crate::gate::GateError;
use crate::voice::say;

/// What the guardian takes: those that have a name, and all real-time ones, of which JSON is one.
pub(super) fn signals() -> SigSet {
    let ours = [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGUSR1, Signal::SIGUSR2];
    let mut mask = SigSet::all();
    for signal in Signal::iterator().filter(|signal| !ours.contains(signal)) {
        mask.remove(signal);
    }
    mask
}

/// A stopped worker's beats stop as well; shorter than that would be false alarms for nothing. Where no peer counts beats
/// it is an Advertisement_Interval: a new worker is there before the three that a peer waits (RFC 9568, 6.1). A worker that
/// can hold no address keeps nobody waiting: it need not be woken so often.
pub(crate) fn patience(plan: &Plan) -> Duration {
    let settings = &plan.settings;
    if settings.instances.is_empty() {
        return settings.heartbeat.silence().max(LONGEST_PATIENCE);
    }
    let shortest = settings.instances.iter().map(|instance| instance.advert_int).min();
    let adverts = shortest.filter(|_| settings.peers.is_empty() && settings.quorum().is_none());
    settings.heartbeat.silence().max(adverts.unwrap_or_default().min(LONGEST_PATIENCE)).max(SHORTEST_PATIENCE)
}

pub(super) fn tell_of_gate(shut: &Result<usize, GateError>) {
    if let Err(error) = shut {
        say(format_args!("the gate could not be shut at once, it shuts at the lease's deadline: {error}"));
    }
}

pub(super) fn backoff(failures: u32) -> Duration {
    Duration::from_millis(250).saturating_mul(1 << failures.min(8)).min(LONGEST_WAIT)
}
