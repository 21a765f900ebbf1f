//! The control socket: a program's own word on how it stands, for the operator on the same host.
//!
//! A Unix stream socket with one JSON object a line, and a version in each. What must stay true: nobody who asks costs
//! the program's decisions time. The socket has threads of its own, and so has each client; clients, octets of a line
//! and waiting questions have bounds; a reader that is slow is dropped.
//!
//! - [`message`]: a request and the lines that answer it
//! - [`access`]: who may ask (SO_PEERCRED, SO_PEERGROUPS)
//! - [`server`]: the socket and its clients
//! - [`desk`]: the way of a question to a loop that must not wait, and of its answer back
//! - [`caller`]: the asking side

pub mod access;
pub mod caller;
pub mod desk;
pub mod message;
pub mod server;

pub use access::{Access, Caller};
pub use caller::{AskError, Asking, ask};
pub use desk::{Counter, Desk, Question, Unanswered};
pub use message::{Reply, Request, VERSION};
pub use server::{Answering, Client, Lines, Right, Server, ServerError, Settings};

#[cfg(test)]
mod tests;
