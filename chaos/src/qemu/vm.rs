//! A virtual machine: started, asked, paused, restored, and gone when its handle is.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::cpio::Archive;
use super::image::Kernel;
use super::qmp::{self, Qmp};
use super::serial::Serial;
use crate::netns::error::{Error, io_error};
use crate::netns::namespace::Namespace;
use crate::netns::process::{Processes, signal, tail};

/// How long QEMU may take to open its sockets.
const START: Duration = Duration::from_secs(20);
/// How long a guest may take until it serves commands: emulated, on a busy machine.
const BOOT: Duration = Duration::from_secs(120);

/// A network interface: a tap in the namespace in which QEMU runs.
#[derive(Debug, Clone)]
pub struct Nic {
    /// The tap's name; QEMU makes it.
    pub tap: String,
    /// The guest's hardware address.
    pub mac: [u8; 6],
}

/// What a machine is made of.
#[derive(Debug)]
pub struct Settings<'a> {
    /// Its name, and that of its directory.
    pub name: &'a str,
    /// Its kernel.
    pub kernel: &'a Kernel,
    /// What [`super::image::base`] made.
    pub base: &'a [u8],
    /// Further files: path without the leading slash, and contents.
    pub files: Vec<(String, Vec<u8>)>,
    /// Its cables; in the guest `eth0`, `eth1`, ….
    pub nics: Vec<Nic>,
    /// Where QEMU runs, and so where the taps are.
    pub namespace: &'a Namespace,
    /// Processors.
    pub processors: u8,
    /// More words for the kernel's command line.
    pub append: &'a str,
    /// Where it is emulated, its clock counts instructions, a nanosecond each, and idle time is skipped: what a program
    /// costs is then the same however busy the host is, and an emulated processor seems as fast as a real one. Time on
    /// the host says nothing about such a guest.
    pub counts: bool,
}

/// What a command in the guest wrote, and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Both outputs.
    pub text: String,
    /// Its exit status.
    pub status: u8,
}

/// A machine that runs. Dropped, QEMU is killed.
#[derive(Debug)]
pub struct Machine {
    /// The monitor.
    pub qmp: Qmp,
    /// QEMU's process.
    pub pid: i32,
    serial: Serial,
    writer: UnixStream,
    number: u32,
}

/// Which accelerator: KVM where this machine's processor can, else emulation.
///
/// The device file alone says nothing: inside a virtual machine it may be there without the processor's
/// support behind it.
pub fn accelerator() -> &'static str {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let able = flags.split_whitespace().any(|word| word == "vmx" || word == "svm");
    if able && File::options().read(true).write(true).open("/dev/kvm").is_ok() { "kvm" } else { "tcg" }
}

impl Machine {
    /// Starts QEMU and waits until the guest serves commands; its files are in `room`.
    ///
    /// # Errors
    /// [`Error::Io`] when QEMU is not installed, [`Error::Command`] with the end of the console when the
    /// guest does not come up.
    pub fn start(settings: &Settings<'_>, room: &Path, processes: &Processes) -> Result<Self, Error> {
        let mut machine = Self::power_on(settings, &[], room, processes)?;
        machine.answer(0, BOOT).map_err(|error| Error::Command {
            command: format!("boot of {}", settings.name),
            status: error.to_string(),
            output: tail(machine.console()),
        })?;
        Ok(machine)
    }

    /// Starts QEMU on a memory that [`Machine::save`] has put away; the guest stands still until
    /// [`Machine::go_on`].
    ///
    /// # Errors
    /// As [`Machine::start`].
    pub fn restore(settings: &Settings<'_>, memory: &Path, room: &Path, processes: &Processes) -> Result<Self, Error> {
        let incoming = ["-S".to_owned(), "-incoming".to_owned(), format!("exec:cat {}", memory.display())];
        Self::power_on(settings, &incoming, room, processes)
    }

    /// Stops the guest and puts its memory into a file. It stays stopped.
    ///
    /// # Errors
    /// [`Error::Command`] when QEMU can't.
    pub fn save(&mut self, memory: &Path) -> Result<(), Error> {
        self.qmp.command("stop", &json!({}))?;
        self.qmp.command("migrate", &json!({ "uri": format!("exec:cat > {}", memory.display()) }))?;
        loop {
            let state = self.qmp.command("query-migrate", &json!({}))?;
            match state.get("status").and_then(Value::as_str) {
                Some("completed") => return Ok(()),
                Some("failed") | None => {
                    let (command, status) = ("QMP migrate".to_owned(), "failed".to_owned());
                    return Err(Error::Command { command, status, output: state.to_string() });
                }
                Some(_) => thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Lets a restored guest run, once its memory is there.
    ///
    /// # Errors
    /// [`Error::Command`] when QEMU can't.
    pub fn go_on(&mut self) -> Result<(), Error> {
        loop {
            let state = self.qmp.command("query-status", &json!({}))?;
            if state.get("status").and_then(Value::as_str) != Some("inmigrate") {
                return self.qmp.command("cont", &json!({})).map(drop);
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn power_on(
        settings: &Settings<'_>,
        incoming: &[String],
        room: &Path,
        processes: &Processes,
    ) -> Result<Self, Error> {
        let directory = room.join(settings.name);
        fs::create_dir_all(&directory).map_err(io_error(format!("create {}", directory.display())))?;
        let path = |name: &str| directory.join(name);
        let mut own = Archive::default();
        for (file, contents) in &settings.files {
            own.file(file, 0o755, contents);
        }
        let initrd = [settings.base, &own.finish()].concat();
        fs::write(path("initrd"), initrd).map_err(io_error("write the guest's files"))?;
        // An emulated clock that is late is no fault of the programs that are tried: before ordinary processes.
        let mut command = Command::new("nice");
        command.args(["-n", "-10", "qemu-system-x86_64"]);
        // A plain processor emulates fastest. Emulation in QEMU 7.2 spoils the flags after CMPXCHG16B now and then,
        // which kernels use where it is there; a TSC that goes on in idle is the clock of every real machine.
        let processor = if accelerator() == "kvm" { "host" } else { "Nehalem,-cx16,invtsc=on" };
        command.args(["-machine", "q35", "-cpu", processor, "-m", "640", "-nodefaults", "-display", "none"]);
        if settings.counts && accelerator() == "tcg" {
            command.args(["-icount", "shift=0"]);
        }
        command.args(["-accel", accelerator(), "-smp", &settings.processors.to_string(), "-no-reboot"]);
        command.arg("-kernel").arg(&settings.kernel.image).arg("-initrd").arg(path("initrd"));
        command.arg("-append").arg(format!("console=ttyS0 quiet panic=-1 {}", settings.append));
        command.arg("-serial").arg(format!("file:{}", path("console").display()));
        command.arg("-serial").arg(format!("unix:{},server=on,wait=off", path("control").display()));
        command.arg("-qmp").arg(format!("unix:{},server=on,wait=off", path("qmp").display()));
        for (number, nic) in settings.nics.iter().enumerate() {
            let mac = nic.mac.map(|octet| format!("{octet:02x}")).join(":");
            command.arg("-netdev").arg(format!("tap,id=n{number},ifname={},script=no,downscript=no", nic.tap));
            command.arg("-device").arg(format!("virtio-net-pci,netdev=n{number},mac={mac},romfile="));
        }
        command.args(incoming);
        let log = path("qemu.log");
        let pid = processes.start(settings.namespace, command, &log).map_err(|error| match error {
            Error::Io { what, source } if source.kind() == std::io::ErrorKind::NotFound => {
                Error::Io { what: format!("{what} (Debian package qemu-system-x86)"), source }
            }
            other => other,
        })?;
        let opened = qmp::connect(&path("control"), START).and_then(|control| {
            let copy = control.try_clone().map_err(io_error("copy the guest's serial line"))?;
            Ok((Qmp::connect(&path("qmp"), START)?, Serial::new(control, path("console")), copy))
        });
        let (qmp, serial, writer) = opened.map_err(|error| {
            signal(&[pid], Signal::SIGKILL);
            Error::Command { command: "qemu-system-x86_64".to_owned(), status: error.to_string(), output: tail(&log) }
        })?;
        Ok(Machine { qmp, pid, serial, writer, number: 0 })
    }

    /// The console's log.
    pub fn console(&self) -> &Path {
        self.serial.console()
    }

    /// Runs a shell command in the guest, one line, at most `patience`.
    ///
    /// # Errors
    /// [`Error::Command`] with the end of the console when no answer comes in that time, or the guest has said nothing at all
    /// for some minutes; [`Error::Io`] when the line is closed. The guest is then of no more use.
    pub fn run(&mut self, command: &str, patience: Duration) -> Result<Said, Error> {
        self.number += 1;
        let line = format!("{} {command}\n", self.number);
        self.writer.write_all(line.as_bytes()).map_err(io_error(format!("send `{command}` to the guest")))?;
        self.answer(self.number, patience)
    }

    /// The same for a command that has to succeed.
    ///
    /// # Errors
    /// [`Error::Command`] with its output, otherwise.
    pub fn must(&mut self, command: &str, patience: Duration) -> Result<String, Error> {
        let said = self.run(command, patience)?;
        if said.status == 0 {
            return Ok(said.text);
        }
        let status = format!("exit status {}", said.status);
        Err(Error::Command { command: format!("in the guest: {command}"), status, output: said.text })
    }

    /// Stops all of QEMU, clocks of the host go on: what a starved hypervisor or a SIGSTOP does.
    pub fn freeze(&self) {
        signal(&[self.pid], Signal::SIGSTOP);
    }

    /// Lets QEMU run again.
    pub fn thaw(&self) {
        signal(&[self.pid], Signal::SIGCONT);
    }

    fn answer(&mut self, number: u32, patience: Duration) -> Result<Said, Error> {
        let (what, until) = (format!("wait for the guest's answer {number}"), Instant::now() + patience);
        let mut text = String::new();
        loop {
            let line = self.serial.line(&what, until)?;
            let line = String::from_utf8_lossy(&line);
            // What a command wrote last need not end with a line's end.
            let Some((before, mark)) = line.split_once('\u{1}') else {
                text.push_str(&line);
                continue;
            };
            text.push_str(before);
            let mut words = mark.split_ascii_whitespace();
            let own = words.next().and_then(|word| word.parse::<u32>().ok());
            let status = words.next().and_then(|word| word.parse().ok());
            match (own, status) {
                (Some(own), Some(status)) if own == number => return Ok(Said { text, status }),
                // The end of a command that was given up.
                _ => text.clear(),
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        signal(&[self.pid], Signal::SIGKILL);
    }
}
