//! The `keepalived.conf` language, line by line as keepalived reads it.
//!
//! ```text
//! reader.rs    a file's lines: comments, continued definitions, @conditions, include
//! sequence.rs  ~SEQ and ~LST: one line becomes many
//! fill.rs      $NAME and ${NAME}: a line with its values filled in
//! line.rs      a line, and where each of its bytes was written
//! lexer.rs     words, quotes, braces
//! parser.rs    statements and blocks
//! show.rs      statements as text
//! marks.rs     where comments are and blocks end, for whoever writes the file anew
//! ```
//!
//! What must stay true: no text makes the parser panic or run away, a mistake in one block does not hide the
//! mistakes in the next, and each word knows where it was written and what brought it to its place.

mod fill;
mod glob;
mod include;
mod lexer;
mod line;
mod marks;
mod parser;
mod reader;
mod sequence;
mod show;

pub(crate) use include::{ReadError, read};
pub(crate) use lexer::as_shell;
pub(crate) use marks::{Marks, marks};
pub(crate) use reader::{Parsing, parse};
pub(crate) use show::show;

#[cfg(test)]
mod tests;
