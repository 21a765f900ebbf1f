//! The thread that announces: gratuitous ARP and unsolicited NA of thousands of addresses, beside the decision (R15).
//!
//! What must stay true: whoever asks never waits for a frame; from the moment that a domain is hushed, right behind the
//! shutting of its gate, nothing of what waits for it leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use keepone_arbiter::realtime::{self, Rank};
use keepone_proto::action::Announced;
use keepone_proto::id::{DomainId, InstanceId, InterfaceId};

use super::neighbor::Voice;
use super::pace::{Lanes, Pacer, Place, Tenure};
use super::{SendError, Sent};
use crate::clock;

/// Frames in a row without a pace of the operator's.
const SLICE: usize = 128;
/// And the pause after them: what a receiver's queue (netdev_max_backlog, 1000) takes without loss.
const PAUSE: Duration = Duration::from_millis(1);

/// An address of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home {
    /// Where it lives.
    pub(crate) interface: InterfaceId,
    /// Which.
    pub(crate) address: IpAddr,
    /// The one of its interface for [`Announced::Elsewhere`].
    pub(crate) elsewhere: bool,
}

/// What is announced, and how fast.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// The addresses of each instance.
    pub(crate) homes: BTreeMap<InstanceId, Vec<Home>>,
    /// Their paces.
    pub(crate) lanes: Lanes,
}

/// What the thread is asked, folded: never more than there are instances and addresses.
#[derive(Debug, Default)]
struct Board {
    table: Arc<Table>,
    is_new: bool,
    asked: BTreeMap<(InstanceId, bool), (DomainId, u8)>,
    /// Single addresses.
    single: BTreeMap<Place, DomainId>,
    /// How often each domain was hushed.
    tenures: BTreeMap<DomainId, u64>,
    ended: bool,
}

impl Board {
    fn tenure(&self, domain: DomainId) -> Tenure {
        Tenure { domain, number: self.tenures.get(&domain).copied().unwrap_or(0) }
    }
}

#[derive(Debug)]
struct Shared {
    board: Mutex<Board>,
    news: Condvar,
}

impl Shared {
    // A panic elsewhere while the lock was held leaves whole entries.
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread's end in the driver's hand.
#[derive(Debug)]
pub(crate) struct Announcer(Arc<Shared>);

impl Announcer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no thread to give.
    pub(crate) fn start(table: Table, voice: Voice) -> std::io::Result<Self> {
        let board = Board { table: Arc::new(table), is_new: true, ..Board::default() };
        let shared = Arc::new(Shared { board: Mutex::new(board), news: Condvar::new() });
        let mine = Arc::clone(&shared);
        thread::Builder::new().name("announcer".into()).spawn(move || {
            // An heir's clients wait for it.
            realtime::ask(Rank::CarriesOut);
            serve(&mine, &voice);
        })?;
        Ok(Announcer(shared))
    }

    /// Another configuration.
    pub(crate) fn set(&self, table: Table) {
        let table = Arc::new(table);
        let mut board = self.0.lock();
        (board.table, board.is_new) = (table, true);
        self.0.news.notify_one();
    }

    /// So many rounds of an instance's addresses.
    pub(crate) fn announce(&self, domain: DomainId, instance: InstanceId, rounds: u8, which: Announced) {
        let mut board = self.0.lock();
        let (_, most) = board.asked.entry((instance, which == Announced::Elsewhere)).or_insert((domain, 0));
        *most = rounds.max(*most);
        self.0.news.notify_one();
    }

    /// One address, once.
    pub(crate) fn announce_one(&self, domain: DomainId, interface: InterfaceId, address: IpAddr) {
        self.0.lock().single.insert((interface, address), domain);
        self.0.news.notify_one();
    }

    /// Nothing more of a domain, until it is asked for anew.
    pub(crate) fn hush(&self, domain: DomainId) {
        let mut board = self.0.lock();
        *board.tenures.entry(domain).or_default() += 1;
        board.asked.retain(|_, (of, _)| *of != domain);
        board.single.retain(|_, of| *of != domain);
    }
}

impl Drop for Announcer {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.news.notify_one();
    }
}

fn serve(shared: &Shared, voice: &Voice) {
    let mut pacer = Pacer::default();
    // Of the interfaces whose NAs bear the Router flag, as it was when the last round was asked for.
    let mut routers = BTreeSet::new();
    while take(shared, &mut pacer, &mut routers, voice) {
        for _ in 0..SLICE {
            let is_over = |tenure: Tenure| shared.lock().tenure(tenure.domain) != tenure;
            let Some((interface, address)) = pacer.next(clock::now(), is_over) else { break };
            match voice.announce(interface, address, routers.contains(&interface)) {
                // The gate is shut, or the line is full: another round comes, if it is for us to announce at all.
                Ok(Sent::Taken | Sent::Refused | Sent::Busy) | Err(SendError::NotOpen) => {}
                Err(error) => tracing::debug!(error = %crate::exit::chain(&error), "an announcement was not sent"),
            }
        }
        if pacer.next_at().is_some_and(|at| at <= clock::now()) {
            thread::sleep(PAUSE);
        }
    }
}

/// Waits until something is due, and takes over what was asked; `false`: it is over.
fn take(shared: &Shared, pacer: &mut Pacer, routers: &mut BTreeSet<InterfaceId>, voice: &Voice) -> bool {
    let mut board = shared.lock();
    loop {
        let left = pacer.next_at().map(|at| at.since(clock::now()));
        let is_due = left.is_some_and(|left| left.is_zero());
        if board.ended {
            return false;
        }
        if board.is_new || is_due || !board.asked.is_empty() || !board.single.is_empty() {
            break;
        }
        board = match left {
            Some(left) => shared.news.wait_timeout(board, left).unwrap_or_else(PoisonError::into_inner).0,
            None => shared.news.wait(board).unwrap_or_else(PoisonError::into_inner),
        };
    }
    let is_new = std::mem::take(&mut board.is_new);
    let asked = std::mem::take(&mut board.asked);
    let asked: Vec<_> = asked.into_iter().map(|(which, (of, rounds))| (which, board.tenure(of), rounds)).collect();
    let single = std::mem::take(&mut board.single);
    let single: Vec<_> = single.into_iter().map(|(place, of)| (place, board.tenure(of))).collect();
    let table = Arc::clone(&board.table);
    drop(board);
    if is_new {
        pacer.set(&table.lanes);
    }
    let mut places = Vec::new();
    for ((instance, elsewhere), tenure, rounds) in asked {
        let homes = table.homes.get(&instance).into_iter().flatten();
        let homes = homes.filter(|home| !elsewhere || home.elsewhere);
        places.extend(homes.map(|home| ((home.interface, home.address), tenure, rounds)));
    }
    places.extend(single.into_iter().map(|(place, tenure)| (place, tenure, 1)));
    let six: BTreeSet<InterfaceId> =
        places.iter().filter(|((_, address), ..)| address.is_ipv6()).map(|((interface, _), ..)| *interface).collect();
    for interface in six {
        match voice.is_router(interface) {
            true => routers.insert(interface),
            false => routers.remove(&interface),
        };
    }
    for (place, tenure, rounds) in places {
        pacer.add(tenure, place, rounds);
    }
    true
}
