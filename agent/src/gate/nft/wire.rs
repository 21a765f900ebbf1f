//! Messages of nfnetlink and nf_tables, as bytes (linux/netfilter/nfnetlink.h and nf_tables.h).
//!
//! What must stay true: lengths fit what they measure; whatever the kernel answers is read with bounds.

use std::borrow::Cow;

/// NETLINK_NETFILTER.
pub(super) const PROTOCOL: isize = 12;
const SUBSYSTEM: u16 = 10;
const BATCH_BEGIN: u16 = 16;
const BATCH_END: u16 = 17;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
/// NLM_F_EXCL | NLM_F_CREATE.
pub(super) const NEW: u16 = 0x600;
/// NLM_F_CREATE | NLM_F_APPEND.
pub(super) const APPEND: u16 = 0xc00;
/// NLM_F_DUMP.
const DUMP: u16 = 0x300;

/// NFPROTO_INET.
pub(super) const INET: u8 = 1;
/// NFPROTO_NETDEV.
pub(super) const NETDEV: u8 = 5;

/// NFT_MSG_*.
pub(super) mod message {
    pub const NEW_TABLE: u16 = 0;
    pub const GET_TABLE: u16 = 1;
    pub const DELETE_TABLE: u16 = 2;
    pub const NEW_CHAIN: u16 = 3;
    pub const GET_CHAIN: u16 = 4;
    pub const DELETE_CHAIN: u16 = 5;
    pub const NEW_RULE: u16 = 6;
    pub const GET_RULE: u16 = 7;
    pub const NEW_SET: u16 = 9;
    pub const NEW_ELEMENTS: u16 = 12;
    pub const GET_ELEMENTS: u16 = 13;
    pub const DELETE_ELEMENTS: u16 = 14;
}

/// NLMSG_ERROR.
const ERROR: u16 = 2;
/// NLMSG_DONE.
const DONE: u16 = 3;
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;
const HEADER: usize = 16;
const GENERIC: usize = 4;

/// Attributes under construction.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn text(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(super) fn word(&mut self, kind: u16, value: u32) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn double(&mut self, kind: u16, value: u64) -> &mut Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) -> &mut Self {
        self.nested_bytes(kind, &attributes(fill))
    }

    /// Attributes that were made before.
    pub(super) fn nested_bytes(&mut self, kind: u16, inner: &[u8]) -> &mut Self {
        self.bytes(kind | NESTED, inner)
    }
}

/// Attributes without anything around them.
pub(super) fn attributes(fill: impl FnOnce(&mut Attributes<'_>)) -> Vec<u8> {
    let mut bytes = Vec::new();
    fill(&mut Attributes(&mut bytes));
    bytes
}

fn put(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, family: u8, resource: u16, body: &[u8]) {
    let length = u32::try_from(HEADER + GENERIC + body.len()).unwrap_or(u32::MAX);
    bytes.extend(length.to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST).to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(body);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// A transaction under construction: all of it happens, or nothing.
pub(super) struct Batch {
    messages: Vec<(u16, u16, u8, Vec<u8>)>,
    what: Vec<Cow<'static, str>>,
}

impl Batch {
    pub(super) fn new() -> Self {
        Batch { messages: Vec::new(), what: Vec::new() }
    }

    /// One message; `what` says for an error message what it does.
    pub(super) fn add(
        &mut self,
        what: impl Into<Cow<'static, str>>,
        kind: u16,
        flags: u16,
        family: u8,
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        self.messages.push((kind, flags, family, attributes(fill)));
        self.what.push(what.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    /// The bytes to send; message `n` bears the number `first + 1 + n`. The last one asks for an answer.
    pub(super) fn bytes(&self, first: u32) -> Vec<u8> {
        let mut bytes = Vec::new();
        put(&mut bytes, BATCH_BEGIN, 0, first, 0, SUBSYSTEM, &[]);
        let mut sequence = first;
        let last = self.messages.len();
        for (place, (kind, flags, family, body)) in self.messages.iter().enumerate() {
            sequence = sequence.wrapping_add(1);
            let ack = if place + 1 == last { ACK } else { 0 };
            put(&mut bytes, SUBSYSTEM << 8 | kind, flags | ack, sequence, *family, 0, body);
        }
        put(&mut bytes, BATCH_END, 0, sequence.wrapping_add(1), 0, SUBSYSTEM, &[]);
        bytes
    }

    /// What the message with this number does, if the batch began with `first`.
    pub(super) fn what(&self, first: u32, sequence: u32) -> &str {
        let place = sequence.wrapping_sub(first).wrapping_sub(1) as usize;
        self.what.get(place).map_or("the transaction as a whole", |what| what.as_ref())
    }

    /// How many numbers it uses.
    pub(super) fn numbers(&self) -> u32 {
        u32::try_from(self.messages.len()).unwrap_or(u32::MAX - 2) + 2
    }
}

/// A question outside of a transaction; `dump`: the answer is a list.
pub(super) fn question(
    kind: u16,
    family: u8,
    dump: bool,
    sequence: u32,
    fill: impl FnOnce(&mut Attributes<'_>),
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let flags = if dump { DUMP } else { 0 };
    put(&mut bytes, SUBSYSTEM << 8 | kind, flags, sequence, family, 0, &attributes(fill));
    bytes
}

/// What the kernel says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// 0, or an error number, for the message with the number.
    Outcome { sequence: u32, errno: i32 },
    /// A list is complete.
    Done,
    /// Its list was changed while it was read: ask again.
    Interrupted,
    /// An object, by its attributes.
    Object { sequence: u32, attributes: &'a [u8] },
}

fn word_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn half_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The messages of a datagram.
pub(super) fn answers(mut datagram: &[u8]) -> Vec<Answer<'_>> {
    /// NLM_F_DUMP_INTR.
    const INTERRUPTED: u16 = 0x10;
    let mut answers = Vec::new();
    while let (Some(length), Some(kind), Some(flags), Some(sequence)) =
        (word_at(datagram, 0), half_at(datagram, 4), half_at(datagram, 6), word_at(datagram, 8))
    {
        let length = length as usize;
        let Some(body) = datagram.get(HEADER..length) else { break };
        if flags & INTERRUPTED != 0 {
            answers.push(Answer::Interrupted);
        }
        match kind {
            ERROR => {
                // struct nlmsgerr: the negative error number, then the header that it is about.
                let errno = word_at(body, 0).map_or(libc::EPROTO, |errno| errno.cast_signed().wrapping_neg());
                answers.push(Answer::Outcome { sequence: word_at(body, 12).unwrap_or(sequence), errno });
            }
            DONE => answers.push(Answer::Done),
            _ => answers.push(Answer::Object { sequence, attributes: body.get(GENERIC..).unwrap_or_default() }),
        }
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    answers
}

/// Kind and value of each attribute.
pub(super) fn parse(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let (Some(length), Some(kind)) = (half_at(bytes, 0), half_at(bytes, 2)) {
        let Some(value) = bytes.get(4..usize::from(length)) else { break };
        found.push((kind & TYPE_MASK, value));
        bytes = bytes.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

/// The value of one attribute.
pub(super) fn find(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    parse(bytes).into_iter().find_map(|(found, value)| (found == kind).then_some(value))
}

/// A text that ends with a zero.
pub(super) fn text(value: &[u8]) -> &str {
    std::str::from_utf8(value).unwrap_or_default().trim_end_matches('\0')
}

/// A number in network order, of 8 bytes.
pub(super) fn double(value: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(*value.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_is_found_again() {
        let bytes = attributes(|a| {
            a.text(1, "abc").nested(2, |a| {
                a.word(1, 7).double(2, 9);
            });
        });
        assert_eq!(find(&bytes, 1).map(text), Some("abc"));
        let inner = find(&bytes, 2).unwrap();
        assert_eq!(find(inner, 1), Some([0, 0, 0, 7].as_slice()));
        assert_eq!(find(inner, 2).and_then(double), Some(9));
        assert_eq!(find(inner, 3), None);
    }

    #[test]
    fn a_batch_numbers_its_messages_and_asks_for_one_answer() {
        let mut batch = Batch::new();
        batch.add("first", message::NEW_TABLE, NEW, NETDEV, |_| {});
        batch.add("second", message::NEW_SET, NEW, NETDEV, |a| {
            a.text(1, "t");
        });
        let bytes = batch.bytes(100);
        assert_eq!(batch.numbers(), 4);
        assert_eq!((batch.what(100, 101), batch.what(100, 102)), ("first", "second"));
        // Begin and first message are 20 bytes each.
        assert_eq!(half_at(&bytes, 26).unwrap() & ACK, 0);
        assert_eq!(half_at(&bytes, 46).unwrap() & ACK, ACK);
        assert_eq!(word_at(&bytes, 48), Some(102));
    }

    #[test]
    fn cut_short_or_mangled_answers_are_no_panic() {
        let mut datagram = question(message::GET_RULE, NETDEV, true, 5, |a| {
            a.text(1, "table").nested(4, |a| {
                a.word(1, 1);
            });
        });
        for length in 0..datagram.len() {
            answers(&datagram[..length]);
            parse(&datagram[..length]);
        }
        for at in 0..datagram.len() {
            for value in [0, 1, 3, 0x7f, 0xff] {
                let old = std::mem::replace(&mut datagram[at], value);
                for answer in answers(&datagram) {
                    if let Answer::Object { attributes, .. } = answer {
                        parse(attributes);
                    }
                }
                datagram[at] = old;
            }
        }
    }
}
