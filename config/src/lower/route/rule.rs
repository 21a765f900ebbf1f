//! Routing rules.

use crate::model::{Named, Rule, RuleAction};
use crate::source::At;
use crate::tree::{Item, Word};

use super::super::{Lower, Wanted, value};
use super::{KINDS, Words, byte, hex_or_decimal, named, number, prefix};

const WORDS: [&str; 20] = [
    "from",
    "to",
    "iif",
    "oif",
    "fwmark",
    "tos",
    "sport",
    "dport",
    "uidrange",
    "preference",
    "table",
    "lookup",
    "goto",
    "nop",
    "not",
    "l3mdev",
    "ipproto",
    "no_track",
    "track_group",
    "suppress_prefixlength",
];
/// Words that are taken as they are, with the one that follows.
const MORE: [&str; 8] =
    ["ipproto", "protocol", "realms", "tunnel-id", "suppress_prefixlength", "sup_pl", "suppress_ifgroup", "sup_group"];
/// The kernel's main table (`rtnetlink(7)`).
const MAIN: u32 = 254;

impl Lower<'_> {
    pub(in super::super) fn rules(&mut self, item: &Item) -> Vec<At<Rule>> {
        let lines = self.lines(item);
        lines.iter().filter_map(|line| self.rule(line)).collect()
    }

    fn rule(&mut self, line: &[Word]) -> Option<At<Rule>> {
        let first = line.first()?;
        let mut rule = empty();
        let mut words = Words { words: line.iter() };
        let (mut family, mut action) = (None, None);
        while let Some(word) = words.words.next() {
            match word.text.as_str() {
                "inet" => family = Some(false),
                "inet6" => family = Some(true),
                "not" => rule.not = true,
                "from" => rule.from = words.read(self, word, prefix)?,
                "to" => rule.to = words.read(self, word, prefix)?,
                "iif" | "dev" => rule.iif = Some(words.read(self, word, value::interface)?),
                "oif" => rule.oif = Some(words.read(self, word, value::interface)?),
                "fwmark" => rule.fwmark = Some(words.read(self, word, mark)?),
                "tos" | "dsfield" => rule.tos = Some(words.read(self, word, byte)?),
                "sport" => rule.sport = Some(words.read(self, word, ports)?),
                "dport" => rule.dport = Some(words.read(self, word, ports)?),
                "uidrange" => rule.uids = Some(words.read(self, word, users)?),
                "preference" | "order" | "priority" => rule.preference = Some(words.read(self, word, number)?),
                "table" | "lookup" => action = Some(RuleAction::Lookup(words.read(self, word, named)?)),
                "goto" => action = Some(RuleAction::Goto(words.read(self, word, number)?)),
                "nop" => action = Some(RuleAction::Nop),
                "l3mdev" => action = Some(RuleAction::L3mdev),
                "no_track" => rule.no_track = true,
                "track_group" => rule.track_group = Some(words.read(self, word, value::name)?),
                text => {
                    if MORE.contains(&text) {
                        let value = words.after(self, word)?;
                        rule.more.push(vec![text.to_owned(), value.text.to_string()]);
                    } else if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == text) {
                        action = Some(RuleAction::Like(*kind));
                    } else {
                        self.odd(word, "a rule", WORDS.into_iter());
                        return None;
                    }
                }
            }
        }
        if action.is_none() {
            let help = "say what follows, for instance `lookup 100`: the main table is looked up without it";
            self.report.warning(&first.place, "a rule without an action", help);
        }
        rule.action = action.unwrap_or(RuleAction::Lookup(Named::Number(MAIN)));
        let addresses = [rule.from, rule.to].into_iter().flatten().map(|prefix| prefix.address);
        rule.ipv6 = self.one_family(first, family, addresses)?;
        Some(At::new(rule, first.place.clone()))
    }
}

fn empty() -> Rule {
    Rule {
        ipv6: false,
        not: false,
        from: None,
        to: None,
        iif: None,
        oif: None,
        fwmark: None,
        tos: None,
        sport: None,
        dport: None,
        uids: None,
        preference: None,
        action: RuleAction::Nop,
        more: Vec::new(),
        no_track: false,
        track_group: None,
    }
}

fn mark(text: &str) -> Result<(u32, u32), Wanted> {
    let (mark, mask) = text.split_once('/').map_or((text, None), |(mark, mask)| (mark, Some(mask)));
    let mask = mask.map_or(Some(u32::MAX), hex_or_decimal);
    hex_or_decimal(mark)
        .zip(mask)
        .ok_or_else(|| Wanted::new("a mark, or a mark and a mask", "write for instance 0x10 or 0x10/0xff"))
}

fn ports(text: &str) -> Result<(u16, u16), Wanted> {
    range(text).ok_or_else(|| Wanted::new("a port or a range of ports", "write for instance 80 or 8000-8080"))
}

fn users(text: &str) -> Result<(u32, u32), Wanted> {
    range(text).ok_or_else(|| Wanted::new("a range of user ids", "write for instance 1000-1999"))
}

fn range<T: std::str::FromStr + Copy + PartialOrd>(text: &str) -> Option<(T, T)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last).then_some((first, last))
}
