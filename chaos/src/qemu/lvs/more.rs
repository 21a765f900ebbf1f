//! `keepone-chaos qemu lvs-more`: ways to real servers that `lvs` only compares with ipvsadm, with traffic: GUE and GRE
//! tunnels with and without checksums, SCTP, marks, single datagrams; and what `lvs_flush` does at the start and at the end.

use std::path::Path;

use super::guest::{self, Guest, answers, lines};
use crate::netns::error::Error;

/// Loaded at once, each after what it needs.
const MODULES: [&str; 18] = [
    "libcrc32c",
    "bridge",
    "veth",
    "tunnel4",
    "ip_tunnel",
    "ipip",
    "udp_tunnel",
    "ip6_udp_tunnel",
    "fou",
    "gre",
    "ip_gre",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "nf_conntrack",
    "sctp",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wlc",
];
const PROGRAMS: [(&str, &str); 3] = [("ipvsadm", "ipvsadm"), ("ip", "iproute2"), ("nft", "nftables")];

const CONFIG: &str = include_str!("more.conf");
const SETUP: &str = include_str!("more.setup");

/// Requests of each kind.
const COUNT: u8 = 6;

/// What was seen.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Report {
    /// The guest's own word.
    pub kernel: String,
    /// Answers of the two real servers by GUE, GRE, SCTP and mark.
    pub answers: [[usize; 2]; 4],
    /// The same of datagrams that come from one port: each by itself (`ops`), and together.
    pub datagrams: [[usize; 2]; 2],
    /// What does not hold; empty is success.
    pub violations: Vec<String>,
}

/// Boots the guest and does it all.
///
/// # Errors
/// When the guest can't be made or does not answer.
pub fn run(kernel: &Path, bin_dir: &Path, room: &Path) -> Result<Report, Error> {
    let files = [("more.conf", CONFIG), ("more.setup", SETUP)].map(|(name, text)| (name, text.to_owned()));
    let mut guest = guest::boot(kernel, bin_dir, room, &MODULES, &PROGRAMS, &files, false)?;
    let mut report = Report { kernel: guest.must("uname -r")?.trim().to_owned(), ..Report::default() };
    guest.must("export PATH=/sbin:/bin; for m in $(cat /modules/extra); do insmod /modules/$m.ko; done")?;
    guest.must("sh /lvs/setup && sh /lvs/more.setup")?;
    // Of a program that is not there any more.
    guest.must("ipvsadm -A -t 198.51.100.1:80 -s rr && ipvsadm -a -t 198.51.100.1:80 -r 10.0.0.1:80 -m")?;
    guest.must("(keepone run -c /lvs/more.conf >>/run/log 2>&1 </dev/null & echo $! >/guardian)")?;
    guest.wait_for("a Master", "ip addr show br0 | grep -q 10.0.0.214")?;
    guest.wait_for("all services", "test $(ipvsadm -Sn | grep -c '^-A') = 6")?;
    guest.expect("lvs_flush", "! ipvsadm -Sn | grep -q 198.51.100.1")?;
    let ways = [("GUE", "10.0.0.210"), ("GRE", "10.0.0.211"), ("a mark", "10.0.0.213")];
    for ((way, address), place) in ways.into_iter().zip([0, 1, 3]) {
        let found = guest.requests(address, COUNT)?;
        judge(&mut guest, &mut report.answers, place, way, found);
    }
    let found = ask(&mut guest, "sctp 10.0.0.212:2905")?;
    judge(&mut guest, &mut report.answers, 2, "SCTP", found);
    for (place, port) in [53, 54].into_iter().enumerate() {
        let [first, second, failed] = ask(&mut guest, &format!("udp 10.0.0.214:{port}"))?;
        let each = usize::from(COUNT) / 2;
        let holds = match place {
            0 => [first, second] == [each, each],
            _ => first == 0 || second == 0,
        };
        if failed > 0 || !holds {
            guest.violations.push(format!("datagrams to {port}: {first} and {second} answers, {failed} failures"));
        }
        if let Some(known) = report.datagrams.get_mut(place) {
            *known = [first, second];
        }
    }
    end(&mut guest)?;
    report.violations = guest.violations;
    Ok(report)
}

fn ask(guest: &mut Guest, what: &str) -> Result<[usize; 3], Error> {
    Ok(answers(&guest.must(&format!("/sbin/ip netns exec client keepone-chaos guest ask {what} {COUNT}"))?))
}

/// Both have answered, in turn.
fn judge(guest: &mut Guest, answers: &mut [[usize; 2]; 4], place: usize, way: &str, found: [usize; 3]) {
    let [first, second, failed] = found;
    if first == 0 || second == 0 || failed > 0 {
        guest.violations.push(format!("{way}: {first} and {second} answers of {COUNT}, {failed} failures"));
    }
    if let Some(known) = answers.get_mut(place) {
        *known = [first, second];
    }
}

/// `lvs_flush_on_stop`: nothing stays, nobody's.
fn end(guest: &mut Guest) -> Result<(), Error> {
    guest.must("ipvsadm -A -t 198.51.100.2:80 -s rr; kill -TERM $(cat /guardian)")?;
    guest.wait_for("the end", "! kill -0 $(cat /guardian)")?;
    let left = lines(&guest.must("ipvsadm -Sn")?);
    if !left.is_empty() {
        guest.violations.push(format!("lvs_flush_on_stop leaves {left:?}"));
    }
    let panics = guest.must("grep panicked /run/log || true")?;
    guest.violations.extend(panics.lines().map(str::to_owned));
    Ok(())
}
