//! Every keyword of both languages, in one table a block.
//!
//! What must stay true: a keyword that keepalived knows is never an unknown keyword here. It is either
//! active, or known and named as not yet active.

mod balance;
mod cluster;
mod vrrp;

pub(crate) use cluster::{ARBITER, CLUSTER, FENCING, GATE, HEARTBEAT, HEARTBEAT_LINK, MEMBER, NODE, REFERENCE_IP};
pub(crate) use vrrp::{AUTHENTICATION, GLOBAL_DEFS, ROOT, VRRP_INSTANCE, VRRP_SYNC_GROUP};

/// How common a keyword is: A in tutorials, B in a real minority of installations, C rare or deprecated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    A,
    B,
    C,
}

/// What follows a keyword.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Form {
    /// Nothing, or on/off/true/false/yes/no; nothing means on.
    Flag,
    /// One word.
    Value,
    /// One or more words.
    Words,
    /// A block whose lines are values, not keywords.
    Lines,
    /// A block of keywords.
    Block(&'static Table),
    /// A name and a block of keywords.
    Named(&'static Table),
    /// Words and a block of keywords.
    Section(&'static Table),
    /// Whatever was written: a keyword that is only known.
    Any,
}

/// An active keyword.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyword {
    pub name: &'static str,
    pub form: Form,
}

const fn key(name: &'static str, form: Form) -> Keyword {
    Keyword { name, form }
}

/// The keywords of one block.
#[derive(Debug)]
pub(crate) struct Table {
    /// What the block is called in messages.
    pub name: &'static str,
    /// What is honoured.
    pub active: &'static [Keyword],
    /// Blocks that are known and not yet active.
    pub later_blocks: &'static [(Tier, Keyword)],
    /// Words that are known and not yet active, by tier A, B, C.
    pub later: [&'static str; 3],
    /// Lines that begin with an address are values here.
    pub addresses: bool,
}

/// What the table says of a keyword.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Entry {
    Active(Form),
    Later(Tier, Form),
}

impl Table {
    pub(crate) fn find(&self, name: &str) -> Option<Entry> {
        if let Some(keyword) = self.active.iter().find(|k| k.name == name) {
            return Some(Entry::Active(keyword.form));
        }
        if let Some((tier, keyword)) = self.later_blocks.iter().find(|(_, k)| k.name == name) {
            return Some(Entry::Later(*tier, keyword.form));
        }
        let tiers = [Tier::A, Tier::B, Tier::C];
        let found = tiers.into_iter().zip(self.later).find(|(_, words)| words.split_whitespace().any(|w| w == name));
        found.map(|(tier, _)| Entry::Later(tier, Form::Any))
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        let active = self.active.iter().map(|k| k.name);
        let blocks = self.later_blocks.iter().map(|(_, k)| k.name);
        active.chain(blocks).chain(self.later.iter().flat_map(|words| words.split_whitespace()))
    }

    /// The blocks below this one, itself included, that have the keyword.
    pub(crate) fn homes(&'static self, name: &str, found: &mut Vec<&'static str>) {
        if self.find(name).is_some() && !found.contains(&self.name) {
            found.push(self.name);
        }
        for keyword in self.active.iter().chain(self.later_blocks.iter().map(|(_, keyword)| keyword)) {
            if let Form::Block(table) | Form::Named(table) | Form::Section(table) = keyword.form {
                table.homes(name, found);
            }
        }
    }

    /// The keyword of this block that is most like `name`, if any is like it at all.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.names())
    }
}

/// The candidate within a third of the word's length in edits, the closest first.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: Vec<char> = name.chars().take(64).flat_map(char::to_lowercase).collect();
    let bound = (name.len() / 3).max(1);
    let ranked = candidates.map(|candidate| (distance(&name, candidate), candidate));
    ranked.filter(|(distance, _)| *distance <= bound).min_by_key(|(distance, _)| *distance).map(|(_, c)| c)
}

/// Edits (insert, remove, replace, swap of neighbours) from `a` to `b`.
fn distance(a: &[char], b: &str) -> usize {
    let b: Vec<char> = b.chars().flat_map(char::to_lowercase).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let at = |row: &[usize], index: usize| row.get(index).copied().unwrap_or(usize::MAX / 2);
    for (i, from) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let replace = at(&row, j) + usize::from(from != to);
            let mut best = replace.min(at(&row, j + 1) + 1).min(at(&next, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                best = best.min(at(&before, j - 1) + 1);
            }
            next.push(best);
        }
        before = std::mem::replace(&mut row, next);
    }
    at(&row, b.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_keyword_is_found_and_a_far_one_is_not() {
        assert_eq!(VRRP_INSTANCE.nearest("prioritiy"), Some("priority"));
        assert_eq!(VRRP_INSTANCE.nearest("virtual_routre_id"), Some("virtual_router_id"));
        assert_eq!(VRRP_INSTANCE.nearest("xyzzy"), None);
        assert_eq!(ROOT.nearest("VRRP_instance"), Some("vrrp_instance"));
    }

    #[test]
    fn no_table_names_a_keyword_twice() {
        fn check(table: &'static Table) {
            let mut names: Vec<_> = table.names().collect();
            names.sort_unstable();
            for pair in names.windows(2) {
                assert_ne!(pair[0], pair[1], "in {}", table.name);
            }
            let blocks = table.active.iter().chain(table.later_blocks.iter().map(|(_, k)| k));
            for keyword in blocks {
                if let Form::Block(t) | Form::Named(t) | Form::Section(t) = keyword.form {
                    check(t);
                }
            }
        }
        check(&ROOT);
    }

    #[test]
    fn the_manual_names_every_active_keyword() {
        fn check(table: &'static Table, words: &std::collections::BTreeSet<&str>) {
            for keyword in table.active {
                assert!(words.contains(keyword.name), "{} of {}", keyword.name, table.name);
                if let Form::Block(inner) | Form::Named(inner) = keyword.form {
                    check(inner, words);
                }
            }
        }
        let manual = std::fs::read_to_string("../docs/configuration.md").unwrap();
        check(&ROOT, &manual.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect());
    }
}
