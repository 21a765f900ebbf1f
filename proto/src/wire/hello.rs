//! The hello: what release a node runs and which features it has, told to each peer every two seconds. It is no sign of life.
//!
//! ```text
//! 'H' | cluster (8) | incarnation (8) | clock (8) | release: major (2), minor (2), patch (2) | features (8) | more
//! ```
//!
//! It bears no version of its own: this head is for ever, and what a later release appends is passed over. A release that
//! does not know it takes it for a datagram of an unknown kind.

use alloc::vec::Vec;

use super::{Reader, Writer};
use crate::features::{Features, Release};
use crate::id::{ClusterId, Incarnation};
use crate::time::Instant;

/// First octet of every hello.
pub const TAG: u8 = b'H';

/// One hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hello {
    /// The cluster.
    pub cluster: ClusterId,
    /// Sender's incarnation.
    pub incarnation: Incarnation,
    /// Sender's boot clock when it made the hello: the newest counts.
    pub clock: Instant,
    /// What it runs.
    pub release: Release,
    /// What that can.
    pub features: Features,
}

impl Hello {
    /// The octets.
    pub fn emit(&self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(TAG).u64(self.cluster.0).u64(self.incarnation.0).u64(self.clock.as_nanos());
        let Release { major, minor, patch } = self.release;
        w.u16(major).u16(minor).u16(patch).u64(self.features.0);
        w.finish()
    }

    /// From the octets of one datagram; `None`: not a hello, or one that ends too early.
    pub fn parse(bytes: &[u8]) -> Option<Hello> {
        let mut r = Reader::new(bytes);
        if r.u8()? != TAG {
            return None;
        }
        Some(Hello {
            cluster: ClusterId(r.u64()?),
            incarnation: Incarnation(r.u64()?),
            clock: Instant::from_nanos(r.u64()?),
            release: Release { major: r.u16()?, minor: r.u16()?, patch: r.u16()? },
            features: Features(r.u64()?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_is_read_as_it_was_written_whatever_a_later_release_appends(
            ids in any::<[u64; 4]>(), release in any::<(u16, u16, u16)>(), more in proptest::collection::vec(any::<u8>(), 0..40),
        ) {
            let hello = Hello {
                cluster: ClusterId(ids[0]),
                incarnation: Incarnation(ids[1]),
                clock: Instant::from_nanos(ids[2]),
                release: Release { major: release.0, minor: release.1, patch: release.2 },
                features: Features(ids[3]),
            };
            let mut bytes = hello.emit();
            for cut in 0..bytes.len() {
                prop_assert_eq!(Hello::parse(&bytes[..cut]), None);
            }
            bytes.extend(more);
            prop_assert_eq!(Hello::parse(&bytes), Some(hello));
            bytes[0] ^= 1;
            prop_assert_eq!(Hello::parse(&bytes), None);
        }
    }
}
