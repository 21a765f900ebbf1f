//! keepone's configuration: `keepalived.conf` and TOML into one typed model.
//!
//! ```text
//! keepalived.conf ── keepalived/ ──┐                                ┌── check/ ── model/
//!                                  ├── tree.rs ── lower/ ── raw.rs ─┤
//! TOML, KEEPONE_* ── native/ ──────┘    (keyword/ names each word)  └── every complaint at once
//! ```
//!
//! Both languages become the same statements, which one table of keywords and one reading turn into typed
//! values with their places; the checks then make the model, or say everything that is wrong with it.
//! Reading order: `tree.rs`, `keyword/`, `lower/vrrp.rs`, `check/`.
//!
//! What must stay true: no input panics; no error hides another; no password is ever shown.

mod check;
mod convert;
#[cfg(test)]
mod cost;
mod diagnostic;
pub mod diff;
mod explain;
mod help;
mod keepalived;
mod keyword;
mod lower;
mod manual;
mod mask;
pub mod model;
mod native;
mod raw;
mod schema;
mod source;
mod tree;

use std::path::Path;

pub use convert::{Language, convert, convert_text};
pub use diagnostic::{Diagnostic, Severity, render_all, to_json};
pub use explain::explain_timing;
pub use help::{KeywordEntry, KeywordStatus, UnknownKeyword, explain_keyword, keywords};
pub use keyword::nearest;
pub use manual::manual;
pub use model::Config;
pub use schema::json_schema;

use diagnostic::Report;
use keepalived::Parsing;

/// What comes from outside the file.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// `KEEPONE_` variables for TOML, any for `${_ENV NAME}` of a keepalived.conf.
    pub variables: Vec<(String, String)>,
    /// What `@id` lines of a keepalived.conf compare with.
    pub config_id: String,
}

impl Environment {
    /// The process's own environment, and the first label of the host's name as id.
    pub fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        let mut variables: Vec<_> = std::env::vars_os().filter_map(text).collect();
        variables.sort();
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let config_id = host.trim().split('.').next().unwrap_or_default().to_owned();
        Environment { variables, config_id }
    }

    fn parsing(&self) -> Parsing {
        Parsing { config_id: self.config_id.clone(), environment: self.variables.clone() }
    }
}

/// Reads a configuration with the process's environment: `.toml` is the native language, anything else
/// `keepalived.conf`.
///
/// On success the diagnostics are warnings and notes; on failure at least one is an error, and all are there.
pub fn load(path: &Path) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    load_with(path, &Environment::of_process())
}

/// Like [`load`], with the environment given.
pub fn load_with(path: &Path, environment: &Environment) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    match keepalived::read(path) {
        Ok(text) => load_text(path, &text, environment),
        Err(error) => Err(vec![unreadable(path, &error)]),
    }
}

/// The statements that a keepalived.conf stands for, one a line with its place: includes, conditions, definitions
/// and sequences resolved, passwords masked. What is wrong with them is for [`load_text`] to say.
///
/// The error says that there is too much of it.
pub fn statements(path: &Path, text: &str, environment: &Environment) -> Result<String, Vec<Diagnostic>> {
    let mut report = Report::default();
    let file = report.sources.add(path.display().to_string(), text);
    let items = keepalived::parse(&mut report, file, path, &environment.parsing());
    if report.is_cut_short() { Err(report.finish()) } else { Ok(keepalived::show(&report.sources, &items)) }
}

fn unreadable(path: &Path, error: &keepalived::ReadError) -> Diagnostic {
    let help = String::from("check the path and its permissions, or name another file with -c");
    Diagnostic::of_file(Severity::Error, &path.display().to_string(), format!("can't read it: {error}"), Some(help))
}

/// Like [`load_with`], with the main file's text given; `path` chooses the language, names the file in
/// diagnostics, and is what relative paths and includes are relative to.
pub fn load_text(
    path: &Path,
    text: &str,
    environment: &Environment,
) -> Result<(Config, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut report = Report::default();
    match read_text(&mut report, path, text, environment) {
        Some(config) => Ok((config, report.finish())),
        None => Err(report.finish()),
    }
}

/// Like [`load_with`], for whoever has no use for complaints: somebody else has shown them, and making them takes a look at
/// all of the text. `None`: the file can't be read, or is wrong.
pub fn load_silently(path: &Path, environment: &Environment) -> Option<Config> {
    let text = keepalived::read(path).ok()?;
    read_text(&mut Report::default(), path, &text, environment)
}

fn read_text(report: &mut Report, path: &Path, text: &str, environment: &Environment) -> Option<Config> {
    let file = report.sources.add(path.display().to_string(), text);
    let items = if path.extension().is_some_and(|extension| extension == "toml") {
        native::parse(report, text, &environment.variables)?
    } else {
        let items = keepalived::parse(report, file, path, &environment.parsing());
        (!report.is_cut_short()).then_some(items)?
    };
    let (raw, inactive) = lower::lower(report, &items);
    check::check(report, &raw, inactive).filter(|_| !report.has_errors())
}
