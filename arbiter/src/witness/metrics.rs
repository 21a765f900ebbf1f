//! A witness in numbers: OpenMetrics 1.0 text, made anew for each reader.
//!
//! Names are stable for dashboards. Counters begin at each start of the process.

use std::fmt::Write as _;
use std::time::Duration;

use super::report::ClusterStatus;
use super::times::{BOUNDS_MS, Seen};

/// Content type of [`text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A cluster's number.
type Value = fn(&ClusterStatus) -> f64;

/// What is known of each cluster, with its writes.
pub(super) fn text(uptime: Duration, clusters: &[ClusterStatus], times: &Vec<(String, Seen)>) -> String {
    let mut out = String::new();
    family(&mut out, "uptime_seconds", "gauge", "Since the start of the process.");
    sample(&mut out, "uptime_seconds", "", uptime.as_secs_f64());
    let per_cluster: [(&str, &str, &str, Value); 10] = [
        ("renewals", "counter", "Renewals granted.", |c| number(c.renewals)),
        ("grants", "counter", "New epochs granted.", |c| number(c.grants)),
        ("ended", "counter", "Epochs given up or handed over.", |c| number(c.ended)),
        ("domains", "gauge", "Domains on record or asked for.", |c| number(c.domains as u64)),
        ("lent", "gauge", "Domains that are lent now.", |c| number(c.lent as u64)),
        ("generation", "gauge", "Generation of the voter set.", |c| c.generation.into()),
        ("quiet_seconds", "gauge", "For so long only recorded holders are served.", |c| number(c.quiet_ms) / 1e3),
        ("nodes", "gauge", "Members that are configured.", |c| number(c.members.len() as u64)),
        ("nodes_connected", "gauge", "Members whose connection stands.", |c| {
            number(c.members.iter().filter(|member| member.connected).count() as u64)
        }),
        ("nodes_unread", "gauge", "Members whose lease messages are of a version that is not read here.", |c| {
            number(c.members.iter().filter(|member| member.unread_version.is_some()).count() as u64)
        }),
    ];
    for (name, kind, help, value) in per_cluster {
        family(&mut out, name, kind, help);
        let suffix = if kind == "counter" { "_total" } else { "" };
        for cluster in clusters {
            sample(&mut out, &format!("{name}{suffix}"), &format!("cluster=\"{}\"", cluster.name), value(cluster));
        }
    }
    family(&mut out, "refusals", "counter", "Refusals by reason.");
    for cluster in clusters {
        for (why, count) in &cluster.refusals {
            let labels = format!("cluster=\"{}\",reason=\"{why}\"", cluster.name);
            sample(&mut out, "refusals_total", &labels, number(*count));
        }
    }
    family(&mut out, "dropped", "counter", "Datagrams of a node beyond max_rate.");
    for cluster in clusters {
        for member in cluster.members.iter().filter(|member| member.dropped > 0) {
            let labels = format!("cluster=\"{}\",node=\"{}\"", cluster.name, member.name);
            sample(&mut out, "dropped_total", &labels, number(member.dropped));
        }
    }
    family(&mut out, "write_failures", "counter", "Writes of the record that failed.");
    for (cluster, seen) in times {
        sample(&mut out, "write_failures_total", &format!("cluster=\"{cluster}\""), number(seen.failed));
    }
    family(&mut out, "write_seconds", "histogram", "Writes of the record to the disk, fsync included.");
    for (cluster, seen) in times {
        let mut so_far = 0;
        for (place, count) in seen.places.iter().enumerate() {
            so_far += count;
            let bound = BOUNDS_MS.get(place).map_or("+Inf".to_owned(), |ms| format!("{:?}", number(*ms) / 1e3));
            let labels = format!("cluster=\"{cluster}\",le=\"{bound}\"");
            sample(&mut out, "write_seconds_bucket", &labels, number(so_far));
        }
        let labels = format!("cluster=\"{cluster}\"");
        sample(&mut out, "write_seconds_sum", &labels, seen.sum.as_secs_f64());
        sample(&mut out, "write_seconds_count", &labels, number(seen.count()));
    }
    out.push_str("# EOF\n");
    out
}

#[allow(clippy::cast_precision_loss, reason = "counts beyond 2^53 are rounded")]
fn number(count: u64) -> f64 {
    count as f64
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# TYPE keepone_witness_{name} {kind}\n# HELP keepone_witness_{name} {help}");
}

fn sample(out: &mut String, name: &str, labels: &str, value: f64) {
    let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
    let _ = writeln!(out, "keepone_witness_{name}{labels} {value}");
}
