//! The certificate, read from its files, and read again when they change: one that is renewed needs no reload.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Octets of a file at most.
const LONGEST: u64 = 1 << 20;

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsError {
    #[error("{} can't be read: {error}", .path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} has no {what} in PEM: {error}", .path.display())]
    Pem { path: PathBuf, what: &'static str, error: rustls::pki_types::pem::Error },
    #[error("{} and {} are no pair: {error}", .certificate.display(), .key.display())]
    Pair { certificate: PathBuf, key: PathBuf, error: rustls::Error },
}

/// What TLS needs; HTTP/1.1 only.
///
/// # Errors
/// The files are not what they should be.
pub(super) fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let bad = |path: &Path, what| {
        let path = path.to_owned();
        move |error| TlsError::Pem { path, what, error }
    };
    let text = read(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(bad(certificate, "certificate"))?;
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(bad(key, "private key"))?;
    if chain.is_empty() {
        return Err(bad(certificate, "certificate")(rustls::pki_types::pem::Error::NoItemsFound));
    }
    let pair = |error| TlsError::Pair { certificate: certificate.to_owned(), key: key.to_owned(), error };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret);
    let mut config = config.map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let unreadable = |error| TlsError::Unreadable { path: path.to_owned(), error };
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() || found.len() > LONGEST {
        return Err(unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is no file of 1 MiB at most")));
    }
    fs::read(path).map_err(unreadable)
}

/// By which a file that has changed is known, its owner and mode as well; `None`: it is not there.
pub(super) type Stamp = Option<(u64, i64, i64, u64)>;

/// Those of some files.
pub(super) fn stamps<'a>(files: impl Iterator<Item = &'a PathBuf>) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.ino(), found.ctime(), found.ctime_nsec(), found.len()))
    };
    files.map(stamp).collect()
}
