//! tshark: a capture on a machine's LAN interface, and what it makes of each frame.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::fault::Part;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::topology::Kind;
use nix::sys::signal::Signal;

use crate::Error;
use crate::lan::{INTERFACE, Lan};
use crate::program::Program;

/// What is asked of each frame; several values of one field are joined by commas.
const FIELDS: &str = "frame.time_epoch eth.src eth.dst _ws.malformed _ws.expert.severity ip.src ip.dst ip.ttl ip.dsfield ip.proto \
                      ip.flags ip.checksum.status ipv6.src ipv6.dst ipv6.hlim ipv6.tclass ipv6.nxt ah.next_header \
                      ah.length ah.spi ah.sequence vrrp.version vrrp.type vrrp.virt_rtr_id vrrp.prio vrrp.addr_count \
                      vrrp.checksum.status vrrp.auth_type vrrp.auth_string vrrp.adver_int vrrp.reserved_mbz \
                      vrrp.short_adver_int vrrp.ip_addr vrrp.ipv6_addr arp.opcode arp.src.hw_mac \
                      arp.src.proto_ipv4 arp.dst.proto_ipv4 icmpv6.type icmpv6.checksum.status \
                      icmpv6.nd.ns.target_address icmpv6.nd.na.target_address icmpv6.nd.na.flag.r \
                      icmpv6.nd.na.flag.s icmpv6.nd.na.flag.o icmpv6.opt.linkaddr udp.dstport bfd.sta bfd.diag bfd.my_discriminator";

/// What tshark takes to begin on a busy machine, and more.
const BEGINS: Duration = Duration::from_secs(30);

/// A frame as tshark sees it: field and value, those without a value left out.
pub type Frame = BTreeMap<&'static str, String>;

/// A capture under way.
#[derive(Debug)]
pub struct Recorder {
    tshark: Program,
    path: PathBuf,
}

impl Recorder {
    /// Begins to capture all that passes a machine's LAN interface.
    ///
    /// # Errors
    /// tshark can't be started, or does not begin.
    pub fn start(lan: &Lan, kind: Kind) -> Result<Self, Error> {
        Recorder::on(lan, kind, INTERFACE)
    }

    /// The same on any of its interfaces, or on `any`.
    ///
    /// # Errors
    /// As [`Recorder::start`].
    pub fn on(lan: &Lan, kind: Kind, interface: &str) -> Result<Self, Error> {
        let path = lan.room().join("capture.pcapng");
        // A former one would pass for a beginning.
        let _ = std::fs::remove_file(&path);
        let shown = path.display().to_string();
        let tshark = lan.start_at(kind, &["tshark", "-n", "-q", "-i", interface, "-w", &shown])?;
        // It says that it captures a while before it does: the file has its first block when the interface is open.
        let begin = Instant::now();
        while !std::fs::metadata(&path).is_ok_and(|file| file.len() > 0) {
            if begin.elapsed() > BEGINS {
                return Err(io_error("begin to capture")(std::io::Error::other(tshark.said())));
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Recorder { tshark, path })
    }

    /// Ends it; where the capture is.
    ///
    /// # Errors
    /// tshark does not end.
    pub fn stop(mut self) -> Result<PathBuf, Error> {
        // For the last frames to be written.
        thread::sleep(Duration::from_millis(500));
        self.tshark.signal(Part::Both, Signal::SIGINT);
        match self.tshark.wait(Duration::from_secs(20)) {
            Some(_) => Ok(self.path),
            None => Err(io_error("end a capture")(std::io::ErrorKind::TimedOut)),
        }
    }
}

/// The frames of a capture; `plain`: VRRPv3's checksum over IPv4 is without the pseudo-header.
///
/// # Errors
/// tshark can't be run, or read the capture.
pub fn dissect(capture: &Path, plain: bool) -> Result<Vec<Frame>, Error> {
    let fields = FIELDS.split_whitespace().flat_map(|field| ["-e", field]);
    let plain = format!("vrrp.v3_checksum_as_in_v2:{}", if plain { "TRUE" } else { "FALSE" });
    let output = Command::new("tshark")
        .args(["-n", "-r", &capture.display().to_string(), "-o", "ip.check_checksum:TRUE", "-o", &plain])
        .args(["-T", "fields", "-E", "separator=;", "-E", "occurrence=a", "-E", "aggregator=,"])
        .args(fields)
        .output()
        .map_err(io_error("run tshark"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io_error("dissect a capture")(std::io::Error::other(said)));
    }
    let frame = |line: &str| {
        let values = FIELDS.split_whitespace().zip(line.split(';')).filter(|(_, value)| !value.is_empty());
        values.map(|(field, value)| (field, value.to_owned())).collect()
    };
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(frame).collect())
}

/// Some fields of those frames of a capture that pass a filter of tshark's: a line each, with tabs between.
///
/// # Errors
/// As [`dissect`].
pub fn fields(capture: &Path, filter: &str, fields: &[&str]) -> Result<String, Error> {
    let fields = fields.iter().flat_map(|field| ["-e", field]);
    let output = Command::new("tshark")
        .args(["-n", "-r", &capture.display().to_string(), "-Y", filter, "-T", "fields"])
        .args(fields)
        .output()
        .map_err(io_error("run tshark"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        return Err(io_error("read a capture")(std::io::Error::other(said)));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
