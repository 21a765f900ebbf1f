//! `track_virtual_server`: the core is told whether a quorum is there, since instances go by it.
//!
//! Before the first check has ended a real server counts as the checks have it: up, or down with `alpha`.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use keepone_proto::balance::machine::Balance;
use keepone_proto::event::Event;
use keepone_proto::id::WatchId;
use keepone_proto::watch::{RETELL, Reading};
use tokio::sync::mpsc;

use crate::tracking::teller::{Gone, Mute, Teller};

/// How often it is looked whether something is to be told again, and whether an address is here (`ha_suspend`).
pub(super) const LOOK: Duration = Duration::from_secs(1);
const _: () = assert!(LOOK.as_secs() < RETELL.as_secs(), "what is told again too late counts as lost");

/// A virtual server that instances track.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tied {
    /// By what the core knows it.
    pub(crate) watch: WatchId,
    /// Its place in the configuration.
    pub(crate) place: usize,
    /// The configuration's word for it.
    pub(crate) word: String,
}

/// All of them, with the way to the core.
#[derive(Debug)]
pub(super) struct Ties {
    events: mpsc::Sender<Event>,
    ties: Vec<(Tied, Teller)>,
}

impl Ties {
    pub(super) fn new(tied: &[Tied], events: mpsc::Sender<Event>) -> Self {
        let mut ties = Ties { events, ties: Vec::new() };
        ties.set(tied);
        ties
    }

    /// Those of another configuration. What is told first is told whether or not it was told before.
    pub(super) fn set(&mut self, tied: &[Tied]) {
        let left = Arc::<AtomicUsize>::default();
        let one =
            |tied: &Tied| (tied.clone(), Teller::new(tied.watch, &tied.word, self.events.clone(), Mute::of(&left)));
        self.ties = tied.iter().map(one).collect();
    }

    pub(super) fn are_any(&self) -> bool {
        !self.ties.is_empty()
    }

    /// Tells what is new, and what was told long ago. What finds no room is told with the next look.
    pub(super) fn tell(&mut self, machine: &Balance) {
        for (tied, teller) in &mut self.ties {
            let reading = match machine.has_quorum(tied.place) {
                true => Reading::Up,
                false => Reading::Down(machine.quorum_words(tied.place)),
            };
            // The core is gone: so is this thread soon.
            let (Ok(()) | Err(Gone)) = teller.try_tell(reading);
        }
    }
}
