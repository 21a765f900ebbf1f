//! The kernel's own check of the lease: no frame that names a virtual IP crosses a shut gate
//! (safety.md, The gate; R4, R5, R9, R12, R14, R16).
//!
//! Outside observers find the deadlines in `<bpf_dir>/<incarnation, 16 hex digits>-deadlines`, an array
//! that can be mapped into memory: elements of 64 bytes, the first of no domain; first word the deadline in nanoseconds
//! of CLOCK_BOOTTIME (0: shut), second word the domain. Which domain has which is nothing to go by.
//! (bpffs allows no dots in names.)
//!
//! Known limit: what is routed through this node and *rewritten here* to come from the VIP (source NAT,
//! IPVS with masquerading) counts as transit, as it can't be told from a holder's own frames on their
//! way through; an ex-holder must drop such rules with its addresses.
//!
//! The incarnation in the names is that of the run that made the pins: a later run with the same layout
//! adopts them, since to attach them anew would take longer than everything else of its start.
//!
//! One writer, one gate for each fencing domain; the writer holds the lock of the directory (flock) for its
//! life. What must stay true: a gate opens only under an epoch of this run that has no tombstone, and shuts
//! at its deadline without anybody's help.

mod adopt;
mod bpf;
mod former;
mod guardian_shut;
mod interfaces;
mod layout;
mod ledger;
mod names;
mod nft;
mod probe;
mod program;
mod slot;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use keepone_bpf::BpfError;
use keepone_proto::event::GateStrength;
use keepone_proto::id::{DomainId, Epoch, Incarnation, Vrid};
use keepone_proto::time::Instant;

pub use guardian_shut::shut_all;

use bpf::BpfGate;
use former::Former;
pub use former::FormerGone;
use layout::Layout;
use ledger::Ledger;
pub use nft::NftError;
use nft::NftGate;
pub(crate) use nft::answers as nftables_answers;
use writer::Writer;

use crate::lock::Denied;

/// How frames are stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Means {
    /// Means 1: tcx programs with an absolute deadline. Linux 6.6, CAP_BPF, CAP_NET_ADMIN, CAP_NET_RAW.
    Bpf,
    /// Means 2: nf_tables rules and sets whose elements expire. Linux 5.16, CAP_NET_ADMIN, CAP_NET_RAW.
    Nft,
    /// Means 3: nothing but the lifetime of the addresses; [`GateStrength::Weak`].
    Lifetime,
}

impl Means {
    /// The stable name, for status and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Means::Bpf => "bpf",
            Means::Nft => "nft",
            Means::Lifetime => "lifetime",
        }
    }

    /// E_g: how late it may shut (safety.md, Time and parameters). For means 2 one tick of this kernel; for
    /// means 3 there is no bound, and this is the second that it is late by design.
    pub fn lateness(self) -> Duration {
        match self {
            Means::Bpf => Duration::from_micros(100),
            Means::Nft => nft::jiffy(),
            Means::Lifetime => Duration::from_secs(1),
        }
    }
}

/// One fencing domain, as the gate sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateDomain {
    /// Which.
    pub id: DomainId,
    /// Its virtual addresses.
    pub addresses: Vec<IpAddr>,
    /// Those of them that nobody here takes packets for, however open (Accept_Mode; RFC 9568, 6.1, 6.4.3).
    pub refused: Vec<IpAddr>,
    /// Its virtual routers; `true`: over IPv6.
    pub routers: Vec<(Vrid, bool)>,
}

/// What a gate is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GateConfig {
    /// Where maps and links are pinned: a directory in a bpffs that outlives the agent, such as
    /// `/sys/fs/bpf/keepone`; made, and a bpffs mounted on it, if need be.
    pub bpf_dir: PathBuf,
    /// Where the lock of the one writer of means 2 is, whose table is named after [`GateConfig::bpf_dir`]; made
    /// if need be.
    pub run_dir: PathBuf,
    /// All of them, at most 63.
    pub domains: Vec<GateDomain>,
    /// Names of interfaces that get no gate. Empty unless the operator knows why: the kernel answers
    /// for an address on every interface.
    pub exempt: BTreeSet<String>,
    /// Of this run (R6).
    pub incarnation: Incarnation,
    /// How.
    pub means: Means,
    /// What a former process of this very life has left open (docs/decisions/0210): domain, epoch and deadline. With means 1
    /// and 2 such a gate is adopted as it stands, if it stands exactly so; every other one is shut.
    pub left_open: Vec<LeftOpen>,
}

/// A gate that is open under an epoch until then on the boot clock.
pub type LeftOpen = (DomainId, Epoch, Instant);

/// Why the gate did not do as it was told.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// From the kernel.
    #[error(transparent)]
    Bpf(#[from] BpfError),
    /// From the kernel.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// The directory of the pins can't be read.
    #[error("the gate's directory {dir:?} can't be used: {source}; make it readable and writable, or name another")]
    Directory {
        /// Which.
        dir: PathBuf,
        /// The error number.
        source: io::Error,
    },
    /// Another process has the gate, and may still write to it.
    #[error(
        "the gate in {dir:?} belongs to {}, which still runs or is stopped: end it ({}), or give each keepone \
         a bpf_dir and a run_dir of its own",
        .pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}")),
        .pid.map_or_else(|| "`lslocks` may find it".to_owned(), |pid| format!("kill -9 {pid}"))
    )]
    Taken {
        /// Which.
        dir: PathBuf,
        /// Of its owner, if known.
        pid: Option<u32>,
    },
    /// More domains than slots.
    #[error("{have} fencing domains, where the gate has room for {max}: join instances in sync groups")]
    TooManyDomains {
        /// Configured.
        have: usize,
        /// Possible.
        max: usize,
    },
    /// A gate that was made for fewer.
    #[error("the gate was made with room for fewer domains or addresses")]
    NoRoom,
    /// One address in two domains.
    #[error("{0} belongs to two fencing domains: an address moves with one of them only")]
    SharedAddress(IpAddr),
    /// A domain that is not in [`GateConfig::domains`].
    #[error("domain {0:?} has no gate: it was not configured when the agent started")]
    UnknownDomain(DomainId),
    /// R9: of another run, whose tombstones this one does not know.
    #[error("the gate of domain {domain:?} stays shut: epoch {epoch} is not of this run, {incarnation:?}")]
    Foreign {
        /// Whose gate.
        domain: DomainId,
        /// Named by the write.
        epoch: Epoch,
        /// Of this run.
        incarnation: Incarnation,
    },
    /// R9.
    #[error("the gate of domain {domain:?} stays shut: epoch {epoch} ended with the tombstone of {tombstone}")]
    Tombstoned {
        /// Whose gate.
        domain: DomainId,
        /// Named by the write.
        epoch: Epoch,
        /// The highest that has ended.
        tombstone: Epoch,
    },
    /// The gate is open under a newer epoch, and stays as it is.
    #[error("a write under epoch {epoch} to the gate of domain {domain:?}, which is open under {current}")]
    Stale {
        /// Whose gate.
        domain: DomainId,
        /// Named by the write.
        epoch: Epoch,
        /// Under which it is open.
        current: Epoch,
    },
    /// The table has no place any more for this run to write: R16, or a successor.
    #[error("the table {table} is sealed: the guardian takes this worker for dead, or another run has taken it over")]
    Sealed {
        /// Which.
        table: String,
    },
    /// What was written is not what is there.
    #[error(
        "the gate of domain {domain:?} reads back other than written: somebody else writes to it, or it took too long"
    )]
    ReadBack {
        /// Whose gate.
        domain: DomainId,
    },
}

#[derive(Debug)]
enum Inner {
    Bpf { writer: Writer, keeper: Keeper },
    Nft { writer: nft::Writer, keeper: Keeper },
    Lifetime(BTreeMap<DomainId, u64>),
}

#[derive(Debug)]
enum Kept {
    Bpf(BpfGate),
    Nft(NftGate),
    /// Taken down: whoever still asks must not put it up again.
    Gone,
}

/// What examines a gate and follows the interfaces. The kernel answers it under the rtnl lock, which others
/// may hold for long: it is for a thread that may wait (R15).
#[derive(Debug, Clone)]
pub struct Keeper(Arc<Mutex<Kept>>, Arc<AtomicU64>);

/// What a gate has become for other domains, for [`Gate::change`].
#[derive(Debug, Clone)]
pub struct Changed(Layout);

impl Changed {
    /// Without a kernel's part that would have to change.
    ///
    /// # Errors
    /// Too many domains, or an address in two of them.
    pub fn weak(domains: &[GateDomain]) -> Result<Self, GateError> {
        let config = GateConfig {
            bpf_dir: PathBuf::new(),
            run_dir: PathBuf::new(),
            domains: domains.to_vec(),
            exempt: BTreeSet::new(),
            incarnation: Incarnation(0),
            means: Means::Lifetime,
            left_open: Vec::new(),
        };
        Layout::new(&config).map(Changed)
    }

    /// What an operator should know of it, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.0.warnings
    }
}

impl Keeper {
    fn new(kept: Kept) -> Self {
        Keeper(Arc::new(Mutex::new(kept)), Arc::default())
    }

    /// Gates other domains, new ones shut; those that were there go on as they are. Of two callers the one with the
    /// lower number comes too late: `None`.
    ///
    /// # Errors
    /// From the kernel, or domains that do not fit. All that was gated still is.
    pub fn change(&self, domains: &[GateDomain], number: u64) -> Result<Option<Changed>, GateError> {
        let mut kept = self.lock();
        if self.1.fetch_max(number, Ordering::AcqRel) > number {
            return Ok(None);
        }
        match &mut *kept {
            Kept::Bpf(gate) => gate.change(domains),
            Kept::Nft(gate) => gate.change(domains),
            Kept::Gone => return Ok(None),
        }
        .map(|layout| Some(Changed(layout)))
    }

    /// See [`Gate::self_test`].
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn self_test(&self) -> Result<(), String> {
        match &mut *self.lock() {
            Kept::Bpf(gate) => gate.self_test(),
            Kept::Nft(gate) => gate.self_test(),
            Kept::Gone => Ok(()),
        }
    }

    /// See [`Gate::attach_new`].
    ///
    /// # Errors
    /// From the kernel.
    pub fn attach_new(&self) -> Result<usize, GateError> {
        match &mut *self.lock() {
            Kept::Bpf(gate) => gate.attach_new(),
            Kept::Nft(gate) => gate.attach_new(),
            Kept::Gone => Ok(0),
        }
    }

    fn take_down(&self) {
        match std::mem::replace(&mut *self.lock(), Kept::Gone) {
            Kept::Bpf(mut gate) => gate.take_down(),
            Kept::Nft(mut gate) => gate.take_down(),
            Kept::Gone => {}
        }
    }

    // A panic of another holder leaves the maps and links as they are in the kernel.
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of one domain, where some read back other than written.
fn read_back(domain: DomainId, wrong: &BTreeSet<DomainId>) -> Result<(), GateError> {
    if wrong.contains(&domain) { Err(GateError::ReadBack { domain }) } else { Ok(()) }
}

/// In the words of a gate's error.
fn denied(dir: &Path, denied: Denied) -> GateError {
    match denied {
        Denied::Held { pid } => GateError::Taken { dir: dir.into(), pid },
        Denied::System(source) => GateError::Directory { dir: dir.into(), source },
    }
}

/// The gate of this run of the agent. Dropping it leaves the kernel's part in place, which then shuts
/// at the last deadline.
#[derive(Debug)]
pub struct Gate {
    inner: Inner,
    ledger: Ledger,
    former: Former,
    warnings: Vec<String>,
    adopted: bool,
    open: Vec<LeftOpen>,
}

impl Gate {
    /// The gate of this run, shut for every domain (R12) but for what is left open on purpose.
    ///
    /// A dead run's gate of the same layout is adopted as it stands, which takes a millisecond; otherwise a
    /// new one is made, and whatever former runs left is shut and taken away once the new one stands.
    ///
    /// # Errors
    /// [`GateError::Taken`] if the former run is not dead; no rights, a kernel without the means, a
    /// configuration that does not fit. Then nothing of a new gate stays, and a former run's stays, at most
    /// shut.
    pub fn open_new(config: &GateConfig) -> Result<Self, GateError> {
        let mut ledger = Ledger::new(config.incarnation, config.domains.iter().map(|domain| domain.id));
        match config.means {
            Means::Bpf => {
                let bpf::Opened { gate, former, warnings, adopted, open } = BpfGate::open_new(config)?;
                let former = former.with(nft::end(&config.bpf_dir)?).without(&open);
                ledger.go_on(&open)?;
                let inner = Inner::Bpf { writer: gate.writer(), keeper: Keeper::new(Kept::Bpf(gate)) };
                Ok(Gate { inner, ledger, former, warnings, adopted, open })
            }
            Means::Nft => {
                let nft::Opened { gate, writer, former, warnings, adopted, open } = NftGate::open_new(config)?;
                let former = former.without(&open);
                ledger.go_on(&open)?;
                let inner = Inner::Nft { writer, keeper: Keeper::new(Kept::Nft(gate)) };
                Ok(Gate { inner, ledger, former, warnings, adopted, open })
            }
            Means::Lifetime => {
                // A gate that a former run pinned would stay shut for ever.
                let former = former::end_former(&config.bpf_dir, None)?.with(nft::end(&config.bpf_dir)?);
                let mut warnings = vec![
                    "the gate is weak: only the lifetime of the addresses, in whole seconds, ends a lapsed lease"
                        .into(),
                ];
                let refused: Vec<String> =
                    config.domains.iter().flat_map(|domain| &domain.refused).map(IpAddr::to_string).collect();
                if !refused.is_empty() {
                    warnings.push(format!(
                        "packets for {} are taken in spite of no_accept, which a gate of bpf or nft is needed for: \
                         drop them with rules of your own",
                        refused.join(", ")
                    ));
                }
                let shut = config.domains.iter().map(|domain| (domain.id, 0)).collect();
                Ok(Gate { inner: Inner::Lifetime(shut), ledger, former, warnings, adopted: false, open: Vec::new() })
            }
        }
    }

    /// Whether it is the gate of a former run, taken over.
    pub fn is_adopted(&self) -> bool {
        self.adopted
    }

    /// What of [`GateConfig::left_open`] was found as it should be, and is open still.
    pub fn left_open(&self) -> &[LeftOpen] {
        &self.open
    }

    /// Lets the domain's frames pass until `until` on the boot clock, under `epoch`; also moves the
    /// deadline of an open gate, either way. With means 1 no system call; with means 2 some, which may have to
    /// wait for others that change the host's rules.
    ///
    /// # Errors
    /// An epoch that has ended (R9), is older than the present one or of another run; an unknown domain; a
    /// read-back that differs; with means 2, a kernel that refuses or answers too late.
    pub fn open(&mut self, domain: DomainId, epoch: Epoch, until: Instant) -> Result<(), GateError> {
        self.ledger.open(domain, epoch)?;
        match &mut self.inner {
            Inner::Bpf { writer, .. } => writer.open(domain, epoch, until.as_nanos()),
            Inner::Nft { writer, .. } => read_back(domain, &writer.open(&[(domain, epoch, until)])?),
            Inner::Lifetime(deadlines) => {
                deadlines.insert(domain, until.as_nanos());
                Ok(())
            }
        }
    }

    /// [`Gate::open`] for several domains in one go, which with means 2 costs no more than one; an answer for
    /// each.
    pub fn open_all(&mut self, asked: &[(DomainId, Epoch, Instant)]) -> Vec<Result<(), GateError>> {
        if let (Inner::Nft { writer, .. }, [_, _, ..]) = (&mut self.inner, asked)
            && asked.iter().all(|(domain, epoch, _)| self.ledger.open(*domain, *epoch).is_ok())
            && let Ok(wrong) = writer.open(asked)
        {
            return asked.iter().map(|(domain, ..)| read_back(*domain, &wrong)).collect();
        }
        asked.iter().map(|(domain, epoch, until)| self.open(*domain, *epoch, *until)).collect()
    }

    /// Sets the tombstone of `epoch`: shuts, reads back from the kernel, and never opens under it again.
    ///
    /// # Errors
    /// [`GateError::Stale`] if the gate is open under a newer epoch (it stays open, and the older epoch
    /// has its tombstone); an unknown domain; a read-back that differs.
    pub fn shut(&mut self, domain: DomainId, epoch: Epoch) -> Result<(), GateError> {
        self.ledger.shut(domain, epoch)?;
        match &mut self.inner {
            Inner::Bpf { writer, .. } => writer.shut(domain, epoch),
            Inner::Nft { writer, .. } => writer.shut(domain),
            Inner::Lifetime(deadlines) => {
                deadlines.insert(domain, 0);
                Ok(())
            }
        }
    }

    /// Writes other domains from now on: what a [`Keeper`] has made of the kernel's part. An open one stays open.
    ///
    /// # Errors
    /// With means 2, a kernel that refuses: names that have come to an open domain stay shut until its next renewal.
    pub fn change(&mut self, changed: &Changed) -> Result<(), GateError> {
        let layout = &changed.0;
        self.ledger.add(layout.slots.keys().copied());
        match &mut self.inner {
            Inner::Bpf { writer, .. } => {
                writer.slots.clone_from(&layout.slots);
                Ok(())
            }
            Inner::Nft { writer, .. } => writer.change(layout),
            Inner::Lifetime(deadlines) => {
                for domain in layout.slots.keys() {
                    deadlines.entry(*domain).or_insert(0);
                }
                Ok(())
            }
        }
    }

    /// Until when the domain's gate was last opened, perhaps in the past; `None` if it was shut since,
    /// or is unknown.
    pub fn deadline(&self, domain: DomainId) -> Option<Instant> {
        let nanos = match &self.inner {
            Inner::Bpf { writer, .. } => writer.deadline(domain),
            Inner::Nft { writer, .. } => writer.deadline(domain),
            Inner::Lifetime(deadlines) => deadlines.get(&domain).copied(),
        };
        nanos.filter(|nanos| *nanos != 0).map(Instant::from_nanos)
    }

    /// R14: are all links attached, and is a probe frame refused on each interface that is up? Also
    /// gates interfaces that appeared since. Some 0.1 ms in all for a few interfaces.
    ///
    /// # Errors
    /// What is wrong, in words, for [`keepone_proto::event::Event::GateTest`].
    pub fn self_test(&mut self) -> Result<(), String> {
        match &mut self.inner {
            Inner::Bpf { keeper, .. } | Inner::Nft { keeper, .. } => keeper.self_test(),
            Inner::Lifetime(_) => Ok(()),
        }
    }

    /// Gates interfaces that appeared since, and follows those that joined or left a bridge or bond.
    /// To be called when the link watch reports a change. How many were newly gated.
    ///
    /// # Errors
    /// From the kernel.
    pub fn attach_new(&mut self) -> Result<usize, GateError> {
        match &mut self.inner {
            Inner::Bpf { keeper, .. } | Inner::Nft { keeper, .. } => keeper.attach_new(),
            Inner::Lifetime(_) => Ok(0),
        }
    }

    /// What examines it and follows the interfaces, for a thread of its own; `None` where there is nothing
    /// to examine.
    pub fn keeper(&self) -> Option<Keeper> {
        match &self.inner {
            Inner::Bpf { keeper, .. } | Inner::Nft { keeper, .. } => Some(keeper.clone()),
            Inner::Lifetime(_) => None,
        }
    }

    /// How well it holds.
    pub fn strength(&self) -> GateStrength {
        match &self.inner {
            Inner::Bpf { .. } | Inner::Nft { .. } => GateStrength::Strong,
            Inner::Lifetime(_) => GateStrength::Weak,
        }
    }

    /// By which means.
    pub fn means(&self) -> Means {
        match &self.inner {
            Inner::Bpf { .. } => Means::Bpf,
            Inner::Nft { .. } => Means::Nft,
            Inner::Lifetime(_) => Means::Lifetime,
        }
    }

    /// What former runs of this node held when they ended, to be released: their gates are shut.
    /// An epoch that was given back in good order may be among them; releasing it again harms nobody (V5).
    pub fn leftovers(&self) -> &[(DomainId, Epoch)] {
        &self.former.held
    }

    /// Whether the gates of former runs have been taken away. Until then they bar the addresses as well,
    /// so nothing should be held yet.
    pub fn is_alone(&self) -> bool {
        self.former.gone.is_gone()
    }

    /// [`Gate::is_alone`], for a thread that waits for it.
    pub fn former_gone(&self) -> FormerGone {
        self.former.gone.clone()
    }

    /// What an operator should know of this gate, one sentence each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Takes the gate off the interfaces, pins and all: for an orderly stop, once nothing is held and
    /// the addresses are gone. Otherwise it stays and bars the addresses from whoever sets them by hand.
    pub fn take_down(self) {
        if let Inner::Bpf { keeper, .. } | Inner::Nft { keeper, .. } = self.inner {
            keeper.take_down();
        }
    }
}
