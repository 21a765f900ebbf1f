//! The `fencing` block.

use std::time::Duration;

use super::{Lower, Wanted, value};
use crate::keyword::FENCING;
use crate::raw::{RawConfig, RawFencing};
use crate::tree::Item;

const SECOND: Duration = Duration::from_secs(1);

impl Lower<'_> {
    pub(super) fn fencing(&mut self, raw: &mut RawConfig, block: &Item) {
        let mut fencing = RawFencing {
            place: block.keyword.place.clone(),
            watchdog: None,
            watchdog_timeout: None,
            command: None,
            timeout: None,
            retry: None,
            reboot_after: None,
            domains: Vec::new(),
        };
        self.each(block.items(), &FENCING, |lower, item| match item.keyword.text.as_str() {
            "watchdog" => fencing.watchdog = lower.path(item),
            "watchdog_timeout" => fencing.watchdog_timeout = lower.value(item, whole_seconds),
            "command" => fencing.command = lower.script(item).map(|script| (item.place(), script)),
            "when" => {
                lower.value(item, when);
            }
            "timeout" => fencing.timeout = lower.value(item, value::duration(SECOND / 10..=SECOND * 600)),
            "retry" => fencing.retry = lower.value(item, value::duration(SECOND / 10..=SECOND * 3600)),
            "reboot_after" => fencing.reboot_after = lower.value(item, value::duration(SECOND / 10..=SECOND * 600)),
            "domains" => {
                let names = item.words.iter().filter_map(|word| lower.word("domains", word, value::name));
                fencing.domains.extend(names.collect::<Vec<_>>());
            }
            _ => lower.unread(item),
        });
        raw.fencing = Some(fencing);
    }
}

/// The kernel counts a watchdog's timeout in whole seconds.
fn whole_seconds(text: &str) -> Result<u32, Wanted> {
    let seconds = value::duration(SECOND..=SECOND * 600)(text).ok().filter(|d| d.subsec_nanos() == 0);
    let seconds = seconds.and_then(|duration| u32::try_from(duration.as_secs()).ok());
    let help = "the kernel counts a watchdog's timeout in whole seconds: write for instance 5s";
    seconds.ok_or_else(|| Wanted::new("whole seconds from 1s to 600s", help))
}

fn when(text: &str) -> Result<(), Wanted> {
    let help = "write before-takeover: under the new lease, and before the gate opens";
    if text == "before-takeover" { Ok(()) } else { Err(Wanted::new("before-takeover", help)) }
}
