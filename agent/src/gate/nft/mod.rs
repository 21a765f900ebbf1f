//! Means 2: nf_tables rules on every interface, and sets of open names whose elements expire.
//!
//! What must stay true: the rules are in tables of the kernel that outlive the agent, and the elements expire
//! by themselves; a new run's tables take the place of a former one's in one transaction, shut; each write
//! proves that it is not late (see [`writer`]). A run that goes on with the life of a former one may keep its tables (see
//! [`adopt`]).
//!
//! Weaker than means 1 in two points. Lifetimes are counted on the kernel's tick, which stands still while a
//! machine is suspended: after a resume the gate is open for what was left. And it shuts some jiffies early,
//! by what the writer keeps in reserve, but never more than one late.

mod adopt;
mod examine;
mod expression;
mod rules;
mod sets;
mod socket;
mod table;
mod wire;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use keepone_proto::id::{DomainId, Epoch, Incarnation};
use nix::fcntl::Flock;

use super::bpf::{OWNER_ENDS, prober};
use super::former::{Former, end_former};
use super::interfaces::{self, Interface};
use super::layout::Layout;
use super::probe::Prober;
use super::program::Header;
use super::{GateConfig, GateDomain, GateError, LeftOpen};
use crate::lock;
use expression::{Rule, Verdict};
use rules::{IN_ETHERNET, IN_OTHER, IN_VLAN, OUT_ETHERNET, OUT_OTHER, ROUTED};
use sets::{HELD, KINDS, Kind, REFUSED4, REFUSED6, WRITER};
use socket::Nft;
pub use socket::NftError;
use table::{delete_table, exists, list_set, read_held, remove, table_name};
pub(super) use table::{end, shut_and_seal};
use wire::{APPEND, Batch, INET, NETDEV, NEW, message};
#[cfg(test)]
pub(super) use writer::pause::{between as pause_between, then as as_written};
pub(super) use writer::{Writer, jiffy};

/// First of all at the ingress, last at the egress and of what is forwarded: nobody changes a frame behind the gate.
const FIRST: i32 = i32::MIN;
const LAST: i32 = i32::MAX;
/// NF_NETDEV_INGRESS, NF_NETDEV_EGRESS, NF_INET_FORWARD.
const INGRESS: u32 = 0;
const EGRESS: u32 = 1;
const FORWARD: u32 = 2;
/// Interfaces that come and go while the tables are made: it is tried again so often.
const TRIES: u32 = 10;

/// An interface that has its chains.
#[derive(Debug, Clone)]
struct Gated {
    interface: Interface,
    ingress: bool,
}

/// The handles of the rules of each chain of one table, in their order.
type Rules = BTreeMap<String, Vec<u64>>;

/// At which hook a chain is, among others by which priority, and of which interface.
type Place = (u32, i32, String);

/// Under which epoch each domain's gate was opened the last time.
type Held = BTreeMap<DomainId, Epoch>;

/// What is known of a table after it was made or changed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Known {
    frames: Rules,
    routed: Rules,
}

/// The gate of one incarnation.
#[derive(Debug)]
pub(super) struct NftGate {
    nft: Nft,
    table: String,
    incarnation: Incarnation,
    layout: Layout,
    gated: BTreeMap<u32, Gated>,
    known: Known,
    prober: Prober,
    _lock: Flock<File>,
}

/// What a start found and did.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) gate: NftGate,
    pub(super) writer: Writer,
    pub(super) former: Former,
    pub(super) warnings: Vec<String>,
    pub(super) adopted: bool,
    /// What was left open, and is.
    pub(super) open: Vec<LeftOpen>,
}

/// Whether the kernel has nf_tables, and lets this process ask it.
///
/// # Errors
/// It does not answer, or refuses.
pub(crate) fn answers() -> Result<(), NftError> {
    Nft::open()?.list("list tables", message::GET_TABLE, wire::NETDEV, |_| {}).map(drop)
}

fn own(dir: &Path) -> Result<Flock<File>, GateError> {
    let failed = |source| GateError::Directory { dir: dir.into(), source };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let file = File::create(dir.join("gate.lock")).map_err(failed)?;
    lock::take(file, OWNER_ENDS).map_err(|denied| super::denied(dir, denied))
}

impl NftGate {
    /// A new gate, shut, on every interface, in the place of a former run's; or that one as it stands, where a process of
    /// this very life has left it open on purpose.
    pub(super) fn open_new(config: &GateConfig) -> Result<Opened, GateError> {
        let layout = Layout::new(config)?;
        let warnings = layout.warnings.clone();
        let lock = own(&config.run_dir)?;
        let table = table_name(&config.bpf_dir);
        let mut nft = Nft::open()?;
        let held = read_held(&mut nft, &table);
        let prober = prober()?;
        let mut gate = NftGate {
            nft,
            table: table.clone(),
            incarnation: config.incarnation,
            layout,
            gated: BTreeMap::new(),
            known: Known::default(),
            prober,
            _lock: lock,
        };
        let held = Held::from_iter(held);
        let (writer, open) = match gate.adopt(config, &held) {
            Ok(Some((writer, open))) => (writer, Some(open)),
            Ok(None) => (gate.begin(&held)?, None),
            Err(why) => {
                tracing::warn!(%why, "what was left open is shut");
                (gate.begin(&held)?, None)
            }
        };
        let former = end_former(&config.bpf_dir, None)?.with(held.into_iter().collect());
        let adopted = open.is_some();
        Ok(Opened { gate, writer, former, warnings, adopted, open: open.unwrap_or_default() })
    }

    /// New tables, shut, that know what the former ones did: a run that ends before it has released it has a successor, too.
    fn begin(&mut self, held: &Held) -> Result<Writer, GateError> {
        self.build(held)?;
        let recorded = held.iter().filter(|(domain, _)| self.layout.slots.contains_key(domain));
        let recorded = recorded.map(|(domain, epoch)| (*domain, *epoch)).collect();
        Ok(Writer::new(&self.table, self.incarnation, &self.layout, recorded)?)
    }

    /// Makes the tables, in one transaction.
    fn build(&mut self, held: &Held) -> Result<(), GateError> {
        for attempt in 1.. {
            let present = self.present()?.into_iter();
            let gated: BTreeMap<u32, Gated> =
                present.map(|interface| (interface.index, Gated { ingress: !interface.port, interface })).collect();
            match self.build_on(&gated, held) {
                Ok(()) => {
                    self.gated = gated;
                    break;
                }
                // An interface has gone since it was listed.
                Err(error) if error.errno() == Some(libc::ENOENT) && attempt < TRIES => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.learn()
    }

    /// Interfaces that have a gate.
    fn present(&self) -> Result<Vec<Interface>, GateError> {
        let all = interfaces::list()?.into_iter();
        Ok(all.filter(|interface| !self.layout.exempt.contains(&interface.name)).collect())
    }

    fn build_on(&mut self, gated: &BTreeMap<u32, Gated>, held: &Held) -> Result<(), NftError> {
        let table = self.table.clone();
        let mut batch = Batch::new();
        for family in [NETDEV, INET] {
            if exists(&mut self.nft, family, &table)? {
                delete_table(&mut batch, family, &table);
            }
        }
        put_tables(&mut batch, &table, 0, self.incarnation);
        let names = sets::names(&self.layout);
        for kind in KINDS {
            let of_kind = names.keys().filter(|name| name.kind == kind);
            let elements: Vec<sets::Element> = of_kind.map(sets::Name::element).collect();
            sets::add(&mut batch, NETDEV, &table, kind.names(), &elements);
            if matches!(kind, Kind::Vip4 | Kind::Vip6) {
                sets::add(&mut batch, INET, &table, kind.names(), &elements);
            }
        }
        let refused = sets::refused(&self.layout);
        put_refused(&mut batch, &table, &refused, sets::add);
        for (one, hook) in gated.values().flat_map(Gated::hooks) {
            one.attach(&mut batch, &table, hook);
        }
        chain(&mut batch, INET, &table, ROUTED, Some((FORWARD, LAST, None)));
        put_routed(&mut batch, &table, self.incarnation);
        for (domain, epoch) in held {
            let slot = self.layout.slots.get(domain).copied();
            let record = slot.map(|slot| sets::held(slot, *domain, *epoch));
            sets::add(&mut batch, NETDEV, &table, HELD, record.as_slice());
        }
        // Last: who may write.
        sets::add(&mut batch, NETDEV, &table, WRITER, &[sets::writer(self.incarnation)]);
        self.nft.transact(&batch)
    }

    /// Gates other domains, in one transaction: those that were there are not touched, new ones stand shut.
    pub(super) fn change(&mut self, domains: &[GateDomain]) -> Result<Layout, GateError> {
        let layout = self.layout.after(domains)?;
        let (from, to) = (sets::names(&self.layout), sets::names(&layout));
        let mut batch = Batch::new();
        for kind in KINDS {
            let of_kind = |all: &BTreeMap<sets::Name, u32>, others: &BTreeMap<sets::Name, u32>| {
                let new = all.keys().filter(|name| name.kind == kind && !others.contains_key(name));
                new.map(sets::Name::element).collect::<Vec<_>>()
            };
            let families: &[u8] = if matches!(kind, Kind::Vip4 | Kind::Vip6) { &[NETDEV, INET] } else { &[NETDEV] };
            for family in families {
                sets::add(&mut batch, *family, &self.table, kind.names(), &of_kind(&to, &from));
                sets::take_all_out(&mut batch, *family, &self.table, kind.names(), &of_kind(&from, &to));
            }
        }
        let (before, after) = (sets::refused(&self.layout), sets::refused(&layout));
        put_refused(&mut batch, &self.table, &(&after - &before), sets::add);
        put_refused(&mut batch, &self.table, &(&before - &after), sets::take_all_out);
        // A slot that is given to another domain shall not say what the former one held.
        let owner = |of: &Layout, slot| of.slots.iter().find(|(_, other)| **other == slot).map(|(domain, _)| *domain);
        for slot in list_set(&mut self.nft, &self.table, HELD)?.iter().filter_map(sets::Found::slot) {
            if owner(&layout, slot) != owner(&self.layout, slot) {
                sets::take_out(&mut batch, &self.table, HELD, &sets::Element::slot(slot));
            }
        }
        if !batch.is_empty() {
            self.nft.transact(&batch)?;
        }
        self.layout = layout;
        Ok(self.layout.clone())
    }

    /// Brings the chains in line with the interfaces there are; how many were newly gated.
    pub(super) fn attach_new(&mut self) -> Result<usize, GateError> {
        let present = interfaces::list()?;
        let indices: BTreeSet<u32> = present.iter().map(|interface| interface.index).collect();
        let mut changed = false;
        let gone: Vec<Gated> =
            self.gated.values().filter(|one| !indices.contains(&one.interface.index)).cloned().collect();
        for one in gone {
            // Kernels before 6.16 have taken the chains away with the interface.
            for hook in [INGRESS, EGRESS] {
                self.detach(&one, hook)?;
            }
            self.gated.remove(&one.interface.index);
            changed = true;
        }
        let mut attached = 0;
        for interface in present {
            if self.layout.exempt.contains(&interface.name) {
                continue;
            }
            let wanted = Gated { ingress: !interface.port, interface };
            if let Some(is_new) = self.reconcile(wanted)? {
                changed = true;
                attached += usize::from(is_new);
            }
        }
        if changed {
            self.learn()?;
        }
        Ok(attached)
    }

    /// `None`: nothing to do; otherwise whether it is newly gated, or gated at the ingress again.
    fn reconcile(&mut self, wanted: Gated) -> Result<Option<bool>, GateError> {
        let index = wanted.interface.index;
        let known = self.gated.get(&index).cloned();
        let renamed = known.as_ref().is_some_and(|known| known.interface.name != wanted.interface.name);
        let is = |hook| known.as_ref().is_some_and(|known| hook == EGRESS || known.ingress) && !renamed;
        let mut is_new = false;
        if renamed {
            // From 6.16 on a chain goes by its interface's name, and has come off.
            for hook in [INGRESS, EGRESS] {
                self.detach(&wanted, hook)?;
            }
        }
        for (hook, is_wanted) in [(EGRESS, true), (INGRESS, wanted.ingress)] {
            match (is(hook), is_wanted) {
                (false, true) => {
                    let mut batch = Batch::new();
                    wanted.attach(&mut batch, &self.table, hook);
                    match self.nft.transact(&batch) {
                        Ok(()) => is_new = true,
                        Err(error) if error.errno() == Some(libc::EEXIST) => {
                            // Left of an interface that had this index before.
                            self.detach(&wanted, hook)?;
                            self.nft.transact(&batch)?;
                            is_new = true;
                        }
                        // It has gone meanwhile.
                        Err(error) if error.errno() == Some(libc::ENOENT) && self.is_whole()? => return Ok(None),
                        Err(error) => return Err(error.into()),
                    }
                }
                (true, false) => self.detach(&wanted, hook)?,
                (true, true) | (false, false) => {}
            }
        }
        let changed = known.is_none_or(|known| known.ingress != wanted.ingress) || renamed;
        self.gated.insert(index, wanted);
        Ok(changed.then_some(is_new && !renamed))
    }

    fn is_whole(&mut self) -> Result<bool, NftError> {
        exists(&mut self.nft, NETDEV, &self.table)
    }

    fn detach(&mut self, gated: &Gated, hook: u32) -> Result<(), NftError> {
        self.remove_chain(&gated.chain(hook))
    }

    fn remove_chain(&mut self, name: &str) -> Result<(), NftError> {
        let mut batch = Batch::new();
        batch.add("taking a chain away", message::DELETE_CHAIN, 0, NETDEV, |a| {
            a.text(1, &self.table).text(3, name);
        });
        match self.nft.transact(&batch) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    fn rules(&mut self) -> Result<Known, NftError> {
        let mut of = |family| {
            let rules = table::list_rules(&mut self.nft, family, &self.table)?;
            Ok(rules.into_iter().map(|(chain, list)| (chain, list.iter().map(|rule| rule.handle).collect())).collect())
        };
        Ok(Known { frames: of(NETDEV)?, routed: of(INET)? })
    }

    /// Notes how the tables are after a change of ours, so that others' changes are seen.
    fn learn(&mut self) -> Result<(), GateError> {
        self.known = self.rules()?;
        let lacking = |what: &str| NftError {
            what: "reading back what was made".into(),
            source: std::io::Error::other(format!("{what} lacks rules: somebody else changes the table")),
        };
        for (name, list) in &rules::frames(mark(self.incarnation)).0 {
            if self.known.frames.get(name).map_or(0, Vec::len) != list.len() {
                return Err(lacking(name).into());
            }
        }
        if self.known.routed.get(ROUTED).map(Vec::len) != Some(2) {
            return Err(lacking(ROUTED).into());
        }
        Ok(())
    }

    /// Takes the tables away. Best effort: what stays, stays shut.
    pub(super) fn take_down(&mut self) {
        let _ = remove(&mut self.nft, &self.table);
    }
}

/// Addresses that nobody takes packets for, into their sets or out of them.
fn put_refused(
    batch: &mut Batch,
    table: &str,
    refused: &BTreeSet<(&'static str, Vec<u8>)>,
    put: fn(&mut Batch, u8, &str, &'static str, &[sets::Element]),
) {
    for set in [REFUSED4, REFUSED6] {
        let of_set = refused.iter().filter(|(its, _)| *its == set);
        put(batch, NETDEV, table, set, &of_set.map(|(_, key)| sets::Element::of(key)).collect::<Vec<_>>());
    }
}

/// Both tables with their flags, without what is at a hook and with empty sets.
fn put_tables(batch: &mut Batch, table: &str, flags: u32, incarnation: Incarnation) {
    for family in [NETDEV, INET] {
        batch.add("making a table", message::NEW_TABLE, NEW, family, |a| {
            a.text(1, table).word(2, flags);
        });
    }
    sets::create(batch, table);
    sets::create_routed(batch, table);
    let ruleset = rules::frames(mark(incarnation));
    for (name, _) in &ruleset.0 {
        chain(batch, NETDEV, table, name, None);
    }
    for (name, list) in &ruleset.0 {
        list.iter().for_each(|one| rule(batch, NETDEV, table, name, one));
    }
}

/// The rules of the chain that sees what is forwarded.
fn put_routed(batch: &mut Batch, table: &str, incarnation: Incarnation) {
    rules::forwarded(mark(incarnation)).iter().for_each(|one| rule(batch, INET, table, ROUTED, one));
}

impl Gated {
    fn chain(&self, hook: u32) -> String {
        format!("{}_{}", if hook == EGRESS { "egress" } else { "ingress" }, self.interface.index)
    }

    /// Where it has a chain.
    fn hooks(&self) -> impl Iterator<Item = (&Self, u32)> {
        [Some(EGRESS), self.ingress.then_some(INGRESS)].into_iter().flatten().map(move |hook| (self, hook))
    }

    /// The place of its chain at a hook among others', and where that goes on.
    fn way(&self, hook: u32) -> (i32, &'static str) {
        match (hook, self.interface.header) {
            (EGRESS, Header::Ethernet) => (LAST, OUT_ETHERNET),
            (EGRESS, Header::Other) => (LAST, OUT_OTHER),
            (_, Header::Ethernet) if self.interface.vlan => (FIRST, IN_VLAN),
            (_, Header::Ethernet) => (FIRST, IN_ETHERNET),
            (_, Header::Other) => (FIRST, IN_OTHER),
        }
    }

    fn place(&self, hook: u32) -> Place {
        (hook, self.way(hook).0, self.interface.name.clone())
    }

    fn attach(&self, batch: &mut Batch, table: &str, hook: u32) {
        let (hook, priority, device) = self.place(hook);
        chain(batch, NETDEV, table, &self.chain(hook), Some((hook, priority, Some(&device))));
        self.put_rule(batch, table, hook);
    }

    fn put_rule(&self, batch: &mut Batch, table: &str, hook: u32) {
        rule(batch, NETDEV, table, &self.chain(hook), &Rule::new().then(Verdict::Goto(self.way(hook).1)));
    }
}

/// A chain, by itself or at a hook: number, priority and interface.
fn chain(batch: &mut Batch, family: u8, table: &str, name: &str, hook: Option<(u32, i32, Option<&str>)>) {
    batch.add(format!("making the chain {name}"), message::NEW_CHAIN, NEW, family, |a| {
        a.text(1, table).text(3, name);
        if let Some((hook, priority, device)) = hook {
            a.nested(4, |a| {
                a.word(1, hook).word(2, priority.cast_unsigned());
                if let Some(device) = device {
                    a.text(3, device);
                }
            });
            // NF_ACCEPT.
            a.word(5, 1).text(7, "filter");
        }
    });
}

fn rule(batch: &mut Batch, family: u8, table: &str, chain: &str, rule: &Rule) {
    batch.add(format!("adding a rule to {chain}"), message::NEW_RULE, APPEND, family, |a| {
        a.text(1, table).text(2, chain).nested_bytes(4, rule.bytes());
    });
}

/// Of frames that are routed: one that no other program is likely to set, and that nothing sees but the rules
/// here, since it is taken off before any queue discipline.
fn mark(incarnation: Incarnation) -> u32 {
    let [a, b, c, d, ..] = incarnation.0.to_be_bytes();
    u32::from_be_bytes([a, b, c, d]) | 1
}
