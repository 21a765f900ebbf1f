//! What virtual routers cost, beside the installed keepalived in the same run and with the same configuration file:
//! processor time and memory of the Master and of the Backup, start-up, a reload, and how late Advertisements are.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::Serialize;

use super::room::{PID_FILES, Program, Room, Used, while_listening};
use super::{Comparison, percentile};
use crate::netns::agent::{Peer, keepalived};
use crate::netns::error::Error;
use crate::netns::process::Processes;

/// How many virtual routers, how fast.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// Virtual routers.
    pub instances: usize,
    /// Advertisement_Interval.
    pub interval: Duration,
    /// Virtual addresses of each.
    pub vips: usize,
    /// Real servers beside them, without checks.
    pub servers: usize,
}

/// All that are measured by default.
pub const CASES: [Case; 5] = [
    Case { instances: 1, interval: Duration::from_secs(1), vips: 1, servers: 0 },
    Case { instances: 255, interval: Duration::from_secs(1), vips: 1, servers: 0 },
    Case { instances: 1000, interval: Duration::from_secs(1), vips: 1, servers: 0 },
    Case { instances: 255, interval: Duration::from_millis(10), vips: 1, servers: 0 },
    Case { instances: 1000, interval: Duration::from_secs(1), vips: 20, servers: 0 },
];

/// One program in one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// Which program.
    pub peer: &'static str,
    /// Virtual routers.
    pub instances: usize,
    /// Advertisement_Interval in milliseconds.
    pub interval_ms: u128,
    /// Virtual addresses of each.
    pub vips: usize,
    /// From the start of the first machine's program to its first and last virtual address, in milliseconds. The
    /// first is not before a Master_Down_Interval.
    pub first_vip_ms: f64,
    /// See `first_vip_ms`.
    pub last_vip_ms: f64,
    /// Percent of one processor, as Master.
    pub master_cpu: f64,
    /// As Backup.
    pub backup_cpu: f64,
    /// Packets that the Master sent in a second.
    pub sent: f64,
    /// Of that what the configuration asks for, as a fraction.
    pub of_asked: f64,
    /// Proportional share of memory of the Master, in MiB.
    pub memory_mib: f64,
    /// How much later than the interval an Advertisement came after the one before it: half of them no more.
    pub late_p50_ms: f64,
    /// 99 of 100 no more.
    pub late_p99_ms: f64,
    /// None more.
    pub late_max_ms: f64,
    /// Processor time of a reload of the same file, in milliseconds (without that of programs that began and ended in
    /// it, such as the one that examines keepone's file), and the longest pause of Advertisements in it.
    pub reload_cpu_ms: f64,
    /// See `reload_cpu_ms`.
    pub reload_gap_ms: f64,
}

pub(super) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Runs every case with every program, and tells each row as it comes.
///
/// # Errors
/// When a machine can't be made, a program does not start, or keepalived is asked for and not installed.
pub fn run(options: &Comparison<Case>, mut tell: impl FnMut(&Row)) -> Result<Vec<Row>, Error> {
    let processes = Processes::new();
    let mut rows = Vec::new();
    for (place, case) in options.cases.iter().enumerate() {
        for peer in &options.peers {
            let row = measure(case, *peer, options, &format!("vrrp-{place}-{}", peer.as_str()), &processes)?;
            tell(&row);
            rows.push(row);
        }
    }
    Ok(rows)
}

/// How a program is started; `part` is keepalived's `vrrp` or `check`.
pub(super) fn command(peer: Peer, part: &str, bin_dir: &Path) -> Result<Vec<String>, Error> {
    let words = |program: PathBuf, words: &[&str]| {
        std::iter::once(program.display().to_string()).chain(words.iter().map(|word| (*word).to_owned())).collect()
    };
    match peer {
        Peer::Keepone => {
            let program = bin_dir.join("keepone");
            let missing = || Error::NoBinary { name: "keepone".to_owned(), looked: bin_dir.to_owned() };
            if program.is_file() { Ok(words(program, &["run", "-c"])) } else { Err(missing()) }
        }
        Peer::Keepalived => {
            let pid = |flag| format!("-{flag}{PID_FILES}-{flag}");
            let missing = || Error::NoBinary { name: "keepalived".to_owned(), looked: "/usr/sbin".into() };
            Ok(words(
                keepalived().ok_or_else(missing)?,
                &["--dont-fork", "--log-console", &format!("--{part}"), &pid("p"), &pid("r"), &pid("c"), "-f"],
            ))
        }
    }
}

fn measure(
    case: &Case,
    peer: Peer,
    options: &Comparison<Case>,
    name: &str,
    processes: &Processes,
) -> Result<Row, Error> {
    let room = Room::new(case, name)?;
    let command = command(peer, "vrrp", &options.bin_dir)?;
    let master = room.start(case, 0, &command, processes)?;
    let [first, last] = room.wait_for_all(case, &master, Duration::from_secs(60))?;
    let backup = room.start(case, 1, &command, processes)?;
    // It reads its file, and the Master's announcements after a delay (5 s by keepalived's default) are over.
    thread::sleep(Duration::from_secs(8));
    let look = || -> Result<_, Error> { Ok([room.used(0, &master)?, room.used(1, &backup)?]) };
    let (seen, [before, after]) = while_listening(&room, options.time, || {
        let before = look()?;
        thread::sleep(options.time);
        Ok([before, look()?])
    })?;
    let (reload_cpu_ms, reload_gap_ms) = reload(&room, &master, options.time, percent(&before[0], &after[0], options))?;
    room.end(&master, processes);
    room.end(&backup, processes);
    let late = lateness(&seen, case.interval);
    let sent = (after[0].sent - before[0].sent) as f64 / options.time.as_secs_f64();
    Ok(Row {
        peer: peer.as_str(),
        instances: case.instances,
        interval_ms: case.interval.as_millis(),
        vips: case.vips,
        first_vip_ms: millis(first),
        last_vip_ms: millis(last),
        master_cpu: percent(&before[0], &after[0], options),
        backup_cpu: percent(&before[1], &after[1], options),
        sent,
        of_asked: sent * case.interval.as_secs_f64() / case.instances as f64,
        memory_mib: after[0].memory as f64 / f64::from(1 << 20),
        late_p50_ms: percentile(&late, 50),
        late_p99_ms: percentile(&late, 99),
        late_max_ms: late.last().copied().unwrap_or(0.0),
        reload_cpu_ms,
        reload_gap_ms,
    })
}

/// Percent of a processor between two looks.
fn percent(before: &Used, after: &Used, options: &Comparison<Case>) -> f64 {
    after.cpu.saturating_sub(before.cpu) as f64 / options.time.as_nanos() as f64 * 100.0
}

/// What a reload took beyond the steady state, and the longest pause between two Advertisements meanwhile.
fn reload(room: &Room, master: &Program, time: Duration, steady: f64) -> Result<(f64, f64), Error> {
    let (seen, cpu) = while_listening(room, time, || {
        let before = room.used(0, master)?.cpu;
        room.reload(master);
        thread::sleep(time);
        Ok(room.used(0, master)?.cpu.saturating_sub(before))
    })?;
    let gap = seen.windows(2).filter_map(|pair| pair.get(1)?.checked_sub(*pair.first()?)).max().unwrap_or(0);
    Ok(((cpu as f64 - steady / 100.0 * time.as_nanos() as f64).max(0.0) / 1e6, gap as f64 / 1e6))
}

/// By how much each distance exceeds the interval, in milliseconds, sorted.
pub(super) fn lateness(seen: &[u64], interval: Duration) -> Vec<f64> {
    // A stamp may lie before its predecessor's: frames of two processors.
    let distances = seen.windows(2).filter_map(|pair| Some(pair.get(1)?.saturating_sub(*pair.first()?)));
    let mut late: Vec<f64> = distances.map(|distance| distance as f64 / 1e6 - millis(interval)).collect();
    late.sort_by(f64::total_cmp);
    late
}

/// One row in words, with its ratio to keepalived's of the same case where that was measured.
pub fn words(row: &Row, rows: &[Row]) -> String {
    let peer = rows.iter().find(|other| {
        other.peer != row.peer
            && (other.instances, other.interval_ms, other.vips) == (row.instances, row.interval_ms, row.vips)
    });
    let mut text = format!(
        "{:10} {:5} x {:4} ms x {:2} VIPs: first VIP {:.0} ms, all {:.0} ms; CPU master {:.2} %, backup {:.2} %; \
         {:.0} packets/s ({:.1} % of what is asked); {:.1} MiB; late p50 {:.2} p99 {:.2} max {:.2} ms; reload {:.0} ms \
         of CPU, longest pause {:.1} ms",
        row.peer,
        row.instances,
        row.interval_ms,
        row.vips,
        row.first_vip_ms,
        row.last_vip_ms,
        row.master_cpu,
        row.backup_cpu,
        row.sent,
        row.of_asked * 100.0,
        row.memory_mib,
        row.late_p50_ms,
        row.late_p99_ms,
        row.late_max_ms,
        row.reload_cpu_ms,
        row.reload_gap_ms,
    );
    if let Some(peer) = peer {
        let ratio = |ours: f64, theirs: f64| if theirs > 0.0 { ours / theirs } else { f64::NAN };
        text += &format!(
            "; against {}: CPU {:.2} and {:.2}, memory {:.2}, addresses {:.2}, p99 {:.2}",
            peer.peer,
            ratio(row.master_cpu, peer.master_cpu),
            ratio(row.backup_cpu, peer.backup_cpu),
            ratio(row.memory_mib, peer.memory_mib),
            ratio(row.last_vip_ms - row.first_vip_ms, peer.last_vip_ms - peer.first_vip_ms),
            ratio(row.late_p99_ms, peer.late_p99_ms),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertisement_is_late_by_what_is_beyond_the_interval() {
        let late = lateness(&[0, 1_000_000_000, 2_002_000_000, 3_001_000_000, 3_000_999_999], Duration::from_secs(1));
        assert_eq!(late, [-1000.0, -1.0, 0.0, 2.0]);
    }
}
