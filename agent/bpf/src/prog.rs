//! Programs for tcx, and the links that keep them attached.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use crate::asm::Insn;
use crate::error::BpfError;
use crate::map::kernel_name;
use crate::{fs, sys};

const PROG_TYPE_SCHED_CLS: u32 = 3;
const LINK_TYPE_TCX: u32 = 11;
const F_BEFORE: u32 = 1 << 3;
const F_AFTER: u32 = 1 << 4;
const LOG_BYTES: usize = 1 << 20;
const TCX: &str = "Linux 6.6 or later with CONFIG_BPF_SYSCALL=y and CONFIG_NET_XGRESS=y (tcx links)";

/// A program that the verifier has accepted (BPF_PROG_TYPE_SCHED_CLS).
#[derive(Debug)]
pub struct Program {
    fd: OwnedFd,
}

/// What a run on made-up data gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestRun {
    /// The program's verdict, as it returned it.
    pub verdict: i32,
    /// Mean time of one run, whole nanoseconds.
    pub duration: Duration,
}

fn load(attr: &mut sys::ProgLoad) -> io::Result<OwnedFd> {
    let mut tries = 0;
    loop {
        match sys::bpf_fd(sys::PROG_LOAD, attr) {
            // The verifier gives up when a signal comes in.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::EINTR)) && tries < 5 => tries += 1,
            result => return result,
        }
    }
}

/// The last lines of a zero-terminated log: the verifier's reason stands at the end.
fn log_tail(log: &[u8]) -> String {
    let text: Vec<u8> = log.iter().copied().take_while(|byte| *byte != 0).collect();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines.get(lines.len().saturating_sub(12)..).unwrap_or_default().join("; ")
}

impl Program {
    /// Hands instructions to the kernel under a licence that it knows, such as `Dual MIT/GPL`.
    ///
    /// # Errors
    /// [`BpfError::Verifier`] with the end of the verifier's log; no permission; no BPF in the kernel.
    pub fn load(name: &str, license: &str, insns: &[Insn]) -> Result<Self, BpfError> {
        let license: Vec<u8> = license.bytes().filter(|byte| *byte != 0).chain([0]).collect();
        let mut attr = sys::ProgLoad {
            prog_type: PROG_TYPE_SCHED_CLS,
            insn_cnt: u32::try_from(insns.len()).unwrap_or(u32::MAX),
            insns: sys::address(insns),
            license: sys::address(&license),
            prog_name: kernel_name(name),
            ..Default::default()
        };
        let source = match load(&mut attr) {
            Ok(fd) => return Ok(Program { fd }),
            Err(error) => error,
        };
        if matches!(source.raw_os_error(), Some(libc::ENOSYS)) {
            return Err(BpfError::new("loading a program", source, "Linux 5.8 with CONFIG_BPF_SYSCALL=y"));
        }
        // Once more for the verifier's reasons, which cost time and memory that a good program need not pay.
        let mut log = vec![0_u8; LOG_BYTES];
        attr.log_level = 1;
        attr.log_size = u32::try_from(LOG_BYTES).unwrap_or(0);
        attr.log_buf = sys::address_mut(&mut log);
        let source = match load(&mut attr) {
            Ok(fd) => return Ok(Program { fd }),
            Err(error) => error,
        };
        match log_tail(&log) {
            // Nothing in the log: it was not the verifier that refused.
            log if log.is_empty() => Err(BpfError::new(format!("loading the program {name:?}"), source, "")),
            log => Err(BpfError::Verifier { program: name.into(), log, source }),
        }
    }

    /// Pins the program.
    ///
    /// # Errors
    /// As [`crate::Map::pin`].
    pub fn pin(&self, path: &Path) -> Result<(), BpfError> {
        fs::pin(self.fd.as_fd(), path)
    }

    /// Runs the program `repeat` times on a frame (at least 14 bytes, from the Ethernet header) and measures it.
    ///
    /// # Errors
    /// A frame that is too short, or no permission.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<TestRun, BpfError> {
        let mut attr = sys::TestRunAttr {
            prog_fd: sys::number(self.fd.as_fd()),
            data_size_in: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            data_in: sys::address(frame),
            repeat,
            ..Default::default()
        };
        sys::bpf(sys::PROG_TEST_RUN, &mut attr).map_err(|error| BpfError::new("running a program", error, ""))?;
        Ok(TestRun { verdict: attr.retval.cast_signed(), duration: Duration::from_nanos(attr.duration.into()) })
    }
}

/// Where a program is attached: `enum bpf_attach_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Attach {
    /// Frames that come in, before the host looks at them.
    TcxIngress,
    /// Frames that go out, before the queueing discipline; AF_PACKET senders included.
    TcxEgress,
}

impl Attach {
    fn number(self) -> u32 {
        match self {
            Attach::TcxIngress => 46,
            Attach::TcxEgress => 47,
        }
    }
}

/// Where among the programs of one attach point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Before all that are there now.
    First,
    /// After all that are there now.
    Last,
}

/// What keeps a program attached: until every descriptor and pin of the link is gone, or the interface is.
#[derive(Debug)]
pub struct Link {
    fd: OwnedFd,
}

/// What the kernel says of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkInfo {
    /// The kernel's number of the link, the same for as long as it lives.
    pub id: u32,
    /// The interface; `None` if the link is no longer attached (detached by somebody, or the interface is gone).
    pub ifindex: Option<u32>,
    /// The kernel's number of the program.
    pub program: u32,
    /// The attach point; `None` if it is neither of ours.
    pub attach: Option<Attach>,
}

impl Link {
    /// Attaches a program to an interface of this network namespace.
    ///
    /// # Errors
    /// No permission; no such interface (ENODEV); a kernel without tcx, before Linux 6.6.
    pub fn attach(program: &Program, ifindex: u32, attach: Attach, place: Place) -> Result<Self, BpfError> {
        let mut attr = sys::LinkCreate {
            prog_fd: sys::number(program.fd.as_fd()),
            target_ifindex: ifindex,
            attach_type: attach.number(),
            flags: match place {
                Place::First => F_BEFORE,
                Place::Last => F_AFTER,
            },
            ..Default::default()
        };
        let fd = sys::bpf_fd(sys::LINK_CREATE, &mut attr)
            .map_err(|error| BpfError::new(format!("attaching a program to interface {ifindex}"), error, TCX))?;
        Ok(Link { fd })
    }

    /// The link that is pinned at `path`.
    ///
    /// # Errors
    /// See [`BpfError::is_not_found`].
    pub fn open_pinned(path: &Path) -> Result<Self, BpfError> {
        Ok(Link { fd: fs::get(path)? })
    }

    /// Pins the link: the program stays attached when this process is gone.
    ///
    /// # Errors
    /// As [`crate::Map::pin`].
    pub fn pin(&self, path: &Path) -> Result<(), BpfError> {
        fs::pin(self.fd.as_fd(), path)
    }

    /// Whether and where it is attached now.
    ///
    /// # Errors
    /// What is open here is no tcx link, or what the kernel says.
    pub fn info(&self) -> Result<LinkInfo, BpfError> {
        let info: sys::RawLinkInfo =
            sys::info(self.fd.as_fd()).map_err(|error| BpfError::new("reading about a link", error, ""))?;
        if info.kind != LINK_TYPE_TCX {
            let source = io::Error::from_raw_os_error(libc::EINVAL);
            return Err(BpfError::new(format!("a link of kind {}, where tcx (11) is wanted", info.kind), source, ""));
        }
        let attach = [Attach::TcxIngress, Attach::TcxEgress].into_iter().find(|at| at.number() == info.attach_type);
        Ok(LinkInfo {
            id: info.id,
            ifindex: (info.ifindex != 0).then_some(info.ifindex),
            program: info.prog_id,
            attach,
        })
    }

    /// Detaches the program now, whoever else holds the link open or pinned.
    ///
    /// # Errors
    /// What the kernel says; ENOLINK if the interface is gone already.
    pub fn detach(&self) -> Result<(), BpfError> {
        let mut attr = sys::LinkDetach { link_fd: sys::number(self.fd.as_fd()) };
        sys::bpf(sys::LINK_DETACH, &mut attr).map_err(|error| BpfError::new("detaching a link", error, ""))?;
        Ok(())
    }
}
