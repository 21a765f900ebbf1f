//! `include` and its variants: which files are read, and which of those that can't be are an error.
//!
//! What must stay true: a file beyond the bounds is refused before it is read.

use std::path::{Path, PathBuf};

use super::glob;

/// Bytes of one file, and of all files of one configuration.
pub(super) const MAX_BYTES: u64 = 64 << 20;

/// What is an error, where without them it is a warning or nothing (`include_check`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Checks {
    /// A match that is not a readable file.
    readable: bool,
    /// No file of that name; a pattern may match none.
    matched: bool,
    /// No file that matches a pattern.
    wildcard: bool,
    /// An alternative in braces that no file matches.
    brace: bool,
}

impl Checks {
    /// What the keyword adds to the checks in force; `None` if it doesn't include anything.
    pub(super) fn with_keyword(self, keyword: &str) -> Option<Checks> {
        let name = match keyword.strip_prefix("include")? {
            "" => return Some(self),
            "r" => "readable",
            "m" => "match",
            "w" => "wildcard_match",
            "b" => "brace_match",
            "a" => "all",
            _ => return None,
        };
        self.with(name, true)
    }

    /// The words after `include_check`; the error is the word that is none of its.
    pub(super) fn of_words<'a>(self, words: impl Iterator<Item = &'a str>) -> Result<Checks, &'a str> {
        let mut words = words.peekable();
        let starts = words.peek().copied();
        let mut checks = match starts {
            None => return Ok(Checks::default().all()),
            Some(word) if word.starts_with(['+', '-']) => self,
            Some(_) => Checks::default(),
        };
        let mut on = true;
        for word in words {
            let name = match (word.strip_prefix('+'), word.strip_prefix('-')) {
                (Some(name), _) => {
                    on = true;
                    name
                }
                (None, Some(name)) => {
                    on = false;
                    name
                }
                (None, None) => word,
            };
            if !name.is_empty() {
                checks = checks.with(name, on).ok_or(word)?;
            }
        }
        Ok(checks)
    }

    fn all(self) -> Checks {
        Checks { readable: true, matched: true, wildcard: true, brace: true }
    }

    fn with(mut self, name: &str, on: bool) -> Option<Checks> {
        match name {
            "all" => return Some(if on { self.all() } else { Checks::default() }),
            "readable" => self.readable = on,
            "match" => self.matched = on,
            "wildcard_match" => self.wildcard = on,
            "brace_match" => self.brace = on,
            _ => return None,
        }
        // A file that is missing can't be read either, so each of the others includes this check.
        self.readable |= on;
        Some(self)
    }

    /// Whether a file that can't be read is an error.
    pub(super) fn wants_readable(self) -> bool {
        self.readable
    }

    /// Whether it is an error that no file has this name; that a file must be readable doesn't say that it must be there.
    pub(super) fn wants_match(self) -> bool {
        self.matched || self.wildcard
    }

    /// What is missing for a pattern that matched these files, if that is an error.
    pub(super) fn missing(self, pattern: &Path, found: &[PathBuf]) -> Option<String> {
        if self.wildcard && found.is_empty() {
            return Some(format!("no file matches `{}`", pattern.display()));
        }
        if !self.brace {
            return None;
        }
        let one = glob::alternatives(pattern).into_iter().find(|one| glob::expand(one).is_empty())?;
        Some(format!("no file matches `{}`, one of the alternatives", one.display()))
    }
}

/// A plain file of bounded length, as text.
pub(crate) fn read(path: &Path) -> Result<String, ReadError> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(ReadError::NotAFile);
    }
    if metadata.len() > MAX_BYTES {
        return Err(ReadError::TooLong { bytes: metadata.len() });
    }
    let bytes = std::fs::read(path)?;
    String::from_utf8(bytes).map_err(|error| ReadError::NotText { at: error.utf8_error().valid_up_to() })
}

/// Why a file is no configuration at all.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The system says no.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// A directory, a device, a pipe.
    #[error("it is not a plain file")]
    NotAFile,
    /// Beyond the bound.
    #[error("{bytes} bytes, more than the {} MiB that a configuration may have", MAX_BYTES >> 20)]
    TooLong { bytes: u64 },
    /// Not UTF-8.
    #[error("byte {at} is not UTF-8 text")]
    NotText { at: usize },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_set_added_and_taken_away() {
        fn of(words: &str) -> Result<Checks, &str> {
            Checks::default().all().of_words(words.split_whitespace())
        }
        assert_eq!(of(""), Ok(Checks::default().all()));
        assert_eq!(of("match"), Ok(Checks { readable: true, matched: true, ..Checks::default() }));
        assert_eq!(of("+match -wildcard_match"), Ok(Checks { wildcard: false, ..Checks::default().all() }));
        assert_eq!(of("- readable match"), Ok(Checks { readable: false, matched: false, ..Checks::default().all() }));
        assert_eq!(of("nonsense"), Err("nonsense"));
    }

    #[test]
    fn each_variant_adds_its_check() {
        let plain = Checks::default();
        assert_eq!(plain.with_keyword("include"), Some(plain));
        assert_eq!(plain.with_keyword("includew"), Some(Checks { readable: true, wildcard: true, ..plain }));
        assert_eq!(plain.with_keyword("includea"), Some(plain.all()));
        assert_eq!(plain.with_keyword("includex"), None);
    }
}
