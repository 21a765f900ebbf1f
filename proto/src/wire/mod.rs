//! Wire formats. The contract: `parse` never panics, whatever the bytes, and `parse(emit(x)) == x`.

pub mod arp;
pub mod bfd;
pub mod heartbeat;
pub mod hello;
pub mod ip;
pub mod lease;
pub mod ndp;
pub mod profile;
pub mod vrrp;

use alloc::vec::Vec;

/// Reads big-endian fields from a slice; `None` when it has run out.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// From the first octet.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// How many octets are left.
    pub fn remaining(&self) -> usize {
        self.0.len()
    }

    /// The next `N` octets.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (head, tail) = self.0.split_first_chunk::<N>()?;
        self.0 = tail;
        Some(*head)
    }

    /// The next `len` octets.
    pub fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(len)?;
        self.0 = tail;
        Some(head)
    }

    /// One octet.
    pub fn u8(&mut self) -> Option<u8> {
        self.array::<1>().map(|[b]| b)
    }

    /// Two octets.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    /// Four octets.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    /// Eight octets.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }
}

/// Appends big-endian fields.
#[derive(Debug, Default)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// Empty.
    pub fn new() -> Self {
        // A lease message or the beat of two domains, without growing.
        Writer(Vec::with_capacity(224))
    }

    /// Octets as they are.
    pub fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// One octet.
    pub fn u8(&mut self, v: u8) -> &mut Self {
        self.bytes(&[v])
    }

    /// Two octets.
    pub fn u16(&mut self, v: u16) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }

    /// Four octets.
    pub fn u32(&mut self, v: u32) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }

    /// Eight octets.
    pub fn u64(&mut self, v: u64) -> &mut Self {
        self.bytes(&v.to_be_bytes())
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}
