//! How two routers are to speak with each other, and the one configuration that tells either program so.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use keepone_chaos::netns::topology::VIP;
use keepone_tests::lan::{INTERFACE, VIP6};

/// The better node's priority, and the other one's.
pub const PRIORITIES: [u8; 2] = [150, 100];
/// Late threads and late packets on a machine that is busy with other tests.
const BUSY: Duration = Duration::from_millis(400);

/// A way to speak VRRP.
#[derive(Debug, Clone, Copy)]
pub struct Speech {
    /// 2 or 3.
    pub version: u8,
    /// Between two Advertisements; whole seconds in version 2.
    pub advert_int: Duration,
    /// To the peer's address instead of the group's.
    pub unicast: bool,
    /// Over IPv6; version 3 only.
    pub ipv6: bool,
    /// How the nodes prove themselves; version 2 only.
    pub auth: Option<Auth>,
}

/// `authentication`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth {
    /// `auth_type` of each node.
    pub kinds: [&'static str; 2],
    /// `auth_pass` of each node.
    pub passwords: [&'static str; 2],
}

/// The password in clear.
pub const PASS: Auth = Auth { kinds: ["PASS"; 2], passwords: ["s3cret12"; 2] };
/// An Authentication Header; a longer password is cut.
pub const AH: Auth = Auth { kinds: ["AH"; 2], passwords: ["s3cret12", "s3cret12-and-more"] };

/// Version 2, which counts in seconds.
pub const V2: Speech =
    Speech { version: 2, advert_int: Duration::from_secs(1), unicast: false, ipv6: false, auth: None };
/// Version 3, in centiseconds on the wire.
pub const V3: Speech = Speech { version: 3, advert_int: Duration::from_millis(250), ..V2 };

impl Speech {
    /// The virtual address that the client asks for.
    pub fn vip(self) -> IpAddr {
        if self.ipv6 { VIP6.into() } else { VIP.into() }
    }

    /// `keepalived.conf`, for both programs alike.
    pub fn configuration(self, node: usize, own: IpAddr, peer: IpAddr) -> String {
        let priority = PRIORITIES[node];
        let interval = self.advert_int.as_secs_f64();
        let mut more = String::new();
        if self.unicast {
            more += &format!("    unicast_src_ip {own}\n    unicast_peer {{\n        {peer}\n    }}\n");
        }
        if let Some(Auth { kinds, passwords }) = self.auth {
            let (kind, password) = (kinds[node], passwords[node]);
            more += &format!("    authentication {{\n        auth_type {kind}\n        auth_pass {password}\n    }}\n");
        }
        let addresses = if self.ipv6 {
            // RFC 9568, 5.2.9: the first IPv6 address is a link-local one.
            format!("fe80::5e:1/64 dev {INTERFACE}\n        {VIP6}/64 dev {INTERFACE}")
        } else {
            format!("{VIP}/24 dev {INTERFACE}")
        };
        format!(
            "vrrp_instance VI_1 {{\n    state BACKUP\n    interface {INTERFACE}\n    virtual_router_id 51\n    \
             version {}\n    priority {priority}\n    advert_int {interval}\n{more}    virtual_ipaddress {{\n        \
             {addresses}\n    }}\n}}\n",
            self.version
        )
    }

    /// Skew_Time of a node: the better it is, the sooner it moves (RFC 3768, 6.1: of a second; RFC 9568,
    /// 6.1: of the interval).
    pub fn skew(self, node: usize) -> Duration {
        let whole = if self.version == 2 { Duration::from_secs(1) } else { self.advert_int };
        whole.mul_f64(f64::from(256 - u16::from(PRIORITIES[node])) / 256.0)
    }

    /// Master_Down_Interval of a node.
    pub fn down_interval(self, node: usize) -> Duration {
        self.advert_int * 3 + self.skew(node)
    }

    /// The worse node's takeover from a Master that resigned: Skew_Time. On a machine as busy as [`BUSY`]
    /// allows for, it still is sooner than the timer for silence, which has two intervals to go at least.
    pub fn takes_over_from_resigned(self) -> (Duration, Duration) {
        let most = self.skew(1) + BUSY;
        assert!(most < self.advert_int * 2 + self.skew(1), "a bound that tells nothing");
        (Duration::ZERO, most)
    }

    /// The worse node's takeover from a Master that fell silent: the timer, which the last Advertisement
    /// started up to an interval ago.
    pub fn takes_over_from_silent(self) -> (Duration, Duration) {
        let down = self.down_interval(1);
        (down.saturating_sub(self.advert_int + BUSY / 4), down + BUSY * 2)
    }

    /// The better node's takeover from a working Master, starting anew: its timer, which counts no worse
    /// Advertisement as life, and the time that its program takes to start.
    pub fn preempts(self) -> Duration {
        self.down_interval(0) + Duration::from_secs(3)
    }

    /// Both have the address from the better one's first Advertisement to the other one's deeds upon it.
    pub fn overlap(self) -> Duration {
        BUSY
    }

    /// Both advertise again, and hear each other: the worse one ends with the first Advertisement.
    pub fn heals(self) -> Duration {
        self.advert_int + BUSY
    }
}

/// A program that speaks VRRP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// Ours.
    Keepone,
    /// The installed one.
    Keepalived,
}

impl Program {
    /// Its command line.
    pub fn command(self, file: &Path) -> Vec<String> {
        let file = file.display().to_string();
        match self {
            Program::Keepone => {
                let program = keepone_tests::binary::find("keepone").display().to_string();
                vec![program, "run".into(), "-c".into(), file]
            }
            Program::Keepalived => {
                let program = keepone_tests::binary::keepalived().display().to_string();
                let options = "--dont-fork --vrrp --log-console --no-syslog --log-detail --pid=/run/parent.pid \
                               --vrrp_pid=/run/vrrp.pid --checkers_pid=/run/checkers.pid --use-file";
                std::iter::once(program).chain(options.split(' ').map(str::to_owned)).chain([file]).collect()
            }
        }
    }
}
