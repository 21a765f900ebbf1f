//! The web page and the HTTP listener: nothing is told beyond this host in the clear, or to everybody.

use super::{Check, value};
use crate::model::Web;

impl Check<'_> {
    pub(super) fn web(&mut self) -> Option<Web> {
        let web = self.raw.web.as_ref()?;
        if web.cert_file.is_some() != web.cert_key_file.is_some() {
            let message = "one of `cert_file` and `cert_key_file` without the other";
            self.report.error(&web.place, message, "write both, or neither");
        }
        let Some(listen) = &web.listen else {
            if !web.written.has("listen") {
                let help = "add `listen 127.0.0.1:8443`; beyond this host with cert_file, cert_key_file and token_file";
                self.report.error(&web.place, "`web` without `listen`", help);
            }
            return None;
        };
        if !listen.value.ip().to_canonical().is_loopback() {
            let open = format!("{} can be reached from other machines", listen.value);
            if !web.written.has("cert_file") && !web.written.has("cert_key_file") {
                let help = "add `cert_file` and `cert_key_file`, or listen on 127.0.0.1";
                self.report.error(&listen.place, format!("{open}, and there is no TLS"), help);
            }
            if !web.written.has("token_file") {
                let help = "add `token_file`, or listen on 127.0.0.1";
                self.report.error(&listen.place, format!("{open}, and anybody there could read"), help);
            }
        }
        Some(Web {
            listen: listen.value,
            tls: value(&web.cert_file).zip(value(&web.cert_key_file)),
            token_file: value(&web.token_file),
        })
    }
}
