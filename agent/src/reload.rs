//! A new configuration for a running agent (SIGHUP).
//!
//! Examined by a process of its own, then read for the guardian by a thread of its own. A wrong one is told of, and
//! changes nothing. A good one that means the same changes nothing either; with any other the worker gives everything up
//! in good order, and a new one starts.
//!
//! What must stay true: the running configuration goes on until the new one is known to be good; neither a slow disk nor
//! a huge file keeps the guardian from watching, or the watchdog from being fed.

use std::path::Path;
use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::Duration;

use keepone_config::{Config, Environment};
use keepone_proto::time::Instant;

use crate::assemble::Plan;
use crate::clock;
use crate::voice::say;

/// So long a file may take to be examined, on a disk that hangs too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The reload in progress, if there is one.
#[derive(Debug)]
pub(crate) struct Reload {
    /// What runs.
    running: Box<Config>,
    environment: Environment,
    step: Step,
}

#[derive(Debug)]
enum Step {
    Idle,
    /// A process examines the file, until then at most.
    Examined(Child, Instant),
    /// It was good a moment ago; a thread reads it. `None`: it is wrong now.
    Read(JoinHandle<Option<Config>>),
    /// What is to run once the worker has ended.
    Due(Box<Config>),
}

impl Reload {
    pub(crate) fn new(running: Config, environment: Environment) -> Self {
        Reload { running: Box::new(running), environment, step: Step::Idle }
    }

    /// What `@` lines compare with.
    pub(crate) fn config_id(&self) -> &str {
        &self.environment.config_id
    }

    /// SIGHUP has come.
    pub(crate) fn begin(&mut self, program: &Path, file: &Path) {
        if !matches!(self.step, Step::Idle) {
            return say(format_args!("a reload is under way already"));
        }
        let id = &self.environment.config_id;
        let examiner = Command::new(program).arg("examine").arg("-c").arg(file).arg("--config-id").arg(id).spawn();
        self.step = match examiner {
            Ok(child) => Step::Examined(child, clock::now() + PATIENCE),
            Err(error) => no_reload(&format!("no process for it: {error}: reload again")),
        };
    }

    /// Whether the worker has to end now, since another configuration is to run. Never waits.
    pub(crate) fn is_due(&mut self, file: &Path) -> bool {
        self.step = match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Examined(child, until) => self.look(child, until, file),
            Step::Read(thread) if thread.is_finished() => match thread.join() {
                Ok(Some(config)) => self.judge(config),
                Ok(None) | Err(_) => no_reload("the file changed while it was read: reload again"),
            },
            other @ (Step::Idle | Step::Read(_)) => other,
            due @ Step::Due(_) => {
                self.step = due;
                return false;
            }
        };
        self.is_under_way()
    }

    /// How the examination stands.
    fn look(&self, mut child: Child, until: Instant, file: &Path) -> Step {
        match child.try_wait() {
            Ok(Some(status)) if status.success() => {
                let (file, environment) = (file.to_owned(), self.environment.clone());
                let read = move || keepone_config::load_with(&file, &environment).ok().map(|(config, _)| config);
                match std::thread::Builder::new().name("reload".into()).spawn(read) {
                    Ok(thread) => Step::Read(thread),
                    Err(error) => no_reload(&format!("no thread for it: {error}: reload again")),
                }
            }
            Ok(Some(_)) => no_reload("the new one is refused: correct it and reload again"),
            Ok(None) if clock::now() < until => Step::Examined(child, until),
            Ok(None) | Err(_) => {
                let _ = child.kill();
                let _ = child.wait();
                no_reload(&format!("the new one was not examined within {PATIENCE:?}: look at its file system"))
            }
        }
    }

    fn judge(&self, config: Config) -> Step {
        if is_same(&self.running, &config) {
            say(format_args!("reload: the configuration means the same, nothing is restarted"));
            return Step::Idle;
        }
        if let Some(what) = fixed(&self.running, &config) {
            return no_reload(&format!("the new {what} can't come with a reload: restart keepone"));
        }
        say(format_args!("reload: everything is given up in good order and taken up again with the new configuration"));
        Step::Due(Box::new(config))
    }

    /// Whether the worker ends for a reload.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.step, Step::Due(_))
    }

    /// The worker has ended: what runs from now on.
    pub(crate) fn turn(&mut self) -> Option<Plan> {
        match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Due(next) => {
                self.running = next;
                Some(Plan::new(&self.running))
            }
            other => {
                self.step = other;
                None
            }
        }
    }
}

fn no_reload(why: &str) -> Step {
    say(format_args!("no reload, the running configuration stays: {why}"));
    Step::Idle
}

/// Whether two configurations mean the same.
fn is_same(running: &Config, new: &Config) -> bool {
    // Where something stands that does nothing yet is of no account.
    let bare = |config: &Config| Config { inactive: Vec::new(), ..config.clone() };
    bare(running) == bare(new)
}

/// What the guardian has set up for its whole life and the new configuration has otherwise.
fn fixed(running: &Config, new: &Config) -> Option<&'static str> {
    let (old, new) = (Plan::new(running), Plan::new(new));
    if old.run_dir != new.run_dir {
        Some("run_dir")
    } else if old.bpf_dir != new.bpf_dir {
        Some("bpf_dir")
    } else if old.fencing.watchdog != new.fencing.watchdog {
        Some("watchdog")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        keepone_config::load_text(Path::new("t.conf"), text, &Environment::default()).unwrap().0
    }

    const TEXT: &str =
        "vrrp_instance A {\n interface lo\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n";

    #[test]
    fn where_something_stands_makes_no_other_configuration_and_a_password_does() {
        let later = format!("\n\nvirtual_server 192.0.2.1 80 {{\n}}\n{TEXT}");
        assert!(is_same(&config(&later), &config(&format!("\n{later}"))));
        let auth = |password: &str| {
            let block =
                format!("priority 9\n authentication {{\n auth_type PASS\n auth_pass {password}\n }}\n interface");
            config(&TEXT.replace("interface", &block))
        };
        assert!(is_same(&auth("a"), &auth("a")));
        assert!(!is_same(&auth("a"), &auth("b")));
    }

    #[test]
    fn a_watchdog_does_not_come_with_a_reload() {
        let with = format!("fencing {{\n watchdog /dev/watchdog\n}}\n{TEXT}");
        assert_eq!(fixed(&config(TEXT), &config(TEXT)), None);
        assert_eq!(fixed(&config(TEXT), &config(&with)), Some("watchdog"));
    }
}
