//! The web page's listener.

use std::path::PathBuf;

use super::{changed, load, refused};

fn web(lines: &str) -> String {
    changed("gate {", &format!("web {{\n{lines}\n}}\ngate {{"))
}

#[test]
fn a_listener_is_read_and_there_is_none_unasked() {
    assert_eq!(load(&changed("gate {", "gate {")).unwrap().0.web, None);
    let (config, diagnostics) = load(&web("listen 127.0.0.1:8443")).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let found = config.web.unwrap();
    assert_eq!((found.listen, found.tls, found.token_file), ("127.0.0.1:8443".parse().unwrap(), None, None));
    let all = "listen [::]:8443\ncert_file c.pem\ncert_key_file k.pem\ntoken_file tokens";
    let found = load(&web(all)).unwrap().0.web.unwrap();
    assert_eq!(found.tls, Some((PathBuf::from("c.pem"), PathBuf::from("k.pem"))));
    assert_eq!(found.token_file, Some(PathBuf::from("tokens")));
}

#[test]
fn nothing_is_told_beyond_this_host_in_the_clear_or_to_everybody() {
    let clear = "can be reached from other machines, and there is no TLS";
    let to_all = "can be reached from other machines, and anybody there could read";
    for (lines, start, help) in [
        ("listen 0.0.0.0:80\ntoken_file t", format!("37:8: error: 0.0.0.0:80 {clear}"), "listen on 127.0.0.1"),
        (
            "listen 10.0.0.1:80\ncert_file c\ncert_key_file k",
            format!("37:8: error: 10.0.0.1:80 {to_all}"),
            "token_file",
        ),
        ("listen [::ffff:10.0.0.1]:80\ntoken_file t", format!("37:8: error: [::ffff:10.0.0.1]:80 {clear}"), "add"),
        ("listen 127.0.0.1:80\ncert_file c", "36:1: error: one of `cert_file`".to_owned(), "write both"),
        ("token_file t", "36:1: error: `web` without `listen`".to_owned(), "add `listen"),
        ("listen 127.0.0.1", "37:8: error: listen: `127.0.0.1` is not an address and a port".to_owned(), "write for"),
    ] {
        refused(&web(lines), &format!("k.conf:{start}"), help);
    }
}
