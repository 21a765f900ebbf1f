//! Real-time priority for the few threads whose lateness would be taken for an outage of the cluster.

/// SCHED_RR priority of the observers: above the cluster's threads and above the hogs that a scenario starts,
/// so that they see what those do to each other.
const PRIORITY: i32 = 30;

/// Puts the calling thread ahead of every ordinary one; where that is refused it stays as it is, and its
/// stalls are measured all the same.
pub fn raise() {
    raise_to(PRIORITY);
}

/// The same to another SCHED_RR priority, 1 to 99.
#[allow(unsafe_code, reason = "no safe wrapper is at hand")]
pub fn raise_to(priority: i32) {
    // SAFETY: a zeroed sched_param is valid (it is plain integers), it outlives the call, and 0 names the
    // calling thread.
    let _ = unsafe {
        let mut parameters: libc::sched_param = std::mem::zeroed();
        parameters.sched_priority = priority;
        libc::sched_setscheduler(0, libc::SCHED_RR, &raw const parameters)
    };
}
