//! What is done to the agent, and to the host, while its deadline comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disturbance {
    /// Nothing: it renews no more.
    Idle,
    /// SIGSTOP.
    Stopped,
    /// SIGKILL.
    Killed,
    /// Sixteen busy threads of ordinary priority.
    CpuHogs,
    /// Two busy threads a processor, of real-time priority above the agent's.
    FifoHogs,
    /// Stopped in a renewal between the reading of the clock and the write, and let go on after the deadline.
    Paused,
}

impl Disturbance {
    /// All.
    pub const ALL: [Disturbance; 6] = [
        Disturbance::Idle,
        Disturbance::Stopped,
        Disturbance::Killed,
        Disturbance::CpuHogs,
        Disturbance::FifoHogs,
        Disturbance::Paused,
    ];

    /// In a word or two.
    pub fn as_str(self) -> &'static str {
        match self {
            Disturbance::Idle => "idle",
            Disturbance::Stopped => "stopped",
            Disturbance::Killed => "killed",
            Disturbance::CpuHogs => "16 CPU hogs",
            Disturbance::FifoHogs => "FIFO hogs",
            Disturbance::Paused => "paused in a renewal",
        }
    }
}

/// Priorities of SCHED_FIFO: the agent has 10 of SCHED_RR.
const HOG: i32 = 20;
/// Of what measures: above the hogs.
const OBSERVER: i32 = 50;

#[allow(unsafe_code, reason = "no safe wrapper is at hand")]
fn fifo(priority: i32) {
    // SAFETY: a zeroed sched_param is valid (it is plain integers), it outlives the call, and 0 names the
    // calling thread.
    let _ = unsafe {
        let mut parameters: libc::sched_param = std::mem::zeroed();
        parameters.sched_priority = priority;
        libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &raw const parameters)
    };
}

/// Puts the calling thread before every hog.
pub(super) fn raise() {
    fifo(OBSERVER);
}

/// Busy threads, until dropped.
pub(super) struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    pub(super) fn start(disturbance: Disturbance) -> Option<Self> {
        let processors = thread::available_parallelism().map_or(2, usize::from);
        let (count, real_time) = match disturbance {
            Disturbance::CpuHogs => (16, false),
            Disturbance::FifoHogs => (2 * processors, true),
            Disturbance::Idle | Disturbance::Stopped | Disturbance::Killed | Disturbance::Paused => return None,
        };
        let stop = Arc::new(AtomicBool::new(false));
        let hog = move |stop: Arc<AtomicBool>| {
            if real_time {
                fifo(HOG);
            }
            while !stop.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        };
        let threads = (0..count).map(|_| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || hog(stop))
        });
        Some(Hogs { threads: threads.collect(), stop })
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
