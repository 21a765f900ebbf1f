//! Keeping the decision loop punctual: it runs ahead of ordinary processes and is never paged out.
//!
//! Measured elsewhere and here: under CPU hogs the worst wake-up is tens of milliseconds late at ordinary
//! priority and a few under SCHED_RR. Neither is needed for safety; both keep a busy host from losing its
//! lease for nothing.

/// SCHED_RR priority of the decision thread: 1 to 99, low among real-time threads.
const PRIORITY: i32 = 10;

/// Asks for both; what is refused (no CAP_SYS_NICE, a low RLIMIT_MEMLOCK) is only logged.
pub fn ask() {
    // SAFETY: the struct is valid for the call, which reads it; 0 names the calling thread.
    let scheduled = unsafe {
        let parameters = libc::sched_param { sched_priority: PRIORITY };
        // Scripts and other children start with the ordinary policy again.
        libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &parameters)
    };
    if scheduled != 0 {
        let error = std::io::Error::last_os_error();
        tracing::info!(%error, "runs at ordinary priority: grant CAP_SYS_NICE to keep it punctual on a busy host");
    }
    let locked = nix::sys::mman::mlockall(nix::sys::mman::MlockAllFlags::MCL_CURRENT);
    if let Err(error) = locked {
        tracing::info!(%error, "its memory may be paged out: grant CAP_IPC_LOCK");
    }
}
