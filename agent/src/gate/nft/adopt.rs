//! Going on with the tables that a process of this very life has left (docs/decisions/0210).
//!
//! A table is adopted if it is, in every point, what this program would make: its rules are compared with those of a second
//! table that is made for it, at no hook and for a moment, since the kernel tells a rule otherwise than it was told it.
//! An earlier version's with other rules is not adopted, then, nor one that somebody has changed.
//!
//! What must stay true: what is open is what was left so, by that epoch and until then at most, everything else is shut;
//! what does not fit in every point is replaced by tables that are shut.

use std::collections::BTreeMap;

use keepone_proto::id::DomainId;

use super::examine::Fault;
use super::socket::{Nft, NftError};
use super::table::{delete_table, list_rules, list_set};
use super::wire::{Batch, INET, NETDEV};
use super::{EGRESS, Gated, HELD, Held, INGRESS, NftGate, ROUTED, Writer, chain, put_routed, put_tables};
use crate::gate::layout::Layout;
use crate::gate::{GateConfig, GateError, LeftOpen};

/// NFT_TABLE_F_OWNER: it goes with the socket that made it.
const OWNED: u32 = 2;

/// Why they can't be taken over.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unfit {
    /// From the kernel.
    #[error(transparent)]
    Nft(#[from] NftError),
    /// In the course of attaching what is missing, or shutting.
    #[error(transparent)]
    Gate(#[from] GateError),
    /// Other rules, or a chain at another hook.
    #[error("the table {0} was made by another version, or somebody has changed it")]
    Rules(String),
    /// The record of what was held names other domains.
    #[error("the table {0} was made for another configuration")]
    Domains(String),
    /// R14.
    #[error("the table {table} fails its self-test: {fault}")]
    SelfTest {
        /// Which.
        table: String,
        /// What is wrong.
        fault: Fault,
    },
}

/// Of each chain, family before name, the expressions of its rules.
type Words = BTreeMap<(u8, String), Vec<Vec<u8>>>;

impl NftGate {
    /// The tables as they stand, with who writes them and what is open in them; `None`: nothing was left open.
    pub(super) fn adopt(&mut self, config: &GateConfig, held: &Held) -> Result<Option<(Writer, Vec<LeftOpen>)>, Unfit> {
        if config.left_open.is_empty() {
            return Ok(None);
        }
        self.layout = self.layout_as_recorded(config)?;
        self.gated = self.gated_as_left()?;
        if words(&mut self.nft, &self.table)? != self.words_as_made()? {
            return Err(Unfit::Rules(self.table.clone()));
        }
        self.known = self.rules()?;
        self.examine().map_err(|fault| Unfit::SelfTest { table: self.table.clone(), fault })?;
        let mut writer = Writer::new(&self.table, self.incarnation, &self.layout, held.clone())?;
        let open = writer.go_on(&config.left_open)?;
        Ok(Some((writer, open)))
    }

    /// The wanted layout with the slots of the table's record: a run that took other configurations over has given them in
    /// another order than a start does.
    fn layout_as_recorded(&mut self, config: &GateConfig) -> Result<Layout, Unfit> {
        let found = list_set(&mut self.nft, &self.table, HELD)?;
        let slots = found.iter().map(|found| Some((found.held?.0, found.slot()?)));
        let slots = slots.collect::<Option<BTreeMap<DomainId, u32>>>().filter(|slots| {
            slots.len() == found.len() && slots.keys().all(|domain| self.layout.slots.contains_key(domain))
        });
        let slots = slots.ok_or_else(|| Unfit::Domains(self.table.clone()))?;
        Ok(Layout { slots, ..self.layout.clone() }.after(&config.domains)?)
    }

    /// The interfaces that have their chains, each at its place; those of interfaces that have gone are taken away.
    fn gated_as_left(&mut self) -> Result<BTreeMap<u32, Gated>, Unfit> {
        let mut hooks = self.hooks()?;
        let mut gated = BTreeMap::new();
        for interface in self.present()? {
            let mut one = Gated { ingress: false, interface };
            let mut take = |one: &Gated, hook| {
                let name = one.chain(hook);
                hooks.remove(&name).map(|place| place == one.place(hook))
            };
            let (egress, ingress) = (take(&one, EGRESS), take(&one, INGRESS));
            one.ingress = ingress.is_some();
            match (egress, ingress) {
                (Some(true), Some(true) | None) => drop(gated.insert(one.interface.index, one)),
                // It has come since, and is gated by what follows.
                (None, None) => {}
                (Some(_), _) | (None, Some(_)) => return Err(Unfit::Rules(self.table.clone())),
            }
        }
        // Kernels before 6.16 have taken them away with the interface.
        for name in hooks.into_keys() {
            self.remove_chain(&name)?;
        }
        Ok(gated)
    }

    /// What the kernel says of the rules that this program would make.
    fn words_as_made(&self) -> Result<Words, NftError> {
        let table = format!("{}_like", self.table);
        // Of its own, so that the table goes with it in any case.
        let mut nft = Nft::open()?;
        let mut batch = Batch::new();
        put_tables(&mut batch, &table, OWNED, self.incarnation);
        for (one, hook) in self.gated.values().flat_map(Gated::hooks) {
            chain(&mut batch, NETDEV, &table, &one.chain(hook), None);
            one.put_rule(&mut batch, &table, hook);
        }
        chain(&mut batch, INET, &table, ROUTED, None);
        put_routed(&mut batch, &table, self.incarnation);
        nft.transact(&batch)?;
        let told = words(&mut nft, &table);
        let mut batch = Batch::new();
        [NETDEV, INET].into_iter().for_each(|family| delete_table(&mut batch, family, &table));
        nft.transact(&batch)?;
        told
    }
}

fn words(nft: &mut Nft, table: &str) -> Result<Words, NftError> {
    let mut all = Words::new();
    for family in [NETDEV, INET] {
        for (chain, list) in list_rules(nft, family, table)? {
            all.insert((family, chain), list.into_iter().map(|told| told.words).collect());
        }
    }
    Ok(all)
}
