//! One fencing domain on this node: its virtual routers, its lease, what the kernel holds for it, and the
//! judgement that ties them.
//!
//! [`Domain::settle`] is the whole of it: fold the evidence, decide, move towards what was decided. It is
//! idempotent, and it is run after every event.

mod announcing;
mod deeds;
mod evidence;
mod findings;
mod going_on;
mod handover;
mod ladder;
mod mirror;
mod policy;
mod reconfigure;
mod rivals;
mod spans;
mod timed;
pub(crate) mod why;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::Action;
use crate::announce::Announcer;
use crate::decision::{Health, Reason, Role};
use crate::effects::Kernel;
use crate::facts::Facts;
use crate::fencing::Fence;
use crate::id::{DomainId, Epoch, Incarnation, InstanceId, InterfaceId, NodeId, Priority};
use crate::jitter::Jitter;
use crate::lease::authority::DomainLease;
use crate::lease::holder::Claimant;
use crate::lease::timing::LeaseTiming;
use crate::mirror::Mirrors;
use crate::node::Due;
use crate::settings::{
    Authority, DomainSettings, Families, FencingSettings, HeartbeatSettings, InstanceSettings, Policy, Settings,
};
use crate::time::Instant;
use crate::vrrp::instance::Instance;
use crate::vrrp::params::Params;
use crate::vrrp::statistics::Statistics;
use crate::wire::heartbeat::DomainBeat;
use crate::wire::vrrp::Advertisement;
use findings::DomainFindings;
use reconfigure::Retiring;
use rivals::SEEN;

/// How long addresses stay in the kernel unrenewed where nobody but Advertisements tells of us: they are silent long
/// before, behind the gate, and to renew thousands each second would cost more than all else (decision 0064).
const LONELY_LIFETIME_S: u64 = 30;

/// And so many of them for each second of that at least, so that twice as many are renewed in a second, by all domains
/// together: the kernel looks through all addresses of an interface for each.
const ADDRESSES_PER_LIFETIME_S: u64 = 100;

/// One virtual router of the domain.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(crate) id: InstanceId,
    pub(crate) settings: InstanceSettings,
    pub(crate) machine: Instance,
    /// Its interface is up: it may hear others.
    hears: bool,
    /// As Master, it has heard a better one.
    higher_seen: bool,
    /// As Master, it has last told of a lower one then.
    lower_told_at: Option<Instant>,
    /// As Master, it advertised so late that another may have taken over (`timer_expired_backup`).
    overslept: Option<Duration>,
    announcer: Announcer,
    pub(crate) statistics: Statistics,
}

impl Router {
    fn new(id: InstanceId, settings: &Settings) -> Option<Self> {
        let of = settings.instances.get(usize::from(id.0))?.clone();
        let machine = Instance::new(Params::from(&of)).in_step(settings.has_many_domains());
        Some(Router {
            id,
            settings: of,
            machine,
            hears: false,
            higher_seen: false,
            lower_told_at: None,
            overslept: None,
            announcer: Announcer::default(),
            statistics: Statistics::default(),
        })
    }

    /// Has an Advertisement sent.
    fn advertise(&mut self, advertisement: Advertisement, out: &mut Vec<Action>) {
        self.statistics.sends(&advertisement);
        out.push(Action::Advertise { instance: self.id, advertisement });
    }
}

/// A domain that is being given up.
#[derive(Debug, Clone, Copy)]
struct Leaving {
    reason: Reason,
    to: Role,
    heir: Option<NodeId>,
    /// The epoch that the heir left with the voters, where it is not heard.
    heir_epoch: Option<Epoch>,
}

/// The gate's test that a claim waits for (R14).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Test {
    /// To be asked for.
    Wanted,
    /// Asked for under this number.
    Asked(u64),
}

/// One domain.
#[derive(Debug, Clone)]
pub(crate) struct Domain {
    pub(crate) id: DomainId,
    pub(crate) routers: Vec<Router>,
    pub(crate) lease: DomainLease,
    pub(crate) kernel: Kernel,
    pub(crate) fence: Fence,
    pub(crate) role: Role,
    pub(crate) reason: Reason,
    /// Since when it is that.
    role_since: Instant,
    /// Its state has changed in a way that peers should hear of before the next period.
    pub(crate) news: bool,
    /// Of its virtual addresses.
    families: Families,
    timing: LeaseTiming,
    /// What the addresses live at most, in whole seconds: ⌈L_h⌉ + 2.
    lifetime_s: u32,
    /// How long addresses stay after a lapse (R5).
    grace: Duration,
    jitter: Jitter,
    started: bool,
    /// A former process of this life was Master, and this one is until its evidence has come in, or D.
    goes_on: bool,
    /// An epoch that a former life of this node held, until it is released (R16).
    former: Option<Epoch>,
    created: Instant,
    /// It begins no sooner, by [`Settings::begin_at`].
    begin_at: Option<Instant>,
    leaving: Option<Leaving>,
    /// The lease ran out then, and the addresses may still be there (R5).
    lapsed_at: Option<Instant>,
    master_since: Option<Instant>,
    /// Until when a nomination by the former Master holds.
    nominated_until: Option<Instant>,
    /// The epoch that its holder has given back, as our own voter was told: what the holder's last beat says of
    /// it is no longer so.
    over: Option<Epoch>,
    /// For whom it was given up, without an authority.
    heir: Option<NodeId>,
    /// End of the back-off while nobody is Master (R13).
    stand_at: Option<Instant>,
    /// Since when a worse Master of our kind is seen (preempt_delay).
    lower_since: Option<Instant>,
    /// Since when a rival is seen, and when it was seen last: who yields (D7).
    rival_since: Option<Instant>,
    rival_seen: Option<Instant>,
    /// When two holders were last seen for certain, and which tenure of our own that was told of (D7).
    two_seen: Option<Instant>,
    told_of: Option<Instant>,
    /// When it is settled by priority who yields to whom, if both think that they stay.
    tie_ends_at: Option<Instant>,
    /// What follows the lease messages of this judgement (R8).
    pub(crate) told: Vec<Action>,
    /// How long a frame that passed the gate waits at present, by the interface in whose queue it does.
    queue_waits: BTreeMap<InterfaceId, Duration>,
    /// Given back before the gate was shut: only where that guard is taken out.
    given_early_at: Option<Instant>,
    eligible: bool,
    wants: bool,
    test: Option<Test>,
    /// Until when the Master's word that this node is its heir keeps the gate's test valid.
    heir_until: Option<Instant>,
    mirrors: Mirrors,
    pub(crate) findings: DomainFindings,
    /// How long it may be unable to let go before the machine is restarted.
    reboot_after: Option<Duration>,
    /// Since when it can't let go.
    stuck_since: Option<Instant>,
    /// Its gate has been open in this life.
    has_held: bool,
    policy: Policy,
    fencing: FencingSettings,
    /// See [`DomainSettings::shape`].
    shape: u64,
    /// Set while Master by a new configuration, and not announced yet.
    announces_anew: bool,
    /// Handed over by the operator: not asked for again while another has it, nor claimed before then.
    stands_back: Option<Instant>,
    /// A new configuration has it no more.
    retiring: Option<Retiring>,
}

/// By what peers judge of us without an authority: beats, or Advertisements where nothing else tells of us.
fn watch(settings: &Settings, authority: &Authority, routers: &[Router]) -> HeartbeatSettings {
    let lonely = settings.peers.is_empty() && matches!(authority, Authority::None);
    let patience = routers.iter().map(|router| router.machine.params().patience_of_others()).min();
    settings.heartbeat.or_adverts(patience.filter(|_| lonely))
}

impl Domain {
    pub(crate) fn new(
        settings: &Settings,
        domain: &DomainSettings,
        incarnation: Incarnation,
        former: Option<Epoch>,
        now: Instant,
    ) -> Self {
        let me = Claimant {
            cluster: settings.cluster,
            digest: settings.digest,
            domain: domain.id,
            node: settings.node,
            incarnation,
        };
        let timing = match &domain.authority {
            Authority::None => LeaseTiming::for_lease(settings.heartbeat.silence()),
            Authority::Quorum(quorum) => quorum.timing,
        };
        let routers = domain.instances.iter().filter_map(|id| Router::new(*id, settings));
        let length = timing.holder_lease();
        let routers: Vec<Router> = routers.collect();
        let lonely = settings.peers.is_empty() && matches!(domain.authority, Authority::None);
        let held: u64 = settings.domains.iter().map(|domain| u64::from(domain.held)).sum();
        let least = if lonely { LONELY_LIFETIME_S.max(held / ADDRESSES_PER_LIFETIME_S) } else { 0 };
        let lifetime_s = (length.as_secs() + u64::from(length.subsec_nanos() > 0) + 2).max(least);
        let watch = watch(settings, &domain.authority, &routers);
        let nothing = Epoch { counter: 0, incarnation, attempt: 0, node: settings.node };
        let mut lease = DomainLease::new(me, &domain.authority, watch, settings.guards, settings.seed ^ incarnation.0);
        let others = settings.peers.iter().map(|peer| peer.node);
        lease = lease.with_policy(domain.policy, me, settings.heartbeat, others, now);
        if let Some(former) = former {
            lease.saw_epoch(former);
        }
        Domain {
            id: domain.id,
            routers,
            lease,
            kernel: Kernel::new(domain.id, nothing),
            fence: Fence::new(domain.fencing.command),
            reboot_after: domain.fencing.reboot_after,
            stuck_since: None,
            has_held: false,
            policy: domain.policy,
            fencing: domain.fencing,
            shape: domain.shape,
            announces_anew: false,
            retiring: None,
            stands_back: None,
            role: Role::Init,
            reason: Reason::Started,
            role_since: now,
            news: false,
            families: domain.families,
            timing,
            lifetime_s: u32::try_from(lifetime_s).unwrap_or(u32::MAX),
            grace: settings.grace,
            jitter: Jitter::new(settings.seed ^ incarnation.0.rotate_left(17) ^ domain.id.0),
            started: false,
            goes_on: false,
            former,
            created: now,
            begin_at: settings.begin_at.filter(|at| *at > now),
            leaving: None,
            lapsed_at: None,
            master_since: None,
            nominated_until: None,
            over: None,
            heir: None,
            stand_at: None,
            lower_since: None,
            rival_since: None,
            rival_seen: None,
            two_seen: None,
            told_of: None,
            tie_ends_at: None,
            told: Vec::new(),
            queue_waits: BTreeMap::new(),
            given_early_at: None,
            eligible: false,
            wants: false,
            test: None,
            heir_until: None,
            mirrors: Mirrors::new(&domain.mirrors),
            findings: DomainFindings::default(),
        }
    }

    /// The domain's effective priority: that of its least router.
    pub(crate) fn priority(&self) -> Priority {
        self.routers.iter().map(|router| router.machine.params().priority).min().unwrap_or(Priority(1))
    }

    /// Whether it is MASTER here, be the gate open yet or no more.
    pub(crate) fn is_master(&self) -> bool {
        self.master_since.is_some()
    }

    /// Whether its gate is open.
    pub(crate) fn is_open(&self, now: Instant) -> bool {
        self.kernel.is_open(now)
    }

    /// Whether its gate is open, or may be by a write that has not been answered.
    pub(crate) fn may_be_open(&self, now: Instant) -> bool {
        self.kernel.opened_at().is_some() || self.kernel.tenure().is_some_and(|own| now < own.until)
    }

    /// Whether it holds, gives back, or has yet to say so.
    pub(crate) fn is_busy(&self, now: Instant) -> bool {
        self.kernel.holds_anything() || self.lease.grant(now).is_some() || self.lease.is_saying_farewell()
    }

    /// Whether a voter on this node may lend it to another (R10).
    pub(crate) fn must_not_lend(&self, now: Instant) -> bool {
        self.lease.epoch().is_some() && self.lease.grant(now).is_some()
    }

    /// The former Master has given it up for us.
    pub(crate) fn nominate(&mut self, now: Instant, former: NodeId) {
        self.fence.gave_up(former);
        self.become_heir(now);
    }

    fn become_heir(&mut self, now: Instant) {
        if self.eligible && self.master_since.is_none() {
            self.nominated_until = Some(now + self.timing.lease_max);
        }
    }

    /// Our own voter was told that an epoch is over: its holder (or its guardian, R16) has let go.
    pub(crate) fn on_released(&mut self, epoch: Epoch) {
        self.over = Some(epoch);
        self.fence.released(epoch);
        self.lease.on_let_go(epoch);
    }

    /// A holder that has lost its voters asks us not to claim (D4, `degrade`). Whether we promised: not while
    /// anything is held here, nor before the gate of what was held is read back as shut (I13).
    pub(crate) fn promise(&mut self, facts: &Facts<'_>, epoch: Epoch, lease: Duration) -> bool {
        let now = facts.now;
        // A clock that is not to be trusted can't keep a promise.
        self.kernel.is_shut() && self.health(facts) != Health::ClockOff && self.lease.promise(now, epoch, lease)
    }

    /// A voter offers what a Transfer named us for.
    pub(crate) fn on_offer(&mut self, now: Instant, from: NodeId, epoch: Epoch) {
        if self.eligible && self.leaving.is_none() && self.lease.accept_offer(now, from, epoch) {
            // Only the last holder can have left it to us.
            if let Some(former) = self.fence.suspects().first() {
                self.fence.gave_up(*former);
            }
            self.become_heir(now);
        }
    }

    /// Its part of a beat.
    pub(crate) fn beat(&self, facts: &Facts<'_>) -> DomainBeat {
        let now = facts.now;
        let grant = self.lease.grant(now);
        let first = self.routers.first();
        // A Master is one until the end of R8. Who gives up before it was one is not to be taken for gone either,
        // where nobody else can tell when the next may begin.
        let gives_up = self.leaving.is_some() && self.master_since.is_none() && grant.is_some();
        let gives_up = gives_up && !self.lease.is_arbitrated();
        DomainBeat {
            id: self.id,
            role: self.role,
            priority: self.priority(),
            eligible: self.eligible,
            wants: self.wants,
            holding: self.is_open(now) || gives_up,
            open: self.kernel.is_known_open(now),
            epoch: grant.map(|grant| (grant.epoch().counter, grant.epoch().attempt)),
            remaining: grant.map_or(Duration::ZERO, |grant| grant.until().since(now)),
            next: self.lease.next_attempt(),
            master_for: self.master_since.map_or(Duration::ZERO, |since| now.since(since)),
            // Under an authority the heir is told before the Transfer, so that it can test its gate meanwhile. Without
            // one to be named is to have it: not before the gate is shut and the last frame gone (R8).
            heir: self.leaving.filter(|_| self.lease.is_arbitrated()).and_then(|leaving| leaving.heir).or(self.heir),
            sees: self.sees(facts),
            alone: self.lease.is_arbitrated() && self.lease.is_unruled(now),
            source: first.and_then(|router| facts.address(router.settings.interface, router.settings.ipv6)),
        }
    }

    /// Frames wait behind the gate of an interface, which may be one of ours.
    pub(crate) fn queue_seen(&mut self, interface: InterfaceId, wait: Duration) {
        if self.routers.iter().any(|router| router.settings.interface == interface) {
            self.queue_waits.insert(interface, wait);
        }
    }

    /// When the last frame is gone after the gate was shut: E_tx later, or when a longer queue is empty, but no more
    /// than a lease: a line on which nothing moves must not keep the domain from its heir for ever.
    fn drained(&self, shut_at: Instant) -> Instant {
        let queue = self.queue_waits.values().copied().max().unwrap_or_default();
        shut_at + self.timing.drain().max(queue.min(self.timing.lease))
    }

    /// When something is due without an event.
    pub(crate) fn next_deadline(&self, now: Instant, settle_in: Duration) -> Option<Due> {
        let drained = self.kernel.shut_at().filter(|_| self.leaving.is_some()).map(|at| self.drained(at));
        let due = [
            self.kernel.next_deadline(now),
            self.lapsed_at.map(|at| at + self.grace),
            self.nominated_until,
            self.stands_back,
            self.stand_at,
            Some(self.created + settle_in),
            self.begin_at.map(|at| at + settle_in),
            self.begin_at.filter(|_| !self.started),
            self.former.map(|_| self.created + self.timing.drain()),
            drained,
            self.given_early_at.map(|at| at + self.timing.drain()),
            self.rival_seen.map(|at| at + SEEN),
            self.two_seen.map(|at| at + SEEN),
            self.tie_ends_at.filter(|at| *at > now),
            self.lower_since.map(|since| since + self.preempt_delay()),
            self.heir_until,
            self.mirrors.next_deadline(),
            self.fence.next_deadline(),
            self.stuck_since.zip(self.reboot_after).map(|(since, after)| since + after),
            self.retiring.map(|retiring| retiring.deadline(settle_in)),
        ];
        let mut next = self.lease.next_deadline();
        let mut consider = |at: Instant| next = Some(next.map_or(at, |next| next.min(at)));
        // What lies behind has been seen to; only what comes is a deadline, but for the lease's own.
        for at in due {
            if let Some(at) = at.filter(|at| *at > now) {
                consider(at);
            }
        }
        let mut advertises = None;
        for router in &self.routers {
            let by_machine = router.machine.next_deadline();
            let (advert, timer) = if router.machine.is_master() { (by_machine, None) } else { (None, by_machine) };
            advertises = advertises.into_iter().chain(advert).min();
            // Neither is served before the evidence is in, and what is due and not served would be due for ever.
            let served = [timer, router.announcer.next_deadline()].into_iter().flatten().filter(|_| self.started);
            served.for_each(&mut consider);
        }
        let at = next.into_iter().chain(advertises).min()?;
        Some(Due { at, beside: next })
    }

    fn preempt_delay(&self) -> Duration {
        self.routers.iter().map(|router| router.settings.preempt_delay).max().unwrap_or_default()
    }
}
