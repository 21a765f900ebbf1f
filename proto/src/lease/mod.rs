//! The quorum lease: the argument, in prose, for why two grants never overlap.
//!
//! A *voter* ([`voter::Voter`]) lends a domain to one holder at a time. A *holder* ([`holder::Holder`])
//! may act while a strict majority of the voters lends to it. Two majorities share a voter, so it is
//! enough that one voter's two loans never overlap *as their holders see them*:
//!
//! - The holder counts from the instant at which it **sent** the request (R1), the voter from the later
//!   instant at which it **took it from its queue** (V1). No delay of messages, and no pause on either
//!   side, can turn that around.
//! - The holder counts L_h, which is shorter than L_a by the worst disagreement of two clocks' rates and
//!   by the life of its last frame ([`timing`]).
//! - A voter that forgets (restart) waits L_max before it lends again (V7); what it must not forget, the
//!   highest epoch and its holder, is on disk before the answer leaves (V6).
//! - An epoch belongs to one attempt. A message of an earlier attempt, however late, names another
//!   epoch, and changes nothing (V4, V5, I12).
//!
//! - A later attempt of the *same life* of a node succeeds to its loan (docs/decisions/0010): it is no rival,
//!   since an attempt begins only once the last frame of the one before is gone (`Holder::drained_at`).
//!
//! Nothing here depends on message delay, clock offsets, or who is paused where.

pub mod accepting;
pub mod authority;
mod farewell;
pub mod generation;
pub mod grant;
pub mod holder;
pub mod lives;
pub mod promise;
pub mod rate;
pub mod reach;
pub mod record;
pub mod register;
pub mod timing;
mod track;
pub mod unarbitrated;
pub mod voter;

use crate::id::{ClusterId, ConfigDigest, hash_name};
use crate::settings::QuorumSettings;
use crate::time::nanos;
use crate::wire::Writer;

/// Digest of a voter set: the cluster, the generation and the voters (V9).
pub fn set_digest(cluster: ClusterId, quorum: &QuorumSettings) -> ConfigDigest {
    let mut w = Writer::new();
    w.u64(cluster.0).u32(quorum.generation);
    for set in quorum.sets() {
        for voter in set {
            w.u16(voter.get());
        }
        // No voter has this number: it stands between two sets, and a set alone has the digest that it always had.
        if quorum.sets().count() > 1 {
            w.u16(0);
        }
    }
    digest(w)
}

/// Digest of what all voters must agree on (V9): the voter set, and each length that the safety argument uses.
pub fn config_digest(cluster: ClusterId, quorum: &QuorumSettings) -> ConfigDigest {
    let mut w = Writer::new();
    w.u64(set_digest(cluster, quorum).0);
    let t = &quorum.timing;
    for duration in [t.lease, t.lease_max, t.transmit, t.gate, t.hidden_freeze] {
        w.u64(nanos(duration));
    }
    w.u32(t.rate_error_ppm);
    digest(w)
}

fn digest(w: Writer) -> ConfigDigest {
    let mut text = alloc::string::String::new();
    for byte in w.finish() {
        use core::fmt::Write;
        let _ = write!(text, "{byte:02x}");
    }
    ConfigDigest(hash_name(&text))
}
