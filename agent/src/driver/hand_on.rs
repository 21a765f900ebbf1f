//! The worker's part of an upgrade in place: hands on what its core must not forget, and ends with everything left as it is.

use std::fs::File;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use keepone_arbiter::etcd::EtcdClient;
use keepone_config::Config;
use keepone_proto::handed::{Handed, Place};
use keepone_proto::id::DomainId;
use keepone_proto::time::Instant;

use super::Driver;
use crate::checkers::desk::Desk;
use crate::clock;
use crate::guardian::pulse;
use crate::upgrade::{self, Outcome};

/// So long it is tried to find the core at rest, with a fresh grant in its hand.
const TRIES: Duration = Duration::from_millis(1500);
/// In the first part of it nothing but a grant that is almost whole will do.
const FRESH: Duration = Duration::from_millis(700);
/// What may be gone of that.
const GONE: Duration = Duration::from_millis(40);

/// While the health checks have not said what they know.
const RUNNING: &str = "scripts of virtual servers are running, or the health checks do not answer";

/// So long the last lines of a recording may take to the disk: what is held waits meanwhile.
const RECORDED: Duration = Duration::from_millis(100);

/// So long after it became MASTER scripts are waited for, as at the end of any worker.
const SETTLES: Duration = Duration::from_secs(3);

/// What was ordered.
#[derive(Debug)]
struct Ordered {
    /// So much has to be left of what is held.
    needed: Duration,
    /// Since when it is tried.
    since: Instant,
    /// Of which boot and configuration it is: summed up by another thread, since a large one takes milliseconds.
    place: Receiver<Place>,
    known: Option<Place>,
    /// What the health checks know, which judge nothing more.
    told: Receiver<Result<Vec<u8>, String>>,
    servers: Option<Result<Vec<u8>, String>>,
}

/// By what it may hand on, and whether it is asked to.
#[derive(Debug, Default)]
pub(crate) struct HandOn {
    memory: Option<File>,
    ordered: Option<Ordered>,
    /// What this process goes on with: the first D of it, and the domains that were held.
    begun: Option<(Instant, Vec<DomainId>)>,
}

impl HandOn {
    pub(crate) fn new(memory: Option<File>, from: Option<&Handed>) -> Self {
        let begun =
            from.and_then(|handed| Some((handed.ends_at()?, handed.held().map(|(domain, _)| domain).collect())));
        HandOn { memory, begun, ..HandOn::default() }
    }

    pub(super) fn order(&mut self, needed: Duration, running: &Arc<Config>, checks: Desk) {
        let (summed, place) = channel();
        let (tell, told) = channel();
        let running = Arc::clone(running);
        let ask = move || {
            // Whoever has given it up does without.
            let _ = summed.send(upgrade::place(&running));
            let _ = tell.send(checks.hand_on(TRIES));
        };
        // Without a thread nothing comes, and it is given up in time.
        let _ = thread::Builder::new().name("upgrade".into()).spawn(ask);
        self.ordered = Some(Ordered { needed, since: clock::now(), place, known: None, told, servers: None });
    }
}

impl Driver {
    /// Whether everything has been handed on, so that the loop ends.
    pub(super) fn hands_on(&mut self) -> bool {
        self.tell_how_it_went();
        let Some(ordered) = &mut self.hand_on.ordered else { return false };
        ordered.known = ordered.known.or_else(|| ordered.place.try_recv().ok());
        ordered.servers = ordered.servers.take().or_else(|| ordered.told.try_recv().ok());
        let now = clock::now();
        let since = ordered.since;
        match self.try_to_hand_on(now, now.since(since) < FRESH) {
            Ok(()) => {
                self.shells.handed_on = true;
                if let Some(recorder) = self.recorder.take() {
                    recorder.finish(RECORDED);
                }
                return true;
            }
            Err(Some(why)) if now.since(since) >= TRIES || why.is_final => {
                tracing::warn!("upgrade: nothing is handed on, everything is given up in good order: {}", why.words);
                upgrade::tell_aside(&self.shells.plan.run_dir, Outcome::Restarted, why.words);
                self.hand_on.ordered = None;
                self.shells.pulse.answer(pulse::STAYS);
            }
            Err(_) => {}
        }
        false
    }

    /// Past the former process's D: whether what it held is held still.
    fn tell_how_it_went(&mut self) {
        let now = clock::now();
        let Some((_, held)) = self.hand_on.begun.take_if(|(ends_at, _)| now > *ends_at) else { return };
        let lost: Vec<&str> = held
            .iter()
            .filter(|id| !self.node.is_open(now, **id))
            .map(|id| self.shells.plan.domain_name(*id))
            .collect();
        let (how, words) = if lost.is_empty() {
            tracing::info!("upgrade: in place, under the same epochs");
            (
                Outcome::InPlace,
                concat!("keepone ", env!("CARGO_PKG_VERSION"), " holds on under the same epochs").to_owned(),
            )
        } else {
            tracing::warn!("upgrade: {} was lost, since no majority answered before the lease ended", lost.join(", "));
            (Outcome::Restarted, format!("{} was lost at the end of its lease", lost.join(", ")))
        };
        upgrade::tell_aside(&self.shells.plan.run_dir, how, words);
    }

    fn try_to_hand_on(&self, now: Instant, fresh: bool) -> Result<(), Option<Why>> {
        let Some(Ordered { needed, known, servers, .. }) = &self.hand_on.ordered else { return Err(None) };
        let plan = &self.shells.plan;
        let is_final = |words: &str| Some(Why { words: words.to_owned(), is_final: true });
        let Some(memory) = &self.hand_on.memory else {
            return Err(is_final("the guardian gave nothing to hand on by"));
        };
        let means = self.shells.gate.as_ref().map(crate::gate_writer::GateWriter::means);
        if let Some(words) = upgrade::unfit(means) {
            return Err(is_final(words));
        }
        let unknown = "what the configuration amounts to is not summed up yet";
        let place = known.ok_or(Some(Why { words: unknown.to_owned(), is_final: false }))?;
        let servers = match servers {
            Some(Ok(servers)) => servers,
            Some(Err(words)) => return Err(is_final(words)),
            None => return Err(Some(Why { words: RUNNING.to_owned(), is_final: false })),
        };
        let quorum = plan.settings.quorum().map(|quorum| quorum.timing.holder_lease());
        let least = quorum.filter(|_| fresh).map_or(*needed, |whole| whole.saturating_sub(GONE).max(*needed));
        let suspended = self.node.suspend(now, place, least).map_err(|why| {
            use keepone_proto::handed::NotSuspended::{Authority, Leaving, NothingHeld};
            Some(Why { words: why.to_string(), is_final: matches!(why, Authority(_) | Leaving | NothingHeld) })
        })?;
        let handed = Handed { store: self.shells.etcd.as_ref().map(EtcdClient::seen), ..suspended };
        if handed.held().any(|(_, held)| now.since(held.master_since) < SETTLES) {
            let words = format!("this node has been MASTER for less than {SETTLES:?}, and its scripts may be running");
            return Err(Some(Why { words, is_final: false }));
        }
        upgrade::write(memory, &handed, servers).map_err(|error| is_final(&format!("it can't be written: {error}")))
    }
}

/// Why not, for now or for good.
struct Why {
    words: String,
    is_final: bool,
}
