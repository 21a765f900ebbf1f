//! How the keeper makes tries: connections many at a time, all else as tasks beside it.

use std::sync::Arc;

use keepone_config::model::Probe;
use keepone_proto::balance::checker::Outcome;
use keepone_proto::balance::machine::{Event, Place};

use super::Keeper;
use crate::checkers::dials::{Dial, Seen, checked};
use crate::checkers::settings::check_name;
use crate::checkers::{dialled, over};

impl Keeper {
    pub(super) fn probe(&mut self, place: Place, step: u32, run: u64) {
        let Some(probe) = checked(&self.config, place) else { return };
        if let Some(target) = dialled(probe, step) {
            match Dial::begin(&self.config, target, (place, step, run)) {
                Ok(dial) => self.dials.push(dial),
                // What is being carried out goes first.
                Err(fault) => {
                    let outcome = Outcome::Failed(fault.to_string());
                    tell_failure(Some(probe), &outcome);
                    let _ = self.ended.send((run, outcome));
                }
            }
            return;
        }
        let (config, common, ended) = (Arc::clone(&self.config), Arc::clone(&self.common), self.ended.clone());
        tokio::spawn(async move {
            let Some(checked) = checked(&config, place) else { return };
            let outcome = crate::checkers::probe(checked, step, &common).await;
            tell_failure(Some(checked), &outcome);
            let _ = ended.send((run, outcome));
        });
    }

    /// Looks at connections that have begun: a `TCP_CHECK` that is there or failed is over.
    pub(super) fn look(&mut self) {
        let mut all = std::mem::take(&mut self.seen);
        self.dials.look(self.grid, &mut all);
        for (dial, seen) in all.drain(..) {
            match (seen, dial.probe()) {
                (Seen::Failed(fault), _) => self.ended(dial.place, dial.run, Outcome::Failed(fault.to_string())),
                (Seen::Open, Some(Probe::Tcp(_))) => self.ended(dial.place, dial.run, Outcome::Passed),
                (Seen::Open | Seen::Nothing, _) => self.follow(dial),
            }
        }
        self.seen = all;
    }

    fn ended(&mut self, place: Place, run: u64, outcome: Outcome) {
        tell_failure(self.checked(place), &outcome);
        self.handle(Event::Ended { run, outcome });
    }

    /// The rest of a try, beside the others.
    fn follow(&self, dial: Dial) {
        let (common, ended) = (Arc::clone(&self.common), self.ended.clone());
        tokio::spawn(async move {
            let Some(probe) = checked(&dial.config, dial.place) else { return };
            let outcome = over(dial.connection, dial.until, (probe, dial.step), &common).await;
            tell_failure(Some(probe), &outcome);
            let _ = ended.send((dial.run, outcome));
        });
    }
}

fn tell_failure(probe: Option<&Probe>, outcome: &Outcome) {
    if let (Some(probe), Outcome::Failed(why)) = (probe, outcome) {
        tracing::debug!(check = check_name(probe), "failed: {why}");
    }
}
