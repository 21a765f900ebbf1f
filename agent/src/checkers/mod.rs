//! Health checks of real servers: one try each, around `proto::balance`, which says when and judges what comes of it.
//!
//! - [`keeper`]: the thread that they run on, with the machine; [`listeners`]: whom it tells
//! - [`socket`]: how a try reaches its target; [`dials`]: many at a time; [`tls`]: what is spoken on top of that
//! - `TCP_CHECK` is up while it takes a connection; one module for each other kind: [`http`] (with [`exchange`], [`chunks`]
//!   and [`body`]), [`smtp`], [`dns`], [`udp`], [`ping`], [`misc`],
//!   [`told`] (files and BFD sessions)
//! - [`tied`]: quorums that instances track
//! - [`genhash`]: the digest of a page as `HTTP_GET` sees it
//!
//! What must stay true: a server that hangs, drips or never ends costs its own try its timeout, and nobody else
//! anything; of what it sends only so much is kept as [`LINE`], [`body::KEPT`] and [`body::READ`] say. None of this runs
//! on the thread that decides, or before it (R15).

pub(crate) mod body;
mod chunks;
pub(crate) mod desk;
mod dials;
mod dns;
mod exchange;
pub mod genhash;
pub(crate) mod http;
pub(crate) mod keeper;
pub(crate) mod listeners;
mod misc;
mod ping;
pub(crate) mod settings;
mod smtp;
pub(crate) mod socket;
pub(crate) mod tied;
pub(crate) mod tls;
mod told;
mod udp;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use keepone_config::model::{HttpProbe, Probe, Target, Url};
use keepone_proto::balance::checker::Outcome;
use keepone_proto::time::Instant;
use socket2::Socket;

use crate::clock;
use crate::script::User;
use exchange::Exchange;

/// Of a line that a server sends, so many bytes are read at most.
const LINE: usize = 4096;

/// What all tries have in common.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    /// Who runs scripts that name nobody.
    pub(crate) user: User,
    /// What TLS is spoken with.
    pub(crate) tls: Arc<tls::Tls>,
    /// How mail servers are greeted.
    pub(crate) host_name: Arc<str>,
}

/// One try of a check; it ends within the check's time.
pub(crate) async fn probe(probe: &Probe, step: u32, common: &Common) -> Outcome {
    if let Some(target) = dialled(probe, step) {
        let until = clock::now() + target.timeout;
        return match begun(probe, target) {
            Ok(connection) => over((connection, None), until, (probe, step), common).await,
            Err(fault) => Outcome::Failed(fault.to_string()),
        };
    }
    match probe {
        Probe::Ping(target) => passed(within(target, ping::probe(target)).await),
        // It may take the whole of its time to hear that nothing was refused.
        Probe::Udp(target, settings) => passed(udp::probe(target, settings).await),
        Probe::Smtp { targets, helo } => {
            let name = helo.as_deref().unwrap_or(&common.host_name);
            for target in targets {
                if let Err(fault) = within(target, smtp::probe(target, name)).await {
                    return Outcome::Failed(fault.to_string());
                }
            }
            Outcome::Passed
        }
        Probe::Dns { target, kind, name } => passed(within(target, dns::probe(target, kind.as_str(), name)).await),
        Probe::Misc { script, timeout, dynamic } => misc::probe(script, &common.user, *timeout, *dynamic).await,
        // Nobody asks for files and sessions: they are told. Of the others a try is a connection.
        Probe::File { .. } | Probe::Bfd(_) | Probe::Tcp(_) | Probe::Http(..) => Outcome::Passed,
    }
}

/// Whom a try connects to, if it is one connection.
pub(super) fn dialled(probe: &Probe, step: u32) -> Option<&Target> {
    match probe {
        Probe::Tcp(target) => Some(target),
        Probe::Http(target, settings) => url(settings, step).map(|_| target),
        _ => None,
    }
}

/// Begins that connection.
fn begun(probe: &Probe, target: &Target) -> Result<Socket, Fault> {
    match probe {
        Probe::Tcp(_) => socket::begin_for_the_port(target),
        _ => socket::begin(target),
    }
}

fn url(settings: &HttpProbe, step: u32) -> Option<&Url> {
    usize::try_from(step).ok().and_then(|step| settings.urls.get(step))
}

/// The rest of a try of [`dialled`], once its connection has begun, and perhaps what is said over it.
async fn over(
    (connection, begun): (Socket, Option<Exchange>),
    until: Instant,
    (probe, step): (&Probe, u32),
    common: &Common,
) -> Outcome {
    let tried = async {
        let stream = socket::connected(connection).await?;
        match probe {
            Probe::Http(target, settings) => match url(settings, step) {
                Some(url) => http::probe(stream, target, (settings, url), begun, &common.tls).await,
                None => Ok(()),
            },
            _ => Ok(()),
        }
    };
    match tokio::time::timeout(until.since(clock::now()), tried).await {
        Ok(tried) => passed(tried),
        Err(_elapsed) => Outcome::Failed(Fault::Late(longest(probe)).to_string()),
    }
}

fn passed(tried: Result<(), Fault>) -> Outcome {
    match tried {
        Ok(()) => Outcome::Passed,
        Err(fault) => Outcome::Failed(fault.to_string()),
    }
}

/// The longest that a try may take.
pub(crate) fn longest(probe: &Probe) -> Duration {
    match probe {
        Probe::Tcp(target) | Probe::Ping(target) | Probe::Udp(target, _) | Probe::Http(target, _) => target.timeout,
        Probe::Dns { target, .. } => target.timeout,
        Probe::Smtp { targets, .. } => targets.iter().map(|target| target.timeout).sum(),
        Probe::Misc { timeout, .. } => *timeout,
        Probe::File { .. } | Probe::Bfd(_) => Duration::ZERO,
    }
}

async fn within(target: &Target, tried: impl Future<Output = Result<(), Fault>>) -> Result<(), Fault> {
    match tokio::time::timeout(target.timeout, tried).await {
        Ok(tried) => tried,
        Err(_elapsed) => Err(Fault::Late(target.timeout)),
    }
}

/// Why a try failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    /// There was no way to the server.
    #[error("{what}: {error}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
    /// It did not end in time.
    #[error("no end within {0:?}")]
    Late(Duration),
    /// It answered, and not as it should.
    #[error("{0}")]
    Wrong(String),
}

impl Fault {
    fn io(what: &'static str) -> impl Fn(io::Error) -> Fault {
        move |error| Fault::Io { what, error }
    }
}

#[cfg(test)]
mod tests;
