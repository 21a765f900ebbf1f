//! Pictures of what real agents have answered: `fixtures/` has their words, and what becomes of them;
//! `UPDATE=1 cargo test -p keepone-agent --bin keepone top` rewrites the pictures.

use std::path::Path;
use std::time::Duration;

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};

use super::look::Look;
use super::panes::{self, Kind};
use super::state::{Room, State, Wish};
use super::view;

fn answered() -> Look {
    let events = include_str!("fixtures/events.jsonl").lines().rev().map(|line| serde_json::from_str(line).unwrap());
    Look {
        status: serde_json::from_str(include_str!("fixtures/status.json")).unwrap(),
        servers: serde_json::from_str(include_str!("fixtures/servers.json")).unwrap(),
        events: events.collect(),
        fault: None,
    }
}

fn many(count: usize) -> Look {
    let domain = |number: usize| {
        json!({ "name": format!("V{number}"), "role": "BACKUP",
        "instances": [{ "name": format!("V{number}"), "addresses": [format!("10.0.{}.{}", number / 250, number % 250)] }] })
    };
    let mut look = answered();
    look.status["domains"] = (0..count).map(domain).collect();
    look
}

fn drawn(look: &Look, state: &State, (width, height): (u16, u16), colours: bool) -> (Buffer, Room) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    let mut room = Room::default();
    terminal.draw(|frame| room = view::draw(frame, look, &panes::of(look), state, colours)).unwrap();
    (terminal.backend().buffer().clone(), room)
}

fn words(buffer: &Buffer) -> String {
    let lines = buffer.content().chunks(usize::from(buffer.area.width).max(1));
    let line = |cells: &[ratatui::buffer::Cell]| cells.iter().map(|cell| cell.symbol()).collect::<String>();
    lines.map(|cells| line(cells).trim_end().to_owned() + "\n").collect()
}

fn picture(name: &str, look: &Look, state: &State, size: (u16, u16)) {
    let found = words(&drawn(look, state, size, false).0);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/cli/operator/top/fixtures").join(name);
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == wanted, "{name} differs (UPDATE=1 rewrites it); found:\n{found}");
}

fn press(state: &mut State, look: &Look, size: (u16, u16), keys: &[KeyCode]) -> Wish {
    let shown = panes::of(look);
    let kinds: Vec<Kind> = shown.iter().map(|pane| pane.kind).collect();
    keys.iter().fold(Wish::Draw, |_, key| {
        let room = drawn(look, state, size, false).1;
        state.on_key(KeyEvent::new(*key, KeyModifiers::NONE), &kinds, &room)
    })
}

#[test]
fn a_small_terminal_has_room_for_all_panes() {
    picture("80x24.txt", &answered(), &State::default(), (80, 24));
    picture("120x40.txt", &answered(), &State::default(), (120, 40));
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let mut look = answered();
    look.fault = Some(("nobody answers".to_owned(), Duration::from_secs(75)));
    look.status["maintenance"] = true.into();
    look.status["gate_passes"] = false.into();
    let peer = &mut look.status["peers"][0];
    (peer["silent"], peer["heard_ms"]) = (true.into(), 5000.0.into());
    peer["links"][1] = json!({ "name": "hb1", "up": false, "heard_ms": null, "rtt_ms": null, "loss": null });
    look.status["voters"][0]["answers"] = false.into();
    look.status["alerts"] =
        json!([{ "name": "isolated", "domain": "VI_1", "severity": "critical", "what": "W", "remedy": "R" }]);
    picture("faults.txt", &look, &State::default(), (80, 24));
}

#[test]
fn colours_are_used_only_where_they_are_wanted() {
    let look = answered();
    let colours = |buffer: &Buffer| {
        buffer.content().iter().filter(|cell| (cell.fg, cell.bg) != (Color::Reset, Color::Reset)).count()
    };
    let (plain, _) = drawn(&look, &State::default(), (80, 24), false);
    assert_eq!(colours(&plain), 0);
    let (coloured, _) = drawn(&look, &State::default(), (80, 24), true);
    assert_eq!(words(&plain), words(&coloured));
    let line = words(&coloured).lines().position(|line| line.starts_with("VI_1") && line.contains("MASTER")).unwrap();
    let green = (0..80).filter(|column| coloured[(*column, line as u16)].fg == Color::Green).count();
    assert_eq!(green, "MASTER".len());
}

#[test]
fn what_is_old_is_dim_and_what_is_new_is_not() {
    let dim = |look: &Look| {
        let (buffer, _) = drawn(look, &State::default(), (80, 24), true);
        buffer.content().iter().filter(|cell| cell.modifier.contains(Modifier::DIM) && cell.symbol() != " ").count()
    };
    let mut look = answered();
    assert_eq!(dim(&look), 0);
    look.fault = Some(("nobody answers".to_owned(), Duration::ZERO));
    assert!(dim(&look) > 500);
}

#[test]
fn a_thousand_instances_are_leafed_through() {
    let (look, size) = (many(1000), (80, 24));
    let mut state = State::default();
    let shows = |state: &State| words(&drawn(&look, state, size, false).0);
    let count = |state: &State| drawn(&look, state, size, false).1.panes.first().map(|(_, _, shown)| *shown).unwrap();
    let page = count(&state);
    assert!(
        page >= 5 && shows(&state).contains(&format!("Instances: 1000 BACKUP [1 to {page} of 1000]")),
        "{}",
        shows(&state)
    );
    press(&mut state, &look, size, &[KeyCode::PageDown, KeyCode::PageDown, KeyCode::Down, KeyCode::Up]);
    assert!(shows(&state).contains(&format!("[{} to {} of 1000]", 2 * page + 1, 3 * page)), "{}", shows(&state));
    press(&mut state, &look, size, &[KeyCode::End, KeyCode::Down]);
    assert!(shows(&state).contains(&format!("[{} to 1000 of 1000]", 1001 - page)) && shows(&state).contains("V999 "));
    press(&mut state, &look, size, &[KeyCode::Enter]);
    let alone = shows(&state);
    assert!(alone.contains("to 1000 of 1000]") && !alone.contains("Events") && count(&state) == 20, "{alone}");
    // Where there are fewer by now, the last of those are shown.
    let fewer = words(&drawn(&many(30), &state, size, false).0);
    assert!(fewer.contains("[11 to 30 of 30]") && fewer.contains("V29 "), "{fewer}");
    assert_eq!(press(&mut state, &look, size, &[KeyCode::Home, KeyCode::Esc]), Wish::Draw);
    assert!(!state.alone && shows(&state).contains("[1 to "));
    assert_eq!(press(&mut state, &look, size, &[KeyCode::Esc]), Wish::End);
}

#[test]
fn the_chosen_pane_goes_round_and_one_that_has_gone_is_chosen_no_more() {
    let (look, size) = (answered(), (80, 24));
    let mut state = State::default();
    let mut seen = Vec::new();
    for _ in 0..6 {
        press(&mut state, &look, size, &[KeyCode::Tab]);
        seen.push(state.chosen);
    }
    let wanted = [Kind::Leases, Kind::Links, Kind::Servers, Kind::Events, Kind::Instances, Kind::Leases];
    assert_eq!(seen, wanted, "without alerts there is no such pane");
    press(&mut state, &look, size, &[KeyCode::BackTab, KeyCode::BackTab]);
    assert_eq!(state.chosen, Kind::Events);
    (state.chosen, state.alone) = (Kind::Alerts, true);
    state.settle(&[Kind::Instances, Kind::Events]);
    assert_eq!((state.chosen, state.alone), (Kind::Instances, false));
}

#[test]
fn help_is_there_and_goes() {
    let (look, size) = (answered(), (80, 24));
    let mut state = State::default();
    press(&mut state, &look, size, &[KeyCode::Char('?')]);
    picture("help.txt", &look, &state, size);
    press(&mut state, &look, size, &[KeyCode::Esc]);
    assert!(!words(&drawn(&look, &state, size, false).0).contains("another pane"));
}

#[test]
fn no_size_and_no_answer_is_too_strange() {
    let strange = "\u{1b}[31m\n字字字字字字字字字字字字字字字字字字字字字字字字字字字字字字\u{7}".repeat(3);
    let mut bad = answered();
    bad.status["node"] = strange.clone().into();
    bad.status["domains"][0]["instances"][0]["name"] = strange.clone().into();
    bad.status["alerts"] = json!([{ "name": strange, "what": strange }]);
    let empty = Look { status: Value::Null, ..Look::default() };
    let odd = Look {
        status: json!({ "domains": [{}, 7], "peers": [{ "links": [{}] }], "voters": [null] }),
        servers: json!([1]),
        events: vec![json!(7)],
        fault: None,
    };
    for look in [answered(), bad, empty, odd, many(300)] {
        for (width, height) in
            (1..=90).step_by(7).flat_map(|width| (1..=40).step_by(3).map(move |height| (width, height)))
        {
            for (alone, help) in [(false, false), (true, true)] {
                let state = State { alone, help, ..State::default() };
                let (buffer, _) = drawn(&look, &state, (width, height), true);
                let text = words(&buffer);
                assert!(!text.chars().any(|letter| letter.is_control() && letter != '\n'), "{text}");
            }
        }
    }
}

#[test]
fn panes_never_have_more_lines_than_there_are() {
    for look in [answered(), many(1), many(20), many(300)] {
        let shown = panes::of(&look);
        for height in 0..60 {
            for chosen in shown.iter().map(|pane| pane.kind) {
                let state = State { chosen, ..State::default() };
                let parts = view::arrange(&shown, &state, height);
                let lines: usize = parts.iter().flatten().map(|part| 1 + usize::from(part.heads) + part.rows).sum();
                assert!(lines <= height.max(2), "{lines} of {height}: {parts:?}");
                let place = shown.iter().position(|pane| pane.kind == chosen).unwrap();
                assert!(height < 3 || shown[place].rows.is_empty() || parts[place].is_some_and(|part| part.rows > 0));
            }
        }
    }
}
