//! A node's session: a key that stands as long as an etcd lease, where the node's grants hang on one.
//!
//! Each renewal takes a *new* lease and moves the session's key over to it. To grant a lease is a commit: whichever member
//! leads from then on counts its whole length from the commit or later, so that the key can't be gone before that length
//! after the asking, by etcd's clock. A keep-alive is answered by whoever thinks that it leads, without asking the others: one
//! that leads no longer could prolong what the others let go. The leases left behind end by themselves.
//!
//! What must stay true: what is asked for at some instant hangs on a lease that was asked for at that instant or later. So the
//! key is moved from the revision that was known to the next: what nobody waits for any more can't move it back.

use std::time::Duration;

use etcd_client::{Client, Compare, CompareOp, Error, PutOptions, Txn, TxnOp, TxnOpResponse};
use keepone_proto::time::Instant;
use tokio::sync::Mutex;

use crate::clock;

/// One life's.
#[derive(Debug)]
pub(super) struct Session {
    key: String,
    /// In whole seconds; etcd has none shorter than one and a half election timeouts.
    length: Duration,
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    /// When the lease was asked for that the key stands on.
    asked_at: Option<Instant>,
    /// The key's revision, as far as is known; 0 where there is none.
    revision: i64,
    /// How long etcd makes a lease.
    granted: Option<Duration>,
}

impl Session {
    pub(super) fn new(key: String, length: Duration) -> Self {
        Session { key, length, last: Mutex::default() }
    }

    /// The name of its key.
    pub(super) fn key(&self) -> &str {
        &self.key
    }

    /// Stands on a lease that was asked for no sooner than that. Who asks while another's lease is made waits, and most of
    /// those share the next one. `false`: etcd has granted less than was asked for, or the key had moved unseen.
    pub(super) async fn anew(&self, client: &Client, not_before: Instant) -> Result<bool, Error> {
        let mut last = self.last.lock().await;
        if last.asked_at.is_some_and(|at| at >= not_before) {
            return Ok(true);
        }
        let asked_at = clock::boottime();
        let seconds = i64::try_from(self.length.as_secs()).unwrap_or(i64::MAX);
        let lease = client.lease_client().grant(seconds, None).await?;
        if lease.ttl() < seconds {
            return Ok(false);
        }
        self.note(&mut last, Duration::from_secs(u64::try_from(lease.ttl()).unwrap_or(0)));
        // Unseen by us it moves when an answer was lost, and goes when its lease has ended: once more, then.
        for _ in 0..2 {
            let put = TxnOp::put(self.key.as_str(), "", Some(PutOptions::new().with_lease(lease.id())));
            let txn = Txn::new()
                .when([Compare::mod_revision(self.key.as_str(), CompareOp::Equal, last.revision)])
                .and_then([put])
                .or_else([TxnOp::get(self.key.as_str(), None)]);
            let answer = client.kv_client().txn(txn).await?;
            if answer.succeeded() {
                let Some(header) = answer.header() else { return Ok(false) };
                (last.asked_at, last.revision) = (Some(asked_at), header.revision());
                return Ok(true);
            }
            let [TxnOpResponse::Get(got)] = &answer.op_responses()[..] else { return Ok(false) };
            last.revision = got.kvs().first().map_or(0, |kv| kv.mod_revision());
        }
        Ok(false)
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
