//! From bytes to words, braces and line ends.

use std::ops::Range;

/// What the parser sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token {
    /// A word, quotes and escapes resolved.
    Word {
        text: String,
        /// Whether any of it stood in quotes: then it is never split.
        quoted: bool,
        /// Whether `$VARIABLES` in it are to be filled in: not in single quotes.
        expand: bool,
        span: Range<usize>,
    },
    /// `{`
    Open(Range<usize>),
    /// `}`
    Close(Range<usize>),
    /// End of a line.
    Newline,
    /// `$NAME=value`, alone on its line.
    Define { name: String, value: String },
}

/// What is wrong with the text itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LexError {
    pub span: Range<usize>,
    pub message: &'static str,
    pub help: &'static str,
}

/// Walks over one text.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    line_start: bool,
    pub errors: Vec<LexError>,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        Lexer { text, at, line_start: true, errors: Vec::new() }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    /// The next token; `None` at the end of the text.
    pub(super) fn next_token(&mut self) -> Option<Token> {
        loop {
            let start = self.at;
            match self.peek()? {
                '\n' => {
                    self.bump();
                    self.line_start = true;
                    return Some(Token::Newline);
                }
                '#' | '!' => self.skip_line(),
                '{' => {
                    self.bump();
                    self.line_start = true;
                    return Some(Token::Open(start..self.at));
                }
                '}' => {
                    self.bump();
                    self.line_start = true;
                    return Some(Token::Close(start..self.at));
                }
                c if c.is_whitespace() || c == '\0' => {
                    self.bump();
                }
                '$' if self.line_start => {
                    self.line_start = false;
                    if let Some(define) = self.define() {
                        return Some(define);
                    }
                    return Some(self.word());
                }
                _ => {
                    self.line_start = false;
                    return Some(self.word());
                }
            }
        }
    }

    /// `$NAME=value` to the end of the line; `None`, and nothing consumed, if it isn't one.
    fn define(&mut self) -> Option<Token> {
        let rest = self.rest().strip_prefix('$')?;
        let (name, _) = rest.split_once('=')?;
        if !is_name(name) {
            return None;
        }
        let start = self.at;
        self.at += 1 + name.len() + 1;
        let value_start = self.at;
        let mut quote = None;
        while let Some(c) = self.peek() {
            match (c, quote) {
                ('\n', _) | ('#' | '!', None) => break,
                ('"' | '\'', None) => quote = Some(c),
                (c, Some(open)) if c == open => quote = None,
                _ => {}
            }
            self.bump();
        }
        let value = self.text.get(value_start..self.at).unwrap_or("").trim();
        self.skip_line();
        if value.ends_with('\\') {
            self.errors.push(LexError {
                span: start..value_start + value.len(),
                message: "a definition over several lines is not read yet",
                help: "write the value on one line, or put the lines into a file and `include` it",
            });
        }
        Some(Token::Define { name: name.to_owned(), value: value.to_owned() })
    }

    fn word(&mut self) -> Token {
        let start = self.at;
        let (mut text, mut quoted, mut expand) = (String::new(), false, true);
        while let Some(c) = self.peek() {
            match c {
                '"' => {
                    quoted = true;
                    self.quoted('"', &mut text);
                }
                '\'' if self.at == start => {
                    (quoted, expand) = (true, false);
                    self.quoted('\'', &mut text);
                }
                '#' | '!' | '\0' => break,
                c if c.is_whitespace() => break,
                '$' if self.rest().starts_with("${") => {
                    let len = self.rest().find(['}', '\n']).map_or(1, |end| end + 1);
                    let part = self.rest().get(..len).unwrap_or("$");
                    let part = part.strip_suffix('\n').unwrap_or(part);
                    text.push_str(part);
                    self.at += part.len();
                }
                // `*.{conf,cfg}` is one word, `block{` is a word and a brace.
                '{' => match brace_group(self.rest()) {
                    Some(group) => {
                        text.push_str(group);
                        self.at += group.len();
                    }
                    None => break,
                },
                '}' => break,
                c => {
                    text.push(c);
                    self.bump();
                }
            }
        }
        Token::Word { text, quoted, expand, span: start..self.at }
    }

    /// From the opening quote to the closing one; a quote doesn't run over a line's end.
    fn quoted(&mut self, quote: char, text: &mut String) {
        let start = self.at;
        self.bump();
        while let Some(c) = self.peek() {
            match c {
                '\n' => break,
                c if c == quote => {
                    self.bump();
                    return;
                }
                '\\' if quote == '"' => {
                    self.bump();
                    self.escape(text);
                }
                c => {
                    text.push(c);
                    self.bump();
                }
            }
        }
        self.errors.push(LexError {
            span: start..self.at,
            message: "a quote that is not closed on its line",
            help: "close it, or put a backslash before a quote that is meant as a character",
        });
    }

    fn escape(&mut self, text: &mut String) {
        match self.peek() {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some('r') => text.push('\r'),
            Some(c @ ('"' | '\\' | '\'' | '$')) => text.push(c),
            Some('\n') | None => return text.push('\\'),
            Some(c) => {
                text.push('\\');
                text.push(c);
            }
        }
        self.bump();
    }
}

/// A brace group without blanks, `{a,b}`, at the start of `text`.
fn brace_group(text: &str) -> Option<&str> {
    let end = text.find('}')?;
    let group = text.get(..=end)?;
    (group.contains(',') && !group.contains(|c: char| c.is_whitespace() || c == '"')).then_some(group)
}

/// Letters, digits and underscores, at least one.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
