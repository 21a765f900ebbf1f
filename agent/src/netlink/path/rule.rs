//! A routing rule as the kernel's message.

use keepone_config::model::{Rule, RuleAction as Action};
use netlink_packet_core::DefaultNla;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::route::RouteProtocol;
use netlink_packet_route::rule::{RuleAction, RuleAttribute, RuleFlags, RuleMessage, RulePortRange, RuleUidRange};

use super::names::{Kind, Names, number};
use super::route::{PROTOCOL, kind, realms};

/// `FRA_IP_PROTO` (linux/fib_rules.h), of which the crate does not show the type.
const IP_PROTOCOL: u16 = 22;
/// Protocols that rules are made for, by their names (IANA's protocol numbers).
const PROTOCOLS: [(&str, u8); 12] = [
    ("icmp", 1),
    ("igmp", 2),
    ("ipip", 4),
    ("tcp", 6),
    ("udp", 17),
    ("dccp", 33),
    ("gre", 47),
    ("esp", 50),
    ("ah", 51),
    ("ipv6-icmp", 58),
    ("vrrp", 112),
    ("sctp", 132),
];

pub(super) fn message(rule: &Rule, names: &Names) -> Result<RuleMessage, String> {
    let mut message = RuleMessage::default();
    let header = &mut message.header;
    header.family = if rule.ipv6 { AddressFamily::Inet6 } else { AddressFamily::Inet };
    header.dst_len = rule.to.map_or(0, |to| to.length);
    header.src_len = rule.from.map_or(0, |from| from.length);
    header.tos = rule.tos.unwrap_or(0);
    if rule.not {
        header.flags |= RuleFlags::Invert;
    }
    let all = &mut message.attributes;
    header.action = match &rule.action {
        Action::Lookup(name) => {
            let table = names.number(Kind::Table, name)?;
            header.table = u8::try_from(table).unwrap_or(0);
            all.push(RuleAttribute::Table(table));
            RuleAction::ToTable
        }
        Action::L3mdev => {
            all.push(RuleAttribute::L3MDev(true));
            RuleAction::ToTable
        }
        Action::Goto(preference) => {
            all.push(RuleAttribute::Goto(*preference));
            RuleAction::Goto
        }
        Action::Nop => RuleAction::Nop,
        // The numbers of the kinds and of the actions are the same, as far as there are both.
        Action::Like(like) => RuleAction::from(kind(*like)),
    };
    all.extend(rule.to.filter(|to| to.length > 0).map(|to| RuleAttribute::Destination(to.address)));
    all.extend(rule.from.filter(|from| from.length > 0).map(|from| RuleAttribute::Source(from.address)));
    all.extend(rule.iif.clone().map(RuleAttribute::Iifname));
    all.extend(rule.oif.clone().map(RuleAttribute::Oifname));
    all.extend(rule.preference.map(RuleAttribute::Priority));
    if let Some((mark, mask)) = rule.fwmark {
        all.extend([RuleAttribute::FwMark(mark), RuleAttribute::FwMask(mask)]);
    }
    all.extend(rule.sport.map(|(start, end)| RuleAttribute::SourcePortRange(RulePortRange { start, end })));
    all.extend(rule.dport.map(|(start, end)| RuleAttribute::DestinationPortRange(RulePortRange { start, end })));
    all.extend(rule.uids.map(|(start, end)| RuleAttribute::UidRange(RuleUidRange { start, end })));
    let mut protocol = PROTOCOL;
    for words in &rule.more {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let wanted = || format!("`{}` can't be said of a rule", words.join(" "));
        match words.as_slice() {
            ["ipproto", name] => {
                let named = PROTOCOLS.iter().find(|(known, _)| known == name).map(|(_, number)| *number);
                let known = named.or_else(|| number(name).and_then(|number| u8::try_from(number).ok()));
                all.push(RuleAttribute::Other(DefaultNla::new(IP_PROTOCOL, vec![known.ok_or_else(wanted)?])));
            }
            ["protocol", name] => {
                protocol = u8::try_from(names.word(Kind::Protocol, name)?).map_err(|_| wanted())?;
            }
            ["realms", text] => all.push(RuleAttribute::Realm(realms(text, names)?)),
            ["tunnel-id", text] => all.push(RuleAttribute::TunId(text.parse().map_err(|_| wanted())?)),
            ["suppress_prefixlength" | "sup_pl", text] => {
                all.push(RuleAttribute::SuppressPrefixLen(number(text).ok_or_else(wanted)?));
            }
            ["suppress_ifgroup" | "sup_group", name] => {
                all.push(RuleAttribute::SuppressIfGroup(names.word(Kind::Group, name)?));
            }
            _ => return Err(wanted()),
        }
    }
    all.push(RuleAttribute::Protocol(RouteProtocol::from(protocol)));
    Ok(message)
}
