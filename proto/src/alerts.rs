//! Conditions that an operator should know of: each is told once when it begins and once when it ends.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use crate::action::{Action, Alert, AlertName};
use crate::id::DomainId;

/// All alerts of a node.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    raised: BTreeMap<(AlertName, Option<DomainId>), ()>,
    news: Vec<Alert>,
}

impl Alerts {
    /// Says how one condition stands; `words` is asked only when it begins or ends,
    /// and tells what is seen then: at the end what is well again, not what was wrong.
    pub fn set(&mut self, name: AlertName, domain: Option<DomainId>, raised: bool, words: impl FnOnce() -> String) {
        // Most of the time nothing stands, and nothing is to be told.
        let was = !self.raised.is_empty() && self.raised.contains_key(&(name, domain));
        if was == raised {
            return;
        }
        if raised {
            self.raised.insert((name, domain), ());
        } else {
            self.raised.remove(&(name, domain));
        }
        self.news.push(Alert { name, domain, raised, evidence: words() });
    }

    /// [`Alerts::set`] with words that fit only while it stands, and what is well again once it has ended.
    pub fn set_with_end(
        &mut self,
        name: AlertName,
        domain: Option<DomainId>,
        raised: bool,
        words: impl FnOnce() -> String,
        end: &str,
    ) {
        self.set(name, domain, raised, || if raised { words() } else { String::from(end) });
    }

    /// Those that stand.
    pub fn standing(&self) -> impl Iterator<Item = (AlertName, Option<DomainId>)> + '_ {
        self.raised.keys().copied()
    }

    /// What began or ended since the last call.
    pub fn take(&mut self, out: &mut Vec<Action>) {
        out.extend(self.news.drain(..).map(Action::Alert));
    }
}
