//! Failed handshakes over real QUIC on loopback, as the accepting side sees them.

use keepone_proto::id::NodeId;

use super::super::{EndpointSettings, Identity, PublicKey, Refusals, Roster, TransportSettings};
use super::*;

fn endpoint(identity: &Identity, trusts: PublicKey) -> Endpoint {
    endpoint_told(identity, trusts, Refusals::default())
}

fn endpoint_told(identity: &Identity, trusts: PublicKey, refusals: Refusals) -> Endpoint {
    Endpoint::bind(&EndpointSettings {
        local: "127.0.0.1:0".parse().unwrap(),
        interface: None,
        admit: None,
        accepts: true,
        identity: identity.clone(),
        roster: Arc::new(Roster::new([(trusts, NodeId::new(1).unwrap())])),
        transport: TransportSettings::default(),
        refusals,
    })
    .unwrap()
}

/// How a handshake ends for who accepts, with these trusts of each other; `patient`: the dialing side
/// does not leave it by itself.
async fn ending(listener_trusts_it: bool, dialer_trusts_it: bool, patient: bool) -> ConnectionError {
    let [mine, theirs, other] = [(); 3].map(|()| Identity::generate().unwrap());
    let trusted = |trusts, identity: &Identity| if trusts { identity.public_key() } else { other.public_key() };
    let listening = endpoint(&mine, trusted(listener_trusts_it, &theirs));
    let dialing = endpoint(&theirs, trusted(dialer_trusts_it, &mine));

    let connecting = dialing.connect(listening.local_addr().unwrap()).unwrap();
    let incoming = listening.accept().await.unwrap();
    let dialed = if patient {
        Some(tokio::spawn(connecting))
    } else {
        drop(connecting);
        None
    };
    let ended = timeout(Duration::from_secs(5), async { incoming.accept()?.await }).await;
    drop(dialed);
    ended.expect("the handshake ends in time").expect_err("it ends badly")
}

#[tokio::test]
async fn an_attempt_that_the_dialing_side_leaves_is_given_up() {
    let error = ending(true, true, false).await;
    assert!(is_given_up(&error), "{error:?}");
}

#[tokio::test]
async fn a_key_that_either_side_does_not_know_is_a_refusal() {
    for (listener_trusts_it, dialer_trusts_it) in [(false, true), (true, false)] {
        let error = ending(listener_trusts_it, dialer_trusts_it, true).await;
        assert!(!is_given_up(&error), "{error:?}");
        assert_eq!(whose(&error), Some(!listener_trusts_it), "{error:?}");
    }
}

#[tokio::test]
async fn both_sides_are_told_whose_key_is_refused_and_not_more_than_once_a_second() {
    let [mine, theirs, other] = [(); 3].map(|()| Identity::generate().unwrap());
    let heard = [(); 2].map(|()| Arc::new(Mutex::new(Vec::new())));
    let telling = |of: usize| {
        let heard = heard[of].clone();
        Refusals::new(move |refusal| heard.lock().unwrap().push(refusal))
    };
    let listening = endpoint_told(&mine, other.public_key(), telling(0));
    let dialing = endpoint_told(&theirs, mine.public_key(), telling(1));
    let address = listening.local_addr().unwrap();
    let sink: Sink = Arc::new(|_| {});
    let listener = Listener::new(listening, sink.clone(), Arc::new(|_, _| {}));
    let accepting = tokio::spawn(listener.run());
    let outlet = super::super::Outlet::new(NodeId::new(1).unwrap());
    let dialer = super::super::Dialer::spawn(dialing.clone(), address, outlet, sink);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    drop(dialer);
    accepting.abort();
    let [here, there] = heard.map(|heard| heard.lock().unwrap().clone());
    let from = dialing.local_addr().unwrap();
    assert!((1..=4).contains(&here.len()) && (1..=4).contains(&there.len()), "{here:?} {there:?}");
    assert!(here.iter().all(|refusal| *refusal == Refusal { node: None, address: from, theirs: true }), "{here:?}");
    let one = NodeId::new(1);
    assert!(there.iter().all(|refusal| *refusal == Refusal { node: one, address, theirs: false }), "{there:?}");
}
