//! Counters and rates.

use super::attribute::attributes;

attributes! {
    /// `IPVS_STATS_ATTR_*` within `IPVS_SVC_ATTR_STATS` and `IPVS_DEST_ATTR_STATS`.
    StatsAttribute {
        /// Connections scheduled.
        Connections(u32) = 1,
        /// Incoming packets.
        InPackets(u32) = 2,
        /// Outgoing packets.
        OutPackets(u32) = 3,
        /// Incoming octets.
        InOctets(u64) = 4,
        /// Outgoing octets.
        OutOctets(u64) = 5,
        /// Connections a second.
        ConnectionRate(u32) = 6,
        /// Incoming packets a second.
        InPacketRate(u32) = 7,
        /// Outgoing packets a second.
        OutPacketRate(u32) = 8,
        /// Incoming octets a second.
        InOctetRate(u32) = 9,
        /// Outgoing octets a second.
        OutOctetRate(u32) = 10,
    }
}

attributes! {
    /// `IPVS_STATS_ATTR_*` within `IPVS_SVC_ATTR_STATS64` and `IPVS_DEST_ATTR_STATS64`.
    Stats64Attribute {
        /// Connections scheduled.
        Connections(u64) = 1,
        /// Incoming packets.
        InPackets(u64) = 2,
        /// Outgoing packets.
        OutPackets(u64) = 3,
        /// Incoming octets.
        InOctets(u64) = 4,
        /// Outgoing octets.
        OutOctets(u64) = 5,
        /// Connections a second.
        ConnectionRate(u64) = 6,
        /// Incoming packets a second.
        InPacketRate(u64) = 7,
        /// Outgoing packets a second.
        OutPacketRate(u64) = 8,
        /// Incoming octets a second.
        InOctetRate(u64) = 9,
        /// Outgoing octets a second.
        OutOctetRate(u64) = 10,
    }
}
