//! Statements whose form no table knows, and those whose words no key can carry.
//!
//! A keyword without a form is read by the shape of its value: a scalar or an array of scalars are its words, `true`
//! stands for none; a table is a block, whose `name` has the words; an array of tables are several blocks.
//!
//! Under any keyword an array of arrays is one statement each, written out: its words, and last perhaps an array with
//! the statements of its block, each of which begins with its own keyword.

use figment::value::{Dict, Value};

use super::{Native, Node, as_array, as_table, text_place};
use crate::source::Place;
use crate::tree::{Item, Word};

/// Whether a value is statements written out.
pub(super) fn is_written_out(value: &Value) -> bool {
    matches!(value, Value::Array(_, all) if !all.is_empty() && all.iter().all(|one| matches!(one, Value::Array(..))))
}

impl Native<'_> {
    /// Statements written out, one an element.
    pub(super) fn written_out(&mut self, keyword: &Word, value: &Value, node: Node<'_>) -> Vec<Item> {
        let Value::Array(_, all) = value else { return Vec::new() };
        let mut items = Vec::new();
        for (at, one) in all.iter().enumerate() {
            let node = as_array(node).and_then(|array| array.get(at));
            let place = node.map_or_else(|| keyword.place.clone(), text_place);
            let keyword = Word { text: keyword.text.clone(), place };
            items.extend(self.statement(Some(keyword), one, node));
        }
        items
    }

    /// One statement from its array; without a keyword that is the array's first element.
    fn statement(&mut self, keyword: Option<Word>, value: &Value, node: Node<'_>) -> Option<Item> {
        let Value::Array(_, elements) = value else {
            let place = self.place(value, node);
            let help = "write it as an array of its words, the keyword first";
            self.report.error(&place, "a statement of a block that is written out is an array", help);
            return None;
        };
        let mut words = Vec::from_iter(keyword);
        let mut block = None;
        for (at, element) in elements.iter().enumerate() {
            let node = as_array(node).and_then(|array| array.get(at));
            match element {
                Value::Array(_, inner) if at + 1 == elements.len() => {
                    let statements = inner.iter().enumerate();
                    let inner = statements.filter_map(|(at, one)| {
                        self.statement(None, one, as_array(node).and_then(|array| array.get(at)))
                    });
                    block = Some(inner.collect());
                }
                element => words.push(self.scalar("a word of a statement", element, node)?),
            }
        }
        let mut words = words.into_iter();
        match words.next() {
            Some(keyword) => Some(Item { keyword, words: words.collect(), block }),
            None => {
                let place = self.place(value, node);
                self.report.error(&place, "a statement without a keyword", "begin its array with the keyword");
                None
            }
        }
    }

    /// By the shape of the value alone.
    pub(super) fn plain(&mut self, keyword: Word, value: &Value, node: Node<'_>, items: &mut Vec<Item>) {
        match value {
            Value::Bool(_, true) => items.push(Item { keyword, words: Vec::new(), block: None }),
            Value::Dict(_, dict) => items.extend(self.plain_block(keyword, dict, node)),
            Value::Array(_, all) if all.iter().any(|one| matches!(one, Value::Dict(..))) => {
                for (at, one) in all.iter().enumerate() {
                    let node = as_array(node).and_then(|array| array.get(at));
                    let place = node.map_or_else(|| keyword.place.clone(), text_place);
                    let keyword = Word { text: keyword.text.clone(), place };
                    self.plain(keyword, one, node, items);
                }
            }
            value => {
                let words = self.words(&keyword.text, value, node);
                items.extend(words.map(|words| Item { keyword, words, block: None }));
            }
        }
    }

    fn plain_block(&mut self, keyword: Word, dict: &Dict, node: Node<'_>) -> Option<Item> {
        let document = as_table(node);
        let (mut words, mut block) = (Vec::new(), Vec::new());
        for (name, value) in dict {
            let entry = document.and_then(|d| d.iter().find(|(key, _)| key.get_ref().as_ref() == name.as_str()));
            let node = entry.map(|(_, node)| node);
            if name == "name" {
                words = self.words(name, value, node)?;
                continue;
            }
            let key = entry.map(|(key, _)| Place::Text { file: 0, start: key.span().start, end: key.span().end });
            let place = key.unwrap_or_else(|| self.place(value, node));
            let keyword = Word { text: name.into(), place };
            if is_written_out(value) {
                block.extend(self.written_out(&keyword, value, node));
            } else {
                self.plain(keyword, value, node, &mut block);
            }
        }
        super::in_order(&mut block);
        Some(Item { keyword, words, block: Some(block) })
    }
}
