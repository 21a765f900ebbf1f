//! What stands for thousands of real servers: one listening socket on all of 127/8, with an ear for whom it is asked for and
//! when, and one that hangs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::Kind;
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;
use crate::netns::observe::Stop;
use crate::netns::observe::knocks::Knocks;

/// Where real servers answer.
pub(super) const PORT: u16 = 8080;
/// Where they hang.
pub(super) const HANGING: u16 = 8081;
/// Checks that may come at one instant: what the kernel allows by default.
const BACKLOG: i32 = 4096;
/// A request that is longer is none of ours.
const REQUEST: usize = 4096;
const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";

/// When each address was asked, in the order of the questions.
pub(super) type Asked = BTreeMap<Ipv4Addr, Vec<Instant>>;

/// The address of a real server, by its number.
pub(super) fn address(number: usize) -> Ipv4Addr {
    let octet = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    Ipv4Addr::new(127, octet(1 + number / 62_500), octet(number / 250 % 250), octet(number % 250 + 1))
}

/// Answers until it is told to end.
pub(super) struct Responder {
    end: oneshot::Sender<()>,
    thread: thread::JoinHandle<Result<(), Error>>,
    stop: Stop,
    ear: thread::JoinHandle<Result<Asked, Error>>,
    /// What hangs is open as long as this.
    _hanging: (TcpListener, Vec<TcpStream>),
}

impl Responder {
    pub(super) fn start(namespace: &Namespace, kind: Kind) -> Result<Self, Error> {
        let (listener, hanging, knocks) =
            namespace.run(|| Ok((listen(PORT, BACKLOG)?, hang(kind)?, Knocks::hear("lo", PORT)?)))?;
        let ((end, ended), stop) = (oneshot::channel(), Stop::default());
        let until = stop.clone();
        let ear = thread::Builder::new().name("ear".into()).spawn(move || hear(&knocks, &until));
        let thread = thread::Builder::new().name("responder".into()).spawn(move || serve(listener, kind, ended));
        let (ear, thread) = (ear.map_err(io_error("start a thread"))?, thread.map_err(io_error("start a thread"))?);
        Ok(Responder { end, thread, stop, ear, _hanging: hanging })
    }

    /// Ends it, and gives what it noted.
    pub(super) fn end(self) -> Result<Asked, Error> {
        // It may have ended by itself: then it says why.
        let _ = self.end.send(());
        self.stop.set();
        self.thread.join().map_err(|_| Error::Thread("a responder"))??;
        self.ear.join().map_err(|_| Error::Thread("an ear"))?
    }
}

fn listen(port: u16, backlog: i32) -> Result<TcpListener, Error> {
    let failed = || io_error(format!("listen on port {port}"));
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).map_err(failed())?;
    socket.set_reuse_address(true).map_err(failed())?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into()).map_err(failed())?;
    socket.listen(backlog).map_err(failed())?;
    Ok(socket.into())
}

/// Nobody ever accepts. To a TCP check the queue is full, so that no handshake ends; to one that asks for a page there is
/// room, and no answer.
fn hang(kind: Kind) -> Result<(TcpListener, Vec<TcpStream>), Error> {
    if kind == Kind::Http {
        return Ok((listen(HANGING, BACKLOG)?, Vec::new()));
    }
    let listener = listen(HANGING, 0)?;
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, HANGING));
    let mut queued = Vec::new();
    // The kernel lets in one more than it is told, at most.
    while let Ok(stream) = TcpStream::connect_timeout(&to, Duration::from_millis(200)) {
        queued.push(stream);
        if queued.len() > 8 {
            return Err(Error::Thread("a queue of connections that is never full"));
        }
    }
    Ok((listener, queued))
}

/// Notes whom is asked for, until it is to end.
fn hear(knocks: &Knocks, stop: &Stop) -> Result<Asked, Error> {
    let mut asked = Asked::new();
    while !stop.is_set() {
        if let Some(address) = knocks.next()? {
            asked.entry(address).or_default().push(Instant::now());
        }
    }
    Ok(asked)
}

fn serve(listener: TcpListener, kind: Kind, mut ended: oneshot::Receiver<()>) -> Result<(), Error> {
    let failed = || io_error("serve as real servers");
    listener.set_nonblocking(true).map_err(failed())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(failed())?;
        loop {
            let stream = tokio::select! {
                accepted = listener.accept() => accepted.map_err(failed())?.0,
                _ = &mut ended => return Ok(()),
            };
            if kind == Kind::Http {
                tokio::spawn(answer(stream));
            }
        }
    })
}

/// One request, one answer; whoever goes away meanwhile gets none.
async fn answer(mut stream: tokio::net::TcpStream) {
    let mut request: Vec<u8> = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST {
        match stream.read(&mut part).await {
            Ok(length) if length > 0 => request.extend(part.iter().take(length)),
            _ => return,
        }
    }
    let _ = stream.write_all(ANSWER).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_real_server_has_an_address_of_its_own() {
        let all: std::collections::BTreeSet<_> = (0..130_000).map(address).collect();
        assert_eq!(all.len(), 130_000);
        assert!(all.iter().all(|address| address.is_loopback()));
        assert_eq!((address(0), address(250)), (Ipv4Addr::new(127, 1, 0, 1), Ipv4Addr::new(127, 1, 1, 1)));
    }

    #[test]
    fn what_was_asked_is_noted_by_address_and_what_hangs_does_not_connect() {
        let namespace = Namespace::new();
        let Ok(namespace) = namespace else { return eprintln!("not root: skipped") };
        let up = namespace.run(|| {
            let up = std::process::Command::new("ip").args(["link", "set", "lo", "up"]).status();
            up.map_err(io_error("run `ip`"))
        });
        assert!(up.unwrap().success());
        let responder = Responder::start(&namespace, Kind::Tcp).unwrap();
        let connect = |to: Ipv4Addr, port| {
            let to = SocketAddr::from((to, port));
            namespace.run(move || Ok(TcpStream::connect_timeout(&to, Duration::from_millis(300)).is_ok())).unwrap()
        };
        assert!(connect(address(3), PORT) && connect(address(4), PORT) && connect(address(3), PORT));
        assert!(!connect(address(3), HANGING));
        // It is heard a moment after the handshake.
        thread::sleep(Duration::from_millis(500));
        let asked = responder.end().unwrap();
        assert_eq!(
            asked.iter().map(|(at, when)| (*at, when.len())).collect::<Vec<_>>(),
            [(address(3), 2), (address(4), 1)]
        );
    }
}
