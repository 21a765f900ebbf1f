//! One request in HTTP/1 and what comes of it (RFC 9112); whoever has the connection carries the bytes.
//!
//! A client's connection that serves many requests costs more than such a check, which makes one: httparse reads the head, as it
//! does for hyper, and of the rest a check needs little. HTTP/2 is hyper's.
//!
//! What must stay true: an answer that ends before its end, or whose length can't be told, is none; of a head, a line of
//! chunks and a trailer only so much is kept as the bounds here say.

use std::io::{ErrorKind, Read as _, Write as _};
use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Response, Status};
use hyper::header::HeaderValue;
use hyper::http::uri::PathAndQuery;
use keepone_config::model::{HttpProbe, HttpVersion, Target, Url};
use socket2::Socket;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::Fault;
use super::body::{Body, More};
use super::chunks::{Chunks, Next};
use super::http::{GOODBYE, HEAD, Page, authority, too_long};

/// How many headers there may be.
const HEADERS: usize = 256;
/// Room for what is read at once, in bytes.
pub(super) const ROOM: usize = 16 << 10;

/// The request, and the answer as far as it has come.
pub(super) struct Exchange {
    request: Vec<u8>,
    /// So many bytes of it are gone.
    sent: usize,
    part: Part,
    status: u16,
    body: Body,
}

/// What comes next.
enum Part {
    /// The head; what has come of it.
    Head(Vec<u8>),
    /// So many bytes of the body.
    Sized(u64),
    /// The body in chunks.
    Chunked(Chunks),
    /// The body, until the connection ends.
    Open,
    /// Nothing that matters.
    Over,
}

impl Exchange {
    /// With the request for `url`; nothing has been sent.
    ///
    /// # Errors
    /// It can't be asked for.
    pub(super) fn new(target: &Target, settings: &HttpProbe, url: &Url) -> Result<Self, Fault> {
        let host = url.virtualhost.clone().unwrap_or_else(|| authority(target, settings.tls));
        let wrong = |error: &dyn std::fmt::Display| Fault::Wrong(format!("{} can't be asked for: {error}", url.path));
        let path: PathAndQuery = url.path.parse().map_err(|error| wrong(&error))?;
        HeaderValue::from_str(&host).map_err(|error| wrong(&error))?;
        let version = if settings.version == HttpVersion::V11 { "1.1" } else { "1.0" };
        // 1.0 closes anyway; without it a server may keep a connection of 1.1 that nobody wants any more.
        let close = if settings.version == HttpVersion::V10 { "" } else { "Connection: close\r\n" };
        let request = format!("GET {path} HTTP/{version}\r\nUser-Agent: keepone\r\nHost: {host}\r\n{close}\r\n");
        Ok(Exchange {
            request: request.into_bytes(),
            sent: 0,
            part: Part::Head(Vec::new()),
            status: 0,
            body: Body::new(url.digest.is_some(), url.regex.is_some()),
        })
    }

    /// Sends what the kernel takes at once.
    ///
    /// # Errors
    /// The connection is gone.
    pub(super) fn send(&mut self, mut connection: &Socket) -> Result<(), Fault> {
        match connection.write(self.request.get(self.sent..).unwrap_or(&[])) {
            Ok(sent) => self.sent += sent,
            Err(error) if is_later(&error) => {}
            Err(error) => return Err(Fault::io("HTTP")(error)),
        }
        Ok(())
    }

    /// Reads what has come, `room` at most, and never waits; the page, if that was all of it.
    ///
    /// # Errors
    /// It is no answer, or too much of one.
    pub(super) fn receive(
        &mut self,
        mut connection: &Socket,
        room: &mut [u8],
        url: &Url,
    ) -> Result<Option<Page>, Fault> {
        match connection.read(room) {
            Ok(0) => self.end()?,
            Ok(length) => self.take(room.get(..length).unwrap_or(&[]), url)?,
            Err(error) if is_later(&error) => {}
            Err(error) => return Err(Fault::io("HTTP")(error)),
        }
        Ok(self.page())
    }

    /// The rest of it over a connection that waits; with `goodbye` that is ended as its protocol says.
    ///
    /// # Errors
    /// The connection is gone, or what came is no answer, or too much of one.
    pub(super) async fn over<S>(mut self, mut stream: S, url: &Url, goodbye: bool) -> Result<Page, Fault>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let failed = Fault::io("HTTP");
        stream.write_all(self.request.get(self.sent..).unwrap_or(&[])).await.map_err(&failed)?;
        stream.flush().await.map_err(&failed)?;
        let mut room = vec![0; ROOM];
        let page = loop {
            match stream.read(&mut room).await.map_err(&failed)? {
                0 => self.end()?,
                length => self.take(room.get(..length).unwrap_or(&[]), url)?,
            }
            if let Some(page) = self.page() {
                break page;
            }
        };
        if goodbye {
            // It has been judged by what it said.
            let _ = tokio::time::timeout(GOODBYE, parting(stream, &mut room)).await;
        }
        Ok(page)
    }

    /// Takes what has come next.
    fn take(&mut self, bytes: &[u8], url: &Url) -> Result<(), Fault> {
        let mut rest = bytes;
        while !rest.is_empty() && !matches!(self.part, Part::Over) {
            let data = |body: &mut Body, data: &[u8]| body.take(data).map_err(|_| too_long(url));
            let (next, more) = match &mut self.part {
                Part::Head(before) => {
                    let before = std::mem::take(before);
                    rest = self.head(before, rest)?;
                    continue;
                }
                Part::Sized(left) => {
                    let length = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    let (part, after) = rest.split_at(length);
                    rest = after;
                    *left -= length as u64;
                    let is_over = *left == 0;
                    (is_over, data(&mut self.body, part)?)
                }
                Part::Chunked(chunks) => {
                    let (next, after) = chunks.take(rest).map_err(|what| Fault::Wrong(format!("HTTP: {what}")))?;
                    rest = after;
                    match next {
                        Next::Data(part) => (false, data(&mut self.body, part)?),
                        Next::More => (false, More::Wanted),
                        Next::End => (true, More::Wanted),
                    }
                }
                Part::Open => (false, data(&mut self.body, std::mem::take(&mut rest))?),
                Part::Over => return Ok(()),
            };
            if next || more == More::Enough {
                self.part = Part::Over;
            }
        }
        Ok(())
    }

    /// Takes what may end the head that began with `before`; what comes behind it.
    fn head<'a>(&mut self, mut before: Vec<u8>, bytes: &'a [u8]) -> Result<&'a [u8], Fault> {
        // Nearly all come in one piece.
        let known = before.len();
        if known > 0 {
            before.extend_from_slice(bytes);
        }
        let all = if known > 0 { &before } else { bytes };
        // One that comes byte by byte is not read from its begin each time.
        let news = all.get(known.saturating_sub(2)..).unwrap_or(&[]);
        let may_end = known == 0
            || news.windows(2).any(|pair| pair == b"\n\n")
            || news.windows(3).any(|triple| triple == b"\n\r\n");
        let mut headers = [const { MaybeUninit::<Header<'_>>::uninit() }; HEADERS];
        let mut answer = Response::new(&mut []);
        let read = if may_end {
            let config = ParserConfig::default();
            config.parse_response_with_uninit_headers(&mut answer, all, &mut headers)
        } else {
            Ok(Status::Partial)
        };
        match read.map_err(|error| Fault::Wrong(format!("HTTP: {error}")))? {
            Status::Partial if all.len() > HEAD => {
                Err(Fault::Wrong(format!("HTTP: the head is longer than {} KiB", HEAD >> 10)))
            }
            Status::Partial => {
                self.part = Part::Head(if known > 0 { before } else { bytes.to_vec() });
                Ok(&[])
            }
            Status::Complete(length) => {
                self.status = answer.code.unwrap_or(0);
                self.part = body_of(&answer).map_err(|what| Fault::Wrong(format!("HTTP: {what}")))?;
                Ok(bytes.get(length.saturating_sub(known)..).unwrap_or(&[]))
            }
        }
    }

    /// The connection has ended.
    fn end(&mut self) -> Result<(), Fault> {
        match &self.part {
            Part::Open | Part::Over => {
                self.part = Part::Over;
                Ok(())
            }
            Part::Head(_) => Err(Fault::Wrong(String::from("HTTP: end of file before the end of the head"))),
            Part::Sized(_) | Part::Chunked(_) => {
                Err(Fault::Wrong(String::from("HTTP: end of file before message length reached")))
            }
        }
    }

    /// What was asked for, once all of it is there; there is nothing more to come then.
    fn page(&mut self) -> Option<Page> {
        let is_over = matches!(self.part, Part::Over);
        is_over.then(|| Page { status: self.status, body: std::mem::replace(&mut self.body, Body::new(false, false)) })
    }
}

fn is_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// How the body comes (RFC 9112, 6.3); a further head, where that one was only informational.
fn body_of(answer: &Response<'_, '_>) -> Result<Part, &'static str> {
    let code = answer.code.unwrap_or(0);
    match code {
        // Another protocol, which nobody asked for.
        101 | 204 | 304 => return Ok(Part::Over),
        100..=199 => return Ok(Part::Head(Vec::new())),
        _ => {}
    }
    let all = |name: &'static str| answer.headers.iter().filter(move |one| one.name.eq_ignore_ascii_case(name));
    if let Some(coding) = all("transfer-encoding").next_back() {
        if answer.version == Some(0) {
            return Err("Transfer-Encoding in an answer of HTTP/1.0");
        }
        let last = coding.value.rsplit(|byte| *byte == b',').next().unwrap_or(&[]);
        let chunked = last.trim_ascii().eq_ignore_ascii_case(b"chunked");
        return Ok(if chunked { Part::Chunked(Chunks::default()) } else { Part::Open });
    }
    let mut length = None;
    for one in all("content-length") {
        let text = std::str::from_utf8(one.value).ok().map(str::trim);
        let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let found: u64 = digits.and_then(|text| text.parse().ok()).ok_or("a Content-Length that is no number")?;
        if length.is_some_and(|length| length != found) {
            return Err("two different Content-Length");
        }
        length = Some(found);
    }
    Ok(match length {
        None => Part::Open,
        Some(0) => Part::Over,
        Some(length) => Part::Sized(length),
    })
}

/// Says that nothing more comes, and hears the other side out.
async fn parting<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, room: &mut [u8]) -> std::io::Result<()> {
    stream.shutdown().await?;
    while stream.read(room).await? > 0 {}
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(url: &str) -> (Exchange, Url) {
        let config = crate::checkers::tests::config("", &format!("HTTP_GET {{ {url} }}"));
        let probe = &config.virtual_servers[0].real_servers[0].checkers[0].probe;
        let keepone_config::model::Probe::Http(target, settings) = probe else { panic!("{probe:?}") };
        let url = settings.urls[0].clone();
        (Exchange::new(target, settings, &url).unwrap(), url)
    }

    /// The status, and how long the body was as far as it was read, if that is all; what is wrong; or `?`. In pieces of each size.
    fn answered(answer: &[u8], ends: bool) -> String {
        let of = |size: usize| {
            let (mut exchange, url) = asked("url { path /\n regex x }");
            let taken = answer.chunks(size).try_for_each(|piece| exchange.take(piece, &url));
            let ended = taken.and_then(|()| if ends { exchange.end() } else { Ok(()) });
            match (ended, exchange.page()) {
                (Err(fault), _) => fault.to_string(),
                (Ok(()), Some(page)) => format!("{} {}", page.status, page.body.length()),
                (Ok(()), None) => String::from("?"),
            }
        };
        let whole = of(answer.len().max(1));
        for size in 1..answer.len().min(40) {
            assert_eq!(of(size), whole, "in pieces of {size} bytes: {}", String::from_utf8_lossy(answer));
        }
        whole
    }

    #[test]
    fn a_request_names_its_host_and_how_it_ends() {
        let text = |url: &str| String::from_utf8(asked(url).0.request).unwrap();
        let wanted = "GET /a?b=c HTTP/1.0\r\nUser-Agent: keepone\r\nHost: 127.0.0.1\r\n\r\n";
        assert_eq!(text("url { path /a?b=c }"), wanted);
        let wanted = "GET / HTTP/1.1\r\nUser-Agent: keepone\r\nHost: a.test\r\nConnection: close\r\n\r\n";
        assert_eq!(text("http_protocol 1.1\n url { path /\n virtualhost a.test }"), wanted);
    }

    #[test]
    fn an_answer_ends_where_its_head_says_however_it_comes() {
        let cases: [(&str, &str); 12] = [
            ("HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nok\n", "200 3"),
            ("HTTP/1.1 200 OK\nContent-Length: 3\n\nok\nmore", "200 3"),
            ("HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n", "404 0"),
            ("HTTP/1.1 204 No\r\nContent-Length: 9\r\n\r\n", "204 0"),
            ("HTTP/1.1 304 Same\r\nContent-Length: 9\r\n\r\n", "304 0"),
            (
                "HTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Go\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
                "200 1",
            ),
            ("HTTP/1.1 101 Other\r\nUpgrade: x\r\n\r\nwhatever", "101 0"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\nContent-Length: 1\r\n\r\n3;x=\"y\"\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n",
                "200 5",
            ),
            ("HTTP/1.1 200 OK\r\n\r\nsome", "?"),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, x\r\n\r\nsome", "?"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsome", "?"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nsomeo", "HTTP: a Content-Length that is no number"),
        ];
        for (answer, wanted) in cases {
            assert_eq!(answered(answer.as_bytes(), false), wanted, "{answer}");
        }
    }

    #[test]
    fn one_that_is_cut_short_or_is_none_fails() {
        let cases: [(&str, &str); 9] = [
            ("", "HTTP: end of file before the end of the head"),
            ("HTTP/1.1 200 OK\r\nContent-", "HTTP: end of file before the end of the head"),
            ("HTTP/1.1 200 OK\r\n\r\nsome", "200 4"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nsome", "HTTP: end of file before message length reached"),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
                "HTTP: end of file before message length reached",
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n",
                "HTTP: end of file before message length reached",
            ),
            (
                "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                "HTTP: Transfer-Encoding in an answer of HTTP/1.0",
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "HTTP: two different Content-Length"),
            ("HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n", "HTTP: a Content-Length that is no number"),
        ];
        for (answer, wanted) in cases {
            assert_eq!(answered(answer.as_bytes(), true), wanted, "{answer}");
        }
        assert!(answered(b"SSH-2.0-OpenSSH_9.2\r\n", true).starts_with("HTTP: invalid HTTP version"));
    }

    #[test]
    fn a_head_has_its_bounds() {
        let head = |lines: usize, length: usize| {
            let line = format!("X: {}\r\n", "y".repeat(length));
            let answer = format!("HTTP/1.1 200 OK\r\n{}Content-Length: 0\r\n\r\n", line.repeat(lines));
            let (mut exchange, url) = asked("url { path / }");
            answer
                .as_bytes()
                .chunks(ROOM)
                .try_for_each(|piece| exchange.take(piece, &url))
                .map_err(|fault| fault.to_string())
        };
        assert_eq!(head(255, 100), Ok(()));
        assert_eq!(head(256, 1), Err(String::from("HTTP: too many headers")));
        assert_eq!(head(100, 1000), Err(String::from("HTTP: the head is longer than 64 KiB")));
    }

    #[test]
    fn of_a_body_that_nobody_looks_at_only_a_glance_is_taken() {
        let (mut exchange, url) = asked("url { path / }");
        exchange.take(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n", &url).unwrap();
        let part = vec![b'x'; 100_000];
        let taken = (0..100).position(|_| {
            exchange.take(&part, &url).unwrap();
            exchange.page().is_some()
        });
        assert_eq!(taken, Some(10), "after the first MiB");
    }
}
