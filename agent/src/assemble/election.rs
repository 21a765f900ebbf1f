//! keepalived's options of election and receiving, for the core: how each instance stands, and whom it hears.

use std::net::IpAddr;
use std::time::Duration;

use keepone_config::Config;
use keepone_config::model::{Transport, VrrpInstance};
use keepone_proto::id::Priority;
use keepone_proto::settings::{ElectionOptions, InterfaceSettings, LinkDelays, Reception};
use keepone_proto::time::Instant;

/// How an instance stands, beyond the RFC.
pub(super) fn options(instance: &VrrpInstance) -> ElectionOptions {
    let options = &instance.options;
    ElectionOptions {
        down_timer_adverts: options.down_timer_adverts,
        lower_prio_no_advert: options.lower_prio_no_advert,
        higher_prio_send_advert: options.higher_prio_send_advert,
        owner_ignore_adverts: options.owner_ignore_adverts,
        timer_expired_backup: options.timer_expired_backup.map(Priority),
        skip_check_adv_addr: options.skip_check_adv_addr,
    }
}

/// Whom an instance hears, and without what it can't speak.
pub(super) fn reception(config: &Config, instance: &VrrpInstance) -> Reception {
    let (source, peers) = match &instance.transport {
        Transport::Multicast { source } => (*source, None),
        Transport::Unicast { source, peers } => (*source, Some(peers)),
    };
    Reception {
        group: peers.is_none().then(|| group(config, instance)),
        hop_limits: instance.options.peer_ttl.clone(),
        tracked_source: source.filter(|_| instance.options.track_src_ip),
        lacks_peer: peers.is_some_and(Vec::is_empty),
    }
}

/// Where an instance's Advertisements go in multicast.
pub(super) fn group(config: &Config, instance: &VrrpInstance) -> IpAddr {
    let global = &config.global;
    let of_all: IpAddr = if instance.ipv6 { global.vrrp_mcast_group6.into() } else { global.vrrp_mcast_group4.into() };
    instance.options.mcast_dst_ip.unwrap_or(of_all)
}

/// An interface, with what is said of its link.
pub(super) fn interface(config: &Config, name: &str) -> InterfaceSettings {
    let delays = config.global.vrrp.link_delays.iter().find(|(of, ..)| of == name);
    let delays = delays.map(|(_, down, up)| LinkDelays { down: *down, up: *up }).unwrap_or_default();
    InterfaceSettings { name: name.to_owned(), delays }
}

/// The interfaces that are asked for their links (`linkbeat_use_polling`, `linkbeat_interfaces`), of all that are used.
pub(super) fn linkbeat(config: &Config, interfaces: &[InterfaceSettings]) -> Vec<String> {
    let vrrp = &config.global.vrrp;
    let of_instance = |name: &str| config.instances.iter().any(|one| one.options.linkbeat && one.interface == name);
    let is_asked = |name: &str| {
        vrrp.linkbeat_all || vrrp.linkbeat_interfaces.iter().any(|listed| listed == name) || of_instance(name)
    };
    interfaces.iter().map(|interface| interface.name.clone()).filter(|name| is_asked(name)).collect()
}

/// When instances of an agent that has started then begin; `None`: at once. The later of the two delays counts.
pub(crate) fn begin_at(config: &Config, started: Instant) -> Option<Instant> {
    let vrrp = &config.global.vrrp;
    let after = |since: Instant, delay: Duration| (!delay.is_zero()).then(|| since + delay);
    after(started, vrrp.startup_delay).max(after(Instant::BOOT, vrrp.delay_after_boot))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(global: &str) -> Config {
        let text = format!(
            "global_defs {{\n{global}\n}}\nvrrp_instance V {{\n interface eth0\n virtual_router_id 1\n mcast_src_ip 192.0.2.1\n \
             mcast_dst_ip 239.1.1.1\n track_src_ip\n virtual_ipaddress {{ 192.0.2.9 }}\n}}\ninterface_up_down_delays {{\n \
             eth0 1.5 1\n}}\n"
        );
        let environment = keepone_config::Environment::default();
        keepone_config::load_text(std::path::Path::new("t.conf"), &text, &environment).unwrap().0
    }

    #[test]
    fn instances_begin_after_the_later_of_both_delays() {
        let (started, second) = (Instant::from_nanos(100_000_000_000), Duration::from_secs(1));
        assert_eq!(begin_at(&read(""), started), None);
        assert_eq!(begin_at(&read("vrrp_startup_delay 2.5"), started), Some(started + second * 5 / 2));
        let both =
            |boot: &str| begin_at(&read(&format!("vrrp_startup_delay 2\nvrrp_delay_after_boot {boot}")), started);
        assert_eq!(both("50"), Some(started + second * 2));
        assert_eq!(both("103"), Some(Instant::BOOT + second * 103));
    }

    #[test]
    fn an_instance_hears_its_own_group_and_tracks_its_own_source() {
        let config = read("vrrp_mcast_group4 224.0.0.19");
        let heard = reception(&config, &config.instances[0]);
        assert_eq!(heard.group, Some("239.1.1.1".parse().unwrap()));
        assert_eq!(heard.tracked_source, Some("192.0.2.1".parse().unwrap()));
        let delays = interface(&config, "eth0").delays;
        assert_eq!((delays.down.as_millis(), delays.up.as_millis()), (1500, 1000));
        assert_eq!(interface(&config, "eth1").delays, LinkDelays::default());
    }
}
