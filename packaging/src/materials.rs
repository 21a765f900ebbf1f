//! What the programs are built from, by `cargo metadata` for what is linked on Linux: whether we may ship it, and a list of it.
//!
//! What must stay true: a crate under a licence that nobody has read, or from anywhere but the registry, is an error.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// A crate that is linked into a program, or runs at its build.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Material {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// In SPDX's words; empty if it says none.
    pub licence: String,
    /// Where it comes from; `None` for a crate of ours.
    pub source: Option<String>,
    /// Where its source is.
    pub repository: Option<String>,
    /// cargo's name of the package.
    id: String,
    /// cargo's names of what it is built from.
    needs: BTreeSet<String>,
}

/// What may be linked and from where: `.deny.toml`, of which cargo-deny reads the same tables.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Policy {
    allowed: BTreeSet<String>,
    registries: BTreeSet<String>,
    banned: BTreeSet<String>,
}

/// Reads the policy.
///
/// # Errors
/// No TOML, or a table or list that is missing.
pub fn policy(text: &str) -> Result<Policy, String> {
    let table: toml::Table = text.parse().map_err(|error| format!(".deny.toml: {error}"))?;
    let list = |section: &str, key: &str| {
        let found = table.get(section).and_then(|section| section.get(key)).and_then(toml::Value::as_array);
        found.ok_or_else(|| format!(".deny.toml has no {key} in [{section}]"))
    };
    let words = |list: &Vec<toml::Value>| list.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect();
    let banned = list("bans", "deny")?.iter().filter_map(|entry| {
        let name = entry.as_str().or_else(|| entry.get("crate").and_then(toml::Value::as_str));
        name.map(str::to_owned)
    });
    Ok(Policy {
        allowed: words(list("licenses", "allow")?),
        registries: words(list("sources", "allow-registry")?),
        banned: banned.collect(),
    })
}

/// What the packages `roots` are built from, themselves included, without what only their tests need.
///
/// # Errors
/// The text is not what `cargo metadata --format-version 1` prints, or a root is not in it.
pub fn materials(metadata: &str, roots: &[&str]) -> Result<Vec<Material>, String> {
    let all: Value = serde_json::from_str(metadata).map_err(|error| format!("cargo metadata: {error}"))?;
    let packages: BTreeMap<String, Value> =
        list(&all, "packages").into_iter().map(|package| (text(&package, "id"), package)).collect();
    let needs: BTreeMap<String, BTreeSet<String>> = list(all.get("resolve").unwrap_or(&Value::Null), "nodes")
        .iter()
        .map(|node| {
            let linked = list(node, "deps").into_iter().filter(|dependency| {
                let kinds = list(dependency, "dep_kinds");
                kinds.iter().any(|kind| kind.get("kind").and_then(Value::as_str) != Some("dev"))
                    && is_wanted(node, dependency, &packages)
            });
            (text(node, "id"), linked.map(|dependency| text(&dependency, "pkg")).collect())
        })
        .collect();
    let mut open: Vec<String> = Vec::new();
    for root in roots {
        let found = packages.iter().find(|(_, package)| package.get("name").and_then(Value::as_str) == Some(*root));
        open.push(found.map(|(id, _)| id.clone()).ok_or_else(|| format!("there is no package {root}"))?);
    }
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if seen.insert(id.clone()) {
            open.extend(needs.get(&id).into_iter().flatten().cloned());
        }
    }
    let material = |id: &String| {
        let package = packages.get(id)?;
        let some = |key: &str| Some(text(package, key)).filter(|text| !text.is_empty());
        Some(Material {
            name: text(package, "name"),
            version: text(package, "version"),
            licence: text(package, "license"),
            source: some("source"),
            repository: some("repository"),
            id: id.clone(),
            needs: needs.get(id).cloned().unwrap_or_default(),
        })
    };
    let mut found: Vec<Material> = seen.iter().filter_map(material).collect();
    found.sort();
    Ok(found)
}

fn list(value: &Value, key: &str) -> Vec<Value> {
    value.get(key).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Whether a feature that is on wants this dependency, or it is none that has to be wanted: cargo also lists one that only
/// `name?/feature` speaks of, which is built only if something else wants it.
fn is_wanted(node: &Value, dependency: &Value, packages: &BTreeMap<String, Value>) -> bool {
    let Some(package) = packages.get(&text(node, "id")) else { return true };
    let Some(of) = packages.get(&text(dependency, "pkg")).map(|package| text(package, "name")) else { return true };
    let declared: Vec<Value> =
        list(package, "dependencies").into_iter().filter(|declared| text(declared, "name") == of).collect();
    if !declared.iter().all(|declared| declared.get("optional") == Some(&Value::Bool(true))) || declared.is_empty() {
        return true;
    }
    let features = package.get("features").unwrap_or(&Value::Null);
    let on = list(node, "features");
    let words: Vec<String> = on
        .iter()
        .filter_map(Value::as_str)
        .flat_map(|feature| list(features, feature))
        .filter_map(|word| word.as_str().map(str::to_owned))
        .collect();
    declared.iter().any(|declared| {
        let name = Some(text(declared, "rename")).filter(|name| !name.is_empty()).unwrap_or_else(|| of.clone());
        words.iter().any(|word| word.strip_prefix("dep:") == Some(&name) || word.starts_with(&format!("{name}/")))
    })
}

/// What is against the policy, a line each.
pub fn complaints(materials: &[Material], policy: &Policy) -> Vec<String> {
    let mut wrong = Vec::new();
    for Material { name, version, licence, source, .. } in materials {
        if !is_allowed(licence, &policy.allowed) {
            wrong.push(format!("{name} {version}: licence {licence:?} is not allowed by .deny.toml: read it first"));
        }
        let from = source.as_deref().map(|source| source.trim_start_matches("registry+"));
        if let Some(from) = from.filter(|from| !policy.registries.contains(*from)) {
            wrong.push(format!("{name} {version} comes from {from}, which .deny.toml does not allow"));
        }
        if policy.banned.contains(name) {
            wrong.push(format!("{name} {version} is banned by .deny.toml"));
        }
    }
    wrong
}

/// Whether an SPDX expression can be met with what is allowed. Parentheses bind, then AND, then OR; `/` is an old OR; an
/// exception (WITH) makes a licence of its own.
fn is_allowed(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let met = either(&mut rest, allowed);
    met == Some(true) && rest.is_empty()
}

fn either(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = both(rest, allowed)?;
    while let Some(("OR", after)) = rest.split_first().map(|(word, after)| (*word, after)) {
        *rest = after;
        met |= both(rest, allowed)?;
    }
    Some(met)
}

fn both(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let mut met = one(rest, allowed)?;
    while let Some(("AND", after)) = rest.split_first().map(|(word, after)| (*word, after)) {
        *rest = after;
        met &= one(rest, allowed)?;
    }
    Some(met)
}

fn one(rest: &mut &[&str], allowed: &BTreeSet<String>) -> Option<bool> {
    let (word, after) = rest.split_first()?;
    *rest = after;
    if *word == "(" {
        let met = either(rest, allowed)?;
        let (end, after) = rest.split_first()?;
        *rest = after;
        return (*end == ")").then_some(met);
    }
    if let [with, exception, after @ ..] = *rest
        && *with == "WITH"
    {
        *rest = after;
        return Some(allowed.contains(&format!("{word} WITH {exception}")));
    }
    Some(allowed.contains(*word))
}

/// The bill of materials: CycloneDX 1.5, as JSON. `timestamp` is ISO 8601.
pub fn bill(program: &str, materials: &[Material], timestamp: &str) -> Value {
    let reference = |material: &Material| format!("pkg:cargo/{}@{}", material.name, material.version);
    let names: BTreeMap<&str, String> =
        materials.iter().map(|material| (material.id.as_str(), reference(material))).collect();
    let component = |material: &Material| {
        let mut one = json!({
            "type": "library",
            "bom-ref": reference(material),
            "name": material.name,
            "version": material.version,
            "licenses": [{ "expression": material.licence.replace('/', " OR ") }],
            "purl": reference(material),
        });
        if let (Some(repository), Some(fields)) = (&material.repository, one.as_object_mut()) {
            fields.insert("externalReferences".into(), json!([{ "type": "vcs", "url": repository }]));
        }
        one
    };
    let dependencies = materials.iter().map(|material| {
        let on: Vec<&String> = material.needs.iter().filter_map(|id| names.get(id.as_str())).collect();
        json!({ "ref": reference(material), "dependsOn": on })
    });
    let (own, others): (Vec<&Material>, Vec<&Material>) = materials.iter().partition(|one| one.name == program);
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {
            "timestamp": timestamp,
            "component": own.first().map(|own| {
                let mut own = component(own);
                if let Some(fields) = own.as_object_mut() {
                    fields.insert("type".into(), "application".into());
                }
                own
            }),
        },
        "components": others.into_iter().map(component).collect::<Vec<_>>(),
        "dependencies": dependencies.collect::<Vec<_>>(),
    })
}

/// The licences as a page to read: what is under each.
pub fn report(materials: &[Material]) -> String {
    let mut by: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Material { name, version, licence, .. } in materials {
        by.entry(licence.replace('/', " OR ")).or_default().push(format!("{name} {version}"));
    }
    let parts = by.iter().map(|(licence, crates)| format!("{licence}\n    {}\n", crates.join("\n    ")));
    format!(
        "Licences of what is linked into this program, or was run to build it.\n\n{}",
        parts.collect::<Vec<_>>().join("\n")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "[licenses]\nallow = [\"MIT\", \"Apache-2.0\", \"Apache-2.0 WITH LLVM-exception\"]\n\
        [sources]\nallow-registry = [\"https://here\"]\n[bans]\ndeny = [{ crate = \"evil\" }]\n";

    #[test]
    fn an_expression_is_met_by_what_is_allowed_and_by_nothing_else() {
        let allowed = policy(POLICY).unwrap().allowed;
        for good in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR GPL-3.0) AND Apache-2.0",
            "MIT AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception OR GPL-3.0",
        ] {
            assert!(is_allowed(good, &allowed), "{good}");
        }
        for bad in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT", "MIT OR", "MIT GPL-3.0", "MIT WITH x", "GPL-3.0 OR (MIT AND x)"]
        {
            assert!(!is_allowed(bad, &allowed), "{bad}");
        }
    }

    fn metadata() -> String {
        let package = |name: &str, licence: &str, source: Option<&str>| json!({ "id": name, "name": name, "version": "1.0.0", "license": licence, "source": source });
        let needs = |id: &str, of: &[(&str, Option<&str>)]| {
            let deps = of.iter().map(|(pkg, kind)| json!({ "pkg": pkg, "dep_kinds": [{ "kind": kind }] }));
            json!({ "id": id, "deps": deps.collect::<Vec<_>>() })
        };
        json!({
            "packages": [package("ours", "MIT", None), package("good", "MIT", Some("registry+https://here")),
                package("evil", "GPL-3.0", Some("git+https://there")), package("tests-only", "GPL-3.0", None)],
            "resolve": { "nodes": [needs("ours", &[("good", None), ("tests-only", Some("dev"))]),
                needs("good", &[("evil", Some("build"))]), needs("evil", &[]), needs("tests-only", &[])] },
        })
        .to_string()
    }

    #[test]
    fn what_is_linked_is_judged_and_what_only_tests_need_is_not() {
        let found = materials(&metadata(), &["ours"]).unwrap();
        assert_eq!(found.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["evil", "good", "ours"]);
        let wrong = complaints(&found, &policy(POLICY).unwrap());
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong.iter().all(|line| line.starts_with("evil 1.0.0")), "{wrong:?}");
        assert!(materials(&metadata(), &["nobody"]).is_err() && materials("{", &[]).is_err());
    }

    #[test]
    fn what_only_a_weak_feature_speaks_of_is_not_linked() {
        let found = |features: &[&str], renamed: bool| {
            let mut all: Value = serde_json::from_str(&metadata()).unwrap();
            let rename = renamed.then_some("other");
            all["packages"][1]["dependencies"] = json!([{ "name": "evil", "rename": rename, "optional": true }]);
            all["packages"][1]["features"] =
                json!({ "weak": ["evil?/x"], "own": ["dep:evil"], "strong": ["evil/x"], "renamed": ["dep:other"] });
            all["resolve"]["nodes"][1]["features"] = json!(features);
            materials(&all.to_string(), &["ours"]).unwrap().iter().any(|one| one.name == "evil")
        };
        assert!(!found(&[], false) && !found(&["weak"], false) && !found(&["own"], true));
        assert!(found(&["weak", "own"], false) && found(&["strong"], false) && found(&["renamed"], true));
    }

    #[test]
    fn the_bill_names_each_part_once_and_what_it_needs() {
        let found = materials(&metadata(), &["ours"]).unwrap();
        let bill = bill("ours", &found, "2026-01-01T00:00:00Z");
        assert_eq!(bill["metadata"]["component"]["name"], "ours");
        assert_eq!(bill["components"].as_array().unwrap().len(), 2);
        assert_eq!(bill["dependencies"][1]["dependsOn"], json!(["pkg:cargo/evil@1.0.0"]));
        assert!(report(&found).contains("MIT\n    good 1.0.0\n    ours 1.0.0\n"), "{}", report(&found));
    }
}
