//! `keepone-chaos qemu ladder`: the rings outside the gate, on a machine that may be reset.
//!
//! Each case is a guest of its own: a node and its witness, a lease held, a watchdog of the kernel (softdog),
//! and then something that no gate can mend. A reset is what QEMU tells, not what the guest says.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::WHO;
use super::image::{self, Kernel};
use super::qmp::Told;
use super::vm::{Machine, Settings};
use crate::netns::clock;
use crate::netns::configuration::INSTANCE;
use crate::netns::error::Error;
use crate::netns::namespace::Namespace;
use crate::netns::process::Processes;

/// The watchdog's timeout.
const WATCHDOG_S: u64 = 5;
/// How long the node may be unable to let go.
const REBOOT_AFTER_S: u64 = 1;
/// How much later than it should a reset may come, and how much longer a guest may need for anything: it is
/// emulated, on a machine that has other things to do.
const SLACK: Duration = Duration::from_secs(5);
/// How long after the deed of a case that resets nothing a reset is waited for.
const CALM: Duration = Duration::from_secs(WATCHDOG_S + 3);

const HEAD: &str = "[cluster]\nname = \"demo\"\n[node]\nname = \"n1\"\nkey_file = \"/k/keys/n1.key\"\n\
                    state_dir = \"/k/state\"\nrun_dir = \"/k/run\"\nbpf_dir = \"/sys/fs/bpf/keepone\"\n";

/// What is done to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// Its worker is killed: the guardian starts another. No reset.
    WorkerKilled,
    /// It is asked to end. No reset.
    Stopped,
    /// Guardian and worker stand still.
    Frozen,
    /// Guardian and worker are killed at one instant.
    Killed,
    /// Its gate fails its test and the addresses can't be removed: it restarts itself.
    Stuck,
}

impl Case {
    /// All of them.
    pub const ALL: [Case; 5] = [Case::WorkerKilled, Case::Stopped, Case::Frozen, Case::Killed, Case::Stuck];

    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Case::WorkerKilled => "worker-killed",
            Case::Stopped => "stopped-in-order",
            Case::Frozen => "agent-frozen",
            Case::Killed => "agent-killed",
            Case::Stuck => "can-not-let-go",
        }
    }

    /// What is run in the guest.
    fn deed(self) -> &'static str {
        match self {
            Case::WorkerKilled => "kill -9 $(worker)",
            Case::Stopped => "kill -TERM $(guardian)",
            Case::Frozen => "kill -STOP $(guardian) $(worker)",
            Case::Killed => "kill -9 $(guardian) $(worker)",
            Case::Stuck => {
                "(keepone-chaos guest vandalize $(worker) /sys/fs/bpf/keepone >/dev/console 2>&1 </dev/null &)"
            }
        }
    }

    /// The earliest and the latest instant of a reset after the deed; `None`: there must be none.
    fn reset(self) -> Option<(Duration, Duration)> {
        match self {
            Case::WorkerKilled | Case::Stopped => None,
            // The last feeding lies up to a fifth of a second before the deed.
            Case::Frozen | Case::Killed => {
                let timeout = Duration::from_secs(WATCHDOG_S);
                Some((timeout - Duration::from_millis(700), timeout + SLACK))
            }
            Case::Stuck => {
                let after = Duration::from_secs(REBOOT_AFTER_S);
                // Sooner than the watchdog, or it was not the node itself.
                Some((after, Duration::from_secs(WATCHDOG_S) - Duration::from_millis(300)))
            }
        }
    }

    /// What the console says last.
    fn last_word(self) -> &'static str {
        match self {
            Case::WorkerKilled => "the worker ended (signal 9)",
            Case::Stopped => "asked to stop",
            Case::Frozen | Case::Killed => "softdog: Initiating system reboot",
            Case::Stuck => "restarts the machine: the gate fails its test",
        }
    }
}

/// What was seen of one case.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// Its name.
    pub case: &'static str,
    /// How long after the deed the machine was reset.
    pub reset_ms: Option<u64>,
    /// What does not hold; empty is success.
    pub violations: Vec<String>,
}

/// Runs the cases whose name contains `only`, one after the other.
///
/// # Errors
/// When a guest can't be made or does not come to hold its lease.
pub fn run(kernel: &Path, bin_dir: &Path, room: &Path, only: &str, mut tell: impl FnMut(&Report)) -> Result<(), Error> {
    let kernel = Kernel::find(kernel)?;
    let base = image::base(&kernel, bin_dir, room)?;
    let processes = Processes::new();
    for case in Case::ALL.into_iter().filter(|case| case.as_str().contains(only)) {
        tell(&run_case(case, &kernel, &base, room, &processes)?);
    }
    Ok(())
}

fn run_case(case: Case, kernel: &Kernel, base: &[u8], room: &Path, processes: &Processes) -> Result<Report, Error> {
    let namespace = Namespace::new()?;
    let settings = Settings {
        name: case.as_str(),
        kernel,
        base,
        files: files(),
        nics: Vec::new(),
        namespace: &namespace,
        processors: 1,
        append: "",
        counts: false,
    };
    let mut guest = Machine::start(&settings, room, processes)?;
    guest.must("sh /k/start", Duration::from_secs(60))?;
    wait_for_vip(&mut guest)?;
    // Fed all along: a watchdog that bites now would be no proof of anything.
    let mut violations = Vec::new();
    if let Some(told) = reset(&guest, CALM) {
        violations.push(format!("the machine was reset before anything was done: {}", told.data));
    }
    let at = clock::now();
    guest.must(&format!(". /k/who; {}", case.deed()), SLACK * 4)?;
    let told = reset(&guest, case.reset().map_or(CALM, |(_, latest)| latest + SLACK));
    let after = told.as_ref().map(|told| Duration::from_nanos(told.at.saturating_sub(at)));
    match (case.reset(), after) {
        (None, None) if case == Case::WorkerKilled => wait_for_vip(&mut guest)?,
        (None, None) => {}
        (None, Some(after)) => violations.push(format!("the machine was reset after {after:?}")),
        (Some((earliest, latest)), None) => {
            violations.push(format!("no reset, where one was due from {earliest:?} to {latest:?}"));
        }
        (Some((earliest, latest)), Some(after)) if after < earliest || after > latest => {
            violations.push(format!("the reset came after {after:?}, not from {earliest:?} to {latest:?}"));
        }
        (Some(_), Some(_)) => {}
    }
    let console = std::fs::read(guest.console()).unwrap_or_default();
    let console = String::from_utf8_lossy(&console).into_owned();
    if !console.contains(case.last_word()) {
        violations.push(format!("the console does not say {:?}", case.last_word()));
    }
    if console.contains("Kernel panic") {
        violations.push("the guest's kernel panicked".to_owned());
    }
    let reset_ms = after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    Ok(Report { case: case.as_str(), reset_ms, violations })
}

/// The reset, if one comes within `patience`. QEMU ends at it, and says why.
fn reset(guest: &Machine, patience: Duration) -> Option<Told> {
    guest.qmp.wait_for("SHUTDOWN", patience)
}

fn wait_for_vip(guest: &mut Machine) -> Result<(), Error> {
    let begin = clock::now();
    loop {
        let said = guest.run("ip addr show lan0 | grep -q 192.0.2.100", SLACK * 4)?;
        if said.status == 0 {
            return Ok(());
        }
        if clock::now().saturating_sub(begin) > 40_000_000_000 {
            let seen = super::super::netns::process::tail(guest.console());
            return Err(Error::NotSteady { waited_s: 40, seen });
        }
        thread::sleep(Duration::from_millis(200));
    }
}

fn files() -> Vec<(String, Vec<u8>)> {
    let tail = format!(
        "[heartbeat]\nperiod = \"1s\"\n[[heartbeat_link]]\nname = \"hb0\"\ninterface = \"hb0\"\naddress = \"10.1.0.1\"\npeers = {{ n2 = \"10.1.0.2\" }}\n\
         [arbiter]\ntype = \"quorum\"\nlease = \"4s\"\n\
         [fencing]\nwatchdog = \"/dev/watchdog\"\nwatchdog_timeout = \"{WATCHDOG_S}s\"\n\
         reboot_after = \"{REBOOT_AFTER_S}s\"\n\
         [[vrrp_instance]]\nname = \"{INSTANCE}\"\nstate = \"BACKUP\"\ninterface = \"lan0\"\n\
         virtual_router_id = 51\nversion = 3\nvirtual_ipaddress = [\"192.0.2.100/24\"]\n"
    );
    let witness = "name = \"w\"\nid = 3\nkey_file = \"/k/keys/w.key\"\nlisten = \"127.0.0.1:7947\"\n\
                   state_dir = \"/k/witness\"\n\n[[cluster]]\nname = \"demo\"\nvoters = [\"n1\", \"n2\", \"w\"]\nlease = \"4s\"\n";
    // What is on the console survives the machine.
    let start = "set -e\n\
                 for name in lan0 hb0; do ip link add $name type dummy; ip link set $name up; done\n\
                 ip addr add 192.0.2.11/24 dev lan0\nip addr add 10.1.0.1/24 dev hb0\n\
                 insmod /modules/softdog.ko\n\
                 cd /k\nkeepone keys --cluster demo --out keys n1 n2 w >/dev/null\n\
                 (cat head keys/members.toml; echo 'witness = \"127.0.0.1:7947\"'; cat tail) >n1.toml\n\
                 (cat whead; sed -e '/name = \"w\"/,$d' -e 's/\\[\\[member/[[cluster.member/' keys/members.toml) >w.toml\nsed -i '$d' w.toml\n\
                 mkdir -p state run witness\n\
                 (keepone-witness run -c w.toml >/dev/console 2>&1 </dev/null &)\n\
                 (keepone run -c n1.toml >/dev/console 2>&1 </dev/null & echo $! >/guardian)\n";
    let file = |name: &str, text: &str| (format!("k/{name}"), text.as_bytes().to_vec());
    vec![file("head", HEAD), file("tail", &tail), file("whead", witness), file("start", start), file("who", WHO)]
}
