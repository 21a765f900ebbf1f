//! A store with compare-and-swap, as etcd is one: what it holds, and what it answers. Its host can stand still, as one whose
//! leader changes does, be down, be deleted by hand, or come back with an old backup.
//!
//! What must stay true: it knows nothing of leases or clocks. What is safe with it is so by the register's rules.

use keepone_proto::id::{DomainId, Epoch};
use keepone_proto::lease::register::keeper::{Kept, KeptAsk};
use keepone_proto::lease::register::{Answer, Ask, Content, Reading};

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
    },
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

/// What survives the process.
#[derive(Debug, Clone, Copy, Default)]
struct Disk {
    revision: u64,
    keys: [Option<(u64, Content)>; DOMAINS],
    kept: Kept,
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
    /// An ablation: a swap is a plain write.
    compares: bool,
}

impl Store {
    /// An empty one, which compares unless that is what is taken out.
    pub fn new(mutant: Option<Mutant>) -> Self {
        let disk = Disk { revision: 1, ..Disk::default() };
        let compares = mutant != Some(Mutant::StoreComparesNothing);
        Store { disk, backup: disk, waiting: Vec::new(), barred_until: 0, compares }
    }

    /// Puts a copy of everything away.
    pub fn back_up(&mut self) {
        self.backup = self.disk;
    }

    /// Everything is as it was at the last [`Store::back_up`].
    pub fn roll_back(&mut self) {
        self.disk = self.backup;
    }

    /// A new one has taken its place.
    pub fn lose(&mut self) {
        self.disk = Disk { revision: 1, ..Disk::default() };
    }

    /// Somebody deletes all keys.
    pub fn delete(&mut self) {
        self.disk = Disk { revision: self.disk.revision + 1, ..Disk::default() };
    }

    /// The key of a domain as it stands.
    pub fn reading(&self, domain: DomainId) -> Reading {
        let key = self.disk.keys.get(Plan::place(domain)).copied().flatten();
        let version = key.map_or(0, |(version, _)| version);
        Reading { revision: self.disk.revision, version, content: key.map(|(_, content)| content), is_orphan: false }
    }

    /// Carries out a question about a domain's key.
    pub fn answer(&mut self, domain: DomainId, ask: Ask) -> Answer {
        let shown = self.reading(domain);
        match ask {
            Ask::Swap { version, content, kept, .. }
                if !self.compares || (version == shown.version && kept == self.disk.kept.version) =>
            {
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
        assert_eq!(store.answer(domain, swap(0, 1)), Answer::Swapped { version: 2 });
        store.back_up();
        let shown = Reading { revision: 2, version: 2, content: Some(content(1)), is_orphan: false };
        assert_eq!(store.answer(domain, swap(0, 2)), Answer::Read(shown, Kept::default()));
        let elsewhere = Ask::Swap { version: 2, content: content(2), kept: 7, orphan_of: None };
        assert_eq!(store.answer(domain, elsewhere), Answer::Read(shown, Kept::default()));
        assert_eq!(store.answer(domain, swap(2, 2)), Answer::Swapped { version: 3 });
        assert_eq!(
            store.reading(Plan::domain(0)),
            Reading { revision: 3, version: 0, content: None, is_orphan: false }
        );
        store.delete();
        assert_eq!(store.reading(domain), Reading { revision: 4, version: 0, content: None, is_orphan: false });
        store.roll_back();
        assert_eq!(store.reading(domain), shown);
        let mut plain = Store::new(Some(Mutant::StoreComparesNothing));
        assert_eq!(plain.answer(domain, swap(9, 2)), Answer::Swapped { version: 2 });
    }
}
