//! `keepone convert`: a configuration in the other language.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_config::Language;

/// What is to be written, and where.
#[derive(Args)]
pub(crate) struct Convert {
    /// The configuration: `.toml` is the native language, anything else keepalived.conf.
    file: PathBuf,
    /// The language of the result.
    #[arg(long, value_enum)]
    to: To,
    /// Write FILE, which only its owner can read, instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace FILE if it is there.
    #[arg(long, requires = "output")]
    force: bool,
    /// What `@` lines of a keepalived.conf compare with; by default the first label of the host's name.
    #[arg(short = 'i', long, value_name = "ID")]
    config_id: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum To {
    Toml,
    Conf,
}

/// Converts; says on standard error what was found on the way.
pub(crate) fn run(wish: &Convert) -> Result<u8, Failure> {
    let to = match wish.to {
        To::Toml => Language::Toml,
        To::Conf => Language::Conf,
    };
    let environment = super::environment(wish.config_id.as_deref());
    let text = match keepone_config::convert(&wish.file, to, &environment) {
        Ok((text, remarks)) => {
            super::show(&remarks);
            text
        }
        Err(complaints) => return Err(super::refused(&wish.file, &complaints)),
    };
    let Some(file) = &wish.output else {
        return match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => Ok(0),
            Err(error) => Err(Failure::say(Code::Unexpected, format!("standard output can't be written: {error}"))),
        };
    };
    if Language::of(file) != to {
        let wanted = if to == Language::Toml { "must end in .toml" } else { "must not end in .toml" };
        let words = format!("{} {wanted}: by its name the language is known", file.display());
        return Err(Failure::say(Code::Usage, words));
    }
    write(file, &text, wish.force).map(|()| 0).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            let words = format!("{} is there already: name another file, or add --force", file.display());
            Failure::say(Code::Usage, words)
        }
        _ => {
            let words = format!(
                "{} can't be written: {error}: make its directory writable, or name another file",
                file.display()
            );
            Failure::say(Code::Unexpected, words)
        }
    })
}

/// Whole or not at all. A configuration has passwords in it.
pub(super) fn write(path: &Path, text: &str, force: bool) -> io::Result<()> {
    if !force {
        let made = create(path)?;
        return fill(made, text).inspect_err(|_| drop(std::fs::remove_file(path)));
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let beside = path.with_file_name(name);
    let made = create(&beside)?;
    let done = fill(made, text).and_then(|()| std::fs::rename(&beside, path));
    done.inspect_err(|_| drop(std::fs::remove_file(&beside)))
}

fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

fn fill(mut file: File, text: &str) -> io::Result<()> {
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
