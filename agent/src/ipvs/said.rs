//! What the checks say of virtual servers, until the thread takes it.
//!
//! Of each virtual server the last word only, since it is the whole answer: a kernel that takes its time makes nothing
//! grow. Each configuration has one of its own: by the places of the former one nothing is said about the next.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use keepone_proto::balance::wanted::Wanted;
use tokio::sync::Notify;

/// What was said since it was last taken.
#[derive(Debug, Default)]
pub(crate) struct Said {
    last: Mutex<BTreeMap<usize, Wanted>>,
    news: Notify,
}

impl Said {
    /// Instead of what was said of that virtual server before. The thread that decides has no business here: it might
    /// wait for the lock.
    pub(super) fn put(&self, wanted: Wanted) {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).insert(wanted.virtual_server, wanted);
        self.news.notify_one();
    }

    /// All of it.
    pub(super) fn take(&self) -> impl Iterator<Item = Wanted> + use<> {
        std::mem::take(&mut *self.last.lock().unwrap_or_else(PoisonError::into_inner)).into_values()
    }

    /// Once something has been put in.
    pub(super) async fn news(&self) {
        self.news.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_last_word_of_each_counts_and_none_grows_a_queue() {
        let said = Said::default();
        let one = |virtual_server, weight| Wanted { virtual_server, servers: vec![Some(weight)], sorry: false };
        (0..1000).for_each(|weight| said.put(one(7, weight)));
        said.put(one(2, 1));
        said.news().await;
        assert_eq!(said.take().collect::<Vec<_>>(), [one(2, 1), one(7, 999)]);
        assert_eq!(said.take().count(), 0);
    }
}
