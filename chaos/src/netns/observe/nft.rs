//! A node's gate of nf_tables as any other process of the machine could read it: the sets of open addresses, and what
//! is left of their elements' lives.
//!
//! Messages and attributes: linux/netfilter/nfnetlink.h and nf_tables.h. What must stay true: an address counts as open
//! only when the kernel has said so of both sets, and as shut only when it has said of one that it is not there; an
//! error, or a table that has gone, says nothing.

use std::io;
use std::net::IpAddr;

use netlink_sys::{Socket, SocketAddr};

use crate::netns::clock;

/// NETLINK_NETFILTER.
const PROTOCOL: isize = 12;
/// NFNL_SUBSYS_NFTABLES in the upper octet of a message's kind.
const NF_TABLES: u16 = 10 << 8;
const GET_TABLE: u16 = 1;
const GET_ELEMENTS: u16 = 13;
/// NLM_F_REQUEST.
const REQUEST: u16 = 1;
/// NLM_F_DUMP.
const DUMP: u16 = 0x300;
/// NLM_F_DUMP_INTR: the list was changed while it was read.
const INTERRUPTED: u16 = 0x10;
const NESTED: u16 = 0x8000;
const NETDEV: u8 = 5;
/// NLMSG_ERROR and NLMSG_DONE.
const ERROR: u16 = 2;
const DONE: u16 = 3;
const HEADER: usize = 16;
/// struct nfgenmsg.
const GENERIC: usize = 4;
/// A part of a list is 32 KiB at most.
const BUFFER: usize = 64 << 10;
/// What the agent's tables are called, up to the hash of a directory.
const PREFIX: &str = "keepone_";
const MS: u64 = 1_000_000;

/// One reading of a gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reading {
    /// Before the first question.
    pub asked: u64,
    /// After the last answer.
    pub answered: u64,
    /// The earliest instant at which it shuts; 0: it is shut.
    pub deadline: u64,
    /// Under which epoch it was opened last: counter, incarnation, attempt and node.
    pub epoch: [u64; 3],
}

/// How far a deadline may be later than [`Reading::deadline`] says: a tick, on which lives are counted, and what was
/// rounded down. In nanoseconds.
pub(super) fn uncertainty() -> u64 {
    tick() + MS
}

/// One tick of the kernel's clock for lifetimes, 1/CONFIG_HZ.
fn tick() -> u64 {
    let resolution = nix::time::clock_getres(nix::time::ClockId::CLOCK_MONOTONIC_COARSE);
    // 100 Hz is the slowest that Linux has.
    resolution.map_or(10 * MS, |tick| u64::try_from(tick.tv_nsec()).unwrap_or(10 * MS))
}

/// The sets of one node's gate.
#[derive(Debug)]
pub(super) struct Sets {
    socket: Socket,
    sequence: u32,
    table: Option<String>,
    sets: [&'static str; 2],
    address: Vec<u8>,
}

impl Sets {
    /// For one address, in the network namespace of the calling thread.
    ///
    /// # Errors
    /// Those of socket(2) and bind(2).
    pub(super) fn open(address: IpAddr) -> io::Result<Self> {
        let mut socket = Socket::new(PROTOCOL)?;
        socket.bind_auto()?;
        let (sets, address) = match address {
            IpAddr::V4(address) => (["open_vip4_a", "open_vip4_b"], address.octets().to_vec()),
            IpAddr::V6(address) => (["open_vip6_a", "open_vip6_b"], address.octets().to_vec()),
        };
        Ok(Sets { socket, sequence: 0, table: None, sets, address })
    }

    /// Looks for the table.
    pub(super) fn search(&mut self) {
        let list = self.ask(GET_TABLE, true, &[]).unwrap_or_default();
        let names = list.iter().filter_map(|object| find(object, 1)).map(text);
        self.table = names.into_iter().find(|name| name.starts_with(PREFIX)).map(str::to_owned);
    }

    /// Reads the gate of the domain with the address; `None`: nothing is known of it.
    pub(super) fn read(&mut self, domain: u64) -> Option<Reading> {
        let table = self.table.clone()?;
        let asked = clock::now();
        let epoch = self.epoch(&table, domain)?;
        let lefts = self.sets.map(|set| self.left_ms(&table, set));
        let answered = clock::now();
        let deadline = match lefts {
            [Some(Some(one)), Some(Some(other))] => (asked + one.min(other) * MS).saturating_sub(tick()),
            [Some(None), _] | [_, Some(None)] => 0,
            _ => return None,
        };
        Some(Reading { asked, answered, deadline, epoch })
    }

    /// The epoch of the last opening; zeros where there was none yet. `None`: it can't be read.
    fn epoch(&mut self, table: &str, domain: u64) -> Option<[u64; 3]> {
        let list = self.ask(GET_ELEMENTS, true, &[attribute(1, &zero(table)), attribute(2, &zero("held"))].concat());
        let list = list.ok()?;
        let elements = list.iter().filter_map(|object| find(object, 3)).flat_map(attributes);
        let comments = elements.filter_map(|(_, element)| find(element, 6)?.get(2..)).map(text);
        Some(comments.filter_map(|comment| parse_held(comment, domain)).next().unwrap_or_default())
    }

    /// What is left of the address in a set; the inner `None`: it is not in it.
    fn left_ms(&mut self, table: &str, set: &str) -> Option<Option<u64>> {
        let key = attribute(NESTED | 1, &attribute(1, &self.address));
        let list = attribute(NESTED | 3, &attribute(NESTED | 1, &key));
        match self.ask(GET_ELEMENTS, false, &[attribute(1, &zero(table)), attribute(2, &zero(set)), list].concat()) {
            Ok(objects) => {
                let object = objects.first()?;
                let (_, element) = attributes(find(object, 3)?).next()?;
                Some(Some(u64::from_be_bytes(find(element, 5)?.try_into().ok()?)))
            }
            // No such element. Neither table nor set is missing: what was held was just read from that table.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Some(None),
            Err(_) => None,
        }
    }

    /// One question, and the objects of its answer, by their attributes.
    fn ask(&mut self, kind: u16, is_list: bool, body: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        self.sequence = self.sequence.wrapping_add(1);
        let flags = REQUEST | if is_list { DUMP } else { 0 };
        let question = message(NF_TABLES | kind, flags, self.sequence, body);
        self.socket.send_to(&question, &SocketAddr::new(0, 0), 0)?;
        let (mut buffer, mut objects) = (vec![0; BUFFER], Vec::new());
        loop {
            // The kernel answers before the send returns; of a list, it makes the next part when the last is taken.
            let length = self.socket.recv(&mut &mut *buffer, libc::MSG_DONTWAIT)?;
            for answer in answers(buffer.get(..length).unwrap_or_default()) {
                match answer {
                    (sequence, ..) if sequence != self.sequence => {}
                    (_, ERROR, _, body) => {
                        let errno = body.first_chunk().map_or(-libc::EPROTO, |errno| i32::from_ne_bytes(*errno));
                        return Err(io::Error::from_raw_os_error(-errno));
                    }
                    (_, _, flags, _) if flags & INTERRUPTED != 0 => return Err(io::ErrorKind::Interrupted.into()),
                    (_, DONE, ..) => return Ok(objects),
                    (_, _, _, body) => objects.push(body.get(GENERIC..).unwrap_or_default().to_vec()),
                }
            }
            if !is_list && !objects.is_empty() {
                return Ok(objects);
            }
        }
    }
}

fn zero(text: &str) -> Vec<u8> {
    text.bytes().chain([0]).collect()
}

fn text(bytes: &[u8]) -> &str {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    std::str::from_utf8(bytes.get(..end).unwrap_or_default()).unwrap_or_default()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn message(kind: u16, flags: u16, sequence: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(u32::try_from(HEADER + GENERIC + body.len()).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(sequence.to_ne_bytes());
    bytes.extend([0; 4]);
    bytes.extend([NETDEV, 0, 0, 0]);
    bytes.extend(body);
    bytes
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// The messages of a datagram: number, kind, flags and what follows the header.
fn answers(mut datagram: &[u8]) -> Vec<(u32, u16, u16, &[u8])> {
    let mut answers = Vec::new();
    while let (Some(length), Some(kind), Some(flags), Some(sequence)) =
        (word(datagram, 0), half(datagram, 4), half(datagram, 6), word(datagram, 8))
    {
        let length = length as usize;
        let Some(body) = datagram.get(HEADER..length) else { break };
        answers.push((sequence, kind, flags, body));
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    answers
}

/// The attributes in a row of them.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let (length, kind) = (usize::from(half(bytes, 0)?), half(bytes, 2)? & !NESTED);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

fn find(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// The epoch in the comment `domain HASH epoch COUNTER INCARNATION ATTEMPT NODE`, if it is that domain's.
fn parse_held(comment: &str, domain: u64) -> Option<[u64; 3]> {
    let words: Vec<&str> = comment.split(' ').collect();
    let ["domain", id, "epoch", counter, incarnation, attempt, node] = words[..] else { return None };
    if u64::from_str_radix(id, 16).ok()? != domain {
        return None;
    }
    let (attempt, node): (u64, u64) = (attempt.parse().ok()?, node.parse().ok()?);
    Some([counter.parse().ok()?, u64::from_str_radix(incarnation, 16).ok()?, attempt | node << 32])
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    use keepone_proto::id::hash_name;
    use nix::sched::{CloneFlags, unshare};

    use super::super::gate::{GateDiary, Peephole, start};
    use super::super::{Live, Stop};
    use super::*;
    use crate::netns::topology::VIP;
    use crate::spans::Spans;

    fn nft(script: &str) {
        let mut child = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
        io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{script}");
    }

    /// The calling thread's own network, with a table as the agent makes one, opened under an epoch of `counter`.
    fn opened(counter: u64, for_ms: u64) -> Peephole {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let domain = hash_name("VI_1");
        nft(&format!(
            "table netdev keepone_test {{
                set open_vip4_a {{ type ipv4_addr; flags timeout; elements = {{ {VIP} timeout {for_ms}ms }} }}
                set open_vip4_b {{ type ipv4_addr; flags timeout; elements = {{ {VIP} timeout {for_ms}ms }} }}
                set held {{ type mark; elements = {{
                    0x0 comment \"domain {:016x} epoch 99 00000000000000c0 1 1\",
                    0x1 comment \"domain {domain:016x} epoch {counter} 00000000000000c0 3 2\" }} }}
            }}",
            hash_name("other")
        ));
        Peephole::of_sets(VIP.into()).unwrap()
    }

    fn watch(peepholes: Vec<Peephole>, meanwhile: impl FnOnce(&Live)) -> Vec<GateDiary> {
        let (live, stop) = (Arc::new(Live::new(peepholes.len(), 0)), Stop::default());
        let watch = start(peepholes, &["VI_1".to_owned()], Arc::clone(&live), stop.clone());
        meanwhile(&live);
        stop.set();
        watch.join().unwrap().into_iter().map(|mut node| node.remove(0)).collect()
    }

    /// Needs root and the `nft` program; the networks are of this thread.
    #[test]
    fn an_element_is_seen_until_it_expires_and_then_its_gate_is_shut() {
        let before = clock::now();
        let peephole = opened(7, 900);
        let after = clock::now();
        let diary = watch(vec![peephole], |live| {
            // It may take this thread long to be here, on a busy machine: only up to the end is anything promised.
            thread::sleep(Duration::from_millis(150));
            assert!(live.gate(0) || clock::now() > before + 800 * MS);
            thread::sleep(Duration::from_millis(1150));
            assert!(!live.gate(0));
        })
        .remove(0);
        let longest = diary.holds.iter().map(|hold| hold.to - hold.from).max().unwrap();
        assert!(
            longest > 100 * MS && diary.shut.longest() > 50 * MS,
            "looks that follow each other are one: {diary:?}"
        );
        let hold = diary.holds.last().unwrap();
        assert_eq!((hold.node, hold.epoch), (0, [7, 0xc0, 3 | 2 << 32]));
        let last = before + 900 * MS - 2 * tick() - 10 * MS..=after + 900 * MS + tick();
        assert!(last.contains(&hold.to), "{} {last:?}", hold.to);
        assert!(diary.shut.total() > 100 * MS && diary.shut.iter().all(|(from, _)| from >= hold.to));
    }

    #[test]
    fn a_name_that_is_gone_from_one_set_is_shut_and_two_that_are_open_are_two_holders() {
        let one = opened(1, 60_000);
        let other = opened(2, 60_000);
        let mut cut = 0;
        let diaries = watch(vec![one, other], |_| {
            thread::sleep(Duration::from_millis(300));
            nft(&format!("delete element netdev keepone_test open_vip4_b {{ {VIP} }}"));
            cut = clock::now();
            thread::sleep(Duration::from_millis(300));
        });
        let open: Vec<Spans> = diaries.iter().map(GateDiary::open).collect();
        let two = Spans::shared_by_two(&open);
        assert!(two.total() > 100 * MS && two.iter().all(|(_, to)| to <= cut), "{two:?}");
        assert!(open[0].within(cut, u64::MAX).total() > 100 * MS, "the first one is in its own network: {open:?}");
        assert!(diaries[1].shut.total() > 100 * MS && diaries[0].shut.is_empty());
    }

    #[test]
    fn without_a_table_nothing_is_known() {
        let peephole = opened(1, 60_000);
        nft("delete table netdev keepone_test");
        let diary = watch(vec![peephole], |_| thread::sleep(Duration::from_millis(200))).remove(0);
        assert_eq!(diary, GateDiary::default());
    }

    #[test]
    fn only_the_watched_domains_record_counts() {
        let comment = "domain 00000000000000d0 epoch 7 00000000000000c0 3 2";
        assert_eq!(parse_held(comment, 0xd0), Some([7, 0xc0, 3 | 2 << 32]));
        for foreign in ["", "domain", "domain x epoch 1 1 1 1", "domain d0 epoch 1 1 1", "a comment of somebody's"] {
            assert_eq!(parse_held(foreign, 0xd0), None, "{foreign}");
        }
        assert_eq!(parse_held(comment, 0xd1), None);
    }

    #[test]
    fn an_answer_that_is_cut_short_anywhere_is_no_panic() {
        let elements = attribute(NESTED | 3, &attribute(NESTED | 1, &attribute(5, &300_u64.to_be_bytes())));
        let whole = message(NF_TABLES | 12, 0, 1, &elements);
        for length in 0..whole.len() {
            for (.., body) in answers(&whole[..length]) {
                assert!(attributes(body.get(GENERIC..).unwrap_or_default()).count() <= 1);
            }
        }
        let (.., body) = answers(&whole)[0];
        let (_, element) = attributes(find(&body[GENERIC..], 3).unwrap()).next().unwrap();
        assert_eq!(find(element, 5), Some(&300_u64.to_be_bytes()[..]));
    }
}
