//! One virtual router: Initialize, Backup, Master, each with its own timers.
//!
//! What must stay true: only [`Instance::become_master`] makes a Master and only [`Instance::resign`] and
//! [`Instance::shutdown`] unmake one; a packet that is discarded touches no timer.
//!
//! | RFC 9568 | RFC 3768 | here |
//! |---|---|---|
//! | 6.1 Active_Adver_Interval, Skew_Time | 6.1.2 | [`super::params`] |
//! | 6.4.1 Initialize | 6.4.1 | [`Instance::startup`] |
//! | 6.4.2 Backup | 6.4.2 | [`Instance::on_timer`], [`Instance::on_advertisement`] |
//! | 6.4.2, transition to Active | 6.4.2 | [`Election`], then [`Instance::become_master`] |
//! | 6.4.3 Active | 6.4.3 | [`Instance::on_timer`], [`Instance::on_advertisement`] |
//! | 6.4.3, transition to Backup | 6.4.3 | [`Output::HigherSeen`], then [`Instance::resign`] |
//! | 6.4.2, 6.4.3 Shutdown | same | [`Instance::shutdown`] |
//! | 7.1 receiving | 7.1 | [`crate::wire::vrrp::parse`], then [`Discard`] |
//!
//! Where we depart from the RFCs, and why:
//! - The transitions to and from Master are asked of the caller: a lease or another line may know better.
//! - v2: a packet with another interval counts as life, where RFC 3768, 7.1, drops it. Dropped, it leaves
//!   two Masters that can hear each other. For the same reason its interval counts where it is longer.
//! - v2: RFC 3768 has no authentication any more; here are the types of RFC 2338, 5.3.6, as keepalived has them.
//! - A packet with other addresses counts as life, where RFC 3768, 7.1, drops it unless its sender is the
//!   owner. The same reason; RFC 9568, 7.1, leaves it open.
//! - The owner (priority 255) reads Advertisements, where 7.1 of both discards them: a rival holder is
//!   what we exist to notice. `owner_ignore_adverts` has it as the RFCs do ([`Discard::Owner`]).
//! - A Backup whose timer ran out, but who was not made Master, and who then hears a lower Master waits one
//!   Master_Down_Interval more: that one shall have its time to hand over, too.
//! - v2: a Master answers a lower Advertisement as RFC 9568 does, where RFC 3768, 6.4.3, keeps silent:
//!   the answer moves learning bridges back and ends the rival's mastership sooner. `lower_prio_no_advert` has it as
//!   RFC 3768 does, in both versions.

mod numbers;

use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;
use core::time::Duration;

pub use super::output::{Discard, Election, MasterSeen, Output};
use super::params::{Params, skew_time};
use crate::id::Priority;
use crate::settings::{AuthType, VrrpVersion};
use crate::time::{Centis, Instant, nanos};
use crate::wire::vrrp::{Advertisement, Auth};
use numbers::Numbers;

mod signed;
mod timed;

use signed::Heard;

/// The least time between two answers to Advertisements that a Master should not hear.
const ANSWER_GAP: Duration = Duration::from_millis(10);
/// Parts of an interval in which the Advertisements of many virtual routers leave together.
const STEPS: u32 = 16;

/// One virtual router.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    params: Params,
    /// See [`Instance::in_step`].
    step: Duration,
    /// Active_Adver_Interval: our own until a Master has said another.
    master_adver_interval: Duration,
    master: Option<MasterSeen>,
    state: State,
    numbers: Numbers,
    stamps: Heard,
    /// The last sender, if its addresses were ours.
    alike: Option<IpAddr>,
}

/// The states of RFC 9568, 6.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Not started, or shut down.
    Initialize,
    /// Waits for the Master to fall silent.
    Backup {
        /// Active_Down_Timer: when the Master counts as gone. In the past when `standing`.
        master_down_at: Instant,
        /// The timer ran out, and nobody has made us Master yet.
        standing: bool,
        /// A lower Master that may be preempted.
        lower: Option<LowerMaster>,
    },
    /// Advertises.
    Master {
        /// Adver_Timer: when the next Advertisement is due.
        advert_at: Instant,
        /// The last Advertisement that answered another, for the amplification guard.
        answered_at: Option<Instant>,
    },
}

/// A Master of lower priority, heard by a Backup that may preempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LowerMaster {
    /// The last time.
    heard_at: Instant,
    /// End of preempt_delay; `None` once it has passed.
    delay_until: Option<Instant>,
}

impl Instance {
    /// In Initialize, until [`Instance::startup`].
    pub fn new(mut params: Params) -> Self {
        params.priority = electable(params.priority);
        Instance {
            master_adver_interval: params.advert_int,
            params,
            step: Duration::ZERO,
            master: None,
            state: State::Initialize,
            numbers: Numbers::default(),
            stamps: Heard::default(),
            alike: None,
        }
    }

    /// One of many on this node: its Adver_Timer ends in step with the others', on a grid of a sixteenth of its interval.
    ///
    /// The first interval of a Master is shorter by up to that; all that follow are whole. A node that is woken for
    /// each of its Advertisements spends more on waking, and has its peers spend more, than on the Advertisements.
    pub fn in_step(self, with_others: bool) -> Self {
        let step = if with_others { self.params.advert_int / STEPS } else { Duration::ZERO };
        Instance { step, ..self }
    }

    /// When the Adver_Timer ends that is set at `now`.
    fn next_advert(&self, now: Instant) -> Instant {
        let at = now + self.params.advert_int;
        let step = nanos(self.step);
        if step == 0 { at } else { Instant::from_nanos(at.as_nanos() - at.as_nanos() % step) }
    }

    /// The parameters, with the effective priority.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// Where the machine is.
    pub fn state(&self) -> State {
        self.state
    }

    /// Does it advertise?
    pub fn is_master(&self) -> bool {
        matches!(self.state, State::Master { .. })
    }

    /// The last Master heard since we were Master ourselves; `None` also once it has resigned.
    ///
    /// It is not forgotten when it falls silent: look at [`MasterSeen::at`].
    pub fn master(&self) -> Option<MasterSeen> {
        self.master
    }

    /// What we advertise next.
    pub fn advertisement(&self) -> Advertisement {
        Advertisement {
            version: self.params.version,
            vrid: self.params.vrid,
            priority: self.params.priority,
            advert_int: self.params.advert_int,
            addresses: self.params.addresses.clone(),
            auth: self.auth(),
        }
    }

    /// What a Master advertises that gives up, after it has let go of the addresses (safety.md R8).
    pub fn resignation(&mut self) -> Advertisement {
        let resignation = Advertisement { priority: Priority::RESIGN, ..self.advertisement() };
        self.count(&resignation);
        resignation
    }

    fn advertise(&mut self) -> Output {
        let advertisement = self.advertisement();
        self.count(&advertisement);
        Output::Advertise(advertisement)
    }

    fn count(&mut self, sent: &Advertisement) {
        if let Auth::Header { sequence } = sent.auth {
            self.numbers.sent = sequence;
        }
    }

    /// Initialize → Backup; nothing in another state. RFC 9568, 6.4.1.
    ///
    /// The owner of the addresses (priority 255) stands for election at once.
    pub fn startup(&mut self, now: Instant) {
        if self.state != State::Initialize {
            return;
        }
        self.master_adver_interval = self.params.advert_int;
        self.state = if self.params.priority == Priority::OWNER {
            State::Backup { master_down_at: now, standing: true, lower: None }
        } else {
            self.fresh_backup(now)
        };
    }

    /// → Initialize. A Master says that it resigns: send the output last (safety.md R8). RFC 9568, 6.4.3.
    pub fn shutdown(&mut self) -> Vec<Output> {
        let outputs = if self.is_master() { vec![Output::Advertise(self.resignation())] } else { Vec::new() };
        self.state = State::Initialize;
        self.master = None;
        outputs
    }

    /// Backup → Master: advertises at once. Nothing in another state. RFC 9568, 6.4.2.
    ///
    /// A Backup need not stand to be made Master: one to whom the Master hands over does not.
    pub fn become_master(&mut self, now: Instant) -> Vec<Output> {
        if !matches!(self.state, State::Backup { .. }) {
            return Vec::new();
        }
        self.state = State::Master { advert_at: self.next_advert(now), answered_at: None };
        self.master_adver_interval = self.params.advert_int;
        self.master = None;
        vec![self.advertise()]
    }

    /// Master → Backup with the full timer; nothing in another state. RFC 9568, 6.4.3.
    ///
    /// After [`Output::HigherSeen`] the timer is that of the better one's interval. Who gives up for
    /// another reason sends [`Instance::resignation`] when the addresses are gone.
    pub fn resign(&mut self, now: Instant) {
        if self.is_master() {
            self.state = self.fresh_backup(now);
        }
    }

    /// This node did not look between `before` and `now`: a Backup whose timer ran out meanwhile listens for the
    /// full interval before it stands, since the Master's Advertisements may still be in its queues.
    pub fn slept(&mut self, before: Instant, now: Instant) {
        if let State::Backup { master_down_at, standing: false, .. } = &mut self.state
            && before < *master_down_at
        {
            let down = self.params.master_down_interval(self.master_adver_interval);
            *master_down_at = (*master_down_at).max(now + down);
        }
    }

    /// Nothing could be heard until `now`: a Backup listens for the full interval before it stands, as after its startup;
    /// the owner stands at once. RFC 9568, 6.4.1.
    pub fn listen_anew(&mut self, now: Instant) {
        if matches!(self.state, State::Backup { .. }) && self.params.priority != Priority::OWNER {
            self.state = self.fresh_backup(now);
        }
    }

    /// When [`Instance::on_timer`] has something to do next.
    pub fn next_deadline(&self) -> Option<Instant> {
        match self.state {
            State::Initialize => None,
            State::Backup { master_down_at, standing, lower } => {
                let down = (!standing).then_some(master_down_at);
                let delay = lower.and_then(|lower| lower.delay_until);
                down.into_iter().chain(delay).min()
            }
            State::Master { advert_at, .. } => Some(advert_at),
        }
    }

    /// Carries out what is due at `now`; nothing if nothing is.
    pub fn on_timer(&mut self, now: Instant) -> Vec<Output> {
        match &mut self.state {
            State::Initialize => Vec::new(),
            State::Backup { master_down_at, standing, lower } => {
                *standing |= now >= *master_down_at;
                if let Some(lower) = lower {
                    lower.delay_until = lower.delay_until.filter(|until| now < *until);
                }
                Vec::new()
            }
            State::Master { advert_at, .. } if now < *advert_at => Vec::new(),
            State::Master { advert_at, .. } if self.params.is_overtaken(now.since(*advert_at)) => {
                let late = now.since(*advert_at);
                *advert_at = now + self.params.advert_int;
                vec![Output::Overslept { late }]
            }
            State::Master { .. } => self.due_advertisement(now).map(Output::Advertise).into_iter().collect(),
        }
    }

    /// What the timers say at `now`.
    pub fn election(&self, now: Instant) -> Election {
        match self.state {
            State::Initialize | State::Master { .. } => Election::Lost,
            State::Backup { master_down_at, standing, .. } if standing || now >= master_down_at => Election::Won,
            State::Backup { lower: Some(lower), .. } if !lower.is_tolerated(now) => Election::Preempts,
            State::Backup { .. } => Election::Lost,
        }
    }

    /// Changes the effective priority, 1..=255 (0 counts as 1, since 0 would resign).
    ///
    /// A running down timer moves by the difference that the new priority makes, which neither RFC
    /// defines. A Backup that no longer is above the Master it would have preempted follows it again.
    pub fn set_priority(&mut self, now: Instant, priority: Priority) {
        let (old, new) = (self.params.priority, electable(priority));
        self.params.priority = new;
        let (version, interval) = (self.params.version, self.master_adver_interval);
        let State::Backup { master_down_at, standing, lower } = &mut self.state else { return };
        if let (Some(_), Some(master)) = (*lower, self.master)
            && master.priority >= new
        {
            self.follow(master.at, master.advert_int);
            self.on_timer(now);
        } else if !*standing {
            *master_down_at = *master_down_at + skew_time(version, interval, new) - skew_time(version, interval, old);
            *standing = now >= *master_down_at;
        }
    }

    /// Other parameters of the same virtual router: its VRID, version and family stay. The effective priority stays too,
    /// until [`Instance::set_priority`].
    ///
    /// A Master's next Advertisement comes after the shorter of both intervals; a running down timer moves by the
    /// difference that the new interval makes.
    pub fn reconfigure(&mut self, now: Instant, params: Params) {
        let down = |instance: &Instance| instance.params.master_down_interval(instance.master_adver_interval);
        let former = down(self);
        let was_preempting = self.params.preempt;
        self.params = Params { priority: self.params.priority, ..params };
        self.alike = None;
        self.step = if self.step.is_zero() { Duration::ZERO } else { self.params.advert_int / STEPS };
        self.learn(self.master.map_or(self.params.advert_int, |master| master.advert_int));
        let (down, next) = (down(self), self.next_advert(now));
        match &mut self.state {
            State::Initialize => {}
            State::Master { advert_at, .. } => *advert_at = (*advert_at).min(next),
            State::Backup { master_down_at, standing: false, .. } => {
                *master_down_at = *master_down_at + down - former;
            }
            State::Backup { standing: true, .. } => {}
        }
        // A lower Master that need not be tolerated any more is to be tolerated now.
        if was_preempting
            && !self.params.preempt
            && matches!(self.state, State::Backup { lower: Some(_), .. })
            && let Some(master) = self.master
        {
            self.follow(master.at, master.advert_int);
        }
    }

    /// An Advertisement that [`crate::wire::vrrp::parse`] let through, from primary address `from`; `own`
    /// is our primary address on the interface.
    pub fn on_advertisement(&mut self, now: Instant, from: IpAddr, own: IpAddr, advert: &Advertisement) -> Vec<Output> {
        if self.state == State::Initialize {
            return Vec::new();
        }
        if let Some(why) = self.discard(from, own, advert).or_else(|| self.unsigned(now, from, advert)) {
            return vec![Output::Discarded { from, why }];
        }
        if let Auth::Header { sequence } = advert.auth {
            self.numbers.heard = sequence;
        }
        let apart = self.clocks_apart(from, advert);
        let mut outputs = match self.state {
            State::Initialize => Vec::new(),
            State::Backup { .. } => {
                self.backup_hears(now, from, advert);
                Vec::new()
            }
            State::Master { .. } => self.master_hears(now, from, own, advert),
        };
        outputs.extend(apart);
        self.compare(from, advert, &mut outputs);
        outputs
    }

    fn discard(&self, from: IpAddr, own: IpAddr, advert: &Advertisement) -> Option<Discard> {
        if advert.vrid != self.params.vrid {
            return Some(Discard::Vrid { found: advert.vrid.get(), wanted: self.params.vrid.get() });
        }
        if from.is_ipv6() != self.params.ipv6 {
            return Some(Discard::Family);
        }
        if advert.version != self.params.version {
            return Some(Discard::Version { found: advert.version, wanted: self.params.version });
        }
        match (self.auth(), advert.auth) {
            (Auth::None, Auth::None) => {}
            // Whether it is signed well is asked last: only then is it remembered.
            (Auth::None, Auth::Signed { .. } | Auth::Unsigned(_)) if self.params.hmac.is_some() => {}
            (Auth::Simple(ours), Auth::Simple(theirs)) if is_same(&ours, &theirs) => {}
            (Auth::Header { .. }, Auth::Header { sequence }) if self.numbers.is_fresh(sequence) => {}
            (Auth::Header { .. }, Auth::Header { sequence }) => {
                return Some(Discard::Replayed { found: sequence, last: self.numbers.last() });
            }
            (
                Auth::None
                | Auth::Simple(_)
                | Auth::Header { .. }
                | Auth::Unproven
                | Auth::Signed { .. }
                | Auth::Unsigned(_),
                _,
            ) => {
                return Some(Discard::Authentication);
            }
        }
        if from == own {
            return Some(Discard::OwnAddress);
        }
        let ignores = self.params.election.owner_ignore_adverts && self.params.priority == Priority::OWNER;
        ignores.then_some(Discard::Owner)
    }

    /// RFC 9568, 6.4.2.
    fn backup_hears(&mut self, now: Instant, from: IpAddr, advert: &Advertisement) {
        if advert.priority == Priority::RESIGN {
            self.backup_hears_resignation(now, from);
            return;
        }
        let (priority, advert_int) = (advert.priority, advert.advert_int);
        self.master = Some(MasterSeen { address: from, priority, at: now, advert_int });
        let preempts = self.params.preempt || self.params.priority == Priority::OWNER;
        if !preempts || priority >= self.params.priority {
            self.follow(now, advert_int);
        } else {
            self.backup_hears_lower(now, advert_int);
        }
    }

    fn backup_hears_resignation(&mut self, now: Instant, from: IpAddr) {
        let skew = skew_time(self.params.version, self.master_adver_interval, self.params.priority);
        self.master = self.master.filter(|master| master.address != from);
        if let State::Backup { master_down_at, standing, lower } = &mut self.state {
            *lower = None;
            // Who stands already has nothing left to wait for.
            if !*standing {
                *master_down_at = now + skew;
            }
        }
    }

    /// RFC 9568, 6.4.2, discards it and lets the timer run out. Before that, preempt_delay; and a
    /// Backup that stood before this Master appeared waits once more, so that it can be handed over to.
    fn backup_hears_lower(&mut self, now: Instant, advert_int: Duration) {
        let gone_after = self.params.master_down_interval(advert_int);
        let State::Backup { standing, lower, .. } = &mut self.state else { return };
        let known = lower.filter(|lower| now.since(lower.heard_at) < gone_after);
        let appeared = known.is_none();
        let delay_until = match known {
            Some(known) => known.delay_until,
            None => Some(now + self.params.preempt_delay),
        };
        let heard = LowerMaster { heard_at: now, delay_until: delay_until.filter(|until| now < *until) };
        let restart = heard.is_tolerated(now) || (appeared && *standing);
        *lower = Some(heard);
        if restart {
            self.follow(now, advert_int);
            if let State::Backup { lower, .. } = &mut self.state {
                *lower = Some(heard);
            }
        }
    }

    /// RFC 9568, 6.4.3.
    fn master_hears(&mut self, now: Instant, from: IpAddr, own: IpAddr, advert: &Advertisement) -> Vec<Output> {
        let priority = advert.priority;
        if priority == Priority::RESIGN {
            self.master = self.master.filter(|master| master.address != from);
            return self.answer(now, true).into_iter().collect();
        }
        self.master = Some(MasterSeen { address: from, priority, at: now, advert_int: advert.advert_int });
        // Addresses of one family compare as unsigned integers in network byte order.
        if (priority, from) > (self.params.priority, own) {
            self.learn(advert.advert_int);
            let answers = self.params.election.higher_prio_send_advert;
            let answer = if answers { self.answer(now, false) } else { None };
            return answer.into_iter().chain([Output::HigherSeen { from, priority }]).collect();
        }
        let answers = !self.params.election.lower_prio_no_advert;
        let answer = if answers { self.answer(now, false) } else { None };
        answer.into_iter().chain([Output::LowerSeen { from, priority }]).collect()
    }

    /// One Advertisement at once, unless the last such was just sent: nobody shall be able to make us
    /// flood the network with ten times what we would send.
    fn answer(&mut self, now: Instant, restart_timer: bool) -> Option<Output> {
        let (gap, next) = ((self.params.advert_int / 10).max(ANSWER_GAP), self.next_advert(now));
        let State::Master { advert_at, answered_at } = &mut self.state else { return None };
        if answered_at.is_some_and(|at| now.since(at) < gap) {
            return None;
        }
        *answered_at = Some(now);
        if restart_timer {
            *advert_at = next;
        }
        Some(self.advertise())
    }

    fn compare(&mut self, from: IpAddr, advert: &Advertisement, outputs: &mut Vec<Output>) {
        let (found, wanted) = (advert.advert_int, self.params.advert_int);
        // On the wire version 3 counts centiseconds.
        let centis = Centis::from_duration(wanted).map(Duration::from);
        if found != wanted && (self.params.version == VrrpVersion::V2 || Some(found) != centis) {
            outputs.push(Output::IntervalMismatch { from, found, wanted });
        }
        if self.params.election.skip_check_adv_addr && self.alike == Some(from) {
            return;
        }
        let sorted = |addresses: &[IpAddr]| {
            let mut addresses = Vec::from(addresses);
            addresses.sort_unstable();
            addresses
        };
        let alike = sorted(&advert.addresses) == sorted(&self.params.addresses);
        // One who says something else is compared until it does not: whoever mended it shall see the alert end.
        self.alike = alike.then_some(from);
        if !alike {
            outputs.push(Output::AddressListMismatch { from, found: advert.addresses.clone() });
        }
    }

    /// The Master lives, as of `heard_at`: the full timer, with its interval.
    fn follow(&mut self, heard_at: Instant, advert_int: Duration) {
        self.learn(advert_int);
        self.state = self.fresh_backup(heard_at);
    }

    fn learn(&mut self, advert_int: Duration) {
        self.master_adver_interval = match self.params.version {
            // v2 has one interval for all; a longer one that is advertised all the same must not
            // look like silence.
            VrrpVersion::V2 => advert_int.max(self.params.advert_int),
            VrrpVersion::V3 => advert_int,
        };
    }

    fn fresh_backup(&self, from: Instant) -> State {
        let down = self.params.master_down_interval(self.master_adver_interval);
        State::Backup { master_down_at: from + down, standing: false, lower: None }
    }

    /// What proves our next Advertisement.
    pub(crate) fn auth(&self) -> Auth {
        match (self.params.version, self.params.auth_pass, self.params.auth_type) {
            (VrrpVersion::V3, _, _) | (VrrpVersion::V2, None, _) => Auth::None,
            // A signature is put to it when it is sent, and needs no other proof beside it.
            (VrrpVersion::V2, Some(_), _) if self.params.hmac.is_some() => Auth::None,
            (VrrpVersion::V2, Some(password), AuthType::Pass) => Auth::Simple(password),
            (VrrpVersion::V2, Some(_), AuthType::Ah) => Auth::Header { sequence: self.numbers.next() },
        }
    }
}

impl LowerMaster {
    /// Does preempt_delay still run?
    fn is_tolerated(&self, now: Instant) -> bool {
        self.delay_until.is_some_and(|until| now < until)
    }
}

/// Looks at all of both, so that the time does not tell where they differ.
fn is_same(ours: &[u8; 8], theirs: &[u8; 8]) -> bool {
    ours.iter().zip(theirs).fold(0, |differ, (ours, theirs)| differ | (ours ^ theirs)) == 0
}

fn electable(priority: Priority) -> Priority {
    priority.max(Priority(1))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
