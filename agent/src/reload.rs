//! A new configuration for a running agent (SIGHUP).
//!
//! Examined by a process of its own, then read for the guardian by a thread of its own. A wrong one is told of, and
//! changes nothing. A good one that means the same changes nothing either; any other the worker takes over in place
//! ([`crate::takeover`]), or gives everything up in good order for a new one that starts with it.
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
use crate::takeover::{Answer, mark};
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
    /// SIGHUP has come while one was under way.
    again: bool,
}

#[derive(Debug)]
enum Step {
    Idle,
    /// A process examines the file, until then at most.
    Examined(Child, Instant),
    /// It was good a moment ago; a thread reads it. `None`: it is wrong now.
    Read(JoinHandle<Option<Config>>),
    /// The worker is to take it over, until then at most.
    Ordered(Box<Config>, Instant),
    /// What is to run once the worker has ended.
    Due(Box<Config>),
}

/// What the guardian has to do for a reload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Due {
    Nothing,
    /// The worker is to take the new configuration over.
    Order,
    /// It is to end.
    End,
}

impl Reload {
    pub(crate) fn new(running: Config, environment: Environment) -> Self {
        Reload { running: Box::new(running), environment, step: Step::Idle, again: false }
    }

    /// What runs.
    pub(crate) fn running(&self) -> &Config {
        &self.running
    }

    /// What `@` lines compare with.
    pub(crate) fn config_id(&self) -> &str {
        &self.environment.config_id
    }

    /// SIGHUP has come.
    pub(crate) fn begin(&mut self, program: &Path, file: &Path) {
        if !matches!(self.step, Step::Idle) {
            self.again = true;
            return say(format_args!("a reload is under way: another one follows it"));
        }
        self.again = false;
        let id = &self.environment.config_id;
        let examiner = Command::new(program).arg("examine").arg("-c").arg(file).arg("--config-id").arg(id).spawn();
        self.step = match examiner {
            Ok(child) => Step::Examined(child, clock::now() + PATIENCE),
            Err(error) => no_reload(&format!("no process for it: {error}: reload again")),
        };
    }

    /// Whether none is under way or to follow: then nothing is due.
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self.step, Step::Idle) && !self.again
    }

    /// Whether another one is to follow the one that has ended.
    pub(crate) fn is_wanted_again(&self) -> bool {
        self.again && matches!(self.step, Step::Idle)
    }

    /// What is to be done now. Never waits.
    pub(crate) fn due(&mut self, file: &Path) -> Due {
        self.step = match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Examined(child, until) => self.look(child, until, file),
            Step::Read(thread) if thread.is_finished() => match thread.join() {
                Ok(Some(config)) => match self.judge(config) {
                    Step::Ordered(config, until) => {
                        self.step = Step::Ordered(config, until);
                        return Due::Order;
                    }
                    other => other,
                },
                Ok(None) | Err(_) => no_reload("the file changed while it was read: reload again"),
            },
            Step::Ordered(_, until) if clock::now() >= until => {
                no_reload(&format!("the worker did not say within {PATIENCE:?} whether it has taken it: reload again"))
            }
            other @ (Step::Idle | Step::Read(_) | Step::Ordered(..) | Step::Due(_)) => other,
        };
        Due::Nothing
    }

    /// The worker has answered. What runs from now on, or that it is to end.
    pub(crate) fn answered(&mut self, answer: Answer) -> Option<Result<Plan, Due>> {
        let (config, _) = match std::mem::replace(&mut self.step, Step::Idle) {
            Step::Ordered(config, until) => (config, until),
            other => {
                self.step = other;
                return None;
            }
        };
        let plan = Plan::new(&config);
        match answer {
            Answer::Taken(taken) if taken == mark(&plan) => {
                self.running = config;
                Some(Ok(plan))
            }
            Answer::Taken(_) => {
                // What runs is known again once both have read the same.
                say(format_args!("the file changed while it was read: another reload follows"));
                self.again = true;
                None
            }
            Answer::Refused => None,
            Answer::Restart => {
                say(format_args!(
                    "reload: everything is given up in good order and taken up again with the new configuration"
                ));
                self.step = Step::Due(config);
                Some(Err(Due::End))
            }
        }
    }

    /// What is to run, if the worker takes it over.
    pub(crate) fn ordered(&self) -> Option<Plan> {
        match &self.step {
            Step::Ordered(config, _) => Some(Plan::new(config)),
            Step::Idle | Step::Examined(..) | Step::Read(_) | Step::Due(_) => None,
        }
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
        Step::Ordered(Box::new(config), clock::now() + PATIENCE)
    }

    /// Whether the worker ends for a reload.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.step, Step::Due(_))
    }

    /// The worker has ended: what runs from now on.
    pub(crate) fn turn(&mut self) -> Option<Plan> {
        match std::mem::replace(&mut self.step, Step::Idle) {
            // One that died over it reads the new one at its start.
            Step::Due(next) | Step::Ordered(next, _) => {
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
pub(crate) fn is_same(running: &Config, new: &Config) -> bool {
    // Where something stands that does nothing yet is of no account.
    let bare = |config: &Config| Config { inactive: Vec::new(), ..config.clone() };
    bare(running) == bare(new)
}

/// What the guardian has set up for its whole life and the new configuration has otherwise.
pub(crate) fn fixed(running: &Config, new: &Config) -> Option<&'static str> {
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
