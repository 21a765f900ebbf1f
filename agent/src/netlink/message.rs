//! The few netlink messages that the watch reads and writes (linux/netlink.h, linux/rtnetlink.h,
//! linux/if_link.h, linux/if_addr.h).
//!
//! The one thing that must stay true: an attribute that this file does not know, or a value that it
//! does not expect, costs that attribute only, never the message. New kernels add both.

use std::net::IpAddr;

pub(super) const NLMSG_ERROR: u16 = 2;
pub(super) const NLMSG_DONE: u16 = 3;
pub(super) const RTM_NEWLINK: u16 = 16;
pub(super) const RTM_DELLINK: u16 = 17;
pub(super) const RTM_GETLINK: u16 = 18;
pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
pub(super) const RTM_GETADDR: u16 = 22;
pub(super) const RTM_NEWROUTE: u16 = 24;
pub(super) const RTM_DELROUTE: u16 = 25;
pub(super) const RTM_DELRULE: u16 = 33;
pub(super) const RTM_NEWQDISC: u16 = 36;
pub(super) const RTM_GETQDISC: u16 = 38;

const NLM_F_REQUEST: u16 = 0x1;
/// The dump was not of one moment, and must be made again.
pub(super) const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
/// Of a notice: what was there before is not any more.
pub(super) const NLM_F_REPLACE: u16 = 0x100;
/// Of an error: it does not repeat the request's body.
const NLM_F_CAPPED: u16 = 0x100;
/// Of an error: attributes follow.
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_VRF_TABLE: u16 = 1;
const IFLA_EXT_MASK: u16 = 29;
const RTEXT_FILTER_SKIP_STATS: u32 = 1 << 3;

const RTA_DST: u16 = 1;
const RTA_TABLE: u16 = 15;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_FLAGS: u16 = 8;

/// linux/pkt_sched.h, linux/gen_stats.h.
const TC_H_ROOT: u32 = u32::MAX;
const TCA_STATS2: u16 = 7;
const TCA_STATS_BASIC: u16 = 1;
const TCA_STATS_QUEUE: u16 = 3;

const HEADER: usize = 16;

/// One message of a datagram.
#[derive(Debug, Clone, Copy)]
pub(super) struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// The netlink port of the process whose request it answers or tells of; 0: the kernel's own.
    pub port: u32,
    pub payload: &'a [u8],
}

/// The messages of a datagram; ends at the first that is malformed.
pub(super) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let (header, rest) = datagram.split_first_chunk::<HEADER>()?;
        let [l0, l1, l2, l3, k0, k1, f0, f1, s0, s1, s2, s3, p0, p1, p2, p3] = *header;
        let len = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3])).ok()?.checked_sub(HEADER)?;
        let payload = rest.get(..len)?;
        datagram = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some(Message {
            kind: u16::from_ne_bytes([k0, k1]),
            flags: u16::from_ne_bytes([f0, f1]),
            sequence: u32::from_ne_bytes([s0, s1, s2, s3]),
            port: u32::from_ne_bytes([p0, p1, p2, p3]),
            payload,
        })
    })
}

/// The attributes behind a message's fixed part: type without its flag bits, and value.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let ([l0, l1, k0, k1], rest) = bytes.split_first_chunk::<4>()?;
        let len = usize::from(u16::from_ne_bytes([*l0, *l1])).checked_sub(4)?;
        let value = rest.get(..len)?;
        bytes = rest.get(len.next_multiple_of(4)..).unwrap_or(&[]);
        Some((u16::from_ne_bytes([*k0, *k1]) & 0x3fff, value))
    })
}

fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk().copied().map(u32::from_ne_bytes)
}

/// What a link message says; `None` is what it does not say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct LinkInfo {
    pub family: u8,
    pub ifindex: u32,
    /// `IFF_*` (linux/if.h).
    pub flags: u32,
    pub name: Option<String>,
    pub mac: Option<[u8; 6]>,
    pub mtu: Option<u32>,
    /// `macvlan`, `veth`...
    pub kind: Option<String>,
    /// The interface that it is above, or the other end.
    pub below: Option<u32>,
    /// Of a VRF: its routing table.
    pub vrf_table: Option<u32>,
}

fn text(value: &[u8]) -> Option<String> {
    let text = value.split(|octet| *octet == 0).next().unwrap_or(value);
    std::str::from_utf8(text).ok().map(str::to_owned)
}

/// An `RTM_NEWLINK` or `RTM_DELLINK` payload: `struct ifinfomsg` and attributes.
pub(super) fn link(payload: &[u8]) -> Option<LinkInfo> {
    let (fixed, rest) = payload.split_first_chunk::<16>()?;
    let [family, _, _, _, i0, i1, i2, i3, f0, f1, f2, f3, ..] = *fixed;
    let mut link = LinkInfo {
        family,
        ifindex: u32::from_ne_bytes([i0, i1, i2, i3]),
        flags: u32::from_ne_bytes([f0, f1, f2, f3]),
        ..LinkInfo::default()
    };
    for (kind, value) in attributes(rest) {
        match kind {
            IFLA_IFNAME => link.name = text(value),
            IFLA_LINK => link.below = u32_of(value),
            IFLA_LINKINFO => {
                let part = |wanted| attributes(value).find(|(kind, _)| *kind == wanted).map(|(_, value)| value);
                link.kind = part(IFLA_INFO_KIND).and_then(text);
                // What the numbers in it mean is the kind's own.
                let data = part(IFLA_INFO_DATA).filter(|_| link.kind.as_deref() == Some("vrf")).unwrap_or_default();
                let table = attributes(data).find(|(kind, _)| *kind == IFLA_VRF_TABLE);
                link.vrf_table = table.and_then(|(_, value)| u32_of(value));
            }
            IFLA_ADDRESS => link.mac = value.try_into().ok(),
            IFLA_MTU => link.mtu = u32_of(value),
            _ => {}
        }
    }
    Some(link)
}

/// What an address message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AddressInfo {
    pub ifindex: u32,
    pub address: IpAddr,
    pub prefix_len: u8,
    /// `IFA_F_*` (linux/if_addr.h).
    pub flags: u32,
    /// `RT_SCOPE_*` (linux/rtnetlink.h).
    pub scope: u8,
}

/// An `RTM_NEWADDR` or `RTM_DELADDR` payload: `struct ifaddrmsg` and attributes.
pub(super) fn address(payload: &[u8]) -> Option<AddressInfo> {
    let (fixed, rest) = payload.split_first_chunk::<8>()?;
    let [family, prefix_len, flags, scope, i0, i1, i2, i3] = *fixed;
    let (mut local, mut peer, mut flags) = (None, None, u32::from(flags));
    for (kind, value) in attributes(rest) {
        match kind {
            IFA_ADDRESS => peer = ip(family, value),
            IFA_LOCAL => local = ip(family, value),
            IFA_FLAGS => flags = u32_of(value).unwrap_or(flags),
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the peer's; ours is always IFA_LOCAL, where given.
    let address = local.or(peer)?;
    Some(AddressInfo { ifindex: u32::from_ne_bytes([i0, i1, i2, i3]), address, prefix_len, flags, scope })
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match libc::c_int::from(family) {
        libc::AF_INET => <[u8; 4]>::try_from(value).ok().map(IpAddr::from),
        libc::AF_INET6 => <[u8; 16]>::try_from(value).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Where a route leads, of an `RTM_NEWROUTE` or `RTM_DELROUTE` payload (`struct rtmsg` and attributes): whether it is
/// IPv6, network, length of its prefix, table.
pub(super) fn route(payload: &[u8]) -> Option<(bool, IpAddr, u8, u32)> {
    let (fixed, rest) = payload.split_first_chunk::<12>()?;
    let [family, length, _, _, table, ..] = *fixed;
    let ipv6 = match libc::c_int::from(family) {
        libc::AF_INET => false,
        libc::AF_INET6 => true,
        _ => return None,
    };
    let mut network = if ipv6 { IpAddr::from([0_u16; 8]) } else { IpAddr::from([0_u8; 4]) };
    let mut table = u32::from(table);
    for (kind, value) in attributes(rest) {
        match kind {
            RTA_DST => network = ip(family, value)?,
            RTA_TABLE => table = u32_of(value).unwrap_or(table),
            _ => {}
        }
    }
    Some((ipv6, network, length, table))
}

/// What a queueing discipline counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct QueueInfo {
    pub ifindex: u32,
    /// Not one below another, whose numbers that one bears too.
    pub is_root: bool,
    /// Octets.
    pub sent: u64,
    /// Octets.
    pub waits: u32,
}

/// An `RTM_NEWQDISC` payload: `struct tcmsg` and attributes.
pub(super) fn queue(payload: &[u8]) -> Option<QueueInfo> {
    let (fixed, rest) = payload.split_first_chunk::<20>()?;
    let [_, _, _, _, i0, i1, i2, i3, _, _, _, _, p0, p1, p2, p3, ..] = *fixed;
    let is_root = u32::from_ne_bytes([p0, p1, p2, p3]) == TC_H_ROOT;
    let mut queue = QueueInfo { ifindex: u32::from_ne_bytes([i0, i1, i2, i3]), is_root, sent: 0, waits: 0 };
    let statistics = attributes(rest).filter(|(kind, _)| *kind == TCA_STATS2);
    for (kind, value) in statistics.flat_map(|(_, nested)| attributes(nested)) {
        match kind {
            TCA_STATS_BASIC => queue.sent = value.first_chunk().copied().map_or(0, u64::from_ne_bytes),
            // Behind the number of frames.
            TCA_STATS_QUEUE => queue.waits = value.get(4..).and_then(u32_of).unwrap_or(0),
            _ => {}
        }
    }
    Some(queue)
}

/// The error number of an `NLMSG_ERROR` payload, positive; 0 is an acknowledgement.
pub(super) fn error(payload: &[u8]) -> Option<i32> {
    payload.first_chunk().copied().map(i32::from_ne_bytes).map(i32::wrapping_neg)
}

/// What the kernel says beyond the error's number (`NLMSGERR_ATTR_MSG`), if it does.
pub(super) fn error_words(told: &Message<'_>) -> Option<String> {
    if told.flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    // The number, and the header of the request; its body as well unless that was left out.
    let body = told.payload.get(4..)?;
    let request = messages(body).next().filter(|_| told.flags & NLM_F_CAPPED == 0);
    let rest = body.get(HEADER + request.map_or(0, |request| request.payload.len().next_multiple_of(4))..)?;
    let (_, words) = attributes(rest).find(|(kind, _)| *kind == NLMSGERR_ATTR_MSG)?;
    text(words)
}

/// A request for all links, without their statistics, for all addresses, or for all queueing disciplines.
pub(super) fn dump_request(kind: u16, sequence: u32) -> Vec<u8> {
    let fixed = match kind {
        RTM_GETLINK => 16,
        RTM_GETQDISC => 20,
        _ => 8,
    };
    let mut body = vec![0_u8; fixed];
    if kind == RTM_GETLINK {
        body.extend(8_u16.to_ne_bytes());
        body.extend(IFLA_EXT_MASK.to_ne_bytes());
        body.extend(RTEXT_FILTER_SKIP_STATS.to_ne_bytes());
    }
    let mut request = Vec::with_capacity(HEADER + body.len());
    // At most 40 octets.
    request.extend(u32::try_from(HEADER + body.len()).unwrap_or(0).to_ne_bytes());
    request.extend(kind.to_ne_bytes());
    request.extend((NLM_F_REQUEST | NLM_F_DUMP).to_ne_bytes());
    request.extend(sequence.to_ne_bytes());
    request.extend(0_u32.to_ne_bytes());
    request.extend(body);
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut bytes = u16::try_from(value.len() + 4).unwrap().to_ne_bytes().to_vec();
        bytes.extend(kind.to_ne_bytes());
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn ones_own_address_on_a_point_to_point_link_is_the_local_one() {
        let mut payload = vec![2, 32, 0x80, 0];
        payload.extend(7_u32.to_ne_bytes());
        payload.extend(attribute(IFA_ADDRESS, &[10, 0, 0, 2]));
        payload.extend(attribute(IFA_LOCAL, &[10, 0, 0, 1]));
        payload.extend(attribute(IFA_FLAGS, &0x280_u32.to_ne_bytes()));
        let told = address(&payload).unwrap();
        assert_eq!(told.address, IpAddr::from([10, 0, 0, 1]));
        assert_eq!((told.ifindex, told.prefix_len, told.flags), (7, 32, 0x280));
    }

    #[test]
    fn a_hardware_address_that_is_not_ethernet_costs_nothing_else() {
        let mut payload = vec![0_u8; 16];
        payload.extend(attribute(IFLA_ADDRESS, &[0; 20]));
        payload.extend(attribute(999, &[1]));
        payload.extend(attribute(IFLA_IFNAME, b"ib0\0"));
        let told = link(&payload).unwrap();
        assert_eq!((told.mac, told.name.as_deref()), (None, Some("ib0")));
    }

    #[test]
    fn the_table_of_a_vrf_is_read_and_of_no_other_kind() {
        for (kind, table) in [("vrf\0", Some(1007)), ("veth\0", None)] {
            let mut payload = vec![0_u8; 16];
            let info = [
                attribute(IFLA_INFO_KIND, kind.as_bytes()),
                attribute(IFLA_INFO_DATA, &attribute(IFLA_VRF_TABLE, &1007_u32.to_ne_bytes())),
            ];
            payload.extend(attribute(IFLA_LINKINFO, &info.concat()));
            let told = link(&payload).unwrap();
            assert_eq!((told.kind.as_deref(), told.vrf_table), (Some(kind.trim_end_matches('\0')), table));
        }
    }

    #[test]
    fn no_bytes_make_the_parsers_panic_or_run_for_ever() {
        let request = dump_request(RTM_GETLINK, 1);
        for cut in 0..request.len() {
            for flip in 0..request.len() {
                let mut bytes = request[..cut].to_vec();
                if let Some(octet) = bytes.get_mut(flip) {
                    *octet ^= 0xff;
                }
                assert!(messages(&bytes).count() <= bytes.len() / HEADER);
                let _ = (link(&bytes), address(&bytes), error(&bytes));
            }
        }
    }

    #[test]
    fn a_request_reads_back() {
        let bytes = dump_request(RTM_GETADDR, 77);
        let told = messages(&bytes).next().unwrap();
        assert_eq!((told.kind, told.sequence, told.payload.len()), (RTM_GETADDR, 77, 8));
    }
}
