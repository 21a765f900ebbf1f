//! A thread with the priority of the agents' decision threads, which does nothing but run: when it could not, the
//! machine kept the agents from deciding too, and a missed time limit says nothing about them.

use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::Stop;
use crate::netns::{clock, priority};
use crate::spans::Spans;

/// SCHED_RR priority of an agent's decision thread.
const PRIORITY: i32 = 10;
/// Between two breaths.
const BREATH: Duration = Duration::from_millis(2);
/// Later than this is a stall, in nanoseconds.
const STALL: u64 = 10_000_000;

/// Breathes until the run stops; returns when it could not.
pub fn start(stop: Stop) -> JoinHandle<Spans> {
    thread::spawn(move || {
        priority::raise_to(PRIORITY);
        let mut stalls = Vec::new();
        let mut last = clock::now();
        while !stop.is_set() {
            thread::sleep(BREATH);
            let now = clock::now();
            if now - last > STALL {
                stalls.push((last, now));
            }
            last = now;
        }
        Spans::from_pairs(stalls)
    })
}
