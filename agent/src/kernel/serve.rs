//! The thread's work.
//!
//! What must stay true: what the core has asked to take out stays out, whatever was asked before or is noticed later.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::time::Instant;
use tokio::sync::{Notify, mpsc};

use super::interfaces::OwnInterfaces;
use super::statics::Statics;
use super::{AFTER_ERROR, Ask, Configuration, Said, Wanted, watch_on};
use crate::clock;
use crate::netlink::address::{AddressError, AddressErrors, Addresses, Lifetime, VirtualAddress};
use crate::netlink::path::watch::watch as watch_paths;
use crate::netlink::path::{Owner, Paths};
use crate::netlink::queues;
use crate::netlink::watch::Watch;

/// So many addresses are asked for together, for whichever domains.
const TOGETHER: usize = 256;
/// What is not there although it should be is tried again so often; the core hears of track groups as often.
const AGAIN: Duration = Duration::from_secs(1);

pub(super) async fn serve(
    wanted: Wanted,
    names: queues::Names,
    mut requests: mpsc::UnboundedReceiver<Ask>,
    answers: mpsc::Sender<Said>,
) -> Result<(), String> {
    let mut server = Server::open(wanted, answers.clone())?;
    let interfaces = names.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let watch = Watch::open(interfaces, server.writer.wanted()).map_err(|error| error.to_string())?;
    let (more, further) = mpsc::unbounded_channel();
    tokio::spawn(watch_on(watch, further, answers.clone()));
    server.watched = Some((names, more));
    let look = Arc::clone(&server.look);
    server.begin().await;
    let mut again = tokio::time::interval(AGAIN);
    again.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut waiting = VecDeque::new();
    loop {
        let going = tokio::select! {
            biased;
            ask = requests.recv() => {
                let Some(ask) = ask else { return Ok(()) };
                waiting.push_back(ask);
                // Whatever else has come meanwhile.
                while waiting.len() < TOGETHER && let Ok(ask) = requests.try_recv() {
                    waiting.push_back(ask);
                }
                server.carry_out(&mut waiting).await
            }
            () = look.notified() => server.look().await,
            _ = again.tick() => server.try_again().await,
        };
        if !going {
            return Ok(());
        }
    }
}

/// The watch of routes and rules, opened anew whenever it fails.
async fn look_out(wanted: crate::netlink::path::Wanted, look: Arc<Notify>) {
    loop {
        if let Err(error) = watch_paths(wanted.clone(), Arc::clone(&look)).await {
            tracing::error!(%error, "the watch of routes and rules has to begin anew");
        }
        tokio::time::sleep(AFTER_ERROR).await;
    }
}

pub(super) struct Server {
    addresses: BTreeMap<DomainId, Vec<VirtualAddress>>,
    pub(super) writer: Addresses,
    pub(super) paths: Paths,
    statics: Statics,
    interfaces: OwnInterfaces,
    /// Since when the addresses of a domain have been wanted.
    since: BTreeMap<DomainId, Instant>,
    /// What somebody has taken away for good (`no_track`).
    given_up: BTreeSet<(DomainId, IpAddr)>,
    /// What the core knows of faults of routes.
    told: BTreeMap<Owner, String>,
    /// What a new configuration has no more and could not be taken out yet, with the number of its request.
    leaving: Vec<(Vec<VirtualAddress>, u64)>,
    /// The interfaces that are watched, and the way to have more watched.
    watched: Option<(queues::Names, mpsc::UnboundedSender<Vec<String>>)>,
    /// Routes or rules may have gone.
    look: Arc<Notify>,
    /// Whether anybody watches for it.
    looks_out: bool,
    answers: mpsc::Sender<Said>,
}

impl Server {
    pub(super) fn open(wanted: Wanted, answers: mpsc::Sender<Said>) -> Result<Self, String> {
        Ok(Server {
            writer: Addresses::open().map_err(|error| crate::exit::chain(&error))?,
            paths: Paths::open(wanted.paths).map_err(|error| format!("no socket for routes: {error}"))?,
            statics: Statics::new(wanted.statics, wanted.groups),
            interfaces: OwnInterfaces::open(wanted.links, wanted.settings, &wanted.run_dir)
                .map_err(|error| format!("no socket for interfaces: {error}"))?,
            addresses: wanted.addresses,
            since: BTreeMap::new(),
            given_up: BTreeSet::new(),
            told: BTreeMap::new(),
            leaving: Vec::new(),
            watched: None,
            look: Arc::default(),
            looks_out: false,
            answers,
        })
    }

    /// What is there as long as the agent.
    pub(super) async fn begin(&mut self) -> bool {
        self.look_out();
        self.interfaces.begin();
        self.statics.set(&self.writer).await;
        self.paths.raise(Owner::Agent).await;
        self.tell_faults([Owner::Agent]).await && self.tell_groups().await
    }

    /// Has routes and rules watched, once there are any.
    fn look_out(&mut self) {
        if !self.looks_out && !self.paths.is_empty() {
            self.looks_out = true;
            tokio::spawn(look_out(self.paths.wanted(), Arc::clone(&self.look)));
        }
    }

    /// Another configuration. What comes with addresses follows them, which the core sets.
    async fn configure(&mut self, asked: Configuration) -> bool {
        let Configuration { addresses, statics, groups, paths, links, settings, gone, number } = asked;
        let before = std::mem::replace(&mut self.addresses, addresses);
        // While the settings hold under which it takes no other address of its network along.
        self.statics.replace(&self.writer, statics, &self.addresses).await;
        self.statics.set_groups(groups);
        self.paths.replace(paths);
        self.look_out();
        self.interfaces.replace(links, settings);
        // Before anything that is asked for later: the same address may come back with another prefix.
        let going = self.take_out(gone, number).await;
        self.statics.set_new(&self.writer).await;
        self.interfaces.tidy();
        let waits = |owner: &Owner| match owner {
            Owner::Domain(domain) => before.get(domain) != self.addresses.get(domain),
            Owner::Agent => false,
        };
        let mut owners: BTreeSet<Owner> = self.paths.waiting().into_iter().filter(|owner| !waits(owner)).collect();
        for owner in &owners {
            self.paths.change(*owner).await;
        }
        owners.insert(Owner::Agent);
        going && self.tell_faults(owners).await && self.tell_groups().await
    }

    /// Everything that waits, like with like. Whether anybody listens.
    pub(super) async fn carry_out(&mut self, waiting: &mut VecDeque<Ask>) -> bool {
        while let Some(first) = waiting.front().cloned() {
            let going = match first {
                Ask::Configure(asked) => {
                    waiting.pop_front();
                    self.configure(*asked).await
                }
                Ask::Watch(interfaces) => {
                    waiting.pop_front();
                    if let Some((names, more)) = &self.watched {
                        names.lock().unwrap_or_else(PoisonError::into_inner).extend(interfaces.iter().cloned());
                        let _ = more.send(interfaces);
                    }
                    true
                }
                Ask::Set { .. } => {
                    let (mut group, mut count) = (Vec::new(), 0);
                    while let Some(Ask::Set { domain, epoch, lifetime_s }) = waiting.front() {
                        let (domain, epoch, lifetime_s) = (*domain, *epoch, *lifetime_s);
                        count += self.addresses.get(&domain).map_or(0, Vec::len);
                        if count > TOGETHER && !group.is_empty() {
                            break;
                        }
                        group.push((domain, epoch, lifetime_s));
                        waiting.pop_front();
                    }
                    self.set(&group).await
                }
                Ask::Remove { .. } => {
                    let (mut group, mut count) = (Vec::new(), 0);
                    while let Some(Ask::Remove { domain, epoch }) = waiting.front() {
                        let (domain, epoch) = (*domain, *epoch);
                        count += self.addresses.get(&domain).map_or(0, Vec::len);
                        if count > TOGETHER && !group.is_empty() {
                            break;
                        }
                        group.push((domain, epoch));
                        waiting.pop_front();
                    }
                    self.remove(&group).await
                }
                Ask::PutBack { .. } => {
                    let mut group = Vec::new();
                    while let Some(Ask::PutBack { domain, address, lifetime_s }) = waiting.front() {
                        group.push((*domain, *address, *lifetime_s));
                        waiting.pop_front();
                    }
                    self.put_back(&group).await;
                    true
                }
                Ask::PutBackStatic { address } => {
                    waiting.pop_front();
                    self.statics.put_back(&self.writer, address).await;
                    self.tell_groups().await
                }
            };
            if !going {
                return false;
            }
        }
        true
    }

    /// Takes out what a new configuration has no more. What stays at first is tried again; at the latest its lifetime
    /// ends it.
    async fn take_out(&mut self, gone: Vec<VirtualAddress>, number: u64) -> bool {
        let answers = self.writer.remove_each(&gone.iter().collect::<Vec<_>>()).await;
        let stays = |gone: &VirtualAddress| self.addresses.values().flatten().any(|new| new.address == gone.address);
        let mut left = Vec::new();
        for (gone, answer) in gone.iter().zip(answers) {
            if let Err(error) = answer {
                tracing::warn!(%error, "an address that the new configuration has no more is still there");
                left.extend((!stays(gone)).then(|| gone.clone()));
            }
        }
        if left.is_empty() {
            return self.answers.send(Said::Removed(number)).await.is_ok();
        }
        self.leaving.push((left, number));
        true
    }

    async fn set(&mut self, group: &[(DomainId, Epoch, u32)]) -> bool {
        let now = clock::now();
        for (domain, ..) in group {
            self.since.entry(*domain).or_insert(now);
        }
        let mut list = Vec::new();
        let mut counts = Vec::new();
        for (domain, _, lifetime_s) in group {
            let since = self.since.get(domain).copied().unwrap_or(now);
            let before = list.len();
            list.extend(self.of(*domain).map(|address| (address, address.lifetime(*lifetime_s, now.since(since)))));
            counts.push(list.len() - before);
        }
        let mut each = self.writer.set_each(list).await.into_iter();
        for ((domain, epoch, _), count) in group.iter().zip(counts) {
            let error = error(each.by_ref().take(count));
            if error.is_none() {
                self.paths.raise(Owner::Domain(*domain)).await;
            }
            let said = Event::AddressesDone { domain: *domain, epoch: *epoch, present: true, error };
            if !self.say(said).await || !self.tell_faults([Owner::Domain(*domain)]).await {
                return false;
            }
        }
        true
    }

    /// Those of a domain's addresses that are to be there.
    fn of(&self, domain: DomainId) -> impl Iterator<Item = &VirtualAddress> {
        let list = self.addresses.get(&domain).map(Vec::as_slice).unwrap_or_default();
        list.iter().filter(move |address| !self.given_up.contains(&(domain, address.address)))
    }

    async fn remove(&mut self, group: &[(DomainId, Epoch)]) -> bool {
        let mut left = BTreeMap::new();
        for (domain, _) in group {
            self.since.remove(domain);
            self.given_up.retain(|(of, _)| of != domain);
            if let Err(words) = self.paths.lower(Owner::Domain(*domain)).await {
                tracing::error!("{words}");
                left.insert(Owner::Domain(*domain), words);
            }
        }
        let lists: Vec<&[VirtualAddress]> =
            group.iter().map(|(domain, _)| self.addresses.get(domain).map(Vec::as_slice).unwrap_or_default()).collect();
        let mut each = self.writer.remove_each(&lists.iter().copied().flatten().collect::<Vec<_>>()).await.into_iter();
        for ((domain, epoch), list) in group.iter().zip(lists) {
            let error = error(each.by_ref().take(list.len()));
            let owner = Owner::Domain(*domain);
            let said = Event::AddressesDone { domain: *domain, epoch: *epoch, present: false, error };
            let words = left.remove(&owner);
            if !say(&self.answers, said).await || !tell_fault(&mut self.told, &self.answers, owner, words).await {
                return false;
            }
        }
        true
    }

    /// Each by itself: the kernel tells of those, too, that it has taken along with the first one of their network.
    async fn put_back(&mut self, group: &[(DomainId, IpAddr, u32)]) {
        let mut asked = BTreeMap::<DomainId, BTreeMap<IpAddr, u32>>::new();
        for (domain, address, lifetime_s) in group {
            asked.entry(*domain).or_default().insert(*address, *lifetime_s);
        }
        let mut back = Vec::new();
        for (domain, asked) in asked {
            // It was to be out before this was asked, or is by now.
            let Some(since) = self.since.get(&domain).copied() else { continue };
            let age = clock::now().since(since);
            for known in self.addresses.get(&domain).into_iter().flatten() {
                let Some(lifetime_s) = asked.get(&known.address) else { continue };
                if known.no_track {
                    let address = known.address;
                    tracing::info!(
                        %address,
                        "somebody took an address of no_track away: it stays out until the next mastership"
                    );
                    self.given_up.insert((domain, address));
                } else {
                    back.push((known.clone(), known.lifetime(*lifetime_s, age)));
                }
            }
        }
        if back.is_empty() {
            return;
        }
        // They may have gone with their interface.
        self.interfaces.look();
        let list: Vec<(&VirtualAddress, Lifetime)> = back.iter().map(|(address, life)| (address, *life)).collect();
        if let Some(error) = error(self.writer.set_each(list).await.into_iter()) {
            tracing::error!(%error, "addresses that were taken away could not be put back");
        }
        self.paths.look().await;
    }

    /// Something may have gone.
    pub(super) async fn look(&mut self) -> bool {
        self.paths.look().await;
        self.tell_faults(self.owners()).await && self.tell_groups().await
    }

    pub(super) async fn try_again(&mut self) -> bool {
        self.statics.take_out(&self.writer, &self.addresses).await;
        for (gone, number) in std::mem::take(&mut self.leaving) {
            if !self.take_out(gone, number).await {
                return false;
            }
        }
        let new = self.interfaces.look();
        let faulty = new || self.statics.is_faulty() || self.paths.is_faulty();
        if self.statics.is_faulty() {
            self.statics.set(&self.writer).await;
        }
        if faulty { self.look().await } else { self.tell_groups().await }
    }

    fn owners(&self) -> Vec<Owner> {
        let domains = self.since.keys().map(|domain| Owner::Domain(*domain));
        std::iter::once(Owner::Agent).chain(domains).collect()
    }

    async fn tell_faults(&mut self, owners: impl IntoIterator<Item = Owner>) -> bool {
        for owner in owners {
            let mut fault = self.paths.fault_of(owner);
            if let Some(of_statics) = self.statics.fault().filter(|_| owner == Owner::Agent) {
                fault = Some(fault.map_or_else(|| of_statics.clone(), |fault| format!("{fault}; {of_statics}")));
            }
            if !tell_fault(&mut self.told, &self.answers, owner, fault).await {
                return false;
            }
        }
        true
    }

    async fn tell_groups(&mut self) -> bool {
        for event in self.statics.groups(clock::now(), &self.paths) {
            if !self.say(event).await {
                return false;
            }
        }
        true
    }

    async fn say(&self, event: Event) -> bool {
        say(&self.answers, event).await
    }
}

async fn say(answers: &mpsc::Sender<Said>, event: Event) -> bool {
    answers.send(Said::Event(event)).await.is_ok()
}

/// What has changed, for the alert.
async fn tell_fault(
    told: &mut BTreeMap<Owner, String>,
    answers: &mpsc::Sender<Said>,
    owner: Owner,
    fault: Option<String>,
) -> bool {
    if told.get(&owner) == fault.as_ref() {
        return true;
    }
    let domain = match owner {
        Owner::Agent => None,
        Owner::Domain(domain) => Some(domain),
    };
    match &fault {
        Some(words) => drop(told.insert(owner, words.clone())),
        None => drop(told.remove(&owner)),
    }
    say(answers, Event::RoutesSeen { domain, error: fault }).await
}

fn error(answers: impl Iterator<Item = Result<(), AddressError>>) -> Option<String> {
    let errors: Vec<AddressError> = answers.filter_map(Result::err).collect();
    (!errors.is_empty()).then(|| AddressErrors(errors).to_string())
}
