//! The native language: TOML, overridden by `KEEPONE_` environment variables.
//!
//! figment lays the layers over each other; what it forgets, the places in the text, is looked up in the
//! parsed document by the same path. What comes out are the statements that the other language has too.

mod layers;
mod plain;

use figment::value::{Dict, Num, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::diagnostic::Report;
use crate::keyword::{Form, ROOT, Table};
use crate::source::Place;
use crate::tree::{Item, Word};

use layers::Layers;

/// Reads a text that is in the report's sources as file 0, and the variables over it; `None` if it is not TOML.
pub(crate) fn parse(report: &mut Report, text: &str, variables: &[(String, String)]) -> Option<Vec<Item>> {
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let span = error.span().unwrap_or(0..0);
        let place = Place::Text { file: 0, start: span.start, end: span.end };
        report.error(&place, format!("not TOML: {}", error.message()), "");
    }
    if !errors.is_empty() {
        // What recovery guessed would only add mistakes that nobody made.
        return None;
    }
    let layers = match Layers::over(document.get_ref(), variables) {
        Ok(layers) => layers,
        Err(error) => {
            let place = Place::Text { file: 0, start: 0, end: 0 };
            report.error(&place, format!("the layers don't fit each other: {error}"), "");
            return None;
        }
    };
    let mut native = Native { report, layers: &layers };
    Some(native.table(layers.merged(), Some(document.get_ref()), &ROOT, &[]))
}

/// As they were written.
fn in_order(items: &mut [Item]) {
    items.sort_by_key(|item| position(&item.keyword.place));
}

fn position(place: &Place) -> usize {
    match place {
        Place::Text { start, .. } => *start,
        Place::Variable(_) => usize::MAX,
    }
}

/// What stands before the block of a server in keepalived.conf.
const SERVER_HEAD: [&str; 4] = ["address", "port", "fwmark", "group"];

type Node<'d> = Option<&'d Spanned<DeValue<'d>>>;

struct Native<'a> {
    report: &'a mut Report,
    layers: &'a Layers,
}

impl Native<'_> {
    /// Statements in the order of the text; `head` are keys that the caller has read.
    fn table(
        &mut self,
        dict: &Dict,
        document: Option<&DeTable<'_>>,
        table: &'static Table,
        head: &[&str],
    ) -> Vec<Item> {
        let mut items = Vec::new();
        for (name, value) in dict.iter().filter(|(name, _)| !head.contains(&name.as_str())) {
            let entry = document.and_then(|d| d.get_key_value(name.as_str()));
            let key = entry.map(|(key, _)| Place::Text { file: 0, start: key.span().start, end: key.span().end });
            let node = entry.map(|(_, node)| node);
            let place = key.unwrap_or_else(|| self.place(value, node));
            match table.find_snake(name) {
                known if plain::is_written_out(value) => {
                    let text = known.map_or(name.as_str(), |known| known.name).into();
                    items.extend(self.written_out(&Word { text, place }, value, node));
                }
                Some(known) => {
                    let keyword = Word { text: known.name.into(), place };
                    self.entry(keyword, value, node, known.form, &mut items);
                }
                // The reading that follows says that it is unknown.
                None => {
                    let keyword = Word { text: name.into(), place };
                    self.plain(keyword, value, node, &mut items);
                }
            }
        }
        // Tables are sorted by name; complaints, ids and lists follow the text.
        in_order(&mut items);
        items
    }

    fn entry(&mut self, keyword: Word, value: &Value, node: Node<'_>, form: Form, items: &mut Vec<Item>) {
        match (form, value) {
            (Form::Flag, Value::Bool(_, true)) => items.push(Item { keyword, words: Vec::new(), block: None }),
            // A keyword that does without words: true is to write it, false is not to.
            (Form::Maybe, Value::Bool(_, on)) => {
                items.extend(on.then_some(Item { keyword, words: Vec::new(), block: None }));
            }
            // A keyword that may come several times: a list of lists.
            (Form::Words, Value::Array(_, elements)) if elements.iter().any(|e| matches!(e, Value::Array(..))) => {
                for (at, element) in elements.iter().enumerate() {
                    let node = as_array(node).and_then(|array| array.get(at));
                    let words = self.words(&keyword.text, element, node);
                    items.extend(words.map(|words| Item { keyword: keyword.clone(), words, block: None }));
                }
            }
            (Form::Flag | Form::Value | Form::Words | Form::Maybe, _) => {
                let words = self.words(&keyword.text, value, node);
                items.extend(words.map(|words| Item { keyword, words, block: None }));
            }
            (Form::Lines, _) => {
                let block = Some(self.lines(&keyword.text, value, node));
                items.push(Item { keyword, words: Vec::new(), block });
            }
            (Form::Any, _) => self.plain(keyword, value, node, items),
            (Form::Block(_) | Form::Named(_) | Form::NamedLines | Form::Server(_), _) => {
                self.tables(&keyword, value, node, form, items);
            }
        }
    }

    /// One table, or an array of them.
    fn tables(&mut self, keyword: &Word, value: &Value, node: Node<'_>, form: Form, items: &mut Vec<Item>) {
        match value {
            Value::Dict(_, dict) => items.extend(self.one_table(keyword, value, dict, node, form)),
            Value::Array(_, elements) => {
                for (at, element) in elements.iter().enumerate() {
                    let node = as_array(node).and_then(|array| array.get(at));
                    let place = node.map_or_else(|| keyword.place.clone(), text_place);
                    let keyword = Word { text: keyword.text.clone(), place };
                    if matches!(element, Value::Dict(..)) {
                        self.tables(&keyword, element, node, form, items);
                    } else {
                        let message = format!("`{}` is an array of tables", keyword.text);
                        let help = format!("write `[[{}]]` and its keys below", keyword.text);
                        self.report.error(&keyword.place, message, help);
                    }
                }
            }
            _ if matches!(form, Form::Block(_)) => {
                let help = format!("write `[{}]` and its keys below", keyword.text);
                self.report.error(&keyword.place, format!("`{}` is a table", keyword.text), help);
            }
            _ => {
                let help = format!("write `[[{0}]]` or `[{0}]` and its keys below", keyword.text);
                self.report.error(&keyword.place, format!("`{}` is a table with a name", keyword.text), help);
            }
        }
    }

    fn one_table(&mut self, keyword: &Word, value: &Value, dict: &Dict, node: Node<'_>, form: Form) -> Option<Item> {
        let document = as_table(node);
        let place = self.place(value, node);
        let (words, head): (_, &[&str]) = match form {
            Form::Server(_) => (self.server_head(keyword, dict, document, &place)?, &SERVER_HEAD),
            Form::Named(_) | Form::NamedLines => (self.name(keyword, dict, document, &place)?, &["name"]),
            _ => (Vec::new(), &[]),
        };
        let block = match form.table() {
            Some(table) => self.table(dict, document, table, head),
            None => {
                let members = dict.get("members");
                let node = document.and_then(|document| document.get("members"));
                if let Some(odd) = dict.keys().find(|key| *key != "name" && *key != "members") {
                    let message = format!("`{odd}` in {}, which has `name` and `members`", keyword.text);
                    self.report.error(&place, message, "write `members = [\"192.0.2.1 80\"]`");
                }
                members.map(|members| self.lines("members", members, node)).unwrap_or_default()
            }
        };
        // An element of an array is best shown by its name.
        let place = if node.is_some() { keyword.place.clone() } else { place };
        Some(Item { keyword: Word { text: keyword.text.clone(), place }, words, block: Some(block) })
    }

    fn name(
        &mut self,
        keyword: &Word,
        dict: &Dict,
        document: Option<&DeTable<'_>>,
        place: &Place,
    ) -> Option<Vec<Word>> {
        let Some(name) = dict.get("name") else {
            let message = format!("`{}` without a name", keyword.text);
            self.report.error(place, message, "add `name = \"...\"` to the table");
            return None;
        };
        let node = document.and_then(|document| document.get("name"));
        Some(self.words("name", name, node).unwrap_or_default())
    }

    /// `address` and perhaps `port`; or `fwmark`; or `group`.
    fn server_head(
        &mut self,
        keyword: &Word,
        dict: &Dict,
        document: Option<&DeTable<'_>>,
        place: &Place,
    ) -> Option<Vec<Word>> {
        let mut found: Vec<(&str, Word)> = Vec::new();
        for name in SERVER_HEAD {
            let Some(value) = dict.get(name) else { continue };
            let node = document.and_then(|document| document.get(name));
            found.push((name, self.scalar(name, value, node)?));
        }
        let names: Vec<&str> = found.iter().map(|(name, _)| *name).collect();
        match names.as_slice() {
            ["address"] | ["address", "port"] => Some(found.into_iter().map(|(_, word)| word).collect()),
            ["fwmark" | "group"] => {
                let word = |(name, word): (&str, Word)| [Word { text: name.into(), place: word.place.clone() }, word];
                Some(found.into_iter().flat_map(word).collect())
            }
            _ => {
                let message = format!("`{}` wants an address", keyword.text);
                let help = "write `address` and perhaps `port`; of a virtual_server `fwmark` or `group` instead";
                self.report.error(place, message, help);
                None
            }
        }
    }

    /// One word, or an array's; `None` after a complaint.
    fn words(&mut self, name: &str, value: &Value, node: Node<'_>) -> Option<Vec<Word>> {
        match value {
            Value::Array(_, elements) => {
                let mut words = Vec::new();
                for (at, element) in elements.iter().enumerate() {
                    let node = as_array(node).and_then(|array| array.get(at));
                    words.push(self.scalar(name, element, node)?);
                }
                Some(words)
            }
            value => self.scalar(name, value, node).map(|word| vec![word]),
        }
    }

    fn scalar(&mut self, name: &str, value: &Value, node: Node<'_>) -> Option<Word> {
        let place = self.place(value, node);
        let text = match value {
            Value::String(_, text) => text.clone(),
            Value::Char(_, c) => c.to_string(),
            Value::Bool(_, flag) => flag.to_string(),
            Value::Num(_, number) => number_text(*number),
            Value::Empty(..) | Value::Dict(..) | Value::Array(..) => {
                let help = format!("write `{name} = \"...\"`");
                self.report.error(&place, format!("`{name}` is a single value here"), help);
                return None;
            }
        };
        Some(Word { text: text.into(), place })
    }

    /// Lines of a value block: strings, or `key = value` pairs.
    fn lines(&mut self, name: &str, value: &Value, node: Node<'_>) -> Vec<Item> {
        let line = |words: Vec<Word>| {
            let mut words = words.into_iter();
            words.next().map(|keyword| Item { keyword, words: words.collect(), block: None })
        };
        let mut lines = Vec::new();
        match value {
            Value::Dict(_, dict) => {
                for (key, value) in dict {
                    let node = as_table(node).and_then(|table| table.get(key.as_str()));
                    let place = self.place(value, node);
                    if let Some(value) = self.scalar(key, value, node) {
                        lines.extend(line(vec![Word { text: key.into(), place }, value]));
                    }
                }
            }
            value => {
                for word in self.words(name, value, node).unwrap_or_default() {
                    let split = word.text.split_whitespace();
                    lines.extend(line(split.map(|t| Word { text: t.into(), place: word.place.clone() }).collect()));
                }
            }
        }
        lines
    }

    /// Where a value comes from: the variable that set it, or the text.
    fn place(&self, value: &Value, node: Node<'_>) -> Place {
        match (self.layers.variable(value), node) {
            (Some(variable), _) => Place::Variable(variable),
            (None, Some(node)) => text_place(node),
            (None, None) => Place::Text { file: 0, start: 0, end: 0 },
        }
    }
}

fn text_place(node: &Spanned<DeValue<'_>>) -> Place {
    Place::Text { file: 0, start: node.span().start, end: node.span().end }
}

fn as_table<'d>(node: Node<'d>) -> Option<&'d DeTable<'d>> {
    node.and_then(|node| node.get_ref().as_table())
}

fn as_array<'d>(node: Node<'d>) -> Option<&'d [Spanned<DeValue<'d>>]> {
    node.and_then(|node| node.get_ref().as_array()).map(|array| &array[..])
}

/// As the operator would write it; a float without an exponent.
fn number_text(number: Num) -> String {
    match (number.to_i128(), number.to_u128(), number.to_f64()) {
        (Some(n), _, _) => n.to_string(),
        (_, Some(n), _) => n.to_string(),
        (_, _, Some(n)) => n.to_string(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests;
