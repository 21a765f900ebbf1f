//! What is named at load: keywords that are not yet active, and those that nothing follows from.
//!
//! What must stay true: each is named once, however often it is written, and never silently dropped.

use std::collections::BTreeMap;

use crate::diagnostic::{Report, Severity};
use crate::keyword::{Form, Keyword, ROOT, Status, Table, Tier};
use crate::model::Inactive;
use crate::source::Place;
use crate::tree::Item;

/// Collects them; said when all is read, so that each has its count.
#[derive(Debug, Default)]
pub(super) struct Notices {
    seen: BTreeMap<(&'static str, &'static str), usize>,
    list: Vec<Notice>,
    /// Within a block that is named itself.
    inside: bool,
}

#[derive(Debug)]
struct Notice {
    what: String,
    place: Place,
    keyword: &'static Keyword,
    count: usize,
}

impl Notices {
    /// A keyword begins; the answer is for [`Self::leave`].
    pub(super) fn enter(&mut self, item: &Item, keyword: &'static Keyword, table: &'static Table) -> bool {
        let outer = self.inside;
        if keyword.status == Status::Later && !outer && !says_default(item, keyword) {
            self.add(item, keyword, table);
            self.inside = true;
        }
        outer
    }

    pub(super) fn leave(&mut self, outer: bool) {
        self.inside = outer;
    }

    pub(super) fn ignored(&mut self, item: &Item, keyword: &'static Keyword, table: &'static Table) {
        self.add(item, keyword, table);
    }

    fn add(&mut self, item: &Item, keyword: &'static Keyword, table: &'static Table) {
        let at = *self.seen.entry((table.name, keyword.name)).or_insert(self.list.len());
        match self.list.get_mut(at) {
            Some(notice) => notice.count += 1,
            None => {
                let top = table.name == ROOT.name;
                let what = if top { keyword.name.to_owned() } else { format!("{} in {}", keyword.name, table.name) };
                self.list.push(Notice { what, place: item.keyword.place.clone(), keyword, count: 1 });
            }
        }
    }

    /// Says all; those of the model that are not yet active are the answer.
    pub(super) fn say(&mut self, report: &mut Report) -> Vec<Inactive> {
        let mut inactive = Vec::new();
        for Notice { what, place, keyword, count } in std::mem::take(&mut self.list) {
            let times = if count == 1 { String::new() } else { format!(" ({count} of them)") };
            if let Status::Ignored(instead) = keyword.status {
                let message = format!("nothing follows from `{what}`{times}");
                report.push(Severity::Note, &place, message, instead.to_owned());
                continue;
            }
            // A rare or deprecated word is worth a note; one that many rely on, a warning.
            let severity = if keyword.tier == Tier::C { Severity::Note } else { Severity::Warning };
            let message = format!("`{what}` is read and checked, but not yet active{times}");
            report.push(severity, &place, message, String::new());
            inactive.push(Inactive { what, place: report.describe(&place), count });
        }
        inactive
    }
}

/// Whether a statement only says what holds without it.
fn says_default(item: &Item, keyword: &Keyword) -> bool {
    let said = match (item.words.as_slice(), keyword.form) {
        ([], Form::Flag) => "on",
        ([word], Form::Flag | Form::Value | Form::Maybe) => match word.text.as_str() {
            "true" | "yes" => "on",
            "false" | "no" => "off",
            text => text,
        },
        _ => return false,
    };
    keyword.default.split([',', ';']).next() == Some(said)
}
