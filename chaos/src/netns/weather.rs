//! Loss, doubling, delay and reordering, by a relay in the switch.
//!
//! This kernel may have no netem. So the switch's program stops the frames of a pair of machines, a tap on the
//! sender's port hands them to a thread, and the thread puts them, after what the weather does to them, out of
//! the receiver's port with a mark that the program lets through. Cuts still apply to marked frames.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use socket2::Socket;

use super::cut::MARK;
use super::error::{Error, io_error};
use super::observe::packet;
use super::topology::{Port, Topology};
use super::{clock, priority};
use crate::deed::Weather;

/// The longest frame that is relayed: offloads make none longer of what the cluster sends.
const LONGEST: usize = 4096;
/// Frames that may be under way; more are lost, as in a full queue.
const QUEUE: usize = 20_000;

/// A xorshift generator (Marsaglia 2003): enough for weather.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        if bound == 0 { 0 } else { u32::try_from((self.0 >> 32) % u64::from(bound)).unwrap_or(0) }
    }
}

/// When each copy of a frame that came at `now` goes on: none, one or two instants.
fn fate(weather: Weather, dice: &mut Dice, now: u64) -> Vec<u64> {
    if dice.below(1000) < u32::from(weather.lost) {
        return Vec::new();
    }
    let copies = if dice.below(1000) < u32::from(weather.doubled) { 2 } else { 1 };
    let mut late = || u64::from(weather.delay_ms) * 1_000_000 + u64::from(dice.below(weather.jitter_ms * 1000)) * 1000;
    (0..copies).map(|_| now + late()).collect()
}

/// The relays at work; they end with [`Relays::end`] or when this is dropped.
#[derive(Debug, Default)]
pub struct Relays {
    over: Arc<AtomicBool>,
    started: u64,
}

impl Drop for Relays {
    fn drop(&mut self) {
        self.end();
    }
}

impl Relays {
    /// Starts one for the frames that leave `from` for `to`, two ports of one network.
    ///
    /// # Errors
    /// [`Error::Io`] when its sockets can't be opened.
    pub fn start(&mut self, topology: &Topology, from: &Port, to: &Port, weather: Weather) -> Result<(), Error> {
        let (tap, out) = topology.switch.run(|| {
            let tap = packet::open(from.index).map_err(io_error("open a relay's tap"))?;
            packet::prepare_for_listening(&tap).map_err(io_error("prepare a relay's tap"))?;
            let out = packet::open(to.index).map_err(io_error("open a relay's way out"))?;
            out.set_mark(MARK).map_err(io_error("mark a relay's frames"))?;
            // It hears the port, too, which nobody reads: keep that small.
            out.set_recv_buffer_size(1).map_err(io_error("shrink a relay's buffer"))?;
            Ok((tap, out))
        })?;
        self.started += 1;
        let dice = Dice(0x9e37_79b9_7f4a_7c15_u64.wrapping_mul(2 * self.started + 1));
        let (target, over) = (to.mac, Arc::clone(&self.over));
        thread::spawn(move || relay(&tap, &out, target, weather, dice, &over));
        Ok(())
    }

    /// Ends them; what is under way is lost.
    pub fn end(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.over = Arc::default();
    }
}

fn relay(tap: &Socket, out: &Socket, target: [u8; 6], weather: Weather, mut dice: Dice, over: &AtomicBool) {
    priority::raise();
    let mut buffer = [0_u8; LONGEST];
    let mut queue: BinaryHeap<Reverse<(u64, u64, Vec<u8>)>> = BinaryHeap::new();
    let mut number = 0_u64;
    while !over.load(Ordering::Relaxed) {
        let now = clock::now();
        while queue.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, _, frame))) = queue.pop() {
                let _ = out.send(&frame);
            }
        }
        let wait = queue.peek().map_or(20_000_000, |Reverse((due, ..))| due.saturating_sub(now).min(20_000_000));
        let _ = tap.set_read_timeout(Some(Duration::from_nanos(wait.max(200_000))));
        let Ok(Some(seen)) = packet::receive(tap, &mut buffer) else { continue };
        let Some(frame) = buffer.get_mut(..seen.length).filter(|_| !seen.outgoing) else { continue };
        packet::mend_checksum(frame);
        let to = frame.get(..6).unwrap_or_default();
        let concerned = to == target || to.first().is_some_and(|first| first & 1 == 1);
        if concerned {
            for due in fate(weather, &mut dice, clock::now()) {
                number += 1;
                if queue.len() < QUEUE {
                    queue.push(Reverse((due, number, frame.to_vec())));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weather_loses_doubles_and_delays_about_as_often_as_it_says() {
        let weather = Weather { lost: 200, doubled: 100, delay_ms: 300, jitter_ms: 600 };
        let mut dice = Dice(1);
        let fates: Vec<Vec<u64>> = (0..10_000).map(|_| fate(weather, &mut dice, 0)).collect();
        let of = |copies: usize| fates.iter().filter(|fate| fate.len() == copies).count();
        assert!((1800..2200).contains(&of(0)) && (650..950).contains(&of(2)), "{} {}", of(0), of(2));
        let all = || fates.iter().flatten().map(|at| at / 1_000_000);
        assert!(all().all(|ms| (300..=900).contains(&ms)) && all().any(|ms| ms > 850) && all().any(|ms| ms < 350));
        assert_eq!(fate(Weather::default(), &mut dice, 7), [7], "fine weather does nothing");
    }
}
