//! How often an instance announces its addresses.

use std::time::Duration;

use keepone_proto::settings::{AnnounceSettings, Refresh};

use crate::raw::{RawGlobal, RawInstance, RawOptions};
use crate::source::At;

use super::{or, value};

/// Where nothing else is said, of all instances. `vrrp_min_garp` stands for what is not written (keepalived.conf(5)).
pub(super) fn of_all(global: &RawGlobal) -> AnnounceSettings {
    let least = AnnounceSettings { burst: 1, again: Vec::new(), ..AnnounceSettings::default() };
    let base = if global.vrrp.min_garp { least } else { AnnounceSettings::default() };
    let (burst, second) = burst(&base, &global.garp_repeat, &global.garp_delay);
    said(AnnounceSettings { burst, second, rival_burst: burst, rival_second: second, ..base }, &global.defaults)
}

/// What it does not say for itself is `global_defs`'s; that goes for the burst beside a rival, too, however its own is.
pub(super) fn of_instance(raw: &RawInstance, global: &RawGlobal) -> AnnounceSettings {
    let base = of_all(global);
    let (burst, second) = burst(&base, &raw.garp_repeat, &raw.garp_delay);
    let all = &global.defaults;
    // Each by itself: an instance may change the interval alone, or only how many.
    let options = RawOptions {
        refresh: raw.options.refresh.or(all.refresh),
        refresh_repeat: raw.options.refresh_repeat.or(all.refresh_repeat),
        lower_prio_delay: raw.options.lower_prio_delay.or(all.lower_prio_delay),
        lower_prio_repeat: raw.options.lower_prio_repeat.or(all.lower_prio_repeat),
        extra_interfaces: raw.options.extra_interfaces.or(all.extra_interfaces),
        ..RawOptions::default()
    };
    said(AnnounceSettings { burst, second, ..base }, &options)
}

/// 0 s: none.
fn some(delay: Duration) -> Option<Duration> {
    Some(delay).filter(|delay| !delay.is_zero())
}

fn burst(base: &AnnounceSettings, repeat: &Option<At<u8>>, delay: &Option<At<Duration>>) -> (u8, Option<Duration>) {
    (or(repeat, base.burst), value(delay).map_or(base.second, some))
}

fn said(base: AnnounceSettings, options: &RawOptions) -> AnnounceSettings {
    let rounds = options.refresh_repeat.unwrap_or(1).max(1);
    AnnounceSettings {
        rival_burst: options.lower_prio_repeat.unwrap_or(base.rival_burst),
        rival_second: options.lower_prio_delay.map_or(base.rival_second, some),
        refresh: options.refresh.and_then(some).map(|interval| Refresh { interval, rounds }),
        elsewhere: options.extra_interfaces.flatten().map(|extra| extra.interval),
        ..base
    }
}
