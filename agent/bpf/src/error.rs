//! What can go wrong between us and the kernel, with the remedy in the message.

use std::io;
use std::path::PathBuf;

use crate::asm::AsmError;
use crate::sys;

/// Why a map, program, link or pin could not be had.
#[derive(Debug, thiserror::Error)]
pub enum BpfError {
    /// EPERM or EACCES.
    #[error(
        "{what} is not permitted: CAP_BPF and CAP_NET_ADMIN (and CAP_SYS_ADMIN to mount a bpffs) are needed; \
         run as root or grant them, and see that no container profile or lockdown forbids bpf(2)"
    )]
    NotPermitted {
        /// What was tried.
        what: String,
    },
    /// The kernel knows no such command, map, helper or attach point.
    #[error("{what}: the kernel ({release}) does not know it; wanted: {wanted}")]
    Unsupported {
        /// What was tried.
        what: String,
        /// Of the running kernel.
        release: String,
        /// Version and configuration that would do.
        wanted: &'static str,
    },
    /// The verifier said no: a fault of the program.
    #[error("the kernel's verifier refused the program {program:?} ({source}): {log}")]
    Verifier {
        /// Its name.
        program: String,
        /// The last lines of the verifier's log.
        log: String,
        /// The error number.
        source: io::Error,
    },
    /// Instructions that make no program.
    #[error(transparent)]
    Asm(#[from] AsmError),
    /// A key or a value of the wrong length.
    #[error("{what} of {have} bytes, where the map wants {want}")]
    Length {
        /// Key or value.
        what: &'static str,
        /// Given.
        have: usize,
        /// Wanted.
        want: usize,
    },
    /// A path or name with a zero byte, or a dot where bpffs allows none.
    #[error("{0:?} can't be the name of a pin: bpffs allows neither dots nor zero bytes in it")]
    Name(PathBuf),
    /// A pin outside of a bpffs, which the kernel answers with EPERM.
    #[error("{0:?} does not lie in a bpffs, the only place for pins: mount one there (see ensure_bpffs)")]
    NotBpffs(PathBuf),
    /// Any other error of the system.
    #[error("{what}: {source}")]
    System {
        /// What was tried.
        what: String,
        /// The error number.
        source: io::Error,
    },
}

impl BpfError {
    /// An error of the system, sorted by its number. `wanted` names the kernel that has the feature.
    pub(crate) fn new(what: impl Into<String>, source: io::Error, wanted: &'static str) -> Self {
        let what = what.into();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => BpfError::NotPermitted { what },
            Some(libc::ENOSYS | libc::EINVAL | libc::EOPNOTSUPP) if !wanted.is_empty() => {
                BpfError::Unsupported { what, release: sys::kernel_release(), wanted }
            }
            _ => BpfError::System { what, source },
        }
    }

    /// The system's error number, if it was the system that refused.
    pub fn errno(&self) -> Option<i32> {
        match self {
            BpfError::System { source, .. } | BpfError::Verifier { source, .. } => source.raw_os_error(),
            BpfError::NotPermitted { .. } => Some(libc::EPERM),
            BpfError::Unsupported { .. } => Some(libc::EINVAL),
            BpfError::Asm(_) | BpfError::Length { .. } | BpfError::Name(_) | BpfError::NotBpffs(_) => None,
        }
    }

    /// Whether the thing asked for does not exist.
    pub fn is_not_found(&self) -> bool {
        self.errno() == Some(libc::ENOENT)
    }
}
