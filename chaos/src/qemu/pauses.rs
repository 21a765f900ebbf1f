//! `keepone-chaos qemu pauses`: a MASTER in a virtual machine that stands still, seen by its clocks or not.
//!
//! n1 is a guest on the world's bridges; n2 and the witness are namespaces of this machine, whose clock is
//! the measure of everything. Taps on the switch's end of both LAN cables say who spoke for the VIP when.

mod verdict;

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serde_json::json;

use super::image::{self, Kernel};
use super::vm::{Machine, Nic, Settings};
use crate::fault::Network;
use crate::netns::clock;
use crate::netns::configuration::{Cluster, Extras, Members, Pace};
use crate::netns::error::{Error, io_error};
use crate::netns::observe::sniffer::{self, Naming, Sighting};
use crate::netns::observe::{Live, Stop, oracle, responder};
use crate::netns::process::Processes;
use crate::netns::topology::{Host, Kind, Port, Topology, VIP};
use crate::scenario::Shape;
use verdict::{Case, alerts, judge};

const MS: u64 = 1_000_000;
/// An emulated machine needs time for everything: a lease that it does not lose for being slow.
const PACE: Pace = Pace { lease_ms: 4000, period_ms: 500, hidden_freeze_ms: 500 };
/// Between two questions to one node.
const ASK: Duration = Duration::from_millis(5);
/// How long one node alone must have spoken.
const STEADY: u64 = 3000 * MS;
/// How long the cluster may take until the guest holds.
const PATIENCE: u64 = 90_000 * MS;
/// How long after a pause is looked at.
const AFTERWARDS: Duration = Duration::from_secs(10);
/// For an answer of the guest.
const ANSWER: Duration = Duration::from_secs(60);

/// How the machine is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pause {
    /// QEMU itself stands still (SIGSTOP): the guest's clocks go on, as on a host that is starved.
    Visible,
    /// The guest stands still (QMP stop): its clocks do as well.
    Hidden,
    /// The same, and every line but the LAN is cut meanwhile and for a while after: nobody tells it.
    HiddenDeaf,
    /// The guest's memory is put away, the machine goes on and is then cut off; later the memory comes back.
    Snapshot,
}

impl Pause {
    fn as_str(self) -> &'static str {
        match self {
            Pause::Visible => "visible",
            Pause::Hidden => "hidden",
            Pause::HiddenDeaf => "hidden, lines cut",
            Pause::Snapshot => "snapshot",
        }
    }
}

/// What is done, one after the other, each to a guest that holds the VIP: how, and for how many milliseconds.
const CASES: [(Pause, u64); 10] = [
    (Pause::Visible, 10),
    (Pause::Visible, 100),
    (Pause::Visible, 1000),
    (Pause::Visible, 5000),
    (Pause::Visible, 10_000),
    (Pause::Hidden, 300),
    (Pause::Hidden, 5000),
    (Pause::Hidden, 10_000),
    (Pause::HiddenDeaf, 6000),
    (Pause::Snapshot, 15_000),
];

/// What was seen of one pause.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// How.
    pub pause: &'static str,
    /// How long it was to be.
    pub asked_ms: u64,
    /// How long it was, by this machine's clock.
    pub lasted_ms: f64,
    /// By how much less the guest's monotonic clock moved than this machine's over the whole of it.
    pub hidden_mono_ms: f64,
    /// The same of its boot clock.
    pub hidden_boot_ms: f64,
    /// The same of its wall clock.
    pub hidden_wall_ms: f64,
    /// What these three may be wrong by: the time that the questions took.
    pub clock_error_ms: f64,
    /// Both spoke for the VIP.
    pub overlap_ms: f64,
    /// Frames of the one that stood still, while the other held.
    pub late_frames: usize,
    /// Whether the other node took over.
    pub taken_over: bool,
    /// The alerts that the guest raised meanwhile.
    pub alerts: Vec<String>,
    /// What does not hold; empty is success.
    pub violations: Vec<String>,
}

/// Does all pauses whose name contains `only`, one after the other.
///
/// # Errors
/// When the world can't be made, or the guest does not come to hold the VIP.
pub fn run(kernel: &Path, bin_dir: &Path, room: &Path, only: &str) -> Result<Vec<Report>, Error> {
    let kernel = Kernel::find(kernel)?;
    let base = image::base(&kernel, bin_dir, room)?;
    let mut stage = Stage::set(&kernel, base, bin_dir, room)?;
    let mut cases = Vec::new();
    for (pause, asked) in CASES.into_iter().filter(|(pause, _)| pause.as_str().contains(only)) {
        stage.wait_until_held()?;
        eprintln!("keepone-chaos: {} pause of {asked} ms", pause.as_str());
        cases.push(stage.play(pause, asked)?);
    }
    let spoke = stage.close()?;
    Ok(cases.iter().map(|case| judge(case, &spoke)).collect())
}

/// The guest's clocks, between two looks at this machine's.
#[derive(Clone, Copy)]
struct Reading {
    guest: [u64; 3],
    asked: u64,
    answered: u64,
}

struct Stage {
    kernel: Kernel,
    base: Vec<u8>,
    topology: Topology,
    processes: Processes,
    bin_dir: PathBuf,
    room: PathBuf,
    members: Members,
    guest: Option<Machine>,
    stop: Stop,
    live: Arc<Live>,
    /// By node.
    taps: Vec<(usize, JoinHandle<Vec<Sighting>>)>,
}

impl Stage {
    /// Makes the wires, starts the witness, the guest and, once it holds, the other node.
    fn set(kernel: &Kernel, base: Vec<u8>, bin_dir: &Path, room: &Path) -> Result<Self, Error> {
        let processes = Processes::new();
        let topology = Topology::build(2, 1, 1, 2)?;
        let mut command = Command::new(bin_dir.join("keepone"));
        command.args(["keys", "--cluster", "demo", "--out"]).arg(room.join("keys")).args(["n1", "n2", "w"]);
        processes.complete(&topology.switch, command, &room.join("keys.log"), ANSWER)?;
        let members = Members::read(&room.join("keys/members.toml"))?;
        let (stop, live) = (Stop::default(), Arc::new(Live::new(2, 0)));
        let n2 = host(&topology, Kind::Node(1))?;
        responder::start(&n2.namespace, 1, stop.clone())?;
        let lan = n2.port(Network::Lan).ok_or_else(missing)?;
        let tap = sniffer::start(&topology, lan, 1, IpAddr::V4(VIP), Arc::clone(&live), stop.clone())?;
        // The guest takes this namespace's cables.
        for port in &host(&topology, Kind::Node(0))?.ports {
            topology.set_link(port, false)?;
        }
        let (bin_dir, room) = (bin_dir.to_owned(), room.to_owned());
        let (kernel, guest, taps) = (kernel.clone(), None, vec![(1, tap)]);
        let mut stage = Stage { kernel, base, topology, processes, bin_dir, room, members, guest, stop, live, taps };
        stage.start(Kind::Witness(0), "keepone-witness", |cluster, host, directory| {
            cluster.of_witness(host, directory)
        })?;
        stage.boot(None)?;
        // Only then is the guest the one that is disturbed; and it is asked nothing while it boots.
        oracle::start_every(&stage.topology, VIP, ASK, stage.stop.clone())?;
        stage.wait_until_held()?;
        stage.start(Kind::Node(1), "keepone", |cluster, host, directory| cluster.of_node(host, directory))?;
        Ok(stage)
    }

    fn cluster<'a>(&'a self, keys: &'a Path) -> Cluster<'a> {
        Cluster {
            topology: &self.topology,
            keys,
            members: &self.members,
            pace: PACE,
            shape: &Shape::PAIR,
            extras: &Extras::NONE,
        }
    }

    /// Starts a program in its namespace.
    fn start(
        &self,
        kind: Kind,
        program: &str,
        text: impl Fn(&Cluster<'_>, &Host, &Path) -> String,
    ) -> Result<(), Error> {
        let host = host(&self.topology, kind)?;
        let directory = self.room.join(&host.name);
        for name in ["run", "bpf"] {
            let path = directory.join(name);
            fs::create_dir_all(&path).map_err(io_error(format!("create {}", path.display())))?;
        }
        let (file, keys) = (directory.join("conf.toml"), self.room.join("keys"));
        let text = text(&self.cluster(&keys), host, &directory);
        fs::write(&file, text).map_err(io_error(format!("write {}", file.display())))?;
        let mut command = Command::new(self.bin_dir.join(program));
        command.args(["run", "-c"]).arg(&file);
        self.processes.start(&host.namespace, command, &directory.join("console"))?;
        Ok(())
    }

    /// Starts QEMU on the world's bridges: from nothing, or with a memory that was put away.
    fn boot(&mut self, memory: Option<&Path>) -> Result<(), Error> {
        let n1 = host(&self.topology, Kind::Node(0))?;
        let nics: Vec<Nic> = n1.ports.iter().map(|port| Nic { tap: tap(port.network), mac: port.mac }).collect();
        let own = Path::new("/k");
        let key = self.room.join("keys/n1.key");
        let key = fs::read(&key).map_err(io_error(format!("read {}", key.display())))?;
        let settings = Settings {
            name: "n1",
            kernel: &self.kernel,
            base: &self.base,
            files: vec![
                ("k/n1.toml".to_owned(), self.cluster(own).of_node(n1, own).into_bytes()),
                ("k/n1.key".to_owned(), key),
                ("k/start".to_owned(), start(n1).into_bytes()),
            ],
            nics: nics.clone(),
            namespace: &self.topology.switch,
            processors: 1,
            append: "",
            counts: false,
        };
        let mut guest = match memory {
            None => Machine::start(&settings, &self.room, &self.processes)?,
            Some(memory) => Machine::restore(&settings, memory, &self.room, &self.processes)?,
        };
        let mut taps = Vec::new();
        for (port, nic) in n1.ports.iter().zip(nics) {
            let index = self.topology.join(&nic.tap, port.network)?;
            if port.network == Network::Lan {
                let port = Port { index, name: nic.tap, ..port.clone() };
                let (live, stop) = (Arc::clone(&self.live), self.stop.clone());
                taps.push((0, sniffer::start(&self.topology, &port, 0, IpAddr::V4(VIP), live, stop)?));
            }
        }
        self.taps.extend(taps);
        match memory {
            None => {
                guest.must("sh /k/start", ANSWER)?;
                // Both ends stay open in the shell that serves the commands.
                guest.must("exec 8<>/k/ask 9<>/k/told", ANSWER)?;
            }
            Some(_) => guest.go_on()?,
        }
        self.guest = Some(guest);
        Ok(())
    }

    /// Takes the guest's lines but the LAN out of the switch, or puts them back; the guest's carrier stays.
    fn set_lines(&self, up: bool) -> Result<(), Error> {
        for port in host(&self.topology, Kind::Node(0))?.ports.iter().filter(|port| port.network != Network::Lan) {
            let name = tap(port.network);
            let index = self
                .topology
                .switch
                .run(|| nix::net::if_::if_nametoindex(name.as_str()).map_err(io_error(format!("find {name}"))))?;
            self.topology.set_link(&Port { index, name: name.clone(), ..port.clone() }, up)?;
        }
        Ok(())
    }

    fn guest(&mut self) -> Result<&mut Machine, Error> {
        self.guest.as_mut().ok_or_else(missing)
    }

    fn holders(&self) -> Vec<usize> {
        self.live.holders(clock::now())
    }

    fn not_held(&self, begin: u64) -> Error {
        let seen = |name: &str| crate::netns::process::tail(&self.room.join(name).join("console"));
        Error::NotSteady {
            waited_s: (clock::now() - begin) / (1000 * MS),
            seen: format!("{}\n{}", seen("n1"), seen("n2")),
        }
    }

    /// Until the guest alone has spoken for a while.
    fn wait_until_held(&self) -> Result<(), Error> {
        let begin = clock::now();
        let mut since = begin;
        loop {
            let now = clock::now();
            if self.holders() != [0] {
                since = now;
            }
            if now - since > STEADY {
                return Ok(());
            }
            if now - begin > PATIENCE {
                return Err(self.not_held(begin));
            }
            thread::sleep(Duration::from_millis(20));
        }
    }

    fn read_clocks(&mut self) -> Result<Reading, Error> {
        let asked = clock::now();
        let text = self.guest()?.must("echo >&8; read -r answer <&9; echo $answer", ANSWER)?;
        let answered = clock::now();
        let mut numbers = text.split_ascii_whitespace().map(|word| word.parse().unwrap_or(0));
        let guest = [(); 3].map(|()| numbers.next().unwrap_or(0));
        Ok(Reading { guest, asked, answered })
    }

    fn play(&mut self, pause: Pause, asked: u64) -> Result<Case, Error> {
        let log = "/k/run/events.jsonl";
        let lines = self.guest()?.must(&format!("wc -l < {log}"), ANSWER)?;
        let seen: usize = lines.trim().parse().unwrap_or(0);
        let before = self.read_clocks()?;
        let begin = clock::now();
        let time = Duration::from_millis(asked);
        match pause {
            Pause::Visible => {
                self.guest()?.freeze();
                thread::sleep(time);
                self.guest()?.thaw();
            }
            Pause::Hidden => {
                self.guest()?.qmp.command("stop", &json!({}))?;
                thread::sleep(time);
                self.guest()?.qmp.command("cont", &json!({}))?;
            }
            Pause::HiddenDeaf => {
                self.guest()?.qmp.command("stop", &json!({}))?;
                // At once: what waits in the switch's queues would tell it.
                self.set_lines(false)?;
                thread::sleep(time);
                self.guest()?.qmp.command("cont", &json!({}))?;
            }
            Pause::Snapshot => self.snapshot(time)?,
        }
        let resumed = clock::now();
        let after = self.read_clocks()?;
        thread::sleep(AFTERWARDS);
        self.set_lines(true)?;
        let end = clock::now();
        let events = self.guest()?.must(&format!("tail -n +{} {log}", seen + 1), ANSWER)?;
        // The guest's answer is of some instant within the question.
        let error = (before.answered - before.asked + after.answered - after.asked) / 2;
        let middle = |reading: &Reading| reading.asked / 2 + reading.answered / 2;
        let host = middle(&after) - middle(&before);
        let hidden = [0, 1, 2].map(|place| {
            let of = |reading: &Reading| reading.guest.get(place).copied().unwrap_or(0);
            let moved = of(&after).saturating_sub(of(&before));
            i64::try_from(host).unwrap_or(i64::MAX) - i64::try_from(moved).unwrap_or(i64::MAX)
        });
        Ok(Case { pause, asked, begin, resumed, end, hidden, error, alerts: alerts(&events) })
    }

    /// Puts the guest's memory into a file, ends the machine, and brings the memory back `time` later.
    fn snapshot(&mut self, time: Duration) -> Result<(), Error> {
        let file = self.room.join("memory");
        let begin = clock::now();
        self.guest()?.save(&file)?;
        // The old machine is gone: what it did after the snapshot is not the question here.
        self.guest = None;
        thread::sleep(time.saturating_sub(Duration::from_nanos(clock::now() - begin)));
        self.boot(Some(&file))
    }

    /// Ends everything; when each node sent a frame for the VIP.
    fn close(mut self) -> Result<Vec<Vec<u64>>, Error> {
        if let Some(guest) = &mut self.guest {
            let events = guest.must("cat /k/run/events.jsonl", ANSWER)?;
            let file = self.room.join("n1/events.jsonl");
            fs::write(&file, events).map_err(io_error(format!("write {}", file.display())))?;
        }
        self.stop.set();
        let mut spoke = vec![Vec::new(), Vec::new()];
        for (node, tap) in self.taps {
            let seen = tap.join().map_err(|_| Error::Thread("a tap"))?;
            if let Some(spoke) = spoke.get_mut(node) {
                spoke.extend(seen.iter().filter(|s| s.naming != Naming::Advertisement).map(|s| s.at));
            }
        }
        Ok(spoke)
    }
}

/// The guest's end of a network, in the switch's namespace.
fn tap(network: Network) -> String {
    format!("tap-{network}")
}

fn missing() -> Error {
    io_error("find a machine of the world")(std::io::Error::from(std::io::ErrorKind::NotFound))
}

fn host(topology: &Topology, kind: Kind) -> Result<&Host, Error> {
    topology.host(kind).ok_or_else(missing)
}

/// What the guest does first: its addresses are those of the namespace whose place it takes.
fn start(n1: &Host) -> String {
    let mut text = String::from("set -e\n");
    for (number, port) in n1.ports.iter().enumerate() {
        let name = match port.network {
            Network::Lan => "lan0".to_owned(),
            Network::Heartbeat(link) => format!("hb{link}"),
            Network::Witness => "wit0".to_owned(),
        };
        text.push_str(&format!(
            "ip link set eth{number} name {name}\nip addr add {}/24 dev {name}\nip link set {name} up\n",
            port.address
        ));
    }
    text.push_str(
        "mkdir -p /k/run /k/state /k/bpf\nmkfifo /k/ask /k/told\n\
         (keepone-chaos guest clocks <>/k/ask >/k/told 2>/dev/console &)\n(keepone-chaos guest respond 0 >/dev/console 2>&1 </dev/null &)\n\
         (keepone run -c /k/n1.toml >/dev/console 2>&1 </dev/null &)\n",
    );
    text
}
