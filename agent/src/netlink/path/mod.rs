//! Routes and routing rules: those of a domain while it is Master, and those that are there as long as the agent.
//!
//! What must stay true: what is added for a domain is removed by what the configuration says of it alone, so that
//! whoever comes after a dead worker can do it; nothing of anybody else is removed.

mod encap;
mod names;
mod route;
mod rule;
pub(crate) mod watch;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use keepone_config::model::{Named, Route, Rule, RuleAction};
use keepone_proto::id::DomainId;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use nix::errno::Errno;

use super::batch::{Answer, Batch, Indexes, Refusal, Request};
use names::Names;
use route::Deed;

/// A routing table's number; its name, where nothing knows that.
pub(crate) fn number_of_table(table: &Named) -> String {
    number_of(names::Kind::Table, table)
}

/// The number of who made a route, likewise.
pub(crate) fn number_of_protocol(protocol: &Named) -> String {
    number_of(names::Kind::Protocol, protocol)
}

fn number_of(kind: names::Kind, named: &Named) -> String {
    match (Names::default().number(kind, named), named) {
        (Ok(number), _) => number.to_string(),
        (Err(_), Named::Name(name)) => name.clone(),
        (Err(_), Named::Number(number)) => number.to_string(),
    }
}

/// A route or a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Path {
    /// A route.
    Route(Box<Route>),
    /// A rule.
    Rule(Box<Rule>),
}

/// Whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Owner {
    /// There as long as the agent.
    Agent,
    /// There while the domain is Master.
    Domain(DomainId),
}

impl Path {
    /// Whether it is put back when somebody takes it away.
    fn is_tracked(&self) -> bool {
        match self {
            // One that expires goes by itself.
            Path::Route(route) => !route.no_track && route.expires.is_none(),
            Path::Rule(rule) => !rule.no_track,
        }
    }

    /// Whose instances are in FAULT without it.
    pub(crate) fn track_group(&self) -> Option<&str> {
        match self {
            Path::Route(route) => route.track_group.as_deref(),
            Path::Rule(rule) => rule.track_group.as_deref(),
        }
    }

    fn request(&self, deed: Deed, names: &Names, indexes: &mut Indexes) -> Result<Request, String> {
        Ok(match (self, deed) {
            (Path::Route(route), Deed::Add) => Request {
                message: RouteNetlinkMessage::NewRoute(route::message(route, deed, names, indexes)?),
                flags: route::flags(route),
            },
            (Path::Route(route), Deed::Delete) => Request {
                message: RouteNetlinkMessage::DelRoute(route::message(route, deed, names, indexes)?),
                flags: 0,
            },
            // The kernel takes a second one of the same kind without EXCL.
            (Path::Rule(rule), Deed::Add) => Request {
                message: RouteNetlinkMessage::NewRule(rule::message(rule, names)?),
                flags: NLM_F_CREATE | NLM_F_EXCL,
            },
            (Path::Rule(rule), Deed::Delete) => {
                Request { message: RouteNetlinkMessage::DelRule(rule::message(rule, names)?), flags: 0 }
            }
        })
    }
}

/// As `ip` would have it: enough to know it again.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, name: &Named| match name {
            Named::Number(number) => write!(f, "{number}"),
            Named::Name(name) => f.write_str(name),
        };
        match self {
            Path::Route(route) => {
                f.write_str("route ")?;
                match route.destination {
                    Some(to) => write!(f, "{}/{}", to.address, to.length)?,
                    None => f.write_str(if route.ipv6 { "default (IPv6)" } else { "default" })?,
                }
                if let Some(via) = route.via {
                    write!(f, " via {via}")?;
                }
                if let Some(dev) = &route.dev {
                    write!(f, " dev {dev}")?;
                }
                for hop in &route.nexthops {
                    let via = hop.via.map_or_else(|| hop.dev.clone().unwrap_or_default(), |via| via.to_string());
                    write!(f, " nexthop {via}")?;
                }
                if let Some(table) = &route.table {
                    f.write_str(" table ")?;
                    named(f, table)?;
                }
                Ok(())
            }
            Path::Rule(rule) => {
                f.write_str("rule")?;
                for (word, prefix) in [("from", rule.from), ("to", rule.to)] {
                    if let Some(prefix) = prefix {
                        write!(f, " {word} {}/{}", prefix.address, prefix.length)?;
                    }
                }
                if let RuleAction::Lookup(table) = &rule.action {
                    f.write_str(" lookup ")?;
                    named(f, table)?;
                }
                match rule.preference {
                    Some(preference) => write!(f, " (preference {preference})"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Where a wanted route leads: family, network, length of its prefix, table.
pub(super) type Key = (bool, IpAddr, u8, u32);

/// What the watch has to know.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted(Arc<WantedInner>);

#[derive(Debug, Default)]
struct WantedInner {
    routes: Mutex<BTreeSet<Key>>,
    /// One is not there although it should be.
    faulty: AtomicBool,
}

impl Wanted {
    fn contains(&self, key: &Key) -> bool {
        self.0.routes.lock().unwrap_or_else(PoisonError::into_inner).contains(key)
    }

    fn is_faulty(&self) -> bool {
        self.0.faulty.load(Ordering::Relaxed)
    }
}

/// The writer of routes and rules.
#[derive(Debug)]
pub(crate) struct Paths {
    batch: Batch,
    names: Names,
    owned: BTreeMap<Owner, Vec<Path>>,
    up: BTreeSet<Owner>,
    /// What owners had that are up and have others since: until [`Paths::change`].
    former: BTreeMap<Owner, Vec<Path>>,
    /// Which are not there, and why.
    faults: BTreeMap<(Owner, usize), String>,
    wanted: Wanted,
}

impl Paths {
    /// Opens a socket in the network namespace of the thread.
    ///
    /// # Errors
    /// The kernel's answer.
    pub(crate) fn open(owned: BTreeMap<Owner, Vec<Path>>) -> io::Result<Self> {
        Ok(Paths {
            batch: Batch::open()?,
            names: Names::default(),
            owned,
            up: BTreeSet::new(),
            former: BTreeMap::new(),
            faults: BTreeMap::new(),
            wanted: Wanted::default(),
        })
    }

    /// For the watch.
    pub(crate) fn wanted(&self) -> Wanted {
        self.wanted.clone()
    }

    /// Whether there is anything to look after.
    pub(crate) fn is_empty(&self) -> bool {
        self.owned.values().all(Vec::is_empty)
    }

    /// Whether one is not there although it should be.
    pub(crate) fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// What is wrong with those of an owner, all in one.
    pub(crate) fn fault_of(&self, owner: Owner) -> Option<String> {
        let faults: Vec<&str> =
            self.faults.iter().filter(|((of, _), _)| *of == owner).map(|(_, f)| f.as_str()).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    /// What is wrong with those of a track group.
    pub(crate) fn fault_of_group(&self, group: &str) -> Option<&str> {
        let list = self.owned.get(&Owner::Agent)?;
        let mut faults = self.faults.iter().filter(|((of, _), _)| *of == Owner::Agent);
        let mine = faults.find(|((_, at), _)| list.get(*at).is_some_and(|path| path.track_group() == Some(group)));
        mine.map(|(_, fault)| fault.as_str())
    }

    /// From now on owners have these. In the kernel nothing changes but by [`Paths::change`], [`Paths::raise`] and
    /// [`Paths::lower`].
    pub(crate) fn replace(&mut self, owned: BTreeMap<Owner, Vec<Path>>) {
        for owner in &self.up {
            let (old, new) = (self.owned.get(owner), owned.get(owner));
            if old != new {
                self.former.entry(*owner).or_default().extend(old.into_iter().flatten().cloned());
            }
        }
        let before = std::mem::replace(&mut self.owned, owned);
        let now = &self.owned;
        let place = |(owner, at): (Owner, usize)| {
            let path = before.get(&owner)?.get(at)?;
            Some((owner, now.get(&owner)?.iter().position(|new| new == path)?))
        };
        let faults = std::mem::take(&mut self.faults);
        self.faults = faults.into_iter().filter_map(|(old, words)| Some((place(old)?, words))).collect();
        self.note_faults();
    }

    /// Owners that are up and have other ones than the kernel.
    pub(crate) fn waiting(&self) -> Vec<Owner> {
        self.former.keys().copied().collect()
    }

    /// Brings into the kernel what [`Paths::replace`] has left to do for an owner. What stays is not touched; new ones
    /// come before former ones go, so that packets have a way all the time.
    pub(crate) async fn change(&mut self, owner: Owner) {
        let Some(former) = self.former.remove(&owner) else { return };
        self.renew_wanted();
        let list = self.owned.get(&owner).map(Vec::as_slice).unwrap_or_default();
        let new = list.iter().enumerate().filter(|(_, path)| !former.contains(path));
        let new: Vec<(Owner, usize)> = new.map(|(at, _)| (owner, at)).collect();
        let is_gone = |path: &&Path| !list.contains(path) && !self.stays_with_another(owner, path);
        let gone: Vec<Path> = former.iter().filter(is_gone).cloned().collect();
        self.add(new.clone(), false).await;
        if gone.is_empty() {
            return;
        }
        if let Err(words) = remove(&self.batch, &self.names, &gone).await {
            tracing::error!("of the former configuration: {words}");
        }
        // One that differed from a former one in nothing that the kernel tells them apart by has gone with it.
        self.add(new, false).await;
    }

    /// All of an owner's are to be there. What is there already is left as it is; a second call changes nothing.
    pub(crate) async fn raise(&mut self, owner: Owner) {
        if !self.up.insert(owner) {
            return self.change(owner).await;
        }
        let all = self.owned.get(&owner).map_or(0, Vec::len);
        self.renew_wanted();
        self.add((0..all).map(|at| (owner, at)).collect(), false).await;
    }

    /// What should be there and is not is put back, and said.
    pub(crate) async fn look(&mut self) {
        let mut places = Vec::new();
        for owner in &self.up {
            let list = self.owned.get(owner).map(Vec::as_slice).unwrap_or_default();
            let former = self.former.get(owner);
            let looked_after = |(at, path): (usize, &Path)| {
                let is_there = former.is_none_or(|former| former.contains(path));
                let is_tracked = path.is_tracked() || self.faults.contains_key(&(*owner, at));
                (is_there && is_tracked).then_some((*owner, at))
            };
            places.extend(list.iter().enumerate().filter_map(looked_after));
        }
        self.add(places, true).await;
    }

    /// None of an owner's are there any more: rules first, then routes, each in the reverse order.
    pub(crate) async fn lower(&mut self, owner: Owner) -> Result<(), String> {
        self.up.remove(&owner);
        self.renew_wanted();
        self.faults.retain(|(of, _), _| *of != owner);
        self.note_faults();
        let mut list = self.former.remove(&owner).unwrap_or_default();
        list.extend(self.owned.get(&owner).into_iter().flatten().cloned());
        list.retain(|path| !self.stays_with_another(owner, path));
        remove(&self.batch, &self.names, &list).await
    }

    /// Whether one that an owner gives up is to stay for another: a reload has made it a static one, or a static one that of
    /// a domain.
    fn stays_with_another(&self, owner: Owner, path: &Path) -> bool {
        let has = |other: &&Owner| self.owned.get(other).is_some_and(|list| list.contains(path));
        match owner {
            Owner::Domain(_) => self.up.get(&Owner::Agent).is_some_and(|agent| has(&agent)),
            Owner::Agent => self.up.iter().filter(|other| **other != Owner::Agent).any(|other| has(&other)),
        }
    }

    async fn add(&mut self, places: Vec<(Owner, usize)>, again: bool) {
        let mut indexes = Indexes::default();
        let (mut asked, mut requests) = (Vec::new(), Vec::new());
        let mut outcomes = Vec::new();
        for (owner, at) in places {
            let Some(path) = self.owned.get(&owner).and_then(|list| list.get(at)) else { continue };
            match path.request(Deed::Add, &self.names, &mut indexes) {
                Ok(request) => {
                    asked.push((owner, at));
                    requests.push(request);
                }
                Err(words) => outcomes.push(((owner, at), Err(words))),
            }
        }
        let answers = self.batch.run(&requests).await;
        outcomes.extend(asked.into_iter().zip(answers.into_iter().map(outcome)));
        for (place, outcome) in outcomes {
            self.take(place, outcome, again);
        }
        self.note_faults();
    }

    fn take(&mut self, place: (Owner, usize), outcome: Result<Added, String>, again: bool) {
        let Some(path) = self.owned.get(&place.0).and_then(|list| list.get(place.1)) else { return };
        match outcome {
            Ok(added) => {
                let failed = self.faults.remove(&place).is_some();
                if failed {
                    tracing::info!("{path} is there now");
                } else if again && added == Added::New {
                    tracing::warn!("somebody took {path} away; it is put back");
                }
            }
            Err(words) => {
                let words = format!("{path}: {words}");
                if self.faults.get(&place) != Some(&words) {
                    tracing::error!("can't add {words}");
                    self.faults.insert(place, words);
                }
            }
        }
    }

    fn note_faults(&self) {
        self.wanted.0.faulty.store(self.is_faulty(), Ordering::Relaxed);
    }

    fn renew_wanted(&self) {
        let up = self.up.iter().filter_map(|owner| self.owned.get(owner)).flatten();
        let keys = up.filter(|path| path.is_tracked()).filter_map(|path| match path {
            Path::Route(route) => {
                let anywhere: IpAddr = if route.ipv6 { IpAddr::from([0_u16; 8]) } else { IpAddr::from([0_u8; 4]) };
                let (to, length) = route.destination.map_or((anywhere, 0), |to| (to.address, to.length));
                Some((route.ipv6, network(to, length), length, route::table(route, &self.names).ok()?))
            }
            Path::Rule(_) => None,
        });
        *self.wanted.0.routes.lock().unwrap_or_else(PoisonError::into_inner) = keys.collect();
    }
}

/// What became of a request to add.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Added {
    /// It was not there.
    New,
    /// It was.
    Before,
}

fn outcome(answer: Answer) -> Result<Added, String> {
    match answer {
        Ok(()) => Ok(Added::New),
        Err(Refusal { errno: Some(Errno::EEXIST), .. }) => Ok(Added::Before),
        Err(refusal) => Err(refusal.to_string()),
    }
}

/// Removes them all, in the reverse order; absent ones are no errors.
async fn remove(batch: &Batch, names: &Names, list: &[Path]) -> Result<(), String> {
    let mut indexes = Indexes::default();
    let (mut asked, mut requests) = (Vec::new(), Vec::new());
    for path in list.iter().rev() {
        // What can't be asked for was never added: a name that nobody knows, an interface that is gone with its routes.
        if let Ok(request) = path.request(Deed::Delete, names, &mut indexes) {
            asked.push(path);
            requests.push(request);
        }
    }
    let answers = batch.run(&requests).await;
    let failed: Vec<String> = asked.iter().zip(answers).filter_map(|(path, answer)| left(path, answer)).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

/// Why it is still there, if it is.
fn left(path: &Path, answer: Answer) -> Option<String> {
    match answer {
        Ok(()) => None,
        // A table, an interface or a network that is not there has no routes.
        Err(Refusal {
            errno:
                Some(
                    Errno::ESRCH
                    | Errno::ENOENT
                    | Errno::ENODEV
                    | Errno::ENETDOWN
                    | Errno::ENETUNREACH
                    | Errno::EAFNOSUPPORT,
                ),
            ..
        }) => None,
        Err(refusal) => Some(format!("{path} can't be removed: {refusal}")),
    }
}

/// Removes routes and rules for a caller without a socket of its own.
///
/// # Errors
/// What is still there, and why.
pub(crate) async fn remove_all(list: &[Path]) -> Result<(), String> {
    if list.is_empty() {
        return Ok(());
    }
    let batch = Batch::open().map_err(|error| format!("no netlink socket to remove routes: {error}"))?;
    remove(&batch, &Names::default(), list).await
}

/// The address without its host part.
fn network(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::from((u32::from(address) & mask).to_be_bytes())
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length.into())).unwrap_or(0);
            IpAddr::from((u128::from(address) & mask).to_be_bytes())
        }
    }
}

#[cfg(test)]
mod tests;
