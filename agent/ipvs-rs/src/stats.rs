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

impl Stats {
    /// Of `IPVS_*_ATTR_STATS`.
    pub fn from_stats(attributes: &[StatsAttribute]) -> Self {
        let mut stats = Stats::default();
        for attribute in attributes {
            match attribute {
                StatsAttribute::Connections(count) => stats.connections = (*count).into(),
                StatsAttribute::InPackets(count) => stats.in_packets = (*count).into(),
                StatsAttribute::OutPackets(count) => stats.out_packets = (*count).into(),
                StatsAttribute::InOctets(count) => stats.in_octets = *count,
                StatsAttribute::OutOctets(count) => stats.out_octets = *count,
                StatsAttribute::ConnectionRate(rate) => stats.connection_rate = (*rate).into(),
                StatsAttribute::InPacketRate(rate) => stats.in_packet_rate = (*rate).into(),
                StatsAttribute::OutPacketRate(rate) => stats.out_packet_rate = (*rate).into(),
                StatsAttribute::InOctetRate(rate) => stats.in_octet_rate = (*rate).into(),
                StatsAttribute::OutOctetRate(rate) => stats.out_octet_rate = (*rate).into(),
                StatsAttribute::Other(_) => {}
            }
        }
        stats
    }

    /// Of `IPVS_*_ATTR_STATS64`.
    pub fn from_stats64(attributes: &[Stats64Attribute]) -> Self {
        let mut stats = Stats::default();
        for attribute in attributes {
            match attribute {
                Stats64Attribute::Connections(count) => stats.connections = *count,
                Stats64Attribute::InPackets(count) => stats.in_packets = *count,
                Stats64Attribute::OutPackets(count) => stats.out_packets = *count,
                Stats64Attribute::InOctets(count) => stats.in_octets = *count,
                Stats64Attribute::OutOctets(count) => stats.out_octets = *count,
                Stats64Attribute::ConnectionRate(rate) => stats.connection_rate = *rate,
                Stats64Attribute::InPacketRate(rate) => stats.in_packet_rate = *rate,
                Stats64Attribute::OutPacketRate(rate) => stats.out_packet_rate = *rate,
                Stats64Attribute::InOctetRate(rate) => stats.in_octet_rate = *rate,
                Stats64Attribute::OutOctetRate(rate) => stats.out_octet_rate = *rate,
                Stats64Attribute::Other(_) => {}
            }
        }
        stats
    }
}
