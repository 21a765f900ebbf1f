//! The command line.

mod convert;
mod diff;
mod doctor;
mod genhash;
mod keepalived;
mod migrate;
mod operator;
mod realserver;
mod version;

use std::ffi::OsString;
use std::fs::File;
use std::os::fd::FromRawFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use keepone_agent::assemble::Plan;
use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_agent::gate::Means;
use keepone_agent::gate_lab::{self, Lab};
use keepone_agent::guardian::{Guardian, ORDERS_FD, PULSE_FD, STARTED_AT, Workers};
use keepone_agent::logging::To;
use keepone_agent::notify::reader;
use keepone_agent::pid_file::PidFile;
use keepone_agent::voters::{self, Wish};
use keepone_agent::worker::Given;
use keepone_agent::{clock, examine, keys, logging, rights, upgrade, voice, worker};
use keepone_config::{
    Config, Diagnostic, Environment, Severity, explain_keyword, explain_timing, json_schema, load_with, manual,
    render_all, to_json,
};
use keepone_packaging::documents::Page;
use keepone_proto::time::Instant;
use nix::fcntl::{Flock, FlockArg};

const EXIT_CODES: &str = "Exit codes: 0 stopped in good order · 2 wrong command line · 10 configuration unreadable · \
11 configuration wrong · 12 interface missing · 13 address or port in use · 14 key missing or not the member's · \
15 not permitted (run as root or with CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF) · 16 the kernel can't make the gate · \
17 already running · 18 state or run directory unusable · 20 `check --diff`: they differ · \
21 `epoch`: not held here · 22 no agent answers · 23 `doctor`: faults · 1 anything else (of `voters`: something is left to do)";

/// keepone holds a virtual IP on exactly one node.
#[derive(Parser)]
#[command(name = "keepone", version, about, after_help = EXIT_CODES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the agent in the foreground.
    Run {
        /// The configuration: `.toml` is the native language, anything else keepalived.conf.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Record whatever the core is told in FILE, for `keepone-chaos replay`. The recording of a former run
        /// is kept as FILE.1; at 256 MiB, about an hour of a pair, it ends. It has the VRRP passwords in it.
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
        /// What `@` lines of a keepalived.conf compare with; by default the first label of the host's name.
        #[arg(short = 'i', long, value_name = "ID")]
        config_id: Option<String>,
        /// Write the PID of the guardian, which takes the signals, in FILE.
        #[arg(short, long, value_name = "FILE")]
        pid_file: Option<PathBuf>,
        /// Log to `stderr`, `journal`, `syslog`, `syslog:FACILITY` or `file:PATH`; by default to the journal, if standard
        /// error leads there, and otherwise to standard error.
        #[arg(long, value_name = "WHERE", value_parser = log_to)]
        log_to: Option<To>,
    },
    /// Read a configuration and say what is wrong with it.
    Check {
        /// The configurations, each by itself; of several the highest exit code counts.
        #[arg(required_unless_present = "diff", value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Say what changes from OLD to NEW, and what a reload would restart for it. Ends with 0 if they mean the
        /// same, with 20 if they differ, and with 10 or 11 if one can't be loaded.
        #[arg(long, num_args = 2, value_names = ["OLD", "NEW"], conflicts_with_all = ["files", "explain_timing"])]
        diff: Option<Vec<PathBuf>>,
        /// Print the diagnostics, or the difference, as JSON.
        #[arg(long)]
        json: bool,
        /// Print the lease's formulas with this configuration's numbers.
        #[arg(long)]
        explain_timing: bool,
    },
    /// Write a configuration in the other language: the same statements, with their comments.
    ///
    /// Includes, definitions and conditions of a keepalived.conf are resolved. Every keyword is carried, known or not.
    Convert(convert::Convert),
    /// Come from a keepalived that runs here: say what changes, write what is needed, take over.
    ///
    /// Without a flag nothing is written or ended.
    Migrate(migrate::Migrate),
    /// Say what a keyword means, what it takes and where it stands.
    ///
    /// Ends with 2, and says what may have been meant, if there is no such keyword.
    Explain {
        /// The keyword, in either spelling; `BLOCK/KEYWORD` for one place alone.
        keyword: String,
    },
    /// Print the digest of a page, as HTTP_GET and SSL_GET see it.
    Genhash(genhash::Genhash),
    /// Check or set up a real server that a director reaches without NAT (DR, TUN).
    #[command(subcommand)]
    Realserver(realserver::Wish),
    /// Print the JSON Schema of the TOML, for editors.
    Schema,
    /// Print the version, and from what and how the program was built.
    Version {
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Make the keys of a small cluster.
    Keys {
        /// The cluster's name.
        #[arg(long)]
        cluster: String,
        /// The directory for NAME.key and members.toml.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The members: nodes and witnesses.
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Ask every voter how it stands, and say what is left of a change of the voter set.
    ///
    /// To be run on a node, with its key. Ends with 0 when all voters answer and nothing is left to do, and with 1
    /// while something is.
    Voters {
        /// The configuration.
        #[arg(short, long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
        /// Print JSON.
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        change: Option<VoterChange>,
    },
    /// Look for the usual faults of this machine: firewall, addresses of others, interfaces, settings of the kernel.
    ///
    /// Changes nothing. Ends with 23 if something does not work.
    Doctor {
        /// The configuration.
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Say how the authority stands, and lead through a move to another one.
    ///
    /// To be run on a node, with its key. Nothing is edited: what is printed goes into the members' files. Ends with 0
    /// when nothing is left to do, and with 1 while something is.
    Authority {
        /// The configuration.
        #[arg(short, long, value_name = "FILE", global = true)]
        config: Option<PathBuf>,
        /// Print JSON.
        #[arg(long)]
        json: bool,
        #[command(subcommand)]
        step: Option<AuthorityStep>,
    },
    #[command(flatten)]
    Operator(operator::Operator),
    /// The gate by itself, for `keepone-chaos gate-bench`.
    #[command(hide = true)]
    GateLab {
        #[arg(long, value_parser = means)]
        means: Means,
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        #[arg(long)]
        interface: String,
        #[arg(long = "address", required = true)]
        addresses: Vec<std::net::IpAddr>,
        #[arg(long, default_value_t = 500)]
        hold_ms: u64,
        #[arg(long, default_value_t = 0)]
        renewals: u32,
        #[arg(long)]
        pause: bool,
        #[arg(long, default_value_t = 0)]
        costs: usize,
    },
    /// The program that reads a FIFO, to end with its parent.
    #[command(hide = true)]
    Reader {
        parent: u32,
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// The process that the guardian of `run` starts before a reload.
    #[command(hide = true)]
    Examine {
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        #[arg(long)]
        config_id: Option<String>,
        #[arg(long, value_name = "DIGEST")]
        known: Option<u64>,
        #[arg(long)]
        mark: Option<String>,
    },
    /// The process that the guardian of `run` starts.
    #[command(hide = true)]
    Worker {
        #[arg(short, long, value_name = "FILE")]
        config: PathBuf,
        #[arg(long)]
        config_id: Option<String>,
        #[arg(long, value_name = "FILE")]
        record: Option<PathBuf>,
    },
}

#[derive(Subcommand)]
enum AuthorityStep {
    /// Print the lines of the first step to another authority, in which both must lend.
    Move {
        /// The voters of the new authority; or `etcd`, or `none`, alone.
        #[arg(required = true, value_name = "VOTER")]
        to: Vec<String>,
        /// A server of etcd, where that is the new one; once for each.
        #[arg(long = "endpoint", value_name = "URL")]
        endpoints: Vec<String>,
    },
    /// Print the lines of the next step, once all members have taken the one before.
    Next,
}

#[derive(Subcommand)]
enum VoterChange {
    /// Print the lines of the next configuration, in which NAME votes too.
    Add {
        /// A member that does not vote.
        name: String,
    },
    /// Print the lines of the next configuration, in which NAME votes no more.
    Remove {
        /// A voter.
        name: String,
    },
}

fn log_to(text: &str) -> Result<To, String> {
    To::parse(text).ok_or_else(|| {
        String::from("one of stderr, journal, syslog, syslog:FACILITY (daemon, user, local0 to local7), file:PATH")
    })
}

fn means(text: &str) -> Result<Means, String> {
    let all = [Means::Bpf, Means::Nft, Means::Lifetime];
    all.into_iter().find(|means| means.as_str() == text).ok_or_else(|| String::from("one of bpf, nft, lifetime"))
}

/// Runs the command and turns its end into an exit code.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    if keepalived::is_meant(&arguments) {
        return end(keepalived::run(arguments.get(1..).unwrap_or_default()));
    }
    let pages = || vec![Page { file: "keepone.conf.5", text: manual() }];
    if let Some(code) = keepone_packaging::documents::asked(Cli::command(), pages) {
        return code;
    }
    let ended = match Cli::parse().command {
        Command::Run { config, record, config_id, pid_file, log_to } => {
            run(&config, RunOptions { record, config_id, pid_file, log_to, ..RunOptions::default() })
        }
        Command::Examine { config, config_id, known, mark } => {
            examine_file(&config, config_id.as_deref(), (known, mark.as_deref()))
        }
        Command::Reader { parent, command } => Err(Failure::say(Code::Unexpected, reader::run(parent, &command))),
        Command::Worker { config, config_id, record } => work(&config, config_id.as_deref(), record.as_deref()),
        Command::GateLab { means, dir, interface, addresses, hold_ms, renewals, pause, costs } => {
            let hold = std::time::Duration::from_millis(hold_ms);
            gate_lab::run(&Lab { means, dir, interface, addresses, hold, renewals, pause, costs }).map(|()| 0)
        }
        Command::Check { diff: Some(files), json, .. } => match files.as_slice() {
            [old, new] => diff::run(old, new, json),
            // clap has counted them.
            _ => Err(Failure::say(Code::Usage, "`check --diff` wants two files: OLD NEW")),
        },
        Command::Check { files, json, explain_timing, diff: None } => return check(&files, json, explain_timing),
        Command::Convert(wish) => convert::run(&wish),
        Command::Migrate(wish) => migrate::run(&wish),
        Command::Explain { keyword } => explain(&keyword),
        Command::Genhash(wish) => genhash::run(wish),
        Command::Realserver(wish) => realserver::run(wish),
        Command::Schema => Ok(say(&json_schema())),
        Command::Version { json } => Ok(say(&version::text(json))),
        Command::Keys { cluster, out, members } => make_keys(&cluster, &out, &members),
        Command::Doctor { config, json } => doctor::run(&config, json),
        Command::Operator(asked) => operator::run(asked),
        Command::Authority { config, json, step } => ask_authority(config.as_deref(), json, step),
        Command::Voters { config, json, change } => ask_voters(config.as_deref(), json, change),
    };
    end(ended)
}

fn end(ended: Result<u8, Failure>) -> ExitCode {
    match ended {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            eprintln!("keepone: {failure}");
            ExitCode::from(failure.code as u8)
        }
    }
}

/// How the agent is run.
#[derive(Debug, Default)]
struct RunOptions {
    record: Option<PathBuf>,
    config_id: Option<String>,
    pid_file: Option<PathBuf>,
    worker_pid_file: Option<PathBuf>,
    detail: bool,
    log_to: Option<To>,
}

/// The guardian's process.
fn run(file: &Path, options: RunOptions) -> Result<u8, Failure> {
    if let Some(To::File(path)) = &options.log_to {
        voice::into_file(path).map_err(|error| {
            let words = format!("the log file {} can't be written: {error}: name another", path.display());
            Failure::say(Code::Directory, words)
        })?;
    }
    let id = options.config_id.as_deref();
    let config = load(file, id, true)?;
    rights::check(&config)?;
    let plan = Plan::new(&config);
    let _lock = lock(&plan.run_dir)?;
    let pid_file = options.pid_file.as_deref().map(|path| (path, PidFile::write(path, std::process::id())));
    if let Some((path, Err(error))) = &pid_file {
        let words = format!("the PID file {} can't be written: {error}; name another", path.display());
        return Err(Failure::say(Code::Directory, words));
    }
    let workers = Workers {
        record: options.record,
        pid_file: options.worker_pid_file,
        detail: options.detail,
        log_to: options.log_to,
    };
    let guardian = Guardian::new(file, config, environment(id), workers).map_err(|error| {
        Failure::say(Code::Unexpected, format!("the guardian can't take over the signals: {error}"))
    })?;
    guardian.run()
}

/// Whether a worker could start with the file: what a reload asks first.
fn examine_file(file: &Path, id: Option<&str>, (known, mark): (Option<u64>, Option<&str>)) -> Result<u8, Failure> {
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
    let config = load(file, id, true)?;
    examine::could_start(&config)?;
    Ok(examine::end(&config, known, mark))
}

/// The process's environment, with the operator's own id if he gives one.
fn environment(id: Option<&str>) -> Environment {
    let mut environment = Environment::of_process();
    if let Some(id) = id {
        id.clone_into(&mut environment.config_id);
    }
    environment
}

/// The worker's process.
fn work(file: &Path, id: Option<&str>, record: Option<&Path>) -> Result<u8, Failure> {
    // The guardian blocked its own signals; the worker wants them.
    let _ = nix::sys::signal::SigSet::all().thread_unblock();
    let _flush = logging::start();
    let config = load(file, id, false)?;
    let (pulse, orders) = (inherited(PULSE_FD), inherited(ORDERS_FD));
    if let Some(pulse) = &pulse {
        use nix::fcntl::{FcntlArg, OFlag, fcntl};
        let _ = fcntl(pulse, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    }
    let started = std::env::var(STARTED_AT).ok().and_then(|nanos| nanos.parse().ok());
    let started = started.map_or_else(clock::now, Instant::from_nanos);
    let (handed, memory) = (upgrade::inherited(upgrade::HANDED_FD), upgrade::inherited(upgrade::HAND_ON_FD));
    let environment = environment(id);
    let given = Given { file, environment, pulse, orders, started, recording: record, handed, memory };
    worker::run(config, given).map(|()| 0)
}

/// The worker's end of a pipe to its guardian, or from there.
fn inherited(variable: &str) -> Option<File> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let number: i32 = std::env::var(variable).ok()?.parse().ok()?;
    if number <= 2 {
        return None;
    }
    // SAFETY: the guardian left exactly this descriptor open for us and named it; nothing else in this
    // process has been opened yet that could own it.
    let file = unsafe { File::from_raw_fd(number) };
    fcntl(&file, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok()?;
    Some(file)
}

/// Whether there is anything to complain about but the file itself.
fn is_readable(file: &Path) -> bool {
    // A directory can be opened, and not read.
    File::open(file).and_then(|file| file.metadata()).is_ok_and(|metadata| metadata.is_file())
}

fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

/// Reads the configuration; the complaints go to standard error, each once for both processes.
fn load(file: &Path, id: Option<&str>, speak: bool) -> Result<Config, Failure> {
    match load_with(file, &environment(id)) {
        Ok((config, remarks)) => {
            if speak {
                show(&remarks);
            }
            Ok(config)
        }
        Err(complaints) => Err(refused(file, &complaints)),
    }
}

/// On standard error, for people.
fn show(diagnostics: &[Diagnostic]) {
    if !diagnostics.is_empty() {
        eprint!("{}", render_all(diagnostics, false));
    }
}

/// Shows the complaints about a file, and makes a failure of them.
fn refused(file: &Path, complaints: &[Diagnostic]) -> Failure {
    show(complaints);
    failure(file, complaints)
}

fn failure(file: &Path, complaints: &[Diagnostic]) -> Failure {
    let readable = is_readable(file);
    let errors = complaints.iter().filter(|complaint| complaint.severity == Severity::Error).count();
    let (code, what) = if readable { (Code::Invalid, "is wrong") } else { (Code::Unreadable, "can't be read") };
    let errors = count(errors, "error");
    Failure::say(code, format!("the configuration {} {what} ({errors} above)", file.display()))
}

fn lock(run_dir: &Path) -> Result<Flock<File>, Failure> {
    let unusable = |error: std::io::Error| {
        let words = format!("run_dir {} can't be used: {error}; make it writable, or name another", run_dir.display());
        Failure::say(Code::Directory, words)
    };
    std::fs::create_dir_all(run_dir).map_err(unusable)?;
    let file = File::create(run_dir.join("keepone.lock")).map_err(unusable)?;
    Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| match error {
        nix::errno::Errno::EWOULDBLOCK => Failure::say(
            Code::Running,
            format!("another keepone runs with run_dir {}: stop it first, or name another run_dir", run_dir.display()),
        ),
        other => unusable(other.into()),
    })
}

fn check(files: &[PathBuf], json: bool, timing: bool) -> ExitCode {
    let (mut all, mut highest) = (Vec::new(), 0);
    for file in files {
        let (config, diagnostics) = match keepone_config::load(file) {
            Ok((config, remarks)) => (Some(config), remarks),
            Err(complaints) => (None, complaints),
        };
        if json {
            all.extend(diagnostics);
        } else {
            show(&diagnostics);
        }
        match config {
            None => highest = highest.max(if is_readable(file) { Code::Invalid } else { Code::Unreadable } as u8),
            Some(config) if timing => println!("{}", explain_timing(&config, Means::Nft.lateness())),
            Some(_) if json => {}
            Some(config) => println!("{} is good: {}", file.display(), count(config.instances.len(), "virtual router")),
        }
    }
    if json {
        println!("{}", to_json(&all));
    }
    ExitCode::from(highest)
}

fn explain(keyword: &str) -> Result<u8, Failure> {
    let text = explain_keyword(keyword).map_err(|unknown| Failure::say(Code::Usage, unknown.to_string()))?;
    Ok(say(&text))
}

/// On standard output; a reader that has seen enough, such as `head`, is no trouble.
fn say(text: &str) -> u8 {
    use std::io::Write as _;
    let _ = writeln!(std::io::stdout(), "{text}");
    0
}

fn ask_voters(file: Option<&Path>, json: bool, change: Option<VoterChange>) -> Result<u8, Failure> {
    let file = file.ok_or_else(|| {
        Failure::say(Code::Usage, "`keepone voters` wants the configuration that the node runs with: `-c FILE`")
    })?;
    let wish = match change {
        None => Wish::Show,
        Some(VoterChange::Add { name }) => Wish::Add(name),
        Some(VoterChange::Remove { name }) => Wish::Remove(name),
    };
    run_voters(file, &wish, json)
}

fn ask_authority(file: Option<&Path>, json: bool, step: Option<AuthorityStep>) -> Result<u8, Failure> {
    let file = file.ok_or_else(|| {
        Failure::say(Code::Usage, "`keepone authority` wants the configuration that the node runs with: `-c FILE`")
    })?;
    let wish = match step {
        None => Wish::Authority,
        Some(AuthorityStep::Move { to, endpoints }) => Wish::Move { to, endpoints },
        Some(AuthorityStep::Next) => Wish::Next,
    };
    run_voters(file, &wish, json)
}

fn run_voters(file: &Path, wish: &Wish, json: bool) -> Result<u8, Failure> {
    // Its remarks are `keepone check`'s to tell.
    let config = load(file, None, false)?;
    let outcome = voters::run(&config, file, wish, json)?;
    print!("{}", outcome.text);
    Ok(outcome.code)
}

fn make_keys(cluster: &str, out: &Path, members: &[String]) -> Result<u8, Failure> {
    let made = keys::make(cluster, out, members).map_err(|error| Failure::new(Code::Key, &error))?;
    print!("{made}");
    Ok(0)
}
