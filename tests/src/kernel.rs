//! A kernel that lacks something, for one program.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Offset of the system call's number in struct seccomp_data (linux/seccomp.h).
const NUMBER: u32 = 0;
/// Of its arguments, the low half of each (little endian).
const FIRST: u32 = 16;
const THIRD: u32 = 32;

/// The child of `command`, and all that it starts, find bpf(2) as a kernel without CONFIG_BPF_SYSCALL has
/// it: ENOSYS. The caller keeps CAP_SYS_ADMIN, which a filter asks for.
#[allow(unsafe_code, reason = "std has no safe way into the child")]
pub(crate) fn without_bpf(command: &mut Command) -> &mut Command {
    // SAFETY: `forbid_bpf` runs between fork and exec; it allocates nothing, takes no lock, and calls
    // prctl(2) alone, which is a bare system call.
    unsafe { command.pre_exec(forbid_bpf) }
}

/// The same with a kernel that has neither BPF nor nf_tables: no netlink socket of netfilter's is to be had.
#[allow(unsafe_code, reason = "std has no safe way into the child")]
pub(crate) fn without_a_gate(command: &mut Command) -> &mut Command {
    // SAFETY: as above; `forbid_nftables` does the same as `forbid_bpf`.
    unsafe { command.pre_exec(forbid_bpf).pre_exec(forbid_nftables) }
}

fn statement(code: u32, k: u32) -> libc::sock_filter {
    libc::sock_filter { code: code as u16, jt: 0, jf: 0, k }
}

/// Goes on with the next statement if what was loaded is `k`, and leaves `otherwise` statements out if not.
fn unless(k: u32, otherwise: u8) -> libc::sock_filter {
    let equal = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    libc::sock_filter { code: equal as u16, jt: 0, jf: otherwise, k }
}

fn load(offset: u32) -> libc::sock_filter {
    statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, offset)
}

fn answer(errno: i32) -> libc::sock_filter {
    statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ERRNO | errno.unsigned_abs())
}

// Linux knows no second architecture here that the children would use.
fn forbid_bpf() -> io::Result<()> {
    let allow = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    put_on(&mut [load(NUMBER), unless(libc::SYS_bpf as u32, 1), answer(libc::ENOSYS), allow])
}

fn forbid_nftables() -> io::Result<()> {
    let allow = statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW);
    put_on(&mut [
        load(NUMBER),
        unless(libc::SYS_socket as u32, 5),
        load(FIRST),
        unless(libc::AF_NETLINK.unsigned_abs(), 3),
        load(THIRD),
        unless(libc::NETLINK_NETFILTER.unsigned_abs(), 1),
        answer(libc::EPROTONOSUPPORT),
        allow,
    ])
}

#[allow(unsafe_code, reason = "no safe wrapper is at hand")]
fn put_on(filter: &mut [libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: `program` and the filter that it points to outlive the call, which copies both.
    let set = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) };
    if set == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
