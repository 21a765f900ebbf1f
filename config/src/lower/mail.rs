//! Who is told by mail and by webhook.

use std::time::Duration;

use super::{Lower, Wanted, value};
use crate::keyword::WEBHOOK;
use crate::model::{EventKind, MailTls};
use crate::raw::{RawConfig, RawGlobal, RawWebhook};
use crate::tree::Item;

const SECOND: Duration = Duration::from_secs(1);

impl Lower<'_> {
    /// A keyword of `global_defs` that is about mail; whether it is one.
    pub(super) fn mail(&mut self, global: &mut RawGlobal, item: &Item) -> bool {
        match item.keyword.text.as_str() {
            "smtp_alert" => global.smtp_alert = self.flag(item).map(|flag| flag.value),
            "smtp_alert_vrrp" => global.smtp_alert_vrrp = self.flag(item).map(|flag| flag.value),
            "smtp_alert_checker" => global.smtp_alert_checker = self.flag(item).map(|flag| flag.value),
            "notification_email" => {
                let words: Vec<_> = self.lines(item).into_iter().flatten().collect();
                let read = words.iter().filter_map(|word| self.word("notification_email", word, mail_address));
                global.mail.recipients.extend(read.map(|at| at.value).collect::<Vec<_>>());
            }
            "notification_email_from" => global.mail.from = self.plain(item, value::name),
            "smtp_server" => global.mail.server = self.mail_server(item),
            "smtp_connect_timeout" => {
                let read = self.plain(item, value::duration(Duration::ZERO..=SECOND * 4294));
                global.mail.timeout = read.map_or(SECOND * 30, |timeout| timeout.max(SECOND));
            }
            "smtp_helo_name" => global.mail.helo_name = self.plain(item, value::name),
            "no_email_faults" => global.mail.no_faults = self.is_on(item),
            "no_checker_emails" => global.mail.no_checkers = self.is_on(item),
            "smtp_tls" => {
                let words = &[("off", MailTls::Off), ("starttls", MailTls::StartTls), ("implicit", MailTls::Implicit)];
                let help = "write starttls for a relay on port 25 or 587, implicit for one on port 465";
                global.mail_security.tls = self.value(item, value::one_of(words, help));
            }
            "smtp_ca_file" => global.mail_security.ca_file = self.path(item),
            "smtp_user" => global.mail_security.user = self.value(item, value::name),
            "smtp_password_file" => global.mail_security.password_file = self.path(item),
            _ => return false,
        }
        true
    }

    /// `HOST [PORT]`.
    fn mail_server(&mut self, item: &Item) -> Option<(String, u16)> {
        let help = "write the relay's name or address, and perhaps its port: `smtp_server 192.0.2.25 25`";
        let host = self.plain(item, value::name)?;
        match item.words.get(1) {
            None => Some((host, 25)),
            Some(word) => {
                let port = self.word("smtp_server", word, value::number(1..=65535, help))?;
                Some((host, port.value))
            }
        }
    }

    pub(super) fn webhook(&mut self, raw: &mut RawConfig, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let mut webhook = RawWebhook {
            name,
            written: self.written(block),
            url: None,
            secret_file: None,
            timeout: None,
            ca_file: None,
            events: Vec::new(),
        };
        self.each(block.items(), &WEBHOOK, |lower, item| match item.keyword.text.as_str() {
            "url" => webhook.url = lower.value(item, url),
            "secret_file" => webhook.secret_file = lower.path(item).map(|at| at.value),
            "timeout" => webhook.timeout = lower.value(item, value::duration(SECOND..=SECOND * 60)),
            "ca_file" => webhook.ca_file = lower.path(item),
            "events" => {
                let kinds = &[
                    ("transition", EventKind::Transition),
                    ("alert", EventKind::Alert),
                    ("server", EventKind::Server),
                ];
                let help = "name what it is told of, or leave `events` out for all";
                let read = item.words.iter().filter_map(|w| lower.word("events", w, value::one_of(kinds, help)));
                webhook.events.extend(read.map(|at| at.value).collect::<Vec<_>>());
            }
            _ => lower.unread(item),
        });
        raw.webhooks.push(webhook);
    }
}

/// What can stand between the angle brackets of SMTP; a name alone is one at this host.
fn mail_address(text: &str) -> Result<String, Wanted> {
    let is_odd = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';');
    let is_address = !text.contains(is_odd)
        && text.split_once('@').is_none_or(|(user, host)| !user.is_empty() && !host.is_empty() && !host.contains('@'));
    let is_address = is_address && (1..=254).contains(&text.len());
    let help = "write one address a line, without a name beside it: admin@example.com";
    if is_address { Ok(text.to_owned()) } else { Err(Wanted::new("a mail address", help)) }
}

fn url(text: &str) -> Result<String, Wanted> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let is_url = rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with('/'));
    let is_url = is_url && !text.contains(|c: char| c.is_control() || c.is_whitespace());
    let help = "write where events are posted to: `url https://alerts.example.com/keepone`";
    if is_url { Ok(text.to_owned()) } else { Err(Wanted::new("a URL", help)) }
}
