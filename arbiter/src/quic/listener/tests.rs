//! Failed handshakes over real QUIC on loopback, as the accepting side sees them.

use keepone_proto::id::NodeId;

use super::super::{EndpointSettings, Identity, PublicKey, Roster, TransportSettings};
use super::*;

fn endpoint(identity: &Identity, trusts: PublicKey) -> Endpoint {
    Endpoint::bind(&EndpointSettings {
        local: "127.0.0.1:0".parse().unwrap(),
        interface: None,
        admit: None,
        accepts: true,
        identity: identity.clone(),
        roster: Arc::new(Roster::new([(trusts, NodeId::new(1).unwrap())])),
        transport: TransportSettings::default(),
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
    }
}
