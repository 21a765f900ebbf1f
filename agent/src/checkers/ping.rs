//! `PING_CHECK`: up while it answers a ping.
#![allow(unsafe_code)]

use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicU16, Ordering};

use keepone_config::model::Target;
use socket2::SockRef;
use surge_ping::{Client, Config, ICMP, PingIdentifier, PingSequence};

use super::Fault;
use crate::references::is_echo_reply;

/// What a ping carries, in octets: as much as ping(8) sends.
const PAYLOAD: [u8; 56] = [0; 56];

/// Each try has a number of its own: on raw sockets all hear all answers.
static TRIES: AtomicU16 = AtomicU16::new(0);

pub(super) async fn probe(target: &Target) -> Result<(), Fault> {
    let kind = if target.address.is_ipv6() { ICMP::V6 } else { ICMP::V4 };
    let mut config = Config::builder().kind(kind);
    if let Some(interface) = &target.interface {
        config = config.interface(interface);
    }
    if let Some(from) = target.from {
        config = config.bind(SocketAddr::new(from, 0));
    }
    let no_socket = Fault::io("no ping socket; it takes CAP_NET_RAW, or net.ipv4.ping_group_range");
    let client = Client::new(&config.build()).map_err(no_socket)?;
    mark(&client, target.mark)?;
    let [.., high, low] = std::process::id().to_be_bytes();
    let number = TRIES.fetch_add(1, Ordering::Relaxed);
    // Far from those of the pings of reference addresses.
    let identifier = u16::from_be_bytes([high, low]).wrapping_add(0x8000).wrapping_add(number);
    let mut pinger = client.pinger(target.address, PingIdentifier(identifier)).await;
    pinger.timeout(target.timeout);
    match pinger.ping(PingSequence(number), &PAYLOAD).await {
        Ok((packet, _)) if is_echo_reply(&packet) => Ok(()),
        Ok(_) => Err(Fault::Wrong(String::from("somebody says that it can't be reached (ICMP)"))),
        Err(error) => Err(Fault::Wrong(error.to_string())),
    }
}

/// Before anything is sent: `fwmark` may choose the way.
fn mark(client: &Client, mark: u32) -> Result<(), Fault> {
    if mark == 0 {
        return Ok(());
    }
    // SAFETY: the client owns this descriptor and outlives the borrow, which ends with this function.
    let socket = unsafe { BorrowedFd::borrow_raw(client.get_socket().get_native_sock()) };
    SockRef::from(&socket).set_mark(mark).map_err(Fault::io("fwmark"))
}
