//! The thread: what is wanted against what the kernel has.
//!
//! A change is made against what the kernel is known to have; every [`LOOK`], and after a refusal, the kernel is asked
//! for all of it. What must stay true: one thing that the kernel refuses keeps nothing else from being made, and is said
//! once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipvs_rs::{Change, Error, Handle, ServiceId, Table, Timeouts, plan};
use keepone_config::Config;
use keepone_config::model::FlushOnStop;
use keepone_proto::decision::Role;
use keepone_proto::event::Event;
use keepone_proto::id::DomainId;
use tokio::sync::mpsc::{Sender, UnboundedReceiver};

use super::Ask;
use super::connections::{self, Answer, Who};
use super::counted::{Board, Found};
use super::ledger::Ledger;
use super::others::Others;
use super::said::Said;
use super::sync::Sync;
use super::wanted::VirtualServers;
use super::words;
use crate::clock;
use crate::exit::chain;

/// How often the kernel's table is looked at.
const LOOK: Duration = Duration::from_secs(5);

/// After another configuration the checks have so long to say who is not to be in the table yet (`alpha`).
const GATHER: Duration = Duration::from_millis(100);
/// A large table is looked at less often: so many services each cost another [`LOOK`].
const MANY: usize = 1000;

/// The thread's life.
pub(super) fn run(from: (&Path, bool), tells: (Sender<Event>, Board), mut asked: UnboundedReceiver<Ask>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(async {
            let mut server = Server::new(from, tells);
            let mut next_look = clock::now();
            loop {
                let said = Arc::clone(&server.said);
                let first = tokio::select! {
                    biased;
                    ask = asked.recv() => Some(ask.unwrap_or(Ask::End { keep: true })),
                    () = said.news() => None,
                    () = tokio::time::sleep(next_look.since(clock::now())) => None,
                };
                // By the clock alone: checks that never rest would keep it from looking.
                let is_look = clock::now() >= next_look;
                if matches!(first, Some(Ask::Configure(..))) {
                    tokio::time::sleep(GATHER).await;
                }
                let mut questions = Vec::new();
                // Whatever has come meanwhile is made in one go.
                for ask in first.into_iter().chain(std::iter::from_fn(|| asked.try_recv().ok())) {
                    match ask {
                        Ask::End { keep } => return server.end(keep).await,
                        Ask::Connections(who, answer) => questions.push((who, answer)),
                        other => server.take(other),
                    }
                }
                server.hear();
                server.settle(is_look).await;
                for (who, answer) in questions {
                    // Who has not waited for it does without.
                    let _ = answer.try_send(server.connections(&who).await);
                }
                if is_look {
                    next_look = clock::now() + server.pause();
                }
            }
        }),
        Err(error) => tracing::error!(%error, "no runtime for virtual servers: raise the limit of files, then restart"),
    }
}

struct Server {
    config: Option<Arc<Config>>,
    servers: VirtualServers,
    /// What the checks say by that configuration.
    said: Arc<Said>,
    sync: Option<Sync>,
    /// Sync daemons were started by us.
    syncs: bool,
    masters: BTreeSet<DomainId>,
    ledger: Ledger,
    handle: Option<Handle>,
    /// What is ours in the kernel, as far as is known; `None`: it is to be looked at.
    made: Option<Table>,
    /// The whole table is ours once, by `lvs_flush`.
    flush: bool,
    /// The table is a former process's, which this one goes on with.
    goes_on: bool,
    /// So it stays as it is, until the checks have said of each virtual server who is in it.
    waits: bool,
    others: Others,
    board: Board,
    /// What was said of each thing that does not work.
    told: BTreeMap<String, String>,
}

impl Server {
    /// With the run directory, and whether it goes on with the table of a former process; and who is told of what others do
    /// and of what is counted.
    fn new((run_dir, goes_on): (&Path, bool), (events, board): (Sender<Event>, Board)) -> Self {
        Server {
            config: None,
            servers: VirtualServers::default(),
            said: Arc::default(),
            sync: None,
            syncs: false,
            masters: BTreeSet::new(),
            ledger: Ledger::open(run_dir),
            handle: None,
            made: None,
            flush: false,
            goes_on,
            waits: goes_on,
            others: Others::new(events),
            board,
            told: BTreeMap::new(),
        }
    }

    /// Between two looks.
    fn pause(&self) -> Duration {
        let services = self.made.as_ref().map_or(0, |made| made.ids().count());
        LOOK.saturating_mul(u32::try_from(1 + services / MANY).unwrap_or(u32::MAX))
    }

    fn take(&mut self, ask: Ask) {
        match ask {
            Ask::Configure(config, said) => {
                // The last words by the former one, which the next begins with.
                self.hear();
                self.said = said;
                let is_start = self.config.is_none() && !self.goes_on;
                self.flush = (self.flush || is_start) && config.global.ipvs.flush;
                self.servers.configure(&config);
                self.board.configure(&config, self.servers.ids());
                self.sync = Sync::of(&config);
                self.servers.faults().iter().for_each(|fault| tracing::error!("{fault}"));
                self.config = Some(config);
            }
            Ask::Role(domain, Role::Master) => drop(self.masters.insert(domain)),
            Ask::Role(domain, _) => drop(self.masters.remove(&domain)),
            Ask::Connections(..) | Ask::End { .. } => {}
        }
    }

    /// Takes what the checks have said.
    fn hear(&mut self) {
        let said = Arc::clone(&self.said);
        said.take().for_each(|wanted| self.servers.tell(wanted));
    }

    /// Makes the kernel have what is wanted.
    async fn settle(&mut self, is_look: bool) {
        let Some(config) = self.config.clone() else { return };
        if self.waits() {
            return;
        }
        let Some(handle) = self.open().await else { return };
        let settled = async {
            self.table(&handle, is_look).await?;
            self.timeouts(&handle, &config).await?;
            self.daemons(&handle).await
        };
        match settled.await {
            Ok(()) => self.over("the kernel"),
            Err(error) => {
                // Another one is opened at the next look.
                self.handle = None;
                self.made = None;
                self.board.forget();
                self.say("the kernel", format!("virtual servers: {}; it is tried again", chain(&error)));
            }
        }
    }

    /// Whether the former process's table is to stay as it is: it knew more than is known here yet.
    fn waits(&mut self) -> bool {
        self.waits = self.waits && !self.servers.are_all_told();
        self.waits
    }

    /// By what the kernel has after all that was said before has been made.
    async fn connections(&self, who: &[Who]) -> Answer {
        let (Some(handle), Some(config)) = (&self.handle, &self.config) else {
            return Err(String::from("the kernel's table of virtual servers can't be read: the log says why"));
        };
        let asked = connections::ask(handle, config, &self.servers, who).await;
        asked.map_err(|error| format!("the kernel's table of virtual servers can't be read: {}", chain(&error)))
    }

    async fn open(&mut self) -> Option<Handle> {
        if self.handle.is_none() {
            match Handle::open().await {
                Ok(handle) => {
                    self.over("open");
                    self.handle = Some(handle);
                    self.made = None;
                }
                Err(error) => {
                    let remedy = match &error {
                        Error::NoFamily => {
                            ", and name it in /etc/modules-load.d; virtual servers are set once it is loaded, all \
                             else goes on"
                        }
                        _ => "; virtual servers are not set, all else goes on",
                    };
                    self.say("open", format!("{}{remedy}", chain(&error)));
                }
            }
        }
        self.handle.clone()
    }

    async fn table(&mut self, handle: &Handle, is_look: bool) -> Result<(), Error> {
        let wanted = self.servers.table();
        let mut look = is_look || self.made.is_none();
        // After a refusal once more, by what the kernel has then.
        for _ in 0..2 {
            if look {
                let others = self.look(handle, &wanted).await?;
                // A second look within one go is none of its own: what it finds is what was just put right.
                if is_look || !others.is_empty() {
                    self.others.tell(&others);
                }
            }
            let ours: BTreeSet<ServiceId> = wanted.ids().chain(self.ledger.ours().iter().copied()).collect();
            self.ledger.set(ours);
            let Some(made) = &mut self.made else { return Ok(()) };
            let changes = plan(&wanted, made);
            if changes.is_empty() {
                self.told.retain(|what, _| !what.starts_with(CHANGE));
            }
            let answers = handle.apply(&changes).await;
            let (mut refused, mut missing) = (BTreeMap::new(), BTreeSet::new());
            for (change, answer) in changes.iter().zip(answers) {
                match answer {
                    Ok(()) => {
                        tracing::info!("ipvs: {}", words::of_change(change));
                        made.apply(change);
                    }
                    // Of a service that is not there nothing can be made: that is said once.
                    Err(Error::Kernel(_)) if words::service_of(change).is_some_and(|id| missing.contains(&id)) => {}
                    Err(error @ Error::Kernel(_)) => {
                        if let Change::AddService(service) = change {
                            missing.insert(service.id);
                        }
                        refused.insert(words::of_change(change), words::of_refusal(change, &error));
                    }
                    Err(error) => return Err(error),
                }
            }
            // What is not there any more is not ours.
            let there: BTreeSet<ServiceId> = made.ids().chain(wanted.ids()).collect();
            self.ledger.set(there);
            if refused.is_empty() || look {
                self.refused(refused);
                return Ok(());
            }
            look = true;
        }
        Ok(())
    }

    /// Reads what is ours in the kernel, and says what somebody else has done to it; that, in words.
    async fn look(&mut self, handle: &Handle, wanted: &Table) -> Result<Vec<String>, Error> {
        let known = self.made.as_ref();
        let is_ours = |ledger: &Ledger, id| {
            wanted.get(id).is_some() || ledger.ours().contains(&id) || known.is_some_and(|made| made.get(id).is_some())
        };
        // Of others' only what they are: what their real servers are like is nobody's business here.
        let mut found = Found::default();
        let whole = |id| is_ours(&self.ledger, id);
        let mut table = handle.table_and_counters(whole, |of, reals| found.insert(of, reals)).await?;
        self.board.put(found, clock::now());
        if std::mem::take(&mut self.flush) {
            let others = table.ids().filter(|id| wanted.get(*id).is_none()).count();
            tracing::info!("lvs_flush: {others} virtual servers that are not in the configuration go");
            self.ledger.set(table.ids().chain(wanted.ids()).collect());
        }
        table.retain(|id| is_ours(&self.ledger, id));
        let others = known.map(|made| words::of_others(&plan(made, &table))).unwrap_or_default();
        others.iter().for_each(|line| tracing::warn!("ipvs: {line}; it is put right"));
        self.made = Some(table);
        Ok(others)
    }

    async fn timeouts(&mut self, handle: &Handle, config: &Config) -> Result<(), Error> {
        let [tcp_s, tcp_fin_s, udp_s] = config.global.ipvs.timeouts_s;
        let wanted = Timeouts { tcp_s, tcp_fin_s, udp_s };
        if wanted == Timeouts::default() || wanted.are_met_by(&handle.timeouts().await?) {
            self.over("lvs_timeouts");
            return Ok(());
        }
        match handle.set_timeouts(&wanted).await {
            Ok(()) => tracing::info!("ipvs: lvs_timeouts are set"),
            Err(error @ Error::Kernel(_)) => self.say("lvs_timeouts", format!("lvs_timeouts: {error}: write less")),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    async fn daemons(&mut self, handle: &Handle) -> Result<(), Error> {
        let wanted = self.sync.as_ref().map(|sync| {
            let is_master = sync.domain.is_some_and(|domain| self.masters.contains(&domain));
            sync.daemons(is_master)
        });
        if wanted.is_none() && !self.syncs {
            return Ok(());
        }
        self.syncs = true;
        let wanted = wanted.unwrap_or_default();
        let running = handle.daemons().await?;
        for daemon in running.iter().filter(|running| !wanted.iter().any(|wanted| wanted.is_met_by(running))) {
            tracing::info!("ipvs: the sync daemon {:?} on {} is stopped", daemon.role, daemon.interface);
            match handle.stop_daemon(daemon).await {
                Ok(()) | Err(Error::Kernel(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for daemon in wanted.iter().filter(|wanted| !running.iter().any(|running| wanted.is_met_by(running))) {
            match handle.start_daemon(daemon).await {
                Ok(()) => {
                    tracing::info!("ipvs: the sync daemon {:?} runs on {}", daemon.role, daemon.interface);
                    self.over("lvs_sync_daemon");
                }
                Err(error @ Error::Kernel(_)) => {
                    let hint = match error.errno() {
                        Some(libc::EINVAL) => {
                            ": it can't be had beside real servers of another family than their virtual server"
                        }
                        Some(libc::ENODEV) => ": create the interface, or name another",
                        _ => "",
                    };
                    self.say("lvs_sync_daemon", format!("lvs_sync_daemon {}: {error}{hint}", daemon.interface));
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// At the end.
    async fn end(mut self, keep: bool) {
        let Some(config) = self.config.take().filter(|_| !keep) else { return };
        // After a failure there is none: what is ours is to go all the same.
        let Some(handle) = self.open().await else { return };
        let ended = async {
            if config.global.ipvs.flush_on_stop == FlushOnStop::All {
                handle.flush().await?;
                self.ledger.set(BTreeSet::new());
            } else {
                // Real servers go with what they are of.
                let mut table = handle.table(|_| false).await?;
                table.retain(|id| self.ledger.ours().contains(&id));
                let changes = plan(&Table::default(), &table);
                let answers = handle.apply(&changes).await;
                let left = changes.iter().zip(answers).filter_map(|(change, answer)| match (change, answer) {
                    (Change::DeleteService(id), Err(_)) => Some(*id),
                    _ => None,
                });
                let left = left.collect();
                self.ledger.set(left);
            }
            if self.syncs {
                for daemon in handle.daemons().await? {
                    handle.stop_daemon(&daemon).await?;
                }
            }
            Ok::<(), Error>(())
        };
        if let Err(error) = ended.await {
            tracing::warn!("virtual servers may stay in the kernel: {}", chain(&error));
        }
    }

    fn refused(&mut self, refused: BTreeMap<String, String>) {
        let is_over = |what: &String| what.strip_prefix(CHANGE).is_some_and(|what| !refused.contains_key(what));
        self.told.retain(|what, _| !is_over(what));
        for (what, words) in refused {
            self.say(&format!("{CHANGE}{what}"), words);
        }
    }

    /// Says what does not work, once for as long as it is the same.
    fn say(&mut self, what: &str, words: String) {
        if self.told.get(what) != Some(&words) {
            tracing::error!("ipvs: {words}");
            self.told.insert(what.to_owned(), words);
        }
    }

    fn over(&mut self, what: &str) {
        if self.told.remove(what).is_some() {
            tracing::info!("ipvs: {what}: it works now");
        }
    }
}

/// What is told of a change begins so.
const CHANGE: &str = "change: ";

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_config::{Environment, load_text};
    use keepone_proto::balance::wanted::Wanted;

    fn config(servers: &[u8]) -> Arc<Config> {
        let real = |last: &u8| format!(" real_server 10.0.0.{last} 80 {{ }}\n");
        let real: String = servers.iter().map(real).collect();
        let text = format!("virtual_server 192.0.2.1 80 {{\n protocol TCP\n{real}}}\n");
        match load_text(Path::new("t.conf"), &text, &Environment::default()) {
            Ok((config, _)) => Arc::new(config),
            Err(errors) => panic!("{errors:?}"),
        }
    }

    fn tells() -> (Sender<Event>, Board) {
        (tokio::sync::mpsc::channel(1).0, Board::default())
    }

    #[test]
    fn the_table_of_a_former_process_stays_until_the_checks_have_spoken_and_is_not_flushed() {
        let directory = tempfile::tempdir().unwrap();
        let said = Arc::<Said>::default();
        let flushes = |mut config: Arc<Config>| {
            Arc::make_mut(&mut config).global.ipvs.flush = true;
            config
        };
        let mut first = Server::new((directory.path(), false), tells());
        first.take(Ask::Configure(flushes(config(&[1, 2])), Arc::default()));
        assert!(!first.waits() && first.flush, "an ordinary start");
        let mut next = Server::new((directory.path(), true), tells());
        next.take(Ask::Configure(flushes(config(&[1, 2])), Arc::clone(&said)));
        next.hear();
        assert!(next.waits() && !next.flush);
        said.put(Wanted { virtual_server: 0, servers: vec![None, Some(1)], sorry: false });
        next.hear();
        assert!(!next.waits());
        // It has once spoken: another configuration has it wait for nothing.
        next.take(Ask::Configure(config(&[3]), Arc::default()));
        assert!(!next.waits());
    }

    #[test]
    fn what_is_said_by_the_places_of_the_former_configuration_is_none_of_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let mut server = Server::new((directory.path(), false), tells());
        let (first, second) = (Arc::<Said>::default(), Arc::<Said>::default());
        let without_the_first = || Wanted { virtual_server: 0, servers: vec![None, Some(1)], sorry: false };
        let there = |server: &Server| {
            let table = server.servers.table();
            table.entries().flat_map(|entry| entry.destinations.keys().map(ToString::to_string)).collect::<Vec<_>>()
        };
        server.take(Ask::Configure(config(&[1, 2]), Arc::clone(&first)));
        first.put(without_the_first());
        // Its last word is the next one's beginning.
        server.take(Ask::Configure(config(&[2, 1]), Arc::clone(&second)));
        assert_eq!(there(&server), ["10.0.0.2:80"]);
        first.put(without_the_first());
        server.hear();
        assert_eq!(there(&server), ["10.0.0.2:80"]);
        second.put(without_the_first());
        server.hear();
        assert_eq!(there(&server), ["10.0.0.1:80"]);
    }
}
