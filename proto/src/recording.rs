//! What a run of the core is recorded as, so that it can be replayed: what the node was told at its start, or was handed on,
//! then each event with its time and a digest of the actions that followed (I25).
//!
//! The first line of a recording is a [`Header`], each later one a [`Step`], and the last, where the
//! recording ended before the node did, an [`End`]; all as JSON. A recording has the VRRP passwords of the
//! settings in it.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::time::Duration;

use serde::{Deserialize, Serialize};

use crate::action::Action;
use crate::event::Event;
use crate::handed::{Handed, NotResumed};
use crate::id::Incarnation;
use crate::node::{Node, Restored};
use crate::settings::Settings;
use crate::time::Instant;

/// Version of the format, in each header.
pub const FORMAT: u32 = 3;

/// What the node was told at its start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// [`FORMAT`].
    pub keepone_recording: u32,
    /// Of the program that recorded: another one may decide otherwise.
    pub version: String,
    /// The settings.
    pub settings: Settings,
    /// The incarnation.
    pub incarnation: Incarnation,
    /// What a former life had left.
    pub restored: Restored,
    /// The boot clock at the start.
    pub started: Instant,
    /// What it goes on with; `None`: it is a life of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed: Option<Resumed>,
}

/// The beginning of a process that goes on with another one's life (docs/decisions/0210).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumed {
    /// What that has handed on, as [`Handed::emit`] has it.
    pub handed: Vec<u8>,
    /// The incarnation of its own voter.
    pub voter: Incarnation,
}

impl Header {
    /// The node as it was at its start.
    ///
    /// # Errors
    /// What was handed on can't be gone on with.
    pub fn node(&self) -> Result<Node, NotResumed> {
        let (settings, restored) = (self.settings.clone(), self.restored.clone());
        let Some(Resumed { handed, voter }) = &self.resumed else {
            return Ok(Node::new(settings, self.incarnation, restored, self.started));
        };
        let handed = Handed::parse(handed)?;
        // Where and how much of the lease is left was looked at by who took it.
        Node::resume(settings, &handed, (&handed.place, Duration::ZERO), (restored, *voter), self.started)
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The boot clock when it was taken.
    pub t: Instant,
    /// The event.
    pub e: Event,
    /// [`digest`] of the actions that followed.
    pub a: u64,
}

/// The recording ends here, and the node went on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why.
    pub ended: String,
}

/// 64-bit FNV-1a of the actions in words: a later version of the program that says anything else differs.
pub fn digest(actions: &[Action]) -> u64 {
    let mut hash = Fnv(0xcbf2_9ce4_8422_2325);
    for action in actions {
        // Writing into a hash can't fail.
        let _ = writeln!(hash, "{action:?}");
    }
    hash.0
}

struct Fnv(u64);

impl Write for Fnv {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Ok(())
    }
}

/// Octets as hexadecimal digits, which are a third of a list of numbers.
pub(crate) mod hex {
    use super::{String, Vec, Write};
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = String::with_capacity(bytes.len() * 2);
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        });
        pairs.collect::<Option<_>>().ok_or_else(|| D::Error::custom("octets are pairs of hexadecimal digits"))
    }
}
