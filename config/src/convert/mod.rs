//! One language into the other: the statements of a file, written anew.
//!
//! It works on the statements and knows no meaning, so it carries every keyword, known or not. Includes, definitions
//! and conditions are resolved by then; comments are found by a pass of their own (`comment`) and bound to the
//! statements that they stand above or behind (`annotate`).
//!
//! What must stay true: what is written reads as the same statements. It is read back and compared before anybody
//! gets it.

mod annotate;
mod comment;
mod conf;
mod same;
mod shape;
mod toml;

use std::path::{Path, PathBuf};

use crate::Environment;
use crate::diagnostic::{Diagnostic, Report, Severity};
use crate::keepalived;
use crate::native;
use crate::source::{Place, Sources};
use crate::tree::{Item, Word};

/// The two languages of a configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// keepalived.conf.
    Conf,
    /// The native one.
    Toml,
}

impl Language {
    /// As the file's name says: `.toml` is the native one, anything else keepalived.conf.
    pub fn of(path: &Path) -> Self {
        if path.extension().is_some_and(|extension| extension == "toml") { Language::Toml } else { Language::Conf }
    }

    fn name(self) -> &'static str {
        match self {
            Language::Conf => "keepalived.conf",
            Language::Toml => "TOML",
        }
    }
}

/// Keywords whose first word is a path, relative to the file that names it; each with its block, or none where the
/// keyword is the same in every block.
const PATHS: [(&str, &str); 23] = [
    ("", "bpf_dir"),
    ("", "event_fifo"),
    ("", "key_file"),
    ("", "password_file"),
    ("", "ca_file"),
    ("", "cert_file"),
    ("", "cert_key_file"),
    ("", "token_file"),
    ("", "lvs_notify_fifo"),
    ("", "notify_fifo"),
    ("", "reload_check_config"),
    ("", "run_dir"),
    ("", "secret_file"),
    ("", "smtp_ca_file"),
    ("", "smtp_password_file"),
    ("", "state_dir"),
    ("", "vrrp_notify_fifo"),
    ("", "watchdog"),
    ("SSL", "ca"),
    ("SSL", "certificate"),
    ("SSL", "key"),
    ("track_file", "file"),
    ("vrrp_track_file", "file"),
];

/// A configuration in the other language, or in the same one with everything resolved, and the remarks of the
/// reading.
///
/// `KEEPONE_` variables are left out: they override the result as they overrode the file.
///
/// # Errors
/// The file can't be read or its syntax is wrong: every complaint, each with its place. A keyword or value that only
/// `keepone check` would refuse is none.
pub fn convert(
    path: &Path,
    to: Language,
    environment: &Environment,
) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let name = path.display().to_string();
    match keepalived::read(path) {
        Ok(text) => convert_text(path, &text, to, environment),
        Err(error) => {
            let help = String::from("check the path and its permissions");
            Err(vec![Diagnostic::of_file(Severity::Error, &name, format!("can't read it: {error}"), Some(help))])
        }
    }
}

/// Like [`convert`], with the main file's text given.
///
/// # Errors
/// As for [`convert`].
pub fn convert_text(
    path: &Path,
    text: &str,
    to: Language,
    environment: &Environment,
) -> Result<(String, Vec<Diagnostic>), Vec<Diagnostic>> {
    let from = Language::of(path);
    let mut report = Report::default();
    let Some(mut items) = statements(&mut report, path, text, from, environment) else { return Err(report.finish()) };
    resolve_paths(&mut items, "", &report.sources, path);
    if to == Language::Conf {
        refuse_directives(&mut report, &items);
    }
    if report.has_errors() {
        return Err(report.finish());
    }
    let written = match write(&items, &report.sources, path, to, environment) {
        Ok(written) => written,
        Err(words) => {
            for word in words {
                let message = "this word can't stand in a keepalived.conf";
                let help = "take out the double quote, the end of line or the `${_NAME}` in it";
                report.error(&word.place, message, help);
            }
            return Err(report.finish());
        }
    };
    let mut again = Report::default();
    let back = statements(&mut again, Path::new(to.file()), &written, to, environment);
    if !back.is_some_and(|back| !again.has_errors() && same::are_same(&items, &back)) {
        let help = String::from("this is a mistake in keepone: please report it, with the file");
        let message = String::from("what would be written is read as something else");
        let file = path.display().to_string();
        return Err(vec![Diagnostic::of_file(Severity::Error, &file, message, Some(help))]);
    }
    Ok((written, report.finish()))
}

impl Language {
    fn file(self) -> &'static str {
        match self {
            Language::Conf => "converted.conf",
            Language::Toml => "converted.toml",
        }
    }
}

fn statements(
    report: &mut Report,
    path: &Path,
    text: &str,
    language: Language,
    environment: &Environment,
) -> Option<Vec<Item>> {
    let file = report.sources.add(path.display().to_string(), text);
    match language {
        Language::Toml => native::parse(report, text, &[]),
        Language::Conf => Some(keepalived::parse(report, file, path, &environment.parsing())),
    }
}

/// The text, or the words that the language can't carry.
fn write<'t>(
    items: &'t [Item],
    sources: &Sources,
    path: &Path,
    to: Language,
    environment: &Environment,
) -> Result<String, Vec<&'t Word>> {
    let from = Language::of(path);
    let mut out = format!("# Made by `keepone convert` of {} ({}).\n", one_line(path), from.name());
    if from == Language::Conf {
        let id = &environment.config_id;
        out.push_str("# Its includes, definitions and conditions are resolved");
        if !id.is_empty() && has_condition(sources) {
            out.push_str(&format!(" for the node {}", id.escape_default()));
        }
        out.push_str(".\n");
    }
    out.push_str("# Relative paths are relative to its directory: keep this file there.\n\n");
    let tree = annotate::annotate(items, sources, from);
    match to {
        Language::Conf => conf::write(&mut out, &tree)?,
        Language::Toml => toml::write(&mut out, &tree),
    }
    Ok(out)
}

/// Whether any line may hold for some nodes only.
fn has_condition(sources: &Sources) -> bool {
    texts(sources).iter().any(|text| text.lines().any(|line| line.trim_start().starts_with('@')))
}

/// Each text once, by the number of its source.
fn texts(sources: &Sources) -> Vec<&str> {
    let mut texts = Vec::new();
    for reading in 0.. {
        let Some(source) = sources.source(reading) else { break };
        // A text is first read under the next number.
        if let Some(found) = sources.get(reading).filter(|_| source == texts.len()) {
            texts.push(&*found.text);
        }
    }
    texts
}

fn one_line(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "?")
}

/// What an included file of another directory names becomes relative to the main file's.
fn resolve_paths(items: &mut [Item], parent: &str, sources: &Sources, main: &Path) {
    let home = main.parent().unwrap_or(Path::new(""));
    for item in items {
        let keyword = item.keyword.text.as_str();
        let is_path = PATHS.iter().any(|(block, path)| *path == keyword && (block.is_empty() || *block == parent));
        if let (true, Some(word)) = (is_path, item.words.first_mut())
            && let Place::Text { file, .. } = word.place
            && let Some(source) = sources.get(file)
            && !word.text.is_empty()
        {
            let directory = Path::new(&source.name).parent().unwrap_or(Path::new("")).to_owned();
            let below: PathBuf = directory.strip_prefix(home).map_or(directory.clone(), Path::to_owned);
            if below != Path::new("") {
                word.text = below.join(&word.text).display().to_string().into();
            }
        }
        if let Some(block) = &mut item.block {
            resolve_paths(block, &item.keyword.text, sources, main);
        }
    }
}

/// In a keepalived.conf these words would be directives, which no TOML file can mean.
fn refuse_directives(report: &mut Report, items: &[Item]) {
    for item in items {
        let keyword = item.keyword.text.as_str();
        let includes =
            keyword.strip_prefix("include").is_some_and(|checks| matches!(checks, "" | "r" | "m" | "w" | "b" | "a"));
        if includes || keyword.starts_with("~SEQ") || keyword.starts_with("~LST") {
            let message = format!("`{keyword}` is a directive of keepalived.conf, and no statement");
            report.error(&item.keyword.place, message, "remove it, or put in what it stands for");
        }
        refuse_directives(report, item.items());
    }
}

#[cfg(test)]
mod tests;
