//! The control socket of a running witness: `control` in its state directory, for root and the witness's user.
//!
//! What is asked for: `status`, `leases`, `revoke`, `forget`, `backup`; names and fields are those of [`super::report`].

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::config::WitnessConfig;
use super::orders::{Ask, Which};
use super::report::Status;
use crate::control::{Answering, Lines, Request, Right, Server, ServerError, Settings};
use crate::quic::{PublicKey, Roster};

/// The longest that a node may be barred for.
pub const LONGEST_BAR: Duration = Duration::from_secs(24 * 3600);

/// Where the socket of a witness with that state directory is.
pub fn socket(state_dir: &Path) -> PathBuf {
    state_dir.join("control")
}

/// What the voters' loop does not know.
#[derive(Debug, Clone)]
pub(super) struct About {
    pub(super) name: String,
    pub(super) id: u16,
    pub(super) key: PublicKey,
    pub(super) listen: String,
    pub(super) max_rate: u32,
}

impl About {
    pub(super) fn new(config: &WitnessConfig, key: PublicKey, listen: String) -> Self {
        About { name: config.name.clone(), id: config.id.get(), key, listen, max_rate: config.max_rate }
    }
}

/// Answers on the clients' threads.
#[derive(Clone)]
pub(super) struct Answers {
    pub(super) asks: mpsc::Sender<Ask>,
    pub(super) about: Arc<Mutex<About>>,
    pub(super) roster: Arc<Roster>,
}

/// Starts to answer.
pub(super) fn open(state_dir: &Path, answers: Answers) -> Result<Server, ServerError> {
    Server::start(Settings::new(&socket(state_dir), None), answers)
}

impl Answers {
    /// Asks the loop, and waits for its answer as long as it turns.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, String> {
        let ended = "the voters have ended: see the log of the witness";
        let (to, answer) = oneshot::channel();
        self.asks.try_send(ask(to)).map_err(|refused| match refused {
            mpsc::error::TrySendError::Full(_) => "too many questions wait already: ask again in a moment",
            mpsc::error::TrySendError::Closed(_) => ended,
        })?;
        answer.blocking_recv().map_err(|_| ended.to_owned())
    }

    pub(super) fn status(&self) -> Result<Status, String> {
        let (uptime, clusters) = self.ask(Ask::Status)?;
        let about = self.about.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Status {
            name: about.name,
            id: about.id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            key: about.key.to_string(),
            listen: about.listen,
            uptime_ms: u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX),
            max_rate: about.max_rate,
            strangers: self.roster.strangers(),
            clusters,
        })
    }
}

impl Answering for Answers {
    fn answer(&self, request: &Request, who: &str, lines: &mut dyn Lines) -> Result<Value, String> {
        match request.ask.as_str() {
            "status" => value(self.status()?),
            "leases" => several(self.ask(Ask::Leases)?, lines),
            "backup" => several(self.ask(Ask::Backup)?, lines),
            "revoke" => {
                let (what, length) = (which(request)?, length(request)?);
                tracing::info!("revoke {} is ordered by {who}", what.name);
                value(self.ask(|answer| Ask::Revoke { what, length, answer })??)
            }
            "forget" => {
                let what = which(request)?;
                tracing::info!("forget {} is ordered by {who}", what.name);
                Ok(json!({ "done": self.ask(|answer| Ask::Forget { what, answer })?? }))
            }
            other => Err(format!("{other:?} is not known: status, leases, revoke, forget and backup are")),
        }
    }

    fn right(&self, ask: &str) -> Option<Right> {
        match ask {
            "status" | "leases" => Some(Right::Read),
            // A backup is what another witness could be made of.
            "revoke" | "forget" | "backup" => Some(Right::Operate),
            _ => None,
        }
    }
}

/// A line each, and their count at the end.
fn several(rows: Vec<impl serde::Serialize>, lines: &mut dyn Lines) -> Result<Value, String> {
    let count = rows.len();
    for row in rows {
        lines.more(value(row)?).map_err(|error| error.to_string())?;
    }
    Ok(json!({ "count": count }))
}

fn value(row: impl serde::Serialize) -> Result<Value, String> {
    serde_json::to_value(row).map_err(|error| error.to_string())
}

fn which(request: &Request) -> Result<Which, String> {
    let name = request.text("name").ok_or("`name` is missing: a domain's name or number, or a node's name")?;
    Ok(Which { cluster: request.text("cluster").map(Into::into), name: name.into() })
}

fn length(request: &Request) -> Result<Duration, String> {
    let wanted = || format!("`seconds` is to be a whole number from 1 to {}", LONGEST_BAR.as_secs());
    let seconds = request.with.get("seconds").and_then(Value::as_u64).ok_or_else(wanted)?;
    let length = Duration::from_secs(seconds);
    if seconds == 0 || length > LONGEST_BAR { Err(wanted()) } else { Ok(length) }
}
