//! The picture: a function of a look, of what is chosen, and of the size.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

use super::super::show::{span, text};
use super::look::Look;
use super::panes::{Cell, Kind, Pane, Tone};
use super::state::{Room, State};

/// Events that are worth a place before other panes are whole.
const EVENTS: usize = 6;
/// Rows of a pane that are shown before another is whole.
const FEW: usize = 2;
/// No column is made narrower, and none but the last is wider than that.
const NARROW: usize = 6;
const WIDE: usize = 40;
const KEYS: &str = "Tab pane  ↑↓ PgUp PgDn rows  Enter this pane alone  ? help  q end";
const HELP: [(&str, &str); 8] = [
    ("Tab, Shift-Tab, ← →", "another pane"),
    ("↑ ↓, k j", "one row"),
    ("PgUp PgDn, Space", "as many as are shown"),
    ("Home End, g G", "the first, the last"),
    ("Enter, z", "this pane alone, or all"),
    ("?, h, F1", "these words"),
    ("Esc", "back, and then out"),
    ("q, Ctrl-C", "out"),
];

/// Colours, or none: then words and weight alone.
#[derive(Clone, Copy)]
struct Palette {
    colours: bool,
    /// What is shown is not of now.
    is_old: bool,
}

impl Palette {
    fn of(self, tone: Tone) -> Style {
        let style = Style::new();
        let style = match (tone, self.colours) {
            (Tone::Plain, _) => style,
            (Tone::Soft, true) => style.fg(Color::DarkGray),
            (Tone::Soft | Tone::Good, false) => style,
            (Tone::Good, true) => style.fg(Color::Green),
            (Tone::Attention, true) => style.fg(Color::Yellow),
            (Tone::Bad, true) => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            (Tone::Attention | Tone::Bad, false) => style.add_modifier(Modifier::BOLD),
        };
        if self.is_old { style.add_modifier(Modifier::DIM) } else { style }
    }
}

/// Draws it, and says what there was room for.
pub(super) fn draw(frame: &mut Frame, look: &Look, panes: &[Pane], state: &State, colours: bool) -> Room {
    let area = frame.area();
    let palette = Palette { colours, is_old: look.fault.is_some() };
    let mut top = Rows { area, next: area.y };
    top.put(frame, header(look, palette, area.width));
    if let Some((fault, ago)) = &look.fault {
        let ago = span(ago.as_secs_f64() * 1000.0);
        let words = format!("NO ANSWER, asked again; below is what was {ago} ago: {fault}");
        let now = Palette { is_old: false, ..palette };
        top.put(frame, Line::styled(fit(&words, area.width.into()), now.of(Tone::Bad)));
    }
    let height = usize::from(area.bottom().saturating_sub(top.next)).saturating_sub(1);
    let arranged = arrange(panes, state, height);
    let mut room = Room::default();
    for (pane, part) in panes.iter().zip(&arranged) {
        let Some(part) = part else { continue };
        draw_pane(frame, &mut top, pane, *part, state, palette);
        room.panes.push((pane.kind, pane.rows.len(), part.rows));
    }
    if look.status.is_null() {
        top.put(frame, Line::from("asking the agent …"));
    }
    let last = Rect { y: area.bottom().saturating_sub(1), height: area.height.min(1), ..area };
    frame.render_widget(Paragraph::new(Line::styled(KEYS, palette.of(Tone::Soft))), last);
    if state.help {
        draw_help(frame, area);
    }
    room
}

/// Lines from the top down; what has no room is not drawn.
struct Rows {
    area: Rect,
    next: u16,
}

impl Rows {
    fn put(&mut self, frame: &mut Frame, line: Line<'_>) {
        if self.next < self.area.bottom() {
            frame.render_widget(Paragraph::new(line), Rect { y: self.next, height: 1, ..self.area });
            self.next += 1;
        }
    }
}

fn header<'a>(look: &Look, palette: Palette, width: u16) -> Line<'a> {
    let status = &look.status;
    let gate = match status["gate_passes"].as_bool() {
        Some(true) => ("its gate passes its test", Tone::Plain),
        Some(false) => ("ITS GATE FAILS ITS TEST", Tone::Bad),
        None => ("its gate is not tested yet", Tone::Attention),
    };
    let node = fit(text(status, "node"), (width / 3).into());
    let mut spans = vec![
        Span::styled(format!("keepone {} on ", text(status, "program")), palette.of(Tone::Plain)),
        Span::styled(node, palette.of(Tone::Plain).add_modifier(Modifier::BOLD)),
        Span::raw(": "),
        Span::styled(gate.0, palette.of(gate.1)),
    ];
    if status["maintenance"] == true {
        spans.push(Span::styled("; MAINTENANCE", palette.of(Tone::Attention)));
    }
    Line::from(spans)
}

/// What a pane has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Part {
    /// Whether its columns have heads.
    pub(super) heads: bool,
    /// How many of its rows.
    pub(super) rows: usize,
}

/// Shares `height` lines out among the panes: each has a title, those that have no line have none.
///
/// First a few rows for each, then the chosen one is made whole, then the others in their order.
pub(super) fn arrange(panes: &[Pane], state: &State, height: usize) -> Vec<Option<Part>> {
    let is_chosen = |pane: &Pane| pane.kind == state.chosen;
    if state.alone || height < panes.len() * 2 {
        let rows = height.saturating_sub(2);
        let whole = |pane: &Pane| Part { heads: true, rows: rows.min(pane.rows.len()) };
        return panes.iter().map(|pane| is_chosen(pane).then(|| whole(pane))).collect();
    }
    let want = |pane: &Pane| if pane.kind == Kind::Events { pane.rows.len().min(EVENTS) } else { pane.rows.len() };
    let all: usize = panes.iter().map(|pane| want(pane) + 2).sum();
    let heads = |pane: &Pane| is_chosen(pane) || all <= height;
    let mut left = height - panes.iter().map(|pane| 1 + usize::from(heads(pane))).sum::<usize>().min(height);
    let mut rows = vec![0; panes.len()];
    let mut give = |place: usize, pane: &Pane, most: usize| {
        let Some(has) = rows.get_mut(place) else { return };
        let more = pane.rows.len().min(most).saturating_sub(*has).min(left);
        *has += more;
        left -= more;
    };
    let (chosen, others): (Vec<_>, Vec<_>) = panes.iter().enumerate().partition(|(_, pane)| is_chosen(pane));
    let first: Vec<_> = chosen.into_iter().chain(others).collect();
    first.iter().for_each(|(place, pane)| give(*place, pane, FEW));
    first.iter().for_each(|(place, pane)| give(*place, pane, usize::MAX));
    panes.iter().zip(rows).map(|(pane, rows)| Some(Part { heads: heads(pane), rows })).collect()
}

fn draw_pane(frame: &mut Frame, top: &mut Rows, pane: &Pane, part: Part, state: &State, palette: Palette) {
    let width = usize::from(top.area.width);
    let first = state.first(pane.kind, pane.rows.len(), part.rows);
    let shown = pane.rows.get(first..first + part.rows).unwrap_or_default();
    let range = if shown.len() < pane.rows.len() {
        format!(" [{} to {} of {}]", (first + 1).min(first + shown.len()), first + shown.len(), pane.rows.len())
    } else {
        String::new()
    };
    let title = fit(&format!("{}{range} ", pane.title), width);
    let rule = "─".repeat(width.saturating_sub(Span::raw(title.as_str()).width()));
    let mut style = palette.of(Tone::Plain).add_modifier(Modifier::BOLD);
    if pane.kind == state.chosen {
        style = style.add_modifier(Modifier::REVERSED);
    }
    top.put(frame, Line::from(vec![Span::styled(title, style), Span::styled(rule, palette.of(Tone::Soft))]));
    let widths = widths(pane, width);
    if part.heads {
        let heads: Vec<Cell> = pane.heads.iter().map(|head| Cell((*head).to_owned(), Tone::Soft)).collect();
        top.put(frame, row(&heads, &widths, palette));
    }
    for cells in shown {
        top.put(frame, row(cells, &widths, palette));
    }
}

/// Of each column, so that all have room: the widest gives first.
fn widths(pane: &Pane, width: usize) -> Vec<usize> {
    let mut widths: Vec<usize> = pane.heads.iter().map(|head| Span::raw(*head).width()).collect();
    for row in &pane.rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(Span::raw(cell.0.as_str()).width()).min(WIDE);
        }
    }
    let gaps = 2 * widths.len().saturating_sub(1);
    let Some(last) = widths.pop() else { return widths };
    // An address has room there, if need be.
    let last = last.min(15);
    while widths.iter().sum::<usize>() + gaps + last > width {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > NARROW) else { break };
        *widest -= 1;
    }
    let used = widths.iter().sum::<usize>() + gaps;
    widths.push(width.saturating_sub(used));
    widths
}

fn row<'a>(cells: &[Cell], widths: &[usize], palette: Palette) -> Line<'a> {
    let spans = cells.iter().zip(widths).flat_map(|(cell, width)| {
        let words = fit(&cell.0, *width);
        let rest = width.saturating_sub(Span::raw(words.as_str()).width()) + 2;
        [Span::styled(words, palette.of(cell.1)), Span::raw(" ".repeat(rest))]
    });
    Line::from(spans.collect::<Vec<_>>())
}

/// So much of a text as has room.
fn fit(words: &str, width: usize) -> String {
    if Span::raw(words).width() <= width {
        return words.to_owned();
    }
    let mut used = 0;
    let room = width.saturating_sub(1);
    let begin = words.chars().take_while(|letter| {
        let mut octets = [0; 4];
        used += Span::raw(&*letter.encode_utf8(&mut octets)).width();
        used <= room
    });
    if width == 0 { String::new() } else { begin.chain(['…']).collect() }
}

fn draw_help(frame: &mut Frame, area: Rect) {
    let lines = HELP.map(|(keys, what)| Line::from(format!(" {keys:<22}{what} ")));
    let width = lines.iter().map(Line::width).max().unwrap_or(0) + 2;
    let width = u16::try_from(width).unwrap_or(area.width).min(area.width);
    let height = u16::try_from(lines.len() + 2).unwrap_or(area.height).min(area.height);
    let (x, y) = (area.x + (area.width - width) / 2, area.y + (area.height - height) / 2);
    let place = Rect { x, y, width, height };
    frame.render_widget(Clear, place);
    frame.render_widget(Paragraph::new(lines.to_vec()).block(Block::bordered().title(" Keys ")), place);
}
