//! Counters of a service or a destination.

use crate::wire::{Stats64Attribute, StatsAttribute};

/// Since they were last set to zero, and rates as the kernel estimates them (every two seconds).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Connections scheduled.
    pub connections: u64,
    /// Incoming packets.
    pub in_packets: u64,
    /// Outgoing packets, which only NAT sees.
    pub out_packets: u64,
    /// Incoming octets.
    pub in_octets: u64,
    /// Outgoing octets.
    pub out_octets: u64,
    /// Connections a second.
    pub connection_rate: u64,
    /// Incoming packets a second.
    pub in_packet_rate: u64,
    /// Outgoing packets a second.
    pub out_packet_rate: u64,
    /// Incoming octets a second.
    pub in_octet_rate: u64,
    /// Outgoing octets a second.
    pub out_octet_rate: u64,
}

/// The same for counters of either width.
macro_rules! gather {
    ($attributes:expr, $kind:ident) => {{
        let mut stats = Stats::default();
        for attribute in $attributes {
            match attribute {
                $kind::Connections(count) => stats.connections = u64::from(*count),
                $kind::InPackets(count) => stats.in_packets = u64::from(*count),
                $kind::OutPackets(count) => stats.out_packets = u64::from(*count),
                $kind::InOctets(count) => stats.in_octets = *count,
                $kind::OutOctets(count) => stats.out_octets = *count,
                $kind::ConnectionRate(rate) => stats.connection_rate = u64::from(*rate),
                $kind::InPacketRate(rate) => stats.in_packet_rate = u64::from(*rate),
                $kind::OutPacketRate(rate) => stats.out_packet_rate = u64::from(*rate),
                $kind::InOctetRate(rate) => stats.in_octet_rate = u64::from(*rate),
                $kind::OutOctetRate(rate) => stats.out_octet_rate = u64::from(*rate),
                $kind::Other(_) => {}
            }
        }
        stats
    }};
}

impl Stats {
    /// Of `IPVS_*_ATTR_STATS`.
    pub fn from_stats(attributes: &[StatsAttribute]) -> Self {
        gather!(attributes, StatsAttribute)
    }

    /// Of `IPVS_*_ATTR_STATS64`.
    pub fn from_stats64(attributes: &[Stats64Attribute]) -> Self {
        gather!(attributes, Stats64Attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counter_has_its_field_whichever_way_it_is_told() {
        let wanted = Stats {
            connections: 1,
            in_packets: 2,
            out_packets: 3,
            in_octets: 4,
            out_octets: 5,
            connection_rate: 6,
            in_packet_rate: 7,
            out_packet_rate: 8,
            in_octet_rate: 9,
            out_octet_rate: 10,
        };
        let narrow = [
            StatsAttribute::Connections(1),
            StatsAttribute::InPackets(2),
            StatsAttribute::OutPackets(3),
            StatsAttribute::InOctets(4),
            StatsAttribute::OutOctets(5),
            StatsAttribute::ConnectionRate(6),
            StatsAttribute::InPacketRate(7),
            StatsAttribute::OutPacketRate(8),
            StatsAttribute::InOctetRate(9),
            StatsAttribute::OutOctetRate(10),
        ];
        assert_eq!(Stats::from_stats(&narrow), wanted);
        let wide = [Stats64Attribute::InPackets(2), Stats64Attribute::OutOctetRate(10)];
        assert_eq!(Stats::from_stats64(&wide), Stats { in_packets: 2, out_octet_rate: 10, ..Stats::default() });
    }
}
