//! What health checks of many real servers cost: processor time of a check, and whether each comes when it should, also
//! while some servers hang. Beside the installed keepalived where the kernel has IPVS, without which that does not run.

mod responder;

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::room::{Program, Room, Used};
use super::vrrp::{self, millis};
use super::{Comparison, percentile};
use crate::fault::Part;
use crate::netns::agent::Peer;
use crate::netns::error::Error;
use crate::netns::process::{Processes, members};
use responder::{Asked, HANGING, PORT, Responder, address};

/// Real servers of one virtual server.
const PER_SERVICE: usize = 10;
/// One that hangs costs so much at each try.
const TIMEOUT: Duration = Duration::from_secs(2);
/// From the start: the file is read, and every server was asked at least twice.
const SETTLE: Duration = Duration::from_secs(5);
/// Checks are counted in slots of this length, to see how even they are spread.
const SLOT: Duration = Duration::from_millis(100);

/// Which check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Kind {
    /// `TCP_CHECK`: a connection.
    #[serde(rename = "TCP_CHECK")]
    Tcp,
    /// `HTTP_GET`: one page, judged by its status.
    #[serde(rename = "HTTP_GET")]
    Http,
}

/// How many, and how.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Which check each real server has.
    pub kind: Kind,
    /// Real servers that answer.
    pub servers: usize,
    /// Further ones that hang.
    pub hanging: usize,
    /// `delay_loop`: whole seconds, 1 at least.
    pub interval: Duration,
}

/// All that are measured by default: as many checks a second as a core is to bear, with and without one server of a
/// hundred hanging.
pub const CASES: [Case; 4] = [
    Case { kind: Kind::Tcp, servers: 5000, hanging: 0, interval: Duration::from_secs(1) },
    Case { kind: Kind::Tcp, servers: 5000, hanging: 50, interval: Duration::from_secs(1) },
    Case { kind: Kind::Http, servers: 5000, hanging: 0, interval: Duration::from_secs(1) },
    Case { kind: Kind::Http, servers: 5000, hanging: 50, interval: Duration::from_secs(1) },
];

/// One program in one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which program.
    pub peer: &'static str,
    /// Which check.
    pub kind: Kind,
    /// Real servers that answer.
    pub servers: usize,
    /// Further ones that hang.
    pub hanging: usize,
    /// `delay_loop` in milliseconds.
    pub interval_ms: u128,
    /// Checks of servers that answer, in a second.
    pub per_second: f64,
    /// Of that what the configuration asks for, as a fraction.
    pub of_asked: f64,
    /// Percent of one processor, all processes of the program together.
    pub cpu: f64,
    /// The same for each check, in microseconds. On loopback the kernel does most of the server's part of a connection
    /// on the account of whoever connects.
    pub cpu_us: f64,
    /// Of that the kernel's part, as a fraction.
    pub kernel: f64,
    /// How much longer than `delay_loop` after the one before it a check of the same server came: half of them no more.
    pub late_p50_ms: f64,
    /// 99 of 100 no more.
    pub late_p99_ms: f64,
    /// None more.
    pub late_max_ms: f64,
    /// The fullest tenth of a second held so many times its share of checks; 1: they are spread evenly.
    pub peak: f64,
    /// Proportional share of memory, in MiB.
    pub memory_mib: f64,
}

/// Whether keepalived checks anybody here: without IPVS it ends.
pub fn has_ipvs() -> bool {
    Path::new("/proc/net/ip_vs").exists()
}

/// Runs every case with every program, and tells each row as it comes.
///
/// # Errors
/// When a machine can't be made, a program does not start or ends, or keepalived is asked for and not installed.
pub fn run(options: &Comparison<Case>, mut tell: impl FnMut(&Row)) -> Result<Vec<Row>, Error> {
    let processes = Processes::new();
    let mut rows = Vec::new();
    for (place, case) in options.cases.iter().enumerate() {
        for peer in &options.peers {
            let row = measure(case, *peer, options, &format!("checks-{place}-{}", peer.as_str()), &processes)?;
            tell(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

fn measure(
    case: &Case,
    peer: Peer,
    options: &Comparison<Case>,
    name: &str,
    processes: &Processes,
) -> Result<Row, Error> {
    let none = vrrp::Case { instances: 0, interval: case.interval, vips: 0, servers: 0 };
    let room = Room::new(&none, name)?;
    let responder = Responder::start(room.node(0)?, case.kind)?;
    let command = vrrp::command(peer, "check", &options.bin_dir)?;
    let program = room.launch(0, &configuration(case), &command, processes)?;
    thread::sleep(SETTLE);
    let (begin, before, ticks) = (Instant::now(), room.used(0, &program)?, Ticks::of(&program));
    thread::sleep(options.time);
    let (end, after, ticks_after) = (Instant::now(), room.used(0, &program)?, Ticks::of(&program));
    if let Some(ending) = processes.ending(program.pid()) {
        return Err(Error::Command { command: command.join(" "), status: ending, output: room.said(0) });
    }
    room.end(&program, processes);
    let seen = Seen::of(&responder.end()?, case.interval, begin, end);
    Ok(row(case, peer, &seen, &[before, after], ticks_after.kernel_since(&ticks)))
}

#[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn row(case: &Case, peer: Peer, seen: &Seen, used: &[Used; 2], kernel: f64) -> Row {
    let cpu = used[1].cpu.saturating_sub(used[0].cpu) as f64;
    let per_second = seen.checks as f64 / seen.time;
    Row {
        peer: peer.as_str(),
        kind: case.kind,
        servers: case.servers,
        hanging: case.hanging,
        interval_ms: case.interval.as_millis(),
        per_second,
        of_asked: per_second * case.interval.as_secs_f64() / case.servers as f64,
        cpu: cpu / 1e9 / seen.time * 100.0,
        cpu_us: cpu / 1e3 / (seen.checks as f64).max(1.0),
        kernel,
        late_p50_ms: percentile(&seen.late, 50),
        late_p99_ms: percentile(&seen.late, 99),
        late_max_ms: seen.late.last().copied().unwrap_or(0.0),
        peak: seen.peak,
        memory_mib: used[1].memory as f64 / f64::from(1 << 20),
    }
}

/// `keepalived.conf` for either program.
fn configuration(case: &Case) -> String {
    let check = match case.kind {
        Kind::Tcp => format!("TCP_CHECK {{\n            connect_timeout {}\n        }}", TIMEOUT.as_secs()),
        Kind::Http => format!(
            "HTTP_GET {{\n            url {{\n                path /\n                status_code 200\n            }}\n            \
             connect_timeout {}\n        }}",
            TIMEOUT.as_secs()
        ),
    };
    let all = case.servers + case.hanging;
    let mut text = String::from("global_defs {\n}\n");
    for first in (0..all).step_by(PER_SERVICE) {
        let (high, low) = (first / PER_SERVICE / 250, first / PER_SERVICE % 250 + 1);
        text += &format!(
            "virtual_server 10.200.{high}.{low} 80 {{\n    delay_loop {}\n    lvs_sched rr\n    lvs_method NAT\n    \
             protocol TCP\n",
            case.interval.as_secs()
        );
        for number in first..all.min(first + PER_SERVICE) {
            let port = if number < case.servers { PORT } else { HANGING };
            text += &format!("    real_server {} {port} {{\n        {}\n    }}\n", address(number), check);
        }
        text += "}\n";
    }
    text
}

/// What the real servers saw within the measured time.
#[derive(Debug, PartialEq)]
struct Seen {
    checks: usize,
    /// In seconds.
    time: f64,
    /// Milliseconds beyond the interval, sorted.
    late: Vec<f64>,
    peak: f64,
}

impl Seen {
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    fn of(asked: &Asked, interval: Duration, begin: Instant, end: Instant) -> Self {
        let within = |at: &&Instant| (begin..end).contains(*at);
        let late_by = |pair: &[Instant]| {
            let gap = pair.get(1)?.checked_duration_since(*pair.first()?)?;
            Some(millis(gap) - millis(interval))
        };
        let mut slots = vec![0_usize; ((end - begin).as_nanos() / SLOT.as_nanos()) as usize];
        let (mut checks, mut late) = (0, Vec::new());
        for times in asked.values() {
            let times: Vec<Instant> = times.iter().filter(within).copied().collect();
            late.extend(times.windows(2).filter_map(late_by));
            checks += times.len();
            for at in times {
                let slot = (at - begin).as_nanos() / SLOT.as_nanos();
                if let Some(count) = usize::try_from(slot).ok().and_then(|slot| slots.get_mut(slot)) {
                    *count += 1;
                }
            }
        }
        late.sort_by(f64::total_cmp);
        let (fullest, all) = (slots.iter().max().copied().unwrap_or(0), slots.iter().sum::<usize>());
        let peak = if all == 0 { 0.0 } else { (fullest * slots.len()) as f64 / all as f64 };
        Seen { checks, time: (end - begin).as_secs_f64(), late, peak }
    }
}

/// Processor time as `/proc/PID/stat` has it: coarse, and by user and kernel.
struct Ticks {
    user: u64,
    kernel: u64,
}

impl Ticks {
    fn of(program: &Program) -> Self {
        let mut ticks = Ticks { user: 0, kernel: 0 };
        for pid in members(program.pid(), Part::Both) {
            let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // After the name, which may hold anything: the state, ten more fields, then utime and stime (proc_pid_stat(5)).
            let mut fields = text.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11);
            let mut next = || fields.next().and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
            ticks.user += next();
            ticks.kernel += next();
        }
        ticks
    }

    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    fn kernel_since(&self, before: &Ticks) -> f64 {
        let (user, kernel) = (self.user.saturating_sub(before.user), self.kernel.saturating_sub(before.kernel));
        kernel as f64 / (user + kernel).max(1) as f64
    }
}

/// One row in words, with its ratio to keepalived's of the same case where that was measured.
pub fn words(row: &Row, rows: &[Row]) -> String {
    let kind = match row.kind {
        Kind::Tcp => "TCP_CHECK",
        Kind::Http => "HTTP_GET",
    };
    let mut text = format!(
        "{:10} {} real servers with {kind} each {} ms, {} more hang: {:.0} checks/s ({:.1} % of what is asked); {:.1} % of \
         a processor, {:.1} µs a check ({:.0} % of it the kernel's); late p50 {:.2} p99 {:.2} max {:.1} ms; fullest tenth \
         of a second {:.2} times its share; {:.1} MiB",
        row.peer,
        row.servers,
        row.interval_ms,
        row.hanging,
        row.per_second,
        row.of_asked * 100.0,
        row.cpu,
        row.cpu_us,
        row.kernel * 100.0,
        row.late_p50_ms,
        row.late_p99_ms,
        row.late_max_ms,
        row.peak,
        row.memory_mib,
    );
    let same = |other: &&Row| {
        other.peer != row.peer && (other.kind, other.servers, other.hanging) == (row.kind, row.servers, row.hanging)
    };
    if let Some(peer) = rows.iter().find(same).filter(|peer| peer.cpu_us > 0.0) {
        text += &format!("; against {}: CPU a check {:.2}", peer.peer, row.cpu_us / peer.cpu_us);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_late_goes_by_each_servers_own_checks_within_the_measured_time() {
        let begin = Instant::now();
        let at = |ms: u64| begin + Duration::from_millis(ms);
        let asked: Asked =
            [(address(0), vec![at(50), at(1050), at(2150)]), (address(1), vec![at(500), at(1500), at(4000)])].into();
        let seen = Seen::of(&asked, Duration::from_secs(1), begin, at(3000));
        assert_eq!((seen.checks, seen.late.len()), (5, 3), "what came after the end is not counted");
        assert_eq!(seen.late, [0.0, 0.0, 100.0]);
        // 5 checks in 30 slots, none with two.
        assert!((seen.peak - 6.0).abs() < 1e-9, "{}", seen.peak);
        assert_eq!(Seen::of(&Asked::new(), Duration::from_secs(1), begin, at(3000)).peak, 0.0);
    }

    #[test]
    fn the_configuration_names_each_server_once_and_hanging_ones_by_their_port() {
        for kind in [Kind::Tcp, Kind::Http] {
            let text = configuration(&Case { kind, servers: 12, hanging: 3, interval: Duration::from_secs(2) });
            let count = |what: &str| text.matches(what).count();
            assert_eq!((count("virtual_server "), count("delay_loop 2"), count("real_server ")), (2, 2, 15));
            assert_eq!((count(" 8080 {"), count(" 8081 {")), (12, 3));
        }
    }
}
