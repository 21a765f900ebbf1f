//! BFD sessions (RFC 5880, RFC 5881): sockets and time around `proto::bfd`, on one thread for all of them.
//!
//! What must stay true: only packets that have crossed no router, as far as their TTL shows, are taken; what lies in the
//! sockets is heard before any time is judged to be over, so that a thread that was stopped finds no neighbour dead.

use std::io::{self, ErrorKind, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use keepone_arbiter::realtime::{self, Rank};
use keepone_config::model::BfdInstance;
use keepone_proto::bfd::{Session, SessionSettings};
use keepone_proto::jitter::Jitter;
use keepone_proto::time::Instant;
use keepone_proto::watch::{RETELL, Reading};
use keepone_proto::wire::bfd::{Control, HOP_LIMIT, LENGTH, MULTIHOP_PORT, PORT, State};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

use super::teller::{Gone, Teller};
use crate::clock;

/// Source ports (RFC 5881, 4).
const SOURCES: std::ops::RangeInclusive<u16> = 49152..=65535;
/// How many of them are tried.
const TRIES: usize = 64;
/// Internetwork control (RFC 4594): CS6.
const TRAFFIC_CLASS: u32 = 0xc0;
/// How often a socket that can't be made is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// How often the neighbours are told of the end, and how soon after each other.
const PARTINGS: usize = 3;
const PARTING: Duration = Duration::from_millis(5);
/// Datagrams heard in a row before time is looked at again.
const BURST: usize = 256;

/// Serves them until the core is gone, or the other side of `end` is closed; then the neighbours are told.
pub(crate) fn serve(sessions: Vec<(BfdInstance, Teller)>, end: &UnixStream) {
    // A detection time may be tens of milliseconds. But anybody can send to its port: a flood must not keep whoever
    // decides from a processor.
    realtime::ask(Rank::CarriesOut);
    let mut jitter = Jitter::new(seed());
    let now = clock::now();
    let mut sessions: Vec<Served> =
        sessions.into_iter().map(|(settings, teller)| Served::new(settings, teller, &mut jitter, now)).collect();
    let mut ears = Ears::default();
    loop {
        ears.open(&sessions);
        if ears.wait(end, timeout(&sessions, clock::now())) {
            return part(&mut sessions, &mut jitter);
        }
        ears.hear(&mut sessions);
        for served in &mut sessions {
            if let Some(control) = served.session.on_timer(clock::now()) {
                served.mouth.say(&served.settings, &control, &mut jitter);
            }
            if served.tell(&ears).is_err() {
                return part(&mut sessions, &mut jitter);
            }
        }
    }
}

/// Tells the neighbours that the sessions are not wanted any more. RFC 5880, 6.8.16, would have it said for a detection time:
/// for who ends, some times in a row must do.
fn part(sessions: &mut [Served], jitter: &mut Jitter) {
    for round in 0..PARTINGS {
        if round > 0 {
            std::thread::sleep(PARTING);
        }
        for served in &mut *sessions {
            if let Some(control) = served.session.hold_down() {
                served.mouth.say(&served.settings, &control, jitter);
            }
        }
    }
}

fn seed() -> u64 {
    let mut bytes = [0; 8];
    // Without one the jitter is the same each time; names of sessions are told apart all the same.
    let _ = getrandom::fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

fn timeout(sessions: &[Served], now: Instant) -> PollTimeout {
    let deadline = sessions.iter().filter_map(|served| served.session.next_deadline()).min();
    let left = deadline.map_or(RETELL, |at| at.since(now)).min(RETELL / 3);
    // Upwards: one that is woken before its time has nothing to do yet.
    PollTimeout::try_from(left + Duration::from_micros(999)).unwrap_or(PollTimeout::ZERO)
}

/// A session and its ways.
struct Served {
    settings: BfdInstance,
    session: Session,
    mouth: Mouth,
    teller: Teller,
}

impl Served {
    fn new(settings: BfdInstance, teller: Teller, jitter: &mut Jitter, now: Instant) -> Self {
        let core = SessionSettings {
            min_tx: settings.min_tx,
            idle_tx: settings.idle_tx,
            min_rx: settings.min_rx,
            multiplier: settings.multiplier,
            passive: settings.passive,
        };
        let [a, b, c, d, ..] = jitter.next_u64().to_be_bytes();
        let name = NonZeroU32::new(u32::from_be_bytes([a, b, c, d])).unwrap_or(NonZeroU32::MIN);
        Served { session: Session::new(core, name, jitter.next_u64(), now), settings, mouth: Mouth::default(), teller }
    }

    /// Whether a packet may be the neighbour's: of this TTL (RFC 5881, 5), and to our address. Over several hops two
    /// addresses of ours may have a session each with one neighbour (RFC 5883, 3).
    fn takes(&self, heard: &Heard) -> bool {
        let least = self.settings.max_hops.map_or(0, |hops| HOP_LIMIT.saturating_sub(hops));
        let is_ours = self.settings.source.is_none_or(|own| heard.destination.is_none_or(|to| to == own));
        heard.source == self.settings.neighbor
            && heard.multihop == self.settings.multihop
            && is_ours
            && heard.hop_limit >= least
    }

    fn tell(&mut self, ears: &Ears) -> Result<(), Gone> {
        let neighbor = self.settings.neighbor;
        let fault = ears.ear(&self.settings).and_then(|ear| ear.fault.as_ref()).or(self.mouth.fault.as_ref());
        let reading = match (self.session.state(), fault) {
            (State::Up, _) => Reading::Up,
            (_, Some(fault)) => Reading::Unreadable(fault.clone()),
            (State::AdminDown | State::Down | State::Init, None) => {
                Reading::Down(format!("no session with {neighbor}: {}", self.session.diagnostic()))
            }
        };
        self.teller.try_tell(reading)
    }
}

/// Where packets come in, for one address family and port.
struct Ear {
    ipv6: bool,
    multihop: bool,
    socket: Option<UdpSocket>,
    fault: Option<String>,
    again_at: Option<Instant>,
}

impl Ear {
    fn is_for(&self, settings: &BfdInstance) -> bool {
        (settings.neighbor.is_ipv6(), settings.multihop) == (self.ipv6, self.multihop)
    }
}

/// All of them.
struct Ears([Ear; 4]);

impl Default for Ears {
    fn default() -> Self {
        Ears([(false, false), (false, true), (true, false), (true, true)].map(|(ipv6, multihop)| Ear {
            ipv6,
            multihop,
            socket: None,
            fault: None,
            again_at: None,
        }))
    }
}

impl Ears {
    fn ear(&self, settings: &BfdInstance) -> Option<&Ear> {
        self.0.iter().find(|ear| ear.is_for(settings))
    }

    /// Those that are needed and not open.
    fn open(&mut self, sessions: &[Served]) {
        for ear in &mut self.0 {
            let needed = sessions.iter().any(|served| ear.is_for(&served.settings));
            let now = clock::now();
            if !needed || ear.socket.is_some() || ear.again_at.is_some_and(|at| now < at) {
                continue;
            }
            let port = port(ear.multihop);
            match listen(ear.ipv6, port) {
                Ok(socket) => (ear.socket, ear.fault, ear.again_at) = (Some(socket), None, None),
                Err(error) => {
                    ear.again_at = Some(now + AGAIN);
                    ear.fault =
                        Some(format!("UDP port {port}: {error}: another BFD program has it, or we lack the right"));
                }
            }
        }
    }

    /// Whether it is to end.
    fn wait(&self, end: &UnixStream, timeout: PollTimeout) -> bool {
        let sockets = self.0.iter().filter_map(|ear| ear.socket.as_ref()).map(AsFd::as_fd);
        let all = std::iter::once(end.as_fd()).chain(sockets);
        let mut fds: Vec<PollFd<'_>> = all.map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
        // What goes wrong here shows in what is heard.
        let _ = poll(&mut fds, timeout);
        // Nothing is ever written there: it is readable when its other side is closed.
        fds.first().and_then(PollFd::any).unwrap_or(false)
    }

    fn hear(&mut self, sessions: &mut [Served]) {
        for ear in &mut self.0 {
            for _ in 0..BURST {
                match ear.socket.as_ref().map(|socket| receive(socket, ear.multihop)) {
                    None => break,
                    Some(Ok(heard)) => {
                        if let Some(heard) = heard {
                            heard.give(sessions);
                        }
                    }
                    Some(Err(error)) if error.kind() == ErrorKind::Interrupted => {}
                    Some(Err(error)) if error.kind() == ErrorKind::WouldBlock => break,
                    Some(Err(error)) => {
                        tracing::warn!("the socket of BFD is opened anew: {error}");
                        ear.socket = None;
                        break;
                    }
                }
            }
        }
    }
}

/// Where control packets go (RFC 5881, 4; RFC 5883, 5).
fn port(multihop: bool) -> u16 {
    if multihop { MULTIHOP_PORT } else { PORT }
}

fn listen(ipv6: bool, port: u16) -> io::Result<UdpSocket> {
    let socket = if ipv6 {
        let socket = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP))?;
        socket.set_only_v6(true)?;
        setsockopt(&socket, sockopt::Ipv6RecvHopLimit, &true)?;
        setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
        socket
    } else {
        let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
        setsockopt(&socket, sockopt::Ipv4RecvTtl, &true)?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)).into())?;
        socket
    };
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// A datagram that may be of use.
#[derive(Clone, Copy)]
struct Heard {
    source: IpAddr,
    destination: Option<IpAddr>,
    multihop: bool,
    hop_limit: u8,
    control: Control,
}

impl Heard {
    fn give(&self, sessions: &mut [Served]) {
        let own = sessions.iter_mut().filter(|served| served.takes(self));
        for served in own {
            if let Some(answer) = served.session.on_packet(clock::now(), &self.control) {
                served.mouth.say(&served.settings, &answer, &mut Jitter::new(0));
            }
        }
    }
}

/// `None`: it is none of a session's.
fn receive(socket: &UdpSocket, multihop: bool) -> io::Result<Option<Heard>> {
    // No packet of ours is longer, and what one says beyond is not looked at.
    let mut bytes = [0; LENGTH * 4];
    let mut space = nix::cmsg_space!(nix::libc::in6_pktinfo, nix::libc::c_int);
    let mut vectors = [IoSliceMut::new(&mut bytes)];
    let message =
        recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut vectors, Some(&mut space), MsgFlags::MSG_DONTWAIT)?;
    let (mut hop_limit, mut destination) = (None, None);
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::Ipv4Ttl(limit) | ControlMessageOwned::Ipv6HopLimit(limit) => {
                hop_limit = u8::try_from(limit).ok();
            }
            ControlMessageOwned::Ipv4PacketInfo(info) => {
                destination = Some(IpAddr::V4(u32::from_be(info.ipi_addr.s_addr).into()));
            }
            ControlMessageOwned::Ipv6PacketInfo(info) => {
                destination = Some(IpAddr::V6(info.ipi6_addr.s6_addr.into()));
            }
            _ => {}
        }
    }
    let v4 = message.address.as_ref().and_then(|from| from.as_sockaddr_in()).map(|from| IpAddr::V4(from.ip()));
    let v6 = message.address.as_ref().and_then(|from| from.as_sockaddr_in6()).map(|from| IpAddr::V6(from.ip()));
    let count = message.bytes;
    let (Some(source), Some(hop_limit), Some(bytes)) = (v4.or(v6), hop_limit, bytes.get(..count)) else {
        return Ok(None);
    };
    let parsed = Control::parse(bytes);
    let control = parsed.inspect_err(|error| tracing::debug!(%source, "a BFD packet is discarded: {error}")).ok();
    Ok(control.map(|control| Heard { source, destination, multihop, hop_limit, control }))
}

/// Where packets go out, from a port of the session's own.
#[derive(Default)]
struct Mouth {
    socket: Option<UdpSocket>,
    fault: Option<String>,
}

impl Mouth {
    /// What can't be sent now is said anew soon.
    fn say(&mut self, settings: &BfdInstance, control: &Control, jitter: &mut Jitter) {
        if self.socket.is_none() {
            match open(settings, jitter) {
                Ok(socket) => *self = Mouth { socket: Some(socket), fault: None },
                Err(error) => self.fault = Some(format!("no socket to {}: {error}", settings.neighbor)),
            }
        }
        let Some(socket) = &self.socket else { return };
        let to = SocketAddr::new(settings.neighbor, port(settings.multihop));
        match socket.send_to(&control.emit(), to) {
            Ok(_) => self.fault = None,
            // Its address has gone, perhaps to come back as another one.
            Err(error) if error.raw_os_error() == Some(nix::libc::EINVAL) => self.socket = None,
            Err(error) => tracing::debug!(%to, "a BFD packet was not sent: {error}"),
        }
    }
}

fn open(settings: &BfdInstance, jitter: &mut Jitter) -> io::Result<UdpSocket> {
    let source = settings.source.unwrap_or(match settings.neighbor {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    });
    let ports = u64::from(*SOURCES.end() - *SOURCES.start()) + 1;
    let mut taken = io::Error::from(ErrorKind::AddrInUse);
    for _ in 0..TRIES {
        let port = SOURCES.start().saturating_add(u16::try_from(jitter.next_u64() % ports).unwrap_or(0));
        match bind(source, port, settings.hop_limit) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => taken = error,
            other => return other,
        }
    }
    Err(taken)
}

fn bind(source: IpAddr, port: u16, hop_limit: u8) -> io::Result<UdpSocket> {
    let (domain, address): (_, SocketAddr) = match source {
        IpAddr::V4(source) => (Domain::IPV4, SocketAddrV4::new(source, port).into()),
        IpAddr::V6(source) => (Domain::IPV6, SocketAddrV6::new(source, port, 0, 0).into()),
    };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    if source.is_ipv4() {
        socket.set_ttl_v4(hop_limit.into())?;
        socket.set_tos_v4(TRAFFIC_CLASS)?;
    } else {
        socket.set_unicast_hops_v6(hop_limit.into())?;
        socket.set_tclass_v6(TRAFFIC_CLASS)?;
    }
    socket.bind(&address.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracking::teller::Mute;
    use keepone_config::model::Weight;
    use keepone_proto::id::WatchId;

    fn session(neighbor: &str, max_hops: Option<u8>) -> Served {
        let (sender, _) = tokio::sync::mpsc::channel(1);
        let settings = BfdInstance {
            name: "router".to_owned(),
            neighbor: neighbor.parse().unwrap(),
            source: None,
            min_rx: Duration::from_millis(10),
            min_tx: Duration::from_millis(10),
            idle_tx: Duration::from_secs(1),
            multiplier: 5,
            passive: false,
            hop_limit: 255,
            max_hops,
            multihop: false,
            weight: Weight { value: 0, reverse: false },
            for_vrrp: true,
            for_checkers: true,
        };
        Served::new(
            settings,
            Teller::new(WatchId(0), "router", sender, Mute::of(&Default::default())),
            &mut Jitter::new(1),
            clock::now(),
        )
    }

    /// RFC 5881, 5: 255 shows that it has crossed no router.
    #[test]
    fn only_the_neighbours_packets_that_crossed_no_router_are_taken() {
        let near = session("192.0.2.1", Some(0));
        let from = |source: &str, hop_limit| heard(source, "192.0.2.9", false, hop_limit);
        let takes = |session: &Served, hops: u8| session.takes(&from("192.0.2.1", hops));
        assert_eq!([takes(&near, 255), takes(&near, 254), takes(&near, 1)], [true, false, false]);
        assert!(!near.takes(&from("192.0.2.2", 255)));
        let farther = session("192.0.2.1", Some(2));
        assert_eq!([takes(&farther, 253), takes(&farther, 252)], [true, false]);
        assert!(takes(&session("192.0.2.1", None), 1));
    }

    /// RFC 5883, 3 and 5.
    #[test]
    fn over_several_hops_another_port_counts_and_the_address_that_was_spoken_to() {
        let mut far = session("192.0.2.1", Some(9));
        far.settings.multihop = true;
        far.settings.source = "198.51.100.1".parse().ok();
        let takes = |to: &str, multihop| far.takes(&heard("192.0.2.1", to, multihop, 250));
        assert!(takes("198.51.100.1", true));
        assert!(!takes("198.51.100.2", true), "of another session");
        assert!(!takes("198.51.100.1", false), "to the port of one hop");
        assert!(!session("192.0.2.1", Some(9)).takes(&heard("192.0.2.1", "198.51.100.1", true, 250)));
    }

    fn heard(source: &str, destination: &str, multihop: bool, hop_limit: u8) -> Heard {
        let mut session = Session::new(
            SessionSettings { min_tx: SLOW, idle_tx: SLOW, min_rx: SLOW, multiplier: 1, passive: false },
            NonZeroU32::MIN,
            1,
            Instant::BOOT,
        );
        let control = session.on_timer(Instant::BOOT).unwrap();
        let (source, destination) = (source.parse().unwrap(), destination.parse().ok());
        Heard { source, destination, multihop, hop_limit, control }
    }

    const SLOW: Duration = Duration::from_secs(1);

    /// RFC 5881, 4: a port of 49152 to 65535, and another one for each session.
    #[test]
    fn each_session_speaks_from_a_port_of_its_own_with_the_ttl_of_one_hop() {
        let mut jitter = Jitter::new(7);
        for (neighbor, ipv6) in [("127.0.0.1", false), ("::1", true)] {
            let served = session(neighbor, Some(0));
            let sockets = [(); 3].map(|()| open(&served.settings, &mut jitter).unwrap());
            let mut ports: Vec<u16> = sockets.iter().map(|socket| socket.local_addr().unwrap().port()).collect();
            assert!(ports.iter().all(|port| SOURCES.contains(port)), "{ports:?}");
            ports.sort_unstable();
            ports.dedup();
            assert_eq!(ports.len(), 3);
            let socket = Socket::from(sockets.into_iter().next().unwrap());
            let sent = if ipv6 { socket.unicast_hops_v6().unwrap() } else { socket.ttl_v4().unwrap() };
            assert_eq!(sent, 255);
        }
    }
}
