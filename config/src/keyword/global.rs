//! `global_defs`.

use super::Form::{Flag, Lines, Maybe, Value, Words};
use super::Tier::{A, B, C, Own};
use super::{Keyword, Table, key};

const SCRIPT: &str = "COMMAND [USER [GROUP]]";
const FIFO: &str = "PATH [USER [GROUP]]";
const NAMES: &str = "remove it: keepone's processes are `keepone run` and its worker";
const NETLINK: &str = "remove it: the agent sizes its netlink sockets, and reads everything anew when one overflows";
const PRIORITY: &str = "set Nice=, CPUSchedulingPolicy=, CPUAffinity= or LimitRTTIME= in the unit";
const TABLES: &str = "remove it: keepone filters in a table of its own, with names that nobody else uses";
const ALWAYS: &str =
    "remove it: what decides runs in real time from the start; `vrrp_rt_priority` says with which priority";
const DUMPS: &str = "ask the running agent through its control socket instead";
const RELOAD: &str = "remove it: the agent reads the file anew on SIGHUP and keeps the old one if it is wrong";
const SNMP_RFC: &str = "write `enable_snmp_rfcv3`, which is for VRRPv2 too";
const SNMP_STATS: &str = "read keepone's metrics: SNMP has no statistics of IPVS here";
const DBUS: &str = "remove it: every instance has an interface";
const IPROUTE: &str = "write routing tables and protocols by their numbers";

/// A word that nothing follows from.
const fn nothing(name: &'static str, meaning: &'static str, instead: &'static str) -> Keyword {
    key(C, name, Maybe, meaning).ignored(instead)
}

pub(crate) static GLOBAL_DEFS: Table = Table::strict(
    "global_defs",
    &[
        // Who we are, and who is told.
        key(A, "router_id", Value, "this node's name in mails and logs").values("the host's name", "", ""),
        key(A, "notification_email", Lines, "who gets alert mail, one address a line").values("nobody", "", ""),
        key(A, "notification_email_from", Value, "the sender of alert mail").values("keepone@HOST", "", ""),
        key(A, "smtp_server", Words, "the mail relay for alerts").values("none", "HOST [PORT]", ""),
        key(A, "smtp_connect_timeout", Value, "how long the mail relay may take").values("30", "0..4294", "s"),
        key(C, "smtp_helo_name", Value, "how we greet the mail relay").values("the host's name", "", ""),
        key(B, "smtp_alert", Flag, "whether whatever has an smtp_alert mails, unless it says otherwise"),
        key(B, "smtp_alert_vrrp", Flag, "the same for instances and sync groups only"),
        key(B, "smtp_alert_checker", Flag, "the same for virtual and real servers only"),
        key(C, "no_email_faults", Flag, "no mail on FAULT").values("off", "", ""),
        nothing(
            "no_checker_emails",
            "mail when a real server comes or goes, not for each of its checks",
            "leave it out: it is always so",
        ),
        key(C, "checker_log_all_failures", Flag, "log every failed check, not only the one that decides")
            .values("off", "", ""),
        key(C, "rs_init_notifies", Flag, "run notify_up at the start too").values("off", "", ""),
        key(Own, "smtp_tls", Value, "how what is said to the mail relay is protected").values(
            "off",
            "off|starttls|implicit",
            "",
        ),
        key(Own, "smtp_ca_file", Value, "who has signed the mail relay's certificate").values(
            "the system's",
            "a file, PEM",
            "",
        ),
        key(Own, "smtp_user", Value, "the user that the mail relay knows this node by").values("none", "", ""),
        key(Own, "smtp_password_file", Value, "that user's password").values("", "a file", ""),
        // Scripts.
        key(A, "script_user", Words, "whom scripts run as").values("keepalived_script, or root", "USER [GROUP]", ""),
        key(A, "enable_script_security", Flag, "refuse a script that runs as root and that others could change")
            .values("off", "", ""),
        key(Own, "script_timeout", Value, "when a notify script is killed").values("60", "0.1..3600", "s"),
        key(Own, "alert_script", Words, "run at the begin and the end of each alert").values("none", SCRIPT, ""),
        key(Own, "event_fifo", Value, "a FIFO that gets transitions and alerts as JSON lines")
            .values("none", "a path", ""),
        key(C, "set_supplementary_groups", Flag, "give scripts all groups of their user").values("off", "", ""),
        key(C, "startup_script", Words, "run once before anything else").values("none", SCRIPT, ""),
        key(C, "startup_script_timeout", Value, "when it is killed").values("10", "1..1000", "s"),
        key(C, "shutdown_script", Words, "run once when all else has ended").values("none", SCRIPT, ""),
        key(C, "shutdown_script_timeout", Value, "when it is killed").values("10", "1..1000", "s"),
        nothing("use_symlink_paths", "keep symbolic links in the paths of scripts", "name the script itself"),
        nothing("umask", "of files that are made", "set UMask= in the unit"),
        // VRRP.
        key(A, "vrrp_version", Value, "the version of instances that name none; IPv6 is always 3")
            .values("2", "2|3", ""),
        key(
            A,
            "vrrp_skip_check_adv_addr",
            Flag,
            "compare the addresses in an advertisement only when the sender changes",
        )
        .values("off", "", ""),
        key(A, "vrrp_strict", Flag, "hold instances to the letter of the RFC").values("off", "", ""),
        key(C, "vrrp_mcast_group4", Value, "where IPv4 advertisements go").values(
            "224.0.0.18",
            "an IPv4 multicast address",
            "",
        ),
        key(C, "vrrp_mcast_group6", Value, "where IPv6 advertisements go").values(
            "ff02::12",
            "an IPv6 multicast address",
            "",
        ),
        key(A, "vrrp_garp_interval", Value, "least time between two gratuitous ARPs of an interface")
            .values("0", "0..4294", "s"),
        key(A, "vrrp_gna_interval", Value, "least time between two neighbour advertisements of an interface")
            .values("0", "0..4294", "s"),
        key(B, "vrrp_garp_master_repeat", Value, "announcements in the burst of a new Master")
            .values("5", "1..255", ""),
        key(B, "vrrp_garp_master_delay", Value, "time from the burst of a new Master to one more")
            .values("5", "0..4294", "s"),
        key(B, "vrrp_garp_master_refresh", Value, "announce again and again at this interval").values(
            "0, off",
            "0..4294967",
            "s",
        ),
        key(B, "vrrp_garp_master_refresh_repeat", Value, "announcements in each of those").values("1", "0..255", ""),
        key(C, "vrrp_garp_lower_prio_delay", Value, "second burst after a lower node advertised").values(
            "= vrrp_garp_master_delay",
            "0..4294",
            "s",
        ),
        key(C, "vrrp_garp_lower_prio_repeat", Value, "announcements after a lower node advertised").values(
            "= vrrp_garp_master_repeat",
            "0..255",
            "",
        ),
        key(C, "vrrp_min_garp", Flag, "a single announcement, and none after it, unless other words ask for more")
            .values("off", "", ""),
        key(C, "vrrp_garp_extra_if", Words, "announce on the other interfaces of an instance at this interval").values(
            "off",
            "[all] 1..86400",
            "s",
        ),
        key(C, "vrrp_vmac_garp_intvl", Words, "the former name of vrrp_garp_extra_if").values(
            "off",
            "[all] 1..86400",
            "s",
        ),
        key(C, "vrrp_down_timer_adverts", Value, "how many advertisements must miss before a Backup stands")
            .values("3", "1..100", ""),
        key(C, "vrrp_lower_prio_no_advert", Flag, "a Master does not answer a lower node at once")
            .values("off", "", ""),
        key(C, "vrrp_higher_prio_send_advert", Flag, "a Master advertises once more before it yields to a higher node")
            .values("off", "", ""),
        key(C, "vrrp_owner_ignore_adverts", Flag, "the owner of the address (255) listens to nobody")
            .values("off", "", ""),
        key(B, "v3_checksum_as_v2", Flag, "version 3 over IPv4 sums without the pseudo-header (RFC 9568)")
            .values("off", "", ""),
        key(B, "vrrp_check_unicast_src", Flag, "drop unicast advertisements from addresses that are no peers")
            .values("off", "", ""),
        key(B, "vrrp_startup_delay", Value, "instances begin so long after the agent").values("0", "0..86400", "s"),
        key(C, "vrrp_delay_after_boot", Value, "instances begin so long after the machine")
            .values("0", "0..86400", "s"),
        key(C, "log_unknown_vrids", Flag, "log advertisements of virtual routers that we are no part of")
            .values("off", "", ""),
        key(B, "dynamic_interfaces", Maybe, "interfaces may come, go and come back").values(
            "off",
            "[allow_if_changes]",
            "",
        ),
        key(C, "default_interface", Value, "the interface of whatever names none").values("none", "", ""),
        key(C, "disable_local_igmp", Flag, "no IGMP reports for link-local groups while the agent runs")
            .values("off", "", ""),
        key(C, "vmac_prefix", Value, "how names of VMAC interfaces begin").values("vrrp", "", ""),
        key(C, "vmac_addr_prefix", Value, "the same for those of single addresses").values("= vmac_prefix", "", ""),
        key(B, "vrrp_iptables", Maybe, "chains for rules that drop what is sent to addresses not accepted").values(
            "off",
            "[INPUT [OUTPUT]]",
            "",
        ),
        nothing("vrrp_ipsets", "names of ipsets", TABLES),
        nothing("nftables", "name of the nf_tables table", TABLES),
        nothing("nftables_priority", "where in the order of hooks it is", TABLES),
        nothing("nftables_ifindex", "interfaces by number instead of name in it", TABLES),
        nothing("nftables_counters", "counters in its rules", TABLES),
        nothing("vrrp_rx_bufs_policy", "how receive buffers are sized", NETLINK),
        nothing("vrrp_rx_bufs_multiplier", "by what factor", NETLINK),
        // IPVS.
        key(B, "lvs_flush", Flag, "empty the kernel's IPVS table at the start").values("off", "", ""),
        key(C, "lvs_flush_on_stop", Maybe, "empty it at the stop; with VS, of our services only")
            .values("off", "[VS]", ""),
        key(C, "lvs_flush_onstop", Maybe, "the former name of lvs_flush_on_stop").values("off", "[VS]", ""),
        key(C, "lvs_timeouts", Words, "when IPVS forgets idle connections").adding().values(
            "the kernel's",
            "[tcp S] [tcpfin S] [udp S], 0..2678400",
            "s",
        ),
        key(B, "lvs_sync_daemon", Words, "tell the other director of connections; sender is who is Master").values(
            "off",
            "INTERFACE [[inst] INSTANCE] [id N] [maxlen N] [port N] [ttl N] [group ADDRESS]",
            "",
        ),
        nothing("nftables_ipvs", "marks for groups by nf_tables", "write the virtual_server_group with `fwmark` lines"),
        nothing("nftables_ipvs_priority", "where in the order of hooks they are set", TABLES),
        nothing("nftables_ipvs_start_fwmark", "the first mark that is used", TABLES),
        // FIFOs.
        key(B, "notify_fifo", Words, "a FIFO that gets every change of state").values("none", FIFO, ""),
        key(B, "notify_fifo_script", Words, "a reader for it, started with the FIFO as last argument")
            .values("none", SCRIPT, ""),
        key(B, "vrrp_notify_fifo", Words, "a FIFO for VRRP alone").values("none", FIFO, ""),
        key(B, "vrrp_notify_fifo_script", Words, "a reader for it").values("none", SCRIPT, ""),
        key(C, "lvs_notify_fifo", Words, "a FIFO for virtual and real servers alone").values("none", FIFO, ""),
        key(C, "lvs_notify_fifo_script", Words, "a reader for it").values("none", SCRIPT, ""),
        key(C, "vrrp_notify_priority_changes", Flag, "FIFOs get changes of priority too").values("off", "", ""),
        key(C, "fifo_write_vrrp_states_on_reload", Flag, "FIFOs get all states after a reload").values("off", "", ""),
        // Scheduling.
        key(B, "max_auto_priority", Maybe, "how far the real-time priority may rise when timers run late")
            .values("0, off", "-1..99", ""),
        nothing("min_auto_priority_delay", "how late a timer must be for that", ALWAYS),
        key(B, "vrrp_rt_priority", Value, "the agent's real-time priority").values("off", "1..99", ""),
        key(B, "vrrp_cpu_affinity", Words, "the processors that the agent may use")
            .adding()
            .values("all", "numbers", ""),
        nothing("vrrp_priority", "the agent's nice value", PRIORITY),
        nothing("vrrp_no_swap", "keep the agent in memory", "remove it: the agent is always kept in memory"),
        nothing("vrrp_rlimit_rttime", "processor time without a pause", PRIORITY),
        nothing("vrrp_rlimit_rtime", "the former name of vrrp_rlimit_rttime", PRIORITY),
        nothing("checker_priority", "nice value of the checkers", PRIORITY),
        nothing("checker_no_swap", "keep the checkers in memory", PRIORITY),
        nothing("checker_rt_priority", "real-time priority of the checkers", PRIORITY),
        nothing("checker_cpu_affinity", "the processors that checkers may use", PRIORITY),
        nothing("checker_rlimit_rttime", "processor time without a pause", PRIORITY),
        nothing("checker_rlimit_rtime", "the former name of checker_rlimit_rttime", PRIORITY),
        nothing("bfd_priority", "nice value of BFD", PRIORITY),
        nothing("bfd_no_swap", "keep BFD in memory", PRIORITY),
        nothing("bfd_rt_priority", "real-time priority of BFD", PRIORITY),
        nothing("bfd_cpu_affinity", "the processors that BFD may use", PRIORITY),
        nothing("bfd_rlimit_rttime", "processor time without a pause", PRIORITY),
        nothing("bfd_rlimit_rtime", "the former name of bfd_rlimit_rttime", PRIORITY),
        nothing("process_names", "processes get names of their own", NAMES),
        nothing("process_name", "name of the first process", NAMES),
        nothing("vrrp_process_name", "name of the VRRP process", NAMES),
        nothing("checker_process_name", "name of the checkers' process", NAMES),
        nothing("lvs_process_name", "the former name of checker_process_name", NAMES),
        nothing("bfd_process_name", "name of the BFD process", NAMES),
        // Netlink.
        nothing("vrrp_netlink_cmd_rcv_bufs", "size of a netlink buffer", NETLINK),
        nothing("vrrp_netlink_cmd_rcv_bufs_force", "beyond the system's limit", NETLINK),
        nothing("vrrp_netlink_monitor_rcv_bufs", "size of a netlink buffer", NETLINK),
        nothing("vrrp_netlink_monitor_rcv_bufs_force", "beyond the system's limit", NETLINK),
        nothing("process_monitor_rcv_bufs", "size of a netlink buffer", NETLINK),
        nothing("process_monitor_rcv_bufs_force", "beyond the system's limit", NETLINK),
        nothing("lvs_netlink_cmd_rcv_bufs", "size of a netlink buffer", NETLINK),
        nothing("lvs_netlink_cmd_rcv_bufs_force", "beyond the system's limit", NETLINK),
        nothing("lvs_netlink_monitor_rcv_bufs", "size of a netlink buffer", NETLINK),
        nothing("lvs_netlink_monitor_rcv_bufs_force", "beyond the system's limit", NETLINK),
        // SNMP and D-Bus.
        key(B, "snmp_socket", Maybe, "where the AgentX master listens").values(
            "unix:/var/agentx/master",
            "unix:PATH|tcp:ADDRESS:PORT",
            "",
        ),
        key(B, "enable_traps", Flag, "send SNMP notifications").values("off", "", ""),
        key(B, "enable_snmp_vrrp", Flag, "answer SNMP for VRRP by KEEPALIVED-MIB").values("off", "", ""),
        key(B, "enable_snmp_checker", Flag, "answer SNMP for virtual and real servers").values("off", "", ""),
        key(C, "enable_snmp_keepalived", Flag, "the former name of enable_snmp_vrrp").values("off", "", ""),
        key(C, "enable_snmp_rfc", Flag, "answer SNMP by VRRPV3-MIB (RFC 6527)").values("off", "", ""),
        nothing("enable_snmp_rfcv2", "the MIB of RFC 2787", SNMP_RFC),
        key(C, "enable_snmp_rfcv3", Flag, "answer SNMP by VRRPV3-MIB (RFC 6527)").values("off", "", ""),
        nothing("snmp_vs_stats_update_interval", "how old statistics of services may be", SNMP_STATS),
        nothing("snmp_rs_stats_update_interval", "how old statistics of servers may be", SNMP_STATS),
        key(C, "enable_dbus", Flag, "a service on the system's D-Bus, with keepalived's names").values("off", "", ""),
        key(C, "dbus_service_name", Value, "the name of that service").values(
            "org.keepalived.Vrrp1",
            "a name of D-Bus",
            "",
        ),
        nothing("dbus_no_interface_name", "how instances without an interface are called there", DBUS),
        // Reload, dumps, files.
        key(B, "reload_check_config", Maybe, "check a changed file before it is used")
            .values("on", "[LOG]", "")
            .later(),
        nothing("reload_time_file", "a file with the time of the next reload", RELOAD),
        nothing("reload_repeat", "reload every day", RELOAD),
        nothing("reload_file", "a file that is there while the configuration is read", RELOAD),
        key(C, "include_check", Maybe, "when an include that finds nothing is a mistake").values(
            "off",
            "readable, match, wildcard_match, brace_match, each with + or -",
            "",
        ),
        key(C, "random_seed", Value, "where ${_RANDOM} begins").values("anew each time", "0..4294967295", ""),
        nothing("config_save_dir", "copies of the configuration for debugging", RELOAD),
        nothing("tmp_config_directory", "where the children find the configuration", RELOAD),
        nothing("data_use_instance", "the daemon's name in the names of dumps", DUMPS),
        nothing("json_version", "the form of the JSON dump", DUMPS),
        nothing("state_dump_file", "where SIGUSR1 writes", DUMPS),
        nothing("stats_dump_file", "where SIGUSR2 writes", DUMPS),
        nothing("json_dump_file", "where the JSON signal writes", DUMPS),
        nothing("iproute_usr_dir", "where names of routing tables are", IPROUTE),
        nothing("iproute_etc_dir", "where more of them are", IPROUTE),
    ],
);

pub(crate) static WEBHOOK: Table = Table::strict(
    "webhook",
    &[
        key(Own, "url", Value, "where events are posted to").values("", "https://HOST/PATH, or http", ""),
        key(Own, "secret_file", Value, "the key of the signature (HMAC-SHA256)").values("none", "a file", ""),
        key(Own, "timeout", Value, "how long one attempt may take").values("5", "1..60", "s"),
        key(Own, "ca_file", Value, "who has signed the receiver's certificate").values(
            "the system's",
            "a file, PEM",
            "",
        ),
        key(Own, "events", Words, "what it is told of").adding().values("all", "transition, alert, server", ""),
    ],
);
