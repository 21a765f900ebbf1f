//! What the errors of etcd's client mean to an operator, and what there is to do.
//!
//! What the library says is Rust's debug output in part; what counts of it are the words of those who have the reason: etcd
//! itself, rustls, the kernel.

use std::error::Error as _;

use etcd_client::Error;

/// What etcd says of a token that has expired, or that it has forgotten.
const OLD_TOKEN: &str = "etcdserver: invalid auth token";
/// What it says of a password that is not the user's.
const WRONG_PASSWORD: &str = "etcdserver: authentication failed";
/// What it says after users or roles have changed.
const OLD_REVISION: &str = "etcdserver: revision of auth store is old";

/// By hyper, h2, rustls and the kernel: the server has ended the connection.
const ENDED: [&str; 5] =
    ["received fatal alert", "connection closed", "broken pipe", "Broken pipe", "Connection reset by peer"];

/// The reasons of whom it passed on the way, the innermost last.
fn reasons(error: &Error) -> Vec<String> {
    let Error::GRpcStatus(status) = error else { return vec![error.to_string()] };
    let mut reasons = vec![status.message().to_owned()];
    let mut source = status.source();
    while let Some(error) = source {
        reasons.push(error.to_string());
        source = error.source();
    }
    reasons
}

/// Whether another login would mend it. Nothing has become of what was asked.
pub(super) fn is_of_an_old_login(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if [OLD_TOKEN, OLD_REVISION].contains(&status.message()))
}

/// Whether it does not know the user with that password.
pub(super) fn is_of_the_password(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().starts_with(WRONG_PASSWORD))
}

/// The error and its remedy, in words. `prefix` is how the names of all keys begin.
pub(super) fn words(error: &Error, prefix: &str) -> String {
    if let Error::InvalidArgs(words) = error {
        return words.clone();
    }
    translate(&reasons(error), prefix)
}

fn translate(reasons: &[String], prefix: &str) -> String {
    let says = |words: &str| reasons.iter().any(|reason| reason.contains(words));
    let last = reasons.last().map_or("no reason given", String::as_str);
    if says("UnknownIssuer") {
        return "nobody in ca_file has signed its certificate: name in ca_file who has".to_owned();
    }
    if says("not valid for name") {
        let names = reasons.iter().find(|reason| reason.contains("not valid for name")).map_or(last, String::as_str);
        return format!("{names}: write the endpoint as the certificate names it, or give etcd one that names it so");
    }
    if says("invalid peer certificate: Expired") || says("certificate expired") {
        return "its certificate has expired: renew it, or set this machine's clock, if that is wrong".to_owned();
    }
    if says("invalid peer certificate") {
        return format!("{last}: look at ca_file, and at etcd's certificate");
    }
    // Who asks for a certificate closes the connection, and what is seen of that first is a matter of chance.
    if ENDED.iter().any(|ended| says(ended)) {
        return "it ends the connection: if it asks for certificates, is cert_file signed by its --trusted-ca-file, and \
                still valid?"
            .to_owned();
    }
    if says(WRONG_PASSWORD) {
        return "it does not know this user with this password: look at user and password_file".to_owned();
    }
    if says("etcdserver: user name is empty") {
        return "it asks for a user: write user and password_file".to_owned();
    }
    if says("etcdserver: permission denied") {
        return format!(
            "this user may not read and write below {prefix}/: grant it, with `etcdctl role grant-permission ROLE \
             --prefix=true readwrite {prefix}/`, or change prefix"
        );
    }
    if says("etcdserver: no leader") {
        return "it has no leader: do most of its members run, and reach each other?".to_owned();
    }
    format!("{last}: does it run, and is it reached?")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_a_remedy_of_its_own_wherever_on_the_way_it_was_given() {
        let words = |reasons: &[&str]| {
            translate(&reasons.iter().map(|reason| (*reason).to_owned()).collect::<Vec<_>>(), "/keepone")
        };
        let mut seen = std::collections::BTreeSet::new();
        for (reasons, remedy) in [
            (&["transport error", "invalid peer certificate: UnknownIssuer"][..], "name in ca_file"),
            (&["invalid peer certificate: certificate not valid for name \"a\"; only for b", "x"], "for b: write the"),
            (&["invalid peer certificate: Expired"], "renew it"),
            (&["invalid peer certificate: BadSignature"], "BadSignature"),
            (&["transport error", "received fatal alert: BadCertificate"], "cert_file"),
            (&["etcdserver: authentication failed, invalid user ID or password"], "password_file"),
            (&["etcdserver: user name is empty"], "write user"),
            (&["etcdserver: permission denied"], "readwrite /keepone/`"),
            (&["etcdserver: no leader"], "members"),
            (&["tcp connect error", "Connection refused (os error 111)"], "refused (os error 111): does it run"),
            (&[], "no reason given"),
        ] {
            let told = words(reasons);
            assert!(told.contains(remedy), "{reasons:?}: {told}");
            assert!(seen.insert(told), "{reasons:?} has another's words");
        }
        for ended in ENDED {
            assert_eq!(words(&["transport error", ended]), words(&["operation was canceled", ENDED[0]]), "told once");
        }
    }
}
