//! What an onlooker sees while the demo runs: a board that is drawn over and over on a terminal, plain
//! lines otherwise.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::netns::clock;
use crate::netns::observe::events::{self, AgentEvent, Said};
use crate::netns::observe::{FRESH, Live};
use crate::netns::record::Deed;
use crate::netns::runner::Spectator;
use crate::netns::start::StartLine;
use crate::netns::world::World;

/// Looks between two readings of the agents' event logs.
const READ_EVERY: u32 = 4;
/// Lines of the latest news.
const NEWS: usize = 9;

/// One node as the board shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct NodeView {
    name: String,
    holds: bool,
    gate: bool,
    address: bool,
    role: String,
}

/// One cluster as the board shows it.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// What it is.
    title: String,
    has_gate: bool,
    nodes: Vec<NodeView>,
    answered_by: String,
    begin: Option<u64>,
    links: Vec<(&'static str, bool)>,
    news: Vec<String>,
}

/// What is shown of all clusters.
#[derive(Debug, Clone, Default)]
pub struct Board(Arc<Mutex<Vec<View>>>);

impl Board {
    /// A board for clusters with these titles; the second word says whether it has gates.
    pub fn new(titles: &[(String, bool)]) -> Self {
        let view = |(title, has_gate): &(String, bool)| View {
            title: title.clone(),
            has_gate: *has_gate,
            answered_by: "nobody".to_owned(),
            links: if *has_gate { vec![("hb0", true), ("hb1", true), ("VRRP", true)] } else { vec![("VRRP", true)] },
            ..View::default()
        };
        Board(Arc::new(Mutex::new(titles.iter().map(view).collect())))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<View>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes one cluster's part of the board.
#[derive(Debug)]
pub struct Reporter {
    board: Board,
    place: usize,
    looks: u32,
    told: usize,
    /// Meets the other clusters' reporters, so that all scenarios begin at once.
    start: StartLine,
}

impl Reporter {
    /// For the cluster at `place`.
    pub fn new(board: &Board, place: usize, start: StartLine) -> Self {
        Reporter { board: board.clone(), place, looks: 0, told: 0, start }
    }

    fn edit(&self, change: impl FnOnce(&mut View)) {
        if let Some(view) = self.board.lock().get_mut(self.place) {
            change(view);
        }
    }
}

fn seconds(view: &View, at: u64) -> String {
    match view.begin {
        Some(begin) if at >= begin => {
            let tenths = (at - begin) / 100_000_000;
            format!("{:>3}.{} s", tenths / 10, tenths % 10)
        }
        _ => "  start".to_owned(),
    }
}

fn tell(view: &mut View, at: u64, text: &str) {
    let line = format!("{}  {text}", seconds(view, at));
    view.news.push(line);
}

/// An event in a line; the evidence is in the report.
fn describe(event: &AgentEvent, name: &str) -> String {
    match &event.said {
        Said::Transition { from, to, reason, .. } => format!("{name}: {from} → {to} ({reason})"),
        Said::Alert { name: alert, raised: true, .. } => format!("{name}: alert {alert}"),
        Said::Alert { name: alert, .. } => format!("{name}: alert {alert} ended"),
    }
}

impl Spectator for Reporter {
    fn look(&mut self, world: &World, live: &Live) {
        let now = clock::now();
        self.looks += 1;
        let mut said: Vec<AgentEvent> = Vec::new();
        if self.looks.is_multiple_of(READ_EVERY) {
            let agents = world.agents.iter().enumerate();
            said.extend(agents.flat_map(|(node, agent)| events::read(&agent.run_dir(), node)));
            said.sort_by_key(|event| event.at);
        }
        let names: Vec<String> = world.topology.node_hosts().map(|host| host.name.clone()).collect();
        let told = self.told;
        self.told = self.told.max(said.len());
        let speaking = live.holders(now);
        self.edit(|view| {
            let before = holders(view);
            view.nodes.resize(names.len(), NodeView::default());
            for (number, (node, name)) in view.nodes.iter_mut().zip(&names).enumerate() {
                node.name.clone_from(name);
                node.holds = speaking.contains(&number);
                node.gate = live.gate(number);
                node.address = live.address(number);
                let last = said.iter().rev().find_map(|event| match &event.said {
                    Said::Transition { to, .. } if event.node == number => Some(to.clone()),
                    _ => None,
                });
                node.role = last.unwrap_or_else(|| std::mem::take(&mut node.role));
            }
            let answer = live.last_answer(0).filter(|(at, _)| now.saturating_sub(*at) < FRESH);
            let answer = answer.and_then(|(_, node)| names.get(node).cloned());
            view.answered_by = answer.unwrap_or_else(|| "nobody".to_owned());
            for event in said.iter().skip(told) {
                let name = names.get(event.node).map_or("?", String::as_str);
                tell(view, event.at, &describe(event, name));
            }
            let after = holders(view);
            if before != after {
                let text = match after.len() {
                    0 => "nobody holds the VIP".to_owned(),
                    1 => format!("{} holds the VIP", join(&after)),
                    _ => format!("TWO HOLDERS: {}", join(&after)),
                };
                tell(view, now, &text);
            }
        });
    }

    fn ready(&mut self, _: usize) {
        self.start.meet();
    }

    fn begun(&mut self, at: u64) {
        self.edit(|view| {
            view.begin = Some(at);
            tell(view, at, "steady: the scenario begins");
        });
    }

    fn done(&mut self, deed: &Deed) {
        self.edit(|view| {
            for (link, up) in &mut view.links {
                match deed.label {
                    "all lines cut" => *up = false,
                    "healed" => *up = true,
                    label if label == format!("{link} cut") => *up = false,
                    _ => {}
                }
            }
            tell(view, deed.at, &format!("── {} ──", deed.label));
        });
    }
}

fn holders(view: &View) -> BTreeSet<String> {
    view.nodes.iter().filter(|node| node.holds).map(|node| node.name.clone()).collect()
}

fn join(names: &BTreeSet<String>) -> String {
    names.iter().map(String::as_str).collect::<Vec<_>>().join(" and ")
}

/// Puts the board before the onlooker.
#[derive(Debug)]
pub struct Screen {
    board: Board,
    terminal: bool,
    /// Lines of the last drawing, on a terminal.
    drawn: usize,
    /// News already written, for each cluster, where there is no terminal.
    written: Vec<usize>,
}

impl Screen {
    /// On the standard output, whatever that is.
    pub fn new(board: &Board) -> Self {
        let clusters = board.lock().len();
        Screen { board: board.clone(), terminal: std::io::stdout().is_terminal(), drawn: 0, written: vec![0; clusters] }
    }

    /// Shows what is new.
    pub fn show(&mut self) {
        let views = self.board.lock().clone();
        let text = if self.terminal { self.redraw(&views) } else { self.lines(&views) };
        let mut out = std::io::stdout().lock();
        // A reader who has gone away misses nothing that the report does not have.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }

    fn redraw(&mut self, views: &[View]) -> String {
        let mut text = String::new();
        if self.drawn > 0 {
            let _ = write!(text, "\x1b[{}A", self.drawn);
        }
        let body: String = views.iter().map(draw).collect();
        self.drawn = body.lines().count();
        for line in body.lines() {
            let _ = writeln!(text, "\x1b[2K{line}");
        }
        text
    }

    fn lines(&mut self, views: &[View]) -> String {
        let mut text = String::new();
        for (view, written) in views.iter().zip(&mut self.written) {
            for line in view.news.iter().skip(*written) {
                let _ = writeln!(text, "{:18} {line}", view.title);
            }
            *written = view.news.len();
        }
        text
    }
}

fn paint(code: &str, text: &str) -> String {
    format!("\x1b[{code}m{text}\x1b[0m")
}

fn lamp(on: bool) -> String {
    if on { paint("32", "●") } else { paint("90", "○") }
}

/// A line cut to fit, so that the board's height is what was counted.
fn fit(line: &str) -> String {
    let mut cut: String = line.chars().take(110).collect();
    if cut.len() < line.len() {
        cut.push('…');
    }
    cut
}

fn draw(view: &View) -> String {
    let mut text = String::new();
    let time = view.begin.map_or_else(|| "starting".to_owned(), |_| seconds(view, clock::now()).trim().to_owned());
    let _ = writeln!(text, "{}  {time}", paint("1", &view.title));
    let holding = holders(view);
    let holder = match holding.len() {
        0 => paint("33", "nobody"),
        1 => paint("1;32", &join(&holding)),
        _ => paint("1;97;41", &format!(" {} ", join(&holding))),
    };
    let links: Vec<String> =
        view.links.iter().map(|(name, up)| if *up { paint("32", name) } else { paint("31;9", name) }).collect();
    let _ =
        writeln!(text, "  VIP held by {holder}   client answered by {}   lines {}", view.answered_by, links.join(" "));
    for node in &view.nodes {
        let gate = if view.has_gate { format!("  gate {}", lamp(node.gate)) } else { String::new() };
        let (holds, address) = (lamp(node.holds), lamp(node.address));
        let _ = writeln!(text, "    {}  on the wire {holds}{gate}  address {address}  {}", node.name, node.role);
    }
    let skipped = view.news.len().saturating_sub(NEWS);
    for line in view.news.iter().skip(skipped) {
        let line = fit(line);
        let line = if line.contains("TWO HOLDERS") { paint("1;31", &line) } else { paint("2", &line) };
        let _ = writeln!(text, "    {line}");
    }
    // Blank lines keep the height: a board that shrank would leave its old end on the screen.
    for _ in view.news.len().min(NEWS)..NEWS {
        text.push('\n');
    }
    for _ in view.nodes.len()..2 {
        text.push('\n');
    }
    text.push('\n');
    text
}
