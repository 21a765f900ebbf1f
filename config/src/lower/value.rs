//! Single values: numbers, durations, addresses, names.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::Wanted;

/// on, off, true, false, yes, no.
pub(super) fn boolean(text: &str) -> Result<bool, Wanted> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" | "yes" => Ok(true),
        "off" | "false" | "no" => Ok(false),
        _ => Err(Wanted::new("on or off", "write on, true or yes; or off, false or no")),
    }
}

/// A whole number within bounds.
pub(super) fn number<T: TryFrom<u64>>(
    bounds: RangeInclusive<u64>,
    default: &'static str,
) -> impl Fn(&str) -> Result<T, Wanted> {
    move |text| {
        let number = text.parse::<u64>().ok().filter(|n| bounds.contains(n)).and_then(|n| T::try_from(n).ok());
        number.ok_or_else(|| {
            let what = format!("a whole number from {} to {}", bounds.start(), bounds.end());
            Wanted::new(what, default)
        })
    }
}

/// A whole number with a sign, within bounds.
pub(super) fn integer(bounds: RangeInclusive<i64>, help: &'static str) -> impl Fn(&str) -> Result<i64, Wanted> {
    move |text| {
        text.parse()
            .ok()
            .filter(|n| bounds.contains(n))
            .ok_or_else(|| Wanted::new(format!("a whole number from {} to {}", bounds.start(), bounds.end()), help))
    }
}

/// One of several words.
pub(super) fn one_of<T: Copy>(
    choices: &'static [(&'static str, T)],
    help: &'static str,
) -> impl Fn(&str) -> Result<T, Wanted> {
    move |text| {
        let found = choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
        found.ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            let what = match names.split_last() {
                Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
                _ => names.concat(),
            };
            Wanted::new(what, help)
        })
    }
}

/// A duration: `100ms`, `1s`, `1.5` (seconds), `2m`, `1h`, `250us`.
pub(super) fn duration(bounds: RangeInclusive<Duration>) -> impl Fn(&str) -> Result<Duration, Wanted> {
    move |text| {
        parse_duration(text).filter(|d| bounds.contains(d)).ok_or_else(|| {
            let what = format!("a duration from {:?} to {:?}", bounds.start(), bounds.end());
            Wanted::new(what, "write a number of seconds, or a number with us, ms, s, m or h: 0.5, 500ms, 1s")
        })
    }
}

fn parse_duration(text: &str) -> Option<Duration> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit_nanos: u128 = match unit.trim() {
        "us" | "\u{b5}s" => 1_000,
        "ms" => 1_000_000,
        "" | "s" | "sec" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    // Decimal by hand: a float would turn 0.1 s into something that is not 100 ms.
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 12 || fraction.len() > 9 {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let scale = 10_u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u128 = if fraction.is_empty() { 0 } else { fraction.parse().ok()? };
    let nanos = whole * unit_nanos + fraction * unit_nanos / scale;
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

/// A share such as `0.01`, in parts per million.
pub(super) fn parts_per_million(text: &str) -> Result<u32, Wanted> {
    let wanted =
        || Wanted::new("a share from 0 to 0.2", "write the bound on the clock's rate error, for instance 0.01");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let fits = whole == "0" && fraction.len() <= 6 && fraction.bytes().all(|b| b.is_ascii_digit());
    let ppm: u32 = format!("{fraction:0<6}").parse().map_err(|_| wanted())?;
    if fits && ppm <= 200_000 { Ok(ppm) } else { Err(wanted()) }
}

/// An address of either family.
pub(super) fn address(text: &str) -> Result<IpAddr, Wanted> {
    text.parse()
        .map_err(|_| Wanted::new("an IP address", "write for instance 192.0.2.1 or 2001:db8::1, without a prefix"))
}

/// Address and port.
pub(super) fn socket_address(text: &str) -> Result<SocketAddr, Wanted> {
    let help = "write for instance 192.0.2.1:7947 or [2001:db8::1]:7947";
    let parsed: Result<SocketAddr, _> = text.parse();
    parsed.ok().filter(|a| a.port() != 0).ok_or_else(|| Wanted::new("an address and a port", help))
}

/// A name that the kernel takes for an interface.
pub(super) fn interface(text: &str) -> Result<String, Wanted> {
    // linux/if.h: IFNAMSIZ is 16 with the final zero.
    let fits = (1..=15).contains(&text.len()) && text != "." && text != "..";
    if fits && !text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) {
        Ok(text.to_owned())
    } else {
        Err(Wanted::new(
            "the name of an interface",
            "write the kernel's name for it, 1 to 15 characters, as `ip link` shows it",
        ))
    }
}

/// A name that the operator gives to something.
pub(super) fn name(text: &str) -> Result<String, Wanted> {
    let fits = (1..=255).contains(&text.len());
    if fits && !text.contains(|c: char| c.is_control()) {
        Ok(text.to_owned())
    } else {
        Err(Wanted::new("a name", "write 1 to 255 bytes without control characters"))
    }
}

/// Where an AgentX master listens (RFC 2741, 8): a Unix socket or TCP.
pub(super) fn agentx(text: &str) -> Result<String, Wanted> {
    let fits = match text.strip_prefix("tcp:") {
        Some(address) => address.parse::<std::net::SocketAddr>().is_ok(),
        None => text.strip_prefix("unix:").unwrap_or(text).starts_with('/'),
    };
    let wanted =
        || Wanted::new("an AgentX master's address", "write unix:PATH, or tcp:ADDRESS:PORT with a number for each");
    if fits { Ok(text.to_owned()) } else { Err(wanted()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_exact_and_have_units() {
        for (text, millis) in
            [("100ms", 100), ("0.1", 100), ("1s", 1000), ("1.5", 1500), ("1", 1000), ("2m", 120_000), (".5", 500)]
        {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in ["", ".", "ms", "1x", "-1", "1e3", "1.0.0", "9999999999999", "999999999999h"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_share_is_read_to_the_millionth() {
        assert_eq!(parts_per_million("0.01").ok(), Some(10_000));
        assert_eq!(parts_per_million("0").ok(), Some(0));
        assert_eq!(parts_per_million("0.000001").ok(), Some(1));
        for text in ["", "1", "0.3", "0.0000001", "0.x", "-0.1", "1e-2"] {
            assert!(parts_per_million(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_interface_has_at_most_fifteen_bytes() {
        assert!(interface("abcdefghijklmno").is_ok());
        for text in ["", "abcdefghijklmnop", "a/b", "a b", ".."] {
            assert!(interface(text).is_err(), "{text}");
        }
    }
}
