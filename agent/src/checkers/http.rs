//! `HTTP_GET` and `SSL_GET`: up while requests are answered as they should be. HTTP/1 is an [`Exchange`], HTTP/2 hyper's.
//!
//! Redirects are not followed: where they are good, `status_code` says so. One connection for one request.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::USER_AGENT;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keepone_config::model::{HttpProbe, HttpVersion, ServerName, Target, Url};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::body::{Body, More, READ, TooLong};
use super::exchange::Exchange;
use super::tls::{Manner, Tls};
use super::{Fault, socket};

/// All headers of an answer together, in bytes.
pub(super) const HEAD: usize = 64 << 10;
/// A server that wants a goodbye of TLS is given so long for it.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) body: Body,
}

/// Whether a request goes over the bare connection, in HTTP/1: such an exchange may begin before anybody waits for it.
pub(super) fn is_plain(settings: &HttpProbe) -> bool {
    !settings.tls && settings.version != HttpVersion::V2
}

/// Makes the request, and judges the answer; `begun` has made the begin of it.
pub(super) async fn probe(
    stream: TcpStream,
    target: &Target,
    (settings, url): (&HttpProbe, &Url),
    begun: Option<Exchange>,
    tls: &Tls,
) -> Result<(), Fault> {
    judge(&fetch_over(stream, target, (settings, url), begun, tls).await?, url)
}

/// Whether the answer is as it is wanted.
///
/// # Errors
/// How it is not.
pub(super) fn judge(page: &Page, url: &Url) -> Result<(), Fault> {
    let codes = &url.status_codes;
    if !codes.iter().any(|(first, last)| (*first..=*last).contains(&page.status)) {
        return Err(Fault::Wrong(format!("{} answers with {}", url.path, page.status)));
    }
    page.body.judge(url).map_err(|fault| Fault::Wrong(format!("{}: {fault}", url.path)))
}

/// Makes the request, and reads the answer as far as it matters.
pub(crate) async fn fetch(target: &Target, settings: &HttpProbe, url: &Url, tls: &Tls) -> Result<Page, Fault> {
    fetch_over(socket::tcp(target).await?, target, (settings, url), None, tls).await
}

async fn fetch_over(
    stream: TcpStream,
    target: &Target,
    (settings, url): (&HttpProbe, &Url),
    begun: Option<Exchange>,
    tls: &Tls,
) -> Result<Page, Fault> {
    if is_plain(settings) {
        let exchange = begun.map_or_else(|| Exchange::new(target, settings, url), Ok)?;
        return exchange.over(stream, url, false).await;
    }
    // What is for TLS would make each check without it as large.
    Box::pin(fetch_otherwise(stream, target, (settings, url), tls)).await
}

/// Over TLS, or in HTTP/2.
async fn fetch_otherwise(
    stream: TcpStream,
    target: &Target,
    (settings, url): (&HttpProbe, &Url),
    tls: &Tls,
) -> Result<Page, Fault> {
    let http2 = settings.version == HttpVersion::V2;
    if !settings.tls {
        return over_http2(stream, request(target, settings, url)?, url, false).await;
    }
    let name = match &settings.server_name {
        ServerName::None => None,
        ServerName::VirtualHost => url.virtualhost.as_deref(),
        ServerName::Name(name) => Some(name.as_str()),
    };
    let manner = Manner { name, verify: settings.verify, http2 };
    let goodbye = url.tls_compliant || settings.tls_compliant;
    if http2 {
        let request = request(target, settings, url)?;
        return over_http2(tls.connect(stream, target.address, manner).await?, request, url, goodbye).await;
    }
    let exchange = Exchange::new(target, settings, url)?;
    exchange.over(tls.connect(stream, target.address, manner).await?, url, goodbye).await
}

/// In HTTP/2.
fn request(target: &Target, settings: &HttpProbe, url: &Url) -> Result<Request<Empty<Bytes>>, Fault> {
    let host = url.virtualhost.clone().unwrap_or_else(|| authority(target, settings.tls));
    let uri = format!("https://{host}{}", url.path);
    let wrong = |error| Fault::Wrong(format!("{} can't be asked for: {error}", url.path));
    let builder = Request::get(uri).version(Version::HTTP_2).header(USER_AGENT, "keepone");
    builder.body(Empty::new()).map_err(wrong)
}

/// What a browser would call it.
pub(super) fn authority(target: &Target, tls: bool) -> String {
    let host = match target.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let usual = if tls { 443 } else { 80 };
    if target.port == usual { host } else { format!("{host}:{}", target.port) }
}

async fn over_http2<S>(stream: S, request: Request<Empty<Bytes>>, url: &Url, goodbye: bool) -> Result<Page, Fault>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
    builder.max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX));
    let (mut sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(spoken)?;
    along(connection, goodbye, async move { read(sender.send_request(request).await, url).await }).await
}

/// Asks while the connection is being served, and lets that say goodbye if it is to.
async fn along<C>(
    connection: C,
    goodbye: bool,
    asking: impl Future<Output = Result<Page, Fault>>,
) -> Result<Page, Fault>
where
    C: Future<Output = hyper::Result<()>>,
{
    let (mut connection, mut asking) = (pin!(connection), pin!(asking));
    let mut is_open = true;
    loop {
        tokio::select! {
            page = &mut asking => {
                if goodbye && is_open {
                    // It has been judged by what it said.
                    let _ = tokio::time::timeout(GOODBYE, connection).await;
                }
                return page;
            }
            // What it brought is still to be read.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}

async fn read(answered: hyper::Result<Response<Incoming>>, url: &Url) -> Result<Page, Fault> {
    let answer = answered.map_err(spoken)?;
    let status = answer.status().as_u16();
    let mut body = Body::new(url.digest.is_some(), url.regex.is_some());
    let mut incoming = answer.into_body();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(spoken)?;
        match frame.data_ref().map(|data| body.take(data)) {
            Some(Ok(More::Enough)) => break,
            Some(Err(TooLong)) => return Err(too_long(url)),
            Some(Ok(More::Wanted)) | None => {}
        }
    }
    Ok(Page { status, body })
}

/// Of a body that is to be looked at.
pub(super) fn too_long(url: &Url) -> Fault {
    Fault::Wrong(format!("{} is longer than {} MiB", url.path, READ >> 20))
}

/// hyper's words with their causes: the first alone says little.
fn spoken(error: hyper::Error) -> Fault {
    Fault::Wrong(format!("HTTP: {}", crate::exit::chain(&error)))
}
