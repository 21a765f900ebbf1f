//! Who is told beyond the machine: mail through a real relay, webhooks to a real receiver, in order and each change
//! once, whatever dies in between. Needs root, Debian's python3-aiosmtpd, and openssl.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::Duration;

use keepone_chaos::fault::{Network, Part};
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::advert::{Forger, GROUP, version_3};
use keepone_tests::binary;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;
use serde_json::Value;

const RELAY: &str = include_str!("mail/relay.py");
const RECEIVER: &str = include_str!("mail/receiver.py");
/// Debian's, which has Debian's modules.
const PYTHON: &str = "/usr/bin/python3";
/// A machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(60);

/// An alert that is critical is everywhere within a second; a machine that is busy with other tests may take longer.
const AT_ONCE: Duration = Duration::from_secs(1);
const BUSY: Duration = Duration::from_secs(4);

/// One node without a peer that runs, and a machine for those who are told.
struct Room {
    lan: Lan,
    cluster: Cluster,
}

impl Room {
    fn new() -> Self {
        let lan = Lan::build(1).unwrap();
        let cluster = Cluster::new(&lan).unwrap();
        let room = Room { lan, cluster };
        room.set(false);
        room.lan.write("relay.py", RELAY).unwrap();
        room.lan.write("receiver.py", RECEIVER).unwrap();
        room.lan.write("hook.key", "a key of the test\n").unwrap();
        room
    }

    fn path(&self, name: &str) -> PathBuf {
        self.lan.room().join(name)
    }

    fn shown(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    fn address(&self) -> Ipv4Addr {
        self.lan.host(Kind::Client(0)).port(Network::Lan).unwrap().address
    }

    /// The node's file: its instance goes by the number in `tf`.
    fn write(&self, globals: &str, more: &str) -> PathBuf {
        let text = self.cluster.of_node(&self.lan, 0);
        let instance = "smtp_alert = true\ntrack_file = [\"tf weight 0\"]\n";
        let file = self.path("tf");
        let track = format!("\n[[track_file]]\nname = \"tf\"\nfile = \"{}\"\n", file.display());
        self.lan.write("n1.toml", &format!("{text}{instance}{track}\n[global_defs]\n{globals}\n{more}")).unwrap()
    }

    /// Whether the instance is in FAULT.
    fn set(&self, fault: bool) {
        let beside = self.lan.write("tf.new", if fault { "1" } else { "0" }).unwrap();
        fs::rename(beside, self.path("tf")).unwrap();
    }

    fn script(&self, name: &str, body: &str) {
        let file = self.lan.write(name, &format!("#!/bin/sh\n{body}\n")).unwrap();
        fs::set_permissions(file, Permissions::from_mode(0o755)).unwrap();
    }

    fn agent(&self) -> Program {
        let file = self.shown("n1.toml");
        self.lan.start(0, &[binary::find("keepone").to_str().unwrap(), "run", "-c", &file]).unwrap()
    }

    /// Starts one who is told, with these further arguments.
    fn listener(&self, script: &str, port: u16, more: &[&str]) -> Program {
        let (script, address, port) = (self.shown(script), self.address().to_string(), port.to_string());
        let mut command = vec![PYTHON, &script, &address, &port];
        command.extend(more);
        // What another one has said there is none of its words.
        let _ = fs::write(self.path(&format!("{}.log", self.lan.host(Kind::Client(0)).name)), "");
        let mut program = self.lan.start_at(Kind::Client(0), &command).unwrap();
        assert!(program.says("ready", SOON), "{}", program.said());
        program
    }

    /// A certificate for the address that it vouches for itself.
    fn certificate(&self, name: &str) {
        let settings = format!(
            "[req]\ndistinguished_name = d\nx509_extensions = e\nprompt = no\n[d]\nCN = {name}\n[e]\n\
             basicConstraints = critical,CA:FALSE\nsubjectAltName = IP:{}\n",
            self.address()
        );
        let settings = self.lan.write(&format!("{name}.cnf"), &settings).unwrap();
        let (key, certificate) = (self.shown(&format!("{name}.key")), self.shown(&format!("{name}.pem")));
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"])
            .args(["-keyout", &key, "-out", &certificate, "-config"])
            .arg(settings)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// The node's file: with a script, a FIFO, a mail server and a webhook.
    fn tells_everybody(&self) {
        let address = self.address();
        let (script, fifo) = (self.shown("alert.sh"), self.shown("fifo"));
        self.script("alert.sh", &format!("echo \"$(date +%s.%N) $2 $3\" >> {}", self.shown("script.seen")));
        let seen = self.shown("fifo.seen");
        self.script(
            "fifo.sh",
            &format!("exec 3<> {fifo}; while read -r line; do echo \"$(date +%s.%N) $line\" >> {seen}; done <&3"),
        );
        let globals = format!(
            "alert_script = \"{script} root\"\nevent_fifo = \"{fifo}\"\nrouter_id = \"lb1\"\n\
             smtp_server = [\"{address}\", 2525]\nnotification_email = [\"admin@example.com\", \"root\"]\n\
             notification_email_from = \"lb@example.com\"\nsmtp_connect_timeout = 3\n\
             smtp_helo_name = \"lb1.example.com\""
        );
        let webhook = format!(
            "[[webhook]]\nname = \"ops\"\nurl = \"http://{address}:8080/in?a=1\"\nsecret_file = \"{}\"\n",
            self.shown("hook.key")
        );
        self.write(&globals, &webhook);
    }

    fn lines(&self, name: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.path(name)).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The changes that the event log of the node has, without those that only the node itself knows of: that it was a
    /// candidate, and is again what it was before.
    fn changes(&self) -> Vec<String> {
        let all = self.lines("n1-run/events.jsonl");
        let all = all.iter().filter(|event| event["kind"] == "transition" && event["to"] != "CLAIMING");
        let mut changes: Vec<(&str, &str)> = all.map(|event| (text(&event["to"]), text(&event["reason"]))).collect();
        changes.dedup_by_key(|(to, _)| *to);
        changes.iter().map(|(to, reason)| format!("{to} {reason}")).collect()
    }

    /// Waits for that many changes of the node to a role.
    #[track_caller]
    fn until(&self, agent: &Program, role: &str, count: usize) {
        let found = || self.changes().iter().filter(|change| change.starts_with(role)).count();
        eventually(
            SOON,
            || format!("{role} {} times, not {count}\n{}", found(), agent.said()),
            || (found() >= count).then_some(()),
        );
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

/// The changes in mails, in the order of the mails and within them: role and reason.
fn mailed(mails: &[Value]) -> Vec<String> {
    let mut changes = Vec::new();
    for mail in mails {
        let mut role = None;
        for line in text(&mail["body"]).lines() {
            if let Some((_, to)) = line.split_once("Z  VI_1: ").and_then(|(_, change)| change.split_once(" -> ")) {
                role = Some(to.to_owned());
            } else if let Some(why) = line.strip_prefix("    why       ") {
                changes.push(format!("{} {why}", role.take().unwrap()));
            }
        }
    }
    changes
}

/// Those of webhooks.
fn posted(events: &[Value]) -> Vec<String> {
    let all = events.iter().map(|line| &line["event"]).filter(|event| event["kind"] == "transition");
    all.map(|event| format!("{} {}", text(&event["to"]), text(&event["reason"]))).collect()
}

/// The first place of a mail with these words in its subject.
#[track_caller]
fn place(mails: &[Value], words: &str) -> usize {
    let found = mails.iter().position(|mail| text(&mail["subject"]).contains(words));
    found.unwrap_or_else(|| panic!("no mail about {words}: {mails:#?}"))
}

/// Who reads the FIFO; ends with the test, however that ends.
struct Reader(Child);

impl Reader {
    fn start(room: &Room) -> Self {
        let reader = Reader(Command::new(room.path("fifo.sh")).spawn().unwrap());
        // Lines that come before it has the FIFO are lost to it.
        let opened = PathBuf::from(format!("/proc/{}/fd/3", reader.0.id()));
        eventually(SOON, || "the reader has not opened the FIFO".to_owned(), || opened.exists().then_some(()));
        reader
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The last alert of that name: the script, the FIFO, the mail and the webhook, each counted from when the node found it.
fn is_everywhere_at_once(room: &Room, agent: &Program, name: &str, mailed_at: f64) {
    let is_one = |event: &Value| event["name"] == name && event["raised"] == true;
    let all = room.lines("n1-run/events.jsonl");
    let event = all.iter().rfind(|event| is_one(event)).unwrap();
    let seconds = |words: &str| words.trim().parse::<f64>().unwrap();
    let date = Command::new("date").args(["-d", text(&event["at"]), "+%s.%N"]).output().unwrap();
    let found_at = seconds(&String::from_utf8(date.stdout).unwrap());
    // Each reader writes when a line came, and the line.
    let came = |file: &str, is_it: &dyn Fn(&str) -> bool| {
        let lines = || fs::read_to_string(room.path(file)).unwrap_or_default();
        let last = || {
            let lines = lines();
            let found = lines.lines().filter_map(|line| line.split_once(' ')).filter(|(_, line)| is_it(line)).last();
            found.map(|(at, _)| seconds(at)).filter(|at| *at >= found_at - 0.001)
        };
        eventually(SOON, || format!("{file}:\n{}\n{}", lines(), agent.said()), last)
    };
    let in_fifo = came("fifo.seen", &|line| is_one(&serde_json::from_str(line).unwrap()));
    let by_script = came("script.seen", &|line| line == format!("{name} raised"));
    let posted = || {
        let lines = room.lines("events");
        let last = lines.iter().rfind(|line| is_one(&line["event"]))?["at"].as_f64();
        last.filter(|at| *at >= found_at - 0.001)
    };
    let posted = eventually(SOON, || agent.said(), posted);
    for (channel, at) in [("script", by_script), ("FIFO", in_fifo), ("mail", mailed_at), ("webhook", posted)] {
        let took = Duration::from_secs_f64((at - found_at).max(0.0));
        println!("{name}: {channel} {took:.0?} later");
        assert!(took < AT_ONCE + BUSY, "{channel} {took:?} later\n{}", agent.said());
    }
}

/// By Advertisements of a router that holds the address too, and is no node of ours.
#[test]
fn a_second_holder_is_told_to_everybody_at_once() {
    let room = Room::new();
    room.tells_everybody();
    let mut relay = room.listener("relay.py", 2525, &[&room.shown("mails")]);
    let mut receiver = room.listener("receiver.py", 8080, &[&room.shown("events"), &room.shown("hook.key")]);
    let agent = room.agent();
    room.until(&agent, "MASTER", 1);
    // The agent has made the FIFO.
    let reader = Reader::start(&room);
    let forger = Forger::new(&room.lan.host(Kind::Client(0)).namespace).unwrap();
    let alarms = || {
        forger.send(GROUP, &version_3(51, 10, 25, VIP));
        let mails = room.lines("mails");
        mails.into_iter().find(|mail| text(&mail["subject"]).contains("ALERT dual-master of VI_1, critical"))
    };
    let alarm = eventually(SOON, || agent.said(), alarms);
    is_everywhere_at_once(&room, &agent, "dual-master", alarm["at"].as_f64().unwrap());
    drop(reader);
    relay.kill();
    receiver.kill();
}

#[test]
fn each_change_is_told_once_and_in_order_though_relay_receiver_and_agent_are_away() {
    let room = Room::new();
    room.tells_everybody();
    // Nobody is there to be told.
    let mut agent = room.agent();
    room.until(&agent, "MASTER", 1);
    for count in 1..=2 {
        room.set(true);
        room.until(&agent, "FAULT", count);
        room.set(false);
        room.until(&agent, "MASTER", count + 1);
    }
    // What has left the decision is on disk within milliseconds; this is not about a crash in between.
    std::thread::sleep(Duration::from_secs(1));
    assert!(agent.said().contains("mail is not taken, and waits"), "{}", agent.said());
    agent.kill();
    let of_former = room.changes().len();
    let (mails, events) = (room.shown("mails"), room.shown("events"));
    fs::write(room.path("events.refuse"), "").unwrap();
    let mut relay = room.listener("relay.py", 2525, &[&mails]);
    let mut receiver = room.listener("receiver.py", 8080, &[&events, &room.shown("hook.key")]);
    let reader = Reader::start(&room);
    let mut agent = room.agent();
    room.until(&agent, "MASTER", 4);
    fs::remove_file(room.path("events.refuse")).unwrap();
    eventually(SOON, || agent.said(), || (mailed(&room.lines("mails")).len() >= of_former).then_some(()));
    let former = room.lines("mails").len();
    // What can't wait goes before what waits for the next digest.
    let demotions = |mails: &[Value]| {
        let is_one = |mail: &&Value| text(&mail["subject"]).contains("ALERT self-demoted of VI_1, critical");
        mails.iter().filter(is_one).cloned().collect::<Vec<_>>()
    };
    let before = demotions(&room.lines("mails")).len();
    room.set(true);
    room.until(&agent, "FAULT", 3);
    let demotion = eventually(SOON, || agent.said(), || demotions(&room.lines("mails")).get(before).cloned());
    let so_far = room.lines("mails");
    let at = so_far.iter().position(|mail| *mail == demotion).unwrap();
    let faults = mailed(&so_far[..=at]).iter().filter(|change| change.starts_with("FAULT")).count();
    assert_eq!(faults, 2, "the change itself is in the digest that follows: {so_far:#?}");
    is_everywhere_at_once(&room, &agent, "self-demoted", demotion["at"].as_f64().unwrap());
    drop(reader);
    room.set(false);
    room.until(&agent, "MASTER", 5);
    // The relay dies, and another life of it comes.
    relay.kill();
    room.set(true);
    room.until(&agent, "FAULT", 4);
    room.set(false);
    room.until(&agent, "MASTER", 6);
    let mut relay = room.listener("relay.py", 2525, &[&mails]);
    eventually(SOON, || agent.said(), || (mailed(&room.lines("mails")).len() >= room.changes().len()).then_some(()));
    agent.signal(Part::Guardian, Signal::SIGTERM);
    assert!(agent.wait(SOON).is_some_and(|status| status.success()), "{}", agent.said());

    let (mails, events, changes) = (room.lines("mails"), room.lines("events"), room.changes());
    relay.kill();
    receiver.kill();
    assert_eq!(mailed(&mails), changes, "{mails:#?}");
    assert_eq!(posted(&events), changes);
    assert!(changes.last().unwrap().starts_with("INIT"), "the stop is told, too: {changes:?}");
    println!(
        "{} changes, {of_former} of the former life; {} mails, {former} for that; {} events",
        changes.len(),
        mails.len(),
        events.len()
    );
    assert!(mails.len() < changes.len(), "a digest folds");
    let unique =
        |of: &[Value], field: &str| of.iter().map(|line| text(&line[field]).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(unique(&mails, "id").len(), mails.len());
    assert_eq!(unique(&events, "key").len(), events.len());
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    for mail in &mails {
        assert_eq!(mail["to"], serde_json::json!(["admin@example.com", format!("root@{}", host.trim())]));
        assert_eq!((text(&mail["from"]), text(&mail["helo"])), ("lb@example.com", "lb1.example.com"));
        assert_eq!(text(&mail["auto"]), "auto-generated");
        assert!(text(&mail["subject"]).starts_with("[lb1] "), "{mail:#?}");
    }
    for line in &events {
        assert_eq!(line["is_signed"], Value::Bool(true), "{line:#?}");
        let event = &line["event"];
        assert_eq!((&line["key"], &event["version"], text(&event["node"])), (&event["id"], &Value::from(1), "lb1"));
        assert_eq!((text(&line["type"]), text(&line["path"])), ("application/json", "/in?a=1"));
    }
    // The alerts: their remedy is in the mail.
    let demoted = place(&mails, "ALERT self-demoted");
    assert!(text(&mails[demoted]["body"]).contains("    to do     the evidence names the reason"), "{mails:#?}");
}

#[test]
fn without_the_tls_that_is_asked_for_nothing_is_mailed_and_a_reload_finds_the_relay_that_has_it() {
    let room = Room::new();
    let address = room.address();
    room.certificate("good");
    room.certificate("bad");
    room.lan.write("password", "secret\n").unwrap();
    let globals = |port: u16, tls: &str, ca: &str| {
        format!(
            "smtp_server = [\"{address}\", {port}]\nnotification_email = [\"nobody@example.com\", \
             \"admin@example.com\"]\nsmtp_connect_timeout = 3\nsmtp_tls = \"{tls}\"\nsmtp_ca_file = \"{}\"\nsmtp_user \
             = \"keepone\"\nsmtp_password_file = \"{}\"",
            room.shown(ca),
            room.shown("password")
        )
    };
    let webhook = |ca: &str| {
        let (key, ca) = (room.shown("hook.key"), room.shown(ca));
        format!(
            "[[webhook]]\nname = \"s\"\nurl = \"https://{address}:8443/\"\nsecret_file = \"{key}\"\nca_file = \
             \"{ca}\"\nevents = [\"transition\"]\n"
        )
    };
    let (certificate, key) = (room.shown("good.pem"), room.shown("good.key"));
    let (plain, start, implicit, posts) =
        (room.shown("plain"), room.shown("start"), room.shown("implicit"), room.shown("posts"));
    let _relays = [
        room.listener("relay.py", 2525, &[&plain]),
        room.listener("relay.py", 2587, &[&start, &certificate, &key]),
        room.listener("relay.py", 2465, &[&implicit, &certificate, &key, "implicit"]),
        room.listener("receiver.py", 8443, &[&posts, &room.shown("hook.key"), &certificate, &key]),
    ];
    room.write(&globals(2525, "starttls", "good.pem"), &webhook("bad.pem"));
    let mut agent = room.agent();
    assert!(agent.says("2525 offers no STARTTLS", SOON), "{}", agent.said());
    assert!(agent.says("webhook s is not taken, and waits", SOON), "{}", agent.said());
    room.write(&globals(2587, "starttls", "bad.pem"), &webhook("good.pem"));
    agent.signal(Part::Guardian, Signal::SIGHUP);
    let says = |agent: &Program, words: [&str; 2]| {
        let is_said = || agent.said().lines().any(|line| words.iter().all(|words| line.contains(words))).then_some(());
        eventually(SOON, || agent.said(), is_said);
    };
    says(&agent, ["mail is not taken, and waits", "UnknownIssuer"]);
    room.until(&agent, "MASTER", 1);
    assert_eq!(room.lines("start").len() + room.lines("plain").len(), 0, "nothing to whom nobody vouches for");
    room.write(&globals(2587, "starttls", "good.pem"), &webhook("good.pem"));
    agent.signal(Part::Guardian, Signal::SIGHUP);
    eventually(SOON, || agent.said(), || (mailed(&room.lines("start")).len() >= 2).then_some(()));
    eventually(SOON, || agent.said(), || (posted(&room.lines("posts")).len() >= 2).then_some(()));
    let mails = room.lines("start");
    let changes = room.changes();
    assert_eq!(
        mailed(&mails),
        changes[..mailed(&mails).len()],
        "what waited comes to the relay of the new configuration"
    );
    for mail in &mails {
        assert_eq!((&mail["tls"], &mail["user"]), (&Value::Bool(true), &Value::Bool(true)), "{mail:#?}");
        assert_eq!(mail["to"], serde_json::json!(["admin@example.com"]), "one who is refused keeps no other back");
    }
    says(&agent, ["the relay takes no mail for nobody@example.com", "550"]);
    room.write(&globals(2465, "implicit", "good.pem"), &webhook("good.pem"));
    agent.signal(Part::Guardian, Signal::SIGHUP);
    // The stop is told through the one that the last reload has named.
    eventually(SOON, || agent.said(), || (agent.said().matches("reload: taken over").count() >= 3).then_some(()));
    agent.signal(Part::Guardian, Signal::SIGTERM);
    assert!(agent.wait(SOON).is_some_and(|status| status.success()), "{}", agent.said());
    let last = room.lines("implicit");
    assert_eq!(mailed(&last).last().map(String::as_str), room.changes().last().map(String::as_str), "{last:#?}");
    assert_eq!([mailed(&room.lines("start")), mailed(&last)].concat(), room.changes());
    assert_eq!(posted(&room.lines("posts")), room.changes());
    assert_eq!(room.changes().iter().filter(|change| change.starts_with("INIT")).count(), 1, "one worker all the time");
    assert!(room.lines("posts").iter().all(|line| line["is_signed"] == true && line["event"]["kind"] == "transition"));
    assert_eq!(room.lines("plain").len(), 0);
}

#[test]
fn real_servers_that_come_and_go_are_told_too_and_mailed_unless_they_say_otherwise() {
    let room = Room::new();
    let address = room.address();
    let globals = format!(
        "script_user = \"root\"\nsmtp_server = [\"{address}\", 2525]\nnotification_email = [\"admin@example.com\"]\n\
         smtp_connect_timeout = 3"
    );
    let real = |last: u8, more: &str| {
        let file = room.shown(&format!("up{last}"));
        fs::write(&file, "").unwrap();
        format!(
            "[[virtual_server.real_server]]\naddress = \"10.0.0.{last}\"\nport = 80\n{more}misc_check = {{ misc_path = \
             \"/usr/bin/test -e {file}\", user = \"root\" }}\n"
        )
    };
    let more = format!(
        "[[webhook]]\nname = \"ops\"\nurl = \"http://{address}:8080/\"\nsecret_file = \"{}\"\nevents = [\"server\"]\n\
         [[virtual_server]]\naddress = \"10.9.9.9\"\nport = 80\nprotocol = \"TCP\"\ndelay_loop = 0.3\n\
         delay_before_retry = 0.1\nsmtp_alert = true\n{}{}",
        room.shown("hook.key"),
        real(1, ""),
        real(2, "smtp_alert = false\n")
    );
    let _relay = room.listener("relay.py", 2525, &[&room.shown("mails")]);
    room.write(&globals, &more);
    let _receiver = room.listener("receiver.py", 8080, &[&room.shown("events"), &room.shown("hook.key")]);
    let agent = room.agent();
    let is_mailed = |words: &str| {
        let all = || room.lines("mails").iter().any(|mail| text(&mail["body"]).contains(words));
        eventually(SOON, || format!("{words}\n{}", agent.said()), || all().then_some(()));
    };
    let service = "[10.9.9.9]:tcp:80";
    is_mailed(&format!("virtual server {service}: UP"));
    for last in [2, 1] {
        fs::remove_file(room.path(&format!("up{last}"))).unwrap();
        let posted = || {
            let server = format!("[10.0.0.{last}]:tcp:80");
            room.lines("events")
                .iter()
                .any(|line| line["event"]["server"] == server.as_str() && line["event"]["state"] == "DOWN")
        };
        eventually(SOON, || agent.said(), || posted().then_some(()));
    }
    is_mailed(&format!("real server [10.0.0.1]:tcp:80 of {service}: DOWN"));
    is_mailed(&format!("virtual server {service}: DOWN"));
    let second = |mail: &Value| text(&mail["body"]).contains("10.0.0.2");
    assert!(!room.lines("mails").iter().any(second), "it has no smtp_alert");
    let posted: Vec<String> = (room.lines("events").iter())
        .map(|line| format!("{} {}", line["event"]["server"].as_str().unwrap_or("-"), text(&line["event"]["state"])))
        .collect();
    assert_eq!(posted, ["- UP", "[10.0.0.2]:tcp:80 DOWN", "[10.0.0.1]:tcp:80 DOWN", "- DOWN"]);
}
