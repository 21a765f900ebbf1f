//! The gate by itself, for measurements from outside: `keepone gate-lab`, which `keepone-chaos gate-bench`
//! starts, stops, starves and kills.
//!
//! It opens the gate as the worker does, over two addresses on one interface, tells the deadlines on its
//! standard output, one a line, and then does nothing more. Nothing of the rest of the agent runs.

use std::collections::BTreeSet;
use std::io::Write;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use keepone_arbiter::realtime::{self, Rank};
use keepone_proto::id::{DomainId, Epoch, Incarnation, NodeId};
use keepone_proto::time::Instant;

use crate::clock;
use crate::exit::{ExitCode, Failure};
use crate::gate::{Gate, GateConfig, GateDomain, Means};
use crate::netlink::address::{Addresses, Lifetime, VirtualAddress};

const DOMAIN: DomainId = DomainId(1);
/// What means 3 has for a deadline: the shortest that the kernel takes.
const ADDRESS_LIFE: Duration = Duration::from_secs(1);

/// What to do.
#[derive(Debug, Clone)]
pub struct Lab {
    /// By which means.
    pub means: Means,
    /// Where the gate has its pins and its lock.
    pub dir: PathBuf,
    /// Which bears the addresses.
    pub interface: String,
    /// They.
    pub addresses: Vec<IpAddr>,
    /// How far ahead each deadline lies.
    pub hold: Duration,
    /// Renewals after the opening, a fifth of `hold` apart.
    pub renewals: u32,
    /// To stop itself in the last renewal, between reading the clock and writing.
    pub pause: bool,
    /// So many renewals without pause, to tell what one costs; nothing else is done then.
    pub costs: usize,
}

fn unexpected(error: impl std::fmt::Display) -> Failure {
    Failure::say(ExitCode::Unexpected, error.to_string())
}

fn say(what: &str, value: u128) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{what} {value}").and_then(|()| out.flush()).map_err(unexpected)
}

struct Bench {
    gate: Gate,
    epoch: Epoch,
    runtime: tokio::runtime::Runtime,
    addresses: Addresses,
    list: Vec<VirtualAddress>,
    hold: Duration,
}

impl Bench {
    /// Moves the deadline to what was decided; for means 3 the addresses' life begins anew.
    fn write(&mut self, until: Instant) -> Result<(), Failure> {
        if self.gate.means() == Means::Lifetime {
            let life = Lifetime::seconds(u32::try_from(ADDRESS_LIFE.as_secs()).unwrap_or(1));
            self.runtime.block_on(self.addresses.set(&self.list, life)).map_err(unexpected)?;
        }
        self.gate.open(DOMAIN, self.epoch, until).map_err(|error| Failure::new(ExitCode::NoGate, &error))
    }

    fn decide(&self) -> Instant {
        let ahead = if self.gate.means() == Means::Lifetime { ADDRESS_LIFE } else { self.hold };
        clock::now() + ahead
    }
}

/// Does it, and waits to be killed.
///
/// # Errors
/// No gate, no addresses.
pub fn run(lab: &Lab) -> Result<(), Failure> {
    realtime::ask(Rank::Decides);
    let incarnation = Incarnation(u64::from(std::process::id()) | 1 << 32);
    let node = NodeId::new(1).ok_or_else(|| unexpected("1 is a node"))?;
    let gate = Gate::open_new(&GateConfig {
        bpf_dir: lab.dir.join("bpf"),
        run_dir: lab.dir.join("run"),
        domains: vec![GateDomain {
            id: DOMAIN,
            addresses: lab.addresses.clone(),
            refused: Vec::new(),
            routers: Vec::new(),
        }],
        exempt: BTreeSet::new(),
        incarnation,
        means: lab.means,
        left_open: Vec::new(),
    });
    let gate = gate.map_err(|error| Failure::new(ExitCode::NoGate, &error))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(unexpected)?;
    let addresses = runtime.block_on(async { Addresses::open() }).map_err(unexpected)?;
    let prefix = |address: &IpAddr| if address.is_ipv4() { 24 } else { 64 };
    let list = lab.addresses.iter().map(|address| VirtualAddress::new(&lab.interface, *address, prefix(address)));
    let epoch = Epoch { counter: 1, incarnation, attempt: 1, node };
    let mut bench = Bench { gate, epoch, runtime, addresses, list: list.collect(), hold: lab.hold };
    if lab.costs > 0 {
        return costs(&mut bench, lab.costs);
    }
    if bench.gate.means() != Means::Lifetime {
        bench.runtime.block_on(bench.addresses.set(&bench.list, Lifetime::seconds(600))).map_err(unexpected)?;
    }
    while !bench.gate.is_alone() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut until = bench.decide();
    bench.write(until)?;
    say("open", until.as_nanos().into())?;
    for renewal in 1..=lab.renewals {
        std::thread::sleep(bench.hold / 5);
        let next = bench.decide();
        if lab.pause && renewal == lab.renewals {
            say("held", until.as_nanos().into())?;
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGSTOP).map_err(unexpected)?;
        }
        // A late write is refused, or opens nothing.
        let _ = bench.write(next);
        until = next;
    }
    if !lab.pause {
        say("held", until.as_nanos().into())?;
    }
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

fn costs(bench: &mut Bench, count: usize) -> Result<(), Failure> {
    for _ in 0..count {
        let until = bench.decide();
        let began = clock::now();
        bench.write(until)?;
        say("cost", clock::now().since(began).as_nanos())?;
    }
    Ok(())
}
