//! What can go wrong in the real world, apart from what the scenarios want to go wrong.

use std::io;
use std::path::PathBuf;

/// A world that could not be made, driven or observed. It says nothing about the cluster in it.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Namespaces, bridges and eBPF need root.
    #[error("running as uid {0}, where the netns world needs root: run it with sudo")]
    NotRoot(u32),
    /// A system call or a file.
    #[error("{what}")]
    Io {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: io::Error,
    },
    /// A netlink request.
    #[error("{what}")]
    Netlink {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: rtnetlink::Error,
    },
    /// The switch's eBPF program, or the reading of a gate.
    #[error("use eBPF: the netns world needs Linux 6.6 or later with CONFIG_BPF_SYSCALL=y")]
    Bpf(#[from] keepone_bpf::BpfError),
    /// The switch's eBPF program can't be assembled.
    #[error("assemble the switch's program: this is a bug of keepone-chaos")]
    Assembly(#[from] keepone_bpf::AsmError),
    /// A program that the world drives is not there.
    #[error("no `{name}` in {looked}: build it, or name its directory with --bin-dir")]
    NoBinary {
        /// The program.
        name: String,
        /// Where it was looked for.
        looked: PathBuf,
    },
    /// What `keepone keys` wrote is no list of members.
    #[error("{path} is no list of members as `keepone keys` writes it: {why}")]
    Members {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A program failed that had to succeed.
    #[error("`{command}` failed ({status}): {output}")]
    Command {
        /// What was run.
        command: String,
        /// How it ended.
        status: String,
        /// The end of what it wrote.
        output: String,
    },
    /// The cluster never came to rest, so that there is nothing to disturb.
    #[error("no single steady holder within {waited_s} s: {seen}")]
    NotSteady {
        /// How long it was given.
        waited_s: u64,
        /// What was seen instead.
        seen: String,
    },
    /// A thread of the world died.
    #[error("the thread for {0} died: this is a bug of keepone-chaos")]
    Thread(&'static str),
}

/// [`Error::Io`] in a `map_err`.
pub fn io_error<E: Into<io::Error>>(what: impl Into<String>) -> impl FnOnce(E) -> Error {
    let what = what.into();
    move |source| Error::Io { what, source: source.into() }
}
