//! The interfaces of this network namespace, in one dump.

use std::io;

use keepone_bpf::BpfError;
use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_REQUEST, NetlinkBuffer, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, InfoPortKind, LinkAttribute, LinkInfo, LinkLayerType, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};

use super::program::Header;

/// What the gate needs to know of an interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) header: Header,
    /// A bridge, bond or team takes its frames before the host sees them.
    pub(super) port: bool,
    /// A VLAN's: what comes in here may bear its tag still (`reorder_hdr off`).
    pub(super) vlan: bool,
}

fn interface(message: &LinkMessage) -> Interface {
    let header = match message.header.link_layer_type {
        LinkLayerType::Ether | LinkLayerType::Loopback => Header::Ethernet,
        _ => Header::Other,
    };
    let mut found = Interface { index: message.header.index, name: String::new(), header, port: false, vlan: false };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => found.name.clone_from(name),
            LinkAttribute::LinkInfo(infos) => {
                found.vlan = infos.contains(&LinkInfo::Kind(InfoKind::Vlan));
                found.port = infos.iter().any(|info| match info {
                    LinkInfo::PortKind(InfoPortKind::Bridge | InfoPortKind::Bond | InfoPortKind::Team) => true,
                    LinkInfo::PortKind(InfoPortKind::Other(kind)) => kind == "openvswitch",
                    _ => false,
                });
            }
            _ => {}
        }
    }
    found
}

/// One dump; `None` if the interfaces changed meanwhile, so that some may be missing from it.
fn dump() -> io::Result<Option<Vec<Interface>>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let mut request = NetlinkMessage::new(header, RouteNetlinkMessage::GetLink(LinkMessage::default()).into());
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send_to(&bytes, &SocketAddr::new(0, 0), 0)?;

    let mut interfaces = Vec::new();
    let mut interrupted = false;
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = datagram.as_slice();
        while !rest.is_empty() {
            let length = NetlinkBuffer::new_checked(rest).map_err(io::Error::other)?.length() as usize;
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            interrupted |= message.header.flags & NLM_F_DUMP_INTR != 0;
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => interfaces.push(interface(&link)),
                NetlinkPayload::Done(_) => return Ok((!interrupted).then_some(interfaces)),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            rest = rest.get(length.next_multiple_of(4).max(4)..).unwrap_or_default();
        }
    }
}

/// All of them.
pub(super) fn list() -> Result<Vec<Interface>, BpfError> {
    let failed = |source| BpfError::System { what: "listing the interfaces".into(), source };
    for _ in 0..10 {
        if let Some(interfaces) = dump().map_err(failed)? {
            return Ok(interfaces);
        }
    }
    Err(failed(io::Error::other("they change faster than they can be listed")))
}
