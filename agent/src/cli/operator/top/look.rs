//! What there is to be seen, asked for again and again.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use keepone_agent::clock;
use keepone_agent::event_log::Following;
use keepone_arbiter::control::Request;
use keepone_proto::time::Instant;
use serde_json::Value;

use super::super::Agent;

/// Events that are kept.
const EVENTS: usize = 500;

/// What the agent has said at one time.
#[derive(Debug, Clone, Default)]
pub(super) struct Look {
    /// Answer to `status`; the last one that came.
    pub(super) status: Value,
    /// Answer to `servers`, likewise.
    pub(super) servers: Value,
    /// The newest first.
    pub(super) events: Vec<Value>,
    /// Why there was no answer now, and for how long there has been none.
    pub(super) fault: Option<(String, Duration)>,
}

/// Ends with its receiver and with this.
pub(super) struct Looking {
    pub(super) looks: Receiver<Look>,
    _stop: SyncSender<()>,
}

/// Looks each `interval`, on a thread of its own: an agent that hangs is waited for there.
pub(super) fn start(agent: Agent, interval: Duration) -> std::io::Result<Looking> {
    let (sender, looks) = sync_channel(1);
    let (stop, stopped) = sync_channel::<()>(0);
    thread::Builder::new().name("look".into()).spawn(move || {
        let mut log = Following::new(&agent.run_dir);
        let mut events = VecDeque::new();
        let mut last = (Look::default(), clock::now());
        loop {
            look(&agent, &mut log, &mut events, &mut last);
            if sender.send(last.0.clone()).is_err() {
                return;
            }
            if !matches!(stopped.recv_timeout(interval), Err(RecvTimeoutError::Timeout)) {
                return;
            }
        }
    })?;
    Ok(Looking { looks, _stop: stop })
}

/// What could not be had stays as it was, and the fault says so.
fn look(agent: &Agent, log: &mut Following, events: &mut VecDeque<Value>, last: &mut (Look, Instant)) {
    log.look(|line| {
        let Ok(event) = serde_json::from_str(line) else { return };
        events.push_front(event);
        events.truncate(EVENTS);
    });
    last.0.events = events.iter().cloned().collect();
    let answers = agent.ask(&Request::new("status")).and_then(|status| {
        let servers = agent.ask(&Request::new("servers"))?;
        Ok((status, servers))
    });
    match answers {
        Ok((status, servers)) => {
            (last.0.status, last.0.servers, last.0.fault) = (status, servers, None);
            last.1 = clock::now();
        }
        Err(failure) => last.0.fault = Some((failure.to_string(), clock::now().since(last.1))),
    }
}
