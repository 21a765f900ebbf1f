//! Keeping a thread punctual: it runs ahead of ordinary processes and is never paged out.
//!
//! Measured: under CPU hogs the worst wake-up is tens of milliseconds late at ordinary priority and a few under
//! SCHED_RR. A voter that is late costs its holder a renewal, a guardian that is late leaves a dead worker's addresses
//! in the kernel. Neither is needed for safety; both keep a busy host from losing a lease for nothing.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicI32, Ordering};

/// Where a thread stands among those of the program that run in real time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rank {
    /// It decides or answers: beats, leases, the gate. It never waits, and works for microseconds at a time.
    Decides,
    /// It carries out what was decided, or watches for it, and may have work for milliseconds at a time: whoever decides
    /// goes first.
    CarriesOut,
}

impl Rank {
    /// SCHED_RR priority: 1 to 99, both low among real-time threads unless the operator has said otherwise.
    fn priority(self) -> i32 {
        let decides = DECIDES.load(Ordering::Relaxed);
        match self {
            Rank::Decides => decides,
            Rank::CarriesOut => (decides - 1).clamp(1, 5),
        }
    }
}

/// The priority of [`Rank::Decides`].
static DECIDES: AtomicI32 = AtomicI32::new(10);

/// The operator's choice for [`Rank::Decides`], from 1 to 99; for threads that ask after this.
pub fn set_priority(priority: u8) {
    DECIDES.store(i32::from(priority.clamp(1, 99)), Ordering::Relaxed);
}

/// Keeps the program's code in memory, for a process that is about to start its threads: a path that is taken for the
/// first time, such as letting go, must not wait for a disk that hangs.
///
/// What is free on the heap is given back to the kernel: reading thousands of virtual servers takes several times the memory
/// of what becomes of them, and all of it would be locked. For the time before anything is decided: it takes some
/// milliseconds with a hundred megabytes.
pub fn lock_code() {
    // Brings all of it in, free memory too.
    lock(libc::MCL_CURRENT);
    give_back();
    lock(libc::MCL_CURRENT | libc::MCL_ONFAULT);
}

#[cfg(target_env = "gnu")]
fn give_back() {
    // SAFETY: neither takes memory. What is locked is not given back, so that for this moment nothing is; malloc_trim(3)
    // touches only what is free, and glibc guards it against other threads.
    unsafe {
        libc::munlockall();
        libc::malloc_trim(0);
    }
}

#[cfg(not(target_env = "gnu"))]
fn give_back() {}

fn lock(what: i32) {
    // SAFETY: it takes flags, and no memory.
    if unsafe { libc::mlockall(what) } != 0 {
        let error = std::io::Error::last_os_error();
        tracing::info!(%error, "its memory may be paged out: grant CAP_IPC_LOCK");
    }
}

/// Asks for both, for the calling thread; what is refused (no CAP_SYS_NICE, a low RLIMIT_MEMLOCK) is only logged.
pub fn ask(rank: Rank) {
    // SAFETY: the struct is valid for the call, which reads it; 0 names the calling thread.
    let scheduled = unsafe {
        let parameters = libc::sched_param { sched_priority: rank.priority() };
        // Scripts and other children, and threads begun later, start with the ordinary policy again.
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &parameters)
    };
    if scheduled != 0 {
        let error = std::io::Error::last_os_error();
        tracing::info!(%error, "runs at ordinary priority: grant CAP_SYS_NICE to keep it punctual on a busy host");
    }
    // What threads have of their stacks, and not the 2 MiB that each might need.
    lock(libc::MCL_CURRENT | libc::MCL_ONFAULT);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Needs root, or a high RLIMIT_MEMLOCK.
    #[cfg(target_env = "gnu")]
    #[test]
    fn what_is_free_is_not_locked_and_what_is_code_is() {
        // In mebibytes: VmRSS and VmLck of proc_pid_status(5).
        let of = |what: &str| {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with(what)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() / 1024
        };
        let small = |count: usize| (0..count).map(|_| vec![1_u8; 1024]).collect::<Vec<_>>();
        // Far more than what the tests beside it may take meanwhile.
        let (freed, stays) = (small(200 << 10), small(1));
        let full = of("VmRSS:");
        drop(freed);
        lock_code();
        assert!(full >= 200 && of("VmRSS:") + 160 < full, "{full} MiB, and then {}", of("VmRSS:"));
        assert!(of("VmLck:") > 0 && stays.len() == 1);
    }

    /// Needs root.
    #[test]
    fn who_decides_goes_before_who_carries_out_and_children_before_nobody() {
        let policy = |of| {
            std::thread::spawn(move || {
                ask(of);
                let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
                let fields: Vec<String> = stat.rsplit(')').next().unwrap().split_whitespace().map(Into::into).collect();
                let child = std::thread::spawn(|| std::fs::read_to_string("/proc/thread-self/stat").unwrap());
                let child = child.join().unwrap();
                let child: Vec<String> = child.rsplit(')').next().unwrap().split_whitespace().map(Into::into).collect();
                // proc_pid_stat(5): rt_priority is the 40th field, policy the 41st; two come before the state.
                [(fields[37].clone(), fields[38].clone()), (child[37].clone(), child[38].clone())]
            })
        };
        let round_robin = libc::SCHED_RR.to_string();
        let ordinary = ("0".to_owned(), libc::SCHED_OTHER.to_string());
        for (rank, priority) in [(Rank::Decides, "10"), (Rank::CarriesOut, "5")] {
            let found = policy(rank).join().unwrap();
            assert_eq!(found, [(priority.to_owned(), round_robin.clone()), ordinary.clone()], "{rank:?}");
        }
        for (chosen, carries_out) in [(50, "5"), (3, "2"), (1, "1")] {
            set_priority(chosen);
            assert_eq!(policy(Rank::Decides).join().unwrap()[0].0, chosen.to_string());
            assert_eq!(policy(Rank::CarriesOut).join().unwrap()[0].0, carries_out, "never before who decides");
        }
    }
}
