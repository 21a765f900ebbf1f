//! Statements as keepalived.conf.

use super::annotate::{Node, Tree};

/// Writes the tree.
pub(super) fn write(out: &mut String, tree: &Tree<'_>) {
    for (at, node) in tree.nodes.iter().enumerate() {
        // Between blocks, as everybody writes them.
        if at > 0 && (node.item.block.is_some() || !node.above.is_empty()) {
            out.push('\n');
        }
        statement(out, node, 0);
    }
    if !tree.end.is_empty() {
        out.push('\n');
    }
    comments(out, &tree.end, 0);
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

fn statement(out: &mut String, node: &Node<'_>, depth: usize) {
    comments(out, &node.above, depth);
    indent(out, depth);
    for (at, word) in node.item.line().enumerate() {
        if at > 0 {
            out.push(' ');
        }
        out.push_str(&quote(&word.text, at == 0));
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
            statement(out, inner, depth + 1);
        }
        comments(out, &node.inner.end, depth + 1);
        indent(out, depth);
        out.push_str("}\n");
    }
}

/// A word as the language reads it back.
fn quote(text: &str, first: bool) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,+*@%=~^|&;<>()[]?".contains(c) || !c.is_ascii();
    let is_special = first && text.starts_with(['@', '~']);
    if !text.is_empty() && !is_special && text.chars().all(|c| is_plain(c) && !c.is_whitespace() && !c.is_control()) {
        return text.to_owned();
    }
    // Variables are filled in inside double quotes, too.
    if text.contains('$') && !text.contains(['\'', '\n', '\r', '\0']) {
        return format!("'{text}'");
    }
    let mut quoted = String::from(if text.contains('$') { "''\"" } else { "\"" });
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
