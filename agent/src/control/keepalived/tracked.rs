//! What instances watch, and by whom each tracker is watched.

use keepone_config::Config;
use keepone_config::model::{ArgumentMatch, Tracked, Trackers, Weight};

use super::data::{Text, say, user_of, weight};
use super::{Of, words};

/// What an instance watches; that whose weight does not count in its sync group is not watched.
pub(super) fn of_instance(text: &mut Text, of: Of<'_>) {
    let Of { config, place, instance, .. } = of;
    let counts = config.weights_count(place);
    let others = instance.track_interface.iter().filter(|track| !is_own(of, &track.interface));
    let others = others.map(|track| (track, Weight { value: track.weight.into(), reverse: track.reverse }));
    let others = others.filter(|(_, of)| counts || of.value == 0);
    text.list(3, "Tracked interfaces :", others.map(|(track, of)| format!("{} {}", track.interface, weight(of))));
    let trackers = &instance.options.trackers;
    list(text, config, trackers, "Tracked processes :", counts);
}

/// What the instances of a sync group watch together.
pub(super) fn of_group(text: &mut Text, config: &Config, trackers: &Trackers) {
    list(text, config, trackers, "Tracked process :", true);
}

fn list(text: &mut Text, config: &Config, trackers: &Trackers, processes: &str, counts: bool) {
    let sources = &config.trackers;
    let lines = |of: &[Tracked], comma: &str, name: &dyn Fn(usize) -> Option<String>| -> Vec<String> {
        let of = of.iter().filter(|tracked| counts || tracked.weight.value == 0);
        of.filter_map(|one| Some(format!("{}{comma} {}", name(one.tracker)?, weight(one.weight)))).collect()
    };
    let script = |at: usize| sources.scripts.get(at).map(|script| script.name.clone());
    text.list(3, "Tracked scripts :", lines(&trackers.scripts, "", &script));
    let file = |at: usize| sources.files.get(at).map(|file| file.name.clone());
    text.list(3, "Tracked files :", lines(&trackers.files, ",", &file));
    let process = |at: usize| sources.processes.get(at).map(|process| process.name.clone());
    text.list(3, processes, lines(&trackers.processes, ",", &process));
}

/// Whether an interface is the instance's: that below its own one, too.
fn is_own(of: Of<'_>, name: &str) -> bool {
    name == of.instance.interface || of.own.own(of.place).is_some_and(|own| own.name == name)
}

pub(super) fn tracks_its_own(of: Of<'_>) -> bool {
    of.instance.track_interface.iter().any(|track| is_own(of, &track.interface))
}

/// The sections of scripts, files and processes.
pub(super) fn sections(text: &mut Text, config: &Config) {
    let sources = &config.trackers;
    if !sources.scripts.is_empty() {
        text.section("VRRP Scripts");
    }
    for (at, script) in sources.scripts.iter().enumerate() {
        text.line(1, format_args!("VRRP Script = {}", script.name));
        say!(text, "Command = {}", words::command(&script.script));
        // keepalived has whole seconds, and 0 for a timeout that is not written.
        if script.interval.subsec_nanos() == 0 {
            say!(text, "Interval = {} sec", script.interval.as_secs());
        }
        if script.timeout != script.interval && script.timeout.subsec_nanos() == 0 {
            say!(text, "Timeout = {} sec", script.timeout.as_secs());
        }
        say!(text, "Weight = {}", number(script.weight));
        say!(text, "Rise = {}", script.rise);
        say!(text, "Fall = {}", script.fall);
        if let Some((uid, gid)) = user_of(config, &script.script) {
            say!(text, "Script uid:gid = {uid}:{gid}");
        }
        watchers(text, config, at, |trackers| &trackers.scripts);
    }
    if !sources.files.is_empty() {
        text.section("VRRP Track files");
    }
    for (at, file) in sources.files.iter().enumerate() {
        text.line(1, format_args!("Track file = {}", file.name));
        say!(text, "File = {}", file.file.display());
        say!(text, "Weight = {}", number(file.weight));
        watchers(text, config, at, |trackers| &trackers.files);
    }
    if !sources.processes.is_empty() {
        text.section("VRRP Track processes");
    }
    for (at, process) in sources.processes.iter().enumerate() {
        text.line(1, format_args!("VRRP Track process = {}", process.name));
        say!(text, "Process = {}", process.command.join(" "));
        let arguments = match process.arguments {
            ArgumentMatch::Any | ArgumentMatch::NoArguments => None,
            ArgumentMatch::Exact => Some("exact"),
            ArgumentMatch::Initial => Some("initial"),
            ArgumentMatch::Partial => Some("partial"),
        };
        if let Some(arguments) = arguments {
            say!(text, "Param match = {arguments}");
        }
        say!(text, "Min processes = {}", process.quorum);
        if let Some(most) = process.quorum_max {
            say!(text, "Max processes = {most}");
        }
        say!(text, "Weight = {}", number(process.weight));
        say!(text, "Terminate delay = {:.6}s", process.terminate_delay.as_secs_f64());
        say!(text, "Fork delay = {:.6}s", process.fork_delay.as_secs_f64());
        // Arguments are compared on the whole line.
        say!(text, "Full command = {}", process.full_command || process.arguments != ArgumentMatch::Any);
        watchers(text, config, at, |trackers| &trackers.processes);
    }
}

fn number(of: Weight) -> String {
    format!("{}{}", of.value, if of.reverse { " reverse" } else { "" })
}

/// The instances that go by a tracker, by themselves or with their group.
fn watchers(text: &mut Text, config: &Config, tracker: usize, of: impl Fn(&Trackers) -> &Vec<Tracked>) {
    let mut all = Vec::new();
    for (place, instance) in config.instances.iter().enumerate() {
        let group = config.sync_groups.iter().find(|group| group.instances.contains(&place));
        let counts = config.weights_count(place);
        let both = of(&instance.options.trackers).iter().chain(group.into_iter().flat_map(|group| of(&group.trackers)));
        let its = both.filter(|one| one.tracker == tracker && (counts || one.weight.value == 0));
        all.extend(its.map(|one| format!("{}, {}", instance.name, weight(one.weight))));
    }
    text.list(3, "Tracking instances :", all);
}
