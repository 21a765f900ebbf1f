//! Two machines with as many cables as virtual routers need (255 have room on one), and a program on each: what it
//! costs is read from the kernel's accounts, what it sends from the wire.

use std::io::Read as _;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use socket2::SockFilter;

use super::vrrp::Case;
use crate::fault::Part;
use crate::netns::enclosure;
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;
use crate::netns::observe::packet;
use crate::netns::process::{Processes, members, signal, tail};

/// Virtual routers of one cable: a VRID has eight bits, and 0 is none.
const PER_CABLE: usize = 250;
/// Real servers of one virtual server.
const PER_SERVICE: usize = 10;
/// Run directory and BPF filesystem of a machine of its own; `exec` keeps the PID.
const FURNISH: &str =
    "mkdir -p /run/keepone && mount -t tmpfs tmpfs /run/keepone && mount -t bpf bpf /sys/fs/bpf && exec \"$@\"";
/// In a command: files that a machine must have for itself begin so.
pub(super) const PID_FILES: &str = "PID_FILES";
/// Between two looks at how many addresses there are.
const LOOK: Duration = Duration::from_millis(20);
/// Offsets in an Ethernet frame with an IPv4 header without options.
const ETHERTYPE: u32 = 12;
const PROTOCOL: u32 = 23;
const VRID: u32 = 35;
/// Load a half-word, load an octet, compare, return (linux/bpf_common.h).
const LDH_ABS: u16 = 0x28;
const LDB_ABS: u16 = 0x30;
const JEQ: u16 = 0x15;
const RET: u16 = 0x06;

/// The two machines.
pub(super) struct Room {
    nodes: [Namespace; 2],
    cables: usize,
    dir: PathBuf,
}

/// A program on one of them.
pub(super) struct Program {
    pid: i32,
    started: Instant,
}

impl Program {
    /// Of its first process.
    pub(super) fn pid(&self) -> i32 {
        self.pid
    }
}

/// What a program has used by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// Time on a processor, all threads of all its processes, in nanoseconds.
    pub(super) cpu: u64,
    /// Packets that left its machine.
    pub(super) sent: u64,
    /// Proportional share of memory, in octets.
    pub(super) memory: u64,
    /// Memory that each process has resident, in octets: what they share is counted for each.
    pub(super) resident: u64,
}

fn ip(namespace: &Namespace, batch: &str, dir: &Path) -> Result<(), Error> {
    let file = dir.join("batch");
    std::fs::write(&file, batch).map_err(io_error("write a batch for `ip`"))?;
    let (ended, said) = namespace.run(|| {
        let mut child = Command::new("ip")
            .arg("-batch")
            .arg(&file)
            .stderr(Stdio::piped())
            .spawn()
            .map_err(io_error("run `ip`: install iproute2"))?;
        let mut said = String::new();
        let stderr = child.stderr.take();
        stderr.map_or(Ok(0), |mut pipe| pipe.read_to_string(&mut said)).map_err(io_error("hear what `ip` says"))?;
        Ok((child.wait(), said))
    })?;
    let status = match ended {
        Ok(status) if status.success() => return Ok(()),
        Ok(status) => status.to_string(),
        // Whoever reaps the orphans here has been first. What fails says so.
        Err(_) if said.trim().is_empty() => return Ok(()),
        Err(error) => error.to_string(),
    };
    Err(Error::Command { command: "ip -batch".to_owned(), status, output: said })
}

impl Room {
    /// As many cables as `case` needs; the first machine is the better one.
    pub(super) fn new(case: &Case, name: &str) -> Result<Self, Error> {
        let dir = Path::new(enclosure::ROOM).join(name);
        std::fs::create_dir_all(&dir).map_err(io_error("make a directory for the run"))?;
        let nodes = [Namespace::new()?, Namespace::new()?];
        let cables = case.instances.div_ceil(PER_CABLE);
        let there = format!("/proc/{}/fd/{}", std::process::id(), nodes[1].file().as_raw_fd());
        let make: String =
            (0..cables).map(|n| format!("link add v{n} type veth peer name v{n} netns {there}\n")).collect();
        ip(&nodes[0], &make, &dir)?;
        for (node, namespace) in nodes.iter().enumerate() {
            namespace.set_parameters(&[("ipv6/conf/all/disable_ipv6", "1")])?;
            let up = |n| format!("link set v{n} up\naddr add 10.{n}.255.{}/16 dev v{n}\n", node + 1);
            let batch = (0..cables).map(up).collect::<String>() + "link set lo up\n";
            ip(namespace, &batch, &dir)?;
        }
        Ok(Room { nodes, cables, dir })
    }

    /// `keepalived.conf` for either program.
    pub(super) fn configuration(case: &Case, node: usize) -> String {
        let mut text = String::from("global_defs {\n    vrrp_version 3\n}\n");
        for place in 0..case.instances {
            let (cable, vrid) = (place / PER_CABLE, place % PER_CABLE + 1);
            text += &format!(
                "vrrp_instance V{place} {{\n    state BACKUP\n    interface v{cable}\n    virtual_router_id {vrid}\n    \
                 priority {}\n    advert_int {}\n    virtual_ipaddress {{\n",
                if node == 0 { 150 } else { 100 },
                case.interval.as_secs_f64(),
            );
            for vip in 0..case.vips {
                text += &format!("        10.{cable}.{}.{vrid}/32\n", vip + 1);
            }
            text += "    }\n}\n";
        }
        for place in (0..case.servers).step_by(PER_SERVICE) {
            let (high, low) = (place / PER_SERVICE / 250, place / PER_SERVICE % 250 + 1);
            text += &format!("virtual_server 10.200.{high}.{low} 80 {{\n    lvs_sched rr\n    protocol TCP\n");
            for server in place..case.servers.min(place + PER_SERVICE) {
                text += &format!("    real_server 10.201.{}.{} 80 {{\n    }}\n", server / 250, server % 250 + 1);
            }
            text += "}\n";
        }
        text
    }

    /// The program's control socket, as this process reaches it: its run directory is the machine's own.
    pub(super) fn control(program: &Program) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root/run/keepone/control", program.pid))
    }

    /// Starts the program on one of the two.
    pub(super) fn start(
        &self,
        case: &Case,
        node: usize,
        command: &[String],
        processes: &Processes,
    ) -> Result<Program, Error> {
        self.launch(node, &Room::configuration(case, node), command, processes)
    }

    /// The same with another configuration.
    pub(super) fn launch(
        &self,
        node: usize,
        configuration: &str,
        command: &[String],
        processes: &Processes,
    ) -> Result<Program, Error> {
        let file = self.dir.join(format!("{node}.conf"));
        std::fs::write(&file, configuration).map_err(io_error("write a configuration"))?;
        let mut shell = Command::new("unshare");
        let pid_files = self.dir.join(format!("{node}.pid")).display().to_string();
        let command = command.iter().map(|word| word.replace(PID_FILES, &pid_files));
        shell.args(["-m", "sh", "-c", FURNISH, "sh"]).args(command).arg(&file);
        let started = Instant::now();
        let pid = processes.start(self.node(node)?, shell, &self.log(node))?;
        Ok(Program { pid, started })
    }

    /// One of the two machines.
    pub(super) fn node(&self, node: usize) -> Result<&Namespace, Error> {
        self.nodes.get(node).ok_or(Error::Thread("a third machine"))
    }

    /// What the program on it said last.
    pub(super) fn said(&self, node: usize) -> String {
        tail(&self.log(node))
    }

    fn log(&self, node: usize) -> PathBuf {
        self.dir.join(format!("{node}.log"))
    }

    /// How many virtual addresses the first machine has.
    fn addresses(&self) -> Result<usize, Error> {
        let text = self.nodes[0].run(|| {
            std::fs::read_to_string("/proc/thread-self/net/fib_trie").map_err(io_error("read the addresses"))
        })?;
        // Each address stands in the table of the main and of the local rules.
        let locals = text.lines().filter(|line| line.contains("/32 host LOCAL")).count();
        Ok((locals / 2).saturating_sub(self.cables + 1))
    }

    /// Waits until the first machine has all addresses, at most for `limit`: how long after the start it had the
    /// first, and how long all.
    pub(super) fn wait_for_all(&self, case: &Case, program: &Program, limit: Duration) -> Result<[Duration; 2], Error> {
        let all = case.instances * case.vips;
        let mut first = None;
        loop {
            let count = self.addresses()?;
            let since = program.started.elapsed();
            if count > 0 {
                first.get_or_insert(since);
            }
            match first {
                Some(first) if count >= all => return Ok([first, since]),
                _ if since > limit => {
                    let what = format!("{count} of {all} addresses after {limit:?}");
                    return Err(Error::Command { command: what, status: String::new(), output: tail(&self.log(0)) });
                }
                _ => thread::sleep(LOOK),
            }
        }
    }

    /// What a program has used, and what its machine has sent.
    pub(super) fn used(&self, node: usize, program: &Program) -> Result<Used, Error> {
        let (mut cpu, mut memory, mut resident) = (0, 0, 0);
        for pid in members(program.pid, Part::Both) {
            let Ok(tasks) = std::fs::read_dir(format!("/proc/{pid}/task")) else { continue };
            for task in tasks.flatten() {
                let text = std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default();
                cpu += text.split(' ').next().and_then(|run| run.parse::<u64>().ok()).unwrap_or(0);
            }
            let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
            let octets = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) * 1024
            };
            memory += octets("Pss:");
            resident += octets("Rss:");
        }
        let text = self
            .node(node)?
            .run(|| std::fs::read_to_string("/proc/thread-self/net/dev").map_err(io_error("read the counters")))?;
        let cables = text.lines().filter(|line| line.trim_start().starts_with('v'));
        // After the colon: eight fields of what was received, then octets and packets that were sent.
        let sent = cables.filter_map(|line| line.split_once(':')?.1.split_whitespace().nth(9)?.parse::<u64>().ok());
        Ok(Used { cpu, sent: sent.sum(), memory, resident })
    }

    /// When the second machine saw each Advertisement of the first virtual router, for so long.
    pub(super) fn listen(&self, time: Duration) -> Result<Vec<u64>, Error> {
        self.nodes[1].run(|| {
            let index = nix::net::if_::if_nametoindex("v0").map_err(io_error("find v0"))?;
            let socket = packet::open(index).map_err(io_error("open a packet socket"))?;
            packet::prepare_for_listening(&socket).map_err(io_error("prepare a packet socket"))?;
            let filter = [
                SockFilter::new(LDH_ABS, 0, 0, ETHERTYPE),
                SockFilter::new(JEQ, 0, 5, 0x0800),
                SockFilter::new(LDB_ABS, 0, 0, PROTOCOL),
                SockFilter::new(JEQ, 0, 3, 112),
                SockFilter::new(LDB_ABS, 0, 0, VRID),
                SockFilter::new(JEQ, 0, 1, 1),
                SockFilter::new(RET, 0, 0, u32::MAX),
                SockFilter::new(RET, 0, 0, 0),
            ];
            socket.attach_filter(&filter).map_err(io_error("filter a packet socket"))?;
            let (begin, mut seen, mut buffer) = (Instant::now(), Vec::new(), [0; 2048]);
            while begin.elapsed() < time {
                if let Some(frame) = packet::receive(&socket, &mut buffer).map_err(io_error("listen"))? {
                    seen.push(frame.at);
                }
            }
            Ok(seen)
        })
    }

    /// Has the program read its file again.
    pub(super) fn reload(&self, program: &Program) {
        signal(&[program.pid], Signal::SIGHUP);
    }

    /// Ends it, and waits until it has.
    pub(super) fn end(&self, program: &Program, processes: &Processes) {
        let all = members(program.pid, Part::Both);
        signal(&[program.pid], Signal::SIGTERM);
        let begin = Instant::now();
        while processes.ending(program.pid).is_none() && begin.elapsed() < Duration::from_secs(20) {
            thread::sleep(LOOK);
        }
        signal(&all, Signal::SIGKILL);
    }
}

/// Runs `work` while the wire is listened to, and gives both results.
pub(super) fn while_listening<T>(
    room: &Room,
    time: Duration,
    work: impl FnOnce() -> Result<T, Error>,
) -> Result<(Vec<u64>, T), Error> {
    thread::scope(|scope| {
        let listener = scope.spawn(|| room.listen(time));
        let result = work();
        let seen = listener.join().map_err(|_| Error::Thread("a listener"))??;
        Ok((seen, result?))
    })
}
