//! Swaps that hang on a session, at the installed etcd.

use etcd_client::PutOptions;
use keepone_proto::id::{ClusterId, Epoch, Incarnation, NodeId};
use keepone_proto::lease::register::Held;
use tokio::task::JoinSet;

use super::*;
use crate::clock;
use crate::etcd::loopback::Etcd;

const LIFE: Incarnation = Incarnation(7);

fn node() -> NodeId {
    NodeId::new(1).unwrap()
}

fn link(etcd: &Etcd) -> Link {
    let settings = EtcdSettings {
        endpoints: vec![etcd.url.clone()],
        prefix: "/keepone".to_owned(),
        user: None,
        ca_file: None,
        identity: None,
        // Wide: a machine that is busy with other tests.
        patience: Duration::from_secs(20),
        session: Some(Duration::from_secs(60)),
    };
    let keys = Keys::new(&settings.prefix, ClusterId(0xab));
    let session = settings.session.map(|length| Session::new(keys.session((node(), LIFE)), length));
    Link::new(&settings, Secrets { user: None, ca: None, identity: None }, keys).with_session(session)
}

fn swap(version: u64, counter: u64) -> Ask {
    let epoch = Epoch { counter, incarnation: LIFE, attempt: 1, node: node() };
    let held = Some(Held { epoch, lease: Duration::from_secs(60), priority: 100, session: true });
    Ask::Swap { version, content: Content { highest: epoch, held }, kept: 0, orphan_of: None }
}

async fn leases(etcd: &Etcd) -> Vec<i64> {
    let all = etcd.client().await.lease_client().leases().await.unwrap();
    all.leases().iter().map(etcd_client::LeaseStatus::id).collect()
}

#[tokio::test]
async fn domains_that_renew_together_share_a_lease_and_all_hang_on_it() {
    let etcd = Etcd::start();
    etcd.client().await;
    let link = link(&etcd);
    let mut versions = [0; 10];
    for round in 1..=2 {
        let (asked_at, mut asked) = (clock::boottime(), JoinSet::new());
        for (place, version) in versions.into_iter().enumerate() {
            let link = link.clone();
            let domain = DomainId(u64::try_from(place).unwrap());
            asked.spawn(async move { (place, link.ask(domain, swap(version, round), asked_at).await) });
        }
        for (place, answer) in asked.join_all().await {
            let Answer::Swapped { version } = answer else { panic!("round {round}, domain {place}: {answer:?}") };
            versions[place] = version;
        }
        assert_eq!(leases(&etcd).await.len(), usize::try_from(round).unwrap(), "one for each round");
    }
}

#[tokio::test]
async fn a_session_that_moved_unseen_costs_no_answer_and_one_that_is_gone_makes_an_orphan() {
    let etcd = Etcd::start();
    let client = etcd.client().await;
    let (link, domain) = (link(&etcd), DomainId(3));
    let Answer::Swapped { version } = link.ask(domain, swap(0, 1), clock::boottime()).await else { panic!() };
    let [first] = leases(&etcd).await[..] else { panic!() };
    // As by a swap whose answer was lost: to another revision.
    let session = link.keys.session((node(), LIFE));
    let on = PutOptions::new().with_lease(first);
    client.kv_client().put(session.as_str(), "", Some(on)).await.unwrap();
    let answer = link.ask(domain, swap(version, 2), clock::boottime()).await;
    let Answer::Swapped { version } = answer else { panic!("{answer:?}") };
    // At a version that is over nothing moves, and the answer shows what there is.
    let answer = link.ask(domain, swap(version - 1, 3), clock::boottime()).await;
    let Answer::Read(reading, _) = answer else { panic!("{answer:?}") };
    assert_eq!((reading.version, reading.is_orphan), (version, false));
    for lease in leases(&etcd).await {
        client.lease_client().revoke(lease).await.unwrap();
    }
    let answer = link.ask(domain, Ask::Read, clock::boottime()).await;
    let Answer::Read(reading, _) = answer else { panic!("{answer:?}") };
    assert_eq!((reading.version, reading.is_orphan), (version, true));
}
