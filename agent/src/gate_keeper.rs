//! The gate's self-test (R14) and its following of interfaces, on a thread of their own.
//!
//! The kernel answers both under its rtnl lock, which anybody on the host may hold for long; the decision
//! loop must not wait for it (R15). A test that hangs is itself a finding: see [`GateKeeper::test`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SendError, Sender, channel};
use std::thread;
use std::time::Duration;

use keepone_proto::event::{Event, GateStrength};
use keepone_proto::time::Instant;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use tokio::sync::mpsc;

use crate::clock;
use crate::gate::{FormerGone, GateDomain, Keeper};

/// How often it is looked whether former gates are gone.
const LOOK: Duration = Duration::from_millis(2);
/// After a change of an interface, for those that come with it.
const BREATH: Duration = Duration::from_millis(2);
/// After a failure of the watch.
const AFTER_ERROR: Duration = Duration::from_millis(200);
/// Tests are owed and none has ended for this long: the gate counts as untested. How many are owed says
/// nothing, for each of many domains that claim at once asks for its own.
const OVERDUE: Duration = Duration::from_secs(10);

enum Job {
    Test { number: u64, strength: GateStrength, former: FormerGone },
    Follow,
    Change { domains: Vec<GateDomain>, number: u64 },
}

/// The way to the thread.
#[derive(Debug, Clone)]
struct Jobs {
    queue: Sender<Job>,
    /// A [`Job::Follow`] is in the queue. One looks at all interfaces: more of them would only keep the tests
    /// waiting, which a host that makes interfaces all the time has no end of.
    follows: Arc<AtomicBool>,
}

impl Jobs {
    fn follow(&self) -> Result<(), SendError<Job>> {
        if self.follows.swap(true, Ordering::AcqRel) { Ok(()) } else { self.queue.send(Job::Follow) }
    }
}

/// The tests that have been asked for and have not ended.
#[derive(Debug, Default)]
struct Owed {
    count: AtomicU32,
    /// When the last one ended, or the first one was asked for: nanoseconds of the boot clock.
    moved: AtomicU64,
}

impl Owed {
    /// One more; `false` if none has ended for [`OVERDUE`] although some are owed.
    fn ask(&self, now: Instant) -> bool {
        if self.count.load(Ordering::Relaxed) == 0 {
            self.moved.store(now.as_nanos(), Ordering::Relaxed);
        } else if now.since(Instant::from_nanos(self.moved.load(Ordering::Relaxed))) > OVERDUE {
            return false;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// One has ended.
    fn settle(&self, now: Instant) {
        self.moved.store(now.as_nanos(), Ordering::Relaxed);
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread's end in the driver's hand.
pub(crate) struct GateKeeper {
    jobs: Option<Jobs>,
    owed: Arc<Owed>,
    events: mpsc::Sender<Event>,
}

impl GateKeeper {
    /// Starts the thread, if there is something to keep.
    pub(crate) fn start(keeper: Option<Keeper>, events: mpsc::Sender<Event>) -> Self {
        let owed = Arc::new(Owed::default());
        let jobs = keeper.and_then(|keeper| {
            let (sender, queue) = channel();
            let follows = Arc::new(AtomicBool::new(false));
            let jobs = Jobs { queue: sender, follows: Arc::clone(&follows) };
            let (settled, answers) = (Arc::clone(&owed), events.clone());
            watch_links(jobs.clone());
            let thread = thread::Builder::new().name("gate-keeper".into());
            thread.spawn(move || serve(&keeper, &queue, &follows, &settled, &answers)).ok().map(|_| jobs)
        });
        GateKeeper { jobs, owed, events }
    }

    /// Whether there is something to examine.
    pub(crate) fn is_there(&self) -> bool {
        self.jobs.is_some()
    }

    /// Asks for a self-test; the answer comes as [`Event::GateTest`]. Tests that do not end are a fault.
    pub(crate) fn test(&self, number: u64, strength: GateStrength, former: FormerGone) {
        if !self.owed.ask(clock::now()) {
            let fault = "the gate's self-test does not end: the kernel's rtnl lock is held for many seconds".to_owned();
            let _ = self.events.try_send(Event::GateTest { number, strength, fault });
            return;
        }
        // The thread lives as long as this end does.
        let _ = self.jobs.as_ref().map(|jobs| jobs.queue.send(Job::Test { number, strength, former }));
    }

    /// Gates these domains and no others, unless somebody with a higher number has come first.
    pub(crate) fn change(&self, domains: Vec<GateDomain>, number: u64) {
        let _ = self.jobs.as_ref().map(|jobs| jobs.queue.send(Job::Change { domains, number }));
    }

    /// Gates what has appeared.
    pub(crate) fn follow_interfaces(&self) {
        let _ = self.jobs.as_ref().map(Jobs::follow);
    }
}

/// Has the gate follow every interface at once, also those that no configuration names: the kernel answers for
/// an address on any. Without it the self-test, each second, makes up for it.
fn watch_links(jobs: Jobs) {
    /// RTMGRP_LINK (linux/rtnetlink.h).
    const LINKS: u32 = 1;
    let Ok(mut socket) = Socket::new(NETLINK_ROUTE) else { return };
    if socket.bind(&SocketAddr::new(0, LINKS)).is_err() {
        return;
    }
    let watch = move || loop {
        match socket.recv_from_full() {
            // Whatever it says, the keeper looks for itself; so does a message that got lost.
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(_) => thread::sleep(AFTER_ERROR),
        }
        // A storm of them is one change; what comes after the look below is another.
        thread::sleep(BREATH);
        while socket.recv(&mut &mut [0_u8; 8192][..], libc::MSG_DONTWAIT).is_ok() {}
        if jobs.follow().is_err() {
            return;
        }
    };
    // Detached: it ends with the process.
    let _ = thread::Builder::new().name("gate-links".into()).spawn(watch);
}

fn serve(keeper: &Keeper, queue: &Receiver<Job>, follows: &AtomicBool, owed: &Owed, events: &mpsc::Sender<Event>) {
    while let Ok(job) = queue.recv() {
        match job {
            Job::Test { number, strength, former } => {
                while !former.is_gone() {
                    thread::sleep(LOOK);
                }
                let fault = keeper.self_test().err().unwrap_or_default();
                owed.settle(clock::now());
                if events.blocking_send(Event::GateTest { number, strength, fault }).is_err() {
                    return;
                }
            }
            Job::Change { domains, number } => {
                if let Err(error) = keeper.change(&domains, number) {
                    tracing::error!(%error, "the gate still bars what the new configuration has no more");
                }
            }
            Job::Follow => {
                // Before the look: what comes after it began is another's.
                follows.store(false, Ordering::Release);
                if let Err(error) = keeper.attach_new() {
                    tracing::error!(%error, "an interface has no gate");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_changes_of_interfaces_one_waits_and_a_test_is_next() {
        let (sender, queue) = channel();
        let jobs = Jobs { queue: sender, follows: Arc::new(AtomicBool::new(false)) };
        (0..100).for_each(|_| jobs.follow().unwrap());
        assert_eq!(queue.try_iter().count(), 1);
        jobs.follows.store(false, Ordering::Release);
        jobs.follow().unwrap();
        assert_eq!(queue.try_iter().count(), 1, "what changes while it looks is looked at again");
    }

    #[test]
    fn sixty_claims_at_once_are_no_hanging_test_and_ten_seconds_without_an_end_are() {
        let (owed, at) = (Owed::default(), |ms: u64| Instant::from_nanos(ms * 1_000_000));
        assert!((0..60).all(|_| owed.ask(at(5_000))), "however many are asked for at once");
        owed.settle(at(14_000));
        assert!(owed.ask(at(24_000)), "one ended ten seconds ago");
        assert!(!owed.ask(at(24_001)), "and none since");
        (0..60).for_each(|_| owed.settle(at(25_000)));
        assert!(owed.ask(at(90_000)), "none was owed");
    }
}
