//! What `keepone` says, and with which exit code, when what it is given can't work. Needs root.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::net::UdpSocket;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use keepone_agent::exit::ExitCode;
use keepone_chaos::fault::{Network, Part};
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::cluster::{Cluster, HEARTBEAT_PORT};
use keepone_tests::lan::{INTERFACE, Lan};
use keepone_tests::observe::Watch;
use keepone_tests::program::{Ended, Program};
use nix::sys::signal::Signal;

/// A refusal comes at once; the machine may be busy.
const AT_ONCE: Duration = Duration::from_secs(10);

fn conf(more: &str) -> String {
    format!(
        "vrrp_instance VI_1 {{\n    interface {INTERFACE}\n    virtual_router_id 51\n{more}    virtual_ipaddress {{\n        \
         {VIP}/24\n    }}\n}}\n"
    )
}

/// `keepone run` on the first node, through `wrapper`.
fn start(lan: &Lan, wrapper: &[&str], file: &Path) -> Program {
    let program = keepone_tests::binary::find("keepone");
    let own = [program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
    start_command(lan, &[wrapper, own.as_slice()].concat())
}

fn start_command(lan: &Lan, command: &[&str]) -> Program {
    Program::start(&lan.node(0).namespace, command, &new_log(lan)).unwrap()
}

/// A log of its own for each run.
fn new_log(lan: &Lan) -> PathBuf {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    lan.room().join(format!("{}.log", NUMBER.fetch_add(1, Ordering::Relaxed)))
}

/// It ends by itself, with this code, and all these words.
#[track_caller]
fn refuses(program: Program, code: ExitCode, words: &[&str]) -> String {
    let Some(Ended { code: found, said }) = program.end(AT_ONCE) else {
        panic!("it runs, where it should end with {code:?}");
    };
    assert_eq!(found, Some(code as i32), "not {code:?}:\n{said}");
    for word in words {
        assert!(said.contains(word), "no {word:?} in:\n{said}");
    }
    // The last line is the reason, said once, by one process.
    let last: Vec<&str> = said.lines().filter(|line| line.starts_with("keepone: ")).collect();
    assert_eq!(last.len(), 1, "one reason:\n{said}");
    assert!(!said.contains("panicked"), "{said}");
    said
}

#[test]
fn an_unreadable_file() {
    let lan = Lan::build(0).unwrap();
    let missing = lan.room().join("nowhere.conf");
    refuses(start(&lan, &[], &missing), ExitCode::Unreadable, &["nowhere.conf", "can't be read", "No such file"]);
    let directory = lan.room().to_owned();
    refuses(start(&lan, &[], &directory), ExitCode::Unreadable, &["can't be read", "not a plain file"]);
}

#[test]
fn an_unknown_key_in_keepalived_s_language() {
    let lan = Lan::build(0).unwrap();
    let file = lan.write("x.conf", &conf("    prioritty 100\n")).unwrap();
    refuses(start(&lan, &[], &file), ExitCode::Invalid, &["x.conf:4:5", "prioritty", "did you mean", "`priority`"]);
}

#[test]
fn an_unknown_key_in_toml() {
    let lan = Lan::build(0).unwrap();
    let text = format!(
        "[[vrrp_instance]]\nname = \"VI_1\"\ninterface = \"{INTERFACE}\"\nvirtual_router_id = 51\nprioritty = 100\n\
         virtual_ipaddress = [\"{VIP}/24\"]\n"
    );
    let file = lan.write("x.toml", &text).unwrap();
    refuses(start(&lan, &[], &file), ExitCode::Invalid, &["x.toml:5:1", "prioritty", "did you mean", "`priority`"]);
}

#[test]
fn all_that_is_wrong_is_said_at_once() {
    let lan = Lan::build(0).unwrap();
    let file = lan.write("x.conf", &conf("    priority 999\n    advert_int never\n")).unwrap();
    refuses(start(&lan, &[], &file), ExitCode::Invalid, &["x.conf:4:", "999", "x.conf:5:", "never", "2 errors"]);
}

#[test]
fn a_missing_interface() {
    let lan = Lan::build(0).unwrap();
    let file = lan.write("x.conf", &conf("").replace(INTERFACE, "eth7")).unwrap();
    refuses(start(&lan, &[], &file), ExitCode::NoInterface, &["eth7", "does not exist", "ip link"]);
}

#[test]
fn a_heartbeat_port_that_another_program_has() {
    let lan = Lan::build(1).unwrap();
    let file = Cluster::new(&lan).unwrap().write(&lan, 0).unwrap();
    let address = lan.node(0).port(Network::Heartbeat(0)).unwrap().address;
    let taken = lan.node(0).namespace.run(|| UdpSocket::bind((address, HEARTBEAT_PORT)).map_err(io_error("bind")));
    let words = [format!("{address}:{HEARTBEAT_PORT}"), "hb0".into(), "in use".into()];
    refuses(start(&lan, &[], &file), ExitCode::InUse, &words.each_ref().map(String::as_str));
    drop(taken);
}

#[test]
fn the_key_of_another_member() {
    let lan = Lan::build(1).unwrap();
    let text = Cluster::new(&lan).unwrap().of_node(&lan, 0).replace("n1.key", "n2.key");
    let file = lan.write("x.toml", &text).unwrap();
    refuses(start(&lan, &[], &file), ExitCode::Key, &["n2.key", "member n1", "public_key"]);
}

#[test]
fn a_key_file_that_holds_no_key() {
    let lan = Lan::build(1).unwrap();
    let file = Cluster::new(&lan).unwrap().write(&lan, 0).unwrap();
    lan.write("keys/n1.key", "not a key\n").unwrap();
    refuses(start(&lan, &[], &file), ExitCode::Key, &["n1.key"]);
    std::fs::remove_file(lan.room().join("keys/n1.key")).unwrap();
    refuses(start(&lan, &[], &file), ExitCode::Key, &["n1.key", "No such file"]);
}

#[test]
fn no_right_to_change_addresses() {
    let lan = Lan::build(0).unwrap();
    let file = lan.write("x.conf", &conf("")).unwrap();
    let without = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"];
    refuses(start(&lan, &without, &file), ExitCode::NotPermitted, &["CAP_NET_ADMIN"]);
}

#[test]
fn no_right_to_raw_sockets() {
    let lan = Lan::build(0).unwrap();
    let file = lan.write("x.conf", &conf("")).unwrap();
    let without = ["setpriv", "--bounding-set", "-net_raw", "--inh-caps", "-net_raw"];
    refuses(start(&lan, &without, &file), ExitCode::NotPermitted, &["CAP_NET_RAW"]);
}

#[test]
fn no_right_to_load_the_gate() {
    let lan = Lan::build(0).unwrap();
    let without = ["setpriv", "--bounding-set", "-bpf,-sys_admin", "--inh-caps", "-bpf,-sys_admin"];
    let file = lan.write("x.conf", &format!("gate {{\n    means bpf\n}}\n{}", conf(""))).unwrap();
    refuses(start(&lan, &without, &file), ExitCode::NotPermitted, &["CAP_BPF"]);
}

#[test]
fn a_second_agent_with_the_same_run_directory() {
    let lan = Lan::build(1).unwrap();
    let file = Cluster::new(&lan).unwrap().write(&lan, 0).unwrap();
    let mut first = start(&lan, &[], &file);
    assert!(first.says("-> BACKUP", AT_ONCE), "{}", first.said());
    refuses(start(&lan, &[], &file), ExitCode::Running, &["another keepone", "n1-run", "run_dir"]);
    assert!(first.wait(Duration::from_millis(500)).is_none(), "the first one minds:\n{}", first.said());
    first.signal(Part::Guardian, Signal::SIGTERM);
    assert_eq!(first.wait(AT_ONCE).and_then(|status| status.code()), Some(0), "{}", first.said());
}

#[test]
fn directories_that_are_none() {
    let lan = Lan::build(1).unwrap();
    let mut cluster = Cluster::new(&lan).unwrap();
    cluster.quorum();
    let file = cluster.write(&lan, 0).unwrap();
    for directory in ["n1-run", "n1-state"] {
        lan.write(directory, "a file\n").unwrap();
        refuses(start(&lan, &[], &file), ExitCode::Directory, &[directory]);
        std::fs::remove_file(lan.room().join(directory)).unwrap();
    }
}

#[test]
fn a_weak_gate_under_an_authority() {
    let lan = Lan::build(2).unwrap();
    let mut cluster = Cluster::new(&lan).unwrap();
    cluster.quorum();
    cluster.gate = "means = \"lifetime\"".into();
    let file = cluster.write(&lan, 0).unwrap();
    refuses(start(&lan, &[], &file), ExitCode::Invalid, &["n1.toml:46:9", "weak gate", "claim_without_gate"]);
}

/// `keepone run` on a node whose kernel has no BPF.
fn start_without_bpf(lan: &Lan, node: usize, file: &Path) -> Program {
    let program = keepone_tests::binary::find("keepone");
    let command = [program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
    Program::start_without_bpf(&lan.node(node).namespace, &command, &new_log(lan)).unwrap()
}

#[test]
fn a_kernel_without_bpf_where_the_gate_must_be_of_bpf() {
    let lan = Lan::build(0).unwrap();
    let file = lan.write("x.conf", &format!("gate {{\n    means bpf\n}}\n{}", conf(""))).unwrap();
    let words = ["the kernel", "does not know it", "CONFIG_BPF_SYSCALL"];
    refuses(start_without_bpf(&lan, 0, &file), ExitCode::NoGate, &words);
}

#[test]
fn a_kernel_without_bpf_has_nftables() {
    let lan = Lan::build(0).unwrap();
    let file = lan.write("x.conf", &conf("    advert_int 1\n")).unwrap();
    let mut program = start_without_bpf(&lan, 0, &file);
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    assert!(program.says("-> MASTER", AT_ONCE), "{}", program.said());
    assert!(watch.answered_by(0, AT_ONCE).is_some(), "{}", program.said());
    assert!(program.said().contains("nftables is used"), "{}", program.said());
}

/// The second of three voters stands without its cable, so it lends and never claims; the first has no BPF, and
/// the gate that is asked for.
fn under_an_authority(means: &str, more: &str) -> (Lan, Watch, Program, Program) {
    let lan = Lan::build(2).unwrap();
    let mut cluster = Cluster::new(&lan).unwrap();
    cluster.quorum();
    cluster.arbiter += more;
    cluster.gate = format!("means = \"{means}\"");
    lan.set_cable(1, false).unwrap();
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    let files = [0, 1].map(|node| cluster.write(&lan, node).unwrap());
    let program = keepone_tests::binary::find("keepone");
    let second = lan.start(1, &[program.to_str().unwrap(), "run", "-c", files[1].to_str().unwrap()]).unwrap();
    let first = start_without_bpf(&lan, 0, &files[0]);
    (lan, watch, first, second)
}

#[test]
fn a_kernel_without_bpf_holds_by_nftables_under_an_authority() {
    let (_lan, watch, mut first, _second) = under_an_authority("auto", "");
    assert!(first.says("-> MASTER", AT_ONCE), "{}", first.said());
    assert!(watch.answered_by(0, AT_ONCE).is_some(), "{}", first.said());
    assert!(first.said().contains("nftables is used"), "{}", first.said());
}

#[test]
fn address_lifetimes_under_an_authority_claim_when_told_to() {
    let (_lan, watch, mut first, _second) = under_an_authority("lifetime", "\nclaim_without_gate = true");
    assert!(first.says("-> MASTER", AT_ONCE), "{}", first.said());
    assert!(watch.answered_by(0, AT_ONCE).is_some(), "{}", first.said());
}
