//! One thing worth telling, as it stands on disk and in a webhook's body.
//!
//! What must stay true: a field once published keeps its name and meaning; another one may come. What changes a
//! meaning is another [`VERSION`].

use serde::{Deserialize, Serialize};

/// Of the form.
pub(super) const VERSION: u8 = 1;
/// Octets of evidence that are told; the event log has all of it.
const EVIDENCE: usize = 4096;
/// Alerts that can't wait for what came before them, nor for a digest.
const FIRST: [&str; 3] = ["self-demoted", "dual-master", "lease-lost"];

/// One thing worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct News {
    /// [`VERSION`].
    pub version: u8,
    /// Never given twice: the key by which a receiver knows what it has seen.
    pub id: String,
    /// When, in UTC (RFC 3339).
    pub time: String,
    /// Who tells.
    pub node: String,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// What there is to tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(super) enum What {
    /// A change of role.
    Transition {
        domain: String,
        from: String,
        to: String,
        reason: String,
        evidence: String,
        epoch: Option<String>,
        priority: u8,
        /// What its instances and its group have become, in the order in which scripts are told.
        states: Vec<State>,
    },
    /// The begin or the end of an alert.
    Alert {
        name: String,
        /// `None`: of the whole node.
        domain: Option<String>,
        raised: bool,
        severity: String,
        meaning: String,
        evidence: String,
        remedy: String,
        epoch: Option<String>,
    },
    /// A virtual or a real server.
    Server(Server),
}

/// What an instance or a group has become.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    /// `instance` or `group`.
    pub kind: String,
    pub name: String,
    /// `MASTER`, `BACKUP`, `FAULT`, `STOP` or `DELETED`.
    pub state: String,
    pub priority: u8,
}

/// A virtual or a real server that came or went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// The virtual server, as its FIFO line has it: `[192.0.2.1]:tcp:80`.
    pub service: String,
    /// The real server; `None`: the virtual server as a whole.
    pub server: Option<String>,
    /// `UP` or `DOWN`.
    pub state: String,
    /// What was seen.
    pub evidence: String,
    /// Whether it has `smtp_alert`.
    #[serde(skip)]
    pub mail: bool,
}

impl News {
    /// It goes before what came before it.
    pub(super) fn is_first(&self) -> bool {
        matches!(&self.what, What::Alert { name, raised: true, .. } if FIRST.contains(&name.as_str()))
    }
}

/// Not more than a receiver can be expected to take.
pub(super) fn bounded(evidence: &str) -> String {
    let end = (0..=EVIDENCE.min(evidence.len())).rev().find(|at| evidence.is_char_boundary(*at)).unwrap_or(0);
    let more = if end < evidence.len() { " …" } else { "" };
    format!("{}{more}", evidence.get(..end).unwrap_or(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_reads_back_and_has_the_names_that_receivers_know() {
        let what = What::Alert {
            name: "dual-master".into(),
            domain: Some("VI_1".into()),
            raised: true,
            severity: "critical".into(),
            meaning: "m".into(),
            evidence: "e".into(),
            remedy: "r".into(),
            epoch: None,
        };
        let time = "2026-11-26T17:00:00.250Z".to_owned();
        let news = News { version: VERSION, id: "1-1".into(), time, node: "n1".into(), what };
        let text = serde_json::to_string(&news).unwrap();
        let wanted = r#"{"version":1,"id":"1-1","time":"2026-11-26T17:00:00.250Z","node":"n1","kind":"alert","name":"dual-master","domain":"VI_1","raised":true,"severity":"critical","meaning":"m","evidence":"e","remedy":"r","epoch":null}"#;
        assert_eq!(text, wanted);
        assert_eq!(serde_json::from_str::<News>(&text).unwrap(), news);
        assert!(news.is_first());
    }

    #[test]
    fn evidence_is_cut_between_characters() {
        let long = format!("x{}", "ä".repeat(3000));
        let cut = bounded(&long);
        assert!(cut.ends_with("ä …") && cut.len() <= EVIDENCE + 4, "{}", cut.len());
        assert_eq!(bounded("short"), "short");
    }
}
