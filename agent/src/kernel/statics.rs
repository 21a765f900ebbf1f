//! Static addresses, and how track groups are.

use std::net::IpAddr;

use keepone_proto::event::Event;
use keepone_proto::id::WatchId;
use keepone_proto::time::Instant;
use keepone_proto::watch::{RETELL, Reading};

use crate::netlink::address::{Addresses, Lifetime, VirtualAddress};
use crate::netlink::path::Paths;

/// One of them.
#[derive(Debug)]
struct Static {
    address: VirtualAddress,
    group: Option<String>,
    fault: Option<String>,
    /// Somebody took it away for good (`no_track`).
    given_up: bool,
}

#[derive(Debug)]
struct Group {
    watch: WatchId,
    name: String,
    told: Option<(Reading, Instant)>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Statics {
    all: Vec<Static>,
    groups: Vec<Group>,
}

impl Statics {
    pub(super) fn new(all: Vec<(VirtualAddress, Option<String>)>, groups: Vec<(WatchId, String)>) -> Self {
        let one = |(address, group)| Static { address, group, fault: None, given_up: false };
        let group = |(watch, name)| Group { watch, name, told: None };
        Statics { all: all.into_iter().map(one).collect(), groups: groups.into_iter().map(group).collect() }
    }

    /// Puts them there, for as long as nobody takes them away.
    pub(super) async fn set(&mut self, writer: &Addresses) {
        let wanted = self.all.iter().filter(|one| !one.given_up);
        let list = wanted.map(|one| {
            let preferred_s = one.address.preferred_s.unwrap_or(Lifetime::FOREVER.preferred_s);
            (&one.address, Lifetime { preferred_s, ..Lifetime::FOREVER })
        });
        let answers = writer.set_each(list.collect()).await;
        for (one, answer) in self.all.iter_mut().filter(|one| !one.given_up).zip(answers) {
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
