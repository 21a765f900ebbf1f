//! keepalived's flags, read as getopt reads them.
//!
//! What must stay true: every mistake is told at once; a flag that would do something else than in keepalived is
//! never passed over in silence.

use std::ffi::OsString;
use std::path::PathBuf;

use keepone_agent::logging::To;
use keepone_agent::logging::sink::facility;
use keepone_config::nearest;

use super::flags::{Does, FLAGS, Flag, Value};

/// keepalived's own default.
const DEFAULT_FILE: &str = "/etc/keepalived/keepalived.conf";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wishes {
    pub file: PathBuf,
    /// `-t`: and perhaps where the diagnostics go.
    pub test: Option<Option<PathBuf>>,
    pub config_id: Option<String>,
    pub pid: Option<PathBuf>,
    pub worker_pid: Option<PathBuf>,
    pub log_file: Option<PathBuf>,
    /// `-S`: syslog's number of a facility.
    pub facility: Option<u8>,
    /// `-G`
    pub no_syslog: bool,
    pub detail: bool,
    pub dump: bool,
    pub umask: Option<u32>,
    pub signum: Option<String>,
    pub version: bool,
    pub help: bool,
    /// What is passed over, and what to do instead.
    pub notes: Vec<String>,
}

/// Reads the arguments behind the program's name.
///
/// # Errors
/// All that is wrong with them, one line each.
pub(super) fn parse(arguments: &[OsString]) -> Result<Wishes, Vec<String>> {
    let (wishes, errors) = read(arguments);
    if errors.is_empty() { Ok(wishes) } else { Err(errors) }
}

/// The same, with what is good beside all that is wrong.
pub(super) fn read(arguments: &[OsString]) -> (Wishes, Vec<String>) {
    let mut parser = Parser { wishes: Wishes::default(), errors: Vec::new(), rest: arguments.iter() };
    while let Some(argument) = parser.rest.next() {
        parser.argument(&argument.to_string_lossy());
    }
    (parser.wishes, parser.errors)
}

impl Wishes {
    /// Where the worker logs.
    pub fn log_to(&self) -> Option<To> {
        let syslog = || self.facility.filter(|_| !self.no_syslog).map(To::Syslog);
        self.log_file.clone().map(To::File).or_else(syslog)
    }
}

impl Default for Wishes {
    fn default() -> Self {
        Wishes {
            file: PathBuf::from(DEFAULT_FILE),
            test: None,
            config_id: None,
            pid: None,
            worker_pid: None,
            log_file: None,
            facility: None,
            no_syslog: false,
            detail: false,
            dump: false,
            umask: None,
            signum: None,
            version: false,
            help: false,
            notes: Vec::new(),
        }
    }
}

struct Parser<'a> {
    wishes: Wishes,
    errors: Vec<String>,
    rest: std::slice::Iter<'a, OsString>,
}

impl Parser<'_> {
    fn argument(&mut self, argument: &str) {
        if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (long, None),
            };
            match FLAGS.iter().find(|flag| flag.long == name) {
                Some(flag) => self.flag(flag, &format!("--{name}"), value),
                None => self.unknown(name),
            }
        } else if let Some(letters) = argument.strip_prefix('-').filter(|letters| !letters.is_empty()) {
            self.letters(letters);
        } else {
            self.errors.push(format!(
                "`{argument}` belongs to no flag: name the configuration with -f, or call `keepone run -c FILE`"
            ));
        }
    }

    /// `-nl`, `-f FILE`, `-fFILE`.
    fn letters(&mut self, letters: &str) {
        for (at, letter) in letters.char_indices() {
            let Some(flag) = FLAGS.iter().find(|flag| flag.short == Some(letter)) else {
                let help = "`keepone -h` lists them; `keepone help` lists keepone's own commands";
                self.errors.push(format!("unknown flag `-{letter}`: {help}"));
                return;
            };
            let behind = letters.get(at + letter.len_utf8()..).filter(|rest| !rest.is_empty());
            let shown = format!("-{letter}");
            if flag.value == Value::No {
                self.flag(flag, &shown, None);
            } else {
                return self.flag(flag, &shown, behind.map(str::to_owned));
            }
        }
    }

    fn unknown(&mut self, name: &str) {
        let near = nearest(name, FLAGS.iter().map(|flag| flag.long));
        let help = match near {
            Some(near) => format!("did you mean `--{near}`?"),
            None => String::from("`keepone -h` lists them; `keepone help` lists keepone's own commands"),
        };
        self.errors.push(format!("unknown flag `--{name}`: {help}"));
    }

    fn flag(&mut self, flag: &'static Flag, shown: &str, value: Option<String>) {
        let value = match (flag.value, value) {
            (Value::No, Some(_)) => {
                return self.errors.push(format!("`{shown}` takes no value: write `{shown}` alone"));
            }
            (Value::Needed(what), None) => match self.rest.next() {
                Some(next) => next.to_string_lossy().into_owned(),
                None => return self.errors.push(format!("`{shown}` wants a value: `{shown} {what}`")),
            },
            (_, value) => value.unwrap_or_default(),
        };
        if let Some(error) = self.take(flag.does, shown, value) {
            self.errors.push(error);
        }
    }

    fn take(&mut self, does: Does, shown: &str, value: String) -> Option<String> {
        let wishes = &mut self.wishes;
        match does {
            Does::File => wishes.file = value.into(),
            Does::Test => wishes.test = Some((!value.is_empty()).then(|| value.into())),
            Does::ConfigId => wishes.config_id = Some(value),
            Does::PidFile => wishes.pid = Some(value.into()),
            Does::WorkerPidFile => wishes.worker_pid = Some(value.into()),
            Does::LogFile if value.is_empty() => {
                return Some(format!("`{shown}` wants a file here, for one in /tmp could be anybody's: `-g FILE`"));
            }
            Does::LogFile => wishes.log_file = Some(value.into()),
            Does::Detail => wishes.detail = true,
            Does::Dump => wishes.dump = true,
            Does::Umask => match umask(&value) {
                Some(mask) => wishes.umask = Some(mask),
                None => return Some(format!("`{shown}`: `{value}` is not a mask of files' modes: write 027 or 0x17")),
            },
            Does::Facility => match facility(&value) {
                Some(number) => wishes.facility = Some(number),
                None => return Some(format!("`{shown}`: `{value}` is not 0 to 7, local0 to local7, user or daemon")),
            },
            Does::NoSyslog => wishes.no_syslog = true,
            Does::Signum => wishes.signum = Some(value),
            Does::Version => wishes.version = true,
            Does::Help => wishes.help = true,
            Does::IsSo => {}
            Does::Nothing(instead) => wishes.notes.push(format!("`{shown}` is passed over: {instead}")),
            Does::Refuses(instead) => return Some(format!("`{shown}` can't be had: {instead}")),
        }
        None
    }
}

/// As C writes numbers: 027, 0x17, 23.
fn umask(text: &str) -> Option<u32> {
    let mask = match (text.strip_prefix("0x"), text.strip_prefix('0')) {
        (Some(hex), _) => u32::from_str_radix(hex, 16),
        (None, Some(octal)) if !octal.is_empty() => u32::from_str_radix(octal, 8),
        _ => text.parse(),
    };
    mask.ok().filter(|mask| *mask <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Wishes, Vec<String>> {
        parse(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn flags_are_read_as_getopt_reads_them() {
        let expected = Wishes {
            file: "a.conf".into(),
            config_id: Some("n1".into()),
            pid: Some("/run/x".into()),
            worker_pid: Some("/run/y".into()),
            log_file: Some("log".into()),
            detail: true,
            dump: true,
            umask: Some(0o27),
            ..Wishes::default()
        };
        let short = ["-f", "a.conf", "-nlDd", "-in1", "-p/run/x", "-r", "/run/y", "-glog", "-u", "027", "-P"];
        assert_eq!(of(&short).as_ref(), Ok(&expected));
        let long = [
            "--use-file=a.conf",
            "--dont-fork",
            "--log-console",
            "--log-detail",
            "--dump-conf",
            "--config-id",
            "n1",
            "--pid",
            "/run/x",
            "--vrrp_pid=/run/y",
            "--log-file=log",
            "--umask=0x17",
            "--vrrp",
        ];
        assert_eq!(of(&long).as_ref(), Ok(&expected));
        assert_eq!(of(&[]).unwrap().file, PathBuf::from("/etc/keepalived/keepalived.conf"));
        // The value of `-t` stands behind `=` or the letter, never apart.
        assert_eq!(of(&["-tlog"]).unwrap().test, Some(Some("log".into())));
        assert_eq!(of(&["-t", "-n"]).unwrap().test, Some(None));
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_what_to_do() {
        let errors = of(&["--confg-test", "-Z", "-V", "-C", "--dont-fork=1", "x", "-S", "9", "-g", "-f"]).unwrap_err();
        for (error, expected) in errors.iter().zip([
            "unknown flag `--confg-test`: did you mean `--config-test`?",
            "unknown flag `-Z`: `keepone -h`",
            "`-V` can't be had: an address that stays after the stop would have two holders",
            "`-C` can't be had: keepone has no health checks without VRRP",
            "`--dont-fork` takes no value",
            "`x` belongs to no flag: name the configuration with -f",
            "`-S`: `9` is not 0 to 7",
            "`-g` wants a file here",
            "`-f` wants a value: `-f FILE`",
        ]) {
            assert!(error.starts_with(expected), "{error}\n{expected}");
        }
        assert_eq!(errors.len(), 9, "{errors:?}");
    }

    #[test]
    fn what_is_passed_over_is_said_with_what_to_do_instead() {
        let notes = of(&["-x", "-c", "/run/c"]).unwrap().notes;
        assert_eq!(notes.len(), 2);
        assert!(notes[0].contains("SNMP") && notes[1].contains("`-c`"));
    }

    #[test]
    fn logs_go_where_the_flags_say() {
        let to = |arguments: &[&str]| of(arguments).unwrap().log_to();
        assert_eq!(to(&["-n", "-l"]), None);
        assert_eq!(to(&["-S", "local3"]), Some(To::Syslog(19)));
        assert_eq!(to(&["-S", "3", "-G"]), None);
        assert_eq!(to(&["-S", "3", "-glog"]), Some(To::File("log".into())));
    }

    #[test]
    fn the_manual_names_every_flag() {
        let manual = std::fs::read_to_string("../docs/command-line.md").unwrap();
        for flag in FLAGS {
            let long = format!("`--{}", flag.long);
            let mut behind = manual.match_indices(&long).filter_map(|(at, _)| manual[at + long.len()..].chars().next());
            assert!(behind.any(|c| "`=[".contains(c)), "--{}", flag.long);
            assert!(flag.short.is_none_or(|short| manual.contains(&format!("`-{short}`, {long}"))), "{:?}", flag.short);
        }
    }

    #[test]
    fn no_flag_is_declared_twice() {
        for (at, flag) in FLAGS.iter().enumerate() {
            for other in &FLAGS[at + 1..] {
                assert_ne!(flag.long, other.long);
                assert!(flag.short.is_none() || flag.short != other.short, "{:?}", flag.short);
            }
        }
    }
}
