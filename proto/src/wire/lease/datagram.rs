//! Many lease messages in one datagram.

use alloc::vec::Vec;

use super::{DecodeError, Envelope, TAG, VERSION, message};
use crate::id::{ClusterId, ConfigDigest, DomainId};
use crate::wire::heartbeat::MAX_BYTES;
use crate::wire::{Reader, Writer};

/// Tag, version, count, cluster, digest.
const HEADER: usize = 4 + 8 + 8;

/// The datagrams that carry these messages, in their order: one for each cluster and digest among neighbours,
/// and as many as their length demands.
pub fn pack<'a>(envelopes: impl IntoIterator<Item = &'a Envelope>) -> Vec<Vec<u8>> {
    let mut datagrams = Vec::new();
    let mut open: Option<Datagram> = None;
    for envelope in envelopes {
        let entry = envelope.entry();
        let fits = |datagram: &Datagram| {
            (datagram.cluster, datagram.digest) == (envelope.cluster, envelope.digest)
                && HEADER + datagram.entries.len() + entry.len() <= MAX_BYTES
        };
        if !open.as_ref().is_some_and(fits) {
            datagrams.extend(open.take().map(Datagram::finish));
        }
        let (cluster, digest) = (envelope.cluster, envelope.digest);
        let Some(datagram) = &mut open else {
            open = Some(Datagram { cluster, digest, count: 1, entries: entry });
            continue;
        };
        datagram.entries.extend(entry);
        datagram.count += 1;
    }
    datagrams.extend(open.map(Datagram::finish));
    datagrams
}

/// A datagram that is being filled.
pub(super) struct Datagram {
    pub(super) cluster: ClusterId,
    pub(super) digest: ConfigDigest,
    pub(super) count: u16,
    pub(super) entries: Vec<u8>,
}

impl Datagram {
    pub(super) fn finish(self) -> Vec<u8> {
        let mut w = Writer::new();
        w.u8(TAG).u8(VERSION).u16(self.count).u64(self.cluster.0).u64(self.digest.0).bytes(&self.entries);
        w.finish()
    }
}

/// The messages of one datagram, in their order. An entry that can't be read is an error of its own and the
/// next one follows; after an error of the datagram's length nothing does.
///
/// # Errors
/// The header is none of ours.
pub fn unpack(bytes: &[u8]) -> Result<Entries<'_>, DecodeError> {
    let mut reader = Reader::new(bytes);
    let [tag, version] = reader.array().ok_or(DecodeError::Truncated)?;
    if tag != TAG {
        return Err(DecodeError::Tag(tag));
    }
    if version != VERSION {
        return Err(DecodeError::Version(version));
    }
    let left = reader.u16().ok_or(DecodeError::Truncated)?;
    let cluster = ClusterId(reader.u64().ok_or(DecodeError::Truncated)?);
    let digest = ConfigDigest(reader.u64().ok_or(DecodeError::Truncated)?);
    Ok(Entries { reader, cluster, digest, left })
}

/// What [`unpack`] found.
#[derive(Debug, Clone, Copy)]
pub struct Entries<'a> {
    reader: Reader<'a>,
    /// The cluster of all of them.
    pub cluster: ClusterId,
    /// The sender's digest.
    pub digest: ConfigDigest,
    left: u16,
}

impl Iterator for Entries<'_> {
    type Item = Result<Envelope, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(left) = self.left.checked_sub(1) else {
            let extra = self.reader.remaining();
            self.reader = Reader::new(&[]);
            return (extra > 0).then_some(Err(DecodeError::Trailing(extra)));
        };
        self.left = left;
        let Some(entry) = self.reader.u8().and_then(|length| self.reader.slice(length.into())) else {
            (self.left, self.reader) = (0, Reader::new(&[]));
            return Some(Err(DecodeError::Truncated));
        };
        Some(parse_entry(self.cluster, self.digest, entry))
    }
}

fn parse_entry(cluster: ClusterId, digest: ConfigDigest, entry: &[u8]) -> Result<Envelope, DecodeError> {
    let mut r = Reader::new(entry);
    let kind = r.u8().ok_or(DecodeError::Truncated)?;
    let domain = DomainId(r.u64().ok_or(DecodeError::Truncated)?);
    let nonce = r.u64().ok_or(DecodeError::Truncated)?;
    let message = message(kind, &mut r)?;
    match r.remaining() {
        0 => Ok(Envelope { cluster, digest, domain, nonce, message }),
        extra => Err(DecodeError::Trailing(extra)),
    }
}
