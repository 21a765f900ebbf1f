//! One run: two namespaces and a cable, the agent's gate in one of them, everything thrown away at the end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::net::{IpAddr, UdpSocket};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::socket::setsockopt;
use nix::sys::socket::sockopt::ReceiveTimestampns;
use nix::unistd::Pid;

use super::disturbance::{Disturbance, Hogs, raise};
use super::listen::{self, Kind};
use super::packets::{OBSERVER4, OBSERVER6, PORT, VIP4, VIP6};
use super::traffic::{self, Voices};
use super::{Means, packets};
use crate::netns::enclosure;
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;
use crate::netns::observe::packet;

/// How far ahead the agent opens.
const HOLD: Duration = Duration::from_millis(500);
/// By how much the distance of the clocks may move in a run, ns.
const DRIFT: i128 = 50_000;

/// The lateness of each kind, ns; negative: early.
pub(super) type Lateness = BTreeMap<Kind, i64>;

struct Room {
    node: Namespace,
    observer: Namespace,
    node_index: u32,
    observer_index: u32,
}

fn ip(namespace: &Namespace, arguments: &str) -> Result<(), Error> {
    let output = namespace.run(|| {
        let mut command = Command::new("ip");
        command.args(arguments.split_whitespace());
        command.output().map_err(io_error("run `ip`: install iproute2"))
    })?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Command {
        command: format!("ip {arguments}"),
        status: output.status.to_string(),
        output: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

fn mac(bytes: [u8; 6]) -> String {
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}

impl Room {
    fn new() -> Result<Self, Error> {
        let (node, observer) = (Namespace::new()?, Namespace::new()?);
        let make = || {
            use std::os::fd::AsRawFd;
            format!(
                "link add v0 type veth peer name v1 netns /proc/{}/fd/{}",
                std::process::id(),
                observer.file().as_raw_fd()
            )
        };
        ip(&node, &make())?;
        let sides = [
            (&node, "v0", packets::NODE_MAC, "192.0.2.11/24", "fd00:2::11/64"),
            (&observer, "v1", packets::OBSERVER_MAC, "192.0.2.51/24", "fd00:2::51/64"),
        ];
        for (namespace, name, address, four, six) in sides {
            namespace.set_parameters(&[(&format!("ipv6/conf/{name}/accept_dad"), "0")])?;
            ip(namespace, "link set lo up")?;
            ip(namespace, &format!("link set {name} address {} up", mac(address)))?;
            ip(namespace, &format!("addr add {four} dev {name}"))?;
            ip(namespace, &format!("addr add {six} dev {name} nodad"))?;
        }
        // Known, so that nothing waits for an answer when the gate is shut.
        for vip in [VIP4.to_string(), VIP6.to_string()] {
            ip(&observer, &format!("neigh replace {vip} lladdr {} dev v1", mac(packets::NODE_MAC)))?;
        }
        for back in [OBSERVER4.to_string(), OBSERVER6.to_string()] {
            ip(&node, &format!("neigh replace {back} lladdr {} dev v0", mac(packets::OBSERVER_MAC)))?;
        }
        let index =
            |name: &'static str| move || nix::net::if_::if_nametoindex(name).map_err(io_error(format!("find {name}")));
        let (node_index, observer_index) = (node.run(index("v0"))?, observer.run(index("v1"))?);
        Ok(Room { node, observer, node_index, observer_index })
    }
}

/// The agent's gate.
struct Lab {
    child: Child,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

impl Lab {
    fn start(room: &Room, bin_dir: &Path, means: Means, arguments: &[&str]) -> Result<Self, Error> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let program = bin_dir.join("keepone");
        if !program.is_file() {
            return Err(Error::NoBinary { name: "keepone".into(), looked: bin_dir.into() });
        }
        let dir = Path::new(enclosure::ROOM).join(format!("lab-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        std::fs::create_dir_all(dir.join("bpf")).map_err(io_error("make the gate's directory"))?;
        let mut command = Command::new(program);
        command.args(["gate-lab", "--interface", "v0", "--means", means.as_str(), "--dir"]).arg(&dir);
        command.args(["--address", &VIP4.to_string(), "--address", &VIP6.to_string(), "--hold-ms"]);
        command.arg(HOLD.as_millis().to_string()).args(arguments).stdout(Stdio::piped()).process_group(0);
        let mut child = room.node.run(move || command.spawn().map_err(io_error("start `keepone gate-lab`")))?;
        let out = child.stdout.take().ok_or(Error::Thread("the agent's output"))?;
        Ok(Lab { child, lines: BufReader::new(out).lines() })
    }

    /// The number on the next line that begins so.
    fn next(&mut self, what: &str) -> Result<u64, Error> {
        for line in self.lines.by_ref() {
            let line = line.map_err(io_error("read what the agent tells"))?;
            if let Some(number) = line.strip_prefix(what).and_then(|rest| rest.trim().parse().ok()) {
                return Ok(number);
            }
        }
        let status = self.child.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        Err(Error::Command { command: "keepone gate-lab".into(), status, output: format!("it never told {what:?}") })
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn delivered(room: &Room, address: IpAddr, kind: Kind, stop: &Arc<AtomicBool>) -> Result<Listener, Error> {
    let socket = room.node.run(|| {
        let socket = UdpSocket::bind((address, PORT)).map_err(io_error("bind a receiver"))?;
        setsockopt(&socket, ReceiveTimestampns, &true).map_err(io_error("ask for timestamps"))?;
        socket.set_read_timeout(Some(Duration::from_millis(50))).map_err(io_error("set a timeout"))?;
        Ok(socket)
    })?;
    Ok(listen::start(socket.into(), Arc::clone(stop), move |_, _| Some(kind)))
}

type Listener = thread::JoinHandle<listen::Last>;

fn boot_now() -> u64 {
    crate::netns::clock::now()
}

fn sleep_until(at: u64) {
    thread::sleep(Duration::from_nanos(at.saturating_sub(boot_now())));
}

/// One run, or why it says nothing.
pub(super) type Measured = Result<Lateness, String>;

/// One run.
pub(super) fn run(bin_dir: &Path, means: Means, disturbance: Disturbance) -> Result<Measured, Error> {
    // On a thread of its own, for its priority.
    let (bin_dir, measured) = (bin_dir.to_owned(), "a measurement");
    let run = thread::spawn(move || {
        raise();
        measure(&bin_dir, means, disturbance)
    });
    run.join().map_err(|_| Error::Thread(measured))?
}

fn measure(bin_dir: &Path, means: Means, disturbance: Disturbance) -> Result<Measured, Error> {
    let room = Room::new()?;
    let mut arguments = vec!["--renewals", "4"];
    arguments.extend((disturbance == Disturbance::Paused).then_some("--pause"));
    let stop = Arc::new(AtomicBool::new(false));
    let mut lab = Lab::start(&room, bin_dir, means, &arguments)?;
    lab.next("open ")?;
    let tap = room.observer.run(|| {
        let tap = packet::open(room.observer_index).map_err(io_error("open a tap"))?;
        packet::prepare_for_listening(&tap).map_err(io_error("prepare a tap"))?;
        Ok(tap)
    })?;
    let before = listen::distance();
    let listeners = [
        listen::start(tap, Arc::clone(&stop), |outgoing, frame| (!outgoing).then(|| listen::classify(frame)).flatten()),
        delivered(&room, VIP4.into(), Kind::UdpIn, &stop)?,
        delivered(&room, VIP6.into(), Kind::Udp6In, &stop)?,
    ];
    let voices = match Voices::open(&room.node, &room.observer, room.node_index) {
        Ok(voices) => voices.start(Arc::clone(&stop)),
        // The gate has shut before everything was ready.
        Err(error) => {
            stop.store(true, Ordering::Relaxed);
            return Ok(Err(error.to_string()));
        }
    };
    let asking = traffic::ask(&room.observer, room.observer_index, Arc::clone(&stop))?;
    let deadline = lab.next("held ")?;
    match disturbance {
        Disturbance::Stopped => lab.signal(Signal::SIGSTOP),
        Disturbance::Killed => lab.signal(Signal::SIGKILL),
        Disturbance::Idle | Disturbance::CpuHogs | Disturbance::FifoHogs | Disturbance::Paused => {}
    }
    let hogs = Hogs::start(disturbance);
    // What there is to see later: up to a second by design for means 3, several under hogs.
    let patience = if means == Means::Lifetime { Duration::from_secs(6) } else { Duration::from_millis(700) };
    if disturbance == Disturbance::Paused {
        sleep_until(deadline + 300_000_000);
        lab.signal(Signal::SIGCONT);
    }
    sleep_until(deadline + u64::try_from(patience.as_nanos()).unwrap_or(0));
    drop(hogs);
    stop.store(true, Ordering::Relaxed);
    let mut last = listen::Last::new();
    for listener in listeners {
        last.extend(listener.join().map_err(|_| Error::Thread("a listener"))?);
    }
    for thread in [voices, asking] {
        thread.join().map_err(|_| Error::Thread("traffic"))?;
    }
    let after = listen::distance();
    if (after - before).abs() > DRIFT {
        return Ok(Err("the wall clock moved".into()));
    }
    let missing: Vec<&str> =
        Kind::ALL.iter().filter(|kind| !last.contains_key(kind)).map(|kind| kind.as_str()).collect();
    if !missing.is_empty() {
        // An observer that saw nothing proves nothing.
        return Ok(Err(format!("while the gate was open nothing was seen of {}", missing.join(", "))));
    }
    let late = |stamp: i128| i64::try_from(stamp + (before + after) / 2 - i128::from(deadline)).unwrap_or(i64::MAX);
    Ok(Ok(last.into_iter().map(|(kind, (stamp, _))| (kind, late(stamp))).collect()))
}

/// What each of so many renewals cost, ns.
pub(super) fn costs(bin_dir: &Path, means: Means, count: usize) -> Result<Vec<u64>, Error> {
    let room = Room::new()?;
    let mut lab = Lab::start(&room, bin_dir, means, &["--costs", &count.to_string()])?;
    (0..count).map(|_| lab.next("cost ")).collect()
}
