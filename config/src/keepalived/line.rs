//! A line to be read, and where each of its bytes was written.
//!
//! What must stay true: the pieces cover the text without a gap, in order, so that any range of it has a place.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use crate::source::{Place, Sources, Step};

/// One logical line: of a file, or of a definition, with what was filled in.
#[derive(Debug, Clone)]
pub(super) struct Line<'a> {
    pub text: Cow<'a, str>,
    /// The reading that the line itself stands in.
    pub file: usize,
    /// Where its first byte was written, if all of it was written in one piece.
    start: usize,
    /// Empty if all of it was written in one piece.
    pieces: Vec<Piece>,
    uses: Vec<Use>,
}

/// Bytes that were written together.
#[derive(Debug, Clone)]
struct Piece {
    /// Its first byte in the line.
    at: usize,
    written: Written,
    /// Which of the line's uses brought it.
    by: Option<usize>,
}

#[derive(Debug, Clone, Copy)]
enum Written {
    /// Byte for byte, from here on.
    Verbatim { file: usize, start: usize },
    /// Nowhere: a number of a sequence, for instance.
    Made,
}

/// A `$NAME` of the line itself.
#[derive(Debug, Clone)]
pub(super) struct Use {
    /// Its bytes, in the reading that the line stands in.
    pub span: Range<usize>,
    /// What a word that is partly its value says of it.
    pub step: Step,
    /// Where its value was written.
    pub defined: Option<Place>,
    /// The reading of the words that are partly its value, once there is one.
    reading: Option<usize>,
}

impl Use {
    pub(super) fn new(span: Range<usize>, step: Step, defined: Option<Place>) -> Self {
        Use { span, step, defined, reading: None }
    }
}

impl<'a> Line<'a> {
    /// A line as it was written, its first byte at `start`.
    pub(super) fn verbatim(text: &'a str, file: usize, start: usize) -> Self {
        Line { text: Cow::Borrowed(text), file, start, pieces: Vec::new(), uses: Vec::new() }
    }

    /// An empty line that stands where `line` stands, to be filled.
    pub(super) fn like(line: &Line<'_>) -> Line<'static> {
        let uses = line.uses.clone();
        Line { text: Cow::Owned(String::new()), file: line.file, start: line.start, pieces: Vec::new(), uses }
    }

    /// The same line, owning its text.
    pub(super) fn into_owned(self) -> Line<'static> {
        let Line { text, file, start, pieces, uses } = self;
        Line { text: Cow::Owned(text.into_owned()), file, start, pieces, uses }
    }

    /// The same line, read again as part of another reading of the same text.
    pub(super) fn in_reading(&self, file: usize) -> Line<'_> {
        let mut line = self.slice(0..self.text.len());
        // What was filled in when it was defined stays where it was.
        line.pieces.iter_mut().for_each(|piece| {
            if let (Written::Verbatim { file: old, .. }, None) = (&mut piece.written, piece.by) {
                *old = file;
            }
        });
        line.file = file;
        line
    }

    /// A part of it.
    pub(super) fn slice(&self, range: Range<usize>) -> Line<'_> {
        let text = Cow::Borrowed(self.text.get(range.clone()).unwrap_or(""));
        let mut line =
            Line { text, file: self.file, start: self.start + range.start, pieces: Vec::new(), uses: Vec::new() };
        if !self.pieces.is_empty() {
            line.pieces = self.pieces_of(range.clone());
            line.pieces.iter_mut().for_each(|piece| piece.at -= range.start);
            line.uses.clone_from(&self.uses);
        }
        line
    }

    /// Without the blanks around it.
    pub(super) fn trim(&self) -> Line<'_> {
        let text = self.text.trim_end_matches(is_blank);
        let start = text.len() - text.trim_start_matches(is_blank).len();
        self.slice(start..text.len())
    }

    pub(super) fn add_use(&mut self, one: Use) -> usize {
        self.uses.push(one);
        self.uses.len() - 1
    }

    /// Adds a part of another line that stands where this one stands.
    pub(super) fn push(&mut self, from: &Line<'_>, range: Range<usize>) {
        let at = self.text.len();
        let pieces = from.pieces_of(range.clone());
        self.pieces.extend(pieces.into_iter().map(|piece| Piece { at: piece.at - range.start + at, ..piece }));
        self.text.to_mut().push_str(from.text.get(range).unwrap_or(""));
    }

    /// Adds a part of a definition's value, read in `reading`, for the use `by`.
    pub(super) fn push_value(&mut self, value: &Line<'_>, range: Range<usize>, reading: usize, by: usize) {
        let at = self.text.len();
        for mut piece in value.pieces_of(range.clone()) {
            if let (Written::Verbatim { file, .. }, None) = (&mut piece.written, piece.by) {
                *file = reading;
            }
            self.pieces.push(Piece { at: piece.at - range.start + at, written: piece.written, by: Some(by) });
        }
        self.text.to_mut().push_str(value.text.get(range).unwrap_or(""));
    }

    /// Adds what was written nowhere, for the use `by`.
    pub(super) fn push_made(&mut self, text: &str, by: usize) {
        self.pieces.push(Piece { at: self.text.len(), written: Written::Made, by: Some(by) });
        self.text.to_mut().push_str(text);
    }

    /// The pieces that hold a range, the first and the last cut to it.
    fn pieces_of(&self, range: Range<usize>) -> Vec<Piece> {
        if self.pieces.is_empty() {
            let written = Written::Verbatim { file: self.file, start: self.start + range.start };
            return vec![Piece { at: range.start, written, by: None }];
        }
        let first = self.pieces.partition_point(|piece| piece.at <= range.start).saturating_sub(1);
        let mut found = Vec::new();
        for piece in self.pieces.iter().skip(first).take_while(|piece| piece.at < range.end || piece.at == range.start)
        {
            let mut piece = piece.clone();
            let cut = range.start.saturating_sub(piece.at);
            piece.at += cut;
            if let Written::Verbatim { start, .. } = &mut piece.written {
                *start += cut;
            }
            // An empty one says nothing of the bytes after it.
            if found.last().is_some_and(|before: &Piece| before.at == piece.at) {
                found.pop();
            }
            found.push(piece);
        }
        found
    }

    /// Where a byte of the line stands in the reading of the line itself.
    fn outer(&self, piece: &Piece, at: usize) -> Range<usize> {
        match (piece.by.and_then(|by| self.uses.get(by)), piece.written) {
            (Some(one), _) => one.span.clone(),
            (None, Written::Verbatim { start, .. }) => {
                let at = start + at.saturating_sub(piece.at);
                at..at
            }
            (None, Written::Made) => self.start..self.start,
        }
    }

    /// The bytes of the line's own reading that a range came from.
    pub(super) fn span(&self, range: Range<usize>) -> Range<usize> {
        let pieces = self.pieces_of(range.clone());
        let start = pieces.first().map_or(self.start, |piece| self.outer(piece, range.start).start);
        let end = pieces.last().map_or(start, |piece| self.outer(piece, range.end).end);
        start..end.max(start)
    }

    /// Where a range was written: in one piece, or else where its pieces were put together.
    pub(super) fn place(&mut self, range: Range<usize>, sources: &mut Sources) -> Place {
        if self.pieces.is_empty() {
            return Place::Text { file: self.file, start: self.start + range.start, end: self.start + range.end };
        }
        let pieces = self.pieces_of(range.clone());
        if let [Piece { written: Written::Verbatim { file, start }, .. }] = pieces.as_slice() {
            return Place::Text { file: *file, start: *start, end: start + range.len() };
        }
        let span = self.span(range);
        let file = match pieces.iter().find_map(|piece| piece.by) {
            Some(by) => self.reading(by, sources),
            None => self.file,
        };
        Place::Text { file, start: span.start, end: span.end }
    }

    /// The reading for what is partly the value of a use.
    fn reading(&mut self, by: usize, sources: &mut Sources) -> usize {
        let file = self.file;
        let Some(one) = self.uses.get_mut(by) else { return file };
        let made = match (one.reading, &one.defined) {
            (Some(reading), _) => reading,
            (None, Some(defined)) => sources.again(file, one.step.clone(), defined.clone(), file),
            (None, None) => file,
        };
        one.reading = Some(made);
        made
    }

    /// Every place that a range was written at, to hide a password wherever it stands.
    pub(super) fn written(&self, range: Range<usize>) -> Vec<Place> {
        let pieces = self.pieces_of(range.clone());
        let ends = pieces.iter().skip(1).map(|piece| piece.at).chain([range.end]);
        let mut places = Vec::new();
        for (piece, end) in pieces.iter().zip(ends) {
            if let Written::Verbatim { file, start } = piece.written {
                places.push(Place::Text { file, start, end: start + end.saturating_sub(piece.at) });
            }
            places.extend(piece.by.and_then(|by| self.uses.get(by)?.defined.clone()));
        }
        places
    }
}

/// What stands between words. A byte of zero is one too: editors and copies leave them.
pub(super) fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\0'
}

/// The name that a definition is known by.
pub(super) type Name = Arc<str>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_has_its_place() {
        let mut sources = Sources::default();
        let file = sources.add(String::from("t"), "$A=eth\nx ${A}0 y");
        let value = Line::verbatim("eth", file, 3);
        let line = Line::verbatim("x ${A}0 y", file, 7);
        let defined = Place::Text { file, start: 3, end: 6 };
        let mut out = Line::like(&line);
        let by = out.add_use(Use::new(9..13, Step::Defined("A".into()), Some(defined.clone())));
        let place = Place::Text { file, start: 9, end: 13 };
        let again = sources.again(file, Step::Filled("A".into()), place, file);
        out.push(&line, 0..2);
        out.push_value(&value, 0..3, again, by);
        out.push(&line, 6..9);
        assert_eq!(out.text, "x eth0 y");
        assert_eq!(out.place(0..1, &mut sources), Place::Text { file, start: 7, end: 8 });
        assert_eq!(out.place(2..5, &mut sources), Place::Text { file: again, start: 3, end: 6 });
        assert_eq!(out.place(7..8, &mut sources), Place::Text { file, start: 15, end: 16 });
        let mixed = out.place(2..6, &mut sources);
        assert!(matches!(mixed, Place::Text { start: 9, end: 14, .. }), "{mixed:?}");
        assert_eq!(sources.steps(&mixed), [(Step::Defined("A".into()), defined)]);
        assert_eq!(out.slice(4..8).span(0..2), 9..14);
        assert_eq!(out.trim().text, "x eth0 y");
    }
}
