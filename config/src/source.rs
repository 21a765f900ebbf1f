//! The texts that were read, and places in them.
//!
//! What must stay true: a [`Place`] made while a text is read stays valid for the life of the [`Sources`].

use std::sync::Arc;

/// All texts of one load: the main file and what it includes.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<Source>,
}

/// One text.
#[derive(Debug)]
pub(crate) struct Source {
    /// As the operator named it.
    pub name: String,
    /// As it was read.
    pub text: Arc<str>,
}

/// Where something was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// Bytes `start..end` of a text.
    Text {
        /// Number of the text in [`Sources`].
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
    /// Takes a text in and says its number.
    pub(crate) fn add(&mut self, name: String, text: &str) -> usize {
        self.files.push(Source { name, text: Arc::from(text) });
        self.files.len() - 1
    }

    pub(crate) fn get(&self, file: usize) -> Option<&Source> {
        self.files.get(file)
    }

    pub(crate) fn len(&self) -> usize {
        self.files.len()
    }

    /// `file:line:column`, or the variable's name: for messages that point at a second place.
    pub(crate) fn describe(&self, place: &Place) -> String {
        match place {
            Place::Variable(name) => format!("environment variable {name}"),
            Place::Text { file, start, .. } => match self.get(*file) {
                Some(source) => {
                    let (line, column) = line_column(&source.text, *start);
                    format!("{}:{line}:{column}", source.name)
                }
                None => String::from("an unknown place"),
            },
        }
    }
}

/// Line and column of a byte, both from 1; the column counts characters.
pub(crate) fn line_column(text: &str, at: usize) -> (usize, usize) {
    let at = floor_boundary(text, at);
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (line, before.get(start..).map_or(0, |rest| rest.chars().count()) + 1)
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
        assert_eq!(line_column("a\nüx", 4), (2, 2));
        assert_eq!(line_column("", 9), (1, 1));
        assert_eq!(line_column("ü", 1), (1, 1));
    }
}
