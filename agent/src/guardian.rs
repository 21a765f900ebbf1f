//! The guardian: a small parent that watches the worker (R16).
//!
//! When the worker dies or stops answering, the gate is shut and sealed, the addresses go, and a new worker
//! starts, whose first deeds are to release what the old one held. That is milliseconds instead of a lease;
//! the kernel's deadline is the backstop for when the guardian is gone, too.
//!
//! What must stay true: the worker is dead, not merely silent, before anything is given away in its name; and the
//! deeds come before the words, which may be lost and never wait (R15).
//! No threads, no runtime, hardly an allocation while it watches.

mod child;
mod manners;
mod pause;
mod promised;
mod upgrade;

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use keepone_arbiter::realtime::{self, Rank};
use keepone_config::{Config, Environment};
use keepone_proto::time::Instant;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::signalfd::{SfdFlags, SignalFd};

use child::{Worker, ask_for, ask_to_stop};
pub(crate) use manners::patience;
use manners::{backoff, signals, tell_of_gate};
use promised::Promised;
pub(crate) use upgrade::OTHER;
use upgrade::Upgrade;

use crate::assemble::Plan;
use crate::clock;
use crate::dump;
use crate::exit::{ExitCode, Failure};
use crate::fencing::watchdog::Watchdog;
use crate::gate::shut_all;
use crate::leftovers::Leftovers;
use crate::life::{self, Started};
use crate::logging::{LOG_TO, To};
use crate::pid_file::PidFile;
use crate::reload::{Due, Reload};
use crate::service_manager::{self, ServiceManager};
use crate::sysctl::Sysctls;
use crate::takeover;
use crate::tracking::{self, Watched};
use crate::voice::say;

/// A worker that needs longer to start is as good as hung.
const START: Duration = Duration::from_secs(10);
/// Between these is how long a worker that has started may be silent.
const SHORTEST_PATIENCE: Duration = Duration::from_millis(300);
/// See `SHORTEST_PATIENCE`.
const LONGEST_PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks at a worker that says nothing.
const LOOK: Duration = Duration::from_millis(500);
/// A guardian that wakes so much later than it asked for runs on a starved host.
const STARVED: Duration = Duration::from_millis(20);
/// How long an orderly stop may take.
const STOP: Duration = Duration::from_secs(10);
/// A life shorter than this counts as a failed start, and the next one waits.
const SHORT_LIFE: Duration = Duration::from_secs(10);
/// While the kernel keeps us waiting, the watchdog is fed so often.
const FEED: Duration = Duration::from_millis(100);
/// The longest wait before a new start.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Environment variable that names the worker's end of the pipe.
pub const PULSE_FD: &str = "KEEPONE_PULSE_FD";
/// And of the one through which it is told to reload: an octet each time.
pub const ORDERS_FD: &str = "KEEPONE_ORDERS_FD";
/// And of the one that says when the agent started, in nanoseconds of the boot clock.
pub const STARTED_AT: &str = "KEEPONE_STARTED_AT";
/// So long after a reload addresses that it has taken away are looked after still: longer than any that nobody renews.
const FORMER: Duration = Duration::from_secs(35);

/// What the worker's pulse says: one octet each.
pub(crate) mod pulse {
    /// The loop runs.
    pub(crate) const ALIVE: u8 = 1;
    /// It runs, and the node is harmless: the watchdog may be fed.
    pub(crate) const HARMLESS: u8 = 2;
    /// The loop has ended and nothing is held any more.
    pub(crate) const DONE: u8 = 3;
    /// A new configuration takes a new worker.
    pub(crate) const RESTART: u8 = 4;
    /// A new configuration is refused.
    pub(crate) const REFUSED: u8 = 5;
    /// The operator has asked for an upgrade.
    pub(crate) const UPGRADE: u8 = 6;
    /// The worker can't hand on what it holds.
    pub(crate) const STAYS: u8 = 7;
    /// A new configuration runs; the other seven bits are its mark.
    pub(crate) const TAKEN: u8 = 0x80;
}

/// What the guardian watches over.
#[derive(Debug)]
pub struct Guardian {
    /// What the worker runs: of this name, even if an upgrade has put another file there.
    pub(crate) program: PathBuf,
    /// The configuration file, for the worker.
    file: PathBuf,
    workers: Workers,
    worker_pid: Option<PidFile>,
    /// For what is counted from the agent's start, whichever worker it is.
    started_at: Instant,
    reload: Reload,
    pub(crate) bpf_dir: PathBuf,
    run_dir: PathBuf,
    leftovers: Leftovers,
    /// After a reload in place: until then what it has taken away is looked after as well; what there is without it, of
    /// the worker and of the agent.
    former_until: Option<(Instant, [Leftovers; 2])>,
    /// Static addresses, routes and rules, which outlive workers.
    statics: Leftovers,
    promised: Promised,
    /// Silence of a worker that runs.
    patience: Duration,
    signals: SignalFd,
    stopping: bool,
    watchdog_settings: Option<keepone_config::model::Watchdog>,
    watchdog: Option<Watchdog>,
    /// Files of it may be to be written at the start.
    watched: Vec<Watched>,
    manager: ServiceManager,
    upgrade: Upgrade,
}

/// How each worker is started.
#[derive(Debug, Default)]
pub struct Workers {
    /// Where it records what its core is told.
    pub record: Option<PathBuf>,
    /// Where its PID is written.
    pub pid_file: Option<PathBuf>,
    /// Whether it logs in detail, unless `KEEPONE_LOG` says something.
    pub detail: bool,
    /// Where it logs, if that is not for the environment to say.
    pub log_to: Option<To>,
}

/// How a worker ended.
enum End {
    Exited(ExitStatus),
    Hung,
    /// There was none.
    NotStarted(Failure),
}

impl Guardian {
    /// Takes over the signals of this process; call it before any thread exists.
    ///
    /// # Errors
    /// The kernel's answer.
    pub fn new(file: &Path, config: Config, environment: Environment, workers: Workers) -> io::Result<Self> {
        let plan = Plan::new(&config);
        let mask = signals();
        mask.thread_block()?;
        let signals = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
        Ok(Guardian {
            program: std::env::current_exe()?,
            file: file.to_owned(),
            workers,
            worker_pid: None,
            started_at: clock::now(),
            reload: Reload::new(config, environment),
            bpf_dir: plan.bpf_dir.clone(),
            run_dir: plan.run_dir.clone(),
            leftovers: Leftovers::of_worker(&plan),
            former_until: None,
            statics: Leftovers::of_agent(&plan),
            promised: Promised::new(&plan),
            patience: patience(&plan),
            signals,
            stopping: false,
            watchdog_settings: plan.fencing.watchdog.clone(),
            watchdog: None,
            watched: plan.watched,
            manager: ServiceManager::of_process(),
            upgrade: Upgrade::of_process(),
        })
    }

    /// Watches workers until it is told to stop; returns the exit code.
    ///
    /// # Errors
    /// No worker can be started at all.
    pub fn run(mut self) -> Result<u8, Failure> {
        let end = self.serve();
        self.manager.stops();
        self.statics.remove_statics(FEED);
        Sysctls::new(&self.run_dir).restore().iter().for_each(|words| say(format_args!("{words}")));
        life::shutdown(&self.reload.running().global);
        end
    }

    /// What comes before the first worker. Whether everything of a former run is shut and taken out, and whether that worker goes on
    /// with what the program before this one held; `None`: it was told to stop meanwhile.
    fn prepare(&mut self) -> Result<Option<(bool, bool)>, Failure> {
        if let Some(settings) = &self.watchdog_settings {
            let started = Watchdog::start(settings).map_err(|error| Failure::new(ExitCode::NoWatchdog, &error))?;
            self.watchdog = Some(started);
        }
        // What it does for a dead worker, peers wait for.
        realtime::lock_code();
        self.reload.running().global.scheduling.rt_priority.into_iter().for_each(realtime::set_priority);
        crate::script::trust::demand(self.reload.running().global.scripts.security);
        crate::script::identity::give_all_groups(self.reload.running().global.scripts.supplementary_groups);
        realtime::ask(Rank::Decides);
        // R12: whatever a former run left, before anything else; but for what this very one goes on with.
        let goes_on = self.goes_on();
        let clean = goes_on || self.shut_first();
        if !goes_on {
            if !self.startup(clean) {
                self.stop_watchdog(clean);
                return Ok(None);
            }
            // Here and not in the worker: one that is started anew must not undo what was written meanwhile.
            tracking::overwrite_files(&self.watched).iter().for_each(|error| say(format_args!("{error}")));
        }
        Ok(Some((clean, goes_on)))
    }

    fn serve(&mut self) -> Result<u8, Failure> {
        let Some((mut clean, goes_on)) = self.prepare()? else { return Ok(0) };
        let mut failures = 0_u32;
        let mut first = !goes_on;
        loop {
            let left = self.promised.left(clock::now());
            if !left.is_zero() && !self.pause("what was promised under `degrade` runs out first", left, clean) {
                self.stop_watchdog(clean);
                return Ok(0);
            }
            let (end, lived) = match self.start() {
                Ok(mut worker) => (self.watch(&mut worker), clock::now().since(worker.started_at)),
                Err(failure) if first => {
                    self.stop_watchdog(clean);
                    return Err(failure);
                }
                Err(failure) => (End::NotStarted(failure), Duration::ZERO),
            };
            first = false;
            if self.is_replaced(&end) {
                // It has not come to it.
                clean = self.clean_up();
                self.turn();
                continue;
            }
            if matches!(&end, End::Exited(status) if status.success()) && self.stopping {
                self.stop_watchdog(true);
                return Ok(0);
            }
            if !self.stopping && self.reload.is_under_way() {
                // Whatever the worker has left: what the new configuration does not name, nobody looks after any more.
                clean = self.clean_up();
                if !matches!(&end, End::Exited(status) if status.success()) {
                    self.tell(&end);
                }
                self.turn();
                failures = 0;
                continue;
            }
            clean = self.clean_up();
            self.turn();
            if let End::Exited(status) = &end
                && let Some(code) = status.code().filter(|code| ExitCode::is_for_the_operator(*code))
            {
                self.stop_watchdog(clean);
                return Ok(u8::try_from(code).unwrap_or(1));
            }
            self.tell(&end);
            if self.stopping {
                self.stop_watchdog(clean);
                return Ok(1);
            }
            failures = if lived < SHORT_LIFE { failures.saturating_add(1) } else { 0 };
            // At once the first time; a worker that keeps dying is given ever longer pauses.
            if failures > 1 && !self.pause("workers keep ending", backoff(failures), clean) {
                self.stop_watchdog(clean);
                return Ok(1);
            }
        }
    }

    /// The operator's script, before anything of ours; `false` if the guardian was told to stop meanwhile.
    fn startup(&mut self, harmless: bool) -> bool {
        let mut watchdog = self.watchdog.as_mut().filter(|_| harmless);
        let global = &self.reload.running().global;
        // Nothing is held yet.
        let manager = &mut self.manager;
        let feed = || {
            watchdog.iter_mut().for_each(|watchdog| watchdog.feed());
            manager.begins(clock::now());
        };
        let Started { goes_on, hangup } = life::startup(global, &self.signals, feed);
        if hangup {
            self.begin_reload();
        }
        goes_on
    }

    /// To the new configuration.
    fn turn(&mut self) {
        if let Some(plan) = self.reload.turn() {
            self.leftovers = Leftovers::of_worker(&plan);
            let statics = Leftovers::of_agent(&plan);
            let former = std::mem::replace(&mut self.statics, statics);
            former.without(&self.statics).remove_statics(FEED);
            self.promised.follow(&plan, clock::now());
            self.patience = patience(&plan);
            self.former_until = None;
        }
    }

    /// The reload's next step, and what follows from it.
    fn reload(&mut self, worker: &mut Worker, stop_by: &mut Option<Instant>) {
        if let Some((_, new)) = self.former_until.take_if(|(until, _)| clock::now() >= *until) {
            [self.leftovers, self.statics] = new;
        }
        if self.reload.is_wanted_again() {
            self.reload.begin(&self.program, &self.file);
        }
        let mut due = self.reload.due(&self.file);
        if due == Due::Order
            && let Some(plan) = self.reload.ordered()
        {
            // Before it may set them: what it dies over is taken out like all else.
            self.leftovers.add(Leftovers::of_worker(&plan));
            self.statics.add(Leftovers::of_agent(&plan));
            self.patience = self.patience.max(patience(&plan));
            worker.order();
        }
        if let Some(answer) = worker.answer.take() {
            match self.reload.answered(answer) {
                Some(Ok(plan)) => {
                    self.promised.follow(&plan, clock::now());
                    self.patience = patience(&plan);
                    let new = [Leftovers::of_worker(&plan), Leftovers::of_agent(&plan)];
                    self.former_until = Some((clock::now() + FORMER, new));
                }
                Some(Err(next)) => due = next,
                None => {}
            }
        }
        if due == Due::End && !self.stopping {
            ask_to_stop(worker, stop_by);
        }
    }

    fn begin_reload(&mut self) {
        self.manager.reloads();
        self.reload.begin(&self.program, &self.file);
    }

    /// The worker's loop runs.
    fn tell_manager(&mut self) {
        if self.reload.is_idle() {
            self.manager.serves();
        }
        self.manager.feed(clock::now());
    }

    fn tell(&mut self, end: &End) {
        self.manager.is_between_workers();
        match end {
            End::Exited(status) => {
                let how = status.signal().map_or_else(|| status.to_string(), |signal| format!("signal {signal}"));
                say(format_args!("the worker ended ({how}): the gate is shut, a new one starts"));
            }
            End::Hung => say(format_args!(
                "the worker did not answer for {:?} and was killed: the gate is shut, a new one starts",
                self.patience
            )),
            End::NotStarted(failure) => say(format_args!("{failure}; it is tried again")),
        }
    }

    /// The gate of a former run. Whether it is shut.
    fn shut_first(&self) -> bool {
        let shut = shut_all(&self.bpf_dir);
        tell_of_gate(&shut);
        shut.is_ok()
    }

    /// Gate first: one store stops all frames. The addresses then go for the operator's eyes, and for
    /// those who connect from this node. Whether the gate is shut.
    fn clean_up(&mut self) -> bool {
        let shut = shut_all(&self.bpf_dir);
        if shut.is_ok() {
            self.feed();
        }
        let (leftovers, watchdog) = (&self.leftovers, &mut self.watchdog);
        // The kernel may keep them waiting for seconds, of which a watchdog does not know.
        let removed = leftovers.remove(FEED, || {
            if let (Ok(_), Some(watchdog)) = (&shut, watchdog.as_mut()) {
                watchdog.feed();
            }
        });
        if let Some((_, [_, statics])) = &self.former_until {
            // An interface that it was to delete.
            self.statics.clone().without(statics).remove_statics(FEED);
        }
        tell_of_gate(&shut);
        if let Err(error) = removed {
            say(format_args!("what the worker left could not be removed, addresses go with their lifetime: {error}"));
        }
        if shut.is_ok() {
            self.feed();
        }
        shut.is_ok()
    }

    fn feed(&mut self) {
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.feed();
        }
    }

    /// At the end, in good order only if nothing is held: else the watchdog is left to do its work.
    fn stop_watchdog(&mut self, harmless: bool) {
        match self.watchdog.take() {
            Some(watchdog) if harmless => watchdog.stop(),
            Some(_) => say(format_args!("the gate is not shut: the watchdog is left running and resets the machine")),
            None => {}
        }
    }

    fn start(&mut self) -> Result<Worker, Failure> {
        let fail = |what: &str, error: io::Error| {
            Failure::say(ExitCode::Unexpected, format!("no worker can be started: {what}: {error}"))
        };
        // The worker inherits one end; ours is not inherited.
        let (ours, theirs) = nix::unistd::pipe().map_err(|error| fail("pipe", error.into()))?;
        takeover::keep(&ours).map_err(|error| fail("pipe", error))?;
        let (their_orders, orders) = nix::unistd::pipe().map_err(|error| fail("pipe", error.into()))?;
        takeover::keep(&orders).map_err(|error| fail("pipe", error))?;
        let recording = self.workers.record.iter().flat_map(|file| ["--record".as_ref(), file.as_os_str()]);
        let detail = self.workers.detail && std::env::var_os("KEEPONE_LOG").is_none();
        let detail = detail.then_some(("KEEPONE_LOG", "debug"));
        let mut command = Command::new(&self.program);
        command
            .arg("worker")
            .arg("-c")
            .arg(&self.file)
            .arg("--config-id")
            .arg(self.reload.config_id())
            .args(recording)
            .envs(detail)
            .envs(self.workers.log_to.as_ref().map(|to| (LOG_TO, to.words())))
            .env_remove(service_manager::SOCKET)
            .env_remove(service_manager::WATCHDOG)
            .env(PULSE_FD, theirs.as_raw_fd().to_string())
            .env(ORDERS_FD, their_orders.as_raw_fd().to_string())
            .env(STARTED_AT, self.started_at.as_nanos().to_string());
        let passed = self.upgrade.pass(&mut command);
        let child = command.spawn().map_err(|error| fail("fork", error))?;
        drop((theirs, their_orders, passed));
        if let Some(path) = &self.workers.pid_file {
            match PidFile::write(path, child.id()) {
                Ok(file) => self.worker_pid = Some(file),
                Err(error) => say(format_args!(
                    "the PID file {} can't be written: {error}: make its directory, or name another file",
                    path.display()
                )),
            }
        }
        let now = clock::now();
        Ok(Worker {
            child,
            pulse: File::from(ours),
            orders: File::from(orders),
            answer: None,
            started_at: now,
            heard_at: now,
            answered: false,
            alive: false,
            upgrade: false,
            stays: false,
            harmless: false,
            done: false,
        })
    }

    /// Until the worker has ended, by itself or by our hand.
    fn watch(&mut self, worker: &mut Worker) -> End {
        let mut looked_at = clock::now();
        let mut stop_by = None;
        loop {
            let ends = self.stopping || self.reload.is_under_way() || self.upgrade.ends();
            let patience = match (ends, worker.alive) {
                // Its loop has ended and it tidies up, which the kernel makes slow.
                (true, _) => STOP,
                (false, true) => self.patience,
                (false, false) => START,
            };
            let due = worker.heard_at + patience;
            // The kernel tells of no progress in a reload, and the watchdog is to be fed.
            let is_idle = self.watchdog.is_none() && self.reload.is_idle() && self.upgrade.is_idle();
            // Far less than its patience: what it sleeps when it is stopped beside the worker is taken from that.
            let look = if is_idle { LOOK.min(patience / 3) } else { FEED };
            let wait = due.since(clock::now()).min(look) + Duration::from_millis(1);
            self.wait(worker, wait);
            let woke_at = clock::now();
            worker.listen();
            // Before its first answer a worker holds nothing; the gate was shut before it was started.
            if std::mem::take(&mut worker.harmless) || !worker.alive || worker.done {
                self.feed();
            }
            self.take_signals(worker, &mut stop_by);
            self.reload(worker, &mut stop_by);
            self.upgrade(worker, &mut stop_by);
            if std::mem::take(&mut worker.answered) {
                self.tell_manager();
            }
            if let Ok(Some(status)) = worker.child.try_wait() {
                return End::Exited(status);
            }
            let now = clock::now();
            // Who was stopped together with the worker, or starved like it, can't blame it for that time.
            let overslept = woke_at.since(looked_at).saturating_sub(wait);
            if overslept > STARVED {
                worker.heard_at += overslept;
            }
            looked_at = now;
            let hung = now.since(worker.heard_at) > patience;
            if hung || stop_by.is_some_and(|by| now > by) {
                let _ = worker.child.kill();
                let _ = worker.child.wait();
                return End::Hung;
            }
        }
    }

    /// Sleeps until a pulse, a signal or the time.
    fn wait(&self, worker: &Worker, time: Duration) {
        let millis = u16::try_from(time.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [
            PollFd::new(self.signals.as_fd(), PollFlags::POLLIN),
            PollFd::new(worker.pulse.as_fd(), PollFlags::POLLIN),
        ];
        // EINTR and the like: whoever called looks at everything anyway.
        let _ = poll(&mut fds, PollTimeout::from(millis));
        if fds.get(1).is_some_and(|fd| fd.revents().is_some_and(|r| r == PollFlags::POLLHUP)) {
            // The worker closed its end: it is ending, and SIGCHLD follows. Not to spin meanwhile.
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn take_signals(&mut self, worker: &Worker, stop_by: &mut Option<Instant>) {
        while let Ok(Some(signal)) = self.signals.read_signal() {
            let number = i32::try_from(signal.ssi_signo).unwrap_or(0);
            match Signal::try_from(number) {
                Ok(Signal::SIGTERM | Signal::SIGINT) => {
                    self.stopping = true;
                    self.manager.stops();
                    ask_to_stop(worker, stop_by);
                }
                Ok(Signal::SIGHUP) => self.begin_reload(),
                Ok(_) | Err(_) => {
                    if let Some(what) = dump::asked_by(number) {
                        ask_for(worker, what);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
