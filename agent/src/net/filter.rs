//! The classic BPF program of the claim watch: what it lets through to user space.
//!
//! The one thing that must stay true: every ARP packet and Neighbor Advertisement that claims a
//! watched address passes. What passes besides is sorted out by [`super::neighbor`].

use std::net::IpAddr;

use socket2::SockFilter;

// linux/bpf_common.h
const LD_W_ABS: u16 = 0x20;
const LD_H_ABS: u16 = 0x28;
const LD_B_ABS: u16 = 0x30;
const JEQ: u16 = 0x15;
const JA: u16 = 0x05;
const RET: u16 = 0x06;

/// `SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT` (linux/filter.h).
const VLAN_TAG_PRESENT: u32 = (-0x1000_i32 + 48).cast_unsigned();

/// Octets copied of a frame that passes: all.
const SNAP: u32 = 0x4_0000;
/// Beyond so many addresses the program does not look at them: the kernel's limit on the size of a
/// filter is the machine's `net.core.optmem_max`, 20 KiB at the least.
const MOST: usize = 300;

/// The program for these addresses.
///
/// Frames of another VLAN pass an interface on their way to that VLAN's own; their tag, which the
/// kernel has taken off by then, keeps them out.
pub(super) fn program(addresses: impl Iterator<Item = IpAddr> + Clone) -> Vec<SockFilter> {
    let v4: Vec<u32> = addresses
        .clone()
        .filter_map(|address| match address {
            IpAddr::V4(address) => Some(u32::from(address)),
            IpAddr::V6(_) => None,
        })
        .collect();
    // The last word tells enough IPv6 addresses apart.
    let v6: Vec<u32> = addresses
        .filter_map(|address| match address {
            IpAddr::V4(_) => None,
            IpAddr::V6(address) => address.octets().last_chunk().copied().map(u32::from_be_bytes),
        })
        .collect();
    let look = v4.len() + v6.len() <= MOST;

    let mut na = vec![
        SockFilter::new(LD_B_ABS, 0, 0, 20), // next header
        SockFilter::new(JEQ, 1, 0, 58),      // ICMPv6
        drop_frame(),
        SockFilter::new(LD_B_ABS, 0, 0, 54), // ICMPv6 type
        SockFilter::new(JEQ, 1, 0, 136),     // Neighbor Advertisement
        drop_frame(),
    ];
    na.extend(one_of(74, &v6, look));

    let mut program = vec![
        SockFilter::new(LD_B_ABS, 0, 0, VLAN_TAG_PRESENT),
        SockFilter::new(JEQ, 1, 0, 0),
        drop_frame(),
        SockFilter::new(LD_H_ABS, 0, 0, 12), // EtherType
        SockFilter::new(JEQ, 0, 1, 0x0806),  // ARP
        // To the ARP part, behind all that follows: a conditional jump reaches only 255 instructions.
        SockFilter::new(JA, 0, 0, u32::try_from(na.len()).unwrap_or(0) + 2),
        SockFilter::new(JEQ, 1, 0, 0x86dd), // IPv6
        drop_frame(),
    ];
    program.extend(na);
    program.extend(one_of(28, &v4, look));
    program
}

/// Passes the frame if the word at `offset` is one of `words` (or whatever it is, if not to look).
fn one_of(offset: u32, words: &[u32], look: bool) -> Vec<SockFilter> {
    if !look {
        return vec![SockFilter::new(RET, 0, 0, SNAP)];
    }
    let mut part = vec![SockFilter::new(LD_W_ABS, 0, 0, offset)];
    for word in words {
        part.push(SockFilter::new(JEQ, 0, 1, *word));
        part.push(SockFilter::new(RET, 0, 0, SNAP));
    }
    part.push(drop_frame());
    part
}

fn drop_frame() -> SockFilter {
    SockFilter::new(RET, 0, 0, 0)
}
