//! `keepone events`: the event log in words, and what comes.

use std::io;
use std::path::Path;
use std::thread;
use std::time::Duration;

use keepone_agent::event_log::{Log, files};
use keepone_agent::exit::{ExitCode as Code, Failure};
use keepone_agent::{calendar, wall_clock};
use serde_json::Value;

/// How often what comes is looked for.
const LOOK: Duration = Duration::from_millis(100);

/// Which of them.
pub(super) struct Wish {
    pub(super) follow: bool,
    pub(super) since: Option<String>,
    pub(super) domain: Option<String>,
    pub(super) json: bool,
}

/// Prints them.
pub(super) fn run(run_dir: &Path, wish: &Wish) -> Result<u8, Failure> {
    let since = wish.since.as_deref().map(|text| {
        let time = calendar::parse(text, wall_clock::utc()).map(calendar::format);
        time.ok_or_else(|| {
            let words = format!("{text} is no time: write 90s, 10m, 3h, 2d, or 2026-11-26T17:30 in UTC");
            Failure::say(Code::Usage, words)
        })
    });
    let since = since.transpose()?;
    let is_meant = |event: &Value| {
        let late = since.as_deref().is_none_or(|since| event["at"].as_str().is_some_and(|at| at >= since));
        late && wish.domain.as_deref().is_none_or(|domain| event["domain"] == domain)
    };
    // `head` has seen enough: there is nobody to go on for.
    let show = |line: &str| {
        let Ok(event) = serde_json::from_str::<Value>(line) else { return true };
        !is_meant(&event) || say_line(&if wish.json { line.to_owned() } else { words(&event, true) })
    };
    let (former, current) = files(run_dir);
    let unreadable = |path: &Path, error: &io::Error| {
        Failure::say(Code::Directory, format!("{} can't be read: {error}", path.display()))
    };
    // First the one that is written: were it full meanwhile, its lines would be in neither.
    let mut log = match Log::open(&current) {
        Ok(log) => Some(log),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(unreadable(&current, &error)),
    };
    match Log::open(&former) {
        Ok(mut log) => {
            while let Some(line) = log.next_line().map_err(|error| unreadable(&former, &error))? {
                if !show(&line) {
                    return Ok(0);
                }
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(unreadable(&former, &error)),
    }
    if log.is_none() && !wish.follow {
        let words = format!("no events are on record in {}: name another with --run-dir", run_dir.display());
        return Err(Failure::say(Code::Directory, words));
    }
    loop {
        if let Some(open) = &mut log {
            while let Some(line) = open.next_line().map_err(|error| unreadable(&current, &error))? {
                if !show(&line) {
                    return Ok(0);
                }
            }
        }
        if !wish.follow {
            return Ok(0);
        }
        thread::sleep(LOOK);
        let is_same = log.as_ref().is_some_and(|log| log.is_at(&current));
        if !is_same && let Ok(new) = Log::open(&current) {
            // What came before the change, to the file that has another name now.
            if let Some(open) = &mut log {
                while let Ok(Some(line)) = open.next_line() {
                    if !show(&line) {
                        return Ok(0);
                    }
                }
            }
            log = Some(new);
        }
    }
}

fn say_line(line: &str) -> bool {
    use std::io::Write as _;
    let mut out = io::stdout();
    writeln!(out, "{line}").and_then(|()| out.flush()).is_ok()
}

/// One of them in words; with its evidence, if that is wanted.
pub(super) fn words(event: &Value, with_evidence: bool) -> String {
    let text = |name: &str| event[name].as_str().unwrap_or("-");
    let at = text("at");
    let domain = event["domain"].as_str().unwrap_or("the whole node");
    let epoch = event["epoch"].as_str().map(|epoch| format!(" (epoch {epoch})")).unwrap_or_default();
    let evidence = Some(text("evidence")).filter(|words| with_evidence && !words.is_empty() && *words != "-");
    let evidence = evidence.map(|words| format!("\n    {words}")).unwrap_or_default();
    match text("kind") {
        "transition" => {
            let what = event["what"].as_str().unwrap_or_else(|| text("reason"));
            format!("{at} {} {domain}: {} → {}: {what}{epoch}{evidence}", text("node"), text("from"), text("to"))
        }
        "alert" if event["raised"] == true => {
            let remedy = Some(text("remedy")).filter(|_| with_evidence).map(|words| format!("\n    to do: {words}"));
            let (name, severity) = (text("name"), text("severity"));
            format!(
                "{at} {} {domain}: alert {name} ({severity}){epoch}{evidence}{}",
                text("node"),
                remedy.unwrap_or_default()
            )
        }
        "alert" => format!("{at} {} {domain}: alert {} is over{evidence}", text("node"), text("name")),
        _ => format!("{at} {}: {}", text("node"), text("what")),
    }
}
