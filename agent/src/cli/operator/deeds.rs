//! What is done by hand, and waited for.

use std::thread;
use std::time::Duration;

use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_agent::{clock, upgrade};
use keepone_arbiter::control::Request;
use serde_json::Value;

use super::{Agent, say};

/// How long what is done in milliseconds may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(10);
/// How long an upgrade may take that examines a huge configuration first.
const UPGRADED: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(20);

/// Takes the node out, and waits until it holds nothing.
pub(super) fn maintenance(agent: &Agent, on: bool) -> Result<u8, Failure> {
    let answer = agent.ask(&Request::new("maintenance").with("on", on))?;
    let was = answer["was"].as_bool().unwrap_or(false);
    if !on {
        let words = if was { "this node stands again for what it is configured for" } else { "it was not on" };
        return Ok(say(&format!("maintenance is off: {words}")));
    }
    let holds = |status: &Value| {
        let domains = status["domains"].as_array().cloned().unwrap_or_default();
        let held = domains.iter().filter(|domain| domain["role"] == "MASTER" || !domain["gate_open_ms"].is_null());
        held.filter_map(|domain| domain["name"].as_str().map(str::to_owned)).collect::<Vec<_>>()
    };
    let left = wait(agent, |status| Some(holds(status)).filter(Vec::is_empty))?;
    match left {
        Ok((_, after)) => Ok(say(&format!(
            "maintenance is on: nothing is held here after {} ms, and nothing is stood for until `keepone maintenance off`",
            after.as_millis()
        ))),
        Err(status) => {
            let words =
                format!("maintenance is on, but {} is still held: see `keepone why`", holds(&status).join(", "));
            Err(Failure::say(Code::Unexpected, words))
        }
    }
}

/// Has the program replaced, and waits until the next one has said how that went.
pub(super) fn upgrade(agent: &Agent) -> Result<u8, Failure> {
    let begin = clock::now();
    agent.ask(&Request::new("upgrade"))?;
    let path = upgrade::outcome(&agent.run_dir);
    while clock::now().since(begin) < UPGRADED {
        if let Ok(words) = std::fs::read_to_string(&path) {
            let words = format!("{} ({} ms)", words.trim_end(), clock::now().since(begin).as_millis());
            let refused = words.starts_with(upgrade::Outcome::Refused.as_str());
            return if refused { Err(Failure::say(Code::Unexpected, words)) } else { Ok(say(&words)) };
        }
        thread::sleep(LOOK);
    }
    let words = format!("nothing was heard of it for {UPGRADED:?}: see the log, and `keepone status`");
    Err(Failure::say(Code::Unexpected, words))
}

/// Hands over, and waits until the other says that it holds.
pub(super) fn handover(agent: &Agent, instance: &str, to: Option<&str>) -> Result<u8, Failure> {
    let mut request = Request::new("handover").with("instance", instance);
    if let Some(to) = to {
        request = request.with("to", to);
    }
    let answer = agent.ask(&request)?;
    let to = answer["to"].as_str().unwrap_or("?").to_owned();
    let is_it = |domain: &Value| {
        let instances = domain["instances"].as_array().cloned().unwrap_or_default();
        domain["name"] == instance || instances.iter().any(|one| one["name"] == instance)
    };
    let holder = |status: &Value| {
        let domains = status["domains"].as_array().cloned().unwrap_or_default();
        domains.into_iter().find(is_it).map(|domain| domain["holder"].clone()).unwrap_or_default()
    };
    match wait(agent, |status| (holder(status) == to.as_str()).then_some(()))? {
        Ok(((), after)) => {
            Ok(say(&format!("{instance}: {to} holds it, {} ms after this node was asked", after.as_millis())))
        }
        Err(status) => {
            let now = holder(&status);
            let now = now.as_str().unwrap_or("nobody that is known here");
            let words = format!("{instance} was given up for {to}, but {now} holds it: see `keepone why {instance}`");
            Err(Failure::say(Code::Unexpected, words))
        }
    }
}

/// Asks for the status until something is found in it; after that time, the last.
fn wait<T>(agent: &Agent, found: impl Fn(&Value) -> Option<T>) -> Result<Result<(T, Duration), Value>, Failure> {
    let begin = clock::now();
    loop {
        let status = agent.ask(&Request::new("status"))?;
        let after = clock::now().since(begin);
        if let Some(found) = found(&status) {
            return Ok(Ok((found, after)));
        }
        if after > LONGEST {
            return Ok(Err(status));
        }
        thread::sleep(LOOK);
    }
}
