//! `vrrp_instance` and `vrrp_sync_group`.

use std::time::Duration;

use keepone_proto::id::{Priority, Vrid};
use keepone_proto::settings::VrrpVersion;

use crate::keyword::{AUTHENTICATION, VRRP_INSTANCE, VRRP_SYNC_GROUP};
use crate::model::{InitialState, Mirror, Script, Secret};
use crate::raw::{AuthType, RawConfig, RawGroup, RawInstance, RawNotify, RawTrack, Written};
use crate::source::At;
use crate::tree::{Item, Word};

use super::address::{self, Shape};
use super::cluster::policy;
use super::{Lower, Wanted, value};

impl Lower<'_> {
    pub(super) fn vrrp_instance(&mut self, raw: &mut RawConfig, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let mut instance = empty(name);
        instance.written = self.written(block);
        self.each(block.items(), &VRRP_INSTANCE, |lower, item| lower.instance_keyword(&mut instance, item));
        raw.instances.push(instance);
    }

    fn instance_keyword(&mut self, instance: &mut RawInstance, item: &Item) {
        let seconds = |most| value::duration(Duration::ZERO..=Duration::from_secs(most));
        match item.keyword.text.as_str() {
            "state" => instance.state = self.value(item, state),
            "interface" => instance.interface = self.value(item, value::interface),
            "virtual_router_id" => instance.vrid = self.value(item, vrid),
            "version" => instance.version = self.value(item, version),
            "priority" => instance.priority = self.value(item, priority),
            "advert_int" => instance.advert_int = self.value(item, seconds(255)),
            "nopreempt" => instance.nopreempt = self.flag(item),
            "preempt" => instance.nopreempt = self.flag(item).map(|flag| At::new(!flag.value, flag.place)),
            "arbiter_policy" => instance.policy = self.value(item, policy),
            "mirror" => instance.mirror = self.value(item, mirror),
            "preempt_delay" => instance.preempt_delay = self.value(item, seconds(1000)),
            "virtual_ipaddress" => instance.addresses.extend(self.addresses(item, false)),
            "virtual_ipaddress_excluded" => instance.excluded.extend(self.addresses(item, true)),
            "no_virtual_ipaddress" => instance.no_addresses = self.flag(item).is_some_and(|flag| flag.value),
            "track_interface" => instance.track.extend(self.track_interface(item)),
            "dont_track_primary" => instance.track_primary = !self.flag(item).is_some_and(|flag| flag.value),
            "mcast_src_ip" => instance.mcast_src_ip = self.value(item, value::address),
            "unicast_src_ip" => instance.unicast_src_ip = self.value(item, value::address),
            "unicast_peer" => self.unicast_peer(instance, item),
            "native_ipv6" => instance.native_ipv6 = self.flag(item).is_some_and(|flag| flag.value),
            "authentication" => {
                self.each(item.items(), &AUTHENTICATION, |lower, item| lower.authentication(instance, item));
            }
            "auth_type" | "auth_pass" => self.authentication(instance, item),
            "garp_master_repeat" => {
                let help = "write how many GARP or NA frames a burst has; the default is 5";
                instance.garp_repeat = self.value(item, value::number(1..=255, help));
            }
            "garp_master_delay" => instance.garp_delay = self.value(item, seconds(4294)),
            _ => self.notify(&mut instance.notify, item),
        }
    }

    fn authentication(&mut self, instance: &mut RawInstance, item: &Item) {
        instance.written.add(&item.keyword.text);
        match item.keyword.text.as_str() {
            "auth_type" => instance.auth_type = self.value(item, auth_type),
            "auth_pass" => {
                let long = item.words.first().filter(|word| word.text.len() > 8);
                if let Some(word) = long {
                    let message = "auth_pass is longer than 8 bytes: the rest is cut off";
                    self.report.warning(&word.place, message, "VRRP's packet has room for 8; shorten it on every node");
                }
                instance.auth_pass = self.value(item, secret);
            }
            _ => self.unread(item),
        }
    }

    fn addresses(&mut self, item: &Item, excluded: bool) -> Vec<At<crate::model::VirtualAddress>> {
        let lines = self.lines(item);
        lines.iter().filter_map(|line| address::read(self, line, Shape { excluded })).collect()
    }

    fn unicast_peer(&mut self, instance: &mut RawInstance, item: &Item) {
        let mut peers = Vec::new();
        for line in self.lines(item) {
            let Some((first, rest)) = line.split_first() else { continue };
            peers.extend(self.word("unicast_peer", first, value::address));
            if let Some(word) = rest.first() {
                if matches!(word.text.as_str(), "min_ttl" | "max_ttl") {
                    let message = format!("`{}` of a peer is read, but it does nothing yet", word.text);
                    self.report.warning(&word.place, message, "");
                } else {
                    let message = format!("`{}` after a peer's address", super::shorten(&word.text));
                    self.report.error(&word.place, message, "write each peer on a line of its own");
                }
            }
        }
        if peers.is_empty() && !item.items().is_empty() {
            return;
        }
        instance.unicast_peers = Some(At::new(peers, item.keyword.place.clone()));
    }

    fn track_interface(&mut self, item: &Item) -> Vec<RawTrack> {
        let lines = self.lines(item);
        lines.iter().filter_map(|line| self.track_line(line)).collect()
    }

    fn track_line(&mut self, line: &[Word]) -> Option<RawTrack> {
        let (first, rest) = line.split_first()?;
        let interface = self.word("track_interface", first, value::interface)?;
        let mut track = RawTrack { interface, weight: 0 };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            match word.text.as_str() {
                "weight" => match rest.next() {
                    Some(weight) => track.weight = self.word("weight", weight, weight_value)?.value,
                    None => {
                        let help = "write for instance `weight -20`";
                        self.report.error(&word.place, "`weight` without a number", help);
                    }
                },
                "noreverse" => {}
                "reverse" => {
                    let message = "`reverse` of a tracked interface is read, but it does nothing yet";
                    self.report.warning(&word.place, message, "");
                }
                other => {
                    let message = format!("`{}` after a tracked interface", super::shorten(other));
                    let help = "write each interface on a line of its own, with `weight N` if it is not to be a FAULT";
                    self.report.error(&word.place, message, help);
                    return None;
                }
            }
        }
        Some(track)
    }

    pub(super) fn notify(&mut self, notify: &mut RawNotify, item: &Item) {
        match item.keyword.text.as_str() {
            "notify" => notify.any = self.script(item),
            "notify_master" => notify.master = self.script(item),
            "notify_backup" => notify.backup = self.script(item),
            "notify_fault" => notify.fault = self.script(item),
            "notify_stop" => notify.stop = self.script(item),
            _ => self.unread(item),
        }
    }

    /// `COMMAND [USER [GROUP]]`; a command with arguments is one quoted word.
    pub(super) fn script(&mut self, item: &Item) -> Option<Script> {
        let word = item.words.first()?;
        let command = split_command(&word.text);
        if command.is_empty() || item.words.len() > 3 {
            let message = format!("{}: wants a command, then perhaps a user and a group", item.keyword.text);
            let help = "put the command with its arguments into quotes: \"/usr/local/bin/moved.sh master\"";
            self.report.error(&item.place(), message, help);
            return None;
        }
        let text = |at: usize| item.words.get(at).map(|word| word.text.clone());
        Some(Script { command, user: text(1), group: text(2) })
    }

    pub(super) fn vrrp_sync_group(&mut self, raw: &mut RawConfig, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let (members, track, notify) = (Vec::new(), Vec::new(), RawNotify::default());
        let mut group = RawGroup { name, members, track, policy: None, notify };
        self.each(block.items(), &VRRP_SYNC_GROUP, |lower, item| match item.keyword.text.as_str() {
            "group" => {
                for word in lower.lines(item).into_iter().flatten() {
                    group.members.extend(lower.word("group", &word, value::name));
                }
            }
            "track_interface" => group.track.extend(lower.track_interface(item)),
            "arbiter_policy" => group.policy = lower.value(item, policy),
            _ => lower.notify(&mut group.notify, item),
        });
        raw.groups.push(group);
    }
}

fn empty(name: At<String>) -> RawInstance {
    RawInstance {
        name,
        written: Written::default(),
        state: None,
        interface: None,
        vrid: None,
        version: None,
        priority: None,
        advert_int: None,
        nopreempt: None,
        preempt_delay: None,
        policy: None,
        mirror: None,
        addresses: Vec::new(),
        excluded: Vec::new(),
        no_addresses: false,
        track: Vec::new(),
        track_primary: true,
        mcast_src_ip: None,
        unicast_src_ip: None,
        unicast_peers: None,
        native_ipv6: false,
        auth_type: None,
        auth_pass: None,
        garp_repeat: None,
        garp_delay: None,
        notify: RawNotify::default(),
    }
}

/// Which gateway a Master asks from its virtual address (D9).
fn mirror(text: &str) -> Result<Mirror, Wanted> {
    match text {
        "auto" => Ok(Mirror::Auto),
        "off" => Ok(Mirror::Off),
        _ => value::address(text).map(Mirror::Gateway).map_err(|_| {
            Wanted::new(
                "auto, off or an address",
                "write the gateway's address on the network of the virtual addresses",
            )
        }),
    }
}

fn state(text: &str) -> Result<InitialState, Wanted> {
    match text {
        "MASTER" => Ok(InitialState::Master),
        "BACKUP" => Ok(InitialState::Backup),
        _ => Err(Wanted::new("MASTER or BACKUP", "write BACKUP on all nodes and let the priority decide")),
    }
}

fn vrid(text: &str) -> Result<Vrid, Wanted> {
    let vrid = text.parse().ok().and_then(Vrid::new);
    vrid.ok_or_else(|| {
        Wanted::new(
            "a whole number from 1 to 255",
            "give the same number on every node, and to no other router of this network",
        )
    })
}

fn priority(text: &str) -> Result<Priority, Wanted> {
    let priority = value::number(1..=255, "the highest becomes Master; 255 is the address owner, 100 the default");
    priority(text).map(Priority)
}

pub(super) fn version(text: &str) -> Result<VrrpVersion, Wanted> {
    match text {
        "2" => Ok(VrrpVersion::V2),
        "3" => Ok(VrrpVersion::V3),
        _ => Err(Wanted::new("2 or 3", "write 3 (RFC 9568) unless an old router needs 2")),
    }
}

fn auth_type(text: &str) -> Result<AuthType, Wanted> {
    match text {
        "PASS" => Ok(AuthType::Pass),
        "AH" => Ok(AuthType::Ah),
        "none" | "NONE" => Ok(AuthType::None),
        _ => Err(Wanted::new("PASS or AH", "write PASS, or leave `authentication` out")),
    }
}

fn secret(text: &str) -> Result<Secret, Wanted> {
    let mut wanted = Wanted::new("a password", "write 1 to 8 bytes, the same on every node");
    wanted.secret = true;
    if text.is_empty() { Err(wanted) } else { Ok(Secret::new(text)) }
}

fn weight_value(text: &str) -> Result<i16, Wanted> {
    let weight: Option<i16> = text.parse().ok().filter(|weight| (-253..=253).contains(weight));
    let help = "0 makes a loss a FAULT; another number moves the priority";
    weight.ok_or_else(|| Wanted::new("a whole number from -253 to 253", help))
}

/// Splits a command at blanks; quotes and backslashes keep blanks together.
fn split_command(text: &str) -> Vec<String> {
    let (mut words, mut word) = (Vec::new(), None::<String>);
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, quote) {
            ('\\', None | Some('"')) => word.get_or_insert_default().extend(chars.next()),
            ('"' | '\'', None) => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (c, Some(open)) if c == open => quote = None,
            (c, None) if c.is_whitespace() => words.extend(word.take()),
            (c, _) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_keeps_what_its_quotes_hold_together() {
        assert_eq!(split_command(r#"/bin/x 'a b' "c d" e\ f"#), ["/bin/x", "a b", "c d", "e f"]);
        assert_eq!(split_command("  "), Vec::<String>::new());
        assert_eq!(split_command("''"), [""]);
    }
}
