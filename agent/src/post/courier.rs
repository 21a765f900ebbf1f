//! The thread that carries what waits in one spool: one attempt after the other, at the spool's pace.

use super::letter::Letter;
use super::news::News;
use super::settings::Job;
use super::smtp::Relay;
use super::spool::{Load, Spool};
use super::webhook::Receiver;

/// Why an attempt has failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It may succeed later: what was seen, and what to do.
    Later { seen: String, remedy: &'static str },
    /// This one will never be taken, others may.
    Never(String),
}

enum Way {
    Mail(Relay),
    Webhook(Receiver),
}

impl Way {
    fn new(job: &Job) -> Self {
        match job {
            Job::Mail { mail, host, .. } => Way::Mail(Relay::new(mail, host)),
            Job::Webhook(webhook) => Way::Webhook(Receiver::new(webhook)),
        }
    }

    fn carry(&mut self, load: &Load) -> Result<(), Trouble> {
        let news: Vec<&News> = load.news.iter().map(|(_, news)| news.as_ref()).collect();
        match self {
            Way::Mail(relay) => match Letter::of(&news, load.dropped) {
                Some(letter) => relay.deliver(&letter),
                None => Ok(()),
            },
            Way::Webhook(receiver) => news.iter().try_for_each(|news| receiver.post(news)),
        }
    }
}

/// Until the spool ends, or has nobody to be told any more.
pub(super) fn serve(spool: &Spool) {
    let mut way: Option<(Job, Way)> = None;
    // What is said once, and not with each attempt.
    let mut said: Option<String> = None;
    while let Some((job, load)) = spool.next() {
        if way.as_ref().is_none_or(|(of, _)| *of != job) {
            way = Some((job.clone(), Way::new(&job)));
        }
        let Some((_, way)) = &mut way else { return };
        match way.carry(&load) {
            Ok(()) => {
                if said.take().is_some() {
                    tracing::info!("{} is taken again", spool.who());
                }
                spool.done(&load);
            }
            Err(Trouble::Never(seen)) => {
                tracing::error!("{} refuses what it will never take, which is given up: {seen}", spool.who());
                spool.done(&load);
            }
            Err(Trouble::Later { seen, remedy }) => {
                if said.as_ref() != Some(&seen) {
                    tracing::warn!("{} is not taken, and waits: {seen}; to do: {remedy}", spool.who());
                    said = Some(seen);
                }
                spool.failed(&load);
            }
        }
    }
}
