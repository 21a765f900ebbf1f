//! The `keepalived.conf` language: words, quotes, braces, comments, `$VARIABLES`, `@id` conditions, `include`.
//!
//! What must stay true: no text makes the parser panic or run away, and a mistake in one block does not
//! hide the mistakes in the next.

mod glob;
mod lexer;
mod parser;

pub(crate) use parser::{Parsing, parse, read};

#[cfg(test)]
mod tests;
