//! A new configuration for a running agent (SIGHUP).
//!
//! Read and examined by a process of its own, so that neither a slow disk nor a huge file keeps the guardian from
//! watching. A wrong one is told of, and changes nothing. A good one that means the same changes nothing either; with
//! any other the worker gives everything up in good order, and a new one starts.
//!
//! What must stay true: the running configuration goes on until the new one is known to be good.

use std::path::Path;
use std::process::{Child, Command};

use keepone_config::{Config, Environment};

use crate::assemble::Plan;
use crate::voice::say;

/// The reload in progress, if there is one.
#[derive(Debug)]
pub(crate) struct Reload {
    /// What runs.
    running: Box<Config>,
    environment: Environment,
    /// The process that examines the file.
    examiner: Option<Child>,
    /// What is to run once the worker has ended.
    next: Option<Box<Config>>,
}

impl Reload {
    pub(crate) fn new(running: Config, environment: Environment) -> Self {
        Reload { running: Box::new(running), environment, examiner: None, next: None }
    }

    /// What `@` lines compare with.
    pub(crate) fn config_id(&self) -> &str {
        &self.environment.config_id
    }

    /// SIGHUP has come.
    pub(crate) fn begin(&mut self, program: &Path, file: &Path) {
        if self.examiner.is_some() || self.next.is_some() {
            return say(format_args!("a reload is under way already"));
        }
        let id = &self.environment.config_id;
        let examiner = Command::new(program).arg("examine").arg("-c").arg(file).arg("--config-id").arg(id).spawn();
        match examiner {
            Ok(child) => self.examiner = Some(child),
            Err(error) => say(format_args!("no reload, the running configuration stays: no process for it: {error}")),
        }
    }

    /// Whether the worker has to end now, since another configuration is to run.
    pub(crate) fn is_due(&mut self, file: &Path) -> bool {
        let Some(examiner) = &mut self.examiner else { return false };
        let Ok(Some(status)) = examiner.try_wait() else { return false };
        self.examiner = None;
        if !status.success() {
            say(format_args!("the new configuration is refused, the running one stays: correct it and reload again"));
            return false;
        }
        // Good a moment ago; whoever writes it again right now is told so.
        let Ok((config, _)) = keepone_config::load_with(file, &self.environment) else {
            say(format_args!("the file changed while it was read, the running configuration stays: reload again"));
            return false;
        };
        if is_same(&self.running, &config) {
            say(format_args!("reload: the configuration means the same, nothing is restarted"));
            return false;
        }
        if let Some(what) = fixed(&self.running, &config) {
            say(format_args!(
                "the new {what} can't come with a reload, the running configuration stays: restart keepone"
            ));
            return false;
        }
        self.next = Some(Box::new(config));
        say(format_args!("reload: everything is given up in good order and taken up again with the new configuration"));
        true
    }

    /// Whether the worker ends for a reload.
    pub(crate) fn is_under_way(&self) -> bool {
        self.next.is_some()
    }

    /// The worker has ended: what runs from now on.
    pub(crate) fn turn(&mut self) -> Option<Plan> {
        self.running = self.next.take()?;
        Some(Plan::new(&self.running))
    }
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
