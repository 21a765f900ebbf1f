//! The texts that were read, places in them, and how each came to be read.
//!
//! A text that is read twice (a definition filled in at two places, a file included twice) is held once and has
//! a *reading* for each time; a [`Place`] names the reading, so that a complaint can say what brought it there.
//!
//! What must stay true: a [`Place`] made while a text is read stays valid for the life of the [`Sources`], and
//! no text is shown with a password in it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::mask;

/// Bytes of a file's lines that a complaint shows.
const MAX_SHOWN: usize = 2048;
/// Steps that a complaint shows of what brought a text to its place.
const MAX_STEPS: usize = 8;

/// All texts of one load: the main file and what it includes.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<Source>,
    readings: Vec<Reading>,
    /// Bytes of the files that hold a password, found while they were read.
    secrets: BTreeMap<usize, Vec<Range<usize>>>,
}

/// One text.
#[derive(Debug)]
pub(crate) struct Source {
    /// As the operator named it.
    pub name: String,
    /// As it was read.
    pub text: Arc<str>,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// A text as it may be shown: passwords overwritten, byte for byte.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    source: &'a Source,
    text: String,
}

/// One time that a text was read.
#[derive(Debug)]
struct Reading {
    /// Which of the files.
    source: usize,
    /// What brought it there; `None` for the main file.
    cause: Option<Box<Cause>>,
}

#[derive(Debug)]
struct Cause {
    step: Step,
    /// Where the step was taken.
    place: Place,
    /// The reading whose own cause comes next.
    before: usize,
}

/// How a text came to stand where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// By `include`.
    Included,
    /// The value of a definition, filled in.
    Filled(Arc<str>),
    /// Part of it is the value of this definition.
    Defined(Arc<str>),
    /// Part of it is one of a sequence's numbers.
    Sequence(Arc<str>, Arc<str>),
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Step::Included => f.write_str("included here"),
            Step::Filled(name) => write!(f, "`${name}` is filled in here"),
            Step::Defined(name) => write!(f, "`${name}` is defined here"),
            Step::Sequence(name, value) => write!(f, "`${name}` is {value} here"),
        }
    }
}

impl Source {
    fn new(name: String, text: &str) -> Self {
        let mut lines = vec![0];
        // A search for a text begins anew on each line, which costs more than the line: there may be a hundred thousand.
        for (at, byte) in text.bytes().enumerate() {
            if byte == b'\n' {
                lines.push(at + 1);
            }
        }
        Source { name, text: Arc::from(text), lines }
    }

    /// Line and column of a byte, both from 1; the column counts characters.
    pub(crate) fn line_column(&self, at: usize) -> (usize, usize) {
        let at = floor_boundary(&self.text, at);
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        (line.max(1), self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1)
    }
}

impl Shown<'_> {
    /// The line of this number, from 1; a long one is cut.
    pub(crate) fn line(&self, line: usize) -> Option<String> {
        let lines = &self.source.lines;
        let start = *lines.get(line.checked_sub(1)?)?;
        let end = lines.get(line).copied().unwrap_or(self.text.len());
        let end = floor_boundary(&self.text, end.min(start + MAX_SHOWN));
        Some(self.text.get(start..end)?.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// The whole lines that hold a range, and where they begin; `None` if they are too long to be of use.
    pub(crate) fn excerpt(&self, range: Range<usize>) -> Option<(String, usize)> {
        let lines = &self.source.lines;
        let first = lines.partition_point(|start| *start <= range.start).checked_sub(1)?;
        let after = lines.partition_point(|start| *start < range.end).max(first + 1);
        let start = *lines.get(first)?;
        let end = lines.get(after).copied().unwrap_or(self.text.len());
        (end - start <= MAX_SHOWN).then(|| self.text.get(start..end).map(|text| (text.to_owned(), start)))?
    }
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes `start..end` of a text.
    Text {
        /// Number of the reading in [`Sources`].
        file: usize,
        /// First byte.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
    /// An environment variable.
    Variable(Arc<str>),
}

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct At<T> {
    /// What.
    pub value: T,
    /// Where.
    pub place: Place,
}

impl<T> At<T> {
    pub(crate) fn new(value: T, place: Place) -> Self {
        At { value, place }
    }
}

impl Sources {
    /// Takes a text in and says the number of its reading.
    pub(crate) fn add(&mut self, name: String, text: &str) -> usize {
        self.files.push(Source::new(name, text));
        self.readings.push(Reading { source: self.files.len() - 1, cause: None });
        self.readings.len() - 1
    }

    /// Like [`Sources::add`], for a text that another one includes at `place`.
    pub(crate) fn include(&mut self, name: String, text: &str, place: Place) -> usize {
        let reading = self.add(name, text);
        let before = file_of(&place).unwrap_or(0);
        if let Some(reading) = self.readings.get_mut(reading) {
            reading.cause = Some(Box::new(Cause { step: Step::Included, place, before }));
        }
        reading
    }

    /// The text of a reading, read once more because of a step at `place`; what brought `before` to its place
    /// is told after it.
    pub(crate) fn again(&mut self, reading: usize, step: Step, place: Place, before: usize) -> usize {
        let source = self.readings.get(reading).map_or(0, |reading| reading.source);
        self.readings.push(Reading { source, cause: Some(Box::new(Cause { step, place, before })) });
        self.readings.len() - 1
    }

    pub(crate) fn get(&self, reading: usize) -> Option<&Source> {
        self.files.get(self.source(reading)?)
    }

    /// Which text a reading is of: the same number for the same text.
    pub(crate) fn source(&self, reading: usize) -> Option<usize> {
        self.readings.get(reading).map(|reading| reading.source)
    }

    /// The names of all texts, in the order in which they were read.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|source| source.name.as_str())
    }

    /// What brought a text to its place, the last step first; the first few of them.
    pub(crate) fn steps(&self, place: &Place) -> Vec<(Step, Place)> {
        let mut steps = Vec::new();
        let mut next = file_of(place);
        while let Some(cause) = next.and_then(|reading| self.readings.get(reading)?.cause.as_deref()) {
            // Causes point at earlier readings only, so that this ends; it is cut short for the reader's sake.
            if steps.len() == MAX_STEPS {
                break;
            }
            steps.push((cause.step.clone(), cause.place.clone()));
            next = Some(cause.before);
        }
        steps
    }

    /// Marks a place as a password: it is never shown, and neither are the definitions that it came from.
    pub(crate) fn hide(&mut self, place: &Place) {
        let steps = self.steps(place);
        let defined = steps.iter().filter(|(step, _)| matches!(step, Step::Defined(_))).map(|(_, place)| place);
        for place in std::iter::once(place).chain(defined) {
            let Place::Text { file, start, end } = place else { continue };
            if let Some(source) = self.source(*file) {
                self.secrets.entry(source).or_default().push(*start..*end);
            }
        }
    }

    /// A text as it may be shown.
    pub(crate) fn shown(&self, source: usize) -> Option<Shown<'_>> {
        let secrets = self.secrets.get(&source).map_or(&[][..], Vec::as_slice);
        let source = self.files.get(source)?;
        Some(Shown { source, text: mask::masked(&source.text, secrets) })
    }

    /// `file:line:column`, or the variable's name: for messages that point at a second place.
    pub(crate) fn describe(&self, place: &Place) -> String {
        match place {
            Place::Variable(name) => format!("environment variable {name}"),
            Place::Text { file, start, .. } => match self.get(*file) {
                Some(source) => {
                    let (line, column) = source.line_column(*start);
                    format!("{}:{line}:{column}", source.name)
                }
                None => String::from("an unknown place"),
            },
        }
    }
}

fn file_of(place: &Place) -> Option<usize> {
    match place {
        Place::Text { file, .. } => Some(*file),
        Place::Variable(_) => None,
    }
}

/// The nearest character boundary at or before `at`.
pub(crate) fn floor_boundary(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_counts_characters_and_not_bytes() {
        let place = |text: &str, at| {
            let mut sources = Sources::default();
            let file = sources.add(String::from("t"), text);
            sources.get(file).unwrap().line_column(at)
        };
        assert_eq!(place("a\nüx", 4), (2, 2));
        assert_eq!(place("a\nüx", 2), (2, 1));
        assert_eq!(place("", 9), (1, 1));
        assert_eq!(place("ü", 1), (1, 1));
    }

    #[test]
    fn the_steps_are_told_from_the_last_to_the_first() {
        let mut sources = Sources::default();
        let at = |file| Place::Text { file, start: 0, end: 1 };
        let main = sources.add(String::from("main"), "x");
        let part = sources.include(String::from("part"), "y", at(main));
        let again = sources.again(main, Step::Filled("A".into()), at(part), part);
        let steps: Vec<String> =
            sources.steps(&at(again)).iter().map(|(step, at)| format!("{step} {}", sources.describe(at))).collect();
        assert_eq!(steps, ["`$A` is filled in here part:1:1", "included here main:1:1"]);
        assert_eq!(sources.get(again).unwrap().name, "main");
    }
}
