//! The deeds that only the real world can do, see [`crate::deed::Deed`].

mod host;
mod process;
mod wire;

pub use process::remove_all_groups;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use nix::sys::signal::Signal;

use super::error::Error;
use super::process as processes;
use super::topology::Kind;
use super::world::{Cast, World};
use crate::deed::{Change, Deed};
use crate::fault::{Part, Who};
use wire::Captured;

/// Tells threads that work in the background that the world ends.
#[derive(Debug, Clone, Default)]
pub(super) struct Over(Arc<AtomicBool>);

impl Over {
    /// Whether it does.
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Moments that are watched for: one that never comes has proven nothing.
#[derive(Debug, Clone, Default)]
pub(super) struct Awaited(Arc<Mutex<Vec<(String, bool)>>>);

impl Awaited {
    /// Something is waited for from now on; its number.
    fn begin(&self, what: String) -> usize {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push((what, false));
        all.len() - 1
    }

    /// It has come.
    fn came(&self, number: usize) {
        if let Some(one) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number) {
            one.1 = true;
        }
    }

    /// In words, what has not come yet.
    fn missing(&self) -> Vec<String> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|(_, came)| !came).map(|(what, _)| format!("{what}: that moment never came")).collect()
    }
}

/// What deeds leave behind that others need, or that must be tidied up.
#[derive(Debug, Default)]
pub struct Works {
    over: Over,
    awaited: Awaited,
    captured: Captured,
    groups: Vec<PathBuf>,
    programs: Vec<i32>,
}

impl Works {
    /// Ends what works in the background.
    pub(super) fn end(&mut self) {
        self.over.0.store(true, Ordering::Relaxed);
        // With their children: a killed timeout(1) would leave its own behind.
        for program in self.programs.drain(..) {
            processes::signal(&processes::members(program, Part::Both), Signal::SIGKILL);
        }
    }

    /// The moments that deeds have waited for in vain so far.
    pub(super) fn missed(&self) -> Vec<String> {
        self.awaited.missing()
    }

    /// Removes what the kernel keeps beyond its processes; those must have been killed.
    pub(super) fn tidy(&mut self) {
        process::remove_groups(&std::mem::take(&mut self.groups));
    }
}

impl World {
    /// Does one deed.
    pub(super) fn apply_deed(&mut self, deed: Deed, cast: Cast) -> Result<(), Error> {
        match deed {
            Deed::Weather { from, to, weather } => self.set_weather(&cast.kinds(from), &cast.kinds(to), weather),
            Deed::StopThread { who, thread, for_ms } => {
                self.each(cast, who, |world, kind| world.stop_thread(kind, thread, for_ms))
            }
            Deed::StopAt { who, moment, for_ms } => {
                self.each(cast, who, |world, kind| world.stop_at(kind, moment, for_ms))
            }
            Deed::Freeze { who } => self.each(cast, who, World::freeze),
            Deed::Thaw { who } => self.each(cast, who, World::thaw),
            Deed::OutOfMemory { who } => self.each(cast, who, World::exhaust_memory),
            Deed::Crash { who } => self.each(cast, who, |world, kind| {
                let pids = world.pids(kind, Part::Worker);
                processes::signal(&pids, Signal::SIGABRT);
                Ok(())
            }),
            Deed::CrashWhenMaster { who, times, for_ms } => {
                self.each(cast, who, |world, kind| world.crash_when_master(kind, times, for_ms))
            }
            Deed::Hogs { count, fifo, for_ms } => self.start_hogs(count, fifo, for_ms),
            Deed::RtnlChurn { who, for_ms } => self.each(cast, who, |world, kind| world.churn(kind, for_ms)),
            Deed::Bloat { who, for_ms } => self.each(cast, who, |world, kind| world.bloat(kind, for_ms)),
            Deed::FillDisk { who } => self.each(cast, who, World::fill_disk),
            Deed::FreeDisk { who } => self.each(cast, who, World::free_disk),
            Deed::NoDescriptors { who } => self.each(cast, who, |world, kind| world.limit_descriptors(kind, false)),
            Deed::Descriptors { who } => self.each(cast, who, |world, kind| world.limit_descriptors(kind, true)),
            Deed::PowerOff { who } => self.power_off(cast, who),
            Deed::PowerOn { who } => self.each(cast, who, |world, kind| {
                world.cuts.set_paused(&world.topology, kind, false)?;
                world.start_again(kind)
            }),
            Deed::Upgrade { who } => self.each(cast, who, World::upgrade),
            Deed::Save { who } => self.each(cast, who, World::save_record),
            Deed::Restore { who } => self.each(cast, who, |world, kind| world.lose_record(kind, true)),
            Deed::Forget { who } => self.each(cast, who, |world, kind| world.lose_record(kind, false)),
            Deed::RemoveVip { who } => self.each(cast, who, World::remove_vips),
            Deed::FlushAddresses { who } => self.each(cast, who, World::flush_addresses),
            Deed::DetachGate { who } => self.each(cast, who, World::detach_gate),
            Deed::RemovePins { who } => self.each(cast, who, World::remove_pins),
            Deed::Rename { who, on, away } => self.each(cast, who, |world, kind| world.rename(kind, on, away)),
            Deed::OtherMac { who, on } => self.each(cast, who, |world, kind| world.change_mac(kind, on)),
            Deed::Unmake { who, on } => self.each(cast, who, |world, kind| world.topology.unmake(kind, on)),
            Deed::Remake { who, on } => {
                self.each(cast, who, |world, kind| match world.topology.make_again(kind, on)? {
                    Some(port) => world.cuts.attach(&world.topology, &port),
                    None => Ok(()),
                })
            }
            Deed::Forge { what, every_ms, for_ms } => self.forge(what, every_ms, for_ms, cast),
            Deed::Capture { who, for_ms } => self.each(cast, who, |world, kind| world.capture(kind, for_ms)),
            Deed::Replay { who, times } => self.each(cast, who, |world, kind| world.replay(kind, times)),
            Deed::Reconfigure { who, change } => self.each(cast, who, |world, kind| world.reconfigure(kind, change)),
            Deed::Script { who, fails } => self.each(cast, who, |world, kind| world.turn_script(kind, fails)),
            Deed::Hangup { who } => self.each(cast, who, |world, kind| {
                let pids = world.pids(kind, Part::Guardian);
                processes::signal(&pids, Signal::SIGHUP);
                Ok(())
            }),
        }
    }

    /// The processes of a machine's program that `part` means at this moment.
    fn pids(&mut self, kind: Kind, part: Part) -> Vec<i32> {
        let running = self.processes.clone();
        self.program(kind).map_or(Vec::new(), |agent| agent.processes(&running, part))
    }

    /// Frames, processes, addresses and the kernel's gate go, in this order; what is on disk stays.
    fn power_off(&mut self, cast: Cast, who: Who) -> Result<(), Error> {
        self.each(cast, who, |world, kind| world.cuts.set_paused(&world.topology, kind, true))?;
        self.each(cast, who, |world, kind| {
            let pids = world.pids(kind, Part::Both);
            if let Some(agent) = world.program(kind) {
                agent.expect_end();
            }
            processes::signal(&pids, Signal::SIGKILL);
            Ok(())
        })?;
        self.each(cast, who, |world, kind| {
            if matches!(kind, Kind::Node(_)) {
                world.remove_vips(kind)?;
                world.remove_pins(kind)?;
            }
            Ok(())
        })
    }

    fn reconfigure(&mut self, kind: Kind, change: Change) -> Result<(), Error> {
        let running = self.processes.clone();
        let Some(agent) = self.program(kind) else { return Ok(()) };
        agent.configure(change)?;
        agent.signal(Part::Guardian, Signal::SIGTERM);
        for _ in 0..400 {
            if !agent.is_running(&running) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        agent.signal(Part::Both, Signal::SIGKILL);
        while agent.is_running(&running) {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        agent.start(&running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_that_never_came_is_told_and_one_that_did_is_not() {
        let works = Works::default();
        let first = works.awaited.begin("n1 stands still at GateShut".to_owned());
        works.awaited.begin("n2 stands still at GateOpened".to_owned());
        assert_eq!(works.missed().len(), 2);
        works.awaited.came(first);
        assert_eq!(works.missed(), ["n2 stands still at GateOpened: that moment never came"]);
    }
}
