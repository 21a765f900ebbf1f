//! The web page of a live pair with a witness, in Chromium: a line is cut and seen, nobody is shut out, and what is
//! said over HTTPS takes a token. Needs root, Chromium and curl.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use keepone_agent::calendar;
use keepone_chaos::fault::{Class, Network, Part};
use keepone_chaos::netns::topology::Kind;
use keepone_tests::binary;
use keepone_tests::browser::Browser;
use keepone_tests::certificates::{Authority, Valid};
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;
use serde_json::json;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);

/// A pair and a witness.
struct Pair {
    lan: Lan,
    nodes: Vec<Program>,
    witness: Program,
}

impl Pair {
    /// Each file of a node with `web` at its end, and the witness's with `at_witness` at its beginning.
    fn start(web: impl Fn(&Path) -> String, at_witness: &str) -> Self {
        let lan = Lan::build(2).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum();
        let file = cluster.write_witness(&lan, 0).unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        std::fs::write(&file, text.replacen("[[cluster]]", &format!("{at_witness}\n[[cluster]]"), 1)).unwrap();
        let program = binary::find("keepone-witness");
        let command = [program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
        let witness = lan.start_at(Kind::Witness(0), &command).unwrap();
        let mut pair = Pair { lan, nodes: Vec::new(), witness };
        for node in 0..2 {
            let text = cluster.of_node(&pair.lan, node) + &web(pair.lan.room());
            let file = pair.lan.write(&format!("n{}.toml", node + 1), &text).unwrap();
            let keepone = binary::find("keepone");
            let command = [keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
            let started = pair.lan.start(node, &command).unwrap();
            pair.nodes.push(started);
        }
        pair
    }

    fn said(&self) -> String {
        let nodes: Vec<String> = self.nodes.iter().map(Program::said).collect();
        format!("{}\n--\n{}", nodes.join("\n--\n"), self.witness.said())
    }

    fn browser(&self, kind: Kind) -> Browser {
        Browser::start(&self.lan.host(kind).namespace).unwrap()
    }
}

/// Waits until a script is true.
#[track_caller]
fn is_seen(browser: &mut Browser, pair: &Pair, script: &str, within: Duration) -> Duration {
    let begin = Instant::now();
    let seen = std::cell::RefCell::new(browser);
    let page = || {
        let text = seen.borrow_mut().run("document.body.innerText").unwrap_or_default();
        format!("not seen: {script}\n{}\n{}", text.as_str().unwrap_or_default(), pair.said())
    };
    eventually(within, page, || seen.borrow_mut().run(script).is_ok_and(|value| value == true).then_some(()));
    begin.elapsed()
}

#[track_caller]
fn audit(browser: &mut Browser, what: &str) {
    let found = browser.run(include_str!("audit.js")).unwrap();
    assert_eq!(found, json!([]), "{what}: {found:#}");
}

/// Pictures are kept where `PICTURES` says.
fn picture(browser: &mut Browser, name: &str) {
    if let Some(directory) = std::env::var_os("PICTURES").map(PathBuf::from) {
        std::fs::write(directory.join(format!("{name}.png")), browser.picture().unwrap()).unwrap();
    }
}

/// The event log of a run of n1's that has ended.
fn write_history(room: &Path) {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let event = |minutes: u64, mut event: serde_json::Value| {
        event["at"] = calendar::format(now - Duration::from_secs(60 * minutes)).into();
        event["t_ns"] = (100 - minutes).into();
        event["node"] = "n1".into();
        format!("{event}\n")
    };
    let change = |minutes, from: &str, to: &str, what: &str| {
        event(minutes, json!({ "kind": "transition", "domain": "VI_1", "from": from, "to": to, "what": what }))
    };
    let lines = [
        change(55, "INIT", "BACKUP", "another is MASTER"),
        change(46, "BACKUP", "MASTER", "it is elected"),
        change(31, "MASTER", "FAULT", "an interface is down"),
        event(
            30,
            json!({ "kind": "alert", "name": "isolated", "raised": true, "severity": "critical", "remedy": "see which lines are down" }),
        ),
        event(25, json!({ "kind": "alert", "name": "isolated", "raised": false, "severity": "critical" })),
        change(24, "FAULT", "BACKUP", "another is MASTER"),
        change(12, "BACKUP", "MASTER", "it is elected"),
        event(2, json!({ "kind": "note", "what": "uid 0 (pid 1) sets the log to debug" })),
        change(1, "MASTER", "INIT", "the agent ends"),
    ];
    let run_dir = room.join("n1-run");
    std::fs::create_dir_all(&run_dir).unwrap();
    std::fs::write(run_dir.join("events.jsonl"), lines.concat()).unwrap();
}

#[test]
fn a_line_that_is_cut_is_seen_at_once_and_nobody_is_shut_out() {
    let web = |room: &Path| {
        write_history(room);
        String::from("\n[web]\nlisten = \"127.0.0.1:8443\"\n")
    };
    let mut pair = Pair::start(web, "");
    let mut browser = pair.browser(Kind::Node(0));
    let page = "http://127.0.0.1:8443/";
    eventually(SOON, || pair.said(), || browser.visit(page).ok());
    is_seen(&mut browser, &pair, "document.querySelector('.headline').textContent === 'n1 holds VI_1.'", SOON);
    is_seen(&mut browser, &pair, "document.querySelectorAll('#links tbody .good').length >= 2", SOON);
    is_seen(&mut browser, &pair, "document.getElementById('pulse').textContent === 'Live.'", SOON);
    // The picture follows the headline by a moment.
    let last = "[...document.querySelectorAll('#hour .span title')].at(-1)?.textContent === 'MASTER'";
    is_seen(&mut browser, &pair, last, SOON);
    // What a former run has on record is in the picture of the hour, before what this one has done.
    let hour =
        browser.run("[...document.querySelectorAll('#hour .span title')].map((title) => title.textContent)").unwrap();
    let hour: Vec<&str> = hour.as_array().unwrap().iter().filter_map(serde_json::Value::as_str).collect();
    assert!(hour.starts_with(&["BACKUP", "MASTER", "FAULT", "BACKUP", "MASTER", "INIT"]), "{hour:?}");
    assert_eq!(hour.last(), Some(&"MASTER"), "{hour:?}");
    assert_eq!(browser.run("document.querySelectorAll('#hour .mark').length").unwrap(), 1);

    let sizes = [("wide", (1280, 900)), ("narrow", (390, 844))];
    for (name, size) in sizes {
        for (room, is_dark) in [("light", false), ("dark", true)] {
            browser.look(size, is_dark).unwrap();
            audit(&mut browser, &format!("{name}, {room}"));
            picture(&mut browser, &format!("{name}-{room}"));
        }
    }
    browser.look((1280, 900), false).unwrap();

    // The lease is counted down, and renewed.
    browser.run("window.seen = new Set(); setInterval(() => seen.add(document.querySelector('[data-count]').textContent), 20)").unwrap();
    is_seen(&mut browser, &pair, "seen.size > 5", SOON);

    // m·h is 300 ms, the page asks each 250 ms. A second is what is promised; a busy machine is given more, and the
    // least of it is far below a page that is loaded anew.
    pair.lan.cut_nodes(Network::Heartbeat(0), Class::All).unwrap();
    let cut = "document.querySelector('#lines svg .cut') !== null && \
               [...document.querySelectorAll('#links tr')].some((row) => /hb0[^]*DOWN/.test(row.innerText)) && \
               /Down: hb0 to n2/.test(document.getElementById('headline').innerText)";
    let took = is_seen(&mut browser, &pair, cut, Duration::from_secs(5));
    println!("seen after {took:?}");
    is_seen(&mut browser, &pair, "document.querySelector('.headline').textContent === 'n1 holds VI_1.'", SOON);
    audit(&mut browser, "with a line cut");
    thread::sleep(Duration::from_secs(2));
    picture(&mut browser, "cut");

    // Without scripts the same is in the page itself.
    browser.ask("Emulation.setScriptExecutionDisabled", json!({ "value": true })).unwrap();
    browser.visit(page).unwrap();
    let text = browser.run("document.body.innerText").unwrap();
    for word in ["n1 holds VI_1.", "hb0", "DOWN", "MASTER", "Events of the last hour"] {
        assert!(text.as_str().unwrap().contains(word), "{word} is missing:\n{text}");
    }
    assert!(
        browser.run("document.getElementById('pulse').textContent").unwrap().as_str().unwrap().starts_with("As it was")
    );
    browser.ask("Emulation.setScriptExecutionDisabled", json!({ "value": false })).unwrap();
    browser.visit(page).unwrap();
    pair.lan.heal().unwrap();
    is_seen(&mut browser, &pair, "document.querySelector('#lines svg .cut') === null", SOON);
}

/// What curl is told, from the client's machine: the status and the body.
fn curl(pair: &Pair, arguments: &[&str]) -> (u16, String) {
    let net = format!(
        "--net=/proc/{}/fd/{}",
        std::process::id(),
        std::os::fd::AsRawFd::as_raw_fd(pair.lan.host(Kind::Client(0)).namespace.file())
    );
    let mut command = std::process::Command::new("nsenter");
    command.args([&net, "--", "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}"]).args(arguments);
    let said = String::from_utf8(command.output().unwrap().stdout).unwrap();
    let (body, status) = said.rsplit_once('\n').unwrap_or_default();
    (status.parse().unwrap_or(0), body.to_owned())
}

#[test]
fn beyond_the_host_it_takes_tls_and_a_token_and_an_operator_hands_over_by_it() {
    let (read, operate) = ("read-0123456789abcdef0123", "operate-0123456789abcdef0123");
    let web = |room: &Path| {
        let authority = Authority::new(room, "web-ca").unwrap();
        let pair = authority.sign("web", None, Valid::Now).unwrap();
        let tokens = room.join("tokens");
        std::fs::write(&tokens, format!("ann read {read}\nbob operate {operate}\n")).unwrap();
        std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
        format!(
            "\n[web]\nlisten = \"0.0.0.0:8443\"\ncert_file = \"{}\"\ncert_key_file = \"{}\"\ntoken_file = \"{}\"\n",
            pair.certificate.display(),
            pair.key.display(),
            tokens.display()
        )
    };
    let pair = Pair::start(web, "");
    let at = format!("https://{}:8443", pair.lan.address(0));
    let bearer = |token: &str| format!("Authorization: Bearer {token}");
    let ask = |path: &str, more: &[&str]| {
        let url = format!("{at}{path}");
        curl(&pair, &[&["-k", url.as_str()], more].concat())
    };
    eventually(SOON, || pair.said(), || (ask("/v1/status", &["-H", &bearer(read)]).0 == 200).then_some(()));
    assert_eq!(ask("/v1/status", &[]).0, 401);
    assert_eq!(ask("/v1/status", &["-H", &bearer("read-0123456789abcdef0124")]).0, 401);
    // Whoever does not speak TLS is told nothing.
    assert_eq!(curl(&pair, &[&at.replace("https", "http")]).0, 0);
    assert_eq!(ask("/v1/status", &["--tls-max", "1.1", "-H", &bearer(read)]).0, 0);
    let holder = || {
        let (_, body) = ask("/v1/status", &["-H", &bearer(read)]);
        serde_json::from_str::<serde_json::Value>(&body)
            .ok()
            .map(|value| value["answer"]["domains"][0]["holder"].clone())
    };
    eventually(SOON, || pair.said(), || (holder()? == "n1").then_some(()));
    // What it took a second ago it does not hand over.
    thread::sleep(Duration::from_millis(1200));
    let over = ["-d", "{\"instance\":\"VI_1\",\"to\":\"n2\"}"];
    assert_eq!(ask("/v1/handover", &[&["-H", &bearer(read)], &over[..]].concat()).0, 403);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(holder().unwrap(), "n1", "a token that may read has operated\n{}", pair.said());
    let (status, body) = ask("/v1/handover", &[&["-H", &bearer(operate)], &over[..]].concat());
    assert_eq!((status, body.trim()), (200, "{\"answer\":{\"to\":\"n2\"},\"version\":1}"), "{}", pair.said());
    eventually(SOON, || pair.said(), || (holder()? == "n2").then_some(()));
    let events = std::fs::read_to_string(pair.lan.room().join("n1-run/events.jsonl")).unwrap();
    assert!(events.contains("bob (by a token) hands VI_1 over to n2"), "{events}");

    // A browser signs in, and is shown the same.
    let mut browser = pair.browser(Kind::Client(0));
    browser.visit(&at).unwrap();
    audit(&mut browser, "to sign in");
    let sign_in = |token: &str| {
        format!("document.getElementById('token').value = '{token}'; document.querySelector('form').submit()")
    };
    browser.run(&sign_in("wrong")).unwrap();
    is_seen(&mut browser, &pair, "/There is no such token/.test(document.body.innerText)", SOON);
    browser.run(&sign_in(read)).unwrap();
    is_seen(&mut browser, &pair, "document.querySelector('.headline')?.textContent === 'n2 holds VI_1.'", SOON);
    is_seen(&mut browser, &pair, "document.getElementById('pulse')?.textContent === 'Live.'", SOON);
    audit(&mut browser, "signed in");
    assert_eq!(browser.run("document.cookie").unwrap(), "", "a script can read the cookie");

    // The agent is stopped: the page says so, and keeps what it had.
    pair.nodes[0].signal(Part::Both, Signal::SIGSTOP);
    is_seen(
        &mut browser,
        &pair,
        "/Nothing has come from the program/.test(document.getElementById('trouble').textContent)",
        SOON,
    );
    pair.nodes[0].signal(Part::Both, Signal::SIGCONT);
    is_seen(&mut browser, &pair, "document.getElementById('trouble').hidden", SOON);
}

#[test]
fn a_reload_moves_the_listener_and_the_master_stays() {
    let pair = Pair::start(|_| String::from("\n[web]\nlisten = \"127.0.0.1:8443\"\n"), "");
    let at = |port: u16| {
        let net = format!("--net=/proc/{}/ns/net", pair.nodes[0].pid());
        let mut command = std::process::Command::new("nsenter");
        let output = command
            .args([&net, "--", "curl", "-sS", "--max-time", "20"])
            .arg(format!("http://127.0.0.1:{port}/v1/status"));
        serde_json::from_slice::<serde_json::Value>(&output.output().unwrap().stdout).ok()
    };
    let domain = |port| at(port).map(|status| status["answer"]["domains"][0].clone());
    eventually(SOON, || pair.said(), || (domain(8443)?["role"] == "MASTER").then_some(()));
    let epoch = domain(8443).unwrap()["epoch"].clone();
    let file = pair.lan.room().join("n1.toml");
    std::fs::write(&file, std::fs::read_to_string(&file).unwrap().replace(":8443", ":8444")).unwrap();
    pair.nodes[0].signal(Part::Guardian, Signal::SIGHUP);
    let moved = eventually(SOON, || pair.said(), || domain(8444));
    assert_eq!(moved["epoch"], epoch, "it took a new worker, or the lease was lost\n{}", pair.said());
    eventually(SOON, || pair.said(), || at(8443).is_none().then_some(()));
}

#[test]
fn the_witness_has_a_page_too() {
    let pair = Pair::start(|_| String::new(), "[web]\nlisten = \"127.0.0.1:8443\"\n");
    let mut browser = pair.browser(Kind::Witness(0));
    eventually(SOON, || pair.said(), || browser.visit("http://127.0.0.1:8443/").ok());
    is_seen(&mut browser, &pair, "/ lent to n1\\.$/.test(document.querySelector('.headline').textContent)", SOON);
    is_seen(&mut browser, &pair, "document.querySelectorAll('#members tbody tr').length === 2", SOON);
    is_seen(&mut browser, &pair, "document.getElementById('pulse').textContent === 'Live.'", SOON);
    for (name, size, is_dark) in [("wide", (1280, 900), false), ("narrow", (390, 844), true)] {
        browser.look(size, is_dark).unwrap();
        audit(&mut browser, &format!("the witness's, {name}"));
        picture(&mut browser, &format!("witness-{name}"));
    }

    // An audit that finds nothing must be one that can.
    for (fault, rule) in [
        ("<h1>another</h1>", "one h1"),
        ("<h4>below nothing</h4>", "1.3.1 a level"),
        ("<p id=main>twice</p>", "4.1.1"),
        ("<svg viewBox='0 0 1 1'></svg>", "1.1.1 a picture"),
        ("<img src='data:,'>", "1.1.1 an image"),
        ("<table><tr><td>1</td></tr></table>", "1.3.1 a table without caption"),
        ("<table><caption>c</caption><thead><tr><th>h</th></tr></thead></table>", "1.3.1 a header without scope"),
        ("<button></button>", "4.1.2"),
        ("<p tabindex=5>first</p>", "2.4.3"),
        ("<p class=grey id=pale>pale</p><svg role=img aria-labelledby=pale><text class=grey>x</text></svg>", ""),
        ("<p id=faint>faint</p>", "1.4.3"),
    ] {
        let put = format!(
            "var box = document.createElement('div'); box.innerHTML = {fault:?}; \
             document.getElementById('main').append(box); \
             var faint = document.getElementById('faint'); if (faint) faint.style.color = '#777'; true"
        );
        browser.run(&put).unwrap();
        let found = browser.run(include_str!("audit.js")).unwrap().to_string();
        assert!(if rule.is_empty() { found == "[]" } else { found.contains(rule) }, "{fault}: {found}");
        browser.run("box.remove()").unwrap();
    }
}
