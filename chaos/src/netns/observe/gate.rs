//! Looks at every node's gate each two milliseconds: the pinned map of deadlines, read as any other
//! process of the machine could read it, without a word from the agent.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_bpf::Map;
use keepone_proto::id::hash_name;

use super::{Live, Stop};
use crate::netns::clock;
use crate::netns::priority;
use crate::spans::Spans;

/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(2);
/// Looks between two searches for maps that have appeared or been replaced.
const SEARCH_EVERY: u32 = 25;
/// Elements of the gate's map that are looked at, at most.
const ELEMENTS: u32 = 16;

/// One look at one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    at: u64,
    deadline: u64,
}

/// What two looks in a row prove to have been open.
///
/// Open until the deadline that the first one saw, if the second one did not find it drawn in: a tombstone
/// was written at some time between, and what is not certain is not held against the node.
fn certain(first: Look, second: Look) -> Option<(u64, u64)> {
    let drawn_in = second.deadline < first.deadline;
    (first.deadline > first.at && !drawn_in).then(|| (first.at, first.deadline.min(second.at)))
}

/// The gate of one node.
struct Gate {
    directory: PathBuf,
    domain: u64,
    maps: Vec<Map>,
    last: Option<Look>,
    open: Vec<(u64, u64)>,
}

impl Gate {
    /// Opens every map of deadlines below the directory; pins of an agent that started again are new maps.
    fn search(&mut self) {
        self.maps = pins(&self.directory, 2).iter().filter_map(|path| Map::open_pinned(path).ok()).collect();
    }

    /// The latest deadline of the domain in any map; 0 if it is nowhere.
    fn deadline(&self) -> u64 {
        let mut latest = 0;
        for map in &self.maps {
            for element in 0..ELEMENTS.min(map.max_entries()) {
                let Ok(Some(value)) = map.lookup(&element.to_ne_bytes()) else { break };
                let word = |place: usize| -> Option<u64> {
                    Some(u64::from_ne_bytes(value.get(place * 8..place * 8 + 8)?.try_into().ok()?))
                };
                match (word(0), word(1)) {
                    (Some(deadline), Some(domain)) if domain == self.domain => latest = latest.max(deadline),
                    // Slots are given out in order: the rest is unused.
                    (_, Some(0)) => break,
                    _ => {}
                }
            }
        }
        latest
    }

    fn look(&mut self) -> bool {
        // Read before the deadline, so that the deadline is never younger than its instant.
        let at = clock::now();
        let look = Look { at, deadline: self.deadline() };
        if let Some(pair) = self.last.and_then(|last| certain(last, look)) {
            match self.open.last_mut() {
                Some(last) if last.1 >= pair.0 => last.1 = pair.1,
                _ => self.open.push(pair),
            }
        }
        self.last = Some(look);
        look.deadline > at
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

/// Watches the gates whose pins lie in `directories`, one of each node, for the domain `domain`, until
/// the run stops; returns when each was certainly open.
pub fn start(directories: Vec<PathBuf>, domain: &str, live: Arc<Live>, stop: Stop) -> JoinHandle<Vec<Spans>> {
    let domain = hash_name(domain);
    let mut gates: Vec<Gate> = directories
        .into_iter()
        .map(|directory| Gate { directory, domain, maps: Vec::new(), last: None, open: Vec::new() })
        .collect();
    thread::spawn(move || {
        priority::raise();
        let mut looks = 0_u32;
        while !stop.is_set() {
            for (node, gate) in gates.iter_mut().enumerate() {
                if looks.is_multiple_of(SEARCH_EVERY) {
                    gate.search();
                }
                let open = gate.look();
                live.set_gate(node, open);
            }
            looks = looks.wrapping_add(1);
            thread::sleep(INTERVAL);
        }
        gates.into_iter().map(|gate| Spans::from_pairs(gate.open)).collect()
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
        let watch = start(vec![directory.clone()], "VI_1", Arc::clone(&live), stop.clone());
        thread::sleep(Duration::from_millis(150));
        assert!(live.gate(0));
        thread::sleep(Duration::from_millis(400));
        assert!(!live.gate(0));
        stop.set();
        let spans = watch.join().unwrap().remove(0);
        let last = spans.iter().last().unwrap().1;
        assert_eq!(last, begin + 300_000_000, "exactly the deadline, not the look after it");
        assert!(spans.total() > 200_000_000, "{spans:?}");
        nix::mount::umount(&directory).unwrap();
        std::fs::remove_dir(&directory).unwrap();
    }

    #[test]
    fn a_gate_is_certainly_open_up_to_its_deadline_and_never_beyond_a_tombstone() {
        let look = |at, deadline| Look { at, deadline };
        assert_eq!(certain(look(10, 500), look(12, 500)), Some((10, 12)));
        assert_eq!(certain(look(10, 11), look(12, 11)), Some((10, 11)), "it ran out between the looks");
        assert_eq!(certain(look(10, 500), look(12, 900)), Some((10, 12)), "renewed");
        assert_eq!(certain(look(10, 500), look(12, 0)), None, "shut at some time between");
        assert_eq!(certain(look(10, 0), look(12, 500)), None, "opened at some time between");
    }
}
