//! `keepone-chaos qemu lvs-bench`: what virtual servers cost, beside Debian's keepalived in the same guest, with the same
//! configuration file, the same table and the same checked server.
//!
//! Processor time is the scheduler's account of all threads of an agent's processes. In an emulated machine its absolute
//! value means little; the ratio of both agents is what is told, and beside it what a loop of the fewest system calls costs.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;

use serde::Serialize;

use super::guest::{self, Guest};
use crate::netns::error::Error;

const MODULES: [&str; 7] =
    ["libcrc32c", "nf_defrag_ipv4", "nf_defrag_ipv6", "nf_conntrack", "ip_vs", "ip_vs_rr", "nft_compat"];
const PROGRAMS: [(&str, &str); 4] =
    [("ipvsadm", "ipvsadm"), ("ip", "iproute2"), ("nft", "nftables"), ("keepalived", "keepalived")];
const MEASURE: &str = include_str!("measure");

/// Where many servers answer, one that refuses, and one whose packets are lost.
const PORT: u16 = 8080;
const REFUSES: u16 = 8081;
const DROPS: u16 = 8082;
/// Real servers of a virtual server where there are many.
const PER_SERVICE: usize = 100;
/// Real servers of a virtual server where a reload is measured.
const RELOADED: usize = 16;
/// For how many seconds an agent is looked at once each server has been looked at.
const LOOK: f64 = 20.0;
/// No more of keepalived's processor time is wanted.
const AIM: f64 = 0.6;
/// Seconds in which a table must be as it is configured.
const LIMIT: u64 = 240;
/// Seconds that the host waits for any of it.
const HOST: u64 = 420;
/// Seconds between two checks of a server where their cost is measured.
const PACE: u64 = 5;
/// Of a server whose failure is detected: seconds between checks, for an answer, and before it is tried again.
const DETECT: [u32; 3] = [2, 2, 1];

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Case {
    /// Processor time of a check of a port.
    Tcp,
    /// The same of a page.
    Http,
    /// From a server's failure to the table, and back.
    Detection,
    /// From the start of an agent until each of many real servers has been looked at.
    Start,
    /// From a reload of many virtual servers until the table is as it says.
    Reload,
}

/// All of them, as they are numbered from 1.
pub const CASES: [Case; 5] = [Case::Tcp, Case::Http, Case::Detection, Case::Start, Case::Reload];

/// What is asked of the measurement.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which cases.
    pub cases: Vec<Case>,
    /// Real servers that are checked each five seconds where a check's cost is measured.
    pub checked: usize,
    /// Real servers at a start.
    pub started: usize,
    /// The time between two of their checks, in seconds.
    pub delay_loop: u64,
    /// Virtual servers that are reloaded, of 16 real servers each.
    pub reloaded: usize,
    /// How often each failure is made.
    pub runs: usize,
}

/// What one figure was for both.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is, with its unit.
    pub what: String,
    /// What the configuration allows, or the aim; in the same unit.
    pub bound: Option<f64>,
    /// Of keepone.
    pub keepone: f64,
    /// Of keepalived.
    pub keepalived: f64,
    /// The first over the second.
    pub ratio: f64,
    /// Of a loop that does nothing but check ports, by the fewest system calls; no program costs less.
    pub bare: Option<f64>,
}

/// All that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `lvs-bench`.
    pub command: &'static str,
    /// The guest's own word.
    pub kernel: String,
    /// `kvm` or `tcg`.
    pub accelerator: &'static str,
    /// Of keepalived.
    pub version: String,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// What did not come about; empty is success.
    pub violations: Vec<String>,
}

/// Boots the guest and measures both, one after the other.
///
/// # Errors
/// When the guest can't be made or does not answer.
pub fn run(
    (kernel, bin_dir, room): (&Path, &Path, &Path),
    options: &Options,
    mut tell: impl FnMut(&Figure),
) -> Result<Report, Error> {
    let mut guest = guest::boot(kernel, bin_dir, room, &MODULES, &PROGRAMS, &configurations(options), true)?;
    guest.must(
        "export PATH=/sbin:/bin; for m in $(cat /modules/extra); do insmod /modules/$m.ko; done; . /lvs/measure",
    )?;
    // All addresses of these networks are this machine's own.
    guest.must("ip route add local 10.1.0.0/16 dev lo; ulimit -n 65536")?;
    let mut report = Report {
        command: "lvs-bench",
        kernel: guest.must("uname -r")?.trim().to_owned(),
        accelerator: crate::qemu::vm::accelerator(),
        version: guest.must("keepalived --version 2>&1 | head -n 1")?.trim().to_owned(),
        figures: Vec::new(),
        violations: Vec::new(),
    };
    for case in &options.cases {
        let own = measure(&mut guest, *case, "keepone", options)?;
        let other = measure(&mut guest, *case, "keepalived", options)?;
        let bare = if *case == Case::Tcp { measure(&mut guest, *case, "bare", options)? } else { Vec::new() };
        for (place, (own, other)) in own.into_iter().zip(other).enumerate() {
            let figure = figure(own, &other, bare.get(place));
            tell(&figure);
            report.figures.push(figure);
        }
    }
    let panics = guest.must("grep panicked /run/log || true")?;
    report.violations.extend(panics.lines().map(str::to_owned));
    report.violations.extend(guest.violations);
    Ok(report)
}

/// What a figure may be.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// Nothing is said.
    Any,
    /// In its own unit.
    Most(f64),
    /// That part of keepalived's.
    Part(f64),
}

/// One number of one agent.
struct One {
    what: String,
    bound: Bound,
    value: f64,
}

fn one(what: String, bound: Bound, value: f64) -> One {
    One { what, bound, value }
}

fn figure(own: One, other: &One, bare: Option<&One>) -> Figure {
    let ratio = if other.value > 0.0 { own.value / other.value } else { 0.0 };
    let bound = match own.bound {
        Bound::Any => None,
        Bound::Most(most) => Some(most),
        Bound::Part(part) => Some(part * other.value),
    };
    Figure {
        what: own.what,
        bound,
        keepone: own.value,
        keepalived: other.value,
        ratio,
        bare: bare.map(|bare| bare.value),
    }
}

fn measure(guest: &mut Guest, case: Case, who: &str, options: &Options) -> Result<Vec<One>, Error> {
    guest.must(&format!("who={who}"))?;
    match case {
        Case::Tcp => cost(guest, "tcp", "TCP_CHECK", options.checked),
        Case::Http => cost(guest, "http", "HTTP_GET", options.checked),
        Case::Detection => detection(guest, options.runs),
        Case::Start => start(guest, options),
        Case::Reload => reload(guest, options.reloaded),
    }
}

/// The numbers of the lines that the guest has written; what is no number is left out.
fn numbers(text: &str) -> Vec<Vec<f64>> {
    text.lines().map(|line| line.split_whitespace().filter_map(|word| word.parse().ok()).collect()).collect()
}

fn at(numbers: &[Vec<f64>], line: usize, place: usize) -> f64 {
    numbers.get(line).and_then(|line| line.get(place)).copied().unwrap_or(0.0)
}

/// What was seen in `LOOK` seconds.
struct Look {
    nanos: f64,
    checks: f64,
    /// Both sides', of which resets.
    segments: f64,
    resets: f64,
}

fn look(guest: &mut Guest, file: &str, servers: usize) -> Result<Look, Error> {
    let said = guest.long(&format!("cost {file} {servers} {LOOK}"), HOST)?;
    let told = numbers(&said);
    let [nanos, checks, segments, resets] = [0, 1, 3, 4].map(|place| at(&told, 1, place) - at(&told, 0, place));
    if checks < 1.0 || at(&told, 0, 2) < servers as f64 {
        guest.violations.push(format!("{file}: not each server was looked at: {}", said.trim()));
    }
    Ok(Look { nanos, checks, segments, resets })
}

fn cost(guest: &mut Guest, file: &str, what: &str, servers: usize) -> Result<Vec<One>, Error> {
    let idle = look(guest, "idle", 1)?;
    let seen = look(guest, file, servers)?;
    let checks = seen.checks.max(1.0);
    let beyond = (seen.nanos - idle.nanos) / 1e3 / (seen.checks - idle.checks).max(1.0);
    Ok(vec![
        one(format!("{what}: checks/s"), Bound::Any, seen.checks / LOOK),
        one(format!("{what}: all processor time of a check, µs"), Bound::Part(AIM), seen.nanos / 1e3 / checks),
        one(format!("{what}: beyond an agent with one server, µs"), Bound::Part(AIM), beyond),
        one(format!("{what}: segments of a check, both sides"), Bound::Any, seen.segments / checks),
        one(format!("{what}: resets of a check"), Bound::Any, seen.resets / checks),
        one("an agent with one server, ms/s".to_owned(), Bound::Any, idle.nanos / 1e6 / LOOK),
    ])
}

fn detection(guest: &mut Guest, runs: usize) -> Result<Vec<One>, Error> {
    let [delay, answer, pause] = DETECT.map(f64::from);
    let said = guest.long(&format!("detection {runs}"), HOST)?;
    let mut told = Vec::new();
    for (what, bound) in [("refused", delay + pause), ("lost", delay + 2.0 * answer + pause), ("back", delay)] {
        let of: Vec<f64> = said.lines().filter_map(|line| line.strip_prefix(what)?.trim().parse().ok()).collect();
        let mean = of.iter().sum::<f64>() / of.len().max(1) as f64;
        let longest = of.iter().copied().fold(0.0, f64::max);
        told.push(one(format!("{what}: until the table says so, longest, s"), Bound::Most(bound), longest));
        told.push(one(format!("{what}: until the table says so, mean, s"), Bound::Any, mean));
    }
    let faults = said.lines().filter(|line| line.contains("not "));
    guest.violations.extend(faults.map(|fault| format!("detection: {fault}")));
    Ok(told)
}

fn start(guest: &mut Guest, options: &Options) -> Result<Vec<One>, Error> {
    let (servers, delay) = (options.started, options.delay_loop);
    let said = numbers(&guest.long(&format!("start {servers} {}", delay * 4), HOST)?);
    let what = format!("start, {servers} servers");
    if at(&said, 0, 2) < servers as f64 {
        guest.violations.push(format!("{what}: {} were looked at in {} s", at(&said, 0, 2), at(&said, 0, 0)));
    }
    let bound = Bound::Most(1.2 * delay as f64);
    Ok(vec![
        one(format!("{what}: until all were checked, s"), bound, at(&said, 0, 0)),
        one(format!("{what}: processor time, ms"), Bound::Any, at(&said, 0, 3) / 1e6),
        one(format!("{what}: memory (PSS), MiB"), Bound::Any, at(&said, 0, 4) / 1024.0),
    ])
}

fn reload(guest: &mut Guest, services: usize) -> Result<Vec<One>, Error> {
    let said = numbers(&guest.long(&format!("reload {services} {RELOADED} {LIMIT}"), HOST)?);
    let what = format!("{services} × {RELOADED} servers");
    let wanted = [services * RELOADED, services];
    if wanted.iter().enumerate().any(|(line, wanted)| at(&said, line, 1) < *wanted as f64) {
        guest.violations.push(format!("{what}: {said:?} where {wanted:?} lines are wanted"));
    }
    Ok(vec![
        one(format!("{what}: start until all stand in the table, s"), Bound::Any, at(&said, 0, 0)),
        one(format!("{what}: start, processor time, ms"), Bound::Any, at(&said, 0, 2) / 1e6),
        one(format!("{what}: reload until the table is so, s"), Bound::Any, at(&said, 1, 0)),
        one(format!("{what}: reload, processor time, ms"), Bound::Any, at(&said, 1, 2) / 1e6),
        one(format!("{what}: memory (PSS), MiB"), Bound::Any, at(&said, 2, 0) / 1024.0),
        one(format!("{what}: memory after the reload, MiB"), Bound::Any, at(&said, 2, 1) / 1024.0),
    ])
}

/// What an agent reads in each case, and what drops packets.
fn configurations(options: &Options) -> Vec<(&'static str, String)> {
    const PAGE: &str = "HTTP_GET {\n url {\n path /\n status_code 200\n }\n connect_timeout 3\n }";
    const TCP: &str = "TCP_CHECK {\n connect_timeout 3\n }";
    let [delay, answer, pause] = DETECT;
    let check = format!("TCP_CHECK {{\n connect_timeout {answer}\n retry 1\n delay_before_retry {pause}\n }}");
    let server = |port| format!(" real_server 10.1.0.1 {port} {{\n weight 1\n {check}\n }}\n");
    let detected = service(0, u64::from(delay), &[server(REFUSES), server(DROPS), server(PORT)].concat());
    let rule = format!("type filter hook input priority 0\n  tcp dport {DROPS} drop");
    let drop = format!("table ip lost {{\n chain input {{\n  {rule}\n }}\n}}\n");
    vec![
        ("measure", MEASURE.to_owned()),
        ("drop", drop),
        ("idle.conf", many(1, PACE, TCP)),
        ("tcp.conf", many(options.checked, PACE, TCP)),
        ("http.conf", many(options.checked, PACE, PAGE)),
        ("detection.conf", detected),
        ("start.conf", many(options.started, options.delay_loop, TCP)),
        ("before.conf", unchecked(options.reloaded, 1)),
        ("after.conf", unchecked(options.reloaded, 2)),
    ]
}

/// So many real servers that are checked.
fn many(servers: usize, delay: u64, check: &str) -> String {
    let all: Vec<String> =
        (0..servers).map(|at| format!(" real_server {} {PORT} {{\n weight 1\n {check}\n }}\n", address(at))).collect();
    all.chunks(PER_SERVICE).enumerate().map(|(at, servers)| service(at, delay, &servers.concat())).collect()
}

/// The address of a real server, by its number; all are the guest's own.
pub(super) fn address(number: usize) -> Ipv4Addr {
    let octet = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    Ipv4Addr::new(10, 1, octet(number / 250), octet(number % 250 + 1))
}

/// Virtual servers whose real servers nobody looks at; the last of each has that weight.
fn unchecked(services: usize, last: u32) -> String {
    let real = |at: usize| {
        let weight = if at + 1 == RELOADED { last } else { 1 };
        format!(" real_server 10.1.0.{} {PORT} {{\n weight {weight}\n }}\n", at + 1)
    };
    let all: String = (0..RELOADED).map(real).collect();
    (0..services).map(|at| service(at, 5, &all)).collect()
}

fn service(at: usize, delay: u64, servers: &str) -> String {
    format!(
        "virtual_server 10.9.{}.{} 80 {{\n protocol TCP\n lb_algo rr\n lb_kind NAT\n delay_loop {delay}\n{servers}}}\n",
        at / 250,
        at % 250 + 1
    )
}

/// For people.
pub fn words(report: &Report) -> String {
    let mut text = format!("Linux {} ({}), {}\n", report.kernel, report.accelerator, report.version);
    let _ = writeln!(
        text,
        "{:56} {:>9} {:>9} {:>10} {:>6} {:>9}",
        "", "allowed", "keepone", "keepalived", "ratio", "bare loop"
    );
    for row in &report.figures {
        let bound = row.bound.map_or_else(String::new, |bound| format!("{bound:.1}"));
        let bare = row.bare.map_or_else(String::new, |bare| format!("{bare:.2}"));
        let _ = writeln!(
            text,
            "{:56} {bound:>9} {:>9.2} {:>10.2} {:>6.2} {bare:>9}",
            row.what, row.keepone, row.keepalived, row.ratio
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_real_server_has_an_address_of_its_own() {
        let text = many(5000, 30, "");
        let servers: std::collections::BTreeSet<&str> =
            text.lines().filter(|line| line.contains("real_server")).collect();
        assert_eq!((servers.len(), text.matches("virtual_server").count()), (5000, 50));
    }

    #[test]
    fn a_reload_changes_one_real_server_of_each_virtual_server() {
        let (before, after) = (unchecked(300, 1), unchecked(300, 2));
        let changed = before.lines().zip(after.lines()).filter(|(before, after)| before != after).count();
        assert_eq!((changed, before.lines().count()), (300, after.lines().count()));
    }

    #[test]
    fn a_ratio_is_keepones_over_the_others() {
        let any = |value| one("x".to_owned(), Bound::Any, value);
        let figure = figure(one("x".to_owned(), Bound::Part(0.5), 3.0), &any(6.0), Some(&any(2.0)));
        assert!((figure.ratio - 0.5).abs() < 1e-9);
        let text = words(&Report {
            command: "lvs-bench",
            kernel: "6".to_owned(),
            accelerator: "tcg",
            version: String::new(),
            figures: vec![figure],
            violations: Vec::new(),
        });
        assert!(text.lines().any(|line| line.ends_with("3.0      3.00       6.00   0.50      2.00")), "{text}");
    }
}
