//! Health checks of real servers by a running agent: what is told of them, what a reload leaves alone, when they are
//! suspended. Needs root. Each kind of check by itself is tested in the agent's `checkers/tests`.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::error::io_error;
use keepone_tests::binary;
use keepone_tests::lan::Lan;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(40);
/// Longer than all checks of a test need for their next try.
const A_WHILE: Duration = Duration::from_millis(1500);

/// A check that passes while a file is there. Its command has longer than the `delay_loop` that it would have by default: a
/// busy machine takes its time to start one.
fn while_there(room: &Path, name: &str) -> String {
    let path = room.join(name);
    format!("MISC_CHECK {{ misc_path \"/usr/bin/test -e {}\"\n misc_timeout 20\n user root }}", path.display())
}

/// A script that adds a line to `calls`.
fn tells(room: &Path, words: &str) -> String {
    format!("\"/bin/sh -c 'echo {words} $KEEPONE_REAL_SERVER >> {}'\"", room.join("calls").display())
}

fn globals(room: &Path) -> String {
    format!("global_defs {{\n router_id n1\n script_user root\n lvs_notify_fifo {}\n}}\n", room.join("fifo").display())
}

struct Node {
    lan: Lan,
    program: Program,
    fifo: File,
    read: String,
}

impl Node {
    fn start(text: impl Fn(&Path) -> String) -> Self {
        let lan = Lan::build(0).unwrap();
        let path = lan.room().join("fifo");
        nix::unistd::mkfifo(&path, Mode::from_bits_truncate(0o600)).unwrap();
        // For both, so that it is there before and after the program.
        let fifo = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open(&path).unwrap();
        let file = lan.write("x.conf", &(globals(lan.room()) + &text(lan.room()))).unwrap();
        let command = [binary::find("keepone").to_str().unwrap().to_owned(), "run".to_owned(), "-c".to_owned()];
        let command: Vec<&str> = command.iter().map(String::as_str).chain([file.to_str().unwrap()]).collect();
        let program = lan.start(0, &command).unwrap();
        Node { lan, program, fifo, read: String::new() }
    }

    fn reload(&self, text: &str) {
        self.lan.write("x.conf", &(globals(self.lan.room()) + text)).unwrap();
        self.program.signal(Part::Guardian, Signal::SIGHUP);
    }

    /// Makes a file of that name, or takes it away.
    fn set(&self, name: &str, there: bool) {
        let path = self.lan.room().join(name);
        if there {
            std::fs::write(path, "").unwrap();
        } else {
            std::fs::remove_file(path).unwrap();
        }
    }

    fn lines(&mut self) -> Vec<String> {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = self.fifo.read(&mut bytes) {
            self.read += std::str::from_utf8(&bytes[..count]).unwrap();
        }
        self.read.lines().map(str::to_owned).collect()
    }

    /// The lines since the last look, once there are so many; and no more come in a while.
    #[track_caller]
    fn told(&mut self, wanted: &[&str]) {
        let begin = Instant::now();
        while self.lines().len() < wanted.len() {
            assert!(begin.elapsed() < SOON, "only {:?} of {wanted:?}\n{}", self.lines(), self.program.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        std::thread::sleep(A_WHILE);
        assert_eq!(self.lines(), wanted, "{}", self.program.said());
        self.read.clear();
    }

    #[track_caller]
    fn says(&mut self, words: &str) {
        assert!(self.program.says(words, SOON), "not `{words}` but\n{}", self.program.said());
    }

    fn calls(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.lan.room().join("calls")).unwrap_or_default();
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

/// Two real servers, each up while a file is there.
fn pair(room: &Path, more: &str, weight: u32) -> String {
    let real = |name: &str, last: u8, weight: u32| {
        format!(
            " real_server 10.0.0.{last} 80 {{\n weight {weight}\n notify_up {}\n notify_down {}\n {}\n }}\n",
            tells(room, &format!("up {name}")),
            tells(room, &format!("down {name}")),
            while_there(room, name)
        )
    };
    format!(
        "virtual_server 10.9.9.9 80 {{\n protocol TCP\n delay_loop 0.3\n retry 1\n delay_before_retry 0.1\n quorum_up {}\n \
         quorum_down {}\n{more}\n{}{}}}\n",
        tells(room, "quorum up"),
        tells(room, "quorum down"),
        real("a", 1, weight),
        real("b", 2, 1)
    )
}

#[test]
fn what_becomes_of_real_servers_is_told_in_order_and_a_reload_leaves_it_alone() {
    let mut node = Node::start(|room| {
        std::fs::write(room.join("a"), "").unwrap();
        std::fs::write(room.join("b"), "").unwrap();
        pair(room, " omega\n quorum 2", 1)
    });
    node.told(&["VS [10.9.9.9]:tcp:80 UP"]);
    node.set("a", false);
    let a = "RS [10.0.0.1]:tcp:80 [10.9.9.9]:tcp:80";
    let b = "RS [10.0.0.2]:tcp:80 [10.9.9.9]:tcp:80";
    node.told(&[&format!("{a} DOWN"), "VS [10.9.9.9]:tcp:80 DOWN"]);
    // Its weight, the quorum and the times are others; a second virtual server begins. Nobody comes or goes by that.
    let room = node.lan.room().to_owned();
    let new = pair(&room, " omega\n quorum 1\n hysteresis 0", 5).replace("delay_loop 0.3", "delay_loop 0.2");
    let second = "virtual_server 10.9.9.8 53 {\n protocol UDP\n real_server 10.0.0.1 53 {\n }\n}\n";
    node.reload(&format!("{new}{second}"));
    node.told(&["VS [10.9.9.9]:tcp:80 UP", "VS [10.9.9.8]:udp:53 UP"]);
    node.says("reload: taken over");
    node.set("a", true);
    node.told(&[&format!("{a} UP")]);
    node.set("b", false);
    node.told(&[&format!("{b} DOWN")]);
    node.program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(node.program.wait(SOON).is_some_and(|status| status.success()), "{}", node.program.said());
    // With omega the end is told of what was up.
    assert_eq!(node.lines(), [&format!("{a} DOWN"), "VS [10.9.9.9]:tcp:80 DOWN"]);
    let (up, down) = ("quorum up", "quorum down");
    let calls = ["up a [10.0.0.1]:tcp:80", "down a [10.0.0.1]:tcp:80", "down b [10.0.0.2]:tcp:80"].map(str::to_owned);
    assert_eq!(node.calls(), [up, &calls[1], down, up, &calls[0], &calls[2], &calls[1], down]);
}

#[test]
fn the_operator_sees_how_servers_stand_and_empties_one() {
    let node = Node::start(|room| {
        std::fs::write(room.join("a"), "").unwrap();
        std::fs::write(room.join("b"), "").unwrap();
        pair(room, " quorum 2", 3)
    });
    // Each program has a /run of its own.
    let run_dir = format!("/proc/{}/root/run/keepone", node.program.pid());
    let ask = |arguments: &[&str]| {
        let mut command = Command::new(binary::find("keepone"));
        let output = command.args(arguments).args(["--run-dir", &run_dir]).output().unwrap();
        let said = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code().unwrap(), said(&output.stdout) + &said(&output.stderr))
    };
    let sees = |wanted: &[&str]| {
        let what = || ask(&["servers"]).1;
        eventually(SOON, what, || {
            // What is left of connections is the kernel's business: `keepone-chaos qemu lvs`.
            let lines = ask(&["servers"]).1;
            let lines = lines.lines().map(|line| line.split("; it").next().unwrap_or_default().trim_end());
            lines.eq(wanted.iter().copied()).then_some(())
        });
    };
    let (first, second) =
        ("  [10.0.0.1]:tcp:80            up        weight 3", "  [10.0.0.2]:tcp:80            up        weight 1");
    sees(&["[10.9.9.9]:tcp:80  up: weight 4, quorum 2", first, second]);
    // Emptied, it still counts for the quorum.
    let (code, said) = ask(&["drain", "10.0.0.1"]);
    assert_eq!((code, said.as_str()), (0, "[10.0.0.1]:tcp:80 of [10.9.9.9]:tcp:80 gets no new connections\n"));
    let emptied = "  [10.0.0.1]:tcp:80            draining  weight 0";
    sees(&["[10.9.9.9]:tcp:80  up: weight 4, quorum 2", emptied, second]);
    if !Path::new("/proc/net/ip_vs").exists() {
        let (code, said) = ask(&["drain", "10.0.0.1", "--wait", "--timeout", "30"]);
        assert!(code == 1 && said.contains("it stays emptied, but its connections are not known: "), "{code} {said}");
    }
    let counted = |metrics: &str, family: &str, server: &str| {
        let begins =
            format!("keepone_real_server_{family}{{virtual_server=\"[10.9.9.9]:tcp:80\",real_server=\"{server}\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&begins)?.parse::<u64>().ok())
    };
    let (a, b) = ("[10.0.0.1]:tcp:80", "[10.0.0.2]:tcp:80");
    let metrics = eventually(
        SOON,
        || ask(&["metrics"]).1,
        || {
            let metrics = ask(&["metrics"]).1;
            // The first check may be under way still.
            (counted(&metrics, "checks_total", a) > Some(0)).then_some(metrics)
        },
    );
    let of = |family: &str, server: &str| counted(&metrics, family, server);
    assert!(of("checks_failed_total", a) < of("checks_total", a), "{metrics}");
    assert_eq!([of("up", a), of("weight", a), of("draining", a)], [Some(1), Some(0), Some(1)], "{metrics}");
    assert_eq!([of("up", b), of("weight", b), of("draining", b)], [Some(1), Some(1), None], "{metrics}");
    let quorum = "keepone_virtual_server_quorum_met{virtual_server=\"[10.9.9.9]:tcp:80\"} 1";
    assert!(metrics.contains(quorum), "{metrics}");
    // A reload leaves it so.
    node.reload(&pair(node.lan.room(), " quorum 3", 3));
    sees(&["[10.9.9.9]:tcp:80  up: weight 4, quorum 3", emptied, second]);
    node.set("b", false);
    let down = "  [10.0.0.2]:tcp:80            DOWN      not in the table: ";
    let is_down = || ask(&["servers"]).1.lines().any(|line| line.starts_with(down)).then_some(());
    eventually(SOON, || ask(&["servers"]).1, is_down);
    assert_eq!(ask(&["drain", "10.0.0.1:80", "--of", "10.9.9.9", "--undo"]).0, 0);
    eventually(SOON, || ask(&["servers"]).1, || ask(&["servers"]).1.contains(first).then_some(()));
    let (code, said) = ask(&["drain", "10.0.0.3"]);
    assert!(code != 0 && said.contains("there is no real server 10.0.0.3 here"), "{code} {said}");
    let (code, json) = ask(&["servers", "--json"]);
    assert!(code == 0 && json.contains("\"draining\":false"), "{json}");
}

#[test]
fn a_script_that_hangs_keeps_neither_checks_nor_other_servers_waiting() {
    let mut node = Node::start(|room| {
        std::fs::write(room.join("a"), "").unwrap();
        std::fs::write(room.join("b"), "").unwrap();
        let hangs = "virtual_server 10.9.9.7 80 {\n protocol TCP\n quorum_up \"/bin/sleep 600\"\n \
                     real_server 10.0.0.3 80 {\n MISC_CHECK { misc_path \"/bin/sleep 600\"\n misc_timeout 500\n user root }\n }\n}\n";
        format!("{hangs}{}", pair(room, "", 1))
    });
    node.told(&["VS [10.9.9.7]:tcp:80 UP", "VS [10.9.9.9]:tcp:80 UP"]);
    node.set("a", false);
    node.told(&["RS [10.0.0.1]:tcp:80 [10.9.9.9]:tcp:80 DOWN"]);
    eventually(SOON, || format!("{:?}", node.calls()), || (node.calls().len() == 2).then_some(()));
    let begin = Instant::now();
    node.program.signal(Part::Guardian, Signal::SIGTERM);
    assert!(node.program.wait(SOON).is_some_and(|status| status.success()), "{}", node.program.said());
    assert!(begin.elapsed() < SOON);
}

#[test]
fn with_ha_suspend_checks_are_made_only_while_the_address_is_here() {
    let mut node = Node::start(|room| {
        std::fs::write(room.join("b"), "").unwrap();
        // `a` fails from the begin, and nobody looks.
        pair(room, " ha_suspend", 1)
    });
    node.told(&["VS [10.9.9.9]:tcp:80 UP"]);
    let address = |what: &str| {
        let namespace = &node.lan.node(0).namespace;
        let run = || {
            let words = ["address", what, "10.9.9.9/32", "dev", "lo"];
            Command::new("ip").args(words).status().map_err(io_error("ip"))
        };
        assert!(namespace.run(run).unwrap().success());
    };
    address("add");
    node.told(&["RS [10.0.0.1]:tcp:80 [10.9.9.9]:tcp:80 DOWN"]);
    let namespace = &node.lan.node(0).namespace;
    let run =
        || Command::new("ip").args(["address", "del", "10.9.9.9/32", "dev", "lo"]).status().map_err(io_error("ip"));
    assert!(namespace.run(run).unwrap().success());
    // It is looked each second.
    std::thread::sleep(Duration::from_secs(3));
    node.set("a", true);
    node.set("b", false);
    node.told(&[]);
}

#[test]
fn a_tracked_file_and_a_bfd_session_say_who_is_up() {
    let bfd = |room: &Path, own: &str, other: &str, more: &str| {
        let _ = room;
        format!("bfd_instance peer {{\n source_ip {own}\n neighbor_ip {other}\n min_rx 100\n min_tx 100\n}}\n{more}")
    };
    let addresses = |lan: &Lan| (lan.address(0).to_string(), lan.address(1).to_string());
    let mut node = Node::start(|room| {
        std::fs::write(room.join("load"), "0").unwrap();
        let more = format!(
            "track_file load {{\n file {}\n weight 1\n}}\nvirtual_server 10.9.9.9 80 {{\n protocol TCP\n alpha\n quorum 5\n \
             real_server 10.0.0.1 80 {{\n weight 10\n FILE_CHECK {{ track_file load }}\n }}\n \
             real_server 10.0.0.2 80 {{\n weight 10\n BFD_CHECK {{ name peer }}\n }}\n}}\n",
            room.join("load").display()
        );
        // The two nodes' addresses on every LAN of the tests.
        bfd(room, "192.0.2.11", "192.0.2.12", &more)
    });
    assert_eq!(addresses(&node.lan), ("192.0.2.11".to_owned(), "192.0.2.12".to_owned()), "as written above");
    let a = "RS [10.0.0.1]:tcp:80 [10.9.9.9]:tcp:80";
    let b = "RS [10.0.0.2]:tcp:80 [10.9.9.9]:tcp:80";
    node.told(&[&format!("{a} UP"), "VS [10.9.9.9]:tcp:80 UP"]);
    // The number is added to the weight: 10 - 6 is no quorum.
    std::fs::write(node.lan.room().join("load"), "-6").unwrap();
    node.told(&["VS [10.9.9.9]:tcp:80 DOWN"]);
    // The other end of the session begins, on the other node.
    let text = "global_defs {\n router_id n2\n}\n".to_owned() + &bfd(node.lan.room(), "192.0.2.12", "192.0.2.11", "");
    let more =
        "virtual_server 10.9.9.9 80 {\n protocol TCP\n real_server 10.0.0.2 80 {\n BFD_CHECK { name peer }\n }\n}\n";
    let file = node.lan.write("other.conf", &(text + more)).unwrap();
    let keepone = binary::find("keepone");
    let mut other = node.lan.start(1, &[keepone.to_str().unwrap(), "run", "-c", file.to_str().unwrap()]).unwrap();
    node.told(&[&format!("{b} UP"), "VS [10.9.9.9]:tcp:80 UP"]);
    other.kill();
    node.told(&[&format!("{b} DOWN"), "VS [10.9.9.9]:tcp:80 DOWN"]);
}
