//! A value as a tree, with the elements left out that both sides have.

use std::borrow::Cow;
use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::Serialize;

use super::walk::{Kind, Scalar, Sink, walk};

/// A field or a key, and its value.
pub(super) type Field = (Cow<'static, str>, Value);

/// A value of the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// Not there.
    None,
    /// A flag.
    Bool(bool),
    /// A number.
    Whole(i128),
    /// A variant that holds nothing.
    Unit(&'static str),
    /// A text.
    Text(String),
    /// Compared, never shown.
    Secret(String),
    /// In order.
    List(Vec<Value>),
    /// Fields in the order of the type.
    Record(Vec<Field>),
    /// An enum's variant and what it holds.
    Variant(&'static str, Box<Value>),
}

impl Value {
    /// A field of a record, or of the record in a variant.
    pub(super) fn field(&self, name: &str) -> Option<&Value> {
        match self {
            Value::Record(fields) => fields.iter().find(|(field, _)| field == name).map(|(_, value)| value),
            Value::Variant(_, inner) => inner.field(name),
            _ => None,
        }
    }

    /// In a few words; empty where there is nothing.
    pub(super) fn show(&self) -> String {
        let join = |parts: Vec<String>| {
            let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            parts.join(" ")
        };
        match self {
            Value::None => String::new(),
            Value::Bool(flag) => String::from(if *flag { "on" } else { "off" }),
            Value::Whole(number) => number.to_string(),
            Value::Unit(name) => lower(name),
            Value::Text(text) => text.clone(),
            Value::Secret(_) => String::from("***"),
            Value::List(elements) => join(elements.iter().map(Value::show).collect()),
            Value::Record(fields) => join(fields.iter().map(|(_, value)| value.show()).collect()),
            Value::Variant(name, inner) => match inner.show() {
                inner if inner.is_empty() => lower(name),
                inner => format!("{} {inner}", lower(name)),
            },
        }
    }
}

/// `AcceptDualMaster` as operators write words: `accept-dual-master`.
fn lower(name: &str) -> String {
    let mut text = String::new();
    for (at, c) in name.chars().enumerate() {
        if c.is_ascii_uppercase() && at > 0 {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

/// Builds the tree.
#[derive(Debug, Default)]
pub(super) struct Build<'d> {
    open: Vec<Open>,
    done: Option<Value>,
    /// What the other side has of the lists at the top.
    others: Option<&'d HashSet<u64>>,
}

#[derive(Debug)]
struct Open {
    kind: Kind,
    name: &'static str,
    key: Cow<'static, str>,
    fields: Vec<Field>,
    elements: Vec<Value>,
}

impl<'d> Build<'d> {
    /// Leaves out the elements of the lists at the top that the other side has.
    pub(super) fn without(others: &'d HashSet<u64>) -> Self {
        Build { others: Some(others), ..Build::default() }
    }

    /// The tree.
    pub(super) fn finish(self) -> Value {
        self.done.unwrap_or(Value::None)
    }

    fn put(&mut self, value: Value) {
        match self.open.last_mut() {
            Some(open) if open.kind == Kind::Record => {
                let key = std::mem::take(&mut open.key);
                open.fields.push((key, value));
            }
            Some(open) => open.elements.push(value),
            None => self.done = Some(value),
        }
    }
}

impl Sink for Build<'_> {
    fn scalar(&mut self, scalar: Scalar<'_>) {
        self.put(match scalar {
            Scalar::None => Value::None,
            Scalar::Bool(flag) => Value::Bool(flag),
            Scalar::Whole(number) => Value::Whole(number),
            Scalar::Text(text) => Value::Text(text.to_owned()),
            Scalar::Unit(name) => Value::Unit(name),
        });
    }

    fn open(&mut self, kind: Kind, name: &'static str) {
        let (key, fields, elements) = (Cow::Borrowed(""), Vec::new(), Vec::new());
        self.open.push(Open { kind, name, key, fields, elements });
    }

    fn field(&mut self, name: &'static str) {
        if let Some(open) = self.open.last_mut() {
            open.key = Cow::Borrowed(name);
        }
    }

    fn key(&mut self, key: String) {
        if let Some(open) = self.open.last_mut() {
            open.key = Cow::Owned(key);
        }
    }

    fn close(&mut self) {
        let Some(Open { kind, name, fields, mut elements, .. }) = self.open.pop() else { return };
        let value = match kind {
            Kind::Record if name == "Duration" => Value::Text(duration(&fields)),
            Kind::Record => Value::Record(fields),
            Kind::List => Value::List(elements),
            Kind::Variant => Value::Variant(name, Box::new(elements.pop().unwrap_or(Value::None))),
            Kind::Secret => Value::Secret(elements.pop().map(|value| value.show()).unwrap_or_default()),
        };
        self.put(value);
    }

    fn skips<T: Serialize + ?Sized>(&mut self, element: &T) -> bool {
        // The list and the record that it is a field of.
        self.open.len() == 2 && self.others.is_some_and(|others| others.contains(&digest(element)))
    }
}

/// As serde has it: whole seconds, and nanoseconds.
fn duration(fields: &[Field]) -> String {
    let number = |name: &str| match fields.iter().find(|(field, _)| field == name) {
        Some((_, Value::Whole(number))) => u64::try_from(*number).unwrap_or(u64::MAX),
        _ => 0,
    };
    let (secs, nanos) = (number("secs"), number("nanos"));
    match Duration::from_secs(secs).checked_add(Duration::from_nanos(nanos)) {
        Some(duration) if duration < Duration::from_secs(1 << 40) => format!("{duration:?}"),
        _ => String::from("without bound"),
    }
}

/// Digests of the elements of all lists at the top.
pub(super) fn digests<T: Serialize + ?Sized>(value: &T) -> HashSet<u64> {
    let mut sink = Elements::default();
    walk(value, &mut sink);
    sink.digests
}

#[derive(Default)]
struct Elements {
    depth: usize,
    digests: HashSet<u64>,
}

impl Sink for Elements {
    fn scalar(&mut self, _: Scalar<'_>) {}
    fn open(&mut self, _: Kind, _: &'static str) {
        self.depth += 1;
    }
    fn field(&mut self, _: &'static str) {}
    fn key(&mut self, _: String) {}
    fn close(&mut self) {
        self.depth -= 1;
    }
    fn skips<T: Serialize + ?Sized>(&mut self, element: &T) -> bool {
        if self.depth == 2 {
            self.digests.insert(digest(element));
        }
        true
    }
}

/// The same number for equal values of one type.
pub(super) fn digest<T: Serialize + ?Sized>(value: &T) -> u64 {
    let mut sink = Digest(DefaultHasher::new());
    walk(value, &mut sink);
    sink.0.finish()
}

struct Digest(DefaultHasher);

impl Sink for Digest {
    fn scalar(&mut self, scalar: Scalar<'_>) {
        match scalar {
            Scalar::None => self.0.write_u8(0),
            Scalar::Bool(flag) => self.0.write_u8(1 + u8::from(flag)),
            Scalar::Whole(number) => self.0.write_i128(number),
            Scalar::Text(text) => text.hash(&mut self.0),
            Scalar::Unit(name) => name.hash(&mut self.0),
        }
    }
    fn open(&mut self, kind: Kind, name: &'static str) {
        kind.hash(&mut self.0);
        // The types are the same on both sides, the variants may not be.
        if kind == Kind::Variant {
            name.hash(&mut self.0);
        }
    }
    fn field(&mut self, _: &'static str) {}
    fn key(&mut self, key: String) {
        key.hash(&mut self.0);
    }
    fn close(&mut self) {
        u8::MAX.hash(&mut self.0);
    }
}
