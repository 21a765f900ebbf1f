//! `keepone-chaos bench`: what is measured.

use clap::{Args, Subcommand};

use super::{Cluster, Driven, PeerKind, milliseconds};

/// Options of `bench`.
#[derive(Debug, Args)]
pub struct Bench {
    /// What is measured.
    #[command(subcommand)]
    pub what: Measured,
}

/// What is measured.
#[derive(Debug, Subcommand)]
pub enum Measured {
    /// The holder's machine falls silent, over and over: how long the client waits.
    Failover {
        /// How many times.
        #[arg(long, default_value_t = 50)]
        runs: u64,
        /// Also measure the installed keepalived, a tenth as often, and give the ratio.
        #[arg(long)]
        compare: bool,
        /// What both have.
        #[command(flatten)]
        common: Common,
    },
    /// What virtual routers cost, beside the installed keepalived with the same configuration file.
    Vrrp(BenchVrrp),
    /// What a witness bears: a thousand nodes that renew, memory for each domain, a restart.
    Witness(BenchWitness),
    /// A scrape of the metrics beside many virtual routers and real servers: how long it takes, and whether
    /// Advertisements wait for it.
    Scrape(BenchScrape),
    /// What health checks of thousands of real servers cost, and whether each comes in time while some servers hang; beside
    /// the installed keepalived where the kernel has IPVS.
    Checks(BenchChecks),
    /// A node dies or stops, a witness or etcd's leader dies: how long the client waits, with a witness and with etcd.
    Authorities(BenchAuthorities),
    /// What etcd as the authority has to agree upon: commits for each renewal, with its leases (`etcd_lease`) and without.
    Commits(BenchCommits),
    /// How large the program is, how long until it says that it is ready, and what memory it has at rest, beside the
    /// installed keepalived with the same configuration file.
    Start(BenchStart),
    /// Nothing happens: how often the holder changes.
    Calm {
        /// For so many minutes.
        #[arg(long, default_value_t = 10)]
        minutes: u64,
        /// What both have.
        #[command(flatten)]
        common: Common,
    },
}

/// Options of `bench start`.
#[derive(Debug, Args)]
pub struct BenchStart {
    /// How many times each is started.
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub runs: u32,
    /// Only keepone, without a comparison.
    #[arg(long)]
    pub alone: bool,
    #[command(flatten)]
    pub driven: Driven,
}

/// Options of `bench witness`.
#[derive(Debug, Args)]
pub struct BenchWitness {
    /// Only these cases of the list, from 1.
    #[arg(long, value_delimiter = ',')]
    pub case: Vec<usize>,
    /// For how many seconds each is looked at.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    #[command(flatten)]
    pub driven: Driven,
}

/// Options of a measurement beside keepalived.
#[derive(Debug, Args)]
pub struct BesideKeepalived {
    /// Only these cases of the list, from 1.
    #[arg(long, value_delimiter = ',')]
    pub case: Vec<usize>,
    /// Only keepone, without a comparison.
    #[arg(long)]
    pub alone: bool,
    #[command(flatten)]
    pub driven: Driven,
}

/// Options of `bench checks`.
#[derive(Debug, Args)]
pub struct BenchChecks {
    /// Real servers that answer, instead of each case's own; of those that hang there are as many in proportion.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub servers: Option<u32>,
    /// For how many seconds each is looked at.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    #[command(flatten)]
    pub beside: BesideKeepalived,
}

/// Options of `bench authorities`.
#[derive(Debug, Args)]
pub struct BenchAuthorities {
    /// How many times each.
    #[arg(long, default_value_t = 5)]
    pub runs: u64,
    /// Length of the lease under both, 2 s at least: a shorter one does not outlive an election of etcd's.
    #[arg(long, default_value = "2s", value_parser = milliseconds)]
    pub lease: u64,
    #[command(flatten)]
    pub driven: Driven,
}

/// Options of `bench commits`.
#[derive(Debug, Args)]
pub struct BenchCommits {
    /// Domains of the holder, 1 to 100, for each run.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 10], value_parser = clap::value_parser!(u8).range(1..=100))]
    pub domains: Vec<u8>,
    /// For how many seconds each is looked at.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    #[command(flatten)]
    pub driven: Driven,
}

/// Options of `bench scrape`.
#[derive(Debug, Args)]
pub struct BenchScrape {
    /// Virtual routers.
    #[arg(long, default_value_t = 1000)]
    pub instances: usize,
    /// Real servers.
    #[arg(long, default_value_t = 5000)]
    pub servers: usize,
    /// For how many seconds it is looked at without scrapes, and again with them.
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
    #[command(flatten)]
    pub driven: Driven,
}

/// Options of `bench vrrp`.
#[derive(Debug, Args)]
pub struct BenchVrrp {
    /// For how many seconds each steady state, and each reload, is looked at.
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
    #[command(flatten)]
    pub beside: BesideKeepalived,
}

/// Options of every measurement.
#[derive(Debug, Args)]
pub struct Common {
    /// The real cluster.
    #[command(flatten)]
    pub cluster: Cluster,
    /// What is driven.
    #[arg(long, value_enum, default_value = "keepone")]
    pub peer: PeerKind,
    #[command(flatten)]
    pub driven: Driven,
}
