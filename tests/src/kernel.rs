//! A kernel that lacks something, for one program.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Offset of the system call's number in struct seccomp_data (linux/seccomp.h).
const NUMBER: u32 = 0;

/// The child of `command`, and all that it starts, find bpf(2) as a kernel without CONFIG_BPF_SYSCALL has
/// it: ENOSYS. The caller keeps CAP_SYS_ADMIN, which a filter asks for.
#[allow(unsafe_code, reason = "std has no safe way into the child")]
pub(crate) fn without_bpf(command: &mut Command) -> &mut Command {
    // SAFETY: `forbid_bpf` runs between fork and exec; it allocates nothing, takes no lock, and calls
    // prctl(2) alone, which is a bare system call.
    unsafe { command.pre_exec(forbid_bpf) }
}

#[allow(unsafe_code, reason = "no safe wrapper is at hand")]
fn forbid_bpf() -> io::Result<()> {
    let statement = |code: u32, k: u32| libc::sock_filter { code: code as u16, jt: 0, jf: 0, k };
    // Linux knows no second architecture here that the children would use.
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    let enosys = libc::SECCOMP_RET_ERRNO | libc::ENOSYS.unsigned_abs();
    let mut filter = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, NUMBER),
        libc::sock_filter { code: equal as u16, jt: 0, jf: 1, k: libc::SYS_bpf as u32 },
        statement(libc::BPF_RET | libc::BPF_K, enosys),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` and the filter that it points to outlive the call, which copies both.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
