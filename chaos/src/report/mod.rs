//! The report: one self-contained page with a picture of each run, in light and dark.

mod paths;
mod text;
mod timeline;

use std::fmt::Write;

use crate::netns::observe::events::Said;
use crate::netns::record::Record;
use crate::outcome::Outcome;
use crate::scenario::Scenario;
use crate::spans::millis;
use text::escape;
pub use text::{duration, sentence};
pub use timeline::Equipment;

/// The page's look.
const STYLE: &str = include_str!("style.css");

/// One run, as the report shows it.
#[derive(Debug)]
pub struct Run {
    /// What was driven, with its version.
    pub title: String,
    /// What was seen.
    pub record: Record,
    /// What that means.
    pub outcome: Outcome,
    /// What the cluster had.
    pub equipment: Equipment,
}

impl Run {
    /// The slowest return of a client after a repair, in milliseconds.
    pub fn slowest_return_ms(&self) -> f64 {
        self.outcome.return_ms.iter().copied().fold(0.0, f64::max)
    }

    /// How the second view of two holders is called: by gates, or by addresses where there is no gate.
    pub fn gate_view(&self) -> &'static str {
        if self.equipment.gate { "by the kernels' gates" } else { "by addresses" }
    }
}

/// The page about `runs` of `scenario`.
pub fn page(scenario: &Scenario, runs: &[Run]) -> String {
    let mut body = String::new();
    let _ = write!(
        body,
        "<header><p class=\"brand\">keepone-chaos</p><h1>One address, one holder</h1><p class=\"lead\">{}</p></header>",
        escape(&sentence(scenario.what))
    );
    body.push_str("<section class=\"cards\">");
    for run in runs {
        card(&mut body, run);
    }
    body.push_str("</section>");
    for run in runs {
        let _ = write!(body, "<section><h2>{}</h2>", escape(&run.title));
        let _ = write!(body, "<div class=\"picture\">{}</div>", timeline::draw(scenario, &run.record, run.equipment));
        log(&mut body, run);
        body.push_str("</section>");
    }
    body.push_str(LEGEND);
    format!(
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
         <meta name=\"color-scheme\" content=\"light dark\">\
         <title>keepone-chaos: {}</title><style>{STYLE}</style></head><body><main>{body}</main></body></html>\n",
        escape(scenario.name)
    )
}

const LEGEND: &str = "<section class=\"legend\"><h2>How to read it</h2><dl>\
    <dt>holds the VIP</dt><dd>frames that name the address as their source came out of this node's LAN port, seen by a tap \
    in the switch; an oracle outside every cut asks each node every 2 ms, so whoever holds it speaks</dd>\
    <dt>gate open</dt><dd>the deadline in the node's kernel lay ahead, read every 2 ms from outside the agent</dd>\
    <dt>role</dt><dd>the agent's own word, from its event log</dd>\
    <dt>has the address</dt><dd>the address is configured on the node; behind a shut gate that is harmless</dd>\
    <dt>answered by</dt><dd>a client on the LAN with an ordinary neighbour cache probes each millisecond; red is silence \
    of more than 25 ms</dd>\
    <dt>paths</dt><dd>what the scenario cut, and when: the ground truth</dd>\
    </dl></section>";

fn card(body: &mut String, run: &Run) {
    let outcome = &run.outcome;
    let (class, said) = if outcome.dual_holder_ms == 0.0 { ("good", "never two") } else { ("bad", "two holders") };
    let _ = write!(
        body,
        "<article class=\"card {class}\"><h2>{}</h2><p class=\"big\">{}</p><p class=\"said\">{said}</p><table>",
        escape(&run.title),
        duration(outcome.dual_holder_ms)
    );
    let gate_view = format!("two holders {}", run.gate_view());
    for (what, value) in [
        ("two holders on the wire", duration(outcome.dual_holder_wire_ms)),
        (gate_view.as_str(), duration(outcome.dual_holder_gate_ms)),
        ("two holders for clients", duration(outcome.dual_holder_client_ms)),
        ("longest client silence", duration(outcome.client_outage_ms)),
        ("slowest return after a repair", duration(run.slowest_return_ms())),
        ("holder in the end", outcome.final_holder.clone()),
    ] {
        let _ = write!(body, "<tr><th>{what}</th><td>{}</td></tr>", escape(&value));
    }
    body.push_str("</table>");
    if !outcome.violations.is_empty() {
        body.push_str("<ul class=\"violations\">");
        for violation in &outcome.violations {
            let _ = write!(body, "<li>{}</li>", escape(violation));
        }
        body.push_str("</ul>");
    }
    body.push_str("</article>");
}

/// Everything that was done and said, in one list.
fn log(body: &mut String, run: &Run) {
    let record = &run.record;
    let mut lines: Vec<(u64, String)> = record
        .deeds
        .iter()
        .map(|deed| (deed.at, format!("<td class=\"what\" colspan=\"2\">{}</td>", escape(deed.label))))
        .collect();
    for event in record.events.iter().filter(|event| event.at >= record.begin && event.at <= record.end) {
        let node = record.nodes.get(event.node).map_or("?", |node| node.name.as_str());
        let text = match &event.said {
            Said::Transition { from, to, reason, evidence } => format!("{from} → {to} ({reason}): {evidence}"),
            Said::Alert { name, raised: true, evidence } => format!("alert {name}: {evidence}"),
            Said::Alert { name, .. } => format!("alert {name} ended"),
        };
        lines.push((event.at, format!("<td>{}</td><td>{}</td>", escape(node), escape(&text))));
    }
    lines.sort();
    body.push_str("<details><summary>What was done and said</summary><table class=\"log\">");
    for (at, cells) in lines {
        let _ = write!(body, "<tr><th>{:.3} s</th>{cells}</tr>", millis(at.saturating_sub(record.begin)) / 1000.0);
    }
    body.push_str("</table></details>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::equipment;
    use crate::netns::agent::Peer;
    use crate::netns::observe::client::Answer;
    use crate::netns::observe::events::AgentEvent;
    use crate::netns::observe::sniffer::{Naming, Sighting};
    use crate::netns::record::{Deed, NodeRecord};
    use crate::scenario::DEMO;
    use crate::spans::Spans;
    use crate::verdict;

    const MS: u64 = 1_000_000;

    /// A demo as it should go: n1 until it is stopped, n2 half a second later, n1 again in the end.
    fn record() -> Record {
        let held: [&[(u64, u64)]; 2] = [&[(0, 18_400), (26_400, 31_000)], &[(18_520, 26_380)]];
        let mut record = Record { begin: 0, end: 31_000 * MS, answers: vec![Vec::new()], ..Record::default() };
        for (node, spans) in held.into_iter().enumerate() {
            let instants: Vec<u64> =
                spans.iter().flat_map(|(from, to)| (*from..*to).step_by(10)).map(|ms| ms * MS).collect();
            record.answers[0].extend(instants.iter().map(|&at| Answer { at, node }));
            let open = Spans::from_pairs(spans.iter().map(|(from, to)| (from * MS, to * MS)).collect());
            record.nodes.push(NodeRecord {
                name: format!("n{}", node + 1),
                sightings: instants.iter().map(|&at| Sighting { at, naming: Naming::Ip }).collect(),
                address: open.clone(),
                open,
                ..NodeRecord::default()
            });
        }
        record.answers[0].sort_by_key(|answer| answer.at);
        for step in DEMO.steps {
            record.deeds.push(Deed { at: step.at_ms * MS, label: step.label, repair: step.fault.is_repair() });
        }
        let role = |at: u64, node: usize, from: &str, to: &str| AgentEvent {
            at: at * MS,
            node,
            said: Said::Transition {
                from: from.to_owned(),
                to: to.to_owned(),
                reason: "row".to_owned(),
                evidence: "<seen>".to_owned(),
            },
        };
        record.events = vec![
            role(0, 0, "Backup", "Master"),
            role(0, 1, "Initialize", "Backup"),
            role(18_520, 1, "Backup", "Master"),
            role(26_001, 0, "Master", "Fenced"),
            role(26_100, 0, "Fenced", "Backup"),
            role(26_380, 1, "Master", "Backup"),
            role(26_400, 0, "Backup", "Master"),
        ];
        record
    }

    fn sample() -> String {
        let record = record();
        let outcome = verdict::measure(&DEMO, &record);
        let title = "keepone".to_owned();
        page(&DEMO, &[Run { title, record, outcome, equipment: equipment(Peer::Keepone, 2) }])
    }

    #[test]
    fn the_page_stands_alone_and_every_tag_in_the_picture_is_closed() {
        let page = sample();
        for outside in ["http://", "https://", "src=", "@import", "<seen>"] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<svg").count(), 1);
        assert_eq!(page.matches("<text").count(), page.matches("</text>").count());
        assert_eq!(page.matches("<title>").count(), page.matches("</title>").count());
        if let Some(file) = std::env::var_os("KEEPONE_SAMPLE_REPORT") {
            std::fs::write(file, page).unwrap();
        }
    }

    #[test]
    fn one_holder_throughout_is_drawn_as_never_two() {
        let page = sample();
        assert!(page.contains("class=\"never\">never<") && !page.contains("class=\"on-bad\">"));
        assert!(page.contains(">FENCED<") || page.contains("Fenced since"));
    }
}
