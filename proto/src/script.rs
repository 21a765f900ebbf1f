//! Tracked scripts: when each is to be run, and its verdict with hysteresis (keepalived's `vrrp_script`).
//!
//! A script whose first run has not ended says nothing yet, and a domain that could fail by it does not begin. The
//! first end is believed at once, whatever it is, unless `init_fail` has the script begin as failed: then it must pass
//! `rise` times in a row like one that has failed.
//!
//! What must stay true: a script that can't be run, hangs or is killed has *failed*. One whose end is never told has
//! failed as well, once that is as late as no end can be.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use crate::id::ScriptId;
use crate::settings::ScriptSettings;
use crate::time::Instant;

/// The shell kills a script at its timeout; so much later its end is not waited for any more.
const PATIENCE: Duration = Duration::from_secs(5);

/// All scripts of a node.
#[derive(Debug, Clone)]
pub struct ScriptMachine {
    scripts: Vec<Script>,
}

/// What is to be thought of a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It has not ended yet.
    Unknown,
    /// It passes.
    Passes,
    /// It fails.
    Fails,
}

#[derive(Debug, Clone)]
struct Script {
    settings: ScriptSettings,
    verdict: Verdict,
    /// Ends in a row that spoke against the verdict.
    streak: u32,
    run_at: Instant,
    /// The number of the last run, and since when it runs.
    runs: u64,
    running: Option<Instant>,
    /// How it last failed, in words.
    fault: String,
    /// Nobody tracks it any more.
    idle: bool,
}

impl ScriptMachine {
    /// The first runs begin at once.
    pub fn new(settings: &[ScriptSettings], now: Instant) -> Self {
        ScriptMachine { scripts: settings.iter().map(|settings| Script::new(settings, now)).collect() }
    }

    /// Under another configuration: those that were there keep their places, and run on while they are `tracked`. One
    /// that is new begins with the verdict of a former one of its name.
    pub fn reconfigure(&mut self, settings: &[ScriptSettings], tracked: &BTreeSet<ScriptId>, now: Instant) {
        for new in settings.iter().skip(self.scripts.len()) {
            let former = self.scripts.iter().rev().find(|known| known.settings.name == new.name);
            let mut script = Script::new(new, now);
            if let Some(former) = former.filter(|former| former.verdict != Verdict::Unknown) {
                (script.verdict, script.fault) = (former.verdict, former.fault.clone());
            }
            self.scripts.push(script);
        }
        for (id, script) in (0..).map(ScriptId).zip(&mut self.scripts) {
            let idle = !tracked.contains(&id);
            if script.idle && !idle {
                script.run_at = now;
            }
            script.idle = idle;
        }
    }

    /// When a run, or the end of one, is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.scripts.iter().filter(|script| !script.idle).map(Script::deadline).min()
    }

    /// The scripts to run now, each with the number of the run, and whether a verdict has changed by what was not told
    /// in time. One that still runs is not run a second time beside itself.
    pub fn due(&mut self, now: Instant) -> (Vec<(ScriptId, u64)>, bool) {
        let (mut due, mut turned) = (Vec::new(), false);
        for (id, script) in (0..).zip(&mut self.scripts) {
            if script.idle || now < script.deadline() {
                continue;
            }
            if script.running.take().is_some() {
                let fault = format!("its end was not told within {} s", script.patience().as_secs());
                turned |= script.ended(Some(fault));
            }
            if script.run_at <= now {
                // On a grid, unless whole intervals were slept or run through.
                let next = script.run_at + script.settings.interval;
                script.run_at = if next > now { next } else { now + script.settings.interval };
                script.runs += 1;
                script.running = Some(now);
                due.push((ScriptId(id), script.runs));
            }
        }
        (due, turned)
    }

    /// A run has ended: well (`None`), or not, and how. Whether the verdict has changed by it. The end of a run that is
    /// not waited for any more says nothing (I24).
    pub fn on_end(&mut self, id: ScriptId, run: u64, fault: Option<String>) -> bool {
        let Some(script) = self.scripts.get_mut(usize::from(id.0)) else { return false };
        if run != script.runs || script.running.take().is_none() {
            return false;
        }
        script.ended(fault)
    }

    /// What is to be thought of one.
    pub fn verdict(&self, id: ScriptId) -> Verdict {
        self.scripts.get(usize::from(id.0)).map_or(Verdict::Fails, |script| script.verdict)
    }

    /// Its name, and how it last failed.
    pub fn words(&self, id: ScriptId) -> (&str, &str) {
        self.scripts.get(usize::from(id.0)).map_or(("?", ""), |script| (&script.settings.name, &script.fault))
    }
}

impl Script {
    fn new(settings: &ScriptSettings, now: Instant) -> Self {
        Script {
            settings: settings.clone(),
            verdict: if settings.init_fail { Verdict::Fails } else { Verdict::Unknown },
            streak: 0,
            run_at: now,
            runs: 0,
            running: None,
            fault: if settings.init_fail { String::from("not run yet (init_fail)") } else { String::new() },
            idle: false,
        }
    }

    fn patience(&self) -> Duration {
        self.settings.timeout + PATIENCE
    }

    fn deadline(&self) -> Instant {
        self.running.map_or(self.run_at, |since| since + self.patience())
    }

    fn ended(&mut self, fault: Option<String>) -> bool {
        let passed = fault.is_none();
        if let Some(fault) = fault {
            self.fault = fault;
        }
        let against = match self.verdict {
            Verdict::Unknown => u32::MAX,
            Verdict::Passes if passed => 0,
            Verdict::Fails if !passed => 0,
            Verdict::Passes | Verdict::Fails => self.streak.saturating_add(1),
        };
        self.streak = against;
        let need = if passed { self.settings.rise } else { self.settings.fall };
        let turns = against > 0 && against >= need;
        if turns {
            self.streak = 0;
            self.verdict = if passed { Verdict::Passes } else { Verdict::Fails };
        }
        turns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(rise: u32, fall: u32) -> ScriptSettings {
        ScriptSettings {
            name: String::from("chk"),
            interval: Duration::from_secs(1),
            timeout: Duration::from_secs(2),
            rise,
            fall,
            init_fail: false,
        }
    }

    const ID: ScriptId = ScriptId(0);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    /// Runs it at each full second and ends each run as told; the verdict after each.
    fn verdicts(settings: ScriptSettings, ends: &[bool]) -> Vec<Verdict> {
        let mut machine = ScriptMachine::new(&[settings], at(0));
        let mut verdicts = Vec::new();
        for (second, passed) in (0..).zip(ends) {
            assert_eq!(machine.due(at(second * 1000)), (alloc::vec![(ID, second + 1)], false));
            machine.on_end(ID, second + 1, (!passed).then(|| String::from("exit status: 1")));
            verdicts.push(machine.verdict(ID));
        }
        verdicts
    }

    #[test]
    fn the_first_end_is_believed_and_then_rise_and_fall_count_in_a_row() {
        use Verdict::{Fails, Passes};
        assert_eq!(
            verdicts(settings(3, 2), &[true, false, true, false, false]),
            [Passes, Passes, Passes, Passes, Fails]
        );
        let ends = [false, true, true, false, true, true, true];
        assert_eq!(verdicts(settings(3, 2), &ends), [Fails, Fails, Fails, Fails, Fails, Fails, Passes]);
    }

    #[test]
    fn with_init_fail_it_begins_as_failed_and_must_rise() {
        use Verdict::{Fails, Passes};
        let settings = ScriptSettings { init_fail: true, ..settings(2, 1) };
        assert_eq!(ScriptMachine::new(core::slice::from_ref(&settings), at(0)).verdict(ID), Fails);
        assert_eq!(verdicts(settings, &[true, true, false]), [Fails, Passes, Fails]);
    }

    /// Which run begins then.
    fn begins(machine: &mut ScriptMachine, ms: u64) -> Option<u64> {
        machine.due(at(ms)).0.first().map(|(_, run)| *run)
    }

    #[test]
    fn one_that_still_runs_is_not_run_beside_itself_and_then_goes_on_from_there() {
        let mut machine = ScriptMachine::new(&[settings(1, 1)], at(0));
        assert_eq!(begins(&mut machine, 0), Some(1));
        assert_eq!(begins(&mut machine, 1000), None);
        assert_eq!(machine.verdict(ID), Verdict::Unknown);
        machine.on_end(ID, 1, None);
        assert_eq!(machine.next_deadline(), Some(at(1000)));
        assert_eq!((begins(&mut machine, 1700), machine.next_deadline()), (Some(2), Some(at(1700 + 7000))));
        machine.on_end(ID, 2, None);
        assert_eq!(machine.next_deadline(), Some(at(2000)), "on the grid again");
    }

    #[test]
    fn one_whose_end_is_never_told_has_failed_and_the_end_of_a_former_run_says_nothing_i24() {
        let mut machine = ScriptMachine::new(&[settings(1, 1)], at(0));
        machine.due(at(0));
        assert_eq!(machine.due(at(6999)), (alloc::vec![], false));
        assert_eq!(machine.due(at(7000)), (alloc::vec![(ID, 2)], true));
        assert_eq!(
            (machine.verdict(ID), machine.words(ID)),
            (Verdict::Fails, ("chk", "its end was not told within 7 s"))
        );
        assert!(!machine.on_end(ID, 1, None), "of the run before");
        assert_eq!(machine.verdict(ID), Verdict::Fails);
        assert!(machine.on_end(ID, 2, None));
        assert!(!machine.on_end(ID, 2, Some(String::from("twice"))));
        assert_eq!(machine.verdict(ID), Verdict::Passes);
    }
}
