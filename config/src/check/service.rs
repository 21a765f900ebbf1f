//! Settings of the whole agent that name something else.

use crate::model::{Fifo, Global, IpvsSync};

use super::Check;

impl Check<'_> {
    /// Fills in what `global_defs` says in two keywords, or by a name.
    pub(super) fn services(&mut self, global: &mut Global) {
        let raw = &self.raw.global;
        let timeouts = [(&raw.startup_timeout, "startup_script"), (&raw.shutdown_timeout, "shutdown_script")];
        let scripts = [&mut global.scripts.startup, &mut global.scripts.shutdown];
        for ((timeout, keyword), script) in timeouts.into_iter().zip(scripts) {
            match (timeout, script) {
                (Some(timeout), Some(script)) => script.timeout = timeout.value,
                (Some(timeout), None) => {
                    let message = format!("{keyword}_timeout without {keyword}");
                    self.report.warning(&timeout.place, message, format!("add `{keyword}`, or remove it"));
                }
                (None, _) => {}
            }
        }
        let fifos = [&mut global.fifos.all, &mut global.fifos.vrrp, &mut global.fifos.ipvs];
        for (reader, fifo) in raw.readers.iter().zip(fifos) {
            match (reader, fifo) {
                (Some((_, script)), Some(Fifo { reader, .. })) => *reader = Some(script.clone()),
                (Some((place, _)), None) => {
                    self.report.warning(place, "a reader without its FIFO", "name the FIFO too, or remove the reader");
                }
                (None, _) => {}
            }
        }
        global.ipvs.sync = self.ipvs_sync();
        let mail = &global.mail;
        if mail.server.is_some() && mail.recipients.is_empty() {
            let place = self.raw.virtual_servers.first().map(|server| &server.place);
            let place = self.raw.instances.first().map(|instance| &instance.name.place).or(place);
            if let Some(place) = place {
                let help = "add `notification_email { ADDRESS }` to global_defs";
                self.report.warning(place, "smtp_server without notification_email: nobody gets mail", help);
            }
        }
    }

    fn ipvs_sync(&mut self) -> Option<IpvsSync> {
        let raw = self.raw.global.sync.as_ref()?;
        let instance = raw.instance.as_ref().and_then(|name| self.instance_named(name));
        Some(IpvsSync { instance, ..raw.sync.clone() })
    }
}
