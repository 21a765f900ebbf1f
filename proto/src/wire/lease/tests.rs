use super::*;
use alloc::vec;
use proptest::prelude::*;

fn epoch() -> impl Strategy<Value = Epoch> {
    (any::<u64>(), any::<u64>(), any::<u32>(), 1..=u16::MAX).prop_map(|(counter, incarnation, attempt, node)| Epoch {
        counter,
        incarnation: Incarnation(incarnation),
        attempt,
        node: NodeId::new(node).unwrap(),
    })
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|micros| Duration::from_micros(micros.into()))
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (any::<u64>(), any::<u64>()).prop_map(|(i, c)| Stamp { incarnation: Incarnation(i), clock: Instant::from_nanos(c) })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        any::<u8>().prop_map(|priority| Message::Query { priority }),
        (epoch(), duration(), any::<u64>(), any::<u8>())
            .prop_map(|(epoch, lease, prev_ack, priority)| { Message::Acquire { epoch, lease, prev_ack, priority } }),
        epoch().prop_map(|epoch| Message::Release { epoch }),
        (epoch(), epoch()).prop_map(|(epoch, heir)| Message::Transfer { epoch, heir }),
        (any::<u64>(), stamp()).prop_map(|(max_counter, stamp)| Message::Free { max_counter, stamp }),
        (epoch(), duration(), stamp()).prop_map(|(epoch, lease, stamp)| Message::Grant { epoch, lease, stamp }),
        (0..10usize, proptest::option::of(epoch()), any::<u8>(), duration(), any::<u64>(), stamp()).prop_map(
            |(why, holder, holder_priority, remaining, max_counter, stamp)| Message::Refuse {
                why: RefuseReason::ALL[why],
                holder,
                holder_priority,
                remaining,
                max_counter,
                stamp
            }
        ),
        (epoch(), stamp()).prop_map(|(epoch, stamp)| Message::Ended { epoch, stamp }),
        (epoch(), stamp()).prop_map(|(epoch, stamp)| Message::Offer { epoch, stamp }),
        (any::<u8>(), epoch()).prop_map(|(priority, next)| Message::HandoverRequest { priority, next }),
        (any::<u8>(), epoch(), stamp()).prop_map(|(priority, heir, stamp)| Message::Wanted { priority, heir, stamp }),
        Just(Message::Inspect),
        (epoch(), duration()).prop_map(|(epoch, lease)| Message::Promise { epoch, lease }),
        (epoch(), duration()).prop_map(|(epoch, lease)| Message::Promised { epoch, lease }),
        (any::<[u32; 3]>(), any::<u64>(), duration(), duration(), any::<u16>(), stamp()).prop_map(
            |([generation, floor, opened], set, floor_for, quiet_for, lent, stamp)| {
                let opened = Opened { generation: opened, set: ConfigDigest(set) };
                let standing = Standing { generation, floor, floor_for, opened, quiet_for, lent };
                Message::Report { standing, stamp }
            }
        ),
    ]
}

fn envelopes() -> impl Strategy<Value = Vec<Envelope>> {
    let one = (0..2u64, 0..2u64, any::<[u64; 2]>(), message()).prop_map(|(cluster, digest, ids, message)| Envelope {
        cluster: ClusterId(cluster),
        digest: ConfigDigest(digest),
        domain: DomainId(ids[0]),
        nonce: ids[1],
        message,
    });
    proptest::collection::vec(one, 0..120)
}

fn renewal(domain: u64) -> Envelope {
    let epoch = Epoch { counter: 1, incarnation: Incarnation(2), attempt: 3, node: NodeId::new(4).unwrap() };
    let message = Message::Acquire { epoch, lease: Duration::from_secs(1), prev_ack: 5, priority: 100 };
    Envelope { cluster: ClusterId(1), digest: ConfigDigest(2), domain: DomainId(domain), nonce: domain, message }
}

fn unpacked(datagrams: &[Vec<u8>]) -> Vec<Envelope> {
    let entries = datagrams.iter().flat_map(|bytes| unpack(bytes).unwrap());
    entries.map(|entry| entry.unwrap()).collect()
}

#[test]
fn fifty_renewals_travel_in_three_datagrams() {
    let all: Vec<Envelope> = (0..50).map(renewal).collect();
    let datagrams = pack(&all);
    assert_eq!(datagrams.len(), 3);
    assert_eq!(unpacked(&datagrams), all);
}

#[test]
fn one_bad_entry_costs_itself_only() {
    let all: Vec<Envelope> = (0..3).map(renewal).collect();
    let good = pack(&all).remove(0);
    let length = usize::from(good[20]) + 1;
    let mut unknown = good.clone();
    unknown[20 + length + 1] = 99;
    let read: Vec<_> = unpack(&unknown).unwrap().collect();
    assert_eq!(read, [Ok(all[0].clone()), Err(DecodeError::Kind(99)), Ok(all[2].clone())]);
    let read: Vec<_> = unpack(&good[..20 + 2 * length + 7]).unwrap().collect();
    assert_eq!(read, [Ok(all[0].clone()), Ok(all[1].clone()), Err(DecodeError::Truncated)]);
    let mut long = good;
    long.push(0);
    assert_eq!(unpack(&long).unwrap().last(), Some(Err(DecodeError::Trailing(1))));
}

proptest! {
    #[test]
    fn what_is_emitted_parses_to_the_same(ids in any::<[u64; 4]>(), message in message()) {
        let envelope = Envelope {
            cluster: ClusterId(ids[0]), digest: ConfigDigest(ids[1]), domain: DomainId(ids[2]), nonce: ids[3], message,
        };
        let bytes = envelope.emit();
        prop_assert!(bytes.len() <= 128);
        prop_assert_eq!(Envelope::parse(&bytes), Ok(envelope));
        for cut in 0..bytes.len() {
            prop_assert!(Envelope::parse(&bytes[..cut]).is_err());
        }
    }

    #[test]
    fn any_octets_parse_or_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..160), real in any::<bool>()) {
        if real && bytes.len() > 3 {
            bytes[0] = TAG;
            bytes[1] = VERSION;
            bytes[2] = 0;
        }
        let _ = Envelope::parse(&bytes);
        // However many it says it has, it ends.
        let read = unpack(&bytes).map(Iterator::count);
        prop_assert!(read.is_err() || read.is_ok_and(|count| count <= bytes.len()));
    }

    #[test]
    fn whatever_is_packed_comes_out_in_its_order_and_no_datagram_is_too_long(all in envelopes()) {
        let datagrams = pack(&all);
        for bytes in &datagrams {
            prop_assert!(bytes.len() <= crate::wire::heartbeat::MAX_BYTES);
        }
        prop_assert_eq!(unpacked(&datagrams), all);
    }
}
