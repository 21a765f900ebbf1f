//! Pinned peers, and the TLS made of them: 1.3 only, raw public keys both ways (RFC 7250), Ed25519 only.
//!
//! What must stay true: the handshake ends well only with a key of the roster, and no date is looked at
//! (safety.md T1). In TLS 1.3 a refused client believes itself connected for a round trip, so only a
//! datagram from the peer shows that both sides accept each other.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use keepone_proto::id::NodeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage};
use rustls::sign::CertifiedKey;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, PeerIncompatible, ServerConfig,
    SignatureScheme,
};

use super::identity::{Identity, PublicKey};

/// ALPN of this protocol (RFC 7301): another version is another name, refused in the handshake.
pub const ALPN: &[u8] = b"keepone/1";

/// Another member as the handshake proved it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Peer {
    /// Its key.
    pub key: PublicKey,
    /// Its id by the roster.
    pub node: NodeId,
}

/// Who is let in: the keys of the other members, and which node each is.
///
/// It may be replaced while connections stand. A handshake goes by the list as it is at that moment; whoever was
/// taken off has to be sent away by whoever keeps the connections.
#[derive(Debug, Default)]
pub struct Roster {
    members: RwLock<BTreeMap<PublicKey, NodeId>>,
    strangers: AtomicU64,
}

/// A key that occurs twice keeps its first id.
fn by_key(members: impl IntoIterator<Item = (PublicKey, NodeId)>) -> BTreeMap<PublicKey, NodeId> {
    let mut by_key = BTreeMap::new();
    for (key, node) in members {
        by_key.entry(key).or_insert(node);
    }
    by_key
}

impl Roster {
    /// Of these members. A key that occurs twice keeps its first id.
    pub fn new(members: impl IntoIterator<Item = (PublicKey, NodeId)>) -> Self {
        Roster { members: RwLock::new(by_key(members)), strangers: AtomicU64::new(0) }
    }

    /// These members from now on, and nobody else.
    pub fn replace(&self, members: impl IntoIterator<Item = (PublicKey, NodeId)>) {
        *self.members.write().unwrap_or_else(PoisonError::into_inner) = by_key(members);
    }

    /// Which member has this key.
    pub fn node(&self, key: PublicKey) -> Option<NodeId> {
        self.members.read().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    /// How many handshakes a key outside the roster has failed.
    pub fn strangers(&self) -> u64 {
        self.strangers.load(Ordering::Relaxed)
    }

    /// The member at the other end of an established connection.
    pub fn peer(&self, connection: &quinn::Connection) -> Option<Peer> {
        let chain = connection.peer_identity()?.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        let key = PublicKey::from_spki(chain.first()?)?;
        Some(Peer { key, node: self.node(key)? })
    }

    fn admit(&self, presented: &CertificateDer<'_>) -> Result<(), Error> {
        match PublicKey::from_spki(presented) {
            Some(key) if self.node(key).is_some() => Ok(()),
            _ => {
                self.strangers.fetch_add(1, Ordering::Relaxed);
                Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
            }
        }
    }
}

/// Both roles of the handshake, with the provider named: a default of the process might be another.
pub(crate) fn tls(identity: &Identity, roster: &Arc<Roster>) -> Result<(ClientConfig, ServerConfig), Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let spki = CertificateDer::from(identity.public_key().to_spki());
    let key = Arc::new(CertifiedKey::new(vec![spki], identity.signer()));
    let verifier =
        Arc::new(Verifier { roster: roster.clone(), algorithms: provider.signature_verification_algorithms });

    let mut client = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier.clone())
        .with_client_cert_resolver(Arc::new(AlwaysResolvesClientRawPublicKeys::new(key.clone())));
    client.alpn_protocols = vec![ALPN.to_vec()];
    // Each connection proves both keys anew; a resumed one would not.
    client.resumption = Resumption::disabled();
    client.enable_early_data = false;

    let mut server = server_builder(provider)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(AlwaysResolvesServerRawPublicKeys::new(key)));
    server.alpn_protocols = vec![ALPN.to_vec()];
    server.send_tls13_tickets = 0;
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.max_early_data_size = 0;
    Ok((client, server))
}

fn server_builder(
    provider: Arc<CryptoProvider>,
) -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, Error> {
    ServerConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])
}

/// Compares the peer's key with the roster, and checks that the peer holds the private half.
#[derive(Debug)]
struct Verifier {
    roster: Arc<Roster>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    fn signature(
        &self,
        message: &[u8],
        spki: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let spki = SubjectPublicKeyInfoDer::from(spki.as_ref());
        verify_tls13_signature_with_raw_key(message, &spki, signed, &self.algorithms)
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.roster.admit(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.roster.admit(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
