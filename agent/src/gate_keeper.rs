//! The gate's self-test (R14) and its following of interfaces, on a thread of their own.
//!
//! The kernel answers both under its rtnl lock, which anybody on the host may hold for long; the decision
//! loop must not wait for it (R15). A test that hangs is itself a finding: see [`GateKeeper::test`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use keepone_proto::event::{Event, GateStrength};
use tokio::sync::mpsc;

use crate::gate::{FormerGone, Keeper};

/// How often it is looked whether former gates are gone.
const LOOK: Duration = Duration::from_millis(2);
/// Tests that may be owed before the gate counts as untested: they are asked for once a second.
const OWED: u32 = 10;

enum Job {
    Test { number: u64, strength: GateStrength, former: FormerGone },
    Follow,
}

/// The thread's end in the driver's hand.
pub(crate) struct GateKeeper {
    jobs: Option<Sender<Job>>,
    owed: Arc<AtomicU32>,
    events: mpsc::Sender<Event>,
}

impl GateKeeper {
    /// Starts the thread, if there is something to keep.
    pub(crate) fn start(keeper: Option<Keeper>, events: mpsc::Sender<Event>) -> Self {
        let owed = Arc::new(AtomicU32::new(0));
        let jobs = keeper.and_then(|keeper| {
            let (jobs, queue) = channel();
            let (settled, answers) = (Arc::clone(&owed), events.clone());
            let thread = thread::Builder::new().name("gate-keeper".into());
            thread.spawn(move || serve(&keeper, &queue, &settled, &answers)).ok().map(|_| jobs)
        });
        GateKeeper { jobs, owed, events }
    }

    /// Whether there is something to examine.
    pub(crate) fn is_there(&self) -> bool {
        self.jobs.is_some()
    }

    /// Asks for a self-test; the answer comes as [`Event::GateTest`]. Tests that do not end are a fault.
    pub(crate) fn test(&self, number: u64, strength: GateStrength, former: FormerGone) {
        if self.owed.load(Ordering::Relaxed) >= OWED {
            let fault = "the gate's self-test does not end: the kernel's rtnl lock is held for many seconds".to_owned();
            let _ = self.events.try_send(Event::GateTest { number, strength, fault });
            return;
        }
        self.owed.fetch_add(1, Ordering::Relaxed);
        self.ask(Job::Test { number, strength, former });
    }

    /// Gates what has appeared.
    pub(crate) fn follow_interfaces(&self) {
        self.ask(Job::Follow);
    }

    fn ask(&self, job: Job) {
        // The thread lives as long as this end does.
        let _ = self.jobs.as_ref().map(|jobs| jobs.send(job));
    }
}

fn serve(keeper: &Keeper, queue: &Receiver<Job>, owed: &AtomicU32, events: &mpsc::Sender<Event>) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Test { number, strength, former } => {
                while !former.is_gone() {
                    thread::sleep(LOOK);
                }
                let fault = keeper.self_test().err().unwrap_or_default();
                owed.fetch_sub(1, Ordering::Relaxed);
                if events.blocking_send(Event::GateTest { number, strength, fault }).is_err() {
                    return;
                }
            }
            Job::Follow => {
                if let Err(error) = keeper.attach_new() {
                    tracing::error!(%error, "an interface has no gate");
                }
            }
        }
    }
}
