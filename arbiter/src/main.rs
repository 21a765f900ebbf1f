//! `keepone-witness`: the third vote of a cluster of two, on a host that holds no virtual IP.
//!
//! Exit codes: 0 stopped in good order, 1 other failures, 2 usage or configuration, 3 key or permission,
//! 4 address, 5 state directory.

mod commands;

use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{CommandFactory as _, Parser, Subcommand};
use keepone_arbiter::control::Request;
use keepone_arbiter::log::Lines;
use keepone_arbiter::quic::Identity;
use keepone_arbiter::realtime::{self, Rank};
use keepone_arbiter::systemd::ServiceManager;
use keepone_arbiter::witness::config::{self, WitnessConfig};
use keepone_arbiter::witness::orders::Ask;
use keepone_arbiter::witness::scrape;
use keepone_arbiter::witness::server::Witness;
use keepone_proto::id::NodeId;
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

#[derive(Debug, Subcommand)]
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
    /// How the running witness stands: uptime, members, domains, its disk.
    Status {
        /// Whom to ask.
        #[command(flatten)]
        asked: Asked,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Who holds each domain by this vote, under which epoch, and for how long yet.
    Leases {
        /// Whom to ask.
        #[command(flatten)]
        asked: Asked,
        /// Of this cluster only.
        #[arg(long)]
        cluster: Option<String>,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Take the vote for a domain's holder back: it gets no renewal, and nobody else anything before the loan has run out.
    Revoke {
        /// Whom to ask.
        #[command(flatten)]
        asked: Asked,
        /// Name or number of the domain.
        domain: String,
        /// Where several clusters have such a domain.
        #[arg(long)]
        cluster: Option<String>,
        /// For so many seconds its present holder gets no vote for it.
        #[arg(long, default_value_t = 30)]
        seconds: u64,
        /// One JSON object.
        #[arg(long)]
        json: bool,
    },
    /// Forget a domain or a node of which nothing can be alive.
    Forget {
        /// Whom to ask.
        #[command(flatten)]
        asked: Asked,
        /// Name or number of the domain, or name of the node.
        name: String,
        /// Where several clusters have such a one.
        #[arg(long)]
        cluster: Option<String>,
    },
    /// Copy what a voter must not forget into a file.
    Backup {
        /// Whom to ask.
        #[command(flatten)]
        asked: Asked,
        /// The file, which must not exist.
        file: PathBuf,
    },
    /// Put a backup back, for a witness that does not run and has lost its disk.
    Restore {
        /// Whose.
        #[command(flatten)]
        asked: Asked,
        /// The file.
        file: PathBuf,
    },
}

/// Which witness of this host is meant.
#[derive(Debug, clap::Args)]
struct Asked {
    /// Its configuration, which says where its state and its socket are.
    #[arg(short = 'c', long = "config", default_value = "/etc/keepone/witness.toml")]
    config: PathBuf,
}

impl Command {
    fn config(&self) -> &Path {
        match self {
            Command::Run { config } | Command::Check { config } => config,
            Command::Status { asked, .. }
            | Command::Leases { asked, .. }
            | Command::Revoke { asked, .. }
            | Command::Forget { asked, .. }
            | Command::Backup { asked, .. }
            | Command::Restore { asked, .. } => &asked.config,
        }
    }
}

/// A request about a domain or a node.
fn about(ask: &str, name: String, cluster: Option<String>) -> Request {
    let request = Request::new(ask).with("name", name);
    match cluster {
        Some(cluster) => request.with("cluster", cluster),
        None => request,
    }
}

fn main() -> ExitCode {
    if let Some(code) = keepone_packaging::documents::asked(Cli::command(), Vec::new) {
        return code;
    }
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
    let path = cli.command.config().to_owned();
    let config = match config::load(&path) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(2);
        }
    };
    let answered = match cli.command {
        Command::Check { .. } => return check(&config),
        Command::Run { .. } => run(&path, &config),
        Command::Status { json, .. } => commands::status(&config, json),
        Command::Leases { cluster, json, .. } => commands::leases(&config, cluster.as_deref(), json),
        Command::Revoke { domain, cluster, seconds, json, .. } => {
            commands::revoke(&config, about("revoke", domain, cluster).with("seconds", seconds), json)
        }
        Command::Forget { name, cluster, .. } => commands::forget(&config, &about("forget", name, cluster)),
        Command::Backup { file, .. } => commands::backup(&config, &file),
        Command::Restore { file, .. } => commands::restore(&config, &file),
    };
    answered.unwrap_or_else(|error| {
        eprintln!("keepone-witness: {error:#}");
        ExitCode::FAILURE
    })
}

fn check(config: &WitnessConfig) -> ExitCode {
    explain(config);
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
        // Members stand for all but ourselves.
        let named = |id: &NodeId| match cluster.members.iter().find(|member| member.id == *id) {
            Some(member) => member.name.clone(),
            None => config.name.clone(),
        };
        let voters: Vec<String> = cluster.quorum.voters.iter().map(named).collect();
        println!(
            "cluster {}: voters {}, lease {} ms, longest {} ms, holder's part {} ms, digest {:?}",
            cluster.name,
            voters.join(", "),
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
        if let Some(address) = config.metrics {
            match scrape::listen(address).await {
                Ok(listener) => drop(tokio::spawn(scrape::serve(listener, witness.asks()))),
                // It votes all the same.
                Err(error) => {
                    tracing::error!("no metrics on {address}: {error}; choose another port, or stop what has it")
                }
            }
        }
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
