//! Keywords of VRRP; the words are keepalived's, so that its files can be read.

use super::Form::{Block, Flag, Lines, Maybe, Value, Words};
use super::Tier::{A, B, C, Own};
use super::{Keyword, Table, Tier, key};

const SCRIPT: &str = "COMMAND [USER [GROUP]]";
const TRACKED: &str = "NAME [weight -253..253 [reverse|noreverse]]";

/// What `global_defs` decides unless the instance does.
const fn defaulted(tier: Tier, name: &'static str, meaning: &'static str) -> Keyword {
    key(tier, name, Flag, meaning).values("of global_defs", "", "")
}

const fn script(tier: Tier, name: &'static str, meaning: &'static str) -> Keyword {
    key(tier, name, Words, meaning).values("none", SCRIPT, "")
}

/// What a line of `track_…` may say.
const fn tracked(tier: Tier, name: &'static str, meaning: &'static str) -> Keyword {
    key(tier, name, Lines, meaning).values("none", TRACKED, "")
}

pub(crate) static VRRP_INSTANCE: Table = Table::strict(
    "vrrp_instance",
    &[
        // Identity and election.
        key(A, "state", Value, "how the instance would like to begin").values(
            "MASTER at priority 255, else BACKUP",
            "MASTER|BACKUP",
            "",
        ),
        key(A, "interface", Value, "where it advertises").values("default_interface", "", ""),
        key(A, "virtual_router_id", Value, "its number (VRID), the same on every node").values("", "1..255", ""),
        key(B, "version", Value, "the version of its advertisements").values("vrrp_version", "2|3", ""),
        key(A, "priority", Value, "who stands first; 255 is the owner of the address").values(
            "100, or 255 with state MASTER",
            "1..255",
            "",
        ),
        key(A, "advert_int", Value, "time between two advertisements; version 2 has whole seconds").values(
            "1",
            "0.01..255",
            "s",
        ),
        key(C, "down_timer_adverts", Value, "how many of them must miss before a Backup stands")
            .values("3", "1..100", ""),
        key(C, "preempt", Flag, "a higher node takes over from a lower Master").values("on", "", ""),
        key(A, "nopreempt", Flag, "it does not").values("off", "", ""),
        key(A, "preempt_delay", Value, "how long a lower Master is tolerated").values("0", "0..1000", "s"),
        key(C, "timer_expired_backup", Maybe, "with nopreempt: a Master whose timer ran too late steps down")
            .values("off", "[1..254]", ""),
        key(C, "thread_timer_expired", Maybe, "another name of timer_expired_backup").values("off", "[1..254]", ""),
        key(Own, "arbiter_policy", Value, "what becomes of it while the arbiter is silent").values(
            "the arbiter's policy",
            "strict|degrade|i-accept-dual-master",
            "",
        ),
        key(Own, "mirror", Value, "which gateway a Master pings from its address").values(
            "auto",
            "auto, off or an address",
            "",
        ),
        defaulted(C, "owner_ignore_adverts", "the owner of the address (255) listens to nobody"),
        defaulted(C, "lower_prio_no_advert", "a Master does not answer a lower node at once"),
        defaulted(C, "higher_prio_send_advert", "a Master advertises once more before it yields to a higher node"),
        defaulted(B, "strict_mode", "to the letter of the RFC"),
        key(C, "accept", Flag, "take packets for the addresses though not their owner").values("on", "", ""),
        key(C, "no_accept", Flag, "drop packets for the addresses unless their owner").values("off", "", ""),
        key(C, "debug", Maybe, "nothing, in keepalived too").ignored("remove it, and set KEEPONE_LOG=debug instead"),
        // Addresses and routes.
        key(A, "virtual_ipaddress", Lines, "the addresses that it moves, and advertises").values(
            "none",
            "ADDRESS[/LENGTH] [dev IF] [brd B] [scope S] [label L]",
            "",
        ),
        key(B, "virtual_ipaddress_excluded", Lines, "addresses that it moves, but does not advertise").values(
            "none",
            "ADDRESS[/LENGTH] [dev IF] [brd B] [scope S] [label L]",
            "",
        ),
        key(C, "no_virtual_ipaddress", Flag, "that it has no address is meant").values("off", "", ""),
        key(C, "promote_secondaries", Flag, "other addresses of a network survive its first one").values("off", "", ""),
        key(B, "virtual_routes", Lines, "routes that are there while it is Master").values(
            "none",
            "as `ip route`, no_track",
            "",
        ),
        key(C, "virtual_rules", Lines, "routing rules that are there while it is Master").values(
            "none",
            "as `ip rule`, no_track",
            "",
        ),
        // How advertisements travel.
        key(B, "mcast_src_ip", Value, "the sender's address in multicast").values("the interface's first", "", ""),
        key(A, "unicast_src_ip", Value, "the sender's address in unicast").values("the interface's first", "", ""),
        key(A, "unicast_peer", Lines, "whom to advertise to, instead of the multicast group").values(
            "none",
            "ADDRESS [min_ttl 0..255] [max_ttl 0..255]",
            "",
        ),
        key(C, "unicast_ttl", Value, "hop limit of unicast advertisements").values("255", "1..255", ""),
        key(C, "unicast_fault_no_peer", Flag, "FAULT rather than multicast when there is no peer")
            .values("off", "", ""),
        defaulted(B, "check_unicast_src", "drop advertisements from addresses that are no peers"),
        key(C, "old_unicast_checksum", Maybe, "the checksum of keepalived up to 1.3.6")
            .ignored("remove it, and update nodes that still need it"),
        key(B, "v3_checksum_as_v2", Flag, "version 3 over IPv4 sums without the pseudo-header (RFC 9568)").values(
            "of global_defs",
            "",
            "",
        ),
        key(C, "mcast_dst_ip", Value, "another multicast group").values("of global_defs", "a multicast address", ""),
        key(C, "track_src_ip", Flag, "FAULT while the sender's address is not there").values("off", "", ""),
        key(C, "native_ipv6", Flag, "IPv6 although no address says so").values("off", "", ""),
        key(B, "use_vmac", Maybe, "live on an interface with the virtual MAC 00-00-5e-00-01-VRID").values(
            "off",
            "[NAME] [MAC] [netlink_notify_msg] [group N]",
            "",
        ),
        key(C, "use_vmac_addr", Flag, "the same for addresses on other interfaces").values("off", "", ""),
        key(B, "vmac_xmit_base", Flag, "advertise on the interface below the virtual MAC's").values("off", "", ""),
        key(C, "use_ipvlan", Maybe, "live on an ipvlan interface").values(
            "off",
            "[NAME] [ADDRESS] [bridge|private|vepa] [group N]",
            "",
        ),
        key(C, "vrf", Value, "the VRF that it works in").refused("name the interface with `interface` instead"),
        defaulted(C, "skip_check_adv_addr", "compare the addresses in an advertisement only when the sender changes"),
        key(C, "kernel_rx_buf_size", Value, "size of its receive buffer")
            .ignored("remove it: the agent's buffers hold more than a second of adverts"),
        // Authentication.
        key(A, "authentication", Block(&AUTHENTICATION), "the authentication of version 2"),
        // Outside their block keepalived takes them too.
        key(Own, "auth_type", Value, "how advertisements are authenticated").values("none", "PASS|AH", ""),
        key(Own, "auth_pass", Value, "the password").values("none", "1 to 8 bytes", ""),
        key(B, "auth_hmac", Block(&AUTH_HMAC), "advertisements signed with HMAC-SHA256"),
        // Announcements.
        key(B, "garp_master_repeat", Value, "announcements in the burst of a new Master").values(
            "of global_defs",
            "1..255",
            "",
        ),
        key(B, "garp_master_delay", Value, "time from that burst to one more").values("of global_defs", "0..4294", "s"),
        key(B, "garp_master_refresh", Value, "announce again and again at this interval").values(
            "of global_defs",
            "0..4294967",
            "s",
        ),
        key(B, "garp_master_refresh_repeat", Value, "announcements in each of those").values(
            "of global_defs",
            "0..255",
            "",
        ),
        key(C, "garp_lower_prio_delay", Value, "second burst after a lower node advertised").values(
            "of global_defs",
            "0..4294",
            "s",
        ),
        key(C, "garp_lower_prio_repeat", Value, "announcements after a lower node advertised").values(
            "of global_defs",
            "0..255",
            "",
        ),
        key(C, "garp_extra_if", Words, "announce on its other interfaces at this interval").values(
            "of global_defs",
            "[all] 0..86400",
            "s",
        ),
        key(C, "vmac_garp_intvl", Words, "the former name of garp_extra_if").values(
            "of global_defs",
            "[all] 0..86400",
            "s",
        ),
        // Tracking.
        key(B, "dont_track_primary", Flag, "do not watch its own interface").values("off", "", ""),
        key(A, "track_interface", Lines, "interfaces whose loss is a FAULT, or moves the priority")
            .values("none", TRACKED, ""),
        tracked(A, "track_script", "scripts whose failure is a FAULT, or moves the priority"),
        tracked(B, "track_file", "files whose number moves the priority"),
        tracked(B, "track_process", "processes whose end is a FAULT, or moves the priority"),
        tracked(C, "track_bfd", "BFD sessions whose loss is a FAULT, or moves the priority"),
        tracked(Own, "track_virtual_server", "virtual servers whose lost quorum is a FAULT, or moves the priority"),
        key(C, "linkbeat_use_polling", Flag, "ask its interface for its link each second").values("off", "", ""),
        // Who is told.
        script(A, "notify", "run on every change, with type, name, state and priority"),
        script(A, "notify_master", "run on becoming MASTER"),
        script(A, "notify_backup", "run on becoming BACKUP"),
        script(A, "notify_fault", "run on becoming FAULT"),
        script(B, "notify_stop", "run when the agent stops"),
        key(C, "notify_deleted", Maybe, "run when a reload removes the instance").values("none", SCRIPT, ""),
        script(C, "notify_master_rx_lower_pri", "run when a Master hears a lower node advertise"),
        key(C, "notify_priority_changes", Flag, "FIFOs get changes of priority too").values("of global_defs", "", ""),
        defaulted(A, "smtp_alert", "mail on every change"),
        key(C, "lvs_sync_daemon_interface", Value, "where IPVS tells the other director of connections")
            .ignored("write `lvs_sync_daemon` in global_defs"),
    ],
);

pub(crate) static AUTHENTICATION: Table = Table::strict(
    "authentication",
    &[
        key(A, "auth_type", Value, "how advertisements are authenticated").values("none", "PASS|AH", ""),
        key(A, "auth_pass", Value, "the password: in clear in every advertisement, or its key").values(
            "none",
            "1 to 8 bytes",
            "",
        ),
    ],
);

pub(crate) static AUTH_HMAC: Table = Table::strict(
    "auth_hmac",
    &[
        key(B, "key", Words, "a key and its number; several while keys are changed").adding().values(
            "",
            "1..255 hex:DIGITS|file:PATH|TEXT, 32 to 64 bytes",
            "",
        ),
        key(B, "active_key", Value, "the number of the key that signs").values("", "1..255", ""),
        key(B, "mode", Value, "what becomes of unsigned advertisements").values(
            "enforce",
            "enforce|permissive|receive-only",
            "",
        ),
        key(C, "time_window", Value, "how old a signed advertisement may be").values(
            "3 advert_int, 5 at least",
            "1..300",
            "s",
        ),
        key(C, "anti_replay", Value, "how an old one is told from a new one").values("time", "time|monotonic", ""),
    ],
);

pub(crate) static VRRP_SYNC_GROUP: Table = Table::strict(
    "vrrp_sync_group",
    &[
        key(A, "group", Lines, "the instances that move together"),
        key(B, "track_interface", Lines, "interfaces that all of them watch").values("none", TRACKED, ""),
        tracked(B, "track_script", "scripts that all of them watch"),
        tracked(C, "track_file", "files that all of them watch"),
        tracked(C, "track_process", "processes that all of them watch"),
        tracked(C, "track_bfd", "BFD sessions that all of them watch"),
        tracked(Own, "track_virtual_server", "virtual servers that all of them watch"),
        key(Own, "arbiter_policy", Value, "what becomes of it while the arbiter is silent").values(
            "the arbiter's policy",
            "strict|degrade|i-accept-dual-master",
            "",
        ),
        script(B, "notify", "run on every change, with type, name, state and priority"),
        script(A, "notify_master", "run on becoming MASTER"),
        script(A, "notify_backup", "run on becoming BACKUP"),
        script(A, "notify_fault", "run on becoming FAULT"),
        script(B, "notify_stop", "run when the agent stops"),
        defaulted(A, "smtp_alert", "mail on every change"),
        key(C, "notify_priority_changes", Flag, "FIFOs get changes of priority too").values("of global_defs", "", ""),
        key(C, "sync_group_tracking_weight", Flag, "weights count within the group too").values("off", "", ""),
        key(C, "global_tracking", Flag, "nothing any more, in keepalived too")
            .ignored("remove it: a group's trackers count for all its instances"),
    ],
);
