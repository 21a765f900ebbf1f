//! `keepone-chaos qemu boot`: the shortest way to see that guests work here.

use std::path::Path;
use std::time::{Duration, Instant};

use super::image::{self, Kernel};
use super::vm::{Machine, Settings, accelerator};
use crate::netns::error::Error;
use crate::netns::namespace::Namespace;
use crate::netns::process::Processes;

/// What was seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// `kvm` or `tcg`.
    pub accelerator: &'static str,
    /// The guest's own word.
    pub kernel: String,
    /// What `keepone --version` says in the guest.
    pub keepone: String,
    /// Where the guest's kernel takes its time from.
    pub clock_source: String,
    /// From the start of QEMU until the guest took commands.
    pub boot_ms: u64,
    /// What `run` wrote.
    pub said: String,
    /// Its exit status.
    pub status: u8,
}

/// Boots a guest, asks `keepone` for its version and runs `script` there.
///
/// # Errors
/// When the guest can't be made or does not answer.
pub fn run(kernel: &Path, bin_dir: &Path, room: &Path, script: &str) -> Result<Report, Error> {
    let kernel = Kernel::find(kernel)?;
    let base = image::base(&kernel, bin_dir, room)?;
    let processes = Processes::new();
    let namespace = Namespace::new()?;
    let begin = Instant::now();
    let settings = Settings {
        name: "guest",
        kernel: &kernel,
        base: &base,
        files: Vec::new(),
        nics: Vec::new(),
        namespace: &namespace,
        processors: 1,
        append: "",
        counts: false,
    };
    let mut guest = Machine::start(&settings, room, &processes)?;
    let boot_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    let patience = Duration::from_secs(60);
    let mut ask = |command: &str| guest.must(command, patience).map(|text| text.trim().to_owned());
    let keepone = ask("keepone --version")?;
    let clock_source = ask("cat /sys/devices/system/clocksource/clocksource0/current_clocksource")?;
    let kernel = ask("uname -r")?;
    let said = guest.run(script, patience)?;
    Ok(Report {
        accelerator: accelerator(),
        kernel,
        keepone,
        clock_source,
        boot_ms,
        said: said.text.trim_end().to_owned(),
        status: said.status,
    })
}
