//! The self-test of means 2 (R14): do the tables stand as they were made, and does the shut gate bar a probe frame?
//!
//! What must stay true: what others have broken is made anew shut, and is told all the same.

use std::collections::{BTreeMap, BTreeSet};

use super::sets::{self, KINDS, Name, REFUSED4, REFUSED6, WRITER};
use super::socket::NftError;
use super::table::{exists, list_set};
use super::wire::{self, INET, NETDEV, message};
use super::{EGRESS, Gated, Held, NftGate, Place};
use crate::gate::probe::{DUMMY, Fate, Prober};

impl NftGate {
    /// R14: what is wrong, if anything. Gates interfaces that came meanwhile; what others have broken is made
    /// anew, shut, and told all the same.
    pub(in crate::gate) fn self_test(&mut self) -> Result<(), String> {
        let Err(fault) = self.examine() else { return Ok(()) };
        if let Fault::Sealed = fault {
            return Err(format!(
                "the guardian has sealed the table {}, or another run has taken it over: only a new worker opens it",
                self.table
            ));
        }
        let what = fault.to_string();
        match self.build(&Held::new()) {
            Ok(()) => Err(format!("{what}; it was made anew, shut")),
            Err(error) => Err(format!("{what}; it can't be made anew: {error}")),
        }
    }

    pub(super) fn examine(&mut self) -> Result<(), Fault> {
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
        let mut refused = BTreeSet::new();
        for set in [REFUSED4, REFUSED6] {
            let elements = list_set(&mut self.nft, &self.table, set);
            let elements = elements.map_err(|error| Fault::Broken(format!("the names can't be read: {error}")))?;
            refused.extend(elements.into_iter().map(|element| (set, element.key)));
        }
        if refused != sets::refused(&self.layout) {
            return Err(Fault::Broken(String::from("somebody has changed for whom no packets are taken (no_accept)")));
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
        let hooks = self.hooks().map_err(|error| Fault::Broken(format!("the chains can't be read: {error}")))?;
        for (one, hook) in self.gated.values().flat_map(Gated::hooks) {
            if hooks.get(&one.chain(hook)) != Some(&one.place(hook)) {
                let direction = if hook == EGRESS { "outgoing" } else { "incoming" };
                return Err(Fault::Broken(format!(
                    "the gate for {direction} frames of {} has been detached by somebody else",
                    one.interface.name
                )));
            }
        }
        Ok(())
    }

    /// The chains of frames that are at a hook.
    pub(super) fn hooks(&mut self) -> Result<Hooks, NftError> {
        let objects = self.nft.list("reading the chains", message::GET_CHAIN, NETDEV, |_| {})?;
        let of_table = objects.iter().filter(|object| wire::find(object, 1).map(wire::text) == Some(&self.table));
        let hooks = of_table.filter_map(|object| {
            let hook = wire::find(object, 4)?;
            let number = |kind| Some(u32::from_be_bytes(*wire::find(hook, kind)?.first_chunk()?));
            // One device, or a list of them; none any more where that has gone.
            let device =
                wire::find(hook, 3).or_else(|| wire::parse(wire::find(hook, 4)?).first().map(|(_, name)| *name));
            let place = (number(1)?, number(2)?.cast_signed(), device.map(wire::text).unwrap_or_default().to_owned());
            Some((wire::text(wire::find(object, 3)?).to_owned(), place))
        });
        Ok(hooks.collect())
    }
}

/// Where each chain is that is at a hook.
type Hooks = BTreeMap<String, Place>;

/// What a self-test found.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The writer's token is gone, and everything else stands.
    #[error("sealed")]
    Sealed,
    /// To be made anew.
    #[error("{0}")]
    Broken(String),
}

impl Gated {
    fn test(&self, prober: &Prober) -> Result<(), String> {
        let name = &self.interface.name;
        match prober.probe(&self.interface) {
            Fate::Refused | Fate::Unusable => Ok(()),
            Fate::Escaped => Err(format!("a frame from {DUMMY} passed the shut gate of {name}")),
            Fate::Failed(error) => Err(format!("the probe frame could not be tried on {name}: {error}")),
        }
    }
}
