//! Links that are asked for, each second, because their drivers tell nothing: `linkbeat_use_polling` and
//! `linkbeat_interfaces`. keepalived.conf(5).
//!
//! What must stay true: an answer only ever takes a link away that netlink calls up. Whatever can't be asked, or has no
//! answer, is as netlink says.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_GENERIC};

/// As keepalived does.
const PERIOD: Duration = Duration::from_secs(1);
/// Octets of an answer.
const BUFFER: usize = 8192;

/// Generic netlink's own family, and its command to ask for another's number (linux/genetlink.h).
const CONTROLLER: u16 = 0x10;
const GET_FAMILY: u8 = 3;
const FAMILY_ID: u16 = 1;
const FAMILY_NAME: u16 = 2;
/// linux/ethtool_netlink.h, since Linux 5.6.
const LINKSTATE_GET: u8 = 6;
const LINKSTATE_HEADER: u16 = 1;
const LINKSTATE_LINK: u16 = 2;
const HEADER_DEV_NAME: u16 = 2;
/// linux/netlink.h
const REQUEST: u16 = 1;
const NESTED: u16 = 0x8000;
const ERROR: u16 = 2;
/// Of the headers: struct nlmsghdr, struct genlmsghdr.
const NETLINK_HEADER: usize = 16;
const GENERIC_HEADER: usize = 4;

type Names = Arc<Mutex<Vec<String>>>;
/// Hears of each interface whose link has another answer than before, alive at first; says whether anybody listens.
type Tell = Box<dyn Fn(String, bool) -> bool + Send>;

/// The thread that asks, from the first interface on.
pub(crate) struct Linkbeat {
    names: Names,
    /// Until it runs.
    tell: Option<Tell>,
}

impl std::fmt::Debug for Linkbeat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linkbeat").field("names", &self.names).finish_non_exhaustive()
    }
}

impl Linkbeat {
    /// One that asks nobody yet.
    pub(crate) fn new(tell: impl Fn(String, bool) -> bool + Send + 'static) -> Self {
        Linkbeat { names: Names::default(), tell: Some(Box::new(tell)) }
    }

    /// These are asked from now on; one that is asked no more counts as netlink says.
    pub(crate) fn set(&mut self, names: Vec<String>) {
        let any = !names.is_empty();
        *self.names.lock().unwrap_or_else(PoisonError::into_inner) = names;
        if let Some(tell) = self.tell.take_if(|_| any) {
            let names = Arc::clone(&self.names);
            let started = thread::Builder::new().name("linkbeat".into()).spawn(move || poll(&names, &tell));
            if let Err(error) = started {
                tracing::error!(%error, "no thread asks for links (linkbeat_interfaces): netlink alone tells of them");
            }
        }
    }
}

fn poll(names: &Names, tell: &Tell) {
    let mut asker = None;
    let mut known = BTreeMap::<String, bool>::new();
    loop {
        let wanted = names.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let gone: Vec<String> = known.keys().filter(|name| !wanted.contains(name)).cloned().collect();
        let mut answers: Vec<(String, bool)> = gone.into_iter().map(|name| (name, true)).collect();
        answers.extend(wanted.into_iter().map(|name| {
            let alive = ask(&mut asker, &name).unwrap_or(true);
            (name, alive)
        }));
        for (name, alive) in answers {
            if known.insert(name.clone(), alive).unwrap_or(true) != alive && !tell(name, alive) {
                return;
            }
        }
        thread::sleep(PERIOD);
    }
}

/// What the driver says of a link; `None`: nothing.
fn ask(asker: &mut Option<Asker>, name: &str) -> Option<bool> {
    if asker.is_none() {
        match Asker::open() {
            Ok(open) => *asker = Some(open),
            Err(error) => {
                tracing::debug!(%error, "no link can be asked for");
                return None;
            }
        }
    }
    match asker.as_mut()?.link(name) {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(interface = name, %error, "the link does not answer");
            // Whatever was left unread is not to be taken for another's answer.
            *asker = None;
            None
        }
    }
}

/// A socket to the kernel's ethtool.
#[derive(Debug)]
struct Asker {
    socket: Socket,
    family: u16,
}

impl Asker {
    fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_GENERIC)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        let name = attribute(FAMILY_NAME, b"ethtool\0");
        let answer = exchange(&socket, &message(CONTROLLER, GET_FAMILY, &name))?;
        let family = answer.as_deref().and_then(|answer| find(answer, FAMILY_ID));
        let family = family.and_then(|octets| octets.try_into().ok()).map(u16::from_ne_bytes);
        let unknown = || io::Error::new(io::ErrorKind::Unsupported, "a kernel without ethtool's netlink");
        Ok(Asker { socket, family: family.ok_or_else(unknown)? })
    }

    /// Whether a link is there; `None`: its driver does not say.
    fn link(&mut self, name: &str) -> io::Result<Option<bool>> {
        let device = attribute(HEADER_DEV_NAME, &[name.as_bytes(), &[0]].concat());
        let header = attribute(LINKSTATE_HEADER | NESTED, &device);
        let answer = exchange(&self.socket, &message(self.family, LINKSTATE_GET, &header))?;
        let link = answer.as_deref().and_then(|answer| find(answer, LINKSTATE_LINK));
        Ok(link.and_then(|octets| octets.first()).map(|link| *link != 0))
    }
}

/// The attributes of the answer; `None`: the kernel refuses, for one because there is no such interface.
fn exchange(socket: &Socket, request: &[u8]) -> io::Result<Option<Vec<u8>>> {
    socket.send(request, 0)?;
    let mut buffer = Vec::with_capacity(BUFFER);
    socket.recv(&mut buffer, 0)?;
    let kind = buffer.get(4..6).and_then(|octets| octets.try_into().ok()).map(u16::from_ne_bytes);
    match kind {
        Some(ERROR) | None => Ok(None),
        Some(_) => Ok(buffer.get(NETLINK_HEADER + GENERIC_HEADER..).map(<[u8]>::to_vec)),
    }
}

fn message(family: u16, command: u8, attributes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(NETLINK_HEADER + GENERIC_HEADER + attributes.len()).unwrap_or(u32::MAX);
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(REQUEST.to_ne_bytes());
    // Sequence number and port: one question at a time, on a socket of its own.
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    message
}

/// Length, type and value, filled up to four octets.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or(u16::MAX);
    let mut attribute = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    attribute.extend(value);
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// The value of an attribute.
fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let number = |at: usize| Some(u16::from_ne_bytes(attributes.get(at..at + 2)?.try_into().ok()?));
        let (length, kind) = (usize::from(number(0)?), number(2)?);
        let value = attributes.get(4..length)?;
        if kind & !NESTED == wanted {
            return Some(value);
        }
        attributes = attributes.get(length.next_multiple_of(4)..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::namespace::{World, ip};

    #[test]
    fn a_link_is_alive_or_dead_by_its_drivers_word_and_an_unknown_one_by_nobodys() {
        World::run(async |world| {
            let asked = |name: &str| Asker::open().unwrap().link(name).unwrap();
            ip("link set near0 up");
            assert_eq!(asked("near0"), Some(true));
            // A veth's carrier is the other end's state.
            world.far(|| ip("link set far0 down"));
            assert_eq!(asked("near0"), Some(false));
            assert_eq!(asked("nothere0"), None);
        });
    }

    #[test]
    fn attributes_are_found_and_broken_ones_end_the_search() {
        let both = [attribute(1, b"abcde"), attribute(2 | NESTED, &[7])].concat();
        assert_eq!((find(&both, 1), find(&both, 2), find(&both, 3)), (Some(&b"abcde"[..]), Some(&[7][..]), None));
        for octets in [&[][..], &[0; 8], &[3, 0, 1, 0], &[255, 255, 1, 0], &[2]] {
            assert_eq!(find(octets, 2), None, "{octets:?}");
        }
    }
}
