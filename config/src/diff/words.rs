//! What a change of each part of the model is called, and what it costs the running agent.
//!
//! This is the only place that says either. A part without a row is told by the name of its field, and costs nothing
//! below a part that a running agent takes over, else a restart of the agent.
//! Paths are the fields' names joined with dots; `[]` is an element of a list, whichever it is.

/// What it takes to bring a change into a running agent: the agent itself asks here (`Difference::restarts_agent`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cost {
    /// What holds it goes on.
    Nothing,
    /// The virtual router, or the group, ends and begins anew; why.
    Restart(&'static str),
    /// The whole agent does, and with it everything below this path; what the operator has to know.
    Agent(&'static str),
}

/// One part of the model.
#[derive(Debug)]
pub(super) struct Row {
    pub path: &'static str,
    /// What it is called; empty: by the name of its field.
    pub noun: &'static str,
    /// Of an element of a list, the fields that tell it from others; empty: see [`IDENTITIES`].
    pub identity: &'static [&'static str],
    /// How an element is shown when it comes or goes: fields, each with what stands before it; empty: its identity.
    pub show: &'static [(&'static str, &'static str)],
    /// In "of X" the name alone says what it is.
    pub is_known_by_name: bool,
    /// A list that is one value, such as a command.
    pub is_whole: bool,
    pub cost: Cost,
}

const PLAIN: Row =
    Row { path: "", noun: "", identity: &[], show: &[], is_known_by_name: false, is_whole: false, cost: Cost::Nothing };

const fn noun(path: &'static str, noun: &'static str) -> Row {
    Row { path, noun, ..PLAIN }
}

const fn element(path: &'static str, noun: &'static str, identity: &'static [&'static str]) -> Row {
    Row { path, noun, identity, ..PLAIN }
}

const fn costs(path: &'static str, noun: &'static str, cost: Cost) -> Row {
    Row { path, noun, cost, ..PLAIN }
}

/// What tells elements of a list without a row from each other: the first of these that they have; else the whole.
pub(super) const IDENTITIES: [&str; 7] = ["name", "id", "interface", "address", "path", "key", "0"];

/// Parts that follow from others, or mean nothing to the agent.
pub(super) const IGNORED: [&str; 2] = ["cluster.id", "inactive"];

/// Lists whose elements are places in other lists, and which.
pub(super) const PLACES: [(&str, &str); 3] = [
    ("sync_groups[].instances[]", "instances"),
    ("instances[].options.trackers.virtual_servers[].tracker", "virtual_servers"),
    ("sync_groups[].trackers.virtual_servers[].tracker", "virtual_servers"),
];

const NEW_ROUTER: Cost = Cost::Restart("a new virtual router");
const VOTERS: Cost = Cost::Agent("the voter set changes: use `keepone voters`, one voter at a time");
const MOVES: Cost =
    Cost::Agent("the authority is moved: use `keepone authority`, all nodes to one step before any to the next");
const CLUSTER: Cost = Cost::Agent("the cluster changes: the same is needed on every member");
const LEASE: Cost = Cost::Agent("the lease changes: voters refuse a node with another one, so change every member");
const START: Cost = Cost::Agent("it is set up once, at the start");

/// What a running agent takes over; `global.announce` by itself, and not all of `global`. Whatever is under none of
/// these, or is new in the model, is set up once, at the start.
const IN_PLACE: [&str; 30] = [
    "links",
    "web",
    "instances",
    "sync_groups",
    "trackers",
    "statics",
    "references",
    // One way does not lead back: `super::policies_left`.
    "policy",
    "grace",
    "claim_without_gate",
    "global.announce",
    "global.mail",
    "global.webhooks",
    // The guardian asks for them when it needs them.
    "global.scripts.startup",
    "global.scripts.shutdown",
    "global.vrrp.garp_interval",
    "global.vrrp.gna_interval",
    "global.vrrp.min_garp",
    "global.vrrp.garp_groups",
    "global.vrrp.link_delays",
    "global.vrrp.log_unknown_vrids",
    "global.vrrp.linkbeat_all",
    "global.vrrp.linkbeat_interfaces",
    // Of the next start.
    "global.vrrp.startup_delay",
    "global.vrrp.delay_after_boot",
    "global.vrrp.dynamic_interfaces",
    "global.vrrp.allow_if_changes",
    // By differences in the kernel's table.
    "virtual_servers",
    "server_groups",
    "global.ipvs",
];

/// All of them.
#[rustfmt::skip]
pub(super) static ROWS: &[Row] = &[
    Row { is_known_by_name: true, ..element("instances[]", "instance", &["name"]) },
    costs("instances[].interface", "interface", NEW_ROUTER),
    costs("instances[].vrid", "virtual_router_id", NEW_ROUTER),
    costs("instances[].ipv6", "native_ipv6", NEW_ROUTER),
    costs("instances[].version", "version", Cost::Restart("its Advertisements are others")),
    noun("instances[].transport.source", "source address of Advertisements"),
    noun("instances[].transport.peers[]", "unicast peer"),
    Row {
        show: &[("address", ""), ("prefix", "/"), ("dev", " dev "), ("broadcast", " brd "), ("label", " label ")],
        ..element("instances[].virtual_addresses[]", "VIP", &["address"])
    },
    noun("instances[].virtual_addresses", "VIPs"),
    Row { show: &[("interface", ""), ("weight", " weight ")],
        ..element("instances[].track_interface[]", "tracked interface", &["interface"]) },
    noun("instances[].track_interface", "tracked interfaces"),
    noun("instances[].auth_pass", "password"),
    noun("instances[].options.hmac", "auth_hmac"),
    Row { identity: &["0"], show: &[("0", "")], ..noun("instances[].options.hmac.keys[]", "key of auth_hmac") },
    noun("instances[].options.hmac.keys[].1", "secret"),
    noun("instances[].options.hmac.active_key", "active_key of auth_hmac"),
    noun("instances[].options.hmac.mode", "mode of auth_hmac"),
    noun("instances[].options.hmac.window", "time_window of auth_hmac"),
    noun("instances[].options.own_interface", "interface with a virtual MAC"),
    noun("instances[].options.routes", "routes"),
    noun("instances[].options.routes[]", "route"),
    noun("instances[].options.rules", "rules"),
    noun("instances[].options.rules[]", "rule"),
    noun("statics", "static addresses, routes and rules"),
    noun("statics.addresses[]", "static address"),
    noun("statics.routes[]", "static route"),
    noun("statics.rules[]", "static rule"),
    noun("statics.track_groups[]", "track_group"),
    noun("instances[].auth_type", "auth_type"),
    costs("global.vrrp.disable_local_igmp", "disable_local_igmp", START),
    noun("global.vrrp.link_delays", "interface_up_down_delays"),
    Row { is_whole: true, ..noun("global.vrrp.link_delays[]", "delay of a link") },
    noun("instances[].policy", "arbiter_policy"),
    noun("instances[].announce.burst", "garp_master_repeat"),
    noun("instances[].announce.second", "garp_master_delay"),
    Row { is_whole: true, ..noun("instances[].announce.again", "times of further announcements") },
    noun("instances[].announce.rival_burst", "garp_lower_prio_repeat"),
    noun("instances[].announce.rival_second", "garp_lower_prio_delay"),
    noun("instances[].announce.refresh", "garp_master_refresh"),
    noun("instances[].announce.elsewhere", "garp_extra_if"),
    noun("global.announce.burst", "vrrp_garp_master_repeat"),
    noun("global.announce.second", "vrrp_garp_master_delay"),
    Row { is_whole: true, ..noun("global.announce.again", "times of further announcements") },
    noun("global.announce.rival_burst", "vrrp_garp_lower_prio_repeat"),
    noun("global.announce.rival_second", "vrrp_garp_lower_prio_delay"),
    noun("global.announce.refresh", "vrrp_garp_master_refresh"),
    noun("global.announce.elsewhere", "vrrp_garp_extra_if"),
    noun("instances[].options.extra_interfaces", "garp_extra_if"),
    noun("global.dbus", "D-Bus service"),
    noun("global.mail.server", "smtp_server"),
    noun("global.mail.timeout", "smtp_connect_timeout"),
    noun("global.mail.helo_name", "smtp_helo_name"),
    noun("global.mail.from", "notification_email_from"),
    element("global.mail.recipients[]", "notification_email", &[]),
    noun("global.mail.no_faults", "no_email_faults"),
    noun("global.mail.tls", "smtp_tls"),
    noun("global.mail.ca_file", "smtp_ca_file"),
    noun("global.mail.user", "smtp_user"),
    Row { is_known_by_name: true, ..element("global.webhooks[]", "webhook", &["name"]) },
    noun("global.vrrp.garp_interval", "vrrp_garp_interval"),
    noun("global.vrrp.gna_interval", "vrrp_gna_interval"),
    noun("global.vrrp.min_garp", "vrrp_min_garp"),
    Row { is_whole: true, ..noun("global.vrrp.garp_groups", "garp_groups") },
    Row { is_known_by_name: true, ..element("sync_groups[]", "sync group", &["name"]) },
    noun("sync_groups[].instances[]", "instance"),
    noun("sync_groups[].policy", "arbiter_policy"),
    element("virtual_servers[]", "virtual server", &["service", "protocol"]),
    Row { show: &[("address", ""), ("port", " "), ("weight", " weight ")],
        ..element("virtual_servers[].real_servers[]", "real server", &["address", "port"]) },
    noun("virtual_servers[].sorry_server", "sorry server"),
    element("instances[].options.trackers.virtual_servers[]", "tracked virtual server", &["tracker"]),
    element("sync_groups[].trackers.virtual_servers[]", "tracked virtual server", &["tracker"]),
    element("server_groups[]", "virtual server group", &["name"]),
    element("trackers.scripts[]", "vrrp_script", &["name"]),
    element("trackers.files[]", "track_file", &["name"]),
    element("trackers.processes[]", "vrrp_track_process", &["name"]),
    element("references.targets[]", "reference address", &[]),
    costs("cluster", "cluster", CLUSTER),
    costs("cluster.members[]", "member", CLUSTER),
    costs("cluster.key_file", "key_file", START),
    costs("cluster.state_dir", "state_dir", START),
    costs("cluster.run_dir", "run_dir", START),
    costs("cluster.bpf_dir", "bpf_dir", START),
    costs("cluster.control_group", "control_group", START),
    noun("links", "heartbeat links"),
    noun("links[]", "heartbeat link"),
    noun("links[].peers[]", "peer"),
    costs("heartbeat", "heartbeat", CLUSTER),
    costs("authority", "arbiter", LEASE),
    costs("etcd", "arbiter", LEASE),
    costs("authority.voters", "voters", VOTERS),
    costs("authority.voters[]", "voter", VOTERS),
    costs("authority.former", "former_voters", VOTERS),
    costs("authority.former[]", "former voter", VOTERS),
    costs("authority.moving", "the move from another authority", MOVES),
    costs("authority.moving.joint", "joint_voters", MOVES),
    costs("authority.moving.joint[]", "joint voter", MOVES),
    costs("authority.moving.after", "former_joint_voters", MOVES),
    costs("authority.moving.after[]", "former joint voter", MOVES),
    costs("authority.generation", "generation of the voter set", VOTERS),
    noun("authority.timing.lease", "lease"),
    noun("authority.timing.lease_max", "lease_max"),
    noun("policy", "policy"),
    noun("instances[].options.promote_secondaries", "promote_secondaries"),
    element("trackers.bfd[]", "bfd_instance", &["name"]),
    costs("gate", "means of the gate", START),
    costs("global.fifos.all", "notify_fifo", START),
    costs("global.fifos.vrrp", "vrrp_notify_fifo", START),
    costs("global.fifos.ipvs", "lvs_notify_fifo", START),
    costs("global.scheduling.rt_priority", "vrrp_rt_priority", START),
    costs("global.scheduling.cpus", "vrrp_cpu_affinity", START),
    costs("fencing.watchdog", "watchdog", START),
    noun("web", "web page"),
    Row { is_whole: true, ..noun("web.tls", "cert_file and cert_key_file of web") },
    noun("web.listen", "address of web"),
    noun("web.token_file", "token_file of web"),
];

/// The row of a path, if it has one.
pub(super) fn row(path: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.path == path)
}

/// What a change at a path costs: its own row says so, or the nearest one above it that is for all below.
pub(super) fn cost(path: &str) -> Cost {
    if let Some(cost) = row(path).map(|row| row.cost).filter(|cost| *cost != Cost::Nothing) {
        return cost;
    }
    let mut above = path;
    while let Some(end) = above.rfind(['.', '[']) {
        above = above.get(..end).unwrap_or("");
        if let Some(cost @ Cost::Agent(_)) = row(above).map(|row| row.cost) {
            return cost;
        }
    }
    let is_under = |part: &str| {
        let rest = path.strip_prefix(part);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    if IN_PLACE.iter().any(|part| is_under(part)) { Cost::Nothing } else { START }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_path_has_two_rows() {
        let mut paths: Vec<_> = ROWS.iter().map(|row| row.path).collect();
        paths.sort_unstable();
        assert!(paths.windows(2).all(|pair| pair[0] != pair[1]), "{paths:?}");
    }

    #[test]
    fn what_an_agent_has_to_restart_for_is_so_for_all_below() {
        assert_eq!(cost("authority.timing.transmit"), LEASE);
        assert_eq!(cost("authority.voters[]"), VOTERS);
        assert_eq!(cost("links[].port"), Cost::Nothing);
        assert_eq!(cost("instances[].priority"), Cost::Nothing);
        assert_eq!(cost("sync_groups[].notify.master"), Cost::Nothing);
        assert_eq!(cost("global.announce.burst"), Cost::Nothing);
        assert_eq!(cost("instances_of_another_kind"), START);
        // What is left out of a log must cost nothing (`brief`).
        assert!(ROWS.iter().filter(|row| row.path.starts_with("virtual_servers")).all(|row| row.cost == Cost::Nothing));
        assert_eq!(cost("global.script_user"), START);
    }
}
