//! A node's session: a key that stands as long as an etcd lease, where the node's grants hang on one.
//!
//! Each renewal takes a *new* lease, and the swap of the domain's key moves the session's key over to it in the same
//! transaction. To grant a lease is a commit: whichever member leads from then on counts its whole length from the commit or
//! later, so that the key can't be gone before that length after the asking, by etcd's clock. A keep-alive is answered by
//! whoever thinks that it leads, without asking the others: one that leads no longer could prolong what the others let go. The
//! leases left behind end by themselves.
//!
//! What must stay true: what is asked for at some instant hangs on a lease that was asked for at that instant or later. So a
//! swap names that lease: the session stands on it, or is moved to it from the revision that was known when no newer lease
//! was. What nobody waits for any more can't move it back, as a move to a newer lease has left that revision.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{Compare, CompareOp, GetOptions, GetResponse, PutOptions, Txn, TxnOp, TxnOpResponse, TxnResponse};
use keepone_proto::time::Instant;

use crate::clock;

/// One life's.
#[derive(Debug)]
pub(super) struct Session {
    key: String,
    /// In whole seconds; etcd has none shorter than one and a half election timeouts.
    length: Duration,
    /// One lease is asked for at a time.
    asking: tokio::sync::Mutex<()>,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    /// The newest lease that was granted, and when it was asked for.
    lease: Option<(i64, Instant)>,
    /// When one was asked for the last time that was not granted.
    failed_at: Option<Instant>,
    /// The key's revision, as far as is known; 0 where there is none.
    revision: i64,
    /// How long etcd makes a lease.
    granted: Option<Duration>,
}

/// What a swap hangs on: a lease, and the session's revision as known when no lease was newer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stand {
    lease: i64,
    revision: i64,
}

/// What has become of a swap that hangs on a session.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It has taken place.
    Swapped,
    /// The domain's key, the record of generations or a session is not what the swap names; the reads say what they are.
    Not(Vec<TxnOpResponse>),
}

impl Session {
    pub(super) fn new(key: String, length: Duration) -> Self {
        Session { key, length, asking: tokio::sync::Mutex::default(), last: Mutex::default() }
    }

    // A panic elsewhere while the lock was held leaves whole fields.
    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The length to ask for, in seconds.
    pub(super) fn seconds(&self) -> i64 {
        i64::try_from(self.length.as_secs()).unwrap_or(i64::MAX)
    }

    /// Sees to it that there is a lease that was asked for no sooner than that; `grant` asks for one, and gives its id and its
    /// length. Who comes while another's is asked for waits, and most of those share the next one, or its failure: as long
    /// as two questions take at most. Whether there is one.
    pub(super) async fn anew(&self, not_before: Instant, grant: impl Future<Output = Option<(i64, Duration)>>) -> bool {
        let _one_at_a_time = self.asking.lock().await;
        if self.stand(not_before).is_some() {
            return true;
        }
        if self.last().failed_at.is_some_and(|at| at >= not_before) {
            return false;
        }
        let asked_at = clock::boottime();
        let granted = grant.await;
        let mut last = self.last();
        match granted {
            Some((lease, length)) => {
                last.lease = Some((lease, asked_at));
                self.note(&mut last, length);
            }
            None => last.failed_at = Some(asked_at),
        }
        granted.is_some()
    }

    /// What a swap that was asked for then is to name; `None`: no such lease was granted.
    pub(super) fn stand(&self, not_before: Instant) -> Option<Stand> {
        let last = self.last();
        let (lease, _) = last.lease.filter(|(_, asked_at)| *asked_at >= not_before)?;
        Some(Stand { lease, revision: last.revision })
    }

    /// A transaction that does `put` if all that is compared is so and the session stands on that lease, or is moved to it;
    /// else it reads.
    pub(super) fn swap(&self, stand: Stand, compares: &[Compare], put: &TxnOp, reads: [TxnOp; 3]) -> Txn {
        let key = self.key.as_str();
        let with = |one| compares.iter().cloned().chain([one]).collect::<Vec<_>>();
        let stands = with(Compare::lease(key, CompareOp::Equal, stand.lease));
        let unmoved = with(Compare::mod_revision(key, CompareOp::Equal, stand.revision));
        let over = TxnOp::put(key, "", Some(PutOptions::new().with_lease(stand.lease)));
        // Domains renew at the same time: the first one moves the session, and none waits for it.
        let moves = Txn::new().when(unmoved).and_then([over, put.clone()]).or_else(reads);
        Txn::new().when(stands).and_then([put.clone()]).or_else([TxnOp::txn(moves)])
    }

    /// What has become of such a transaction, at that revision; `None`: no answer that etcd gives.
    pub(super) fn outcome(&self, answer: &TxnResponse, revision: u64) -> Option<Outcome> {
        if answer.succeeded() {
            return Some(Outcome::Swapped);
        }
        let [TxnOpResponse::Txn(moves)] = &answer.op_responses()[..] else { return None };
        if moves.succeeded() {
            self.moved(i64::try_from(revision).ok()?);
            return Some(Outcome::Swapped);
        }
        Some(Outcome::Not(moves.op_responses()))
    }

    /// It was moved. Of two such answers the older one may come later.
    fn moved(&self, revision: i64) {
        let mut last = self.last();
        last.revision = last.revision.max(revision);
    }

    /// How all sessions are read that begin so: whether they are there.
    pub(super) fn read(prefix: String) -> TxnOp {
        TxnOp::get(prefix, Some(GetOptions::new().with_prefix().with_keys_only()))
    }

    /// An answer shows all sessions. Whether this one is elsewhere than `stand` has it: it moves unseen when an answer was
    /// lost, and goes when its lease has ended.
    pub(super) fn is_elsewhere(&self, stand: Stand, sessions: &GetResponse) -> bool {
        let own = sessions.kvs().iter().find(|kv| kv.key() == self.key.as_bytes());
        self.learn(stand, own.map_or(0, |kv| kv.mod_revision()))
    }

    fn learn(&self, stand: Stand, revision: i64) -> bool {
        self.last().revision = revision;
        revision != stand.revision
    }

    fn note(&self, last: &mut Last, granted: Duration) {
        if granted > self.length && last.granted != Some(granted) {
            tracing::warn!(
                "etcd makes a lease of {:?} one of {granted:?}, which its election timeout asks for: so long it takes until \
                 another node may follow a dead one; to do: a lease of {granted:?} here, or a shorter --election-timeout there",
                self.length
            );
        }
        last.granted = Some(granted);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
mod tests;
