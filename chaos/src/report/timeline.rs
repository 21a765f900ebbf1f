//! One run as a picture: time to the right, a lane for each thing that was seen, drawn in SVG.

use std::fmt::Write;

use super::paths;
use super::text::escape;
use crate::netns::observe::events::Said;
use crate::netns::record::{NodeRecord, Record};
use crate::scenario::Scenario;
use crate::spans::{Spans, millis};
use crate::verdict;

const WIDTH: f64 = 1120.0;
const LEFT: f64 = 168.0;
const RIGHT: f64 = 16.0;
/// A client silence that is worth a mark.
const SILENCE: u64 = 25_000_000;
/// The least distance of two lanes, so that their labels stay apart.
const PITCH: f64 = 15.0;
/// Narrower than this a mark would not be seen.
const VISIBLE: f64 = 1.6;

/// What a cluster has besides its nodes.
#[derive(Debug, Clone, Copy)]
pub struct Equipment {
    /// Heartbeat networks.
    pub heartbeats: u8,
    /// Whether there is a witness.
    pub witness: bool,
    /// Whether `open` is a gate, or only the presence of the address.
    pub gate: bool,
}

/// Draws from the top downwards.
struct Canvas<'a> {
    svg: String,
    y: f64,
    record: &'a Record,
}

impl Canvas<'_> {
    fn x(&self, at: u64) -> f64 {
        let span = self.record.end.saturating_sub(self.record.begin).max(1);
        let offset = at.clamp(self.record.begin, self.record.end) - self.record.begin;
        LEFT + millis(offset) / millis(span).max(0.1) * (WIDTH - LEFT - RIGHT)
    }

    fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        let _ = write!(self.svg, r#"<text x="{x:.1}" y="{y:.1}" class="{class}">{}</text>"#, escape(text));
    }

    fn bar(&mut self, span: (u64, u64), y: f64, height: f64, class: &str, title: &str) {
        let x = self.x(span.0);
        let width = (self.x(span.1) - x).max(VISIBLE);
        let _ = write!(
            self.svg,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height}" rx="2" class="{class}"><title>{}</title></rect>"#,
            escape(title)
        );
    }

    /// A labelled lane with a bar for each span.
    fn lane(&mut self, label: &str, height: f64, class: &str, spans: &Spans, what: &str) {
        self.label(label, height);
        let within = spans.within(self.record.begin, self.record.end);
        for span in within.iter() {
            let title = format!("{what}: {} – {} s", self.seconds(span.0), self.seconds(span.1));
            self.bar(span, self.y, height, class, &title);
        }
        self.y += (height + 5.0).max(PITCH);
    }

    fn label(&mut self, label: &str, height: f64) {
        let y = self.y;
        let _ = write!(
            self.svg,
            r#"<rect x="{LEFT}" y="{y:.1}" width="{:.1}" height="{height}" rx="2" class="track"/>"#,
            WIDTH - LEFT - RIGHT
        );
        self.text(LEFT - 10.0, y + height / 2.0 + 4.0, "label", label);
    }

    fn seconds(&self, at: u64) -> String {
        format!("{:.3}", millis(at.saturating_sub(self.record.begin)) / 1000.0)
    }

    fn heading(&mut self, text: &str, class: &str) {
        self.y += 9.0;
        self.text(LEFT - 10.0, self.y + 8.0, class, text);
        self.y += 18.0;
    }
}

/// Class of a node's colour.
fn hue(node: usize) -> String {
    format!("n{}", node % 4 + 1)
}

/// The picture of one run.
pub fn draw(scenario: &Scenario, record: &Record, equipment: Equipment) -> String {
    let mut canvas = Canvas { svg: String::new(), y: 0.0, record };
    deed_labels(&mut canvas);
    let top = canvas.y;
    for (number, node) in record.nodes.iter().enumerate() {
        node_lanes(&mut canvas, number, node, equipment);
    }
    client_lanes(&mut canvas);
    path_lanes(&mut canvas, scenario, equipment);
    verdict_lane(&mut canvas);
    let bottom = canvas.y;
    axis(&mut canvas);
    let height = canvas.y;
    let behind = backdrop(&canvas, top, bottom);
    format!(r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img" aria-label="timeline">{behind}{}</svg>"#, canvas.svg)
}

/// Names of the deeds, in as many rows as it takes to keep them apart.
fn deed_labels(canvas: &mut Canvas<'_>) {
    let mut ends: Vec<f64> = Vec::new();
    let mut placed = Vec::new();
    for deed in &canvas.record.deeds {
        let x = canvas.x(deed.at);
        #[allow(clippy::cast_precision_loss, reason = "labels are short")]
        let width = deed.label.chars().count() as f64 * 6.6 + 12.0;
        let start = x.min(WIDTH - RIGHT - width);
        let row = ends.iter().position(|&end| end <= start).unwrap_or(ends.len());
        match ends.get_mut(row) {
            Some(end) => *end = start + width,
            None => ends.push(start + width),
        }
        placed.push((row, start, deed.label, deed.repair));
    }
    for (row, x, label, repair) in placed {
        #[allow(clippy::cast_precision_loss, reason = "a few rows")]
        let y = 14.0 + row as f64 * 16.0;
        canvas.text(x + 4.0, y, if repair { "deed repair" } else { "deed" }, label);
    }
    #[allow(clippy::cast_precision_loss, reason = "a few rows")]
    let rows = ends.len().max(1) as f64;
    canvas.y = rows * 16.0 + 4.0;
}

/// Shades from each fault to the next repair, and a line for each deed.
fn backdrop(canvas: &Canvas<'_>, top: f64, bottom: f64) -> String {
    let mut svg = String::new();
    let mut since: Option<u64> = None;
    let end = canvas.record.end;
    let shade = |svg: &mut String, from: u64, to: u64| {
        let (x, to) = (canvas.x(from), canvas.x(to));
        let (width, height) = (to - x, bottom - top);
        let _ = write!(svg, r#"<rect x="{x:.1}" y="{top:.1}" width="{width:.1}" height="{height:.1}" class="fault"/>"#);
    };
    for deed in &canvas.record.deeds {
        if deed.repair {
            if let Some(from) = since.take() {
                shade(&mut svg, from, deed.at);
            }
        } else {
            since = since.or(Some(deed.at));
        }
    }
    if let Some(from) = since {
        shade(&mut svg, from, end);
    }
    for deed in &canvas.record.deeds {
        let x = canvas.x(deed.at);
        let class = if deed.repair { "mark repair" } else { "mark" };
        let _ = write!(svg, r#"<line x1="{x:.1}" x2="{x:.1}" y1="{:.1}" y2="{bottom:.1}" class="{class}"/>"#, 4.0);
    }
    svg
}

fn node_lanes(canvas: &mut Canvas<'_>, number: usize, node: &NodeRecord, equipment: Equipment) {
    let hue = hue(number);
    canvas.heading(&node.name, &format!("name {hue}"));
    let what = format!("{} speaks for the VIP on the wire", node.name);
    canvas.lane("holds the VIP", 18.0, &format!("bar {hue}"), &verdict::wire(node), &what);
    if equipment.gate {
        canvas.lane("gate open", 8.0, &format!("thin {hue}"), &node.open, "the kernel lets the VIP's frames pass");
        role_lane(canvas, number);
    }
    canvas.lane("has the address", 6.0, "faint", &node.address, "the VIP is among its addresses");
}

/// Roles by the agent's own word.
fn role_lane(canvas: &mut Canvas<'_>, number: usize) {
    const HEIGHT: f64 = 15.0;
    canvas.label("role", HEIGHT);
    let (begin, end) = (canvas.record.begin, canvas.record.end);
    let mut changes: Vec<(u64, &str, &str)> = Vec::new();
    for event in canvas.record.events.iter().filter(|event| event.node == number) {
        if let Said::Transition { to, reason, .. } = &event.said {
            changes.push((event.at, to, reason));
        }
    }
    for (place, (at, role, reason)) in changes.iter().enumerate() {
        let until = changes.get(place + 1).map_or(end, |next| next.0);
        if until <= begin || *at >= end {
            continue;
        }
        let span = ((*at).max(begin), until.min(end));
        let class = format!("role {}", role.to_ascii_lowercase());
        let title = format!("{role} since {} s: {reason}", canvas.seconds(*at));
        canvas.bar(span, canvas.y, HEIGHT, &class, &title);
        let (x, width) = (canvas.x(span.0), canvas.x(span.1) - canvas.x(span.0));
        #[allow(clippy::cast_precision_loss, reason = "roles are short words")]
        let needed = role.len() as f64 * 6.6 + 10.0;
        if width > needed {
            let class = format!("on-role {}", role.to_ascii_lowercase());
            canvas.text(x + 5.0, canvas.y + 11.5, &class, &role.to_ascii_uppercase());
        }
    }
    canvas.y += HEIGHT + 5.0;
}

fn client_lanes(canvas: &mut Canvas<'_>) {
    let record = canvas.record;
    canvas.heading("clients", "name");
    for (client, answers) in record.answers.iter().enumerate() {
        let label = if record.answers.len() == 1 { "answered by".to_owned() } else { format!("c{} by", client + 1) };
        canvas.label(&label, 18.0);
        for (number, node) in record.nodes.iter().enumerate() {
            let seen = answers.iter().filter(|answer| answer.node == number).map(|answer| answer.at).collect();
            let spans = Spans::from_sightings(seen, SILENCE).within(record.begin, record.end);
            for span in spans.iter() {
                let title =
                    format!("answered by {}: {} – {} s", node.name, canvas.seconds(span.0), canvas.seconds(span.1));
                canvas.bar(span, canvas.y, 18.0, &format!("bar {}", hue(number)), &title);
            }
        }
        for silence in verdict::silences(record, client).iter().filter(|(from, to)| to - from > SILENCE) {
            let title = format!("no answer for {} ms", millis(silence.1 - silence.0));
            canvas.bar(silence, canvas.y + 6.0, 6.0, "bad", &title);
        }
        canvas.y += 23.0;
    }
}

fn path_lanes(canvas: &mut Canvas<'_>, scenario: &Scenario, equipment: Equipment) {
    let record = canvas.record;
    canvas.heading("paths", "name");
    for path in paths::of(scenario, record, equipment.heartbeats, equipment.witness) {
        let up = path.cut.gaps(record.begin, record.end);
        canvas.label(&path.name, 6.0);
        for span in up.iter() {
            canvas.bar(span, canvas.y, 6.0, "up", &format!("{} works", path.name));
        }
        for span in path.cut.iter() {
            canvas.bar(span, canvas.y + 2.0, 2.0, "cut", &format!("{} is cut", path.name));
        }
        canvas.y += PITCH;
    }
}

fn verdict_lane(canvas: &mut Canvas<'_>) {
    let record = canvas.record;
    let wire: Vec<Spans> = record.nodes.iter().map(verdict::wire).collect();
    let open: Vec<Spans> = record.nodes.iter().map(|node| node.open.clone()).collect();
    let both = Spans::shared_by_two(&wire).union(&Spans::shared_by_two(&open)).within(record.begin, record.end);
    canvas.y += 8.0;
    canvas.lane("two holders", 20.0, "bad", &both, "two nodes hold the VIP");
    let y = canvas.y - 10.5;
    if both.is_empty() {
        canvas.text(LEFT + 8.0, y, "never", "never");
    }
    for span in both.iter() {
        let (x, width) = (canvas.x(span.0), canvas.x(span.1) - canvas.x(span.0));
        if width > 60.0 {
            canvas.text(x + 8.0, y, "on-bad", &format!("{:.1} s", millis(span.1 - span.0) / 1000.0));
        }
    }
}

fn axis(canvas: &mut Canvas<'_>) {
    let (begin, end) = (canvas.record.begin, canvas.record.end);
    let seconds = end.saturating_sub(begin) / 1_000_000_000;
    let step = [1, 2, 5, 10, 30, 60].into_iter().find(|step| seconds / step <= 16).unwrap_or(120);
    let y = canvas.y + 12.0;
    for second in (0..=seconds).step_by(usize::try_from(step).unwrap_or(1)) {
        let x = canvas.x(begin + second * 1_000_000_000);
        let _ = write!(canvas.svg, r#"<text x="{x:.1}" y="{y:.1}" class="tick">{second} s</text>"#);
    }
    canvas.y += 20.0;
}
