//! Means 2: nf_tables rules on every interface, and sets of open names whose elements expire.
//!
//! What must stay true: the rules are in tables of the kernel that outlive the agent, and the elements expire
//! by themselves; a new run's tables take the place of a former one's in one transaction, shut; each write
//! proves that it is not late (see [`writer`]).
//!
//! Weaker than means 1 in two points. Lifetimes are counted on the kernel's tick, which stands still while a
//! machine is suspended: after a resume the gate is open for what was left. And it shuts some jiffies early,
//! by what the writer keeps in reserve, but never more than one late.

mod expression;
mod rules;
mod sets;
mod socket;
mod wire;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use keepone_proto::id::{DomainId, Epoch, Incarnation, hash_name};
use nix::fcntl::Flock;

use super::bpf::{OWNER_ENDS, prober};
use super::former::{Former, end_former};
use super::interfaces::{self, Interface};
use super::layout::Layout;
use super::probe::{DUMMY, Fate, Prober};
use super::program::Header;
use super::{GateConfig, GateError};
use crate::lock;
use expression::{Rule, Verdict};
use rules::{IN_ETHERNET, IN_OTHER, OUT_ETHERNET, OUT_OTHER, ROUTED};
use sets::{COPIES, HELD, KINDS, Kind, Name, WRITER};
use socket::Nft;
pub use socket::NftError;
use wire::{APPEND, Batch, INET, NETDEV, NEW, message};
#[cfg(test)]
pub(super) use writer::pause::between as pause_between;
pub(super) use writer::{Writer, jiffy};

/// First of all at the ingress, last at the egress and after routing: nobody changes a frame behind the gate.
const FIRST: i32 = i32::MIN;
const LAST: i32 = i32::MAX;
/// NF_NETDEV_INGRESS, NF_NETDEV_EGRESS, NF_INET_POST_ROUTING.
const INGRESS: u32 = 0;
const EGRESS: u32 = 1;
const POST_ROUTING: u32 = 4;
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
}

/// Of all keepones of one network namespace, each has a directory of pins, and so a table, of its own.
fn table_name(bpf_dir: &Path) -> String {
    format!("keepone_{:016x}", hash_name(&bpf_dir.to_string_lossy()))
}

fn exists(nft: &mut Nft, family: u8, table: &str) -> Result<bool, NftError> {
    let object = nft.get("asking for a table", message::GET_TABLE, family, |a| {
        a.text(1, table);
    })?;
    Ok(object.is_some())
}

fn delete_table(batch: &mut Batch, family: u8, table: &str) {
    batch.add("removing a table", message::DELETE_TABLE, 0, family, |a| {
        a.text(1, table);
    });
}

fn list_set(nft: &mut Nft, table: &str, set: &'static str) -> Result<Vec<sets::Found>, NftError> {
    let objects = nft.list(set, message::GET_ELEMENTS, NETDEV, |a| {
        a.text(1, table).text(2, set);
    })?;
    Ok(objects.iter().flat_map(|object| sets::found(object)).collect())
}

/// What a table says that its run held; nothing if it is not there, or not whole.
fn read_held(nft: &mut Nft, table: &str) -> Vec<(DomainId, Epoch)> {
    let found = list_set(nft, table, HELD).unwrap_or_default();
    found.into_iter().filter_map(|element| element.held).collect()
}

/// Shuts and seals the table of a directory; how many names were open.
///
/// # Errors
/// The kernel's answer, but for a kernel or a namespace without such a table.
pub(super) fn shut_and_seal(bpf_dir: &Path) -> Result<usize, NftError> {
    let table = table_name(bpf_dir);
    let Some(mut nft) = open_if_there(&table)? else { return Ok(0) };
    let mut open = 0;
    let mut batch = Batch::new();
    sets::empty(&mut batch, &table, WRITER);
    for kind in KINDS {
        let [a, b] = COPIES.map(|copy| list_set(&mut nft, &table, kind.open(copy)).unwrap_or_default());
        open += a.iter().filter(|one| b.iter().any(|other| other.key == one.key)).count();
        COPIES.iter().for_each(|copy| sets::empty(&mut batch, &table, kind.open(*copy)));
    }
    nft.transact(&batch)?;
    Ok(open)
}

/// Shuts the table of a former run and takes it away; what that run had held.
pub(super) fn end(bpf_dir: &Path) -> Result<Vec<(DomainId, Epoch)>, NftError> {
    let table = table_name(bpf_dir);
    let Some(mut nft) = open_if_there(&table)? else { return Ok(Vec::new()) };
    let held = read_held(&mut nft, &table);
    remove(&mut nft, &table)?;
    Ok(held)
}

/// `None`: no nf_tables, or no such table.
fn open_if_there(table: &str) -> Result<Option<Nft>, NftError> {
    let Ok(mut nft) = Nft::open() else { return Ok(None) };
    match exists(&mut nft, NETDEV, table) {
        Ok(true) => Ok(Some(nft)),
        Ok(false) => Ok(None),
        // Who may not even ask has made none; and a kernel without nf_tables has none.
        Err(error) if error.errno().is_some() => Ok(None),
        Err(error) => Err(error),
    }
}

fn remove(nft: &mut Nft, table: &str) -> Result<(), NftError> {
    let mut batch = Batch::new();
    for family in [NETDEV, INET] {
        if exists(nft, family, table)? {
            delete_table(&mut batch, family, table);
        }
    }
    nft.transact(&batch)
}

fn own(dir: &Path) -> Result<Flock<File>, GateError> {
    let failed = |source| GateError::Directory { dir: dir.into(), source };
    std::fs::create_dir_all(dir).map_err(failed)?;
    let file = File::create(dir.join("gate.lock")).map_err(failed)?;
    lock::take(file, OWNER_ENDS).map_err(|denied| super::denied(dir, denied))
}

impl NftGate {
    /// A new gate, shut, on every interface, in the place of a former run's.
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
        gate.build()?;
        let writer = Writer::new(&table, config.incarnation, &gate.layout)?;
        let former = end_former(&config.bpf_dir, None)?.with(held);
        Ok(Opened { gate, writer, former, warnings })
    }

    /// Makes the tables, in one transaction.
    fn build(&mut self) -> Result<(), GateError> {
        for attempt in 1.. {
            let present = interfaces::list()?;
            let present = present.into_iter().filter(|interface| !self.layout.exempt.contains(&interface.name));
            let gated: BTreeMap<u32, Gated> =
                present.map(|interface| (interface.index, Gated { ingress: !interface.port, interface })).collect();
            match self.build_on(&gated) {
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

    fn build_on(&mut self, gated: &BTreeMap<u32, Gated>) -> Result<(), NftError> {
        let table = self.table.clone();
        let mark = mark(self.incarnation);
        let mut batch = Batch::new();
        for family in [NETDEV, INET] {
            if exists(&mut self.nft, family, &table)? {
                delete_table(&mut batch, family, &table);
            }
            batch.add("making a table", message::NEW_TABLE, NEW, family, |a| {
                a.text(1, &table);
            });
        }
        sets::create(&mut batch, &table);
        sets::create_routed(&mut batch, &table);
        for name in sets::names(&self.layout).into_keys() {
            sets::add(&mut batch, NETDEV, &table, name.kind.names(), &[name.element()]);
            if matches!(name.kind, Kind::Vip4 | Kind::Vip6) {
                sets::add(&mut batch, INET, &table, name.kind.names(), &[name.element()]);
            }
        }
        let ruleset = rules::frames(mark);
        for (name, _) in &ruleset.0 {
            chain(&mut batch, NETDEV, &table, name, None);
        }
        for (name, list) in &ruleset.0 {
            list.iter().for_each(|one| rule(&mut batch, NETDEV, &table, name, one));
        }
        for one in gated.values() {
            one.attach(&mut batch, &table, EGRESS);
            if one.ingress {
                one.attach(&mut batch, &table, INGRESS);
            }
        }
        chain(&mut batch, INET, &table, ROUTED, Some((POST_ROUTING, LAST, None)));
        rules::after_routing(mark).iter().for_each(|one| rule(&mut batch, INET, &table, ROUTED, one));
        // Last: who may write.
        sets::add(&mut batch, NETDEV, &table, WRITER, &[sets::writer(self.incarnation)]);
        self.nft.transact(&batch)
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
        let mut batch = Batch::new();
        batch.add("taking a chain away", message::DELETE_CHAIN, 0, NETDEV, |a| {
            a.text(1, &self.table).text(3, &gated.chain(hook));
        });
        match self.nft.transact(&batch) {
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    fn rules_of(&mut self, family: u8) -> Result<Rules, NftError> {
        let table = self.table.clone();
        let objects = self.nft.list("reading the rules", message::GET_RULE, family, |a| {
            a.text(1, &table);
        })?;
        let mut rules = Rules::new();
        for object in &objects {
            let field = |kind| wire::find(object, kind).unwrap_or_default();
            if wire::text(field(1)) == table {
                let handle = wire::double(field(3)).unwrap_or_default();
                rules.entry(wire::text(field(2)).to_owned()).or_default().push(handle);
            }
        }
        Ok(rules)
    }

    fn rules(&mut self) -> Result<Known, NftError> {
        Ok(Known { frames: self.rules_of(NETDEV)?, routed: self.rules_of(INET)? })
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

    /// R14: what is wrong, if anything. Gates interfaces that came meanwhile; what others have broken is made
    /// anew, shut, and told all the same.
    pub(super) fn self_test(&mut self) -> Result<(), String> {
        let Err(fault) = self.examine() else { return Ok(()) };
        if let Fault::Sealed = fault {
            return Err(format!(
                "the guardian has sealed the table {}, or another run has taken it over: only a new worker opens it",
                self.table
            ));
        }
        let what = fault.to_string();
        match self.build() {
            Ok(()) => Err(format!("{what}; it was made anew, shut")),
            Err(error) => Err(format!("{what}; it can't be made anew: {error}")),
        }
    }

    fn examine(&mut self) -> Result<(), Fault> {
        let system = |error: NftError| Fault::Broken(format!("the table can't be read: {error}"));
        if !self.is_whole().map_err(system)? || !exists(&mut self.nft, INET, &self.table).map_err(system)? {
            return Err(Fault::Broken(format!("somebody has removed the table {} (nft flush ruleset?)", self.table)));
        }
        let own = sets::writer(self.incarnation);
        let table = self.table.clone();
        let token = self.nft.get("asking who may write", message::GET_ELEMENTS, NETDEV, |a| {
            sets::question(a, &table, WRITER, &own);
        });
        if token.map_err(system)?.is_none() {
            return Err(Fault::Sealed);
        }
        self.attach_new().map_err(|error| Fault::Broken(error.to_string()))?;
        self.examine_names()?;
        if self.rules().map_err(system)? != self.known {
            return Err(Fault::Broken(format!("somebody has changed the rules of the table {}", self.table)));
        }
        self.examine_chains()?;
        for gated in self.gated.values() {
            gated.test(&self.prober).map_err(Fault::Broken)?;
        }
        Ok(())
    }

    fn examine_names(&mut self) -> Result<(), Fault> {
        let mut found = BTreeSet::new();
        for kind in KINDS {
            let elements = list_set(&mut self.nft, &self.table, kind.names());
            let elements = elements.map_err(|error| Fault::Broken(format!("the names can't be read: {error}")))?;
            found.extend(elements.into_iter().map(|element| Name { kind, key: element.key }));
        }
        let wanted: BTreeSet<Name> = sets::names(&self.layout).into_keys().collect();
        match (wanted.difference(&found).next(), found.difference(&wanted).next()) {
            (Some(name), _) => Err(Fault::Broken(format!("somebody has taken {name} out of the gate's table"))),
            (None, Some(name)) => Err(Fault::Broken(format!("somebody has put {name} into the gate's table"))),
            (None, None) => Ok(()),
        }
    }

    /// Does each interface have its chains?
    fn examine_chains(&mut self) -> Result<(), Fault> {
        let table = self.table.clone();
        let list = self.nft.list("reading the chains", message::GET_CHAIN, NETDEV, |_| {});
        let list = list.map_err(|error| Fault::Broken(format!("the chains can't be read: {error}")))?;
        let mut hooks = BTreeSet::new();
        for object in &list {
            let field = |kind| wire::find(object, kind).unwrap_or_default();
            if wire::text(field(1)) == table {
                let hook = field(4);
                // One device, or a list of them.
                let devices = wire::find(hook, 4).map(wire::parse).unwrap_or_default();
                let devices = devices.into_iter().map(|(_, name)| name).chain(wire::find(hook, 3));
                hooks.extend(devices.map(|name| (wire::text(field(3)).to_owned(), wire::text(name).to_owned())));
            }
        }
        for gated in self.gated.values() {
            for hook in [Some(EGRESS), gated.ingress.then_some(INGRESS)].into_iter().flatten() {
                if !hooks.contains(&(gated.chain(hook), gated.interface.name.clone())) {
                    let direction = if hook == EGRESS { "outgoing" } else { "incoming" };
                    return Err(Fault::Broken(format!(
                        "the gate for {direction} frames of {} has been detached by somebody else",
                        gated.interface.name
                    )));
                }
            }
        }
        Ok(())
    }

    /// Takes the tables away. Best effort: what stays, stays shut.
    pub(super) fn take_down(&mut self) {
        let _ = remove(&mut self.nft, &self.table);
    }
}

/// What a self-test found.
#[derive(Debug, thiserror::Error)]
enum Fault {
    /// The writer's token is gone, and everything else stands.
    #[error("sealed")]
    Sealed,
    /// To be made anew.
    #[error("{0}")]
    Broken(String),
}

impl Gated {
    fn chain(&self, hook: u32) -> String {
        format!("{}_{}", if hook == EGRESS { "egress" } else { "ingress" }, self.interface.index)
    }

    fn attach(&self, batch: &mut Batch, table: &str, hook: u32) {
        let (priority, next) = match (hook, self.interface.header) {
            (EGRESS, Header::Ethernet) => (LAST, OUT_ETHERNET),
            (EGRESS, Header::Other) => (LAST, OUT_OTHER),
            (_, Header::Ethernet) => (FIRST, IN_ETHERNET),
            (_, Header::Other) => (FIRST, IN_OTHER),
        };
        let name = self.chain(hook);
        chain(batch, NETDEV, table, &name, Some((hook, priority, Some(&self.interface.name))));
        rule(batch, NETDEV, table, &name, &Rule::new().then(Verdict::Goto(next)));
    }

    fn test(&self, prober: &Prober) -> Result<(), String> {
        let name = &self.interface.name;
        match prober.probe(&self.interface) {
            Fate::Refused | Fate::Unusable => Ok(()),
            Fate::Escaped => Err(format!("a frame from {DUMMY} passed the shut gate of {name}")),
            Fate::Failed(error) => Err(format!("the probe frame could not be tried on {name}: {error}")),
        }
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
