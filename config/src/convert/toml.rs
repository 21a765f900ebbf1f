//! Statements as TOML: in each table first the values, then the tables.

use crate::keyword::{Form, ROOT, Table};
use crate::tree::{Item, Word};

use super::annotate::{Node, Tree};
use super::shape::{self, Shape};

/// Writes the tree.
pub(super) fn write(out: &mut String, tree: &Tree<'_>) {
    table(out, tree, Some(&ROOT), "");
    if !tree.end.is_empty() {
        out.push('\n');
    }
    comments(out, &tree.end, "");
}

fn comments(out: &mut String, comments: &[String], indent: &str) {
    for comment in comments {
        out.push_str(indent);
        out.push('#');
        out.push_str(comment);
        out.push('\n');
    }
}

fn behind(out: &mut String, comment: Option<&String>) {
    if let Some(comment) = comment {
        out.push_str("  #");
        out.push_str(comment);
    }
    out.push('\n');
}

/// The statements of one keyword, in the place of the first.
struct Group<'n, 't> {
    keyword: &'t str,
    nodes: Vec<&'n Node<'t>>,
    form: Option<Form>,
    shape: Shape,
}

fn groups<'n, 't>(tree: &'n Tree<'t>, table: Option<&'static Table>) -> (Vec<&'n Node<'t>>, Vec<Group<'n, 't>>) {
    let is_bare = shape::bare_addresses(table, tree.nodes.iter().map(|node| node.item));
    let mut places = std::collections::BTreeMap::new();
    let (mut bare, mut groups) = (Vec::new(), Vec::<Group<'n, 't>>::new());
    for node in &tree.nodes {
        if is_bare(node.item) {
            bare.push(node);
            continue;
        }
        let keyword = node.item.keyword.text.as_str();
        let place = *places.entry(keyword).or_insert(groups.len());
        if place == groups.len() {
            let form = shape::form(table, keyword);
            groups.push(Group { keyword, nodes: Vec::new(), form, shape: Shape::WrittenOut });
        }
        if let Some(group) = groups.get_mut(place) {
            group.nodes.push(node);
        }
    }
    for group in &mut groups {
        let items: Vec<&Item> = group.nodes.iter().map(|node| node.item).collect();
        group.shape = shape::of(&items, group.form);
    }
    (bare, groups)
}

fn table(out: &mut String, tree: &Tree<'_>, keywords: Option<&'static Table>, path: &str) {
    let (bare, groups) = groups(tree, keywords);
    if !bare.is_empty() {
        out.push_str(shape::TARGETS);
        out.push_str(" = ");
        elements(out, &bare, |node| string(&node.item.keyword.text));
    }
    for group in &groups {
        value(out, group);
    }
    for group in &groups {
        let header = format!("{path}{}", key(group.keyword));
        for node in &group.nodes {
            let (open, close) = match group.shape {
                Shape::Table => ("[", "]"),
                Shape::Tables => ("[[", "]]"),
                Shape::True | Shape::Words | Shape::Lines | Shape::WrittenOut => continue,
            };
            if !out.ends_with("\n\n") {
                out.push('\n');
            }
            comments(out, &node.above, "");
            out.push_str(&format!("{open}{header}{close}"));
            behind(out, node.behind.as_ref());
            match node.item.words.as_slice() {
                [] => {}
                [name] => out.push_str(&format!("name = {}\n", string(&name.text))),
                words => out.push_str(&format!("name = {}\n", array(words))),
            }
            table(out, &node.inner, shape::inner(group.form), &format!("{header}."));
            comments(out, &node.inner.end, "");
        }
    }
}

/// `keyword = ...`, unless the shape is a table's.
fn value(out: &mut String, group: &Group<'_, '_>) {
    let assign = format!("{} = ", key(group.keyword));
    let [first, ..] = group.nodes.as_slice() else { return };
    match group.shape {
        Shape::True | Shape::Words => {
            comments(out, &first.above, "");
            out.push_str(&assign);
            match first.item.words.as_slice() {
                [] if group.shape == Shape::True => out.push_str("true"),
                [word] => out.push_str(&scalar(&word.text)),
                words => out.push_str(&array(words)),
            }
            behind(out, first.behind.as_ref());
        }
        Shape::Lines => {
            comments(out, &first.above, "");
            // Behind the opening brace there is no place of its own.
            comments(out, first.behind.as_slice(), "");
            out.push_str(&assign);
            let lines: Vec<&Node<'_>> = first.inner.nodes.iter().collect();
            elements(out, &lines, |node| {
                let words: Vec<&str> = node.item.line().map(|word| word.text.as_str()).collect();
                string(&words.join(" "))
            });
            comments(out, &first.inner.end, "");
        }
        Shape::WrittenOut => {
            for node in &group.nodes {
                all_comments(out, node);
            }
            out.push_str(&assign);
            let statements: Vec<String> = group.nodes.iter().map(|node| written_out(node.item, false)).collect();
            out.push_str(&format!("[{}]\n", statements.join(", ")));
        }
        Shape::Table | Shape::Tables => {}
    }
}

/// An array with one element a line, if there are several or any has a comment.
fn elements(out: &mut String, nodes: &[&Node<'_>], show: impl Fn(&Node<'_>) -> String) {
    let has_comment = nodes.iter().any(|node| !node.above.is_empty() || node.behind.is_some());
    if let ([] | [_], false) = (nodes, has_comment) {
        let all: String = nodes.iter().map(|node| show(node)).collect();
        return out.push_str(&format!("[{all}]\n"));
    }
    out.push_str("[\n");
    for node in nodes {
        comments(out, &node.above, "    ");
        out.push_str(&format!("    {},", show(node)));
        behind(out, node.behind.as_ref());
    }
    out.push_str("]\n");
}

/// Of a statement that is written out in one line, and of all inside it.
fn all_comments(out: &mut String, node: &Node<'_>) {
    comments(out, &node.above, "");
    comments(out, node.behind.as_slice(), "");
    for inner in &node.inner.nodes {
        all_comments(out, inner);
    }
    comments(out, &node.inner.end, "");
}

fn written_out(item: &Item, with_keyword: bool) -> String {
    let words = item.line().skip(usize::from(!with_keyword)).map(|word| string(&word.text));
    let block = item.block.as_ref().map(|block| {
        let inner: Vec<String> = block.iter().map(|item| written_out(item, true)).collect();
        format!("[{}]", inner.join(", "))
    });
    let all: Vec<String> = words.chain(block).collect();
    format!("[{}]", all.join(", "))
}

fn array(words: &[Word]) -> String {
    let words: Vec<String> = words.iter().map(|word| scalar(&word.text)).collect();
    format!("[{}]", words.join(", "))
}

/// A number where it reads back as the same text, else a string.
fn scalar(text: &str) -> String {
    let is_whole = text.parse::<i64>().is_ok_and(|number| number.to_string() == text);
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_fraction = text.split_once('.').is_some_and(|(whole, fraction)| {
        is_digits(whole) && is_digits(fraction) && (whole == "0" || !whole.starts_with('0'))
    });
    if is_whole || is_fraction { text.to_owned() } else { string(text) }
}

fn key(text: &str) -> String {
    let is_bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare { text.to_owned() } else { string(text) }
}

fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            '\r' => quoted.push_str("\\r"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
