//! The kernel's table of virtual servers (IPVS), kept as the configuration and the health of real servers want it.
//!
//! - [`wanted`]: from the configuration to a table
//! - [`serve`]: the thread that makes the kernel's table equal to it, and looks after it
//! - [`said`]: what the checks say, on its way to the thread
//! - [`words`]: what is told of changes; [`others`]: the alert that somebody else makes them
//! - [`ledger`]: which services are ours
//! - [`connections`]: what real servers that are emptied still have; [`counted`]: what the last look has found of all
//!
//! What must stay true: nobody waits for this thread (R15), which runs below real time; it makes differences only, so
//! that connections outlive a reload, a new worker, an upgrade and a restart; services of others stay as they are, unless
//! `lvs_flush` says otherwise.

pub(crate) mod connections;
pub(crate) mod counted;
mod ledger;
mod others;
mod said;
mod serve;
mod sync;
mod wanted;
mod words;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_config::Config;
use keepone_proto::decision::Role;
use keepone_proto::event::Event;
use keepone_proto::id::DomainId;
use tokio::sync::mpsc;

use crate::checkers::listeners::Wish;
use crate::clock;

use said::Said;

/// At the end the table is waited for so long.
const END: Duration = Duration::from_secs(3);
/// How often it is looked at then.
const LOOK: Duration = Duration::from_millis(5);

/// What the thread is told by the one that decides, which waits for nothing: so this queue has no bound. Reloads and
/// changes of roles are few, however long the kernel takes; what the checks say is elsewhere ([`Said`]).
#[derive(Debug)]
pub(crate) enum Ask {
    /// Another configuration runs, and what the checks say by it. What was told of real servers stays true of those that
    /// are in both.
    Configure(Arc<Config>, Arc<Said>),
    /// A domain has changed its role.
    Role(DomainId, Role),
    /// How many connections these real servers have; the answer has room.
    Connections(Vec<connections::Who>, std::sync::mpsc::SyncSender<connections::Answer>),
    /// The agent ends; whether the table is to stay, for a worker that follows at once.
    End { keep: bool },
}

/// The thread's end in the driver's hand.
#[derive(Debug)]
pub(crate) struct Ipvs {
    thread: Option<(mpsc::UnboundedSender<Ask>, JoinHandle<()>)>,
    /// Of the configuration that runs.
    said: Arc<Said>,
    run_dir: PathBuf,
    /// Who asks for connections past the thread that decides.
    desk: connections::Desk,
    /// The way to the core.
    events: mpsc::Sender<Event>,
    /// A worker that follows at once finds the table as it is.
    keep: bool,
    /// A thread that begins is to leave the table as it is until the checks have spoken.
    goes_on: bool,
    /// Of each domain, for a thread that begins later.
    roles: Vec<(DomainId, Role)>,
}

impl Ipvs {
    /// Starts the thread, if there is anything for it to do: also where a former run may have left services. That is on
    /// the disk, and is looked for here alone, before anything is decided (R15).
    ///
    /// With what a process before this one `held`, if this one goes on with it: then the table stays as it is until the
    /// checks have said of each virtual server who is in it.
    pub(crate) fn start(
        (config, held): (&Arc<Config>, Option<Vec<DomainId>>),
        run_dir: &Path,
        desk: connections::Desk,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let mut ipvs = Ipvs {
            thread: None,
            said: Arc::default(),
            run_dir: run_dir.to_owned(),
            desk,
            events,
            keep: false,
            goes_on: held.is_some(),
            roles: held.into_iter().flatten().map(|domain| (domain, Role::Master)).collect(),
        };
        if ledger::is_there(run_dir) {
            ipvs.begin();
        }
        ipvs.configure(config);
        ipvs
    }

    /// Another configuration runs. What a former run left needs no look any more: since [`Self::start`] this run's thread
    /// alone writes the ledger.
    pub(crate) fn configure(&mut self, config: &Arc<Config>) {
        if self.thread.is_none() && is_needed(config) {
            self.begin();
        }
        self.said = Arc::default();
        self.ask(Ask::Configure(Arc::clone(config), Arc::clone(&self.said)));
    }

    fn begin(&mut self) {
        let (asks, asked) = mpsc::unbounded_channel();
        let (run_dir, events) = (self.run_dir.clone(), self.events.clone());
        let goes_on = std::mem::take(&mut self.goes_on);
        let board = self.desk.board.clone();
        let serve = move || serve::run((&run_dir, goes_on), (events, board), asked);
        match thread::Builder::new().name("ipvs".into()).spawn(serve) {
            Ok(thread) => {
                self.desk.open(asks.clone());
                self.thread = Some((asks, thread));
                for (domain, role) in self.roles.clone() {
                    self.ask(Ask::Role(domain, role));
                }
            }
            Err(error) => {
                tracing::error!(%error, "no thread for virtual servers: raise the limit of tasks, then reload")
            }
        }
    }

    /// A domain has changed its role.
    pub(crate) fn tell_role(&mut self, domain: DomainId, role: Role) {
        self.roles.retain(|(known, _)| *known != domain);
        self.roles.push((domain, role));
        self.ask(Ask::Role(domain, role));
    }

    /// The way for what the checks say of the configuration told of last.
    pub(crate) fn wish(&self) -> Wish {
        let said = Arc::clone(&self.said);
        Box::new(move |wanted| said.put(wanted))
    }

    /// This worker ends for another one, which follows at once.
    pub(crate) fn keep(&mut self) {
        self.keep = true;
    }

    fn ask(&self, ask: Ask) {
        // It ends only when it is told to.
        let _ = self.thread.as_ref().map(|(asks, _)| asks.send(ask));
    }

    /// Takes our services out, unless they are to stay, for as long as [`END`].
    pub(crate) fn stop(self) {
        self.ask(Ask::End { keep: self.keep });
        let Some((_, thread)) = self.thread else { return };
        let until = clock::now() + END;
        while clock::now() < until && !thread.is_finished() {
            thread::sleep(LOOK);
        }
        if !thread.is_finished() {
            tracing::warn!(
                "virtual servers could not be taken out of the kernel within {END:?}: `ipvsadm -Ln` shows them"
            );
        }
    }
}

/// Whether anything in a configuration is the kernel's business here.
fn is_needed(config: &Config) -> bool {
    let ipvs = &config.global.ipvs;
    !config.virtual_servers.is_empty() || ipvs.flush || ipvs.sync.is_some() || ipvs.timeouts_s != [None; 3]
}
