//! How often addresses are announced, and at what pace.

use std::time::Duration;

use keepone_proto::settings::{AnnounceSettings, Refresh};

use super::options::option;
use super::{load, refused, sound, warned};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Of the first and the second instance, with these lines of `global_defs` and of the first one.
fn announced(global: &str, own: &str) -> [AnnounceSettings; 2] {
    let text = format!("global_defs {{\n{global}\n}}\n{}", option(own));
    let (config, diagnostics) = load(&text).unwrap();
    assert!(!format!("{diagnostics:?}").contains("not yet active"), "{diagnostics:?}");
    [0, 1].map(|at: usize| config.instances[at].announce.clone())
}

#[test]
fn what_is_not_written_is_the_default_and_an_instance_has_the_last_word() {
    let default = AnnounceSettings::default();
    assert_eq!(announced("", ""), [default.clone(), default.clone()]);
    let global = "vrrp_garp_master_repeat 3\nvrrp_garp_master_delay 10\nvrrp_garp_master_refresh 60\n\
                  vrrp_garp_master_refresh_repeat 2";
    let [first, second] = announced(global, "garp_master_repeat 4\ngarp_master_refresh 30");
    let of_all = AnnounceSettings {
        burst: 3,
        second: Some(seconds(10)),
        rival_burst: 3,
        rival_second: Some(seconds(10)),
        refresh: Some(Refresh { interval: seconds(60), rounds: 2 }),
        ..default
    };
    assert_eq!(second, of_all);
    // keepalived's: the burst beside a lower router goes by global_defs, not by the instance's own.
    assert_eq!(
        first,
        AnnounceSettings { burst: 4, refresh: Some(Refresh { interval: seconds(30), rounds: 2 }), ..of_all }
    );
}

#[test]
fn beside_a_lower_router_there_may_be_other_numbers_or_none() {
    let [first, second] = announced(
        "vrrp_garp_lower_prio_repeat 2\nvrrp_garp_lower_prio_delay 7",
        "garp_lower_prio_repeat 0\ngarp_lower_prio_delay 0",
    );
    assert_eq!((first.rival_burst, first.rival_second), (0, None));
    assert_eq!((second.rival_burst, second.rival_second), (2, Some(seconds(7))));
}

#[test]
fn the_least_is_one_frame_but_for_what_is_written() {
    let [first, second] = announced("vrrp_min_garp", "garp_master_repeat 2\ngarp_master_delay 5");
    assert_eq!((second.burst, second.again, second.second, second.rival_burst), (1, vec![], None, 1));
    assert_eq!((first.burst, first.again, first.second), (2, vec![], Some(seconds(5))));
    assert_eq!(announced("vrrp_min_garp off", "")[0], AnnounceSettings::default());
}

#[test]
fn other_interfaces_have_an_interval_under_either_name() {
    let [first, second] = announced("vrrp_garp_extra_if all 100", "vmac_garp_intvl 0");
    assert_eq!((first.elsewhere, second.elsewhere), (None, Some(seconds(100))));
    let [first, second] = announced("vrrp_vmac_garp_intvl 50", "garp_extra_if all 60");
    assert_eq!((first.elsewhere, second.elsewhere), (Some(seconds(60)), Some(seconds(50))));
    refused(&option("garp_extra_if all"), "k.conf:49:5: error: no interval after `all`", "garp_extra_if all 60");
}

#[test]
fn counts_and_times_have_bounds() {
    refused(
        &option("garp_lower_prio_repeat 256"),
        "k.conf:49:28: error: garp_lower_prio_repeat: `256`",
        "5 are plenty",
    );
    refused(&option("garp_master_refresh_repeat -1"), "k.conf:49:32: error: garp_master_refresh_repeat: `-1`", "");
    refused(&option("garp_lower_prio_delay 4295"), "k.conf:49:27: error: garp_lower_prio_delay: `4295`", "");
}

#[test]
fn an_interface_has_one_pace() {
    let group = |lines: &str| format!("garp_group {{\n{lines}\n}}\n");
    let text = group("garp_interval 0.01\ngna_interval 0.000001\ninterfaces {\neth7\neth8 eth9\n}")
        + &group("garp_interval 1\ninterface eth6")
        + &sound();
    let (config, diagnostics) = load(&text).unwrap();
    assert!(!format!("{diagnostics:?}").contains("garp_group"), "{diagnostics:?}");
    let groups = &config.global.vrrp.garp_groups;
    assert_eq!(
        (groups[0].garp_interval, groups[0].gna_interval),
        (Duration::from_millis(10), Duration::from_micros(1))
    );
    assert_eq!((groups[0].interfaces.len(), groups[1].interfaces.as_slice()), (3, ["eth6".to_owned()].as_slice()));

    let twice = group("garp_interval 1\ninterface eth6") + &group("garp_interval 1\ninterface eth6") + &sound();
    refused(&twice, "k.conf:7:11: error: garp_group: eth6 is in one already", "once");
    let both = group("garp_interval 1\ninterface eth6\ninterfaces {\neth7\n}") + &sound();
    warned(&both, "k.conf:3:1: warning: garp_group with `interface` and `interfaces`", "one");
    warned(
        &(group("interface eth6") + &sound()),
        "k.conf:1:1: warning: garp_group without an interval",
        "garp_interval",
    );
    refused(&(group("garp_interval 1") + &sound()), "k.conf:1:1: error: garp_group without an interface", "interfaces");
}
