//! Several stories at a time: namespaces keep them apart, and mostly they wait.
//!
//! Networks are made before the first story begins and unmade after the last one has ended: to make or unmake one
//! takes the kernel's rtnl lock, for which every router waits that sets an address.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use keepone_tests::lan::Lan;

/// How many at a time, on two cores too.
const AT_A_TIME: usize = 6;

/// One row of stories at a time, whichever tests ask.
static ROW: Mutex<()> = Mutex::new(());

/// `tell` of each item, on a LAN of its own, which it gives back if all went well; the answers in their order.
pub fn map<T: Copy + Send, R: Send>(items: &[T], tell: impl Fn(T, Lan) -> (R, Option<Lan>) + Sync) -> Vec<R> {
    let _row = ROW.lock().unwrap_or_else(PoisonError::into_inner);
    let open: VecDeque<(usize, T, Lan)> = items.iter().enumerate().map(|(place, item)| (place, *item, lan())).collect();
    let (open, done) = (Mutex::new(open), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..AT_A_TIME.min(items.len()) {
            scope.spawn(|| {
                loop {
                    let Some((place, item, lan)) = open.lock().unwrap().pop_front() else { return };
                    let answer = tell(item, lan);
                    done.lock().unwrap().push((place, answer));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(place, _)| *place);
    let (answers, _lans): (Vec<R>, Vec<Option<Lan>>) = done.into_iter().map(|(_, answer)| answer).unzip();
    answers
}

/// Two nodes and a client, without a witness.
pub fn lan() -> Lan {
    Lan::with_witnesses(0, 0).unwrap()
}
