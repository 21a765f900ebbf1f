//! Counters and rates.

use super::attribute::attributes;

/// One list for both: only how wide most counters are differs.
macro_rules! counters {
    ($(#[$meta:meta])* $name:ident of $count:ty) => {
        attributes! {
            $(#[$meta])*
            $name {
                /// Connections scheduled.
                Connections($count) = 1,
                /// Incoming packets.
                InPackets($count) = 2,
                /// Outgoing packets.
                OutPackets($count) = 3,
                /// Incoming octets.
                InOctets(u64) = 4,
                /// Outgoing octets.
                OutOctets(u64) = 5,
                /// Connections a second.
                ConnectionRate($count) = 6,
                /// Incoming packets a second.
                InPacketRate($count) = 7,
                /// Outgoing packets a second.
                OutPacketRate($count) = 8,
                /// Incoming octets a second.
                InOctetRate($count) = 9,
                /// Outgoing octets a second.
                OutOctetRate($count) = 10,
            }
        }
    };
}

counters! {
    /// `IPVS_STATS_ATTR_*` within `IPVS_SVC_ATTR_STATS` and `IPVS_DEST_ATTR_STATS`.
    StatsAttribute of u32
}

counters! {
    /// `IPVS_STATS_ATTR_*` within `IPVS_SVC_ATTR_STATS64` and `IPVS_DEST_ATTR_STATS64`.
    Stats64Attribute of u64
}
