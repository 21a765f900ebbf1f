//! `keepone genhash`: what a check of a page would see of it, to be written into `digest`.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::Duration;

use keepone_config::model::{ClientTls, HttpProbe, HttpVersion, ServerName, Target, Url};

use super::body::hex;
use super::http::fetch;
use super::tls::Tls;
use crate::exit::{ExitCode, Failure};

/// The page that is asked for.
#[derive(Debug, Clone)]
pub struct Page {
    /// Name or address of the server.
    pub server: String,
    /// Its port.
    pub port: u16,
    /// Begins with a slash.
    pub path: String,
    /// Over TLS.
    pub tls: bool,
    /// The Host header, and the name in the handshake.
    pub virtualhost: Option<String>,
    /// The version of the request: 1.0, 1.0C, 1.1 or 2.
    pub version: HttpVersion,
    /// The mark of our packets.
    pub mark: u32,
    /// How long it may take.
    pub timeout: Duration,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The status code.
    pub status: u16,
    /// How long the body is, in bytes.
    pub length: u64,
    /// Its MD5, as `digest` takes it.
    pub digest: String,
}

/// Asks for the page.
///
/// # Errors
/// It can't be had, and why.
pub fn run(page: &Page) -> Result<Found, Failure> {
    let failed = |what: &dyn std::fmt::Display| Failure::say(ExitCode::Unexpected, format!("{}: {what}", page.server));
    let target = Target {
        address: resolve(page).map_err(|error| failed(&error))?,
        port: page.port,
        from: None,
        from_port: 0,
        interface: None,
        mark: page.mark,
        timeout: page.timeout,
    };
    let url = Url {
        path: page.path.clone(),
        virtualhost: page.virtualhost.clone(),
        // Any: it is wanted that one is made.
        digest: Some([0; 16]),
        status_codes: Vec::new(),
        regex: None,
        tls_compliant: false,
    };
    let server_name = if page.virtualhost.is_some() { ServerName::VirtualHost } else { ServerName::None };
    let settings = HttpProbe {
        tls: page.tls,
        version: page.version,
        server_name,
        verify: false,
        tls_compliant: false,
        fast_recovery: false,
        urls: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failed(&error))?;
    let tls = Tls::new(&ClientTls::default());
    let fetched = runtime.block_on(async {
        tokio::time::timeout(page.timeout, fetch(&target, &settings, &url, &tls))
            .await
            .map_err(|_elapsed| failed(&format_args!("no end within {:?}", page.timeout)))?
            .map_err(|fault| failed(&fault))
    })?;
    let digest = fetched.body.digest().map(|digest| hex(&digest)).unwrap_or_default();
    Ok(Found { status: fetched.status, length: fetched.body.length(), digest })
}

fn resolve(page: &Page) -> Result<IpAddr, String> {
    if let Ok(address) = page.server.parse() {
        return Ok(address);
    }
    let found = (page.server.as_str(), page.port).to_socket_addrs().map_err(|error| error.to_string())?;
    let first: Option<SocketAddr> = found.into_iter().next();
    first.map(|address| address.ip()).ok_or_else(|| String::from("it has no address"))
}
