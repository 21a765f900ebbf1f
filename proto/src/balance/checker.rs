//! One check of one real server (keepalived's `TCP_CHECK` and its kin): when it is made, and what its outcomes mean.
//!
//! A check that is up goes down by `1 + retry` failures in a row, the further ones `delay_before_retry` after each
//! other. One that is down is tried at each interval, and comes up by the first success of each of its steps in a row.
//! At the start it counts as up, unless `alpha` has it begin as down.
//!
//! What must stay true: a try whose outcome never comes has failed, once that is as late as no outcome can be. Of tries
//! that nobody waits for any more the outcome says nothing.

use alloc::format;
use alloc::string::String;
use core::time::Duration;

use super::settings::{CheckerKind, CheckerSettings};
use crate::jitter::Jitter;
use crate::time::Instant;

/// The shell ends a try at its timeout; so much later its outcome is not waited for any more.
pub const PATIENCE: Duration = Duration::from_secs(5);
/// With `ha_suspend`, all first checks are made within this time once the address is here: who has just become Master
/// can't wait for the configured one.
pub(super) const RESUME: Duration = Duration::from_secs(1);

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Well; the weight stays as it is.
    Passed,
    /// Well, and the real server is to have this weight (`misc_dynamic`).
    Weight(u32),
    /// Well, and so much is added to its weight (`FILE_CHECK`).
    Added(i64),
    /// Not well, and how.
    Failed(String),
}

/// What an outcome has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    None,
    /// It failed, and this many further tries come before the server counts as down.
    Retry(u32),
    /// It failed once more while it was down already.
    StillDown,
    /// Another weight.
    Weight,
    /// It came up.
    Up,
    /// It went down.
    Down,
}

/// A try to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Try {
    /// Which of the check's steps.
    pub step: u32,
    /// Its number, which the outcome names.
    pub run: u64,
}

/// What a check says of the weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Say {
    /// Nothing.
    Nothing,
    /// That it is this.
    Weight(u32),
    /// That so much is added.
    Added(i64),
}

/// One check.
#[derive(Debug, Clone)]
pub(super) struct Checker {
    pub(super) settings: CheckerSettings,
    pub(super) is_up: bool,
    /// Failures in a row while it is up.
    pub(super) failures: u32,
    /// Which step comes next, and how many passed in a row while it was down or began.
    pub(super) step: u32,
    pub(super) passed: u32,
    /// It has not been up by an outcome of its own since the start.
    pub(super) is_new: bool,
    pub(super) next_at: Instant,
    /// Where it stands among the timers of all checks.
    pub(super) timer: Option<Instant>,
    pub(super) running: Option<(u64, Instant)>,
    pub(super) say: Say,
    /// How it last failed.
    pub(super) fault: String,
    pub(super) is_suspended: bool,
}

impl Checker {
    /// The first try comes within the warm-up, at random, so that those of many servers are spread.
    pub(super) fn new(settings: &CheckerSettings, now: Instant, jitter: &mut Jitter) -> Self {
        Checker {
            settings: settings.clone(),
            is_up: !settings.alpha,
            failures: 0,
            step: 0,
            passed: 0,
            is_new: true,
            next_at: now + jitter.up_to(settings.warmup),
            timer: None,
            running: None,
            say: Say::Nothing,
            fault: if settings.alpha { String::from("not checked yet (alpha)") } else { String::new() },
            is_suspended: false,
        }
    }

    /// Under another configuration of the same check, or of another one of a server that was up or down: it begins as
    /// the server is, since a reload alone makes nobody come or go.
    pub(super) fn like_server(mut self, is_up: bool) -> Self {
        if self.is_up && !is_up {
            self.fault = String::from("not checked yet");
        }
        self.is_up = is_up;
        self
    }

    /// What was known of it before the reload; a try that is under way goes on.
    pub(super) fn after(settings: &CheckerSettings, former: Checker, now: Instant, jitter: &mut Jitter) -> Self {
        let same_pace = former.settings.interval == settings.interval;
        let next_at = if same_pace { former.next_at } else { now + jitter.up_to(settings.interval) };
        let steps = steps(settings);
        let step = if former.step < steps { former.step } else { 0 };
        Checker { settings: settings.clone(), next_at, step, ..former }
    }

    pub(super) fn is_up(&self) -> bool {
        self.is_up
    }

    pub(super) fn fault(&self) -> &str {
        &self.fault
    }

    pub(super) fn say(&self) -> Say {
        self.say
    }

    pub(super) fn run(&self) -> Option<u64> {
        self.running.map(|(run, _)| run)
    }

    /// When a try is due, or not waited for any more.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let asked = matches!(self.settings.kind, CheckerKind::Asked { .. }) && !self.is_suspended;
        asked.then(|| self.running.map_or(self.next_at, |(_, since)| since + self.settings.timeout + PATIENCE))
    }

    /// No more tries; the outcome of one that is under way says nothing.
    pub(super) fn suspend(&mut self) {
        self.is_suspended = true;
        self.running = None;
    }

    /// Tries again.
    pub(super) fn resume(&mut self, now: Instant, jitter: &mut Jitter) {
        if self.is_suspended {
            self.is_suspended = false;
            self.failures = 0;
            self.passed = 0;
            self.next_at = now + jitter.up_to(self.settings.warmup.min(RESUME));
        }
    }

    /// A try whose outcome never came.
    pub(super) fn lost(&mut self, now: Instant) -> Option<Outcome> {
        let (_, since) = self.running?;
        let late = self.settings.timeout + PATIENCE;
        (since + late <= now).then(|| Outcome::Failed(format!("its outcome was not told within {} s", late.as_secs())))
    }

    /// The try to make now, if one is due.
    pub(super) fn due(&mut self, now: Instant, runs: &mut u64) -> Option<Try> {
        let asked = matches!(self.settings.kind, CheckerKind::Asked { .. });
        if !asked || self.is_suspended || self.running.is_some() || now < self.next_at {
            return None;
        }
        // On a grid, unless whole intervals were slept or tried through.
        let next = self.next_at + self.settings.interval;
        self.next_at = if next > now { next } else { now + self.settings.interval };
        *runs += 1;
        self.running = Some((*runs, now));
        Some(Try { step: self.step, run: *runs })
    }

    /// Takes the outcome of the try that is under way, or one that is told.
    pub(super) fn on_outcome(&mut self, now: Instant, outcome: Outcome) -> Turn {
        self.running = None;
        let say = match outcome {
            Outcome::Failed(fault) => return self.failed(now, fault),
            Outcome::Passed => self.say,
            Outcome::Weight(weight) => Say::Weight(weight),
            Outcome::Added(added) => Say::Added(added),
        };
        let turn = self.has_passed(now);
        let is_new = say != self.say;
        self.say = say;
        if turn == Turn::None && is_new { Turn::Weight } else { turn }
    }

    fn has_passed(&mut self, now: Instant) -> Turn {
        let steps = steps(&self.settings);
        self.failures = 0;
        self.step = if self.step + 1 >= steps { 0 } else { self.step + 1 };
        if self.is_up && !self.is_new {
            return Turn::None;
        }
        self.passed += 1;
        if self.passed < steps {
            if matches!(self.settings.kind, CheckerKind::Asked { fast_recovery: true, .. }) {
                self.next_at = now;
            }
            return Turn::None;
        }
        self.passed = 0;
        self.is_new = false;
        let was_up = core::mem::replace(&mut self.is_up, true);
        if was_up { Turn::None } else { Turn::Up }
    }

    fn failed(&mut self, now: Instant, fault: String) -> Turn {
        self.fault = fault;
        self.passed = 0;
        if !self.is_up {
            self.step = 0;
            return Turn::StillDown;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures <= self.settings.retry {
            self.next_at = now + self.settings.delay_before_retry;
            return Turn::Retry(self.settings.retry - self.failures + 1);
        }
        self.failures = 0;
        self.step = 0;
        self.is_up = false;
        self.next_at = now + self.settings.interval;
        Turn::Down
    }
}

fn steps(settings: &CheckerSettings) -> u32 {
    match settings.kind {
        CheckerKind::Asked { steps, .. } => steps.max(1),
        CheckerKind::Told => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn settings(retry: u32) -> CheckerSettings {
        CheckerSettings {
            key: "tcp".into(),
            kind: CheckerKind::Asked { steps: 1, fast_recovery: false },
            interval: Duration::from_secs(10),
            warmup: Duration::ZERO,
            retry,
            delay_before_retry: Duration::from_secs(1),
            alpha: false,
            timeout: Duration::from_secs(2),
            tell_all: false,
        }
    }

    fn fail() -> Outcome {
        Outcome::Failed(String::from("refused"))
    }

    /// Makes tries as they are due and ends each at once as told; when each was made, and what it turned.
    fn history(settings: &CheckerSettings, outcomes: &[Outcome]) -> Vec<(u64, u32, Turn)> {
        let mut checker = Checker::new(settings, at(0), &mut Jitter::new(1));
        let (mut history, mut runs) = (Vec::new(), 0);
        for outcome in outcomes {
            let now = checker.deadline().unwrap();
            let made = checker.due(now, &mut runs).unwrap();
            let turn = checker.on_outcome(now, outcome.clone());
            history.push((now.as_nanos() / 1_000_000, made.step, turn));
        }
        history
    }

    #[test]
    fn it_goes_down_by_retries_and_comes_up_by_one_success() {
        let outcomes = [Outcome::Passed, fail(), Outcome::Passed, fail(), fail(), fail(), fail(), Outcome::Passed];
        assert_eq!(
            history(&settings(2), &outcomes),
            [
                (0, 0, Turn::None),
                (10_000, 0, Turn::Retry(2)),
                (11_000, 0, Turn::None),
                (21_000, 0, Turn::Retry(2)),
                (22_000, 0, Turn::Retry(1)),
                (23_000, 0, Turn::Down),
                (33_000, 0, Turn::StillDown),
                (43_000, 0, Turn::Up),
            ]
        );
    }

    #[test]
    fn of_several_requests_one_is_made_each_time_and_all_must_pass_to_come_up() {
        let three = CheckerKind::Asked { steps: 3, fast_recovery: false };
        let outcomes = [Outcome::Passed, fail(), Outcome::Passed, Outcome::Passed, fail(), Outcome::Passed];
        let outcomes = outcomes.into_iter().chain([Outcome::Passed, Outcome::Passed]).collect::<Vec<_>>();
        let made = history(&CheckerSettings { kind: three, ..settings(0) }, &outcomes);
        let steps: Vec<u32> = made.iter().map(|(_, step, _)| *step).collect();
        assert_eq!(steps, [0, 1, 0, 1, 2, 0, 1, 2]);
        assert_eq!(made.last().unwrap().2, Turn::Up);
        assert!(made.iter().take(7).all(|(_, _, turn)| *turn != Turn::Up), "{made:?}");
        let fast = CheckerKind::Asked { steps: 3, fast_recovery: true };
        let fast = history(&CheckerSettings { kind: fast, alpha: true, ..settings(0) }, &outcomes[5..]);
        assert_eq!(fast.iter().map(|(ms, ..)| *ms).collect::<Vec<_>>(), [0, 0, 0], "back to back");
        assert_eq!(fast.last().unwrap().2, Turn::Up);
    }

    #[test]
    fn one_whose_outcome_is_never_told_has_failed() {
        let mut checker = Checker::new(&settings(0), at(0), &mut Jitter::new(1));
        let mut runs = 0;
        checker.due(at(0), &mut runs).unwrap();
        assert_eq!((checker.deadline(), checker.lost(at(6999))), (Some(at(7000)), None));
        let lost = checker.lost(at(7000)).unwrap();
        assert_eq!(lost, Outcome::Failed(String::from("its outcome was not told within 7 s")));
        assert_eq!(checker.on_outcome(at(7000), lost), Turn::Down);
    }

    #[test]
    fn one_that_still_runs_is_not_made_beside_itself_and_the_grid_is_kept() {
        let mut checker = Checker::new(&settings(0), at(0), &mut Jitter::new(1));
        let mut runs = 0;
        assert_eq!(checker.due(at(0), &mut runs), Some(Try { step: 0, run: 1 }));
        assert_eq!(checker.due(at(10_000), &mut runs), None);
        checker.on_outcome(at(11_000), Outcome::Passed);
        assert_eq!(checker.due(at(11_000), &mut runs), Some(Try { step: 0, run: 2 }));
        checker.on_outcome(at(12_000), Outcome::Passed);
        assert_eq!(checker.deadline(), Some(at(20_000)), "on the grid again");
    }

    #[test]
    fn the_warmup_spreads_first_tries_over_its_whole_length() {
        let settings = CheckerSettings { warmup: Duration::from_secs(10), ..settings(0) };
        let mut jitter = Jitter::new(7);
        let mut tenths = [0_u32; 10];
        for _ in 0..1000 {
            let at = Checker::new(&settings, at(0), &mut jitter).deadline().unwrap().as_nanos();
            tenths[usize::try_from(at / 1_000_000_000).unwrap()] += 1;
        }
        assert!(tenths.iter().all(|count| (50..=150).contains(count)), "{tenths:?}");
    }

    #[test]
    fn with_alpha_it_is_down_until_its_first_success() {
        let alpha = CheckerSettings { alpha: true, ..settings(5) };
        let turns: Vec<Turn> = history(&alpha, &[fail(), Outcome::Passed]).iter().map(|(.., turn)| *turn).collect();
        assert_eq!(turns, [Turn::StillDown, Turn::Up]);
    }
}
