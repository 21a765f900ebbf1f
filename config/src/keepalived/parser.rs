//! From words to statements and blocks.

use crate::diagnostic::{Report, Severity};
use crate::mask;
use crate::source::Place;
use crate::tree::{Item, Word};

use super::lexer::{Lexer, Token};
use super::line::Line;

/// Deeper blocks than keepalived's four, with room.
const MAX_DEPTH: usize = 32;

/// Blocks that stand at the top of a file only: one of them inside another means that a brace is missing.
const TOP: [&str; 11] = [
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
    "webhook",
];

/// The tree that is being built.
pub(super) struct Parser<'a> {
    pub report: &'a mut Report,
    frames: Vec<Frame>,
    /// The statements of all open blocks, one behind the other, so that each block is allocated once.
    items: Vec<Item>,
    statement: Option<Item>,
    /// Whether the statement's words are a password.
    secret: bool,
    /// Words and braces so far.
    pub tokens: usize,
    /// Statements of `global_defs` that change how the rest is read, until the reader takes them.
    pub settings: Vec<Item>,
    /// A line that a condition left out, with a brace that opened a block.
    pub left_out: Option<Place>,
}

/// A block that is open.
struct Frame {
    /// What it belongs to; `None` at the top.
    head: Option<Item>,
    /// Where its statements begin.
    start: usize,
    /// Too deep or without a keyword: the block is read and dropped.
    dropped: bool,
}

impl<'a> Parser<'a> {
    pub(super) fn new(report: &'a mut Report) -> Self {
        let root = Frame { head: None, start: 0, dropped: false };
        let (settings, left_out) = (Vec::new(), None);
        let items = Vec::new();
        Parser { report, frames: vec![root], items, statement: None, secret: false, tokens: 0, settings, left_out }
    }

    /// How many blocks are open, with the file itself.
    pub(super) fn depth(&self) -> usize {
        self.frames.len()
    }

    /// The statements at the top; what is still open is lost.
    pub(super) fn finish(mut self) -> Vec<Item> {
        let end = self.frames.get(1).map_or(self.items.len(), |frame| frame.start);
        self.items.truncate(end);
        self.items
    }

    /// Reads one line; braces may close blocks down to `depth`.
    pub(super) fn line(&mut self, line: &mut Line<'_>, comments: bool, depth: usize) {
        let text = line.text.clone();
        let mut lexer = Lexer::new(&text, comments);
        while let Some(token) = lexer.next_token() {
            self.tokens += 1;
            match token {
                Token::Word { text, span, .. } => {
                    let place = line.place(span.clone(), &mut self.report.sources);
                    let word = Word { text: text.into(), place };
                    match &mut self.statement {
                        Some(statement) => {
                            if self.secret {
                                self.report.sources.hide(&word.place);
                                line.written(span).iter().for_each(|place| self.report.sources.hide(place));
                            }
                            // Most have one word, and a vector that grows by itself begins with room for four.
                            if statement.words.is_empty() {
                                statement.words.reserve_exact(1);
                            }
                            statement.words.push(word);
                        }
                        None => {
                            self.secret = mask::is_secret(&word.text);
                            self.statement = Some(Item { keyword: word, words: Vec::new(), block: None });
                        }
                    }
                }
                Token::Open(span) => {
                    let place = line.place(span, &mut self.report.sources);
                    self.open(place);
                }
                Token::Close(span) => {
                    self.end_statement();
                    let place = line.place(span, &mut self.report.sources);
                    self.close(&place, depth);
                }
            }
        }
        for fault in std::mem::take(&mut lexer.faults) {
            let place = line.place(fault.span, &mut self.report.sources);
            let severity = if fault.is_error { Severity::Error } else { Severity::Warning };
            self.report.push(severity, &place, fault.message.to_owned(), fault.help.to_owned());
        }
        self.end_statement();
    }

    fn end_statement(&mut self) {
        let Some(item) = self.statement.take() else { return };
        let Some(frame) = self.frames.last() else { return };
        if ["include_check", "random_seed"].contains(&item.keyword.text.as_str())
            && frame.head.as_ref().is_some_and(|head| head.keyword.text == "global_defs")
        {
            self.settings.push(item.clone());
        }
        self.items.push(item);
    }

    fn open(&mut self, place: Place) {
        let statement = self.statement.take().or_else(|| {
            // A brace on its own line belongs to the line before.
            let start = self.frames.last()?.start;
            if self.items.len() > start { self.items.pop_if(|item| item.block.is_none()) } else { None }
        });
        let mut dropped = self.frames.last().is_some_and(|frame| frame.dropped);
        let head = match statement {
            Some(item) => {
                self.recover_missing_brace(&item);
                item
            }
            None => {
                let help = "write the keyword that the block belongs to before the brace";
                self.report.error(&place, "`{` without a keyword before it", help);
                return self.open_lost(place);
            }
        };
        if self.frames.len() > MAX_DEPTH {
            let help = "close the blocks before: no keyword is this deep";
            self.report.error(&place, format!("blocks more than {MAX_DEPTH} deep"), help);
            // Kept flat from here on, so that the closing braces still find something to close.
            dropped = true;
        }
        self.frames.push(Frame { head: Some(head), start: self.items.len(), dropped });
    }

    /// A block whose head can't be used: it is read and dropped.
    pub(super) fn open_lost(&mut self, place: Place) {
        let head = Item { keyword: Word { text: "{".into(), place }, words: Vec::new(), block: None };
        self.frames.push(Frame { head: Some(head), start: self.items.len(), dropped: true });
    }

    /// `vrrp_instance` inside a `vrrp_instance`: the one before was never closed.
    fn recover_missing_brace(&mut self, item: &Item) {
        if self.frames.len() < 2 || !TOP.contains(&item.keyword.text.as_str()) {
            return;
        }
        while let Some(outer) = self.frames.last().and_then(|frame| frame.head.as_ref()) {
            if !self.report.is_full() {
                let (title, place) = (title(outer), outer.keyword.place.clone());
                let message = format!(
                    "`{}` begins here, but `{title}` ({}) is still open",
                    item.keyword.text,
                    self.report.describe(&place)
                );
                let help = String::from("close the block before it with a `}`");
                let related = vec![(place, format!("`{title}` is opened here"))];
                self.report.push_with(Severity::Error, &item.keyword.place, message, help, related);
            }
            self.fold();
        }
    }

    fn close(&mut self, place: &Place, depth: usize) {
        if self.frames.len() > depth.max(1) {
            return self.fold();
        }
        let help = "remove it, or look for a `{` that is missing above";
        let left_out = self.left_out.take();
        let related = left_out.map(|place| (place, String::from("a condition left out this line with its brace")));
        let message = String::from("`}` closes nothing");
        self.report.push_with(Severity::Error, place, message, help.to_owned(), related.into_iter().collect());
    }

    /// Closes what is open beyond `depth` at the end of a file.
    pub(super) fn close_all(&mut self, depth: usize, complain: bool) {
        while self.frames.len() > depth.max(1) {
            if let Some(head) = self.frames.last().and_then(|frame| frame.head.as_ref()).filter(|_| complain) {
                let message = format!("the block `{}` is never closed", title(head));
                self.report.error(&head.place(), message, "close it with a `}` on a line of its own");
            }
            self.fold();
        }
    }

    /// Ends the innermost block.
    fn fold(&mut self) {
        let Some(Frame { head: Some(mut item), start, dropped }) = self.frames.pop_if(|frame| frame.head.is_some())
        else {
            return;
        };
        item.block = Some(self.items.drain(start..).collect());
        if !dropped {
            self.items.push(item);
        }
    }
}

/// Keyword and name, for messages.
fn title(item: &Item) -> String {
    match item.words.first() {
        Some(name) if !mask::is_secret(&item.keyword.text) => format!("{} {}", item.keyword.text, name.text),
        _ => item.keyword.text.to_string(),
    }
}
