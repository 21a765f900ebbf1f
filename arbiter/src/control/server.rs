//! The socket and its clients.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Shutdown, shutdown};
use nix::unistd::{Gid, chown};
use serde_json::Value;

use super::access::{Access, Caller};
use super::message::{LONGEST, Reply, Request};
use crate::clock::boottime;

/// Clients at a time. One more is told so, and nothing else.
const CLIENTS: usize = 16;
/// How long a client may take for a request, and how long it may be silent between two.
const IDLE: Duration = Duration::from_secs(30);
/// How long one may take to read a line of an answer.
const SLOW: Duration = Duration::from_secs(2);
/// After a failure to accept, such as for want of descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Where the socket is, and how it behaves.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Its file; what is there is replaced.
    pub path: PathBuf,
    /// Whom it answers.
    pub access: Access,
    /// Clients at a time.
    pub clients: usize,
    /// How long a client may be silent.
    pub idle: Duration,
    /// How long it may take to read a line.
    pub slow: Duration,
}

impl Settings {
    /// For root, this process's user, and the members of `group`.
    pub fn new(path: &Path, group: Option<u32>) -> Self {
        let access = Access::of_process(group);
        Settings { path: path.to_owned(), access, clients: CLIENTS, idle: IDLE, slow: SLOW }
    }
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
#[error("the control socket {} can't be had: {error}", .path.display())]
pub struct ServerError {
    path: PathBuf,
    error: io::Error,
}

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Be told how things stand.
    Read,
    /// And change something.
    Operate,
}

/// Who answers. Called on a thread of the client's own, which may wait.
pub trait Answering: Send + Sync + 'static {
    /// The last line of the answer to `who`, in words for the log; lines before it go to `lines`.
    ///
    /// # Errors
    /// Words for whoever asked: what is wrong, and what to do.
    fn answer(&self, request: &Request, who: &str, lines: &mut dyn Lines) -> Result<Value, String>;

    /// What a question takes, of whoever is not root or the like; `None`: it is not known.
    fn right(&self, ask: &str) -> Option<Right>;
}

/// Where the lines of an answer before the last one go.
pub trait Lines {
    /// One of them.
    ///
    /// # Errors
    /// Whoever asked has gone, or takes no more: it is told nothing more.
    fn more(&mut self, value: Value) -> io::Result<()>;

    /// Whether there is nobody to go on for: the client has hung up, or the program ends.
    fn has_gone(&self) -> bool;
}

/// A client, while it is answered.
#[derive(Debug)]
pub struct Client<'a> {
    stream: &'a UnixStream,
    slow: Duration,
    ends: &'a AtomicBool,
    broken: bool,
}

impl Lines for Client<'_> {
    fn more(&mut self, value: Value) -> io::Result<()> {
        self.put(Reply::More(value))
    }

    fn has_gone(&self) -> bool {
        let mut fds = [PollFd::new(self.stream.as_fd(), PollFlags::empty())];
        let asked = poll(&mut fds, PollTimeout::ZERO);
        let [fd] = fds;
        let gone = PollFlags::POLLHUP | PollFlags::POLLERR;
        let hung_up = asked.is_ok() && fd.revents().is_some_and(|events| events.intersects(gone));
        self.broken || hung_up || self.ends.load(Ordering::Acquire)
    }
}

impl Client<'_> {
    /// Written within the time that a line may take, however it trickles.
    fn put(&mut self, reply: Reply) -> io::Result<()> {
        let line = reply.emit();
        let written = write(self.stream, &line, self.slow);
        self.broken |= written.is_err();
        written
    }
}

fn write(mut stream: &UnixStream, mut octets: &[u8], within: Duration) -> io::Result<()> {
    let until = boottime() + within;
    while !octets.is_empty() {
        let left = until.since(boottime());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        match stream.write(octets) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(taken) => octets = octets.get(taken..).unwrap_or_default(),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The socket; it ends, and its file goes, when this is dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    listener: Arc<UnixListener>,
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    /// Makes the socket and starts its thread.
    ///
    /// The directory is to be the program's own, and locked: a file of this name is taken for a former run's.
    ///
    /// # Errors
    /// It can't be had.
    pub fn start(settings: Settings, answering: impl Answering) -> Result<Self, ServerError> {
        let path = settings.path.clone();
        let failed = |error| ServerError { path: path.clone(), error };
        let listener = Arc::new(bind(&settings).map_err(failed)?);
        let ends = Arc::<AtomicBool>::default();
        let (accepting, ended, answering) = (listener.clone(), ends.clone(), Arc::new(answering));
        let thread = thread::Builder::new().name("control".into());
        let thread = thread.spawn(move || accept_all(&accepting, &settings, &ended, &answering)).map_err(failed)?;
        Ok(Server { path, listener, ends, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Release);
        let _ = fs::remove_file(&self.path);
        // Wakes whoever accepts; clients see the end by themselves.
        let _ = shutdown(self.listener.as_raw_fd(), Shutdown::Both);
        self.thread.take().map(JoinHandle::join);
    }
}

/// Under another name first: at its own it is never there without its rights, and a former run's is replaced at once.
fn bind(settings: &Settings) -> io::Result<UnixListener> {
    let beside = settings.path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside)?;
    if let Some(group) = settings.access.group {
        chown(&beside, None, Some(Gid::from_raw(group)))?;
    }
    fs::set_permissions(&beside, Permissions::from_mode(0o660))?;
    fs::rename(&beside, &settings.path)?;
    Ok(listener)
}

fn accept_all<A: Answering>(listener: &UnixListener, settings: &Settings, ends: &Arc<AtomicBool>, answering: &Arc<A>) {
    let served = Arc::<AtomicUsize>::default();
    loop {
        let accepted = listener.accept();
        if ends.load(Ordering::Acquire) {
            return;
        }
        match accepted {
            Ok((stream, _)) => admit(stream, settings, ends, answering, &served),
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Gives a client a thread, if it may ask and there is room.
fn admit<A: Answering>(
    stream: UnixStream,
    settings: &Settings,
    ends: &Arc<AtomicBool>,
    answering: &Arc<A>,
    served: &Arc<AtomicUsize>,
) {
    // A line that nobody reads finds room in the socket all the same: this does not wait.
    let refuse = |words: &str| drop(write(&stream, &Reply::Error(words.to_owned()).emit(), Duration::from_millis(1)));
    let caller = match Caller::of(&stream) {
        Ok(caller) if settings.access.admits(&caller) => caller,
        Ok(caller) => {
            tracing::debug!(pid = caller.pid, user = caller.user, "refused at the control socket");
            return refuse("not permitted: ask as root, or as a member of the group that the configuration names");
        }
        Err(error) => {
            tracing::debug!(%error, "the kernel does not say who is at the control socket");
            return refuse("not permitted: the kernel does not say who you are");
        }
    };
    let place = Place(served.clone());
    if served.fetch_add(1, Ordering::AcqRel) >= settings.clients {
        return refuse(&format!("{} others are being answered: ask again in a moment", settings.clients));
    }
    let (settings, ends, answering) = (settings.clone(), ends.clone(), answering.clone());
    let serve = move || {
        let _place = place;
        serve(&stream, &settings, &caller, &ends, answering.as_ref());
    };
    if let Err(error) = thread::Builder::new().name("control client".into()).spawn(serve) {
        tracing::warn!(%error, "no thread for a client of the control socket");
    }
}

/// One of the clients that are served at a time; free again when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One request after the other, until the client goes. Whoever has hung up before its turn has seen no answer, as it does
/// at a program that was stopped: what it asked for is not done behind its back.
pub(super) fn serve(
    stream: &UnixStream,
    settings: &Settings,
    caller: &Caller,
    ends: &AtomicBool,
    answering: &impl Answering,
) {
    let mut read = Vec::new();
    while let Some(line) = next_line(stream, &mut read, settings.idle, ends) {
        let mut client = Client { stream, slow: settings.slow, ends, broken: false };
        if client.has_gone() {
            return;
        }
        let request = line.and_then(|line| Request::parse(&line));
        let is_good = request.is_ok();
        let answer = request.and_then(|request| answering.answer(&request, &caller.to_string(), &mut client));
        let said = !client.broken && client.put(answer.map_or_else(Reply::Error, Reply::Last)).is_ok();
        if !said || !is_good {
            return;
        }
    }
}

/// The next line; `None` at the end, an error for one that is too long.
fn next_line(
    mut stream: &UnixStream,
    read: &mut Vec<u8>,
    idle: Duration,
    ends: &AtomicBool,
) -> Option<Result<Vec<u8>, String>> {
    let until = boottime() + idle;
    let mut chunk = [0; 4096];
    loop {
        if let Some(end) = read.iter().position(|octet| *octet == b'\n') {
            return Some(Ok(read.drain(..=end).collect()));
        }
        if read.len() >= LONGEST {
            return Some(Err(format!("a request has {LONGEST} octets at most")));
        }
        let left = until.since(boottime());
        if left.is_zero() || ends.load(Ordering::Acquire) {
            return None;
        }
        // Not for the whole time: the end of the program is to be noticed.
        stream.set_read_timeout(Some(left.min(Duration::from_millis(500)))).ok()?;
        match stream.read(&mut chunk) {
            Ok(0) => return None,
            Ok(octets) => read.extend_from_slice(chunk.get(..octets)?),
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::WouldBlock) => {}
            Err(_) => return None,
        }
    }
}
