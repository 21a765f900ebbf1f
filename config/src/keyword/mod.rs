//! Every keyword of both languages, declared once: its tier, its form, what it means, and what becomes of it.
//!
//! The reading, the notices at load, `keepone explain` and the JSON Schema of the TOML all come from here.
//!
//! What must stay true: a keyword that keepalived knows is never an unknown keyword here. It is either
//! honoured, or in the model and named as not yet active, or refused or ignored with a remedy.

mod balance;
mod catalogue;
mod checker;
mod cluster;
mod global;
mod nearest;
mod root;
mod track;
mod vrrp;

pub(crate) use balance::{REAL_SERVER, SSL, VIRTUAL_SERVER};
pub(crate) use catalogue::{Path, walk};
pub(crate) use checker::{
    BFD_CHECK, DNS_CHECK, FILE_CHECK, HTTP_GET, HTTP_GET_URL, MISC_CHECK, PING_CHECK, SMTP_CHECK, SMTP_CHECK_HOST,
    SSL_GET, SSL_GET_URL, TCP_CHECK, UDP_CHECK,
};
pub(crate) use cluster::{ARBITER, CLUSTER, FENCING, GATE, HEARTBEAT, HEARTBEAT_LINK, MEMBER, NODE, REFERENCE_IP, WEB};
pub(crate) use global::{GLOBAL_DEFS, WEBHOOK};
pub use nearest::nearest;
pub(crate) use root::ROOT;
pub(crate) use track::{
    BFD_INSTANCE, GARP_GROUP, TRACK_FILE, TRACK_GROUP, VRRP_SCRIPT, VRRP_TRACK_FILE, VRRP_TRACK_PROCESS,
};
pub(crate) use vrrp::{AUTH_HMAC, AUTHENTICATION, VRRP_INSTANCE, VRRP_SYNC_GROUP};

/// How common a keyword is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tier {
    /// In tutorials, and in most installations.
    A,
    /// In a real minority of installations.
    B,
    /// Rare, or deprecated.
    C,
    /// keepone's own.
    Own,
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
    /// Any number of words; none means on, with the default.
    Maybe,
    /// A block whose lines are values, not keywords.
    Lines,
    /// A name and a block whose lines are values.
    NamedLines,
    /// A block of keywords.
    Block(&'static Table),
    /// A name and a block of keywords.
    Named(&'static Table),
    /// An address, perhaps a port (or `fwmark N`, or `group NAME`), and a block of keywords.
    Server(&'static Table),
    /// Whatever was written: a keyword that nothing reads.
    Any,
}

impl Form {
    /// The keywords of its block.
    pub(crate) fn table(self) -> Option<&'static Table> {
        match self {
            Form::Block(table) | Form::Named(table) | Form::Server(table) => Some(table),
            Form::Flag | Form::Value | Form::Words | Form::Maybe | Form::Lines | Form::NamedLines | Form::Any => None,
        }
    }
}

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    /// The agent does it.
    Active,
    /// Read into the model and checked; the agent can't do it yet. So is all in its block.
    Later,
    /// Nothing follows from it; what to do instead.
    Ignored(&'static str),
    /// A file that has it is refused, because to ignore it would not be safe; what to do instead.
    Refused(&'static str),
}

/// A keyword of one block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keyword {
    pub name: &'static str,
    pub tier: Tier,
    pub form: Form,
    pub status: Status,
    /// One short line.
    pub meaning: &'static str,
    /// What holds without it; empty if there is nothing to say.
    pub default: &'static str,
    /// `1..255`, `TCP|UDP`, or in words; empty for free text.
    pub range: &'static str,
    /// Of the numbers; empty for plain ones.
    pub unit: &'static str,
    /// Each further one of a block adds to those before; else the last one counts.
    pub adds: bool,
}

const fn key(tier: Tier, name: &'static str, form: Form, meaning: &'static str) -> Keyword {
    Keyword { name, tier, form, status: Status::Active, meaning, default: "", range: "", unit: "", adds: false }
}

impl Keyword {
    /// The default, the range and the unit.
    const fn values(mut self, default: &'static str, range: &'static str, unit: &'static str) -> Self {
        self.default = default;
        self.range = range;
        self.unit = unit;
        self
    }

    const fn adding(mut self) -> Self {
        self.adds = true;
        self
    }

    const fn later(mut self) -> Self {
        self.status = Status::Later;
        self
    }

    const fn ignored(mut self, instead: &'static str) -> Self {
        self.status = Status::Ignored(instead);
        self
    }

    const fn refused(mut self, instead: &'static str) -> Self {
        self.status = Status::Refused(instead);
        self
    }
}

/// The keywords of one block.
#[derive(Debug)]
pub(crate) struct Table {
    /// What the block is called in messages.
    pub name: &'static str,
    /// What it has in common with others.
    pub shared: &'static [&'static [Keyword]],
    pub own: &'static [Keyword],
    /// Lines that begin with an address are values here.
    pub addresses: bool,
    /// A keyword of another block is only warned of, since keepalived reads such files too.
    pub lenient: bool,
}

impl Table {
    /// Whose keywords are keepone's business alone.
    const fn strict(name: &'static str, own: &'static [Keyword]) -> Self {
        Table { name, shared: &[], own, addresses: false, lenient: false }
    }

    /// Whose files stray, and are read all the same.
    const fn lenient(name: &'static str, own: &'static [Keyword]) -> Self {
        Table { name, shared: &[], own, addresses: false, lenient: true }
    }

    /// A health check's.
    const fn checker(name: &'static str, shared: &'static [&'static [Keyword]], own: &'static [Keyword]) -> Self {
        Table { name, shared, own, addresses: false, lenient: true }
    }

    /// All its keywords.
    pub(crate) fn keywords(&self) -> impl Iterator<Item = &'static Keyword> + use<> {
        let (shared, own) = (self.shared, self.own);
        own.iter().chain(shared.iter().copied().flatten())
    }

    /// The keyword of this name.
    pub(crate) fn find(&self, name: &str) -> Option<&'static Keyword> {
        self.keywords().find(|keyword| keyword.name == name)
    }

    /// The keyword of this name in TOML, where all are in snake case: `tcp_check` is `TCP_CHECK`.
    pub(crate) fn find_snake(&self, name: &str) -> Option<&'static Keyword> {
        self.find(name).or_else(|| self.keywords().find(|keyword| is_snake_of(name, keyword.name)))
    }

    /// The blocks below this one, itself included, that have the keyword.
    pub(crate) fn homes(&'static self, name: &str, found: &mut Vec<&'static str>) {
        if self.find(name).is_some() && !found.contains(&self.name) {
            found.push(self.name);
        }
        for table in self.keywords().filter_map(|keyword| keyword.form.table()) {
            table.homes(name, found);
        }
    }

    /// The keyword of this block that is most like `name`, if any is like it at all.
    pub(crate) fn nearest(&self, name: &str) -> Option<&'static str> {
        nearest(name, self.keywords().map(|keyword| keyword.name))
    }
}

/// A keyword as TOML writes it.
pub(crate) fn snake(name: &str) -> String {
    name.chars().map(snake_char).collect()
}

fn snake_char(c: char) -> char {
    if c == '-' { '_' } else { c.to_ascii_lowercase() }
}

fn is_snake_of(snake: &str, name: &str) -> bool {
    snake.len() == name.len() && name.chars().map(snake_char).eq(snake.chars())
}

#[cfg(test)]
mod tests;
