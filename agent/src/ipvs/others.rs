//! What somebody else does to our virtual servers, for the core, which makes an alert of it.

use keepone_proto::event::Event;
use tokio::sync::mpsc::Sender;

/// So many changes are named.
const MOST: usize = 5;

/// The way to the core, and what it was told last.
#[derive(Debug)]
pub(super) struct Others {
    events: Sender<Event>,
    told: Option<String>,
}

impl Others {
    pub(super) fn new(events: Sender<Event>) -> Self {
        Others { events, told: None }
    }

    /// What a look has found: a quiet one ends it. What finds no room is told by the next look that finds something else
    /// than was told.
    pub(super) fn tell(&mut self, lines: &[String]) {
        let words = words(lines);
        if self.told != words && self.events.try_send(Event::ServersSeen { others: words.clone() }).is_ok() {
            self.told = words;
        }
    }
}

fn words(lines: &[String]) -> Option<String> {
    let shown = lines.iter().take(MOST).map(String::as_str).collect::<Vec<_>>().join("; ");
    match lines.len() {
        0 => None,
        count if count > MOST => Some(format!("{shown}; and {} more", count - MOST)),
        _ => Some(shown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_once_until_it_is_something_else_and_a_quiet_look_ends_it() {
        let (events, mut told) = tokio::sync::mpsc::channel(1);
        let mut others = Others::new(events);
        let lines = |count: usize| (1..=count).map(|number| format!("change {number}")).collect::<Vec<_>>();
        let mut next = || match told.try_recv() {
            Ok(Event::ServersSeen { others }) => Some(others),
            _ => None,
        };
        others.tell(&[]);
        assert_eq!(next(), None, "nothing was wrong");
        others.tell(&lines(1));
        others.tell(&lines(1));
        assert_eq!((next(), next()), (Some(Some("change 1".to_owned())), None));
        others.tell(&lines(7));
        // There is no room for it.
        others.tell(&[]);
        let many = "change 1; change 2; change 3; change 4; change 5; and 2 more";
        assert_eq!((next(), next()), (Some(Some(many.to_owned())), None));
        others.tell(&[]);
        assert_eq!((next(), next()), (Some(None), None));
    }
}
