//! What the operator asks of the agent that runs on this machine: `status`, `top`, `why`, `epoch`, `events`, `maintenance`,
//! `handover`, `upgrade`, `servers`, `drain`, `log`, `metrics` and `dump`.
//!
//! - [`show`]: answers for people
//! - [`top`]: a live view in the terminal
//! - [`events`]: the event log, which is read from its files: it is there when no agent is

#![allow(clippy::indexing_slicing, reason = "a JSON value indexed by a name is null where there is none")]

mod deeds;
mod drain;
mod events;
mod show;
mod top;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_agent::{clock, control};
use keepone_arbiter::control::{AskError, Request, ask};
use serde_json::Value;

use super::say;

/// Longer than the agent's socket waits for the decision thread: it says why itself.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Subcommand)]
pub(super) enum Operator {
    /// Say who holds what, and how this node stands.
    Status {
        #[command(flatten)]
        agent: Agent,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Show how this node stands, live, in the terminal: instances, leases, links, servers, alerts, events.
    Top {
        #[command(flatten)]
        agent: Agent,
        /// Look so often, in seconds, from 0.1 to 60.
        #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
        interval: Duration,
    },
    /// Say why an instance is what it is: the row of the decision, its evidence, the last transitions.
    Why {
        /// An instance or a sync group; all without.
        instance: Option<String>,
        #[command(flatten)]
        agent: Agent,
        /// Print JSON, a line for each domain.
        #[arg(long)]
        json: bool,
    },
    /// Print the epoch (the fencing token) under which this node holds a domain.
    ///
    /// Ends with 0 only while this node holds it and its gate is open, with 21 when it does not, and with 22 when the
    /// agent does not answer: who can't be asked is no holder.
    Epoch {
        /// An instance or a sync group.
        domain: String,
        #[command(flatten)]
        agent: Agent,
    },
    /// Print transitions, alerts and what the operator did, from the event log.
    Events {
        #[command(flatten)]
        agent: Agent,
        /// Go on with what comes, until it is interrupted.
        #[arg(short, long)]
        follow: bool,
        /// Only what came since: `90s`, `10m`, `3h`, `2d` ago, or a date with or without a time, in UTC.
        #[arg(long, value_name = "TIME")]
        since: Option<String>,
        /// Only of this domain.
        #[arg(long)]
        domain: Option<String>,
        /// Print the lines as they are, in JSON.
        #[arg(long)]
        json: bool,
    },
    /// Take this node out, so that it gives up what it holds in good order and stands for nothing; or back in.
    ///
    /// It outlives a restart of the agent, and ends with one of the machine.
    Maintenance {
        /// Out, or back in.
        state: Switch,
        #[command(flatten)]
        agent: Agent,
    },
    /// Hand an instance, with its sync group, over to another node in good order.
    ///
    /// It stays there, whatever the priorities, until that node gives it up.
    Handover {
        /// An instance or a sync group that this node holds.
        instance: String,
        /// To whom; without, to the best that can take it.
        #[arg(long, value_name = "NODE")]
        to: Option<String>,
        #[command(flatten)]
        agent: Agent,
    },
    /// Have the agent replaced by the program that is on the disk by now, under the leases that it holds.
    ///
    /// Addresses stay and stay reachable, under the same epochs. Where that can't be it is restarted by a handover, and
    /// said why. To be run where a new release has been installed.
    Upgrade {
        #[command(flatten)]
        agent: Agent,
    },
    /// Say how virtual and real servers stand: up or down, why, with which weight.
    Servers {
        #[command(flatten)]
        agent: Agent,
        /// Print JSON.
        #[arg(long)]
        json: bool,
    },
    /// Empty a real server: it gets no new connections, and those that it has go on. Its checks go on too, and its weight
    /// counts for the quorum.
    ///
    /// It stays so across a reload, until `--undo` or until the agent's worker starts anew.
    Drain {
        /// `10.0.0.1`, `10.0.0.1:80`, or its name in `keepone servers`.
        server: String,
        /// Only of this virtual server.
        #[arg(long, value_name = "VIRTUAL")]
        of: Option<String>,
        /// It gets connections again.
        #[arg(long, conflicts_with = "wait")]
        undo: bool,
        /// Wait until it has no connections any more, and say how many are left meanwhile.
        #[arg(long)]
        wait: bool,
        /// Wait so many seconds at most; then it stays emptied, and the exit code is 1.
        #[arg(long, value_name = "SECONDS", requires = "wait")]
        timeout: Option<u32>,
        #[command(flatten)]
        agent: Agent,
    },
    /// Log at another level from now on, until the agent's worker starts anew: error, warn, info, debug or trace.
    Log {
        /// A level, or a list such as `info,keepone_agent::net=debug`.
        level: String,
        #[command(flatten)]
        agent: Agent,
    },
    /// Print OpenMetrics, for Prometheus by way of node_exporter's textfile collector.
    Metrics {
        #[command(flatten)]
        agent: Agent,
    },
    /// Print what the agent knows of itself, in JSON: what SIGUSR1 writes as `keepone.json`.
    Dump {
        #[command(flatten)]
        agent: Agent,
        /// Print what keepalived writes as `keepalived.json`, for programs that read that; passwords are masked.
        #[arg(long)]
        keepalived: bool,
        /// Print what keepalived writes as `keepalived.stats`.
        #[arg(long, requires = "keepalived")]
        stats: bool,
        /// Print what keepalived writes as `keepalived.data`, for programs that search that; passwords are masked.
        #[arg(long, requires = "keepalived", conflicts_with = "stats")]
        data: bool,
        /// Print what keepalived writes as `keepalived_check.data`: virtual and real servers.
        #[arg(long, requires = "keepalived", conflicts_with_all = ["stats", "data"])]
        check_data: bool,
    },
}

/// Which agent of this machine.
#[derive(Args)]
pub(super) struct Agent {
    /// Its run directory.
    #[arg(long, value_name = "DIR", default_value = "/run/keepone")]
    run_dir: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Switch {
    On,
    Off,
}

impl Agent {
    fn ask(&self, request: &Request) -> Result<Value, Failure> {
        let answer = ask(&control::socket(&self.run_dir), request, PATIENCE);
        answer.map_err(|error| match error {
            AskError::Nobody { path, error } if error.kind() == std::io::ErrorKind::PermissionDenied => {
                let words = format!(
                    "{} can't be used: {error}; ask as root, or as a member of `control_group`",
                    path.display()
                );
                Failure::say(Code::NotPermitted, words)
            }
            AskError::Nobody { .. } => {
                let words = format!(
                    "{error}: no agent runs here with run_dir {}; start it, or name another with --run-dir",
                    self.run_dir.display()
                );
                Failure::say(Code::NoAgent, words)
            }
            AskError::Broken(error) if error.kind() == std::io::ErrorKind::TimedOut => {
                let words = format!(
                    "the agent has not answered within {} s: it is stopped, hangs or is starved of processor time \
                     (`systemctl status keepone`); what it holds, the kernel shuts when the lease runs out",
                    PATIENCE.as_secs()
                );
                Failure::say(Code::NoAgent, words)
            }
            AskError::Broken(_) | AskError::Strange(_) => Failure::say(Code::NoAgent, error.to_string()),
            AskError::Refused(words) => Failure::say(Code::Unexpected, words),
        })
    }
}

/// The command's exit code.
pub(super) fn run(asked: Operator) -> Result<u8, Failure> {
    match asked {
        Operator::Status { agent, json } => {
            let status = agent.ask(&Request::new("status"))?;
            Ok(say(if json { status.to_string() } else { show::status(&status, is_colourful()) }.trim_end()))
        }
        Operator::Upgrade { agent } => deeds::upgrade(&agent),
        Operator::Top { agent, interval } => top::run(agent, interval),
        Operator::Why { instance, agent, json } => why(&agent, instance, json),
        Operator::Epoch { domain, agent } => epoch(&agent, &domain),
        Operator::Events { agent, follow, since, domain, json } => {
            events::run(&agent.run_dir, &events::Wish { follow, since, domain, json })
        }
        Operator::Maintenance { state, agent } => deeds::maintenance(&agent, state == Switch::On),
        Operator::Handover { instance, to, agent } => deeds::handover(&agent, &instance, to.as_deref()),
        Operator::Servers { agent, json } => {
            let servers = agent.ask(&Request::new("servers"))?;
            Ok(say(if json { servers.to_string() } else { show::servers(&servers) }.trim_end()))
        }
        Operator::Drain { server, of, undo, wait, timeout, agent } => {
            let drained = drain::drain(&agent, &server, of.as_deref(), !undo)?;
            if wait { drain::wait(&agent, drained, timeout) } else { Ok(0) }
        }
        Operator::Log { level, agent } => {
            agent.ask(&Request::new("log").with("level", level.as_str()))?;
            Ok(say(&format!("the agent logs {level} from now on")))
        }
        Operator::Metrics { agent } => {
            let text = agent.ask(&Request::new("metrics"))?;
            Ok(say(text.as_str().unwrap_or_default().trim_end()))
        }
        Operator::Dump { agent, keepalived: false, .. } => Ok(say(&format!("{:#}", agent.ask(&Request::new("dump"))?))),
        Operator::Dump { agent, keepalived: true, stats, data, check_data } => {
            let form = match (stats, data, check_data) {
                (true, ..) => "keepalived-stats",
                (_, true, _) => "keepalived-data",
                (.., true) => "keepalived-check-data",
                _ => "keepalived",
            };
            let text = agent.ask(&Request::new("dump").with("as", form))?;
            Ok(say(text.as_str().unwrap_or_default().trim_end()))
        }
    }
}

/// Seconds with a fraction.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.1..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| String::from("from 0.1 to 60 seconds"))
}

fn is_colourful() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|no| no.is_empty())
}

fn why(agent: &Agent, instance: Option<String>, json: bool) -> Result<u8, Failure> {
    let names = match instance {
        Some(name) => vec![name],
        None => {
            let status = agent.ask(&Request::new("status"))?;
            let domains = status["domains"].as_array().cloned().unwrap_or_default();
            domains.iter().filter_map(|domain| Some(domain["name"].as_str()?.to_owned())).collect()
        }
    };
    for name in names {
        let answer = agent.ask(&Request::new("why").with("instance", name.as_str()))?;
        if json {
            say(&answer.to_string());
            continue;
        }
        let domain = answer["name"].as_str().unwrap_or(&name);
        let last = keepone_agent::event_log::last_transitions(&agent.run_dir, domain);
        say(&show::why(&answer, &last, is_colourful()));
    }
    Ok(0)
}

/// How often a MASTER is asked whose gate has run out when its answer is here: the machine may have kept one of the two
/// waiting, and the next renewal is some ten milliseconds away.
const ASKED: usize = 3;

/// Whoever goes by this may do so for as long as the gate is open, and no longer: it is looked at again at the end, and
/// a script's own deeds are to bear the epoch.
fn epoch(agent: &Agent, domain: &str) -> Result<u8, Failure> {
    let mut answer = Value::Null;
    for _ in 0..ASKED {
        answer = agent.ask(&Request::new("why").with("instance", domain))?;
        if let Some(epoch) = held(&answer, clock::now().as_nanos()) {
            return Ok(say(epoch));
        }
        if answer["role"] != "MASTER" {
            break;
        }
    }
    let (role, what) = (answer["role"].as_str().unwrap_or("?"), answer["what"].as_str().unwrap_or("?"));
    let late = if role == "MASTER" { "; but what it holds was over when its answer was here" } else { "" };
    Err(Failure::say(Code::NotHeld, format!("{domain} is not held here: {role}, {what}{late}")))
}

/// The epoch under which a domain is held at that time of the boot clock, by what its agent has said of it before.
fn held(answer: &Value, now: u64) -> Option<&str> {
    // The lesser: none is less than any.
    let until = answer["open_until_ns"].as_u64().min(answer["lease_until_ns"].as_u64())?;
    answer["epoch"].as_str().filter(|_| answer["role"] == "MASTER" && now < until)
}

#[cfg(test)]
mod tests {
    use super::held;
    use serde_json::{Value, json};

    #[test]
    fn an_epoch_is_held_by_a_master_while_gate_and_lease_last_and_by_nobody_else() {
        let answer = |role: &str, open: Value, lease: Value| json!({ "role": role, "epoch": "7-1-5-2", "open_until_ns": open, "lease_until_ns": lease });
        let good = answer("MASTER", json!(100), json!(90));
        assert_eq!(held(&good, 89), Some("7-1-5-2"));
        assert_eq!(held(&good, 90), None, "the lease is over");
        assert_eq!(held(&answer("MASTER", json!(90), json!(100)), 90), None, "the gate is shut");
        assert_eq!(held(&answer("MASTER", json!(null), json!(100)), 1), None, "the gate was never open");
        assert_eq!(held(&answer("MASTER", json!(100), json!(null)), 1), None, "nothing is lent");
        assert_eq!(held(&answer("CLAIMING", json!(100), json!(100)), 1), None);
        assert_eq!(held(&json!({ "role": "MASTER", "open_until_ns": 9, "lease_until_ns": 9 }), 1), None);
    }
}
