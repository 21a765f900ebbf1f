//! The machine by itself, and its transactions at the installed etcd, on the loopback.

use etcd_client::KvClient;

use super::*;
use crate::etcd::loopback::Etcd;

const LENGTH: Duration = Duration::from_secs(60);

fn session() -> Session {
    Session::new("/k/sessions/1-1".to_owned(), LENGTH)
}

async fn granted(session: &Session, lease: i64) -> Instant {
    let before = clock::boottime();
    assert!(session.anew(before, async { Some((lease, LENGTH)) }).await);
    before
}

#[tokio::test]
async fn a_grant_hangs_on_a_lease_that_was_asked_for_no_sooner() {
    let session = session();
    let first = granted(&session, 7).await;
    assert_eq!(session.stand(first), Some(Stand { lease: 7, revision: 0 }));
    let later = clock::boottime();
    assert_eq!(session.stand(later), None, "an older lease does for none that asks later");
    assert!(!session.anew(later, async { None }).await);
    assert_eq!(session.stand(later), None);
    granted(&session, 8).await;
    assert_eq!(session.stand(first).map(|stand| stand.lease), Some(8));
    // Who asked before it was asked for shares it.
    assert!(session.anew(later, async { panic!("asked for again") }).await);
}

#[tokio::test]
async fn those_that_wait_share_the_next_lease_and_its_failure() {
    for answer in [Some((9, LENGTH)), None] {
        let (session, asked) = (session(), std::cell::Cell::new(0));
        let not_before = clock::boottime();
        let grant = || async {
            asked.set(asked.get() + 1);
            tokio::task::yield_now().await;
            answer
        };
        let ((one, two), three) = tokio::join!(
            async { tokio::join!(session.anew(not_before, grant()), session.anew(not_before, grant())) },
            session.anew(not_before, grant())
        );
        assert_eq!(([one, two, three], asked.get()), ([answer.is_some(); 3], 1), "{answer:?}");
    }
}

#[tokio::test]
async fn the_revision_that_is_named_is_the_newest_that_was_told_or_the_one_that_was_read() {
    let session = session();
    let at = granted(&session, 7).await;
    let named = || session.stand(at).unwrap();
    session.moved(12);
    // Another domain's answer, which was overtaken.
    session.moved(11);
    assert_eq!(named().revision, 12);
    assert!(!session.learn(named(), 12), "it is where it was");
    // Its lease has ended; or the store was set back.
    assert!(session.learn(named(), 0));
    assert_eq!(named().revision, 0);
}

/// What a swap of a domain's key comes to.
async fn swap(session: &Session, kv: &mut KvClient, stand: Stand, domain: &str) -> Option<Outcome> {
    let put = TxnOp::put(domain, "held", None);
    let read = TxnOp::get(domain, None);
    let reads = [read.clone(), read, Session::read("/k/sessions/".to_owned())];
    let answer = kv.txn(session.swap(stand, &[], &put, reads)).await.unwrap();
    session.outcome(&answer, answer.header().unwrap().revision().try_into().unwrap())
}

/// The key's revision and its lease.
async fn stands(session: &Session, kv: &mut KvClient) -> (i64, i64) {
    let got = kv.get(session.key.as_str(), None).await.unwrap();
    got.kvs().first().map_or((0, 0), |kv| (kv.mod_revision(), kv.lease()))
}

#[tokio::test]
async fn at_etcd_a_swap_moves_the_session_once_and_none_that_is_late_moves_it_back() {
    let etcd = Etcd::start();
    let client = etcd.client().await;
    let (mut kv, session) = (client.kv_client(), session());
    let lease = async || client.lease_client().grant(session.seconds(), None).await.unwrap().id();
    let (old, new) = (lease().await, lease().await);

    let at = granted(&session, old).await;
    let late = session.stand(at).unwrap();
    // Nobody knows what has become of that one; the next names a newer lease.
    let at = granted(&session, new).await;
    let stand = session.stand(at).unwrap();
    assert!(matches!(swap(&session, &mut kv, stand, "/k/a").await, Some(Outcome::Swapped)));
    let there = stands(&session, &mut kv).await;
    assert_eq!(there, (session.stand(at).unwrap().revision, new));
    // Another domain that renews at the same time does not wait for that answer.
    assert!(matches!(swap(&session, &mut kv, stand, "/k/b").await, Some(Outcome::Swapped)));
    assert_eq!(stands(&session, &mut kv).await, there, "it stands on that lease already");
    assert!(matches!(swap(&session, &mut kv, late, "/k/c").await, Some(Outcome::Not(_))));
    assert_eq!(stands(&session, &mut kv).await, there);
    assert!(kv.get("/k/c", None).await.unwrap().kvs().is_empty(), "it was swapped on an older lease");
}

#[tokio::test]
async fn at_etcd_a_session_that_moved_unseen_is_found_where_it_is() {
    let etcd = Etcd::start();
    let client = etcd.client().await;
    let (mut kv, session) = (client.kv_client(), session());
    let mut lease = client.lease_client();
    let first = lease.grant(session.seconds(), None).await.unwrap().id();
    let at = granted(&session, first).await;
    swap(&session, &mut kv, session.stand(at).unwrap(), "/k/a").await.unwrap();
    for ends in [false, true] {
        let next = lease.grant(session.seconds(), None).await.unwrap().id();
        let at = granted(&session, next).await;
        if ends {
            lease.revoke(stands(&session, &mut kv).await.1).await.unwrap();
        } else {
            kv.put(session.key.as_str(), "", Some(PutOptions::new().with_lease(first))).await.unwrap();
        }
        let stand = session.stand(at).unwrap();
        let Some(Outcome::Not(reads)) = swap(&session, &mut kv, stand, "/k/a").await else { panic!("{ends}") };
        let [_, _, TxnOpResponse::Get(sessions)] = &reads[..] else { panic!("{reads:?}") };
        assert!(session.is_elsewhere(stand, sessions), "ends: {ends}");
        let again = session.stand(at).unwrap();
        assert!(matches!(swap(&session, &mut kv, again, "/k/a").await, Some(Outcome::Swapped)), "ends: {ends}");
        assert_eq!(stands(&session, &mut kv).await.1, next);
    }
    // On a lease that has ended nothing is swapped.
    let at = granted(&session, 77).await;
    let (stand, put) = (session.stand(at).unwrap(), TxnOp::put("/k/a", "", None));
    let read = TxnOp::get("/k/a", None);
    assert!(kv.txn(session.swap(stand, &[], &put, [read.clone(), read.clone(), read])).await.is_err());
}
