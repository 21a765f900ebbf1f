//! A small eBPF assembler and loader: maps, programs, tcx links and pins, without clang or libbpf.
//!
//! A program is written as calls on [`Asm`], resolved in memory and handed to the kernel by
//! [`Program::load`]. What must stay true: every system call and every raw pointer is in `sys.rs`;
//! the rest of the crate is safe code.
//!
//! A program that drops every ARP frame which leaves an interface:
//!
//! ```no_run
//! use keepone_bpf::{Asm, Attach, Cond, Link, Place, Program, Reg, Size, skb, verdict};
//!
//! let mut asm = Asm::new();
//! let pass = asm.label();
//! asm.load(Size::Word, Reg::R2, Reg::R1, skb::PROTOCOL);
//! asm.jump_if(Cond::Ne, Reg::R2, i32::from(0x0806_u16.to_be()), pass);
//! asm.mov(Reg::R0, verdict::DROP).exit();
//! asm.bind(pass);
//! asm.mov(Reg::R0, verdict::NEXT).exit();
//! let program = Program::load("no_arp", "Dual MIT/GPL", &asm.assemble()?)?;
//! let link = Link::attach(&program, 3, Attach::TcxEgress, Place::First)?;
//! // The program stays attached until `link` is dropped, unless it is pinned.
//! # Ok::<(), keepone_bpf::BpfError>(())
//! ```

mod asm;
mod error;
mod fs;
mod map;
mod prog;
mod sys;

#[cfg(test)]
mod tests;

pub use asm::{Alu, Asm, AsmError, Cond, Insn, Label, Operand, Reg, Size};
pub use error::BpfError;
pub use fs::{ensure_bpffs, is_bpffs};
pub use map::{Map, MapKind, Mapping};
pub use prog::{Attach, Link, LinkInfo, Place, Program, TestRun};

/// Helper function numbers, from the kernel's `include/uapi/linux/bpf.h` (`__BPF_FUNC_MAPPER`).
pub mod helper {
    /// `void *bpf_map_lookup_elem(map, key)`.
    pub const MAP_LOOKUP_ELEM: i32 = 1;
    /// `u64 bpf_ktime_get_ns()`: CLOCK_MONOTONIC.
    pub const KTIME_GET_NS: i32 = 5;
    /// `u32 bpf_get_prandom_u32()`.
    pub const GET_PRANDOM_U32: i32 = 7;
    /// `long bpf_skb_load_bytes(skb, offset, to, len)`.
    pub const SKB_LOAD_BYTES: i32 = 26;
    /// `long bpf_skb_load_bytes_relative(skb, offset, to, len, start_header)`.
    pub const SKB_LOAD_BYTES_RELATIVE: i32 = 68;
    /// `long bpf_fib_lookup(ctx, params, plen, flags)`; only for programs under a GPL-compatible licence.
    pub const FIB_LOOKUP: i32 = 69;
    /// `u64 bpf_ktime_get_boot_ns()`: CLOCK_BOOTTIME.
    pub const KTIME_GET_BOOT_NS: i32 = 125;
}

/// Byte offsets in the context of a tcx program, `struct __sk_buff` of `linux/bpf.h`.
pub mod skb {
    /// Length of the frame.
    pub const LEN: i16 = 0;
    /// PACKET_HOST and so on.
    pub const PKT_TYPE: i16 = 4;
    /// The firewall's mark.
    pub const MARK: i16 = 8;
    /// EtherType in network byte order, in the low half of the word.
    pub const PROTOCOL: i16 = 16;
    /// 1 if the VLAN tag has been taken out of the frame.
    pub const VLAN_PRESENT: i16 = 20;
    /// That tag, host byte order.
    pub const VLAN_TCI: i16 = 24;
    /// Where the frame came in; 0 if this host made it.
    pub const INGRESS_IFINDEX: i16 = 36;
    /// The interface at hand.
    pub const IFINDEX: i16 = 40;
}

/// What a tcx program returns, `enum tcx_action_base` of `linux/bpf.h`.
pub mod verdict {
    /// Let the next program judge; the frame passes if there is none.
    pub const NEXT: i32 = -1;
    /// Let it pass, asking no further program.
    pub const PASS: i32 = 0;
    /// Drop it. A local sender sees ENOBUFS.
    pub const DROP: i32 = 2;
}
