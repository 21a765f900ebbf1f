//! The model's voter and holder beside the real ones, driven with the same random courses of events.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::collections::BTreeSet;
use std::time::Duration;

use keepone_model::guard::Mutant;
use keepone_model::protocol::Lease;
use keepone_model::state::{Epoch, HOLD, LOAN, OLD, State};
use keepone_proto::guard::Guards;
use keepone_proto::id::{self, ClusterId, ConfigDigest, DomainId, Incarnation, NodeId};
use keepone_proto::lease::holder::{Claimant, Holder};
use keepone_proto::lease::timing::LeaseTiming;
use keepone_proto::lease::voter::{Voter, VoterOutput, VoterSettings};
use keepone_proto::settings::QuorumSettings;
use keepone_proto::time::Instant;
use keepone_proto::wire::lease::{Envelope, Message, Stamp};
use proptest::prelude::*;

/// A tick of the model in the real machines' time; L_a is as many of them as the model's.
const TICK: Duration = Duration::from_millis(500);
const CLUSTER: ClusterId = ClusterId(1);
const DIGEST: ConfigDigest = ConfigDigest(2);
const DOMAIN: DomainId = DomainId(3);

const MODEL: Lease = Lease { attempts: 8, node_restarts: 8, voter_restarts: 8, mutant: None };

fn node(number: u8) -> NodeId {
    NodeId::new(u16::from(number) + 1).unwrap()
}

fn real(epoch: Epoch) -> id::Epoch {
    id::Epoch {
        counter: epoch.counter.into(),
        incarnation: Incarnation(epoch.incarnation.into()),
        attempt: epoch.attempt.into(),
        node: node(epoch.node),
    }
}

#[derive(Debug, Clone)]
enum Deed {
    Tick,
    Acquire(Epoch),
    Release(Epoch),
    Transfer(Epoch, Epoch),
    Restart(bool),
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (1..4u8, 0..2u8, 1..3u8, 0..2u8).prop_map(|(counter, incarnation, attempt, node)| Epoch {
        counter,
        incarnation,
        attempt,
        node,
    })
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        2 => Just(Deed::Tick),
        6 => epoch().prop_map(Deed::Acquire),
        2 => epoch().prop_map(Deed::Release),
        2 => (epoch(), epoch()).prop_map(|(epoch, heir)| Deed::Transfer(epoch, heir)),
        1 => any::<bool>().prop_map(Deed::Restart),
    ]
}

fn a_voter(life: u64, now: Instant, record: Option<&keepone_proto::lease::record::Record>) -> Voter {
    let settings = VoterSettings {
        cluster: CLUSTER,
        digest: DIGEST,
        generation: 1,
        set: DIGEST,
        former: None,
        candidates: BTreeSet::from([node(0), node(1)]),
        lease_max: TICK * u32::from(LOAN),
        incarnation: Incarnation(life),
    };
    Voter::new(settings, now, record)
}

/// The real voter and its disk.
struct Real {
    voter: Voter,
    record: Option<keepone_proto::lease::record::Record>,
    nonce: u64,
    life: u64,
}

impl Real {
    /// Asks, and whether the answer was a Grant.
    fn ask(&mut self, now: Instant, from: NodeId, message: Message) -> bool {
        self.nonce += 1;
        let envelope = Envelope { cluster: CLUSTER, digest: DIGEST, domain: DOMAIN, nonce: self.nonce, message };
        let mut outputs = self.voter.handle(now, from, &envelope);
        let mut granted = false;
        while let Some(output) = outputs.pop() {
            match output {
                VoterOutput::Persist { ticket, .. } => {
                    self.record = Some(self.voter.record());
                    outputs.extend(self.voter.persisted(now, ticket, true));
                }
                VoterOutput::Send { envelope, .. } => granted |= matches!(envelope.message, Message::Grant { .. }),
            }
        }
        granted
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    /// V2 to V7: the same requests are granted, and the same is lent and recorded afterwards.
    #[test]
    fn the_models_voter_is_the_real_one(deeds in proptest::collection::vec(deed(), 1..40)) {
        let mut now = Instant::BOOT + Duration::from_secs(100);
        let mut real_voter = Real { voter: a_voter(1, now, None), record: None, nonce: 0, life: 1 };
        // The model's voter is past its first wait.
        now += TICK * u32::from(LOAN);
        let mut state = State::start();
        for (number, deed) in deeds.iter().enumerate() {
            let (mut granted, mut expected) = (false, false);
            match *deed {
                Deed::Tick => {
                    now += TICK;
                    MODEL.tick(&mut state);
                }
                Deed::Acquire(epoch) => {
                    let lease = TICK * u32::from(LOAN);
                    let ask = Message::Acquire { epoch: real(epoch), lease, prev_ack: real_voter.nonce, priority: 100 };
                    granted = real_voter.ask(now, node(epoch.node), ask);
                    expected = MODEL.acquire(&mut state.voters[0], epoch);
                }
                Deed::Release(epoch) => {
                    real_voter.ask(now, node(epoch.node), Message::Release { epoch: real(epoch) });
                    MODEL.release(&mut state.voters[0], epoch);
                }
                Deed::Transfer(epoch, heir) => {
                    let ask = Message::Transfer { epoch: real(epoch), heir: real(heir) };
                    real_voter.ask(now, node(epoch.node), ask);
                    MODEL.transfer(&mut state.voters[0], epoch, heir);
                }
                Deed::Restart(disk) => {
                    real_voter.record = real_voter.record.filter(|_| disk);
                    real_voter.life += 1;
                    real_voter.voter = a_voter(real_voter.life, now, real_voter.record.as_ref());
                    MODEL.restart(&mut state.voters[0], disk);
                }
            }
            prop_assert_eq!(granted, expected, "deed {}: {:?}", number, deed);
            let lent = real_voter.voter.granted(now, DOMAIN).map(|granted| granted.epoch);
            let modelled = state.voters[0].loan.filter(|(_, left)| *left > 0).map(|(epoch, _)| real(epoch));
            prop_assert_eq!(lent, modelled, "deed {}: {:?}", number, deed);
            let disk = real_voter.record.as_ref().and_then(|record| record.domains.iter().next().map(|(_, e)| *e));
            prop_assert_eq!(disk, state.voters[0].disk.map(real), "deed {}: {:?}", number, deed);
        }
    }

    /// R1, R3, R5: the same grants give the same deadline.
    #[test]
    fn the_models_holder_is_the_real_one(deeds in proptest::collection::vec((0..4u8, any::<prop::sample::Index>()), 1..60)) {
        let voters = [10, 11, 12].map(|id| NodeId::new(id).unwrap());
        let mut timing = LeaseTiming::for_lease(TICK * u32::from(HOLD));
        // The model's lengths have the margins folded in.
        (timing.rate_error_ppm, timing.transmit, timing.gate) = (0, Duration::ZERO, Duration::ZERO);
        let me = Claimant { cluster: CLUSTER, digest: DIGEST, domain: DOMAIN, node: node(0), incarnation: Incarnation(7) };
        let quorum = QuorumSettings::new(voters.to_vec(), timing);
        let mut holder = Holder::new(me, quorum, Duration::from_millis(100), Guards::default(), 1);
        let mut now = Instant::BOOT + Duration::from_secs(50);
        holder.set_tested(now, true);
        holder.stand(now, 100);
        let stamp = |now| Stamp { incarnation: Incarnation(1), clock: now };
        let envelope = |nonce, message| Envelope { cluster: CLUSTER, digest: DIGEST, domain: DOMAIN, nonce, message };
        for (voter, query) in holder.take_outbox() {
            holder.on_answer(now, voter, &envelope(query.nonce, Message::Free { max_counter: 0, stamp: stamp(now) }));
        }
        let mut state = State::start();
        // (place of the voter, time of sending, nonce, epoch)
        let mut sent = Vec::new();
        for (deed, which) in deeds {
            for (voter, request) in holder.take_outbox() {
                if let Message::Acquire { epoch, .. } = request.message {
                    let place = voters.iter().position(|other| *other == voter).unwrap();
                    sent.push((place, now, request.nonce, epoch));
                }
            }
            if deed == 0 {
                now += TICK;
                MODEL.tick(&mut state);
                let was_held = holder.epoch().is_some();
                holder.tick(now);
                let left = MODEL.deadline(&state, 0);
                prop_assert_eq!(holder.grant(now).is_some(), was_held && left > 0);
                if holder.epoch().is_none() {
                    // R5: over; another attempt is another course.
                    return Ok(());
                }
            } else if !sent.is_empty() {
                let (place, at, nonce, epoch) = sent[which.index(sent.len())];
                let message = Message::Grant { epoch, lease: TICK * u32::from(HOLD), stamp: stamp(now) };
                holder.on_answer(now, voters[place], &envelope(nonce, message));
                let age = u8::try_from(now.since(at).as_millis() / TICK.as_millis()).unwrap().min(OLD);
                let good = &mut state.voters[place].good[0];
                *good = (*good).min(age).min(OLD);
            }
            let left = MODEL.deadline(&state, 0);
            let expected = (left > 0).then(|| now + TICK * u32::from(left));
            prop_assert_eq!(holder.grant(now).map(|grant| grant.until()), expected);
        }
    }
}

#[test]
fn the_small_bound_is_exhausted_without_a_violation() {
    let report =
        keepone_model::check::check(Lease { attempts: 2, node_restarts: 0, voter_restarts: 0, mutant: None }, 0, 2);
    assert!(report.exhaustive && report.violated.is_empty() && report.unseen.is_empty(), "{report:?}");
    assert!(report.states > 100_000, "only {} states: the model has lost something", report.states);
}

#[test]
fn what_is_taken_out_is_missed() {
    for mutant in [Mutant::LendsTwice, Mutant::ReleaseBeforeShut, Mutant::LateWriteOpens, Mutant::HalfIsEnough] {
        let (attempts, node_restarts, voter_restarts) = mutant.bounds();
        let model = Lease { attempts, node_restarts, voter_restarts, mutant: Some(mutant) };
        assert!(!keepone_model::check::check(model, 0, 2).violated.is_empty(), "{mutant:?} was not caught");
    }
}
