//! What is where, and who gets it.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use http_body_util::{BodyExt as _, Either, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request as HttpRequest, Response, StatusCode};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::live::{Events, Live};
use super::spare::Spare;
use super::tokens::Doorkeeper;
use super::{Site, page};
use crate::control::{Lines, Reply, Request, Right};

/// Octets of a body, as of a request at the socket.
const LONGEST_BODY: usize = crate::control::message::LONGEST;
/// For a body.
const BODY: Duration = Duration::from_secs(10);
/// Octets of an answer.
const LONGEST_ANSWER: usize = 16 << 20;
/// Who may look at a time, live.
const VIEWERS: usize = 16;
/// After a guess at a token.
const WRONG: Duration = Duration::from_millis(300);
/// Of the cookie.
const COOKIE: &str = "keepone";
/// How long a browser keeps it: a shift.
const COOKIE_S: u32 = 12 * 3600;

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Nothing from elsewhere, no script but the page's own, in nobody's frame; and nothing is kept.
const ALWAYS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Who is let in.
#[derive(Debug)]
pub(super) enum Door {
    /// Whoever is on this host may read.
    Open,
    /// Whoever has a token.
    Tokens(Doorkeeper),
    /// Nobody: the tokens can't be read.
    Shut,
}

impl Door {
    /// Who it is by these headers.
    fn admits(&self, headers: &HeaderMap) -> Result<Visitor, Refusal> {
        let keeper = match self {
            Door::Open => return Ok(Visitor { who: String::from("somebody at the web page"), right: Right::Read }),
            Door::Shut => {
                let words = "the token file can't be used: the log says why\n";
                return Err((StatusCode::SERVICE_UNAVAILABLE, words.to_owned()));
            }
            Door::Tokens(keeper) => keeper,
        };
        let found = match bearer(headers) {
            Some(token) => keeper.by_token(token).map(|token| (token, token.right)),
            None => cookie(headers).and_then(|value| keeper.by_cookie(value)).map(|token| (token, Right::Read)),
        };
        let visitor = found.map(|(token, right)| Visitor { who: format!("{} (by a token)", token.name), right });
        let wanted = || (StatusCode::UNAUTHORIZED, "a token is wanted: `Authorization: Bearer TOKEN`\n".to_owned());
        visitor.ok_or_else(wanted)
    }
}

/// Who asks.
struct Visitor {
    who: String,
    right: Right,
}

type Answer = Response<Either<Full<Bytes>, Events>>;

/// All of it.
pub(super) struct Routes<S> {
    site: Arc<S>,
    live: Arc<Live>,
    door: Arc<RwLock<Door>>,
    viewers: Arc<Semaphore>,
    /// Of the last metrics.
    spare: Spare,
    is_tls: bool,
}

/// A refusal: a status and words.
type Refusal = (StatusCode, String);

impl<S: Site> Routes<S> {
    pub(super) fn new(site: Arc<S>, door: Arc<RwLock<Door>>, is_tls: bool) -> Self {
        let viewers = Arc::new(Semaphore::new(VIEWERS));
        Routes { site, live: Live::new(), door, viewers, spare: Spare::default(), is_tls }
    }

    pub(super) fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// Answers a request.
    pub(super) async fn answer(&self, request: HttpRequest<Incoming>) -> Answer {
        let is_head = request.method() == Method::HEAD;
        let mut answer = self.route(request, is_head).await;
        for (name, value) in ALWAYS {
            answer.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        answer
    }

    async fn route(&self, request: HttpRequest<Incoming>, is_head: bool) -> Answer {
        if let Err((status, words)) = self.is_meant(request.headers()) {
            return plain(status, &words);
        }
        let path = request.uri().path().to_owned();
        let method = if is_head { Method::GET } else { request.method().clone() };
        match (method.as_str(), path.as_str()) {
            ("GET", "/page.css") => text(StatusCode::OK, "text/css; charset=utf-8", page::STYLE),
            ("GET", "/page.js") => text(StatusCode::OK, "text/javascript; charset=utf-8", page::SCRIPT),
            ("GET", "/") => self.page(request.headers()).await,
            ("GET", "/live") => self.look(request.headers()).await.unwrap_or_else(refused),
            ("GET", "/metrics") => self.metrics(request.headers()).await.unwrap_or_else(refused),
            ("POST", "/sign-in") => self.sign_in(request).await,
            ("POST", "/sign-out") => signed(&self.cookie("", 0)),
            ("GET" | "POST", path) if path.starts_with("/v1/") => self.api(request).await.unwrap_or_else(refused),
            (_, "/" | "/page.css" | "/page.js" | "/live" | "/metrics" | "/sign-in" | "/sign-out") => {
                plain(StatusCode::METHOD_NOT_ALLOWED, "GET reads, POST to /v1/NAME operates\n")
            }
            _ => plain(StatusCode::NOT_FOUND, "/ is the page, /v1/NAME what the control socket answers, /metrics\n"),
        }
    }

    /// Without tokens a page from elsewhere could have a browser on this host read for it, under a name that leads
    /// here: then the name gives it away.
    fn is_meant(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        if !matches!(*self.door.read().unwrap_or_else(PoisonError::into_inner), Door::Open) {
            return Ok(());
        }
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.chars().all(|c| c.is_ascii_digit()) => name,
            _ => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        if name.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback()) {
            return Ok(());
        }
        let words = "without a token_file only names of this host are answered: localhost, or a loopback address\n";
        Err((StatusCode::MISDIRECTED_REQUEST, words.to_owned()))
    }

    /// By a token; or else by a cookie, which may only read, so that no page from elsewhere can have a browser operate.
    async fn visitor(&self, headers: &HeaderMap) -> Result<Visitor, Refusal> {
        let found = self.door.read().unwrap_or_else(PoisonError::into_inner).admits(headers);
        if matches!(found, Err((StatusCode::UNAUTHORIZED, _))) && bearer(headers).is_some() {
            tokio::time::sleep(WRONG).await;
        }
        found
    }

    /// On a thread that may wait.
    async fn ask<T: Send + 'static>(&self, ask: impl FnOnce(&S) -> T + Send + 'static) -> Result<T, Refusal> {
        let site = self.site.clone();
        let asked = tokio::task::spawn_blocking(move || ask(&site)).await;
        asked.map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")))
    }

    async fn page(&self, headers: &HeaderMap) -> Answer {
        let title = self.site.title();
        match self.visitor(headers).await {
            Ok(_) => {}
            Err((StatusCode::UNAUTHORIZED, _)) => return html(StatusCode::UNAUTHORIZED, page::sign_in(&title, false)),
            Err((status, words)) => return html(status, page::trouble(&title, &words)),
        }
        let has_tokens = !matches!(*self.door.read().unwrap_or_else(PoisonError::into_inner), Door::Open);
        match self.ask(|site| site.parts()).await {
            Ok(Ok(parts)) => html(StatusCode::OK, page::whole(&title, &parts, has_tokens)),
            Ok(Err(words)) | Err((_, words)) => html(StatusCode::SERVICE_UNAVAILABLE, page::trouble(&title, &words)),
        }
    }

    async fn look(&self, headers: &HeaderMap) -> Result<Answer, Refusal> {
        self.visitor(headers).await?;
        let (door, headers) = (self.door.clone(), headers.clone());
        // Who comes by a token that is taken away looks no longer than others.
        let may_look = move || door.read().unwrap_or_else(PoisonError::into_inner).admits(&headers).is_ok();
        let full = || (StatusCode::SERVICE_UNAVAILABLE, format!("{VIEWERS} look already: try again in a moment\n"));
        let place = self.viewers.clone().try_acquire_owned().map_err(|_| full())?;
        let mut answer = Response::new(Either::Right(self.live.viewer(place, may_look)));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        Ok(answer)
    }

    async fn metrics(&self, headers: &HeaderMap) -> Result<Answer, Refusal> {
        self.visitor(headers).await?;
        let memory = self.spare.take();
        match self.ask(|site| site.metrics(memory)).await? {
            Ok(body) => Ok(text(StatusCode::OK, METRICS, self.spare.lend(body))),
            Err(words) => Err((StatusCode::SERVICE_UNAVAILABLE, words + "\n")),
        }
    }

    async fn sign_in(&self, request: HttpRequest<Incoming>) -> Answer {
        let body = match body(request).await {
            Ok(body) => body,
            Err(refusal) => return refused(refusal),
        };
        let fields = fields(&String::from_utf8_lossy(&body));
        let token = fields.get("token").and_then(Value::as_str).unwrap_or_default();
        let known = match &*self.door.read().unwrap_or_else(PoisonError::into_inner) {
            Door::Tokens(keeper) => keeper.by_token(token.trim()).map(|token| keeper.cookie(token)),
            Door::Open | Door::Shut => None,
        };
        match known {
            Some(value) => signed(&self.cookie(&value, COOKIE_S)),
            None => {
                tokio::time::sleep(WRONG).await;
                html(StatusCode::UNAUTHORIZED, page::sign_in(&self.site.title(), true))
            }
        }
    }

    fn cookie(&self, value: &str, seconds: u32) -> String {
        let secure = if self.is_tls { "; Secure" } else { "" };
        format!("{COOKIE}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
    }

    /// What the control socket answers, with the same lines.
    async fn api(&self, request: HttpRequest<Incoming>) -> Result<Answer, Refusal> {
        let visitor = self.visitor(request.headers()).await?;
        let name = request.uri().path().trim_start_matches("/v1/").to_owned();
        let Some(right) = self.site.answers().right(&name) else {
            let words = format!("{name} is not known here: docs/control.md names what is");
            return Ok(json(StatusCode::NOT_FOUND, Reply::Error(words).emit()));
        };
        let is_get = request.method() != Method::POST;
        if right > visitor.right {
            let words = "this takes a token with the right to `operate`, in a header: `Authorization: Bearer TOKEN`";
            return Ok(json(StatusCode::FORBIDDEN, Reply::Error(words.to_owned()).emit()));
        }
        if right == Right::Operate && is_get {
            let words = "this changes something: ask by POST";
            return Ok(json(StatusCode::METHOD_NOT_ALLOWED, Reply::Error(words.to_owned()).emit()));
        }
        let with = if is_get {
            fields(request.uri().query().unwrap_or_default())
        } else {
            match serde_json::from_slice(&body(request).await?) {
                Ok(Value::Object(fields)) => fields,
                _ => {
                    let words = "the body is to be a JSON object with what the question takes: {} for nothing";
                    return Ok(json(StatusCode::BAD_REQUEST, Reply::Error(words.to_owned()).emit()));
                }
            }
        };
        let asked = Request { ask: name, with };
        self.ask(move |site| {
            let mut lines = Collected::default();
            match site.answers().answer(&asked, &visitor.who, &mut lines) {
                Ok(last) => match lines.add(Reply::Last(last)) {
                    Ok(()) => json(StatusCode::OK, lines.0),
                    Err(error) => json(StatusCode::INTERNAL_SERVER_ERROR, Reply::Error(error.to_string()).emit()),
                },
                Err(words) => json(StatusCode::CONFLICT, Reply::Error(words).emit()),
            }
        })
        .await
    }
}

const TOO_LONG: &str = "the answer has more than 16 MiB: ask at the control socket";

/// The lines of an answer.
#[derive(Default)]
struct Collected(Vec<u8>);

impl Collected {
    fn add(&mut self, reply: Reply) -> std::io::Result<()> {
        let line = reply.emit();
        if self.0.len() + line.len() > LONGEST_ANSWER {
            return Err(std::io::Error::other(TOO_LONG));
        }
        self.0.extend_from_slice(&line);
        Ok(())
    }
}

impl Lines for Collected {
    fn more(&mut self, value: Value) -> std::io::Result<()> {
        self.add(Reply::More(value))
    }

    fn has_gone(&self) -> bool {
        false
    }
}

/// A body, if it is short and soon here.
async fn body(request: HttpRequest<Incoming>) -> Result<Bytes, Refusal> {
    let read = timeout(BODY, Limited::new(request.into_body(), LONGEST_BODY).collect()).await;
    match read {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(_)) => Err((StatusCode::PAYLOAD_TOO_LARGE, format!("a body has {LONGEST_BODY} octets at most\n"))),
        Err(_) => Err((StatusCode::REQUEST_TIMEOUT, "the body did not come in time\n".to_owned())),
    }
}

/// `a=b&c=d`, as texts.
fn fields(text: &str) -> Map<String, Value> {
    let pairs = form_urlencoded::parse(text.as_bytes());
    pairs.map(|(name, value)| (name.into_owned(), Value::String(value.into_owned()))).collect()
}

/// The token of a header; one of another kind is none that is known.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    Some(match value.split_once(' ') {
        Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => token.trim(),
        _ => "",
    })
}

/// The value of our cookie.
fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|value| value.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value)
}

fn text(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(body.into())));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    if status == StatusCode::UNAUTHORIZED {
        answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    answer
}

fn html(status: StatusCode, body: String) -> Answer {
    text(status, HTML, body)
}

fn json(status: StatusCode, body: Vec<u8>) -> Answer {
    text(status, JSON, body)
}

fn plain(status: StatusCode, words: &str) -> Answer {
    text(status, TEXT, words.to_owned())
}

fn refused((status, words): Refusal) -> Answer {
    plain(status, &words)
}

/// To the page, with another cookie.
fn signed(cookie: &str) -> Answer {
    let mut answer = plain(StatusCode::SEE_OTHER, "");
    answer.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/"));
    if let Ok(value) = HeaderValue::from_str(cookie) {
        answer.headers_mut().insert(header::SET_COOKIE, value);
    }
    answer
}
