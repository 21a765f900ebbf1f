//! What the operator has chosen, and what his keys make of it.

use std::collections::BTreeMap;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::panes::Kind;

/// What is chosen.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// The pane that the arrows move.
    pub(super) chosen: Kind,
    /// It alone is shown.
    pub(super) alone: bool,
    /// The keys are shown.
    pub(super) help: bool,
    /// Rows above the first that is shown; drawing makes it no more than there are.
    pub(super) first: BTreeMap<Kind, usize>,
}

/// What the screen has room for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Room {
    /// The panes that are shown, with the rows that each has and those that it shows.
    pub(super) panes: Vec<(Kind, usize, usize)>,
}

impl Room {
    fn of(&self, kind: Kind) -> Option<(usize, usize)> {
        self.panes.iter().find(|(of, ..)| *of == kind).map(|(_, rows, shown)| (*rows, *shown))
    }
}

/// What a key was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// The picture may be another one.
    Draw,
    /// The operator has seen enough.
    End,
}

impl State {
    /// A key, on a screen with that room.
    pub(super) fn on_key(&mut self, key: KeyEvent, kinds: &[Kind], room: &Room) -> Wish {
        let page = room.of(self.chosen).map_or(1, |(_, shown)| shown.max(1));
        match key.code {
            KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => return Wish::End,
            KeyCode::Char('q') => return Wish::End,
            // Out of what is open, and then out.
            KeyCode::Esc if self.help => self.help = false,
            KeyCode::Esc if self.alone => self.alone = false,
            KeyCode::Esc => return Wish::End,
            KeyCode::Char('?' | 'h') | KeyCode::F(1) => self.help = !self.help,
            KeyCode::Enter | KeyCode::Char('z') => self.alone = !self.alone,
            KeyCode::Tab | KeyCode::Right => self.choose(kinds, 1),
            KeyCode::BackTab | KeyCode::Left => self.choose(kinds, kinds.len().saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.scroll(room, |first| first.saturating_add(1)),
            KeyCode::Up | KeyCode::Char('k') => self.scroll(room, |first| first.saturating_sub(1)),
            KeyCode::PageDown | KeyCode::Char(' ') => self.scroll(room, |first| first.saturating_add(page)),
            KeyCode::PageUp => self.scroll(room, |first| first.saturating_sub(page)),
            KeyCode::Home | KeyCode::Char('g') => self.scroll(room, |_| 0),
            KeyCode::End | KeyCode::Char('G') => self.scroll(room, |_| usize::MAX),
            _ => {}
        }
        Wish::Draw
    }

    /// What is chosen is shown: a pane may have gone.
    pub(super) fn settle(&mut self, kinds: &[Kind]) {
        if !kinds.contains(&self.chosen) {
            (self.chosen, self.alone) = (Kind::default(), false);
        }
    }

    fn choose(&mut self, kinds: &[Kind], steps: usize) {
        let place = kinds.iter().position(|kind| *kind == self.chosen).unwrap_or(0);
        if let Some(kind) = (place + steps).checked_rem(kinds.len()).and_then(|place| kinds.get(place)) {
            self.chosen = *kind;
        }
    }

    fn scroll(&mut self, room: &Room, to: impl Fn(usize) -> usize) {
        let (rows, shown) = room.of(self.chosen).unwrap_or_default();
        let first = to(self.first(self.chosen, rows, shown)).min(rows.saturating_sub(shown));
        self.first.insert(self.chosen, first);
    }

    /// How many of a pane's `rows` are above those `shown`.
    pub(super) fn first(&self, kind: Kind, rows: usize, shown: usize) -> usize {
        self.first.get(&kind).copied().unwrap_or(0).min(rows.saturating_sub(shown))
    }
}
