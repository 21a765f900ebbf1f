//! Expressions of a rule, in the order in which the kernel evaluates them: a rule whose expression does not
//! match, or can't be evaluated (a frame too short), ends there, and the next rule has its turn.

use super::wire::{Attributes, attributes};

/// NFT_REG_1: 16 bytes, for whatever is loaded.
const NAME: u32 = 1;
/// NFT_REG_VERDICT.
const VERDICT: u32 = 0;

/// Where an offset is counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Base {
    /// NFT_PAYLOAD_LL_HEADER: the Ethernet header as it would be on the wire, VLAN tags included.
    Link,
    /// NFT_PAYLOAD_NETWORK_HEADER.
    Network,
}

/// Keys of `meta` that are used here (enum nft_meta_keys).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meta {
    /// The EtherType that the kernel has noted, in network order.
    Protocol = 1,
    /// The mark, in the host's order.
    Mark = 3,
    /// NFPROTO_*, one byte.
    Family = 15,
    /// PACKET_*, one byte.
    Kind = 19,
}

/// Ends of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict<'a> {
    /// Let it pass this chain.
    Accept,
    /// Stop it.
    Drop,
    /// Go on in another chain, and end where that ends.
    Goto(&'a str),
}

/// A rule under construction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Rule(Vec<u8>);

fn value(a: &mut Attributes<'_>, kind: u16, bytes: &[u8]) {
    a.nested(kind, |a| {
        a.bytes(1, bytes);
    });
}

impl Rule {
    pub(super) fn new() -> Self {
        Rule::default()
    }

    /// The list of expressions.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn expression(mut self, name: &str, fill: impl FnOnce(&mut Attributes<'_>)) -> Self {
        self.0.extend(attributes(|a| {
            a.nested(1, |a| {
                a.text(1, name).nested(2, fill);
            });
        }));
        self
    }

    /// Takes bytes of the frame for the next comparison or look-up.
    pub(super) fn load(self, base: Base, offset: u32, length: u32) -> Self {
        let base = match base {
            Base::Link => 0,
            Base::Network => 1,
        };
        self.expression("payload", |a| {
            a.word(1, NAME).word(2, base).word(3, offset).word(4, length);
        })
    }

    pub(super) fn meta(self, key: Meta) -> Self {
        self.expression("meta", |a| {
            a.word(1, NAME).word(2, key as u32);
        })
    }

    /// NFT_FIB_RESULT_ADDRTYPE of the destination: to whom the kernel's tables give it; with `here`, only if
    /// it is on the interface that the frame came in by (also in the tables of that interface's VRF).
    pub(super) fn destination_type(self, here: bool) -> Self {
        self.expression("fib", |a| {
            a.word(1, NAME).word(2, 3).word(3, if here { 2 | 8 } else { 2 });
        })
    }

    pub(super) fn equals(self, bytes: &[u8]) -> Self {
        self.compare(0, bytes)
    }

    pub(super) fn differs(self, bytes: &[u8]) -> Self {
        self.compare(1, bytes)
    }

    fn compare(self, operation: u32, bytes: &[u8]) -> Self {
        self.expression("cmp", |a| {
            a.word(1, NAME).word(2, operation);
            value(a, 3, bytes);
        })
    }

    /// Keeps these bits of what was loaded.
    pub(super) fn mask(self, mask: &[u8]) -> Self {
        self.expression("bitwise", |a| {
            a.word(1, NAME).word(2, NAME).word(3, u32::try_from(mask.len()).unwrap_or(0));
            value(a, 4, mask);
            value(a, 5, &vec![0; mask.len()]);
        })
    }

    /// Goes on if what was loaded is in `names` and not in `open`.
    pub(super) fn shut_in(self, names: &str, open: &str) -> Self {
        self.within(names).expression("lookup", |a| {
            // NFT_LOOKUP_F_INV.
            a.text(1, open).word(2, NAME).word(5, 1);
        })
    }

    /// Goes on if what was loaded is in the set.
    pub(super) fn within(self, set: &str) -> Self {
        self.expression("lookup", |a| {
            a.text(1, set).word(2, NAME);
        })
    }

    /// Sets the frame's mark.
    pub(super) fn set_mark(self, mark: u32) -> Self {
        self.expression("immediate", |a| {
            a.word(1, NAME);
            value(a, 2, &mark.to_ne_bytes());
        })
        .expression("meta", |a| {
            a.word(2, Meta::Mark as u32).word(3, NAME);
        })
    }

    /// What becomes of a frame that has come so far.
    pub(super) fn then(self, verdict: Verdict<'_>) -> Self {
        self.expression("immediate", |a| {
            a.word(1, VERDICT).nested(2, |a| {
                a.nested(2, |a| {
                    match verdict {
                        Verdict::Drop => a.word(1, 0),
                        Verdict::Accept => a.word(1, 1),
                        // NFT_GOTO is -4.
                        Verdict::Goto(chain) => a.word(1, u32::MAX - 3).text(2, chain),
                    };
                });
            });
        })
    }
}
