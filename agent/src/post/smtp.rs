//! How a mail is given to the relay (RFC 5321): one connection each, in the clear, by STARTTLS, or in TLS from the start.
//!
//! What must stay true: without the TLS that is asked for nothing is said to the relay, no password and no mail. One
//! recipient that the relay refuses keeps no other from being told; where it refuses all, the mail waits.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keepone_config::model::{Mail, MailTls};
use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::Error;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::client::{Certificate, CertificateStore, SmtpConnection, TlsParameters};
use lettre::transport::smtp::commands::{Data, Mail as From, Rcpt};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, address::AddressError};

use super::courier::Trouble;
use super::letter::Letter;
use crate::exit::chain;

const REACH: &str = "see that the relay of smtp_server runs, and that TCP passes to its port";
const ANSWER: &str = "the answer is the relay's: look into its log for this node";
const TLS: &str = "compare smtp_tls with what the relay offers, and its certificate with smtp_server and smtp_ca_file";
const FILES: &str = "make the file readable for the agent";
const USER: &str = "compare smtp_user and smtp_password_file with what the relay knows";
const RECIPIENTS: &str = "correct notification_email, or have the relay take mail for them";

/// The relay, and for whom it has taken the mail that is on its way.
pub(super) struct Relay {
    mail: Mail,
    host: String,
    /// Of the mail of this id these recipients need no more.
    settled: (String, BTreeSet<String>),
}

impl Relay {
    pub(super) fn new(mail: &Mail, host: &str) -> Self {
        Relay { mail: mail.clone(), host: host.to_owned(), settled: (String::new(), BTreeSet::new()) }
    }

    /// Until the relay has taken it for all whom it does not refuse.
    pub(super) fn deliver(&mut self, letter: &Letter) -> Result<(), Trouble> {
        if self.settled.0 != letter.id {
            self.settled = (letter.id.clone(), BTreeSet::new());
        }
        let from = self.address(self.mail.from.as_deref().unwrap_or("keepone"));
        let from = from.map_err(|error| later(format!("notification_email_from: {error}"), RECIPIENTS))?;
        let open: Vec<&String> = self.mail.recipients.iter().filter(|to| !self.settled.1.contains(*to)).collect();
        let mut to = Vec::new();
        for name in open {
            match self.address(name) {
                Ok(address) => to.push((name.clone(), address)),
                Err(error) => tracing::error!("no mail for {name}, which is no address: {error}; {RECIPIENTS}"),
            }
        }
        if to.is_empty() {
            return Ok(());
        }
        let message = self.message(letter, &from)?;
        let mut connection = self.connect()?;
        let answer = |error: Error| later(chain(&error), ANSWER);
        connection.command(From::new(Some(from), Vec::new())).map_err(answer)?;
        let (mut taken, mut refused, mut waits) = (Vec::new(), Vec::new(), None);
        for (name, address) in to {
            match connection.command(Rcpt::new(address, Vec::new())) {
                Ok(_) => taken.push(name),
                Err(error) if error.is_permanent() => refused.push((name, chain(&error))),
                Err(error) if error.is_transient() => waits = Some(format!("for {name}: {}", chain(&error))),
                Err(error) => return Err(answer(error)),
            }
        }
        if taken.is_empty() {
            connection.abort();
            let seen = refused.into_iter().next().map(|(name, error)| format!("for {name}: {error}")).or(waits);
            // With all refused it is more likely the configuration than all of them.
            let is_open = self.settled.1.is_empty();
            return if is_open { Err(later(seen.unwrap_or_default(), RECIPIENTS)) } else { Ok(()) };
        }
        connection.command(Data).map_err(answer)?;
        connection.message(&message).map_err(answer)?;
        // It is taken: whatever comes after that is of no account.
        let _ = connection.quit();
        for (name, error) in &refused {
            tracing::error!("the relay takes no mail for {name}: {error}; {RECIPIENTS}");
        }
        self.settled.1.extend(taken.into_iter().chain(refused.into_iter().map(|(name, _)| name)));
        waits.map_or(Ok(()), |seen| Err(later(seen, ANSWER)))
    }

    /// A bare name is a user of this host.
    fn address(&self, name: &str) -> Result<Address, AddressError> {
        if name.contains('@') { name.parse() } else { Address::new(name, &self.host) }
    }

    fn message(&self, letter: &Letter, from: &Address) -> Result<Vec<u8>, Trouble> {
        let mut message = Message::builder()
            .from(Mailbox::new(Some("keepone".to_owned()), from.clone()))
            .subject(letter.subject.clone())
            .message_id(Some(format!("<{}@{}>", letter.id, self.host)))
            // RFC 3834: nobody answers that he is on holiday.
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN);
        for to in self.mail.recipients.iter().filter_map(|to| self.address(to).ok()) {
            message = message.to(Mailbox::new(None, to));
        }
        let message = message.body(letter.body.clone()).map_err(|error| Trouble::Never(error.to_string()))?;
        Ok(message.formatted())
    }

    /// Greeted, in TLS and as the user where that is asked for.
    fn connect(&self) -> Result<SmtpConnection, Trouble> {
        let Some((server, port)) = &self.mail.server else { return Err(later("no smtp_server".into(), REACH)) };
        let hello = ClientId::Domain(self.mail.helo_name.clone().unwrap_or_else(|| self.host.clone()));
        let tls = match self.mail.tls {
            MailTls::Off => None,
            MailTls::StartTls | MailTls::Implicit => Some(self.tls(server)?),
        };
        let from_the_start = tls.as_ref().filter(|_| self.mail.tls == MailTls::Implicit);
        let reach = |error: Error| {
            let remedy = if error.is_tls() { TLS } else { REACH };
            later(format!("{server} {port}: {}", chain(&error)), remedy)
        };
        let timeout = Some(self.mail.timeout);
        let mut connection =
            SmtpConnection::connect((server.as_str(), *port), timeout, &hello, from_the_start, None).map_err(reach)?;
        if let (Some(tls), MailTls::StartTls) = (&tls, self.mail.tls) {
            if !connection.can_starttls() {
                connection.abort();
                return Err(later(format!("{server} {port} offers no STARTTLS"), TLS));
            }
            connection.starttls(tls, &hello).map_err(|error| later(chain(&error), TLS))?;
        }
        if let Some((user, file)) = &self.mail.user {
            let password = String::from_utf8_lossy(&read(file)?).trim_end_matches(['\r', '\n']).to_owned();
            let credentials = Credentials::new(user.clone(), password);
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            connection.auth(&mechanisms, &credentials).map_err(|error| later(chain(&error), USER))?;
        }
        Ok(connection)
    }

    fn tls(&self, server: &str) -> Result<TlsParameters, Trouble> {
        let wrong = |error: Error| later(chain(&error), TLS);
        let mut builder = TlsParameters::builder(server.to_owned());
        if let Some(file) = &self.mail.ca_file {
            builder = builder.certificate_store(CertificateStore::None);
            builder = builder.add_root_certificate(Certificate::from_pem(&read(file)?).map_err(wrong)?);
        }
        builder.build().map_err(wrong)
    }
}

fn later(seen: String, remedy: &'static str) -> Trouble {
    Trouble::Later { seen, remedy }
}

/// Each time anew: a file may be replaced while the agent runs.
fn read(file: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(file).map_err(|error| later(format!("{}: {error}", file.display()), FILES))
}
