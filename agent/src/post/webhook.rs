//! How one event is posted: JSON by HTTP, signed where there is a key.
//!
//! `Idempotency-Key` is the event's id: a receiver that has seen it answers as before and does nothing more.
//! `Keepone-Signature: sha256=HEX` is HMAC-SHA256 of the body as it is, which holds id and time (docs/alerts.md).
//! Redirects are not followed: a signed event goes where the operator has said, or nowhere.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use keepone_config::model::Webhook;
use ring::hmac;
use ureq::Agent;
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

use super::courier::Trouble;
use super::news::News;

const REACH: &str =
    "see that the webhook's receiver runs, that TCP passes to its port, and that ca_file vouches for its certificate";
const ANSWER: &str = "the answer is the receiver's: look into its log for this node";
const FILES: &str = "make the file readable for the agent, and look what is in it";

/// Answers that say of this event alone that it will never be taken (RFC 9110, 15.5).
const NEVER: [u16; 4] = [400, 413, 415, 422];

pub(super) struct Receiver {
    webhook: Webhook,
}

impl Receiver {
    pub(super) fn new(webhook: &Webhook) -> Self {
        Receiver { webhook: webhook.clone() }
    }

    /// One attempt.
    pub(super) fn post(&mut self, news: &News) -> Result<(), Trouble> {
        let body = serde_json::to_vec(news).map_err(|error| Trouble::Never(error.to_string()))?;
        let mut request = self
            .agent()?
            .post(&self.webhook.url)
            .header("Content-Type", "application/json")
            .header("Idempotency-Key", &news.id);
        if let Some(file) = &self.webhook.secret_file {
            request = request.header("Keepone-Signature", signature(&read(file)?, &body));
        }
        let answer = request.send(&body[..]).map_err(|error| later(error.to_string(), REACH))?;
        match answer.status().as_u16() {
            200..=299 => Ok(()),
            code if NEVER.contains(&code) => Err(Trouble::Never(format!("answer {code} to {}", news.id))),
            code => Err(later(format!("answer {code}"), ANSWER)),
        }
    }

    /// Each time anew: certificates may be replaced while the agent runs, and events are rare.
    fn agent(&self) -> Result<Agent, Trouble> {
        let mut config = Agent::config_builder()
            .timeout_global(Some(self.webhook.timeout))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .user_agent(concat!("keepone/", env!("CARGO_PKG_VERSION")));
        if self.webhook.url.starts_with("https://") {
            let tls = TlsConfig::builder()
                .root_certs(self.roots()?)
                .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()));
            config = config.tls_config(tls.build());
        }
        Ok(config.build().new_agent())
    }

    fn roots(&self) -> Result<RootCerts, Trouble> {
        let Some(file) = &self.webhook.ca_file else {
            let found = rustls_native_certs::load_native_certs().certs;
            let roots: Vec<_> = found.iter().map(|one| Certificate::from_der(one).to_owned()).collect();
            return Ok(RootCerts::new_with_certs(&roots));
        };
        let mut roots = Vec::new();
        for item in parse_pem(&read(file)?) {
            match item {
                Ok(PemItem::Certificate(certificate)) => roots.push(certificate),
                Ok(_) => {}
                Err(error) => return Err(later(format!("{}: {error}", file.display()), FILES)),
            }
        }
        if roots.is_empty() {
            return Err(later(format!("{}: no certificate in it", file.display()), FILES));
        }
        Ok(RootCerts::new_with_certs(&roots))
    }
}

/// Without the end of line that an editor leaves there.
fn signature(key: &[u8], body: &[u8]) -> String {
    let key = key.strip_suffix(b"\n").unwrap_or(key);
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), body);
    tag.as_ref().iter().fold("sha256=".to_owned(), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

fn later(seen: String, remedy: &'static str) -> Trouble {
    Trouble::Later { seen, remedy }
}

fn read(file: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(file).map_err(|error| later(format!("{}: {error}", file.display()), FILES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_that_of_rfc_4231() {
        // RFC 4231, test case 2.
        let wanted = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(b"Jefe", b"what do ya want for nothing?"), wanted);
        assert_eq!(signature(b"Jefe\n", b"what do ya want for nothing?"), wanted);
    }
}
