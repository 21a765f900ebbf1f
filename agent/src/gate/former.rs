//! What former runs left in the directory of pins, and its end.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use keepone_bpf::{Link, is_bpffs};
use keepone_proto::id::{DomainId, Epoch, Incarnation};

use super::{GateError, LeftOpen, slot};

/// How long the removal waits: the kernel holds rtnl for tens of milliseconds for each link, and the
/// start that is under way needs rtnl for its sockets and addresses.
const GRACE: Duration = Duration::from_millis(250);

/// Takes a pin away.
pub(super) fn remove(path: &Path) {
    // What can't be removed stays shut, which is the safe side; it is tried again at the next start.
    let _ = std::fs::remove_file(path);
}

/// Takes a former run's pin away, and off its interface at once if it is a link's: a link whose last
/// reference goes is detached by the kernel whenever it gets round to it, and bars the addresses till then.
fn end(path: &Path) {
    if slot::parse_pin(path).is_some_and(|(_, suffix)| slot::parse_link(suffix).is_some())
        && let Ok(link) = Link::open_pinned(path)
    {
        // Refused if the interface has gone, and the link with it.
        let _ = link.detach();
    }
    remove(path);
}

/// Everything in the directory that is ours; the kernel and others may have things there too.
pub(super) fn pins(dir: &Path) -> Result<Vec<PathBuf>, GateError> {
    let failed = |source| GateError::Directory { dir: dir.into(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if slot::parse_pin(&path).is_some() {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

/// The former runs' gates: shut at once, taken away by a thread of its own, for the kernel waits tens of
/// milliseconds for each of their links, and a failover must not.
#[derive(Debug)]
pub(super) struct Former {
    /// What they held.
    pub(super) held: Vec<(DomainId, Epoch)>,
    pub(super) gone: FormerGone,
}

/// Whether the gates of former runs have been taken away: until then they bar the addresses, too.
#[derive(Debug, Clone)]
pub struct FormerGone(Arc<AtomicBool>);

impl FormerGone {
    /// Whether they have.
    pub fn is_gone(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Former {
    /// Adds what an adopted gate had held.
    pub(super) fn with(mut self, held: Vec<(DomainId, Epoch)>) -> Self {
        self.held.extend(held);
        self.held.sort();
        self.held.dedup();
        self
    }
}

impl Former {
    /// But for what goes on.
    pub(super) fn without(mut self, open: &[LeftOpen]) -> Self {
        self.held.retain(|(domain, epoch)| !open.iter().any(|(other, of, _)| (other, of) == (domain, epoch)));
        self
    }
}

/// Shuts the gates of all runs but `keep`, reads what they held, and begins to take them away.
pub(super) fn end_former(dir: &Path, keep: Option<Incarnation>) -> Result<Former, GateError> {
    let gone = Arc::new(AtomicBool::new(true));
    if !dir.exists() || !is_bpffs(dir)? {
        return Ok(Former { held: Vec::new(), gone: FormerGone(gone) });
    }
    let is_former = |path: &PathBuf| slot::parse_pin(path).is_some_and(|(incarnation, _)| Some(incarnation) != keep);
    let former: Vec<PathBuf> = pins(dir)?.into_iter().filter(is_former).collect();
    let mut held = BTreeSet::new();
    for path in &former {
        if slot::parse_pin(path).is_some_and(|(_, suffix)| suffix == slot::DEADLINES)
            && let Ok((epochs, _)) = slot::shut_pinned(path)
        {
            held.extend(epochs);
        }
    }
    if !former.is_empty() {
        gone.store(false, Ordering::Release);
        let (done, paths) = (Arc::clone(&gone), former.clone());
        let remove_all = move || {
            std::thread::sleep(GRACE);
            paths.iter().for_each(|path| end(path));
            done.store(true, Ordering::Release);
        };
        if std::thread::Builder::new().name("former-gate".into()).spawn(remove_all).is_err() {
            former.iter().for_each(|path| end(path));
            gone.store(true, Ordering::Release);
        }
    }
    Ok(Former { held: held.into_iter().collect(), gone: FormerGone(gone) })
}
