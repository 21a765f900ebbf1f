//! The way from the control socket to the thread that checks: how real servers stand, and which is to be emptied.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError, mpsc as answers};
use std::time::Duration;

use keepone_config::Config;
use keepone_proto::balance::standing::ServiceStanding;
use tokio::sync::mpsc;

use super::keeper::Order;
use super::settings::{real_name, service_name};

/// How long whoever asks waits.
const PATIENCE: Duration = Duration::from_secs(2);

/// Who asks. Clones share the thread, which may begin later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk(Arc<Mutex<Option<mpsc::Sender<Order>>>>);

/// What is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// How they stand.
    Standing(answers::SyncSender<Vec<ServiceStanding>>),
    /// A real server is to get no new connections, or is to get them again. The answer: where it was found, by name of its
    /// virtual server and its own.
    Drain(Drain, answers::SyncSender<Vec<(String, String)>>),
    /// All that the checks know, once no script runs that they have begun; from then on nothing is judged any more.
    HandOn(answers::SyncSender<Vec<u8>>),
}

/// Of whom, and what.
#[derive(Debug, Clone)]
pub(crate) struct Drain {
    /// `10.0.0.1`, `10.0.0.1:80` or `[10.0.0.1]:tcp:80`.
    pub(crate) server: String,
    /// The same of the virtual server; `None`: of all that have it.
    pub(crate) of: Option<String>,
    pub(crate) is_draining: bool,
}

impl Desk {
    /// The thread has begun.
    pub(super) fn open(&self, orders: mpsc::Sender<Order>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(orders);
    }

    /// The thread is to end.
    pub(super) fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How all virtual servers stand; empty where there are none.
    ///
    /// # Errors
    /// The thread does not answer.
    pub(crate) fn standing(&self) -> Result<Vec<ServiceStanding>, String> {
        self.ask(Ask::Standing)
    }

    /// All that is known of virtual and real servers, for a next process that goes on with it: from now on nothing is judged
    /// any more, and this process has to end. Empty where there are none. The answer may take as long as scripts run.
    ///
    /// # Errors
    /// The thread does not answer within `patience`.
    pub(crate) fn hand_on(&self, patience: Duration) -> Result<Vec<u8>, String> {
        self.ask_within(patience, Ask::HandOn)
    }

    /// Empties a real server, or fills it again; where it was found.
    ///
    /// # Errors
    /// The thread does not answer.
    pub(crate) fn drain(&self, drain: Drain) -> Result<Vec<(String, String)>, String> {
        self.ask(|answer| Ask::Drain(drain, answer))
    }

    fn ask<T: Default>(&self, ask: impl FnOnce(answers::SyncSender<T>) -> Ask) -> Result<T, String> {
        self.ask_within(PATIENCE, ask)
    }

    fn ask_within<T: Default>(
        &self,
        patience: Duration,
        ask: impl FnOnce(answers::SyncSender<T>) -> Ask,
    ) -> Result<T, String> {
        let orders = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(orders) = orders else { return Ok(T::default()) };
        let busy = || String::from("the thread of health checks does not answer: ask again");
        let (answer, answered) = answers::sync_channel(1);
        orders.try_send(Order::Ask(ask(answer))).map_err(|_| busy())?;
        // The thread ends once nobody can order anything any more.
        drop(orders);
        answered.recv_timeout(patience).map_err(|_| busy())
    }
}

impl Drain {
    /// Places of virtual and real servers that are meant, with their names.
    pub(super) fn places(&self, config: &Config) -> Vec<((usize, usize), (String, String))> {
        let mut places = Vec::new();
        for (service, server) in config.virtual_servers.iter().enumerate() {
            let name = service_name(config, server);
            let address = match &server.service {
                keepone_config::model::Service::Address { address, port } => Some(SocketAddr::new(*address, *port)),
                _ => None,
            };
            if self.of.as_ref().is_some_and(|of| !is_meant(of, &name, address)) {
                continue;
            }
            for (at, real) in server.real_servers.iter().enumerate() {
                let own = real_name(server.protocol, real);
                if is_meant(&self.server, &own, Some(SocketAddr::new(real.address, real.port))) {
                    places.push(((service, at), (name.clone(), own)));
                }
            }
        }
        places
    }
}

/// Whether the operator's word is for that server.
fn is_meant(word: &str, name: &str, address: Option<SocketAddr>) -> bool {
    let is_address =
        |address: SocketAddr| word.parse::<SocketAddr>() == Ok(address) || word.parse::<IpAddr>() == Ok(address.ip());
    word == name || address.is_some_and(is_address)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "virtual_server 192.0.2.1 80 {
        protocol TCP
        real_server 10.0.0.1 80 { }
        real_server 10.0.0.1 81 { }
    }
    virtual_server 192.0.2.2 80 {
        protocol TCP
        real_server 10.0.0.1 80 { }
    }
    virtual_server fwmark 7 {
        real_server fd00::1 80 { }
    }
";

    #[test]
    fn a_server_is_meant_by_its_address_with_or_without_port_or_by_its_name() {
        let path = std::path::Path::new("keepalived.conf");
        let (config, _) = keepone_config::load_text(path, TEXT, &keepone_config::Environment::default()).unwrap();
        let places = |server: &str, of: Option<&str>| {
            let drain = Drain { server: server.into(), of: of.map(Into::into), is_draining: true };
            drain.places(&config).into_iter().map(|(place, _)| place).collect::<Vec<_>>()
        };
        assert_eq!(places("10.0.0.1", None), [(0, 0), (0, 1), (1, 0)]);
        assert_eq!(places("10.0.0.1:80", None), [(0, 0), (1, 0)]);
        assert_eq!(places("[10.0.0.1]:tcp:80", Some("192.0.2.2")), [(1, 0)]);
        assert_eq!(places("10.0.0.1:81", Some("192.0.2.1:80")), [(0, 1)]);
        assert_eq!(places("fd00::1", Some("FWM 7")), [(2, 0)]);
        assert_eq!(places("[fd00::1]:80", None), [(2, 0)]);
        for (server, of) in [("10.0.0.2", None), ("10.0.0", None), ("10.0.0.1", Some("192.0.2.3")), ("", None)] {
            assert_eq!(places(server, of), [], "{server}");
        }
    }

    #[test]
    fn where_nothing_is_balanced_there_is_nothing_to_say() {
        assert_eq!(Desk::default().standing(), Ok(Vec::new()));
    }
}
