//! A guest with IPVS, two real servers and a client in network namespaces of it.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::netns::clock;
use crate::netns::error::Error;
use crate::qemu::WHO;
use crate::qemu::image::Extra;
pub(super) use crate::qemu::session::Guest;
use crate::qemu::session::{self, SOON};

const SETUP: &str = include_str!("setup");
const FLOW: &str = include_str!("flow");

/// Boots it, with these modules and programs at hand and these files in `/lvs`; `counts` as of
/// [`Settings::counts`](crate::qemu::vm::Settings::counts).
pub(super) fn boot(
    kernel: &Path,
    bin_dir: &Path,
    room: &Path,
    modules: &[&str],
    programs: &[(&str, &str)],
    files: &[(&str, String)],
    counts: bool,
) -> Result<Guest, Error> {
    let own = [("setup", SETUP), ("flow", FLOW), ("who", WHO)];
    let files = files.iter().map(|(name, text)| (*name, text.as_str())).chain(own);
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned())).collect();
    session::boot((kernel, bin_dir, room), "lvs", Extra { modules, programs }, files, counts)
}

impl Guest {
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
