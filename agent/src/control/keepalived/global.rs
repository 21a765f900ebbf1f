//! `global_defs`: what means the same here.

use keepone_config::Config;
use keepone_config::model::{Fifo, Mail};

use super::data::{Text, announcements, numbers, switch, yes};

/// A line of it.
macro_rules! say {
    ($text:expr, $($words:tt)*) => { $text.line(1, format_args!($($words)*)) };
}

pub(super) fn section(text: &mut Text, config: &Config) {
    let global = &config.global;
    text.section("Global definitions");
    if let Some(name) = &global.router_id {
        say!(text, "Router ID = {name}");
    }
    mail(text, &global.mail);
    let vrrp = &global.vrrp;
    say!(text, "Dynamic interfaces = {}", vrrp.dynamic_interfaces);
    say!(text, "Disable local IGMP = {}", yes(vrrp.disable_local_igmp));
    let fifos = &global.fifos;
    fifo(text, config, "Global", fifos.all.as_ref());
    fifo(text, config, "VRRP", fifos.vrrp.as_ref());
    say!(text, "FIFO write vrrp states on reload = {}", fifos.states_on_reload);
    say!(text, "VRRP IPv4 mcast group = {}", global.vrrp_mcast_group4);
    say!(text, "VRRP IPv6 mcast group = {}", global.vrrp_mcast_group6);
    announcements(text, 1, "refresh timer", &global.announce);
    say!(text, "Gratuitous ARP interval = {:.6}", vrrp.garp_interval.as_secs_f64());
    say!(text, "Gratuitous NA interval = {:.6}", vrrp.gna_interval.as_secs_f64());
    say!(text, "SNMP vrrp {}", switch(global.snmp.vrrp));
    say!(text, "SNMP checker {}", switch(global.snmp.checkers));
    say!(text, "SNMP traps {}", switch(global.snmp.traps));
    say!(text, "DBus {}", switch(global.dbus.is_some()));
    say!(text, "Script security {}", switch(global.scripts.security));
    let user = global.script_user.as_ref().and_then(|(user, group)| numbers(user, group.as_deref()));
    if let Some((uid, gid)) = user {
        say!(text, "Default script uid:gid {uid}:{gid}");
    }
    say!(text, "rs_init_notifies = {}", u8::from(global.ipvs.rs_init_notifies));
}

fn mail(text: &mut Text, mail: &Mail) {
    let Some((server, port)) = &mail.server else { return };
    say!(text, "Smtp server = {server}");
    say!(text, "Smtp server port = {port}");
    if let Some(name) = &mail.helo_name {
        say!(text, "Smtp HELO name = {name}");
    }
    say!(text, "Smtp server connection timeout = {}", mail.timeout.as_secs());
    if let Some(from) = &mail.from {
        say!(text, "Email notification from = {from}");
    }
    text.list(1, "Email notification to:", &mail.recipients);
}

/// With its owner, who is that of scripts unless it is named.
fn fifo(text: &mut Text, config: &Config, whose: &str, fifo: Option<&Fifo>) {
    let Some(fifo) = fifo else { return };
    let owner = fifo.owner.as_ref().or(config.global.script_user.as_ref());
    if let Some((uid, gid)) = owner.and_then(|(user, group)| numbers(user, group.as_deref())) {
        say!(text, "{whose} notify fifo = {}, uid:gid {uid}:{gid}", fifo.path.display());
    }
}
