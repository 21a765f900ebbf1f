//! Attributes of a sync daemon.

use super::attribute::attributes;

attributes! {
    /// `IPVS_DAEMON_ATTR_*`.
    DaemonAttribute {
        /// `IP_VS_STATE_MASTER` or `IP_VS_STATE_BACKUP`.
        State(u32) = 1,
        /// At most 15 octets.
        Interface(String) = 2,
        /// 0 to 255.
        SyncId(u32) = 3,
        /// Octets of a UDP datagram's payload (Linux 4.3, as all that follow).
        MaxLen(u16) = 4,
        /// An IPv4 multicast address.
        Group([u8; 4]) = 5,
        /// An IPv6 multicast address.
        Group6([u8; 16]) = 6,
        /// UDP, in the host's order.
        Port(u16) = 7,
        /// Hop limit.
        Ttl(u8) = 8,
    }
}
