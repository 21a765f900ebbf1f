//! Where the listener is, and what of that is refused.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Where.
    pub listen: SocketAddr,
    /// Certificate chain and private key, in PEM; without, HTTP on a loopback address.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Who may ask; without, everybody on this host may read, and nobody may do anything.
    pub token_file: Option<PathBuf>,
}

/// What is not safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsafe {
    /// Tokens and answers would go over a network in the clear.
    #[error(
        "{0} can be reached from other machines, and there is no TLS: add cert_file and cert_key_file, or listen on 127.0.0.1"
    )]
    Clear(SocketAddr),
    /// Whoever reaches the address would read everything.
    #[error(
        "{0} can be reached from other machines, and anybody there could read: add token_file, or listen on 127.0.0.1"
    )]
    Open(SocketAddr),
}

impl Settings {
    /// Whether it may be opened.
    ///
    /// # Errors
    /// It may not, and what to do.
    pub fn check(&self) -> Result<(), Unsafe> {
        match (self.listen.ip().to_canonical().is_loopback(), &self.tls, &self.token_file) {
            (true, ..) | (false, Some(_), Some(_)) => Ok(()),
            (false, None, _) => Err(Unsafe::Clear(self.listen)),
            (false, Some(_), None) => Err(Unsafe::Open(self.listen)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_this_host_it_takes_tls_and_tokens() {
        let tls = Some((PathBuf::from("c"), PathBuf::from("k")));
        let tokens = Some(PathBuf::from("t"));
        let check = |listen: &str, tls: &Option<_>, token_file: &Option<_>| {
            Settings { listen: listen.parse().unwrap(), tls: tls.clone(), token_file: token_file.clone() }.check()
        };
        for listen in ["127.0.0.1:80", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"] {
            assert_eq!(check(listen, &None, &None), Ok(()), "{listen}");
        }
        for listen in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80", "[::ffff:10.0.0.1]:80"] {
            let address = listen.parse().unwrap();
            assert_eq!(check(listen, &None, &tokens), Err(Unsafe::Clear(address)));
            assert_eq!(check(listen, &tls, &None), Err(Unsafe::Open(address)));
            assert_eq!(check(listen, &tls, &tokens), Ok(()));
        }
    }
}
