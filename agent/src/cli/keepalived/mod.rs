//! `keepone` called as keepalived is: flags, and no command.
//!
//! What must stay true: whoever replaces the program and keeps the unit file gets what he asked for, or is told what
//! he does not get.

mod flags;
mod parse;

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_config::{load_with, render_all};

use super::RunOptions;
use flags::{Does, FLAGS, Value, signals};
use parse::Wishes;

/// `--config-test`: the agent would not run with this file. keepalived's other codes, 5 and 6, say that it would run
/// with something else than what is written; keepone never does.
const WOULD_NOT_RUN: u8 = 4;

/// Whether the command line is keepalived's: the program is called so, or the first argument is a flag that no
/// command stands before.
pub(crate) fn is_meant(arguments: &[OsString]) -> bool {
    let (program, rest) = arguments.split_first().map_or((None, arguments), |(program, rest)| (Some(program), rest));
    if program.and_then(|program| Path::new(program).file_name()).is_some_and(|name| name == "keepalived") {
        return true;
    }
    match rest {
        [] => false,
        // keepone's own, with the words that everybody tries first.
        [only] if ["-h", "--help", "-V", "--version"].iter().any(|own| only == own) => false,
        [first, ..] => first.as_encoded_bytes().starts_with(b"-"),
    }
}

/// What a keepalived that runs was started with, as far as it matters to whoever takes its place.
#[derive(Debug, Clone)]
pub(crate) struct StartedWith {
    /// Its configuration.
    pub(crate) file: PathBuf,
    /// What `@` lines of it compare with; `None`: by default.
    pub(crate) config_id: Option<String>,
    /// What keepone would refuse to be started with.
    pub(crate) refused: Vec<String>,
    /// That, and what it would pass over.
    pub(crate) lost: Vec<String>,
}

impl StartedWith {
    /// By its arguments, behind the program's name.
    pub(crate) fn line(arguments: &[OsString]) -> Self {
        let (Wishes { file, config_id, notes, .. }, refused) = parse::read(arguments);
        StartedWith { file, config_id, lost: [&refused[..], &notes].concat(), refused }
    }
}

impl Default for StartedWith {
    fn default() -> Self {
        StartedWith::line(&[])
    }
}

/// Does what the flags ask for; the exit code.
pub(crate) fn run(arguments: &[OsString]) -> Result<u8, Failure> {
    let wishes = parse::parse(arguments).map_err(|errors| Failure::say(Code::Usage, errors.join("\nkeepone: ")))?;
    if wishes.help {
        return say(&help());
    }
    if wishes.version {
        return say(&format!("keepone {}\n", env!("CARGO_PKG_VERSION")));
    }
    if let Some(name) = &wishes.signum {
        return signum(name);
    }
    for note in &wishes.notes {
        eprintln!("keepone: note: {note}");
    }
    if let Some(mask) = wishes.umask {
        nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(mask));
    }
    if let Some(log) = &wishes.test {
        return test(&wishes, log.as_deref());
    }
    if wishes.dump {
        let config = super::load(&wishes.file, wishes.config_id.as_deref(), false)?;
        eprintln!("{config:#?}");
    }
    let log_to = wishes.log_to();
    super::run(
        &wishes.file,
        RunOptions {
            record: None,
            config_id: wishes.config_id,
            pid_file: wishes.pid,
            worker_pid_file: wishes.worker_pid,
            detail: wishes.detail,
            log_to,
        },
    )
}

fn say(text: &str) -> Result<u8, Failure> {
    let said = io::stdout().write_all(text.as_bytes());
    said.map(|()| 0)
        .map_err(|error| Failure::say(Code::Unexpected, format!("standard output can't be written: {error}")))
}

fn help() -> String {
    let mut text =
        String::from("Usage: keepone [FLAG...], as keepalived; `keepone help` shows keepone's own commands\n");
    for flag in FLAGS {
        let short = flag.short.map_or_else(|| String::from("    "), |short| format!("-{short}, "));
        let value = match flag.value {
            Value::No => String::new(),
            Value::Needed(what) => format!("={what}"),
            Value::Perhaps(what) => format!("[={what}]"),
        };
        let does = match flag.does {
            Does::File => "the configuration; /etc/keepalived/keepalived.conf by default",
            Does::Test => {
                "check the configuration and end: 0 it is good, 4 the agent would not run; to standard error, or FILE"
            }
            Does::ConfigId => "what `@` lines compare with; by default the first label of the host's name",
            Does::PidFile => "write the guardian's PID: whom to send signals",
            Does::WorkerPidFile => "write the worker's PID",
            Does::LogFile => "log to FILE instead of standard error",
            Does::Detail => "log in detail, as with KEEPONE_LOG=debug",
            Does::Dump => "print the configuration as it was understood",
            Does::Umask => "mask of the modes of files",
            Does::Facility => "log to syslog with this facility instead of standard error",
            Does::NoSyslog => "leave -S out",
            Does::Signum => "print the number of a signal: STOP, RELOAD, DATA, STATS, STATS_CLEAR, JSON",
            Does::Version => "print the version",
            Does::Help => "print this",
            Does::IsSo => "always so",
            Does::Nothing(instead) | Does::Refuses(instead) => instead,
        };
        text.push_str(&format!("  {short}--{}{value}\n          {does}\n", flag.long));
    }
    text.push_str("Signals, to the guardian:\n");
    for (name, number, does) in signals() {
        text.push_str(&format!("  {name} ({number}): {does}\n"));
    }
    text
}

fn signum(name: &str) -> Result<u8, Failure> {
    let known = signals();
    match known.iter().find(|(known, _, _)| *known == name) {
        Some((_, number, _)) => say(&format!("{number}\n")),
        None => {
            let known = known.map(|(name, _, _)| name).join(", ");
            Err(Failure::say(Code::Unexpected, format!("--signum: `{name}` is none of {known}")))
        }
    }
}

fn test(wishes: &Wishes, log: Option<&Path>) -> Result<u8, Failure> {
    let loaded = load_with(&wishes.file, &super::environment(wishes.config_id.as_deref()));
    let (code, diagnostics) = match loaded {
        Ok((_, remarks)) => (0, remarks),
        Err(complaints) => (WOULD_NOT_RUN, complaints),
    };
    let text = if diagnostics.is_empty() { String::new() } else { render_all(&diagnostics, false) };
    let Some(path) = log else {
        eprint!("{text}");
        return Ok(code);
    };
    let written = open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.map(|()| code).map_err(|error| {
        Failure::say(
            Code::Directory,
            format!("the log file {} can't be written: {error}: name another", path.display()),
        )
    })
}

/// A symbolic link is not followed: in a directory that others write it could lead anywhere.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).write(true).truncate(true).mode(0o640).custom_flags(libc::O_NOFOLLOW).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_line_without_a_command_is_keepaliveds() {
        let meant = |line: &str| is_meant(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        for line in ["keepone -n -l", "keepone --config-test -f x", "keepone -v", "keepone -V -n", "/x/keepalived"] {
            assert!(meant(line), "{line}");
        }
        for line in ["keepone", "keepone run -c x", "keepone -h", "keepone --help", "keepone -V", "keepone --version"] {
            assert!(!meant(line), "{line}");
        }
    }

    #[test]
    fn signals_have_keepaliveds_numbers() {
        let numbers = signals().map(|(name, number, _)| format!("{name}={number}")).join(" ");
        assert_eq!(numbers, "STOP=15 RELOAD=1 DATA=10 STATS=12 STATS_CLEAR=63 JSON=36");
    }

    #[test]
    fn every_flag_is_in_the_help() {
        let help = help();
        for flag in FLAGS {
            assert!(help.contains(&format!("--{}", flag.long)), "{}", flag.long);
        }
    }
}
