//! The alert script: run at the begin and the end of each alert, one after the other, in their order.
//!
//! Arguments: name, `raised` or `cleared`, the domain (`-` for the whole node), severity. The environment bears
//! the same and evidence, remedy and epoch.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use keepone_config::model::Script;
use keepone_proto::action::Alert;

use super::run::{Rules, run};

/// Alerts that may wait for the script.
const QUEUE: usize = 256;

/// An alert with the names that an operator knows.
#[derive(Debug)]
struct Told {
    alert: Alert,
    domain: Option<String>,
}

/// The way to the script.
#[derive(Debug)]
pub struct AlertScript {
    queue: SyncSender<Told>,
}

impl AlertScript {
    /// Starts its thread; `None`: there is none, and the log says why.
    pub(crate) fn start(script: Script, node: String, rules: Rules) -> Option<Self> {
        let (queue, alerts) = sync_channel(QUEUE);
        let serve = move || serve(&script, &node, &rules, &alerts);
        let started = thread::Builder::new().name("notify alerts".into()).spawn(serve);
        let started = started.inspect_err(|error| tracing::error!(%error, "no thread for the alert script"));
        started.is_ok().then_some(AlertScript { queue })
    }

    /// Tells the script, without waiting.
    pub fn tell(&self, alert: &Alert, domain: Option<&str>) {
        let told = Told { alert: alert.clone(), domain: domain.map(str::to_owned) };
        if self.queue.try_send(told).is_err() {
            let name = alert.name.as_str();
            tracing::warn!("the alert script is {QUEUE} alerts behind: {name} is not told to it");
        }
    }
}

fn serve(script: &Script, node: &str, rules: &Rules, alerts: &Receiver<Told>) {
    while let Ok(Told { alert, domain }) = alerts.recv() {
        let (name, state) = (alert.name.as_str(), if alert.raised { "raised" } else { "cleared" });
        let severity = alert.name.severity().as_str();
        let epoch = alert.epoch.map(|epoch| epoch.to_string()).unwrap_or_default();
        let variables = [
            ("KEEPONE_NODE", node),
            ("KEEPONE_ALERT", name),
            ("KEEPONE_STATE", state),
            ("KEEPONE_DOMAIN", domain.as_deref().unwrap_or_default()),
            ("KEEPONE_SEVERITY", severity),
            ("KEEPONE_EVIDENCE", &alert.evidence),
            ("KEEPONE_REMEDY", &alert.remedy),
            ("KEEPONE_EPOCH", &epoch),
        ];
        run(script, rules, &[name, state, domain.as_deref().unwrap_or("-"), severity], &variables);
    }
}
