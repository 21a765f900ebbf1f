//! From a file to lines, and from a line to the lines that it stands for.
//!
//! What must stay true: all bounds are of the whole configuration, not of one file or definition, so that nothing
//! that is nested can go round them.

use std::path::{Path, PathBuf};

use crate::diagnostic::Report;
use crate::source::{Place, Step};
use crate::tree::Item;

use super::fill::{Definition, Definitions, Random, Refused, definition};
use super::include::{Checks, MAX_BYTES, read};
use super::lexer;
use super::line::{Line, Name, is_blank};
use super::parser::Parser;
use super::{glob, sequence};

/// Includes within includes.
const MAX_INCLUDES: usize = 16;
/// Files of one configuration.
const MAX_FILES: usize = 512;
/// Includes of one configuration, those that find nothing too: each looks at a directory.
const MAX_LOOKS: usize = 4096;
/// Definitions within definitions, sequences within sequences.
const MAX_NESTED: usize = 32;
/// Words, braces and values filled in of one configuration, and lines that come from definitions and sequences. 10,000 virtual servers
/// of 4 real servers each have about a third of this.
const MAX_TOKENS: usize = 4_000_000;
/// Bytes of the lines that values were filled into.
const MAX_FILLED: usize = 64 << 20;

/// What the language needs from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsing {
    /// What `@id` conditions compare with, and `${_INSTANCE}`.
    pub config_id: String,
    /// What `${_ENV NAME}` stands for.
    pub environment: Vec<(String, String)>,
}

/// Reads a text that is already in the report's sources, and all that it includes. If there is too much of it, the
/// report is cut short ([`Report::is_cut_short`]), and what was read is of no use.
pub(crate) fn parse(report: &mut Report, file: usize, path: &Path, parsing: &Parsing) -> Vec<Item> {
    let bytes = report.sources.get(file).map_or(0, |source| source.text.len());
    let mut reader = Reader {
        parser: Parser::new(report),
        definitions: Definitions::new(&parsing.config_id, &parsing.environment),
        checks: Checks::default(),
        including: Vec::new(),
        open: Vec::new(),
        nested: 0,
        files: 1,
        looks: 0,
        bytes,
        repeated: 0,
        refused: false,
        depth: 1,
    };
    reader.file(file, path);
    reader.parser.finish()
}

struct Reader<'a> {
    parser: Parser<'a>,
    definitions: Definitions,
    checks: Checks,
    including: Vec<PathBuf>,
    /// Definitions of several lines that are being read.
    open: Vec<Name>,
    nested: usize,
    files: usize,
    /// Includes so far.
    looks: usize,
    bytes: usize,
    /// Lines that came from definitions and sequences.
    repeated: usize,
    /// A bound was exceeded: nothing more is read.
    refused: bool,
    /// Blocks that were open when the file began.
    depth: usize,
}

impl Reader<'_> {
    fn file(&mut self, file: usize, path: &Path) {
        let Some(source) = self.parser.report.sources.get(file) else { return };
        let text = source.text.clone();
        self.including.push(path.to_owned());
        let (depth, checks) = (std::mem::replace(&mut self.depth, self.parser.depth()), self.checks);
        let before = std::mem::replace(&mut self.definitions.file, path.to_owned());

        let mut at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        while at < text.len() && !self.refused {
            let (end, is_plain) = glance(&text, at);
            let line = text.get(at..end).unwrap_or("");
            let first = line.trim_start_matches(is_blank);
            at = match first.chars().next() {
                None | Some('#' | '!') => end + 1,
                // What is special needs more than one look at the line; nearly all are not.
                Some('@' | '$' | '~') => self.special(&text, file, at, end),
                Some('i') if first.starts_with("include") => self.special(&text, file, at, end),
                Some(_) if !is_plain && (line.contains('$') || line.trim_end_matches(is_blank).ends_with('\\')) => {
                    self.special(&text, file, at, end)
                }
                Some(_) => {
                    self.parser.line(&mut Line::verbatim(line, file, at), true, self.depth);
                    end + 1
                }
            };
            self.bounded(file, end);
        }

        self.parser.close_all(self.depth, !self.refused);
        self.including.pop();
        (self.depth, self.checks, self.definitions.file) = (depth, checks, before);
    }

    /// Reads the line at `at`, with those that continue it; says where the next one begins.
    fn special(&mut self, text: &str, file: usize, at: usize, end: usize) -> usize {
        let line = text.get(at..end).unwrap_or("").trim_end_matches(is_blank);
        if let Some(whole) = line.strip_suffix('\\') {
            let (start, rest) = after_condition(whole);
            if let Some((name, value)) = definition(rest) {
                let id = whole.get(..start).unwrap_or("").trim_matches(is_blank);
                let holds = id.strip_prefix('@').is_none_or(|id| self.condition(id));
                return self.definition_lines(text, file, (at + start + value, end + 1), name, holds);
            }
        }
        let shown = line.get(..lexer::comment(line)).unwrap_or("");
        if shown.ends_with('\\') && !shown.starts_with(['@', '$', '~']) {
            let place = Place::Text { file, start: at + shown.len() - 1, end: at + shown.len() };
            let help = "write the statement on one line: a backslash continues only a definition, `$NAME= \\`";
            self.parser.report.error(&place, "a backslash at the end of a line that defines nothing", help);
        }
        self.line(&Line::verbatim(shown, file, at).trim(), false);
        end + 1
    }

    /// A definition whose first line begins at `from.0` and whose next one at `from.1`; says where it ends.
    fn definition_lines(&mut self, text: &str, file: usize, from: (usize, usize), name: &str, holds: bool) -> usize {
        let (mut at, mut next) = from;
        let start = at;
        let mut lines = Vec::new();
        let end = loop {
            let end = next - 1;
            let raw = text.get(at..end).unwrap_or("").trim_end_matches(is_blank);
            let (raw, continues) = match raw.strip_suffix('\\') {
                Some(raw) => (raw, true),
                None => (raw, false),
            };
            let line = Line::verbatim(raw.get(..lexer::comment(raw)).unwrap_or(""), file, at).trim().into_owned();
            if !line.text.is_empty() {
                lines.push(line);
            }
            if !continues || next > text.len() {
                break end;
            }
            (at, next) = (next, line_end(text, next) + 1);
            if text.get(at..next - 1).is_none_or(|line| line.trim_matches(is_blank).is_empty()) && at < text.len() {
                let place = Place::Text { file, start: at, end: at };
                let help = "remove the empty line, or the backslash before it: keepalived's versions differ here";
                self.parser.report.warning(&place, format!("this empty line ends the definition of `${name}`"), help);
                break next - 1;
            }
        };
        if lines.is_empty() {
            lines.push(Line::verbatim("", file, start).into_owned());
        }
        if holds {
            let place = Place::Text { file, start, end: text.get(..end).unwrap_or("").trim_end().len().max(start) };
            let step = Step::Defined(Name::from(name));
            self.definitions.define(name, Definition { lines, place, step, verbatim: true });
        }
        end + 1
    }

    /// Reads one line without blanks around it or a comment; `filled`: its names were filled in before.
    fn line(&mut self, line: &Line<'_>, filled: bool) {
        let text = &*line.text;
        let at = Place::Text { file: line.file, start: line.span(0..0).start, end: line.span(0..text.len()).end };
        if self.refused {
            return;
        }
        if self.nested > MAX_NESTED {
            let message = format!("more than {MAX_NESTED} definitions and sequences within each other");
            return self.parser.report.error(&at, message, "write some of them out");
        }
        self.nested += 1;
        if let Some(id) = text.strip_prefix('@') {
            self.conditional(line, id, filled);
        } else if text.starts_with('~') {
            self.sequence(line, at);
        } else if let Some((name, value)) = definition(text) {
            let value = line.slice(value..text.len()).trim().into_owned();
            let span = value.span(0..value.text.len());
            let place = Place::Text { file: line.file, start: span.start, end: span.end };
            let step = Step::Defined(Name::from(name));
            self.definitions.define(name, Definition { lines: vec![value], place, step, verbatim: true });
        } else if let Some(checks) = text.split(is_blank).next().and_then(|word| self.checks.with_keyword(word)) {
            self.include(line, checks, at);
        } else if let Some((name, definition)) = self.definitions.lines_of(text) {
            self.lines_of(&name, &definition, at);
        } else if text.contains('$') && !filled {
            match self.definitions.fill(self.parser.report, line, false) {
                Ok(filled) => self.line(&filled.trim(), true),
                // Its block is read all the same, for the mistakes inside.
                Err(Refused) if text.ends_with('{') => self.parser.open_lost(at),
                Err(Refused) => {}
            }
        } else if text.starts_with('$') {
            let help = "define it above, as `$NAME=VALUE`: no blank before the `=`, and no digit first";
            self.parser.report.error(&at, "a line begins with a name that is not defined", help);
        } else {
            self.parser.line(&mut line.slice(0..text.len()), false, self.depth);
            self.settings();
        }
        self.nested -= 1;
    }

    /// `@id` holds for this node, `@^id` for every other.
    fn condition(&self, id: &str) -> bool {
        match id.strip_prefix('^') {
            Some(id) => id != self.definitions.config_id,
            None => id == self.definitions.config_id,
        }
    }

    fn conditional(&mut self, line: &Line<'_>, id: &str, filled: bool) {
        let end = id.find(is_blank).unwrap_or(id.len());
        let rest = line.slice(1 + end..line.text.len());
        let rest = rest.trim();
        if self.condition(id.get(..end).unwrap_or("")) {
            self.line(&rest, filled);
        } else if rest.text.ends_with('{') {
            let span = rest.span(0..rest.text.len());
            self.parser.left_out = Some(Place::Text { file: line.file, start: span.start, end: span.end });
        }
    }

    fn sequence(&mut self, line: &Line<'_>, at: Place) {
        let head = match sequence::head(&line.text) {
            Ok(head) => head,
            Err(help) => return self.parser.report.error(&at, "a `~` that begins no sequence", help),
        };
        let inside = line.slice(head.at..head.at + head.inside.len());
        let Ok(inside) = self.definitions.fill(self.parser.report, &inside, true) else { return };
        let span = line.span(0..head.end);
        let place = Place::Text { file: line.file, start: span.start, end: span.end };
        let rows = match sequence::sequence(head.kind, &inside.text) {
            Ok(rows) => rows,
            Err(wrong) => {
                let message = format!("not a sequence: {wrong}");
                let help = "for instance ~SEQ(N, 1, 10) or ~LST({A, B}, {1, x}, {2, y})";
                return self.parser.report.error(&place, message, help);
            }
        };
        let rest = line.slice(head.end..line.text.len());
        let rest = rest.trim();
        for row in rows {
            for (name, value) in row {
                let step = match head.kind {
                    sequence::Kind::List => Step::Defined(Name::from(name.as_str())),
                    _ => Step::Sequence(Name::from(name.as_str()), Name::from(value.as_str())),
                };
                let value = Line::verbatim(&value, line.file, span.start).into_owned();
                let definition = Definition { lines: vec![value], place: place.clone(), step, verbatim: false };
                self.definitions.define(&name, definition);
            }
            self.line(&rest, false);
            self.repeated += 1;
            if !self.bounded_at(&place) {
                return;
            }
        }
    }

    /// The lines that stand for one that holds only their name.
    fn lines_of(&mut self, name: &Name, definition: &Definition, at: Place) {
        if self.open.contains(name) {
            let message = format!("the value of `${name}` holds itself");
            return self.parser.report.error(&definition.place, message, "define it without");
        }
        let Place::Text { file, .. } = at else { return };
        self.open.push(name.clone());
        let first = definition.lines.first().map_or(0, |line| line.file);
        let reading = self.parser.report.sources.again(first, Step::Filled(name.clone()), at.clone(), file);
        for line in &definition.lines {
            self.line(&line.in_reading(reading), false);
            self.repeated += 1;
            if !self.bounded_at(&at) {
                break;
            }
        }
        self.open.pop();
    }

    /// Takes what `global_defs` says of the rest of the file.
    fn settings(&mut self) {
        for item in std::mem::take(&mut self.parser.settings) {
            let words = item.words.iter().map(|word| word.text.as_str());
            if item.keyword.text == "include_check" {
                match self.checks.of_words(words) {
                    Ok(checks) => self.checks = checks,
                    Err(word) => {
                        let help = "readable, match, wildcard_match, brace_match, each perhaps after `+` or `-`";
                        let message = format!("include_check: `{word}` is not a check");
                        self.parser.report.error(&item.place(), message, help);
                    }
                }
            } else if let Some(Ok(seed)) = item.words.first().map(|word| word.text.parse()) {
                self.definitions.random = Random::new(seed);
            }
        }
    }

    fn include(&mut self, line: &Line<'_>, checks: Checks, at: Place) {
        self.looks += 1;
        if self.files > MAX_FILES || self.looks > MAX_LOOKS {
            let message = format!("here the configuration has more than {MAX_FILES} files or {MAX_LOOKS} includes");
            return self.refuse(&at, message, "include less, or look for a sequence that repeats an include");
        }
        let keyword = line.text.split(is_blank).next().unwrap_or("");
        let target = line.slice(keyword.len()..line.text.len());
        let target = target.trim();
        let span = target.span(0..target.text.len());
        let place = Place::Text { file: line.file, start: span.start, end: span.end };
        let name = match target.text.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(name) => {
                let help = "write the name without quotes";
                self.parser.report.warning(&place, "keepalived takes these quotes for a part of the name", help);
                name
            }
            None => &*target.text,
        };
        if name.is_empty() || name.contains(is_blank) {
            let help = "write `include FILE`; the file may be a pattern such as /etc/keepone/conf.d/*.conf";
            let words = name.split_whitespace().count();
            return self.parser.report.error(&at, format!("`{keyword}` wants one file, not {words}"), help);
        }
        if name.contains('$') {
            let help = "write the name itself: names are filled in after files were included";
            self.parser.report.warning(&place, "nothing is filled in here: this is the file's name as it stands", help);
        }
        let directory = self.definitions.file.parent().unwrap_or(Path::new("")).to_owned();
        let path = directory.join(name);
        if !glob::is_pattern(name) {
            return self.include_one(&path, &place, checks.wants_match());
        }
        let files = glob::expand(&path);
        if let Some(missing) = checks.missing(&path, &files) {
            let help = "correct the pattern, or write `include`, which allows it";
            self.parser.report.error(&place, missing, help);
        }
        for file in files {
            self.include_one(&file, &place, checks.wants_readable());
        }
    }

    fn include_one(&mut self, path: &Path, place: &Place, strict: bool) {
        let name = path.display().to_string();
        let circular = self.including.iter().any(|open| open == path);
        if circular || self.including.len() > MAX_INCLUDES || self.files > MAX_FILES {
            let help = "a file must not include itself, directly or through others";
            return self.parser.report.error(place, format!("`{name}` is included without end"), help);
        }
        match read(path) {
            Ok(text) => {
                self.files += 1;
                self.bytes += text.len();
                if self.bytes as u64 > MAX_BYTES {
                    let message = format!("with `{name}` the files have more than {} MiB", MAX_BYTES >> 20);
                    self.refuse(place, message, "include less, or split the configuration between nodes");
                    return;
                }
                let file = self.parser.report.sources.include(name, &text, place.clone());
                self.file(file, path);
            }
            Err(error) => {
                let message = format!("can't read the included file `{name}`: {error}");
                let help = "correct the name, or remove the line";
                if strict {
                    self.parser.report.error(place, message, help);
                } else {
                    self.parser.report.warning(place, message, help);
                }
            }
        }
    }

    fn bounded(&mut self, file: usize, end: usize) {
        self.bounded_at(&Place::Text { file, start: end, end });
    }

    /// Whether the configuration is still within its bounds; refuses it if not.
    fn bounded_at(&mut self, place: &Place) -> bool {
        if self.refused {
            return false;
        }
        let help = "look for a sequence or a definition that repeats too much, or split the configuration";
        if self.parser.tokens + self.repeated + self.definitions.uses > MAX_TOKENS {
            let message = format!("here the configuration has more than {MAX_TOKENS} words and repeated lines");
            self.refuse(place, message, help);
        } else if self.definitions.filled > MAX_FILLED {
            let message = format!("here the lines with values filled in have more than {} MiB", MAX_FILLED >> 20);
            self.refuse(place, message, help);
        }
        !self.refused
    }

    fn refuse(&mut self, place: &Place, message: String, help: &str) {
        self.refused = true;
        self.parser.report.error(place, message, help);
        self.parser.report.cut_short();
    }
}

/// Where the line ends that begins at `at`, and whether nothing is in it that may fill something in or go on in the next
/// line: one look at each byte of the largest files.
fn glance(text: &str, at: usize) -> (usize, bool) {
    let mut is_plain = true;
    for (length, byte) in text.as_bytes().get(at..).unwrap_or(&[]).iter().enumerate() {
        match byte {
            b'\n' => return (at + length, is_plain),
            b'$' | b'\\' => is_plain = false,
            _ => {}
        }
    }
    (text.len(), is_plain)
}

/// Where the line ends that begins at `at`.
fn line_end(text: &str, at: usize) -> usize {
    at + text.get(at..).map_or(0, |rest| rest.find('\n').unwrap_or(rest.len()))
}

/// What follows blanks and an `@id`, and where.
fn after_condition(line: &str) -> (usize, &str) {
    let trimmed = line.trim_start_matches(is_blank);
    let rest = match trimmed.strip_prefix('@').and_then(|rest| rest.split_once(is_blank)) {
        Some((_, rest)) => rest.trim_start_matches(is_blank),
        None => trimmed,
    };
    (line.len() - rest.len(), rest)
}
