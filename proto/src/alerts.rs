//! Conditions that an operator should know of: each is told once when it begins and once when it ends.
//!
//! What must stay true: alerts leave in the order in which they became true (I22); one that the table says is
//! said at once never waits; and a condition that flaps is one alert, not hundreds. A condition that comes back
//! while its alert stands, or soon after its end, makes the alert stand the longer, up to [`LONGEST`].

pub mod name;

use alloc::borrow::Cow;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use crate::action::{Action, Alert};
use crate::id::DomainId;
use crate::time::Instant;
use name::AlertName;

/// A condition that flaps is told to be over once it has been gone for this long, at most.
const LONGEST: Duration = Duration::from_secs(30);
/// Of one that is over at once, but has come back, the end waits this long, doubled with each return.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// What comes back within this long after its end is the same trouble.
const SAME_TROUBLE: Duration = Duration::from_secs(60);
/// An alert that stands is told anew, when what it is about has changed, at most this often.
const TOLD_ANEW: Duration = Duration::from_secs(1);

/// What is said of a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    /// What is seen.
    pub evidence: String,
    /// What to do about it, where it can be said more exactly than in the table.
    pub remedy: Option<String>,
}

impl From<String> for Words {
    fn from(evidence: String) -> Self {
        Words { evidence, remedy: None }
    }
}

/// A condition that has come and gone so often, each time within so long, is said although it never lasted.
const MANY_BLIPS: u32 = 3;
const BLIPS_WITHIN: Duration = Duration::from_secs(5);

/// What tells one condition from another: its name, and the domain where it concerns one.
type Key = (AlertName, Option<DomainId>);

/// All alerts of a node.
#[derive(Debug, Clone, Default)]
pub struct Alerts {
    now: Instant,
    states: BTreeMap<Key, State>,
    /// A bit for each name that `states` may have.
    named: u64,
    news: Vec<Alert>,
    /// Since the last look at all of them something was set otherwise than it was.
    moved: bool,
    /// What the last look at all of them found: when something is to be said, and when something is over, or long
    /// enough over to be forgotten. A node with hundreds of conditions must not look at each of them after each event.
    next: Option<Instant>,
    over_at: Option<Instant>,
}

/// What was said when an alert was raised.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said {
    /// What was seen.
    pub evidence: String,
    /// What to do about it.
    pub remedy: Cow<'static, str>,
}

/// An alert that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Which.
    pub name: AlertName,
    /// Where it concerns one domain.
    pub domain: Option<DomainId>,
    /// When that was said.
    pub said_at: Instant,
    /// What was said then. Shared: whoever takes it down is often the thread that decides.
    pub said: Arc<Said>,
}

/// One condition: how it is, and what has been said of it.
#[derive(Debug, Clone)]
struct State {
    /// How it was last found, and since when it has been so.
    present: bool,
    since: Instant,
    /// For a condition that is a moment: it counts as present until then.
    until: Option<Instant>,
    /// Whether it has been said to stand, and when something was last said.
    said: bool,
    said_at: Option<Instant>,
    told: Arc<Said>,
    /// How often it has gone again before it was said, and when last.
    blips: u32,
    gone_at: Option<Instant>,
    /// What is to be said when the wait is over.
    words: Option<Words>,
    /// What the words are about; when that changes, they are said anew.
    topic: u64,
    /// How often it has come back in this trouble.
    returns: u32,
}

impl State {
    fn new(now: Instant) -> Self {
        State {
            present: false,
            since: now,
            until: None,
            said: false,
            said_at: None,
            told: Arc::default(),
            blips: 0,
            gone_at: None,
            words: None,
            topic: 0,
            returns: 0,
        }
    }

    /// It is found to be otherwise than before.
    fn flip(&mut self, now: Instant, present: bool) {
        (self.present, self.since, self.until) = (present, now, None);
        if !present {
            self.gone_at = Some(now);
            return;
        }
        let lately = |at: Option<Instant>, within| at.is_some_and(|at| now.since(at) < within);
        if self.said || lately(self.said_at, SAME_TROUBLE) {
            self.returns = self.returns.saturating_add(1);
        } else {
            self.returns = 0;
        }
        self.blips = if lately(self.gone_at, BLIPS_WITHIN) { self.blips.saturating_add(1) } else { 0 };
    }

    /// From when on what is found may be said.
    fn due(&self, name: AlertName) -> Instant {
        let damping = name.damping();
        if self.present {
            let wait = if self.blips >= MANY_BLIPS { Duration::ZERO } else { damping.raise_after() };
            return self.since + wait;
        }
        let wait = match self.returns {
            0 => damping.clear_after(),
            more => damping.clear_after().max(FIRST_WAIT).saturating_mul(1 << more.min(6)),
        };
        self.since + wait.min(LONGEST)
    }
}

impl Alerts {
    /// What is set from now on is seen at `now`.
    pub fn at(&mut self, now: Instant) {
        self.now = now;
    }

    /// Says how one condition stands; `words` is asked only when it begins or ends, or is about to be said,
    /// and tells what is seen then: at the end what is well again, not what was wrong.
    #[inline]
    pub fn set<W: Into<Words>>(
        &mut self,
        name: AlertName,
        domain: Option<DomainId>,
        raised: bool,
        words: impl FnOnce() -> W,
    ) {
        self.set_about(name, domain, raised, 0, words);
    }

    /// [`Alerts::set`] with words that fit only while it stands, and what is well again once it has ended.
    #[inline]
    pub fn set_with_end<W: Into<Words>>(
        &mut self,
        name: AlertName,
        domain: Option<DomainId>,
        raised: bool,
        words: impl FnOnce() -> W,
        end: &str,
    ) {
        self.set(name, domain, raised, || if raised { words().into() } else { Words::from(String::from(end)) });
    }

    /// [`Alerts::set`] of a condition that may be about different things, told apart by any number: when it
    /// stands and the number changes, it is told anew.
    #[inline]
    pub fn set_about<W: Into<Words>>(
        &mut self,
        name: AlertName,
        domain: Option<DomainId>,
        raised: bool,
        topic: u64,
        words: impl FnOnce() -> W,
    ) {
        // Here, so that each caller has it: nearly all that is set is well, and always was.
        if raised || self.is_named(name) {
            self.find((name, domain), raised, topic, words);
        }
    }

    /// Whether there may be anything to say of a condition that is not found: it was, and lately.
    #[inline]
    pub(crate) fn is_named(&self, name: AlertName) -> bool {
        self.named & bit(name) != 0
    }

    fn find<W: Into<Words>>(&mut self, key: Key, raised: bool, topic: u64, words: impl FnOnce() -> W) {
        let (now, name) = (self.now, key.0);
        if !raised && !self.states.contains_key(&key) {
            return;
        }
        self.named |= bit(name);
        let state = self.states.entry(key).or_insert_with(|| State::new(now));
        let changed = state.present != raised;
        if changed {
            state.flip(now, raised);
            self.moved = true;
        }
        let rested = state.said_at.is_some_and(|at| now.since(at) >= TOLD_ANEW);
        let anew = state.said && raised && topic != state.topic && rested;
        if state.said == raised && !anew {
            state.words = None;
            return;
        }
        let due = anew || now >= state.due(name);
        if due || changed || state.words.is_none() {
            (state.topic, state.words) = (topic, Some(words().into()));
        }
        if due {
            say(state, key, now, &mut self.news);
            self.moved = true;
        }
    }

    /// A condition that is a moment: it counts as present for `lasts`, counted anew each time that it is seen.
    pub fn seen<W: Into<Words>>(
        &mut self,
        name: AlertName,
        domain: Option<DomainId>,
        topic: u64,
        lasts: Duration,
        words: impl FnOnce() -> W,
    ) {
        self.set_about(name, domain, true, topic, words);
        if let Some(state) = self.states.get_mut(&(name, domain)) {
            state.until = Some(self.now + lasts);
            self.moved = true;
        }
    }

    /// A domain has ended, and with it whatever was said of it.
    pub fn end_of(&mut self, domain: DomainId) {
        let of_it = self.states.keys().filter(|(_, of)| *of == Some(domain)).copied();
        for (name, of) in of_it.collect::<Vec<_>>() {
            self.set(name, of, false, || String::from("a new configuration has it no more"));
            if let Some(state) = self.states.get_mut(&(name, of)) {
                state.until = None;
            }
        }
    }

    /// Those that are said to stand.
    pub fn standing(&self) -> impl Iterator<Item = (AlertName, Option<DomainId>)> + '_ {
        self.states.iter().filter(|(_, state)| state.said).map(|(key, _)| *key)
    }

    /// The same, each with what was said.
    pub fn told(&self) -> impl Iterator<Item = Standing> + '_ {
        self.states.iter().filter(|(_, state)| state.said).map(|((name, domain), state)| Standing {
            name: *name,
            domain: *domain,
            said_at: state.said_at.unwrap_or(state.since),
            said: state.told.clone(),
        })
    }

    /// When something is to be said, unless it changes before.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.moved { self.next_of_all() } else { self.next }
    }

    fn next_of_all(&self) -> Option<Instant> {
        let due = self.states.iter().filter_map(|((name, _), state)| match state.until {
            Some(until) if state.present && state.said => Some(until),
            _ if state.said != state.present => Some(state.due(*name)),
            _ => None,
        });
        due.min()
    }

    /// Whether a look at all of them would find nothing.
    pub(crate) fn is_quiet(&self) -> bool {
        let reached = |at: Option<Instant>| at.is_some_and(|at| self.now >= at);
        !self.moved && self.news.is_empty() && !reached(self.next) && !reached(self.over_at)
    }

    /// What is to be said by now, in order.
    pub fn take(&mut self, out: &mut Vec<Action>) {
        if self.is_quiet() {
            return;
        }
        let now = self.now;
        for (key, state) in &mut self.states {
            if state.present
                && let Some(until) = state.until.filter(|until| now >= *until)
            {
                let lasted = until.since(state.since);
                state.flip(until, false);
                let end = format!("not seen again, after it was seen for {} s", lasted.as_secs());
                state.words = state.said.then(|| Words::from(end));
            }
            if state.said != state.present && now >= state.due(key.0) {
                say(state, *key, now, &mut self.news);
            }
        }
        self.states.retain(|_, state| state.present || state.said || now.since(state.since) < SAME_TROUBLE);
        self.named = self.states.keys().fold(0, |named, (name, _)| named | bit(*name));
        out.extend(self.news.drain(..).map(Action::Alert));
        self.next = self.next_of_all();
        let over = self.states.values().filter_map(|state| match state.present {
            true => state.until,
            false => (!state.said).then_some(state.since + SAME_TROUBLE),
        });
        self.over_at = over.min();
        self.moved = false;
    }
}

/// In [`Alerts::named`].
fn bit(name: AlertName) -> u64 {
    const { assert!(AlertName::ALL.len() <= 64, "a bit for each") };
    1 << name as u32
}

/// Says how it stands.
fn say(state: &mut State, (name, domain): Key, now: Instant, news: &mut Vec<Alert>) {
    let words = state.words.take().unwrap_or_else(|| Words::from(String::new()));
    (state.said, state.said_at) = (state.present, Some(now));
    let mut evidence = words.evidence;
    if !state.present && state.returns > 0 {
        evidence.push_str(&format!(" (it came back {} times)", state.returns));
    }
    let remedy = match words.remedy {
        _ if !state.present => Cow::Borrowed(""),
        Some(exact) => Cow::Owned(exact),
        None => Cow::Borrowed(name.remedy()),
    };
    state.told = Arc::new(Said { evidence: evidence.clone(), remedy: remedy.clone() });
    news.push(Alert { name, domain, raised: state.present, evidence, remedy, epoch: None });
}

#[cfg(test)]
mod tests;
