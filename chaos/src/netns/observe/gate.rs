//! Looks at every node's gate each two milliseconds: the pinned map of deadlines, or the sets of nf_tables, read as any
//! other process of the machine could read them, without a word from the agent.

use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_bpf::{Map, Mapping};
use keepone_proto::id::hash_name;

use super::nft::{self, Reading, Sets};
use super::{Live, Stop};
use crate::history::Hold;
use crate::netns::clock;
use crate::netns::priority;
use crate::spans::Spans;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(2);
/// Looks between two searches for maps that have appeared or been replaced.
const SEARCH_EVERY: u32 = 25;

/// One look at one domain's gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Look {
    /// Before it was read.
    asked: u64,
    /// When it had been read: the same where that is a load from memory.
    answered: u64,
    /// When it shuts, at the earliest.
    deadline: u64,
    /// How much later it may be.
    unsure: u64,
    /// Whether a gate that shuts at its deadline has none from then on, as an element of a set that expires.
    expires: bool,
    /// Counter, incarnation, attempt and node of the epoch.
    epoch: [u64; 3],
}

/// What two looks in a row prove to have been open.
///
/// Open until the deadline that the first one saw, if the second one did not find it drawn in: a tombstone
/// was written at some time between, and what is not certain is not held against the node.
fn certain(first: Look, second: Look) -> Option<(u64, u64)> {
    let expired = second.expires && second.deadline == 0 && second.asked >= first.deadline;
    let drawn_in = second.deadline + second.unsure < first.deadline && !expired;
    let span = (first.answered, first.deadline.min(second.asked));
    (span.0 < span.1 && !drawn_in).then_some(span)
}

/// What two looks in a row prove to have been shut: the deadline had passed before the first one, and nobody
/// has moved it since, or opened it under another epoch.
fn certainly_shut(first: Look, second: Look) -> Option<(u64, u64)> {
    let unmoved = second.deadline == first.deadline && second.epoch == first.epoch;
    (first.deadline <= first.asked && unmoved).then_some((first.answered, second.asked))
}

/// What was seen of one node's gate for one domain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GateDiary {
    /// When it was certainly open, by epoch.
    pub holds: Vec<Hold>,
    /// When it was certainly shut.
    pub shut: Spans,
}

impl GateDiary {
    /// When it was certainly open.
    pub fn open(&self) -> Spans {
        Spans::from_pairs(self.holds.iter().map(|hold| (hold.from, hold.to)).collect())
    }
}

/// One domain's slots in the maps of one node.
#[derive(Debug, Default)]
struct Domain {
    id: u64,
    last: Option<Look>,
    holds: Vec<Hold>,
    shut: Vec<(u64, u64)>,
}

impl Domain {
    fn see(&mut self, look: Look, node: usize) {
        if let Some(last) = self.last {
            // Open, or shut, before a look and after it under one epoch, it was so while it was looked at.
            if let Some((from, to)) = certain(last, look) {
                match self.holds.last_mut() {
                    Some(hold) if hold.to >= last.asked && hold.epoch == last.epoch => hold.to = to,
                    _ => self.holds.push(Hold { node, epoch: last.epoch, from, to }),
                }
            }
            if let Some((from, to)) = certainly_shut(last, look) {
                match self.shut.last_mut() {
                    Some(span) if span.1 >= last.asked => span.1 = to,
                    _ => self.shut.push((from, to)),
                }
            }
        }
        self.last = Some(look);
    }
}

/// One node's gate, for looking at it from outside.
#[derive(Debug)]
pub struct Peephole(Means);

#[derive(Debug)]
enum Means {
    /// Of BPF programs: the pinned maps.
    Pins {
        /// What they lie below.
        directory: PathBuf,
        /// Those that were found.
        maps: Vec<Mapping>,
    },
    /// Of nf_tables.
    Sets(Sets),
}

impl Peephole {
    /// For the pins below `directory`; sees nothing before the first [`Peephole::search`].
    pub fn of_pins(directory: PathBuf) -> Self {
        Peephole(Means::Pins { directory, maps: Vec::new() })
    }

    /// For the sets of nf_tables with that address in the calling thread's network namespace; the same.
    ///
    /// # Errors
    /// When no netlink socket can be had.
    pub fn of_sets(address: IpAddr) -> io::Result<Self> {
        Ok(Peephole(Means::Sets(Sets::open(address)?)))
    }

    /// Finds every map of deadlines below the directory, or the table; an agent that started again has new ones.
    pub fn search(&mut self) {
        match &mut self.0 {
            Means::Pins { directory, maps } => {
                let found = pins(directory, 2).into_iter();
                *maps = found.filter_map(|path| Map::open_pinned(&path).ok()?.mmap(false).ok()).collect();
            }
            Means::Sets(sets) => sets.search(),
        }
    }

    /// A look at the domain's gate; `None` if it is nowhere: then nothing is known, for a gate whose pins or table
    /// were removed may well be open.
    fn look(&mut self, domain: u64) -> Option<Look> {
        match &mut self.0 {
            Means::Pins { maps, .. } => {
                // Read before the deadline, so that the deadline is never younger than its instant.
                let asked = clock::now();
                let (deadline, epoch) = latest(maps, domain)?;
                Some(Look { asked, answered: asked, deadline, epoch, ..Look::default() })
            }
            Means::Sets(sets) => {
                let Reading { asked, answered, deadline, epoch } = sets.read(domain)?;
                Some(Look { asked, answered, deadline, unsure: nft::uncertainty(), expires: true, epoch })
            }
        }
    }

    /// The deadline of the domain of that name; 0 if it is nowhere.
    pub fn deadline(&mut self, domain: &str) -> u64 {
        self.look(hash_name(domain)).map_or(0, |look| look.deadline)
    }
}

/// The latest deadline of the domain in any map, and its epoch.
fn latest(maps: &[Mapping], domain: u64) -> Option<(u64, [u64; 3])> {
    let mut latest = None;
    for map in maps {
        for element in 0..map.elements() {
            let word = |place| map.load(element, place).unwrap_or(0);
            if word(1) == domain {
                let slot = (word(0), [word(2), word(3), word(4)]);
                latest = latest.max(Some(slot));
                break;
            }
        }
    }
    latest
}

/// The gate of one node.
struct Gate {
    node: usize,
    peephole: Peephole,
    domains: Vec<Domain>,
}

impl Gate {
    /// Looks at every domain; whether the first one is open.
    fn look(&mut self) -> bool {
        let mut first_is_open = None;
        for domain in &mut self.domains {
            let look = self.peephole.look(domain.id);
            first_is_open = first_is_open.or(Some(look.is_some_and(|look| look.deadline > look.answered)));
            match look {
                Some(look) => domain.see(look, self.node),
                None => domain.last = None,
            }
        }
        first_is_open.unwrap_or(false)
    }
}

fn pins(directory: &Path, depth: u8) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if entry.file_name().to_string_lossy().contains("deadlines") {
            found.push(path);
        } else if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(pins(&path, depth - 1));
        }
    }
    found
}

/// Watches the gates, one of each node, for the domains of these names, until the run stops; returns what was seen, by
/// node and domain.
pub fn start(
    peepholes: Vec<Peephole>,
    domains: &[String],
    live: Arc<Live>,
    stop: Stop,
) -> JoinHandle<Vec<Vec<GateDiary>>> {
    let ids: Vec<u64> = domains.iter().map(|name| hash_name(name)).collect();
    let gate = |(node, peephole)| Gate {
        node,
        peephole,
        domains: ids.iter().map(|&id| Domain { id, ..Domain::default() }).collect(),
    };
    let mut gates: Vec<Gate> = peepholes.into_iter().enumerate().map(gate).collect();
    thread::spawn(move || {
        priority::raise();
        let mut looks = 0_u32;
        while !stop.is_set() {
            for (node, gate) in gates.iter_mut().enumerate() {
                if looks.is_multiple_of(SEARCH_EVERY) {
                    gate.peephole.search();
                }
                let open = gate.look();
                live.set_gate(node, open);
            }
            looks = looks.wrapping_add(1);
            thread::sleep(INTERVAL);
        }
        let diary = |domain: Domain| GateDiary { holds: domain.holds, shut: Spans::from_pairs(domain.shut) };
        gates.into_iter().map(|gate| gate.domains.into_iter().map(diary).collect()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_bpf::{MapKind, ensure_bpffs};
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};

    /// Needs root; the mount is in a namespace of this thread and of the observer that it starts.
    #[test]
    fn a_pinned_deadline_is_seen_until_it_passes_and_other_domains_are_not() {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        let directory = std::env::temp_dir().join(format!("keepone-chaos-gate-{}", std::process::id()));
        ensure_bpffs(&directory).unwrap();
        let map = Map::create(MapKind::MmapArray, "t", 4, 64, 64).unwrap();
        map.pin(&directory.join("00000000000000aa-deadlines")).unwrap();
        let memory = map.mmap(true).unwrap();
        let begin = clock::now();
        assert!(memory.store(0, 1, hash_name("other")) && memory.store(0, 0, u64::MAX));
        assert!(memory.store(1, 1, hash_name("VI_1")) && memory.store(1, 0, begin + 300_000_000));
        let (live, stop) = (Arc::new(Live::new(1, 0)), Stop::default());
        let watch =
            start(vec![Peephole::of_pins(directory.clone())], &["VI_1".to_owned()], Arc::clone(&live), stop.clone());
        thread::sleep(Duration::from_millis(150));
        assert!(live.gate(0));
        thread::sleep(Duration::from_millis(400));
        assert!(!live.gate(0));
        stop.set();
        let diary = watch.join().unwrap().remove(0).remove(0);
        assert!(diary.shut.total() > 200_000_000 && diary.shut.iter().all(|(from, _)| from >= begin + 300_000_000));
        let spans = diary.open();
        let last = spans.iter().last().unwrap().1;
        assert_eq!(last, begin + 300_000_000, "exactly the deadline, not the look after it");
        assert!(spans.total() > 200_000_000, "{spans:?}");
        nix::mount::umount(&directory).unwrap();
        std::fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn a_gate_is_certainly_open_up_to_its_deadline_and_never_beyond_a_tombstone() {
        let look = |at, deadline| Look { asked: at, answered: at, deadline, ..Look::default() };
        assert_eq!(certain(look(10, 500), look(12, 500)), Some((10, 12)));
        assert_eq!(certain(look(10, 11), look(12, 11)), Some((10, 11)), "it ran out between the looks");
        assert_eq!(certain(look(10, 500), look(12, 900)), Some((10, 12)), "renewed");
        assert_eq!(certain(look(10, 500), look(12, 0)), None, "shut at some time between");
        assert_eq!(certain(look(10, 0), look(12, 500)), None, "opened at some time between");
        assert_eq!(certainly_shut(look(10, 9), look(12, 9)), Some((10, 12)));
        assert_eq!(certainly_shut(look(10, 11), look(12, 11)), None, "it ran out between the looks");
        assert_eq!(certainly_shut(look(10, 9), look(12, 11)), None, "it was open for a moment between");
    }

    #[test]
    fn a_look_that_takes_its_time_does_not_part_what_is_one_hold() {
        let mut domain = Domain::default();
        let mut see = |asked: u64, deadline| {
            domain.see(Look { asked, answered: asked + 3, deadline, unsure: 5, expires: true, epoch: [1, 0, 0] }, 0);
        };
        // The deadline is only known to be about 60; at 60 the set has nothing any more.
        for (at, until) in [(10, 60), (20, 58), (30, 61), (40, 60), (50, 59), (60, 0), (70, 0), (80, 0)] {
            see(at, until);
        }
        let holds: Vec<(u64, u64)> = domain.holds.iter().map(|hold| (hold.from, hold.to)).collect();
        assert_eq!((holds.as_slice(), domain.shut.as_slice()), (&[(13, 59)][..], &[(63, 80)][..]));
        let look = |asked, deadline| Look { asked, answered: asked, deadline, unsure: 5, expires: true, epoch: [1; 3] };
        assert_eq!(certain(look(10, 60), look(20, 0)), None, "taken out before its time");
        assert_eq!(certain(look(10, 60), look(20, 50)), None, "drawn in");
    }

    #[test]
    fn another_epoch_is_another_hold_even_without_a_gap() {
        let mut domain = Domain::default();
        for (at, counter) in [(10, 1), (12, 1), (14, 2), (16, 2), (18, 2)] {
            let look = Look { asked: at, answered: at, deadline: 100 + at, epoch: [counter, 0, 0], ..Look::default() };
            domain.see(look, 1);
        }
        let holds: Vec<(u64, u64, u64)> = domain.holds.iter().map(|hold| (hold.epoch[0], hold.from, hold.to)).collect();
        assert_eq!(holds, [(1, 10, 14), (2, 14, 18)]);
    }
}
