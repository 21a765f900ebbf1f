//! The program is replaced under leases that go on (`keepone upgrade`; docs/decisions/0210): what its processes give each
//! other.
//!
//! ```text
//! keepone upgrade ── worker ── pulse ── guardian: the new program examines the file
//!                                          │ order
//!                    worker: suspends the core, writes the memfd, seals it, ends
//!                                          │ dead
//!                                       guardian: exec of the new program ── new worker: reads, adopts, renews
//! ```
//!
//! What must stay true: what is handed on is read once, by a start that finds its writer dead; in any other start the gate
//! is shut first of all (R12).

use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::FromRawFd;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keepone_config::Config;
use keepone_proto::handed::{Handed, Place, VERSION};
use nix::fcntl::{FcntlArg, FdFlag, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::assemble::Plan;
use crate::gate::Means;

/// Environment variable that names what a former process has handed on.
pub const HANDED_FD: &str = "KEEPONE_HANDED_FD";
/// And what this one may hand on by.
pub const HAND_ON_FD: &str = "KEEPONE_HAND_ON_FD";
/// How it went, in the run directory.
pub const OUTCOME: &str = "upgrade";
/// From reading what was handed on to the answers of a majority, at the least: with less left the lease is as good as over.
pub(crate) const TO_RENEW: Duration = Duration::from_millis(50);
/// No node has so many domains that it would be longer.
const LONGEST: u64 = 64 << 20;

/// Whatever all of it has.
fn all_seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// Memory in which a process may hand on. Inherited, until [`keep`].
pub(crate) fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create(c"keepone-handed", MFdFlags::MFD_ALLOW_SEALING)?))
}

/// Whether children get it.
pub(crate) fn inherit(file: &File, inherited: bool) -> io::Result<()> {
    let flags = if inherited { FdFlag::empty() } else { FdFlag::FD_CLOEXEC };
    fcntl(file, FcntlArg::F_SETFD(flags)).map(drop).map_err(Into::into)
}

/// Writes what is handed on, for good: how many octets the core's part has (8), that, and what the health checks know.
pub(crate) fn write(mut file: &File, handed: &Handed, servers: &[u8]) -> io::Result<()> {
    let core = handed.emit();
    file.write_all(&u64::try_from(core.len()).unwrap_or(u64::MAX).to_be_bytes())?;
    file.write_all(&core)?;
    file.write_all(servers)?;
    fcntl(file, FcntlArg::F_ADD_SEALS(all_seals())).map(drop).map_err(Into::into)
}

/// Whether something was handed on by it.
pub(crate) fn is_sealed(file: &File) -> bool {
    let seals = fcntl(file, FcntlArg::F_GET_SEALS).map(SealFlag::from_bits_truncate);
    seals.is_ok_and(|seals| seals.contains(all_seals())) && file.metadata().is_ok_and(|of| of.len() <= LONGEST)
}

/// What was handed on, with what the health checks know. `None`: nothing that this version reads.
pub(crate) fn read(mut file: &File) -> Option<(Handed, Vec<u8>)> {
    let mut bytes = Vec::new();
    let whole = is_sealed(file) && file.seek(SeekFrom::Start(0)).is_ok() && file.read_to_end(&mut bytes).is_ok();
    let (len, rest) = bytes.split_first_chunk::<8>().filter(|_| whole)?;
    let (core, servers) = rest.split_at_checked(usize::try_from(u64::from_be_bytes(*len)).ok()?)?;
    Some((Handed::parse(core).ok()?, servers.to_vec()))
}

/// The descriptor that a variable names: the process before this one, or its parent, has left it open for it.
pub fn inherited(variable: &str) -> Option<File> {
    let number: i32 = std::env::var(variable).ok()?.parse().ok().filter(|number| *number > 2)?;
    let link = fs::read_link(format!("/proc/self/fd/{number}")).ok()?;
    // A variable that has outlived its descriptor, whose number is another one's by now.
    if !link.to_string_lossy().contains("keepone-handed") {
        return None;
    }
    // SAFETY: it is a memfd that one of ours has made and named to us; nothing else in this process has opened one of
    // this name yet, so that nobody else owns it.
    let file = unsafe { File::from_raw_fd(number) };
    inherit(&file, false).ok()?;
    Some(file)
}

/// Of which boot and configuration something is.
pub(crate) fn place(config: &Config) -> Place {
    let plan = Plan::new(config);
    // Debug prints are of one version: another one that means something else by the same file says so in them.
    // The forms in which it is handed on are of a version, too: who reads another one is upgraded to by a handover.
    let forms = (VERSION, keepone_proto::balance::handed::VERSION);
    let (settings, domains, gate, pins) = (&plan.settings, &plan.gate_domains, &plan.gate, plan.bpf_dir.display());
    // One with another MAC would be made anew, with no address on it.
    let links = &plan.own_links;
    let words = format!("{forms:?} {settings:?} {domains:?} {gate:?} {pins} {links:?}");
    let mut mark = [0; 32];
    let sum = ring::digest::digest(&ring::digest::SHA256, words.as_bytes());
    mark.iter_mut().zip(sum.as_ref()).for_each(|(octet, of)| *octet = *of);
    let mut boot = [0; 16];
    let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: Vec<u8> = id.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    let octets = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit));
    boot.iter_mut().zip(octets).for_each(|(octet, of)| *octet = of);
    Place { boot, mark }
}

/// Why this agent can't hand on whatever its core says; `None`: it can.
pub(crate) fn unfit(means: Option<Means>) -> Option<&'static str> {
    let is_kept = matches!(means, Some(Means::Bpf | Means::Nft));
    (!is_kept).then_some("no gate in the kernel would keep it meanwhile")
}

/// The file that says how the last one went.
pub fn outcome(run_dir: &Path) -> PathBuf {
    run_dir.join(OUTCOME)
}

/// How one went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Under the same epochs.
    InPlace,
    /// By an ordinary restart, or with something lost on the way.
    Restarted,
    /// Nothing has changed, and it is to be asked for again.
    Refused,
}

impl Outcome {
    /// The word that the file begins with.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::InPlace => "in place",
            Outcome::Restarted => "restarted",
            Outcome::Refused => "refused",
        }
    }
}

/// Says how it went.
pub(crate) fn tell(run_dir: &Path, how: Outcome, words: &str) {
    let how = how.as_str();
    let (path, draft) = (outcome(run_dir), run_dir.join("upgrade.new"));
    // For whoever waits for it; the log says the same.
    let _ = fs::write(&draft, format!("{how}: {words}\n")).and_then(|()| fs::rename(&draft, &path));
}

/// The same from a thread that must not wait for a disk (R15).
pub(crate) fn tell_aside(run_dir: &Path, how: Outcome, words: String) {
    let run_dir = run_dir.to_owned();
    // Without a thread the log alone says it.
    let _ = thread::Builder::new().name("upgrade".into()).spawn(move || tell(&run_dir, how, &words));
}

/// Takes away what was said of the last one.
pub(crate) fn forget(run_dir: &Path) {
    let _ = fs::remove_file(outcome(run_dir));
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_proto::id::{ClusterId, ConfigDigest, Incarnation, NodeId};
    use keepone_proto::time::Instant;

    fn handed() -> Handed {
        Handed {
            place: Place { boot: [1; 16], mark: [2; 32] },
            cluster: ClusterId(3),
            digest: ConfigDigest(4),
            node: NodeId::new(5).unwrap(),
            incarnation: Incarnation(6),
            at: Instant::from_nanos(7),
            sequence: 8,
            store: None,
            domains: Vec::new(),
        }
    }

    #[test]
    fn what_is_not_sealed_was_not_handed_on() {
        let file = memory().unwrap();
        (&file).write_all(&handed().emit()).unwrap();
        assert!(!is_sealed(&file) && read(&file).is_none());
        let file = memory().unwrap();
        write(&file, &handed(), b"servers").unwrap();
        assert_eq!(read(&file), Some((handed(), b"servers".to_vec())));
        assert!((&file).write_all(b"more").is_err(), "sealed");
    }

    #[test]
    fn a_configuration_is_another_one_when_it_means_something_else() {
        let read = |text: &str| keepone_config::load_text(Path::new("t.conf"), text, &Default::default()).unwrap().0;
        let text = "vrrp_instance A {\n interface lo\n virtual_router_id 1\n virtual_ipaddress {\n 192.0.2.1\n }\n}\n";
        let (one, same) = (place(&read(text)), place(&read(&format!("\n\n{text}"))));
        assert!(one == same && one.boot != [0; 16]);
        assert_ne!(one.mark, place(&read(&text.replace("192.0.2.1", "192.0.2.2"))).mark);
    }
}
