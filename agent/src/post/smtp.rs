//! How a mail is given to the relay (RFC 5321): one connection each, in the clear, by STARTTLS, or in TLS from the start.
//!
//! What must stay true: without the TLS that is asked for nothing is said to the relay, no password and no mail. One
//! recipient that the relay refuses keeps no other from being told, and one that it puts off does so for [`PUT_OFF`] at
//! most; where it takes the mail for nobody, the mail waits.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use keepone_config::model::{Mail, MailTls};
use keepone_proto::time::Instant;
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
use crate::clock;
use crate::exit::chain;

const REACH: &str = "see that the relay of smtp_server runs, and that TCP passes to its port";
const ANSWER: &str = "the answer is the relay's: look into its log for this node";
const TLS: &str = "compare smtp_tls with what the relay offers, and its certificate with smtp_server and smtp_ca_file";
const FILES: &str = "make the file readable for the agent";
const USER: &str = "compare smtp_user and smtp_password_file with what the relay knows";
const RECIPIENTS: &str = "correct notification_email, or have the relay take mail for them";

/// How long a mail that others have waits for one that the relay puts off (4yz): longer than most greylists do.
const PUT_OFF: Duration = Duration::from_secs(600);

/// The relay, and for whom it has taken the mail that is on its way.
pub(super) struct Relay {
    mail: Mail,
    host: String,
    /// Of the mail of this id these recipients need no more.
    settled: (String, BTreeSet<String>),
    /// Since when these are put off, over whatever mails.
    put_off: BTreeMap<String, Instant>,
    /// [`PUT_OFF`].
    patience: Duration,
}

impl Relay {
    pub(super) fn new(mail: &Mail, host: &str) -> Self {
        Relay {
            mail: mail.clone(),
            host: host.to_owned(),
            settled: (String::new(), BTreeSet::new()),
            put_off: BTreeMap::new(),
            patience: PUT_OFF,
        }
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
        let said = self.offer(&mut connection, to)?;
        if said.taken.is_empty() {
            connection.abort();
            // With nobody left it is more likely the configuration than all of them.
            if self.settled.1.is_empty() {
                let seen = said.refused.into_iter().map(|(_, seen)| seen).chain(said.waits).next();
                let seen = seen.unwrap_or_default();
                return Err(later(seen, RECIPIENTS));
            }
        } else {
            connection.command(Data).map_err(answer)?;
            connection.message(&message).map_err(answer)?;
            // It is taken: whatever comes after that is of no account.
            let _ = connection.quit();
        }
        self.settled.1.extend(said.taken);
        for (name, seen) in said.refused {
            tracing::error!("the relay takes no mail {seen}; {RECIPIENTS}");
            self.settled.1.insert(name);
        }
        said.waits.map_or(Ok(()), |seen| Err(later(seen, ANSWER)))
    }

    /// Names the recipients to the relay.
    fn offer(&mut self, connection: &mut SmtpConnection, to: Vec<(String, Address)>) -> Result<Said, Trouble> {
        let (mut said, now) = (Said::default(), clock::now());
        for (name, address) in to {
            match connection.command(Rcpt::new(address, Vec::new())) {
                Ok(_) => {
                    self.put_off.remove(&name);
                    said.taken.push(name);
                }
                Err(error) if error.is_permanent() || error.is_transient() => {
                    let seen = format!("for {name}: {}", chain(&error));
                    let mut since = || *self.put_off.entry(name.clone()).or_insert(now);
                    if error.is_transient() && now.since(since()) < self.patience {
                        said.waits = Some(seen);
                    } else {
                        said.refused.push((name, seen));
                    }
                }
                Err(error) => return Err(later(chain(&error), ANSWER)),
            }
        }
        Ok(said)
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

/// What the relay has said of the recipients.
#[derive(Debug, Default)]
struct Said {
    taken: Vec<String>,
    /// They get none of this mail, and why.
    refused: Vec<(String, String)>,
    /// One that is put off, and how.
    waits: Option<String>,
}

fn later(seen: String, remedy: &'static str) -> Trouble {
    Trouble::Later { seen, remedy }
}

/// Each time anew: a file may be replaced while the agent runs.
fn read(file: &Path) -> Result<Vec<u8>, Trouble> {
    fs::read(file).map_err(|error| later(format!("{}: {error}", file.display()), FILES))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader, Write};
    use std::net::TcpListener;
    use std::thread::{self, JoinHandle};

    /// A relay that puts `late@…` off in so many connections, and says after that many connections for whom each mail was.
    fn relay(put_off: usize, connections: usize) -> (u16, JoinHandle<Vec<Vec<String>>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let serve = move || {
            let mut mails = Vec::new();
            for number in 0..connections {
                let (stream, _) = listener.accept().unwrap();
                let say = |line: &str| (&stream).write_all(format!("{line}\r\n").as_bytes()).unwrap();
                say("220 relay");
                let (mut taken, mut is_body) = (Vec::new(), false);
                for line in BufReader::new(&stream).lines() {
                    let line = line.unwrap();
                    match line.as_str() {
                        "." => {
                            is_body = false;
                            mails.push(std::mem::take(&mut taken));
                            say("250 taken");
                        }
                        _ if is_body => {}
                        "DATA" => {
                            is_body = true;
                            say("354 go on");
                        }
                        "QUIT" => say("221 bye"),
                        _ if line.contains("late@") && number < put_off => say("451 4.7.1 greylisted"),
                        _ => {
                            taken.extend(line.strip_prefix("RCPT TO:").map(str::to_owned));
                            say("250 OK");
                        }
                    }
                }
            }
            mails
        };
        (port, thread::spawn(serve))
    }

    fn to(port: u16) -> Relay {
        let recipients = ["a@example.com", "late@example.com"].map(str::to_owned).to_vec();
        let server = Some(("127.0.0.1".to_owned(), port));
        let mail = Mail {
            server,
            recipients,
            timeout: Duration::from_secs(10),
            helo_name: None,
            from: None,
            no_faults: false,
            no_checkers: false,
            tls: MailTls::Off,
            ca_file: None,
            user: None,
        };
        Relay::new(&mail, "n1.example.com")
    }

    fn letter(id: &str) -> Letter {
        Letter { subject: "s".into(), body: "b".into(), id: id.into() }
    }

    #[test]
    fn who_is_put_off_gets_the_mail_later_and_the_others_get_it_once() {
        let (port, relay) = relay(2, 3);
        let mut to = to(port);
        for _ in 0..2 {
            let put_off = to.deliver(&letter("1")).unwrap_err();
            assert!(matches!(&put_off, Trouble::Later { seen, .. } if seen.contains("greylisted")), "{put_off:?}");
        }
        assert_eq!(to.deliver(&letter("1")), Ok(()));
        assert_eq!(relay.join().unwrap(), [["<a@example.com>"], ["<late@example.com>"]]);
    }

    #[test]
    fn who_is_put_off_for_too_long_keeps_no_mail_waiting_any_more() {
        let (port, relay) = relay(3, 4);
        let mut to = to(port);
        assert!(to.deliver(&letter("1")).is_err());
        to.patience = Duration::ZERO;
        assert_eq!(to.deliver(&letter("1")), Ok(()), "it is given up");
        assert_eq!(to.deliver(&letter("2")), Ok(()), "nor does it put off the next one");
        assert_eq!(to.deliver(&letter("3")), Ok(()), "which it gets when it is taken again");
        let both = vec!["<a@example.com>", "<late@example.com>"];
        assert_eq!(relay.join().unwrap(), [vec!["<a@example.com>"], vec!["<a@example.com>"], both]);
    }
}
