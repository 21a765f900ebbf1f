//! The key of a member: Ed25519, in a PKCS#8 PEM file that only its owner reads.
//!
//! There are no certificates: a member *is* its public key, which the others have in their
//! configuration. Nothing expires, so no clock can break the cluster.

use std::fmt;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::sign::SigningKey;

const PEM_BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const PEM_END: &str = "-----END PRIVATE KEY-----";

/// An Ed25519 public key, the name by which members know each other. Text form: base64, 44 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey(pub [u8; 32]);

impl PublicKey {
    /// What stands before the 32 octets in a SubjectPublicKeyInfo: the DER of
    /// `SEQUENCE { SEQUENCE { 1.3.101.112 }, BIT STRING }` (RFC 8410, 4).
    const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

    /// The SubjectPublicKeyInfo that TLS carries in place of a certificate (RFC 7250, 3).
    pub fn to_spki(self) -> Vec<u8> {
        [Self::SPKI_PREFIX.as_slice(), &self.0].concat()
    }

    /// From a SubjectPublicKeyInfo; `None` if it is not an Ed25519 key.
    pub fn from_spki(spki: &[u8]) -> Option<Self> {
        let key = spki.strip_prefix(&Self::SPKI_PREFIX)?;
        key.try_into().ok().map(PublicKey)
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64.encode(self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is no public key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no public key: it must be 44 characters of base64, as `keepone keys` prints them")]
pub struct PublicKeyError(pub String);

impl FromStr for PublicKey {
    type Err = PublicKeyError;
    fn from_str(text: &str) -> Result<Self, PublicKeyError> {
        let bytes = BASE64.decode(text.trim()).ok();
        bytes.and_then(|bytes| bytes.try_into().ok()).map(PublicKey).ok_or_else(|| PublicKeyError(text.into()))
    }
}

/// A key that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The kernel's random numbers failed.
    #[error("can't make a key: the system's random number generator failed")]
    Random,
    /// The file could not be read.
    #[error("can't read key file {path}: {source}; make one with `keepone keys`, or run as its owner")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file could not be written.
    #[error("can't write key file {path}: {source}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// There is a file already.
    #[error(
        "key file {path} exists and is not overwritten: its member would be a stranger to the others; remove it first if that is meant"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// Not a PEM file with a private key.
    #[error("key file {path} has no `{PEM_BEGIN}` block with base64 in it; make a new one with `keepone keys`")]
    NotPem {
        /// The file.
        path: PathBuf,
    },
    /// A private key, but not of Ed25519.
    #[error("key file {path} holds no Ed25519 key in PKCS#8 form ({why}); make a new one with `keepone keys`")]
    NotEd25519 {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        why: String,
    },
}

/// A member's private key with its public half.
#[derive(Clone)]
pub struct Identity {
    pkcs8: Arc<[u8]>,
    public: PublicKey,
    signer: Arc<dyn SigningKey>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("public", &self.public).finish_non_exhaustive()
    }
}

impl Identity {
    /// A new key from the kernel's random numbers.
    pub fn generate() -> Result<Self, KeyError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| KeyError::Random)?;
        Self::from_pkcs8(pkcs8.as_ref()).map_err(|_| KeyError::Random)
    }

    /// From the DER of a PKCS#8 document; the error says what is wrong with it.
    fn from_pkcs8(der: &[u8]) -> Result<Self, String> {
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|why| why.to_string())?;
        let public = pair.public_key().as_ref().try_into().map(PublicKey).map_err(|_| "public key of odd length")?;
        let signer = rustls::crypto::ring::sign::any_eddsa_type(&PrivatePkcs8KeyDer::from(der.to_vec()))
            .map_err(|why| why.to_string())?;
        Ok(Identity { pkcs8: der.into(), public, signer })
    }

    /// The public half.
    pub fn public_key(&self) -> PublicKey {
        self.public
    }

    pub(crate) fn signer(&self) -> Arc<dyn SigningKey> {
        self.signer.clone()
    }

    /// A secret of this key for one purpose, the same in each life of the process.
    pub(crate) fn derive(&self, purpose: &[u8]) -> ring::hmac::Key {
        let root = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &self.pkcs8);
        let secret = ring::hmac::sign(&root, purpose);
        ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_ref())
    }

    /// Writes the PEM file, mode 0600. An existing file is an error, never overwritten.
    pub fn save(&self, path: &Path) -> Result<(), KeyError> {
        let mut text = format!("{PEM_BEGIN}\n");
        for line in BASE64.encode(&self.pkcs8).as_bytes().chunks(64) {
            text.push_str(&String::from_utf8_lossy(line));
            text.push('\n');
        }
        text.push_str(PEM_END);
        text.push('\n');
        let written =
            fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
                file.write_all(text.as_bytes())?;
                file.sync_all()
            });
        written.map_err(|source| match source.kind() {
            io::ErrorKind::AlreadyExists => KeyError::Exists { path: path.into() },
            _ => KeyError::Write { path: path.into(), source },
        })
    }

    /// Reads what [`Identity::save`] wrote, or any PKCS#8 PEM file of an Ed25519 key. A file that others
    /// than its owner can read is used, with a warning in the log.
    pub fn load(path: &Path) -> Result<Self, KeyError> {
        let unreadable = |source| KeyError::Read { path: path.into(), source };
        let bytes = fs::read(path).map_err(unreadable)?;
        let mode = fs::metadata(path).map_err(unreadable)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            tracing::warn!(
                "key file {} has mode {mode:04o}: others can read the key; run `chmod 0600 {}`",
                path.display(),
                path.display()
            );
        }
        let text = String::from_utf8_lossy(&bytes);
        let der = pem_body(&text).ok_or_else(|| KeyError::NotPem { path: path.into() })?;
        Self::from_pkcs8(&der).map_err(|why| KeyError::NotEd25519 { path: path.into(), why })
    }
}

/// The octets of the first private key block.
fn pem_body(text: &str) -> Option<Vec<u8>> {
    let (_, rest) = text.split_once(PEM_BEGIN)?;
    let (body, _) = rest.split_once(PEM_END)?;
    let body: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    BASE64.decode(body).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_key_loads_as_itself_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n1.key");
        let identity = Identity::generate().unwrap();
        identity.save(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Identity::load(&path).unwrap().public_key(), identity.public_key());
    }

    #[test]
    fn a_key_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n1.key");
        let first = Identity::generate().unwrap();
        first.save(&path).unwrap();
        let error = Identity::generate().unwrap().save(&path).unwrap_err();
        assert!(matches!(error, KeyError::Exists { .. }), "{error}");
        assert_eq!(Identity::load(&path).unwrap().public_key(), first.public_key());
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_name_of_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bad.key");
        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            Identity::load(&path).unwrap_err()
        };
        assert!(matches!(refused("hello"), KeyError::NotPem { .. }));
        let garbage = refused(&format!("{PEM_BEGIN}\nAAAA\n{PEM_END}\n"));
        assert!(matches!(garbage, KeyError::NotEd25519 { .. }));
        assert!(garbage.to_string().contains("bad.key"), "{garbage}");
        let missing = Identity::load(&dir.path().join("none.key")).unwrap_err();
        assert!(matches!(missing, KeyError::Read { .. }) && missing.to_string().contains("none.key"), "{missing}");
    }

    #[test]
    fn a_public_key_reads_as_it_prints() {
        let key = Identity::generate().unwrap().public_key();
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!(key.to_string().len(), 44);
        assert_eq!(PublicKey::from_spki(&key.to_spki()), Some(key));
        for bad in ["", "AAAA", "not base64 at all", &key.to_string()[..43]] {
            assert!(bad.parse::<PublicKey>().is_err(), "{bad}");
        }
    }
}
