//! The worker's part of a reload: examines the new configuration, and takes it over without starting anew if it can.
//!
//! The guardian asks, by an octet through a pipe; a thread of its own reads, compares and has the gate bar what is new,
//! all of which may wait (R15); then the loop takes it over between two events. The answer goes with the pulse.
//!
//! What must stay true: until a configuration is known to be one that can be taken over, nothing has changed but names
//! that the gate bars besides.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use keepone_config::diff::brief;
use keepone_config::{Config, Environment};
use keepone_proto::id::hash_name;
use tokio::sync::mpsc;

use crate::assemble::{Plan, reason_to_restart};
use crate::control::snapshot::Directory;
use crate::driver::Prepared;
use crate::exit::chain;
use crate::gate::{Changed, GateDomain, GateError, Keeper};
use crate::guardian::{patience, pulse};
use crate::leftovers::Leftovers;
use crate::netlink::link::{Links, OwnLink};
use crate::reload::{fixed, is_same};
use crate::worker::check_interfaces;

/// Virtual servers whose changes are told one by one.
const MOST: usize = 100;

/// What the guardian is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The configuration with this mark runs.
    Taken(u8),
    /// It takes a new worker.
    Restart,
    /// The one that runs stays.
    Refused,
}

impl Answer {
    pub(crate) fn octet(self) -> u8 {
        match self {
            Answer::Taken(mark) => pulse::TAKEN | mark,
            Answer::Restart => pulse::RESTART,
            Answer::Refused => pulse::REFUSED,
        }
    }

    pub(crate) fn of(octet: u8) -> Option<Self> {
        match octet {
            pulse::RESTART => Some(Answer::Restart),
            pulse::REFUSED => Some(Answer::Refused),
            octet if octet & pulse::TAKEN != 0 => Some(Answer::Taken(octet & !pulse::TAKEN)),
            _ => None,
        }
    }
}

/// By which the guardian knows whether both have read the same: seven bits of what matters to it.
pub(crate) fn mark(plan: &Plan) -> u8 {
    let words = format!("{:?} {:?} {:?}", Leftovers::of_worker(plan), Leftovers::of_agent(plan), patience(plan));
    u8::try_from(hash_name(&words) & u64::from(!pulse::TAKEN)).unwrap_or(0)
}

/// What runs, and where the next one comes from.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: PathBuf,
    pub(crate) environment: Environment,
    pub(crate) running: Arc<Config>,
}

/// How an examination ended.
#[derive(Debug)]
pub(crate) enum Examined {
    /// It can be taken over: all that takes time has been done for it.
    Good(Box<Good>),
    /// It means what runs already; the mark of that.
    Same(u8),
    /// It takes a new worker, and why.
    Restart(String),
    /// It can't run, and why.
    Refused(String),
}

/// A configuration that can be taken over.
#[derive(Debug)]
pub(crate) struct Good {
    pub(crate) config: Arc<Config>,
    pub(crate) prepared: Prepared,
    /// By [`mark`].
    pub(crate) mark: u8,
    /// What changes, in words.
    pub(crate) changes: Vec<String>,
}

/// An order of the guardian's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// To take a new configuration over.
    Reload,
    /// To hand on and end, if so much is left of what is held.
    HandOn(Duration),
}

/// The octet of a reload; above it an order to hand on, in so many hundredths of a second.
const RELOAD: u8 = 1;

impl Order {
    pub(crate) fn octet(self) -> u8 {
        match self {
            Order::Reload => RELOAD,
            Order::HandOn(needed) => u8::try_from(needed.as_millis() / 10 + 1).unwrap_or(u8::MAX).max(RELOAD + 1),
        }
    }

    fn of(octet: u8) -> Self {
        match octet {
            0 | RELOAD => Order::Reload,
            hundredths => Order::HandOn(Duration::from_millis(10) * u32::from(hundredths)),
        }
    }
}

/// Tells the loop of each order that comes through the pipe.
///
/// # Errors
/// No thread may be had.
pub(crate) fn listen(mut orders: File, asked: mpsc::Sender<Order>) -> std::io::Result<()> {
    let listen = move || {
        let mut octet = [0];
        while orders.read(&mut octet).is_ok_and(|count| count > 0) {
            if asked.blocking_send(Order::of(octet.first().copied().unwrap_or(RELOAD))).is_err() {
                return;
            }
        }
    };
    thread::Builder::new().name("orders".into()).spawn(listen).map(drop)
}

impl Source {
    /// Begins an examination for the plan that runs; its end is told. `number` counts them.
    pub(crate) fn examine(&self, plan: &Plan, keeper: Option<Keeper>, number: u64, told: &mpsc::Sender<Examined>) {
        let (file, environment, running) = (self.file.clone(), self.environment.clone(), Arc::clone(&self.running));
        let (plan, answer) = (plan.clone(), told.clone());
        let examine = move || {
            let examined = match keepone_config::load_silently(&file, &environment) {
                Some(config) => prepare(&plan, &running, config, keeper.as_ref(), number),
                None => Examined::Refused("the file changed while it was read: reload again".to_owned()),
            };
            let _ = answer.blocking_send(examined);
        };
        if let Err(error) = thread::Builder::new().name("reload".into()).spawn(examine) {
            let _ = told.try_send(Examined::Refused(format!("no thread for it: {error}: reload again")));
        }
    }
}

fn prepare(plan: &Plan, running: &Config, config: Config, keeper: Option<&Keeper>, number: u64) -> Examined {
    if is_same(running, &config) {
        return Examined::Same(mark(&Plan::new(running)));
    }
    if let Some(what) = fixed(running, &config) {
        return Examined::Refused(format!("the new {what} can't come with a reload: restart keepone"));
    }
    // Without what only the former ones name.
    let alone = Plan::new(&config);
    if let Err(failure) = check_interfaces(&alone) {
        return Examined::Refused(failure.message);
    }
    let (difference, more) = brief(running, &config, MOST);
    if let Some(why) = reason_to_restart(&difference.changes) {
        return Examined::Restart(why);
    }
    let new = match plan.after(&config) {
        Ok(new) => new,
        Err(why) => return Examined::Restart(why),
    };
    let made = match Made::of(&new, keeper) {
        Ok(made) => made,
        Err(words) => return Examined::Refused(words),
    };
    match bar(&plan.gated_with(&new), keeper, number) {
        Ok(changed) => {
            for warning in changed.iter().flat_map(Changed::warnings) {
                tracing::warn!("{warning}");
            }
            let mut changes: Vec<String> = difference.changes.into_iter().map(|change| change.text).collect();
            changes.extend((more > 0).then(|| format!("changes {more} more virtual servers")));
            made.stay();
            let (config, mark) = (Arc::new(config), mark(&alone));
            let directory = Arc::new(Directory::of(&new, &config));
            let prepared = Prepared { plan: new, changed, directory };
            Examined::Good(Box::new(Good { config, prepared, mark, changes }))
        }
        Err(error @ GateError::NoRoom) => Examined::Restart(error.to_string()),
        Err(error) => Examined::Refused(chain(&error)),
    }
}

/// Interfaces with virtual MACs that were made for a configuration: deleted again unless it is taken over.
struct Made(Vec<OwnLink>);

impl Made {
    /// Makes those that are missing, down, and has the gate bar them: they go up when the configuration is taken over.
    fn of(plan: &Plan, keeper: Option<&Keeper>) -> Result<Self, String> {
        let made = Made(Links::missing(&plan.own_links).cloned().collect());
        if made.0.is_empty() {
            return Ok(made);
        }
        let links = Links::open().map_err(|error| format!("no netlink socket to make interfaces: {error}"))?;
        links.make(&plan.own_links)?;
        keeper.map_or(Ok(0), Keeper::attach_new).map_err(|error| chain(&error))?;
        Ok(made)
    }

    fn stay(mut self) {
        self.0.clear();
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        if let (false, Ok(links)) = (self.0.is_empty(), Links::open()) {
            links.remove(&self.0).iter().for_each(|words| tracing::error!("{words}"));
        }
    }
}

/// Has the gate bar what is new besides what there is.
fn bar(domains: &[GateDomain], keeper: Option<&Keeper>, number: u64) -> Result<Option<Changed>, GateError> {
    match keeper {
        Some(keeper) => keeper.change(domains, number),
        None => Changed::weak(domains).map(Some),
    }
}

/// The guardian's end of a pipe to its worker: not inherited, and never waited for.
pub(crate) fn keep(fd: &OwnedFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
    fcntl(fd, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
    fcntl(fd, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok(())
}
