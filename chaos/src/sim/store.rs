//! A store with compare-and-swap, as etcd is one: what it holds, and what it answers. Its host can stand still, as one whose
//! leader changes does, be down, be deleted by hand, or come back with an old backup.
//!
//! Where grants hang on sessions it counts by its host's clock when the leases end on which these stand, and carries that out
//! some time later. Else it knows nothing of leases or clocks, and what is safe with it is so by the register's rules.

use std::time::Duration;

use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::lease::register::keeper::{Kept, KeptAsk};
use keepone_proto::lease::register::{Answer, Ask, Content, Life, Reading};
use keepone_proto::time::Instant;

use super::mutant::Mutant;
use super::plan::{DOMAINS, Plan};

/// What a register asks of the store, and what word it leaves there.
#[derive(Debug, Clone, Copy)]
pub enum Question {
    /// About a domain's key.
    Key {
        /// Which.
        domain: DomainId,
        /// To name in the answer.
        ticket: u64,
        /// What.
        ask: Ask,
        /// The lease that it hangs on, if it hangs on one.
        lease: Option<u64>,
    },
    /// For a lease, on which a swap is to hang.
    Lease {
        /// Of which domain.
        domain: DomainId,
        /// Of that swap.
        ticket: u64,
        /// That swap.
        ask: Ask,
    },
    /// The store's own: what leases have ended?
    Ends,
    /// About the record of generations.
    Record {
        /// To name in the answer.
        ticket: u64,
        /// What.
        ask: KeptAsk,
    },
    /// For the holder of a domain (R11).
    Word {
        /// Of which domain.
        domain: DomainId,
        /// The priority of who asks.
        priority: u8,
        /// The epoch that a Transfer may name.
        next: Epoch,
    },
}

/// A question on its way.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// Whose it is: the host, and its life.
    pub from: (usize, u32),
    /// What.
    pub question: Question,
}

/// A lease that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// A later one has a higher number.
    number: u64,
    /// Real time at which it was granted, for the judge.
    pub since: u64,
    /// How long it is.
    pub length: Duration,
    /// When it ends by the clock of the store's host.
    ends: Instant,
}

/// What survives the process.
#[derive(Debug, Clone, Default)]
struct Disk {
    revision: u64,
    keys: [Option<(u64, Content)>; DOMAINS],
    kept: Kept,
    leases: Vec<Lease>,
    /// Each life's session, and the number of the lease that it stands on.
    sessions: Vec<(Life, u64)>,
}

/// The store.
#[derive(Debug, Clone)]
pub struct Store {
    disk: Disk,
    backup: Disk,
    /// What has reached it while it stood still.
    pub waiting: Vec<Asked>,
    /// It is not started before: who restores a store has had it down for longer than a lease.
    pub barred_until: u64,
    /// When the store looks next for what has ended.
    pub ends_at: Option<u64>,
    /// Leases that were ever granted.
    granted: u64,
    /// An ablation: a swap is a plain write.
    compares: bool,
    /// Another: a swap is not held against the session of who held the key.
    minds_sessions: bool,
}

impl Store {
    /// An empty one, which compares unless that is what is taken out.
    pub fn new(mutant: Option<Mutant>) -> Self {
        let disk = Disk { revision: 1, ..Disk::default() };
        Store {
            backup: disk.clone(),
            disk,
            waiting: Vec::new(),
            barred_until: 0,
            ends_at: None,
            granted: 0,
            compares: mutant != Some(Mutant::StoreComparesNothing),
            minds_sessions: mutant != Some(Mutant::SessionNotAwaited),
        }
    }

    /// Puts a copy of everything away.
    pub fn back_up(&mut self) {
        self.backup = self.disk.clone();
    }

    /// Everything is as it was at the last [`Store::back_up`].
    pub fn roll_back(&mut self) {
        self.disk = self.backup.clone();
    }

    /// A new one has taken its place.
    pub fn lose(&mut self) {
        self.disk = Disk { revision: 1, ..Disk::default() };
    }

    /// Somebody deletes all keys.
    pub fn delete(&mut self) {
        let leases = core::mem::take(&mut self.disk.leases);
        self.disk = Disk { revision: self.disk.revision + 1, leases, ..Disk::default() };
    }

    /// Grants a lease, as long as `ask` needs one in whole seconds.
    pub fn lease(&mut self, now: u64, local: Instant, ask: Ask) -> u64 {
        let held = if let Ask::Swap { content, .. } = ask { content.held } else { None };
        let length = Duration::from_secs(
            held.map_or(1, |held| held.lease.as_nanos().div_ceil(1_000_000_000)).try_into().unwrap_or(1),
        );
        self.granted += 1;
        self.disk.leases.push(Lease { number: self.granted, since: now, length, ends: local + length });
        self.granted
    }

    /// One that has not ended.
    pub fn find_lease(&self, number: u64) -> Option<Lease> {
        self.disk.leases.iter().copied().find(|lease| lease.number == number)
    }

    /// Another member leads: it counts each lease's whole length anew.
    pub fn lead_anew(&mut self, local: Instant) {
        for lease in &mut self.disk.leases {
            lease.ends = local + lease.length;
        }
    }

    /// When the next lease ends, by the clock of the store's host.
    pub fn next_end(&self) -> Option<Instant> {
        self.disk.leases.iter().map(|lease| lease.ends).min()
    }

    /// Carries out the end of leases; whose sessions go with them.
    pub fn end_leases(&mut self, local: Instant) -> Vec<Life> {
        let Disk { leases, sessions, revision, .. } = &mut self.disk;
        leases.retain(|lease| lease.ends > local);
        let mut gone = Vec::new();
        sessions.retain(|(life, number)| {
            let stands = leases.iter().any(|lease| lease.number == *number);
            if !stands {
                gone.push(*life);
                *revision += 1;
            }
            stands
        });
        gone
    }

    fn has_session(&self, life: Life) -> bool {
        self.disk.sessions.iter().any(|(of, _)| *of == life)
    }

    /// Whether the session of who asks stands on that lease or may go over to it: what came later is not moved back.
    fn may_stand(&self, life: Life, number: u64) -> bool {
        self.disk.sessions.iter().all(|(of, stands_on)| *of != life || *stands_on <= number)
    }

    fn stand(&mut self, life: Life, number: u64) {
        self.disk.sessions.retain(|(of, _)| *of != life);
        self.disk.sessions.push((life, number));
    }

    /// The key of a domain as it stands.
    pub fn reading(&self, domain: DomainId) -> Reading {
        let key = self.disk.keys.get(Plan::place(domain)).copied().flatten();
        let version = key.map_or(0, |(version, _)| version);
        let content = key.map(|(_, content)| content);
        let held = content.and_then(|content| content.held).filter(|held| held.session);
        let is_orphan = held.is_some_and(|held| !self.has_session((held.epoch.node, held.epoch.incarnation)));
        Reading { revision: self.disk.revision, version, content, is_orphan }
    }

    /// Carries out a question about a domain's key; `lease` is the one that it hangs on, if it hangs on one.
    pub fn answer(&mut self, domain: DomainId, ask: Ask, lease: Option<u64>) -> Answer {
        let shown = self.reading(domain);
        let held = if let Ask::Swap { content, .. } = ask { content.held } else { None };
        let own = held.filter(|held| held.session).map(|held| (held.epoch.node, held.epoch.incarnation));
        let own = own.zip(lease);
        match ask {
            // etcd refuses it with an error.
            Ask::Swap { .. } if own.is_some_and(|(_, number)| self.find_lease(number).is_none()) => Answer::Unknown,
            Ask::Swap { version, content, kept, orphan_of }
                if !self.compares
                    || (version == shown.version
                        && kept == self.disk.kept.version
                        && own.is_none_or(|(life, number)| self.may_stand(life, number))
                        && orphan_of.is_none_or(|life| !self.minds_sessions || !self.has_session(life))) =>
            {
                if let Some((life, number)) = own {
                    self.stand(life, number);
                }
                self.disk.revision += 1;
                if let Some(key) = self.disk.keys.get_mut(Plan::place(domain)) {
                    *key = Some((self.disk.revision, content));
                }
                Answer::Swapped { version: self.disk.revision }
            }
            Ask::Read | Ask::Swap { .. } => Answer::Read(shown, self.disk.kept),
        }
    }

    /// Carries out a question about the record of generations.
    pub fn answer_kept(&mut self, ask: KeptAsk) -> Kept {
        if let KeptAsk::Write { version, record } = ask
            && version == self.disk.kept.version
        {
            self.disk.revision += 1;
            self.disk.kept = Kept { version: self.disk.revision, record };
        }
        self.disk.kept
    }

    /// A word for a holder is written.
    pub fn leave_word(&mut self) {
        self.disk.revision += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_proto::id::Incarnation;
    use keepone_proto::lease::register::Held;
    use std::time::Duration;

    fn content(counter: u64) -> Content {
        let epoch = Epoch { counter, incarnation: Incarnation(1), attempt: 1, node: Plan::node(0) };
        Content {
            highest: epoch,
            held: Some(Held { epoch, lease: Duration::from_secs(1), priority: 100, session: false }),
        }
    }

    #[test]
    fn a_swap_takes_place_only_at_the_version_that_it_names() {
        let domain = Plan::domain(1);
        let swap = |version, counter| Ask::Swap { version, content: content(counter), kept: 0, orphan_of: None };
        let mut store = Store::new(None);
        assert_eq!(store.answer(domain, swap(0, 1), None), Answer::Swapped { version: 2 });
        store.back_up();
        let shown = Reading { revision: 2, version: 2, content: Some(content(1)), is_orphan: false };
        assert_eq!(store.answer(domain, swap(0, 2), None), Answer::Read(shown, Kept::default()));
        let elsewhere = Ask::Swap { version: 2, content: content(2), kept: 7, orphan_of: None };
        assert_eq!(store.answer(domain, elsewhere, None), Answer::Read(shown, Kept::default()));
        assert_eq!(store.answer(domain, swap(2, 2), None), Answer::Swapped { version: 3 });
        assert_eq!(
            store.reading(Plan::domain(0)),
            Reading { revision: 3, version: 0, content: None, is_orphan: false }
        );
        store.delete();
        assert_eq!(store.reading(domain), Reading { revision: 4, version: 0, content: None, is_orphan: false });
        store.roll_back();
        assert_eq!(store.reading(domain), shown);
        let mut plain = Store::new(Some(Mutant::StoreComparesNothing));
        assert_eq!(plain.answer(domain, swap(9, 2), None), Answer::Swapped { version: 2 });
    }

    #[test]
    fn a_session_ends_by_the_stores_clock_and_a_swap_on_an_older_lease_or_one_that_has_ended_does_not_take_place() {
        let (domain, at) = (Plan::domain(0), |ms| Instant::BOOT + Duration::from_millis(ms));
        let on = |version, counter, orphan_of| {
            let content = content(counter);
            let held = content.held.map(|held| Held { session: true, ..held });
            Ask::Swap { version, content: Content { held, ..content }, kept: 0, orphan_of }
        };
        let life = (Plan::node(0), Incarnation(1));
        let mut store = Store::new(None);
        let [old, new] = [0, 100].map(|ms| store.lease(ms, at(ms), on(0, 1, None)));
        assert_eq!(store.answer(domain, on(0, 1, None), Some(new)), Answer::Swapped { version: 2 });
        let shown = store.reading(domain);
        assert!(!shown.is_orphan);
        assert_eq!(store.answer(domain, on(2, 2, None), Some(old)), Answer::Read(shown, Kept::default()));
        assert_eq!(store.answer(domain, on(2, 2, Some(life)), Some(new)), Answer::Read(shown, Kept::default()));
        assert_eq!((store.next_end(), store.end_leases(at(1050))), (Some(at(1000)), Vec::new()));
        assert_eq!(store.answer(domain, on(2, 2, None), Some(old)), Answer::Unknown);
        // Another leads: a second from then.
        store.lead_anew(at(1060));
        assert_eq!(store.end_leases(at(2059)), Vec::new());
        assert_eq!(store.end_leases(at(2060)), [life]);
        assert!(store.reading(domain).is_orphan);
    }
}
