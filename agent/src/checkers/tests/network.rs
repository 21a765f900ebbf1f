//! The other checks: TCP, ping, UDP, SMTP, DNS, commands.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use super::servers::{alone, for_ever, ip, rogue, start};
use super::{config, fails, passes, tried};

#[tokio::test]
async fn a_tcp_connection_is_taken_refused_dropped_or_has_no_way() {
    alone();
    let taken = TcpListener::bind("127.0.0.1:80").unwrap();
    passes("TCP_CHECK { connect_timeout 20 }").await;
    fails("TCP_CHECK { connect_port 81 }", "Connection refused").await;
    drop(taken);
    // A full backlog drops what comes, as a host does that is gone.
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&std::net::SocketAddr::from(([127, 0, 0, 1], 82)).into()).unwrap();
    full.listen(0).unwrap();
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], 82));
    let filling: Vec<_> = (0..4).map(|_| TcpStream::connect_timeout(&address, Duration::from_millis(200))).collect();
    assert!(filling.iter().any(Result::is_err), "the backlog is not full");
    let begin = Instant::now();
    fails("TCP_CHECK { connect_port 82\n connect_timeout 1 }", "no end within 1s").await;
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    fails("TCP_CHECK { connect_ip 192.0.2.1 }", "unreachable").await;
    fails("TCP_CHECK { bindto 192.0.2.1 }", "bindto: Cannot assign requested address").await;
    fails("TCP_CHECK { bind_if nowhere0 }", "No such device").await;
}

#[tokio::test]
async fn a_check_goes_the_way_of_its_mark_interface_and_family() {
    alone();
    let _taken = TcpListener::bind("127.0.0.1:80").unwrap();
    ip("rule add fwmark 7 unreachable priority 0");
    ip("rule del from all lookup local");
    ip("rule add from all lookup local priority 1");
    passes("TCP_CHECK { connect_timeout 20\n bind_if lo\n fwmark 6 }").await;
    fails("TCP_CHECK { fwmark 7 }", "unreachable").await;
    fails("PING_CHECK { fwmark 7 }", "unreachable").await;
    fails("UDP_CHECK { connect_port 9\n fwmark 7 }", "unreachable").await;
    let _taken = TcpListener::bind("[::1]:80").unwrap();
    passes("TCP_CHECK { connect_ip ::1\n connect_timeout 20\n bindto ::1 }").await;
}

#[tokio::test]
async fn pings_are_answered_or_not() {
    alone();
    passes("PING_CHECK { connect_timeout 20 }").await;
    passes("PING_CHECK { connect_ip ::1\n connect_timeout 20\n bind_if lo }").await;
    passes("PING_CHECK { connect_timeout 20\n bindto 127.0.0.5 }").await;
    fails("PING_CHECK { connect_ip 192.0.2.1\n connect_timeout 1 }", "unreachable").await;
}

#[tokio::test]
async fn udp_is_refused_silent_or_answered() {
    alone();
    fails("UDP_CHECK { connect_port 7 }", "the port is refused (ICMP)").await;
    let silent = UdpSocket::bind("127.0.0.1:8").unwrap();
    passes("UDP_CHECK { connect_port 8\n connect_timeout 1\n payload 0102ff }").await;
    let mut sent = [0; 16];
    let length = silent.recv(&mut sent).unwrap();
    assert_eq!(&sent[..length], [1, 2, 0xff]);
    fails("UDP_CHECK { connect_port 8\n connect_timeout 1\n require_reply }", "no end within 1s").await;
    let echo = UdpSocket::bind("127.0.0.1:7").unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = echo.recv_from(&mut bytes) {
            echo.send_to(&bytes[..length], from).unwrap();
        }
    });
    let of = |words: &str| format!("UDP_CHECK {{ connect_port 7\n connect_timeout 20\n payload 0102ff\n {words} }}");
    passes(&of("")).await;
    passes(&of("require_reply")).await;
    passes(&of("require_reply 01XX\n min_reply_length 3\n max_reply_length 3")).await;
    fails(&of("require_reply 02"), "does not begin as require_reply says: 0102ff").await;
    fails(&of("require_reply\n min_reply_length 4"), "3 bytes came back, where 4 to 255 are wanted").await;
}

#[tokio::test]
async fn a_mail_server_greets_and_takes_its_leave() {
    alone();
    let _server = start(
        Command::new("/usr/bin/python3").args([
            "-m",
            "aiosmtpd",
            "-n",
            "-c",
            "aiosmtpd.handlers.Sink",
            "-l",
            "127.0.0.1:25",
        ]),
        25,
    );
    let of = |words: &str| format!("SMTP_CHECK {{ connect_timeout 20\n {words} }}");
    passes(&of("connect_port 25\n helo_name tester")).await;
    passes("SMTP_CHECK { host { connect_ip 127.0.0.1\n connect_port 25\n connect_timeout 20 } }").await;
    fails("SMTP_CHECK { host { connect_port 25 }\n host { connect_port 26 } }", "Connection refused").await;
    // Servers that are busy, lose their words or never end.
    let says = |lines: &'static [&'static str]| {
        move |mut stream: TcpStream| {
            let mut commands = BufReader::new(stream.try_clone().unwrap()).lines();
            for (number, line) in lines.iter().enumerate() {
                if number > 0 {
                    commands.next();
                }
                let _ = stream.write_all(line.as_bytes());
            }
        }
    };
    rogue(1001, says(&["554 no service\r\n"]));
    rogue(1002, says(&["220-welcome\r\n220 to all\r\n", "502 what?\r\n"]));
    rogue(1003, says(&["220 hello\r\n"]));
    rogue(1004, |stream| for_ever(&stream, &[b'2'; 1000], Duration::ZERO));
    rogue(1005, |stream| for_ever(&stream, b"220-more\r\n", Duration::ZERO));
    fails(&of("connect_port 1001"), "`554 no service`, where 220 is wanted").await;
    fails(&of("connect_port 1002"), "`502 what?`, where 250 is wanted as the reply to HELO tester").await;
    fails(&of("connect_port 1003"), "reply").await;
    fails(&of("connect_port 1004"), "where 220 is wanted").await;
    fails(&of("connect_port 1005"), "more than 100 lines").await;
}

#[tokio::test]
async fn a_name_server_is_asked_for_each_type() {
    alone();
    let words = "--no-daemon --conf-file=/dev/null --no-resolv --no-hosts --listen-address=127.0.0.1 --bind-interfaces \
                 --host-record=good.test,192.0.2.1 --local=/test/ --user=root --pid-file=";
    let _server = start(Command::new("/usr/sbin/dnsmasq").args(words.split_whitespace()), 53);
    let of = |words: &str| format!("DNS_CHECK {{ connect_port 53\n connect_timeout 20\n {words} }}");
    for kind in ["A", "NS", "CNAME", "SOA", "MX", "TXT", "AAAA", "RRSIG", "DNSKEY"] {
        passes(&of(&format!("type {kind}\n name good.test"))).await;
    }
    fails(&of("type A\n name bad.test"), "Non-Existent Domain").await;
    // It serves no root.
    fails(&of(""), "Query Refused").await;
    fails("DNS_CHECK { connect_port 54 }", "Connection refused").await;
    let rogue = UdpSocket::bind("127.0.0.1:55").unwrap();
    thread::spawn(move || {
        let mut bytes = [0; 2048];
        while let Ok((length, from)) = rogue.recv_from(&mut bytes) {
            // Its own question comes back, and garbage after it.
            rogue.send_to(&bytes[..length], from).unwrap();
        }
    });
    fails("DNS_CHECK { connect_port 55\n connect_timeout 20 }", "another question").await;
}

#[tokio::test]
async fn a_command_says_up_down_or_a_weight_and_is_killed_at_its_timeout() {
    let of = |command: &str, words: &str| format!("MISC_CHECK {{ misc_path \"{command}\"\n user root\n {words} }}");
    passes(&of("/bin/true", "")).await;
    fails(&of("/bin/false", ""), "exit status: 1").await;
    fails(&of("/bin/sh -c 'exit 12'", ""), "exit status: 12").await;
    assert_eq!(tried(&config("", &of("/bin/sh -c 'exit 12'", "misc_dynamic"))).await, ["weight 10"]);
    fails(&of("/nowhere/check", ""), "it can't be run: No such file").await;
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().display().to_string();
    let begin = Instant::now();
    fails(&of(&format!("/bin/sh -c 'sleep 600 & echo $! > {path}; wait'"), "misc_timeout 1"), "killed after 1s").await;
    assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
    let started: u32 = std::fs::read_to_string(&path).unwrap().trim().parse().unwrap();
    let gone = (0..500).any(|_| {
        // An orphan is a zombie until whoever adopted it has waited.
        let state = std::fs::read_to_string(format!("/proc/{started}/stat")).unwrap_or_default();
        thread::sleep(Duration::from_millis(10));
        state.is_empty() || state.contains(") Z ")
    });
    assert!(gone, "process {started} is still there");
}

#[tokio::test]
async fn servers_that_hang_cost_nobody_else_anything() {
    alone();
    rogue(83, |stream| {
        thread::sleep(Duration::from_secs(60));
        drop(stream);
    });
    let hanging = config("", "SMTP_CHECK { connect_port 83\n connect_timeout 30 }");
    let tasks: Vec<_> = (0..200)
        .map(|_| {
            let hanging = hanging.clone();
            tokio::spawn(async move { tried(&hanging).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let _taken = TcpListener::bind("127.0.0.1:80").unwrap();
    let begin = Instant::now();
    passes("TCP_CHECK { connect_timeout 20 }").await;
    // They hang for half a minute each; a busy machine may be late by some seconds.
    assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    assert!(tasks.iter().all(|task| !task.is_finished()), "they do not hang");
}
