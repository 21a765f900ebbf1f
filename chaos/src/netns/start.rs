//! Where clusters that run side by side wait for each other: before the first cut, so that it hits all at the same
//! moment, and before the first of them is taken down, which holds the lock of the kernel's links that all share.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How long a cluster waits for the others before it goes on alone.
const PATIENCE: Duration = Duration::from_secs(25);

/// A line that is crossed by all at once.
#[derive(Debug, Clone)]
pub struct StartLine(Arc<(Mutex<usize>, Condvar)>);

impl StartLine {
    /// For so many clusters.
    pub fn new(clusters: usize) -> Self {
        StartLine(Arc::new((Mutex::new(clusters), Condvar::new())))
    }

    /// Waits for all others to meet or to withdraw.
    pub fn meet(&self) {
        let (missing, changed) = &*self.0;
        let mut left = missing.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(1);
        changed.notify_all();
        // A poisoned or timed-out wait goes on: a late start spoils nothing but the simultaneity.
        drop(changed.wait_timeout_while(left, PATIENCE, |left| *left > 0));
    }

    /// The others need not wait for this cluster.
    pub fn withdraw(&self) {
        let (missing, changed) = &*self.0;
        let mut left = missing.lock().unwrap_or_else(PoisonError::into_inner);
        *left = left.saturating_sub(1);
        changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;
    use std::time::Instant;

    #[test]
    fn nobody_starts_before_the_last_one_has_come_and_nobody_waits_for_who_withdrew() {
        let line = StartLine::new(3);
        let begin = Instant::now();
        let others: Vec<_> = [0, 60].map(|ms| (line.clone(), ms)).into_iter().collect();
        let threads: Vec<_> = others
            .into_iter()
            .map(|(line, ms)| {
                thread::spawn(move || {
                    thread::sleep(Duration::from_millis(ms));
                    if ms == 0 {
                        line.meet()
                    } else {
                        line.withdraw()
                    }
                    Instant::now()
                })
            })
            .collect();
        line.meet();
        assert!(begin.elapsed() >= Duration::from_millis(60) && begin.elapsed() < Duration::from_secs(20));
        for thread in threads {
            assert!(thread.join().unwrap() >= begin + Duration::from_millis(55));
        }
    }
}
