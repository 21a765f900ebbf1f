//! From a line to words and braces.
//!
//! What must stay true: each byte of the line belongs to one token, to a blank or to the comment that ends it.

use std::borrow::Cow;
use std::ops::Range;

use super::line::is_blank;

/// What the parser sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// A word, quotes and escapes resolved.
    Word {
        /// As it is meant.
        text: Cow<'a, str>,
        /// Its bytes of the line.
        span: Range<usize>,
        /// Whether any of it stood in quotes.
        quoted: bool,
    },
    /// `{`
    Open(Range<usize>),
    /// `}`
    Close(Range<usize>),
}

/// What is wrong with the text itself, or only looks right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub span: Range<usize>,
    /// Whether the line can't be what was meant.
    pub is_error: bool,
    pub message: &'static str,
    pub help: &'static str,
}

/// Walks over one line.
#[derive(Debug)]
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    comments: bool,
    /// Whether the statement's words are read as a shell would: quotes of both kinds, and backslashes. Unknown
    /// before its keyword.
    as_shell: Option<bool>,
    pub faults: Vec<Fault>,
}

/// Whether keepalived reads what follows this keyword as a shell would. Elsewhere only `"` quotes, a quote ends the
/// word before it, and a backslash is a character like any other.
pub(crate) fn as_shell(keyword: &str) -> bool {
    let others =
        ["script", "misc_path", "quorum_up", "quorum_down", "process", "regex", "command", "alert_script", "password"];
    keyword.starts_with("notify") || others.contains(&keyword)
}

impl<'a> Lexer<'a> {
    /// With `comments`, `#` and `!` outside quotes end the line; where they were taken off before, or were filled
    /// in (`${_HASH}`), they are characters.
    pub(super) fn new(text: &'a str, comments: bool) -> Self {
        Lexer { text, at: 0, comments, as_shell: None, faults: Vec::new() }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// The next token; `None` at the end of the line.
    pub(super) fn next_token(&mut self) -> Option<Token<'a>> {
        loop {
            // Nearly all blanks are these: no characters are made of them.
            while matches!(self.text.as_bytes().get(self.at), Some(b' ' | b'\t')) {
                self.at += 1;
            }
            let start = self.at;
            let c = self.rest().chars().next()?;
            match c {
                '#' | '!' if self.comments => {
                    self.at = self.text.len();
                    return None;
                }
                '{' | '}' => {
                    self.at += 1;
                    self.as_shell = None;
                    let span = start..self.at;
                    return Some(if c == '{' { Token::Open(span) } else { Token::Close(span) });
                }
                c if is_blank(c) => {
                    self.at += c.len_utf8();
                    if !c.is_ascii() {
                        self.fault(
                            start..self.at,
                            false,
                            "a blank that is not a plain one",
                            "write a space: keepalived takes this for a part of the word",
                        );
                    }
                }
                _ => {
                    let as_shell = self.as_shell;
                    let word = self.word(as_shell == Some(true));
                    if let (Token::Word { text, .. }, None) = (&word, as_shell) {
                        self.as_shell = Some(self::as_shell(text));
                    }
                    return Some(word);
                }
            }
        }
    }

    fn fault(&mut self, span: Range<usize>, is_error: bool, message: &'static str, help: &'static str) {
        self.faults.push(Fault { span, is_error, message, help });
    }

    fn word(&mut self, as_shell: bool) -> Token<'a> {
        let start = self.at;
        if !as_shell && self.rest().starts_with('"') {
            return self.quoted_word();
        }
        // Words without quotes, which are nearly all, are not copied.
        self.plain(as_shell);
        let plain = self.text.get(start..self.at).unwrap_or("");
        if !as_shell || !self.rest().starts_with(['"', '\'', '\\']) {
            if plain.starts_with('\'') {
                let help = "write double quotes: keepalived knows single ones only in scripts";
                self.fault(start..start + 1, false, "this quote is a part of the word", help);
            }
            return Token::Word { text: Cow::Borrowed(plain), span: start..self.at, quoted: false };
        }
        let (mut text, mut quoted) = (plain.to_owned(), false);
        while let Some(c) = self.rest().chars().next() {
            match c {
                '"' | '\'' => {
                    quoted = true;
                    self.quoted(c, &mut text);
                }
                '\\' => {
                    self.at += 1;
                    self.escape(&mut text);
                }
                _ => {
                    let from = self.at;
                    self.plain(true);
                    if self.at == from {
                        break;
                    }
                    text.push_str(self.text.get(from..self.at).unwrap_or(""));
                }
            }
        }
        Token::Word { text: Cow::Owned(text), span: start..self.at, quoted }
    }

    /// Goes to what ends a word or begins a quote in it.
    fn plain(&mut self, as_shell: bool) {
        let comments = self.comments;
        // By bytes as long as they are letters and the like, which end nothing: nearly all of all words is so.
        let goes_on =
            |byte: &u8| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' | b'-' | b'.' | b'/' | b':');
        let bytes = self.text.as_bytes();
        while bytes.get(self.at).is_some_and(goes_on) {
            self.at += 1;
        }
        if matches!(bytes.get(self.at), None | Some(b' ' | b'\t')) {
            return;
        }
        let ends = |c: char| match c {
            '"' | '{' | '}' => true,
            '#' | '!' => comments,
            '\'' | '\\' => as_shell,
            c => is_blank(c),
        };
        self.at += self.rest().find(ends).unwrap_or(self.rest().len());
    }

    /// `"..."` outside of scripts: a word of its own, nothing in it is special.
    fn quoted_word(&mut self) -> Token<'a> {
        let start = self.at;
        let inside = self.text.get(start + 1..).unwrap_or("");
        let text = match inside.split_once('"') {
            Some((text, _)) => {
                self.at = start + 1 + text.len() + 1;
                text
            }
            None => {
                self.at = self.text.len();
                self.unclosed(start);
                inside
            }
        };
        Token::Word { text: Cow::Borrowed(text), span: start..self.at, quoted: true }
    }

    /// From the opening quote to the closing one; a quote doesn't run over the line's end.
    fn quoted(&mut self, quote: char, text: &mut String) {
        let start = self.at;
        self.at += 1;
        while let Some(c) = self.rest().chars().next() {
            self.at += c.len_utf8();
            match c {
                c if c == quote => return,
                '\\' => self.escape(text),
                c => text.push(c),
            }
        }
        self.unclosed(start);
    }

    fn unclosed(&mut self, start: usize) {
        let help = "close it; where a script's argument is to hold a quote, put a backslash before it";
        self.fault(start..self.at, true, "a quote that is not closed on its line", help);
    }

    /// What follows a backslash: as in a shell's `$'...'`.
    fn escape(&mut self, text: &mut String) {
        let Some(c) = self.rest().chars().next() else { return text.push('\\') };
        self.at += c.len_utf8();
        match c {
            'a' => text.push('\u{7}'),
            'b' => text.push('\u{8}'),
            'E' => text.push('\u{1b}'),
            'f' => text.push('\u{c}'),
            'n' => text.push('\n'),
            'r' => text.push('\r'),
            't' => text.push('\t'),
            'v' => text.push('\u{b}'),
            '0'..='7' => {
                self.at -= 1;
                self.number(8, 3, text);
            }
            'x' => self.number(16, 2, text),
            'c' => {
                if let Some(c) = self.rest().chars().next().filter(char::is_ascii) {
                    self.at += 1;
                    text.push(char::from(c as u8 & 0x1f));
                }
            }
            c => text.push(c),
        }
    }

    fn number(&mut self, base: u32, most: usize, text: &mut String) {
        let digits = self.rest().chars().take(most).take_while(|c| c.is_digit(base)).count();
        let value = self.rest().get(..digits).and_then(|digits| u32::from_str_radix(digits, base).ok());
        self.at += digits;
        text.extend(value.and_then(char::from_u32));
    }
}

/// Where the comment of a line begins, or its length.
pub(super) fn comment(text: &str) -> usize {
    if !text.contains(['#', '!']) {
        return text.len();
    }
    let mut lexer = Lexer::new(text, true);
    let mut end = 0;
    while let Some(token) = lexer.next_token() {
        let (Token::Word { span, .. } | Token::Open(span) | Token::Close(span)) = token;
        end = span.end;
    }
    // The token before it ends, blanks follow, and then it begins.
    let rest = text.get(end..).unwrap_or("");
    end + rest.find(|c: char| !is_blank(c)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut lexer = Lexer::new(text, true);
        let mut words = Vec::new();
        while let Some(token) = lexer.next_token() {
            words.push(match token {
                Token::Word { text, .. } => text.into_owned(),
                Token::Open(_) => String::from("{"),
                Token::Close(_) => String::from("}"),
            });
        }
        words.extend(lexer.faults.iter().map(|fault| format!("<{}>", fault.message)));
        words
    }

    #[test]
    fn outside_scripts_a_double_quote_makes_a_word_and_a_backslash_nothing() {
        assert_eq!(words("f\"o o\"o bar"), ["f", "o o", "o", "bar"]);
        assert_eq!(
            words("k \"a\\\"b c\" #x"),
            ["k", "a\\", "b", "c", " #x", "<a quote that is not closed on its line>"]
        );
        assert_eq!(words("k a\\nb \"\""), ["k", "a\\nb", ""]);
        assert_eq!(words("k 'a b'"), ["k", "'a", "b'", "<this quote is a part of the word>"]);
    }

    #[test]
    fn scripts_are_read_as_a_shell_reads_them() {
        assert_eq!(words("script a\" b\"'c \"d'e\\ f"), ["script", "a bc \"de f"]);
        assert_eq!(words("notify_up \"a 'b c' \\\"d\\\"\" root"), ["notify_up", "a 'b c' \"d\"", "root"]);
        assert_eq!(words("script \"\\x41\\101\\t\\cA\\q\""), ["script", "AA\t\u{1}q"]);
        assert_eq!(words("script \"a # b\" # c"), ["script", "a # b"]);
        assert_eq!(words("script 'a"), ["script", "a", "<a quote that is not closed on its line>"]);
        assert_eq!(words("script { x \"a\\\" }"), ["script", "{", "x", "a\\", "}"]);
    }

    #[test]
    fn braces_end_a_word_and_comments_the_line() {
        assert_eq!(words("a{b c}d"), ["a", "{", "b", "c", "}", "d"]);
        assert_eq!(words("a#b"), ["a"]);
        assert_eq!(words("a !b"), ["a"]);
        assert_eq!(words("\"{\" \"#\""), ["{", "#"]);
        assert_eq!(words("a\u{a0}b"), ["a", "b", "<a blank that is not a plain one>"]);
    }

    #[test]
    fn a_comment_begins_after_the_last_word() {
        for (text, end) in [("a b # c", 4), ("a\"#\"b#", 5), ("# x", 0), ("a", 1), ("a  ", 3), ("\u{fc} !", 3)] {
            assert_eq!(comment(text), end, "{text}");
        }
    }
}
