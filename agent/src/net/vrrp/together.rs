//! Several packets of one socket by one system call.

use std::io::IoSlice;
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::AsRawFd;

use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrIn, SockaddrIn6, sendmmsg};

use super::super::{SendError, Sent, outcome};
use super::{Family, VrrpSocket};

impl VrrpSocket {
    /// Sends packets from one source, with one TTL or hop limit, each to its destination, by one system call. How many the
    /// kernel took, from the first one on; 0: it refused the first. Not for [`Carrier::Ah`](super::Carrier::Ah). Never waits.
    ///
    /// # Errors
    /// [`SendError`], of the first packet.
    pub(crate) fn send_all(
        &self,
        source: IpAddr,
        hop_limit: u8,
        packets: &[(IpAddr, &[u8])],
    ) -> Result<usize, SendError> {
        let (fd, hop_limit) = (self.fd.get_ref().as_raw_fd(), libc::c_int::from(hop_limit));
        let slices: Vec<[IoSlice<'_>; 1]> = packets.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let answer = match (self.family, source) {
            (Family::V4, IpAddr::V4(source)) => {
                let to = packets.iter().map(|(to, _)| match to {
                    IpAddr::V4(to) => Ok(Some(SockaddrIn::from(SocketAddrV4::new(*to, 0)))),
                    IpAddr::V6(_) => Err(SendError::WrongFamily),
                });
                let to = to.collect::<Result<Vec<_>, _>>()?;
                let info = libc::in_pktinfo {
                    ipi_ifindex: self.ifindex.cast_signed(),
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from(source).to_be() },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                let control = [ControlMessage::Ipv4PacketInfo(&info), ControlMessage::Ipv4Ttl(&hop_limit)];
                let room = nix::cmsg_space!(libc::in_pktinfo, libc::c_int);
                let mut headers = MultiHeaders::preallocate(packets.len(), Some(room));
                sendmmsg(fd, &mut headers, &slices, &to, control, flags).map(Iterator::count)
            }
            (Family::V6, IpAddr::V6(source)) => {
                let to = packets.iter().map(|(to, _)| match to {
                    IpAddr::V6(to) => Ok(Some(SockaddrIn6::from(SocketAddrV6::new(*to, 0, 0, self.ifindex)))),
                    IpAddr::V4(_) => Err(SendError::WrongFamily),
                });
                let to = to.collect::<Result<Vec<_>, _>>()?;
                let info = libc::in6_pktinfo {
                    ipi6_addr: libc::in6_addr { s6_addr: source.octets() },
                    ipi6_ifindex: self.ifindex,
                };
                let control = [ControlMessage::Ipv6PacketInfo(&info), ControlMessage::Ipv6HopLimit(&hop_limit)];
                let room = nix::cmsg_space!(libc::in6_pktinfo, libc::c_int);
                let mut headers = MultiHeaders::preallocate(packets.len(), Some(room));
                sendmmsg(fd, &mut headers, &slices, &to, control, flags).map(Iterator::count)
            }
            _ => return Err(SendError::WrongFamily),
        };
        let mut taken = 0;
        let sent = outcome(answer.inspect(|count| taken = *count))?;
        Ok(if sent == Sent::Taken { taken } else { 0 })
    }
}
