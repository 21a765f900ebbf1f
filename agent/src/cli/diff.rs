//! `keepone check --diff OLD NEW`: what a reload would change.

use std::path::Path;

use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_config::diff::diff;
use keepone_config::{Config, Diagnostic, to_json};

/// Compares two files; 0 if they mean the same.
pub(crate) fn run(old: &Path, new: &Path, json: bool) -> Result<u8, Failure> {
    // Both, so that all complaints come at once.
    let (old, new) = (load(old, json), load(new, json));
    let difference = diff(&old?, &new?);
    if json {
        println!("{}", difference.json());
    } else {
        print!("{}", difference.text());
    }
    Ok(if difference.is_none() { 0 } else { Code::Differs as u8 })
}

/// The remarks are `keepone check`'s to tell; with `json` so are the complaints, as an array for each wrong file.
fn load(file: &Path, json: bool) -> Result<Config, Failure> {
    let complaints: Vec<Diagnostic> = match keepone_config::load(file) {
        Ok((config, _)) => return Ok(config),
        Err(complaints) => complaints,
    };
    if json {
        println!("{}", to_json(&complaints));
        return Err(super::failure(file, &complaints));
    }
    Err(super::refused(file, &complaints))
}
