//! Interfaces of virtual routers' own, and settings of the kernel, as long as the agent runs.

use std::collections::BTreeMap;
use std::path::Path;

use crate::netlink::link::{Links, OwnLink};
use crate::sysctl::{Setting, Sysctls};

/// All of them.
#[derive(Debug)]
pub(super) struct OwnInterfaces {
    wanted: Vec<OwnLink>,
    /// What a new configuration has no more, and is still there.
    former: Vec<OwnLink>,
    links: Links,
    settings: Vec<Setting>,
    sysctls: Sysctls,
    /// By what was told last.
    fault: String,
    /// The indexes of the interfaces whose settings were made.
    seen: BTreeMap<String, u32>,
}

impl OwnInterfaces {
    pub(super) fn open(wanted: Vec<OwnLink>, settings: Vec<Setting>, run_dir: &Path) -> std::io::Result<Self> {
        Ok(OwnInterfaces {
            wanted,
            former: Vec::new(),
            links: Links::open()?,
            settings,
            sysctls: Sysctls::new(run_dir),
            fault: String::new(),
            seen: BTreeMap::new(),
        })
    }

    /// The settings, then the links go up. They were made before the gate, which bars them.
    pub(super) fn begin(&mut self) {
        self.seen = self.indexes();
        let mut faults = self.sysctls.apply(&self.settings);
        faults.extend(self.raise());
        self.tell(&faults);
    }

    /// From now on these. Those that are no more stay until [`OwnInterfaces::tidy`].
    pub(super) fn replace(&mut self, wanted: Vec<OwnLink>, settings: Vec<Setting>) {
        if (&self.wanted, &self.settings) == (&wanted, &settings) {
            return;
        }
        let before = std::mem::replace(&mut self.wanted, wanted);
        self.former.extend(before);
        self.former.retain(|link| !self.wanted.contains(link));
        self.settings = settings;
        self.begin();
    }

    /// Deletes what is no more wanted, with whatever is on it.
    pub(super) fn tidy(&mut self) {
        if !self.former.is_empty() {
            let faults = self.links.remove(&std::mem::take(&mut self.former));
            faults.iter().for_each(|words| tracing::error!("of the former configuration: {words}"));
        }
    }

    /// Makes anew what somebody has taken away, or what went with the interface below. Whether anything was.
    pub(super) fn look(&mut self) -> bool {
        if self.wanted.is_empty() && self.settings.is_empty() {
            return false;
        }
        let mut faults = Vec::new();
        let mut made = 0;
        for link in Links::missing(&self.wanted) {
            match self.links.make(std::slice::from_ref(link)) {
                Ok(new) => made += new.len(),
                Err(words) => faults.push(words),
            }
        }
        if made > 0 {
            tracing::warn!(
                "somebody took an interface of keepone's away, or that below it was made anew: it is made anew"
            );
        }
        let now = self.indexes();
        if now != self.seen {
            faults.extend(self.sysctls.apply(&self.settings));
            self.seen = now;
        }
        // Each time: whoever sets one down keeps clients waiting.
        faults.extend(self.raise());
        self.tell(&faults);
        made > 0
    }

    fn raise(&self) -> Vec<String> {
        let missing: Vec<&OwnLink> = Links::missing(&self.wanted).collect();
        let there = self.wanted.iter().filter(|link| !missing.contains(link));
        there.filter_map(|link| self.links.raise(&link.name).err()).collect()
    }

    /// Of the interfaces that settings are for.
    fn indexes(&self) -> BTreeMap<String, u32> {
        let names = self.settings.iter().filter_map(|setting| setting.name.split('/').nth(3));
        names.filter_map(|name| Some((name.to_owned(), nix::net::if_::if_nametoindex(name).ok()?))).collect()
    }

    fn tell(&mut self, faults: &[String]) {
        let words = faults.join("; ");
        if words != self.fault {
            if words.is_empty() {
                tracing::info!("interfaces and settings of virtual routers are as they should be");
            } else {
                tracing::error!("{words}");
            }
            self.fault = words;
        }
    }
}
