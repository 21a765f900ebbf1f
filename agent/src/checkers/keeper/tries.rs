//! How the keeper makes tries: connections many at a time, all else as tasks beside it.

use std::sync::Arc;

use keepone_config::model::{HttpProbe, Probe, Target};
use keepone_proto::balance::checker::Outcome;
use keepone_proto::balance::machine::{Event, Place};

use super::Keeper;
use crate::checkers::dials::{Dial, Seen, checked};
use crate::checkers::exchange::Exchange;
use crate::checkers::settings::check_name;
use crate::checkers::{Fault, dialled, http, over, passed, url};

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
            let config = Arc::clone(&dial.config);
            match (seen, checked(&config, dial.place)) {
                (Seen::Failed(fault), _) => self.ended(&dial, Err(fault)),
                (Seen::Open, Some(Probe::Tcp(_))) => self.ended(&dial, Ok(())),
                (Seen::Open, Some(Probe::Http(target, settings))) if http::is_plain(settings) => {
                    self.talk(dial, target, settings);
                }
                (Seen::Open | Seen::Nothing, _) => self.follow(dial),
            }
        }
        self.seen = all;
    }

    /// Asks, or reads what was answered.
    fn talk(&mut self, mut dial: Dial, target: &Target, settings: &HttpProbe) {
        let Some(url) = url(settings, dial.step) else { return self.ended(&dial, Ok(())) };
        match &mut dial.exchange {
            Some(exchange) => match exchange.receive(&dial.connection, &mut self.room, url) {
                Ok(Some(page)) => self.ended(&dial, http::judge(&page, url)),
                // More of it than is there at once.
                Ok(None) => self.follow(dial),
                Err(fault) => self.ended(&dial, Err(fault)),
            },
            None => {
                let begun = Exchange::new(target, settings, url)
                    .and_then(|mut exchange| exchange.send(&dial.connection).map(|()| exchange));
                match begun {
                    Ok(exchange) => {
                        dial.exchange = Some(exchange);
                        if let Some(dial) = self.dials.hear(dial, self.grid) {
                            self.follow(dial);
                        }
                    }
                    Err(fault) => self.ended(&dial, Err(fault)),
                }
            }
        }
    }

    fn ended(&mut self, dial: &Dial, tried: Result<(), Fault>) {
        let outcome = passed(tried);
        tell_failure(self.checked(dial.place), &outcome);
        self.handle(Event::Ended { run: dial.run, outcome });
    }

    /// The rest of a try, beside the others.
    fn follow(&self, dial: Dial) {
        let (common, ended) = (Arc::clone(&self.common), self.ended.clone());
        tokio::spawn(async move {
            let Dial { config, place, step, run, connection, exchange, until } = dial;
            let Some(probe) = checked(&config, place) else { return };
            let outcome = over((connection, exchange), until, (probe, step), &common).await;
            tell_failure(Some(probe), &outcome);
            let _ = ended.send((run, outcome));
        });
    }
}

fn tell_failure(probe: Option<&Probe>, outcome: &Outcome) {
    if let (Some(probe), Outcome::Failed(why)) = (probe, outcome) {
        tracing::debug!(check = check_name(probe), "failed: {why}");
    }
}
