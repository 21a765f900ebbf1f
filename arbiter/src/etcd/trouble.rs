//! What is wrong with etcd, for the log: each trouble once until it is over, however many servers take turns in it.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// More troubles at a time are not told.
const MOST: usize = 16;

/// The troubles that were told: where, and what.
#[derive(Debug, Default)]
pub(super) struct Trouble(Mutex<BTreeSet<(String, String)>>);

impl Trouble {
    // A panic elsewhere while the lock was held leaves whole entries.
    fn lock(&self) -> MutexGuard<'_, BTreeSet<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is one. Whether it is told now.
    pub(super) fn is_there(&self, place: &str, why: &str) -> bool {
        let mut told = self.lock();
        let is_news = told.len() < MOST && told.insert((place.to_owned(), why.to_owned()));
        if is_news {
            tracing::warn!("etcd, {place}: {why}");
        }
        is_news
    }

    /// A question was answered. Whether that ends what was told.
    pub(super) fn is_over(&self) -> bool {
        let was_there = !std::mem::take(&mut *self.lock()).is_empty();
        if was_there {
            tracing::info!("etcd answers");
        }
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trouble_is_told_once_whoever_has_others_meanwhile_and_its_end() {
        let trouble = Trouble::default();
        assert!(!trouble.is_over());
        assert!(trouble.is_there("http://a", "no answer") && trouble.is_there("http://b", "no answer"));
        for _ in 0..100 {
            assert!(!trouble.is_there("http://a", "no answer") && !trouble.is_there("http://b", "no answer"));
        }
        let told = (0..100).filter(|number| trouble.is_there("http://a", &number.to_string())).count();
        assert_eq!(told, MOST - 2);
        assert!(trouble.is_over() && !trouble.is_over());
        assert!(trouble.is_there("http://a", "no answer"), "anew");
    }
}
