//! The tracked scripts of a checked configuration. One that nobody tracks is not run.

use std::collections::BTreeSet;

use keepone_config::Config;
use keepone_config::model;
use keepone_proto::id::ScriptId;
use keepone_proto::settings::{ScriptSettings, TrackScript};

use crate::tracking::Tracked;

/// Those that are tracked, in the order of their ids.
pub(super) struct Scripts<'a> {
    config: &'a Config,
    /// Places in the configuration's list.
    used: Vec<usize>,
}

impl<'a> Scripts<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        let tracked = (0..config.instances.len()).flat_map(|place| by(config, place)).map(|tracked| tracked.tracker);
        let used: BTreeSet<usize> = tracked.filter(|at| config.trackers.scripts.get(*at).is_some()).collect();
        Scripts { config, used: used.into_iter().collect() }
    }

    fn all(&self) -> impl Iterator<Item = &'a model::ScriptTracker> {
        self.used.iter().filter_map(|at| self.config.trackers.scripts.get(*at))
    }

    /// What the core is told of them.
    pub(super) fn settings(&self) -> Vec<ScriptSettings> {
        let settings = |script: &model::ScriptTracker| ScriptSettings {
            name: script.name.clone(),
            interval: script.interval,
            timeout: script.timeout,
            rise: script.rise,
            fall: script.fall,
            init_fail: script.init_fail,
        };
        self.all().map(settings).collect()
    }

    /// What is run.
    pub(super) fn programs(&self) -> Vec<Tracked> {
        let program = |script: &model::ScriptTracker| Tracked {
            name: script.name.clone(),
            script: script.script.clone(),
            timeout: script.timeout,
        };
        self.all().map(program).collect()
    }

    /// What an instance makes of them.
    pub(super) fn tracked_by(&self, place: usize) -> Vec<TrackScript> {
        let track = |tracked: model::Tracked| {
            let id = self.used.iter().position(|at| *at == tracked.tracker)?;
            Some(TrackScript {
                script: ScriptId(u16::try_from(id).ok()?),
                weight: i16::try_from(tracked.weight.value).unwrap_or(0),
                reverse: tracked.weight.reverse,
            })
        };
        by(self.config, place).filter_map(track).collect()
    }
}

/// What an instance tracks by itself, then what its group does, unless it does so itself.
fn by(config: &Config, place: usize) -> impl Iterator<Item = model::Tracked> {
    let own = config.instances.get(place).map_or(&[][..], |instance| &instance.options.trackers.scripts);
    let group = config.sync_groups.iter().find(|group| group.instances.contains(&place));
    let shared = group.map_or(&[][..], |group| &group.trackers.scripts);
    let new = |tracked: &&model::Tracked| own.iter().all(|mine| mine.tracker != tracked.tracker);
    own.iter().chain(shared.iter().filter(new)).copied().collect::<Vec<_>>().into_iter()
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
        let scripts = Scripts::of(&config);
        let told: Vec<_> = scripts.settings().into_iter().map(|s| (s.name, s.interval, s.timeout, s.fall)).collect();
        let (half, five, three) = (Duration::from_millis(500), Duration::from_secs(5), Duration::from_secs(3));
        assert_eq!(told, [("proxy".into(), half, half, 3), ("route".into(), five, three, 1)]);
        assert_eq!(scripts.programs()[0].script.command, ["/usr/bin/pgrep", "haproxy"]);
        let track = |id, weight, reverse| TrackScript { script: ScriptId(id), weight, reverse };
        assert_eq!(scripts.tracked_by(0), [track(0, 0, false), track(1, 0, false)]);
        assert_eq!(scripts.tracked_by(1), [track(1, 30, true)]);
        assert!(config.inactive.iter().all(|inactive| !inactive.what.contains("script")), "{:?}", config.inactive);
    }
}
