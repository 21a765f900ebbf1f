//! quinn's settings for datagrams that must be fresh or not come at all, and an endpoint on a socket
//! bound as the link demands.
//!
//! With quinn's defaults a beat made 18 s ago is delivered as new after an outage of 10 s: datagrams
//! obey congestion control, queue oldest first in a large buffer, and the probes that find the path
//! again double their intervals. The settings here take each of these causes away.

use std::any::Any;
use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::SndBufForce;
use quinn::congestion::{Controller, ControllerFactory};
use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use quinn::{ClientConfig, ConnectionId, ConnectionIdGenerator, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use ring::rand::{SecureRandom as _, SystemRandom};
use socket2::{Domain, Protocol, Socket, Type};

use super::identity::Identity;
use super::refusal::Refusals;
use super::roster::{Roster, tls};
use super::socket::FilteredSocket;

/// CS6, network control (RFC 2474, 4.2.2.2; RFC 4594, 3.1), as the octet of the IP header.
const TRAFFIC_CLASS: u32 = 0xc0;
/// Octets of a connection id: with eight, a packet of 1200 has room for a datagram of 1162.
const CONNECTION_ID_LEN: usize = 8;
/// Queued datagrams, in octets. It fills only while the kernel refuses packets, and then the oldest go.
/// Room for a beat and the lease messages of some fifty domains, which are made in one go.
const SEND_BUFFER: usize = 16 * 1024;
/// Room for packets that the kernel has taken and not sent, in octets, which it doubles.
///
/// One socket serves all peers of a link. What goes to a station whose link-layer address is asked for in vain waits in
/// the kernel for up to three seconds, and fills as much of this room as the kernel lets wait for one station (212992
/// octets with their headers: ip-sysctl, `neigh/default/unres_qlen_bytes`). The default room is just that: one peer that
/// is down would keep beats and renewals from all others. Half of this must hold what waits for all of them, since a
/// full socket takes packets again when half of it is free.
const SOCKET_ROOM: usize = 4 << 20;
/// Handshakes at a time; each is over after a round trip or two.
const MAX_INCOMING: usize = 64;

/// What depends on the network between the members.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransportSettings {
    /// Assumed before it is measured: 20 ms in a LAN, 100 ms in a WAN. Three times this is the wait
    /// before a lost first packet is sent again.
    pub initial_rtt: Duration,
    /// A connection that hears nothing for so long is tidied away; it says nothing about the peer.
    ///
    /// Long, because a node that hears nobody is still heard: its beats are what tells the others to
    /// yield (safety.md D8), and no new connection can be made in that state. Bounded, because each
    /// packet that was not acknowledged is remembered.
    pub idle_timeout: Duration,
    /// How long one attempt to connect may take before the next begins.
    pub connect_deadline: Duration,
    /// Shortest and longest pause between two attempts.
    pub retry: (Duration, Duration),
    /// When datagrams are sent and nothing at all comes back for so long, a fresh connection is dialed
    /// beside the old one.
    pub silence: Duration,
}

impl Default for TransportSettings {
    fn default() -> Self {
        TransportSettings {
            initial_rtt: Duration::from_millis(20),
            idle_timeout: Duration::from_secs(3600),
            connect_deadline: Duration::from_millis(300),
            retry: (Duration::from_millis(100), Duration::from_millis(300)),
            silence: Duration::from_millis(300),
        }
    }
}

/// Where an endpoint lives and whom it trusts.
#[derive(Debug, Clone)]
pub struct EndpointSettings {
    /// Own address; port 0 takes any.
    pub local: SocketAddr,
    /// Interface that every packet must pass (`SO_BINDTODEVICE`).
    pub interface: Option<String>,
    /// Sources listened to; `None`: all. Not with an unspecified local address that accepts.
    pub admit: Option<BTreeSet<IpAddr>>,
    /// Whether it accepts connections, or only dials.
    pub accepts: bool,
    /// Own key.
    pub identity: Identity,
    /// The others' keys.
    pub roster: Arc<Roster>,
    /// Timing.
    pub transport: TransportSettings,
    /// Who hears of keys that are refused.
    pub refusals: Refusals,
}

/// An endpoint that can't be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// EADDRINUSE.
    #[error("UDP {local} is in use by another program: stop it (`ss -ulpn` names it), or choose another port")]
    AddressInUse {
        /// The address.
        local: SocketAddr,
    },
    /// EADDRNOTAVAIL.
    #[error("address {} is not on this host (yet): add it, or correct the configuration", local.ip())]
    AddressMissing {
        /// The address.
        local: SocketAddr,
    },
    /// ENODEV.
    #[error("interface {interface} does not exist (yet): create it, or correct the configuration")]
    InterfaceMissing {
        /// Its name.
        interface: String,
    },
    /// EPERM or EACCES.
    #[error("not permitted to use UDP {local}: run as root, or grant CAP_NET_RAW and CAP_NET_BIND_SERVICE")]
    NotPermitted {
        /// The address.
        local: SocketAddr,
    },
    /// Anything else.
    #[error("can't open UDP {local}: {source}")]
    Other {
        /// The address.
        local: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// TLS could not be set up with this key.
    #[error("can't set up TLS 1.3: {0}")]
    Tls(String),
}

/// A bound endpoint: one UDP socket, any number of connections.
#[derive(Debug, Clone)]
pub struct Endpoint {
    quinn: quinn::Endpoint,
    client: ClientConfig,
    socket: Option<Arc<FilteredSocket>>,
    roster: Arc<Roster>,
    instance: Arc<str>,
    ifindex: Option<u32>,
    transport: TransportSettings,
    refusals: Refusals,
}

impl Endpoint {
    /// Binds. To be called within a tokio runtime, which then drives the endpoint.
    pub fn bind(settings: &EndpointSettings) -> Result<Self, BindError> {
        let local = settings.local;
        let ifindex = match &settings.interface {
            Some(name) => Some(index_of(name).ok_or_else(|| BindError::InterfaceMissing { interface: name.clone() })?),
            None => None,
        };
        let other = |source| BindError::Other { local, source };
        let socket = bound_socket(local, settings.interface.as_deref(), ifindex)?;

        let (client, server) = tls(&settings.identity, &settings.roster).map_err(|e| BindError::Tls(e.to_string()))?;
        let transport = Arc::new(transport_config(&settings.transport));
        let quic_client = QuicClientConfig::try_from(client).map_err(|e| BindError::Tls(e.to_string()))?;
        let mut client = ClientConfig::new(Arc::new(quic_client));
        client.transport_config(transport.clone());
        let server = if settings.accepts { Some(accepting(server, transport)?) } else { None };

        let config = endpoint_config(settings);
        let runtime = Arc::new(quinn::TokioRuntime);
        // Only quinn's own socket answers from the address that was asked when it is bound to all of them.
        let plain = settings.accepts && local.ip().is_unspecified();
        let (quinn, socket) = if plain {
            (quinn::Endpoint::new(config, server, socket, runtime).map_err(other)?, None)
        } else {
            let socket = Arc::new(FilteredSocket::new(socket, settings.admit.clone()).map_err(other)?);
            let quinn = quinn::Endpoint::new_with_abstract_socket(config, server, socket.clone(), runtime);
            (quinn.map_err(other)?, Some(socket))
        };
        let instance = instance_name().into();
        let roster = settings.roster.clone();
        let (transport, refusals) = (settings.transport, settings.refusals.clone());
        Ok(Endpoint { quinn, client, socket, roster, instance, ifindex, transport, refusals })
    }

    /// The same for a program that asks something and goes, beside the agent that speaks with this key: its
    /// instance name says so, so that nobody takes it for the agent's next life.
    pub(crate) fn visiting(mut self) -> Self {
        self.instance = format!("{VISITOR}{}", self.instance).into();
        self
    }

    /// Proves this key to whoever dials from now on; connections that stand are left alone.
    ///
    /// # Errors
    /// TLS can't be set up with it.
    pub fn set_identity(&self, identity: &Identity) -> Result<(), BindError> {
        let (_, server) = tls(identity, &self.roster).map_err(|e| BindError::Tls(e.to_string()))?;
        let server = accepting(server, Arc::new(transport_config(&self.transport)))?;
        self.quinn.set_server_config(Some(server));
        Ok(())
    }

    /// The bound address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.quinn.local_addr()
    }

    /// Index of the interface it was bound to, if it was.
    pub fn ifindex(&self) -> Option<u32> {
        self.ifindex
    }

    /// Whom it trusts.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Packets dropped by source address, and packets that the kernel refused.
    pub fn socket_counters(&self) -> (u64, u64) {
        self.socket.as_ref().map_or((0, 0), |socket| (socket.filtered(), socket.errors()))
    }

    /// Says goodbye on every connection. The peers hear of it; the socket lives until they have.
    pub fn close(&self, reason: &str) {
        self.quinn.close(VarInt::from_u32(0), reason.as_bytes());
    }

    /// Frees the address at once and without a word, as if the process had been killed.
    pub fn abandon(&self) {
        if let Some(socket) = &self.socket {
            socket.shut();
        }
        self.close("abandoned");
    }

    pub(crate) fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    pub(crate) fn settings(&self) -> &TransportSettings {
        &self.transport
    }

    pub(crate) fn accept(&self) -> quinn::Accept<'_> {
        self.quinn.accept()
    }

    /// Begins to connect. The server name is this endpoint's instance, new in each life: from it the
    /// other side learns that we have restarted, and that what it dialed before leads nowhere.
    pub(crate) fn connect(&self, to: SocketAddr) -> Result<quinn::Connecting, quinn::ConnectError> {
        self.quinn.connect_with(self.client.clone(), scoped(to, self.ifindex), &self.instance)
    }
}

fn accepting(tls: rustls::ServerConfig, transport: Arc<TransportConfig>) -> Result<ServerConfig, BindError> {
    let quic = QuicServerConfig::try_from(tls).map_err(|e| BindError::Tls(e.to_string()))?;
    let mut server = ServerConfig::with_crypto(Arc::new(quic));
    // A connection stays on its link: one that wandered would count for the wrong one.
    server.transport_config(transport).migration(false).max_incoming(MAX_INCOMING);
    server.incoming_buffer_size(16 * 1024).incoming_buffer_size_total(1024 * 1024);
    Ok(server)
}

/// The index of an interface, `None` if there is none of that name.
pub fn index_of(interface: &str) -> Option<u32> {
    nix::net::if_::if_nametoindex(interface).ok()
}

/// Begins the instance names of visitors; an agent's begin otherwise.
const VISITOR: &str = "visitor-";

/// Whether the endpoint of that instance name only asks something and goes.
pub(crate) fn is_visitor(instance: &str) -> bool {
    instance.starts_with(VISITOR)
}

fn instance_name() -> String {
    format!("i{:016x}.keepone", getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id())))
}

/// A link-local address means nothing without its interface (RFC 4007, 6).
fn scoped(mut address: SocketAddr, ifindex: Option<u32>) -> SocketAddr {
    if let (SocketAddr::V6(v6), Some(index)) = (&mut address, ifindex)
        && v6.ip().is_unicast_link_local()
        && v6.scope_id() == 0
    {
        v6.set_scope_id(index);
    }
    address
}

fn bound_socket(
    local: SocketAddr,
    interface: Option<&str>,
    ifindex: Option<u32>,
) -> Result<std::net::UdpSocket, BindError> {
    let typed = |source: io::Error| match source.raw_os_error() {
        Some(libc::EADDRINUSE) => BindError::AddressInUse { local },
        Some(libc::EADDRNOTAVAIL) => BindError::AddressMissing { local },
        Some(libc::ENODEV) => BindError::InterfaceMissing { interface: interface.unwrap_or("?").into() },
        Some(libc::EPERM | libc::EACCES) => BindError::NotPermitted { local },
        _ => BindError::Other { local, source },
    };
    let socket = Socket::new(Domain::for_address(local), Type::DGRAM.nonblocking().cloexec(), Some(Protocol::UDP))
        .map_err(typed)?;
    if let Some(name) = interface {
        socket.bind_device(Some(name.as_bytes())).map_err(typed)?;
    }
    let marked = if local.is_ipv4() { socket.set_tos_v4(TRAFFIC_CLASS) } else { socket.set_tclass_v6(TRAFFIC_CLASS) };
    if let Err(error) = marked {
        tracing::debug!("DSCP CS6 not set on UDP {local}: {error}");
    }
    // Beyond the limit that others have by CAP_NET_ADMIN; without it, up to that: twice the default.
    if setsockopt(&socket, SndBufForce, &SOCKET_ROOM).is_err()
        && let Err(error) = socket.set_send_buffer_size(SOCKET_ROOM)
    {
        tracing::debug!("no more room for what UDP {local} sends: {error}");
    }
    if local.is_ipv6() && !local.ip().is_unspecified() {
        socket.set_only_v6(true).map_err(typed)?;
    }
    socket.bind(&scoped(local, ifindex).into()).map_err(typed)?;
    Ok(socket.into())
}

fn transport_config(settings: &TransportSettings) -> TransportConfig {
    let mut config = TransportConfig::default();
    let idle_ms = u32::try_from(settings.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    config
        .congestion_controller_factory(Arc::new(Unlimited))
        .datagram_send_buffer_size(SEND_BUFFER)
        .datagram_receive_buffer_size(Some(64 * 1024))
        .initial_rtt(settings.initial_rtt)
        .max_idle_timeout(Some(VarInt::from_u32(idle_ms).into()))
        .keep_alive_interval(None)
        .mtu_discovery_config(None)
        .enable_segmentation_offload(false)
        .allow_spin(false)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(0));
    config
}

/// Stateless resets (RFC 9000, 10.3) with a secret that outlives the process: a restarted member tells
/// its peers at their first packet that it has forgotten them. The address is in the secret, so that one
/// link's endpoint can't be made to sign the end of another's connections (RFC 9000, 21.11).
fn endpoint_config(settings: &EndpointSettings) -> EndpointConfig {
    let link = settings.interface.as_deref().unwrap_or("");
    let purpose = format!("stateless reset {} {link}", settings.local);
    let mut config = EndpointConfig::new(Arc::new(settings.identity.derive(purpose.as_bytes())));
    config.cid_generator(|| Box::new(RandomIds(SystemRandom::new())));
    config
}

/// Connection ids that any life of the process takes for possibly its own, or it would not reset them.
struct RandomIds(SystemRandom);

impl ConnectionIdGenerator for RandomIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_LEN];
        if self.0.fill(&mut bytes).is_err() {
            // Uniqueness is what counts, and an id that is taken is drawn again.
            bytes = getrandom::u64().unwrap_or_default().to_ne_bytes();
        }
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// No congestion control: some hundred octets ten times a second congest nothing, and a window that
/// shuts during an outage would stay shut after it.
#[derive(Debug, Clone, Copy)]
struct Unlimited;

impl ControllerFactory for Unlimited {
    fn build(self: Arc<Self>, _now: Instant, _current_mtu: u16) -> Box<dyn Controller> {
        Box::new(Unlimited)
    }
}

impl Controller for Unlimited {
    fn on_congestion_event(&mut self, _now: Instant, _sent: Instant, _persistent: bool, _lost_bytes: u64) {}

    fn on_mtu_update(&mut self, _new_mtu: u16) {}

    /// Above `u32::MAX` the pacer is off too.
    fn window(&self) -> u64 {
        u64::MAX / 2
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(*self)
    }

    fn initial_window(&self) -> u64 {
        u64::MAX / 2
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::process::Command;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sched::{CloneFlags, unshare};

    use super::*;

    fn ip(arguments: &str) {
        assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
    }

    /// Needs root and iproute2; the network is this thread's own.
    #[test]
    fn what_waits_for_a_station_that_does_not_answer_keeps_nothing_from_another() {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        for arguments in [
            "link add hb0 type veth peer name far",
            "address add 10.88.0.1/24 dev hb0",
            "link set hb0 up",
            "link set far up",
            "neighbour add 10.88.0.2 lladdr 02:00:00:00:00:02 dev hb0 nud permanent",
        ] {
            ip(arguments);
        }
        let socket = bound_socket("10.88.0.1:7946".parse().unwrap(), Some("hb0"), index_of("hb0")).unwrap();
        // More than the kernel lets wait for one station, in packets of several sizes.
        for packet in 0..1000 {
            let _ = socket.send_to(&vec![0; [60, 120, 400, 1200][packet % 4]], "10.88.0.77:7946");
        }
        socket.send_to(&[0; 1200], "10.88.0.2:7946").unwrap();
        // What quinn waits for once the kernel has refused a packet.
        let mut asked = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
        assert_eq!(poll(&mut asked, PollTimeout::ZERO), Ok(1), "the socket is full of what nobody will ever take");
    }
}
