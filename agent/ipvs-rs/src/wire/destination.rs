//! Attributes of a destination.

use super::attribute::attributes;
use super::stats::{Stats64Attribute, StatsAttribute};
use super::value::NetworkOrder;

attributes! {
    /// `IPVS_DEST_ATTR_*`.
    DestinationAttribute {
        /// `union nf_inet_addr`: an IPv4 address has the first four octets.
        Address([u8; 16]) = 1,
        /// 0: the port that the client asked for.
        Port(NetworkOrder) = 2,
        /// `IP_VS_CONN_F_FWD_MASK`.
        Forwarding(u32) = 3,
        /// 0 to 2^31 - 1.
        Weight(u32) = 4,
        /// The most connections; 0: no bound.
        UpperThreshold(u32) = 5,
        /// Below this it gets more again.
        LowerThreshold(u32) = 6,
        /// Told by the kernel.
        ActiveConnections(u32) = 7,
        /// Told by the kernel.
        InactiveConnections(u32) = 8,
        /// Told by the kernel.
        PersistentConnections(u32) = 9,
        /// Counters of 32 bits, and of 64 for octets.
        Stats(Vec<StatsAttribute>) = 10,
        /// `AF_INET` or `AF_INET6`; without it, that of the service (before Linux 3.18).
        Family(u16) = 11,
        /// Counters of 64 bits (Linux 4.1).
        Stats64(Vec<Stats64Attribute>) = 12,
        /// `IP_VS_CONN_F_TUNNEL_TYPE_*` (Linux 5.2).
        TunnelType(u8) = 13,
        /// Of GUE.
        TunnelPort(NetworkOrder) = 14,
        /// `IP_VS_TUNNEL_ENCAP_FLAG_*` (Linux 5.3).
        TunnelFlags(u16) = 15,
    }
}
