//! What happened, folded into a hash (I25), and in words for who wants to read it.

use keepone_proto::action::Action;
use keepone_proto::event::Event;
use keepone_proto::lease::register::Answer;

use super::fault::Fault;
use super::host::Host;
use super::network::{MS, Network};
use super::store::Question;

/// What the named scenarios look at each millisecond.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    /// By host: when it would answer a client on its side of the LAN.
    pub serving: Vec<Vec<u64>>,
    /// By host: when it had the addresses.
    pub addresses: Vec<Vec<u64>>,
    /// When which client was answered by which host.
    pub answers: Vec<(u64, usize, usize)>,
}

/// A transition or an alert, as an agent told it.
#[derive(Debug, Clone)]
pub struct Told {
    /// When.
    pub at: u64,
    /// By whom.
    pub host: usize,
    /// The action itself.
    pub action: Action,
}

/// The history.
#[derive(Debug, Clone)]
pub struct History {
    hash: u64,
    /// How many events the machines took.
    pub events: u64,
    /// In words, if asked for.
    pub trace: Option<Vec<String>>,
    /// Transitions and alerts.
    pub told: Vec<Told>,
    /// See [`Samples`].
    pub samples: Samples,
}

impl History {
    /// Nothing yet.
    pub fn new(trace: bool) -> Self {
        History {
            hash: 0xcbf2_9ce4_8422_2325,
            events: 0,
            trace: trace.then(Vec::new),
            told: Vec::new(),
            samples: Samples::default(),
        }
    }

    /// The hash of all that happened so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    fn mix(&mut self, word: u64) {
        self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
    }

    fn mix_bytes(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        // Whole words without a copy of each: all that is sent and heard goes through here.
        words.iter().for_each(|word| self.mix(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let word = rest.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
            self.mix(word);
        }
    }

    fn say(&mut self, at: u64, words: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>6}.{:03} {}", at / MS, at % MS / 1000, words()));
        }
    }

    /// Something about a host.
    pub fn note(&mut self, at: u64, host: usize, what: &'static str, word: u64) {
        self.mix(at);
        self.mix(word ^ u64::try_from(host).unwrap_or(0));
        self.say(at, || format!("h{host} {what}"));
    }

    /// A fault.
    pub fn fault(&mut self, at: u64, fault: &Fault) {
        self.mix(at);
        self.say(at, || format!("** {fault:?}"));
    }

    /// An event that a process takes.
    pub fn event(&mut self, at: u64, host: usize, event: &Event) {
        self.events += 1;
        self.mix(at ^ u64::try_from(host).unwrap_or(0) << 56);
        match event {
            Event::BeatReceived { bytes, .. }
            | Event::VrrpReceived { bytes, .. }
            | Event::AhReceived { packet: bytes, .. } => self.mix_bytes(bytes),
            Event::LeaseReceived { from, bytes } => {
                self.mix_bytes(bytes);
                let from = *from;
                self.say(at, || {
                    let words = super::speech::words(bytes);
                    format!("h{host} <- n{from} {words}")
                });
            }
            Event::Tick => self.mix(1),
            Event::Utc { .. } => self.mix(3),
            Event::Pinged { rtt, .. } => self.mix(2 + u64::from(rtt.is_some())),
            Event::GateTest { .. } => self.mix(4),
            Event::ScriptEnded { fault, .. } => self.mix(16 + u64::from(fault.is_some())),
            Event::Mirrored { own, virtual_one, .. } => self.mix(8 + u64::from(*own) * 2 + u64::from(*virtual_one)),
            Event::Interface { .. }
            | Event::Watched { .. }
            | Event::GateWritten { .. }
            | Event::AddressesDone { .. }
            | Event::RoutesSeen { .. }
            | Event::ServersSeen { .. }
            | Event::Persisted { .. }
            | Event::ForeignClaim { .. }
            | Event::KeyRefused { .. }
            | Event::QueueSeen { .. }
            | Event::ListenerBehind { .. }
            | Event::ClockState(_)
            | Event::Fenced { .. }
            | Event::Reconfigure(_)
            | Event::Maintenance { .. }
            | Event::HandOver { .. }
            | Event::Stop => {
                self.mix(5);
                self.say(at, || format!("h{host} <- {event:?}"));
            }
        }
    }

    /// A question that the store has carried out.
    pub fn asked(&mut self, at: u64, from: usize, question: &Question, answer: &Answer) {
        self.mix(at ^ u64::try_from(from).unwrap_or(0) << 56);
        if let Answer::Swapped { version } = answer {
            self.mix(*version);
        }
        self.say(at, || format!("store: h{from} asks {question:?}: {answer:?}"));
    }

    /// An action that a process carries out.
    pub fn action(&mut self, at: u64, host: usize, action: &Action) {
        self.mix(at ^ u64::try_from(host).unwrap_or(0) << 56);
        match action {
            Action::SendBeat { bytes, .. } => self.mix_bytes(bytes),
            Action::SendLease { to, bytes } => {
                self.mix_bytes(bytes);
                let to = *to;
                self.say(at, || {
                    let words = super::speech::words(bytes);
                    format!("h{host} -> n{to} {words}")
                });
            }
            Action::Persist { bytes, .. } => self.mix_bytes(bytes),
            Action::OpenGate { epoch, until, .. } => {
                self.mix(epoch.counter);
                self.mix(until.as_nanos());
                self.say(at, || format!("h{host} {action:?}"));
            }
            Action::Transition(transition) => {
                self.mix_bytes(transition.evidence.as_bytes());
                self.say(at, || {
                    let (from, to, reason) = (transition.from, transition.to, transition.reason);
                    format!("h{host} == {} → {} ({reason}) {}", from.as_str(), to.as_str(), transition.evidence)
                });
                self.told.push(Told { at, host, action: action.clone() });
            }
            Action::Alert(alert) => {
                self.mix_bytes(alert.evidence.as_bytes());
                self.say(at, || {
                    let raised = if alert.raised { "raised" } else { "over" };
                    format!("h{host} !! {} {raised}: {}", alert.name.as_str(), alert.evidence)
                });
                self.told.push(Told { at, host, action: action.clone() });
            }
            Action::TestGate { .. }
            | Action::RunScript { .. }
            | Action::ReadClock
            | Action::Ping { .. }
            | Action::Mirror { .. } => self.mix(6),
            Action::Advertise { .. }
            | Action::Announce { .. }
            | Action::ProbeAddress { .. }
            | Action::ShutGate { .. }
            | Action::AddAddresses { .. }
            | Action::RemoveAddresses { .. }
            | Action::Fence { .. }
            | Action::FeedWatchdog
            | Action::Reboot { .. }
            | Action::Retired { .. }
            | Action::Priority { .. }
            | Action::LowerSeen { .. }
            | Action::Stopped => {
                self.mix(7);
                self.say(at, || format!("h{host} {action:?}"));
            }
        }
    }

    /// Who would answer now.
    pub fn sample(&mut self, now: u64, hosts: &[Host], network: &Network) {
        let samples = &mut self.samples;
        samples.serving.resize(hosts.len(), Vec::new());
        samples.addresses.resize(hosts.len(), Vec::new());
        let lists = samples.serving.iter_mut().zip(&mut samples.addresses);
        for (number, (host, (serving, addresses))) in hosts.iter().zip(lists).enumerate() {
            let Some(kernel) = host.kernels.first() else { continue };
            if kernel.has_addresses(now) {
                addresses.push(now);
                if kernel.is_open(now) && host.carrier && !host.silent {
                    serving.push(now);
                    let reached = (0..2).filter(|client| network.reaches_client(*client, number));
                    samples.answers.extend(reached.map(|client| (now, client, number)));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_octet_counts_wherever_it_stands() {
        let of = |bytes: &[u8]| {
            let mut history = History::new(false);
            history.mix_bytes(bytes);
            history.hash()
        };
        let mut seen = std::collections::BTreeSet::new();
        for length in 1..=20 {
            let octets: Vec<u8> = (1..=length).collect();
            for place in 0..octets.len() {
                let mut other = octets.clone();
                other[place] ^= 0x80;
                assert!(seen.insert(of(&other)), "octet {place} of {length}");
            }
            assert!(seen.insert(of(&octets)), "{length} octets");
        }
    }
}
