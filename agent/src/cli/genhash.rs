//! `keepone genhash`: the digest of a page, with the options of keepalived's genhash.

use std::time::Duration;

use clap::Args;
use keepone_agent::checkers::genhash::{Page, run as ask};
use keepone_agent::exit::Failure;
use keepone_config::model::HttpVersion;

/// The page that is asked for.
#[derive(Args)]
pub(crate) struct Genhash {
    /// The server's name or address.
    #[arg(short, long, value_name = "HOST")]
    server: String,
    /// Its port; 80, or 443 with -S.
    #[arg(short, long)]
    port: Option<u16>,
    /// The path of the page.
    #[arg(short, long, value_name = "PATH")]
    url: String,
    /// Over TLS; whose the certificate is, is not asked.
    #[arg(short = 'S', long)]
    use_ssl: bool,
    /// The Host header, and over TLS the name in the handshake.
    #[arg(short = 'V', long, value_name = "NAME")]
    use_virtualhost: Option<String>,
    /// The version of the request.
    #[arg(short = 'P', long, value_name = "VERSION", default_value = "1.0", value_parser = version)]
    http_protocol: HttpVersion,
    /// The mark of our packets.
    #[arg(short = 'm', long, default_value_t = 0)]
    fwmark: u32,
    /// How long it may take, in seconds.
    #[arg(short, long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=3600))]
    timeout: u64,
    /// Say the status code and the length of the body too.
    #[arg(short, long)]
    verbose: bool,
}

fn version(text: &str) -> Result<HttpVersion, String> {
    match text {
        "1.0" => Ok(HttpVersion::V10),
        "1.0C" | "1.0c" => Ok(HttpVersion::V10Close),
        "1.1" => Ok(HttpVersion::V11),
        "2" => Ok(HttpVersion::V2),
        _ => Err(String::from("one of 1.0, 1.0C, 1.1, 2")),
    }
}

/// Asks for it, and prints `MD5SUM = …` as keepalived's does.
pub(crate) fn run(wish: Genhash) -> Result<u8, Failure> {
    let page = Page {
        port: wish.port.unwrap_or(if wish.use_ssl { 443 } else { 80 }),
        server: wish.server,
        path: wish.url,
        tls: wish.use_ssl,
        virtualhost: wish.use_virtualhost,
        version: wish.http_protocol,
        mark: wish.fwmark,
        timeout: Duration::from_secs(wish.timeout),
    };
    let found = ask(&page)?;
    if wish.verbose {
        super::say(&format!("status {}, {} bytes", found.status, found.length));
    }
    Ok(super::say(&format!("MD5SUM = {}", found.digest)))
}
