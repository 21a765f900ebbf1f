//! Times as the operator reads them.

use alloc::format;
use alloc::string::{String, ToString};
use core::time::Duration;

use crate::lease::timing::Millis;

/// From here on nobody counts seconds.
const LONG: Duration = Duration::from_secs(120);

/// In milliseconds to the tenth, in seconds to the millisecond, or in the two greatest units that there are; what is left
/// over is cut off.
pub(super) fn short(time: Duration) -> String {
    let (ms, seconds) = (time.as_millis(), time.as_secs());
    if seconds == 0 {
        return format!("{}.{} ms", ms, time.as_micros() % 1000 / 100);
    }
    if time < LONG {
        return format!("{seconds}.{:03} s", time.subsec_millis());
    }
    match (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60) {
        (0, 0, minutes) => format!("{minutes} min {} s", seconds % 60),
        (0, hours, minutes) => format!("{hours} h {minutes} min"),
        (days, hours, _) => format!("{days} d {hours} h"),
    }
}

/// The same, but with all that is known where what is cut off would put it on the other side of `limit`, or onto it.
pub(super) fn beside(time: Duration, limit: Duration) -> String {
    let unit = if time.as_secs() == 0 { 100 } else { 1000 };
    let micros = time.as_micros();
    let cut = micros - micros % unit;
    if time < LONG && cut.cmp(&limit.as_micros()) != micros.cmp(&limit.as_micros()) {
        return exact(time);
    }
    short(time)
}

/// To the microsecond, without noughts at its end.
pub(super) fn exact(time: Duration) -> String {
    if time.as_secs() == 0 {
        return Millis(time).to_string();
    }
    let decimals = format!("{}.{:06}", time.as_secs(), time.subsec_micros());
    format!("{} s", decimals.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    #[test]
    fn a_time_is_as_precise_as_it_is_long() {
        let shown = [us(0), us(50_067), us(999_999), us(8_064_220), us(119_999_999), us(125_000_000)].map(short);
        assert_eq!(shown, ["0.0 ms", "50.0 ms", "999.9 ms", "8.064 s", "119.999 s", "2 min 5 s"]);
        assert_eq!([7_265, 97_200].map(|seconds| short(Duration::from_secs(seconds))), ["2 h 1 min", "1 d 3 h"]);
        assert_eq!([us(300_000), us(3_609_375), us(5_000_000)].map(exact), ["300 ms", "3.609375 s", "5 s"]);
    }

    #[test]
    fn what_is_cut_off_never_turns_an_inequality_round() {
        assert_eq!(beside(us(300_050), us(300_000)), "300.050 ms", "more than that, and not as much");
        assert_eq!(beside(us(299_950), us(300_000)), "299.9 ms");
        assert_eq!(beside(us(3_609_400), us(3_609_375)), "3.6094 s");
        assert_eq!(beside(us(3_609_375), us(3_609_375)), "3.609375 s");
        assert_eq!(beside(us(8_064_220), us(300_000)), "8.064 s");
    }
}
