//! The packages under a real systemd: a Debian is booted in namespaces, and the units serve in their sandbox. Needs root.
//!
//! Not seen here, since the machine of the tests may not raise limits: real time and locked memory by the units' limits.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use keepone_tests::debian::{debian, package, packages, run};
use keepone_tests::machine::FIRST_PROCESS;

/// Boots what is laid over Debian in `$1`, until it says that all is tried, or for two minutes.
const BOOT: &str = r#"
cd "$1"; lower=$2
mount -t tmpfs none group
mkdir group/all && mount -t cgroup2 none group/all
own=group/all/keepone-test-$$; mkdir "$own"
(
    sh -c 'echo $PPID' > "$own/cgroup.procs"
    exec unshare --pid --mount --cgroup --net --uts --ipc --fork --kill-child=KILL --mount-proc --propagation private \
        sh -ec "$3" sh "$lower"
) &
machine=$!
# The manager's own end takes its time: what was laid over Debian is thrown away anyway.
for _ in $(seq 1200); do [ ! -e upper/end ] || break; sleep 0.1; done
kill -KILL $machine; wait $machine || true; sleep 0.2
find "$own" -depth -type d -exec rmdir {} + 2>/dev/null || true
"#;

/// What is tried in it; each answer on a line of its own, `NAME: …`.
const TRIAL: &str = r#"
say() { echo "$1: $(shift; "$@" 2>&1 | tr '\n' ' ')"; }
state() { say "$1" systemctl show "$2" -p ActiveState,StatusText,NRestarts,ExecMainStatus --value; }
until_held() { for _ in $(seq 200); do ip -br addr show dev eth0 | grep -q 192.0.2.100 && break; sleep 0.1; done; say "$1" ip -br addr show dev eth0; }
ip link set lo up
ip link add eth0 type veth peer name eth1
ip addr add 192.0.2.1/24 dev eth0
ip link set eth0 up; ip link set eth1 up
# A watchdog's device that is anything.
touch /dev/watchdog; mount --bind /dev/full /dev/watchdog
dpkg -i /opt/*.deb
say enabled systemctl is-enabled keepone
cat > /etc/keepone/keepone.conf <<CONF
vrrp_instance VI_1 {
    interface eth0
    virtual_router_id 51
    priority 150
    advert_int 1
    virtual_ipaddress {
        192.0.2.100/24
    }
    notify_master /opt/notified
}
CONF
mkdir -p /etc/systemd/system/keepone.service.d
printf '[Service]\nWatchdogSec=4\n' > /etc/systemd/system/keepone.service.d/watchdog.conf
systemctl daemon-reload
say start systemctl start keepone
state started keepone
until_held held
sleep 1
say sandbox cat /run/keepone/notified
sed -i 's/priority 150/priority 151/' /etc/keepone/keepone.conf
# systemd before 253 has no notify-reload.
systemctl kill -s HUP --kill-who=main keepone; sleep 2
state reloaded keepone
guardian=$(systemctl show keepone -p MainPID --value)
kill -9 "$(cat /proc/$guardian/task/$guardian/children | cut -d' ' -f1)"; sleep 1
until_held "held by the next worker"
state "with the next worker" keepone
# Twice the manager's patience: it is fed.
sleep 9; state fed keepone
kill -STOP "$guardian"; sleep 8
state "after the guardian stood still" keepone
until_held "held by the next agent"
systemctl stop keepone
state stopped keepone
say "left in the kernel" ip -br addr show dev eth0
sed -i '1i global_defs {\n    script_user nobody\n}' /etc/keepone/keepone.conf
systemctl start keepone
state "without the right to be nobody" keepone
keepone keys --cluster web --out /tmp/keys n1 n2 w
mv /tmp/keys/w.key /etc/keepone/; chown keepone-witness /etc/keepone/w.key
cat > /etc/keepone/witness.toml <<CONF
name = "w"
id = 3
key_file = "w.key"
listen = "192.0.2.1:7947"
state_dir = "/var/lib/keepone-witness"
[[cluster]]
name = "web"
voters = ["n1", "n2", "w"]
lease = "1s"
CONF
sed -n '/name = "w"/q; s/\[\[member\]\]/[[cluster.member]]/; p' /tmp/keys/members.toml | head -n -1 >> /etc/keepone/witness.toml
say "witness starts" systemctl start keepone-witness
state witness keepone-witness
say "as whom" stat -c %U /proc/$(systemctl show keepone-witness -p MainPID --value)
systemctl kill -s HUP --kill-who=main keepone-witness; sleep 1
state "witness reloaded" keepone-witness
journalctl --no-pager -o cat -u keepone -u keepone-witness
touch /end
"#;

const UNIT: &str = "[Unit]\nAfter=basic.target\n[Service]\nType=oneshot\nExecStart=/bin/bash /opt/trial\n\
    StandardOutput=file:/trial.log\nStandardError=inherit\n";

fn lay_out(room: &Path) {
    for name in ["upper/opt", "upper/etc/systemd/system/multi-user.target.wants", "work", "merged", "group"] {
        fs::create_dir_all(room.join(name)).unwrap();
    }
    let system = room.join("upper/etc/systemd/system");
    fs::write(system.join("trial.service"), UNIT).unwrap();
    symlink("../trial.service", system.join("multi-user.target.wants/trial.service")).unwrap();
    symlink("/lib/systemd/system/multi-user.target", system.join("default.target")).unwrap();
    fs::write(room.join("upper/opt/trial"), TRIAL).unwrap();
    let script = "#!/bin/sh\n{ ls /dev/watchdog; touch /etc/x || echo no /etc; touch /var/x && echo /var; grep CapEff /proc/self/status; } \
        > /run/keepone/notified 2>&1\n";
    fs::write(room.join("upper/opt/notified"), script).unwrap();
    run(Command::new("chmod").arg("0755").arg(room.join("upper/opt/notified")));
    for name in ["keepone", "keepone-witness"] {
        fs::copy(package(&packages(), name, ".deb"), room.join(format!("upper/opt/{name}.deb"))).unwrap();
    }
}

#[test]
#[ignore = "fetches a Debian, and takes minutes: packaging/try"]
fn the_units_serve_in_their_sandbox() {
    let room = tempfile::Builder::new().prefix("keepone-service").tempdir().unwrap();
    lay_out(room.path());
    let mut boot = Command::new("unshare");
    boot.args(["--mount", "--propagation", "private", "bash", "-ec", BOOT, "bash"]).arg(room.path());
    boot.arg(debian("bookworm")).arg(FIRST_PROCESS);
    run(&mut boot);
    let said = fs::read_to_string(room.path().join("upper/trial.log")).unwrap_or_default();
    let answer = |name: &str| {
        let line = said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let line = line.unwrap_or_else(|| panic!("nothing of {name:?}:\n{said}"));
        println!("{name}: {line}");
        line.trim().to_owned()
    };
    assert_eq!(answer("enabled"), "disabled", "a package starts nothing");
    assert_eq!(answer("start"), "", "{said}");
    let is = |name: &str, wanted: &str| {
        let state = answer(name);
        assert!(state.split_whitespace().any(|word| word == wanted), "{name}: not {wanted}: {state}\n{said}");
        state
    };
    let serves = |name: &str, restarts: &str| {
        let state = is(name, "active");
        assert!(state.contains("the worker serves"), "{name}: {state}\n{said}");
        assert!(
            state.split_whitespace().any(|word| word == restarts),
            "{name}: not {restarts} restarts: {state}\n{said}"
        );
    };
    serves("started", "0");
    assert!(answer("held").contains("192.0.2.100"), "{said}");
    let sandbox = answer("sandbox");
    assert!(
        sandbox.contains("/dev/watchdog") && sandbox.contains("no /etc") && sandbox.contains(" /var "),
        "{sandbox}\n{said}"
    );
    // 10 NET_BIND_SERVICE, 12 NET_ADMIN, 13 NET_RAW, 39 BPF.
    assert!(sandbox.contains("CapEff: 0000008000003400") || sandbox.contains("CapEff:\t0000008000003400"), "{sandbox}");
    assert!(said.contains("the gate is bpf (new)"), "no gate of BPF in the sandbox:\n{said}");
    serves("reloaded", "0");
    assert!(said.contains("reload: taken over"), "{said}");
    assert!(answer("held by the next worker").contains("192.0.2.100"), "{said}");
    serves("with the next worker", "0");
    serves("fed", "0");
    serves("after the guardian stood still", "1");
    assert!(answer("held by the next agent").contains("192.0.2.100"), "{said}");
    is("stopped", "inactive");
    assert!(!answer("left in the kernel").contains("192.0.2.100"), "{said}");
    is("without the right to be nobody", "15");
    assert!(said.contains("missing CAP_SETUID, to run scripts as nobody"), "{said}");
    assert_eq!(answer("witness starts"), "", "{said}");
    is("witness", "active");
    assert_eq!(answer("as whom"), "keepone-witness", "{said}");
    is("witness reloaded", "active");
}
