//! Values of attributes: integers of the host's order, ports of the network's, strings, nested attributes.

use netlink_packet_core::{Emitable, NLA_F_NESTED, Nla, NlaBuffer, NlasIterator, Parseable};

/// What an attribute holds.
pub(super) trait Value: Sized {
    /// Bits of the attribute's type beside its number.
    const BITS: u16 = 0;
    fn len(&self) -> usize;
    /// Into exactly [`Value::len`] octets.
    fn emit(&self, to: &mut [u8]);
    /// `None`: it is not what is expected here.
    fn parse(from: &[u8]) -> Option<Self>;
}

macro_rules! integers {
    ($($integer:ty),*) => {$(
        impl Value for $integer {
            fn len(&self) -> usize {
                size_of::<$integer>()
            }

            fn emit(&self, to: &mut [u8]) {
                to.copy_from_slice(&self.to_ne_bytes());
            }

            fn parse(from: &[u8]) -> Option<Self> {
                from.try_into().ok().map(<$integer>::from_ne_bytes)
            }
        }
    )*};
}

integers!(u8, u16, u32, u64);

/// A 16 bit number that the kernel has in network order, such as a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkOrder(pub u16);

impl Value for NetworkOrder {
    fn len(&self) -> usize {
        2
    }

    fn emit(&self, to: &mut [u8]) {
        to.copy_from_slice(&self.0.to_be_bytes());
    }

    fn parse(from: &[u8]) -> Option<Self> {
        from.try_into().ok().map(|octets| NetworkOrder(u16::from_be_bytes(octets)))
    }
}

/// `struct ip_vs_flags`: `flags` count where `mask` has a bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flags {
    /// `IP_VS_SVC_F_*`.
    pub flags: u32,
    /// Which of them are meant.
    pub mask: u32,
}

impl Value for Flags {
    fn len(&self) -> usize {
        8
    }

    fn emit(&self, to: &mut [u8]) {
        let octets = self.flags.to_ne_bytes().into_iter().chain(self.mask.to_ne_bytes());
        to.iter_mut().zip(octets).for_each(|(to, octet)| *to = octet);
    }

    fn parse(from: &[u8]) -> Option<Self> {
        let [a, b, c, d, e, f, g, h] = *<&[u8; 8]>::try_from(from).ok()?;
        Some(Flags { flags: u32::from_ne_bytes([a, b, c, d]), mask: u32::from_ne_bytes([e, f, g, h]) })
    }
}

impl<const N: usize> Value for [u8; N] {
    fn len(&self) -> usize {
        N
    }

    fn emit(&self, to: &mut [u8]) {
        to.copy_from_slice(self);
    }

    fn parse(from: &[u8]) -> Option<Self> {
        from.try_into().ok()
    }
}

/// Ended by a zero on the wire.
impl Value for String {
    fn len(&self) -> usize {
        String::len(self) + 1
    }

    fn emit(&self, to: &mut [u8]) {
        let octets = self.bytes().chain([0]);
        to.iter_mut().zip(octets).for_each(|(to, octet)| *to = octet);
    }

    fn parse(from: &[u8]) -> Option<Self> {
        let (zero, text) = from.split_last()?;
        let is_text = *zero == 0 && !text.contains(&0);
        is_text.then(|| String::from_utf8(text.to_vec()).ok()).flatten()
    }
}

/// Nested attributes.
impl<A> Value for Vec<A>
where
    A: Nla + for<'a> Parseable<NlaBuffer<&'a [u8]>>,
{
    const BITS: u16 = NLA_F_NESTED;

    fn len(&self) -> usize {
        self.as_slice().buffer_len()
    }

    fn emit(&self, to: &mut [u8]) {
        self.as_slice().emit(to);
    }

    fn parse(from: &[u8]) -> Option<Self> {
        NlasIterator::new(from).map(|nla| A::parse(&nla.ok()?).ok()).collect()
    }
}
