//! One session with the master after another.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, TryRecvError};
use std::time::Duration;

use keepone_config::Config;
use keepone_proto::time::Instant;

use super::pdu::{self, Binding, Header, Malformed, Oid, Said, Value, Writer, kind};
use super::standing::Standing;
use super::tree::Tree;
use super::{Inbox, Master, Settings, keepalived, vrrpv3};
use crate::clock;
use crate::control::Answers;

/// How long the master may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long we wait for its questions before we look at what else there is.
const LOOK: Duration = Duration::from_millis(100);
/// How often one that is away is tried.
const AGAIN: Duration = Duration::from_secs(5);
/// How long it may take for the last of all, when a stop waits for it.
const LAST: Duration = Duration::from_millis(500);
/// How old answers may be: a walk asks once for each object.
const FRESH: Duration = Duration::from_secs(1);
/// snmpTrapOID.0 (RFC 3418).
const TRAP: [u32; 11] = [1, 3, 6, 1, 6, 3, 1, 1, 4, 1, 0];
/// notWritable (RFC 1905).
const NOT_WRITABLE: u16 = 17;

/// Why a session is over.
#[derive(Debug)]
enum Over {
    /// There is another configuration.
    Configured(Option<Box<Settings>>),
    /// The agent ends.
    Finished,
}

#[derive(Debug)]
enum Fault {
    /// The socket.
    Io(io::Error),
    Malformed(Malformed),
    /// It refuses, with its number of the error (RFC 2741, 6.2.16).
    Refused(u16),
    Closed,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Io(error) => error.fmt(f),
            Fault::Malformed(malformed) => malformed.fmt(f),
            Fault::Refused(error) => write!(f, "it refuses us with error {error} (RFC 2741, 6.2.16)"),
            Fault::Closed => f.write_str("it has closed the session"),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Fault::Io(error)
    }
}

/// The thread: until the agent ends.
pub(super) fn serve(answers: &Answers, mut settings: Option<Settings>, inbox: &Inbox) {
    let mut said = None;
    loop {
        let Some(wanted) = &settings else {
            let Ok(config) = inbox.configurations.recv() else { return };
            settings = Settings::of(&config, &inbox.node);
            continue;
        };
        match session(answers, wanted, inbox, &mut said) {
            Ok(Over::Finished) => return,
            Ok(Over::Configured(other)) => settings = other.map(|settings| *settings),
            Err(fault) => {
                let text = fault.to_string();
                // Each fault once, and not every five seconds.
                if said.as_ref() != Some(&text) {
                    tracing::warn!(
                        "no SNMP: the AgentX master at {}: {text}; start snmpd with `master agentx` in snmpd.conf, or \
                         correct snmp_socket; tried again every {} s",
                        wanted.master,
                        AGAIN.as_secs()
                    );
                    said = Some(text);
                }
                match inbox.configurations.recv_timeout(AGAIN) {
                    Ok(config) => settings = learn(&config, inbox),
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        }
    }
}

/// What a new configuration asks for. Where that is nothing, nobody puts changes into the queue any more, and of those in it
/// nobody is to be told.
fn learn(config: &Arc<Config>, inbox: &Inbox) -> Option<Settings> {
    let settings = Settings::of(config, &inbox.node);
    if settings.is_none() {
        inbox.changes.try_iter().for_each(drop);
    }
    settings
}

fn session(answers: &Answers, settings: &Settings, inbox: &Inbox, said: &mut Option<String>) -> Result<Over, Fault> {
    let mut line = Line::open(&settings.master)?;
    if settings.vrrp || settings.checkers {
        line.register(&keepalived::ROOT)?;
    }
    if settings.rfc {
        line.register(&vrrpv3::ROOT)?;
    }
    tracing::info!("SNMP: in session with the AgentX master at {}", settings.master);
    *said = None;
    let mut known: Option<(Instant, Tree)> = None;
    loop {
        let now = clock::now();
        if let Some((header, question)) = line.hear(LOOK)? {
            let known = match known.take().filter(|(at, _)| now.since(*at) < FRESH) {
                Some(fresh) => known.insert(fresh),
                None => known.insert((now, tree(settings, &Standing::of(answers)))),
            };
            line.answer(header, question, &known.1)?;
        }
        line.notify_all(settings, inbox)?;
        match inbox.configurations.try_recv() {
            Ok(config) => {
                let settings = learn(&config, inbox);
                line.close();
                return Ok(Over::Configured(settings.map(Box::new)));
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                // What was told after the look above and before the end.
                line.notify_all(settings, inbox)?;
                line.close();
                // What it has not read when we go, it may lose with the connection.
                let _ = line.confirmed(LAST);
                return Ok(Over::Finished);
            }
        }
    }
}

fn tree(settings: &Settings, standing: &Standing) -> Tree {
    let mut tree = Tree::default();
    if settings.vrrp || settings.checkers {
        keepalived::fill(&mut tree, settings, standing);
    }
    if settings.rfc {
        vrrpv3::fill(&mut tree, settings, standing);
    }
    tree
}

/// The connection.
struct Line {
    socket: Socket,
    arrived: Vec<u8>,
    session: u32,
    packet: u32,
}

enum Socket {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl Line {
    fn open(master: &Master) -> Result<Self, Fault> {
        let socket = match master {
            Master::Unix(path) => Socket::Unix(UnixStream::connect(path)?),
            Master::Tcp(address) => Socket::Tcp(TcpStream::connect_timeout(address, PATIENCE)?),
        };
        match &socket {
            Socket::Unix(stream) => stream.set_write_timeout(Some(PATIENCE))?,
            Socket::Tcp(stream) => stream.set_write_timeout(Some(PATIENCE))?,
        }
        let mut line = Line { socket, arrived: Vec::new(), session: 0, packet: 0 };
        let header = line.header(kind::OPEN);
        let seconds = u8::try_from(PATIENCE.as_secs()).unwrap_or(u8::MAX);
        line.write(&Writer::new(header).open(seconds, &keepalived::ROOT, "keepone").finish())?;
        line.session = line.confirmed(PATIENCE)?;
        Ok(line)
    }

    fn register(&mut self, subtree: &[u32]) -> Result<(), Fault> {
        let header = self.header(kind::REGISTER);
        self.write(&Writer::new(header).register(subtree).finish())?;
        self.confirmed(PATIENCE).map(drop)
    }

    /// All that has been told by now.
    fn notify_all(&mut self, settings: &Settings, inbox: &Inbox) -> Result<(), Fault> {
        for change in inbox.changes.try_iter() {
            let told = keepalived::notification(settings, change.is_group, &change.name, change.state);
            if let Some((trap, objects)) = told.filter(|_| settings.traps && settings.vrrp) {
                self.notify(trap, objects)?;
            }
        }
        Ok(())
    }

    /// Without waiting for what it says to that.
    fn notify(&mut self, trap: Oid, objects: Vec<Binding>) -> Result<(), Fault> {
        let header = self.header(kind::NOTIFY);
        let what = [(TRAP.to_vec(), Value::Oid(trap))];
        self.write(&Writer::new(header).bindings(&what).bindings(&objects).finish())
    }

    /// Who is gone need not hear it.
    fn close(&mut self) {
        let header = self.header(kind::CLOSE);
        let _ = self.write(&Writer::new(header).close().finish());
    }

    fn header(&mut self, kind: u8) -> Header {
        self.packet = self.packet.wrapping_add(1);
        Header { kind, session: self.session, transaction: 0, packet: self.packet }
    }

    /// Waits for the answer to the last PDU of ours; the session that it names.
    fn confirmed(&mut self, patience: Duration) -> Result<u32, Fault> {
        let begun = clock::now();
        while clock::now().since(begun) < patience {
            match self.next(LOOK)? {
                Some((header, Said::Response(0))) if header.packet == self.packet => return Ok(header.session),
                Some((header, Said::Response(error))) if header.packet == self.packet => {
                    return Err(Fault::Refused(error));
                }
                _ => {}
            }
        }
        Err(Fault::Io(io::ErrorKind::TimedOut.into()))
    }

    /// A question, if one comes in time.
    fn hear(&mut self, patience: Duration) -> Result<Option<(Header, Said)>, Fault> {
        match self.next(patience)? {
            Some((_, Said::Close(_))) => Err(Fault::Closed),
            // To a notification: there is nothing that could be done about it.
            Some((_, Said::Response(_) | Said::Other)) => Ok(None),
            said => Ok(said),
        }
    }

    fn answer(&mut self, header: Header, said: Said, tree: &Tree) -> Result<(), Fault> {
        let bindings = match said {
            Said::Get(ranges) => ranges.iter().map(|range| tree.get(range)).collect(),
            Said::GetNext(ranges) => ranges.iter().map(|range| tree.next(range)).collect(),
            Said::GetBulk { non_repeaters, max_repetitions, ranges } => {
                tree.bulk(non_repeaters, max_repetitions, &ranges)
            }
            Said::Set => Vec::new(),
            Said::Close(_) | Said::Response(_) | Said::Other => return Ok(()),
        };
        // Of a SET only the test is answered with an error; nothing was done that could be committed or undone.
        let (error, place) = if header.kind == kind::TEST_SET { (NOT_WRITABLE, 1) } else { (0, 0) };
        if header.kind == kind::CLEANUP_SET {
            return Ok(());
        }
        let header = Header { kind: kind::RESPONSE, ..header };
        self.write(&Writer::new(header).response(error, place, &bindings).finish())
    }

    fn next(&mut self, patience: Duration) -> Result<Option<(Header, Said)>, Fault> {
        if let Some(said) = self.whole()? {
            return Ok(Some(said));
        }
        let mut octets = [0; 8192];
        let read = match &mut self.socket {
            Socket::Unix(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.read(&mut octets)
            }
            Socket::Tcp(stream) => {
                stream.set_read_timeout(Some(patience))?;
                stream.read(&mut octets)
            }
        };
        match read {
            Ok(0) => Err(Fault::Closed),
            Ok(count) => {
                self.arrived.extend(octets.iter().take(count));
                self.whole()
            }
            Err(error) if is_nothing_yet(&error) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn whole(&mut self) -> Result<Option<(Header, Said)>, Fault> {
        let read = pdu::read(&self.arrived).map_err(Fault::Malformed)?;
        Ok(read.map(|(header, said, length)| {
            self.arrived.drain(..length.min(self.arrived.len()));
            (header, said)
        }))
    }

    fn write(&mut self, octets: &[u8]) -> Result<(), Fault> {
        match &mut self.socket {
            Socket::Unix(stream) => stream.write_all(octets)?,
            Socket::Tcp(stream) => stream.write_all(octets)?,
        }
        Ok(())
    }
}

fn is_nothing_yet(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl fmt::Display for Master {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Master::Unix(path) => path.display().fmt(f),
            Master::Tcp(address) => write!(f, "tcp:{address}"),
        }
    }
}
