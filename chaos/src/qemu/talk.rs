//! Who talks in a guest, and who looks at the wire there.
//!
//! Both ends of a cable talk to each other without end, a node in the name of its virtual addresses whether it has them
//! or not: what is heard then is what the gate lets through, and nothing else.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use nix::net::if_::if_nametoindex;
use nix::sys::socket::{setsockopt, sockopt::IpTransparent};
use socket2::{Domain, Socket, Type};

use crate::netns::clock;
use crate::netns::error::{Error, io_error};
use crate::netns::observe::packet;
use crate::netns::observe::sniffer::{Naming, classify};

/// Of both ends.
const PORT: u16 = 9000;
/// Between two datagrams of one talk.
const EACH: Duration = Duration::from_millis(200);
/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(20);
/// 802.1Q and 802.1ad.
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];

/// `OWN/PEER` or `OWN/PEER/INTERFACE`: in whose name datagrams leave, to whom, and by which interface if not by the routes'.
#[derive(Debug, Clone)]
pub struct Talk {
    own: IpAddr,
    peer: IpAddr,
    interface: Option<String>,
}

impl FromStr for Talk {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let address = |word: Option<&str>| word.and_then(|word| word.parse().ok());
        let mut words = text.splitn(3, '/');
        let (own, peer) = (address(words.next()), address(words.next()));
        let interface = words.next().map(str::to_owned);
        let (own, peer) = own.zip(peer).ok_or_else(|| format!("`{text}` is not OWN/PEER or OWN/PEER/INTERFACE"))?;
        Ok(Talk { own, peer, interface })
    }
}

impl Talk {
    fn open(&self) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address((self.own, 0).into()), Type::DGRAM, None)?;
        // In the name of an address that is not there as well (ip(7)).
        setsockopt(&socket, IpTransparent, &true)?;
        if let Some(name) = &self.interface {
            socket.bind_device(Some(name.as_bytes()))?;
        }
        socket.bind(&SocketAddr::new(self.own, PORT).into())?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    }
}

/// Sends a datagram of each every fifth of a second, and writes a line for each that comes: the instant on
/// CLOCK_BOOTTIME in nanoseconds, and the address that it came to. Until it is killed.
///
/// # Errors
/// [`Error::Io`] when there is no such socket.
pub fn talk(all: &[Talk]) -> Result<(), Error> {
    let mut sockets = Vec::new();
    for one in all {
        let socket = one.open().map_err(io_error(format!("open a socket for {one:?}")))?;
        sockets.push((one, socket));
    }
    let mut out = io::stdout().lock();
    loop {
        for (one, socket) in &sockets {
            // A line that is cut or a gate that is shut is what is looked for.
            let _ = socket.send_to(b"?", &SocketAddr::new(one.peer, PORT).into());
        }
        let until = clock::now() + u64::try_from(EACH.as_nanos()).unwrap_or(u64::MAX);
        while clock::now() < until {
            for (one, socket) in &sockets {
                let mut octet = [std::mem::MaybeUninit::uninit(); 1];
                while socket.recv(&mut octet).is_ok() {
                    writeln!(out, "{} {}", clock::now(), one.own).map_err(io_error("write what was heard"))?;
                }
            }
            thread::sleep(LOOK);
        }
    }
}

/// Writes a line for each frame that comes in on one of the interfaces and names one of the addresses as its source, however
/// often it is tagged: the instant, the interface, the address, and whether it does so in IP, ARP or a Neighbor Advertisement.
/// Until it is killed.
///
/// # Errors
/// [`Error::Io`] for an interface that is not there.
pub fn watch(interfaces: &[String], addresses: &[IpAddr]) -> Result<(), Error> {
    let taps = interfaces.iter().map(|name| {
        let what = || io_error(format!("listen on {name}"));
        let index = if_nametoindex(name.as_str()).map_err(io::Error::from).map_err(what())?;
        let socket = packet::open(index).map_err(what())?;
        packet::prepare_for_listening(&socket).map_err(what())?;
        Ok((name, socket))
    });
    let taps = taps.collect::<Result<Vec<_>, Error>>()?;
    thread::scope(|scope| {
        let all = taps.iter().map(|(name, socket)| scope.spawn(move || listen(name, socket, addresses)));
        let all: Vec<_> = all.collect();
        all.into_iter().try_for_each(|one| one.join().unwrap_or(Ok(())))
    })
}

fn listen(name: &str, socket: &Socket, addresses: &[IpAddr]) -> Result<(), Error> {
    let mut buffer = [0_u8; 256];
    loop {
        let seen = packet::receive(socket, &mut buffer).map_err(io_error(format!("listen on {name}")))?;
        let Some(seen) = seen.filter(|seen| !seen.outgoing) else { continue };
        let frame = untagged(buffer.get(..seen.length.min(buffer.len())).unwrap_or_default());
        for address in addresses {
            let kind = match classify(&frame, *address) {
                Some(Naming::Ip) => "ip",
                Some(Naming::Arp) => "arp",
                Some(Naming::Neighbor) => "nd",
                // Says nothing of an address.
                Some(Naming::Advertisement) | None => continue,
            };
            println!("{} {address} {kind} {name}", seen.at);
        }
    }
}

/// The frame without the tags between its addresses and its EtherType.
fn untagged(frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    while frame.get(12..14).is_some_and(|kind| TAGS.iter().any(|tag| kind == tag)) && frame.len() >= 16 {
        frame.drain(12..16);
    }
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_talk_is_two_addresses_and_perhaps_an_interface() {
        let talk: Talk = "fd00::1/fd00::2/e0.10".parse().unwrap();
        assert_eq!((talk.own, talk.interface.as_deref()), ("fd00::1".parse().unwrap(), Some("e0.10")));
        assert_eq!("10.0.0.1/10.0.0.2".parse::<Talk>().unwrap().interface, None);
        assert!("10.0.0.1".parse::<Talk>().unwrap_err().contains("OWN/PEER"));
    }

    #[test]
    fn tags_are_taken_out_however_many() {
        let plain = [[7; 12].as_slice(), &[8, 0, 0x45]].concat();
        let tagged = [[7; 12].as_slice(), &[0x88, 0xa8, 0, 40, 0x81, 0, 0, 5, 8, 0, 0x45]].concat();
        assert_eq!(untagged(&tagged), plain);
        assert_eq!(untagged(&plain), plain);
        assert_eq!(untagged(&tagged[..15]), &tagged[..15]);
    }
}
