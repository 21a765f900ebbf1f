//! Where the comments of a text are, and where its blocks end.
//!
//! A pass of its own beside the reading of the language: it looks at quotes, comments and braces, and at nothing else.
//!
//! What must stay true: nothing inside quotes is a comment or a brace.

use std::ops::Range;

use super::Language;

/// A comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Comment {
    /// From the sign that begins it to the end of its line.
    pub span: Range<usize>,
    /// What stands behind the sign, the blanks at its end apart; no control characters.
    pub text: String,
}

/// The comments and blocks of one text.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// In the order of the text.
    pub comments: Vec<Comment>,
    /// Opening and closing brace of each block, in the order of the opening ones. Of keepalived.conf only.
    pub blocks: Vec<(usize, usize)>,
}

/// Looks through a text.
pub(super) fn marks(text: &str, language: Language) -> Marks {
    let mut scan = Scan { text, at: 0, marks: Marks::default(), open: Vec::new() };
    match language {
        Language::Conf => scan.conf(),
        Language::Toml => scan.toml(),
    }
    scan.marks
}

struct Scan<'a> {
    text: &'a str,
    at: usize,
    marks: Marks,
    /// Places in `marks.blocks` of the blocks that are open.
    open: Vec<usize>,
}

impl Scan<'_> {
    fn rest(&self) -> &str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn comment(&mut self, sign: usize) {
        let line = self.rest().find('\n').unwrap_or(self.rest().len());
        let span = self.at..self.at + line;
        let text = self.text.get(span.start + sign..span.end).unwrap_or("").trim_end();
        let text = text.replace(|c: char| c.is_control() && c != '\t', " ");
        self.at = span.end;
        self.marks.comments.push(Comment { span, text });
    }

    fn conf(&mut self) {
        let mut in_word = false;
        while let Some(c) = self.rest().chars().next() {
            match c {
                '#' | '!' => {
                    self.comment(1);
                    in_word = false;
                    continue;
                }
                '"' => self.quoted('"'),
                // Inside a word it is an apostrophe.
                '\'' if !in_word => self.quoted('\''),
                '$' if self.rest().starts_with("${") => {
                    let len = self.rest().find(['}', '\n']).map_or(1, |end| end + 1);
                    self.at += len;
                }
                '{' => {
                    // `{a,b}` is a part of a word.
                    let group = self.rest().find('}').and_then(|end| self.rest().get(..=end));
                    match group.filter(|g| g.contains(',') && !g.contains(|c: char| c.is_whitespace() || c == '"')) {
                        Some(group) if in_word => self.at += group.len(),
                        _ => self.open(),
                    }
                }
                '}' => self.close(),
                c => self.at += c.len_utf8(),
            }
            in_word = !(c.is_whitespace() || c == '\0' || c == '{' || c == '}');
        }
    }

    fn open(&mut self) {
        self.open.push(self.marks.blocks.len());
        self.marks.blocks.push((self.at, self.text.len()));
        self.at += 1;
    }

    fn close(&mut self) {
        if let Some(block) = self.open.pop().and_then(|at| self.marks.blocks.get_mut(at)) {
            block.1 = self.at;
        }
        self.at += 1;
    }

    /// To the closing quote, or to the end of the line.
    fn quoted(&mut self, quote: char) {
        self.at += 1;
        let mut escaped = false;
        while let Some(c) = self.rest().chars().next() {
            if c == '\n' {
                return;
            }
            self.at += c.len_utf8();
            if c == quote && !escaped {
                return;
            }
            escaped = quote == '"' && c == '\\' && !escaped;
        }
    }

    fn toml(&mut self) {
        while let Some(c) = self.rest().chars().next() {
            match c {
                '#' => self.comment(1),
                '"' | '\'' => {
                    let long = if c == '"' { "\"\"\"" } else { "'''" };
                    if self.rest().starts_with(long) {
                        self.long(long);
                    } else {
                        self.quoted(c);
                    }
                }
                c => self.at += c.len_utf8(),
            }
        }
    }

    /// A string over several lines.
    fn long(&mut self, quote: &str) {
        self.at += quote.len();
        let mut escaped = false;
        while let Some(c) = self.rest().chars().next() {
            if !escaped && self.rest().starts_with(quote) {
                self.at += quote.len();
                return;
            }
            self.at += c.len_utf8();
            escaped = quote == "\"\"\"" && c == '\\' && !escaped;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comments(text: &str, language: Language) -> Vec<String> {
        marks(text, language).comments.into_iter().map(|comment| comment.text).collect()
    }

    #[test]
    fn signs_in_quotes_are_no_comments() {
        let conf = "a \"b # c\" # d\n! e \n'f ! g' it's#h\nk \"\\\"# l\" ${M # n}\n";
        assert_eq!(comments(conf, Language::Conf), [" d", " e", "h"]);
        let toml = "a = \"b # c\" # d\nb = '#' #e\nc = \"\"\"\n# f\n\\\"\"\"\" # g\n";
        assert_eq!(comments(toml, Language::Toml), [" d", "e", " g"]);
    }

    #[test]
    fn blocks_end_at_their_own_brace() {
        let marks = marks("a {\n b { c x{1,2} }\n # }\n}\nd {", Language::Conf);
        assert_eq!(marks.blocks, [(2, 25), (7, 18), (29, 30)]);
    }
}
