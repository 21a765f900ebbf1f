//! Each check against real servers, good and bad: nginx, aiosmtpd, dnsmasq, and servers that misbehave on purpose.
//!
//! A test is in a network namespace of its own, so that ports are free and routes are its own. Needs root, and the
//! Debian packages nginx-light, python3-aiosmtpd, dnsmasq-base, openssl.

mod dials;
mod http;
mod network;
pub(super) mod servers;

use std::path::Path;
use std::sync::Arc;

use keepone_config::model::{Checker, ClientTls};
use keepone_config::{Config, Environment};
use keepone_proto::balance::checker::Outcome;

use super::tls::Tls;
use super::{Common, probe};

/// A configuration with a real server that has this check, and whatever stands before it.
pub(super) fn config(before: &str, check: &str) -> Config {
    let text = format!(
        "{before}\nvirtual_server 10.1.1.1 80 {{\n protocol TCP\n real_server 127.0.0.1 80 {{\n {check}\n }}\n}}\n"
    );
    match keepone_config::load_text(Path::new("test.conf"), &text, &Environment::of_process()) {
        Ok((config, _)) => config,
        Err(complaints) => panic!("{}", keepone_config::render_all(&complaints, false)),
    }
}

/// Makes each request of a check once; how each ended, in words: `+` or why it failed.
async fn tried(config: &Config) -> Vec<String> {
    let common = Common { user: None, tls: Arc::new(Tls::new(&config.global.ipvs.tls)), host_name: "tester".into() };
    let checker: &Checker = &config.virtual_servers[0].real_servers[0].checkers[0];
    let steps = match &checker.probe {
        keepone_config::model::Probe::Http(_, http) => http.urls.len(),
        _ => 1,
    };
    let mut words = Vec::new();
    for step in 0..steps {
        words.push(match probe(&checker.probe, u32::try_from(step).unwrap(), &common).await {
            Outcome::Failed(why) => why,
            Outcome::Passed => "+".to_owned(),
            Outcome::Weight(weight) => format!("weight {weight}"),
            Outcome::Added(added) => format!("added {added}"),
        });
    }
    words
}

async fn passes(check: &str) {
    assert_eq!(tried(&config("", check)).await, ["+"], "{check}");
}

/// Whatever the words are, `with` must be in them.
async fn fails(check: &str, with: &str) {
    let words = tried(&config("", check)).await;
    assert!(words.iter().any(|words| words != "+" && words.contains(with)), "{check}: {words:?}");
}

/// Settings that show nothing to anybody.
#[test]
fn without_an_ssl_block_nobody_can_be_verified() {
    assert!(format!("{:?}", Tls::new(&ClientTls::default())).contains("name a file of authorities"));
}
