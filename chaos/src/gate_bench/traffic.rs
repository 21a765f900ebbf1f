//! Traffic for the VIP and in its name, twice a millisecond, as long as it lasts.

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, send};

use super::disturbance::raise;
use super::packets::{self, BACK, OBSERVER4, OBSERVER6, STREAM, VIP4, VIP6};
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;
use crate::netns::observe::packet;

/// Between two rounds.
const INTERVAL: Duration = Duration::from_micros(500);

fn rounds(stop: &AtomicBool, mut round: impl FnMut()) {
    raise();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        round();
        thread::sleep(INTERVAL.saturating_sub(began.elapsed()));
    }
}

/// The observer asks.
pub(super) fn ask(observer: &Namespace, index: u32, stop: Arc<AtomicBool>) -> Result<JoinHandle<()>, Error> {
    let socket = observer.run(|| packet::open(index).map_err(io_error("open a packet socket")))?;
    Ok(thread::spawn(move || {
        let questions = packets::questions();
        rounds(&stop, || {
            for question in &questions {
                let _ = send(socket.as_raw_fd(), question, MsgFlags::MSG_DONTWAIT);
            }
        });
    }))
}

/// Sockets that an application on the node has, bound to the VIP while it is there.
pub(super) struct Voices {
    udp: Vec<UdpSocket>,
    stream: TcpStream,
    _other_end: TcpStream,
    raw: socket2::Socket,
}

impl Voices {
    /// Opens them; the VIP is there and its gate open.
    pub(super) fn open(node: &Namespace, observer: &Namespace, index: u32) -> Result<Self, Error> {
        let bind = |vip: IpAddr, back: IpAddr| {
            let socket = UdpSocket::bind((vip, 0)).map_err(io_error("bind a socket to the VIP"))?;
            socket.connect((back, BACK)).map_err(io_error("name the observer"))?;
            socket.set_nonblocking(true).map_err(io_error("never wait"))?;
            Ok::<_, Error>(socket)
        };
        let (udp, listener, raw) = node.run(|| {
            let udp = vec![bind(VIP4.into(), OBSERVER4.into())?, bind(VIP6.into(), OBSERVER6.into())?];
            let listener = TcpListener::bind((VIP4, STREAM)).map_err(io_error("listen on the VIP"))?;
            Ok((udp, listener, packet::open(index).map_err(io_error("open a packet socket"))?))
        })?;
        let there = SocketAddr::from((VIP4, STREAM));
        let other_end = observer.run(|| {
            TcpStream::connect_timeout(&there, Duration::from_millis(300)).map_err(io_error("connect to the VIP"))
        })?;
        let (stream, _) = listener.accept().map_err(io_error("accept a connection"))?;
        stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).map_err(io_error("never wait"))?;
        Ok(Voices { udp, stream, _other_end: other_end, raw })
    }

    /// Speaks until told to stop.
    pub(super) fn start(self, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        thread::spawn(move || {
            // Whole, with the other end of the connection.
            let voices = self;
            let garp = packets::gratuitous();
            rounds(&stop, || {
                for socket in &voices.udp {
                    let _ = socket.send(b"from the VIP");
                }
                let _ = std::io::Write::write(&mut &voices.stream, b"more of it");
                let _ = send(voices.raw.as_raw_fd(), &garp, MsgFlags::MSG_DONTWAIT);
            });
        })
    }
}
