//! The system calls: the only unsafe code of the crate.
//!
//! What must stay true: each attribute block is `repr(C)`, without padding that C would not have,
//! initialised to the last byte, and every pointer in it outlives the call.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

// Commands, `enum bpf_cmd` of linux/bpf.h.
pub const MAP_CREATE: u32 = 0;
pub const MAP_LOOKUP_ELEM: u32 = 1;
pub const MAP_UPDATE_ELEM: u32 = 2;
pub const MAP_DELETE_ELEM: u32 = 3;
pub const MAP_GET_NEXT_KEY: u32 = 4;
pub const PROG_LOAD: u32 = 5;
pub const OBJ_PIN: u32 = 6;
pub const OBJ_GET: u32 = 7;
pub const PROG_TEST_RUN: u32 = 10;
pub const OBJ_GET_INFO_BY_FD: u32 = 15;
pub const MAP_LOOKUP_BATCH: u32 = 24;
pub const LINK_CREATE: u32 = 28;
pub const LINK_DETACH: u32 = 34;

/// An attribute block that may be handed to bpf(2).
///
/// # Safety
/// The type is `repr(C)`, has no padding, and lays its fields out as the member of `union bpf_attr`
/// for the command it is used with.
pub unsafe trait Attr {}

macro_rules! attr {
    ($(#[$doc:meta])* $name:ident { $($field:ident: $ty:ty),* $(,)? }) => {
        $(#[$doc])*
        #[repr(C)]
        #[derive(Default)]
        pub struct $name { $(pub $field: $ty),* }
        const _: () = assert!(size_of::<$name>() == 0 $(+ size_of::<$ty>())*, "padding");
        // SAFETY: repr(C) by this macro, and the assertion above says that there is no padding. The
        // fields follow `union bpf_attr` of linux/bpf.h.
        unsafe impl Attr for $name {}
    };
}

attr!(MapCreate {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    inner_map_fd: u32,
    numa_node: u32,
    map_name: [u8; 16]
});
attr!(
    /// Lookup, update, delete, next key.
    MapElem { map_fd: u32, pad: u32, key: u64, value: u64, flags: u64 }
);
attr!(
    /// Many elements at once.
    MapBatch {
        in_batch: u64,
        out_batch: u64,
        keys: u64,
        values: u64,
        count: u32,
        map_fd: u32,
        elem_flags: u64,
        flags: u64,
    }
);
attr!(ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
});
attr!(ObjPin { pathname: u64, bpf_fd: u32, file_flags: u32 });
attr!(InfoByFd { bpf_fd: u32, info_len: u32, info: u64 });
attr!(LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    relative_fd: u32,
    pad: u32,
    expected_revision: u64
});
attr!(LinkDetach { link_fd: u32 });
attr!(TestRunAttr {
    prog_fd: u32,
    retval: u32,
    data_size_in: u32,
    data_size_out: u32,
    data_in: u64,
    data_out: u64,
    repeat: u32,
    duration: u32,
    ctx_size_in: u32,
    ctx_size_out: u32,
    ctx_in: u64,
    ctx_out: u64,
});

/// The head of `struct bpf_link_info` up to the member for tcx.
#[repr(C)]
#[derive(Default)]
pub struct RawLinkInfo {
    pub kind: u32,
    pub id: u32,
    pub prog_id: u32,
    pub pad: u32,
    pub ifindex: u32,
    pub attach_type: u32,
}

/// The head of `struct bpf_map_info`.
#[repr(C)]
#[derive(Default)]
pub struct RawMapInfo {
    pub kind: u32,
    pub id: u32,
    pub key_size: u32,
    pub value_size: u32,
    pub max_entries: u32,
    pub map_flags: u32,
}

/// One bpf(2) call. The answer is a file descriptor for some commands, else 0.
pub fn bpf<A: Attr>(command: u32, attr: &mut A) -> io::Result<i32> {
    // SAFETY: `attr` is an initialised block of the given size (trait contract); the kernel reads it
    // and writes at most to the answer fields inside it. Buffers that it points to are made by the
    // callers in this crate from live slices that outlive the call.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attr), size_of::<A>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result as i32) }
}

/// A bpf(2) call that answers with a file descriptor, which the kernel opens close-on-exec.
pub fn bpf_fd<A: Attr>(command: u32, attr: &mut A) -> io::Result<OwnedFd> {
    let fd = bpf(command, attr)?;
    // SAFETY: the commands that this is used for answer with a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The number that the kernel wants in an attribute.
pub fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// A slice's address, as attributes carry it.
pub fn address<T>(slice: &[T]) -> u64 {
    slice.as_ptr().addr() as u64
}

/// The same for a slice that the kernel writes to.
pub fn address_mut<T>(slice: &mut [T]) -> u64 {
    slice.as_mut_ptr().expose_provenance() as u64
}

/// Fills `info` with what the kernel knows of the object.
pub fn info<T: Default>(fd: BorrowedFd<'_>) -> io::Result<T> {
    let mut info = [T::default()];
    let mut attr = InfoByFd {
        bpf_fd: number(fd),
        info_len: u32::try_from(size_of::<T>()).unwrap_or(0),
        info: address_mut(&mut info),
    };
    bpf(OBJ_GET_INFO_BY_FD, &mut attr)?;
    let [info] = info;
    Ok(info)
}

/// A shared mapping of an array map; unmapped when dropped.
#[derive(Debug)]
pub struct RawMapping {
    start: NonNull<AtomicU64>,
    words: usize,
}

// SAFETY: the mapping is plain shared memory, reached only through atomics.
unsafe impl Send for RawMapping {}
// SAFETY: as above.
unsafe impl Sync for RawMapping {}

impl RawMapping {
    /// Maps `bytes` (a multiple of 8, at least 8) of the map from its start.
    pub fn new(fd: BorrowedFd<'_>, bytes: usize, writable: bool) -> io::Result<Self> {
        let protection = if writable { libc::PROT_READ | libc::PROT_WRITE } else { libc::PROT_READ };
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::from(io::ErrorKind::AddrNotAvailable))?;
        Ok(RawMapping { start, words: bytes / size_of::<AtomicU64>() })
    }

    /// All words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: page-aligned, `words` long, mapped until drop; the kernel and other processes
        // change it only by whole words, which atomics allow. A read-only mapping is only loaded
        // from: `Mapping` sees to that.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.words) }
    }
}

impl Drop for RawMapping {
    fn drop(&mut self) {
        // SAFETY: made by mmap with this length, and no reference outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.words * size_of::<AtomicU64>()) };
    }
}

/// The magic number of the file system that holds `path`.
pub fn file_system_magic(path: &CStr) -> io::Result<u64> {
    // SAFETY: all-zero is a valid `statfs`, a struct of integers.
    let mut stat: libc::statfs = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are valid for the call.
    if unsafe { libc::statfs(path.as_ptr(), &raw mut stat) } != 0 {
        return Err(io::Error::last_os_error());
    }
    #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    Ok(stat.f_type as u64)
}

/// Mounts a bpffs.
pub fn mount_bpffs(path: &CStr) -> io::Result<()> {
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: all strings are zero-terminated and live through the call.
    let result = unsafe {
        libc::mount(c"keepone".as_ptr(), path.as_ptr(), c"bpf".as_ptr(), flags, c"mode=0700".as_ptr().cast())
    };
    if result != 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// The running kernel's release, for messages.
pub fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| "unknown".into(), |s| s.trim().into())
}
