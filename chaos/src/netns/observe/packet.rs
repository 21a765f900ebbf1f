//! Packet sockets on one interface: what the sniffers and the oracle stand on.

use std::io;
use std::mem::size_of;
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::sys::socket::{ControlMessageOwned, LinkAddr, MsgFlags, SockaddrLike, recvmsg, setsockopt};
use nix::sys::time::TimeSpec;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::oracle::checksum;
use crate::netns::clock;

/// All protocols, in network order (linux/if_ether.h, ETH_P_ALL).
const ALL_PROTOCOLS: u16 = 0x0003_u16.to_be();

/// Opens a raw packet socket on the interface `index` of the calling thread's namespace.
///
/// # Errors
/// Those of socket(2) and bind(2).
#[allow(unsafe_code, reason = "a sockaddr_ll has no safe maker")]
pub fn open(index: u32) -> io::Result<Socket> {
    // Protocol 0 receives nothing until the bind below has named the interface.
    let socket = Socket::new(Domain::PACKET, Type::RAW, Some(Protocol::from(0)))?;
    let index = i32::try_from(index).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // SAFETY: the storage that `try_init` hands over is zeroed, larger than a sockaddr_ll and aligned for
    // every socket address; the length that we set is the size of what we wrote.
    let ((), address) = unsafe {
        SockAddr::try_init(|storage, length| {
            let link = storage.cast::<libc::sockaddr_ll>();
            (*link).sll_family = libc::AF_PACKET as libc::sa_family_t;
            (*link).sll_protocol = ALL_PROTOCOLS;
            (*link).sll_ifindex = index;
            *length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
            Ok(())
        })?
    };
    socket.bind(&address)?;
    socket.set_read_timeout(Some(Duration::from_millis(100)))?;
    Ok(socket)
}

/// Asks for kernel timestamps, and for room so that a stalled reader loses nothing.
///
/// # Errors
/// Those of setsockopt(2).
pub fn prepare_for_listening(socket: &Socket) -> io::Result<()> {
    socket.set_recv_buffer_size(8 << 20)?;
    setsockopt(socket, ReceiveTimestampns, &true)?;
    Ok(())
}

/// One frame as a tap saw it.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// How many octets of the buffer are the frame.
    pub length: usize,
    /// When the kernel took it, on [`clock::now`]'s clock.
    pub at: u64,
    /// Whether this machine sent it out of the interface, rather than received it there.
    pub outgoing: bool,
}

/// Waits for the next frame; `None` after 100 ms without one.
///
/// # Errors
/// Those of recvmsg(2).
pub fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Option<Seen>> {
    let mut control = nix::cmsg_space!(TimeSpec);
    let mut parts = [io::IoSliceMut::new(buffer)];
    let message = match recvmsg::<LinkAddr>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::empty()) {
        Ok(message) => message,
        Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let stamp = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::ScmTimestampns(stamp) => Some(stamp),
        _ => None,
    });
    let outgoing = message.address.is_some_and(|address| {
        address.family() == Some(nix::sys::socket::AddressFamily::Packet) && address.pkttype() == libc::PACKET_OUTGOING
    });
    let at = stamp.map_or_else(clock::now, clock::from_kernel);
    Ok(Some(Seen { length: message.bytes, at, outgoing }))
}

/// Makes the checksum of an IPv4 frame one that a receiver takes: of UDP none, which RFC 768 allows, of TCP its own.
///
/// Between virtual interfaces the kernel leaves checksums to hardware that is never there, so a tap sees them
/// unfinished; a frame that is to be sent once more must not carry such a one.
pub fn mend_checksum(frame: &mut [u8]) {
    if frame.get(12..14) != Some(&[0x08, 0x00]) {
        return;
    }
    match frame.get(23) {
        Some(17) => put_checksum(frame, 6, 0),
        Some(6) => {
            put_checksum(frame, 16, 0);
            if let Some(sum) = tcp_checksum(frame) {
                put_checksum(frame, 16, sum);
            }
        }
        _ => {}
    }
}

/// Octets of the IPv4 header of a frame.
fn header(frame: &[u8]) -> usize {
    frame.get(14).map_or(0, |octet| usize::from(octet & 0x0f) * 4)
}

/// At an offset behind the IPv4 header.
fn put_checksum(frame: &mut [u8], offset: usize, sum: u16) {
    let at = 14 + header(frame) + offset;
    if let Some(place) = frame.get_mut(at..at + 2) {
        place.copy_from_slice(&sum.to_be_bytes());
    }
}

/// Over the pseudo-header and the segment, whose own field is zero (RFC 9293, 3.1).
fn tcp_checksum(frame: &[u8]) -> Option<u16> {
    let total = usize::from(u16::from_be_bytes(frame.get(16..18)?.try_into().ok()?));
    let segment = frame.get(14 + header(frame)..14 + total)?;
    let length = u16::try_from(segment.len()).ok()?;
    let mut summed = frame.get(26..34)?.to_vec();
    summed.extend([0, 6]);
    summed.extend(length.to_be_bytes());
    summed.extend(segment);
    Some(checksum(&summed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(protocol: u8) -> Vec<u8> {
        let mut frame = vec![7_u8; 60];
        frame.splice(12..18, [0x08, 0x00, 0x46, 0, 0, 46]);
        frame.splice(23..24, [protocol]);
        frame
    }

    #[test]
    fn the_checksum_of_udp_is_cleared_and_that_of_others_is_theirs() {
        let mut udp = frame(17);
        mend_checksum(&mut udp);
        assert_eq!((&udp[44..46], &udp[42..44], &udp[46..48]), (&[0, 0][..], &[7, 7][..], &[7, 7][..]));
        let mut vrrp = frame(112);
        mend_checksum(&mut vrrp);
        assert_eq!(vrrp, frame(112));
        mend_checksum(&mut [0x08; 15]);
    }

    #[test]
    fn the_checksum_of_tcp_makes_pseudo_header_and_segment_sum_to_nothing() {
        let mut tcp = frame(6);
        mend_checksum(&mut tcp);
        assert_ne!(tcp, frame(6));
        let mut summed = tcp[26..34].to_vec();
        summed.extend([0, 6, 0, 22]);
        summed.extend(&tcp[38..60]);
        assert_eq!(checksum(&summed), 0);
        let mut cut = frame(6);
        cut.truncate(50);
        mend_checksum(&mut cut);
    }
}
