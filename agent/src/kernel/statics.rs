//! Static addresses, and how track groups are.
//!
//! What must stay true: a new configuration touches no address that it has as the former one had it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use keepone_proto::event::Event;
use keepone_proto::id::{DomainId, WatchId};
use keepone_proto::time::Instant;
use keepone_proto::watch::{RETELL, Reading};

use crate::netlink::address::{Addresses, Lifetime, VirtualAddress};
use crate::netlink::path::Paths;

/// Those of domains.
type Virtual = BTreeMap<DomainId, Vec<VirtualAddress>>;

/// One of them.
#[derive(Debug)]
struct Static {
    address: VirtualAddress,
    group: Option<String>,
    fault: Option<String>,
    /// Somebody took it away for good (`no_track`).
    given_up: bool,
    /// A new configuration has brought it, and nobody has set it yet.
    is_new: bool,
}

impl Static {
    fn new((address, group): (VirtualAddress, Option<String>)) -> Self {
        Static { address, group, fault: None, given_up: false, is_new: false }
    }
}

#[derive(Debug)]
struct Group {
    watch: WatchId,
    name: String,
    told: Option<(Reading, Instant)>,
}

impl Group {
    fn new((watch, name): (WatchId, String)) -> Self {
        Group { watch, name, told: None }
    }
}

/// All of them.
#[derive(Debug)]
pub(super) struct Statics {
    all: Vec<Static>,
    /// What a new configuration has no more and could not be taken out yet.
    leaving: Vec<VirtualAddress>,
    groups: Vec<Group>,
}

impl Statics {
    pub(super) fn new(all: Vec<(VirtualAddress, Option<String>)>, groups: Vec<(WatchId, String)>) -> Self {
        Statics {
            all: all.into_iter().map(Static::new).collect(),
            leaving: Vec::new(),
            groups: groups.into_iter().map(Group::new).collect(),
        }
    }

    /// Those of another configuration: what it has no more goes, what is new in it comes with [`Statics::set_new`].
    pub(super) async fn replace(
        &mut self,
        writer: &Addresses,
        all: Vec<(VirtualAddress, Option<String>)>,
        virtual_ones: &Virtual,
    ) {
        let former = std::mem::take(&mut self.all).into_iter();
        let mut former: BTreeMap<VirtualAddress, Static> = former.map(|one| (one.address.clone(), one)).collect();
        let known = |(address, group)| match former.remove(&address) {
            Some(one) => Static { group, ..one },
            None => Static { is_new: true, ..Static::new((address, group)) },
        };
        self.all = all.into_iter().map(known).collect();
        self.leaving.extend(former.into_keys());
        self.take_out(writer, virtual_ones).await;
    }

    /// From now on these are told of. Of what was told of already nothing is told anew.
    pub(super) fn set_groups(&mut self, groups: Vec<(WatchId, String)>) {
        self.groups.retain(|known| groups.iter().any(|(watch, _)| *watch == known.watch));
        for new in groups {
            if self.groups.iter().all(|known| known.watch != new.0) {
                self.groups.push(Group::new(new));
            }
        }
    }

    /// What is to go and is still there, unless that address is wanted otherwise by now.
    pub(super) async fn take_out(&mut self, writer: &Addresses, virtual_ones: &Virtual) {
        let mut leaving = std::mem::take(&mut self.leaving);
        leaving.retain(|gone| virtual_ones.values().flatten().all(|one| one.address != gone.address));
        if leaving.is_empty() {
            return;
        }
        let answers = writer.remove_each(&leaving.iter().collect::<Vec<_>>()).await;
        for (gone, answer) in leaving.into_iter().zip(answers) {
            if let Err(error) = answer {
                tracing::warn!(%error, "a static address that the new configuration has no more is still there");
                let is_wanted = self.all.iter().any(|one| one.address.address == gone.address);
                self.leaving.extend((!is_wanted).then_some(gone));
            }
        }
    }

    /// Puts them there, for as long as nobody takes them away.
    pub(super) async fn set(&mut self, writer: &Addresses) {
        self.set_those(writer, |one| !one.given_up).await;
    }

    /// The same for what a new configuration has brought.
    pub(super) async fn set_new(&mut self, writer: &Addresses) {
        self.set_those(writer, |one| one.is_new).await;
    }

    async fn set_those(&mut self, writer: &Addresses, which: impl Fn(&Static) -> bool) {
        let list = self.all.iter().filter(|one| which(one)).map(|one| {
            let preferred_s = one.address.preferred_s.unwrap_or(Lifetime::FOREVER.preferred_s);
            (&one.address, Lifetime { preferred_s, ..Lifetime::FOREVER })
        });
        let answers = writer.set_each(list.collect()).await;
        for (one, answer) in self.all.iter_mut().filter(|one| which(one)).zip(answers) {
            one.is_new = false;
            let fault = answer.err().map(|error| crate::exit::chain(&error));
            if let Some(words) = fault.as_ref().filter(|words| one.fault.as_ref() != Some(*words)) {
                tracing::error!("a static address: {words}");
            }
            if one.fault.is_some() && fault.is_none() {
                tracing::info!(address = %one.address.address, "the static address is there now");
            }
            one.fault = fault;
        }
    }

    /// Somebody took one away.
    pub(super) async fn put_back(&mut self, writer: &Addresses, address: IpAddr) {
        let Some(one) = self.all.iter_mut().find(|one| one.address.address == address) else { return };
        if one.address.no_track {
            tracing::info!(%address, "somebody took a static address of no_track away: it stays out");
            one.given_up = true;
        } else {
            tracing::warn!(%address, "somebody took a static address away; it is put back");
            self.set(writer).await;
        }
    }

    pub(super) fn is_faulty(&self) -> bool {
        self.all.iter().any(|one| one.fault.is_some())
    }

    /// What is wrong, all in one.
    pub(super) fn fault(&self) -> Option<String> {
        let faults: Vec<&str> = self.all.iter().filter_map(|one| one.fault.as_deref()).collect();
        (!faults.is_empty()).then(|| faults.join("; "))
    }

    /// How the track groups are: whatever has changed, and everything again now and then.
    pub(super) fn groups(&mut self, now: Instant, paths: &Paths) -> Vec<Event> {
        let all = &self.all;
        let reading = |name: &str| {
            let mut mine = all.iter().filter(|one| one.group.as_deref() == Some(name));
            let fault = mine.find_map(|one| one.fault.as_deref()).or_else(|| paths.fault_of_group(name));
            fault.map_or(Reading::Up, |fault| Reading::Down(fault.to_owned()))
        };
        let changed = self.groups.iter_mut().filter_map(|group| {
            let reading = reading(&group.name);
            let known = group.told.as_ref().is_some_and(|(told, at)| *told == reading && now < *at + RETELL);
            if known {
                return None;
            }
            group.told = Some((reading.clone(), now));
            Some(Event::Watched { watch: group.watch, reading })
        });
        changed.collect()
    }
}
