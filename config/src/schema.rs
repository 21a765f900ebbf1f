//! The JSON Schema of the TOML, for editors: made from the table of keywords.
//!
//! What must stay true: a file that the reading accepts is not wrong by the schema (its examples are tested).

use serde_json::{Map, Value, json};

use crate::keyword::{Form, Keyword, ROOT, Status, Table, snake};

/// JSON Schema, draft 2020-12, of a whole file.
pub fn json_schema() -> String {
    let mut blocks = Blocks { defined: Map::new() };
    let mut schema = blocks.object("", &ROOT, &[], &[]);
    if let Value::Object(map) = &mut schema {
        map.insert(String::from("$schema"), json!("https://json-schema.org/draft/2020-12/schema"));
        map.insert(String::from("title"), json!("keepone's configuration"));
        map.insert(String::from("$defs"), Value::Object(blocks.defined));
    }
    serde_json::to_string_pretty(&schema).unwrap_or_default()
}

/// The blocks, each defined once: a table and an array of tables refer to the same one.
struct Blocks {
    defined: Map<String, Value>,
}

impl Blocks {
    fn object(&mut self, path: &str, table: &Table, head: &[(&str, Value)], required: &[&str]) -> Value {
        let mut properties = Map::new();
        for (name, schema) in head {
            properties.insert((*name).to_owned(), schema.clone());
        }
        for keyword in table.keywords() {
            let name = snake(keyword.name);
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            properties.insert(name, self.property(&path, keyword));
        }
        let mut schema = json!({ "type": "object", "properties": properties, "additionalProperties": false });
        if let Some(map) = schema.as_object_mut().filter(|_| !required.is_empty()) {
            map.insert(String::from("required"), json!(required));
        }
        schema
    }

    fn property(&mut self, path: &str, keyword: &Keyword) -> Value {
        let mut schema = self.form(path, keyword);
        let Some(map) = schema.as_object_mut() else { return schema };
        let default =
            if keyword.default.is_empty() { String::new() } else { format!(" (default: {})", keyword.default) };
        let unit = if keyword.unit.is_empty() { String::new() } else { format!(" [{}]", keyword.unit) };
        let after = match keyword.status {
            Status::Active => String::new(),
            Status::Later => String::from("; not yet active"),
            Status::Ignored(instead) | Status::Refused(instead) => format!("; {instead}"),
        };
        map.insert(String::from("description"), json!(format!("{}{unit}{default}{after}", keyword.meaning)));
        match keyword.status {
            Status::Ignored(_) => {
                map.insert(String::from("deprecated"), json!(true));
            }
            Status::Refused(_) => {
                map.insert(String::from("not"), json!({}));
            }
            Status::Active | Status::Later => {}
        }
        schema
    }

    fn form(&mut self, path: &str, keyword: &Keyword) -> Value {
        let word = || json!({ "type": ["string", "number", "boolean"] });
        let words = || json!({ "type": "array", "items": word() });
        let name = || ("name", json!({ "type": ["string", "number"] }));
        if matches!(keyword.status, Status::Ignored(_) | Status::Refused(_)) {
            return json!({});
        }
        match keyword.form {
            Form::Flag => {
                json!({ "anyOf": [{ "type": "boolean" }, { "enum": ["on", "off", "true", "false", "yes", "no"] }] })
            }
            Form::Value => value(keyword),
            Form::Words | Form::Maybe => json!({ "anyOf": [word(), words(), { "type": "array", "items": words() }] }),
            Form::Lines => {
                json!({ "anyOf": [{ "type": "string" }, words(), { "type": "object", "additionalProperties": word() }] })
            }
            Form::NamedLines => {
                let members = json!({ "anyOf": [{ "type": "string" }, words()] });
                let block = json!({
                    "type": "object",
                    "properties": { "name": name().1, "members": members },
                    "required": ["name"],
                    "additionalProperties": false,
                });
                self.many(path, block)
            }
            Form::Block(table) => {
                let block = self.object(path, table, &[], &[]);
                self.many(path, block)
            }
            Form::Named(table) => {
                let block = self.object(path, table, &[name()], &["name"]);
                self.many(path, block)
            }
            Form::Server(table) => {
                let port =
                    json!({ "anyOf": [{ "type": "integer", "minimum": 0, "maximum": 65535 }, { "type": "string" }] });
                let word = || json!({ "type": ["string", "integer"] });
                let head = [("address", word()), ("port", port), ("fwmark", word()), ("group", word())];
                let block = self.object(path, table, &head, &[]);
                self.many(path, block)
            }
            Form::Any => json!({}),
        }
    }

    /// One table, or an array of them.
    fn many(&mut self, path: &str, block: Value) -> Value {
        self.defined.insert(path.to_owned(), block);
        let one = json!({ "$ref": format!("#/$defs/{path}") });
        json!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

/// One word, as its range says.
fn value(keyword: &Keyword) -> Value {
    let range = keyword.range;
    if let Some((least, most)) = range.split_once("..").and_then(|(a, b)| Some((number(a)?, number(b)?))) {
        let kind = if keyword.unit.is_empty() && range.bytes().filter(|b| *b == b'.').count() == 2 {
            "integer"
        } else {
            "number"
        };
        // A unit may be written after the number.
        return json!({ "anyOf": [{ "type": kind, "minimum": least, "maximum": most }, { "type": "string" }] });
    }
    let choices: Vec<&str> = range.split('|').collect();
    let plain = |choice: &&str| !choice.is_empty() && !choice.contains([' ', '[', ',']);
    if choices.len() > 1 && choices.iter().all(plain) {
        let texts = choices.iter().map(|choice| json!(choice));
        let numbers = choices.iter().filter_map(|choice| number(choice));
        return json!({ "enum": texts.chain(numbers).collect::<Vec<_>>() });
    }
    json!({ "type": ["string", "number", "boolean"] })
}

fn number(text: &str) -> Option<Value> {
    let whole = text.parse::<i64>().map(|n| json!(n));
    whole.or_else(|_| text.parse::<f64>().map(|n| json!(n))).ok()
}
