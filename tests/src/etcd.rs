//! Members of the installed etcd, on the machines of a [`Lan`] where witnesses would stand.

use std::process::Command;

use keepone_chaos::fault::Network;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::topology::Kind;

use crate::Error;
use crate::certificates::Pair;
use crate::lan::Lan;
use crate::program::Program;

/// Where clients are served.
const CLIENTS: u16 = 2379;
/// Where members speak to each other.
const PEERS: u16 = 2380;

fn url(lan: &Lan, scheme: &str, number: usize, port: u16) -> String {
    let address = lan.host(Kind::Witness(number)).port(Network::Witness).map(|port| port.address);
    address.map_or(String::new(), |address| format!("{scheme}://{address}:{port}"))
}

/// Where a member without TLS serves its clients.
pub fn endpoint(lan: &Lan, number: usize) -> String {
    url(lan, "http", number, CLIENTS)
}

/// Where one with TLS does.
pub fn tls_endpoint(lan: &Lan, number: usize) -> String {
    url(lan, "https", number, CLIENTS)
}

/// Starts one of a cluster of these, with more options besides; its data are `eNUMBER-data` in the LAN's room.
///
/// # Errors
/// [`Error::Io`].
pub fn start(lan: &Lan, number: usize, of: &[usize], more: &[String]) -> Result<Program, Error> {
    start_serving(lan, number, of, &endpoint(lan, number), more)
}

/// The same with the server's certificate.
///
/// # Errors
/// [`Error::Io`].
pub fn start_with_tls(lan: &Lan, number: usize, server: &Pair, more: &[String]) -> Result<Program, Error> {
    let tls = [
        format!("--cert-file={}", server.certificate.display()),
        format!("--key-file={}", server.key.display()),
        "--logger=zap".to_owned(),
    ];
    start_serving(lan, number, &[number], &tls_endpoint(lan, number), &[&tls, more].concat())
}

fn start_serving(lan: &Lan, number: usize, of: &[usize], client: &str, more: &[String]) -> Result<Program, Error> {
    let peer = |which: usize| url(lan, "http", which, PEERS);
    let members: Vec<String> = of.iter().map(|which| format!("e{which}={}", peer(*which))).collect();
    let data = lan.room().join(format!("e{number}-data"));
    let mut command = vec![
        "etcd".to_owned(),
        format!("--name=e{number}"),
        format!("--data-dir={}", data.display()),
        format!("--listen-client-urls={client}"),
        format!("--advertise-client-urls={client}"),
        format!("--listen-peer-urls={}", peer(number)),
        format!("--initial-advertise-peer-urls={}", peer(number)),
        format!("--initial-cluster={}", members.join(",")),
        "--election-timeout=500".to_owned(),
        "--heartbeat-interval=50".to_owned(),
    ];
    command.extend_from_slice(more);
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    lan.start_at(Kind::Witness(number), &command)
}

/// Runs `etcdctl` on a member's machine, and gives what it printed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Command`] with what it said when it failed.
pub fn control(lan: &Lan, number: usize, arguments: &[&str]) -> Result<String, Error> {
    let namespace = &lan.host(Kind::Witness(number)).namespace;
    let mut command = Command::new("etcdctl");
    command.args(["--command-timeout=5s", "--dial-timeout=5s"]).args(arguments);
    let done = namespace.run(|| command.output().map_err(io_error("run etcdctl: install etcd-client")))?;
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if done.status.success() {
        return Ok(said(&done.stdout));
    }
    let (command, status) = (format!("etcdctl {arguments:?}"), done.status.to_string());
    Err(Error::Command { command, status, output: said(&done.stderr) })
}
