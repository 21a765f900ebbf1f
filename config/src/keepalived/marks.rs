//! Where the comments of a text are, and where its blocks end: what the statements don't tell.
//!
//! What must stay true: a comment and a brace are what the lexer takes for one.

use std::ops::Range;

use super::lexer::{Lexer, Token, comment};

/// The comments and blocks of one text.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// From the sign that begins it to the end of its line, in the order of the text.
    pub comments: Vec<Range<usize>>,
    /// Opening and closing brace of each block, in the order of the opening ones; one that is not closed ends with
    /// the text.
    pub blocks: Vec<(usize, usize)>,
}

/// Looks through a text, line by line as the language is.
pub(crate) fn marks(text: &str) -> Marks {
    let mut marks = Marks::default();
    let mut open = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let line_end = at + line.trim_end_matches('\n').len();
        let line = line.trim_end_matches('\n');
        let begin = at + comment(line);
        if begin < line_end {
            marks.comments.push(begin..line_end);
        }
        let mut lexer = Lexer::new(line, true);
        while let Some(token) = lexer.next_token() {
            match token {
                Token::Word { .. } => {}
                Token::Open(span) => {
                    open.push(marks.blocks.len());
                    marks.blocks.push((at + span.start, text.len()));
                }
                Token::Close(span) => {
                    if let Some(block) = open.pop().and_then(|block| marks.blocks.get_mut(block)) {
                        block.1 = at + span.start;
                    }
                }
            }
        }
        at = line_end + 1;
    }
    marks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_blocks_are_where_the_lexer_sees_them() {
        let text = "a \"b # c\" # d\n! e \nscript 'f ! g' h#i\nk {\n l {\n }\n}\nm {";
        let marks = marks(text);
        let comments: Vec<&str> = marks.comments.iter().map(|range| &text[range.clone()]).collect();
        assert_eq!(comments, ["# d", "! e ", "#i"]);
        let blocks: Vec<&str> = marks.blocks.iter().map(|(open, close)| &text[*open..*close]).collect();
        assert_eq!(blocks, ["{\n l {\n }\n", "{\n ", "{"]);
    }
}
