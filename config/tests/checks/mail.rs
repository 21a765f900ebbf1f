//! Mail and webhooks.

use std::path::Path;
use std::time::Duration;

use keepone_config::model::{EventKind, MailTls};

use super::{changed, load, refused, warned};

fn globals(lines: &str) -> String {
    changed("gate {", &format!("global_defs {{\n{lines}\n}}\ngate {{"))
}

fn webhook(lines: &str) -> String {
    changed("gate {", &format!("webhook ops {{\n{lines}\n}}\ngate {{"))
}

#[test]
fn mail_is_read_with_its_defaults_and_nobody_mails_unasked() {
    let lines = "smtp_server relay.example.com 587\nnotification_email {\nadmin@example.com\nroot\n}\nsmtp_tls starttls\n\
                 smtp_user keepone\nsmtp_password_file p\nsmtp_ca_file ca.pem";
    let (config, diagnostics) = load(&globals(lines)).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let mail = &config.global.mail;
    assert_eq!(mail.server, Some(("relay.example.com".to_owned(), 587)));
    assert_eq!(mail.recipients, ["admin@example.com", "root"]);
    assert_eq!((mail.tls, mail.timeout), (MailTls::StartTls, Duration::from_secs(30)));
    assert_eq!(
        mail.user.as_ref().map(|(user, file)| (user.as_str(), file.as_path())),
        Some(("keepone", Path::new("p")))
    );
    assert!(config.instances.iter().all(|instance| !instance.options.smtp_alert));
    let (config, _) = load(&globals(&format!("{lines}\nsmtp_alert"))).unwrap();
    assert!(config.instances.iter().all(|instance| instance.options.smtp_alert));
}

#[test]
fn what_would_give_a_password_away_or_never_arrive_is_refused() {
    refused(
        &globals("smtp_user u\nsmtp_password_file p"),
        "k.conf:37:11: error: `smtp_user` without `smtp_tls`",
        "starttls",
    );
    refused(&globals("smtp_tls starttls\nsmtp_user u"), "k.conf:38:11: error:", "add the file");
    refused(&globals("smtp_tls starttls\nsmtp_password_file p"), "k.conf:38:20: error:", "name the user");
    refused(&globals("smtp_ca_file p"), "k.conf:37:14: error: `smtp_ca_file` without `smtp_tls`", "implicit");
    refused(&globals("smtp_tls perhaps"), "k.conf:37:10: error:", "port 465");
    let named = globals("notification_email {\n\"Admin <a@example.com>\"\n}");
    refused(&named, "k.conf:38:1: error:", "without a name");
    warned(
        &globals("smtp_server 192.0.2.1"),
        "k.conf:46:15: warning: smtp_server without notification_email",
        "notification_email {",
    );
}

#[test]
fn a_webhook_is_read_with_its_defaults() {
    let (config, diagnostics) = load(&webhook("url https://a.example/x")).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let [one] = config.global.webhooks.as_slice() else { panic!("{:?}", config.global.webhooks) };
    assert_eq!(
        (one.name.as_str(), one.url.as_str(), one.timeout),
        ("ops", "https://a.example/x", Duration::from_secs(5))
    );
    assert_eq!(one.events, [EventKind::Transition, EventKind::Alert, EventKind::Server]);
    let (config, _) = load(&webhook("url http://a.example/x\nevents alert\ntimeout 2")).unwrap();
    assert_eq!(config.global.webhooks[0].events, [EventKind::Alert]);
    refused(&webhook(""), "k.conf:36:9: error: webhook `ops` without a url", "https://");
    refused(&webhook("url ftp://a.example/x"), "k.conf:37:5: error:", "https://");
    refused(&webhook("url http://a.example/x\nca_file ca.pem"), "k.conf:38:9: error: `ca_file`", "https://");
    refused(
        &webhook("url http://a.example/x\n}\nwebhook ops {\nurl http://b.example/"),
        "k.conf:39:9: error: two",
        "a name",
    );
    refused(&webhook("url http://a.example/x\nevents everything"), "k.conf:38:8: error:", "leave `events` out");
}
