//! The texts that were read, and places in them.
//!
//! What must stay true: a [`Place`] made while a text is read stays valid for the life of the [`Sources`].

use std::sync::Arc;

/// Bytes of a file's lines that a complaint shows.
const MAX_SHOWN: usize = 2048;

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
    /// As it may be shown: passwords overwritten, byte for byte.
    pub shown: Arc<str>,
    /// Where each line begins.
    lines: Vec<usize>,
}

impl Source {
    /// Line and column of a byte, both from 1; the column counts characters.
    pub(crate) fn line_column(&self, at: usize) -> (usize, usize) {
        let at = floor_boundary(&self.text, at);
        let line = self.lines.partition_point(|start| *start <= at);
        let start = self.lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        (line.max(1), self.text.get(start..at).map_or(0, |before| before.chars().count()) + 1)
    }

    /// The line of this number, from 1, as it may be shown; a long one is cut.
    pub(crate) fn line(&self, line: usize) -> Option<String> {
        let start = *self.lines.get(line.checked_sub(1)?)?;
        let end = self.lines.get(line).copied().unwrap_or(self.shown.len());
        let end = floor_boundary(&self.shown, end.min(start + MAX_SHOWN));
        Some(self.shown.get(start..end)?.trim_end_matches(['\n', '\r']).to_owned())
    }

    /// The whole lines that hold a range, as they may be shown, and where they begin; `None` if they are too
    /// long to be of use.
    pub(crate) fn excerpt(&self, range: std::ops::Range<usize>) -> Option<(String, usize)> {
        let first = self.lines.partition_point(|start| *start <= range.start).checked_sub(1)?;
        let after = self.lines.partition_point(|start| *start < range.end).max(first + 1);
        let start = *self.lines.get(first)?;
        let end = self.lines.get(after).copied().unwrap_or(self.shown.len());
        (end - start <= MAX_SHOWN).then(|| self.shown.get(start..end).map(|text| (text.to_owned(), start)))?
    }
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
        let lines = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let shown = Arc::from(mask_secrets(text));
        self.files.push(Source { name, text: Arc::from(text), shown, lines });
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
                    let (line, column) = source.line_column(*start);
                    format!("{}:{line}:{column}", source.name)
                }
                None => String::from("an unknown place"),
            },
        }
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

/// The text with the values of `auth_pass` and `password` overwritten, byte for byte.
fn mask_secrets(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for keyword in ["auth_pass", "password"] {
        for (at, _) in text.match_indices(keyword) {
            let rest = text.get(at + keyword.len()..).unwrap_or("");
            // The keyword itself, not a longer word that begins like it.
            if !rest.starts_with([' ', '\t', '=', '"', '\'']) {
                continue;
            }
            let value = rest.trim_start_matches([' ', '\t', '=']);
            let skipped = at + keyword.len() + (rest.len() - value.len());
            let (open, stop): (usize, &[char]) = match value.chars().next() {
                Some('"') => (1, &['"', '\n']),
                Some('\'') => (1, &['\'', '\n']),
                _ => (0, &[' ', '\t', '\n', '\r', '}', ',']),
            };
            let secret = value.get(open..).unwrap_or("");
            let len = secret.find(stop).unwrap_or(secret.len());
            if let Some(range) = bytes.get_mut(skipped + open..skipped + open + len) {
                range.fill(b'*');
            }
        }
    }
    // Whole characters were overwritten with ASCII, so this is text still.
    String::from_utf8(bytes).unwrap_or_default()
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
    fn passwords_are_masked_in_both_languages_and_nothing_else_moves() {
        for (text, masked) in [
            ("auth_pass geheim # x", "auth_pass ****** # x"),
            ("auth_pass = \"ge heim\"\nx", "auth_pass = \"*******\"\nx"),
            ("{ auth_pass schl\u{fc}ssel }", "{ auth_pass ********** }"),
            ("auth_passes x", "auth_passes x"),
            ("auth_pass", "auth_pass"),
            ("auth_pass '", "auth_pass '"),
        ] {
            assert_eq!(mask_secrets(text), masked);
            assert_eq!(mask_secrets(text).len(), text.len());
        }
    }
}
