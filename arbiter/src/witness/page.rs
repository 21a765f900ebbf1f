//! The witness's web page: who is lent what, for how long yet, and which members ask.
//!
//! What must stay true: the loop that answers the members makes reports that are short; so many domains that a list of
//! them would not be are counted only.

use crate::control::Answering;
use crate::web::html::Html;
use crate::web::pieces::{badge, countdown, more, section, table};
use crate::web::{Part, Site};

use super::config::WitnessConfig;
use super::counter::Answers;
use super::orders::Ask;
use super::report::{ClusterStatus, Lease, MemberStatus, Status, other_release};

/// Domains that are listed.
const LISTED: usize = 1000;
/// Rows of them.
const ROWS: usize = 200;
/// Nobody has asked for so long who should: an agent asks each fraction of a lease.
const SILENT_MS: u64 = 10_000;

/// What it is made from.
pub(super) struct Page {
    name: String,
    answers: Answers,
}

impl Page {
    pub(super) fn new(config: &WitnessConfig, answers: Answers) -> Self {
        Page { name: config.name.clone(), answers }
    }
}

impl Site for Page {
    fn answers(&self) -> &dyn Answering {
        &self.answers
    }

    fn title(&self) -> String {
        format!("keepone witness {}", self.name)
    }

    fn parts(&self) -> Result<Vec<Part>, String> {
        let status = self.answers.status()?;
        let domains: usize = status.clusters.iter().map(|cluster| cluster.domains).sum();
        let leases = if domains > LISTED { None } else { Some(self.answers.ask(Ask::Leases)?) };
        Ok(parts(&self.title(), &status, leases.as_deref()))
    }

    fn metrics(&self, text: String) -> Result<String, String> {
        let metrics: String = self.answers.ask(Ask::Metrics)?;
        Ok(text + &metrics)
    }
}

fn parts(title: &str, status: &Status, leases: Option<&[Lease]>) -> Vec<Part> {
    let part = |id, html| Part { id, html, is_said: false };
    vec![
        Part { id: "headline", html: headline(title, status, leases), is_said: true },
        part("leases", lent(status, leases)),
        part("members", members(status)),
        part("counts", counts(status)),
    ]
}

/// How a member stands.
fn standing(member: &MemberStatus) -> Html {
    match (member.connected, member.candidate, member.asked_ms) {
        (false, ..) => badge("bad", "✕", "NOT CONNECTED"),
        (true, true, Some(ago)) if ago <= SILENT_MS => badge("good", "●", "asks"),
        // A Backup asks for nothing.
        (true, ..) => badge("calm", "○", "connected"),
    }
}

fn headline(title: &str, status: &Status, leases: Option<&[Lease]>) -> Html {
    let name = |lease: &Lease| lease.name.clone().unwrap_or_else(|| format!("domain {}", lease.domain));
    let held: Vec<String> = leases
        .unwrap_or_default()
        .iter()
        .filter_map(|lease| Some(format!("{} is lent to {}", name(lease), lease.holder.as_ref()?)))
        .collect();
    let lent: usize = status.clusters.iter().map(|cluster| cluster.lent).sum();
    let words = match held.as_slice() {
        [] if lent == 0 => String::from("Nothing is lent."),
        [only] => format!("{only}."),
        [one, other] => format!("{one}, {other}."),
        _ => format!("{lent} domains are lent."),
    };
    let mut sentences = Vec::new();
    for cluster in &status.clusters {
        let gone: Vec<&str> =
            cluster.members.iter().filter(|member| !member.connected).map(|member| member.name.as_str()).collect();
        if !gone.is_empty() {
            sentences.push(format!("Not connected, of cluster {}: {}.", cluster.name, gone.join(", ")));
        }
        let unread = |member: &MemberStatus| Some(format!("{}.", other_release(&member.name, member.unread_version?)));
        sentences.extend(cluster.members.iter().filter_map(unread));
        if cluster.disk.failed > 0 {
            sentences.push(format!("Writes of the record of cluster {} have FAILED.", cluster.name));
        }
    }
    if sentences.is_empty() {
        sentences.push(String::from("Every member is connected."));
    }
    Html::new().element("h1", title).classed("p", "headline", words).element("p", sentences.join(" "))
}

fn lent(status: &Status, leases: Option<&[Lease]>) -> Html {
    let Some(leases) = leases else {
        let words = "<p>There are more domains than a page should list: <code>keepone-witness leases</code> does.</p>";
        return section("leases-title", "Leases", &Html::new().raw(words));
    };
    let longest = |cluster: &str| {
        let found = status.clusters.iter().find(|found| found.name == cluster);
        found.map_or(1, |found| found.lease_max_ms.max(1))
    };
    let rows = Html::new().each(leases.iter().take(ROWS), |html, lease| {
        html.raw("<tr")
            .attribute("data-key", format_args!("{}/{}", lease.cluster, lease.domain))
            .raw("><th scope=\"row\">")
            .text(lease.name.as_deref().unwrap_or(&lease.domain))
            .raw("</th><td>")
            .text(&lease.cluster)
            .raw("</td><td>")
            .text(lease.holder.as_deref().unwrap_or("nobody"))
            .raw("</td><td class=\"nowrap\">")
            .html(&left(lease, longest(&lease.cluster), status.uptime_ms))
            .raw("</td><td class=\"nowrap\"><code>")
            .text(lease.epoch.as_deref().unwrap_or("none yet"))
            .raw("</code></td><td>")
            .text(lease.barred.as_ref().map_or_else(String::new, |(node, left)| {
                format!("the vote for {node} was taken back, for {} s more", left / 1000)
            }))
            .raw("</td></tr>")
    });
    let headers = ["Domain", "Cluster", "Lent to", "For", "Epoch", "Orders"];
    let caption = "What this vote is given for. Another voter may be lent to otherwise: a majority decides";
    let left_out = leases.len().saturating_sub(ROWS);
    let body = table("leases-title", caption, &headers, &rows).html(&more(left_out, "keepone-witness leases"));
    section("leases-title", "Leases", &body)
}

fn left(lease: &Lease, of: u64, at: u64) -> Html {
    match lease.left_ms {
        #[allow(clippy::cast_precision_loss, reason = "a lease has seconds")]
        Some(left) => countdown(left as f64, of as f64, at),
        None => Html::new().raw("<span class=\"soft\">not lent</span>"),
    }
}

fn members(status: &Status) -> Html {
    let all = status.clusters.iter().flat_map(|cluster| cluster.members.iter().map(move |member| (cluster, member)));
    let rows = Html::new().each(all.take(ROWS), |html, (cluster, member)| {
        html.raw("<tr")
            .attribute("data-key", format_args!("{}/{}", cluster.name, member.name))
            .raw("><th scope=\"row\">")
            .text(&member.name)
            .raw("</th><td>")
            .text(&cluster.name)
            .raw("</td><td>")
            .raw(if member.candidate { "may hold" } else { "votes only" })
            .raw("</td><td class=\"nowrap\">")
            .html(&standing(member))
            .raw("</td><td>")
            .text(match member.asked_ms {
                None => String::from("never"),
                Some(ago) if ago < 1000 => String::from("less than 1 s ago"),
                Some(ago) => format!("{} s ago", ago / 1000),
            })
            .raw("</td><td>")
            .text(member.dropped)
            .raw("</td></tr>")
    });
    let headers = ["Member", "Cluster", "Part", "State", "Asked", "Datagrams dropped"];
    section("members-title", "Members", &table("members-title", "Who may ask this witness", &headers, &rows))
}

fn counts(status: &Status) -> Html {
    let rows = Html::new().each(&status.clusters, row);
    let headers =
        ["Cluster", "Domains", "Lent", "New epochs", "Renewals", "Refusals", "Writes", "Failed", "Longest write"];
    let caption = "Counts of each cluster, and writes of its record";
    section("counts-title", "Since the start", &table("counts-title", caption, &headers, &rows))
}

fn row(html: Html, cluster: &ClusterStatus) -> Html {
    let numbers = [
        cluster.domains as u64,
        cluster.lent as u64,
        cluster.grants,
        cluster.renewals,
        cluster.refusals.values().sum(),
        cluster.disk.writes,
        cluster.disk.failed,
    ];
    html.raw("<tr><th scope=\"row\">")
        .text(&cluster.name)
        .raw("</th>")
        .each(numbers, |html, number| html.element("td", number))
        .element("td", format_args!("{:.1} ms", cluster.disk.longest_ms))
        .raw("</tr>")
}
