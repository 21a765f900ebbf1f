//! `keepone-chaos matrix`, `soak` and `neighbours`: many clusters, one after the other or side by side.

use std::path::PathBuf;

use clap::Args;

use super::{Cluster, Driven, Set, milliseconds};
use keepone_chaos::scenario::Shape;

/// How clusters are judged, and what is kept of them.
#[derive(Debug, Args)]
pub struct Played {
    /// The time limits of clients are so many times as long; what must never happen, and how long two may hold where
    /// that is bounded, stays as it is.
    #[arg(long, default_value_t = 1)]
    pub slack: u64,
    #[command(flatten)]
    pub driven: Driven,
    /// Keep configurations, logs, events and histories of what did not hold in this directory.
    #[arg(long)]
    pub keep_logs: Option<PathBuf>,
}

/// Options of `matrix`.
#[derive(Debug, Args)]
pub struct Cells {
    /// Where the line of each run goes, and logs of those that failed. What has a line there is not run again.
    #[arg(long)]
    pub out: PathBuf,
    /// Numbers of nodes.
    #[arg(long, value_delimiter = ',', default_value = "2,3", value_parser = clap::value_parser!(u8).range(2..=9))]
    pub nodes: Vec<u8>,
    /// Lengths of the lease.
    #[arg(long, value_delimiter = ',', default_value = "300ms,1s,3s", value_parser = milliseconds)]
    pub leases: Vec<u64>,
    /// Numbers of ordinary programs that want a whole CPU each, all the time.
    #[arg(long, value_delimiter = ',', default_value = "0,4")]
    pub hogs: Vec<u8>,
    /// Only these scenarios.
    #[arg(long, value_delimiter = ',', conflicts_with = "set")]
    pub only: Vec<String>,
    /// Every scenario, or those that a build server has time for.
    #[arg(long, value_enum, default_value = "whole")]
    pub set: Set,
    /// So many clusters at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub worlds: u8,
    /// The time limits of clients are so many times as long.
    #[arg(long, default_value_t = 1)]
    pub slack: u64,
    /// Moves all faults by up to a second.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Run nothing: only the table of what has been run.
    #[arg(long)]
    pub table: bool,
    /// Where `keepone` and `keepone-witness` are; default: beside this program.
    #[arg(long)]
    pub bin_dir: Option<PathBuf>,
}

/// Options of `soak`.
#[derive(Debug, Args)]
pub struct Soak {
    /// For so many minutes; a round that has begun is finished.
    #[arg(long, default_value_t = 10)]
    pub minutes: u64,
    /// At most so many rounds.
    #[arg(long, default_value_t = u64::MAX)]
    pub rounds: u64,
    /// The seed of all courses.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// The number of the first round: to play one again.
    #[arg(long, default_value_t = 0)]
    pub first: u64,
    /// Three members of etcd decide; the lease is 2 s at least.
    #[arg(long)]
    pub etcd: bool,
    /// The real cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    #[command(flatten)]
    pub played: Played,
}

impl Soak {
    /// The cluster's shape.
    pub fn shape(&self) -> Shape {
        let shape = self.cluster.shape();
        if self.etcd { shape.with_etcd() } else { shape }
    }
}

/// Options of `neighbours`.
#[derive(Debug, Args)]
pub struct Neighbours {
    /// Where `keepone` and `keepone-witness` of the other release are.
    #[arg(long, value_name = "DIR")]
    pub previous: PathBuf,
    /// Only stories whose names begin so: upgrade, back, first-node, second-node, witness.
    #[arg(long, default_value = "")]
    pub only: String,
    #[command(flatten)]
    pub played: Played,
}
