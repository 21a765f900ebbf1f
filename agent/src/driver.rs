//! The loop: wait for an event or the deadline, `node.handle`, carry out. The only caller of [`Node`].
//!
//! What must stay true: nothing here waits. Sockets are non-blocking; the kernel's rtnl, the disk, scripts
//! and logs have threads of their own behind queues; only the gate is written in line, where it is one
//! store in memory (R15; means 2 has a thread, too).

mod control;
mod deeds;
mod hand_on;
pub(crate) mod pulse;
mod reload;
mod shells;

use std::time::Duration;

use keepone_arbiter::control::Question;
use keepone_proto::action::Action;
use keepone_proto::event::Event;
use keepone_proto::node::Node;
use keepone_proto::settings::Settings;
use keepone_proto::time::Instant;
use tokio::sync::mpsc;

use crate::clock;
use crate::control::{Answer as Told, Ask, Questions};
use crate::dump::What;
use crate::kernel::Said;
use crate::post::Server;
use crate::recording::Recorder;
use crate::takeover::{Answer, Examined, Good, Order, Source};
pub(crate) use hand_on::HandOn;
pub(crate) use reload::{Prepared, Reloads};
pub(crate) use shells::Shells;

/// Events taken in one go before the timers get their turn.
const BATCH: usize = 64;
/// Heartbeats, events, the kernel.
const SOURCES: usize = 3;

/// The most that a deadline may wait for others.
const SLACK: Duration = Duration::from_millis(1);

/// The loop and what it holds.
pub(crate) struct Driver {
    node: Node,
    shells: Shells,
    recorder: Option<Recorder>,
    /// See [`slack`].
    slack: Duration,
    stopped: bool,
    source: Source,
    /// For whoever examines a new configuration.
    examined: mpsc::Sender<Examined>,
    hand_on: HandOn,
}

/// Where events come from.
pub(crate) struct Sources {
    /// Heartbeat links.
    pub(crate) heartbeats: Option<mpsc::Receiver<Event>>,
    /// Everything else of ours.
    pub(crate) events: mpsc::Receiver<Event>,
    /// What is to be written down.
    pub(crate) dumps: mpsc::Receiver<What>,
    /// Orders to reload.
    pub(crate) orders: mpsc::Receiver<Order>,
    /// What became of one.
    pub(crate) examined: mpsc::Receiver<Examined>,
    /// What the operator asks.
    pub(crate) questions: Questions,
    /// Virtual and real servers that have come or gone.
    pub(crate) servers: mpsc::Receiver<Server>,
    /// Which of them is asked first the next time.
    pub(crate) turn: usize,
}

impl Sources {
    /// What has come already: they take turns, so that a flood of one leaves the others theirs.
    fn waiting(&mut self, kernel: &mut mpsc::Receiver<Said>) -> Option<Woke> {
        for _ in 0..SOURCES {
            self.turn = (self.turn + 1) % SOURCES;
            let woke = match self.turn {
                0 => self.heartbeats.as_mut().and_then(|beats| beats.try_recv().ok()).map(Woke::Event),
                1 => self.events.try_recv().ok().map(Woke::Event),
                _ => kernel.try_recv().ok().map(Woke::Kernel),
            };
            if woke.is_some() {
                return woke;
            }
        }
        None
    }
}

/// What woke the loop.
#[derive(Debug)]
enum Woke {
    Event(Event),
    Kernel(Said),
    Dump(What),
    Order(Order),
    Examined(Examined),
    Asked(Question<Ask, Told>),
    Server(Server),
    Time,
}

impl Driver {
    pub(crate) fn new(
        node: Node,
        shells: Shells,
        recorder: Option<Recorder>,
        (source, examined): (Source, mpsc::Sender<Examined>),
        hand_on: HandOn,
    ) -> Self {
        let slack = slack(&shells.plan.settings);
        Driver { node, shells, recorder, slack, stopped: false, source, examined, hand_on }
    }

    /// Runs until the node has stopped.
    ///
    /// # Errors
    /// The timer can't be made, or the netlink thread has failed.
    pub(crate) async fn run(mut self, mut sources: Sources) -> Result<Shells, String> {
        let mut timer = clock::Timer::new().map_err(|error| format!("cannot make a timer: {error}"))?;
        if self.shells.begins_in_maintenance {
            tracing::warn!(
                "this node is in maintenance and stands for nothing: `keepone maintenance off` takes it back in"
            );
            self.take(Event::Maintenance { on: true });
        }
        self.take(Event::Tick);
        while !self.stopped {
            if !self.shells.pulse.beat(clock::now()) {
                tracing::error!("the guardian has gone: everything is given up in good order");
                self.take(Event::Stop);
            }
            let woke = self.next(&mut timer, &mut sources).await?;
            self.digest(woke)?;
            for _ in 0..BATCH {
                match sources.waiting(&mut self.shells.kernel.said) {
                    Some(woke) => self.digest(woke)?,
                    None => break,
                }
            }
            // One in a turn: whoever asks is answered in a flood of events, and is none himself; so are servers told of.
            if let Ok(question) = sources.questions.try_recv() {
                self.answer(question);
            }
            if let Ok(server) = sources.servers.try_recv() {
                self.shells.notifier.tell_server(server);
            }
            if self.node.next_deadline().is_some_and(|at| at <= clock::now()) {
                self.take(Event::Tick);
            }
            if self.hands_on() {
                // Of servers nothing more comes: their checks have handed on before.
                while let Ok(server) = sources.servers.try_recv() {
                    self.shells.notifier.tell_server(server);
                }
                break;
            }
        }
        Ok(self.shells)
    }

    /// What comes first: an event, or the deadline.
    async fn next(&mut self, timer: &mut clock::Timer, sources: &mut Sources) -> Result<Woke, String> {
        let pulse_at = self.shells.pulse.due();
        let at: Instant = self.node.next_deadline().map_or(pulse_at, |at| at.min(pulse_at));
        let at = clock::together(at, self.slack);
        let heartbeats = async {
            match &mut sources.heartbeats {
                Some(receiver) => receiver.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(event) = heartbeats => Ok(Woke::Event(event)),
            Some(event) = sources.events.recv() => Ok(Woke::Event(event)),
            Some(said) = self.shells.kernel.said.recv() => Ok(Woke::Kernel(said)),
            Some(what) = sources.dumps.recv() => Ok(Woke::Dump(what)),
            Some(order) = sources.orders.recv() => Ok(Woke::Order(order)),
            Some(examined) = sources.examined.recv() => Ok(Woke::Examined(examined)),
            Some(question) = sources.questions.recv() => Ok(Woke::Asked(question)),
            Some(server) = sources.servers.recv() => Ok(Woke::Server(server)),
            slept = timer.sleep_until(at) => slept.map(|()| Woke::Time).map_err(|error| format!("the timer failed: {error}")),
        }
    }

    fn digest(&mut self, woke: Woke) -> Result<(), String> {
        match woke {
            Woke::Event(event) | Woke::Kernel(Said::Event(event)) => {
                if let Event::Watched { watch, reading } = &event {
                    self.shells.tell_checkers(*watch, reading);
                }
                self.take(event);
            }
            Woke::Kernel(Said::Change(change)) => {
                if let Some(event) = self.shells.on_change(change) {
                    self.take(event);
                }
            }
            Woke::Kernel(Said::Link(name, alive)) => {
                if let Some(event) = self.shells.on_link(name, alive) {
                    self.take(event);
                }
            }
            Woke::Kernel(Said::Removed(number)) => self.shells.removed(number),
            Woke::Order(Order::Reload) => self.examine(),
            Woke::Order(Order::HandOn(needed)) => {
                self.hand_on.order(needed, &self.source.running, self.shells.checkers.desk());
            }
            Woke::Examined(examined) => self.take_over(examined),
            Woke::Kernel(Said::Failed(error)) => return Err(format!("netlink: {error}")),
            Woke::Dump(what) => {
                let snapshot = self.snapshot();
                self.shells.dumps.as_ref().inspect(|dumps| dumps.write(what, snapshot));
            }
            Woke::Asked(question) => self.answer(question),
            Woke::Server(server) => self.shells.notifier.tell_server(server),
            Woke::Time => {}
        }
        Ok(())
    }

    /// Another configuration is to be examined; the guardian asks for one at a time.
    fn examine(&mut self) {
        let reloads = &mut self.shells.reloads;
        if !std::mem::replace(&mut reloads.is_under_way, true) {
            reloads.number += 1;
            let (number, keeper) = (reloads.number, self.shells.gate.as_ref().and_then(|gate| gate.keeper()));
            self.source.examine(&self.shells.plan, keeper, number, &self.examined);
        }
    }

    fn take_over(&mut self, examined: Examined) {
        let answer = match examined {
            Examined::Good(good) => {
                let Good { config, prepared, mark, changes } = *good;
                self.shells.ipvs.configure(&config);
                self.shells.configure_checkers(&config, &prepared.plan.tied);
                self.shells.configure_views(&config);
                self.source.running = config;
                for event in self.shells.take_over(prepared) {
                    self.take(event);
                }
                self.shells.notifier.tell_states();
                self.shells.notifier.tell_reloaded();
                self.slack = slack(&self.shells.plan.settings);
                tracing::info!("reload: taken over, and whatever is equal was not touched");
                changes.iter().for_each(|change| tracing::info!("reload: {change}"));
                Answer::Taken(mark)
            }
            Examined::Same(mark) => {
                tracing::info!("reload: the configuration means the same, nothing is touched");
                Answer::Taken(mark)
            }
            Examined::Restart(why) => {
                tracing::info!("reload: it takes a new worker: {why}");
                self.shells.ipvs.keep();
                Answer::Restart
            }
            Examined::Refused(why) => {
                tracing::error!("no reload, the running configuration stays: {why}");
                Answer::Refused
            }
        };
        self.shells.end_reload();
        self.shells.pulse.answer(answer.octet());
    }

    /// One event into the node, its actions out, and what they answer at once back in.
    fn take(&mut self, event: Event) {
        let clock = match &event {
            Event::VrrpReceived { .. } => self.shells.look_at_wall_clock(),
            _ => None,
        };
        let mut queue: std::collections::VecDeque<Event> = clock.into_iter().chain([event]).collect();
        while let Some(event) = queue.pop_front() {
            let now = clock::now();
            let copy = self.recorder.is_some().then(|| event.clone());
            let actions = self.node.handle(now, event);
            if let Some((recorder, event)) = self.recorder.as_mut().zip(copy) {
                recorder.step(now, event, &actions);
            }
            for action in actions {
                if action == Action::Stopped {
                    self.stopped = true;
                }
                queue.extend(self.shells.carry_out(action));
            }
            self.shells.send_out();
        }
    }
}

/// How long a deadline may wait so that others are met with it: a hundredth of the shortest Advertisement_Interval, and
/// nothing on a small node. A loop woken for each of a thousand Advertisements spends more on waking than on them.
fn slack(settings: &Settings) -> Duration {
    let shortest = settings.instances.iter().map(|instance| instance.advert_int).min();
    match shortest {
        Some(shortest) if settings.has_many_domains() => (shortest / 100).min(SLACK),
        _ => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_arbiter::control::Desk;

    #[test]
    fn a_flood_of_beats_leaves_the_others_their_turns() {
        let (beats, heartbeats) = mpsc::channel(BATCH);
        let (events, ours) = mpsc::channel(BATCH);
        let (said, mut kernel) = mpsc::channel(BATCH);
        for _ in 0..BATCH {
            beats.try_send(Event::Tick).unwrap();
        }
        events.try_send(Event::Stop).unwrap();
        said.try_send(Said::Failed("it fails".to_owned())).unwrap();
        let dumps = mpsc::channel(1).1;
        let (orders, examined) = (mpsc::channel(1).1, mpsc::channel(1).1);
        let questions = Desk::new(Duration::from_secs(10)).1;
        let servers = mpsc::channel(1).1;
        let heartbeats = Some(heartbeats);
        let mut sources = Sources { heartbeats, events: ours, dumps, orders, examined, questions, servers, turn: 0 };
        let first: Vec<Woke> = (0..SOURCES).filter_map(|_| sources.waiting(&mut kernel)).collect();
        assert!(first.iter().any(|woke| matches!(woke, Woke::Event(Event::Stop))), "{first:?}");
        assert!(first.iter().any(|woke| matches!(woke, Woke::Kernel(_))), "{first:?}");
        let rest = std::iter::from_fn(|| sources.waiting(&mut kernel)).count();
        assert_eq!(first.len() + rest, BATCH + 2, "and nothing is lost");
    }
}
