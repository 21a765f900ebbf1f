//! `keepone-packaging`: for `packaging/build` and `tests/run`, never packed itself.

use std::path::{Path, PathBuf};
use std::process::{Command as Process, ExitCode};

use clap::{Parser, Subcommand};
use keepone_packaging::materials::{Material, bill, complaints, materials, policy, report};

/// Checks and lists what keepone is built from.
#[derive(Parser)]
#[command(name = "keepone-packaging", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Ends with 1 if anything linked is against `.deny.toml`: licences, sources, bans.
    Deny,
    /// Prints the bill of materials of a package, CycloneDX as JSON.
    Bill {
        /// The package, such as `keepone-agent`.
        package: String,
        /// When it was made, ISO 8601.
        #[arg(long, default_value = "1970-01-01T00:00:00Z")]
        timestamp: String,
    },
    /// Prints the licences of what a package is built from.
    Licences {
        /// The package, such as `keepone-agent`.
        package: String,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(code) => code,
        Err(why) => {
            eprintln!("keepone-packaging: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> Result<ExitCode, String> {
    match command {
        Command::Deny => {
            let text =
                std::fs::read_to_string(root().join(".deny.toml")).map_err(|error| format!(".deny.toml: {error}"))?;
            let all = gather(&["keepone-agent", "keepone-arbiter", "keepone-chaos"])?;
            let wrong = complaints(&all, &policy(&text)?);
            wrong.iter().for_each(|line| eprintln!("{line}"));
            println!("{} crates, {} complaints", all.len(), wrong.len());
            return Ok(if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Command::Bill { package, timestamp } => {
            let bill = bill(&package, &gather(&[&package])?, &timestamp);
            println!("{}", serde_json::to_string_pretty(&bill).map_err(|error| error.to_string())?);
        }
        Command::Licences { package } => println!("{}", report(&gather(&[&package])?)),
    }
    Ok(ExitCode::SUCCESS)
}

/// This crate lies one below the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn gather(packages: &[&str]) -> Result<Vec<Material>, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Process::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform", "x86_64-unknown-linux-gnu"])
        .current_dir(root())
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    materials(&String::from_utf8_lossy(&output.stdout), packages)
}
