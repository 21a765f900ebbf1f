//! Reference addresses.

use std::collections::BTreeMap;
use std::time::Duration;

use keepone_proto::lease::timing::Millis;
use keepone_proto::settings::{Families, ReferenceSettings};

use crate::diagnostic::Severity;
use crate::raw::RawReferences;

use super::{Check, Duplicate, or};

impl Check<'_> {
    pub(super) fn references(&mut self) -> ReferenceSettings {
        let mut settings = ReferenceSettings {
            targets: Vec::new(),
            need: 1,
            interval: Duration::from_millis(500),
            timeout: Duration::from_millis(400),
            rise: 2,
            fall: 3,
        };
        let raw = self.raw;
        let Some(references) = &raw.references else { return settings };
        settings.need = or(&references.need, settings.need);
        settings.interval = or(&references.interval, settings.interval);
        settings.timeout = or(&references.timeout, settings.timeout.min(settings.interval));
        settings.rise = or(&references.rise, settings.rise);
        settings.fall = or(&references.fall, settings.fall);
        let mut seen = BTreeMap::new();
        for target in &references.targets {
            let what = format!("reference address {} twice", target.value);
            let new = Duplicate { place: &target.place, what, help: "each address counts once: remove one" };
            self.duplicate(&mut seen, target.value, new);
            let ours = raw.instances.iter().flat_map(|i| i.addresses.iter().chain(&i.excluded));
            if ours.map(|vip| vip.value.address).any(|vip| vip == target.value) {
                let message = format!("reference address {} is a virtual address of this file", target.value);
                let help = "name an address outside the cluster, such as the gateway: the holder would only ask itself";
                self.report.error(&target.place, message, help);
            }
            settings.targets.push(target.value);
        }
        let count = settings.targets.len();
        if count == 0 && !references.written.has("targets") {
            let message = "`reference_ip` without an address";
            self.report.error(&references.place, message, "add the gateway's address, or remove the block");
        }
        let of_v6 = settings.targets.iter().filter(|target| target.is_ipv6()).count();
        let most = of_v6.max(count - of_v6);
        if usize::from(settings.need) > most && most > 0 {
            let message = format!(
                "need {} of {most} reference addresses of a family: they could never be reachable",
                settings.need
            );
            let place = references.need.as_ref().map_or(&references.place, |need| &need.place);
            self.report.error(place, message, format!("write `need` from 1 to {most}, or add addresses"));
        }
        self.unjudged(references, &settings);
        if settings.timeout > settings.interval {
            let message = format!(
                "timeout {} is longer than the interval {}",
                Millis(settings.timeout),
                Millis(settings.interval)
            );
            let place = references.timeout.as_ref().map_or(&references.place, |timeout| &timeout.place);
            self.report.error(place, message, "write a timeout of at most the interval");
        }
        settings
    }

    /// References of one family say nothing of virtual addresses of the other.
    fn unjudged(&mut self, references: &RawReferences, settings: &ReferenceSettings) {
        let vips = self.raw.instances.iter().flat_map(|i| i.addresses.iter().chain(&i.excluded));
        let vips = Families::of(vips.map(|vip| vip.value.address));
        let targets = Families::of(settings.targets.iter().copied());
        for (ipv6, family) in [(false, "IPv4"), (true, "IPv6")] {
            if vips.has(ipv6) && !targets.has(ipv6) && !settings.targets.is_empty() {
                let message = format!("no reference address is {family}, and virtual addresses are");
                let help = format!("add one: each family is judged by its own, so nothing judges {family} now");
                self.report.push(Severity::Note, &references.place, message, help);
            }
        }
    }
}
