//! Attributes of a service.

use super::attribute::attributes;
use super::stats::{Stats64Attribute, StatsAttribute};
use super::value::{Flags, NetworkOrder};

attributes! {
    /// `IPVS_SVC_ATTR_*`.
    ServiceAttribute {
        /// `AF_INET` or `AF_INET6`.
        Family(u16) = 1,
        /// `IPPROTO_*`.
        Protocol(u16) = 2,
        /// `union nf_inet_addr`: an IPv4 address has the first four octets.
        Address([u8; 16]) = 3,
        /// 0: every port.
        Port(NetworkOrder) = 4,
        /// Instead of protocol, address and port.
        Mark(u32) = 5,
        /// At most 15 octets.
        Scheduler(String) = 6,
        /// `IP_VS_SVC_F_*`.
        Flags(Flags) = 7,
        /// Of persistence, in seconds.
        Timeout(u32) = 8,
        /// IPv4: a mask in network order; IPv6: the length of a prefix in the host's.
        Netmask([u8; 4]) = 9,
        /// Counters of 32 bits, and of 64 for octets.
        Stats(Vec<StatsAttribute>) = 10,
        /// The persistence engine; at most 15 octets.
        Engine(String) = 11,
        /// Counters of 64 bits (Linux 4.1).
        Stats64(Vec<Stats64Attribute>) = 12,
    }
}
