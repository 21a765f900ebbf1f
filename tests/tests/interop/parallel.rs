//! Several at a time: namespaces keep them apart, and mostly they wait.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;

/// How many at a time, on two cores too.
const AT_A_TIME: usize = 8;

/// `work` on each of `items`; the answers in their order.
pub fn map<T: Copy + Send, R: Send>(items: &[T], work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let open: Mutex<VecDeque<(usize, T)>> = Mutex::new(items.iter().copied().enumerate().collect());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let Some((place, item)) = open.lock().unwrap().pop_front() else { return };
                    let answer = work(item);
                    done.lock().unwrap().push((place, answer));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, answer)| answer).collect()
}
