//! bpffs: the file system in which maps, programs and links live on without a process.

use std::ffi::CString;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use crate::error::BpfError;
use crate::sys;

/// BPF_FS_MAGIC of linux/magic.h.
const MAGIC: u64 = 0xcafe_4a11;

fn c_path(path: &Path) -> Result<CString, BpfError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| BpfError::Name(path.into()))
}

/// Whether `path` lies in a bpffs.
///
/// # Errors
/// It does not exist, or can't be reached.
pub fn is_bpffs(path: &Path) -> Result<bool, BpfError> {
    let magic = sys::file_system_magic(&c_path(path)?)
        .map_err(|error| BpfError::new(format!("asking for the file system of {}", path.display()), error, ""))?;
    Ok(magic == MAGIC)
}

/// Makes the directory, and mounts a bpffs on it if it does not lie in one already.
///
/// The mount belongs to this process's mount namespace and ends with it: a service with a private
/// namespace should be given a directory below `/sys/fs/bpf`, which the system mounts.
///
/// # Errors
/// No permission (mounting wants CAP_SYS_ADMIN), or a kernel without BPF.
pub fn ensure_bpffs(dir: &Path) -> Result<(), BpfError> {
    std::fs::create_dir_all(dir)
        .map_err(|error| BpfError::new(format!("making the directory {}", dir.display()), error, ""))?;
    if is_bpffs(dir)? {
        return Ok(());
    }
    sys::mount_bpffs(&c_path(dir)?).map_err(|error| match error.raw_os_error() {
        Some(libc::ENODEV) => BpfError::Unsupported {
            what: "mounting a bpffs".into(),
            release: sys::kernel_release(),
            wanted: "Linux 5.8 with CONFIG_BPF_SYSCALL=y",
        },
        _ => BpfError::new(format!("mounting a bpffs on {}", dir.display()), error, ""),
    })
}

/// Pins the object of `fd` at `path`.
pub(crate) fn pin(fd: BorrowedFd<'_>, path: &Path) -> Result<(), BpfError> {
    // bpffs answers a dot with a bare EPERM, which would send the reader after capabilities.
    if path.file_name().is_none_or(|name| name.as_bytes().contains(&b'.')) {
        return Err(BpfError::Name(path.into()));
    }
    let c_path = c_path(path)?;
    let mut attr = sys::ObjPin {
        pathname: sys::address(c_path.as_bytes_with_nul()),
        bpf_fd: sys::number(fd),
        ..Default::default()
    };
    if let Err(error) = sys::bpf(sys::OBJ_PIN, &mut attr) {
        let elsewhere = path.parent().is_some_and(|dir| is_bpffs(dir).is_ok_and(|is| !is));
        return Err(match error.raw_os_error() {
            Some(libc::EPERM) if elsewhere => BpfError::NotBpffs(path.into()),
            _ => BpfError::new(format!("pinning at {}", path.display()), error, ""),
        });
    }
    Ok(())
}

/// Opens what is pinned at `path`.
pub(crate) fn get(path: &Path) -> Result<OwnedFd, BpfError> {
    let c_path = c_path(path)?;
    let mut attr = sys::ObjPin { pathname: sys::address(c_path.as_bytes_with_nul()), ..Default::default() };
    sys::bpf_fd(sys::OBJ_GET, &mut attr)
        .map_err(|error: io::Error| BpfError::new(format!("opening the pin {}", path.display()), error, ""))
}
