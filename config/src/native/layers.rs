//! The layers as figment providers: the document below, one provider for each variable above.

use std::sync::Arc;

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};
use toml::de::{DeTable, DeValue};

use crate::keyword::ROOT;

/// What every variable of ours begins with.
const PREFIX: &str = "KEEPONE_";

/// All layers, merged.
pub(super) struct Layers {
    figment: Figment,
    merged: Dict,
}

impl Layers {
    pub(super) fn over(document: &DeTable<'_>, variables: &[(String, String)]) -> Result<Self, Box<Error>> {
        let mut figment = Figment::from(Document { dict: table(document) });
        for (name, text) in variables {
            if let Some(path) = path(name) {
                figment = figment.merge(Variable { name, path, text });
            }
        }
        let merged = figment.data().map_err(Box::new)?.remove(&Profile::Default).unwrap_or_default();
        Ok(Layers { figment, merged })
    }

    pub(super) fn merged(&self) -> &Dict {
        &self.merged
    }

    /// The variable that set a value; `None` if the document did.
    pub(super) fn variable(&self, value: &Value) -> Option<Arc<str>> {
        let metadata = self.figment.get_metadata(value.tag())?;
        metadata.name.starts_with(PREFIX).then(|| Arc::from(&*metadata.name))
    }
}

/// `KEEPONE_NODE__NAME` is `node.name`; `KEEPONE_LOG` is not a key of ours and is left alone.
fn path(name: &str) -> Option<Vec<String>> {
    let path: Vec<String> = name.strip_prefix(PREFIX)?.split("__").map(str::to_lowercase).collect();
    let ours = path.len() > 1 || path.first().is_some_and(|root| ROOT.find(root).is_some());
    (ours && path.iter().all(|part| !part.is_empty())).then_some(path)
}

struct Document {
    dict: Dict,
}

impl Provider for Document {
    fn metadata(&self) -> Metadata {
        Metadata::named("TOML file")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

struct Variable<'a> {
    name: &'a str,
    path: Vec<String>,
    text: &'a str,
}

impl Provider for Variable<'_> {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.name.to_owned())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        // Lists and tables in figment's notation; all else is text, so that `007` stays what it is.
        let value = if self.text.starts_with(['[', '{']) {
            self.text.parse().unwrap_or_else(|_| Value::from(self.text))
        } else {
            Value::from(self.text)
        };
        let nested = self.path.iter().rev().fold(value, |inner, key| Value::from(Dict::from([(key.clone(), inner)])));
        Ok(Map::from([(Profile::Default, nested.into_dict().unwrap_or_default())]))
    }
}

fn table(table: &DeTable<'_>) -> Dict {
    table.iter().map(|(key, node)| (key.get_ref().to_string(), value(node.get_ref()))).collect()
}

fn value(node: &DeValue<'_>) -> Value {
    match node {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Boolean(flag) => Value::from(*flag),
        DeValue::Integer(integer) => match i64::from_str_radix(integer.as_str(), integer.radix()) {
            Ok(number) => Value::from(number),
            // Out of range: as text, which the reading refuses with its place.
            Err(_) => Value::from(integer.as_str()),
        },
        // As written, so that 0.01 stays 0.01.
        DeValue::Float(float) => Value::from(float.as_str()),
        DeValue::Datetime(datetime) => Value::from(datetime.to_string()),
        DeValue::Array(array) => Value::from(array.iter().map(|node| value(node.get_ref())).collect::<Vec<_>>()),
        DeValue::Table(inner) => Value::from(table(inner)),
    }
}
