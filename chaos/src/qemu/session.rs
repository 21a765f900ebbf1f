//! A guest that is told what to do over its serial line, and what did not hold there.

use std::path::Path;
use std::thread;
use std::time::Duration;

use super::image::{self, Extra, Kernel};
use super::vm::{Machine, Settings};
use crate::netns::clock;
use crate::netns::error::Error;
use crate::netns::namespace::Namespace;
use crate::netns::process::Processes;

/// How long one command may take in an emulated machine on a busy host.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the agent may take for anything: it looks at the kernel's tables every five seconds.
pub(super) const SOON: Duration = Duration::from_secs(90);

/// The machine, and what did not hold on it.
pub(super) struct Guest {
    machine: Machine,
    pub(super) violations: Vec<String>,
}

/// Boots one called `name` with these modules and programs at hand and these files in `/NAME`; `counts` as of
/// [`Settings::counts`].
pub(super) fn boot(
    (kernel, bin_dir, room): (&Path, &Path, &Path),
    name: &str,
    extra: Extra<'_>,
    files: Vec<(String, String)>,
    counts: bool,
) -> Result<Guest, Error> {
    let kernel = Kernel::find(kernel)?;
    let base = image::with(&kernel, bin_dir, room, extra)?;
    let namespace = Namespace::new()?;
    let settings = Settings {
        name,
        kernel: &kernel,
        base: &base,
        files: files.into_iter().map(|(file, text)| (format!("{name}/{file}"), text.into_bytes())).collect(),
        nics: Vec::new(),
        namespace: &namespace,
        processors: 1,
        append: "",
        counts,
    };
    Ok(Guest { machine: Machine::start(&settings, room, &Processes::new())?, violations: Vec::new() })
}

impl Guest {
    /// What a command writes that has to succeed.
    pub(super) fn must(&mut self, command: &str) -> Result<String, Error> {
        self.machine.must(command, PATIENCE)
    }

    /// The same for what may take so many seconds more.
    pub(super) fn long(&mut self, command: &str, seconds: u64) -> Result<String, Error> {
        self.machine.must(command, PATIENCE + Duration::from_secs(seconds))
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

    /// A command has to succeed, or that is a violation.
    pub(super) fn expect(&mut self, what: &str, command: &str) -> Result<(), Error> {
        let said = self.machine.run(command, PATIENCE)?;
        if said.status != 0 {
            self.violations.push(format!("{what}: `{command}` fails: {}", said.text.trim()));
        }
        Ok(())
    }
}
