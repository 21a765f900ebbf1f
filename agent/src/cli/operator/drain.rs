//! `keepone drain`: a real server gets no new connections, and perhaps one waits until the others have ended.

use std::thread;
use std::time::Duration;

use keepone_agent::clock;
use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_arbiter::control::Request;
use serde_json::Value;

use super::{Agent, say, show};

/// Between two looks at what is left.
const LOOK: Duration = Duration::from_millis(500);

/// A virtual server and a real server of it, by their names.
type Who = (String, String);

/// Empties a real server, or fills it again; where it was found.
pub(super) fn drain(agent: &Agent, server: &str, of: Option<&str>, on: bool) -> Result<Vec<Who>, Failure> {
    let mut request = Request::new("drain").with("server", server).with("on", on);
    if let Some(of) = of {
        request = request.with("of", of);
    }
    let answer = agent.ask(&request)?;
    let what = if on { "gets no new connections" } else { "gets connections as before" };
    let text = |one: &Value, what: &str| one[what].as_str().unwrap_or("?").to_owned();
    let found = answer["servers"].as_array().into_iter().flatten().map(|one| (text(one, "of"), text(one, "name")));
    let found: Vec<Who> = found.collect();
    for (of, name) in &found {
        say(&format!("{name} of {of} {what}"));
    }
    Ok(found)
}

/// Waits until none of them has connections; says of each when what it has left changes.
pub(super) fn wait(agent: &Agent, mut left: Vec<Who>, timeout_s: Option<u32>) -> Result<u8, Failure> {
    let begin = clock::now();
    let limit = timeout_s.map(|seconds| Duration::from_secs(seconds.into()));
    let mut said: Vec<(Who, String)> = Vec::new();
    while !left.is_empty() {
        let answer = agent.ask(&Request::new("servers").with("draining", true))?;
        if let Some(fault) = answer["connections_fault"].as_str() {
            let words = format!("it stays emptied, but its connections are not known: {fault}");
            return Err(Failure::say(Code::Unexpected, words));
        }
        let mut still = Vec::new();
        for who in left {
            let words = match standing(&answer, &who) {
                None => return Err(lost(&who)),
                Some(server) if is_empty(server) => String::from("it is empty"),
                Some(server) => {
                    still.push(who.clone());
                    show::left(server)
                }
            };
            if said.iter().all(|(of, before)| (of, before) != (&who, &words)) {
                say(&format!("{} of {}: {words}", who.1, who.0));
                said.retain(|(of, _)| *of != who);
                said.push((who, words));
            }
        }
        left = still;
        if left.is_empty() {
            break;
        }
        if limit.is_some_and(|limit| clock::now().since(begin) >= limit) {
            let words =
                format!("{} of them still have connections; they stay emptied: wait again, or `--undo`", left.len());
            return Err(Failure::say(Code::Unexpected, words));
        }
        thread::sleep(LOOK);
    }
    Ok(0)
}

/// How a real server stands; `None`: it is not emptied any more, or not there.
fn standing<'a>(answer: &'a Value, (of, name): &Who) -> Option<&'a Value> {
    let services = answer["virtual_servers"].as_array()?;
    let service = services.iter().find(|service| service["name"] == of.as_str())?;
    service["real_servers"].as_array()?.iter().find(|server| server["name"] == name.as_str())
}

/// In the kernel, and not only by what it is to be: with a weight there it would get new ones.
fn is_empty(server: &Value) -> bool {
    let connections = &server["connections"];
    let none = |what: &str| connections[what].as_u64().unwrap_or(0) == 0;
    ["active", "inactive", "kept", "kernel_weight"].into_iter().all(none)
}

fn lost((of, name): &Who) -> Failure {
    let words = format!(
        "{name} of {of} is not emptied any more: somebody undid it, a reload took it away, or a new worker has begun; \
         see `keepone servers`"
    );
    Failure::say(Code::Unexpected, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn empty_is_who_has_no_connections_and_no_weight_in_the_kernel() {
        let with = |active, inactive, kept, weight| {
            is_empty(&json!({ "connections":
                { "active": active, "inactive": inactive, "kept": kept, "kernel_weight": weight } }))
        };
        assert!(with(0, 0, 0, 0) && is_empty(&json!({ "connections": null })), "who is not in the table has none");
        assert!(!with(1, 0, 0, 0) && !with(0, 1, 0, 0) && !with(0, 0, 1, 0) && !with(0, 0, 0, 3));
    }

    #[test]
    fn one_is_found_by_both_names() {
        let server = |name: &str, active: u8| json!({ "name": name, "connections": { "active": active } });
        let answer = json!({ "virtual_servers": [
            { "name": "a", "real_servers": [server("x", 1)] },
            { "name": "b", "real_servers": [server("y", 2), server("x", 3)] },
        ] });
        let found = |of: &str, name: &str| standing(&answer, &(of.to_owned(), name.to_owned())).map(show::left);
        assert_eq!(found("b", "x").unwrap(), "3 active and 0 inactive connections left");
        assert_eq!(found("a", "y"), None);
        assert_eq!(found("c", "x"), None);
    }
}
