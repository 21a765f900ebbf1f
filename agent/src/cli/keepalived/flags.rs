//! Every flag of keepalived(8), and what keepone makes of it.
//!
//! What must stay true: this is the only place where a flag is declared; each that keepalived knows is here.

/// Whether a flag has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// None.
    No,
    /// One, and what the help calls it.
    Needed(&'static str),
    /// Perhaps one, with `=` or right behind the letter.
    Perhaps(&'static str),
}

/// What keepone does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// `-f`
    File,
    /// `-t`
    Test,
    /// `-i`
    ConfigId,
    /// `-p`
    PidFile,
    /// `-r`
    WorkerPidFile,
    /// `-g`
    LogFile,
    /// `-D`
    Detail,
    /// `-d`
    Dump,
    /// `-u`
    Umask,
    /// `-S`
    Facility,
    /// `-G`
    NoSyslog,
    /// `--signum`
    Signum,
    /// `-v`
    Version,
    /// `-h`
    Help,
    /// Nothing: it is so without the flag.
    IsSo,
    /// Nothing, and says what to do instead.
    Nothing(&'static str),
    /// Does not start, since something else would happen than was asked for; and says what to do instead.
    Refuses(&'static str),
}

/// One flag.
#[derive(Debug)]
pub(super) struct Flag {
    pub short: Option<char>,
    pub long: &'static str,
    pub value: Value,
    pub does: Does,
}

const fn flag(short: char, long: &'static str, value: Value, does: Does) -> Flag {
    Flag { short: Some(short), long, value, does }
}

const fn long(long: &'static str, value: Value, does: Does) -> Flag {
    Flag { short: None, long, value, does }
}

use Does::{IsSo, Nothing, Refuses};
use Value::{Needed, No, Perhaps};

const NO_PROCESS: Does = Nothing("keepone has no such process, and writes no file for it: leave it out");
const NO_SNMP: Does = Nothing("keepone has no SNMP agent: leave it out, and read events.jsonl in run_dir");

/// All of them.
#[rustfmt::skip]
pub(super) const FLAGS: &[Flag] = &[
    flag('f', "use-file", Needed("FILE"), Does::File),
    flag('P', "vrrp", No, IsSo),
    flag('C', "check", No, Refuses("keepone has no health checks without VRRP: run keepalived for them, or leave it out")),
    flag('B', "no_bfd", No, IsSo),
    long("all", No, Nothing("keepone starts what the configuration needs: leave it out")),
    flag('l', "log-console", No, IsSo),
    flag('D', "log-detail", No, Does::Detail),
    flag('S', "log-facility", Needed("0-7|local0-7|user|daemon"), Does::Facility),
    flag('g', "log-file", Perhaps("FILE"), Does::LogFile),
    long("flush-log-file", No, IsSo),
    flag('G', "no-syslog", No, Does::NoSyslog),
    flag('u', "umask", Needed("MASK"), Does::Umask),
    flag('X', "release-vips", No, IsSo),
    flag('V', "dont-release-vrrp", No, Refuses("an address that stays after the stop would have two holders: leave it out")),
    flag('I', "dont-release-ipvs", No, Nothing("a restart makes differences only: leave it out")),
    flag('R', "dont-respawn", No, Nothing("the guardian starts a new worker in any case, so that nothing is left held: leave it out")),
    flag('n', "dont-fork", No, IsSo),
    flag('d', "dump-conf", No, Does::Dump),
    flag('p', "pid", Needed("FILE"), Does::PidFile),
    flag('r', "vrrp_pid", Needed("FILE"), Does::WorkerPidFile),
    flag('c', "checkers_pid", Needed("FILE"), NO_PROCESS),
    flag('b', "bfd_pid", Needed("FILE"), NO_PROCESS),
    flag('T', "genhash", No, Refuses("write `keepone genhash`, which takes the same options")),
    flag('a', "address-monitoring", No, Nothing("keepone logs what others do to its own addresses; `ip monitor address` shows all")),
    flag('x', "snmp", No, NO_SNMP),
    flag('A', "snmp-agent-socket", Needed("FILE"), NO_SNMP),
    flag('s', "namespace", Needed("NAME"), Refuses("start it as `ip netns exec NAME keepone ...`, each with a run_dir of its own")),
    flag('m', "core-dump", No, Nothing("set LimitCORE=infinity in the unit, or `ulimit -c unlimited` before the start")),
    flag('M', "core-dump-pattern", Perhaps("PATTERN"), Nothing("set kernel.core_pattern with sysctl")),
    flag('e', "all-config", No, Nothing("a missing include is a warning: write `includer FILE` for one that must be there")),
    flag('i', "config-id", Needed("ID"), Does::ConfigId),
    long("signum", Needed("SIGFUNC"), Does::Signum),
    flag('t', "config-test", Perhaps("FILE"), Does::Test),
    long("config-fd", Needed("FD"), Refuses("keepalived's processes use it between themselves: leave it out")),
    long("ignore-sigint", No, Nothing("keepone stops on SIGINT: start it in a session of its own instead")),
    long("perf", Perhaps("WHEN"), Nothing("take `perf record -p` with the worker's PID")),
    long("debug", Perhaps("OPTIONS"), Nothing("set KEEPONE_LOG=debug or trace in the environment")),
    long("no-mem-check", No, IsSo),
    flag('v', "version", No, Does::Version),
    flag('h', "help", No, Does::Help),
];

/// The signals that `--signum` knows: what keepalived calls them, the number, and what keepone does.
pub(super) fn signals() -> [(&'static str, i32, &'static str); 6] {
    [
        ("STOP", libc::SIGTERM, "stops in good order, as SIGINT does"),
        ("RELOAD", libc::SIGHUP, "reads the configuration again; a wrong one changes nothing"),
        ("DATA", libc::SIGUSR1, "writes keepone.data, keepone.json, keepalived.data and keepalived.json into run_dir"),
        ("STATS", libc::SIGUSR2, "writes keepone.stats and keepalived.stats into run_dir"),
        ("STATS_CLEAR", keepone_agent::dump::stats_clear_signal(), "the same: nothing is cleared"),
        ("JSON", keepone_agent::dump::json_signal(), "as DATA"),
    ]
}
