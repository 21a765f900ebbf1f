//! What the instances of a checked configuration track, their interfaces apart. What nobody tracks is neither run nor
//! watched.

use std::collections::BTreeSet;
use std::time::Duration;

use keepone_config::Config;
use keepone_config::model;
use keepone_proto::id::{ScriptId, WatchId};
use keepone_proto::settings::{ScriptSettings, Track, Tracker, WatchKind, WatchSettings};

use crate::tracking::{Tracked, Watched};

/// All that is tracked, in the order of the ids: of the watches files first, then processes, then sessions.
pub(super) struct Trackers<'a> {
    config: &'a Config,
    scripts: Places,
    files: Places,
    processes: Places,
    sessions: Places,
    /// Places of track groups that something static names.
    groups: Vec<usize>,
}

/// Places in one of the configuration's lists that somebody tracks.
struct Places(Vec<usize>);

impl Places {
    fn of(config: &Config, list: fn(&model::Trackers) -> &[model::Tracked], count: usize) -> Self {
        let places = 0..config.instances.len();
        let tracked = places.flat_map(|place| by(config, place, list)).map(|tracked| tracked.tracker);
        let used: BTreeSet<usize> = tracked.filter(|at| *at < count).collect();
        Places(used.into_iter().collect())
    }

    fn all<'a, T>(&self, list: &'a [T]) -> impl Iterator<Item = &'a T> {
        self.0.iter().filter_map(|at| list.get(*at))
    }

    /// Its number among those that are tracked.
    fn number(&self, place: usize) -> Option<usize> {
        self.0.iter().position(|at| *at == place)
    }
}

impl<'a> Trackers<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        let sources = &config.trackers;
        Trackers {
            config,
            scripts: Places::of(config, |all| &all.scripts, sources.scripts.len()),
            files: Places::of(config, |all| &all.files, sources.files.len()),
            processes: Places::of(config, |all| &all.processes, sources.processes.len()),
            sessions: Places::of(config, |all| &all.bfd, sources.bfd.len()),
            groups: used_groups(&config.statics),
        }
    }

    /// What the core is told of the scripts.
    pub(super) fn scripts(&self) -> Vec<ScriptSettings> {
        let settings = |script: &model::ScriptTracker| ScriptSettings {
            name: script.name.clone(),
            interval: script.interval,
            timeout: script.timeout,
            rise: script.rise,
            fall: script.fall,
            init_fail: script.init_fail,
        };
        self.scripts.all(&self.config.trackers.scripts).map(settings).collect()
    }

    /// What is run.
    pub(super) fn programs(&self) -> Vec<Tracked> {
        let program = |script: &model::ScriptTracker| Tracked {
            name: script.name.clone(),
            script: script.script.clone(),
            timeout: script.timeout,
        };
        self.scripts.all(&self.config.trackers.scripts).map(program).collect()
    }

    /// What is watched.
    pub(super) fn watched(&self) -> Vec<Watched> {
        let sources = &self.config.trackers;
        let files = self.files.all(&sources.files).cloned().map(Watched::File);
        let processes = self.processes.all(&sources.processes).cloned().map(Watched::Process);
        let sessions = self.sessions.all(&sources.bfd).cloned().map(Watched::Bfd);
        let groups = self.group_names().map(|name| Watched::TrackGroup(name.to_owned()));
        files.chain(processes).chain(sessions).chain(groups).collect()
    }

    /// Names of the track groups that are watched.
    fn group_names(&self) -> impl Iterator<Item = &str> {
        let all = &self.config.statics.track_groups;
        self.groups.iter().filter_map(|at| all.get(*at)).map(|(name, _)| name.as_str())
    }

    /// The same, each with what the core knows it by: they are the last of what is watched.
    pub(super) fn groups(&self) -> Vec<(WatchId, String)> {
        let before = self.files.0.len() + self.processes.0.len() + self.sessions.0.len();
        let numbers = (before..).filter_map(|number| u16::try_from(number).ok()).map(WatchId);
        numbers.zip(self.group_names().map(str::to_owned)).collect()
    }

    /// What the core is told of that.
    pub(super) fn watches(&self) -> Vec<WatchSettings> {
        self.watched().iter().map(settings).collect()
    }

    /// What an instance makes of all of them.
    pub(super) fn tracked_by(&self, place: usize) -> Vec<Track> {
        let (files, processes) = (self.files.0.len(), self.processes.0.len());
        let script = |at| Some(Tracker::Script(ScriptId(u16::try_from(self.scripts.number(at)?).ok()?)));
        let watch = |number: usize| Some(Tracker::Watch(WatchId(u16::try_from(number).ok()?)));
        let file = |at| watch(self.files.number(at)?);
        let process = |at| watch(files + self.processes.number(at)?);
        let session = |at| watch(files + processes + self.sessions.number(at)?);
        let mut tracks = Vec::new();
        let mut add = |list, tracker: &dyn Fn(usize) -> Option<Tracker>| {
            tracks.extend(by(self.config, place, list).into_iter().filter_map(|tracked| {
                Some(Track {
                    tracker: tracker(tracked.tracker)?,
                    weight: i16::try_from(tracked.weight.value).unwrap_or(0),
                    reverse: tracked.weight.reverse,
                })
            }));
        };
        add(|all| &all.scripts, &script);
        add(|all| &all.files, &file);
        add(|all| &all.processes, &process);
        add(|all| &all.bfd, &session);
        for (number, at) in self.groups.iter().enumerate() {
            let group = self.config.statics.track_groups.get(*at);
            let is_member = group.is_some_and(|(_, members)| members.contains(&place));
            let tracker = watch(files + processes + self.sessions.0.len() + number).filter(|_| is_member);
            tracks.extend(tracker.map(|tracker| Track { tracker, weight: 0, reverse: false }));
        }
        tracks
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
    own.iter().chain(shared.iter().filter(new)).copied().collect()
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
        let trackers = Trackers::of(&config);
        let told: Vec<_> = trackers.scripts().into_iter().map(|s| (s.name, s.interval, s.timeout, s.fall)).collect();
        let (half, five, three) = (Duration::from_millis(500), Duration::from_secs(5), Duration::from_secs(3));
        assert_eq!(told, [("proxy".into(), half, half, 3), ("route".into(), five, three, 1)]);
        assert_eq!(trackers.programs()[0].script.command, ["/usr/bin/pgrep", "haproxy"]);
        let track = |id, weight, reverse| Track { tracker: Tracker::Script(ScriptId(id)), weight, reverse };
        assert_eq!(trackers.tracked_by(0), [track(0, 0, false), track(1, 0, false)]);
        assert_eq!(trackers.tracked_by(1), [track(1, 30, true)]);
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
        let trackers = Trackers::of(&config);
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
