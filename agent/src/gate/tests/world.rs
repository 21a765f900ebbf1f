//! Hosts: threads with network and mount namespaces of their own, and what they send and hear.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

type Job = Box<dyn FnOnce() + Send>;

/// Ends with its thread; interfaces and mounts go with the namespaces.
pub struct Host {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    tid: libc::pid_t,
    pub bpf_dir: PathBuf,
}

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Host {
    pub fn new() -> Self {
        let (jobs, todo) = mpsc::channel::<Job>();
        let (told, tid) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            // SAFETY: plain system calls on this thread alone.
            unsafe {
                assert_eq!(libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS), 0, "these tests need root");
                let none = std::ptr::null();
                assert_eq!(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()), 0);
                told.send(libc::gettid()).unwrap();
            }
            while let Ok(job) = todo.recv() {
                job();
            }
        });
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bpf_dir = std::env::temp_dir().join(format!("keepone-gate-{}-{number}", std::process::id()));
        let host = Host { jobs: Some(jobs), thread: Some(thread), tid: tid.recv().unwrap(), bpf_dir };
        host.ip("link set lo up");
        host
    }

    /// Runs something in the host's namespaces, and panics where it panics.
    pub fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (done, answer) = mpsc::channel();
        let job = move || {
            let _ = done.send(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
        };
        self.jobs.as_ref().unwrap().send(Box::new(job)).unwrap();
        answer.recv().unwrap().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }

    /// `ip ARGUMENTS`; what it says if it fails.
    pub fn try_ip(&self, arguments: &str) -> Result<(), String> {
        let words: Vec<String> = arguments.split_whitespace().map(Into::into).collect();
        self.run(move || {
            let output = Command::new("ip").args(&words).output().expect("iproute2 is needed");
            if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).into_owned()) }
        })
    }

    pub fn ip(&self, arguments: &str) {
        self.try_ip(arguments).unwrap_or_else(|error| panic!("ip {arguments}: {error}"));
    }

    pub fn sysctl(&self, name: &str, value: &'static str) {
        let path = format!("/proc/sys/net/{name}");
        self.run(move || std::fs::write(&path, value).unwrap_or_else(|error| panic!("{path}: {error}")));
    }

    pub fn index(&self, name: &'static str) -> i32 {
        self.run(move || nix::net::if_::if_nametoindex(name).unwrap()).cast_signed()
    }

    /// A cable: MACs 02:…:01 here and 02:…:02 there, addresses NET.1 and NET.2, fd0X::1 and ::2, all of
    /// them known as neighbours. `net` is the second number of 10.NET.0.0/24.
    pub fn cable(&self, mine: &str, there: &Host, theirs: &str, net: u8) {
        self.ip(&format!("link add {mine} type veth peer name {theirs} netns {}", there.tid));
        for (host, name, n, other) in [(self, mine, 1, 2), (there, theirs, 2, 1)] {
            host.sysctl(&format!("ipv6/conf/{name}/accept_dad"), "0");
            host.ip(&format!("link set {name} address {} up", mac_text(net, n)));
            host.ip(&format!("addr add 10.{net}.0.{n}/24 dev {name}"));
            host.ip(&format!("addr add fd{net:02}::{n}/64 dev {name} nodad"));
            host.ip(&format!("neigh replace 10.{net}.0.{other} lladdr {} dev {name}", mac_text(net, other)));
            host.ip(&format!("neigh replace fd{net:02}::{other} lladdr {} dev {name}", mac_text(net, other)));
        }
    }

    pub fn udp(&self, address: &'static str) -> UdpSocket {
        self.run(move || {
            let socket = UdpSocket::bind(address).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            socket
        })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        let _ = std::fs::remove_dir(&self.bpf_dir);
        let _ = std::fs::remove_dir_all(self.bpf_dir.with_extension("run"));
    }
}

pub fn mac(net: u8, n: u8) -> [u8; 6] {
    [2, 0, 0, 0, net, n]
}

fn mac_text(net: u8, n: u8) -> String {
    mac(net, n).map(|byte| format!("{byte:02x}")).join(":")
}

/// An IPv4 packet with a UDP datagram in it, header checksum and all.
pub fn udp_packet(source: [u8; 4], destination: [u8; 4], port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 32, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(source);
    packet.extend(destination);
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(7001_u16.to_be_bytes());
    packet.extend(port.to_be_bytes());
    packet.extend([0, 12, 0, 0, 1, 2, 3, 4]);
    packet
}

/// Does a datagram from `from` to `to` reach `at` within 300 ms?
pub fn reaches(from: &UdpSocket, to: &str, at: &UdpSocket) -> bool {
    let to: SocketAddr = to.parse().unwrap();
    if from.send_to(b"?", to).is_err() {
        return false;
    }
    let mut buffer = [0; 16];
    at.recv_from(&mut buffer).is_ok()
}

/// The same within some seconds: for what should arrive, also on a busy host and over fresh links.
pub fn reaches_soon(from: &UdpSocket, to: &str, at: &UdpSocket) -> bool {
    (0..15).any(|_| reaches(from, to, at))
}

/// A tunnel without a link header, and the file at its other end.
pub fn tun(host: &Host, name: &'static str) -> std::fs::File {
    host.run(move || {
        let mut options = std::fs::OpenOptions::new();
        let file = options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun").unwrap();
        // SAFETY: all-zero is a valid request; the name is shorter than its field; the pointer is valid.
        unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
                *to = from as libc::c_char;
            }
            request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as i16;
            let result = libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request);
            assert_eq!(result, 0, "{}", io::Error::last_os_error());
        }
        file
    })
}

/// `nft ARGUMENTS`: what it says; an operator's, or another program's, hand.
pub fn nft(host: &Host, arguments: &str) -> String {
    let words: Vec<String> = arguments.split_whitespace().map(Into::into).collect();
    host.run(move || {
        let output = Command::new("nft").args(&words).output().expect("the nft program is needed");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "nft {}: {told}", words.join(" "));
        String::from_utf8_lossy(&output.stdout).into_owned()
    })
}

/// A raw sender on one interface of one host.
pub struct Raw {
    fd: OwnedFd,
    ifindex: i32,
}

impl Raw {
    pub fn new(host: &Host, name: &'static str) -> Self {
        let ifindex = host.index(name);
        let fd = host.run(|| {
            // SAFETY: a plain system call; the descriptor is fresh.
            unsafe {
                let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
                assert!(fd >= 0, "{}", io::Error::last_os_error());
                OwnedFd::from_raw_fd(fd)
            }
        });
        Raw { fd, ifindex }
    }

    /// PACKET_QDISC_BYPASS: what this project's own sockets never do.
    pub fn bypass_queue_disciplines(&self) {
        let one: libc::c_int = 1;
        let len = size_of_val(&one) as libc::socklen_t;
        // SAFETY: the pointer is valid for the length given.
        let set = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                libc::SOL_PACKET,
                libc::PACKET_QDISC_BYPASS,
                (&raw const one).cast(),
                len,
            )
        };
        assert_eq!(set, 0, "{}", io::Error::last_os_error());
    }

    /// Whether the frame passed the gate; any other error than the gate's is a failure of the test.
    pub fn passes(&self, frame: &[u8]) -> bool {
        // SAFETY: all-zero is a valid address block; the pointers are valid for the lengths given.
        let (sent, error) = unsafe {
            let mut to: libc::sockaddr_ll = std::mem::zeroed();
            to.sll_family = libc::AF_PACKET as u16;
            to.sll_ifindex = self.ifindex;
            let len = size_of_val(&to) as libc::socklen_t;
            let sent =
                libc::sendto(self.fd.as_raw_fd(), frame.as_ptr().cast(), frame.len(), 0, (&raw const to).cast(), len);
            (sent, io::Error::last_os_error())
        };
        if sent >= 0 {
            return true;
        }
        assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS), "{error}");
        false
    }
}
