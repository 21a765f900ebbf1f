//! `keepone-witness`: the third vote of a cluster of two, on a host that holds no virtual IP.
//!
//! Exit codes: 0 stopped in good order, 1 other failures, 2 usage or configuration, 3 key or permission,
//! 4 address, 5 state directory.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use keepone_arbiter::log::Lines;
use keepone_arbiter::quic::Identity;
use keepone_arbiter::realtime::{self, Rank};
use keepone_arbiter::witness::config::{self, WitnessConfig};
use keepone_arbiter::witness::server::Witness;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// The witness of keepone clusters: votes, and holds nothing.
#[derive(Parser)]
#[command(name = "keepone-witness", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Vote until SIGTERM.
    Run {
        /// The configuration.
        #[arg(short = 'c', long = "config", default_value = "/etc/keepone/witness.toml")]
        config: PathBuf,
    },
    /// Check a configuration and say what it means.
    Check {
        /// The configuration.
        #[arg(default_value = "/etc/keepone/witness.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = EnvFilter::try_from_env("KEEPONE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let ansi = io::stderr().is_terminal();
    let (lines, _flush) = match Lines::to(io::stderr()) {
        Ok(lines) => lines,
        Err(error) => {
            eprintln!("keepone-witness: can't start the log thread: {error}");
            return ExitCode::FAILURE;
        }
    };
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(lines).with_ansi(ansi).init();
    let (Command::Run { config: path } | Command::Check { config: path }) = &cli.command;
    let config = match config::load(path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    match cli.command {
        Command::Check { .. } => {
            explain(&config);
            match Identity::load(&config.key_file) {
                Ok(identity) => {
                    println!("own key {}", identity.public_key());
                    ExitCode::SUCCESS
                }
                Err(error) => {
                    eprintln!("{error}");
                    ExitCode::from(3)
                }
            }
        }
        Command::Run { .. } => run(&config).unwrap_or_else(|error| {
            eprintln!("keepone-witness: {error:#}");
            ExitCode::FAILURE
        }),
    }
}

/// What the configuration means, in the terms that must agree with the agents'.
fn explain(config: &WitnessConfig) {
    println!(
        "witness {} (id {}) listens on {}, records in {}",
        config.name,
        config.id,
        config.listen,
        config.state_dir.display()
    );
    for cluster in &config.clusters {
        let timing = &cluster.quorum.timing;
        println!(
            "cluster {}: voters {:?}, lease {} ms, longest {} ms, holder's part {} ms, digest {:?}",
            cluster.name,
            cluster.quorum.voters,
            timing.lease.as_millis(),
            timing.lease_max.as_millis(),
            timing.holder_lease().as_millis(),
            cluster.digest
        );
        for member in &cluster.members {
            let part = if member.witness { "votes" } else { "may hold" };
            println!("  member {} (id {}) {part}, key {}", member.name, member.id, member.public_key);
        }
    }
}

fn run(config: &WitnessConfig) -> anyhow::Result<ExitCode> {
    realtime::lock_code();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("can't start")?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).context("can't catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("can't catch SIGINT")?;
        let mut reload = signal(SignalKind::hangup()).context("can't catch SIGHUP")?;
        let started = Witness::start(config);
        realtime::ask(Rank::Decides);
        let mut witness = match started {
            Ok(witness) => witness,
            Err(error) => {
                eprintln!("keepone-witness: {error}");
                return Ok(ExitCode::from(error.exit_code()));
            }
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => break tracing::info!("SIGTERM: stopping"),
                _ = interrupt.recv() => break tracing::info!("SIGINT: stopping"),
                _ = reload.recv() => tracing::warn!("SIGHUP: the configuration is read at start only; restart instead"),
                () = witness.failed() => {
                    eprintln!("keepone-witness: the voter or its endpoint ended; this is a defect, see the log above");
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        witness.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}
