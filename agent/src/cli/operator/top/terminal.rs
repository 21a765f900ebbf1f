//! The terminal: taken, drawn on, and given back as it was.

use std::io;
use std::sync::mpsc::TryRecvError;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use ratatui::DefaultTerminal;
use ratatui::crossterm::event::{Event, KeyEventKind, poll, read};

use super::super::Agent;
use super::look::{self, Look, Looking};
use super::panes::{self, Kind};
use super::state::{Room, State, Wish};
use super::view;

/// How long a signal or a look may wait for a key.
const TICK: Duration = Duration::from_millis(50);

/// Until a key or a signal ends it. A panic gives the terminal back as well, by ratatui's hook.
pub(super) fn show(agent: Agent, interval: Duration, colours: bool) -> io::Result<()> {
    // Before there is another thread, which would take them.
    let signals = take_signals()?;
    let looking = look::start(agent, interval)?;
    let mut terminal = ratatui::try_init().inspect_err(|_| drop(ratatui::try_restore()))?;
    let ended = run(&mut terminal, &signals, &looking, colours);
    let cursor = terminal.show_cursor();
    let restored = ratatui::try_restore();
    ended.and(cursor).and(restored)
}

/// Those that would end the program, or stop it, while the terminal is not as it was.
fn take_signals() -> io::Result<SignalFd> {
    let mut set = SigSet::empty();
    [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT, Signal::SIGTSTP]
        .into_iter()
        .for_each(|signal| set.add(signal));
    set.thread_block()?;
    Ok(SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?)
}

/// One that means the end; SIGTSTP means nothing here.
fn is_to_end(signals: &SignalFd) -> io::Result<bool> {
    while let Some(seen) = signals.read_signal()? {
        if seen.ssi_signo != Signal::SIGTSTP as u32 {
            return Ok(true);
        }
    }
    Ok(false)
}

fn run(terminal: &mut DefaultTerminal, signals: &SignalFd, looking: &Looking, colours: bool) -> io::Result<()> {
    let (mut look, mut state, mut room) = (Look::default(), State::default(), Room::default());
    let mut shown = panes::of(&look);
    let mut is_news = true;
    loop {
        match looking.looks.try_recv() {
            Ok(new) => {
                (look, is_news) = (new, true);
                shown = panes::of(&look);
                state.settle(&kinds(&shown));
            }
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => {
                return Err(io::Error::other("the thread that asks the agent has ended"));
            }
        }
        if std::mem::take(&mut is_news) {
            terminal.draw(|frame| room = view::draw(frame, &look, &shown, &state, colours))?;
        }
        if is_to_end(signals)? {
            return Ok(());
        }
        if !poll(TICK)? {
            continue;
        }
        match read()? {
            Event::Key(key) if key.kind != KeyEventKind::Release => {
                if state.on_key(key, &kinds(&shown), &room) == Wish::End {
                    return Ok(());
                }
                is_news = true;
            }
            Event::Resize(..) => is_news = true,
            _ => {}
        }
    }
}

fn kinds(panes: &[panes::Pane]) -> Vec<Kind> {
    panes.iter().map(|pane| pane.kind).collect()
}
