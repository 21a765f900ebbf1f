//! The images of agent and witness, made from the packages, and a pair of agents and their witness as containers. Needs root,
//! buildah, podman and crun.
//!
//! No registry is asked: what the images begin with is the Debian of the other tests. A container has the network of its
//! machine, which is a namespace here, and the rights that its Containerfile names.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::cluster::Cluster;
use keepone_tests::debian::{debian, packages, run, tree};
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use nix::sys::signal::Signal;

/// Containers start slowly beside other programs.
const SOON: Duration = Duration::from_secs(60);
/// The first line of both Containerfiles.
const BASE: &str = "debian:bookworm-slim";
/// As in packaging/Containerfile.agent.
const RIGHTS: &str = "--cap-drop ALL --cap-add NET_ADMIN,NET_RAW,BPF,SYS_NICE,IPC_LOCK";
/// Podman in PID and control group namespaces of its own: it asks for one hierarchy, and all of it ends with the test.
const PODMAN: &str =
    "mount -t cgroup2 cgroup2 /sys/fs/cgroup; exec unshare --pid --fork --kill-child=KILL --mount-proc \"$@\"";

/// Where images are kept; they go with the value.
struct Store(tempfile::TempDir);

impl Store {
    /// Both images, made as their Containerfiles say.
    fn new() -> Self {
        let store = Store(tempfile::Builder::new().prefix("keepone-images").tempdir().unwrap());
        let base = store.0.path().join("base");
        std::fs::create_dir(&base).unwrap();
        let mut pack = Command::new("tar");
        run(pack.arg("-C").arg(debian("bookworm")).arg("-cf").arg(base.join("base.tar")).arg("."));
        std::fs::write(base.join("Containerfile"), "FROM scratch\nADD base.tar /\n").unwrap();
        store.build(&base.join("Containerfile"), BASE, &base);
        std::fs::remove_dir_all(&base).unwrap();
        for (file, name) in [("Containerfile.agent", "keepone"), ("Containerfile.witness", "keepone-witness")] {
            store.build(&tree().join("packaging").join(file), name, &packages());
        }
        store
    }

    /// What tells buildah and podman of it.
    fn words(&self) -> Vec<String> {
        let at = |name: &str| self.0.path().join(name).display().to_string();
        ["--root", &at("store"), "--runroot", &at("run"), "--storage-driver", "vfs"].map(str::to_owned).to_vec()
    }

    fn build(&self, file: &Path, name: &str, of: &Path) {
        let mut command = Command::new("buildah");
        command.args(self.words()).args(["bud", "--isolation", "chroot", "--pull=never", "-t", name, "-f"]).arg(file);
        run(command.arg(of));
    }

    /// Runs an image in a machine's network: `podman run --network host` there.
    fn start(&self, lan: &Lan, kind: Kind, flags: &str, image: &str, command: &[&str]) -> Program {
        let room = lan.room().display();
        let mut words: Vec<String> = ["sh", "-ec", PODMAN, "sh", "podman"].map(str::to_owned).to_vec();
        words.extend(self.words());
        // What this machine may not raise is not asked for.
        let run = format!(
            "--cgroup-manager cgroupfs run --rm --cgroups=disabled --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 \
             --network host -v {room}:{room} {flags} localhost/{image}"
        );
        words.extend(run.split_whitespace().map(str::to_owned));
        words.extend(command.iter().map(|word| (*word).to_owned()));
        lan.start_at(kind, &words.iter().map(String::as_str).collect::<Vec<_>>()).unwrap()
    }
}

/// The user of the witness's image, which its key and record must belong to.
fn user(store: &Store, lan: &Lan) -> String {
    let flags = "--entrypoint /usr/bin/id";
    let ended = store.start(lan, Kind::Client(0), flags, "keepone-witness", &["-u"]).end(SOON).unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    ended.said.trim().to_owned()
}

fn start_witness(store: &Store, lan: &Lan, file: &Path) -> Program {
    let (user, room) = (user(store, lan), lan.room());
    let state: PathBuf = room.join("w-state");
    std::fs::create_dir_all(&state).unwrap();
    run(Command::new("chown").arg(&user).arg(&state).arg(room.join("keys/w.key")));
    run(Command::new("chmod").arg("0755").arg(room).arg(room.join("keys")));
    run(Command::new("chmod").arg("0644").arg(file));
    println!("the witness runs as {user}");
    store.start(lan, Kind::Witness(0), "", "keepone-witness", &["run", "-c", file.to_str().unwrap()])
}

#[test]
#[ignore = "fetches a Debian, and takes minutes: packaging/try"]
fn agents_and_witness_serve_as_containers() {
    let store = Store::new();
    let lan = Lan::build(1).unwrap();
    let mut cluster = Cluster::new(&lan).unwrap();
    cluster.quorum();
    cluster.arbiter = cluster.arbiter.replace("500ms", "2s");
    let witness = start_witness(&store, &lan, &cluster.write_witness(&lan, 0).unwrap());
    // Debian 12's podman lets CAP_BPF call bpf(2) only without its list of system calls.
    let nodes = [(0, ""), (1, "--security-opt seccomp=unconfined")].map(|(node, more)| {
        let file = cluster.write(&lan, node).unwrap();
        let flags = format!("{RIGHTS} {more} -v /sys/fs/bpf:/sys/fs/bpf");
        store.start(&lan, Kind::Node(node), &flags, "keepone", &["run", "-c", file.to_str().unwrap()])
    });
    let said = || format!("{}\n--\n{}\n--\n{}", nodes[0].said(), nodes[1].said(), witness.said());
    let watch = Watch::start(&lan, VIP.into()).unwrap();
    let begin = clock::now();
    // Whoever is up first may begin; the better one has it in the end.
    eventually(SOON, said, || (watch.holders() == [0]).then_some(()));
    assert!(watch.answered_by(0, SOON).is_some(), "{}", said());
    let gate = |node: usize| {
        nodes[node].said().lines().rfind(|line| line.contains("the gate is")).unwrap_or_default().to_owned()
    };
    println!("n1: {}\nn2: {}", gate(0), gate(1));
    assert!(gate(0).contains("the gate is nft") && gate(1).contains("the gate is bpf"), "{}", said());
    thread::sleep(Duration::from_secs(4));
    // As `podman stop` does, by the image's signal.
    nodes[0].signal(Part::Both, Signal::SIGTERM);
    eventually(SOON, said, || (watch.holders() == [1]).then_some(()));
    assert!(watch.answered_by(1, SOON).is_some(), "{}", said());
    assert!(nodes[0].said().contains("everything is given up in good order"), "{}", said());
    let both = watch.overlap(begin, clock::now());
    println!("n1's container was stopped, and n2's holds it; two holders: {both:?}");
    assert_eq!(both, Duration::ZERO);
}
