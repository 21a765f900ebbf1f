//! The JSON Schema holds for files that are read, and says no where the reading does.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use serde_json::Value;

/// The words of draft 2020-12 that our schema uses; what is wrong, with its path.
fn wrong(schema: &Value, value: &Value, path: &str) -> Option<String> {
    within(schema, schema, value, path)
}

fn within(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    let known = [
        "$schema",
        "$defs",
        "$ref",
        "title",
        "type",
        "properties",
        "additionalProperties",
        "required",
        "anyOf",
        "enum",
        "minimum",
        "maximum",
        "items",
        "description",
        "deprecated",
        "not",
    ];
    let schema = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some(format!("{path}: nothing fits")),
        schema => schema.as_object().unwrap(),
    };
    assert!(schema.keys().all(|key| known.contains(&key.as_str())), "{path}: a word that this test does not check");
    if let Some(path_of) = schema.get("$ref") {
        let name = path_of.as_str().unwrap().strip_prefix("#/$defs/").unwrap();
        return within(root, &root["$defs"][name], value, path);
    }
    if schema.contains_key("not") {
        return Some(format!("{path}: refused"));
    }
    if let Some(any) = schema.get("anyOf") {
        let said: Vec<String> =
            any.as_array().unwrap().iter().map_while(|one| within(root, one, value, path)).collect();
        if said.len() == any.as_array().unwrap().len() {
            return Some(said.join("; "));
        }
    }
    if let Some(choices) = schema.get("enum").filter(|choices| !choices.as_array().unwrap().contains(value)) {
        return Some(format!("{path}: {value} is none of {choices}"));
    }
    let is = |kind: &Value| match kind.as_str().unwrap() {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64(),
        "boolean" => value.is_boolean(),
        other => panic!("type {other}"),
    };
    let fits = |kind: &Value| kind.as_array().map_or_else(|| is(kind), |kinds| kinds.iter().any(is));
    if schema.get("type").is_some_and(|kind| !fits(kind)) {
        return Some(format!("{path}: {value} is not {}", schema["type"]));
    }
    let bound = |name| schema.get(name).and_then(Value::as_f64);
    let beyond = |number: &f64| {
        bound("minimum").is_some_and(|least| *number < least) || bound("maximum").is_some_and(|most| *number > most)
    };
    if let Some(number) = value.as_f64().filter(beyond) {
        return Some(format!("{path}: {number} is out of range"));
    }
    if let (Some(items), Some(elements)) = (schema.get("items"), value.as_array()) {
        return elements.iter().find_map(|element| within(root, items, element, &format!("{path}[]")));
    }
    let object = value.as_object()?;
    let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    if let Some(missing) = required.map(|name| name.as_str().unwrap()).find(|name| !object.contains_key(*name)) {
        return Some(format!("{path}: no {missing}"));
    }
    object.iter().find_map(|(key, value)| {
        let inner = schema.get("properties").and_then(|all| all.get(key));
        let inner = inner.or(schema.get("additionalProperties")).unwrap_or(&Value::Bool(true));
        within(root, inner, value, &format!("{path}.{key}"))
    })
}

fn schema() -> Value {
    serde_json::from_str(&keepone_config::json_schema()).unwrap()
}

fn json(toml: &str) -> Value {
    let table: toml::Table = toml.parse().unwrap();
    serde_json::to_value(table).unwrap()
}

#[test]
fn files_that_are_read_are_valid() {
    for name in ["balanced.toml", "cluster.toml"] {
        let text = std::fs::read_to_string(format!("tests/fixtures/{name}")).unwrap();
        assert_eq!(wrong(&schema(), &json(&text), name), None);
    }
}

#[test]
fn mistakes_are_found() {
    for (text, path) in [
        ("[[vrrp_instance]]\nname = \"A\"\nprioritty = 3\n", "prioritty"),
        ("[[vrrp_instance]]\npriority = 3\n", "no name"),
        ("[[vrrp_instance]]\nname = \"A\"\npriority = 300\n", "out of range"),
        ("[[vrrp_instance]]\nname = \"A\"\nstate = \"Master\"\n", "state"),
        ("[[virtual_server]]\naddress = \"192.0.2.1\"\nlvs_sched = \"fast\"\n", "lvs_sched"),
        ("net_namespace = \"blue\"\n", "refused"),
        ("[arbiter]\nlease = true\n", "lease"),
    ] {
        let said = wrong(&schema(), &json(text), "").unwrap_or_else(|| panic!("valid: {text}"));
        assert!(said.contains(path), "{said}");
    }
}

#[test]
fn every_key_has_a_description() {
    fn all(schema: &Value) {
        for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let ours = ["name", "members", "address", "port", "fwmark", "group"].contains(&name.as_str());
            assert!(ours || inner.get("description").is_some(), "{name}");
            all(inner);
        }
        schema.get("$defs").and_then(Value::as_object).into_iter().flatten().for_each(|(_, block)| all(block));
    }
    all(&schema());
}
