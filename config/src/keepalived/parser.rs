//! From words to statements and blocks; includes, definitions and conditions are resolved here.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::diagnostic::Report;
use crate::source::Place;
use crate::tree::{Item, Word};

use super::glob;
use super::lexer::{Lexer, Token, is_name};

/// Deeper blocks than keepalived's four, with room.
const MAX_DEPTH: usize = 32;
/// Includes within includes.
const MAX_INCLUDES: usize = 16;
/// Files of one configuration.
const MAX_FILES: usize = 512;
/// Bytes of one file.
const MAX_BYTES: u64 = 1 << 20;
/// Bytes that one word can become by its variables.
const MAX_EXPANSION: usize = 16 << 10;
/// Bytes that all words together can become by their variables.
const MAX_EXPANDED: usize = 4 << 20;

/// Blocks that stand at the top of a file only: one of them inside another means that a brace is missing.
const TOP: [&str; 10] = [
    "global_defs",
    "vrrp_instance",
    "vrrp_sync_group",
    "vrrp_script",
    "virtual_server",
    "virtual_server_group",
    "cluster",
    "heartbeat_link",
    "arbiter",
    "reference_ip",
];

/// What the language needs from outside.
#[derive(Debug, Clone, Default)]
pub(crate) struct Parsing {
    /// What `@id` conditions compare with.
    pub config_id: String,
}

/// Reads a text that is already in the report's sources, and all that it includes.
pub(crate) fn parse(report: &mut Report, file: usize, path: &Path, parsing: &Parsing) -> Vec<Item> {
    let mut parser = Parser {
        report,
        parsing,
        definitions: BTreeMap::new(),
        frames: vec![Frame::root()],
        statement: None,
        including: Vec::new(),
        expanded: 0,
        last_dropped: false,
    };
    parser.file(file, path);
    parser.frames.pop().map(|frame| frame.items).unwrap_or_default()
}

struct Parser<'a> {
    report: &'a mut Report,
    parsing: &'a Parsing,
    definitions: BTreeMap<String, String>,
    frames: Vec<Frame>,
    statement: Option<Statement>,
    including: Vec<PathBuf>,
    /// Bytes that variables have been filled in for.
    expanded: usize,
    /// Whether the last line was dropped by a condition: a brace that follows belongs to it.
    last_dropped: bool,
}

/// A block that is open.
struct Frame {
    /// What it belongs to; `None` at the top.
    head: Option<Item>,
    items: Vec<Item>,
    /// A condition that doesn't hold: the block is read and dropped.
    dropped: bool,
}

impl Frame {
    fn root() -> Self {
        Frame { head: None, items: Vec::new(), dropped: false }
    }
}

/// The line that is being read.
struct Statement {
    item: Item,
    dropped: bool,
}

impl Parser<'_> {
    fn file(&mut self, file: usize, path: &Path) {
        let Some(source) = self.report.sources.get(file) else { return };
        let text = source.text.clone();
        self.including.push(path.to_owned());
        let depth = self.frames.len();
        let mut lexer = Lexer::new(&text);
        let place = |span: Range<usize>| Place::Text { file, start: span.start, end: span.end };
        let mut conditional = None;
        while let Some(token) = lexer.next_token() {
            for error in std::mem::take(&mut lexer.errors) {
                self.report.error(&place(error.span), error.message, error.help);
            }
            match token {
                Token::Word { text, quoted, expand, span } => {
                    let at_start = self.statement.is_none() && conditional.is_none();
                    if at_start && !quoted && text.starts_with('@') && text.len() > 1 {
                        conditional = Some(!self.condition(&text));
                        continue;
                    }
                    let texts = if expand { self.expand(text, quoted, &place(span.clone())) } else { vec![text] };
                    for text in texts {
                        self.word(Word { text, place: place(span.clone()) }, conditional.unwrap_or(false));
                    }
                }
                Token::Newline => {
                    self.end_statement(path);
                    conditional = None;
                }
                Token::Open(span) => {
                    self.open(place(span));
                    conditional = None;
                }
                Token::Close(span) => {
                    self.end_statement(path);
                    self.close(place(span), depth);
                    conditional = None;
                }
                Token::Define { name, value } => {
                    self.definitions.insert(name, value);
                }
            }
        }
        for error in std::mem::take(&mut lexer.errors) {
            self.report.error(&place(error.span), error.message, error.help);
        }
        self.end_statement(path);
        while self.frames.len() > depth {
            self.unclosed();
        }
        self.including.pop();
    }

    fn word(&mut self, word: Word, dropped: bool) {
        match &mut self.statement {
            Some(statement) => statement.item.words.push(word),
            None => {
                let item = Item { keyword: word, words: Vec::new(), block: None };
                self.statement = Some(Statement { item, dropped });
            }
        }
    }

    fn end_statement(&mut self, path: &Path) {
        let Some(Statement { item, dropped }) = self.statement.take() else { return };
        self.last_dropped = dropped;
        if dropped {
            return;
        }
        let keyword = item.keyword.text.as_str();
        if let Some(variant) = keyword.strip_prefix("include").filter(|v| ["", "r", "m", "w", "b", "a"].contains(v)) {
            let strict = !variant.is_empty();
            return self.include(&item, path, strict);
        }
        if keyword.starts_with("~SEQ") || keyword.starts_with("~LST") {
            let help = "write the lines out, one by one";
            return self.report.error(&item.keyword.place, format!("`{keyword}` is not read yet"), help);
        }
        if let Some(frame) = self.frames.last_mut() {
            frame.items.push(item);
        }
    }

    fn open(&mut self, place: Place) {
        let statement = match self.statement.take() {
            Some(statement) => Some(statement),
            None if self.last_dropped => {
                let keyword = Word { text: String::from("@"), place: place.clone() };
                Some(Statement { item: Item { keyword, words: Vec::new(), block: None }, dropped: true })
            }
            // A brace on its own line belongs to the line before.
            None => self.frames.last_mut().and_then(|frame| {
                let item = frame.items.pop_if(|item| item.block.is_none())?;
                Some(Statement { item, dropped: false })
            }),
        };
        self.last_dropped = false;
        let mut dropped = self.frames.last().is_some_and(|frame| frame.dropped);
        let head = match statement {
            Some(statement) => {
                dropped |= statement.dropped;
                self.recover_missing_brace(&statement.item);
                statement.item
            }
            None => {
                let help = "write the keyword that the block belongs to before the brace";
                self.report.error(&place, "`{` without a keyword before it", help);
                dropped = true;
                Item { keyword: Word { text: String::from("{"), place: place.clone() }, words: Vec::new(), block: None }
            }
        };
        if self.frames.len() > MAX_DEPTH {
            let help = "close the blocks before: no keyword is this deep";
            self.report.error(&place, format!("blocks more than {MAX_DEPTH} deep"), help);
            // Kept flat from here on, so that the closing braces still find something to close.
            dropped = true;
        }
        self.frames.push(Frame { head: Some(head), items: Vec::new(), dropped });
    }

    /// `vrrp_instance` inside a `vrrp_instance`: the one before was never closed.
    fn recover_missing_brace(&mut self, item: &Item) {
        if self.frames.len() < 2 || !TOP.contains(&item.keyword.text.as_str()) {
            return;
        }
        while self.frames.len() > 1 && self.frames.last().is_some_and(|frame| frame.head.is_some()) {
            let outer = self.frames.last().filter(|_| !self.report.is_full()).and_then(|frame| frame.head.clone());
            if let Some(outer) = outer {
                let message = format!(
                    "`{}` begins here, but `{}` ({}) is still open",
                    item.keyword.text,
                    title(&outer),
                    self.report.describe(&outer.keyword.place)
                );
                self.report.error(&item.keyword.place, message, "close the block before it with a `}`");
            }
            self.fold();
        }
    }

    fn close(&mut self, place: Place, depth: usize) {
        if self.frames.len() <= depth.max(1) {
            let help = "remove it, or look for a `{` that is missing above";
            return self.report.error(&place, "`}` closes nothing", help);
        }
        self.fold();
    }

    fn unclosed(&mut self) {
        if let Some(head) = self.frames.last().and_then(|frame| frame.head.clone()) {
            let message = format!("the block `{}` is never closed", title(&head));
            self.report.error(&head.place(), message, "close it with a `}` on a line of its own");
        }
        self.fold();
    }

    /// Ends the innermost block.
    fn fold(&mut self) {
        let Some(Frame { head: Some(mut item), items, dropped }) = self.frames.pop_if(|frame| frame.head.is_some())
        else {
            return;
        };
        item.block = Some(items);
        if let Some(frame) = self.frames.last_mut().filter(|_| !dropped) {
            frame.items.push(item);
        }
    }

    /// `@id` holds for this node, `@^id` for every other.
    fn condition(&self, word: &str) -> bool {
        match word.strip_prefix("@^") {
            Some(id) => id != self.parsing.config_id,
            None => word.strip_prefix('@') == Some(self.parsing.config_id.as_str()),
        }
    }

    /// Fills in `$NAME` and `${NAME}`; an undefined one stays as it is.
    fn expand(&mut self, mut text: String, quoted: bool, place: &Place) -> Vec<String> {
        if !text.contains('$') || self.definitions.is_empty() || self.expanded > MAX_EXPANDED {
            return vec![text];
        }
        // Values may hold variables themselves; a definition that holds itself ends at the bounds.
        for _ in 0..8 {
            let next = self.substitute(&text);
            if next == text || next.len() > MAX_EXPANSION {
                break;
            }
            text = next;
        }
        self.expanded += text.len();
        if self.expanded > MAX_EXPANDED {
            let help = "look for a variable whose value holds itself";
            self.report.error(place, format!("variables become more than {} MiB of text", MAX_EXPANDED >> 20), help);
        }
        if quoted {
            return vec![text];
        }
        let mut words = Vec::new();
        let mut lexer = Lexer::new(&text);
        while let Some(token) = lexer.next_token() {
            if let Token::Word { text, .. } = token {
                words.push(text);
            }
        }
        words
    }

    fn substitute(&self, text: &str) -> String {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('$') {
            out.push_str(before);
            let (name, tail) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((name, tail)) => (name, tail),
                None => {
                    let end = after.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(after.len());
                    after.split_at(end)
                }
            };
            match self.definitions.get(name).filter(|_| is_name(name)) {
                Some(value) if out.len() < MAX_EXPANSION => {
                    out.push_str(value);
                    rest = tail;
                }
                _ => {
                    out.push('$');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    fn include(&mut self, item: &Item, path: &Path, strict: bool) {
        let [target] = item.words.as_slice() else {
            let help = "write `include FILE`; the file may be a pattern such as /etc/keepone/conf.d/*.conf";
            let message = format!("`{}` wants one file, not {}", item.keyword.text, item.words.len());
            return self.report.error(&item.place(), message, help);
        };
        let pattern = path.parent().unwrap_or(Path::new("")).join(&target.text);
        let files = if glob::is_pattern(&target.text) {
            let files = glob::expand(&pattern);
            if files.is_empty() && strict {
                let message = format!("no file matches `{}`", pattern.display());
                self.report.error(&target.place, message, "correct the pattern, or write `include`, which allows it");
            }
            files
        } else {
            vec![pattern]
        };
        for file in files {
            self.include_one(&file, target, strict);
        }
    }

    fn include_one(&mut self, path: &Path, target: &Word, strict: bool) {
        let name = path.display().to_string();
        let circular = self.including.iter().any(|open| open == path);
        if circular || self.including.len() > MAX_INCLUDES || self.report.sources.len() > MAX_FILES {
            let help = "a file must not include itself, directly or through others";
            return self.report.error(&target.place, format!("`{name}` is included without end"), help);
        }
        match read(path) {
            Ok(text) => {
                let file = self.report.sources.add(name, &text);
                self.file(file, path);
            }
            Err(error) => {
                let message = format!("can't read the included file `{name}`: {error}");
                let help = "correct the name, or remove the line";
                if strict {
                    self.report.error(&target.place, message, help);
                } else {
                    self.report.warning(&target.place, message, help);
                }
            }
        }
    }
}

/// Keyword and name, for messages.
fn title(item: &Item) -> String {
    match item.words.first() {
        Some(name) => format!("{} {}", item.keyword.text, name.text),
        None => item.keyword.text.clone(),
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
    #[error("{bytes} bytes, more than the 1 MiB that a configuration may have")]
    TooLong { bytes: u64 },
    /// Not UTF-8.
    #[error("byte {at} is not UTF-8 text")]
    NotText { at: usize },
}
