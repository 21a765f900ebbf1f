//! What is wrong with a configuration, where, and what to write instead.
//!
//! What must stay true: no diagnostic shows a password, not even in the line that it quotes.

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

mod report;

pub(crate) use report::Report;

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
/// `variable`, `message`, `help`, `notes`.
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
    /// What brought the text there: includes, definitions, sequences; the last step first.
    pub notes: Vec<Note>,
    #[serde(skip)]
    excerpt: Option<Text>,
}

/// A second place that a complaint points at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The file, as the operator named it.
    pub file: String,
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// Its bytes of the file.
    pub span: Range<usize>,
    /// What is there.
    pub message: String,
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

impl Text {
    /// The lines with a caret under `span`.
    fn snippet<'a>(
        &'a self,
        file: Option<&'a str>,
        line: usize,
        span: &Range<usize>,
    ) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let inside = span.start.saturating_sub(self.start)..span.end.saturating_sub(self.start);
        let snippet = Snippet::source(self.text.as_str()).line_start(line).path(file);
        snippet.annotation(AnnotationKind::Primary.span(inside))
    }
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
            notes: Vec::new(),
            excerpt: None,
        }
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
            group = group.element(excerpt.snippet(self.file.as_deref(), self.line.unwrap_or(1), span));
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
        let mut groups = vec![group];
        for note in &self.notes {
            let group = Level::NOTE.secondary_title(note.message.as_str());
            groups.push(match &note.excerpt {
                Some(excerpt) => group.element(excerpt.snippet(Some(&note.file), note.line, &note.span)),
                None => {
                    let origin = annotate_snippets::Origin::path(note.file.as_str());
                    group.element(origin.line(note.line).char_column(note.column))
                }
            });
        }
        let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
        renderer.render(&groups)
    }
}

impl fmt::Display for Diagnostic {
    /// One line: `file:line:column: error: message; help; file:line:column: note`.
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
        if let Some(help) = &self.help {
            write!(f, "; {help}")?;
        }
        for note in &self.notes {
            write!(f, "; {}:{}:{}: {}", note.file, note.line, note.column, note.message)?;
        }
        Ok(())
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
