//! What `keepone voters` prints.

use std::time::Duration;

use keepone_proto::id::NodeId;
use keepone_proto::settings::{Move, Names, QuorumSettings};
use serde_json::{Map, Value, json};

use super::Scene;
use super::judge::{Answer, Heard};

/// Columns of the table.
const HEAD: [&str; 7] = ["voter", "answers", "generation", "oldest accepted", "since", "newest lent under", "lends"];

/// For a person: the table, then the steps.
pub(super) fn text(scene: &Scene<'_>, heard: &Heard, steps: &[String]) -> String {
    let rows: Vec<[String; 7]> = scene.asked().map(|id| row(scene, id, heard)).collect();
    let head = HEAD.map(String::from);
    let all = || std::iter::once(&head).chain(&rows);
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let line = |row: &[String; 7]| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        format!("{}\n", cells.join("  ").trim_end())
    };
    let mut text: String = all().map(line).collect();
    text.push('\n');
    if steps.is_empty() {
        text.push_str(&format!("complete: all voters agree on generation {}\n", scene.quorum.generation));
    }
    for step in steps {
        text.push_str(&format!("to do: {step}\n"));
    }
    text
}

fn row(scene: &Scene<'_>, id: NodeId, heard: &Heard) -> [String; 7] {
    let mut name = scene.names.node(id).into_owned();
    let votes = !scene.others.contains(&id);
    if !votes {
        name.push_str(" (no vote)");
    } else if !scene.quorum.members().contains(&id) {
        name.push_str(" (former)");
    } else if !scene.quorum.voters.contains(&id) {
        name.push_str(" (joint)");
    }
    let nothing = || String::from("-");
    let Some(Ok(Answer { standing, from_disk, .. })) = heard.get(&id) else {
        return [name, String::from("no"), nothing(), nothing(), nothing(), nothing(), nothing()];
    };
    let answers = if *from_disk { "this node" } else { "yes" };
    if !votes {
        let generation = standing.generation.to_string();
        return [name, String::from(answers), generation, nothing(), nothing(), nothing(), nothing()];
    }
    let opened = standing.opened.generation;
    let mut lends = if *from_disk { nothing() } else { standing.lent.to_string() };
    if standing.quiet_for > Duration::ZERO {
        lends.push_str(&format!(", nobody new for {}", span(standing.quiet_for)));
    }
    [
        name,
        String::from(answers),
        standing.generation.to_string(),
        standing.floor.to_string(),
        span(standing.floor_for),
        if opened == 0 { nothing() } else { opened.to_string() },
        lends,
    ]
}

/// `3.2 s`, `12 min`, `1 h` (a report counts up to 71 minutes).
fn span(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 60..3600 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

/// For a program.
pub(super) fn json(scene: &Scene<'_>, heard: &Heard, steps: &[String]) -> String {
    let voter = |id: NodeId| {
        let mut voter = Map::new();
        let mut put = |key: &str, value: Value| voter.insert(key.to_owned(), value);
        put("name", json!(scene.names.node(id)));
        put("id", json!(id.get()));
        put("votes", json!(scene.quorum.voters.contains(&id)));
        put("answers", json!(matches!(heard.get(&id), Some(Ok(_)))));
        if let Some(Ok(Answer { standing, from_disk, .. })) = heard.get(&id) {
            put("from_disk", json!(from_disk));
            put("generation", json!(standing.generation));
        }
        match heard.get(&id) {
            Some(Ok(Answer { standing, from_disk, .. })) if !scene.others.contains(&id) => {
                put("oldest_accepted", json!(standing.floor));
                put("oldest_accepted_for_ms", json!(standing.floor_for.as_millis()));
                put("newest_lent_under", json!(standing.opened.generation));
                if !from_disk {
                    put("lends", json!(standing.lent));
                    put("quiet_for_ms", json!(standing.quiet_for.as_millis()));
                }
            }
            Some(Err(why)) => {
                put("error", json!(why));
            }
            Some(Ok(_)) | None => {}
        }
        Value::Object(voter)
    };
    let voters: Vec<Value> = scene.asked().map(voter).collect();
    let (complete, former) = (steps.is_empty(), scene.quorum.former.as_ref());
    let list = |ids: &[NodeId]| ids.iter().map(|id| scene.names.node(*id).into_owned()).collect::<Vec<_>>();
    let moving = scene.quorum.moving.as_ref().map(|moving| match moving {
        Move::Joint(from) => json!({ "joint_voters": list(from) }),
        Move::After(from) => json!({ "former_joint_voters": list(from) }),
    });
    let former = former.map(|former| former.iter().map(|id| scene.names.node(*id)).collect::<Vec<_>>());
    let all = json!({
        "cluster": scene.cluster.name,
        "generation": scene.quorum.generation,
        "former_voters": former,
        "moving": moving,
        "voters": voters,
        "complete": complete,
        "to_do": steps,
    });
    format!("{all:#}\n")
}

/// The next configuration for a program.
pub(super) fn next_in_json(next: &QuorumSettings, names: &Names) -> String {
    let list = |ids: &[NodeId]| ids.iter().map(|id| names.node(*id).into_owned()).collect::<Vec<_>>();
    let former = next.former.as_deref().map(list);
    let next = json!({ "voters": list(&next.voters), "former_voters": former, "generation": next.generation });
    format!("{next:#}\n")
}
