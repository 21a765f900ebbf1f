//! TLS of `SSL_GET`: with whom we speak is not verified, as keepalived does not, unless `verify_certificate` says so;
//! what we show to servers that ask is in the `SSL` block.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use keepone_config::model::ClientTls;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, DigitallySignedStruct, RootCertStore, SignatureScheme, WantsVerifier,
};

use super::Fault;

/// How a server is spoken to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner<'a> {
    /// Sent in the handshake.
    pub(super) name: Option<&'a str>,
    /// Its certificate must be good, and for that name or the address.
    pub(super) verify: bool,
    /// Offer HTTP/2, and nothing else.
    pub(super) http2: bool,
}

/// What TLS is spoken with.
#[derive(Debug)]
pub(crate) struct Tls {
    unverified: Arc<ClientConfig>,
    /// Or why nobody can be verified.
    verified: Result<Arc<ClientConfig>, String>,
}

impl Tls {
    /// Reads the files of the `SSL` block. One that can't be read is said, and done without.
    pub(crate) fn new(settings: &ClientTls) -> Self {
        let provider = Arc::new(ring::default_provider());
        let own = own_certificate(settings).unwrap_or_else(|fault| {
            tracing::error!("SSL: {fault}: servers that ask for a certificate get none");
            None
        });
        let unverified = builder(&provider).dangerous().with_custom_certificate_verifier(Arc::new(Anybody(
            provider.signature_verification_algorithms.supported_schemes(),
        )));
        let verified = verifier(settings, &provider)
            .map(|verifier| builder(&provider).dangerous().with_custom_certificate_verifier(verifier));
        let finish = |builder: ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>| {
            let own = own.as_ref().map(|(chain, key)| (chain.clone(), key.clone_key()));
            let config = match own {
                Some((chain, key)) => builder.clone().with_client_auth_cert(chain, key),
                None => Ok(builder.clone().with_no_client_auth()),
            };
            let config = config.unwrap_or_else(|error| {
                tracing::error!("SSL: the key is not the certificate's: {error}: servers that ask get none");
                builder.with_no_client_auth()
            });
            Arc::new(config)
        };
        Tls { unverified: finish(unverified), verified: verified.map(finish) }
    }

    pub(super) async fn connect(
        &self,
        stream: TcpStream,
        address: IpAddr,
        manner: Manner<'_>,
    ) -> Result<TlsStream<TcpStream>, Fault> {
        let config = if manner.verify {
            self.verified.as_ref().map_err(|fault| Fault::Wrong(fault.clone()))?
        } else {
            &self.unverified
        };
        let mut config = ClientConfig::clone(config);
        config.enable_sni = manner.name.is_some();
        if manner.http2 {
            config.alpn_protocols = vec![b"h2".to_vec()];
        }
        let name = match manner.name {
            Some(name) => ServerName::try_from(name.to_owned())
                .map_err(|_| Fault::Wrong(format!("`{name}` can't be a name in the TLS handshake")))?,
            None => ServerName::from(address),
        };
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let stream = connected.map_err(Fault::io("no TLS"))?;
        let spoken = stream.get_ref().1.alpn_protocol();
        if manner.http2 && spoken != Some(b"h2") {
            return Err(Fault::Wrong(String::from("it does not speak HTTP/2")));
        }
        Ok(stream)
    }
}

fn builder(provider: &Arc<CryptoProvider>) -> ConfigBuilder<ClientConfig, WantsVerifier> {
    let builder = ClientConfig::builder_with_provider(Arc::clone(provider));
    #[allow(clippy::expect_used, reason = "ring has ciphers for each version of TLS that rustls has")]
    builder.with_safe_default_protocol_versions().expect("ring speaks TLS 1.2 and 1.3")
}

/// With the authorities of the `SSL` block.
fn verifier(settings: &ClientTls, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>, String> {
    let file = settings.ca.as_deref().ok_or_else(|| {
        String::from("no certificate can be verified: name a file of authorities, `ca` in the SSL block")
    })?;
    let mut roots = RootCertStore::empty();
    for certificate in read(file)? {
        roots.add(certificate).map_err(|error| format!("ca {}: {error}", file.display()))?;
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
    verifier.build().map_err(|error| format!("ca {}: {error}", file.display()))
}

type Own = Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>;

fn own_certificate(settings: &ClientTls) -> Result<Own, String> {
    let Some(file) = &settings.certificate else { return Ok(None) };
    let chain = read(file)?;
    // One file may hold both.
    let key = settings.key.as_deref().unwrap_or(file);
    if settings.password.is_some() {
        let words = "keys with a password are not read; take it off with `openssl pkey`, and guard the file";
        return Err(format!("key {}: {words}", key.display()));
    }
    let read = PrivateKeyDer::from_pem_file(key).map_err(|error| format!("key {}: {error}", key.display()))?;
    Ok(Some((chain, read)))
}

fn read(file: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let found = CertificateDer::pem_file_iter(file).map_err(|error| failed(&error))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| failed(&error))?;
    if found.is_empty() { Err(failed(&"there is no certificate in it")) } else { Ok(found) }
}

/// Believes everybody: a health check asks whether a server works, not who it is.
#[derive(Debug)]
struct Anybody(Vec<SignatureScheme>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.clone()
    }
}
