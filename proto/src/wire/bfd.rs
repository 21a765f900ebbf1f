//! BFD's control packet (RFC 5880, 4.1), without authentication.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |Vers |  Diag   |Sta|P|F|C|A|D|M|  Detect Mult  |    Length     |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                       My Discriminator                        |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                      Your Discriminator                       |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                    Desired Min TX Interval                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                   Required Min RX Interval                    |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |                 Required Min Echo RX Interval                 |
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! ```
//!
//! What must stay true: [`Control::parse`] takes nothing that RFC 5880, 6.8.6, has discarded for the packet's own sake.

use core::fmt;
use core::num::NonZeroU32;

/// Octets of a packet without authentication.
pub const LENGTH: usize = 24;

/// UDP port of control packets on one hop (RFC 5881, 4).
pub const PORT: u16 = 3784;

/// UDP port of control packets over several hops (RFC 5883, 5).
pub const MULTIHOP_PORT: u16 = 4784;

/// TTL or hop limit of what is sent, and of what is taken (RFC 5881, 5).
pub const HOP_LIMIT: u8 = 255;

/// `bfd.SessionState`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Held down by its operator.
    AdminDown,
    /// No session.
    Down,
    /// The other end is heard.
    Init,
    /// Each end hears the other.
    Up,
}

/// Why a session last left Up (RFC 5880, 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Diagnostic(pub u8);

impl Diagnostic {
    /// No Diagnostic.
    pub const NONE: Diagnostic = Diagnostic(0);
    /// Control Detection Time Expired.
    pub const TIME_EXPIRED: Diagnostic = Diagnostic(1);
    /// Neighbor Signaled Session Down.
    pub const NEIGHBOR_DOWN: Diagnostic = Diagnostic(3);
    /// Administratively Down.
    pub const HELD_DOWN: Diagnostic = Diagnostic(7);
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "no diagnostic",
            1 => "nothing heard within the detection time",
            2 => "its echo failed",
            3 => "the neighbour says that the session is down",
            4 => "its forwarding plane was reset",
            5 => "the path is down",
            6 => "a concatenated path is down",
            7 => "held down by the operator",
            8 => "a reverse concatenated path is down",
            _ => "an unknown diagnostic",
        })
    }
}

/// A control packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Control {
    /// Why the sender's session last left Up.
    pub diagnostic: Diagnostic,
    /// The sender's session.
    pub state: State,
    /// P: an answer with F is wanted at once.
    pub poll: bool,
    /// F: this is the answer.
    pub last: bool,
    /// D: the sender wants no packets while both ends are Up.
    pub demand: bool,
    /// How many packets must miss until the session is down, from 1.
    pub multiplier: u8,
    /// The sender's name for the session.
    pub mine: NonZeroU32,
    /// The receiver's, as far as the sender knows it.
    pub yours: Option<NonZeroU32>,
    /// How often the sender would like to send, in µs.
    pub desired_min_tx: u32,
    /// How often it can take packets, in µs; 0: it wants none.
    pub required_min_rx: u32,
}

/// Why a packet is discarded (RFC 5880, 6.8.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Shorter than it says, or than any can be.
    #[error("{have} octets, where {need} are needed")]
    Truncated {
        /// What there is.
        have: usize,
        /// What there should be.
        need: usize,
    },
    /// Another protocol.
    #[error("version {0}, not 1")]
    Version(u8),
    /// Nothing of the kind is configured here.
    #[error("it is authenticated, which is not configured here")]
    Authenticated,
    /// Reserved for later.
    #[error("the Multipoint bit is set")]
    Multipoint,
    /// No detection time could be made of it.
    #[error("a Detect Mult of 0")]
    Multiplier,
    /// It names no session.
    #[error("a discriminator of 0: My Discriminator, or Your Discriminator of a session that is not Down")]
    Discriminator,
}

impl Control {
    /// Reads the payload of a UDP datagram.
    ///
    /// # Errors
    /// [`DecodeError`]: it is to be discarded.
    pub fn parse(bytes: &[u8]) -> Result<Self, DecodeError> {
        let truncated = |need| DecodeError::Truncated { have: bytes.len(), need };
        let whole: &[u8; LENGTH] = bytes.first_chunk().ok_or_else(|| truncated(LENGTH))?;
        let [first, flags, multiplier, length, words @ ..] = *whole;
        let length = usize::from(length);
        if first >> 5 != 1 {
            return Err(DecodeError::Version(first >> 5));
        }
        if length < LENGTH || length > bytes.len() {
            return Err(truncated(length.max(LENGTH)));
        }
        if multiplier == 0 {
            return Err(DecodeError::Multiplier);
        }
        if flags & 0x01 != 0 {
            return Err(DecodeError::Multipoint);
        }
        if flags & 0x04 != 0 {
            return Err(DecodeError::Authenticated);
        }
        let mut words =
            words.chunks_exact(4).map(|word| word.iter().fold(0, |sum, octet| sum << 8 | u32::from(*octet)));
        let mut word = || words.next().unwrap_or_default();
        let (mine, yours) = (NonZeroU32::new(word()), NonZeroU32::new(word()));
        let (desired_min_tx, required_min_rx) = (word(), word());
        let state = match flags >> 6 {
            0 => State::AdminDown,
            1 => State::Down,
            2 => State::Init,
            _ => State::Up,
        };
        let mine = mine.ok_or(DecodeError::Discriminator)?;
        if yours.is_none() && matches!(state, State::Init | State::Up) {
            return Err(DecodeError::Discriminator);
        }
        Ok(Control {
            diagnostic: Diagnostic(first & 0x1f),
            state,
            poll: flags & 0x20 != 0,
            last: flags & 0x10 != 0,
            demand: flags & 0x02 != 0,
            multiplier,
            mine,
            yours,
            desired_min_tx,
            required_min_rx,
        })
    }

    /// The payload of a UDP datagram. No echo packets are wanted, and this end is not independent of the control plane.
    pub fn emit(&self) -> [u8; LENGTH] {
        let state = match self.state {
            State::AdminDown => 0,
            State::Down => 1,
            State::Init => 2,
            State::Up => 3,
        };
        let flag = |on: bool, bit: u8| if on { bit } else { 0 };
        let flags = state << 6 | flag(self.poll, 0x20) | flag(self.last, 0x10) | flag(self.demand, 0x02);
        let [m0, m1, m2, m3] = self.mine.get().to_be_bytes();
        let [y0, y1, y2, y3] = self.yours.map_or(0, NonZeroU32::get).to_be_bytes();
        let [t0, t1, t2, t3] = self.desired_min_tx.to_be_bytes();
        let [r0, r1, r2, r3] = self.required_min_rx.to_be_bytes();
        let first = 1 << 5 | (self.diagnostic.0 & 0x1f);
        let length = 24;
        [
            first,
            flags,
            self.multiplier,
            length,
            m0,
            m1,
            m2,
            m3,
            y0,
            y1,
            y2,
            y3,
            t0,
            t1,
            t2,
            t3,
            r0,
            r1,
            r2,
            r3,
            0,
            0,
            0,
            0,
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn control() -> Control {
        Control {
            diagnostic: Diagnostic::TIME_EXPIRED,
            state: State::Up,
            poll: true,
            last: false,
            demand: false,
            multiplier: 3,
            mine: NonZeroU32::new(0x0102_0304).unwrap(),
            yours: NonZeroU32::new(0x0506_0708),
            desired_min_tx: 300_000,
            required_min_rx: 10_000,
        }
    }

    #[test]
    fn the_fields_are_where_rfc_5880_4_1_has_them() {
        let bytes = control().emit();
        let head = [0x21, 0xe0, 3, 24, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(bytes[..12], head);
        assert_eq!(bytes[12..], [0, 4, 0x93, 0xe0, 0, 0, 0x27, 0x10, 0, 0, 0, 0]);
        assert_eq!(Control::parse(&bytes), Ok(control()));
    }

    #[test]
    fn what_rfc_5880_6_8_6_discards_is_discarded() {
        let with = |place: usize, octet: u8| {
            let mut bytes = control().emit();
            bytes[place] = octet;
            Control::parse(&bytes)
        };
        assert_eq!(with(0, 0x41), Err(DecodeError::Version(2)));
        assert_eq!(with(3, 23), Err(DecodeError::Truncated { have: 24, need: 24 }));
        assert_eq!(with(3, 25), Err(DecodeError::Truncated { have: 24, need: 25 }));
        assert_eq!(with(2, 0), Err(DecodeError::Multiplier));
        assert_eq!(with(1, 0xc1), Err(DecodeError::Multipoint));
        assert_eq!(with(1, 0xc4), Err(DecodeError::Authenticated));
        assert_eq!(Control::parse(&control().emit()[..23]), Err(DecodeError::Truncated { have: 23, need: 24 }));
        let mut nameless = control().emit();
        nameless[4..8].fill(0);
        assert_eq!(Control::parse(&nameless), Err(DecodeError::Discriminator));
        for (state, taken) in [(State::AdminDown, true), (State::Down, true), (State::Init, false), (State::Up, false)]
        {
            let bytes = Control { yours: None, state, ..control() }.emit();
            assert_eq!(Control::parse(&bytes).is_ok(), taken, "{state:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_may_come_in(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(control) = Control::parse(&bytes) {
                prop_assert_eq!(Control::parse(&control.emit()), Ok(control));
            }
        }
    }
}
