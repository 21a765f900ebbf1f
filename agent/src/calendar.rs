//! Days and hours of UTC, for people: the stamps of the event log, and `--since`.
//!
//! Nothing is decided by them (T1).

use std::time::Duration;

const DAY: u64 = 86_400;

/// Since 1970, as `2026-11-26T17:30:00.123Z`.
pub fn format(since_1970: Duration) -> String {
    let (days, second) = (since_1970.as_secs() / DAY, since_1970.as_secs() % DAY);
    let (year, month, day) = date(days);
    let (hour, minute) = (second / 3600, second / 60 % 60);
    let milli = since_1970.subsec_millis();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{:02}.{milli:03}Z", second % 60)
}

/// Since 1970, in the words of ctime(3) with microseconds and in UTC: `Thu Nov 26 17:30:00.123456 2026`.
pub fn as_ctime(since_1970: Duration) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (days, second) = (since_1970.as_secs() / DAY, since_1970.as_secs() % DAY);
    let (year, month, day) = date(days);
    let name =
        |of: &[&'static str], at: u64| usize::try_from(at).ok().and_then(|at| of.get(at)).copied().unwrap_or("?");
    let (weekday, month) = (name(&DAYS, days % 7), name(&MONTHS, month - 1));
    let (hour, minute, second, micros) = (second / 3600, second / 60 % 60, second % 60, since_1970.subsec_micros());
    format!("{weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02}.{micros:06} {year}")
}

/// The date of a day counted from 1970-01-01, by the proleptic Gregorian calendar. Years are counted from March, so
/// that a leap day ends one; the 146,097 days of 400 years are alike.
fn date(days: u64) -> (u64, u64, u64) {
    // 0000-03-01 is 719,468 days before.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

/// The day, counted from 1970-01-01.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + (153 * from_march + 2) / 5 + day - 1;
    (era * 146_097 + day_of_era).checked_sub(719_468)
}

/// A time as an operator writes it: `90s`, `10m`, `3h` or `2d` before `now`, or `2026-11-26`, with or without a
/// `T17:30` or `T17:30:05`, in UTC.
pub fn parse(text: &str, now: Duration) -> Option<Duration> {
    let text = text.trim().trim_end_matches('Z');
    if let Some((number, unit)) = text.char_indices().last().and_then(|(at, unit)| Some((text.get(..at)?, unit)))
        && let Ok(number) = number.parse::<u64>()
        && let Some(seconds) = match unit {
            's' => Some(1),
            'm' => Some(60),
            'h' => Some(3600),
            'd' => Some(DAY),
            _ => None,
        }
    {
        return Some(now.saturating_sub(Duration::from_secs(number.checked_mul(seconds)?)));
    }
    let (date, time) = text.split_once(['T', ' ']).unwrap_or((text, "00:00"));
    let mut numbers = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (numbers.next()??, numbers.next()??, numbers.next()??);
    let time = time.split('.').next().unwrap_or_default();
    let mut numbers = time.splitn(3, ':').map(|part| part.parse::<u64>().ok());
    let (hour, minute, second) = (numbers.next()??, numbers.next()??, numbers.next().unwrap_or(Some(0))?);
    let in_range = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day);
    if !in_range || hour >= 24 || minute >= 60 || second >= 61 {
        return None;
    }
    // A day that its month does not have is another one's.
    let days = days(year, month, day).filter(|days| self::date(*days) == (year, month, day))?;
    Some(Duration::from_secs(days * DAY + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_as_ctime_tells_it() {
        // As `date -u -d @1795834082` has them.
        let told = |seconds, micros: u32| as_ctime(Duration::new(seconds, micros * 1000));
        assert_eq!(told(1_795_834_082, 59_566), "Sat Nov 28 02:48:02.059566 2026");
        assert_eq!(told(0, 0), "Thu Jan  1 00:00:00.000000 1970");
        assert_eq!(told(951_695_999, 999_999), "Sun Feb 27 23:59:59.999999 2000");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199, "2024-02-29T23:59:59.000Z"),
            (1_735_689_599, "2024-12-31T23:59:59.000Z"),
            (1_735_689_600, "2025-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
        ] {
            let time = Duration::from_secs(seconds);
            assert_eq!(format(time), text);
            assert_eq!(parse(text, Duration::ZERO), Some(time));
        }
    }

    #[test]
    fn a_time_is_written_as_people_do() {
        let now = Duration::from_secs(1_709_251_199);
        assert_eq!(parse("90s", now), Some(now - Duration::from_secs(90)));
        assert_eq!(parse("2d", now), Some(now - Duration::from_secs(2 * DAY)));
        assert_eq!(parse("2024-02-29T23:59", now).map(format), Some("2024-02-29T23:59:00.000Z".into()));
        assert_eq!(parse("2024-02-29", now).map(format), Some("2024-02-29T00:00:00.000Z".into()));
        let wrong = ["", "yesterday", "2024-13-01", "10", "5x", "2024-02-29T24:00", "-5m", "2023-02-29", "2024-04-31"];
        // None of these may overflow either.
        let strange = ["2000-03-00", "1970-00-01", "2024-18446744073709551615-01", "18446744073709551615-01-01"];
        let long = ["18446744073709551615d", "2024-01-01T18446744073709551615:00"];
        for wrong in wrong.iter().chain(&strange).chain(&long) {
            assert_eq!(parse(wrong, now), None, "{wrong}");
        }
    }
}
