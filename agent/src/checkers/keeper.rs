//! The thread that checks real servers: `proto::balance`'s machine, with time, tries and listeners around it.
//!
//! It runs below real time, on a runtime of its own. Each try is a task; the machine judges, and what changes goes to
//! the keeper of the kernel's table, to scripts, to FIFOs and into the log.

mod tries;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_config::Config;
use keepone_config::model::{Checker, GroupMember, Probe, Service};
use keepone_proto::balance::checker::Outcome;
use keepone_proto::balance::handed::Handed;
use keepone_proto::balance::machine::{Action, Balance, Event, Place};
use keepone_proto::balance::settings::BalanceSettings;
use keepone_proto::event::Event as CoreEvent;
use keepone_proto::time::Instant;
use keepone_proto::watch::Reading;
use tokio::sync::mpsc;

use super::desk::{Ask, Desk};
use super::dials::{Dial, Dials, Seen, checked, grid};
use super::exchange::ROOM;
use super::listeners::{Changed, Listeners, Wish};
use super::settings::{balance, check_name};
use super::tied::{self, Tied, Ties};
use super::tls::Tls;
use super::{Common, told};
use crate::clock;
use crate::net::addresses_here;
use crate::notify::LineWriter;
use crate::notify::run::Rules;
use crate::post::ServerPost;
use crate::script::User;
use crate::tracking::files::Files;

/// Orders that may wait.
const QUEUE: usize = 256;
/// Outcomes that are taken at once.
const ENDED: usize = 256;
/// How often it is looked whether scripts run that are to end before it is handed on.
const RUNS: Duration = Duration::from_millis(5);
/// Scripts that are due at the stop are put in within this time.
const END: Duration = Duration::from_secs(2);

/// The way to the thread, which begins with the first virtual server.
pub(crate) struct Checkers {
    rules: Rules,
    fifos: Vec<LineWriter>,
    post: ServerPost,
    desk: Desk,
    /// The way to the core.
    events: mpsc::Sender<CoreEvent>,
    thread: Option<Thread>,
    /// What the checks of a former process knew, for a thread that goes on with it.
    handed: Option<Vec<u8>>,
}

struct Thread {
    orders: mpsc::Sender<Order>,
    thread: JoinHandle<Vec<(String, JoinHandle<()>)>>,
}

pub(super) enum Order {
    Reconfigure(Arc<Config>, Wish, Vec<Tied>),
    /// The operator's.
    Ask(Ask),
    /// Of a BFD session, by its place in the configuration.
    Bfd(usize, Reading),
    /// What is known has been handed on, and the process ends: nobody is told of anything.
    Leave,
}

impl Checkers {
    /// Starts it, if there are virtual servers; with what the checks of a process before this one knew, if this one goes on
    /// with it.
    pub(crate) fn start(
        (config, tied, handed): (&Arc<Config>, &[Tied], Option<Vec<u8>>),
        rules: Rules,
        fifos: Vec<LineWriter>,
        (table, post): (Wish, ServerPost),
        desk: Desk,
        events: mpsc::Sender<CoreEvent>,
    ) -> Self {
        let mut checkers = Checkers { rules, fifos, post, desk, events, thread: None, handed };
        checkers.set(config, tied, table);
        // Servers that come with a reload are new.
        checkers.handed = None;
        checkers
    }

    /// Another configuration, without waiting.
    pub(crate) fn set(&mut self, config: &Arc<Config>, tied: &[Tied], table: Wish) {
        match &self.thread {
            Some(thread) => thread.order(Order::Reconfigure(Arc::clone(config), table, tied.to_vec())),
            None if config.virtual_servers.is_empty() => {}
            None => {
                let (fifos, post) = (self.fifos.clone(), self.post.clone());
                let listeners =
                    Listeners::new(table, fifos, post, self.rules.clone(), Ties::new(tied, self.events.clone()));
                let begun = begin(Arc::clone(config), self.rules.clone(), listeners, self.handed.take());
                let failed = |error: &io::Error| tracing::error!(%error, "no thread for health checks: real servers stay as they are; raise the limit of tasks, then restart keepone");
                self.thread = begun.inspect_err(failed).ok();
                if let Some(thread) = &self.thread {
                    self.desk.open(thread.orders.clone());
                }
            }
        }
    }

    /// What was found of a BFD session, without waiting; what finds no room is told again.
    pub(crate) fn bfd(&self, session: usize, reading: &Reading) {
        if let Some(thread) = &self.thread {
            let _ = thread.orders.try_send(Order::Bfd(session, reading.clone()));
        }
    }

    /// Who asks the thread.
    pub(crate) fn desk(&self) -> Desk {
        self.desk.clone()
    }

    /// Has it end without a word, once it has handed on what it knows.
    pub(crate) fn leave(&self) {
        // Where it finds no room nothing is said either: the process ends before.
        let _ = self.thread.as_ref().map(|thread| thread.orders.try_send(Order::Leave));
    }

    /// Ends it; with `omega` scripts of loss are run. The threads that still run some.
    pub(crate) fn stop(self) -> Vec<(String, JoinHandle<()>)> {
        self.desk.close();
        let Some(Thread { orders, thread }) = self.thread else { return Vec::new() };
        drop(orders);
        let until = clock::now() + END;
        while !thread.is_finished() && clock::now() < until {
            thread::sleep(Duration::from_millis(5));
        }
        if !thread.is_finished() {
            tracing::warn!("the thread of health checks does not end: it is not waited for");
            return Vec::new();
        }
        thread.join().unwrap_or_default()
    }
}

impl Thread {
    fn order(&self, order: Order) {
        if self.orders.try_send(order).is_err() {
            tracing::error!("the thread of health checks hangs or is gone: restart keepone");
        }
    }
}

fn begin(config: Arc<Config>, rules: Rules, listeners: Listeners, handed: Option<Vec<u8>>) -> io::Result<Thread> {
    let (orders, received) = mpsc::channel(QUEUE);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    make_room();
    let serve = move || {
        let listeners = runtime.block_on(async {
            let mut keeper = Keeper::new(config, rules.user, listeners, handed.as_deref());
            keeper.serve(received).await;
            keeper.listeners
        });
        // Tries that are under way end with it.
        runtime.shutdown_background();
        listeners.finish()
    };
    let thread = thread::Builder::new().name("checkers".into()).spawn(serve)?;
    Ok(Thread { orders, thread })
}

/// A thousand tries at a time need as many files, where 1024 are usual: a server must not count as down for that.
fn make_room() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(soft, hard)| if soft < hard { setrlimit(Resource::RLIMIT_NOFILE, hard, hard) } else { Ok(()) });
    if let Err(error) = raised {
        tracing::warn!(%error, "the limit of open files stays as it is: raise LimitNOFILE for many real servers");
    }
}

struct Keeper {
    config: Arc<Config>,
    /// Who runs scripts that name nobody.
    user: User,
    machine: Balance,
    common: Arc<Common>,
    listeners: Listeners,
    /// Outcomes, each with the number of its try: no more wait than tries are under way.
    outcomes: mpsc::UnboundedReceiver<(u64, Outcome)>,
    ended: mpsc::UnboundedSender<(u64, Outcome)>,
    /// Connections that nobody has been told of yet.
    dials: Dials,
    /// Room for what is seen of them.
    seen: Vec<(Dial, Seen)>,
    /// Room for what is read of one.
    room: Box<[u8]>,
    /// The distance of wake-ups.
    grid: Duration,
    files: Files,
    /// Some virtual server suspends its checks while its address is elsewhere.
    suspends: bool,
    /// What was last told of BFD sessions, by their names: a reload may change their places.
    sessions: BTreeMap<String, Reading>,
}

impl Keeper {
    fn new(config: Arc<Config>, user: User, mut listeners: Listeners, handed: Option<&[u8]>) -> Self {
        let mut seed = [0; 8];
        // Without one the spread is the same each time.
        let _ = getrandom::fill(&mut seed);
        let (machine, actions) = begun(&balance(&config), u64::from_ne_bytes(seed), handed);
        listeners.configure(&config);
        let (ended, outcomes) = mpsc::unbounded_channel();
        let mut keeper = Keeper {
            common: Arc::new(common(&config, &user)),
            files: Files::start(&files(&config)),
            suspends: suspends(&config),
            dials: Dials::default(),
            seen: Vec::new(),
            room: vec![0; ROOM].into_boxed_slice(),
            grid: grid(checkers(&config)),
            config,
            user,
            machine,
            listeners,
            outcomes,
            ended,
            sessions: BTreeMap::new(),
        };
        keeper.carry_out(actions);
        keeper.listeners.ties.tell(&keeper.machine);
        keeper
    }

    async fn serve(&mut self, mut orders: mpsc::Receiver<Order>) {
        let Ok(mut timer) = clock::Timer::new().inspect_err(|error| tracing::error!(%error, "no health checks")) else {
            return;
        };
        let mut look = tokio::time::interval(tied::LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        self.handle(Event::Tick);
        let mut ended = Vec::with_capacity(ENDED);
        loop {
            let due = self.machine.next_deadline(self.now()).map(|at| clock::together(at, self.grid));
            let at = due.into_iter().chain(self.dials.deadline()).min();
            let suspends = self.suspends;
            let is_tied = self.listeners.ties.are_any();
            let event = tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Reconfigure(config, table, tied)) => {
                        self.listeners.table = table;
                        self.listeners.ties.set(&tied);
                        self.reconfigure(config);
                        Event::Tick
                    }
                    Some(Order::Bfd(session, reading)) => {
                        self.on_session(session, reading);
                        Event::Tick
                    }
                    Some(Order::Ask(Ask::HandOn(answer))) => return self.hand_on(&answer, orders).await,
                    Some(Order::Leave) => return,
                    Some(Order::Ask(ask)) => {
                        self.answer(ask);
                        Event::Tick
                    }
                    None => return self.end(),
                },
                _ = self.outcomes.recv_many(&mut ended, ENDED) => {
                    for (run, outcome) in ended.drain(..) {
                        self.handle(Event::Ended { run, outcome });
                    }
                    Event::Tick
                }
                Some((file, reading)) = self.files.next() => {
                    self.told_file(file, &reading);
                    Event::Tick
                }
                _ = look.tick(), if suspends || is_tied => {
                    if suspends {
                        self.look_for_addresses();
                    }
                    self.listeners.ties.tell(&self.machine);
                    Event::Tick
                }
                slept = sleep(&mut timer, at) => {
                    if let Err(error) = slept {
                        tracing::error!(%error, "no more health checks: the timer failed");
                        return;
                    }
                    Event::Tick
                }
            };
            self.handle(event);
            self.look();
        }
    }

    fn end(&mut self) {
        // What ends has not lost its quorum.
        self.listeners.ties.set(&[]);
        self.handle(Event::Stop);
    }

    /// Says all that is known, once no script runs whose end nobody would see; and judges nothing more, since the next
    /// process does.
    async fn hand_on(&mut self, answer: &SyncSender<Vec<u8>>, mut orders: mpsc::Receiver<Order>) {
        let mut told = false;
        loop {
            if !told && !self.listeners.is_telling() {
                told = true;
                let _ = answer.try_send(self.machine.hand_on());
            }
            let order = tokio::select! {
                order = orders.recv() => order,
                () = tokio::time::sleep(RUNS), if !told => continue,
            };
            match order {
                Some(Order::Leave) => return,
                Some(Order::Ask(ask @ Ask::Standing(_))) => self.answer(ask),
                // Whoever asks for more is not answered: the next process is there in a moment.
                Some(_) => {}
                None => return self.end(),
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let actions = self.machine.handle(self.now(), event);
        self.carry_out(actions);
    }

    /// The machine sees the points of the grid alone: what is due between two of them is begun with the others.
    fn now(&self) -> Instant {
        clock::at_last(clock::now(), self.grid)
    }

    /// Whoever has not waited for the answer does without.
    fn answer(&mut self, ask: Ask) {
        match ask {
            Ask::Standing(answer) => {
                let _ = answer.try_send(self.machine.standing(clock::now()));
            }
            Ask::Drain(drain, answer) => {
                let (places, names): (Vec<_>, Vec<_>) = drain.places(&self.config).into_iter().unzip();
                for (service, server) in places {
                    self.handle(Event::Drain { service, server, is_draining: drain.is_draining });
                }
                let _ = answer.try_send(names);
            }
            // It ends the loop.
            Ask::HandOn(_) => {}
        }
    }

    fn reconfigure(&mut self, config: Arc<Config>) {
        self.listeners.reconfigure(&config);
        self.common = Arc::new(common(&config, &self.user));
        let wanted = files(&config);
        self.suspends = suspends(&config);
        self.grid = grid(checkers(&config));
        self.config = config;
        let actions = self.machine.reconfigure(&balance(&self.config), self.now());
        self.carry_out(actions);
        self.listeners.ties.tell(&self.machine);
        self.listeners.configure(&self.config);
        if self.files.set(&wanted) {
            tracing::debug!("files of checks are watched anew");
        }
        let config = Arc::clone(&self.config);
        let mut known = std::mem::take(&mut self.sessions);
        for (session, settings) in config.trackers.bfd.iter().enumerate() {
            if let Some(reading) = known.remove(&settings.name) {
                self.told_session(session, &reading);
                self.sessions.insert(settings.name.clone(), reading);
            }
        }
    }

    fn on_session(&mut self, session: usize, reading: Reading) {
        self.told_session(session, &reading);
        if let Some(settings) = self.config.trackers.bfd.get(session) {
            self.sessions.insert(settings.name.clone(), reading);
        }
    }

    /// The checks of which `outcome` has something to say, each with what it is told.
    fn tell(&mut self, outcome: impl Fn(&Probe) -> Option<Outcome>) {
        let mut told = Vec::new();
        for (service, of) in self.config.virtual_servers.iter().enumerate() {
            for (server, of) in of.real_servers.iter().enumerate() {
                for (checker, of) in of.checkers.iter().enumerate() {
                    let place = Place { service, server, checker };
                    told.extend(outcome(&of.probe).map(|outcome| Event::Told { place, outcome }));
                }
            }
        }
        told.into_iter().for_each(|event| self.handle(event));
    }

    fn told_file(&mut self, at: usize, reading: &Reading) {
        self.tell(|probe| match probe {
            Probe::File { file, weight } if *file == at => Some(told::file(reading, *weight)),
            _ => None,
        });
    }

    fn told_session(&mut self, at: usize, reading: &Reading) {
        self.tell(|probe| match probe {
            Probe::Bfd(session) if *session == at => Some(told::session(reading)),
            _ => None,
        });
    }

    /// Whether the addresses of virtual servers that suspend are on this node.
    fn look_for_addresses(&mut self) {
        let here = match addresses_here() {
            Ok(here) => here.into_iter().map(|(_, address)| address).collect::<Vec<_>>(),
            Err(error) => {
                tracing::warn!(%error, "whether addresses of virtual servers are here can't be seen");
                return;
            }
        };
        let config = Arc::clone(&self.config);
        for (service, server) in config.virtual_servers.iter().enumerate().filter(|(_, server)| server.ha_suspend) {
            self.handle(Event::Held { service, is_held: is_held(&config, &server.service, &here) });
        }
    }

    fn carry_out(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Probe { place, step, run } => self.probe(place, step, run),
                Action::Wanted(wanted) => (self.listeners.table)(wanted),
                Action::Server { service, server, is_up, why, .. } => {
                    self.listeners.tell(Changed { service, server: Some(server), is_up, why });
                }
                Action::Quorum { service, is_up, why, .. } => {
                    self.listeners.tell(Changed { service, server: None, is_up, why });
                    self.listeners.ties.tell(&self.machine);
                }
                Action::Failed { place, why, left } => {
                    let name = self.checked(place).map_or_else(String::new, check_name);
                    match left {
                        Some(left) => tracing::info!(check = name, "a check failed, {left} more tries: {why}"),
                        None => tracing::info!(check = name, "a check fails still: {why}"),
                    }
                }
            }
        }
    }

    fn checked(&self, place: Place) -> Option<&Probe> {
        checked(&self.config, place)
    }
}

/// The machine, as it starts or as another process has left it.
fn begun(settings: &BalanceSettings, seed: u64, handed: Option<&[u8]>) -> (Balance, Vec<Action>) {
    // Empty: there were none.
    let handed = handed.filter(|octets| !octets.is_empty()).and_then(|octets| {
        let handed = Handed::parse(octets);
        if handed.is_none() {
            tracing::error!("what the process before this one knew of real servers can't be read: all begin anew");
        }
        handed
    });
    match handed {
        Some(handed) => Balance::resume(settings, seed, handed, clock::now()),
        None => Balance::new(settings, seed, clock::now()),
    }
}

fn suspends(config: &Config) -> bool {
    config.virtual_servers.iter().any(|server| server.ha_suspend)
}

async fn sleep(timer: &mut clock::Timer, at: Option<Instant>) -> io::Result<()> {
    match at {
        Some(at) => timer.sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn common(config: &Config, user: &User) -> Common {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    Common {
        user: user.clone(),
        tls: Arc::new(Tls::new(&config.global.ipvs.tls)),
        host_name: if name.is_empty() { "localhost" } else { name }.into(),
    }
}

fn checkers(config: &Config) -> impl Iterator<Item = &Checker> {
    config.virtual_servers.iter().flat_map(|server| &server.real_servers).flat_map(|real| &real.checkers)
}

/// The tracked files that checks go by, each with its place in the configuration.
fn files(config: &Config) -> Vec<(usize, keepone_config::model::FileTracker)> {
    let wanted: std::collections::BTreeSet<usize> = checkers(config)
        .filter_map(|checker| match checker.probe {
            Probe::File { file, .. } => Some(file),
            _ => None,
        })
        .collect();
    wanted.into_iter().filter_map(|at| Some((at, config.trackers.files.get(at)?.clone()))).collect()
}

/// Whether any of its addresses is among these; a mark is nobody's address.
fn is_held(config: &Config, service: &Service, here: &[IpAddr]) -> bool {
    match service {
        Service::Address { address, .. } => here.contains(address),
        Service::Mark { .. } => true,
        Service::Group(at) => config.server_groups.get(*at).is_some_and(|group| {
            group.members.iter().any(|member| match member {
                GroupMember::Range { first, last, .. } => here
                    .iter()
                    .any(|address| address.is_ipv4() == first.is_ipv4() && (*first..=*last).contains(address)),
                GroupMember::Mark(_) => true,
            })
        }),
    }
}

#[cfg(test)]
mod tests;
