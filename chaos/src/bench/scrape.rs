//! What it costs to be watched: how long a scrape of the metrics takes beside many virtual routers and real servers, and
//! whether Advertisements wait for it.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use keepone_arbiter::control::{Request, ask};
use serde::Serialize;
use serde_json::Value;

use super::percentile;
use super::room::{Room, while_listening};
use super::vrrp::{Case, command, lateness, millis};
use crate::netns::agent::Peer;
use crate::netns::error::{Error, io_error};
use crate::netns::process::Processes;

/// Between two scrapes: far more often than Prometheus, so that a delay would be seen.
const PAUSE: Duration = Duration::from_millis(100);
/// A scrape that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the agent answers over HTTP, on its own machine.
const WEB: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9100);

/// What is asked of the measurement.
#[derive(Debug, Clone)]
pub struct Options {
    /// Virtual routers.
    pub instances: usize,
    /// Real servers, ten to a virtual server.
    pub servers: usize,
    /// For how long Advertisements are listened to without scrapes, and again with them.
    pub time: Duration,
    /// Where `keepone` is.
    pub bin_dir: PathBuf,
}

/// How long one question took, over and over: a connection, the question, the whole answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// How many times.
    pub count: usize,
    /// Half of them took no longer.
    pub p50_ms: f64,
    /// 99 of 100 took no longer.
    pub p99_ms: f64,
    /// None took longer.
    pub max_ms: f64,
    /// Octets of the last answer.
    pub octets: usize,
}

/// How much later than the interval Advertisements of the first router came.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Late {
    /// How many intervals.
    pub count: usize,
    /// Half of them no more.
    pub p50_ms: f64,
    /// 99 of 100 no more.
    pub p99_ms: f64,
    /// None more.
    pub max_ms: f64,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Seen {
    /// `scrape`.
    pub command: &'static str,
    /// Virtual routers.
    pub instances: usize,
    /// Real servers.
    pub servers: usize,
    /// Of `/metrics` over HTTP, as Prometheus asks.
    pub scrape: Asked,
    /// Of `metrics` at the control socket, where the text comes as a string of JSON.
    pub metrics: Asked,
    /// Of `servers` there, which has the real servers' own thread answer.
    pub listed: Asked,
    /// While nobody asks.
    pub late_alone: Late,
    /// While all are asked for, ten times a second.
    pub late_scraped: Late,
}

impl Late {
    fn of(seen: &[u64], interval: Duration) -> Self {
        let late = lateness(seen, interval);
        let max_ms = late.last().copied().unwrap_or(0.0);
        Late { count: late.len(), p50_ms: percentile(&late, 50), p99_ms: percentile(&late, 99), max_ms }
    }
}

impl Asked {
    fn of(mut times: Vec<f64>, octets: usize) -> Self {
        times.sort_by(f64::total_cmp);
        let (p50_ms, p99_ms) = (percentile(&times, 50), percentile(&times, 99));
        Asked { count: times.len(), p50_ms, p99_ms, max_ms: percentile(&times, 100), octets }
    }
}

/// One question, timed; its answer.
fn timed(socket: &Path, what: &str, times: &mut Vec<f64>) -> Result<Value, Error> {
    let begin = Instant::now();
    let answer = ask(socket, &Request::new(what), PATIENCE).map_err(|error| Error::Command {
        command: what.to_owned(),
        status: String::new(),
        output: error.to_string(),
    })?;
    times.push(millis(begin.elapsed()));
    Ok(answer)
}

/// A scrape as Prometheus makes it, timed; the octets of its body. Into memory that is there already, as Prometheus reads: what it
/// costs to come by four megabytes is not the agent's.
fn get(times: &mut Vec<f64>, answer: &mut Vec<u8>) -> Result<usize, Error> {
    answer.clear();
    let begin = Instant::now();
    let mut read = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect_timeout(&WEB, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        stream.read_to_end(answer)?;
        Ok(())
    };
    read().map_err(io_error("ask for /metrics"))?;
    times.push(millis(begin.elapsed()));
    let head = answer.windows(4).position(|octets| octets == b"\r\n\r\n").map_or(0, |at| at + 4);
    if !answer.starts_with(b"HTTP/1.1 200 ") || !answer.ends_with(b"# EOF\n") {
        let output = String::from_utf8_lossy(answer.get(..head).unwrap_or_default()).into_owned();
        return Err(Error::Command { command: "GET /metrics".to_owned(), status: String::new(), output });
    }
    Ok(answer.len() - head)
}

/// Asks for all until the time is over.
fn scrape(socket: &Path, time: Duration) -> Result<[Asked; 3], Error> {
    let begin = Instant::now();
    let (mut scraped, mut metrics, mut listed) = ((Vec::new(), 0), (Vec::new(), 0), (Vec::new(), 0));
    let mut memory = Vec::new();
    while begin.elapsed() < time {
        scraped.1 = get(&mut scraped.0, &mut memory)?;
        metrics.1 = timed(socket, "metrics", &mut metrics.0)?.as_str().map_or(0, str::len);
        listed.1 = timed(socket, "servers", &mut listed.0)?.to_string().len();
        thread::sleep(PAUSE);
    }
    Ok([scraped, metrics, listed].map(|(times, octets)| Asked::of(times, octets)))
}

/// Runs a Master, listens to it alone, and while it is asked.
///
/// # Errors
/// When a machine can't be made, the program does not start, or it does not answer.
pub fn run(options: &Options) -> Result<Seen, Error> {
    let processes = Processes::new();
    let interval = Duration::from_secs(1);
    let case = Case { instances: options.instances, interval, vips: 1, servers: options.servers };
    let room = Room::new(&case, "scrape")?;
    let configuration = format!("{}web {{\n    listen {WEB}\n}}\n", Room::configuration(&case, 0));
    let command = command(Peer::Keepone, "vrrp", &options.bin_dir)?;
    let master = room.launch(0, &configuration, &command, &processes)?;
    room.wait_for_all(&case, &master, Duration::from_secs(60))?;
    // The announcements after a claim are over.
    thread::sleep(Duration::from_secs(8));
    let alone = room.listen(options.time)?;
    let socket = Room::control(&master);
    let asking = || room.node(0)?.run(|| scrape(&socket, options.time));
    let (late, [scrape, metrics, listed]) = while_listening(&room, options.time, asking)?;
    room.end(&master, &processes);
    Ok(Seen {
        command: "scrape",
        instances: options.instances,
        servers: options.servers,
        scrape,
        metrics,
        listed,
        late_alone: Late::of(&alone, interval),
        late_scraped: Late::of(&late, interval),
    })
}

/// In words.
pub fn words(seen: &Seen) -> String {
    let asked = |asked: &Asked| {
        let Asked { count, p50_ms, p99_ms, max_ms, octets } = asked;
        format!("{count} times, p50 {p50_ms:.2} p99 {p99_ms:.2} max {max_ms:.2} ms, {octets} octets")
    };
    let late = |late: &Late| {
        let Late { count, p50_ms, p99_ms, max_ms } = late;
        format!("p50 {p50_ms:.2} p99 {p99_ms:.2} max {max_ms:.2} ms of {count}")
    };
    format!(
        "{} instances, {} real servers\n  /metrics: {}\n  at the control socket: metrics: {}; servers: {}\n  Advertisements late: {}; while asked: {}",
        seen.instances,
        seen.servers,
        asked(&seen.scrape),
        asked(&seen.metrics),
        asked(&seen.listed),
        late(&seen.late_alone),
        late(&seen.late_scraped),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_their_order_and_lateness_goes_by_the_interval() {
        let asked = Asked::of(vec![3.0, 1.0, 2.0], 7);
        assert_eq!(asked, Asked { count: 3, p50_ms: 2.0, p99_ms: 3.0, max_ms: 3.0, octets: 7 });
        let late = Late::of(&[0, 1_002_000_000, 2_002_000_000], Duration::from_secs(1));
        assert_eq!(late, Late { count: 2, p50_ms: 0.0, p99_ms: 2.0, max_ms: 2.0 });
        assert_eq!(Late::of(&[], Duration::from_secs(1)).count, 0);
    }
}
