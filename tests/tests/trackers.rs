//! What is tracked moves a real address between two nodes: files, processes, quorums of virtual servers with nginx, and
//! BFD sessions with FRR's bfdd. Needs root, nginx, and FRR (`frr` of the distribution).
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::panic::Location;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::{Network, Part};
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::dissect::{Frame, Recorder, dissect};
use keepone_tests::frr::Frr;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

const A: usize = 0;
const B: usize = 1;
/// Wide: the better node may have to find a process by a look each second, and the worse one to wait for its timer, on a
/// machine that is busy with other tests.
const MOVES: Duration = Duration::from_secs(15);

/// The better node tracks something; the other one nothing. Programs end before the network does.
struct Pair {
    programs: Vec<Program>,
    watch: Watch,
    lan: Lan,
}

fn configuration(priority: u8, sources: &str, tracks: &str) -> String {
    format!(
        "{sources}\nvrrp_instance VI_1 {{\n    state BACKUP\n    interface {INTERFACE}\n    virtual_router_id 51\n    \
         version 3\n    priority {priority}\n    advert_int 0.25\n    virtual_ipaddress {{\n        {VIP}/24 dev \
         {INTERFACE}\n    }}\n{tracks}}}\n"
    )
}

impl Pair {
    fn new() -> Self {
        let lan = Lan::build(0).unwrap();
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        Pair { programs: Vec::new(), watch, lan }
    }

    fn start(&mut self, sources: &str, tracks: &str) {
        let keepone = keepone_tests::binary::find("keepone");
        for (node, text) in [configuration(150, sources, tracks), configuration(100, "", "")].iter().enumerate() {
            let file = self.lan.write(&format!("{node}.conf"), text).unwrap();
            let command = [keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
            let mut program = self.lan.start(node, &command).unwrap();
            // Their timers are 50 ms apart, and a busy machine takes longer than that to open a gate: the better node is
            // ahead by what the other one's start takes, or both are Masters until the next Advertisement.
            assert!(program.says("INIT -> ", MOVES), "it does not start:\n{}", program.said());
            self.programs.push(program);
        }
    }

    /// `node` alone has the address soon, and keeps it for more than a timer.
    #[track_caller]
    fn moves_to(&self, node: usize, why: &str) {
        let alone = self.watch.alone(node, MOVES).is_some();
        let until = clock::now() + 1_200_000_000;
        let mut stays = alone;
        while stays && clock::now() < until {
            stays = self.watch.holders() == [node];
            thread::sleep(Duration::from_millis(10));
        }
        let said = |node: usize| self.programs.get(node).map(Program::said).unwrap_or_default();
        assert!(
            stays,
            "{why}: it is not with {node}, but with {:?}\n{}\nA said:\n{}\nB said:\n{}",
            self.watch.holders(),
            Location::caller(),
            said(A),
            said(B)
        );
    }

    #[track_caller]
    fn says(&self, words: &str) {
        let said = self.programs[A].said();
        assert!(said.contains(words), "A did not say `{words}`:\n{said}");
    }
}

#[test]
fn numbers_in_files_move_the_address_and_one_that_can_not_be_read_is_a_fault() {
    let mut pair = Pair::new();
    let [load, flag] = ["load", "flag"].map(|name| pair.lan.room().join(name));
    let sources = format!(
        "track_file load {{\n    file {}\n    init_file\n}}\nvrrp_track_file flag {{\n    file {}\n    weight 0\n    \
         init_file 0 overwrite\n}}\n",
        load.display(),
        flag.display()
    );
    fs::write(&flag, "1").unwrap();
    pair.start(&sources, "    track_file {\n        load\n        flag\n    }\n");
    pair.moves_to(A, "both files were written at the start");
    assert_eq!([&load, &flag].map(|file| fs::read_to_string(file).unwrap()), ["0\n", "0\n"]);

    fs::write(&load, "-100\n").unwrap();
    pair.moves_to(B, "priority 50");
    let new = pair.lan.room().join("new");
    fs::write(&new, "-20\n").unwrap();
    fs::rename(&new, &load).unwrap();
    pair.moves_to(A, "priority 130");
    fs::write(&load, "-254").unwrap();
    pair.moves_to(B, "below -253 is a FAULT");
    pair.says("track_file load: it says -254");
    fs::remove_file(&load).unwrap();
    pair.moves_to(A, "no file is 0");
    pair.says("track_file load: there is no such file, which counts as 0");

    fs::write(&flag, "1").unwrap();
    pair.moves_to(B, "a FAULT without a weight");
    fs::write(&flag, "0").unwrap();
    pair.moves_to(A, "and none any more");
    fs::write(&flag, "maintenance").unwrap();
    pair.moves_to(B, "what can't be read has failed");
    pair.says("track_file flag: `maintenance` is no whole number");
}

#[test]
fn a_script_that_others_could_change_is_a_failure_under_enable_script_security() {
    let mut pair = Pair::new();
    let script = pair.lan.room().join("check");
    fs::write(&script, "#!/bin/sh\nexit 0\n").unwrap();
    let mode = |mode| fs::set_permissions(&script, fs::Permissions::from_mode(mode)).unwrap();
    mode(0o755);
    let sources = format!(
        "global_defs {{\n    enable_script_security\n    script_user root\n}}\nvrrp_script check {{\n    script {}\n    \
         interval 1\n}}\n",
        script.display()
    );
    pair.start(&sources, "    track_script {\n        check\n    }\n");
    pair.moves_to(A, "it is root's alone");
    mode(0o777);
    pair.moves_to(B, "everybody may write it");
    pair.says("check may be written by everybody: make it root's alone");
    mode(0o755);
    pair.moves_to(A, "root's alone again");
}

/// A program under a name of its own, as nothing else on this machine has it.
fn program(room: &Path) -> PathBuf {
    let path = room.join(format!("k1e2e{}", std::process::id()));
    fs::copy("/bin/sleep", &path).unwrap();
    path
}

fn run(program: &Path) -> Child {
    Command::new(program).arg("600").stdin(Stdio::null()).spawn().unwrap()
}

#[test]
fn processes_that_end_are_a_fault_until_enough_run_again() {
    let mut pair = Pair::new();
    let path = program(pair.lan.room());
    let sources = format!("vrrp_track_process proxy {{\n    process {} 600\n    quorum 2\n}}\n", path.display());
    let mut first = run(&path);
    let mut second = run(&path);
    pair.start(&sources, "    track_process {\n        proxy\n    }\n");
    pair.moves_to(A, "both run");
    first.kill().unwrap();
    first.wait().unwrap();
    pair.moves_to(B, "one of two runs");
    pair.says("track_process proxy: 1 of 2 run");
    let mut third = run(&path);
    pair.moves_to(A, "two run");
    for child in [&mut second, &mut third] {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    pair.moves_to(B, "none runs");
}

/// RFC 5880 and 5881 with another program, over both protocols: up; its end found out within the detection time; a
/// FAULT; and up again.
#[test]
fn a_bfd_session_with_frr_is_up_and_its_loss_is_a_fault_within_the_detection_time() {
    let mut pair = Pair::new();
    pair.lan.add_ipv6().unwrap();
    let client = pair.lan.host(Kind::Client(0)).port(Network::Lan).unwrap().address;
    let own = pair.lan.address(A);
    let here = format!("interface {INTERFACE}");
    let peers = [
        (own.to_string(), client.to_string(), here.as_str()),
        ("fd00::11".to_owned(), "fd00::33".to_owned(), here.as_str()),
    ];
    let frr = Frr::new(&pair.lan, &peers);
    let _zebra = frr.start(&pair.lan, "zebra");
    thread::sleep(Duration::from_secs(1));
    let mut bfdd = frr.start(&pair.lan, "bfdd");
    let session = |name: &str, neighbor: &str, source: &str| {
        format!(
            "bfd_instance {name} {{\n    neighbor_ip {neighbor}\n    source_ip {source}\n    min_rx 50\n    min_tx 50\n    \
             multiplier 4\n}}\n"
        )
    };
    let sources = session("router4", &peers[0].1, &peers[0].0) + &session("router6", &peers[1].1, &peers[1].0);
    pair.start(&sources, "    track_bfd {\n        router4\n        router6\n    }\n");
    pair.moves_to(A, "both sessions are up");

    let killed = clock::now();
    bfdd.kill();
    let gone = pair.watch.spans();
    let mut noticed = gone[A].iter().last().map(|(_, end)| end);
    let until = killed + 10_000_000_000;
    while pair.watch.holders().contains(&A) && clock::now() < until {
        thread::sleep(Duration::from_millis(2));
    }
    if !pair.watch.holders().contains(&A) {
        noticed = Some(clock::now());
    }
    let took = Duration::from_nanos(noticed.unwrap().saturating_sub(killed));
    // Three missing packets at 60 ms each; then the address goes. Wide above, since the machine may be busy; but far below
    // the second within which anything else than the session could have told.
    assert!(took >= Duration::from_millis(100) && took < Duration::from_millis(900), "FAULT after {took:?}");
    pair.moves_to(B, "the neighbour is gone");
    pair.says("nothing heard within the detection time");

    let _bfdd = frr.start(&pair.lan, "bfdd");
    pair.moves_to(A, "both sessions are up again");
}

/// A command in a namespace of ours.
fn run_in(lan: &Lan, kind: Kind, command: &str) {
    let run = || {
        let output = Command::new("ip").args(command.split(' ')).output().unwrap();
        assert!(output.status.success(), "ip {command}: {}", String::from_utf8_lossy(&output.stderr));
        Ok(())
    };
    lan.host(kind).namespace.run(run).unwrap();
}

/// RFC 5883 with another program: the worse node is the router between the two. At an orderly end the other side is told
/// that the session is held down (RFC 5880, 6.8.16), which is not that of a failure.
#[test]
fn a_bfd_session_with_frr_beyond_a_router_counts_its_hops_and_ends_with_a_word() {
    let mut pair = Pair::new();
    let client = pair.lan.host(Kind::Client(0)).port(Network::Lan).unwrap().address;
    let [own, router] = [A, B].map(|node| pair.lan.address(node));
    let far = "203.0.113.1";
    run_in(&pair.lan, Kind::Client(0), &format!("address add {far}/32 dev lo"));
    run_in(&pair.lan, Kind::Client(0), "link set lo up");
    run_in(&pair.lan, Kind::Node(A), "address add 198.51.100.1/32 dev lo");
    run_in(&pair.lan, Kind::Node(A), &format!("route add {far} via {router}"));
    run_in(&pair.lan, Kind::Node(B), &format!("route add {far} via {client}"));
    run_in(&pair.lan, Kind::Node(B), &format!("route add 198.51.100.1 via {own}"));
    run_in(&pair.lan, Kind::Client(0), &format!("route add 198.51.100.1 via {router}"));
    for redirects in ["ipv4/conf/all/send_redirects", "ipv4/conf/default/send_redirects"] {
        pair.lan.node(B).namespace.set_parameters(&[(redirects, "0")]).unwrap();
    }
    let interface = format!("ipv4/conf/{INTERFACE}/send_redirects");
    pair.lan.node(B).namespace.set_parameters(&[("ipv4/ip_forward", "1"), (&interface, "0")]).unwrap();
    let frr = Frr::new(&pair.lan, &[("198.51.100.1".to_owned(), far.to_owned(), "multihop")]);
    let _zebra = frr.start(&pair.lan, "zebra");
    thread::sleep(Duration::from_secs(1));
    let _bfdd = frr.start(&pair.lan, "bfdd");
    let session = |name: &str, more: &str| {
        format!(
            "bfd_instance {name} {{\n    neighbor_ip {far}\n    source_ip 198.51.100.1\n    min_rx 50\n    min_tx 50\n    \
             multiplier 4\n    multihop\n{more}}}\n"
        )
    };
    let recorder = Recorder::start(&pair.lan, Kind::Client(0)).unwrap();
    pair.start(&session("far", "    max_hops 1\n"), "    track_bfd {\n        far\n    }\n");
    pair.moves_to(A, "the session is up");
    pair.programs[A].signal(Part::Guardian, Signal::SIGTERM);
    pair.moves_to(B, "the better node has ended");
    let frames = dissect(&recorder.stop().unwrap(), false).unwrap();
    let ours: Vec<_> =
        frames.iter().filter(|frame| frame.get("ip.src").is_some_and(|source| source == "198.51.100.1")).collect();
    let of = |field| move |frame: &&Frame| frame.get(field).map(String::as_str).unwrap_or_default().to_owned();
    let ports: BTreeSet<String> = ours.iter().map(of("udp.dstport")).collect();
    assert_eq!(ports, BTreeSet::from(["4784".to_owned()]));
    let hops: BTreeSet<String> = ours.iter().map(of("ip.ttl")).collect();
    assert_eq!(hops, BTreeSet::from(["254".to_owned()]), "over one router");
    let last = ours.iter().rev().take(3).map(|frame| (of("bfd.sta")(frame), of("bfd.diag")(frame)));
    let held_down = ("0x00".to_owned(), "0x07".to_owned());
    assert_eq!(last.collect::<Vec<_>>(), vec![held_down; 3], "AdminDown, Administratively Down");

    // What crossed a router is not taken where none may be between.
    let text = configuration(150, &session("far", ""), "    track_bfd {\n        far\n    }\n");
    let file = pair.lan.write("near.conf", &text).unwrap();
    let keepone = keepone_tests::binary::find("keepone");
    let command = [keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
    pair.programs[A] = pair.lan.start(A, &command).unwrap();
    thread::sleep(Duration::from_secs(3));
    pair.moves_to(B, "no packet is near enough");
    pair.says(&format!("no session with {far}"));
}

/// Real servers of the better node: nginx, which answers at once.
fn nginx(lan: &Lan, port: u16) -> Program {
    let room = lan.room().join(format!("nginx{port}"));
    fs::create_dir_all(&room).unwrap();
    let text = format!(
        "daemon off; master_process off; pid {0}/pid; error_log {0}/error;\nevents {{ }}\nhttp {{ access_log off;\n\
         client_body_temp_path {0}/a; proxy_temp_path {0}/b; fastcgi_temp_path {0}/c; uwsgi_temp_path {0}/d; \
         scgi_temp_path {0}/e;\nserver {{ listen {port}; location / {{ return 200 ok; }} }}\n}}\n",
        room.display()
    );
    let file = room.join("nginx.conf");
    fs::write(&file, text).unwrap();
    let words = ["/usr/sbin/nginx", "-c", file.to_str().unwrap(), "-e", "stderr"];
    lan.start(A, &words).unwrap()
}

/// Two real servers of the better node, of which one is enough; checked fast, so that a test need not wait.
fn balanced(pair: &Pair, quorum: u8) -> String {
    let real = |port: u16| {
        format!(
            "    real_server {} {port} {{\n        HTTP_GET {{\n            url {{\n                path /\n                \
             status_code 200\n            }}\n            connect_timeout 1\n        }}\n    }}\n",
            pair.lan.address(A)
        )
    };
    let timing = "    alpha\n    delay_loop 0.2\n    warmup 0\n    retry 1\n    delay_before_retry 0.1\n";
    let head = format!("virtual_server {VIP} 80 {{\n    protocol TCP\n    quorum {quorum}\n{timing}");
    format!("{head}{}{}}}\n", real(8081), real(8082))
}

#[test]
fn a_virtual_server_without_quorum_is_a_fault_or_moves_the_priority_and_a_reload_lets_go_of_it() {
    let mut pair = Pair::new();
    let track = |weight: &str| format!("    track_virtual_server {{\n        {VIP}:80 {weight}\n    }}\n");
    let first = nginx(&pair.lan, 8081);
    let second = nginx(&pair.lan, 8082);
    let sources = balanced(&pair, 1);
    pair.start(&sources, &track(""));
    pair.moves_to(A, "both servers answer");
    drop(first);
    // Longer than its checks need to find it dead.
    thread::sleep(Duration::from_secs(2));
    pair.moves_to(A, "one server is enough");
    drop(second);
    pair.moves_to(B, "no server is left");
    pair.says(&format!("track_virtual_server [{VIP}]:tcp:80: a weight of 0, where the quorum is 1"));
    let first = nginx(&pair.lan, 8081);
    pair.moves_to(A, "one server is back");

    let reload = |pair: &Pair, quorum: u8, tracks: &str| {
        let text = configuration(150, &balanced(pair, quorum), tracks);
        pair.lan.write("0.conf", &text).unwrap();
        pair.programs[A].signal(Part::Guardian, Signal::SIGHUP);
    };
    reload(&pair, 2, &track("weight -100"));
    pair.moves_to(B, "of two that are needed one is there: priority 50");
    reload(&pair, 2, "");
    pair.moves_to(A, "nobody tracks it any more");
    reload(&pair, 2, &track("weight -100 reverse"));
    thread::sleep(Duration::from_secs(2));
    pair.moves_to(A, "what would be taken away is added");
    reload(&pair, 2, &track(""));
    pair.moves_to(B, "tracked again, and the quorum is lost still");
    let _second = nginx(&pair.lan, 8082);
    pair.moves_to(A, "both are there");
    drop(first);
    pair.moves_to(B, "and one of them is not any more");
}

/// With `alpha` a node without servers never has the address, and without it for as long as the checks need.
#[test]
fn before_the_first_check_has_ended_real_servers_count_as_alpha_has_it() {
    let mut pair = Pair::new();
    let track = format!("    track_virtual_server {{\n        {VIP}:80\n    }}\n");
    let sources = balanced(&pair, 1);
    pair.start(&sources, &track);
    pair.moves_to(B, "no server answers");
    assert!(pair.watch.spans()[A].is_empty(), "it had the address: {:?}", pair.watch.spans()[A]);
    drop(pair);

    let mut pair = Pair::new();
    // The first check comes within a minute.
    let sources = balanced(&pair, 1).replace("    alpha\n", "").replace("warmup 0", "warmup 60");
    pair.start(&sources, &track);
    pair.moves_to(A, "it is not known yet that no server answers");
}
