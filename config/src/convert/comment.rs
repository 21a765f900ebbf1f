//! The comments of a text, in either language.
//!
//! What must stay true: nothing inside quotes is a comment.

use std::ops::Range;

use super::Language;
use crate::keepalived;

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
    let (spans, blocks) = match language {
        Language::Conf => {
            let keepalived::Marks { comments, blocks } = keepalived::marks(text);
            (comments, blocks)
        }
        Language::Toml => (toml(text), Vec::new()),
    };
    let comment = |span: Range<usize>| {
        let text = text.get(span.start + 1..span.end).unwrap_or("").trim_end();
        let text = text.replace(|c: char| c.is_control() && c != '\t', " ");
        Comment { span, text }
    };
    Marks { comments: spans.into_iter().map(comment).collect(), blocks }
}

/// The comments of a TOML file that has been read without a mistake.
fn toml(text: &str) -> Vec<Range<usize>> {
    let mut comments = Vec::new();
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find(['#', '"', '\''])) {
        at += found;
        let rest = text.get(at..).unwrap_or("");
        if rest.starts_with('#') {
            let len = rest.find('\n').unwrap_or(rest.len());
            comments.push(at..at + len);
            at += len;
        } else {
            at += string(rest);
        }
    }
    comments
}

/// The length of the string that a text begins with.
fn string(text: &str) -> usize {
    let quote = ["\"\"\"", "'''", "\"", "'"].into_iter().find(|quote| text.starts_with(quote)).unwrap_or("\"");
    let (mut at, mut escaped) = (quote.len(), false);
    while let Some(c) = text.get(at..).and_then(|rest| rest.chars().next()) {
        if !escaped && text.get(at..).is_some_and(|rest| rest.starts_with(quote)) {
            return at + quote.len();
        }
        at += c.len_utf8();
        escaped = quote.starts_with('"') && c == '\\' && !escaped;
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_in_strings_are_no_comments() {
        let text = "a = \"b # c\" # d\nb = '#' #e\nc = \"\"\"\n# f\n\\\"\"\"\"  # g \n";
        let comments: Vec<String> = marks(text, Language::Toml).comments.into_iter().map(|c| c.text).collect();
        assert_eq!(comments, [" d", "e", " g"]);
    }
}
