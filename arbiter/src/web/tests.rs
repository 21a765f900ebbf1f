//! The listener over real sockets: tokens, bounds, and readers that are slow, wordy or silent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::html::Html;
use super::{Part, Settings, Site, Web};
use crate::control::{Answering, Lines, Request, Right};

/// A busy machine may need the whole of it.
const PATIENCE: Duration = Duration::from_secs(20);
const READ: &str = "read-0123456789abcdef012345";
const OPERATE: &str = "operate-0123456789abcdef012345";

/// Counts how often it is looked at, and notes what it is told to do.
#[derive(Clone, Default)]
struct Book {
    looks: Arc<AtomicUsize>,
    deeds: Arc<Mutex<Vec<String>>>,
}

impl Answering for Book {
    fn answer(&self, request: &Request, who: &str, lines: &mut dyn Lines) -> Result<Value, String> {
        match request.ask.as_str() {
            "status" => Ok(json!({ "with": request.with })),
            "rows" => {
                lines.more(json!(1)).map_err(|error| error.to_string())?;
                lines.more(json!(2)).map_err(|error| error.to_string())?;
                Ok(json!("end"))
            }
            "flood" => loop {
                lines.more(json!("x".repeat(1 << 20))).map_err(|error| error.to_string())?;
            },
            "refuse" => Err(String::from("it can't be done: try the other one")),
            "deed" => {
                self.deeds.lock().unwrap().push(format!("{who}: {}", Value::Object(request.with.clone())));
                Ok(json!("done"))
            }
            other => panic!("{other} was asked without a right"),
        }
    }

    fn right(&self, ask: &str) -> Option<Right> {
        match ask {
            "status" | "rows" | "flood" | "refuse" => Some(Right::Read),
            "deed" => Some(Right::Operate),
            _ => None,
        }
    }
}

impl Site for Book {
    fn answers(&self) -> &dyn Answering {
        self
    }

    fn title(&self) -> String {
        String::from("a <book>")
    }

    fn parts(&self) -> Result<Vec<Part>, String> {
        let number = self.looks.fetch_add(1, Ordering::Relaxed);
        let part = |id, text| Part { id, html: Html::new().text(text), is_said: false };
        Ok(vec![part("still", String::from("still")), part("count", format!("look {number}"))])
    }

    fn metrics(&self, text: String) -> Result<String, String> {
        Ok(text + "# EOF\n")
    }
}

struct Listener {
    address: SocketAddr,
    book: Book,
    web: Web,
    room: tempfile::TempDir,
}

impl Listener {
    fn open(tokens: Option<&str>) -> Self {
        let room = tempfile::tempdir().unwrap();
        // A port that was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let token_file = tokens.map(|text| write(room.path(), text));
        let book = Book::default();
        let settings = Settings { listen: address, tls: None, token_file };
        let web = Web::start(book.clone(), Some(settings)).unwrap();
        let listener = Listener { address, book, web, room };
        let begin = Instant::now();
        // Until the tokens are read, nobody is let in.
        while TcpStream::connect(address).is_err() || listener.get("/", &[]).0 == 503 {
            assert!(begin.elapsed() < PATIENCE, "nobody listens");
            thread::sleep(Duration::from_millis(10));
        }
        listener
    }

    fn with_tokens() -> Self {
        Self::open(Some(&format!("ann read {READ}\nbob operate {OPERATE}\n")))
    }

    /// Says something, and reads until the other end closes.
    fn say(&self, octets: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // Whoever is refused may be closed upon before all is said.
        let _ = stream.write_all(octets);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        String::from_utf8_lossy(&said).into_owned()
    }

    fn ask(&self, method: &str, path: &str, headers: &[&str], body: &str) -> (u16, String) {
        let headers: String = headers.iter().map(|header| format!("{header}\r\n")).collect();
        let host = if headers.contains("Host:") { String::new() } else { format!("Host: {}\r\n", self.address) };
        let length = body.len();
        let said = self.say(
            format!(
                "{method} {path} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
            )
            .as_bytes(),
        );
        let status = said.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, said)
    }

    fn get(&self, path: &str, headers: &[&str]) -> (u16, String) {
        self.ask("GET", path, headers, "")
    }
}

fn write(room: &Path, text: &str) -> std::path::PathBuf {
    let path = room.join("tokens");
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn body(said: &str) -> &str {
    said.split_once("\r\n\r\n").unwrap().1
}

#[test]
fn without_tokens_this_host_may_read_and_do_nothing_by_its_own_names_only() {
    let listener = Listener::open(None);
    let (status, said) = listener.get("/", &[]);
    assert_eq!(status, 200, "{said}");
    assert!(said.contains("<title>a &lt;book&gt;</title>") && said.contains("<div id=\"still\""), "{said}");
    let said = said.to_ascii_lowercase();
    for header in ["content-security-policy: default-src 'none'", "nosniff", "no-store", "frame-ancestors 'none'"] {
        assert!(said.contains(header), "{header} is missing:\n{said}");
    }
    let (status, said) = listener.get("/v1/status?a=b%20c&d=%3Ce%3E", &[]);
    assert_eq!((status, body(&said)), (200, "{\"answer\":{\"with\":{\"a\":\"b c\",\"d\":\"<e>\"}},\"version\":1}\n"));
    assert_eq!(body(&listener.get("/metrics", &[]).1), "# EOF\n");
    assert_eq!(listener.ask("POST", "/v1/deed", &[], "{}").0, 403);
    for name in ["localhost:1", "127.0.0.1", "[::1]:80", "LOCALHOST"] {
        assert_eq!(listener.get("/v1/status", &[&format!("Host: {name}")]).0, 200, "{name}");
    }
    // A name that somebody else has made lead here.
    for name in ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "10.0.0.1"] {
        assert_eq!(listener.get("/v1/status", &[&format!("Host: {name}")]).0, 421, "{name}");
    }
    assert!(listener.book.deeds.lock().unwrap().is_empty());
}

#[test]
fn a_token_opens_what_it_is_for_and_no_more() {
    let listener = Listener::with_tokens();
    let (read, operate) = (bearer(READ), bearer(OPERATE));
    assert_eq!(listener.get("/v1/status", &[]).0, 401);
    assert_eq!(listener.get("/v1/status", &[&bearer("read-0123456789abcdef012346")]).0, 401);
    assert_eq!(listener.get("/v1/status", &[&format!("Authorization: Basic {READ}")]).0, 401);
    assert_eq!(listener.get("/live", &[]).0, 401);
    assert_eq!(listener.get("/metrics", &[]).0, 401);
    assert_eq!(listener.get("/", &[]).0, 401);
    assert_eq!(listener.get("/v1/status", &[&read]).0, 200);
    assert_eq!(listener.get("/v1/nothing", &[&operate]).0, 404);
    assert_eq!(listener.ask("POST", "/v1/deed", &[&read], "{}").0, 403);
    assert_eq!(listener.get("/v1/deed", &[&operate]).0, 405, "a GET that changes something");
    assert_eq!(listener.ask("POST", "/v1/deed", &[&operate], "[]").0, 400);
    assert_eq!(listener.ask("POST", "/v1/deed", &[&operate], "{\"to\":\"n2\"}").0, 200);
    assert_eq!(*listener.book.deeds.lock().unwrap(), ["bob (by a token): {\"to\":\"n2\"}"]);
    let (status, said) = listener.get("/v1/refuse", &[&read]);
    assert_eq!((status, body(&said)), (409, "{\"error\":\"it can't be done: try the other one\",\"version\":1}\n"));
    let (_, said) = listener.get("/v1/rows", &[&read]);
    let lines = "{\"answer\":1,\"more\":true,\"version\":1}\n{\"answer\":2,\"more\":true,\"version\":1}\n\
                 {\"answer\":\"end\",\"version\":1}\n";
    assert_eq!(body(&said), lines);
}

#[test]
fn a_cookie_may_read_and_ends_with_its_token() {
    let listener = Listener::with_tokens();
    let (status, said) = listener.ask("POST", "/sign-in", &[], "token=wrong");
    assert!(status == 401 && said.contains("There is no such token"), "{said}");
    let (status, said) = listener.ask("POST", "/sign-in", &[], &format!("token={OPERATE}"));
    assert_eq!(status, 303, "{said}");
    let cookie = said.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap();
    assert!(cookie.contains("; HttpOnly; SameSite=Strict") && !cookie.contains(OPERATE), "{cookie}");
    let cookie = format!("Cookie: other=1; {}", cookie.split(';').next().unwrap());
    assert_eq!(listener.get("/", &[&cookie]).0, 200);
    assert_eq!(listener.ask("POST", "/v1/deed", &[&cookie], "{}").0, 403, "another page could have a browser do it");
    // The token goes, and the file is read again by itself.
    write(listener.room.path(), &format!("ann read {READ}\n"));
    let begin = Instant::now();
    while listener.get("/", &[&cookie]).0 != 401 {
        assert!(begin.elapsed() < PATIENCE, "the cookie lives on");
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(listener.get("/v1/status", &[&bearer(READ)]).0, 200);
    // A file that others can read opens nothing.
    std::fs::set_permissions(listener.room.path().join("tokens"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let begin = Instant::now();
    while listener.get("/v1/status", &[&bearer(READ)]).0 != 503 {
        assert!(begin.elapsed() < PATIENCE, "anybody could have read it");
        thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn whoever_looks_is_told_what_changes_and_nobody_is_asked_for_nobody() {
    let listener = Listener::open(None);
    let before = listener.book.looks.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(700));
    assert_eq!(listener.book.looks.load(Ordering::Relaxed), before, "it is looked at for nobody");
    let mut viewers: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(listener.address).unwrap()).collect();
    let wanted = format!("GET /live HTTP/1.1\r\nHost: {}\r\n\r\n", listener.address);
    for viewer in &mut viewers {
        viewer.write_all(wanted.as_bytes()).unwrap();
        viewer.set_read_timeout(Some(PATIENCE)).unwrap();
    }
    let mut said = String::new();
    let mut chunk = [0; 4096];
    while said.matches("event: parts").count() < 3 {
        let octets = viewers[0].read(&mut chunk).unwrap();
        assert!(octets > 0, "closed: {said}");
        said.push_str(&String::from_utf8_lossy(&chunk[..octets]));
    }
    assert!(said.contains("text/event-stream"), "{said}");
    assert_eq!(said.matches("still").count(), 2, "what has not changed is told again: {said}");
    drop(viewers);
    thread::sleep(Duration::from_secs(1));
    let looks = listener.book.looks.load(Ordering::Relaxed) - before;
    // Three were told at least three times; each by itself would be nine and more. The rest is what a second brings.
    assert!((3..=12).contains(&looks), "{looks}");
    let after = listener.book.looks.load(Ordering::Relaxed);
    thread::sleep(Duration::from_millis(700));
    assert_eq!(listener.book.looks.load(Ordering::Relaxed), after, "it is looked at for those who have gone");
    // One more than may look is told so.
    let _many: Vec<TcpStream> = (0..16)
        .map(|_| {
            let mut viewer = TcpStream::connect(listener.address).unwrap();
            viewer.write_all(wanted.as_bytes()).unwrap();
            viewer.set_read_timeout(Some(PATIENCE)).unwrap();
            assert!(viewer.read(&mut chunk).unwrap() > 0);
            viewer
        })
        .collect();
    assert_eq!(listener.get("/live", &[]).0, 503);
}

#[test]
fn what_is_too_long_or_no_request_is_refused() {
    let listener = Listener::with_tokens();
    let operate = bearer(OPERATE);
    let long = "x".repeat(20 << 10);
    assert_eq!(listener.get("/", &[&format!("X-Long: {long}")]).0, 431);
    let many: Vec<String> = (0..100).map(|n| format!("X-{n}: 1")).collect();
    assert_eq!(listener.get("/", &many.iter().map(String::as_str).collect::<Vec<_>>()).0, 431);
    let (status, _) = listener.ask("POST", "/v1/deed", &[&operate], &format!("{{\"a\":\"{long}\"}}"));
    assert_eq!(status, 413);
    for path in ["/nothing", "/v1/", "/v1/../tokens", "/page.css/..", "/v1/status/more"] {
        assert_eq!(listener.get(path, &[&operate]).0, 404, "{path}");
    }
    for method in ["PUT", "DELETE", "OPTIONS", "TRACE"] {
        assert!([404, 405].contains(&listener.ask(method, "/", &[], "").0), "{method}");
    }
    assert!(
        listener.say(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a handshake\r\n\r\n").starts_with("HTTP/1.1 400")
    );
    let (status, said) = listener.get("/v1/flood", &[&operate]);
    assert!(status == 409 && said.contains("ask at the control socket"), "{status}");
    assert!(listener.book.deeds.lock().unwrap().is_empty());
}

#[test]
fn whoever_is_silent_or_does_not_read_loses_the_connection_and_keeps_nobody_else_waiting() {
    let listener = Listener::open(None);
    // As many as there are places, none of which says a whole request.
    let mut silent: Vec<TcpStream> = (0..61)
        .map(|_| {
            let mut stream = TcpStream::connect(listener.address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ").unwrap();
            stream
        })
        .collect();
    // One that says nothing at all, and one that has been answered and stays.
    silent.push(TcpStream::connect(listener.address).unwrap());
    let mut answered = TcpStream::connect(listener.address).unwrap();
    answered.write_all(format!("GET /page.css HTTP/1.1\r\nHost: {}\r\n\r\n", listener.address).as_bytes()).unwrap();
    silent.push(answered);
    assert_eq!(listener.get("/v1/status", &[]).0, 200);
    let more = TcpStream::connect(listener.address).unwrap();
    // A head has 10 s; then places are free again.
    let begin = Instant::now();
    for mut stream in silent {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    }
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(5) && took < PATIENCE, "{took:?}");
    assert_eq!(listener.get("/v1/status", &[]).0, 200);
    drop(more);
}

#[test]
fn another_address_is_taken_over_and_none_ends_it() {
    let listener = Listener::open(None);
    let other = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    listener.web.set(Some(Settings { listen: other, tls: None, token_file: None }));
    let is_open = |address: SocketAddr| TcpStream::connect(address).is_ok();
    let begin = Instant::now();
    while !is_open(other) || is_open(listener.address) {
        assert!(begin.elapsed() < PATIENCE, "it listens as before");
        thread::sleep(Duration::from_millis(10));
    }
    listener.web.set(None);
    while is_open(other) {
        assert!(begin.elapsed() < PATIENCE, "it listens on");
        thread::sleep(Duration::from_millis(10));
    }
}
