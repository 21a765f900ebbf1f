//! `vrrp_instance` and `vrrp_sync_group`.

use std::time::Duration;

use keepone_proto::id::{Priority, Vrid};
use keepone_proto::settings::VrrpVersion;

use crate::keyword::{AUTHENTICATION, VRRP_INSTANCE, VRRP_SYNC_GROUP};
use crate::model::{InitialState, Mirror, Secret};
use crate::raw::{AuthType, RawConfig, RawGroup, RawInstance, RawNotify, RawOptions, RawTrack, RawTrackers, Written};
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
            _ => {
                if !self.option(&mut instance.options, item) {
                    self.notify(&mut instance.notify, item);
                }
            }
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
            let peer = self.word("unicast_peer", first, value::address);
            if let (Some(peer), Some((least, most))) = (&peer, self.peer_ttl(rest)) {
                instance.options.peer_ttl.push((peer.value, least, most));
            }
            peers.extend(peer);
        }
        if peers.is_empty() && !item.items().is_empty() {
            return;
        }
        instance.unicast_peers = Some(At::new(peers, item.keyword.place.clone()));
    }

    /// `[min_ttl N] [max_ttl N]` after a peer's address.
    fn peer_ttl(&mut self, words: &[Word]) -> Option<(u8, u8)> {
        let (mut least, mut most) = (0, 255);
        for pair in words.chunks(2) {
            let bound = match pair {
                [word, _] if word.text == "min_ttl" => &mut least,
                [word, _] if word.text == "max_ttl" => &mut most,
                [word, ..] => {
                    let message = format!("`{}` after a peer's address", super::shorten(&word.text));
                    let help = "write each peer on a line of its own, perhaps with `min_ttl N` and `max_ttl N`";
                    self.report.error(&word.place, message, help);
                    return None;
                }
                [] => continue,
            };
            let help = "write a hop limit from 0 to 255";
            *bound = pair.last().and_then(|word| self.word("ttl", word, value::number(0..=255, help)))?.value;
        }
        let first = words.first()?;
        if least > most {
            let message = format!("min_ttl {least} above max_ttl {most}: nothing of this peer would be taken");
            self.report.error(&first.place, message, "write the lesser one as min_ttl");
            return None;
        }
        Some((least, most))
    }

    fn track_interface(&mut self, item: &Item) -> Vec<RawTrack> {
        let lines = self.lines(item);
        lines.iter().filter_map(|line| self.track_line(line)).collect()
    }

    fn track_line(&mut self, line: &[Word]) -> Option<RawTrack> {
        let (first, rest) = line.split_first()?;
        let interface = self.word("track_interface", first, value::interface)?;
        let mut track = RawTrack { interface, weight: 0, reverse: false };
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            match word.text.as_str() {
                "weight" => match rest.next() {
                    Some(weight) => {
                        let weight = self.weight_value(weight, 253)?;
                        track.weight = i16::try_from(weight).unwrap_or_default();
                    }
                    None => {
                        let help = "write for instance `weight -20`";
                        self.report.error(&word.place, "`weight` without a number", help);
                    }
                },
                "noreverse" => track.reverse = false,
                "reverse" => track.reverse = true,
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

    pub(super) fn vrrp_sync_group(&mut self, raw: &mut RawConfig, block: &Item) {
        let Some(name) = self.value(block, value::name) else { return };
        let (members, track, notify) = (Vec::new(), Vec::new(), RawNotify::default());
        let mut group = RawGroup {
            name,
            members,
            track,
            policy: None,
            notify,
            trackers: RawTrackers::default(),
            tracking_weight: None,
            smtp_alert: None,
            notify_priority_changes: None,
        };
        self.each(block.items(), &VRRP_SYNC_GROUP, |lower, item| match item.keyword.text.as_str() {
            "group" => {
                for word in lower.lines(item).into_iter().flatten() {
                    group.members.extend(lower.word("group", &word, value::name));
                }
            }
            "track_interface" => group.track.extend(lower.track_interface(item)),
            "arbiter_policy" => group.policy = lower.value(item, policy),
            "track_script" => group.trackers.scripts.extend(lower.tracked(item, 253)),
            "track_file" => group.trackers.files.extend(lower.tracked(item, 254)),
            "track_process" => group.trackers.processes.extend(lower.tracked(item, 253)),
            "track_bfd" => group.trackers.bfd.extend(lower.tracked(item, 253)),
            "track_virtual_server" => group.trackers.virtual_servers.extend(lower.tracked(item, 253)),
            "sync_group_tracking_weight" => group.tracking_weight = lower.flag(item),
            "smtp_alert" => group.smtp_alert = lower.flag(item).map(|flag| flag.value),
            "notify_priority_changes" => {
                group.notify_priority_changes = lower.flag(item).map(|flag| flag.value);
            }
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
        options: RawOptions::default(),
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
