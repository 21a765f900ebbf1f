//! What is watched (`vrrp_script`, `track_file`, ...), and the `track_` lines of who watches it.

use std::path::PathBuf;
use std::time::Duration;

use crate::keyword::{BFD_INSTANCE, TRACK_FILE, VRRP_SCRIPT, VRRP_TRACK_FILE, VRRP_TRACK_PROCESS};
use crate::model::{ArgumentMatch, BfdInstance, FileTracker, InitFile, ProcessTracker, Script, ScriptTracker, Weight};
use crate::raw::{RawScript, RawSources, RawTracked};
use crate::source::At;
use crate::tree::{Item, Word};

use super::{Lower, Wanted, value};

const MILLI: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Scripts, interfaces, processes and sessions: beyond, keepalived cuts.
const MOST: i32 = 253;
/// What keepalived's `int` holds.
const INT: u64 = 2_147_483_647;

impl Lower<'_> {
    pub(super) fn vrrp_script(&mut self, raw: &mut RawSources, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let (mut command, mut user, mut timeout) = (None, None, None);
        let mut script = RawScript {
            name: name.place.clone(),
            tracker: ScriptTracker {
                name: name.value.clone(),
                script: Script { command: Vec::new(), user: None, group: None },
                interval: SECOND,
                timeout: SECOND,
                weight: Weight::default(),
                rise: 1,
                fall: 1,
                init_fail: false,
            },
            timeout: None,
            weight: None,
        };
        let tracker = &mut script.tracker;
        let weight = &mut script.weight;
        self.each(block.items(), &VRRP_SCRIPT, |lower, item| {
            let times = || value::number(1..=INT, "write how many in a row decide; the default is 1");
            let span = || value::duration(MILLI..=SECOND * 4294);
            match item.keyword.text.as_str() {
                "script" => command = lower.command(item),
                "interval" => tracker.interval = lower.plain(item, span()).unwrap_or(SECOND),
                "timeout" => timeout = lower.value(item, span()),
                "weight" => {
                    tracker.weight = lower.weight(item, MOST).unwrap_or_default();
                    *weight = Some(item.place());
                }
                "rise" => tracker.rise = lower.plain(item, times()).unwrap_or(1),
                "fall" => tracker.fall = lower.plain(item, times()).unwrap_or(1),
                "user" => user = lower.user(item),
                "init_fail" => tracker.init_fail = lower.is_on(item),
                _ => lower.unread(item),
            }
        });
        tracker.timeout = timeout.as_ref().map_or(tracker.interval, |at| at.value);
        script.timeout = timeout.map(|at| at.place);
        let (user, group) = user.map_or((None, None), |(user, group)| (Some(user), group));
        let command = self.needs(block, &name, &["script"], command, "add `script \"/path/of/command arguments\"`");
        match command {
            Some(command) => {
                script.tracker.script = Script { command, user, group };
                raw.scripts.push(script);
            }
            None => raw.unread.push(name.value),
        }
    }

    pub(super) fn vrrp_track_process(&mut self, raw: &mut RawSources, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let (mut command, mut arguments) = (None, None);
        let mut tracker = ProcessTracker {
            name: name.value.clone(),
            command: Vec::new(),
            arguments: ArgumentMatch::Any,
            full_command: false,
            weight: Weight::default(),
            quorum: 1,
            quorum_max: None,
            terminate_delay: Duration::ZERO,
            fork_delay: Duration::ZERO,
        };
        self.each(block.items(), &VRRP_TRACK_PROCESS, |lower, item| {
            let delay = || value::duration(Duration::ZERO..=HOUR);
            match item.keyword.text.as_str() {
                "process" => command = lower.command(item),
                "param_match" => arguments = Some(lower.argument_match(item)),
                "weight" => tracker.weight = lower.weight(item, 254).unwrap_or_default(),
                "quorum" => {
                    let help = "write how many must run at least; the default is 1";
                    tracker.quorum = lower.plain(item, value::number(1..=65535, help)).unwrap_or(1);
                }
                "quorum_max" => {
                    tracker.quorum_max = lower.plain(item, value::number(0..=65535, "write how many may run at most"));
                }
                "delay" => {
                    let delay = lower.plain(item, delay()).unwrap_or_default();
                    (tracker.terminate_delay, tracker.fork_delay) = (delay, delay);
                }
                "terminate_delay" => tracker.terminate_delay = lower.plain(item, delay()).unwrap_or_default(),
                "fork_delay" => tracker.fork_delay = lower.plain(item, delay()).unwrap_or_default(),
                "full_command" => tracker.full_command = lower.is_on(item),
                _ => lower.unread(item),
            }
        });
        if let Some(most) = tracker.quorum_max.filter(|most| *most < tracker.quorum) {
            let message = format!("`{}`: quorum_max {most} is below the quorum {}", name.value, tracker.quorum);
            self.report.error(&name.place, message, "raise quorum_max, or leave it out");
        }
        match self.needs(block, &name, &["process"], command, "add `process PROGRAM`") {
            Some(command) => {
                let given = if command.len() > 1 { ArgumentMatch::Exact } else { ArgumentMatch::Any };
                tracker.arguments = arguments.flatten().unwrap_or(given);
                tracker.command = command;
                raw.processes.push(At::new(tracker, name.place));
            }
            None => raw.unread.push(name.value),
        }
    }

    fn argument_match(&mut self, item: &Item) -> Option<ArgumentMatch> {
        if item.words.is_empty() {
            return Some(ArgumentMatch::NoArguments);
        }
        self.plain(item, |text| match text {
            "none" => Ok(ArgumentMatch::NoArguments),
            "initial" => Ok(ArgumentMatch::Initial),
            "partial" => Ok(ArgumentMatch::Partial),
            _ => Err(Wanted::new("none, initial or partial", "leave it out to compare all arguments")),
        })
    }

    pub(super) fn track_file(&mut self, raw: &mut RawSources, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let table = if block.keyword.text == "track_file" { &TRACK_FILE } else { &VRRP_TRACK_FILE };
        let (mut file, mut weight, mut init) = (None, Weight { value: 1, reverse: false }, None);
        self.each(block.items(), table, |lower, item| match item.keyword.text.as_str() {
            "file" => file = lower.path(item),
            "weight" => weight = lower.weight(item, 254).unwrap_or(weight),
            "init_file" => init = lower.init_file(item),
            _ => lower.unread(item),
        });
        match self.needs(block, &name, &["file"], file, "add `file /path/of/a/file`") {
            Some(file) => {
                let file: PathBuf = file.value;
                raw.files.push(At::new(FileTracker { name: name.value, file, weight, init }, name.place));
            }
            None => raw.unread.push(name.value),
        }
    }

    fn init_file(&mut self, item: &Item) -> Option<InitFile> {
        let mut init = InitFile { value: 0, overwrite: false };
        for word in &item.words {
            if word.text == "overwrite" {
                init.overwrite = true;
                continue;
            }
            let help = "write a whole number, `overwrite`, or both";
            init.value = self.word("init_file", word, value::integer(-2_147_483_648..=2_147_483_647, help))?.value;
        }
        Some(init)
    }

    pub(super) fn bfd_instance(&mut self, raw: &mut RawSources, block: &Item) {
        let Some(name) = self.value(block, bfd_name) else { return };
        let mut neighbor = None;
        let (mut vrrp, mut checker, mut hops, mut hoplimit) = (false, false, Some(0), None);
        let mut session = BfdInstance {
            name: name.value.clone(),
            neighbor: std::net::Ipv4Addr::UNSPECIFIED.into(),
            source: None,
            min_rx: MILLI * 10,
            min_tx: MILLI * 10,
            idle_tx: SECOND,
            multiplier: 5,
            passive: false,
            hop_limit: 255,
            max_hops: Some(0),
            multihop: false,
            weight: Weight::default(),
            for_vrrp: true,
            for_checkers: true,
        };
        self.each(block.items(), &BFD_INSTANCE, |lower, item| match item.keyword.text.as_str() {
            "neighbor_ip" | "neighbour_ip" => neighbor = lower.value(item, value::address),
            "source_ip" => session.source = lower.plain(item, value::address),
            "min_rx" => session.min_rx = lower.millis(item, 1).unwrap_or(session.min_rx),
            "min_tx" => session.min_tx = lower.millis(item, 1).unwrap_or(session.min_tx),
            "idle_tx" => session.idle_tx = lower.millis(item, 1000).unwrap_or(session.idle_tx),
            "multiplier" => {
                let help = "write after how many lost packets the session is down; the default is 5";
                session.multiplier = lower.plain(item, value::number(1..=255, help)).unwrap_or(5);
            }
            "passive" => session.passive = lower.is_on(item),
            "ttl" | "hoplimit" => {
                hoplimit =
                    lower.plain(item, value::number(1..=255, "write 255 unless the neighbour is beyond routers"));
            }
            "max_hops" => hops = lower.plain(item, value::integer(-1..=255, "write 0 on one link; -1 for any")),
            "multihop" => session.multihop = lower.is_on(item),
            "weight" => session.weight = lower.weight(item, MOST).unwrap_or_default(),
            "vrrp" => vrrp = lower.is_on(item),
            "checker" => checker = lower.is_on(item),
            _ => lower.unread(item),
        });
        // 255 is no bound, as -1 is.
        session.max_hops = hops.and_then(|hops| u8::try_from(hops).ok()).filter(|hops| *hops != 255);
        (session.for_vrrp, session.for_checkers) = (vrrp || !checker, checker || !vrrp);
        let help = "add `neighbor_ip ADDRESS`, the other end of the session";
        let Some(neighbor) = self.needs(block, &name, &["neighbor_ip", "neighbour_ip"], neighbor, help) else {
            return raw.unread.push(name.value);
        };
        session.neighbor = neighbor.value;
        // keepalived has 64 for IPv6, which no neighbour that keeps to RFC 5881, 5, takes.
        session.hop_limit = hoplimit.unwrap_or(255);
        if session.source.is_some_and(|source| source.is_ipv4() != neighbor.value.is_ipv4()) {
            let message = format!("`{}`: source_ip and neighbor_ip are of different families", name.value);
            self.report.error(&neighbor.place, message, "write both as IPv4 or both as IPv6");
        }
        raw.bfd.push(At::new(session, name.place));
    }

    /// Milliseconds, as BFD's keywords have them; a unit may be written.
    fn millis(&mut self, item: &Item, least: u32) -> Option<Duration> {
        let bounds = MILLI * least..=MILLI * 4_294_967;
        self.plain(item, |text| {
            let plain = text.bytes().all(|b| b.is_ascii_digit());
            value::duration(bounds)(&if plain { format!("{text}ms") } else { text.to_owned() })
        })
    }

    /// What a block can't do without; a complaint if it isn't written at all.
    pub(super) fn needs<T>(
        &mut self,
        block: &Item,
        name: &At<String>,
        keywords: &[&str],
        found: Option<T>,
        help: &str,
    ) -> Option<T> {
        if found.is_none() && !block.items().iter().any(|item| keywords.contains(&item.keyword.text.as_str())) {
            let keyword = keywords.first().copied().unwrap_or_default();
            let message = format!("{} `{}` has no {keyword}", block.keyword.text, super::shorten(&name.value));
            self.report.error(&name.place, message, help);
        }
        found
    }

    /// `N [reverse|noreverse]`.
    pub(super) fn weight(&mut self, item: &Item, most: i32) -> Option<Weight> {
        let (number, rest) = item.words.split_first()?;
        let value = self.weight_value(number, most)?;
        let reverse = match rest {
            [] => false,
            [word] if word.text == "reverse" => true,
            [word] if word.text == "noreverse" => false,
            [word, ..] => {
                let message = format!("`{}` after a weight", super::shorten(&word.text));
                self.report.error(&word.place, message, "write `reverse`, or nothing");
                return None;
            }
        };
        Some(Weight { value, reverse })
    }

    /// 254 is cut as keepalived cuts it, where 254 can't be.
    pub(super) fn weight_value(&mut self, word: &Word, most: i32) -> Option<i32> {
        let bound = i64::from(most.max(254));
        let help = "0 makes a failure a FAULT; another number moves the priority";
        let value = self.word("weight", word, value::integer(-bound..=bound, help))?.value;
        let value = i32::try_from(value).ok()?;
        if value.abs() > most {
            let message = format!("a weight of {value} is cut to {}", value.clamp(-most, most));
            let help = "write 0 if a failure is to be a FAULT; the priority moves by 253 at most";
            self.report.warning(&word.place, message, help);
        }
        Some(value.clamp(-most, most))
    }

    /// Lines of `track_script` and its like: `NAME [weight N [reverse|noreverse]]`.
    pub(super) fn tracked(&mut self, item: &Item, most: i32) -> Vec<RawTracked> {
        let lines = self.lines(item);
        lines.iter().filter_map(|line| self.tracked_line(&item.keyword.text, line, most)).collect()
    }

    fn tracked_line(&mut self, keyword: &str, line: &[Word], most: i32) -> Option<RawTracked> {
        let (first, rest) = line.split_first()?;
        let name = self.word(keyword, first, value::name)?;
        let mut tracked = RawTracked { name, weight: None, reverse: None };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            match word.text.as_str() {
                "weight" => match rest.next() {
                    Some(number) => tracked.weight = Some(self.weight_value(number, most)?),
                    None => {
                        self.report.error(&word.place, "`weight` without a number", "write for instance `weight -20`")
                    }
                },
                "reverse" => tracked.reverse = Some(true),
                "noreverse" => tracked.reverse = Some(false),
                other => {
                    let message = format!("`{}` after `{}`", super::shorten(other), super::shorten(&first.text));
                    let help = "write each name on a line of its own, with `weight N` if it has a weight of its own";
                    self.report.error(&word.place, message, help);
                    return None;
                }
            }
        }
        Some(tracked)
    }

    /// Names of a block, each with its place.
    pub(super) fn listed(&mut self, item: &Item) -> Vec<At<String>> {
        let words: Vec<Word> = self.lines(item).into_iter().flatten().collect();
        words.iter().filter_map(|word| self.word(&item.keyword.text, word, value::name)).collect()
    }
}

fn bfd_name(text: &str) -> Result<String, Wanted> {
    let fits = |name: &String| name.len() <= 31;
    let wanted = || Wanted::new("a name of 1 to 31 bytes", "shorten it");
    value::name(text).ok().filter(fits).ok_or_else(wanted)
}
