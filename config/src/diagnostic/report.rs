//! Complaints, collected while a configuration is read and made readable at its end.
//!
//! What must stay true: lines are quoted only after everything was read, so that what was found to be a password
//! late is masked in complaints that were made early.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::{Diagnostic, Note, Severity, Text};
use crate::source::{Place, Shown, Sources, floor_boundary};

/// Collects complaints while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub sources: Sources,
    pub diagnostics: Vec<Complaint>,
    /// What was said, by text, place and message: a line that is read a thousand times is blamed once.
    said: BTreeSet<(Option<usize>, usize, usize, String)>,
    /// Complaints that were said before.
    repeated: usize,
    /// An error that there was no room for.
    dropped_error: bool,
}

/// A complaint whose place is not looked up yet.
#[derive(Debug)]
pub(crate) struct Complaint {
    severity: Severity,
    place: Place,
    pub message: String,
    help: Option<String>,
    related: Vec<(Place, String)>,
}

/// What nobody reads on: a binary file named by mistake has thousands.
const MAX_DIAGNOSTICS: usize = 500;
/// As much of what would be said again.
const MAX_REPEATED: usize = 1_000;

impl Report {
    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, place, message.into(), help.into());
    }

    pub(crate) fn warning(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, place, message.into(), help.into());
    }

    pub(crate) fn push(&mut self, severity: Severity, place: &Place, message: String, help: String) {
        self.push_with(severity, place, message, help, Vec::new());
    }

    /// Like [`Report::push`], with further places that the complaint is about.
    pub(crate) fn push_with(
        &mut self,
        severity: Severity,
        place: &Place,
        message: String,
        help: String,
        related: Vec<(Place, String)>,
    ) {
        if self.is_full() {
            self.dropped_error |= severity == Severity::Error;
            return;
        }
        if let Place::Text { file, start, end } = place {
            let key = (self.sources.source(*file), *start, *end, message.clone());
            if !self.said.insert(key) {
                self.repeated += 1;
                return;
            }
        }
        let help = Some(help).filter(|help| !help.is_empty());
        self.diagnostics.push(Complaint { severity, place: place.clone(), message, help, related });
    }

    /// Whether a further complaint would only be counted: what is costly to say need not be made.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= MAX_DIAGNOSTICS || self.repeated >= MAX_REPEATED
    }

    /// Where a place is, for a message that points at a second one.
    pub(crate) fn describe(&self, place: &Place) -> String {
        if self.is_full() { String::new() } else { self.sources.describe(place) }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.dropped_error || self.diagnostics.iter().any(|d| d.severity == Severity::Error)
    }

    /// Worst last would hide the first mistake on a long screen, so the order is that of the files.
    pub(crate) fn finish(self) -> Vec<Diagnostic> {
        let order: Vec<&str> = self.sources.names().collect();
        let mut shown = BTreeMap::new();
        let mut diagnostics: Vec<Diagnostic> =
            self.diagnostics.iter().map(|complaint| self.resolve(&mut shown, complaint)).collect();
        if self.dropped_error && !diagnostics.iter().any(|d| d.severity == Severity::Error) {
            let message = format!("more than {MAX_DIAGNOSTICS} complaints, errors among them");
            let file = order.first().copied().unwrap_or("");
            diagnostics.push(Diagnostic::of_file(Severity::Error, file, message, None));
        }
        diagnostics.sort_by_key(|d| {
            let file = d.file.as_ref().and_then(|f| order.iter().position(|o| o == f)).unwrap_or(usize::MAX);
            (file, d.span.as_ref().map_or(0, |span| span.start))
        });
        diagnostics.dedup();
        diagnostics
    }

    fn resolve<'a>(&'a self, shown: &mut BTreeMap<usize, Option<Shown<'a>>>, complaint: &Complaint) -> Diagnostic {
        let (message, help) = (complaint.message.clone(), complaint.help.clone());
        let mut diagnostic = Diagnostic::of_file(complaint.severity, "", message, help);
        diagnostic.file = None;
        if let Place::Variable(name) = &complaint.place {
            diagnostic.variable = Some(name.to_string());
        }
        let Some(found) = self.look_up(shown, &complaint.place) else { return diagnostic };
        let steps = self.sources.steps(&complaint.place).into_iter().map(|(step, place)| (place, step.to_string()));
        for (place, message) in complaint.related.iter().cloned().chain(steps) {
            let Some(found) = self.look_up(shown, &place) else { continue };
            let Found { file, line, column, span, excerpt, .. } = found;
            diagnostic.notes.push(Note { file, line, column, span, message, excerpt });
        }
        diagnostic.file = Some(found.file);
        diagnostic.line = Some(found.line);
        diagnostic.column = Some(found.column);
        diagnostic.span = Some(found.span);
        diagnostic.text = found.text;
        diagnostic.excerpt = found.excerpt;
        diagnostic
    }

    fn look_up<'a>(&'a self, shown: &mut BTreeMap<usize, Option<Shown<'a>>>, place: &Place) -> Option<Found> {
        let Place::Text { file, start, end } = place else { return None };
        let number = self.sources.source(*file)?;
        let source = self.sources.get(*file)?;
        let shown = shown.entry(number).or_insert_with(|| self.sources.shown(number)).as_ref()?;
        let start = floor_boundary(&source.text, *start);
        let end = floor_boundary(&source.text, *end).max(start);
        let (line, column) = source.line_column(start);
        let excerpt = shown.excerpt(start..end).map(|(text, start)| Text { text, start });
        Some(Found { file: source.name.clone(), line, column, span: start..end, text: shown.line(line), excerpt })
    }
}

/// A place, looked up.
struct Found {
    file: String,
    line: usize,
    column: usize,
    span: Range<usize>,
    text: Option<String>,
    excerpt: Option<Text>,
}
