//! A recording of a real agent's core, replayed: the same settings and events must give the same actions,
//! to the byte (I25), and what is then known of each step is what the agent knew.

use std::io::{self, BufRead};

use keepone_proto::action::Action;
use keepone_proto::handed::NotResumed;
use keepone_proto::recording::{End, FORMAT, Header, Step, digest};
use keepone_proto::time::Instant;
use serde::Serialize;

/// What a replay showed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Events that were replayed.
    pub events: u64,
    /// Actions that followed.
    pub actions: u64,
    /// Changes of role among them.
    pub transitions: u64,
    /// Nanoseconds between the first and the last event.
    pub lasted_ns: u64,
    /// Why the recording ended before its node did.
    pub ended: Option<String>,
    /// The last line was cut off, as by a crash: it is left out.
    pub torn: bool,
    /// The first line whose actions are others than recorded.
    pub differs: Option<Difference>,
}

/// Where a replay and its recording part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The line of the file, from 1.
    pub line: u64,
    /// The boot clock of the event.
    pub t_ns: u64,
    /// The event in words.
    pub event: String,
    /// The actions that follow from it here.
    pub actions: Vec<String>,
}

/// A file that can't be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// It can't be read.
    #[error("cannot read it")]
    Read(#[from] io::Error),
    /// The first line is no header.
    #[error("line 1 is not the header that a recording begins with")]
    Header(#[source] serde_json::Error),
    /// It has no line.
    #[error("it is empty")]
    Empty,
    /// Another format.
    #[error("its format is {0}, and this program reads {FORMAT}: use the release that recorded it")]
    Format(u32),
    /// It goes on with what a former process has handed on, in a form of another release or torn.
    #[error("the node that it begins with can't be made: {0}")]
    Resumed(#[from] NotResumed),
    /// A line in the middle does not parse.
    #[error("line {line} is neither an event nor the end of a recording")]
    Line {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
    },
}

/// Replays a recording; `tell` is given each change of role and alert as it comes, or `every` action.
///
/// # Errors
/// What is no recording; a difference is none, but what was looked for.
pub fn replay(lines: impl BufRead, every: bool, tell: Option<&dyn Fn(&str)>) -> Result<Replayed, ReplayError> {
    let mut lines = lines.lines();
    let header = lines.next().ok_or(ReplayError::Empty)??;
    let header: Header = serde_json::from_str(&header).map_err(ReplayError::Header)?;
    if header.keepone_recording != FORMAT {
        return Err(ReplayError::Format(header.keepone_recording));
    }
    let mut node = header.node()?;
    let mut replayed = Replayed::default();
    let mut first = None;
    let mut lines = (2_u64..).zip(lines).peekable();
    while let Some((line, text)) = lines.next() {
        let text = text?;
        if let Ok(end) = serde_json::from_str::<End>(&text) {
            replayed.ended = Some(end.ended);
            break;
        }
        let step: Step = match serde_json::from_str(&text) {
            Ok(step) => step,
            Err(_) if lines.peek().is_none() => {
                replayed.torn = true;
                break;
            }
            Err(source) => return Err(ReplayError::Line { line, source }),
        };
        let words = tell.is_some_and(|_| every).then(|| format!("{:?}", step.e));
        let event = step.e.clone();
        let actions = node.handle(step.t, step.e);
        replayed.events += 1;
        replayed.actions += u64::try_from(actions.len()).unwrap_or(u64::MAX);
        let begun = *first.get_or_insert(step.t);
        replayed.lasted_ns = step.t.as_nanos().saturating_sub(begun.as_nanos());
        if let (Some(tell), Some(words)) = (tell, words) {
            tell(&format!("{} <- {words}", stamp(begun, step.t)));
        }
        for action in &actions {
            replayed.transitions += u64::from(matches!(action, Action::Transition(_)));
            if let Some((tell, words)) = tell.zip(in_words(action, every)) {
                tell(&format!("{} {words}", stamp(begun, step.t)));
            }
        }
        if digest(&actions) != step.a {
            replayed.differs = Some(Difference {
                line,
                t_ns: step.t.as_nanos(),
                event: format!("{event:?}"),
                actions: actions.iter().map(|action| format!("{action:?}")).collect(),
            });
            break;
        }
    }
    Ok(replayed)
}

fn stamp(begun: Instant, at: Instant) -> String {
    let micros = at.as_nanos().saturating_sub(begun.as_nanos()) / 1000;
    format!("{:>8}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

fn in_words(action: &Action, every: bool) -> Option<String> {
    match action {
        Action::Transition(transition) => Some(format!(
            "{} → {} ({}) {}",
            transition.from.as_str(),
            transition.to.as_str(),
            transition.reason,
            transition.evidence
        )),
        Action::Alert(alert) => {
            let raised = if alert.raised { "raised" } else { "over" };
            Some(format!("alert {} {raised}: {}", alert.name.as_str(), alert.evidence))
        }
        other => every.then(|| format!("-> {other:?}")),
    }
}

impl Replayed {
    /// The outcome in words.
    pub fn words(&self) -> String {
        let (events, actions) = (self.events, self.actions);
        let mut text = match &self.differs {
            None => format!("the same: {events} events gave the {actions} actions that were recorded"),
            Some(differs) => format!(
                "different in line {}, {} ns on the boot clock: {}\n  here it gives:\n    {}",
                differs.line,
                differs.t_ns,
                differs.event,
                if differs.actions.is_empty() { "nothing".to_owned() } else { differs.actions.join("\n    ") }
            ),
        };
        if self.torn {
            text.push_str("; the last line is cut off and left out");
        }
        if let Some(why) = &self.ended {
            text.push_str(&format!("; the recording ended before its node: {why}"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sim::plan::Plan;
    use keepone_proto::event::{Event, GateStrength};
    use keepone_proto::id::{Incarnation, InterfaceId};
    use keepone_proto::node::Restored;

    /// The first seconds of an agent that is alone, as the agent would have written them.
    fn recording() -> Vec<String> {
        let settings = Plan::for_scenarios().settings(0, Default::default(), 7);
        let header = Header {
            keepone_recording: FORMAT,
            version: "0".to_owned(),
            settings,
            incarnation: Incarnation(5),
            restored: Restored::default(),
            started: Instant::from_nanos(1_000_000),
            resumed: None,
        };
        let mut node = header.node().unwrap();
        let mut lines = vec![serde_json::to_string(&header).unwrap()];
        let at = |ms: u64| Instant::from_nanos(ms * 1_000_000);
        let interface = InterfaceId(0);
        let mut events = vec![
            (at(1), Event::Tick),
            (at(2), Event::Interface { interface, up: true, addresses: vec![Plan::address(0)] }),
            (at(3), Event::GateTest { number: 1, strength: GateStrength::Strong, fault: String::new() }),
            (
                at(4),
                Event::BeatReceived { link: keepone_proto::id::LinkId(0), from: Plan::node(1), bytes: vec![1, 254] },
            ),
        ];
        events.extend((1..40).map(|n| (at(4 + n * 50), Event::Tick)));
        for (t, e) in events {
            let a = digest(&node.handle(t, e.clone()));
            lines.push(serde_json::to_string(&Step { t, e, a }).unwrap());
        }
        lines
    }

    fn replayed(lines: &[String]) -> Result<Replayed, ReplayError> {
        replay(io::Cursor::new(lines.join("\n")), false, None)
    }

    #[test]
    fn what_was_recorded_replays_the_same() {
        let outcome = replayed(&recording()).unwrap();
        assert_eq!((outcome.differs.as_ref(), outcome.events, outcome.torn), (None, 43, false));
        assert!(outcome.actions > 20, "{outcome:?}");
    }

    #[test]
    fn a_recording_that_was_tampered_with_says_where() {
        let whole = recording();
        let mut other_time = whole.clone();
        let place = other_time.iter().position(|line| line.contains("54000000")).unwrap();
        let mut step: Step = serde_json::from_str(&other_time[place]).unwrap();
        step.t = Instant::from_nanos(1_900_000_000);
        other_time[place] = serde_json::to_string(&step).unwrap();
        let differs = replayed(&other_time).unwrap().differs.unwrap();
        assert!(differs.line > u64::try_from(place).unwrap(), "{differs:?}");

        let mut gone = whole.clone();
        gone.remove(1);
        assert_eq!(replayed(&gone).unwrap().differs.unwrap().line, 2, "its first deed is to clean up");

        let mut broken = whole.clone();
        broken[5] = "{".to_owned();
        assert!(matches!(replayed(&broken), Err(ReplayError::Line { line: 6, .. })));
    }

    #[test]
    fn a_last_line_that_a_crash_cut_off_is_left_out_and_an_early_end_is_told() {
        let mut lines = recording();
        let last = lines.pop().unwrap();
        lines.push(last[..last.len() / 2].to_owned());
        let outcome = replayed(&lines).unwrap();
        assert_eq!((outcome.torn, outcome.events, outcome.differs.is_none()), (true, 42, true));
        lines.pop();
        lines.push(serde_json::to_string(&End { ended: "full".to_owned() }).unwrap());
        assert_eq!(replayed(&lines).unwrap().ended.as_deref(), Some("full"));
    }

    #[test]
    fn what_is_no_recording_is_refused() {
        assert!(matches!(replay(io::Cursor::new(""), false, None), Err(ReplayError::Empty)));
        assert!(matches!(replayed(&["hello".to_owned()]), Err(ReplayError::Header(_))));
        let mut lines = recording();
        lines[0] = lines[0].replace(&format!("\"keepone_recording\":{FORMAT}"), "\"keepone_recording\":9");
        assert!(matches!(replayed(&lines), Err(ReplayError::Format(9))));
    }
}
