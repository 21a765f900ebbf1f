//! `keepone-witness`: the third vote of a cluster of two, on a host that holds no virtual IP.
//!
//! Exit codes: 0 stopped in good order, 1 other failures, 2 usage or configuration, 3 key or permission,
//! 4 address, 5 state directory.

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use keepone_arbiter::log::Lines;
use keepone_arbiter::quic::Identity;
use keepone_arbiter::realtime::{self, Rank};
use keepone_arbiter::systemd::ServiceManager;
use keepone_arbiter::witness::config::{self, WitnessConfig};
use keepone_arbiter::witness::orders::Ask;
use keepone_arbiter::witness::server::Witness;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;
use tracing_subscriber::EnvFilter;

/// Between two looks at the voters when no service manager waits for them.
const UNWATCHED: Duration = Duration::from_secs(60);

/// The witness of keepone clusters: votes, and holds nothing.
#[derive(Parser)]
#[command(name = "keepone-witness", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Vote until SIGTERM; SIGHUP reads the configuration again.
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
        Command::Run { .. } => run(path, &config).unwrap_or_else(|error| {
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
            let keys = member.keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(" or ");
            println!("  member {} (id {}) {part}, key {keys}", member.name, member.id);
        }
    }
}

fn run(path: &Path, config: &WitnessConfig) -> anyhow::Result<ExitCode> {
    realtime::lock_code();
    let manager = ServiceManager::from_environment();
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
        manager.ready(&votes(&witness));
        // Without anybody who waits for it, it is said to nobody.
        let mut feed = tokio::time::interval(manager.watchdog().unwrap_or(UNWATCHED));
        feed.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = terminate.recv() => break tracing::info!("SIGTERM: stopping"),
                _ = interrupt.recv() => break tracing::info!("SIGINT: stopping"),
                _ = reload.recv() => {
                    manager.reloading();
                    take_over(&mut witness, path).await;
                    manager.ready(&votes(&witness));
                }
                // Only on the word of the loop that answers the members.
                _ = feed.tick() => if witness.ask(Ask::Alive).await.is_some() {
                    manager.lives();
                },
                () = witness.failed() => {
                    eprintln!("keepone-witness: the voter or its endpoint ended; this is a defect, see the log above");
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        manager.stopping();
        witness.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn votes(witness: &Witness) -> String {
    format!("votes on {} in {} clusters", witness.local_addr(), witness.config().clusters.len())
}

/// SIGHUP: the file is read again, and what is wrong with it changes nothing.
async fn take_over(witness: &mut Witness, path: &Path) {
    let config = match config::load(path) {
        Ok(config) => config,
        Err(error) => return tracing::error!("SIGHUP: nothing is changed, since the configuration is wrong:\n{error}"),
    };
    match witness.reload(&config).await {
        Ok(words) if words.is_empty() => tracing::info!("SIGHUP: read again, nothing has changed"),
        Ok(words) => words.iter().for_each(|words| tracing::info!("SIGHUP: {words}")),
        Err(error) => tracing::error!("SIGHUP: nothing is changed: {error}"),
    }
}
