//! Hears when a route or a rule may have gone: a notice of the kernel's, or of a link or an address whose end takes
//! IPv4 routes along without one.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

use super::Wanted;
use crate::netlink::message::{self, Message};
use crate::readiness;

/// RTNLGRP_LINK, _IPV4_IFADDR, _IPV4_ROUTE, _IPV4_RULE, _IPV6_IFADDR, _IPV6_ROUTE, _IPV6_RULE (linux/rtnetlink.h).
const GROUPS: [u32; 7] = [1, 5, 7, 8, 9, 11, 19];
const RECEIVE_BUFFER: usize = 1024 * 1024;
const BUFFER: usize = 64 * 1024;
/// A storm of notices leads to so many looks a second.
const CALM: Duration = Duration::from_millis(50);

/// Notifies whenever it may be worth a look. Ends with an error of the socket, after a last notice.
pub(crate) async fn watch(wanted: Wanted, look: Arc<Notify>) -> io::Result<()> {
    let fd = open()?;
    let mut buffer = vec![0_u8; BUFFER];
    // What has gone before the socket was there.
    look.notify_one();
    loop {
        let mut ready = fd.readable().await?;
        let mut worth = false;
        loop {
            let mut room = buffer.as_mut_slice();
            let received = ready.try_io(|fd| fd.get_ref().recv_from(&mut room, libc::MSG_TRUNC));
            match received {
                Ok(Ok((len, from))) => {
                    let ours = from.port_number() == 0;
                    // One that is cut short may be any.
                    worth |= ours
                        && buffer.get(..len).is_none_or(|datagram| {
                            message::messages(datagram).any(|told| is_worth_a_look(&told, &wanted))
                        });
                }
                Ok(Err(error)) if error.kind() == io::ErrorKind::Interrupted => {}
                // Notices were lost.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::ENOBUFS) => worth = true,
                Ok(Err(error)) => return Err(error),
                Err(_would_block) => break,
            }
        }
        if worth {
            look.notify_one();
            tokio::time::sleep(CALM).await;
        }
    }
}

fn is_worth_a_look(told: &Message<'_>, wanted: &Wanted) -> bool {
    match told.kind {
        message::RTM_DELRULE | message::RTM_DELADDR | message::RTM_NEWLINK | message::RTM_DELLINK => true,
        message::RTM_NEWADDR => wanted.is_faulty(),
        message::RTM_DELROUTE => message::route(told.payload).is_some_and(|key| wanted.contains(&key)),
        // Somebody puts another one in its place.
        message::RTM_NEWROUTE if told.flags & message::NLM_F_REPLACE != 0 => {
            message::route(told.payload).is_some_and(|key| wanted.contains(&key))
        }
        _ => false,
    }
}

fn open() -> io::Result<AsyncFd<Socket>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.set_non_blocking(true)?;
    let _ = socket2::SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER);
    for group in GROUPS {
        socket.add_membership(group)?;
    }
    readiness::readable(socket)
}
