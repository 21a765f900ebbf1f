//! A guest with IPVS, two real servers and a client in network namespaces of it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::netns::clock;
use crate::netns::error::Error;
use crate::netns::namespace::Namespace;
use crate::netns::process::Processes;
use crate::qemu::WHO;
use crate::qemu::image::{self, Extra, Kernel};
use crate::qemu::vm::{Machine, Settings};

/// How long one command may take in an emulated machine on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the agent may take for anything: it looks at the table every five seconds.
const SOON: Duration = Duration::from_secs(90);

const SETUP: &str = include_str!("setup");
const FLOW: &str = include_str!("flow");

/// Boots it, with these modules and programs at hand and these files in `/lvs`; `counts` as of [`Settings::counts`].
pub(super) fn boot(
    kernel: &Path,
    bin_dir: &Path,
    room: &Path,
    modules: &[&str],
    programs: &[(&str, &str)],
    files: &[(&str, String)],
    counts: bool,
) -> Result<Guest, Error> {
    let kernel = Kernel::find(kernel)?;
    let base = image::with(&kernel, bin_dir, room, Extra { modules, programs })?;
    let namespace = Namespace::new()?;
    let own = [("setup", SETUP), ("flow", FLOW), ("who", WHO)];
    let files = files.iter().map(|(name, text)| (*name, text.as_str())).chain(own);
    let settings = Settings {
        name: "lvs",
        kernel: &kernel,
        base: &base,
        files: files.map(|(name, text)| (format!("lvs/{name}"), text.as_bytes().to_vec())).collect(),
        nics: Vec::new(),
        namespace: &namespace,
        processors: 1,
        append: "",
        counts,
    };
    Ok(Guest { machine: Machine::start(&settings, room, &Processes::new())?, violations: Vec::new() })
}

/// The machine, and what did not hold on it.
pub(super) struct Guest {
    machine: Machine,
    pub(super) violations: Vec<String>,
}

impl Guest {
    pub(super) fn must(&mut self, command: &str) -> Result<String, Error> {
        self.machine.must(command, PATIENCE)
    }

    /// The same for what may take so many seconds more.
    pub(super) fn long(&mut self, command: &str, seconds: u64) -> Result<String, Error> {
        self.machine.must(command, PATIENCE + Duration::from_secs(seconds))
    }

    pub(super) fn table(&mut self) -> Result<Vec<String>, Error> {
        Ok(lines(&self.must("ipvsadm -Sn")?))
    }

    /// Waits for the table; how long it took, in milliseconds.
    pub(super) fn wait_for_table(&mut self, what: &str, wanted: &[String]) -> Result<u64, Error> {
        let begin = clock::now();
        loop {
            let table = self.table()?;
            let took = clock::now().saturating_sub(begin) / 1_000_000;
            if table == wanted {
                return Ok(took);
            }
            if u128::from(took) > SOON.as_millis() {
                let missing: Vec<_> = wanted.iter().filter(|line| !table.contains(line)).collect();
                let beside: Vec<_> = table.iter().filter(|line| !wanted.contains(line)).collect();
                self.violations.push(format!("{what}: the table lacks {missing:#?} and has {beside:#?}"));
                return Ok(took);
            }
            thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits until a command succeeds.
    pub(super) fn wait_for(&mut self, what: &str, command: &str) -> Result<(), Error> {
        let begin = clock::now();
        while self.machine.run(command, PATIENCE)?.status != 0 {
            if u128::from(clock::now().saturating_sub(begin) / 1_000_000) > SOON.as_millis() {
                self.violations.push(format!("{what}: `{command}` does not come true"));
                return Ok(());
            }
            thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }

    pub(super) fn expect(&mut self, what: &str, command: &str) -> Result<(), Error> {
        let said = self.machine.run(command, PATIENCE)?;
        if said.status != 0 {
            self.violations.push(format!("{what}: `{command}` fails: {}", said.text.trim()));
        }
        Ok(())
    }

    /// Answers of the two real servers, and failures.
    pub(super) fn requests(&mut self, address: &str, count: u8) -> Result<[usize; 3], Error> {
        let said = self.must(&format!("sh /lvs/flow {address} {count}"))?;
        Ok(answers(&said))
    }

    /// How many lines have come back on the connection that lasts, once it has ended.
    pub(super) fn held(&mut self, lines: usize, what: &str) -> Result<usize, Error> {
        self.wait_for(what, "grep -q end /run/held")?;
        let held = self.must("cat /run/held")?;
        let held = held.lines().filter(|line| line.trim().parse::<usize>().is_ok()).count();
        if held != lines {
            self.violations.push(format!("{what}: {held} of {lines} lines came back"));
        }
        Ok(held)
    }

    pub(super) fn configure(&mut self, file: &str) -> Result<(), Error> {
        self.must(&format!("cp /lvs/{file} /lvs/keepalived.conf; . /lvs/who; kill -HUP $(guardian)")).map(drop)
    }
}

/// Answers of the two real servers, and failures.
pub(super) fn answers(said: &str) -> [usize; 3] {
    ["rs1", "rs2", "failed"].map(|who| said.lines().filter(|line| line.trim() == who).count())
}

/// In an order of their own: ipvsadm's is that of the kernel's hash table.
pub(super) fn lines(text: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        text.lines().map(|line| line.trim().to_owned()).filter(|line| !line.is_empty()).collect();
    lines.sort_unstable();
    lines
}
