//! Two trees side by side.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Serialize;

use super::Change;
use super::value::{Build, Field, Value, digests};
use super::walk::walk;
use super::words::{self, Cost};

/// Names behind places: of a list by its path, in its order.
type Names<'n> = [(&'static str, Vec<Cow<'n, str>>)];

/// All changes from `old` to `new`.
pub(super) fn changes<T: Serialize>(old: &T, new: &T, old_names: &Names<'_>, new_names: &Names<'_>) -> Vec<Change> {
    // Elements that refer to others by place are the same only if the places mean the same.
    let (old_tree, new_tree) =
        if old_names == new_names { (without(old, new), without(new, old)) } else { (whole(old), whole(new)) };
    let old_tree = named(old_tree, "", old_names);
    let new_tree = named(new_tree, "", new_names);
    let mut compare = Compare { path: Path::default(), changes: Vec::new() };
    compare.values(&old_tree, &new_tree);
    compare.changes
}

fn whole<T: Serialize>(value: &T) -> Value {
    let mut build = Build::default();
    walk(value, &mut build);
    build.finish()
}

fn without<T: Serialize>(value: &T, other: &T) -> Value {
    let others = digests(other);
    let mut build = Build::without(&others);
    walk(value, &mut build);
    build.finish()
}

/// Puts names where places are.
fn named(value: Value, path: &str, names: &Names<'_>) -> Value {
    let below = |field: &str| if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") };
    let refers = |path: &str| words::PLACES.iter().any(|(place, _)| place.starts_with(path));
    match value {
        // Only where there is something to put.
        _ if !refers(path) => value,
        Value::Record(fields) => {
            let fields = fields.into_iter().map(|(name, value)| {
                let value = named(value, &below(&name), names);
                (name, value)
            });
            Value::Record(fields.collect())
        }
        Value::Variant(name, inner) => Value::Variant(name, Box::new(named(*inner, path, names))),
        Value::List(elements) => {
            let path = format!("{path}[]");
            Value::List(elements.into_iter().map(|element| named(element, &path, names)).collect())
        }
        Value::Whole(place) => {
            let list = words::PLACES.iter().find(|(place, _)| *place == path).map(|(_, list)| *list);
            let names = names.iter().find(|(name, _)| Some(*name) == list).map(|(_, names)| names);
            let name = names.and_then(|names| names.get(usize::try_from(place).ok()?));
            name.map_or(value, |name| Value::Text(name.clone().into_owned()))
        }
        other @ (Value::None | Value::Bool(_) | Value::Unit(_) | Value::Text(_) | Value::Secret(_)) => other,
    }
}

/// Bytes of a value that is shown.
const LONGEST: usize = 160;

/// Where the comparison is.
#[derive(Debug, Default)]
struct Path {
    /// As the table of words has it.
    pattern: String,
    /// As the operator reads it.
    shown: String,
    /// The elements of lists on the way, with their patterns.
    owners: Vec<(String, String)>,
}

struct Compare {
    path: Path,
    changes: Vec<Change>,
}

impl Compare {
    fn values(&mut self, old: &Value, new: &Value) {
        if old == new || words::IGNORED.contains(&self.path.pattern.as_str()) {
            return;
        }
        let is_whole = words::row(&self.path.pattern).is_some_and(|row| row.is_whole);
        match (old, new) {
            (Value::Record(a), Value::Record(b)) => self.records(a, b),
            (Value::Variant(a, old), Value::Variant(b, new)) if a == b => self.values(old, new),
            (Value::List(a), Value::List(b)) if !is_whole && !self.is_command() => self.lists(a, b),
            (old, new) => self.changed(old, new),
        }
    }

    /// A command line has words that mean nothing one by one.
    fn is_command(&self) -> bool {
        self.path.pattern.ends_with(".command")
    }

    fn records(&mut self, old: &[Field], new: &[Field]) {
        let gone = old.iter().filter(|(name, _)| !new.iter().any(|(other, _)| other == name));
        for (name, value) in new {
            let before = old.iter().find(|(other, _)| other == name).map_or(&Value::None, |(_, value)| value);
            self.below(name, |compare| compare.values(before, value));
        }
        for (name, value) in gone {
            self.below(name, |compare| compare.values(value, &Value::None));
        }
    }

    fn below(&mut self, field: &str, inside: impl FnOnce(&mut Self)) {
        let (pattern, shown) = (self.path.pattern.len(), self.path.shown.len());
        for text in [&mut self.path.pattern, &mut self.path.shown] {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(field);
        }
        inside(self);
        self.path.pattern.truncate(pattern);
        self.path.shown.truncate(shown);
    }

    fn lists(&mut self, old: &[Value], new: &[Value]) {
        let (pattern, shown) = (self.path.pattern.len(), self.path.shown.len());
        self.path.pattern.push_str("[]");
        // Of the same identity, the first with the first.
        let mut waiting: HashMap<String, Vec<usize>> = HashMap::with_capacity(old.len());
        for (at, element) in old.iter().enumerate().rev() {
            waiting.entry(self.identity(element)).or_default().push(at);
        }
        let (mut kept, mut added) = (Vec::new(), Vec::new());
        for element in new {
            let identity = self.identity(element);
            match waiting.get_mut(&identity).and_then(Vec::pop) {
                Some(at) => {
                    kept.push(at);
                    let Some(before) = old.get(at).filter(|before| *before != element) else { continue };
                    self.path.shown.push_str(&format!("[{identity}]"));
                    self.path.owners.push((self.path.pattern.clone(), identity));
                    self.values(before, element);
                    self.path.owners.pop();
                    self.path.shown.truncate(shown);
                }
                None => added.push(element),
            }
        }
        let mut gone: Vec<usize> = waiting.into_values().flatten().collect();
        gone.sort_unstable();
        for element in gone.into_iter().filter_map(|at| old.get(at)) {
            self.came_or_went(element, false);
        }
        for element in added {
            self.came_or_went(element, true);
        }
        self.path.pattern.truncate(pattern);
        if !kept.is_sorted() {
            let what = self.noun();
            let what = if what.is_empty() { self.field() } else { what.to_owned() };
            self.push(format!("changes the order of the {what}{}", self.owner(" of ")), None, None);
        }
    }

    /// What tells an element from the others.
    fn identity(&self, element: &Value) -> String {
        let fields = words::row(&self.path.pattern).map_or(&[][..], |row| row.identity);
        let fields = fields.iter().filter_map(|field| element.field(field));
        let text = fields.map(identity_text).collect::<Vec<_>>().join(" ");
        if !text.is_empty() {
            return text;
        }
        let field = words::IDENTITIES.iter().find_map(|field| element.field(field));
        field.unwrap_or(element).show()
    }

    fn came_or_went(&mut self, element: &Value, came: bool) {
        let row = words::row(&self.path.pattern);
        let shown = match row.map_or(&[][..], |row| row.show) {
            [] => self.identity(element),
            fields => {
                let fields = fields.iter().filter_map(|(field, before)| {
                    let text = element.field(field)?.show();
                    (!text.is_empty()).then(|| format!("{before}{text}"))
                });
                fields.collect()
            }
        };
        let what = match self.noun() {
            "" => self.field().trim_end_matches("[]").to_owned(),
            noun => noun.to_owned(),
        };
        let identity = self.identity(element);
        let length = self.path.shown.len();
        self.path.shown.push_str(&format!("[{identity}]"));
        let (verb, to) = if came { ("adds", " to ") } else { ("removes", " from ") };
        let text = format!("{verb} {what} {shown}{}", self.owner(to));
        let (from, to) = if came { (None, Some(shown)) } else { (Some(shown), None) };
        // A group that comes or goes has no owner to restart: it is meant itself.
        if self.path.owners.is_empty() {
            self.path.owners.push((self.path.pattern.clone(), identity));
            self.push(text, from, to);
            self.path.owners.pop();
        } else {
            self.push(text, from, to);
        }
        self.path.shown.truncate(length);
    }

    fn changed(&mut self, old: &Value, new: &Value) {
        let hidden = |value: &Value| matches!(value, Value::Secret(_));
        let is_hidden = hidden(old) || hidden(new);
        // A whole block is not shown: its fields would say nothing without their names.
        let show = |value: &Value| Some(value.show()).filter(|text| !text.is_empty() && text.len() <= LONGEST);
        let what = match self.noun() {
            "" => self.field(),
            noun => noun.to_owned(),
        };
        let of = self.owner(" of ");
        let (from, to) = if is_hidden { (None, None) } else { (show(old), show(new)) };
        let restart = match (words::cost(&self.path.pattern), self.path.owners.first()) {
            (Cost::Restart(why), Some((_, owner))) => Some((why, owner.clone())),
            _ => None,
        };
        let text = match (old, new, &from, &to) {
            (_, _, Some(from), Some(to)) => match restart {
                Some((why, owner)) => format!("restarts {owner}: its {what} changes from {from} to {to} ({why})"),
                None => format!("changes the {what}{of} from {from} to {to}"),
            },
            (Value::None, _, _, Some(to)) => format!("sets the {what}{of} to {to}"),
            (Value::None, _, _, None) => format!("sets the {what}{of}"),
            (_, Value::None, Some(from), _) => format!("removes the {what} {from}{of}"),
            (_, Value::None, None, _) => format!("removes the {what}{of}"),
            _ => format!("changes the {what}{of}"),
        };
        self.push(text, from, to);
    }

    fn noun(&self) -> &'static str {
        words::row(&self.path.pattern).map_or("", |row| row.noun)
    }

    /// The fields since the last element of a list; of the file as a whole, without the block's name.
    fn field(&self) -> String {
        let since = match self.path.owners.last() {
            Some((pattern, _)) => self.path.pattern.strip_prefix(pattern.as_str()).unwrap_or(&self.path.pattern),
            None => self.path.pattern.strip_prefix("global.").unwrap_or(&self.path.pattern),
        };
        since.trim_start_matches('.').to_owned()
    }

    /// Whose it is: ` of real server A of virtual server B`; empty at the top.
    fn owner(&self, link: &str) -> String {
        let mut text = String::new();
        for (pattern, identity) in self.path.owners.iter().rev() {
            text.push_str(if text.is_empty() { link } else { " of " });
            match words::row(pattern) {
                Some(row) if !row.is_known_by_name && !row.noun.is_empty() => {
                    text.push_str(row.noun);
                    text.push(' ');
                }
                _ => {}
            }
            text.push_str(identity);
        }
        text
    }

    fn push(&mut self, text: String, from: Option<String>, to: Option<String>) {
        let cost = words::cost(&self.path.pattern);
        let (restarts, hint) = match cost {
            Cost::Nothing => (None, None),
            // The text says why.
            Cost::Restart(_) if text.starts_with("restarts ") => (self.restarts(), None),
            Cost::Restart(why) => (self.restarts(), Some(why.to_owned())),
            Cost::Agent(hint) => (None, Some(hint.to_owned())),
        };
        let restarts_agent = matches!(cost, Cost::Agent(_));
        self.changes.push(Change { path: self.path.shown.clone(), from, to, text, restarts, restarts_agent, hint });
    }

    fn restarts(&self) -> Option<String> {
        self.path.owners.first().map(|(_, owner)| owner.clone())
    }
}

/// A variant that is the usual one is not named.
fn identity_text(value: &Value) -> String {
    match value {
        Value::Variant("Address", inner) => inner.show(),
        value => value.show(),
    }
}
