//! Members of etcd where the witnesses would stand: how they are started, asked who leads, copied and rolled back.
//!
//! It is the installed etcd. Its disks are file systems in memory, so that an fsync costs nothing: what a slow one does is
//! what a member does that stands still.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_route::link::LinkAttribute;
use nix::mount::{MntFlags, umount2};
use rtnetlink::LinkUnspec;
use serde::Deserialize;

use super::agent::Agent;
use super::error::{Error, io_error};
use super::process::Processes;
use super::topology::{Host, Kind, Topology, interface, link_index, netlink_error};
use crate::fault::Network;

/// The directory of a member's data below its state directory; never copied with the logs.
pub const DATA: &str = "etcd-data";
/// What a member's disk holds: two files of 64 MB that etcd writes ahead, and some.
pub const DISK: &str = "size=300m";
/// Where members are spoken to.
const CLIENTS: u16 = 2379;
const PEERS: u16 = 2380;
/// How long a question to a member may take.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long etcd may be without a leader before it is given up.
const LEADER: Duration = Duration::from_secs(10);
/// How long `etcdctl` may take.
const TOOL: Duration = Duration::from_secs(20);

/// Where Debian puts etcd and its tool.
fn find(name: &str) -> Result<PathBuf, Error> {
    let places = ["/usr/bin", "/usr/local/bin"].map(PathBuf::from);
    let found = places.iter().map(|place| place.join(name)).find(|path| path.is_file());
    found
        .ok_or_else(|| Error::NoBinary { name: name.to_owned(), looked: places.into_iter().next().unwrap_or_default() })
}

/// The program of a member.
///
/// # Errors
/// [`Error::NoBinary`].
pub fn program() -> Result<PathBuf, Error> {
    find("etcd")
}

fn url(host: &Host, port: u16) -> String {
    host.port(Network::Witness).map_or(String::new(), |cable| format!("http://{}:{port}", cable.address))
}

/// Where the nodes find it.
pub fn endpoints(topology: &Topology) -> Vec<String> {
    topology.witness_hosts().map(|host| url(host, CLIENTS)).collect()
}

fn members(topology: &Topology) -> String {
    let member = |host: &Host| format!("{}={}", host.name, url(host, PEERS));
    topology.witness_hosts().map(member).collect::<Vec<_>>().join(",")
}

/// The command line of a member. An election begins 300 ms after the leader's last word, so that a lease of two seconds
/// outlives it.
pub fn arguments(host: &Host, topology: &Topology, state_dir: &Path) -> Vec<String> {
    let (client, peer) = (url(host, CLIENTS), url(host, PEERS));
    let pairs = [
        ("name", host.name.clone()),
        ("data-dir", state_dir.join(DATA).display().to_string()),
        ("listen-client-urls", client.clone()),
        ("advertise-client-urls", client),
        ("listen-peer-urls", peer.clone()),
        ("initial-advertise-peer-urls", peer),
        ("initial-cluster", members(topology)),
        ("election-timeout", "300".to_owned()),
        ("heartbeat-interval", "30".to_owned()),
    ];
    pairs.into_iter().map(|(name, value)| format!("--{name}={value}")).collect()
}

/// Has nodes and members send no frame that is longer than the wire's: what delays frames can't cut them to size.
///
/// # Errors
/// [`Error::Netlink`].
pub fn shorten_frames(topology: &Topology) -> Result<(), Error> {
    for host in topology.node_hosts().chain(topology.witness_hosts()) {
        host.namespace.netlink(|handle| async move {
            let name = interface(Network::Witness);
            let index = link_index(&handle, &name).await?;
            let one = LinkUnspec::new_with_index(index).append_extra_attribute(LinkAttribute::GsoMaxSegs(1)).build();
            handle.link().set(one).execute().await.map_err(netlink_error(format!("shorten the frames of {name}")))
        })?;
    }
    Ok(())
}

/// What a member says of itself, as far as it is looked at; numbers are strings there.
#[derive(Debug, Deserialize)]
struct Status {
    header: Header,
    #[serde(default)]
    leader: String,
}

#[derive(Debug, Deserialize)]
struct Header {
    member_id: String,
    #[serde(default)]
    revision: String,
}

/// Whether the member whose answer this is leads; `None`: it is no answer.
fn leads(answer: &str) -> Option<bool> {
    let (_, body) = answer.split_once("\r\n\r\n")?;
    let status: Status = serde_json::from_str(body.trim()).ok()?;
    Some(status.leader == status.header.member_id)
}

/// Asks a member what it says of itself.
const STATUS: &str =
    "POST /v3/maintenance/status HTTP/1.0\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
/// Asks it what it counts.
const METRICS: &str = "GET /metrics HTTP/1.0\r\n\r\n";

/// Asks a member in its own namespace, which no cut concerns.
fn ask(host: &Host, request: &str) -> Option<String> {
    let address = SocketAddr::from((host.port(Network::Witness)?.address, CLIENTS));
    let asked = host.namespace.run(|| {
        let what = || io_error(format!("ask etcd at {address}"));
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(what())?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(what())?;
        stream.write_all(request.as_bytes()).map_err(what())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(what())?;
        Ok(answer)
    });
    asked.ok()
}

/// What has been agreed upon since the members were started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreed {
    /// Commits: everything that the members wrote onto a majority of disks.
    pub commits: u64,
    /// Revisions: those of them that changed keys.
    pub revisions: u64,
}

fn agreed(status: &str, metrics: &str) -> Option<Agreed> {
    let (_, body) = status.split_once("\r\n\r\n")?;
    let status: Status = serde_json::from_str(body.trim()).ok()?;
    let line = metrics.lines().find_map(|line| line.strip_prefix("etcd_server_proposals_committed_total "))?;
    // A gauge: Go writes large ones with an exponent.
    let commits: f64 = line.trim().parse().ok()?;
    let is_count = (0.0..9e15).contains(&commits) && commits.fract() == 0.0;
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a whole number below 2^53")]
    is_count.then_some(Agreed { commits: commits as u64, revisions: status.header.revision.parse().ok()? })
}

/// What has been agreed upon, by the first member's word.
///
/// # Errors
/// [`Error::Io`] when it does not answer.
pub fn count(topology: &Topology) -> Result<Agreed, Error> {
    let first = topology.witness_hosts().next();
    let seen = first.and_then(|host| agreed(&ask(host, STATUS)?, &ask(host, METRICS)?));
    seen.ok_or_else(|| {
        io_error("ask etcd what it has agreed upon")(std::io::Error::from(std::io::ErrorKind::InvalidData))
    })
}

/// The number of the member that leads.
///
/// # Errors
/// [`Error::Io`] when none does for ten seconds.
pub fn leader(topology: &Topology) -> Result<usize, Error> {
    let begin = Instant::now();
    while begin.elapsed() < LEADER {
        for host in topology.witness_hosts() {
            if let (Kind::Witness(number), Some(true)) = (host.kind, ask(host, STATUS).as_deref().and_then(leads)) {
                return Ok(number);
            }
        }
        thread::sleep(Duration::from_millis(50));
    }
    Err(io_error("ask etcd who leads")(std::io::Error::from(std::io::ErrorKind::TimedOut)))
}

/// Copies all that etcd knows, by its own tool.
///
/// # Errors
/// [`Error::NoBinary`], [`Error::Command`].
pub fn save(host: &Host, file: &Path, processes: &Processes) -> Result<(), Error> {
    let mut command = Command::new(find("etcdctl")?);
    command.args(["--endpoints", &url(host, CLIENTS), "snapshot", "save"]).arg(file);
    processes.complete(&host.namespace, command, &file.with_extension("log"), TOOL)
}

/// Makes the data of a member that does not run what they were when they were saved: the same cluster by name and id, as
/// after an operator's restoring.
///
/// # Errors
/// [`Error::Io`], [`Error::NoBinary`], [`Error::Command`].
pub fn restore(
    host: &Host,
    topology: &Topology,
    state_dir: &Path,
    file: &Path,
    processes: &Processes,
) -> Result<(), Error> {
    let data = state_dir.join(DATA);
    fs::remove_dir_all(&data).map_err(io_error(format!("remove {}", data.display())))?;
    let mut command = Command::new(find("etcdctl")?);
    command.args(["snapshot", "restore"]).arg(file).args(["--name", &host.name]).arg("--data-dir").arg(&data);
    command.args(["--initial-cluster", &members(topology), "--initial-advertise-peer-urls", &url(host, PEERS)]);
    processes.complete(&host.namespace, command, &state_dir.join("restore.log"), TOOL)
}

/// Gives the memory of the members' disks back; their programs must have been killed.
pub fn remove_disks(members: &[Agent]) {
    for member in members {
        // What stays costs memory until this program ends.
        let _ = umount2(&member.state_dir(), MntFlags::MNT_DETACH);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_leads_is_read_from_a_members_own_answer() {
        let answer = |leader: &str| {
            format!(
                "HTTP/1.0 200 OK\r\nX: y\r\n\r\n{{\"header\":{{\"member_id\":\"7\",\"revision\":\"1\"}}{leader}}}\n"
            )
        };
        assert_eq!(leads(&answer(",\"leader\":\"7\"")), Some(true));
        assert_eq!(leads(&answer(",\"leader\":\"8\"")), Some(false));
        assert_eq!(leads(&answer("")), Some(false), "an election is under way");
        assert_eq!(leads("HTTP/1.0 503 Unavailable\r\n\r\n"), None);
    }

    #[test]
    fn what_was_agreed_upon_is_read_from_a_members_metrics() {
        let status = "HTTP/1.0 200 OK\r\n\r\n{\"header\":{\"member_id\":\"7\",\"revision\":\"31\"}}";
        let metrics = |value: &str| {
            format!(
                "HTTP/1.0 200 OK\r\n\r\n# TYPE etcd_server_proposals_committed_total gauge\n\
                 etcd_server_proposals_committed_total {value}\netcd_server_proposals_pending 0\n"
            )
        };
        let seen = |value: &str| agreed(status, &metrics(value));
        assert_eq!(seen("41"), Some(Agreed { commits: 41, revisions: 31 }));
        assert_eq!(seen("1.234567e+06").map(|seen| seen.commits), Some(1_234_567));
        for strange in ["", "-1", "NaN", "1e300", "0.5"] {
            assert_eq!(seen(strange), None, "{strange}");
        }
        assert_eq!(agreed(status, "HTTP/1.0 404 Not Found\r\n\r\n"), None);
    }
}
