//! From statements to typed values: the reading that both languages share.
//!
//! What must stay true: every keyword that the table calls active is read here (a test feeds each one),
//! and one wrong value never keeps the others from being read.

mod address;
mod balance;
mod checker;
mod cluster;
mod fencing;
mod global;
mod hmac;
mod mail;
mod notice;
mod options;
mod route;
mod script;
mod service;
mod track;
mod value;
mod vrrp;
mod web;

use std::path::{Path, PathBuf};

use crate::diagnostic::Report;
use crate::keyword::{Form, Keyword, ROOT, Status, Table};
use crate::model::Inactive;
use crate::raw::{RawConfig, Written};
use crate::source::{At, Place};
use crate::tree::{Item, Word};

use notice::Notices;

/// Reads a whole tree; complaints go to the report.
pub(crate) fn lower(report: &mut Report, items: &[Item]) -> (RawConfig, Vec<Inactive>) {
    let mut lower = Lower { report, notices: Notices::default() };
    let mut raw = RawConfig::default();
    lower.each(items, &ROOT, |lower, item| lower.root(&mut raw, item));
    let inactive = lower.notices.say(lower.report);
    (raw, inactive)
}

/// The reading in progress.
pub(crate) struct Lower<'a> {
    pub report: &'a mut Report,
    notices: Notices,
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
            "web" => self.web(raw, item),
            "webhook" => self.webhook(raw, item),
            "vrrp_instance" => self.vrrp_instance(raw, item),
            "vrrp_sync_group" => self.vrrp_sync_group(raw, item),
            "vrrp_script" => self.vrrp_script(&mut raw.trackers, item),
            "vrrp_track_process" => self.vrrp_track_process(&mut raw.trackers, item),
            "track_file" | "vrrp_track_file" => self.track_file(&mut raw.trackers, item),
            "bfd_instance" => self.bfd_instance(&mut raw.trackers, item),
            "virtual_server" => self.virtual_server(raw, item),
            "virtual_server_group" => self.virtual_server_group(raw, item),
            "SSL" => self.client_tls(&mut raw.global.ipvs.tls, item),
            "garp_group" => self.garp_group(&mut raw.global.vrrp, item),
            "linkbeat_use_polling" => raw.global.vrrp.linkbeat_all = self.is_on(item),
            "linkbeat_interfaces" => self.linkbeat(&mut raw.global.vrrp, item),
            "interface_up_down_delays" => self.link_delays(&mut raw.global, item),
            _ => self.statics(&mut raw.statics, item),
        }
    }

    /// Calls `read` for each keyword of a block that means something; unknown and refused ones are errors,
    /// those that are not yet active or ignored are named.
    fn each(&mut self, items: &[Item], table: &'static Table, mut read: impl FnMut(&mut Self, &Item)) {
        let mut last: Option<&'static Keyword> = None;
        for (at, item) in items.iter().enumerate() {
            let keyword = item.keyword.text.as_str();
            // Thousands of real servers come one after the other.
            last = last.filter(|last| last.name == keyword).or_else(|| table.find(keyword));
            let Some(known) = last else {
                if table.addresses && keyword.parse::<std::net::IpAddr>().is_ok() {
                    read(self, item);
                } else {
                    self.unknown(item, table);
                }
                continue;
            };
            match known.status {
                Status::Refused(instead) => {
                    let message =
                        format!("`{keyword}` is known, but keepone can't do it, and to ignore it is not safe");
                    self.report.error(&item.keyword.place, message, instead);
                }
                Status::Ignored(_) => self.notices.ignored(item, known, table),
                Status::Active | Status::Later => {
                    let outer = self.notices.enter(item, known, table);
                    if self.fits(item, known.form) {
                        self.repeated(items.get(..at).unwrap_or(&[]), item, known, table);
                        read(self, item);
                    }
                    self.notices.leave(outer);
                }
            }
        }
    }

    /// Whether there is something to read; a block whose head is wrong is read all the same, for the mistakes
    /// inside.
    fn fits(&mut self, item: &Item, form: Form) -> bool {
        if matches!(form, Form::Any) {
            return false;
        }
        self.form(item, form) || (form.table().is_some() && item.block.is_some())
    }

    fn unknown(&mut self, item: &Item, table: &'static Table) {
        let keyword = &item.keyword.text;
        if self.report.is_full() {
            return self.report.error(&item.keyword.place, "", "");
        }
        let strays = table.lenient && !homes(keyword).is_empty();
        let (message, help) = match table.nearest(keyword).filter(|_| !strays) {
            Some(near) => (unknown(keyword, table), format!("did you mean `{near}`?")),
            // keepalived reads files that stray so.
            None if strays => {
                let (message, help) = elsewhere(item, table);
                return self.report.warning(&item.keyword.place, message, help);
            }
            None if !homes(keyword).is_empty() => elsewhere(item, table),
            None => (
                unknown(keyword, table),
                String::from("remove it, or look for its right name in docs/configuration.md"),
            ),
        };
        self.report.error(&item.keyword.place, message, help);
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
        // Texts are made only to complain: this runs for every statement of the largest files.
        let (fits, wanted, usage) = match form {
            Form::Flag => (words <= 1, "at most one word, on or off", ""),
            Form::Value => (words == 1, "one value", "VALUE"),
            Form::Words => (words >= 1, "at least one value", "VALUE..."),
            Form::Lines | Form::Block(_) => (words == 0, "no word before its block", "{ ... }"),
            Form::Named(_) | Form::NamedLines => (words == 1, "one name", "NAME { ... }"),
            Form::Server(_) => ((1..=2).contains(&words), "an address and perhaps a port", "ADDRESS PORT { ... }"),
            Form::Maybe | Form::Any => (true, "", ""),
        };
        if !fits {
            let found = match words {
                0 => String::from("none"),
                1 => String::from("one"),
                n => n.to_string(),
            };
            let help = "write one statement a line; put a value with blanks into quotes";
            let usage = if usage.is_empty() { String::new() } else { format!(": `{keyword} {usage}`") };
            self.report.error(&item.place(), format!("`{keyword}` wants {wanted}{usage}; found {found}"), help);
            return false;
        }
        let wants_block = form.table().is_some() || matches!(form, Form::Lines | Form::NamedLines);
        if wants_block != item.block.is_some() {
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

    fn repeated(&mut self, before: &[Item], item: &Item, keyword: &Keyword, table: &'static Table) {
        let replaces = matches!(keyword.form, Form::Value | Form::Flag | Form::Words | Form::Maybe) && !keyword.adds;
        // Other blocks add to what came before: keepalived's users split `global_defs` over included files.
        let repeats =
            replaces || (table.name == ROOT.name && ["arbiter", "reference_ip", "web"].contains(&&*item.keyword.text));
        if !repeats {
            return;
        }
        if let Some(first) = before.iter().find(|other| other.keyword.text == item.keyword.text) {
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
        self.word(&item.keyword.text, item.words.first()?, parse)
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

    /// Like [`Self::value`], without the place.
    fn plain<T>(&mut self, item: &Item, parse: impl FnOnce(&str) -> Result<T, Wanted>) -> Option<T> {
        self.value(item, parse).map(|at| at.value)
    }

    /// Whether a flag is on.
    fn is_on(&mut self, item: &Item) -> bool {
        self.flag(item).is_some_and(|flag| flag.value)
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
