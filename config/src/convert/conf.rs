//! Statements as keepalived.conf.

use super::annotate::{Node, Tree};
use crate::keepalived::as_shell;
use crate::tree::Word;

/// Writes the tree; the words that it can't carry instead, if there are any.
pub(super) fn write<'t>(out: &mut String, tree: &Tree<'t>) -> Result<(), Vec<&'t Word>> {
    let mut lost = Vec::new();
    for (at, node) in tree.nodes.iter().enumerate() {
        // Between blocks, as everybody writes them.
        if at > 0 && (node.item.block.is_some() || !node.above.is_empty()) {
            out.push('\n');
        }
        statement(out, node, 0, &mut lost);
    }
    if !tree.end.is_empty() {
        out.push('\n');
    }
    comments(out, &tree.end, 0);
    if lost.is_empty() { Ok(()) } else { Err(lost) }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("    ", depth));
}

fn comments(out: &mut String, comments: &[String], depth: usize) {
    for comment in comments {
        indent(out, depth);
        out.push('#');
        out.push_str(comment);
        out.push('\n');
    }
}

fn statement<'t>(out: &mut String, node: &Node<'t>, depth: usize, lost: &mut Vec<&'t Word>) {
    comments(out, &node.above, depth);
    indent(out, depth);
    let how = if as_shell(&node.item.keyword.text) { How::Shell } else { How::Plain };
    for (at, word) in node.item.line().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        match quote(&word.text, if at == 0 { How::Keyword } else { how }) {
            Some(text) => out.push_str(&text),
            None => lost.push(word),
        }
    }
    if node.item.block.is_some() {
        out.push_str(" {");
    }
    if let Some(behind) = &node.behind {
        out.push_str("  #");
        out.push_str(behind);
    }
    out.push('\n');
    if node.item.block.is_some() {
        for inner in &node.inner.nodes {
            statement(out, inner, depth + 1, lost);
        }
        comments(out, &node.inner.end, depth + 1);
        indent(out, depth);
        out.push_str("}\n");
    }
}

/// A word as the language reads it back; `None` if nothing is read so.
fn quote(text: &str, how: How) -> Option<String> {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && !"\"'{}#!\\".contains(c);
    let is_special = how == How::Keyword && text.starts_with(['@', '~', '$']);
    // Names are filled in wherever they stand, in quotes too; those of keepone's own begin so and are always defined.
    let has_name = text.contains("${_");
    if !text.is_empty() && !is_special && !has_name && text.chars().all(is_plain) {
        return Some(text.to_owned());
    }
    if how != How::Shell {
        return (!has_name && !text.contains(['"', '\n', '\r'])).then(|| format!("\"{text}\""));
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            '$' if has_name => quoted.push_str("\\x24"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Some(quoted)
}

/// How the language reads a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// The first of a line.
    Keyword,
    /// Quotes make a word, and nothing in them is special.
    Plain,
    /// As a shell would.
    Shell,
}
