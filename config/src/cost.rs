//! How the cost of reading grows with the file; for tests.
//!
//! Never how long something takes: only how much longer it takes for ten times as much, on the same machine, in the time
//! of this thread on a processor. What others do meanwhile does not count, and neither does how fast the machine is.

use std::time::Duration;

/// How long this thread has run.
pub(crate) fn spent() -> Duration {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

/// Ten times as much may cost forty times as much: caches are small, and trees grow a little deeper. A hundred times is
/// what a comparison of each with each costs.
pub(crate) fn assert_grows_with_the_size(small: usize, mut cost: impl FnMut(usize) -> Duration) {
    // A page fault too many in a millisecond is no growth: the least of three.
    let mut least = |size| (0..3).map(|_| cost(size)).min().unwrap_or_default();
    let (few, many) = (least(small), least(small * 10));
    println!("{small}: {few:?}, {}: {many:?}", small * 10);
    assert!(many < few * 40, "{small} cost {few:?}, and {} cost {many:?}", small * 10);
}
