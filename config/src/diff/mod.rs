//! What changes from one configuration to another, in words.
//!
//! ```text
//! two models ── walk.rs ── value.rs (what both have is left out) ── compare.rs ── words.rs ── changes
//! ```
//!
//! It looks at the models' values and knows none of their types: a field that is new in the model is told by its
//! name. What a part is called, and what its change costs the running agent, stands in one table (`words`).
//!
//! What must stay true: two models that differ have a change, and those that don't have none; no secret is shown; the
//! time is about linear, 10 000 virtual servers included.

mod compare;
mod value;
mod walk;
mod words;

use std::fmt::Write as _;

use serde::Serialize;

use crate::model::Config;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// Where in the model: fields' names joined with dots, an element of a list as `[NAME]`.
    pub path: String,
    /// The value before, if there was one and it may be shown.
    pub from: Option<String>,
    /// The value after, if there is one and it may be shown.
    pub to: Option<String>,
    /// In words: `adds VIP 192.0.2.7/24 to VI_1`.
    pub text: String,
    /// The instance or sync group that ends and begins anew for it.
    pub restarts: Option<String>,
    /// Whether the whole agent does.
    pub restarts_agent: bool,
    /// What the operator has to know or do.
    pub hint: Option<String>,
}

/// All changes between two models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// In the order of the model.
    pub changes: Vec<Change>,
    /// Instances and sync groups that end and begin anew, each once.
    pub restarts: Vec<String>,
    /// Whether the whole agent does.
    pub restarts_agent: bool,
}

/// Compares two models.
pub fn diff(old: &Config, new: &Config) -> Difference {
    difference(compare::changes(old, new, &names(old), &names(new)))
}

fn difference(changes: Vec<Change>) -> Difference {
    let mut restarts = Vec::new();
    for name in changes.iter().filter_map(|change| change.restarts.as_ref()) {
        if !restarts.contains(name) {
            restarts.push(name.clone());
        }
    }
    let restarts_agent = changes.iter().any(|change| change.restarts_agent);
    Difference { changes, restarts, restarts_agent }
}

/// The names behind the places that other parts of the model refer to; see `words::PLACES`.
fn names(config: &Config) -> Vec<(&'static str, Vec<&str>)> {
    vec![("instances", config.instances.iter().map(|instance| instance.name.as_str()).collect())]
}

impl Difference {
    /// Whether nothing changes.
    pub fn is_none(&self) -> bool {
        self.changes.is_empty()
    }

    /// One line for each change, and one that says what begins anew.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for change in &self.changes {
            let hint = change.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            let _ = writeln!(text, "{}{hint}", change.text);
        }
        match self.restarts.as_slice() {
            _ if self.is_none() => text.push_str("changes nothing\n"),
            _ if self.restarts_agent => text.push_str("restarts the agent\n"),
            [] => text.push_str("restarts no instance\n"),
            names => {
                let _ = writeln!(text, "restarts {}; no other instance", names.join(", "));
            }
        }
        text
    }

    /// The same as JSON: `changes`, `restarts`, `restarts_agent`.
    pub fn json(&self) -> String {
        serde_json::to_string(self).unwrap_or_else(|_| String::from("{}"))
    }
}

#[cfg(test)]
mod tests;
