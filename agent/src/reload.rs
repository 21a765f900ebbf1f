//! A new configuration for a running agent (SIGHUP).
//!
//! Examined by a process of its own, then read for the guardian by a thread of its own. A wrong one is told of, and
//! changes nothing. A good one that means the same changes nothing either; any other the worker takes over in place
//! ([`crate::takeover`]), or gives everything up in good order for a new one that starts with it.
//!
//! Virtual servers are no business of the guardian's, and may be so many that reading them takes most of a reload
//! (`docs/decisions/0237-what-a-reload-reads.md`): where the examination finds all else unchanged, nothing is read for it.
//!
//! What must stay true: the running configuration goes on until the new one is known to be good; neither a slow disk nor
//! a huge file keeps the guardian from watching, or the watchdog from being fed.

use std::path::Path;
use std::process::{Child, Command};
use std::thread::JoinHandle;
use std::time::Duration;

use keepone_config::diff::digest_beside_servers;
use keepone_config::{Config, Environment};
use keepone_proto::time::Instant;

use crate::assemble::Plan;
use crate::clock;
use crate::takeover::{Answer, mark};
use crate::voice::say;

/// So long a file may take to be examined, on a disk that hangs too.
const PATIENCE: Duration = Duration::from_secs(60);

/// How an examination ends that finds a good file in which nothing but virtual servers may be another than in the one that
/// its guardian knows: an exit status, as that is what a process can say without anything that could fail.
pub(crate) const ALIKE: u8 = 100;

/// A configuration as the guardian has it.
#[derive(Debug)]
struct Known {
    /// Perhaps with the virtual servers of an earlier one.
    config: Config,
    /// [`digest_beside_servers`] of one with virtual servers.
    digest: Option<u64>,
}

impl Known {
    fn new(config: Config) -> Box<Self> {
        let digest = (!config.virtual_servers.is_empty()).then(|| digest_beside_servers(&config));
        Box::new(Known { config, digest })
    }
}

/// The reload in progress, if there is one.
#[derive(Debug)]
pub(crate) struct Reload {
    /// What runs.
    running: Box<Known>,
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
    Read(JoinHandle<Option<Box<Known>>>),
    /// The worker is to take it over, until then at most; `None`: for the guardian it is the one that runs.
    Ordered(Option<Box<Known>>, Instant),
    /// What is to run once the worker has ended.
    Due(Option<Box<Known>>),
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
        Reload { running: Known::new(running), environment, step: Step::Idle, again: false }
    }

    /// What runs; its virtual servers may be others by now.
    pub(crate) fn running(&self) -> &Config {
        &self.running.config
    }

    fn plan_of(&self, next: Option<&Known>) -> Plan {
        Plan::new(&next.unwrap_or(&self.running).config)
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
        let mut examiner = Command::new(program);
        examiner.arg("examine").arg("-c").arg(file).arg("--config-id").arg(id);
        if let Some(digest) = self.running.digest {
            examiner.arg("--known").arg(digest.to_string());
        }
        self.step = match examiner.spawn() {
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
        let former = std::mem::replace(&mut self.step, Step::Idle);
        let was_ordered = matches!(former, Step::Ordered(..));
        self.step = match former {
            Step::Examined(child, until) => self.look(child, until, file),
            Step::Read(thread) if thread.is_finished() => match thread.join() {
                Ok(Some(next)) => self.judge(next),
                Ok(None) | Err(_) => no_reload("the file changed while it was read: reload again"),
            },
            Step::Ordered(_, until) if clock::now() >= until => {
                no_reload(&format!("the worker did not say within {PATIENCE:?} whether it has taken it: reload again"))
            }
            other @ (Step::Idle | Step::Read(_) | Step::Ordered(..) | Step::Due(_)) => other,
        };
        if !was_ordered && matches!(self.step, Step::Ordered(..)) { Due::Order } else { Due::Nothing }
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
        let plan = self.plan_of(config.as_deref());
        match answer {
            Answer::Taken(taken) if taken == mark(&plan) => {
                config.into_iter().for_each(|next| self.running = next);
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
            Step::Ordered(next, _) => Some(self.plan_of(next.as_deref())),
            Step::Idle | Step::Examined(..) | Step::Read(_) | Step::Due(_) => None,
        }
    }

    /// How the examination stands.
    fn look(&self, mut child: Child, until: Instant, file: &Path) -> Step {
        match child.try_wait() {
            Ok(Some(status)) if status.code() == Some(i32::from(ALIKE)) => Step::Ordered(None, clock::now() + PATIENCE),
            Ok(Some(status)) if status.success() => {
                let (file, environment) = (file.to_owned(), self.environment.clone());
                let read = move || keepone_config::load_silently(&file, &environment).map(Known::new);
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

    fn judge(&self, next: Box<Known>) -> Step {
        let (running, config) = (&self.running.config, &next.config);
        if is_same(running, config) {
            say(format_args!("reload: the configuration means the same, nothing is restarted"));
            return Step::Idle;
        }
        if let Some(what) = fixed(running, config) {
            return no_reload(&format!("the new {what} can't come with a reload: restart keepone"));
        }
        Step::Ordered(Some(next), clock::now() + PATIENCE)
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
                next.into_iter().for_each(|next| self.running = next);
                Some(self.plan_of(None))
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
    let is_same_there = running.virtual_servers == new.virtual_servers && running.server_groups == new.server_groups;
    // Where something stands that does nothing yet is of no account.
    is_same_there && running.beside_servers() == new.beside_servers()
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

    #[test]
    fn where_only_virtual_servers_may_be_others_the_worker_is_ordered_and_nothing_is_read() {
        let with = |weight: u32, text: &str| {
            let real = format!("real_server 10.0.0.1 80 {{\n weight {weight}\n }}\n");
            config(&format!("{text}virtual_server 192.0.2.9 80 {{\n protocol TCP\n {real}}}\n"))
        };
        let mut reload = Reload::new(with(1, TEXT), Environment::default());
        let known = reload.running.digest;
        assert!(known.is_some() && Known::new(config(TEXT)).digest.is_none());
        let other = TEXT.replace("virtual_router_id 1", "virtual_router_id 2");
        let ends = [with(2, TEXT), config(TEXT), with(1, &other)].map(|new| crate::examine::end(&new, known, None));
        assert_eq!((ends, crate::examine::end(&config(TEXT), None, None)), ([ALIKE, ALIKE, 0], 0));

        let end = format!("exit {ALIKE}");
        let child = Command::new("/bin/sh").arg("-c").arg(end).spawn().unwrap();
        reload.step = Step::Examined(child, clock::now() + PATIENCE);
        // There is no such file: whoever read it would refuse it.
        let nowhere = Path::new("/nowhere/at-all.conf");
        let due = (0..1000).map(|_| {
            std::thread::sleep(Duration::from_millis(10));
            reload.due(nowhere)
        });
        assert_eq!(due.into_iter().find(|due| *due != Due::Nothing), Some(Due::Order));
        assert_eq!(reload.due(nowhere), Due::Nothing, "it is ordered once");
        let plan = reload.ordered().unwrap();
        assert!(matches!(reload.answered(Answer::Taken(mark(&plan))), Some(Ok(_))) && reload.is_idle());

        // A worker that can't take it over ends, and the next one is looked after by what is known already.
        reload.step = Step::Ordered(None, clock::now() + PATIENCE);
        assert!(matches!(reload.answered(Answer::Restart), Some(Err(Due::End))) && reload.is_under_way());
        assert!(reload.turn().is_some() && reload.is_idle());
    }
}
