//! What each question is answered: on the client's thread.

use std::path::{Path, PathBuf};

use keepone_arbiter::control::{Answering, Desk, Lines, Request, Right};
use serde_json::{Value, json};

use super::servers::{self, Counted};
use super::snapshot::Snapshot;
use super::{Answer, Ask, maintenance};
use crate::checkers::desk::{Desk as Servers, Drain};
use crate::ipvs::connections::{Desk as Connections, Who};
use crate::record::Record;
use crate::{clock, logging, upgrade};

#[derive(Clone)]
pub(crate) struct Answers {
    pub(super) desk: Desk<Ask, Answer>,
    pub(super) run_dir: PathBuf,
    /// What the operator does stands in the event log.
    pub(super) record: Option<Record>,
    /// The thread of the health checks, which is asked past the decision thread.
    pub(super) servers: Servers,
    /// The thread of the kernel's table, likewise.
    pub(super) connections: Connections,
}

impl Answering for Answers {
    fn answer(&self, request: &Request, who: &str, _lines: &mut dyn Lines) -> Result<Value, String> {
        match request.ask.as_str() {
            "status" => self.status(),
            "metrics" => Ok(self.metrics(String::new())?.into()),
            "dump" => self.dump(request),
            "why" => match self.ask(Ask::Why(instance(request)?))? {
                Answer::Why(snapshot, why) => Ok(snapshot.why(&why)),
                other => Err(unexpected(&other)),
            },
            "maintenance" => self.maintenance(request, who),
            "handover" => {
                let to = request.text("to").map(str::to_owned);
                let instance = instance(request)?;
                match self.ask(Ask::HandOver { instance: instance.clone(), to })? {
                    Answer::HandOver(to) => {
                        self.note(&format!("{who} hands {instance} over to {to}"));
                        Ok(json!({ "to": to }))
                    }
                    other => Err(unexpected(&other)),
                }
            }
            "upgrade" => {
                // Nothing is known of one that begins.
                upgrade::forget(&self.run_dir);
                match self.ask(Ask::Upgrade)? {
                    Answer::Upgrading => {
                        self.note(&format!("{who} has the program replaced"));
                        Ok(json!({ "begun": true }))
                    }
                    other => Err(unexpected(&other)),
                }
            }
            "servers" => self.standing(request),
            "drain" => self.drain(request, who),
            "log" => {
                let level = request.text("level").ok_or("`level` is missing")?;
                logging::set(level)?;
                self.note(&format!("{who} sets the log to {level}"));
                Ok(json!({ "level": level }))
            }
            other => Err(format!(
                "{other} is not known here: status, why, servers, maintenance, handover, drain, upgrade, log, metrics and dump are"
            )),
        }
    }

    fn right(&self, ask: &str) -> Option<Right> {
        match ask {
            "status" | "metrics" | "why" | "servers" | "dump" => Some(Right::Read),
            "maintenance" | "handover" | "drain" | "upgrade" | "log" => Some(Right::Operate),
            _ => None,
        }
    }
}

fn instance(request: &Request) -> Result<String, String> {
    request.text("instance").map(str::to_owned).ok_or_else(|| String::from("`instance` is missing"))
}

fn unexpected(answer: &Answer) -> String {
    match answer {
        Answer::Refused(why) => why.to_string(),
        Answer::NotMaster(role) => format!("it is {}: only a MASTER announces its addresses", role.as_str()),
        Answer::Unknown(name) => format!("there is no {name} here: `keepone status` lists what there is"),
        _ => String::from("another question was answered; this is a defect"),
    }
}

impl Answers {
    /// How everything stands.
    pub(crate) fn snapshot(&self) -> Result<Box<Snapshot>, String> {
        match self.ask(Ask::Status)? {
            Answer::Status(snapshot) => Ok(snapshot),
            other => Err(unexpected(&other)),
        }
    }

    /// The same as JSON, with virtual servers in a few numbers, where there are any and their thread answers.
    fn status(&self) -> Result<Value, String> {
        let mut status = self.snapshot()?.json();
        let summary = self.counted().ok().and_then(|services| servers::summary(&services));
        if let (Some(summary), Some(status)) = (summary, status.as_object_mut()) {
            status.insert(String::from("servers"), summary);
        }
        Ok(status)
    }

    /// How virtual servers stand, in the order of the configuration, and what the kernel counts of them.
    pub(crate) fn counted(&self) -> Result<Vec<Counted>, String> {
        let standing = self.servers.standing()?;
        let counts = self.connections.board.of(&standing);
        Ok(standing.into_iter().zip(counts).collect())
    }

    /// How long ago it was counted, in milliseconds.
    fn counted_ms(&self) -> Option<f64> {
        self.connections.board.at().map(|at| clock::now().since(at).as_secs_f64() * 1000.0)
    }

    /// As a scraper reads it, in `text`. Where the thread of the checks does not answer, nothing is said of servers.
    pub(crate) fn metrics(&self, text: String) -> Result<String, String> {
        let snapshot = self.snapshot()?;
        Ok(snapshot.metrics(text, &self.counted().unwrap_or_default()))
    }

    /// As the files that signals ask for.
    fn dump(&self, request: &Request) -> Result<Value, String> {
        let snapshot = self.snapshot()?;
        match request.text("as") {
            None => Ok(snapshot.dump()),
            Some("keepalived") => Ok(snapshot.keepalived().into()),
            Some("keepalived-stats") => Ok(snapshot.keepalived_stats().into()),
            Some("keepalived-data") => Ok(snapshot.keepalived_data().into()),
            Some("keepalived-check-data") => {
                Ok(snapshot.keepalived_check_data(&self.servers.standing()?).unwrap_or_default().into())
            }
            Some(other) => Err(format!(
                "nothing is dumped as {other}: write `keepalived`, `keepalived-stats`, `keepalived-data` or \
                 `keepalived-check-data`, or leave it out"
            )),
        }
    }

    /// Announces an instance's addresses anew, for D-Bus.
    pub(crate) fn announce(&self, instance: &str) -> Result<(), String> {
        match self.ask(Ask::Announce(instance.to_owned()))? {
            Answer::Announced => {
                self.note(&format!("root has {instance} announced by D-Bus"));
                Ok(())
            }
            other => Err(unexpected(&other)),
        }
    }

    /// How real servers stand; the kernel is not asked for anything.
    pub(crate) fn servers(&self) -> Result<Value, String> {
        Ok(servers::json(&self.counted()?, &Ok(Default::default()), self.counted_ms()))
    }

    pub(crate) fn run_dir(&self) -> &Path {
        &self.run_dir
    }

    fn ask(&self, asked: Ask) -> Result<Answer, String> {
        self.desk.ask(asked).map_err(|error| error.to_string())
    }

    /// The file first: a worker that ends meanwhile leaves the next one to do as it says.
    fn maintenance(&self, request: &Request, who: &str) -> Result<Value, String> {
        let on = request.with.get("on").and_then(Value::as_bool).ok_or("`on` is missing: true or false")?;
        let was = maintenance::is_on(&self.run_dir);
        maintenance::set(&self.run_dir, on, who)
            .map_err(|error| format!("{} can't be written: {error}", self.run_dir.display()))?;
        match self.ask(Ask::Maintenance(on)) {
            Ok(_) => {
                self.note(&format!("{who} turns maintenance {}", if on { "on" } else { "off" }));
                Ok(json!({ "maintenance": on, "was": was }))
            }
            Err(error) => {
                // What was not done is not to be done later, by the next worker.
                let _ = maintenance::set(&self.run_dir, was, who);
                Err(error)
            }
        }
    }

    /// How servers stand, and what the kernel counts of them: of those that are emptied what they have now; with `draining`
    /// true, those alone.
    fn standing(&self, request: &Request) -> Result<Value, String> {
        let mut services = self.counted()?;
        if request.with.get("draining").and_then(Value::as_bool) == Some(true) {
            for (service, counts) in &mut services {
                let all = std::mem::take(&mut service.servers).into_iter().zip(std::mem::take(&mut counts.servers));
                (service.servers, counts.servers) = all.filter(|(server, _)| server.is_draining).unzip();
            }
            services.retain(|(service, _)| !service.servers.is_empty());
        }
        let drained = services.iter().flat_map(|(service, _)| {
            let drained = service.servers.iter().filter(|server| server.is_draining);
            drained.map(|server| (service.name.clone(), server.name.clone()))
        });
        let drained: Vec<Who> = drained.collect();
        let known = if drained.is_empty() { Ok(Default::default()) } else { self.connections.connections(drained) };
        Ok(servers::json(&services, &known, self.counted_ms()))
    }

    /// Empties a real server, or fills it again.
    fn drain(&self, request: &Request, who: &str) -> Result<Value, String> {
        let server = request.text("server").ok_or("`server` is missing")?.to_owned();
        let is_draining = request.with.get("on").and_then(Value::as_bool).ok_or("`on` is missing: true or false")?;
        let of = request.text("of").map(str::to_owned);
        let found = self.servers.drain(Drain { server: server.clone(), of, is_draining })?;
        if found.is_empty() {
            return Err(format!("there is no real server {server} here: `keepone servers` lists what there is"));
        }
        let what = if is_draining { "empties" } else { "fills" };
        for (service, server) in &found {
            self.note(&format!("{who} {what} real server {server} of {service}"));
        }
        Ok(json!({ "servers": found.iter().map(|(of, name)| json!({ "of": of, "name": name })).collect::<Vec<_>>() }))
    }

    fn note(&self, what: &str) {
        tracing::info!("{what}");
        if let Some(record) = &self.record {
            record.note(what, clock::now().as_nanos());
        }
    }
}
