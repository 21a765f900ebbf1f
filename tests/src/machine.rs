//! A machine: a Debian with systemd as its first process, in namespaces. Its disk stays from one boot to the next.
#![allow(clippy::unwrap_used, clippy::panic, reason = "preconditions of tests")]

use std::fs;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use keepone_chaos::netns::namespace::Namespace;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::debian::run;
use crate::patience::eventually;

/// What is done in the new PID, mount and cgroup namespaces, in the machine's directory: `upper` is laid over the Debian
/// in `$1`, and its service manager becomes the first process.
pub const FIRST_PROCESS: &str = r#"
mount -t overlay overlay -o lowerdir=$1,upperdir=upper,workdir=work merged
cd merged
mount -t proc proc proc; mount -t sysfs sysfs sys; mount -t cgroup2 cgroup2 sys/fs/cgroup; mount -t bpf bpf sys/fs/bpf
mount -t tmpfs tmpfs run; mount -t tmpfs tmpfs tmp; mount -t tmpfs tmpfs dev
for name in null zero full random urandom tty; do touch dev/$name; mount --bind /dev/$name dev/$name; done
mkdir -p dev/shm dev/pts dev/mqueue dev/hugepages .former
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts; ln -s pts/ptmx dev/ptmx; ln -s /proc/self/fd dev/fd
pivot_root . .former; umount -l /.former; rmdir /.former || true
exec env -i container=keepone PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd </dev/null
"#;

/// In a control group of its own, `$3`, so that the manager's are below it.
const BOOT: &str = r#"
cd "$1"; mount -t cgroup2 cgroup2 group
mkdir -p "group/$3"; echo $$ > "group/$3/cgroup.procs"
exec setpriv --pdeathsig KILL unshare --pid --mount --cgroup --uts --ipc --fork --kill-child=KILL --mount-proc \
    --propagation private sh -ec "$4" sh "$2"
"#;
/// What is left of the groups; they are seen wherever they are mounted.
const CLEAR: &str =
    r#"cd "$1"; mount -t cgroup2 cgroup2 group; find "group/$2" -depth -type d -exec rmdir {} + || true"#;

/// Booting, and whatever else a busy machine takes its time for.
const PATIENCE: Duration = Duration::from_secs(120);

/// A machine that may be switched off and on; dropping it is switching it off for good.
#[derive(Debug)]
pub struct Machine {
    name: String,
    room: PathBuf,
    lower: PathBuf,
    namespace: Namespace,
    /// Its interfaces: as it was made with, as it is to be called, the address with its prefix.
    wires: Vec<[String; 3]>,
    running: Option<Child>,
}

/// How a command ended in a machine, and what it said on both outputs.
#[derive(Debug)]
pub struct Said {
    /// Its exit code; -1 for a signal.
    pub code: i32,
    /// Both outputs.
    pub text: String,
}

impl Machine {
    /// A new disk in `room`, over the Debian in `lower`; its network is that of `namespace`, whose interfaces are renamed.
    ///
    /// # Panics
    /// The directories can't be made.
    pub fn new(name: &str, room: &Path, lower: &Path, namespace: &Namespace, wires: &[[&str; 3]]) -> Self {
        let room = room.join(name);
        for part in ["upper/etc/systemd/system", "upper/opt", "work", "merged", "group"] {
            fs::create_dir_all(room.join(part)).unwrap();
        }
        let target = room.join("upper/etc/systemd/system/default.target");
        symlink("/lib/systemd/system/multi-user.target", target).unwrap();
        let wires = wires.iter().map(|wire| wire.map(str::to_owned)).collect();
        let (name, lower, namespace) = (name.to_owned(), lower.to_owned(), namespace.clone());
        Machine { name, room, lower, namespace, wires, running: None }
    }

    /// Where a file of its disk is, seen from here; while it is off, only what it did not have from the beginning.
    pub fn file(&self, path: &str) -> PathBuf {
        let disk = self.first().map_or_else(|| self.room.join("upper"), |first| format!("/proc/{first}/root").into());
        disk.join(path.trim_start_matches('/'))
    }

    fn group(&self) -> String {
        format!("keepone-{}-{}", std::process::id(), self.name)
    }

    /// In its network, by the host's program.
    ///
    /// # Panics
    /// It fails.
    pub fn network(&self, program: &str, words: &[&str]) -> String {
        let net = format!("--net=/proc/{}/fd/{}", std::process::id(), self.namespace.file().as_raw_fd());
        run(Command::new("nsenter").args([&net, "--", program]).args(words))
    }

    /// One `ip -batch`, which takes no longer than a single command.
    fn ip(&self, batch: &str) {
        let file = self.room.join("batch");
        fs::File::create(&file).unwrap().write_all(batch.as_bytes()).unwrap();
        self.network("ip", &["-force", "-batch", file.to_str().unwrap()]);
    }

    /// Switches it on, and waits until its manager has started all that is enabled.
    ///
    /// # Panics
    /// It does not boot.
    pub fn boot(&mut self) {
        for [made, called, address] in &self.wires {
            if made != called && self.network("ip", &["-br", "link"]).contains(&format!("{made}@")) {
                self.ip(&format!("link set {made} down\nlink set {made} name {called}\n"));
            }
            self.ip(&format!("link set {called} down\naddr flush dev {called}\naddr add {address} dev {called}\nlink set {called} up\n"));
        }
        let net = format!("--net=/proc/{}/fd/{}", std::process::id(), self.namespace.file().as_raw_fd());
        let log = fs::File::create(self.room.join("boot.log")).unwrap();
        let mut command = Command::new("nsenter");
        command.args([&net, "--", "unshare", "--mount", "--propagation", "private", "bash", "-ec", BOOT, "bash"]);
        command.arg(&self.room).arg(&self.lower).args([&self.group(), FIRST_PROCESS]);
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.running = Some(command.spawn().unwrap());
        let what = |what: &str| {
            let log = fs::read_to_string(self.room.join("boot.log")).unwrap_or_default();
            format!("{} does not boot: {what}\n{log}", self.name)
        };
        eventually(
            PATIENCE,
            || what("no manager"),
            || {
                let name = fs::read_to_string(format!("/proc/{}/comm", self.first()?)).ok()?;
                (name.trim() == "systemd").then_some(())
            },
        );
        eventually(
            PATIENCE,
            || what(&self.shell("systemctl is-system-running; systemctl list-jobs").text),
            || ["running\n", "degraded\n"].contains(&&*self.shell("systemctl is-system-running").text).then_some(()),
        );
    }

    /// Whether it is switched on.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// The PID of its first process, here.
    fn first(&self) -> Option<i32> {
        let parent = self.running.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).ok()?;
        children.split_whitespace().next()?.parse().ok()
    }

    /// A line of shell in it, as root.
    ///
    /// # Panics
    /// It is off, or the line takes minutes.
    #[track_caller]
    pub fn shell(&self, line: &str) -> Said {
        let first = self.first().unwrap_or_else(|| panic!("{} is off", self.name)).to_string();
        let mut command = Command::new("nsenter");
        command.args(["--target", &first, "--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd"]);
        command.args([
            "--",
            "env",
            "-i",
            "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME=/root",
            "DEBIAN_FRONTEND=noninteractive",
        ]);
        command.args(["timeout", "-k", "5", "180", "bash", "-c", &format!("exec 2>&1; {line}")]);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let code = output.status.code().unwrap_or(-1);
        assert!(code != 124, "{}: `{line}` does not end", self.name);
        Said { code, text: String::from_utf8_lossy(&output.stdout).into_owned() }
    }

    /// The same; it must end with 0.
    ///
    /// # Panics
    /// As [`Machine::shell`], and where it ends otherwise.
    #[track_caller]
    pub fn does(&self, line: &str) -> String {
        let said = self.shell(line);
        assert_eq!(said.code, 0, "{}: `{line}`\n{}", self.name, said.text);
        said.text
    }

    /// Pulls the plug: all processes at one instant, and with them what its kernel would lose, links and addresses.
    pub fn power_off(&mut self) {
        if let Some(first) = self.first() {
            let _ = kill(Pid::from_raw(first), Signal::SIGKILL);
            let lost = |[_, name, _]: &[String; 3]| format!("link set {name} down\naddr flush dev {name}\n");
            self.ip(&self.wires.iter().map(lost).collect::<String>());
        }
        self.end();
    }

    fn end(&mut self) {
        if let Some(first) = self.first() {
            let _ = kill(Pid::from_raw(first), Signal::SIGKILL);
        }
        let Some(mut child) = self.running.take() else { return };
        let _ = child.wait();
        let mut clear = Command::new("unshare");
        clear.args(["--mount", "--propagation", "private", "bash", "-ec", CLEAR, "bash"]).arg(&self.room);
        let _ = clear.arg(self.group()).stderr(Stdio::null()).status();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.end();
    }
}
