//! The agent's web page: who holds what, every line, the last hour, and why.
//!
//! A page is made of parts, each by a module of its own from the JSON of the control socket, and all of them again
//! whenever somebody looks. Everything that is a picture is a table or a sentence as well; no state is told by colour
//! alone.

mod domains;
mod events;
mod headline;
mod lines;
mod recent;
mod servers;
mod timeline;
mod words;

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use keepone_arbiter::control::Answering;
use keepone_arbiter::web::html::Html;
use keepone_arbiter::web::{Part, Settings, Site, Web};
use keepone_config::model;
use serde_json::Value;

use crate::control::Answers;
use crate::wall_clock;
use recent::Recent;

/// Starts the listener's thread; it listens where the configuration says so.
pub(crate) fn start(answers: Answers, node: &str, config: Option<&model::Web>) -> Option<Web> {
    let recent = Mutex::new(Recent::new(answers.run_dir()));
    let page = Page { answers, node: node.to_owned(), recent };
    let web = Web::start(page, settings(config));
    web.inspect_err(|error| tracing::error!("no thread for the web page: {error}")).ok()
}

/// Where it is to listen.
pub(crate) fn settings(config: Option<&model::Web>) -> Option<Settings> {
    let tls = |web: &model::Web| web.tls.clone();
    let token_file = |web: &model::Web| -> Option<PathBuf> { web.token_file.clone() };
    config.map(|web| Settings { listen: web.listen, tls: tls(web), token_file: token_file(web) })
}

struct Page {
    answers: Answers,
    node: String,
    recent: Mutex<Recent>,
}

impl Site for Page {
    fn answers(&self) -> &dyn Answering {
        &self.answers
    }

    fn title(&self) -> String {
        format!("keepone on {}", self.node)
    }

    fn parts(&self) -> Result<Vec<Part>, String> {
        let status = self.answers.snapshot()?.json();
        // A node without virtual servers has no part for them.
        let servers = self.answers.servers().unwrap_or_default();
        let now = wall_clock::utc();
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        recent.look(now);
        Ok(parts(&self.title(), &status, &servers, &recent, now))
    }

    fn metrics(&self, text: String) -> Result<String, String> {
        self.answers.metrics(text)
    }
}

fn parts(title: &str, status: &Value, servers: &Value, recent: &Recent, now: std::time::Duration) -> Vec<Part> {
    let part = |id, html: Html| Part { id, html, is_said: false };
    vec![
        Part { id: "headline", html: headline::html(title, status), is_said: true },
        part("alerts", headline::alerts(status)),
        part("domains", domains::html(status)),
        part("lines", lines::picture(status)),
        part("links", lines::table(status)),
        part("hour", timeline::html(status, recent, now)),
        part("servers", servers::html(servers)),
        part("events", events::html(recent)),
    ]
}

#[cfg(test)]
mod tests;
