//! How fast the kernel runs this host's clocks: `adjtimex(2)`, read only.
//!
//! `CLOCK_BOOTTIME` is slewed together with the wall clock, by the tick length (up to 10 %) and the frequency
//! (up to 500 ppm) that an NTP daemon, or anybody with the right to, has set. Steps of the wall clock do not
//! touch it. The one thing that must stay true: nothing here ever sets anything.

use std::io;

use keepone_proto::event::{ClockState, Event};

/// Microseconds in a second, the unit of `timex.tick` times the ticks of a second.
const MICROS: i64 = 1_000_000;
/// What `timex.freq` counts: 2^-16 parts per million.
const FREQ_SCALE: i64 = 1 << 16;

/// The reader; it tells the core only what has changed.
#[derive(Debug, Default)]
pub(crate) struct Discipline {
    told: Option<ClockState>,
}

impl Discipline {
    /// What is news since the last call.
    pub(crate) fn read(&mut self) -> Option<Event> {
        let state = match slew_ppb() {
            Ok(slew) => ClockState { slew_ppb: Some(slew), error: None },
            Err(error) => ClockState { slew_ppb: None, error: Some(format!("adjtimex: {error}")) },
        };
        if self.told.as_ref() == Some(&state) {
            return None;
        }
        self.told = Some(state.clone());
        Some(Event::ClockState(state))
    }
}

fn slew_ppb() -> io::Result<i64> {
    // SAFETY: timex is plain numbers, for which all zeros are valid.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // `modes` is zero, so that the kernel only fills it in.
    // SAFETY: the pointer is to a whole timex of our own, for the time of the call.
    if unsafe { libc::adjtimex(&raw mut timex) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: sysconf takes a number and touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Ok(ppb(timex.tick, timex.freq, ticks))
}

/// Parts per billion by which the clocks run fast: `tick` in microseconds for each of `ticks` in a second,
/// `freq` in 2^-16 ppm.
fn ppb(tick: i64, freq: i64, ticks: i64) -> i64 {
    let by_tick = tick.saturating_mul(ticks).saturating_sub(MICROS).saturating_mul(1_000);
    by_tick.saturating_add(freq.saturating_mul(1_000) / FREQ_SCALE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tick_and_frequency_add_up() {
        assert_eq!(ppb(10_000, 0, 100), 0);
        // The largest that adjtimex takes: 10 % by the tick, 500 ppm by the frequency.
        assert_eq!(ppb(11_000, 500 << 16, 100), 100_500_000);
        assert_eq!(ppb(9_000, -(500 << 16), 100), -100_500_000);
        assert_eq!(ppb(10_000, 1 << 16, 100), 1_000, "one ppm");
    }

    #[test]
    fn the_kernel_of_this_machine_answers_and_is_told_once() {
        let mut discipline = Discipline::default();
        let Some(Event::ClockState(state)) = discipline.read() else { panic!("nothing told") };
        let slew = state.slew_ppb.unwrap_or_else(|| panic!("{:?}", state.error));
        assert!(slew.abs() <= 100_500_000, "{slew} ppb is more than adjtimex can set");
        // An NTP daemon may turn the frequency between two readings, but not each time.
        let mut told = 0;
        for _ in 0..50 {
            told += usize::from(discipline.read().is_some());
        }
        assert!(told < 25, "told {told} times of 50");
    }
}
