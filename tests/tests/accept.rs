//! Accept mode on real packets (RFC 9568, 6.1, 6.4.3), by both kinds of gate and in both families; and where who decides
//! runs. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::error::Error;
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::binary;
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, sendto, setsockopt,
    socket, sockopt::ReceiveTimeout,
};
use nix::sys::time::{TimeVal, TimeValLike};

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(40);
/// So long an answer is waited for that shall not come.
const PATIENCE: Duration = Duration::from_millis(400);

fn configuration(mode: &str) -> String {
    let instance = |name: &str, number: u8, more: &str| {
        format!(
            "vrrp_instance {name} {{\n    interface {INTERFACE}\n    virtual_router_id {number}\n    version 3\n    \
             priority 200\n    advert_int 0.2\n    {mode}\n    virtual_ipaddress {{\n{more}    }}\n}}\n"
        )
    };
    instance("VI_4", 51, &format!("        {VIP}/24\n"))
        + &instance("VI_6", 52, &format!("        fe80::100/64\n        {VIP6}/64\n"))
}

struct Node {
    lan: Lan,
    program: Program,
    /// Who listens on the node, on all addresses.
    _tcp: TcpListener,
    udp: UdpSocket,
}

/// One echo request and its answer.
fn ping(to: IpAddr) -> bool {
    let (family, protocol, kind, answer) = match to {
        IpAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp, 8, 0),
        IpAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6, 128, 129),
    };
    let raw = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol).unwrap();
    setsockopt(&raw, ReceiveTimeout, &TimeVal::milliseconds(PATIENCE.as_millis() as i64)).unwrap();
    let mut packet = [kind, 0, 0, 0, 0x6b, 0x6f, 0, 1];
    if to.is_ipv4() {
        let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        packet[2..4].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    }
    let sent = match to {
        IpAddr::V4(to) => {
            let [a, b, c, d] = to.octets();
            sendto(raw.as_raw_fd(), &packet, &SockaddrIn::new(a, b, c, d, 0), MsgFlags::empty())
        }
        IpAddr::V6(to) => {
            let to = SockaddrIn6::from(std::net::SocketAddrV6::new(to, 0, 0, 0));
            sendto(raw.as_raw_fd(), &packet, &to, MsgFlags::empty())
        }
    };
    if sent.is_err() {
        return false;
    }
    let mut bytes = [0; 256];
    for _ in 0..64 {
        let Ok(length) = recv(raw.as_raw_fd(), &mut bytes, MsgFlags::empty()) else { return false };
        let from = if to.is_ipv4() { 20 } else { 0 };
        if length >= from + 6 && bytes[from] == answer && bytes[from + 4..from + 6] == [0x6b, 0x6f] {
            return true;
        }
    }
    false
}

impl Node {
    fn start(mode: &str, without_bpf: bool) -> Self {
        let lan = Lan::build(0).unwrap();
        lan.add_ipv6().unwrap();
        let file = lan.write("x.conf", &configuration(mode)).unwrap();
        let keepone = binary::find("keepone");
        let command = [keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
        let log = lan.room().join("output.log");
        let program = match without_bpf {
            true => Program::start_without_bpf(&lan.node(0).namespace, &command, &log),
            false => Program::start(&lan.node(0).namespace, &command, &log),
        };
        let (tcp, udp) = lan
            .node(0)
            .namespace
            .run(|| Ok::<_, Error>((TcpListener::bind("[::]:7000").unwrap(), UdpSocket::bind("[::]:7000").unwrap())))
            .unwrap();
        udp.set_read_timeout(Some(PATIENCE)).unwrap();
        Node { lan, program: program.unwrap(), _tcp: tcp, udp }
    }

    fn of_client<T>(&self, run: impl FnOnce() -> T + Send) -> T
    where
        T: Send,
    {
        self.lan.host(Kind::Client(0)).namespace.run(|| Ok::<_, Error>(run())).unwrap()
    }

    /// What a client is answered by: ping, TCP, UDP.
    fn answers(&self, to: IpAddr) -> [bool; 3] {
        while self.udp.recv(&mut [0; 16]).is_ok() {}
        let pinged = self.of_client(|| ping(to));
        let connected = self.of_client(|| TcpStream::connect_timeout(&SocketAddr::new(to, 7000), PATIENCE).is_ok());
        self.of_client(|| {
            let any = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            drop(UdpSocket::bind(any).unwrap().send_to(b"?", SocketAddr::new(to, 7000)));
        });
        [pinged, connected, self.udp.recv(&mut [0; 16]).is_ok()]
    }

    fn ip(&self, of: Kind, words: &str) -> String {
        let run = || {
            let output = Command::new("ip").args(words.split(' ')).output().unwrap();
            Ok::<_, Error>(String::from_utf8(output.stdout).unwrap())
        };
        self.lan.host(of).namespace.run(run).unwrap()
    }

    #[track_caller]
    fn holds(&self) {
        let holds = || {
            let there = self.ip(Kind::Node(0), &format!("-o addr show dev {INTERFACE}"));
            (there.contains(&format!("{VIP}/")) && there.contains(&format!("{VIP6}/"))).then_some(())
        };
        eventually(SOON, || self.program.said(), holds);
    }

    #[track_caller]
    fn until(&self, wanted: [bool; 3]) {
        for to in [IpAddr::V4(VIP), IpAddr::V6(VIP6)] {
            let mut found = [false; 3];
            eventually(
                SOON,
                || format!("{to}: ping, TCP, UDP not {wanted:?}\n{}", self.program.said()),
                || {
                    found = self.answers(to);
                    (found == wanted).then_some(())
                },
            );
        }
    }

    fn reload(&mut self, mode: &str) {
        let before = self.program.said().matches("reload: taken over").count();
        self.lan.write("x.conf", &configuration(mode)).unwrap();
        self.program.signal(Part::Guardian, Signal::SIGHUP);
        let said = || self.program.said().matches("reload: taken over").count();
        eventually(SOON, || self.program.said(), || (said() > before).then_some(()));
    }
}

fn accept_mode(without_bpf: bool) {
    let mut node = Node::start("no_accept", without_bpf);
    node.holds();
    let gate = if without_bpf { "the gate is nft" } else { "the gate is bpf" };
    assert!(node.program.said().contains(gate), "{}", node.program.said());
    // The host's own address tells that the listeners work.
    assert!((0..20).any(|_| node.answers(node.lan.address(0)) == [true; 3]), "{}", node.program.said());
    for to in [IpAddr::V4(VIP), IpAddr::V6(VIP6)] {
        assert_eq!(node.answers(to), [false; 3], "{to}: ping, TCP, UDP\n{}", node.program.said());
        // Found all the same, by ARP or ND.
        let neighbor = || node.ip(Kind::Client(0), &format!("neigh show {to}"));
        eventually(SOON, neighbor, || {
            node.answers(to);
            (neighbor().contains("lladdr") && !neighbor().contains("FAILED")).then_some(())
        });
    }
    node.reload("accept");
    node.until([true; 3]);
    node.reload("no_accept\n    nopreempt");
    node.until([false; 3]);
    // Another worker is no way in, nor is the time in between.
    node.program.signal(Part::Worker, Signal::SIGKILL);
    for _ in 0..6 {
        for to in [IpAddr::V4(VIP), IpAddr::V6(VIP6)] {
            assert_eq!(node.answers(to), [false; 3], "{to}\n{}", node.program.said());
        }
    }
    node.holds();
    node.program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(node.program.wait(SOON).is_some_and(|status| status.success()), "{}", node.program.said());
    let listed = || {
        let output = Command::new("nft").args(["list", "ruleset"]).output().unwrap();
        Ok::<_, Error>(String::from_utf8(output.stdout).unwrap())
    };
    assert_eq!(node.lan.node(0).namespace.run(listed).unwrap(), "", "nothing stays");
}

#[test]
fn a_master_that_does_not_accept_takes_nothing_for_its_addresses_behind_bpf() {
    accept_mode(false);
}

#[test]
fn a_master_that_does_not_accept_takes_nothing_for_its_addresses_behind_nftables() {
    accept_mode(true);
}

#[test]
fn who_decides_runs_with_the_priority_and_on_the_processors_of_the_configuration() {
    let lan = Lan::build(0).unwrap();
    let globals = "global_defs {\n    vrrp_rt_priority 33\n    vrrp_cpu_affinity 0\n}\n";
    let file = lan.write("x.conf", &format!("{globals}{}", configuration("accept"))).unwrap();
    let keepone = binary::find("keepone");
    let mut program = lan.start(0, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    assert!(program.says("-> MASTER", SOON), "{}", program.said());
    let [worker] = members(program.pid(), Part::Worker)[..] else { panic!("{}", program.said()) };
    let read = |path: String| std::fs::read_to_string(path).unwrap();
    let priority = |pid: i32| {
        let stat = read(format!("/proc/{pid}/task/{pid}/stat"));
        // proc_pid_stat(5): the 40th field; two come before the state.
        stat.rsplit(')').next().unwrap().split_whitespace().nth(37).unwrap().to_owned()
    };
    assert_eq!([priority(worker), priority(program.pid())], ["33", "33"]);
    let allowed = |task: &str| {
        let status = read(format!("/proc/{worker}/task/{task}/status"));
        status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
    };
    assert_eq!(allowed(&worker.to_string()), "0");
    let others = std::fs::read_dir(format!("/proc/{worker}/task")).unwrap();
    let others = others.map(|task| task.unwrap().file_name().into_string().unwrap());
    let all = allowed_of_test();
    for task in others.filter(|task| *task != worker.to_string()) {
        let name = read(format!("/proc/{worker}/task/{task}/comm"));
        // One that its runtime begins later, for what may block, is pinned as who began it.
        if name.trim() == "tokio-rt-worker" {
            continue;
        }
        assert_eq!(allowed(&task), all, "only who decides is pinned, not {name}");
    }
}

fn allowed_of_test() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim().to_owned()
}
