//! What is wrong with a configuration, where, and what to write instead.
//!
//! What must stay true: no diagnostic shows a password, not even in the line that it quotes.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

use crate::source::{Place, Sources, floor_boundary};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// Probably not what was meant; the configuration is still used.
    Warning,
    /// The configuration is refused.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        })
    }
}

/// One complaint.
///
/// Serialises to the JSON form: `severity`, `file`, `line`, `column`, `span` (bytes), `text` (the line),
/// `variable`, `message`, `help`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad.
    pub severity: Severity,
    /// The file, as the operator named it; `None` for a complaint about the environment.
    pub file: Option<String>,
    /// From 1.
    pub line: Option<usize>,
    /// From 1, in characters.
    pub column: Option<usize>,
    /// The offending bytes of the file.
    pub span: Option<Range<usize>>,
    /// The line that holds the first of them, passwords masked.
    pub text: Option<String>,
    /// The environment variable that is at fault.
    pub variable: Option<String>,
    /// What was found and what was wanted.
    pub message: String,
    /// What to write instead.
    pub help: Option<String>,
    #[serde(skip)]
    excerpt: Option<Text>,
}

/// The whole lines that hold the offending bytes, passwords masked.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Text {
    text: String,
    /// Which byte of the file its first is.
    start: usize,
}

impl Diagnostic {
    /// A complaint about a file as a whole, for instance that it can't be read.
    pub fn of_file(severity: Severity, file: &str, message: String, help: Option<String>) -> Self {
        Diagnostic {
            severity,
            file: Some(file.to_owned()),
            line: None,
            column: None,
            span: None,
            text: None,
            variable: None,
            message,
            help,
            excerpt: None,
        }
    }

    fn at(sources: &Sources, place: &Place, severity: Severity, message: String, help: Option<String>) -> Self {
        let mut diagnostic = Diagnostic::of_file(severity, "", message, help);
        diagnostic.file = None;
        match place {
            Place::Variable(name) => diagnostic.variable = Some(name.to_string()),
            Place::Text { file, start, end } => {
                let Some(source) = sources.get(*file) else { return diagnostic };
                let start = floor_boundary(&source.shown, *start);
                let end = floor_boundary(&source.shown, *end).max(start);
                let (line, column) = source.line_column(start);
                diagnostic.file = Some(source.name.clone());
                diagnostic.line = Some(line);
                diagnostic.column = Some(column);
                diagnostic.span = Some(start..end);
                diagnostic.text = source.line(line);
                diagnostic.excerpt = source.excerpt(start..end).map(|(text, start)| Text { text, start });
            }
        }
        diagnostic
    }

    /// For a terminal, with the offending line, a caret under it, and the help; several lines, the last
    /// without a newline.
    pub fn render(&self, colour: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
            Severity::Note => Level::NOTE,
        };
        let title = match &self.variable {
            Some(variable) => format!("environment variable {variable}: {}", self.message),
            None => self.message.clone(),
        };
        let mut group = level.primary_title(title.as_str()).elements(Vec::<annotate_snippets::Message<'_>>::new());
        if let (Some(excerpt), Some(span)) = (&self.excerpt, &self.span) {
            let inside = span.start.saturating_sub(excerpt.start)..span.end.saturating_sub(excerpt.start);
            group = group.element(
                Snippet::source(excerpt.text.as_str())
                    .line_start(self.line.unwrap_or(1))
                    .path(self.file.as_deref())
                    .annotation(AnnotationKind::Primary.span(inside)),
            );
        } else if let Some(file) = &self.file {
            let origin = annotate_snippets::Origin::path(file.as_str());
            group = group.element(match (self.line, self.column) {
                (Some(line), Some(column)) => origin.line(line).char_column(column),
                _ => origin,
            });
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    /// One line: `file:line:column: error: message; help`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let (Some(line), Some(column)) = (self.line, self.column) {
                write!(f, "{line}:{column}:")?;
            }
            f.write_str(" ")?;
        }
        if let Some(variable) = &self.variable {
            write!(f, "{variable}: ")?;
        }
        write!(f, "{}: {}", self.severity, self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// All diagnostics for a terminal, one after the other, with a count at the end.
pub fn render_all(diagnostics: &[Diagnostic], colour: bool) -> String {
    let mut out = String::new();
    for diagnostic in diagnostics {
        out.push_str(&diagnostic.render(colour));
        out.push_str("\n\n");
    }
    let count = |severity| diagnostics.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors + warnings > 0 {
        let plural = |n: usize, word: &str| if n == 1 { format!("1 {word}") } else { format!("{n} {word}s") };
        out.push_str(&format!("{}, {}\n", plural(errors, "error"), plural(warnings, "warning")));
    }
    out
}

/// All diagnostics as one JSON array.
pub fn to_json(diagnostics: &[Diagnostic]) -> String {
    serde_json::to_string(diagnostics).unwrap_or_else(|_| String::from("[]"))
}

/// Collects complaints while a configuration is read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub sources: Sources,
    pub diagnostics: Vec<Diagnostic>,
    /// An error that there was no room for.
    dropped_error: bool,
}

/// What nobody reads on: a binary file named by mistake has thousands.
const MAX_DIAGNOSTICS: usize = 500;

impl Report {
    pub(crate) fn error(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Error, place, message.into(), help.into());
    }

    pub(crate) fn warning(&mut self, place: &Place, message: impl Into<String>, help: impl Into<String>) {
        self.push(Severity::Warning, place, message.into(), help.into());
    }

    pub(crate) fn push(&mut self, severity: Severity, place: &Place, message: String, help: String) {
        if self.is_full() {
            self.dropped_error |= severity == Severity::Error;
            return;
        }
        let help = Some(help).filter(|help| !help.is_empty());
        self.diagnostics.push(Diagnostic::at(&self.sources, place, severity, message, help));
    }

    /// Whether a further complaint would only be counted: what is costly to say need not be made.
    pub(crate) fn is_full(&self) -> bool {
        self.diagnostics.len() >= MAX_DIAGNOSTICS
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
        let order: Vec<String> =
            (0..self.sources.len()).filter_map(|n| self.sources.get(n)).map(|s| s.name.clone()).collect();
        let mut diagnostics = self.diagnostics;
        if self.dropped_error && !diagnostics.iter().any(|d| d.severity == Severity::Error) {
            let message = format!("more than {MAX_DIAGNOSTICS} complaints, errors among them");
            let file = order.first().map_or("", String::as_str);
            diagnostics.push(Diagnostic::of_file(Severity::Error, file, message, None));
        }
        diagnostics.sort_by_key(|d| {
            let file = d.file.as_ref().and_then(|f| order.iter().position(|o| o == f)).unwrap_or(usize::MAX);
            (file, d.span.as_ref().map_or(0, |span| span.start))
        });
        diagnostics.dedup();
        diagnostics
    }
}
