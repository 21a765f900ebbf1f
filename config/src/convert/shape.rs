//! In what shape the statements of one keyword stand in TOML.
//!
//! What must stay true: `native` reads each shape back as the statements that were given; whatever none of the plain
//! shapes can carry is written out in arrays (`native/plain.rs`).

use std::net::IpAddr;

use crate::keyword::{Form, Table};
use crate::tree::{Item, Word};

/// The shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// `keyword = true`: no word.
    True,
    /// `keyword = WORD` or `[WORD, ...]`.
    Words,
    /// `keyword = ["LINE", ...]`: a block of values.
    Lines,
    /// `[keyword]`.
    Table,
    /// `[[keyword]]`, once for each.
    Tables,
    /// `keyword = [["WORD", ...], ...]`.
    WrittenOut,
}

/// Blocks with a name of which a file has one.
const SINGLE: [&str; 2] = ["cluster", "node"];

/// What the tables of keywords say of a keyword; `None`: nothing.
pub(super) fn form(table: Option<&'static Table>, keyword: &str) -> Option<Form> {
    Some(table?.find(keyword)?.form)
}

/// The table of the block that a keyword opens.
pub(super) fn inner(form: Option<Form>) -> Option<&'static Table> {
    form?.table()
}

/// The shape for all statements of one keyword in a block; never empty.
pub(super) fn of(items: &[&Item], form: Option<Form>) -> Shape {
    let shape = match (items, form) {
        ([item], Some(Form::Flag | Form::Maybe | Form::Any) | None)
            if item.block.is_none() && item.words.is_empty() =>
        {
            Shape::True
        }
        ([item], Some(Form::Flag | Form::Value | Form::Words | Form::Maybe | Form::Any) | None)
            if item.block.is_none() =>
        {
            Shape::Words
        }
        ([item], Some(Form::Lines)) if item.words.is_empty() && item.block.is_some() => Shape::Lines,
        (_, Some(Form::NamedLines | Form::Server(_))) => Shape::Tables,
        (items, Some(Form::Block(_) | Form::Named(_) | Form::Any) | None) => {
            let is_single = |item: &Item| match form {
                Some(Form::Block(_)) => true,
                _ => SINGLE.contains(&&*item.keyword.text),
            };
            match items {
                [item] if is_single(item) || inner(form).is_none() => Shape::Table,
                _ => Shape::Tables,
            }
        }
        _ => Shape::WrittenOut,
    };
    let fits = match shape {
        Shape::Table | Shape::Tables => items.iter().all(|item| is_table(item, form)),
        Shape::Lines => items.iter().all(|item| item.items().iter().all(is_line)),
        Shape::True | Shape::Words | Shape::WrittenOut => true,
    };
    if fits { shape } else { Shape::WrittenOut }
}

/// Whether a table can carry the statement: its words stand under keys of their own, which are then no keywords of its
/// block.
fn is_table(item: &Item, form: Option<Form>) -> bool {
    let Some(block) = &item.block else { return false };
    let has = |keys: &[&str]| block.iter().any(|item| keys.contains(&item.keyword.text.as_str()));
    let words: Vec<&str> = item.words.iter().map(|word| word.text.as_str()).collect();
    match form {
        Some(Form::Block(_)) => words.is_empty(),
        Some(Form::Named(_)) => !words.is_empty() && !has(&["name"]),
        Some(Form::NamedLines) => !words.is_empty() && block.iter().all(is_line),
        Some(Form::Server(_)) => {
            !has(&["address", "port", "fwmark", "group"])
                && match words.as_slice() {
                    ["fwmark" | "group", _] => true,
                    [address] | [address, _] => !["fwmark", "group"].contains(address),
                    _ => false,
                }
        }
        _ => !has(&["name"]),
    }
}

/// The keys that the words of a statement stand under, each with what it stands for.
pub(super) fn head(item: &Item, form: Option<Form>) -> Vec<(&'static str, &[Word])> {
    let words = item.words.as_slice();
    match (form, words) {
        (_, []) => Vec::new(),
        (Some(Form::Server(_)), [kind, ..]) if kind.text == "fwmark" => vec![("fwmark", words.get(1..).unwrap_or(&[]))],
        (Some(Form::Server(_)), [kind, ..]) if kind.text == "group" => vec![("group", words.get(1..).unwrap_or(&[]))],
        (Some(Form::Server(_)), [_]) => vec![("address", words)],
        (Some(Form::Server(_)), [_, ..]) => {
            vec![("address", words.get(..1).unwrap_or(&[])), ("port", words.get(1..).unwrap_or(&[]))]
        }
        _ => vec![("name", words)],
    }
}

/// Whether a string can carry the line: it is split at blanks.
fn is_line(item: &Item) -> bool {
    let is_whole = |text: &str| !text.is_empty() && !text.contains(char::is_whitespace);
    item.block.is_none() && item.line().all(|word| is_whole(&word.text))
}

/// Which statements are addresses alone on their lines in a block that allows it, to be written as `targets`; none if
/// `targets` is written already, for then their order would be lost.
pub(super) fn bare_addresses<'t>(
    table: Option<&'static Table>,
    mut items: impl Iterator<Item = &'t Item>,
) -> impl Fn(&Item) -> bool {
    let allowed = table.is_some_and(|table| table.addresses) && !items.any(|item| item.keyword.text == TARGETS);
    move |item| allowed && item.words.is_empty() && item.block.is_none() && item.keyword.text.parse::<IpAddr>().is_ok()
}

/// The keyword for such addresses.
pub(super) const TARGETS: &str = "targets";
