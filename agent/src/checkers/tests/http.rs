//! `HTTP_GET` and `SSL_GET` against nginx, and against servers that no HTTP client should trust.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use super::servers::{alone, certificate, for_ever, nginx, request, rogue, start};
use super::{config, fails, passes, tried};
use crate::checkers::genhash;

const PAGES: &str = "server { listen 127.0.0.1:80; server_name _;
 location = / { return 200 \"hello\\n\"; }
 location = /gone { return 404 \"no\"; }
 location = /moved { return 302 http://127.0.0.1:1/; }
 location = /version { return 200 \"$server_protocol $http_connection.\"; }
 location = /host { return 200 \"$http_host\"; } }
server { listen 127.0.0.1:80; server_name shop.test; location / { return 200 \"shop\"; } }";
/// Of "hello" and a newline, by md5sum(1).
const HELLO: &str = "b1946ac92492d2347c6235b4d2611184";

#[tokio::test]
async fn pages_of_nginx_are_judged_by_code_digest_and_pattern() {
    alone();
    let room = tempfile::tempdir().unwrap();
    let _nginx = nginx(room.path(), PAGES, 80);
    let get = |url: &str| format!("HTTP_GET {{ {url} }}");
    passes(&get("url { path / }")).await;
    passes(&get(&format!("url {{ path /\n digest {HELLO} }}"))).await;
    fails(&get("url { path /\n digest 00000000000000000000000000000000 }"), &format!("digest is {HELLO}")).await;
    fails(&get("url { path /gone }"), "/gone answers with 404").await;
    passes(&get("url { path /gone\n status_code 200 400-404 }")).await;
    fails(&get("url { path /moved }"), "answers with 302").await;
    passes(&get("url { path /moved\n status_code 302 }")).await;
    passes(&get("url { path /\n regex \"^hel+o$\" }")).await;
    fails(&get("url { path /\n regex \"^Hello\" }"), "does not match").await;
    passes(&get("url { path /\n regex \"^Hello\"\n regex_options caseless }")).await;
    fails(&get("url { path /\n regex \"ell\"\n regex_no_match }"), "must not").await;
    passes(&get("url { path /\n regex \"l\"\n regex_min_offset 3\n regex_max_offset 3 }")).await;
    fails(&get("url { path /\n regex \"l\"\n regex_max_offset 1 }"), "does not match").await;
    // Which request of several fails is said.
    let words = tried(&config("", &get("url { path / }\n url { path /gone }"))).await;
    assert_eq!(words, ["+", "/gone answers with 404"]);
}

#[tokio::test]
async fn a_request_is_made_as_it_is_configured() {
    alone();
    let room = tempfile::tempdir().unwrap();
    let _nginx = nginx(room.path(), PAGES, 80);
    let version = |protocol: &str, wanted: &str| {
        format!("HTTP_GET {{ http_protocol {protocol}\n url {{ path /version\n regex \"^{wanted}$\" }} }}")
    };
    passes(&version("1.0", "HTTP/1.0 [.]")).await;
    passes(&version("1.0C", "HTTP/1.0 close[.]")).await;
    passes(&version("1.1", "HTTP/1.1 close[.]")).await;
    let host = |wanted: &str| format!("url {{ path /host\n regex \"^{wanted}$\" }}");
    passes(&format!("HTTP_GET {{ {} }}", host("127.0.0.1"))).await;
    passes("HTTP_GET { virtualhost shop.test\n url { path /\n regex ^shop$ } }").await;
    passes("HTTP_GET { virtualhost shop.test\n url { path /\n virtualhost other.test\n regex hello } }").await;
    // Another address and port than the real server's, and our own.
    let other = nginx(
        &{
            let path = room.path().join("other");
            std::fs::create_dir(&path).unwrap();
            path
        },
        "server { listen 127.0.0.1:8081; listen 127.0.0.2:8081; location / { return 200 \"$http_host $remote_addr:$remote_port\"; } }",
        8081,
    );
    passes(
        "HTTP_GET { connect_ip 127.0.0.2\n connect_port 8081\n bindto 127.0.0.9\n bind_port 7777
         url { path /\n regex \"^127.0.0.2:8081 127.0.0.9:7777$\" } }",
    )
    .await;
    drop(other);
}

#[tokio::test]
async fn over_tls_with_names_certificates_and_http2() {
    alone();
    let room = tempfile::tempdir().unwrap();
    let path = |name: &str| room.path().join(name).display().to_string();
    certificate(room.path(), "good.test");
    let own = format!("ssl_certificate {}; ssl_certificate_key {};", path("cert.pem"), path("key.pem"));
    let servers = format!(
        "server {{ listen 127.0.0.1:80 ssl http2; server_name _; {own} ssl_protocols TLSv1.3;
           location / {{ return 200 \"[$ssl_server_name] $server_protocol $ssl_protocol\"; }} }}
         server {{ listen 127.0.0.1:81 ssl; {own} ssl_protocols TLSv1.2; ssl_client_certificate {0};
           ssl_verify_client on; location / {{ return 200 \"$ssl_client_s_dn\"; }} }}",
        path("ca.pem")
    );
    let _nginx = nginx(room.path(), &servers, 80);
    let get = |how: &str, wanted: &str| format!("SSL_GET {{ {how}\n url {{ path /\n regex \"{wanted}\" }} }}");
    passes(&get("", "^.. HTTP/1.0 TLSv1.3$")).await;
    passes(&get("http_protocol 1.1\n enable_sni\n virtualhost good.test", "^.good.test. HTTP/1.1")).await;
    passes(&get("http_protocol 2\n sni_name shop.test\n tls_compliant", "^.shop.test. HTTP/2.0")).await;
    // Whose certificate it is nobody asks, unless it is to be verified.
    let ca = format!("SSL {{ ca {} }}", path("ca.pem"));
    let verified = |name: &str| get(&format!("verify_certificate\n sni_name {name}"), "");
    assert_eq!(tried(&config(&ca, &verified("good.test"))).await, ["+"]);
    let words = tried(&config(&ca, &verified("other.test"))).await;
    assert!(words[0].contains("not valid for name"), "{words:?}");
    let other = tempfile::tempdir().unwrap();
    certificate(other.path(), "good.test");
    let foreign = format!("SSL {{ ca {} }}", other.path().join("ca.pem").display());
    let words = tried(&config(&foreign, &verified("good.test"))).await;
    assert!(words[0].contains("invalid peer certificate"), "{words:?}");
    // One that asks for a certificate gets ours.
    let shown = format!("SSL {{ certificate {}\n key {} }}", path("cert.pem"), path("key.pem"));
    assert_eq!(tried(&config(&shown, &get("connect_port 81", "CN=good.test"))).await, ["+"]);
    fails(&get("connect_port 81", "CN=good.test"), "answers with 400").await;
    // Plain HTTP is no TLS, and HTTP/1.1 no HTTP/2.
    rogue(8080, |stream| {
        request(&stream);
        let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\n\r\n");
    });
    fails(&get("connect_port 8080", ""), "no TLS").await;
    fails(&get("connect_port 81\n http_protocol 2", ""), "no TLS: received fatal alert: NoApplicationProtocol").await;
    let words = format!("s_server -quiet -accept 82 -cert {} -key {}", path("cert.pem"), path("key.pem"));
    let _deaf = start(Command::new("openssl").args(words.split(' ')), 82);
    fails(&get("connect_port 82\n connect_timeout 20\n http_protocol 2", ""), "it does not speak HTTP/2").await;
}

#[tokio::test]
async fn servers_that_cheat_drip_or_never_end_fail_within_their_time() {
    alone();
    let answer = |head: &'static str| {
        move |mut stream: std::net::TcpStream| {
            request(&stream);
            let _ = stream.write_all(head.as_bytes());
        }
    };
    rogue(1001, answer("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort"));
    rogue(1002, answer("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"));
    rogue(1003, answer("this is no HTTP\r\n\r\n"));
    rogue(1004, answer(""));
    rogue(1005, |stream| {
        request(&stream);
        let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        let chunk = [b"10000\r\n".as_slice(), &[b'x'; 0x10000], b"\r\n"].concat();
        for_ever(&stream, &chunk, Duration::ZERO);
    });
    rogue(1006, |stream| {
        request(&stream);
        let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n");
        for_ever(&stream, b".", Duration::from_millis(50));
    });
    rogue(1007, |stream| {
        request(&stream);
        let _ = (&stream).write_all(b"HTTP/1.1 200 OK\r\n");
        for_ever(&stream, format!("X-Header: {}\r\n", "y".repeat(1000)).as_bytes(), Duration::ZERO);
    });
    rogue(1008, |stream| std::thread::sleep(Duration::from_secs(if stream.peer_addr().is_ok() { 60 } else { 0 })));
    let get = |port: u16, url: &str| {
        format!("HTTP_GET {{ connect_port {port}\n connect_timeout 2\n url {{ path /\n {url} }} }}")
    };
    let begin = Instant::now();
    fails(&get(1001, ""), "end of file before message length reached").await;
    fails(&get(1002, ""), "HTTP").await;
    fails(&get(1003, ""), "HTTP").await;
    fails(&get(1004, ""), "HTTP").await;
    // Whose body nobody looks at is judged by its code, after a glance.
    passes(&get(1005, "")).await;
    fails(&get(1005, "regex nowhere"), "does not match").await;
    fails(&get(1006, ""), "no end within 2s").await;
    fails(&get(1007, ""), "HTTP").await;
    fails(&get(1008, ""), "no end within 2s").await;
    // Nine tries of two seconds each, and as much again for a busy machine.
    assert!(begin.elapsed() < Duration::from_secs(40), "{:?}", begin.elapsed());
    // Of all that a digest needs, 16 MiB are read: in more time than two seconds, on a busy machine.
    let digest = "url { path /\n digest 00000000000000000000000000000000 }";
    fails(&format!("HTTP_GET {{ connect_port 1005\n connect_timeout 60\n {digest} }}"), "longer than 16 MiB").await;
}

#[test]
fn genhash_finds_the_digest_that_a_check_wants() {
    alone();
    let room = tempfile::tempdir().unwrap();
    let _nginx = nginx(room.path(), PAGES, 80);
    let page = genhash::Page {
        server: "127.0.0.1".to_owned(),
        port: 80,
        path: "/".to_owned(),
        tls: false,
        virtualhost: None,
        version: keepone_config::model::HttpVersion::V10,
        mark: 0,
        timeout: Duration::from_secs(20),
    };
    let found = genhash::run(&page).unwrap();
    assert_eq!((found.status, found.length, found.digest.as_str()), (200, 6, HELLO));
    let shop = genhash::run(&genhash::Page { virtualhost: Some("shop.test".to_owned()), ..page.clone() }).unwrap();
    assert_eq!(shop.length, 4);
    let refused = genhash::run(&genhash::Page { port: 1, ..page }).unwrap_err();
    assert!(refused.message.contains("Connection refused"), "{}", refused.message);
}
