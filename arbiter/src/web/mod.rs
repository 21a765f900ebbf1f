//! The web page and the HTTP listener: what the control socket tells, for browsers and for other machines.
//!
//! ```text
//! a browser ── server.rs (TLS, bounds) ── routes.rs ─┬─ page, live.rs ── Site::parts     (one for all who look)
//! curl, another machine ─────────────────────────────┴─ /v1/NAME ─────── Answering       (the socket's own answers)
//! ```
//!
//! What must stay true: nobody who asks costs the program's decisions time. The listener has a thread and a runtime of
//! its own; what waits for an answer does so on a few more. Connections, octets, times and viewers have bounds.
//! Nobody is told anything beyond this host without TLS and a token, and a browser's cookie may only read.
//!
//! - [`settings`]: where it listens, and what is refused
//! - [`tokens`]: who may ask for what
//! - [`html`]: text that can't break out of its place; [`pieces`]: sections, tables, bars
//! - `tls`, `patient`: certificates; readers that are too slow
//! - `live`: what changes, told while somebody looks

pub mod html;
mod live;
mod page;
mod patient;
pub mod pieces;
mod routes;
mod server;
pub mod settings;
mod spare;
mod tls;
pub mod tokens;

pub use server::Web;
pub use settings::Settings;

use crate::control::Answering;

/// What a page is made of, besides the answers of the control socket.
pub trait Site: Send + Sync + 'static {
    /// Who answers what is asked at the control socket.
    fn answers(&self) -> &dyn Answering;

    /// Of the page: what is looked at.
    fn title(&self) -> String;

    /// All parts in the order of the page, as they are now. On a thread that may wait.
    ///
    /// # Errors
    /// Why there is nothing to show, in words for the operator.
    fn parts(&self) -> Result<Vec<Part>, String>;

    /// For Prometheus, in `text`, which is empty and may have room.
    ///
    /// # Errors
    /// The same.
    fn metrics(&self, text: String) -> Result<String, String>;
}

/// A part of a page that changes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Of its element: a constant, since it stands in the page and in events.
    pub id: &'static str,
    /// What is in it.
    pub html: html::Html,
    /// Whether a screen reader says it when it changes.
    pub is_said: bool,
}

#[cfg(test)]
mod tests;
