//! The words of a mail: one thing, or a digest of several.

use std::fmt::Write as _;

use super::news::{News, Server, What};

/// A mail, but for who gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    pub(super) body: String,
    /// The same for the same mail, should it be sent once more.
    pub(super) id: String,
}

impl Letter {
    /// Of what is due, in its order; `None` if that is nothing. So many before them were `dropped`.
    pub(super) fn of(news: &[&News], dropped: u64) -> Option<Self> {
        let leads = |news: &&&News| (news.is_first(), matches!(news.what, What::Transition { .. }));
        // Of several that are alike the last one says how things stand.
        let lead = news.iter().max_by_key(leads)?;
        let first = news.first()?;
        let more = match news.len() - 1 {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let subject = format!("[{}] {}{more}", lead.node, headline(&lead.what));
        let mut body = format!("keepone {} on {} tells:\n", env!("CARGO_PKG_VERSION"), lead.node);
        for one in news {
            let _ = write!(body, "\n{}  {}\n{}", one.time, headline(&one.what), details(&one.what));
        }
        if dropped > 0 {
            let _ = write!(
                body,
                "\n{dropped} that came before could not be kept until they could be mailed, and are in no mail: the event \
                 log of the node has them.\n"
            );
        }
        Some(Letter { subject, body, id: format!("{}.{}", first.id, news.len()) })
    }
}

/// One line.
fn headline(what: &What) -> String {
    match what {
        What::Transition { domain, from, to, .. } => format!("{domain}: {from} -> {to}"),
        What::Alert { name, domain, raised: true, severity, .. } => format!("ALERT {name}{}, {severity}", of(domain)),
        What::Alert { name, domain, raised: false, .. } => format!("over: {name}{}", of(domain)),
        What::Server(Server { service, server: None, state, .. }) => format!("virtual server {service}: {state}"),
        What::Server(Server { service, server: Some(server), state, .. }) => {
            format!("real server {server} of {service}: {state}")
        }
    }
}

fn of(domain: &Option<String>) -> String {
    domain.as_ref().map(|domain| format!(" of {domain}")).unwrap_or_default()
}

/// One line each, those that say nothing left out.
fn details(what: &What) -> String {
    let lines: Vec<(&str, String)> = match what {
        What::Transition { reason, evidence, epoch, priority, states, .. } => {
            let state = |of: &super::news::State| format!("{} {} {}", of.kind, of.name, of.state);
            let states = states.iter().map(state).collect::<Vec<_>>().join(", ");
            vec![
                ("now", states),
                ("why", reason.clone()),
                ("evidence", evidence.clone()),
                ("priority", priority.to_string()),
                ("epoch", epoch.clone().unwrap_or_default()),
            ]
        }
        What::Alert { raised, meaning, evidence, remedy, epoch, .. } => vec![
            ("meaning", if *raised { meaning.clone() } else { String::new() }),
            ("evidence", evidence.clone()),
            ("to do", remedy.clone()),
            ("epoch", epoch.clone().unwrap_or_default()),
        ],
        What::Server(server) => vec![("evidence", server.evidence.clone())],
    };
    let lines = lines.iter().filter(|(_, text)| !text.is_empty());
    lines.map(|(name, text)| format!("    {name:<9} {}\n", text.replace('\n', "\n              "))).collect()
}

#[cfg(test)]
mod tests {
    use super::super::news::{State, VERSION};
    use super::*;

    fn news(n: u32, what: What) -> News {
        let time = format!("2026-11-26T17:00:0{n}.000Z");
        News { version: VERSION, id: format!("a-{n}"), time, node: "n1".into(), what }
    }

    fn transition(from: &str, to: &str) -> What {
        What::Transition {
            domain: "VI_1".into(),
            from: from.into(),
            to: to.into(),
            reason: "claims".into(),
            evidence: "n2 silent for 300 ms".into(),
            epoch: Some("7-1-0000000000000005-2".into()),
            priority: 100,
            states: vec![State { kind: "instance".into(), name: "VI_1".into(), state: to.into(), priority: 100 }],
        }
    }

    fn alert(name: &str, raised: bool) -> What {
        What::Alert {
            name: name.into(),
            domain: Some("VI_1".into()),
            raised,
            severity: "critical".into(),
            meaning: "it means".into(),
            evidence: "it was seen".into(),
            remedy: if raised { "do this".into() } else { String::new() },
            epoch: None,
        }
    }

    #[test]
    fn one_change_says_who_what_and_why() {
        let one = news(1, transition("BACKUP", "MASTER"));
        let letter = Letter::of(&[&one], 0).unwrap();
        assert_eq!((letter.subject.as_str(), letter.id.as_str()), ("[n1] VI_1: BACKUP -> MASTER", "a-1.1"));
        let wanted = "\n2026-11-26T17:00:01.000Z  VI_1: BACKUP -> MASTER\n    now       instance VI_1 MASTER\n    why       \
                      claims\n    evidence  n2 silent for 300 ms\n    priority  100\n    epoch     \
                      7-1-0000000000000005-2\n";
        assert!(letter.body.ends_with(wanted), "{}", letter.body);
    }

    #[test]
    fn a_digest_is_headed_by_what_matters_most_and_keeps_the_order() {
        let all = [
            news(1, transition("MASTER", "FAULT")),
            news(2, alert("tracker-failed", true)),
            news(3, transition("FAULT", "MASTER")),
            news(4, alert("tracker-failed", false)),
        ];
        let letter = Letter::of(&all.iter().collect::<Vec<_>>(), 2).unwrap();
        assert_eq!(letter.subject, "[n1] VI_1: FAULT -> MASTER, and 3 more");
        let places: Vec<_> =
            ["MASTER -> FAULT\n", "ALERT tracker", "do this", "FAULT -> MASTER\n", "over: ", "2 that came"]
                .map(|words| letter.body.find(words).unwrap())
                .to_vec();
        assert!(places.is_sorted(), "{}", letter.body);
        let first = [news(1, transition("BACKUP", "MASTER")), news(2, alert("dual-master", true))];
        let letter = Letter::of(&first.iter().collect::<Vec<_>>(), 0).unwrap();
        assert_eq!(letter.subject, "[n1] ALERT dual-master of VI_1, critical, and 1 more");
        assert_eq!(Letter::of(&[], 0), None);
    }
}
