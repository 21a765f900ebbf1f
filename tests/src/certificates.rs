//! Certificates for TLS, signed by an authority of the test's own, with the installed openssl.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use keepone_chaos::netns::error::io_error;

use crate::Error;

/// Who signs.
#[derive(Debug)]
pub struct Authority {
    directory: PathBuf,
    /// Its certificate, in PEM.
    pub certificate: PathBuf,
    key: PathBuf,
}

/// A certificate with its private key, both in PEM.
#[derive(Debug)]
pub struct Pair {
    /// The certificate.
    pub certificate: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// For how many days from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Valid {
    /// Long enough.
    Now,
    /// Until yesterday.
    Expired,
}

fn openssl(arguments: &[&str]) -> Result<(), Error> {
    let made = Command::new("openssl").args(arguments).output().map_err(io_error("run openssl: install it"))?;
    if made.status.success() {
        return Ok(());
    }
    let output = String::from_utf8_lossy(&made.stderr).into_owned();
    Err(Error::Command { command: format!("openssl {arguments:?}"), status: made.status.to_string(), output })
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A key pair that JSON Web Tokens are signed with: RSA, in PEM, the public key in the place of the certificate.
///
/// # Errors
/// [`Error::Command`] with what openssl said.
pub fn token_keys(directory: &Path) -> Result<Pair, Error> {
    let (key, public) = (directory.join("token.key"), directory.join("token.pub"));
    openssl(&["genrsa", "-out", &text(&key), "2048"])?;
    openssl(&["rsa", "-in", &text(&key), "-pubout", "-out", &text(&public)])?;
    Ok(Pair { certificate: public, key })
}

impl Authority {
    /// A new one; its files, and those that it signs, are in `directory` and begin with `name`.
    ///
    /// # Errors
    /// [`Error::Command`] with what openssl said.
    pub fn new(directory: &Path, name: &str) -> Result<Self, Error> {
        let (certificate, key) = (directory.join(format!("{name}.pem")), directory.join(format!("{name}.key")));
        let subject = format!("/CN={name}");
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let files = [text(&certificate), text(&key)];
        let request = ["-subj", &subject, "-days", "30", "-out", &files[0], "-keyout", &files[1]];
        openssl(&[&["req", "-x509"], &curve[..], &request[..]].concat())?;
        Ok(Authority { directory: directory.to_owned(), certificate, key })
    }

    /// Signs a certificate of that name, for a server at `address` or for a client.
    ///
    /// # Errors
    /// [`Error::Command`], [`Error::Io`].
    pub fn sign(&self, name: &str, address: Option<IpAddr>, valid: Valid) -> Result<Pair, Error> {
        let file = |end: &str| self.directory.join(format!("{name}.{end}"));
        let (certificate, key, request, more) = (file("pem"), file("key"), file("csr"), file("ext"));
        let subject = format!("/CN={name}");
        openssl(
            &[
                &["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"][..],
                &["-subj", &subject, "-out", &text(&request), "-keyout", &text(&key)],
            ]
            .concat(),
        )?;
        // The gateway inside etcd is a client of its own server.
        let usage = "extendedKeyUsage = serverAuth, clientAuth\n";
        let extensions = address.map_or(usage.to_owned(), |address| format!("{usage}subjectAltName = IP:{address}\n"));
        std::fs::write(&more, extensions).map_err(io_error("write a certificate's extensions"))?;
        let days = if valid == Valid::Now { "30" } else { "-1" };
        openssl(
            &[
                &["x509", "-req", "-in", &text(&request), "-CA", &text(&self.certificate), "-CAkey", &text(&self.key)]
                    [..],
                &["-CAcreateserial", "-days", days, "-extfile", &text(&more), "-out", &text(&certificate)],
            ]
            .concat(),
        )?;
        Ok(Pair { certificate, key })
    }
}
