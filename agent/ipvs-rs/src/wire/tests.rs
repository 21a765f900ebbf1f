//! Emitting and parsing is the identity; nothing that comes in makes the parser fail on a value, or panic.

use netlink_packet_core::{DefaultNla, Emitable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};
use proptest::prelude::*;

use super::*;
use crate::testing::{daemon, destination, service};
use crate::{Daemon, Destination, DestinationEntry, Info, Service, ServiceEntry, Timeouts};

fn emitted(message: &IpvsMessage) -> Vec<u8> {
    let mut bytes = vec![0xff; message.buffer_len()];
    message.emit(&mut bytes);
    bytes
}

fn parsed(command: Command, bytes: &[u8]) -> Result<IpvsMessage, netlink_packet_core::DecodeError> {
    IpvsMessage::parse_with_param(bytes, GenlHeader { cmd: command.number(), version: 1 })
}

fn name() -> impl Strategy<Value = String> {
    "[a-z0-9_-]{0,15}"
}

fn stats() -> impl Strategy<Value = Vec<StatsAttribute>> {
    let attribute = prop_oneof![
        any::<u32>().prop_map(StatsAttribute::Connections),
        any::<u32>().prop_map(StatsAttribute::OutPackets),
        any::<u64>().prop_map(StatsAttribute::InOctets),
        any::<u32>().prop_map(StatsAttribute::OutOctetRate),
    ];
    prop::collection::vec(attribute, 0..5)
}

fn stats64() -> impl Strategy<Value = Vec<Stats64Attribute>> {
    let attribute = prop_oneof![
        any::<u64>().prop_map(Stats64Attribute::Connections),
        any::<u64>().prop_map(Stats64Attribute::InPackets),
        any::<u64>().prop_map(Stats64Attribute::OutOctets),
        any::<u64>().prop_map(Stats64Attribute::InOctetRate),
    ];
    prop::collection::vec(attribute, 0..5)
}

/// Of a number that no attribute has.
fn other() -> impl Strategy<Value = DefaultNla> {
    (20_u16..200, prop::collection::vec(any::<u8>(), 0..9)).prop_map(|(kind, value)| DefaultNla::new(kind, value))
}

fn service_attribute() -> impl Strategy<Value = ServiceAttribute> {
    prop_oneof![
        any::<u16>().prop_map(ServiceAttribute::Family),
        any::<u16>().prop_map(ServiceAttribute::Protocol),
        any::<[u8; 16]>().prop_map(ServiceAttribute::Address),
        any::<u16>().prop_map(|port| ServiceAttribute::Port(NetworkOrder(port))),
        any::<u32>().prop_map(ServiceAttribute::Mark),
        name().prop_map(ServiceAttribute::Scheduler),
        (any::<u32>(), any::<u32>()).prop_map(|(flags, mask)| ServiceAttribute::Flags(Flags { flags, mask })),
        any::<u32>().prop_map(ServiceAttribute::Timeout),
        any::<[u8; 4]>().prop_map(ServiceAttribute::Netmask),
        stats().prop_map(ServiceAttribute::Stats),
        name().prop_map(ServiceAttribute::Engine),
        stats64().prop_map(ServiceAttribute::Stats64),
        other().prop_map(ServiceAttribute::Other),
    ]
}

fn destination_attribute() -> impl Strategy<Value = DestinationAttribute> {
    prop_oneof![
        any::<[u8; 16]>().prop_map(DestinationAttribute::Address),
        any::<u16>().prop_map(|port| DestinationAttribute::Port(NetworkOrder(port))),
        any::<u32>().prop_map(DestinationAttribute::Forwarding),
        any::<u32>().prop_map(DestinationAttribute::Weight),
        any::<u32>().prop_map(DestinationAttribute::ActiveConnections),
        stats().prop_map(DestinationAttribute::Stats),
        any::<u16>().prop_map(DestinationAttribute::Family),
        stats64().prop_map(DestinationAttribute::Stats64),
        any::<u8>().prop_map(DestinationAttribute::TunnelType),
        any::<u16>().prop_map(|port| DestinationAttribute::TunnelPort(NetworkOrder(port))),
        any::<u16>().prop_map(DestinationAttribute::TunnelFlags),
        other().prop_map(DestinationAttribute::Other),
    ]
}

fn main_attribute() -> impl Strategy<Value = MainAttribute> {
    prop_oneof![
        prop::collection::vec(service_attribute(), 0..8).prop_map(MainAttribute::Service),
        prop::collection::vec(destination_attribute(), 0..8).prop_map(MainAttribute::Destination),
        daemon().prop_map(|daemon| MainAttribute::Daemon(daemon.attributes())),
        any::<u32>().prop_map(MainAttribute::TimeoutTcp),
        any::<u32>().prop_map(MainAttribute::TimeoutUdp),
        other().prop_map(MainAttribute::Other),
    ]
}

fn command() -> impl Strategy<Value = Command> {
    any::<u8>().prop_map(Command::from_number)
}

fn message() -> impl Strategy<Value = IpvsMessage> {
    let info = (any::<u32>(), any::<u32>()).prop_map(|(version, buckets)| IpvsMessage {
        command: Command::SetInfo,
        attributes: vec![
            Attribute::Info(InfoAttribute::Version(version)),
            Attribute::Info(InfoAttribute::TableSize(buckets)),
        ],
    });
    let others = (command(), prop::collection::vec(main_attribute(), 0..4))
        .prop_filter("the other kind of attributes", |(command, _)| *command != Command::SetInfo)
        .prop_map(|(command, attributes)| IpvsMessage::new(command, attributes));
    prop_oneof![1 => info, 9 => others]
}

proptest! {
    #[test]
    fn what_was_emitted_is_parsed(message in message()) {
        prop_assert_eq!(parsed(message.command, &emitted(&message)).unwrap(), message);
    }

    #[test]
    fn any_octets_are_parsed_or_refused(command in command(), bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(message) = parsed(command, &bytes) {
            let _ = (Info::from_message(&message), Timeouts::from_message(&message));
            for attribute in message.main() {
                match attribute {
                    MainAttribute::Service(some) => drop(ServiceEntry::from_attributes(some)),
                    MainAttribute::Destination(some) => {
                        drop(DestinationEntry::from_attributes(some, crate::Family::Ipv4));
                    }
                    MainAttribute::Daemon(some) => drop(Daemon::from_attributes(some)),
                    _ => {}
                }
            }
        }
    }

    #[test]
    fn a_message_that_was_damaged_does_no_harm(message in message(), at in any::<usize>(), octet in any::<u8>()) {
        let mut bytes = emitted(&message);
        let len = bytes.len().max(1);
        if let Some(damaged) = bytes.get_mut(at % len) {
            *damaged = octet;
        }
        if let Ok(again) = parsed(message.command, &bytes) {
            // netlink-packet-core can't repeat both flag bits of an attribute's type.
            let once_more = parsed(message.command, &emitted(&again)).unwrap();
            prop_assert_eq!(once_more.attributes.len(), again.attributes.len());
        }
    }

    #[test]
    fn a_service_is_what_its_attributes_say(service in service()) {
        let message = IpvsMessage::new(Command::NewService, [MainAttribute::Service(service.attributes())]);
        let again = parsed(message.command, &emitted(&message)).unwrap();
        let Some(MainAttribute::Service(attributes)) = again.main().next() else { panic!("no service") };
        prop_assert_eq!(Service::from_attributes(attributes).unwrap(), service);
    }

    #[test]
    fn a_destination_is_what_its_attributes_say(destination in destination()) {
        let family = crate::Family::Ipv6;
        prop_assert_eq!(Destination::from_attributes(&destination.attributes(), family).unwrap(), destination);
    }

    #[test]
    fn a_daemon_is_what_its_attributes_say(daemon in daemon()) {
        prop_assert_eq!(Daemon::from_attributes(&daemon.attributes()).unwrap(), daemon);
    }

    #[test]
    fn commands_have_their_numbers(number in any::<u8>()) {
        prop_assert_eq!(Command::from_number(number).number(), number);
    }
}

/// The octets that ipvsadm 1.31 sends, and a kernel takes, for `ipvsadm -A -t 10.0.0.1:80 -s wlc`; flags of ours beside.
#[test]
fn a_service_on_the_wire_is_laid_out_as_in_the_header() {
    let id = crate::ServiceId::Address { protocol: crate::Protocol::Tcp, address: "10.0.0.1:80".parse().unwrap() };
    let mut service = Service::new(id, "wlc");
    service.persistence =
        Some(crate::Persistence { timeout_s: 300, granularity: crate::Granularity::prefix(crate::Family::Ipv4, 24) });
    let message = IpvsMessage::new(Command::NewService, [MainAttribute::Service(service.attributes())]);
    let mut expected = vec![];
    let mut attribute = |kind: u16, value: &[u8]| {
        expected.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
        expected.extend(kind.to_ne_bytes());
        expected.extend(value);
        expected.resize(expected.len().next_multiple_of(4), 0);
    };
    attribute(1, &2_u16.to_ne_bytes());
    attribute(2, &6_u16.to_ne_bytes());
    attribute(3, &[10, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    attribute(4, &[0, 80]);
    attribute(6, b"wlc\0");
    attribute(7, &[1_u32.to_ne_bytes(), 0x3d_u32.to_ne_bytes()].concat());
    attribute(8, &300_u32.to_ne_bytes());
    attribute(9, &[255, 255, 255, 0]);
    let nested = u16::try_from(expected.len() + 4).unwrap().to_ne_bytes();
    let bytes = [&nested, &0x8001_u16.to_ne_bytes(), expected.as_slice()].concat();
    assert_eq!(emitted(&message), bytes);
    assert_eq!((IpvsMessage::family_name(), message.command(), message.version()), ("IPVS", 1, 1));
}

#[test]
fn a_value_of_another_length_is_kept() {
    let strange = DefaultNla::new(8, vec![1, 2]);
    let message = IpvsMessage::new(
        Command::NewService,
        [MainAttribute::Service(vec![ServiceAttribute::Other(strange), ServiceAttribute::Mark(7)])],
    );
    assert_eq!(parsed(message.command, &emitted(&message)).unwrap(), message);
}
