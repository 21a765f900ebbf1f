//! What the operator wrote, as statements: both languages end here.
//!
//! A statement is a keyword, its words, and perhaps a block of statements. TOML's tables become blocks
//! with the same keywords, so one table of keywords and one reading serve both languages.

use compact_str::CompactString;

use crate::source::Place;

/// One word, unquoted and with its variables filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// Nearly all are short, and a file has hundreds of thousands: none of these is allocated.
    pub text: CompactString,
    pub place: Place,
}

/// One statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    pub keyword: Word,
    pub words: Vec<Word>,
    pub block: Option<Vec<Item>>,
}

impl Item {
    /// From the first word to the last.
    pub(crate) fn place(&self) -> Place {
        match (&self.keyword.place, self.words.last().map(|word| &word.place)) {
            (Place::Text { file, start, .. }, Some(Place::Text { file: last, end, .. }))
                if file == last && start <= end =>
            {
                Place::Text { file: *file, start: *start, end: *end }
            }
            (place, _) => place.clone(),
        }
    }

    /// The statements inside; empty if there is no block.
    pub(crate) fn items(&self) -> &[Item] {
        self.block.as_deref().unwrap_or(&[])
    }

    /// All words, the keyword first.
    pub(crate) fn line(&self) -> impl Iterator<Item = &Word> {
        std::iter::once(&self.keyword).chain(&self.words)
    }
}
