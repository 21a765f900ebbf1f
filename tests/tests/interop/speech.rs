//! How two routers are to speak with each other, and how long what then happens may take.

use std::net::IpAddr;
use std::time::Duration;

use keepone_chaos::netns::topology::VIP;
use keepone_tests::lan::VIP6;

/// The better node's priority, and the other one's.
pub const PRIORITIES: [u8; 2] = [150, 100];
/// Late threads and late packets on a machine that is busy with other tests, at the least.
const BUSY: Duration = Duration::from_millis(400);

/// A way to speak VRRP.
#[derive(Debug, Clone, Copy)]
pub struct Speech {
    /// 2 or 3.
    pub version: u8,
    /// Between two Advertisements; whole seconds in version 2.
    pub advert_int: Duration,
    /// What the worse node is told instead; version 3 learns its Master's (RFC 9568, 6.1).
    pub advert_int_of_b: Option<Duration>,
    /// To the peer's address instead of the group's.
    pub unicast: bool,
    /// Over IPv6; version 3 only.
    pub ipv6: bool,
    /// How the nodes prove themselves; version 2 only.
    pub auth: Option<Auth>,
    /// Whether Advertisements are signed, in either version.
    pub hmac: Option<Hmac>,
    /// Without the pseudo-header in the checksum (RFC 9568, 5.2.8); version 3 over IPv4 only.
    pub plain_checksum: bool,
}

/// `authentication`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Auth {
    /// `auth_type` of each node.
    pub kinds: [&'static str; 2],
    /// `auth_pass` of each node.
    pub passwords: [&'static str; 2],
}

/// `auth_hmac`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hmac {
    /// What the block says on each node.
    pub lines: [&'static str; 2],
}

/// Both nodes have both keys, and each signs with another one, as while keys are changed.
pub const HMAC: Hmac = Hmac {
    lines: [
        "key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n\
         key 2 s3cret-0123456789abcdef0123456789abcdef\nactive_key 1",
        "key 1 hex:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n\
         key 2 s3cret-0123456789abcdef0123456789abcdef\nactive_key 2",
    ],
};

/// The password in clear.
pub const PASS: Auth = Auth { kinds: ["PASS"; 2], passwords: ["s3cret12"; 2] };
/// An Authentication Header; a longer password is cut.
pub const AH: Auth = Auth { kinds: ["AH"; 2], passwords: ["s3cret12", "s3cret12-and-more"] };

/// Version 2, which counts in seconds.
pub const V2: Speech = Speech {
    version: 2,
    advert_int: Duration::from_secs(1),
    advert_int_of_b: None,
    unicast: false,
    ipv6: false,
    auth: None,
    hmac: None,
    plain_checksum: false,
};
/// Version 3, in centiseconds on the wire.
pub const V3: Speech = Speech { version: 3, advert_int: Duration::from_millis(250), ..V2 };

/// Where a busy machine is as late as whole timers, it can't be told which of them ran out.
const FAST: Duration = Duration::from_millis(250);
/// So there the bound only shows that it took over at all, and sooner than it would with the second that is usual.
const VERY_BUSY: Duration = Duration::from_millis(1200);

impl Speech {
    /// What a node is told.
    pub fn advert_int_of(self, node: usize) -> Duration {
        self.advert_int_of_b.filter(|_| node == 1).unwrap_or(self.advert_int)
    }

    /// The virtual address that the client asks for.
    pub fn vip(self) -> IpAddr {
        if self.ipv6 { VIP6.into() } else { VIP.into() }
    }

    /// How late threads and packets may be on a busy machine, without one timer being taken for another.
    fn busy(self) -> Duration {
        if self.advert_int < FAST {
            return VERY_BUSY;
        }
        BUSY.max(self.advert_int * 3 / 2)
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

    /// A node's takeover from a Master that resigned: Skew_Time. On a machine as busy as [`Speech::busy`]
    /// allows for, it still is sooner than the timer for silence, which has two intervals to go at least.
    pub fn takes_over_from_resigned(self, node: usize) -> (Duration, Duration) {
        let most = self.skew(node) + self.busy();
        assert!(self.advert_int < FAST || most < self.advert_int * 2 + self.skew(node), "a bound that tells nothing");
        (Duration::ZERO, most)
    }

    /// The worse node's takeover from a Master that fell silent: the timer, which the last Advertisement
    /// started up to an interval ago.
    pub fn takes_over_from_silent(self) -> (Duration, Duration) {
        let down = self.down_interval(1);
        (down.saturating_sub(self.advert_int + BUSY / 4), down + self.busy() * 2)
    }

    /// The better node's takeover from a working Master, starting anew: its timer, which counts no worse
    /// Advertisement as life, and the time that its program takes to start.
    pub fn preempts(self) -> Duration {
        self.down_interval(0) + Duration::from_secs(3)
    }

    /// Both have the address from the better one's first Advertisement to the other one's deeds upon it, which
    /// does not wait for a second one.
    pub fn overlap(self) -> Duration {
        BUSY.max(self.advert_int * 9 / 10)
    }

    /// Both advertise again, and hear each other: the worse one ends with the first Advertisement.
    pub fn heals(self) -> Duration {
        self.advert_int + BUSY
    }
}
