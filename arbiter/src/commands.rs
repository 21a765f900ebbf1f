//! The operator's side of a running witness: `status`, `leases`, `revoke`, `forget`, `backup`; and `restore`, for one
//! that does not run.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use keepone_arbiter::control::{AskError, Asking, Request};
use keepone_arbiter::witness::backup;
use keepone_arbiter::witness::config::WitnessConfig;
use keepone_arbiter::witness::counter::socket;
use keepone_arbiter::witness::report::{Kept, Lease, Revoked, Status, other_release};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// For each line of an answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// `status`.
pub(crate) fn status(config: &WitnessConfig, json: bool) -> anyhow::Result<ExitCode> {
    let mut lines = ask(config, &Request::new("status"))?;
    let value = lines.pop().context("an empty answer")?;
    if json {
        println!("{value}");
        return Ok(ExitCode::SUCCESS);
    }
    let status: Status = read(value)?;
    println!(
        "witness {} (id {}), version {}, on {}, up for {}\nkey {}; {} handshakes with unknown keys; {} datagrams a second from each node at most",
        status.name,
        status.id,
        status.version,
        status.listen,
        words(status.uptime_ms),
        status.key,
        status.strangers,
        status.max_rate
    );
    for cluster in &status.clusters {
        let (disk, quiet) = (&cluster.disk, cluster.quiet_ms);
        let connected = cluster.members.iter().filter(|member| member.connected).count();
        println!(
            "\ncluster {}: generation {}, {} of {} members connected, {} domains, {} lent",
            cluster.name,
            cluster.generation,
            connected,
            cluster.members.len(),
            cluster.domains,
            cluster.lent
        );
        if quiet > 0 {
            println!("  has just started: only recorded holders are served for {quiet} ms");
        }
        let refusals: Vec<String> = cluster.refusals.iter().map(|(why, count)| format!("{why} {count}")).collect();
        println!(
            "  granted {}, renewed {}, ended {}, refused {}",
            cluster.grants,
            cluster.renewals,
            cluster.ended,
            if refusals.is_empty() { "none".to_owned() } else { refusals.join(", ") }
        );
        println!(
            "  disk: {} writes, {} failed, last {:.1} ms, longest {:.1} ms",
            disk.writes, disk.failed, disk.last_ms, disk.longest_ms
        );
        for member in &cluster.members {
            if let Some(theirs) = member.unread_version {
                println!("  {}", other_release(&member.name, theirs));
            }
        }
        let rows = cluster.members.iter().map(|member| {
            [
                member.name.clone(),
                member.id.to_string(),
                (if member.candidate { "may hold" } else { "votes" }).to_owned(),
                (if member.connected { "yes" } else { "no" }).to_owned(),
                member.asked_ms.map_or_else(|| "-".to_owned(), |ms| format!("{} ago", words(ms))),
                member.dropped.to_string(),
            ]
        });
        table(["member", "id", "part", "connected", "asked", "dropped"], rows);
    }
    Ok(ExitCode::SUCCESS)
}

/// `leases`.
pub(crate) fn leases(config: &WitnessConfig, cluster: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let mut lines = ask(config, &Request::new("leases"))?;
    lines.pop();
    let leases = lines.into_iter().map(read::<Lease>).collect::<anyhow::Result<Vec<_>>>()?;
    let leases = leases.iter().filter(|lease| cluster.is_none_or(|cluster| lease.cluster == cluster));
    if json {
        for lease in leases {
            println!("{}", serde_json::to_string(lease)?);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let dash = || "-".to_owned();
    let rows = leases.map(|lease| {
        let barred = lease.barred.as_ref().map(|(node, ms)| format!("{node} for {}", words(*ms)));
        [
            lease.cluster.clone(),
            lease.name.clone().unwrap_or_else(|| lease.domain.clone()),
            lease.holder.clone().unwrap_or_else(dash),
            lease.left_ms.map_or_else(dash, |ms| format!("{ms} ms")),
            lease.epoch.clone().unwrap_or_else(dash),
            barred.unwrap_or_else(dash),
        ]
    });
    table(["cluster", "domain", "holder", "left", "epoch", "barred"], rows);
    Ok(ExitCode::SUCCESS)
}

/// `revoke`.
pub(crate) fn revoke(config: &WitnessConfig, request: Request, json: bool) -> anyhow::Result<ExitCode> {
    let value = ask(config, &request)?.pop().context("an empty answer")?;
    if json {
        println!("{value}");
        return Ok(ExitCode::SUCCESS);
    }
    let done: Revoked = read(value)?;
    println!(
        "{} gets no vote of this witness for {} for {}; {}",
        done.node,
        done.domain,
        words(done.barred_ms),
        match done.left_ms {
            0 => "nothing was lent to it".to_owned(),
            left => format!("what it was lent runs out in {left} ms, and nobody else is lent it before"),
        }
    );
    println!(
        "{}",
        if done.alone {
            "this vote alone decides: it loses the domain then, and another node may take it"
        } else {
            "it keeps the domain as long as a majority of the voters renews it: to move it, run this at the other witnesses too, or stop the agent of that node"
        }
    );
    Ok(ExitCode::SUCCESS)
}

/// `forget`.
pub(crate) fn forget(config: &WitnessConfig, request: &Request) -> anyhow::Result<ExitCode> {
    let value = ask(config, request)?.pop().context("an empty answer")?;
    println!("{}", value.get("done").and_then(Value::as_str).context("an answer that is not understood")?);
    Ok(ExitCode::SUCCESS)
}

/// `backup`.
pub(crate) fn backup(config: &WitnessConfig, file: &Path) -> anyhow::Result<ExitCode> {
    let mut lines = ask(config, &Request::new("backup"))?;
    lines.pop();
    let records = lines.into_iter().map(read::<Kept>).collect::<anyhow::Result<Vec<_>>>()?;
    let written = || {
        let mut options = OpenOptions::new();
        let mut file = options.write(true).create_new(true).mode(0o600).open(file)?;
        file.write_all(backup::write(&config.name, &records).as_bytes())?;
        file.sync_all()
    };
    written().with_context(|| format!("can't write {}: choose another name, it is not overwritten", file.display()))?;
    println!(
        "{} clusters are in {}; it helps only where the disk of this witness is lost",
        records.len(),
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// `restore`.
pub(crate) fn restore(config: &WitnessConfig, file: &Path) -> anyhow::Result<ExitCode> {
    for words in backup::restore(&config.state_dir, &config.name, file)? {
        println!("{words}");
    }
    println!("start the witness: for the longest lease it serves nobody, as after the loss of its disk");
    Ok(ExitCode::SUCCESS)
}

/// All lines of an answer.
fn ask(config: &WitnessConfig, request: &Request) -> anyhow::Result<Vec<Value>> {
    let path = socket(&config.state_dir);
    let told = |error: AskError| match error {
        AskError::Nobody { .. } => {
            anyhow!("{error}: is the witness running with this configuration, and are you root or its user?")
        }
        AskError::Broken(_) | AskError::Strange(_) | AskError::Refused(_) => anyhow!(error),
    };
    let mut asking = Asking::ask(&path, request, Some(PATIENCE)).map_err(told)?;
    let mut lines = Vec::new();
    while let Some(line) = asking.next_line().map_err(told)? {
        lines.push(line);
    }
    Ok(lines)
}

fn read<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    match serde_json::from_value(value) {
        Ok(read) => Ok(read),
        Err(error) => bail!("an answer that is not understood ({error}): run the same version as the witness"),
    }
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(head: [&str; N], rows: impl Iterator<Item = [String; N]>) {
    let rows: Vec<[String; N]> = [head.map(str::to_owned)].into_iter().chain(rows).collect();
    let widths: Vec<usize> = (0..N)
        .map(|at| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        println!("  {}", cells.join("  ").trim_end());
    }
}

/// A time for people.
fn words(ms: u64) -> String {
    match ms {
        0..10_000 => format!("{ms} ms"),
        10_000..120_000 => format!("{} s", ms / 1000),
        120_000..7_200_000 => format!("{} min", ms / 60_000),
        7_200_000..172_800_000 => format!("{} h", ms / 3_600_000),
        _ => format!("{} days", ms / 86_400_000),
    }
}
