//! From statements to typed values: the reading that both languages share.
//!
//! What must stay true: every keyword that the table calls active is read here (a test feeds each one),
//! and one wrong value never keeps the others from being read.

mod address;
mod cluster;
mod fencing;
mod global;
mod value;
mod vrrp;

use std::path::{Path, PathBuf};

use crate::diagnostic::{Report, Severity};
use crate::keyword::{Entry, Form, ROOT, Table, Tier};
use crate::model::Inactive;
use crate::raw::{RawConfig, Written};
use crate::source::{At, Place};
use crate::tree::{Item, Word};

/// Reads a whole tree; complaints go to the report.
pub(crate) fn lower(report: &mut Report, items: &[Item]) -> (RawConfig, Vec<Inactive>) {
    let mut lower = Lower { report, inactive: Vec::new() };
    let mut raw = RawConfig::default();
    lower.each(items, &ROOT, |lower, item| lower.root(&mut raw, item));
    (raw, lower.inactive)
}

/// The reading in progress.
pub(crate) struct Lower<'a> {
    pub report: &'a mut Report,
    inactive: Vec<Inactive>,
}

impl Lower<'_> {
    fn root(&mut self, raw: &mut RawConfig, item: &Item) {
        raw.written.add(&item.keyword.text);
        match item.keyword.text.as_str() {
            "global_defs" => self.global_defs(&mut raw.global, item),
            "cluster" => self.cluster(raw, item),
            "node" => self.node(raw, item),
            "member" => self.member(raw, item),
            "heartbeat" => self.heartbeat(raw, item),
            "heartbeat_link" => self.heartbeat_link(raw, item),
            "arbiter" => self.arbiter(raw, item),
            "reference_ip" => self.reference_ip(raw, item),
            "gate" => self.gate(raw, item),
            "fencing" => self.fencing(raw, item),
            "vrrp_instance" => self.vrrp_instance(raw, item),
            "vrrp_sync_group" => self.vrrp_sync_group(raw, item),
            _ => self.unread(item),
        }
    }

    /// Calls `read` for each active keyword of a block; unknown ones are errors, and those that are not yet
    /// active are named.
    fn each(&mut self, items: &[Item], table: &'static Table, mut read: impl FnMut(&mut Self, &Item)) {
        for (at, item) in items.iter().enumerate() {
            let keyword = item.keyword.text.as_str();
            match table.find(keyword) {
                Some(Entry::Active(form)) => {
                    let fits = self.form(item, form);
                    // A block whose head is wrong is read all the same, for the mistakes inside.
                    if fits || (matches!(form, Form::Named(_) | Form::Block(_)) && item.block.is_some()) {
                        self.repeated(items.get(..at).unwrap_or(&[]), item, form, table);
                        read(self, item);
                    }
                }
                Some(Entry::Later(tier, form)) => {
                    self.inactive(item, tier, table);
                    if let Form::Section(inner) = form {
                        self.known(item.items(), inner);
                    }
                }
                None if table.addresses && keyword.parse::<std::net::IpAddr>().is_ok() => read(self, item),
                None => self.unknown(item, table),
            }
        }
    }

    /// Inside a block that is not active, keywords must still exist; one from a neighbouring block is only
    /// warned of, since keepalived reads such files too.
    fn known(&mut self, items: &[Item], table: &'static Table) {
        for item in items {
            match table.find(&item.keyword.text) {
                Some(Entry::Later(_, Form::Section(inner))) => self.known(item.items(), inner),
                Some(_) => {}
                None if homes(&item.keyword.text).is_empty() => self.unknown(item, table),
                None => {
                    let (message, help) = elsewhere(item, table);
                    self.report.warning(&item.keyword.place, message, help);
                }
            }
        }
    }

    fn unknown(&mut self, item: &Item, table: &'static Table) {
        let keyword = &item.keyword.text;
        if self.report.is_full() {
            return self.report.error(&item.keyword.place, "", "");
        }
        let (message, help) = match table.nearest(keyword) {
            Some(near) => (unknown(keyword, table), format!("did you mean `{near}`?")),
            None if !homes(keyword).is_empty() => elsewhere(item, table),
            None => (
                unknown(keyword, table),
                String::from("remove it, or look for its right name in docs/configuration.md"),
            ),
        };
        self.report.error(&item.keyword.place, message, help);
    }

    fn inactive(&mut self, item: &Item, tier: Tier, table: &'static Table) {
        let what = match item.words.first().filter(|_| table.name == ROOT.name) {
            Some(name) => format!("{} {}", item.keyword.text, shorten(&name.text)),
            None if table.name == ROOT.name => item.keyword.text.clone(),
            None => format!("{} in {}", item.keyword.text, table.name),
        };
        // A rare or deprecated word is worth a note; one that many rely on, a warning.
        let severity = if tier == Tier::C { Severity::Note } else { Severity::Warning };
        let message = format!("`{what}` is read, but it does nothing yet");
        self.report.push(severity, &item.keyword.place, message, String::new());
        let place = self.report.describe(&item.keyword.place);
        self.inactive.push(Inactive { what, place });
    }

    /// A test asserts that this is never reached.
    fn unread(&mut self, item: &Item) {
        let message = format!("`{}` is in the keyword table, but nothing reads it", item.keyword.text);
        self.report.error(&item.keyword.place, message, "this is a mistake in keepone: please report it");
    }

    /// Whether what follows the keyword has the keyword's form; complains if not.
    fn form(&mut self, item: &Item, form: Form) -> bool {
        let keyword = &item.keyword.text;
        let words = item.words.len();
        let (fits, wanted) = match form {
            Form::Flag => (words <= 1, String::from("at most one word, on or off")),
            Form::Value => (words == 1, format!("one value: `{keyword} VALUE`")),
            Form::Words => (words >= 1, format!("at least one value: `{keyword} VALUE...`")),
            Form::Lines | Form::Block(_) => (words == 0, format!("no word before its block: `{keyword} {{ ... }}`")),
            Form::Named(_) => (words == 1, format!("one name: `{keyword} NAME {{ ... }}`")),
            Form::Section(_) | Form::Any => (true, String::new()),
        };
        if !fits {
            let found = match words {
                0 => String::from("none"),
                1 => String::from("one"),
                n => n.to_string(),
            };
            let help = "write one statement a line; put a value with blanks into quotes";
            self.report.error(&item.place(), format!("`{keyword}` wants {wanted}; found {found}"), help);
            return false;
        }
        let wants_block = matches!(form, Form::Lines | Form::Block(_) | Form::Named(_));
        if wants_block != item.block.is_some() && !matches!(form, Form::Section(_) | Form::Any) {
            let (message, help) = if wants_block {
                (format!("`{keyword}` has no block"), format!("write `{keyword} ... {{` and close it with `}}`"))
            } else {
                (format!("`{keyword}` takes no block"), String::from("remove the braces"))
            };
            self.report.error(&item.place(), message, help);
            return false;
        }
        true
    }

    fn repeated(&mut self, before: &[Item], item: &Item, form: Form, table: &'static Table) {
        let replaces = matches!(form, Form::Value | Form::Flag);
        // Other blocks add to what came before: keepalived's users split `global_defs` over included files.
        let repeats =
            replaces || (table.name == ROOT.name && ["arbiter", "reference_ip"].contains(&&*item.keyword.text));
        let first = before.iter().find(|other| other.keyword.text == item.keyword.text);
        if let Some(first) = first.filter(|_| repeats) {
            let message =
                format!("`{}` was given before, at {}", item.keyword.text, self.report.describe(&first.keyword.place));
            self.report.warning(&item.keyword.place, message, "the last one counts: remove the other");
        }
    }

    /// The keywords of a block.
    fn written(&self, block: &Item) -> Written {
        let mut written = Written::default();
        for item in block.items() {
            written.add(&item.keyword.text);
        }
        written
    }

    /// Each line of a value block, as its words.
    fn lines(&self, item: &Item) -> Vec<Vec<Word>> {
        item.items().iter().map(|line| line.line().cloned().collect()).collect()
    }

    /// The first word, read by `parse`, whose error says what was wanted.
    fn value<T>(&mut self, item: &Item, parse: impl FnOnce(&str) -> Result<T, Wanted>) -> Option<At<T>> {
        let word = item.words.first()?.clone();
        self.word(&item.keyword.text, &word, parse)
    }

    /// A word, read by `parse`; `name` is what the message calls it.
    fn word<T>(&mut self, name: &str, word: &Word, parse: impl FnOnce(&str) -> Result<T, Wanted>) -> Option<At<T>> {
        match parse(&word.text) {
            Ok(value) => Some(At::new(value, word.place.clone())),
            Err(wanted) => {
                let found =
                    if wanted.secret { String::from("this value") } else { format!("`{}`", shorten(&word.text)) };
                self.report.error(&word.place, format!("{name}: {found} is not {}", wanted.what), wanted.help);
                None
            }
        }
    }

    /// Relative paths are relative to the file that names them.
    fn path(&mut self, item: &Item) -> Option<At<PathBuf>> {
        let word = item.words.first()?;
        let file = match &word.place {
            Place::Text { file, .. } => *file,
            Place::Variable(_) => 0,
        };
        let base = self.report.sources.get(file).map(|source| PathBuf::from(&source.name));
        let base = base.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        self.value(item, |text| match text {
            "" => Err(Wanted::new("a path", "write the path of a file or directory")),
            text => Ok(base.join(text)),
        })
    }

    fn flag(&mut self, item: &Item) -> Option<At<bool>> {
        match item.words.first() {
            None => Some(At::new(true, item.keyword.place.clone())),
            Some(_) => self.value(item, value::boolean),
        }
    }
}

/// What a value should have been.
#[derive(Debug)]
pub(crate) struct Wanted {
    what: String,
    help: String,
    secret: bool,
}

impl Wanted {
    fn new(what: impl Into<String>, help: impl Into<String>) -> Self {
        Wanted { what: what.into(), help: help.into(), secret: false }
    }
}

fn unknown(keyword: &str, table: &Table) -> String {
    format!("unknown keyword `{}` in {}", shorten(keyword), table.name)
}

/// Where a keyword would be at home.
fn homes(keyword: &str) -> Vec<&'static str> {
    let mut homes = Vec::new();
    ROOT.homes(keyword, &mut homes);
    homes
}

fn elsewhere(item: &Item, table: &Table) -> (String, String) {
    let keyword = &item.keyword.text;
    let homes = homes(keyword).join(", ");
    (format!("`{keyword}` means nothing in {}", table.name), format!("it belongs to {homes}: move or remove it"))
}

/// Enough of a word to know it by, and nothing that a terminal would obey.
fn shorten(text: &str) -> String {
    let mut short: String = text.chars().take(60).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(60).is_some() {
        short.push_str("...");
    }
    short
}

#[cfg(test)]
mod tests;
