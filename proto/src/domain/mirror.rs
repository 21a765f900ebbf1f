//! D9 for one domain: when the mirror is looked into, and what follows from what is seen.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::Domain;
use crate::action::{Action, AlertName};
use crate::alerts::Alerts;
use crate::facts::Facts;
use crate::settings::MirrorSettings;

impl Domain {
    /// D9: while it is held, the gateway is asked who has its addresses.
    pub(super) fn look_into_mirrors(&mut self, facts: &Facts<'_>, out: &mut Vec<Action>) {
        if self.master_since.is_none() || self.leaving.is_some() || !self.kernel.is_open(facts.now) {
            return self.mirrors.rest();
        }
        let due = self.mirrors.due(facts.now).into_iter();
        out.extend(due.map(|place| Action::Mirror { domain: self.id, place }));
    }

    /// A mirror test has ended. What is lost is announced anew, and whoever else has it is made to say so (D7).
    pub(crate) fn on_mirrored(
        &mut self,
        facts: &Facts<'_>,
        place: u8,
        own: bool,
        virtual_one: bool,
        out: &mut Vec<Action>,
    ) {
        let repair = self.mirrors.on_tested(place, own, virtual_one);
        if let Some(mirror) = self.mirrors.get(place).filter(|_| repair && self.kernel.is_open(facts.now)) {
            self.announce_in_place(out);
            out.push(Action::ProbeAddress { domain: self.id, address: mirror.address });
        }
    }

    /// What is lost stays told until it is found again.
    pub(super) fn raise_mirrors(&self, alerts: &mut Alerts) {
        let words = || self.mirrors.lost().map(|mirror| mirror_words(&mirror)).collect::<Vec<_>>().join("; ");
        let (lost, end) = (self.mirrors.lost().next().is_some(), "the answers to the virtual address come here again");
        alerts.set_with_end(AlertName::MirrorLost, Some(self.id), lost, words, end);
    }
}

fn mirror_words(mirror: &MirrorSettings) -> String {
    let MirrorSettings { address, gateway } = mirror;
    format!(
        "{gateway} answers our own address and not {address}, three times running: its answers go to another host, which \
         has it too or is where an old ARP or neighbour entry points; it is announced anew each second"
    )
}
