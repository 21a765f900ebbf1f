//! `keepone upgrade` on real packets: the program of a holder is replaced under its lease, and where that can't be it is
//! restarted by a handover, or its gate shuts at the lease's end (docs/decisions/0210). Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::namespace::Namespace;
use keepone_chaos::netns::process::members;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::binary;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use keepone_tests::unbroken::Unbroken;
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::Pid;

/// Wide: a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);
/// Advertisements of 250 ms may be away as long as a start takes, and no longer than a lease.
const LATEST: Duration = Duration::from_millis(2200);
/// Of some thousand questions, one each millisecond: what a busy machine loses without any upgrade.
const NOISE: usize = 3;

struct Pair {
    nodes: [Program; 2],
    _witness: Program,
    watch: Watch,
    lan: Lan,
}

impl Pair {
    /// Under a lease of that length.
    fn steady(lease: &str, gate: &str) -> Self {
        Self::with(lease, gate, |_, _, text| text)
    }

    /// The same with files that are edited: that of each node in that room, by its number.
    fn with(lease: &str, gate: &str, edit: impl Fn(&Path, usize, String) -> String) -> Self {
        Self::on(Lan::build(1).unwrap(), lease, gate, edit)
    }

    fn on(lan: Lan, lease: &str, gate: &str, edit: impl Fn(&Path, usize, String) -> String) -> Self {
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum();
        cluster.arbiter = cluster.arbiter.replace("500ms", lease);
        cluster.gate = format!("means = \"{gate}\"");
        let file = cluster.write_witness(&lan, 0).unwrap();
        let program = |name: &str| binary::find(name).to_str().unwrap().to_owned();
        let witness = [&program("keepone-witness"), "run", "-c", file.to_str().unwrap()];
        let witness = lan.start_at(Kind::Witness(0), &witness).unwrap();
        let nodes = [0, 1].map(|node| {
            let text = edit(lan.room(), node, cluster.of_node(&lan, node));
            let file = lan.write(&format!("n{}.toml", node + 1), &text).unwrap();
            let bus = format!("DBUS_SYSTEM_BUS_ADDRESS=unix:path={}", lan.room().join("bus").display());
            lan.start(node, &["env", &bus, &program("keepone"), "run", "-c", file.to_str().unwrap()]).unwrap()
        });
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let pair = Pair { nodes, _witness: witness, watch, lan };
        assert!(pair.watch.answered_by(0, SOON).is_some(), "{}", pair.said());
        // All that follows a start has been said.
        thread::sleep(Duration::from_secs(4));
        pair
    }

    fn said(&self) -> String {
        format!("{}\n--\n{}", self.nodes[0].said(), self.nodes[1].said())
    }

    /// What a command says of the first node, whatever it ends with.
    fn ask(&self, words: &[&str]) -> String {
        let run_dir = self.lan.room().join("n1-run");
        let output = Command::new(binary::find("keepone")).args(words).arg("--run-dir").arg(run_dir).output().unwrap();
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    fn epoch(&self) -> String {
        self.ask(&["epoch", "VI_1"])
    }

    fn workers(&self) -> Vec<i32> {
        members(self.nodes[0].pid(), Part::Worker)
    }

    #[track_caller]
    fn goes_to(&self, node: usize) {
        let found = self.watch.answered_by(node, SOON);
        assert!(found.is_some(), "n{} does not answer\n{}", node + 1, self.said());
    }
}

#[test]
fn a_holder_is_replaced_under_its_lease_and_no_question_is_lost() {
    is_replaced_under_its_lease(&Pair::steady("3s", "bpf"));
}

/// The tables outlive the process that made them, are the next one's, and go with the last.
#[test]
fn a_gate_of_nftables_stays_as_it_is_and_goes_at_the_end() {
    let pair = Pair::steady("3s", "nft");
    let namespace = &pair.lan.node(0).namespace;
    let nft = |words: &[&str]| {
        let output = namespace.run(|| Ok(Command::new("nft").args(words).output().unwrap())).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    // Handles are given once: it is the same table.
    let tables = || nft(&["-a", "list", "tables"]);
    let before = tables();
    assert!(before.contains("table netdev keepone_"), "{before}");
    is_replaced_under_its_lease(&pair);
    assert_eq!(tables(), before, "{}", pair.said());
    pair.nodes[0].signal(Part::Guardian, Signal::SIGTERM);
    eventually(SOON, || tables() + &pair.said(), || tables().is_empty().then_some(()));
}

/// And then it hands over.
#[track_caller]
fn is_replaced_under_its_lease(pair: &Pair) {
    let (epoch, workers, guardian) = (pair.epoch(), pair.workers(), pair.nodes[0].pid());
    let told = |node: usize| pair.nodes[node].said().matches("-> MASTER").count();
    let before = [told(0), told(1)];
    let unbroken = Unbroken::watch(&pair.lan, 0, VIP).unwrap();
    for _ in 0..2 {
        let said = pair.ask(&["upgrade"]);
        assert!(said.starts_with("in place: "), "{said}\n{}", pair.said());
        thread::sleep(Duration::from_millis(300));
    }
    let seen = unbroken.end_with(LATEST, NOISE, &|| pair.said());
    println!("{seen}");
    assert_eq!(pair.epoch(), epoch, "{}", pair.said());
    assert!(pair.workers() != workers && pair.workers().len() == 1, "{:?}", pair.workers());
    assert_eq!(members(guardian, Part::Guardian), [guardian]);
    assert_eq!([told(0), told(1)], before, "nobody became MASTER: {}", pair.said());
    // The same life gives up and takes again, in good order.
    let said = pair.ask(&["handover", "VI_1"]);
    assert!(said.contains("n2 holds it"), "{said}\n{}", pair.said());
    pair.goes_to(1);
}

/// Three real servers, each up while a file is there; their FIFO, and scripts that write into `calls`.
fn servers(room: &Path) -> String {
    let script =
        |words: &str| format!("\"/bin/sh -c 'echo {words} $KEEPONE_REAL_SERVER >> {}'\"", room.join("calls").display());
    let real = |number: u8| {
        let (up, down) = (script("up"), script("down"));
        let there = format!("/usr/bin/test -e {}", room.join(format!("rs{number}")).display());
        format!(
            "[[virtual_server.real_server]]\naddress = \"10.0.0.{number}\"\nport = 80\nnotify_up = {up}\nnotify_down = {down}\n\
             misc_check = {{ misc_path = \"{there}\", misc_timeout = 20, user = \"root\" }}\n"
        )
    };
    format!(
        "\n[global_defs]\nscript_user = \"root\"\nlvs_notify_fifo = \"{}\"\n\
         [[virtual_server]]\naddress = \"{VIP}\"\nport = 80\nprotocol = \"TCP\"\nquorum = 2\ndelay_loop = \"300ms\"\nretry = 1\n\
         delay_before_retry = \"100ms\"\nquorum_up = {}\nquorum_down = {}\nomega = true\n{}",
        room.join("fifo").display(),
        script("quorum up"),
        script("quorum down"),
        [1, 2, 3].map(real).concat()
    )
}

/// What has come into a FIFO since the last look.
fn lines(fifo: &mut File) -> Vec<String> {
    let (mut bytes, mut text) = ([0; 4096], String::new());
    while let Ok(count @ 1..) = fifo.read(&mut bytes) {
        text += std::str::from_utf8(&bytes[..count]).unwrap();
    }
    text.lines().map(str::to_owned).collect()
}

/// Who was down stays down, who is emptied stays so, and nobody is told of anything: neither by the process that ends nor
/// by the one that goes on.
#[test]
fn health_checks_go_on_where_they_were() {
    let pair = Pair::with("3s", "bpf", |room, node, text| {
        if node > 0 {
            return text;
        }
        (1..4).for_each(|number| std::fs::write(room.join(format!("rs{number}")), "").unwrap());
        let _ = nix::unistd::mkfifo(&room.join("fifo"), Mode::from_bits_truncate(0o600));
        text + &servers(room)
    });
    let room = pair.lan.room();
    let open = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(room.join("fifo"));
    let mut fifo = open.unwrap();
    let standing = || pair.ask(&["servers"]);
    let is_there = |words: &str| standing().contains(words).then_some(());
    std::fs::remove_file(room.join("rs2")).unwrap();
    eventually(SOON, standing, || is_there("DOWN"));
    pair.ask(&["drain", "10.0.0.3"]);
    let calls = || std::fs::read_to_string(room.join("calls")).unwrap_or_default();
    // All that was to be told of it has been.
    eventually(SOON, || calls() + &pair.said(), || calls().contains("down").then_some(()));
    eventually(SOON, || pair.said(), || lines(&mut fifo).iter().any(|line| line.ends_with(" DOWN")).then_some(()));
    let (before, called, workers) = (standing(), calls(), pair.workers());
    for _ in 0..2 {
        let said = pair.ask(&["upgrade"]);
        assert!(said.starts_with("in place: "), "{said}\n{}", pair.said());
    }
    assert_ne!(pair.workers(), workers);
    assert_eq!(standing(), before, "{}", pair.said());
    assert_eq!((lines(&mut fifo), calls()), (Vec::new(), called), "{}", pair.said());
    // And they are made.
    std::fs::write(room.join("rs2"), "").unwrap();
    eventually(SOON, || pair.said(), || (!standing().contains("DOWN")).then_some(()));
    let said = eventually(SOON, || pair.said(), || Some(lines(&mut fifo)).filter(|lines| !lines.is_empty()));
    assert_eq!(said, [format!("RS [10.0.0.2]:tcp:80 [{VIP}]:tcp:80 UP")], "{}", pair.said());
}

/// They stay as they are, with what is on them, and the last process takes them away and puts back what was before the first.
#[test]
fn interfaces_with_virtual_macs_stay_and_go_at_the_end() {
    const MAC: &str = "00:00:5e:00:01:33";
    const KERNEL: &str =
        "sysctl -a 2>/dev/null | grep -E '[.](arp_ignore|arp_filter|rp_filter|arp_announce|promote_secondaries) '";
    let run = |namespace: &Namespace, words: &str| {
        let output = namespace.run(|| Ok(Command::new("bash").args(["-c", words]).output().unwrap())).unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let lan = Lan::build(1).unwrap();
    let before = run(&lan.node(0).namespace, KERNEL);
    let pair = Pair::on(lan, "3s", "bpf", |_, _, text| {
        text.replacen("virtual_router_id = ", "use_vmac = true\nvirtual_router_id = ", 1)
    });
    let there = |words: &str| run(&pair.lan.node(0).namespace, words);
    // Its index says whether it is the same one.
    let link = || there("ip -o -d link show dev vrrp.51");
    let (made, set) = (link(), there(KERNEL));
    assert!(made.contains(MAC) && set != before, "{made}\n{set}");
    let (epoch, workers) = (pair.epoch(), pair.workers());
    let unbroken = Unbroken::watch(&pair.lan, 0, VIP).unwrap();
    for _ in 0..2 {
        let said = pair.ask(&["upgrade"]);
        assert!(said.starts_with("in place: "), "{said}\n{}", pair.said());
    }
    let seen = unbroken.end_with(LATEST, NOISE, &|| pair.said());
    println!("{seen}");
    assert!(pair.epoch() == epoch && pair.workers() != workers, "{}", pair.said());
    assert_eq!((link(), there(KERNEL)), (made, set), "{}", pair.said());
    assert!(there("ip addr show dev vrrp.51").contains(&VIP.to_string()), "{}", pair.said());
    let client = run(&pair.lan.host(Kind::Client(0)).namespace, &format!("ip neigh show {VIP}"));
    assert!(client.contains(MAC), "{client}");
    pair.nodes[0].signal(Part::Guardian, Signal::SIGTERM);
    pair.goes_to(1);
    eventually(SOON, || link() + &pair.said(), || link().is_empty().then_some(()));
    eventually(SOON, || there(KERNEL), || (there(KERNEL) == before).then_some(()));
}

/// Who asks the bus is told of a MASTER by the next process, too, which has become none.
#[test]
fn what_d_bus_says_of_a_master_goes_on() {
    let lan = Lan::build(1).unwrap();
    let (room, socket) = (lan.room().to_owned(), lan.room().join("bus"));
    let policy = "<policy context=\"default\"><allow user=\"*\"/><allow own=\"*\"/><allow send_destination=\"*\"/><allow receive_sender=\"*\"/></policy>";
    let address = format!("unix:path={}", socket.display());
    let text = format!("<busconfig><listen>{address}</listen><auth>EXTERNAL</auth>{policy}</busconfig>");
    let file = room.join("bus.xml");
    std::fs::write(&file, text).unwrap();
    let mut daemon = Command::new("dbus-daemon");
    let daemon = daemon.arg(format!("--config-file={}", file.display())).args(["--nofork", "--nopidfile"]);
    let daemon = Kept(daemon.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    eventually(SOON, || "no bus".to_owned(), || socket.exists().then_some(()));
    let pair = Pair::on(lan, "3s", "bpf", |_, node, text| match node {
        0 => text + "\n[global_defs]\nenable_dbus = true\n",
        _ => text,
    });
    let state = || {
        let mut ask = Command::new("busctl");
        ask.arg(format!("--address={address}")).args(["call", "org.keepalived.Vrrp1"]);
        ask.arg(format!("/org/keepalived/Vrrp1/Instance/{INTERFACE}/51/IPv4"));
        ask.args(["org.freedesktop.DBus.Properties", "Get", "ss", "org.keepalived.Vrrp1.Instance", "State"]);
        let output = ask.output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        String::from_utf8_lossy(&text).trim().to_owned()
    };
    let master = "v (us) 2 \"Master\"";
    eventually(SOON, || state() + &pair.said(), || (state() == master).then_some(()));
    let workers = pair.workers();
    let said = pair.ask(&["upgrade"]);
    assert!(said.starts_with("in place: ") && pair.workers() != workers, "{said}\n{}", pair.said());
    // Once it is on the bus, the first that it says is what is.
    let first = eventually(SOON, || state() + &pair.said(), || Some(state()).filter(|state| state.starts_with("v ")));
    assert_eq!(first, master, "{}", pair.said());
    pair.ask(&["handover", "VI_1"]);
    eventually(SOON, || state() + &pair.said(), || (state() == "v (us) 1 \"Backup\"").then_some(()));
    drop(daemon);
}

/// Ended with the test.
struct Kept(Child);

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn another_configuration_on_the_disk_makes_it_a_handover_and_that_is_said() {
    let pair = Pair::steady("1s", "bpf");
    let file = pair.lan.room().join("n1.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let changed = text.replacen("virtual_router_id = ", "nopreempt = true\nvirtual_router_id = ", 1);
    assert_ne!(changed, text);
    std::fs::write(&file, changed).unwrap();
    let said = pair.ask(&["upgrade"]);
    assert!(said.starts_with("restarted: the configuration is another"), "{said}\n{}", pair.said());
    pair.goes_to(1);
    eventually(SOON, || pair.said(), || (pair.nodes[0].said().matches("the gate is").count() == 2).then_some(()));
    assert!(pair.nodes[0].said().contains("upgrade: not in place"), "{}", pair.said());
}

#[test]
fn a_configuration_that_is_wrong_changes_nothing() {
    let pair = Pair::steady("1s", "bpf");
    let (epoch, workers) = (pair.epoch(), pair.workers());
    std::fs::write(pair.lan.room().join("n1.toml"), "nonsense").unwrap();
    let said = pair.ask(&["upgrade"]);
    assert!(said.contains("refused: the new program does not take the configuration"), "{said}\n{}", pair.said());
    assert_eq!((pair.epoch(), pair.workers()), (epoch, workers));
}

/// Until when they bind only the guardian knows that has seen the worker leave `degrade`, and the next one would not.
#[test]
fn while_promises_bind_that_a_reload_has_ended_nothing_is_upgraded_i13() {
    let pair = Pair::steady("8s", "bpf");
    let file = pair.lan.room().join("n1.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    let reload = |policy: &str, count: usize| {
        let text = text.replacen("[arbiter]\n", &format!("[arbiter]\npolicy = \"{policy}\"\n"), 1);
        std::fs::write(&file, text).unwrap();
        pair.nodes[0].signal(Part::Guardian, Signal::SIGHUP);
        let taken = || pair.nodes[0].said().matches("reload: changes the policy from ").count();
        eventually(SOON, || pair.said(), || (taken() == count).then_some(()));
    };
    reload("degrade", 1);
    let (epoch, workers) = (pair.epoch(), pair.workers());
    reload("strict", 2);
    // The reload ends a moment after it is told of.
    let asked = || Some(pair.ask(&["upgrade"])).filter(|said| !said.contains("a reload or a stop is under way"));
    let said = eventually(SOON, || pair.said(), asked);
    assert!(said.contains("refused: what was promised under `degrade`"), "{said}\n{}", pair.said());
    assert_eq!((pair.epoch(), pair.workers()), (epoch, workers));
}

#[test]
fn a_lease_that_is_shorter_than_a_start_is_handed_over() {
    let pair = Pair::steady("300ms", "bpf");
    let worker = pair.workers();
    // As if the last start had taken long: it did, on a machine that is busy enough.
    let said = pair.ask(&["upgrade"]);
    if said.starts_with("in place: ") {
        println!("a start fits into it here");
        return;
    }
    assert!(said.starts_with("restarted: ") && said.contains("the lease ends in"), "{said}\n{}", pair.said());
    eventually(SOON, || pair.said(), || (pair.workers().len() == 1 && pair.workers() != worker).then_some(()));
    assert!(pair.nodes[1].said().contains("-> MASTER"), "it was handed over: {}", pair.said());
}

/// The next worker, as soon as it is there, of those that were there `before`.
fn next_worker(pair: &Pair, before: &[i32]) -> i32 {
    eventually(
        SOON,
        || pair.said(),
        || {
            let is_gone = pair.nodes[0].said().contains("what is held is handed on");
            pair.workers().into_iter().find(|pid| is_gone && !before.contains(pid))
        },
    )
}

/// As one ends that finds too little left of its lease.
#[test]
fn a_next_worker_that_dies_before_it_has_gone_on_is_told_of() {
    let pair = Pair::steady("2s", "bpf");
    let before = pair.workers();
    let begin = Instant::now();
    thread::scope(|scope| {
        let asked = scope.spawn(|| pair.ask(&["upgrade"]));
        kill(Pid::from_raw(next_worker(&pair, &before)), Signal::SIGKILL).unwrap();
        let said = asked.join().unwrap();
        assert!(said.starts_with("restarted: the worker that was to go on has ended"), "{said}\n{}", pair.said());
    });
    assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
    pair.goes_to(0);
}

#[test]
fn a_next_worker_that_stands_still_lets_the_gate_shut_at_the_end_of_the_lease() {
    ["bpf", "nft"].into_iter().for_each(stands_still);
}

fn stands_still(gate: &str) {
    let pair = Pair::steady("2s", gate);
    let before = pair.workers();
    let begin = Instant::now();
    thread::scope(|scope| {
        let asked = scope.spawn(|| pair.ask(&["upgrade"]));
        let next = next_worker(&pair, &before);
        kill(Pid::from_raw(next), Signal::SIGSTOP).unwrap();
        pair.goes_to(1);
        println!("n2 answers {:?} after the upgrade was asked for", begin.elapsed());
        kill(Pid::from_raw(next), Signal::SIGCONT).unwrap();
        let said = asked.join().unwrap();
        assert!(said.starts_with("restarted: "), "{said}\n{}", pair.said());
    });
    assert!(begin.elapsed() < SOON);
}
