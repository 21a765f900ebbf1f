//! Another configuration for a running node: what is equal stays untouched, with all that is known of it.
//!
//! What must stay true: a lease never learns of it. A domain that goes on keeps its holder, its epoch and its gate; one
//! that ends does so by R8; one that begins anew under a name that was there before goes on with that one's lease, so
//! that no epoch is used twice (I4).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::{Node, places};
use crate::action::Action;
use crate::domain::Domain;
use crate::id::DomainId;
use crate::interface::Interface;
use crate::settings::{DomainSettings, PeerSettings, Settings};
use crate::time::Instant;

impl Node {
    /// Takes a configuration over. Domains that can't go on under it end first.
    pub(super) fn reconfigure(&mut self, now: Instant, settings: Settings, out: &mut Vec<Action>) {
        if self.stopping_since.is_some() {
            return;
        }
        let settings = self.with_what_stays(settings);
        if self.interfaces.len() < settings.interfaces.len() {
            self.interfaces.resize_with(settings.interfaces.len(), Interface::default);
        }
        self.trackers.reconfigure(&settings, now);
        self.references.reconfigure(&settings.references, now);
        self.agenda.compare_references();
        let wanted: BTreeMap<DomainId, &DomainSettings> = settings.domains.iter().map(|new| (new.id, new)).collect();
        for (id, domain) in &mut self.domains {
            match wanted.get(id) {
                Some(new) if domain.can_become(new, &settings) => domain.reconfigure(now, new, &settings, out),
                Some(_) | None => {
                    domain.retire(now);
                    self.retiring.insert(*id);
                }
            }
        }
        for PeerSettings { node, links } in &settings.peers {
            if let Some(peer) = self.peers.get_mut(node) {
                peer.set_links(links, self.incarnation);
            }
        }
        self.findings.reconfigure(&settings);
        self.settings = settings;
        let new = self.settings.domains.iter().filter(|new| !self.domains.contains_key(&new.id)).cloned();
        for domain in new.collect::<Vec<_>>() {
            self.begin(now, &domain);
        }
        self.places = places(&self.domains);
        self.agenda.touch_all();
    }

    /// What is of this life, or of its start, whatever a new configuration says.
    fn with_what_stays(&self, settings: Settings) -> Settings {
        let own = &self.settings;
        let known: BTreeMap<DomainId, &DomainSettings> = own.domains.iter().map(|domain| (domain.id, domain)).collect();
        let of_any = own.domains.first().map(|domain| domain.authority.clone());
        let mut settings = Settings {
            cluster: own.cluster,
            node: own.node,
            digest: own.digest,
            seed: own.seed,
            heartbeat: own.heartbeat,
            // The same peers; over which links they are reached may be new.
            peers: own
                .peers
                .iter()
                .map(|peer| settings.peers.iter().find(|new| new.node == peer.node).unwrap_or(peer).clone())
                .collect(),
            begin_at: own.begin_at,
            watchdog: own.watchdog,
            guards: own.guards,
            ..settings
        };
        for domain in &mut settings.domains {
            let authority = known.get(&domain.id).map(|known| known.authority.clone());
            if let Some(stays) = authority.or_else(|| of_any.clone()) {
                domain.authority = stays;
            }
        }
        settings
    }

    /// Begins a domain, like one at a start: its first deed is to clean up (R12).
    fn begin(&mut self, now: Instant, settings: &DomainSettings) {
        let mut domain = Domain::new(&self.settings, settings, self.incarnation, None, now);
        if let Some(lease) = self.ended.remove(&settings.id) {
            domain.inherit(now, lease, &self.settings);
        }
        self.domains.insert(settings.id, domain);
        self.agenda.touch(settings.id);
    }

    /// Domains that have ended go; where the configuration has another one of that name, it begins.
    pub(super) fn bury(&mut self, now: Instant, out: &mut Vec<Action>) {
        if self.retiring.is_empty() {
            return;
        }
        let silence = self.settings.heartbeat.silence();
        let domains = &mut self.domains;
        let mut is_gone = |id: &DomainId| domains.get_mut(id).is_none_or(|domain| domain.is_gone(now, silence));
        let gone: Vec<DomainId> = self.retiring.iter().copied().filter(|id| is_gone(id)).collect();
        for id in gone {
            self.retiring.remove(&id);
            if let Some(domain) = self.domains.remove(&id) {
                self.ended.insert(id, domain.lease);
            }
            self.alerts.end_of(id);
            self.agenda.forget(id);
            out.push(Action::Retired { domain: id });
            if let Some(settings) = self.settings.domains.iter().find(|domain| domain.id == id).cloned() {
                self.begin(now, &settings);
            }
            self.places = places(&self.domains);
        }
    }
}
