//! The programs that speak VRRP: how each is configured, prepared and started.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::topology::VIP;
use keepone_tests::lan::{INTERFACE, Lan, VIP6};
use keepone_tests::{Error, binary, program};

use crate::speech::{Auth, Hmac, PRIORITIES, Speech};

/// The link-local address that goes first in an IPv6 Advertisement: RFC 9568, 5.2.9.
const LINK_LOCAL: &str = "fe80::5e:1";
/// FRR's interface with the virtual MAC, which bears the virtual addresses.
pub const MACVLAN: &str = "vrrp0";
/// Where Debian has FRR's daemons.
const FRR: &str = "/usr/lib/frr";

/// A program that speaks VRRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Router {
    /// Ours.
    Keepone,
    /// The installed one, or that of `KEEPALIVED`.
    Keepalived,
    /// FRR's vrrpd.
    Frr,
}

impl Router {
    /// As the tables name it.
    pub fn name(self) -> &'static str {
        match self {
            Router::Keepone => "keepone",
            Router::Keepalived => "keepalived",
            Router::Frr => "FRR",
        }
    }

    /// Whether it signs Advertisements, as keepone does (`auth_hmac`).
    pub fn signs(self) -> bool {
        match self {
            Router::Keepone => true,
            Router::Keepalived => !older(&self.version(), "2.4.2"),
            Router::Frr => false,
        }
    }

    /// What it says of its version, like `2.2.7`.
    pub fn version(self) -> String {
        let (program, option) = match self {
            Router::Keepone => (binary::find("keepone"), "--version"),
            Router::Keepalived => (binary::keepalived(), "--version"),
            Router::Frr => (Path::new(FRR).join("vrrpd"), "--version"),
        };
        let output = Command::new(&program).arg(option).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        // keepalived says it on the other stream.
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let is_version = |word: &&str| {
            word.trim_start_matches('v').split('.').count() > 1
                && word.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit())
        };
        let version = said.split_whitespace().find(is_version);
        version.unwrap_or_else(|| panic!("no version: {said}")).trim_start_matches('v').to_owned()
    }

    /// What its file says: `node` with its own and its peer's address. Nobody preempts without `preempt`.
    pub fn configuration(self, speech: Speech, node: usize, [own, peer]: [IpAddr; 2], preempt: bool) -> String {
        match self {
            Router::Keepone | Router::Keepalived => keepalived_conf(speech, node, [own, peer], preempt),
            Router::Frr => frr_conf(speech, node, preempt),
        }
    }

    /// Its command line; `directory` is the node's own.
    pub fn command(self, file: &Path, directory: &Path) -> Vec<String> {
        let file = file.display().to_string();
        match self {
            Router::Keepone => {
                vec![binary::find("keepone").display().to_string(), "run".into(), "-c".into(), file]
            }
            Router::Keepalived => {
                let program = binary::keepalived().display().to_string();
                let options = "--dont-fork --vrrp --log-console --no-syslog --log-detail --pid=/run/parent.pid \
                               --vrrp_pid=/run/vrrp.pid --checkers_pid=/run/checkers.pid --use-file";
                std::iter::once(program).chain(options.split(' ').map(str::to_owned)).chain([file]).collect()
            }
            Router::Frr => daemon("vrrpd", &file, directory),
        }
    }

    /// What must be there before it starts, and stays while the network does: for FRR the macvlan that its
    /// documentation asks for, and zebra.
    pub fn prepare(self, lan: &Lan, node: usize, speech: Speech) -> Result<Option<program::Program>, Error> {
        if self != Router::Frr {
            return Ok(None);
        }
        let host = lan.node(node);
        // Else lan0 answers for what the macvlan bears, also while that has no carrier.
        host.namespace.set_parameters(&[("ipv4/conf/all/arp_ignore", "1"), ("ipv4/conf/all/arp_announce", "2")])?;
        let mac = if speech.ipv6 { "00:00:5e:00:02:33" } else { "00:00:5e:00:01:33" };
        let addresses = if speech.ipv6 {
            vec![format!("{LINK_LOCAL}/64"), format!("{VIP6}/128")]
        } else {
            vec![format!("{VIP}/32")]
        };
        let mut steps = vec![
            format!("link add {MACVLAN} link {INTERFACE} type macvlan mode bridge"),
            format!("link set {MACVLAN} address {mac}"),
        ];
        steps.extend(addresses.iter().map(|address| format!("address add {address} dev {MACVLAN}")));
        host.namespace.run(|| steps.iter().try_for_each(|step| ip(step)))?;

        let directory = directory(lan, node)?;
        let command = daemon("zebra", "/dev/null", &directory);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let zebra = lan.start(node, &command)?;
        let begin = Instant::now();
        while !directory.join("zserv").exists() {
            assert!(begin.elapsed() < Duration::from_secs(20), "zebra does not come up: {}", zebra.said());
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Some(zebra))
    }

    /// What is done right before it starts. Without FRR, an address on a macvlan is simply there.
    pub fn begin(self, lan: &Lan, node: usize) -> Result<(), Error> {
        match self {
            Router::Keepone | Router::Keepalived => Ok(()),
            Router::Frr => lan.node(node).namespace.run(|| ip(&format!("link set {MACVLAN} up"))),
        }
    }

    /// What it says when it has begun to listen; FRR takes the carrier from its macvlan then, not before.
    pub fn begins_with(self) -> Option<&'static str> {
        (self == Router::Frr).then_some("Initialize -> Backup")
    }
}

/// Whether a version like `2.2.7` is below another.
pub fn older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| text.split('.').map_while(|part| part.parse().ok()).collect::<Vec<u32>>();
    numbers(version) < numbers(than)
}

/// A node's own directory, which FRR's user may write to.
pub fn directory(lan: &Lan, node: usize) -> Result<PathBuf, Error> {
    let directory = lan.room().join(format!("frr{node}"));
    let make = || {
        std::fs::create_dir_all(&directory)?;
        std::fs::set_permissions(lan.room(), PermissionsExt::from_mode(0o755))?;
        std::fs::set_permissions(&directory, PermissionsExt::from_mode(0o777))
    };
    make().map_err(io_error(format!("make {}", directory.display())))?;
    Ok(directory)
}

fn daemon(name: &str, file: &str, directory: &Path) -> Vec<String> {
    let own = |suffix: &str| directory.join(suffix).display().to_string();
    let program = Path::new(FRR).join(name);
    assert!(program.is_file(), "no {}: install it first: apt-get install frr", program.display());
    let words = [
        program.display().to_string(),
        "-f".into(),
        file.into(),
        "-i".into(),
        own(&format!("{name}.pid")),
        "-z".into(),
        own("zserv"),
        "--vty_socket".into(),
        directory.display().to_string(),
        "--log".into(),
        "stdout".into(),
    ];
    words.into()
}

fn ip(words: &str) -> Result<(), Error> {
    let fail = io_error(format!("ip {words}"));
    match Command::new("ip").args(words.split(' ')).output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(fail(std::io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))),
        Err(error) => Err(fail(error)),
    }
}

/// For keepalived and keepone alike.
fn keepalived_conf(speech: Speech, node: usize, [own, peer]: [IpAddr; 2], preempt: bool) -> String {
    let priority = PRIORITIES[node];
    let interval = speech.advert_int_of(node).as_secs_f64();
    let mut more = String::new();
    if !preempt {
        more += "    nopreempt\n";
    }
    if speech.plain_checksum {
        more += "    v3_checksum_as_v2\n";
    }
    if speech.unicast {
        more += &format!("    unicast_src_ip {own}\n    unicast_peer {{\n        {peer}\n    }}\n");
    }
    if let Some(Auth { kinds, passwords }) = speech.auth {
        let (kind, password) = (kinds[node], passwords[node]);
        more += &format!("    authentication {{\n        auth_type {kind}\n        auth_pass {password}\n    }}\n");
    }
    if let Some(Hmac { lines }) = speech.hmac {
        more += &format!("    auth_hmac {{\n{}\n    }}\n", lines[node]);
    }
    let addresses = if speech.ipv6 {
        format!("{LINK_LOCAL}/64 dev {INTERFACE}\n        {VIP6}/64 dev {INTERFACE}")
    } else {
        format!("{VIP}/24 dev {INTERFACE}")
    };
    format!(
        "vrrp_instance VI_1 {{\n    state BACKUP\n    interface {INTERFACE}\n    virtual_router_id 51\n    \
         version {}\n    priority {priority}\n    advert_int {interval}\n{more}    virtual_ipaddress {{\n        \
         {addresses}\n    }}\n}}\n",
        speech.version
    )
}

fn frr_conf(speech: Speech, node: usize, preempt: bool) -> String {
    let addresses = if speech.ipv6 {
        format!(" vrrp 51 ipv6 {LINK_LOCAL}\n vrrp 51 ipv6 {VIP6}\n")
    } else {
        format!(" vrrp 51 ip {VIP}\n")
    };
    format!(
        "interface {INTERFACE}\n vrrp 51 version {}\n vrrp 51 priority {}\n vrrp 51 advertisement-interval {}\n\
         {addresses}{}",
        speech.version,
        PRIORITIES[node],
        speech.advert_int_of(node).as_millis(),
        if preempt { "" } else { " no vrrp 51 preempt\n" }
    )
}
