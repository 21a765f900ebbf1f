//! Address lines: `192.0.2.1/24 dev eth0 brd + scope global label eth0:1`.

use std::net::{IpAddr, Ipv4Addr};

use crate::model::{AddressOptions, Prefix, Scope, VirtualAddress};
use crate::source::{At, Place};
use crate::tree::Word;

use super::{Lower, Wanted, value};

/// What kind of line it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// From `virtual_ipaddress_excluded`.
    pub excluded: bool,
}

/// What may follow the address.
const WORDS: [&str; 15] = [
    "dev",
    "brd",
    "broadcast",
    "scope",
    "label",
    "peer",
    "use_vmac",
    "home",
    "-nodad",
    "mngtmpaddr",
    "noprefixroute",
    "autojoin",
    "preferred_lft",
    "no_track",
    "track_group",
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
        options: AddressOptions::default(),
    };
    let mut rest = rest.iter();
    while let Some(word) = rest.next() {
        if flag(&mut address.options, &word.text) {
            continue;
        }
        let name = word.text.as_str();
        if !WORDS.contains(&name) {
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

/// Words that stand alone.
fn flag(options: &mut AddressOptions, word: &str) -> bool {
    let flag = match word {
        "use_vmac" => &mut options.use_vmac,
        "home" => &mut options.home,
        "-nodad" => &mut options.nodad,
        "mngtmpaddr" => &mut options.mngtmpaddr,
        "noprefixroute" => &mut options.noprefixroute,
        "autojoin" => &mut options.autojoin,
        "no_track" => &mut options.no_track,
        _ => return false,
    };
    *flag = true;
    true
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
        "peer" => {
            let peer = lower.word("peer", word, with_prefix);
            address.options.peer = peer.map(|at| Prefix { address: at.value.0, length: at.value.1 });
        }
        "preferred_lft" => {
            address.options.preferred_lft = lower.word("preferred_lft", word, lifetime).map(|at| at.value)
        }
        "track_group" => address.options.track_group = lower.word("track_group", word, value::name).map(|at| at.value),
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

fn lifetime(text: &str) -> Result<u32, Wanted> {
    if text == "forever" {
        return Ok(u32::MAX);
    }
    text.parse().map_err(|_| Wanted::new("seconds or forever", "write how long new connections may use the address"))
}

fn unknown_help(name: &str) -> String {
    if name.parse::<IpAddr>().is_ok() || name.contains('/') {
        return String::from("write each address on a line of its own");
    }
    match crate::keyword::nearest(name, WORDS.into_iter()) {
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

pub(super) fn scope(text: &str) -> Result<Scope, Wanted> {
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
