//! The agents' own word: `events.jsonl` in each run directory. It explains what was seen and is never
//! the measure of it.

use std::path::Path;

use serde_json::Value;

/// What an agent says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A change of role.
    Transition {
        /// From.
        from: String,
        /// To.
        to: String,
        /// The row of the decision table.
        reason: String,
        /// What it had seen.
        evidence: String,
    },
    /// An alert began or ended.
    Alert {
        /// Its stable name.
        name: String,
        /// Whether it began.
        raised: bool,
        /// What it had seen.
        evidence: String,
    },
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentEvent {
    /// When, by the agent, on the machine's boot clock.
    pub at: u64,
    /// The node, by its number.
    pub node: usize,
    /// What.
    pub said: Said,
}

fn text(value: &Value, key: &str) -> String {
    value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn parse(line: &str, node: usize) -> Option<AgentEvent> {
    let value: Value = serde_json::from_str(line).ok()?;
    let at = value.get("t_ns")?.as_u64()?;
    let said = match value.get("kind")?.as_str()? {
        "transition" => Said::Transition {
            from: text(&value, "from"),
            to: text(&value, "to"),
            reason: text(&value, "reason"),
            evidence: text(&value, "evidence"),
        },
        "alert" => Said::Alert {
            name: text(&value, "name"),
            raised: value.get("raised").and_then(Value::as_bool).unwrap_or(true),
            evidence: text(&value, "evidence"),
        },
        _ => return None,
    };
    Some(AgentEvent { at, node, said })
}

/// Every event in a run directory; lines of other kinds, and a line cut short by a kill, are left out.
pub fn read(run_dir: &Path, node: usize) -> Vec<AgentEvent> {
    let text = std::fs::read(run_dir.join("events.jsonl")).unwrap_or_default();
    String::from_utf8_lossy(&text).lines().filter_map(|line| parse(line, node)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transitions_and_alerts_are_read_and_everything_else_is_left_out() {
        let line = r#"{"kind":"transition","node":"n1","from":"Master","to":"Fenced","reason":"lease-lost","evidence":"x","t_ns":17}"#;
        let event = parse(line, 0).unwrap();
        assert_eq!(event.at, 17);
        assert!(matches!(event.said, Said::Transition { ref to, .. } if to == "Fenced"));
        let alert = parse(r#"{"kind":"alert","name":"heartbeat-link-down","raised":false,"t_ns":18}"#, 1).unwrap();
        assert!(matches!(alert.said, Said::Alert { ref name, raised: false, .. } if name == "heartbeat-link-down"));
        assert_eq!(parse(r#"{"kind":"start","t_ns":1}"#, 0), None);
        for end in 0..line.len() {
            assert_eq!(parse(&line[..end], 0), None);
        }
    }
}
