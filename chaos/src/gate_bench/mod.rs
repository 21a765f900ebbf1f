//! How late a gate shuts: the agent's real gate, in two throw-away namespaces, while the agent is left alone,
//! stopped, killed, starved or paused at the worst point.
//!
//! Lateness is the kernel's timestamp of the last frame on the *observer's* wire (or, for what comes in, of the
//! last datagram that was delivered) less the deadline that the agent told. The stamps are of the wall clock;
//! its distance from the boot clock is measured before and after each run, to some 0.1 us, and a run in which
//! it moved is thrown away, as is one in which not every kind of traffic was seen while the gate was open.

mod disturbance;
mod listen;
mod packets;
mod room;
mod table;
mod traffic;

use std::path::PathBuf;

use crate::netns::error::Error;
pub use disturbance::Disturbance;
pub use listen::Kind;
pub use table::{Cost, Row, Table};

/// By which means the gate is made, as the agent calls them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Means {
    /// eBPF.
    Bpf,
    /// nf_tables.
    Nft,
    /// Address lifetimes.
    Lifetime,
}

impl Means {
    /// All.
    pub const ALL: [Means; 3] = [Means::Bpf, Means::Nft, Means::Lifetime];

    /// The agent's name for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Means::Bpf => "bpf",
            Means::Nft => "nft",
            Means::Lifetime => "lifetime",
        }
    }
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which means.
    pub means: Vec<Means>,
    /// Runs of each means under each disturbance.
    pub runs: u32,
    /// Where `keepone` is.
    pub bin_dir: PathBuf,
}

/// Renewals of which the cost is measured.
const COSTS: usize = 1000;
/// Runs in a row that may say nothing.
const SPOILED: u32 = 5;

/// Measures everything; `told` hears of each row as it is done.
///
/// # Errors
/// [`Error`]: the world could not be made, or the agent did not do its part.
pub fn run(options: &Options, mut told: impl FnMut(&Row)) -> Result<Table, Error> {
    let mut table = Table::default();
    for &means in &options.means {
        for disturbance in Disturbance::ALL {
            let mut row = Row::new(means, disturbance);
            let mut spoiled = 0;
            while row.runs < options.runs {
                match room::run(&options.bin_dir, means, disturbance)? {
                    Ok(lateness) => {
                        row.add(&lateness);
                        spoiled = 0;
                    }
                    Err(_) if spoiled < SPOILED => spoiled += 1,
                    Err(why) => {
                        return Err(Error::Command {
                            command: format!("gate-bench, {} {}", means.as_str(), disturbance.as_str()),
                            status: format!("no good run in {SPOILED}"),
                            output: why,
                        });
                    }
                }
            }
            row.finish();
            told(&row);
            table.rows.push(row);
        }
        table.costs.push(Cost::of(means, room::costs(&options.bin_dir, means, COSTS)?));
    }
    Ok(table)
}
