//! AgentX, the protocol between an SNMP master and its subagents (RFC 2741), as far as a subagent needs it that only
//! answers and notifies.
//!
//! What must stay true: whatever the master sends is read or refused, never trusted: no length leads beyond the PDU.

use std::fmt;

/// An object identifier; ordered as SNMP orders them.
pub(super) type Oid = Vec<u32>;

/// Octets of a header (RFC 2741, 6.1).
const HEADER: usize = 20;
/// A master that sends more than this at once is none.
const LONGEST: usize = 1 << 20;
/// Sub-identifiers of an object identifier (RFC 2741, 5.1).
const LONGEST_OID: usize = 128;
const VERSION: u8 = 1;
/// Flags (RFC 2741, 6.1).
const NON_DEFAULT_CONTEXT: u8 = 1 << 3;
const NETWORK_BYTE_ORDER: u8 = 1 << 4;

/// Types of PDUs (RFC 2741, 6.1).
pub(super) mod kind {
    pub(in crate::snmp) const OPEN: u8 = 1;
    pub(in crate::snmp) const CLOSE: u8 = 2;
    pub(in crate::snmp) const REGISTER: u8 = 3;
    pub(in crate::snmp) const GET: u8 = 5;
    pub(in crate::snmp) const GET_NEXT: u8 = 6;
    pub(in crate::snmp) const GET_BULK: u8 = 7;
    pub(in crate::snmp) const TEST_SET: u8 = 8;
    pub(in crate::snmp) const CLEANUP_SET: u8 = 11;
    pub(in crate::snmp) const NOTIFY: u8 = 12;
    pub(in crate::snmp) const RESPONSE: u8 = 18;
}

/// The head of a PDU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: u8,
    pub(super) session: u32,
    pub(super) transaction: u32,
    pub(super) packet: u32,
}

/// Where to look (RFC 2741, 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: Oid,
    /// The start itself counts.
    pub(super) include: bool,
    /// The first that does not count any more; empty: there is no end.
    pub(super) end: Oid,
}

/// What a PDU of the master says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Said {
    Get(Vec<Range>),
    GetNext(Vec<Range>),
    GetBulk {
        non_repeaters: u16,
        max_repetitions: u16,
        ranges: Vec<Range>,
    },
    /// One of the four of a SET.
    Set,
    /// The session is over, with the reason's number.
    Close(u8),
    /// To a PDU of ours, with the number of the error (0: none).
    Response(u16),
    /// Nothing that a subagent is sent.
    Other,
}

/// A value (RFC 2741, 5.4), of the types that are used here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Integer(i32),
    Octets(Vec<u8>),
    Oid(Oid),
    /// Counter32, which begins anew at its end.
    Counter(u32),
    Gauge(u32),
    /// Hundredths of a second.
    TimeTicks(u32),
    Counter64(u64),
    NoSuchInstance,
    EndOfMibView,
}

/// A name and its value.
pub(super) type Binding = (Oid, Value);

/// It is no AgentX.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "what the SNMP master sent is no AgentX of RFC 2741: {}", self.0)
    }
}

/// The first PDU of what has arrived, and how many octets it has; `None`: it is not whole yet.
///
/// # Errors
/// It is no AgentX.
pub(super) fn read(arrived: &[u8]) -> Result<Option<(Header, Said, usize)>, Malformed> {
    let Some(head) = arrived.get(..HEADER) else { return Ok(None) };
    let &[version, kind, flags, _, ref rest @ ..] = head else { return Ok(None) };
    if version != VERSION {
        return Err(Malformed("its version is not 1"));
    }
    let mut reader = Reader { rest, is_big_endian: flags & NETWORK_BYTE_ORDER != 0 };
    let (session, transaction, packet) = (reader.u32()?, reader.u32()?, reader.u32()?);
    let length = reader.u32()? as usize;
    if length > LONGEST || !length.is_multiple_of(4) {
        return Err(Malformed("its length"));
    }
    let Some(payload) = arrived.get(HEADER..HEADER + length) else { return Ok(None) };
    let mut reader = Reader { rest: payload, ..reader };
    if flags & NON_DEFAULT_CONTEXT != 0 {
        reader.octets()?;
    }
    let header = Header { kind, session, transaction, packet };
    Ok(Some((header, reader.said(kind)?, HEADER + length)))
}

struct Reader<'a> {
    rest: &'a [u8],
    is_big_endian: bool,
}

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (first, rest) = self.rest.split_first_chunk::<N>().ok_or(Malformed("it ends too early"))?;
        self.rest = rest;
        Ok(*first)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        let octets = self.take()?;
        Ok(if self.is_big_endian { u16::from_be_bytes(octets) } else { u16::from_le_bytes(octets) })
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let octets = self.take()?;
        Ok(if self.is_big_endian { u32::from_be_bytes(octets) } else { u32::from_le_bytes(octets) })
    }

    fn octets(&mut self) -> Result<(), Malformed> {
        let length = self.u32()? as usize;
        let padded = length.checked_next_multiple_of(4).ok_or(Malformed("a string's length"))?;
        self.rest = self.rest.get(padded..).ok_or(Malformed("a string ends too early"))?;
        Ok(())
    }

    fn oid(&mut self) -> Result<(Oid, bool), Malformed> {
        let [count, prefix, include, _] = self.take()?;
        if usize::from(count) > LONGEST_OID {
            return Err(Malformed("an object identifier is too long"));
        }
        let mut oid = Oid::new();
        if prefix != 0 {
            oid.extend([1, 3, 6, 1, u32::from(prefix)]);
        }
        for _ in 0..count {
            oid.push(self.u32()?);
        }
        Ok((oid, include != 0))
    }

    fn ranges(&mut self) -> Result<Vec<Range>, Malformed> {
        let mut ranges = Vec::new();
        while !self.rest.is_empty() {
            let (start, include) = self.oid()?;
            let (end, _) = self.oid()?;
            ranges.push(Range { start, include, end });
        }
        Ok(ranges)
    }

    fn said(&mut self, kind: u8) -> Result<Said, Malformed> {
        Ok(match kind {
            kind::GET => Said::Get(self.ranges()?),
            kind::GET_NEXT => Said::GetNext(self.ranges()?),
            kind::GET_BULK => {
                let (non_repeaters, max_repetitions) = (self.u16()?, self.u16()?);
                Said::GetBulk { non_repeaters, max_repetitions, ranges: self.ranges()? }
            }
            kind::TEST_SET..=kind::CLEANUP_SET => Said::Set,
            kind::CLOSE => Said::Close(self.take::<4>()?[0]),
            kind::RESPONSE => {
                self.u32()?;
                Said::Response(self.u16()?)
            }
            _ => Said::Other,
        })
    }
}

/// A PDU of ours, in network byte order.
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn new(header: Header) -> Self {
        let mut octets = vec![VERSION, header.kind, NETWORK_BYTE_ORDER, 0];
        for number in [header.session, header.transaction, header.packet, 0] {
            octets.extend(number.to_be_bytes());
        }
        Writer(octets)
    }

    /// Opens a session (RFC 2741, 6.2.1): `timeout` in seconds, who we are.
    pub(super) fn open(mut self, timeout: u8, who: &[u32], description: &str) -> Self {
        self.0.extend([timeout, 0, 0, 0]);
        self.oid(who);
        self.octets(description.as_bytes());
        self
    }

    /// Registers a subtree (RFC 2741, 6.2.3) with the default priority.
    pub(super) fn register(mut self, subtree: &[u32]) -> Self {
        self.0.extend([0, 127, 0, 0]);
        self.oid(subtree);
        self
    }

    /// Ends the session (RFC 2741, 6.2.2): we shut down.
    pub(super) fn close(mut self) -> Self {
        self.0.extend([5, 0, 0, 0]);
        self
    }

    /// Answers (RFC 2741, 6.2.16): the number of an error and the place of the binding that it is about, from 1.
    pub(super) fn response(mut self, error: u16, place: u16, bindings: &[Binding]) -> Self {
        self.0.extend([0; 4]);
        self.0.extend(error.to_be_bytes());
        self.0.extend(place.to_be_bytes());
        self.bindings(bindings)
    }

    /// The list of bindings that ends a PDU.
    pub(super) fn bindings(mut self, bindings: &[Binding]) -> Self {
        for (name, value) in bindings {
            self.binding(name, value);
        }
        self
    }

    fn binding(&mut self, name: &[u32], value: &Value) {
        let kind: u16 = match value {
            Value::Integer(_) => 2,
            Value::Octets(_) => 4,
            Value::Oid(_) => 6,
            Value::Counter(_) => 65,
            Value::Gauge(_) => 66,
            Value::TimeTicks(_) => 67,
            Value::Counter64(_) => 70,
            Value::NoSuchInstance => 129,
            Value::EndOfMibView => 130,
        };
        self.0.extend(kind.to_be_bytes());
        self.0.extend([0; 2]);
        self.oid(name);
        match value {
            Value::Integer(number) => self.0.extend(number.to_be_bytes()),
            Value::Octets(octets) => self.octets(octets),
            Value::Oid(oid) => self.oid(oid),
            Value::Counter(number) | Value::Gauge(number) | Value::TimeTicks(number) => {
                self.0.extend(number.to_be_bytes());
            }
            Value::Counter64(number) => self.0.extend(number.to_be_bytes()),
            Value::NoSuchInstance | Value::EndOfMibView => {}
        }
    }

    fn oid(&mut self, oid: &[u32]) {
        let oid = oid.get(..LONGEST_OID).unwrap_or(oid);
        self.0.extend([u8::try_from(oid.len()).unwrap_or(0), 0, 0, 0]);
        oid.iter().for_each(|number| self.0.extend(number.to_be_bytes()));
    }

    fn octets(&mut self, octets: &[u8]) {
        self.0.extend(u32::try_from(octets.len()).unwrap_or(0).to_be_bytes());
        self.0.extend(octets);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// With its length in its head.
    pub(super) fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.0.len().saturating_sub(HEADER)).unwrap_or(0);
        if let Some(place) = self.0.get_mut(HEADER - 4..HEADER) {
            place.copy_from_slice(&length.to_be_bytes());
        }
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Get of sysUpTime.0 as RFC 2741 lays it out, in both byte orders, with a prefix.
    fn get(big: bool) -> Vec<u8> {
        let number = |value: u32| if big { value.to_be_bytes() } else { value.to_le_bytes() };
        let mut octets = vec![1, kind::GET, if big { 16 } else { 0 }, 0];
        for value in [7, 8, 9, 24] {
            octets.extend(number(value));
        }
        octets.extend([4, 2, 1, 0]);
        for value in [1, 1, 3, 0] {
            octets.extend(number(value));
        }
        octets.extend([0, 0, 0, 0]);
        octets
    }

    #[test]
    fn a_get_is_read_in_either_byte_order_and_only_when_it_is_whole() {
        for big in [true, false] {
            let octets = get(big);
            let (header, said, length) = read(&octets).unwrap().unwrap();
            assert_eq!((header.session, header.transaction, header.packet, length), (7, 8, 9, 44));
            let first = Range { start: vec![1, 3, 6, 1, 2, 1, 1, 3, 0], include: true, end: vec![] };
            assert_eq!(said, Said::Get(vec![first]));
            assert!((0..octets.len()).all(|length| read(&octets[..length]) == Ok(None)));
        }
    }

    #[test]
    fn no_octet_of_a_pdu_can_make_it_panic_or_read_beyond_its_end() {
        for at in 0..get(true).len() {
            for octet in 0..=255 {
                let mut octets = get(true);
                octets[at] = octet;
                let _ = read(&octets);
            }
        }
        let mut long = get(true);
        long[16..20].copy_from_slice(&(u32::MAX - 3).to_be_bytes());
        assert_eq!(read(&long), Err(Malformed("its length")));
        let mut version = get(true);
        version[0] = 2;
        assert!(read(&version).is_err());
    }

    #[test]
    fn a_response_has_the_length_that_its_head_says() {
        let header = Header { kind: kind::RESPONSE, session: 1, transaction: 2, packet: 3 };
        let bindings = [
            (vec![1, 2], Value::Octets(b"abcde".to_vec())),
            (vec![1, 3], Value::Integer(-1)),
            (vec![1, 4], Value::EndOfMibView),
        ];
        let octets = Writer::new(header).response(0, 0, &bindings).finish();
        let (read_back, said, length) = read(&octets).unwrap().unwrap();
        assert_eq!((read_back, said, length), (header, Said::Response(0), octets.len()));
        // Type, name, length, five octets and three of padding.
        assert_eq!(&octets[28..40], [0, 4, 0, 0, 2, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(&octets[44..56], [0, 0, 0, 5, b'a', b'b', b'c', b'd', b'e', 0, 0, 0]);
    }
}
