//! Whether two trees are the same statements.
//!
//! The order of different keywords in a block means nothing, for in TOML it can't be kept: values stand before
//! tables. That of statements with the same keyword does.

use crate::keyword::{ROOT, Table};
use crate::tree::Item;

use super::shape;

/// A statement without its places.
#[derive(Debug, PartialEq, Eq)]
struct Plain<'t> {
    keyword: &'t str,
    words: Vec<&'t str>,
    block: Option<Vec<Plain<'t>>>,
}

/// Whether they are.
pub(super) fn are_same(a: &[Item], b: &[Item]) -> bool {
    plain(a, Some(&ROOT)) == plain(b, Some(&ROOT))
}

fn plain<'t>(items: &'t [Item], table: Option<&'static Table>) -> Vec<Plain<'t>> {
    let is_bare = shape::bare_addresses(table, items.iter());
    let (bare, rest): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| is_bare(item));
    let mut plains: Vec<Plain<'t>> = rest.into_iter().map(|item| statement(item, table)).collect();
    if !bare.is_empty() {
        let words = bare.iter().map(|item| item.keyword.text.as_str()).collect();
        plains.push(Plain { keyword: shape::TARGETS, words, block: None });
    }
    plains.sort_by_key(|plain| plain.keyword);
    plains
}

fn statement<'t>(item: &'t Item, table: Option<&'static Table>) -> Plain<'t> {
    let inner = shape::inner(shape::form(table, &item.keyword.text));
    Plain {
        keyword: &item.keyword.text,
        words: item.words.iter().map(|word| word.text.as_str()).collect(),
        block: item.block.as_ref().map(|block| plain(block, inner)),
    }
}
