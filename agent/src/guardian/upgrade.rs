//! The guardian's part of an upgrade in place: it sees the worker dead before it becomes the new program itself.
//!
//! By `exec` its PID stays, and what others know it by. Nothing but this leaves a gate open: a worker that ends without
//! having handed on is cleaned up after, as any.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};
use std::time::Duration;

use keepone_proto::time::Instant;

use super::child::{Worker, ask_to_stop};
use super::{End, Guardian};
use crate::clock;
use crate::life;
use crate::sysctl::Sysctls;
use crate::upgrade::{self, HAND_ON_FD, HANDED_FD, Outcome};
use crate::voice::say;

/// So long the new program may take to examine the configuration.
const EXAMINES: Duration = Duration::from_secs(30);
/// And the worker to say that it can't hand on.
const HANDS_ON: Duration = Duration::from_secs(4);
/// What a start takes where none was measured.
const START: Duration = Duration::from_millis(500);

/// How the examination ends of a configuration that is another one than that which runs, or is read otherwise.
pub(crate) const OTHER: u8 = 101;

/// Only this process knows until when.
const PROMISED: &str = "what was promised under `degrade` has not run out: ask again in a moment";

#[derive(Debug, Default)]
pub(super) struct Upgrade {
    /// What the program before this one has handed on, for the first worker.
    handed: Option<File>,
    /// The present worker is to go on with it: until it has ended.
    resumes: bool,
    /// By what the present worker may.
    memory: Option<File>,
    step: Step,
    /// From the start of a worker to its first word.
    took: Option<Duration>,
}

#[derive(Debug, Default)]
enum Step {
    #[default]
    Idle,
    /// The new program examines the configuration.
    Examined(Child, Instant),
    /// The worker is to hand on and end.
    HandsOn(Instant),
    /// The worker gives everything up, and ends.
    Ends,
}

impl Upgrade {
    /// With what the program before this one has handed on, if it has.
    pub(super) fn of_process() -> Self {
        Upgrade { handed: upgrade::inherited(HANDED_FD), ..Upgrade::default() }
    }

    /// What a worker is given; to be dropped once it has it.
    pub(super) fn pass(&mut self, command: &mut Command) -> Vec<File> {
        let handed = self.handed.take();
        self.resumes = handed.is_some();
        // Where there is none, nothing is handed on: the worker says so when it is asked.
        let theirs = upgrade::memory().ok();
        self.memory = theirs.as_ref().and_then(|file| file.try_clone().ok());
        let of = |name: &str, file: &Option<File>, command: &mut Command| match file {
            Some(file) if upgrade::inherit(file, true).is_ok() => {
                command.env(name, file.as_raw_fd().to_string());
            }
            Some(_) | None => {
                command.env_remove(name);
            }
        };
        of(HANDED_FD, &handed, command);
        of(HAND_ON_FD, &theirs, command);
        handed.into_iter().chain(theirs).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        matches!(self.step, Step::Idle)
    }

    /// Whether the worker is on its way to its end for it: with everything given up, or handed on.
    pub(super) fn ends(&self) -> bool {
        match self.step {
            Step::Ends => true,
            Step::HandsOn(_) => self.memory.as_ref().is_some_and(upgrade::is_sealed),
            Step::Idle | Step::Examined(..) => false,
        }
    }

    /// What has to be left of the lease when the worker hands on: one and a half times what the last start took.
    fn needed(&self) -> Duration {
        self.took.unwrap_or(START) * 3 / 2 + upgrade::TO_RENEW
    }
}

impl Guardian {
    /// Whether the first worker goes on with what the program before this one held.
    pub(super) fn goes_on(&mut self) -> bool {
        let Some(file) = &self.upgrade.handed else { return false };
        let place = upgrade::place(self.reload.running());
        let plan = crate::assemble::Plan::new(self.reload.running());
        let checked = upgrade::read(file).ok_or(keepone_proto::handed::NotResumed::Form);
        let checked =
            checked.and_then(|(handed, _)| handed.check(&plan.settings, &place, upgrade::TO_RENEW, clock::now()));
        if let Err(why) = checked {
            say(format_args!("upgrade: not in place, the start is an ordinary one: {why}"));
            upgrade::tell(&self.run_dir, Outcome::Restarted, &why.to_string());
            self.upgrade.handed = None;
            return false;
        }
        true
    }

    /// The next step of an upgrade.
    pub(super) fn upgrade(&mut self, worker: &mut Worker, stop_by: &mut Option<Instant>) {
        if worker.alive && self.upgrade.took.is_none() {
            self.upgrade.took = Some(worker.heard_at.since(worker.started_at));
        }
        let asked = std::mem::take(&mut worker.upgrade);
        let now = clock::now();
        self.upgrade.step = match std::mem::take(&mut self.upgrade.step) {
            Step::Idle if asked && (self.stopping || !self.reload.is_idle()) => {
                self.refuse("a reload or a stop is under way: ask again after it")
            }
            Step::Idle if asked && !self.promised.left(now).is_zero() => self.refuse(PROMISED),
            Step::Idle if asked => self.examine(),
            Step::Examined(mut child, until) => match child.try_wait() {
                Ok(Some(status)) if status.success() => {
                    worker.order_to_hand_on(self.upgrade.needed());
                    Step::HandsOn(now + HANDS_ON)
                }
                Ok(Some(status)) if status.code() == Some(i32::from(OTHER)) => {
                    let why =
                        "the configuration is another than the one that runs, or is read otherwise by this version";
                    self.end_for_it(worker, stop_by, why)
                }
                Ok(None) if now < until => Step::Examined(child, until),
                Ok(_) | Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    self.refuse("the new program does not take the configuration: its complaints are in the log")
                }
            },
            // It has told why.
            Step::HandsOn(_) if std::mem::take(&mut worker.stays) => {
                ask_to_stop(worker, stop_by);
                Step::Ends
            }
            Step::HandsOn(until) if now >= until => {
                self.end_for_it(worker, stop_by, "the worker did not hand on in time")
            }
            other => other,
        };
    }

    /// The program as it is on the disk by now looks at the configuration: what it would not run with is kept.
    fn examine(&mut self) -> Step {
        let place = upgrade::place(self.reload.running());
        let mark: String = place.mark.iter().map(|octet| format!("{octet:02x}")).collect();
        let mut examiner = Command::new(&self.program);
        examiner.arg("examine").arg("-c").arg(&self.file).arg("--config-id").arg(self.reload.config_id());
        examiner.arg("--mark").arg(mark);
        match examiner.spawn() {
            Ok(child) => Step::Examined(child, clock::now() + EXAMINES),
            Err(error) => self.refuse(&format!("{} can't be run: {error}", self.program.display())),
        }
    }

    /// Nothing changes.
    fn refuse(&self, why: &str) -> Step {
        say(format_args!("no upgrade, everything goes on: {why}"));
        upgrade::tell(&self.run_dir, Outcome::Refused, why);
        Step::Idle
    }

    /// An ordinary restart, by a handover.
    fn end_for_it(&self, worker: &Worker, stop_by: &mut Option<Instant>, why: &str) -> Step {
        say(format_args!("upgrade: not in place, everything is given up in good order first: {why}"));
        upgrade::tell(&self.run_dir, Outcome::Restarted, why);
        ask_to_stop(worker, stop_by);
        Step::Ends
    }

    /// The worker has ended. If that was for an upgrade this process becomes the new program; where it returns, it could
    /// not, and what was left is to be cleaned up. Whether it was.
    pub(super) fn is_replaced(&mut self, end: &End) -> bool {
        let step = std::mem::take(&mut self.upgrade.step);
        let resumed = std::mem::take(&mut self.upgrade.resumes);
        let good = matches!(end, End::Exited(status) if status.success());
        let memory = self.upgrade.memory.take();
        let handed = memory.filter(|file| good && upgrade::is_sealed(file));
        match (step, handed) {
            (Step::HandsOn(_), Some(memory)) if !self.stopping => self.replace(Some(memory)),
            (Step::Ends, _) if !self.stopping => {
                self.clean_up();
                self.replace(None);
            }
            // Nobody goes on with it.
            (_, Some(_)) => {
                self.clean_up();
                self.tell_unless_told(Outcome::Restarted, "the agent was stopped meanwhile");
                return false;
            }
            (Step::Examined(mut child, _), None) => {
                let _ = child.kill();
                let _ = child.wait();
                self.tell_unless_told(Outcome::Refused, "the worker has ended by itself meanwhile: ask again");
                return false;
            }
            (Step::Idle, None) => {
                if resumed {
                    let why = "the worker that was to go on has ended, and another one starts: the log says why";
                    self.tell_unless_told(Outcome::Restarted, why);
                }
                return false;
            }
            (Step::HandsOn(_) | Step::Ends, None) => {
                self.tell_unless_told(Outcome::Restarted, "the worker has ended without handing anything on");
                return false;
            }
        }
        true
    }

    /// Whoever waits for it must not wait in vain; what was said of this upgrade already is better.
    fn tell_unless_told(&self, how: Outcome, why: &str) {
        if !upgrade::outcome(&self.run_dir).exists() {
            upgrade::tell(&self.run_dir, how, why);
        }
    }

    /// `exec`.
    fn replace(&mut self, handed: Option<File>) {
        self.feed();
        if handed.is_none() {
            // The new program would not know of it, and its worker claim under it (I13).
            if !self.promised.left(clock::now()).is_zero() {
                say(format_args!("upgrade: the program that runs goes on: {PROMISED}"));
                return upgrade::tell(
                    &self.run_dir,
                    Outcome::Restarted,
                    &format!("by the program that ran: {PROMISED}"),
                );
            }
            // As at the end of any guardian.
            self.statics.remove_statics(super::FEED);
            Sysctls::new(&self.run_dir).restore().iter().for_each(|words| say(format_args!("{words}")));
            life::shutdown(&self.reload.running().global);
        }
        let mut next = Command::new(&self.program);
        next.args(std::env::args_os().skip(1));
        match &handed {
            Some(file) if upgrade::inherit(file, true).is_ok() => {
                next.env(HANDED_FD, file.as_raw_fd().to_string());
            }
            Some(_) | None => {
                next.env_remove(HANDED_FD);
            }
        }
        let error = next.exec();
        say(format_args!("upgrade: {} can't be run, the program that runs goes on: {error}", self.program.display()));
        upgrade::tell(
            &self.run_dir,
            Outcome::Restarted,
            &format!("by the program that ran, since the new one can't be run: {error}"),
        );
    }
}
