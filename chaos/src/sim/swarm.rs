//! Which kinds of trouble a history may see: drawn for each seed, so that none hides another.
//!
//! A storm of everything is mostly one of crashes, and what needs a minute without one is never seen. So each
//! history has most kinds switched off.

use super::rng::Rng;

/// A kind of trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// Every line between two hosts, both ways.
    CutPair,
    /// Every line between two hosts, one way.
    CutOneWay,
    /// One path between two hosts.
    CutPath,
    /// A node loses all others.
    Isolate,
    /// Lines are slow, lossy, doubling.
    Weather,
    /// Old datagrams come again.
    Replay,
    /// SIGSTOP.
    Stop,
    /// The machine stands still, and its clock goes on.
    Pause,
    /// The machine stands still, and its clock with it.
    Freeze,
    /// SIGKILL, of the worker or of all.
    Kill,
    /// SIGKILL, and the voter's record is lost, torn or an old one.
    Amnesia,
    /// Power.
    PowerOff,
    /// SIGTERM.
    Terminate,
    /// Restart with another configuration.
    Reload,
    /// Reference addresses.
    References,
    /// The cable.
    Carrier,
    /// Disks.
    Disk,
    /// Netlink.
    Netlink,
    /// The gate's self-test.
    GateTest,
    /// The gate's writes.
    Gate,
    /// The tracked script.
    Script,
    /// Rogue ARP.
    ForeignClaim,
    /// A foreign VRRP router.
    ForeignRouter,
}

/// All of them, with how often each is drawn against the others where both are on.
const ALL: &[(Trouble, u32)] = &[
    (Trouble::CutPair, 4),
    (Trouble::CutOneWay, 3),
    (Trouble::CutPath, 3),
    (Trouble::Isolate, 4),
    (Trouble::Weather, 4),
    (Trouble::Replay, 2),
    (Trouble::Stop, 6),
    (Trouble::Pause, 2),
    (Trouble::Freeze, 3),
    (Trouble::Kill, 4),
    (Trouble::Amnesia, 3),
    (Trouble::PowerOff, 2),
    (Trouble::Terminate, 2),
    (Trouble::Reload, 2),
    (Trouble::References, 2),
    (Trouble::Carrier, 2),
    (Trouble::Disk, 2),
    (Trouble::Netlink, 2),
    (Trouble::GateTest, 1),
    (Trouble::Gate, 2),
    (Trouble::Script, 4),
    (Trouble::ForeignClaim, 1),
    (Trouble::ForeignRouter, 1),
];

/// What may happen in one history.
#[derive(Debug, Clone, Default)]
pub struct Swarm {
    on: Vec<(Trouble, u32)>,
    total: u32,
}

impl Swarm {
    /// Drawn from the seed's stream, out of what `allowed` lets pass.
    pub fn draw(rng: &mut Rng, allowed: impl Fn(Trouble) -> bool) -> Self {
        let all = rng.chance(150_000);
        let mut swarm = Swarm::default();
        for (trouble, weight) in ALL.iter().filter(|(trouble, _)| allowed(*trouble)) {
            if all || rng.chance(300_000) {
                swarm.on.push((*trouble, *weight));
            }
        }
        if swarm.on.is_empty() {
            swarm.on.push((Trouble::Stop, 1));
        }
        swarm.total = swarm.on.iter().map(|(_, weight)| weight).sum();
        swarm
    }

    /// What may happen.
    pub fn on(&self) -> impl Iterator<Item = Trouble> + '_ {
        self.on.iter().map(|(trouble, _)| *trouble)
    }

    /// One of them.
    pub fn pick(&self, rng: &mut Rng) -> Trouble {
        let mut at = rng.below(self.total.into());
        for (trouble, weight) in &self.on {
            match at.checked_sub(u64::from(*weight)) {
                Some(rest) => at = rest,
                None => return *trouble,
            }
        }
        Trouble::Stop
    }
}
