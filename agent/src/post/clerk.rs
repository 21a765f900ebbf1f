//! Puts news into the spool of each who is to be told, and hires a courier for each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_proto::event::Event;
use tokio::sync::mpsc;

use super::courier;
use super::news::News;
use super::settings::{Job, Settings};
use super::spool::Spool;
use crate::clock;

/// At the end couriers have so long for what waits; the rest is carried by the next life.
const LAST: Duration = Duration::from_millis(2500);
const LOOK: Duration = Duration::from_millis(5);

/// What comes in.
#[derive(Debug)]
pub(super) enum Told {
    News(Box<News>),
    Set(Box<Settings>),
}

/// One who is told, and his courier.
struct Desk {
    job: Job,
    spool: Arc<Spool>,
    courier: Option<JoinHandle<()>>,
}

pub(super) struct Clerk {
    desks: BTreeMap<String, Desk>,
    events: mpsc::Sender<Event>,
    /// What found no room on its way here.
    lost: Arc<AtomicU64>,
}

impl Clerk {
    pub(super) fn new(settings: Settings, events: mpsc::Sender<Event>, lost: Arc<AtomicU64>) -> Self {
        let mut clerk = Clerk { desks: BTreeMap::new(), events, lost };
        clerk.set(&settings);
        clerk
    }

    pub(super) fn serve(mut self, told: &Receiver<Told>) {
        while let Ok(next) = told.recv() {
            let lost = self.lost.swap(0, Ordering::Relaxed);
            if lost > 0 {
                self.desks.values().for_each(|desk| desk.spool.lose(lost));
            }
            match next {
                Told::News(news) => {
                    let news = Arc::new(*news);
                    self.desks.values().filter(|desk| desk.job.wants(&news)).for_each(|desk| desk.spool.put(&news));
                }
                Told::Set(settings) => self.set(&settings),
            }
        }
        self.end();
    }

    fn set(&mut self, settings: &Settings) {
        let mut former = std::mem::take(&mut self.desks);
        for job in &settings.jobs {
            let directory = job.directory();
            let desk = match former.remove(&directory) {
                Some(desk) => {
                    desk.spool.assign(Some(job.clone()));
                    Desk { job: job.clone(), ..desk }
                }
                None => {
                    let spool = Arc::new(Spool::open(settings.spool.join(&directory), job.who(), self.events.clone()));
                    spool.assign(Some(job.clone()));
                    let (served, name) = (spool.clone(), directory.chars().take(15).collect());
                    let courier = thread::Builder::new().name(name).spawn(move || courier::serve(&served));
                    let courier = courier.inspect_err(
                        |error| tracing::error!(%error, "no thread for {}: what it is told waits", job.who()),
                    );
                    Desk { job: job.clone(), spool, courier: courier.ok() }
                }
            };
            self.desks.insert(directory, desk);
        }
        // What waits for one who is told no more stays where it is.
        former.into_values().for_each(|desk| desk.spool.assign(None));
    }

    /// Each has one more attempt.
    fn end(self) {
        let until = clock::now() + LAST;
        self.desks.values().for_each(|desk| desk.spool.end());
        let couriers: Vec<_> = self.desks.into_values().filter_map(|desk| desk.courier).collect();
        while clock::now() < until && couriers.iter().any(|courier| !courier.is_finished()) {
            thread::sleep(LOOK);
        }
    }
}
