//! What the agent knows of itself, written on a signal: `keepone.data`, `keepone.json` and `keepone.stats` in the run
//! directory.
//!
//! Written by a thread of its own behind a short queue (R15), whole or not at all, for nobody but their owner. Never in
//! /tmp, where anybody could have laid a file or a link of that name before.

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use keepone_proto::decision::Role;
use keepone_proto::node::Node;
use keepone_proto::settings::VrrpVersion;
use keepone_proto::time::Instant;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::assemble::Plan;

/// Dumps that may wait for the disk; more than one of a kind would be the same.
const QUEUE: usize = 2;

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// `keepone.data` and `keepone.json`.
    Data,
    /// `keepone.stats`.
    Stats,
}

/// keepalived's signal for JSON: SIGRTMIN+2.
pub fn json_signal() -> i32 {
    libc::SIGRTMIN() + 2
}

/// keepalived's signal for statistics that are cleared after: SIGRTMAX-1.
pub fn stats_clear_signal() -> i32 {
    libc::SIGRTMAX() - 1
}

/// What a signal asks for.
pub(crate) fn asked_by(signal: i32) -> Option<What> {
    match signal {
        libc::SIGUSR1 => Some(What::Data),
        libc::SIGUSR2 => Some(What::Stats),
        signal if signal == json_signal() => Some(What::Data),
        signal if signal == stats_clear_signal() => Some(What::Stats),
        _ => None,
    }
}

/// Listens for the signals, from the guardian or from the operator; by the other end others ask for the same.
///
/// # Errors
/// No handler can be had.
pub(crate) fn on_signals() -> io::Result<(mpsc::Sender<What>, mpsc::Receiver<What>)> {
    let (asks, asked) = mpsc::channel(QUEUE);
    for number in [libc::SIGUSR1, libc::SIGUSR2, json_signal(), stats_clear_signal()] {
        let mut signals = signal(SignalKind::from_raw(number))?;
        let (asks, what) = (asks.clone(), asked_by(number));
        tokio::spawn(async move {
            while signals.recv().await.is_some() {
                // Full: one that is as good waits already.
                let _ = what.map(|what| asks.try_send(what));
            }
        });
    }
    Ok((asks, asked))
}

/// The thread that writes.
#[derive(Debug)]
pub(crate) struct Dumps {
    queue: SyncSender<Vec<(&'static str, String)>>,
}

impl Dumps {
    /// Starts it.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(run_dir: &Path) -> io::Result<Self> {
        let (queue, files) = sync_channel::<Vec<(&'static str, String)>>(QUEUE);
        let run_dir = run_dir.to_owned();
        thread::Builder::new().name("dumps".into()).spawn(move || {
            for (name, text) in files.iter().flatten() {
                let path = run_dir.join(name);
                match write(&path, &text) {
                    Ok(()) => tracing::info!(file = %path.display(), "written"),
                    Err(error) => tracing::error!(%error, file = %path.display(), "it can't be written: make room in run_dir, or mend its rights"),
                }
            }
        })?;
        Ok(Dumps { queue })
    }

    /// Hands over what is known now.
    pub(crate) fn write(&self, what: What, node: &Node, plan: &Plan, now: Instant) {
        let files = match what {
            What::Data => {
                let json = data(node, plan, now);
                vec![("keepone.data", text(&json, 0)), ("keepone.json", format!("{json:#}\n"))]
            }
            What::Stats => vec![("keepone.stats", text(&stats(node, plan), 0))],
        };
        let _ = self.queue.try_send(files);
    }
}

/// Beside, then renamed: a reader never sees half of it.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let beside: PathBuf = path.with_extension("new");
    let _ = fs::remove_file(&beside);
    let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&beside)?;
    file.write_all(text.as_bytes())?;
    fs::rename(&beside, path)
}

/// `vrrp` has an entry for each instance, as keepalived's version 2 has, with keepalived's names where it has one.
fn data(node: &Node, plan: &Plan, now: Instant) -> Value {
    let domains = plan.settings.domains.iter();
    let domains = domains.map(|domain| {
        let role = node.role(domain.id);
        json!({
            "name": domain.name, "role": role.map(|(role, _, _)| role.as_str()),
            "reason": role.map(|(_, reason, _)| reason.as_str()),
            "effective_priority": role.map(|(_, _, priority)| priority.0), "gate_open": node.is_open(now, domain.id),
            "epoch": node.epoch(domain.id).map(|epoch| epoch.to_string()), "policy": domain.policy.as_str(),
        })
    });
    let instances = plan.settings.instances.iter().enumerate().filter_map(|(place, instance)| {
        // One without is left of a former configuration.
        let domain = plan.settings.domains.iter().find(|d| d.instances.iter().any(|id| usize::from(id.0) == place))?;
        let role = node.role(domain.id);
        let interface = plan.settings.interfaces.get(usize::from(instance.interface.0));
        Some(json!({ "data": {
            "iname": instance.name, "ifp_ifname": interface.map(|interface| interface.name.as_str()),
            "state": role.map(|(role, _, _)| state(role)), "state_name": role.map(|(role, _, _)| role.as_str()),
            "vrid": instance.vrid.get(), "version": version(instance.version),
            "base_priority": instance.priority.0, "effective_priority": role.map(|(_, _, priority)| priority.0),
            "adver_int": instance.advert_int.as_secs_f64(), "nopreempt": !instance.preempt,
            "preempt_delay": instance.preempt_delay.as_secs_f64(),
            "vips": instance.addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "domain": domain.name.as_str(),
        }}))
    });
    let alerts = node.alerts().map(
        |(name, domain)| json!({ "name": name.as_str(), "domain": domain.map(|domain| plan.domain_name(domain)) }),
    );
    json!({
        "version": env!("CARGO_PKG_VERSION"), "node": plan.node_name, "domains": domains.collect::<Vec<_>>(),
        "vrrp": instances.collect::<Vec<_>>(), "alerts": alerts.collect::<Vec<_>>(),
    })
}

fn stats(node: &Node, plan: &Plan) -> Value {
    let counters = node.counters();
    json!({
        "node": plan.node_name, "bad_advertisements": counters.bad_advertisements, "bad_beats": counters.bad_beats,
        "unauthentic_advertisements": counters.unauthentic_advertisements,
        "bad_lease_messages": counters.bad_lease_messages, "alerts": node.alerts().count(),
    })
}

fn version(version: VrrpVersion) -> u8 {
    match version {
        VrrpVersion::V2 => 2,
        VrrpVersion::V3 => 3,
    }
}

/// keepalived's number for a state; one that is fenced listens as a BACKUP does.
fn state(role: Role) -> u8 {
    match role {
        Role::Init => 0,
        Role::Backup | Role::Claiming | Role::Fenced => 1,
        Role::Master => 2,
        Role::Fault => 3,
    }
}

/// The same for people: one field a line.
fn text(value: &Value, depth: usize) -> String {
    let indent = "  ".repeat(depth);
    let mut out = String::new();
    let Value::Object(fields) = value else { return format!("{indent}{}\n", scalar(value)) };
    for (name, value) in fields {
        match value {
            Value::Object(_) => {
                let _ = write!(out, "{indent}{name}:\n{}", text(value, depth + 1));
            }
            Value::Array(elements) if elements.iter().any(Value::is_object) => {
                for element in elements {
                    let _ = write!(out, "{indent}{name}:\n{}", text(element, depth + 1));
                }
            }
            Value::Array(elements) => {
                let all: Vec<String> = elements.iter().map(scalar).collect();
                let _ =
                    writeln!(out, "{indent}{name} = {}", if all.is_empty() { "none".into() } else { all.join(" ") });
            }
            value => {
                let _ = writeln!(out, "{indent}{name} = {}", scalar(value));
            }
        }
    }
    out
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::from("none"),
        other => other.to_string(),
    }
}
