//! What is said over the socket.
//!
//! A request is `{"version":1,"ask":NAME, …}` with whatever else the question takes. Each line of an answer is
//! `{"version":1,"answer":VALUE}`, with `"more":true` in all but the last, or `{"version":1,"error":WORDS}`, after which
//! nothing follows.

use serde_json::{Map, Value};

/// Of the messages. A program answers no other: it says which it speaks.
pub const VERSION: u64 = 1;

/// Octets of a request at most, its end included.
pub const LONGEST: usize = 16 << 10;

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Its name, such as `status`.
    pub ask: String,
    /// And whatever else it takes.
    pub with: Map<String, Value>,
}

impl Request {
    /// One that takes nothing else.
    pub fn new(ask: &str) -> Self {
        Request { ask: ask.to_owned(), with: Map::new() }
    }

    /// With one thing more.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.with.insert(name.to_owned(), value.into());
        self
    }

    /// A text that comes with it.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.with.get(name).and_then(Value::as_str)
    }

    /// From a line.
    ///
    /// # Errors
    /// It is none, in words for whoever asked.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| format!("not a line of JSON: {error}"))?;
        let Value::Object(mut with) = value else { return Err(String::from("not a JSON object")) };
        match with.remove("version") {
            Some(version) if version.as_u64() == Some(VERSION) => {}
            Some(version) => return Err(format!("version {version} is not spoken here, version {VERSION} is")),
            None => return Err(format!("it has no version: version {VERSION} is spoken here")),
        }
        match with.remove("ask") {
            Some(Value::String(ask)) => Ok(Request { ask, with }),
            _ => Err(String::from("it asks for nothing: `ask` is missing")),
        }
    }

    /// Its line, end included.
    pub fn emit(&self) -> Vec<u8> {
        let mut fields = self.with.clone();
        fields.insert("version".into(), VERSION.into());
        fields.insert("ask".into(), self.ask.clone().into());
        line(fields)
    }
}

/// A line of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// Another line follows.
    More(Value),
    /// The last.
    Last(Value),
    /// There is no answer, and why.
    Error(String),
}

impl Reply {
    /// Its line, end included.
    pub fn emit(self) -> Vec<u8> {
        let mut fields = Map::new();
        fields.insert("version".into(), VERSION.into());
        match self {
            Reply::More(value) => {
                fields.insert("more".into(), true.into());
                fields.insert("answer".into(), value);
            }
            Reply::Last(value) => _ = fields.insert("answer".into(), value),
            Reply::Error(words) => _ = fields.insert("error".into(), words.into()),
        }
        line(fields)
    }

    /// From a line.
    ///
    /// # Errors
    /// It is none of this version.
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(line).map_err(|error| format!("not a line of JSON: {error}"))?;
        let Value::Object(mut fields) = value else { return Err(String::from("not a JSON object")) };
        let version = fields.remove("version").and_then(|version| version.as_u64());
        if version != Some(VERSION) {
            let theirs = version.map_or_else(|| String::from("none"), |version| version.to_string());
            return Err(format!("it answers in version {theirs}, and version {VERSION} is spoken here"));
        }
        if let Some(Value::String(words)) = fields.remove("error") {
            return Ok(Reply::Error(words));
        }
        let more = fields.remove("more") == Some(Value::Bool(true));
        match fields.remove("answer") {
            Some(value) if more => Ok(Reply::More(value)),
            Some(value) => Ok(Reply::Last(value)),
            None => Err(String::from("neither an answer nor an error")),
        }
    }
}

fn line(fields: Map<String, Value>) -> Vec<u8> {
    // What has no JSON (nothing here) would be an empty line, which no reader takes for an answer.
    let mut line = serde_json::to_vec(&Value::Object(fields)).unwrap_or_default();
    line.push(b'\n');
    line
}
