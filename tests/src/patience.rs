//! Waiting for what the kernel and other processes do in their own time.

use std::thread;
use std::time::{Duration, Instant};

const STEP: Duration = Duration::from_millis(10);

/// Looks until something is found, and panics with `what` if it is not `within` that time.
#[track_caller]
pub fn eventually<T>(within: Duration, what: impl Fn() -> String, mut look: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begin.elapsed() < within, "{}", what());
        thread::sleep(STEP);
    }
}
