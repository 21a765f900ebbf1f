//! Address lines: `192.0.2.1/24 dev eth0 brd + scope global label eth0:1`.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::{Scope, VirtualAddress};
use crate::source::{At, Place};
use crate::tree::Word;

use super::{Lower, Wanted, value};

/// What kind of line it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// From `virtual_ipaddress_excluded`.
    pub excluded: bool,
}

/// Words that are known on such a line and do nothing yet; the second says whether a value follows.
const LATER: [(&str, bool); 10] = [
    ("peer", true),
    ("use_vmac", false),
    ("home", false),
    ("-nodad", false),
    ("mngtmpaddr", false),
    ("noprefixroute", false),
    ("autojoin", false),
    ("preferred_lft", true),
    ("no_track", false),
    ("track_group", true),
];

/// Reads one line; `None` after a complaint.
pub(super) fn read(lower: &mut Lower<'_>, line: &[Word], shape: Shape) -> Option<At<VirtualAddress>> {
    let (first, rest) = line.split_first()?;
    let read = lower.word("virtual_ipaddress", first, with_prefix)?;
    let (ip, prefix) = read.value;
    let mut address = VirtualAddress {
        address: ip,
        prefix,
        dev: None,
        broadcast: None,
        scope: Scope::GLOBAL,
        label: None,
        excluded: shape.excluded,
    };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        let name = word.text.as_str();
        if let Some((_, valued)) = LATER.iter().find(|(later, _)| *later == name) {
            let message = format!("`{name}` of an address is read, but it does nothing yet");
            lower.report.warning(&word.place, message, "");
            if *valued {
                rest.next();
            }
            continue;
        }
        if !["dev", "brd", "broadcast", "scope", "label"].contains(&name) {
            let message = format!("`{}` after the address {ip}", super::shorten(name));
            lower.report.error(&word.place, message, unknown_help(name));
            return Some(At::new(address, read.place));
        }
        let Some(value) = rest.next() else {
            lower.report.error(&word.place, format!("`{name}` without a value"), "write the value after it");
            break;
        };
        option(lower, &mut address, name, value);
    }
    Some(At::new(address, whole(first, line)))
}

fn option(lower: &mut Lower<'_>, address: &mut VirtualAddress, name: &str, word: &Word) {
    match name {
        "dev" => address.dev = lower.word("dev", word, value::interface).map(|at| at.value),
        "scope" => {
            if let Some(scope) = lower.word("scope", word, scope) {
                address.scope = scope.value;
            }
        }
        "label" => address.label = lower.word("label", word, label).map(|at| at.value),
        _ => match address.address {
            IpAddr::V6(_) => {
                lower.report.error(&word.place, "an IPv6 address has no broadcast address", "remove `brd`");
            }
            IpAddr::V4(ip) => {
                let prefix = address.prefix;
                let read = lower.word("brd", word, |text| broadcast(text, ip, prefix));
                address.broadcast = read.and_then(|at| at.value);
            }
        },
    }
}

fn unknown_help(name: &str) -> String {
    if name.parse::<IpAddr>().is_ok() || name.contains('/') {
        return String::from("write each address on a line of its own");
    }
    let words = ["dev", "brd", "broadcast", "scope", "label"].into_iter();
    match crate::keyword::nearest(name, words.chain(LATER.iter().map(|(name, _)| *name))) {
        Some(near) => format!("did you mean `{near}`?"),
        None => String::from("an address may be followed by dev, brd, scope and label"),
    }
}

fn whole(first: &Word, line: &[Word]) -> Place {
    match (&first.place, line.last().map(|word| &word.place)) {
        (Place::Text { file, start, .. }, Some(Place::Text { file: last, end, .. })) if file == last => {
            Place::Text { file: *file, start: *start, end: (*end).max(*start) }
        }
        (place, _) => place.clone(),
    }
}

fn with_prefix(text: &str) -> Result<(IpAddr, u8), Wanted> {
    let help = "write for instance 192.0.2.100/24 or 2001:db8::100/64";
    let (ip, prefix) = match text.split_once('/') {
        Some((ip, prefix)) => (ip, Some(prefix)),
        None => (text, None),
    };
    let ip: IpAddr = ip.parse().map_err(|_| Wanted::new("an IP address", help))?;
    let most: u8 = if ip.is_ipv4() { 32 } else { 128 };
    let prefix = match prefix {
        None => Some(most),
        Some(prefix) => prefix.parse().ok().filter(|prefix| (1..=most).contains(prefix)),
    };
    match prefix {
        Some(_) if ip.is_unspecified() || ip.is_multicast() || ip.is_loopback() => {
            Err(Wanted::new("an address that a host can hold", help))
        }
        Some(prefix) => Ok((ip, prefix)),
        None => Err(Wanted::new(format!("an address with a prefix length from 1 to {most}"), help)),
    }
}

fn broadcast(text: &str, ip: Ipv4Addr, prefix: u8) -> Result<Option<Ipv4Addr>, Wanted> {
    let hosts = u32::MAX.checked_shr(u32::from(prefix)).unwrap_or(0);
    match text {
        "+" => Ok(Some(Ipv4Addr::from(u32::from(ip) | hosts))),
        "-" => Ok(Some(Ipv4Addr::from(u32::from(ip) & !hosts))),
        text => {
            let help = "write the network's broadcast address, or + to have it computed";
            text.parse().map(Some).map_err(|_| Wanted::new("an IPv4 address", help))
        }
    }
}

fn scope(text: &str) -> Result<Scope, Wanted> {
    // linux/rtnetlink.h, enum rt_scope_t.
    Ok(Scope(match text {
        "global" | "universe" => 0,
        "site" => 200,
        "link" => 253,
        "host" => 254,
        "nowhere" => 255,
        number => {
            let help = "write global, site, link, host, nowhere, or the kernel's number for it";
            number.parse().map_err(|_| Wanted::new("a scope", help))?
        }
    }))
}

fn label(text: &str) -> Result<String, Wanted> {
    if (1..=15).contains(&text.len()) && !text.contains(char::is_whitespace) {
        Ok(text.to_owned())
    } else {
        Err(Wanted::new("a label of 1 to 15 bytes", "write the interface's name, a colon and a short word: eth0:web"))
    }
}
