//! The web page and the HTTP listener.

use std::net::SocketAddr;
use std::path::PathBuf;

/// A listener.
#[derive(Debug, serde::Serialize, Clone, PartialEq, Eq)]
pub struct Web {
    /// Where.
    pub listen: SocketAddr,
    /// Certificate chain and private key, in PEM.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Who may ask for what.
    pub token_file: Option<PathBuf>,
}
