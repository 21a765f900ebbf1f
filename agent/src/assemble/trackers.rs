//! What the instances of a checked configuration track, their interfaces apart. What nobody tracks is neither run nor
//! watched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use keepone_config::Config;
use keepone_config::model;
use keepone_proto::id::{ScriptId, WatchId};
use keepone_proto::settings::{ScriptSettings, Track, Tracker, WatchKind, WatchSettings};

use super::Plan;
use crate::checkers::tied::Tied;
use crate::tracking::{Tracked, Watched};

/// All that is tracked, each with its number: of the watches files first, then processes, sessions, groups, virtual servers. What a former
/// plan tracked alike keeps its number; what is new comes after all that there ever was.
pub(super) struct Trackers<'a> {
    config: &'a Config,
    scripts: Numbered<Tracked, ScriptSettings>,
    watches: Numbered<Watched, WatchSettings>,
    /// Places of track groups that something static names.
    groups: Vec<usize>,
}

/// One of the configuration's lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum List {
    Scripts,
    Files,
    Processes,
    Sessions,
    Groups,
    Servers,
}

/// What somebody tracks, with what the core is told of it.
struct Numbered<T, S> {
    all: Vec<(T, S)>,
    /// Those that were there before and may be had again, by number.
    former: BTreeSet<usize>,
    numbers: BTreeMap<(List, usize), usize>,
}

impl<T: Clone + PartialEq, S: Clone + PartialEq> Numbered<T, S> {
    fn after(former: impl Iterator<Item = (T, S)>, tracked: BTreeSet<usize>) -> Self {
        Numbered { all: former.collect(), former: tracked, numbers: BTreeMap::new() }
    }

    fn add(&mut self, list: List, place: usize, one: (T, S)) {
        let known = self.former.iter().copied().find(|number| self.all.get(*number) == Some(&one));
        let number = known.unwrap_or(self.all.len());
        if known.is_none() {
            self.all.push(one);
        }
        self.numbers.insert((list, place), number);
    }

    fn number(&self, list: List, place: usize) -> Option<u16> {
        u16::try_from(*self.numbers.get(&(list, place))?).ok()
    }
}

/// Places in one of the configuration's lists that somebody tracks.
fn used(config: &Config, list: fn(&model::Trackers) -> &[model::Tracked]) -> BTreeSet<usize> {
    let places = 0..config.instances.len();
    places.flat_map(|place| by(config, place, list)).map(|tracked| tracked.tracker).collect()
}

/// Places of BFD sessions that health checks go by.
fn checked_sessions(config: &Config) -> BTreeSet<usize> {
    let real = config.virtual_servers.iter().flat_map(|server| &server.real_servers);
    let sessions = real.flat_map(|real| &real.checkers).filter_map(|checker| match checker.probe {
        model::Probe::Bfd(session) => Some(session),
        _ => None,
    });
    sessions.collect()
}

impl<'a> Trackers<'a> {
    pub(super) fn of(config: &'a Config, former: Option<&Plan>) -> Self {
        let sources = &config.trackers;
        let known = former.into_iter().flat_map(|plan| plan.tracked.iter().cloned().zip(plan.settings.scripts.clone()));
        let tracked = former.map(Plan::tracked_scripts).unwrap_or_default();
        let mut scripts = Numbered::after(known, tracked.iter().map(|id| usize::from(id.0)).collect());
        for at in used(config, |all| &all.scripts) {
            if let Some(script) = sources.scripts.get(at) {
                scripts.add(List::Scripts, at, (program(script), script_settings(script)));
            }
        }
        let known = former.into_iter().flat_map(|plan| plan.watched.iter().cloned().zip(plan.settings.watches.clone()));
        let mut tracked: BTreeSet<usize> =
            former.map(Plan::tracked_watches).into_iter().flatten().map(|id| usize::from(id.0)).collect();
        // These are told of whoever tracks them, as long as something static is of them.
        tracked.extend(former.into_iter().flat_map(|plan| &plan.track_groups).map(|(id, _)| usize::from(id.0)));
        let mut watches = Numbered::after(known, tracked);
        let mut watch = |list, at, watched: Option<Watched>| {
            if let Some(watched) = watched {
                let settings = settings(&watched);
                watches.add(list, at, (watched, settings));
            }
        };
        for at in used(config, |all| &all.files) {
            watch(List::Files, at, sources.files.get(at).cloned().map(Watched::File));
        }
        for at in used(config, |all| &all.processes) {
            watch(List::Processes, at, sources.processes.get(at).cloned().map(Watched::Process));
        }
        for at in used(config, |all| &all.bfd).union(&checked_sessions(config)).copied() {
            watch(List::Sessions, at, sources.bfd.get(at).cloned().map(Watched::Bfd));
        }
        let groups = used_groups(&config.statics);
        for at in &groups {
            let name = config.statics.track_groups.get(*at).map(|(name, _)| name.clone());
            watch(List::Groups, *at, name.map(Watched::TrackGroup));
        }
        for at in used(config, |all| &all.virtual_servers) {
            watch(List::Servers, at, server_word(config, at).map(Watched::VirtualServer));
        }
        Trackers { config, scripts, watches, groups }
    }

    /// The track groups that are watched, each with what the core knows it by.
    pub(super) fn groups(&self) -> Vec<(WatchId, String)> {
        let one = |at: &usize| {
            let (name, _) = self.config.statics.track_groups.get(*at)?;
            Some((WatchId(self.watches.number(List::Groups, *at)?), name.clone()))
        };
        self.groups.iter().filter_map(one).collect()
    }

    /// The sessions that health checks go by, each with its place in the configuration.
    pub(super) fn checked(&self) -> Vec<(WatchId, usize)> {
        let number = |at: usize| Some((WatchId(self.watches.number(List::Sessions, at)?), at));
        checked_sessions(self.config).into_iter().filter_map(number).collect()
    }

    /// The virtual servers that instances track.
    pub(super) fn tied(&self) -> Vec<Tied> {
        let one = |place| {
            let watch = WatchId(self.watches.number(List::Servers, place)?);
            Some(Tied { watch, place, word: server_word(self.config, place)? })
        };
        used(self.config, |all| &all.virtual_servers).into_iter().filter_map(one).collect()
    }

    /// What the core is told of the scripts.
    pub(super) fn scripts(&self) -> Vec<ScriptSettings> {
        self.scripts.all.iter().map(|(_, settings)| settings.clone()).collect()
    }

    /// What is run.
    pub(super) fn programs(&self) -> Vec<Tracked> {
        self.scripts.all.iter().map(|(program, _)| program.clone()).collect()
    }

    /// What is watched.
    pub(super) fn watched(&self) -> Vec<Watched> {
        self.watches.all.iter().map(|(watched, _)| watched.clone()).collect()
    }

    /// What the core is told of that.
    pub(super) fn watches(&self) -> Vec<WatchSettings> {
        self.watches.all.iter().map(|(_, settings)| settings.clone()).collect()
    }

    /// What an instance makes of all of them.
    pub(super) fn tracked_by(&self, place: usize) -> Vec<Track> {
        let mut tracks = Vec::new();
        let mut add = |list, of: fn(&model::Trackers) -> &[model::Tracked], tracker: &dyn Fn(u16) -> Tracker| {
            let number = |at| match list {
                List::Scripts => self.scripts.number(list, at),
                List::Files | List::Processes | List::Sessions | List::Groups | List::Servers => {
                    self.watches.number(list, at)
                }
            };
            tracks.extend(by(self.config, place, of).into_iter().filter_map(|tracked| {
                Some(Track {
                    tracker: tracker(number(tracked.tracker)?),
                    weight: i16::try_from(tracked.weight.value).unwrap_or(0),
                    reverse: tracked.weight.reverse,
                })
            }));
        };
        let watch = |number| Tracker::Watch(WatchId(number));
        add(List::Scripts, |all| &all.scripts, &|number| Tracker::Script(ScriptId(number)));
        add(List::Files, |all| &all.files, &watch);
        add(List::Processes, |all| &all.processes, &watch);
        add(List::Sessions, |all| &all.bfd, &watch);
        add(List::Servers, |all| &all.virtual_servers, &watch);
        for at in &self.groups {
            let group = self.config.statics.track_groups.get(*at);
            let is_member = group.is_some_and(|(_, members)| members.contains(&place));
            let number = self.watches.number(List::Groups, *at).filter(|_| is_member);
            tracks.extend(number.map(|number| Track { tracker: watch(number), weight: 0, reverse: false }));
        }
        tracks
    }
}

fn server_word(config: &Config, place: usize) -> Option<String> {
    config.virtual_servers.get(place).map(|server| server.word(&config.server_groups))
}

fn program(script: &model::ScriptTracker) -> Tracked {
    Tracked { name: script.name.clone(), script: script.script.clone(), timeout: script.timeout }
}

fn script_settings(script: &model::ScriptTracker) -> ScriptSettings {
    ScriptSettings {
        name: script.name.clone(),
        interval: script.interval,
        timeout: script.timeout,
        rise: script.rise,
        fall: script.fall,
        init_fail: script.init_fail,
    }
}

fn settings(watched: &Watched) -> WatchSettings {
    let at_once = |kind, name: &str| WatchSettings {
        kind,
        name: name.to_owned(),
        up_delay: Duration::ZERO,
        down_delay: Duration::ZERO,
    };
    match watched {
        Watched::File(file) => at_once(WatchKind::File, &file.name),
        Watched::Process(process) => WatchSettings {
            kind: WatchKind::Process,
            name: process.name.clone(),
            up_delay: process.fork_delay,
            down_delay: process.terminate_delay,
        },
        Watched::Bfd(session) => at_once(WatchKind::Bfd, &session.name),
        Watched::TrackGroup(name) => at_once(WatchKind::TrackGroup, name),
        Watched::VirtualServer(word) => at_once(WatchKind::VirtualServer, word),
    }
}

fn used_groups(statics: &model::Statics) -> Vec<usize> {
    let named = (statics.addresses.iter().map(|address| &address.options.track_group))
        .chain(statics.routes.iter().map(|route| &route.track_group))
        .chain(statics.rules.iter().map(|rule| &rule.track_group));
    let named: BTreeSet<&String> = named.flatten().collect();
    let groups = statics.track_groups.iter().enumerate();
    groups.filter(|(_, (name, _))| named.contains(name)).map(|(at, _)| at).collect()
}

/// What an instance tracks by itself, then what its group does, unless it does so itself.
fn by(config: &Config, place: usize, list: fn(&model::Trackers) -> &[model::Tracked]) -> Vec<model::Tracked> {
    let own = config.instances.get(place).map_or(&[][..], |instance| list(&instance.options.trackers));
    let group = config.sync_groups.iter().find(|group| group.instances.contains(&place));
    let shared = group.map_or(&[][..], |group| list(&group.trackers));
    let new = |tracked: &&model::Tracked| own.iter().all(|mine| mine.tracker != tracked.tracker);
    let counts = |tracked: &&model::Tracked| tracked.weight.value == 0 || config.weights_count(place);
    own.iter().chain(shared.iter().filter(new)).filter(counts).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TEXT: &str = r#"
vrrp_script unused { script "/bin/true" }
vrrp_script proxy {
    script "/usr/bin/pgrep haproxy"
    interval 0.5
    weight -20
    fall 3
}
vrrp_script route {
    script "/bin/ping -c1 192.0.2.1"
    timeout 3
    interval 5
    init_fail
}
vrrp_sync_group G {
    group { A B }
    track_script { route }
}
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    priority 100
    virtual_ipaddress { 192.0.2.10/24 }
    track_script { proxy weight 0 }
}
vrrp_instance B {
    interface eth0
    virtual_router_id 2
    priority 100
    virtual_ipaddress { 192.0.2.11/24 }
    track_script { route weight 30 reverse }
}
"#;

    #[test]
    fn only_tracked_scripts_are_run_and_a_groups_script_is_each_members_unless_it_has_its_own_word() {
        let path = std::path::Path::new("keepalived.conf");
        let (config, _) = keepone_config::load_text(path, TEXT, &keepone_config::Environment::default()).unwrap();
        let trackers = Trackers::of(&config, None);
        let told: Vec<_> = trackers.scripts().into_iter().map(|s| (s.name, s.interval, s.timeout, s.fall)).collect();
        let (half, five, three) = (Duration::from_millis(500), Duration::from_secs(5), Duration::from_secs(3));
        assert_eq!(told, [("proxy".into(), half, half, 3), ("route".into(), five, three, 1)]);
        assert_eq!(trackers.programs()[0].script.command, ["/usr/bin/pgrep", "haproxy"]);
        let track = |id, weight, reverse| Track { tracker: Tracker::Script(ScriptId(id)), weight, reverse };
        assert_eq!(trackers.tracked_by(0), [track(0, 0, false), track(1, 0, false)]);
        // In a group a line with a weight is none.
        assert_eq!(trackers.tracked_by(1), []);
        let counting = TEXT.replace("    group { A B }", "    group { A B }\n    sync_group_tracking_weight");
        let (config, _) = keepone_config::load_text(path, &counting, &keepone_config::Environment::default()).unwrap();
        assert_eq!(Trackers::of(&config, None).tracked_by(1), [track(1, 30, true)]);
        assert!(config.inactive.iter().all(|inactive| !inactive.what.contains("script")), "{:?}", config.inactive);
    }

    const WATCHED: &str = r#"
track_file unused { file /run/unused }
track_file load { file /run/load weight 2 }
vrrp_track_process proxy { process haproxy  fork_delay 0.5  terminate_delay 2 }
bfd_instance router { neighbor_ip 192.0.2.1 }
vrrp_instance A {
    interface eth0
    virtual_router_id 1
    priority 100
    virtual_ipaddress { 192.0.2.10/24 }
    track_bfd { router weight -10 }
    track_process { proxy }
    track_file { load weight -3 reverse }
}
"#;

    #[test]
    fn what_is_watched_has_its_ids_by_kind_and_its_delays_and_is_all_active() {
        let text =
            WATCHED.replace("  ", "\n").replace(" { file ", " {\n file ").replace(" weight 2 }", "\n weight 2\n}");
        let path = std::path::Path::new("keepalived.conf");
        let (config, _) = keepone_config::load_text(path, &text, &keepone_config::Environment::default()).unwrap();
        let trackers = Trackers::of(&config, None);
        let told: Vec<_> =
            trackers.watches().into_iter().map(|w| (w.kind.as_str(), w.name, w.up_delay, w.down_delay)).collect();
        let ms = Duration::from_millis;
        assert_eq!(
            told,
            [
                ("track_file", "load".into(), ms(0), ms(0)),
                ("track_process", "proxy".into(), ms(500), ms(2000)),
                ("track_bfd", "router".into(), ms(0), ms(0)),
            ]
        );
        let track = |id, weight, reverse| Track { tracker: Tracker::Watch(WatchId(id)), weight, reverse };
        assert_eq!(trackers.tracked_by(0), [track(0, -3, true), track(1, 0, false), track(2, -10, false)]);
        assert!(matches!(&trackers.watched()[..], [Watched::File(_), Watched::Process(_), Watched::Bfd(_)]));
    }
}
