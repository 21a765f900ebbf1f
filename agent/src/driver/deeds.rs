//! Actions of the core, carried out.

use std::net::IpAddr;

use keepone_proto::action::{Action, Alert, Severity, Transition};
use keepone_proto::event::{Event, GateStrength};
use keepone_proto::id::{DomainId, Epoch, InstanceId, InterfaceId, NodeId};
use keepone_proto::time::Instant;
use keepone_proto::wire::vrrp::hmac::{self, Signature};
use keepone_proto::wire::vrrp::{Advertisement, ah};

use super::Shells;
use crate::clock;
use crate::kernel::Ask;
use crate::mirror::Look;
use crate::net::outbox::Packet;
use crate::net::vrrp::Carrier;

impl Shells {
    /// Carries one out; what it answers at once is returned.
    pub(crate) fn carry_out(&mut self, action: Action) -> Option<Event> {
        // Those of many domains that are due at once come with what keeps their gates open.
        if !matches!(action, Action::Advertise { .. } | Action::OpenGate { .. }) {
            self.send_out();
        }
        match action {
            Action::Advertise { instance, advertisement } => {
                self.advertise(instance, &advertisement);
                None
            }
            Action::Announce { domain, instance, count, which } => {
                self.announcer.announce(domain, instance, count, which);
                None
            }
            Action::SendBeat { link, to, bytes } => {
                // Not connected, or no room: the next beat is made anew.
                let _ = self.heartbeats.as_ref().map(|heartbeats| heartbeats.send_beat(link, to, bytes));
                None
            }
            Action::SendLease { to, bytes } => {
                self.send_lease(to, bytes);
                None
            }
            Action::OpenGate { domain, epoch, until } => self.open_gate(domain, epoch, until),
            Action::ShutGate { domain, epoch } => self.shut_gate(domain, epoch),
            Action::AddAddresses { domain, epoch, lifetime_s } => {
                self.lifetime_s = lifetime_s;
                self.kernel.ask(Ask::Set { domain, epoch, lifetime_s });
                None
            }
            Action::RemoveAddresses { domain, epoch } => {
                self.kernel.ask(Ask::Remove { domain, epoch });
                None
            }
            Action::TestGate { number } => self.test_gate(number),
            Action::ReadClock => self.discipline.read(),
            Action::Ping { reference } => {
                self.references.ping(reference);
                None
            }
            Action::RunScript { script, run } => {
                self.tracking.run(script, run);
                None
            }
            Action::Mirror { domain, place } => {
                self.look_into_mirror(domain, place);
                None
            }
            Action::ProbeAddress { domain, address } => {
                self.probe(domain, address);
                None
            }
            Action::Persist { ticket, bytes } => self.persist(ticket, bytes),
            Action::Fence { domain, victim, epoch, held } => {
                self.fencing.fence((domain, self.plan.domain_name(domain)), victim, epoch, held);
                None
            }
            Action::FeedWatchdog => {
                self.pulse.harmless = true;
                None
            }
            Action::Reboot { why } => {
                crate::fencing::reboot::now(&why);
                None
            }
            Action::Transition(transition) => {
                self.tell(&transition);
                None
            }
            Action::Priority { domain, instance, priority, is_master } => {
                self.notifier.tell_priority(domain, (instance, priority), &self.plan, is_master);
                None
            }
            Action::LowerSeen { domain, instance, priority } => {
                self.notifier.tell_lower(domain, instance, priority, &self.plan);
                None
            }
            Action::Alert(alert) => {
                self.alert(&alert);
                None
            }
            Action::Retired { domain } => {
                self.retired(domain);
                None
            }
            Action::Stopped => None,
        }
    }

    fn advertise(&mut self, instance: InstanceId, advertisement: &Advertisement) {
        let Some(Some(transport)) = self.plan.transports.get(usize::from(instance.0)) else { return };
        let Some(source) = self.source(transport.interface, transport.family, transport.source) else { return };
        // One stamp for all copies, as keepalived has it.
        let signature = transport.hmac.as_ref().and_then(|hmac| {
            let (number, key) = hmac.signs_with()?;
            Some(Signature { number, key, stamp: self.wall_clock.stamp(instance, hmac) })
        });
        for destination in &transport.destinations {
            let (carrier, bytes) = match (transport.key, signature) {
                (Some(key), _) => (Carrier::Ah, ah::emit(advertisement, source, *destination, &key)),
                (None, Some(signature)) => {
                    let signed = hmac::emit(advertisement, source, *destination, transport.checksum, signature);
                    (Carrier::Ip, signed)
                }
                (None, None) => (Carrier::Ip, advertisement.emit(source, *destination, transport.checksum)),
            };
            let bytes = match bytes {
                Ok(bytes) => bytes,
                Err(error) => {
                    tracing::error!(%error, "an advertisement that can't be sent");
                    continue;
                }
            };
            self.outbox.put(Packet {
                way: (transport.transmit, carrier),
                below: (transport.transmit != transport.interface).then_some(transport.interface),
                source,
                destination: *destination,
                hop_limit: transport.hop_limit,
                bytes,
            });
        }
    }

    /// What waits to be sent leaves.
    pub(crate) fn send_out(&mut self) {
        self.outbox.leave(&self.vrrp);
    }

    /// Pings a gateway from a virtual address and from our own (D9).
    fn look_into_mirror(&self, domain: DomainId, place: u8) {
        let settings = self.plan.settings.domains.iter().find(|settings| settings.id == domain);
        let Some(mirror) = settings.and_then(|settings| settings.mirrors.get(usize::from(place))) else { return };
        let Some(interface) = self.interface_of(domain, mirror.address) else { return };
        let Some(own) = self.interfaces.neighbor_of(self.plan.beneath(interface), mirror.gateway, |address| {
            self.virtual_addresses.contains(&address)
        }) else {
            // Without an address of our own beside the gateway there is nothing to compare with.
            return;
        };
        self.mirrors.look(Look { domain, place, gateway: mirror.gateway, own, virtual_one: mirror.address });
    }

    /// Asks who else has an address, without claiming it.
    fn probe(&self, domain: DomainId, address: IpAddr) {
        // From the interface below one with a virtual MAC, in whose name only the Master may speak.
        let Some(interface) = self.interface_of(domain, address).map(|id| self.plan.beneath(id)) else { return };
        if let Err(error) = self.neighbors.probe(interface, address) {
            tracing::debug!(error = %crate::exit::chain(&error), "a probe was not sent");
        }
    }

    fn interface_of(&self, domain: DomainId, address: IpAddr) -> Option<InterfaceId> {
        let mut addresses = self.plan.addresses.get(&domain)?.iter();
        self.plan.interface_id(&addresses.find(|vip| vip.address == address)?.interface)
    }

    fn send_lease(&self, to: NodeId, bytes: Vec<u8>) {
        // What does not leave is sent again by the core's own timers, or made up for by another voter.
        if let Some(witnesses) = self.witnesses.as_ref().filter(|witnesses| witnesses.knows(to)) {
            let _ = witnesses.send_lease(to, bytes);
        } else if let Some(etcd) = self.etcd.as_ref().filter(|etcd| etcd.knows(to)) {
            etcd.send_lease(bytes);
        } else if let Some(heartbeats) = &self.heartbeats {
            heartbeats.send_lease(to, &bytes);
        }
    }

    fn open_gate(&mut self, domain: DomainId, epoch: Epoch, until: Instant) -> Option<Event> {
        match &mut self.gate {
            Some(gate) => gate.open(domain, epoch, until),
            None => Some(Event::GateWritten { domain, epoch, until: Some(until), error: None }),
        }
    }

    fn shut_gate(&mut self, domain: DomainId, epoch: Epoch) -> Option<Event> {
        let answer = match &mut self.gate {
            Some(gate) => gate.shut(domain, epoch),
            None => Some(Event::GateWritten { domain, epoch, until: None, error: None }),
        };
        // The gate first: this takes a lock, and what leaves before it does is refused there (R15).
        self.announcer.hush(domain);
        answer
    }

    fn test_gate(&mut self, number: u64) -> Option<Event> {
        let Some(gate) = &self.gate else {
            return Some(Event::GateTest { number, strength: GateStrength::None, fault: self.gate_fault.clone() });
        };
        let strength = gate.strength();
        if self.keeper.is_there() {
            // Former gates bar the addresses too: nothing is to be held before they are gone.
            self.keeper.test(number, strength, gate.former_gone());
            return None;
        }
        Some(Event::GateTest { number, strength, fault: String::new() })
    }

    fn persist(&self, ticket: u64, bytes: Vec<u8>) -> Option<Event> {
        let queued = self.voter_disk.as_ref().is_some_and(|disk| disk.write(ticket, bytes));
        let error = "the voter's record has no place: state_dir can't be used".to_owned();
        (!queued).then_some(Event::Persisted { ticket, error: Some(error) })
    }

    fn tell(&mut self, transition: &Transition) {
        let domain = self.plan.domain_name(transition.domain);
        let epoch = transition.epoch.map_or_else(|| String::from("none"), |epoch| epoch.to_string());
        let Transition { from, to, reason, priority, evidence, .. } = transition;
        let (from, to, priority) = (from.as_str(), to.as_str(), priority.0);
        tracing::info!(
            keepone.domain = domain,
            keepone.from = from,
            keepone.to = to,
            keepone.reason = reason.as_str(),
            keepone.priority = priority,
            keepone.epoch = epoch,
            keepone.evidence = evidence,
            "{domain}: {from} -> {to}, {reason} (priority {priority}, epoch {epoch}): {evidence}"
        );
        if let Some(record) = &self.record {
            record.transition(domain, transition);
        }
        self.ipvs.tell_role(transition.domain, transition.to);
        self.notifier.tell(transition, &self.plan);
    }

    fn alert(&mut self, alert: &Alert) {
        let domain = alert.domain.map(|domain| self.plan.domain_name(domain));
        let (name, of) = (alert.name.as_str(), domain.map(|domain| format!(" of {domain}")).unwrap_or_default());
        let evidence = if alert.evidence.is_empty() { String::new() } else { format!(": {}", alert.evidence) };
        let remedy = &alert.remedy;
        macro_rules! say {
            ($level:ident, $($words:tt)+) => {
                tracing::$level!(keepone.alert = name, keepone.domain = domain.unwrap_or_default(), $($words)+)
            };
        }
        match (alert.raised, alert.name.severity()) {
            (false, _) => say!(info, "alert {name}{of} is over{evidence}"),
            (true, Severity::Critical) => say!(error, "alert {name}{of}{evidence}; to do: {remedy}"),
            (true, Severity::Warning) => say!(warn, "alert {name}{of}{evidence}; to do: {remedy}"),
            (true, Severity::Notice) => say!(info, "alert {name}{of}{evidence}; to do: {remedy}"),
        }
        if let Some(script) = &self.alert_script {
            script.tell(alert, domain);
        }
        if let Some(record) = &self.record {
            record.alert(domain, alert, clock::now().as_nanos());
        }
        self.notifier.tell_alert(alert, &self.plan);
    }
}
