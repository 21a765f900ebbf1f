//! Keywords of VRRP and of the file as a whole; the words are keepalived's, so that its files can be read.

use super::balance::{SSL, VIRTUAL_SERVER};
use super::cluster::{ARBITER, CLUSTER, FENCING, GATE, HEARTBEAT, HEARTBEAT_LINK, MEMBER, NODE, REFERENCE_IP};
use super::{Form, Table, Tier, key};

pub(crate) static ROOT: Table = Table {
    name: "the file",
    active: &[
        key("global_defs", Form::Block(&GLOBAL_DEFS)),
        key("vrrp_instance", Form::Named(&VRRP_INSTANCE)),
        key("vrrp_sync_group", Form::Named(&VRRP_SYNC_GROUP)),
        key("cluster", Form::Named(&CLUSTER)),
        key("node", Form::Named(&NODE)),
        key("member", Form::Named(&MEMBER)),
        key("heartbeat", Form::Block(&HEARTBEAT)),
        key("heartbeat_link", Form::Named(&HEARTBEAT_LINK)),
        key("arbiter", Form::Block(&ARBITER)),
        key("reference_ip", Form::Block(&REFERENCE_IP)),
        key("gate", Form::Block(&GATE)),
        key("fencing", Form::Block(&FENCING)),
    ],
    later_blocks: &[
        (Tier::C, key("track_group", Form::Section(&TRACK_GROUP))),
        (Tier::C, key("garp_group", Form::Section(&GARP_GROUP))),
        (Tier::A, key("vrrp_script", Form::Section(&VRRP_SCRIPT))),
        (Tier::B, key("vrrp_track_process", Form::Section(&VRRP_TRACK_PROCESS))),
        (Tier::C, key("SSL", Form::Section(&SSL))),
        (Tier::A, key("virtual_server", Form::Section(&VIRTUAL_SERVER))),
        (Tier::C, key("bfd_instance", Form::Section(&BFD_INSTANCE))),
        (Tier::B, key("track_file", Form::Section(&TRACK_FILE))),
        (Tier::C, key("vrrp_track_file", Form::Section(&VRRP_TRACK_FILE))),
    ],
    later: [
        "",
        "virtual_server_group",
        "linkbeat_use_polling net_namespace net_namespace_ipvs namespace_with_ipsets use_pid_dir instance \
            child_wait_time static_ipaddress static_routes static_rules linkbeat_interfaces \
            interface_up_down_delays",
    ],
    addresses: false,
};

pub(crate) static GLOBAL_DEFS: Table = Table {
    name: "global_defs",
    active: &[
        key("router_id", Form::Value),
        key("vrrp_version", Form::Value),
        key("vrrp_mcast_group4", Form::Value),
        key("vrrp_mcast_group6", Form::Value),
        key("vrrp_garp_master_repeat", Form::Value),
        key("vrrp_garp_master_delay", Form::Value),
        key("vrrp_garp_interval", Form::Value),
        key("vrrp_gna_interval", Form::Value),
        key("script_user", Form::Words),
        key("script_timeout", Form::Value),
        key("alert_script", Form::Words),
        key("event_fifo", Form::Value),
        key("default_interface", Form::Value),
    ],
    later_blocks: &[],
    later: [
        "notification_email_from smtp_server smtp_connect_timeout notification_email vrrp_skip_check_adv_addr \
            vrrp_strict enable_script_security",
        "smtp_alert max_auto_priority smtp_alert_vrrp smtp_alert_checker dynamic_interfaces v3_checksum_as_v2 \
            lvs_flush lvs_sync_daemon vrrp_garp_master_refresh vrrp_garp_master_refresh_repeat vrrp_iptables \
            vrrp_check_unicast_src vrrp_rt_priority vrrp_cpu_affinity notify_fifo notify_fifo_script \
            vrrp_notify_fifo vrrp_notify_fifo_script snmp_socket enable_traps enable_snmp_vrrp \
            enable_snmp_checker vrrp_startup_delay reload_check_config",
        "process_names process_name vrrp_process_name checker_process_name lvs_process_name bfd_process_name \
            use_symlink_paths set_supplementary_groups smtp_helo_name startup_script startup_script_timeout \
            shutdown_script shutdown_script_timeout min_auto_priority_delay checker_log_all_failures \
            no_email_faults disable_local_igmp lvs_timeouts lvs_flush_on_stop lvs_flush_onstop \
            vrrp_garp_lower_prio_delay vrrp_garp_lower_prio_repeat vrrp_down_timer_adverts vrrp_min_garp \
            vrrp_garp_extra_if vrrp_vmac_garp_intvl vrrp_lower_prio_no_advert vrrp_higher_prio_send_advert \
            vrrp_ipsets nftables nftables_priority nftables_ifindex vrrp_priority vrrp_no_swap \
            vrrp_rlimit_rttime vrrp_rlimit_rtime nftables_ipvs nftables_ipvs_priority nftables_ipvs_start_fwmark \
            nftables_counters vrrp_notify_priority_changes fifo_write_vrrp_states_on_reload lvs_notify_fifo \
            lvs_notify_fifo_script checker_priority checker_no_swap checker_rt_priority checker_cpu_affinity \
            checker_rlimit_rttime checker_rlimit_rtime bfd_priority bfd_no_swap bfd_rt_priority bfd_cpu_affinity \
            bfd_rlimit_rttime bfd_rlimit_rtime enable_snmp_keepalived enable_snmp_rfc enable_snmp_rfcv2 \
            enable_snmp_rfcv3 snmp_vs_stats_update_interval snmp_rs_stats_update_interval enable_dbus \
            dbus_service_name dbus_no_interface_name vrrp_netlink_cmd_rcv_bufs vrrp_netlink_cmd_rcv_bufs_force \
            vrrp_netlink_monitor_rcv_bufs vrrp_netlink_monitor_rcv_bufs_force process_monitor_rcv_bufs \
            process_monitor_rcv_bufs_force lvs_netlink_cmd_rcv_bufs lvs_netlink_cmd_rcv_bufs_force \
            lvs_netlink_monitor_rcv_bufs lvs_netlink_monitor_rcv_bufs_force rs_init_notifies no_checker_emails \
            vrrp_rx_bufs_policy vrrp_rx_bufs_multiplier vrrp_delay_after_boot log_unknown_vrids \
            vrrp_owner_ignore_adverts vmac_prefix vmac_addr_prefix umask random_seed reload_time_file \
            reload_repeat reload_file include_check config_save_dir tmp_config_directory data_use_instance \
            json_version iproute_usr_dir iproute_etc_dir state_dump_file stats_dump_file json_dump_file",
    ],
    addresses: false,
};

pub(crate) static VRRP_INSTANCE: Table = Table {
    name: "vrrp_instance",
    active: &[
        key("state", Form::Value),
        key("interface", Form::Value),
        key("virtual_router_id", Form::Value),
        key("version", Form::Value),
        key("priority", Form::Value),
        key("advert_int", Form::Value),
        key("preempt", Form::Flag),
        key("nopreempt", Form::Flag),
        key("preempt_delay", Form::Value),
        key("virtual_ipaddress", Form::Lines),
        key("virtual_ipaddress_excluded", Form::Lines),
        key("no_virtual_ipaddress", Form::Flag),
        key("track_interface", Form::Lines),
        key("dont_track_primary", Form::Flag),
        key("mcast_src_ip", Form::Value),
        key("unicast_src_ip", Form::Value),
        key("unicast_peer", Form::Lines),
        key("native_ipv6", Form::Flag),
        key("authentication", Form::Block(&AUTHENTICATION)),
        key("auth_type", Form::Value),
        key("auth_pass", Form::Value),
        key("garp_master_repeat", Form::Value),
        key("garp_master_delay", Form::Value),
        key("arbiter_policy", Form::Value),
        key("mirror", Form::Value),
        key("notify", Form::Words),
        key("notify_master", Form::Words),
        key("notify_backup", Form::Words),
        key("notify_fault", Form::Words),
        key("notify_stop", Form::Words),
    ],
    later_blocks: &[(Tier::B, key("auth_hmac", Form::Section(&AUTH_HMAC)))],
    later: [
        "track_script smtp_alert",
        "use_vmac vmac_xmit_base check_unicast_src track_file track_process v3_checksum_as_v2 virtual_routes \
            strict_mode garp_master_refresh garp_master_refresh_repeat",
        "use_vmac_addr use_ipvlan unicast_fault_no_peer old_unicast_checksum vrf track_bfd mcast_dst_ip \
            track_src_ip unicast_ttl promote_secondaries linkbeat_use_polling virtual_rules accept no_accept \
            skip_check_adv_addr debug notify_deleted notify_master_rx_lower_pri notify_priority_changes \
            lvs_sync_daemon_interface garp_lower_prio_delay garp_lower_prio_repeat down_timer_adverts \
            timer_expired_backup thread_timer_expired garp_extra_if vmac_garp_intvl lower_prio_no_advert \
            higher_prio_send_advert owner_ignore_adverts kernel_rx_buf_size",
    ],
    addresses: false,
};

pub(crate) static AUTHENTICATION: Table = Table {
    name: "authentication",
    active: &[key("auth_type", Form::Value), key("auth_pass", Form::Value)],
    later_blocks: &[],
    later: ["", "", ""],
    addresses: false,
};

static AUTH_HMAC: Table = Table {
    name: "auth_hmac",
    active: &[],
    later_blocks: &[],
    later: ["", "key active_key mode", "time_window anti_replay"],
    addresses: false,
};

pub(crate) static VRRP_SYNC_GROUP: Table = Table {
    name: "vrrp_sync_group",
    active: &[
        key("group", Form::Lines),
        key("track_interface", Form::Lines),
        key("arbiter_policy", Form::Value),
        key("notify", Form::Words),
        key("notify_master", Form::Words),
        key("notify_backup", Form::Words),
        key("notify_fault", Form::Words),
        key("notify_stop", Form::Words),
    ],
    later_blocks: &[],
    later: [
        "smtp_alert",
        "track_script",
        "track_file track_process track_bfd global_tracking sync_group_tracking_weight \
            notify_priority_changes",
    ],
    addresses: false,
};

pub(super) static VRRP_SCRIPT: Table = Table {
    name: "vrrp_script",
    active: &[],
    later_blocks: &[],
    later: ["script interval weight rise fall", "timeout user init_fail", ""],
    addresses: false,
};

pub(super) static VRRP_TRACK_PROCESS: Table = Table {
    name: "vrrp_track_process",
    active: &[],
    later_blocks: &[],
    later: ["", "process weight terminate_delay", "param_match quorum quorum_max delay fork_delay full_command"],
    addresses: false,
};

pub(super) static TRACK_FILE: Table = Table {
    name: "track_file",
    active: &[],
    later_blocks: &[],
    later: ["", "file weight", "init_file"],
    addresses: false,
};

pub(super) static VRRP_TRACK_FILE: Table = Table {
    name: "vrrp_track_file",
    active: &[],
    later_blocks: &[],
    later: ["", "", "file weight init_file"],
    addresses: false,
};

pub(super) static TRACK_GROUP: Table =
    Table { name: "track_group", active: &[], later_blocks: &[], later: ["", "", "group"], addresses: false };

pub(super) static GARP_GROUP: Table = Table {
    name: "garp_group",
    active: &[],
    later_blocks: &[],
    later: ["", "", "garp_interval gna_interval interface interfaces"],
    addresses: false,
};

pub(super) static BFD_INSTANCE: Table = Table {
    name: "bfd_instance",
    active: &[],
    later_blocks: &[],
    later: [
        "",
        "",
        "source_ip neighbor_ip neighbour_ip min_rx min_tx idle_tx multiplier passive ttl hoplimit max_hops \
            multihop weight vrrp checker",
    ],
    addresses: false,
};
