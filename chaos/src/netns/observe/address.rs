//! Which node has the VIP among its addresses, from the kernel's own messages in each namespace.

use std::net::IpAddr;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::MulticastGroup;
use rtnetlink::packet_core::NetlinkPayload;

use super::{Live, Stop};
use crate::netns::clock;
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;
use crate::spans::Spans;

fn names(message: &AddressMessage, vip: IpAddr) -> bool {
    message.attributes.iter().any(|attribute| match attribute {
        AddressAttribute::Local(address) | AddressAttribute::Address(address) => *address == vip,
        _ => false,
    })
}

/// Watches one node's addresses until the run stops; returns when it had `vip`.
///
/// # Errors
/// [`Error::Io`] when netlink can't be opened.
pub fn start(
    namespace: &Namespace,
    node: usize,
    vip: impl Into<IpAddr>,
    live: Arc<Live>,
    stop: Stop,
) -> Result<JoinHandle<Spans>, Error> {
    let (namespace, vip) = (namespace.clone(), vip.into());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(io_error("start an event loop"))?;
    Ok(thread::spawn(move || {
        let watched = namespace.enter().and_then(|()| runtime.block_on(watch(node, vip, &live, &stop)));
        // A watcher that fails has seen nothing, and its node's line in the report stays empty.
        watched.unwrap_or_default()
    }))
}

async fn watch(node: usize, vip: IpAddr, live: &Live, stop: &Stop) -> Result<Spans, Error> {
    let (connection, handle, mut messages) =
        rtnetlink::new_multicast_connection(&[MulticastGroup::Ipv4Ifaddr, MulticastGroup::Ipv6Ifaddr])
            .map_err(io_error("watch addresses"))?;
    tokio::spawn(connection);
    let mut pairs = Vec::new();
    let mut since = None;
    let mut present = handle.address().get().execute();
    while let Ok(Some(message)) = present.try_next().await {
        if names(&message, vip) {
            since = Some(clock::now());
        }
    }
    while !stop.is_set() {
        live.set_address(node, since.is_some());
        let Ok(next) = tokio::time::timeout(Duration::from_millis(50), messages.next()).await else { continue };
        let Some((message, _)) = next else { break };
        let at = clock::now();
        match message.payload {
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) if names(&address, vip) => {
                since = since.or(Some(at));
            }
            NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelAddress(address)) if names(&address, vip) => {
                pairs.extend(since.take().map(|since| (since, at)));
            }
            _ => {}
        }
    }
    pairs.extend(since.map(|since| (since, clock::now())));
    Ok(Spans::from_pairs(pairs))
}
