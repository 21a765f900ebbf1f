//! How fast the kernel runs this host's clocks: `adjtimex(2)`, read only.
//!
//! `CLOCK_BOOTTIME` is slewed together with the wall clock: by the tick length (up to 10 %) and the frequency
//! (up to 500 ppm) that an NTP daemon, or anybody with the right to, has set; and by the kernel's own phase-locked
//! loop, which works off an offset (up to 500 ms) by a part of what is left in each second: a quarter where its
//! time constant is 0, and all of it on the word of a pulse per second. Steps of the wall clock do not touch it.
//! What `adjtime(3)` has asked for is not told here; it is never faster than 500 ppm.
//! The one thing that must stay true: nothing here ever sets anything.

use std::io;

use keepone_proto::event::{ClockState, Event};

/// Microseconds in a second, the unit of `timex.tick` times the ticks of a second.
const MICROS: i64 = 1_000_000;
/// What `timex.freq` counts: 2^-16 parts per million.
const FREQ_SCALE: i64 = 1 << 16;
/// The kernel's SHIFT_PLL.
const PHASE_SHIFT: i64 = 2;
/// And its MAXTC.
const LONGEST_CONSTANT: i64 = 10;

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

/// What the kernel says of its clocks.
fn read() -> io::Result<libc::timex> {
    // SAFETY: timex is plain numbers, for which all zeros are valid.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // `modes` is zero, so that the kernel only fills it in.
    // SAFETY: the pointer is to a whole timex of our own, for the time of the call.
    if unsafe { libc::adjtimex(&raw mut timex) } < 0 { Err(io::Error::last_os_error()) } else { Ok(timex) }
}

/// Whether somebody keeps the wall clock right.
pub(crate) fn is_disciplined() -> bool {
    read().is_ok_and(|timex| timex.status & libc::STA_UNSYNC == 0)
}

fn slew_ppb() -> io::Result<i64> {
    let timex = read()?;
    // SAFETY: sysconf takes a number and touches no memory of ours.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    let offset = offset_ns(timex.offset, timex.status);
    Ok(ppb(timex.tick, timex.freq, ticks).saturating_add(phase_ppb(offset, timex.constant, timex.status)))
}

/// Parts per billion by which the clocks run fast: `tick` in microseconds for each of `ticks` in a second,
/// `freq` in 2^-16 ppm.
fn ppb(tick: i64, freq: i64, ticks: i64) -> i64 {
    let by_tick = tick.saturating_mul(ticks).saturating_sub(MICROS).saturating_mul(1_000);
    by_tick.saturating_add(freq.saturating_mul(1_000) / FREQ_SCALE)
}

/// `timex.offset`, which the status tells the unit of.
fn offset_ns(offset: i64, status: i32) -> i64 {
    if status & libc::STA_NANO != 0 {
        return offset;
    }
    // Nanoseconds as an unsigned number of 32 bits, by a thousand: one below zero comes out as four seconds.
    let offset = offset.saturating_mul(1_000);
    if offset > i64::from(i32::MAX) { offset - (1 << 32) } else { offset }
}

/// What the phase-locked loop adds: in each second, by its own time constant, a part of the offset that is left.
fn phase_ppb(offset_ns: i64, constant: i64, status: i32) -> i64 {
    let by_pulse = libc::STA_PPSTIME | libc::STA_PPSSIGNAL;
    if status & by_pulse == by_pulse {
        return offset_ns;
    }
    // The part that runs has been taken off the offset already: a quarter of four is a third of the three left.
    let part = 1_i64 << (PHASE_SHIFT + constant.clamp(0, LONGEST_CONSTANT));
    offset_ns / (part - 1)
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
    fn what_is_left_of_a_phase_offset_is_worked_off_by_a_part_each_second() {
        let nano = libc::STA_NANO | libc::STA_PLL;
        // The worst that one call sets: half a second, of which a quarter goes in the first second. Then three
        // eighths are left, and the reading is still of the rate that runs.
        assert_eq!(phase_ppb(offset_ns(375_000_000, nano), 0, nano), 125_000_000);
        assert_eq!(phase_ppb(offset_ns(-375_000_000, nano), 0, nano), -125_000_000);
        // What ntpd asks for at its shortest interval, 64 s: no more than a 256th in a second.
        assert_eq!(phase_ppb(255_000_000, 6, nano), 1_000_000);
        assert_eq!(phase_ppb(0, 0, nano), 0);
        assert_eq!(phase_ppb(1_000, i64::MAX, nano), 0, "no constant of the kernel's");
        let pulse = nano | libc::STA_PPSTIME | libc::STA_PPSSIGNAL;
        assert_eq!(phase_ppb(2_000_000, 6, pulse), 2_000_000);
        assert_eq!(phase_ppb(255_000_000, 6, nano | libc::STA_PPSTIME), 1_000_000, "no pulse");
    }

    #[test]
    fn an_offset_in_microseconds_keeps_its_sign() {
        assert_eq!(offset_ns(-375_000_000, libc::STA_NANO), -375_000_000);
        assert_eq!(offset_ns(500_000, 0), 500_000_000);
        // As the kernel tells it: (2^32 - 500_000_000) / 1000.
        assert_eq!(offset_ns(3_794_967, 0), -500_000_296);
        assert_eq!(offset_ns(4_294_967, 0), -296, "-1 ns");
        assert_eq!(offset_ns(-500_000, 0), -500_000_000, "told with its sign");
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
