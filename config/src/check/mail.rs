//! Who is told by mail and by webhook: what would never arrive, or would give a password away.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Check, Duplicate, or, value};
use crate::model::{EventKind, Mail, MailTls, Webhook};

impl Check<'_> {
    /// What is said of mail in more than one keyword.
    pub(super) fn mail(&mut self, mail: &mut Mail) {
        let raw = &self.raw.global.mail_security;
        mail.tls = raw.tls.as_ref().map_or(MailTls::Off, |tls| tls.value);
        mail.ca_file = value(&raw.ca_file);
        match (&raw.user, &raw.password_file) {
            (Some(user), Some(file)) => {
                mail.user = Some((user.value.clone(), file.value.clone()));
                if mail.tls == MailTls::Off {
                    let help = "add `smtp_tls starttls`, or implicit for a relay on port 465";
                    self.report.error(
                        &user.place,
                        "`smtp_user` without `smtp_tls`: its password goes in the clear",
                        help,
                    );
                }
            }
            (Some(user), None) => {
                self.report.error(
                    &user.place,
                    "`smtp_user` without `smtp_password_file`",
                    "add the file, or remove it",
                );
            }
            (None, Some(file)) => {
                self.report.error(
                    &file.place,
                    "`smtp_password_file` without `smtp_user`",
                    "name the user, or remove it",
                );
            }
            (None, None) => {}
        }
        if let (Some(ca_file), MailTls::Off) = (&raw.ca_file, mail.tls) {
            let help = "add `smtp_tls starttls` or `smtp_tls implicit`, or remove it";
            self.report.error(&ca_file.place, "`smtp_ca_file` without `smtp_tls`", help);
        }
    }

    pub(super) fn webhooks(&mut self) -> Vec<Webhook> {
        let raw = self.raw;
        let mut names = BTreeMap::new();
        let mut webhooks = Vec::new();
        for webhook in &raw.webhooks {
            let name = webhook.name.value.as_str();
            let what = format!("two webhooks are named `{name}`");
            let new = Duplicate { place: &webhook.name.place, what, help: "give each a name of its own" };
            if self.duplicate(&mut names, name, new) {
                continue;
            }
            let Some(url) = &webhook.url else {
                if !webhook.written.has("url") {
                    let help = "add `url https://HOST/PATH`";
                    self.report.error(&webhook.name.place, format!("webhook `{name}` without a url"), help);
                }
                continue;
            };
            if let Some(ca_file) = webhook.ca_file.as_ref().filter(|_| url.value.starts_with("http://")) {
                let help = "write https:// in the url, or remove it";
                self.report.error(&ca_file.place, "`ca_file` for a url that is not https", help);
            }
            let all = [EventKind::Transition, EventKind::Alert, EventKind::Server];
            webhooks.push(Webhook {
                name: name.to_owned(),
                url: url.value.clone(),
                secret_file: webhook.secret_file.clone(),
                timeout: or(&webhook.timeout, Duration::from_secs(5)),
                ca_file: value(&webhook.ca_file),
                events: if webhook.events.is_empty() { all.to_vec() } else { webhook.events.clone() },
            });
        }
        webhooks
    }
}
