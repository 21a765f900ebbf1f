//! `HTTP_GET` and `SSL_GET`: up while requests are answered as they should be.
//!
//! Redirects are not followed: where they are good, `status_code` says so. One connection for one request.

use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, HOST, USER_AGENT};
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use keepone_config::model::{HttpProbe, HttpVersion, ServerName, Target, Url};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::body::{Body, More, READ, TooLong};
use super::tls::{Manner, Tls};
use super::{Fault, socket};

/// All headers of an answer together, in bytes.
const HEAD: usize = 64 << 10;
/// How many there may be.
const HEADERS: usize = 256;
/// A server that wants a goodbye of TLS is given so long for it.
const GOODBYE: Duration = Duration::from_secs(1);

/// What came of a request.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) status: u16,
    pub(crate) body: Body,
}

pub(super) async fn probe(
    stream: TcpStream,
    target: &Target,
    (settings, url): (&HttpProbe, &Url),
    tls: &Tls,
) -> Result<(), Fault> {
    let page = fetch_over(stream, target, (settings, url), tls).await?;
    let codes = &url.status_codes;
    if !codes.iter().any(|(first, last)| (*first..=*last).contains(&page.status)) {
        return Err(Fault::Wrong(format!("{} answers with {}", url.path, page.status)));
    }
    page.body.judge(url).map_err(|fault| Fault::Wrong(format!("{}: {fault}", url.path)))
}

/// Makes the request, and reads the answer as far as it matters.
pub(crate) async fn fetch(target: &Target, settings: &HttpProbe, url: &Url, tls: &Tls) -> Result<Page, Fault> {
    fetch_over(socket::tcp(target).await?, target, (settings, url), tls).await
}

async fn fetch_over(
    stream: TcpStream,
    target: &Target,
    (settings, url): (&HttpProbe, &Url),
    tls: &Tls,
) -> Result<Page, Fault> {
    let request = request(target, settings, url)?;
    let goodbye = settings.tls && (url.tls_compliant || settings.tls_compliant);
    let asking = Asking { request, url, goodbye };
    if !settings.tls {
        return asking.over(stream, settings.version).await;
    }
    let name = match &settings.server_name {
        ServerName::None => None,
        ServerName::VirtualHost => url.virtualhost.as_deref(),
        ServerName::Name(name) => Some(name.as_str()),
    };
    let manner = Manner { name, verify: settings.verify, http2: settings.version == HttpVersion::V2 };
    let stream = Box::pin(tls.connect(stream, target.address, manner)).await?;
    // What is for TLS would make each check without it as large.
    Box::pin(asking.over(stream, settings.version)).await
}

fn request(target: &Target, settings: &HttpProbe, url: &Url) -> Result<Request<Empty<Bytes>>, Fault> {
    let host = url.virtualhost.clone().unwrap_or_else(|| authority(target, settings.tls));
    let (version, uri) = match settings.version {
        HttpVersion::V10 | HttpVersion::V10Close => (Version::HTTP_10, url.path.clone()),
        HttpVersion::V11 => (Version::HTTP_11, url.path.clone()),
        HttpVersion::V2 => (Version::HTTP_2, format!("https://{host}{}", url.path)),
    };
    let mut builder = Request::get(uri).version(version).header(USER_AGENT, "keepone");
    if settings.version != HttpVersion::V2 {
        builder = builder.header(HOST, host);
    }
    // 1.0 closes anyway; without it a server may keep a connection of 1.1 that nobody wants any more.
    if matches!(settings.version, HttpVersion::V10Close | HttpVersion::V11) {
        builder = builder.header(CONNECTION, "close");
    }
    let wrong = |error| Fault::Wrong(format!("{} can't be asked for: {error}", url.path));
    builder.body(Empty::new()).map_err(wrong)
}

/// What a browser would call it.
fn authority(target: &Target, tls: bool) -> String {
    let host = match target.address {
        IpAddr::V4(address) => address.to_string(),
        IpAddr::V6(address) => format!("[{address}]"),
    };
    let usual = if tls { 443 } else { 80 };
    if target.port == usual { host } else { format!("{host}:{}", target.port) }
}

struct Asking<'a> {
    request: Request<Empty<Bytes>>,
    url: &'a Url,
    goodbye: bool,
}

impl Asking<'_> {
    async fn over<S>(self, stream: S, version: HttpVersion) -> Result<Page, Fault>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let stream = TokioIo::new(stream);
        if version == HttpVersion::V2 {
            let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
            builder.max_header_list_size(u32::try_from(HEAD).unwrap_or(u32::MAX));
            let (mut sender, connection) = builder.handshake(stream).await.map_err(spoken)?;
            let (url, goodbye) = (self.url, self.goodbye);
            return along(connection, goodbye, async move { read(sender.send_request(self.request).await, url).await })
                .await;
        }
        let mut builder = hyper::client::conn::http1::Builder::new();
        builder.max_buf_size(HEAD).max_headers(HEADERS);
        let (mut sender, connection) = builder.handshake(stream).await.map_err(spoken)?;
        let (url, goodbye) = (self.url, self.goodbye);
        along(connection, goodbye, async move { read(sender.send_request(self.request).await, url).await }).await
    }
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
            Some(Err(TooLong)) => {
                let words = format!("{} is longer than {} MiB", url.path, READ >> 20);
                return Err(Fault::Wrong(words));
            }
            Some(Ok(More::Wanted)) | None => {}
        }
    }
    Ok(Page { status, body })
}

/// hyper's words with their causes: the first alone says little.
fn spoken(error: hyper::Error) -> Fault {
    Fault::Wrong(format!("HTTP: {}", crate::exit::chain(&error)))
}
