//! A peer's `keepone voters` beside the peer's agent.

use keepone_arbiter::quic::visit::ask;
use keepone_arbiter::quic::{EndpointSettings, Refusals};
use keepone_proto::id::{ClusterId, ConfigDigest, DomainId, Epoch, Incarnation};
use keepone_proto::lease::generation::Opened;
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::{Envelope, Message, Stamp, Standing, pack};

use super::tests::{SOON, node, pair, until};
use super::*;

const LIMIT: Duration = Duration::from_millis(500);

/// A visitor with the second node's key and address.
fn visitor(b: &HeartbeatConfig) -> EndpointSettings {
    EndpointSettings {
        local: SocketAddr::new(b.links[0].local.ip(), 0),
        interface: None,
        admit: None,
        accepts: false,
        identity: b.identity.clone(),
        roster: b.roster.clone(),
        transport: b.transport,
        refusals: Refusals::default(),
    }
}

fn envelope(nonce: u64, message: Message) -> Envelope {
    Envelope { cluster: ClusterId(1), digest: ConfigDigest(1), domain: DomainId(0), nonce, message }
}

fn report() -> Message {
    let opened = Opened::default();
    let standing = Standing { generation: 1, floor: 1, floor_for: LIMIT, opened, quiet_for: Duration::ZERO, lent: 3 };
    Message::Report { standing, stamp: Stamp { incarnation: Incarnation(1), clock: Instant::from_nanos(1) } }
}

#[tokio::test]
async fn a_visitor_gets_the_answer_and_the_agent_does_not_notice() {
    let (a, b) = pair(&[21]);
    let (links, mut to_a) = Heartbeats::start(&a).unwrap();
    let (_agent, mut to_b) = Heartbeats::start(&b).unwrap();
    // Each dials anew once when it first hears of the other's endpoint; then there is quiet.
    let begin = std::time::Instant::now();
    let (mut dials, mut since) = (0, begin);
    while dials == 0 || since.elapsed() < LIMIT {
        assert!(begin.elapsed() < SOON * 3, "the agents' connections don't settle");
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = links.status()[0].peers[0].dials;
        if now != dials {
            (dials, since) = (now, std::time::Instant::now());
        }
    }

    let (settings, question) = (visitor(&b), envelope(77, Message::Inspect).emit());
    let target = (node(1), a.links[0].local);
    let read = |bytes: &[u8]| Envelope::parse(bytes).ok();
    let visit = tokio::spawn(async move { ask(&settings, target, &question, SOON, read).await });
    let asked = |event: &Event| matches!(event, Event::LeaseReceived { from, .. } if *from == node(2));
    until(SOON, || {}, &mut to_a, asked).await.expect("the question comes to the loop");
    // What else is for the agent leaves as ever, and the answer to the visit is not for it.
    let other = envelope(5, report());
    let both = pack(&[envelope(77, report()), other.clone()]);
    assert_eq!(links.send_lease(node(2), &both[0]), 1);
    assert_eq!(visit.await.unwrap().unwrap(), envelope(77, report()));
    let heard = |event: &Event| *event == Event::LeaseReceived { from: node(1), bytes: other.emit() };
    until(SOON, || {}, &mut to_b, heard).await.expect("the agent gets the rest, alone");
    assert_eq!(links.status()[0].peers[0].dials, dials, "the visit was taken for a new life of the agent");
}

#[tokio::test]
async fn a_visitor_can_do_nothing_but_inspect() {
    let (a, b) = pair(&[22]);
    let (_links, mut to_a) = Heartbeats::start(&a).unwrap();
    let epoch = Epoch { counter: 1, incarnation: Incarnation(1), attempt: 1, node: node(2) };
    let release = envelope(1, Message::Release { epoch });
    let mixed = pack(&[envelope(2, Message::Inspect), release.clone()]).remove(0);
    for question in [release.emit(), mixed, super::tests::beat(64, 1), b"L".to_vec()] {
        let told = ask(&visitor(&b), (node(1), a.links[0].local), &question, LIMIT, |bytes| Some(bytes.to_vec())).await;
        let error = told.unwrap_err().to_string();
        assert!(error.contains("takes the connection and says nothing"), "{error}");
    }
    assert!(to_a.try_recv().is_err(), "a visitor's word came to the loop");
}
