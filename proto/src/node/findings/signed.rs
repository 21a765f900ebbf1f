//! What is odd about the signature of an Advertisement, in words.

use alloc::format;
use alloc::string::String;

use crate::findings::{Difference, Oddity};
use crate::settings::InstanceSettings;
use crate::wire::vrrp::hmac::Fault;

/// What is told of it, without its domain; `None`: it is about something else.
pub(super) fn words(name: &str, who: &str, settings: &InstanceSettings, oddity: &Oddity) -> Option<Difference> {
    let keys = || format!("give {name} the same keys under the same numbers there and here (auth_hmac)");
    let (words, remedy): (String, String) = match oddity {
        Oddity::Unsigned(Fault::Missing) => (
            format!("{who} advertises unsigned, where we take signed Advertisements alone"),
            format!(
                "let {who} sign for {name} (auth_hmac), or keep that router off this segment; until all routers sign, \
                 write `mode permissive` here"
            ),
        ),
        Oddity::Unsigned(Fault::Scheme) => (
            format!("{who} signs its Advertisements in a way that is unknown here"),
            format!("update {who}: keepalived speaks this auth_hmac since 2.4.2"),
        ),
        Oddity::Unsigned(Fault::Key(number)) => {
            (format!("{who} signs its Advertisements with key {number}, which is none of ours"), keys())
        }
        Oddity::Unsigned(Fault::Wrong(number)) => {
            (format!("{who} signs its Advertisements with another key {number} than ours"), keys())
        }
        Oddity::Repeated => (
            format!("{who} advertises with signatures that have been used: replayed, or its clock was set back"),
            format!("see that the clock of {who} is right, and that nobody else sends in its name"),
        ),
        Oddity::Stale => (
            format!("{who} resigns with a signature of long ago: replayed, or one of the clocks is wrong"),
            format!("keep the clocks of {who} and this node in step (NTP), and see that nobody else sends in its name"),
        ),
        Oddity::Signed => (
            format!("{who} signs its Advertisements, and we can't tell whether it has the right key"),
            match settings.auth_pass {
                Some(_) => format!("replace authentication by auth_hmac for {name} here, with the keys of {who}"),
                None => format!("add auth_hmac to {name} here, with the keys of {who}"),
            },
        ),
        Oddity::ClocksApart(seconds) => (
            format!(
                "the clocks of {who} and this node are more than {seconds} s apart; we hear it all the same, where \
                 keepalived would not beyond its time_window"
            ),
            format!(
                "keep the clocks of {who} and this node in step (NTP), or write `anti_replay monotonic` on all routers"
            ),
        ),
        _ => return None,
    };
    Some(Difference { domain: None, words: format!("{name}: {words}"), remedy })
}
