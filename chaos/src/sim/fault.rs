//! What is done to the simulated world.

use super::network::{Path, Weather};

/// How a host is configured, against the rest of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Variant {
    /// As all are.
    #[default]
    Usual,
    /// Another priority: nothing that the voters must agree on.
    OtherPriority,
    /// A longer L_max: another digest (V9).
    OtherDigest,
    /// Other addresses in each domain.
    OtherAddresses,
    /// Another virtual router in each domain: the former one ends, and one of the same name begins.
    OtherRouters,
    /// Without the last domain.
    FewerDomains,
    /// `strict` where all others are under `degrade`.
    OtherPolicy,
}

impl Variant {
    /// Those that are drawn for any history.
    pub const OTHERS: [Variant; 5] = [
        Variant::OtherPriority,
        Variant::OtherDigest,
        Variant::OtherAddresses,
        Variant::OtherRouters,
        Variant::FewerDomains,
    ];

    /// Whether a running agent takes it over; otherwise it is started anew.
    pub fn is_taken_over(self) -> bool {
        self != Variant::OtherDigest
    }
}

/// One deed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// One direction of one path, or of all (`None`), is cut or mended.
    Cut {
        /// Frames from this host ...
        from: usize,
        /// ... to this.
        to: usize,
        /// On this path.
        path: Option<Path>,
        /// Cut, or mended.
        cut: bool,
    },
    /// The weather of one direction of all paths.
    Weather {
        /// Frames from this host ...
        from: usize,
        /// ... to this.
        to: usize,
        /// The new weather.
        weather: Weather,
    },
    /// A host reaches the reference addresses, or does not.
    Reference {
        /// Which host.
        host: usize,
        /// Whether it does.
        reaches: bool,
    },
    /// The LAN cable is pulled or plugged in.
    Carrier {
        /// Whose.
        host: usize,
        /// Plugged in.
        up: bool,
    },
    /// SIGSTOP.
    Stop(usize),
    /// SIGCONT; also the end of a machine's pause.
    Continue(usize),
    /// The whole machine stands still.
    Pause(usize),
    /// SIGKILL.
    Kill {
        /// Whose process.
        host: usize,
        /// Whether the guardian lives on.
        guardian: bool,
    },
    /// The machine loses power; its kernel forgets.
    PowerOff(usize),
    /// The process is started, unless it runs.
    Start(usize),
    /// The agent's program is replaced under the leases that it holds.
    Upgrade {
        /// Whose.
        host: usize,
        /// Nanoseconds from the end of its process to the start of the next one.
        gap: u64,
        /// That one dies at once.
        dies: bool,
    },
    /// SIGTERM.
    Terminate(usize),
    /// The voter's record is lost.
    LoseRecord(usize),
    /// The voter's record is what it was when its process last started, or the first: a disk put back from a backup (F38).
    RollBackRecord(usize),
    /// Writes fail or are slow.
    Disk {
        /// Where.
        host: usize,
        /// From now on, or no more.
        on: bool,
    },
    /// Netlink fails or is slow.
    Netlink {
        /// Where.
        host: usize,
        /// From now on, or no more.
        on: bool,
    },
    /// The gate's self-test fails.
    GateTest {
        /// Where.
        host: usize,
        /// From now on, or no more.
        on: bool,
    },
    /// Writes of the gate fail, or can't be read back.
    Gate {
        /// Where.
        host: usize,
        /// From now on, or no more.
        on: bool,
    },
    /// The tracked script fails.
    Script {
        /// Where.
        host: usize,
        /// From now on, or no more.
        on: bool,
    },
    /// The hypervisor stops a machine and hides it: its clock, gate and process stand still together.
    Freeze {
        /// Which.
        host: usize,
        /// For so many nanoseconds of real time.
        lasts: u64,
    },
    /// The process is killed and started with another configuration.
    Reload {
        /// Whose.
        host: usize,
        /// Which.
        variant: Variant,
    },
    /// It is killed and started with the configuration of another generation of voters (V9).
    Advance {
        /// Whose.
        host: usize,
        /// Its place in the row.
        to: usize,
    },
    /// A record under way was torn by the crash: what is on the disk does not parse.
    TearRecord(usize),
    /// Somebody else's ARP names the VIP.
    ForeignClaim(usize),
    /// A router of another cluster advertises our VRID.
    ForeignRouter {
        /// With this priority; `None`: no more.
        priority: Option<u8>,
    },
    /// Old datagrams come again, long after: so many of a million.
    Replay {
        /// Parts per million.
        ppm: u32,
    },
    /// A client of the named scenarios and a host no longer reach each other.
    Client {
        /// Which client.
        client: usize,
        /// Which host.
        host: usize,
        /// Cut, or mended.
        cut: bool,
    },
    /// Every line is whole again; hosts and processes stay as they are.
    Mend,
    /// Everything is repaired: lines, hosts, processes.
    Heal,
}

/// A deed and its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deed {
    /// Real time in nanoseconds.
    pub at: u64,
    /// What.
    pub fault: Fault,
}

impl Fault {
    /// The host whose process or machine it is done to: one that stands still takes it when it goes on.
    pub fn host(&self) -> Option<usize> {
        match *self {
            Fault::Stop(host)
            | Fault::Continue(host)
            | Fault::Pause(host)
            | Fault::Kill { host, .. }
            | Fault::PowerOff(host)
            | Fault::Start(host)
            | Fault::Upgrade { host, .. }
            | Fault::Terminate(host)
            | Fault::Freeze { host, .. }
            | Fault::Reload { host, .. }
            | Fault::Advance { host, .. }
            | Fault::ForeignClaim(host) => Some(host),
            Fault::Cut { .. }
            | Fault::Weather { .. }
            | Fault::Reference { .. }
            | Fault::Carrier { .. }
            | Fault::LoseRecord(_)
            | Fault::RollBackRecord(_)
            | Fault::TearRecord(_)
            | Fault::Disk { .. }
            | Fault::Netlink { .. }
            | Fault::GateTest { .. }
            | Fault::Gate { .. }
            | Fault::Script { .. }
            | Fault::ForeignRouter { .. }
            | Fault::Replay { .. }
            | Fault::Client { .. }
            | Fault::Mend
            | Fault::Heal => None,
        }
    }

    /// In words, for a timeline.
    pub fn words(&self) -> String {
        let on_off = |on: bool, begins: &str, ends: &str| if on { begins.to_owned() } else { ends.to_owned() };
        match *self {
            Fault::Cut { from, to, path, cut } => {
                let path = path.map_or("every line".to_owned(), |path| format!("{path:?}"));
                format!("{} h{from} → h{to} {}", path, if cut { "is cut" } else { "is whole again" })
            }
            Fault::Weather { from, to, weather } if weather == Weather::FAIR => {
                format!("the lines h{from} → h{to} are fair again")
            }
            Fault::Weather { from, to, weather } => format!(
                "the lines h{from} → h{to} delay up to {} ms, lose {} % and double {} %",
                (weather.least + weather.spread) / super::network::MS,
                weather.loss / 10_000,
                weather.twice / 10_000
            ),
            Fault::Reference { host, reaches } => {
                format!("h{host} {} the reference", if reaches { "reaches" } else { "loses" })
            }
            Fault::Carrier { host, up } => {
                format!("the LAN cable of h{host} is {}", if up { "plugged in" } else { "pulled" })
            }
            Fault::Stop(host) => format!("the process of h{host} is stopped (SIGSTOP)"),
            Fault::Continue(host) => format!("h{host} goes on"),
            Fault::Pause(host) => format!("the machine h{host} stands still"),
            Fault::Kill { host, guardian } => {
                format!(
                    "the process of h{host} is killed, {}",
                    if guardian { "its guardian lives" } else { "guardian and all" }
                )
            }
            Fault::PowerOff(host) => format!("h{host} loses power"),
            Fault::Start(host) => format!("h{host} is started, unless it runs"),
            Fault::Upgrade { host, gap, dies } => format!(
                "the program of h{host} is replaced in place, {} ms later{}",
                gap / super::network::MS,
                if dies { ", and dies over it" } else { "" }
            ),
            Fault::Terminate(host) => match host {
                usize::MAX => "the holder is stopped in good order".to_owned(),
                host => format!("h{host} is stopped in good order (SIGTERM)"),
            },
            Fault::LoseRecord(host) => format!("the voter's record of h{host} is lost"),
            Fault::RollBackRecord(host) => format!("the voter's record of h{host} is put back from a backup"),
            Fault::TearRecord(host) => format!("the voter's record of h{host} is torn"),
            Fault::Disk { host, on } => {
                on_off(on, &format!("the disk of h{host} fails now and then"), &format!("the disk of h{host} is well"))
            }
            Fault::Netlink { host, on } => {
                on_off(on, &format!("netlink of h{host} is slow and fails"), &format!("netlink of h{host} is well"))
            }
            Fault::GateTest { host, on } => on_off(
                on,
                &format!("the gate's test fails on h{host}"),
                &format!("the gate of h{host} passes its test"),
            ),
            Fault::Gate { host, on } => on_off(
                on,
                &format!("the gate of h{host} can't be written or read back"),
                &format!("the gate of h{host} takes writes again"),
            ),
            Fault::Script { host, on } => {
                on_off(on, &format!("the tracked script of h{host} fails"), &format!("the script of h{host} passes"))
            }
            Fault::Freeze { host, lasts } => {
                format!("h{host} is frozen for {} ms, and its clock hides it", lasts / super::network::MS)
            }
            Fault::Reload { host, variant } => format!("h{host} is reloaded, configured as {variant:?}"),
            Fault::Advance { host, to } => {
                format!("h{host} is restarted under generation {}, once that may be", to + 1)
            }
            Fault::ForeignClaim(host) => format!("h{host} sees somebody else's ARP for the VIP"),
            Fault::ForeignRouter { priority: Some(priority) } => {
                format!("a foreign router advertises the VRID with priority {priority}")
            }
            Fault::ForeignRouter { priority: None } => "the foreign router is gone".to_owned(),
            Fault::Replay { ppm } => format!("old datagrams come again: {} % of all", f64::from(ppm) / 10_000.0),
            Fault::Client { client, host, cut } => {
                format!("client {client} and h{host} {}", if cut { "are cut" } else { "reach each other" })
            }
            Fault::Mend => "every line is whole".to_owned(),
            Fault::Heal => "everything is repaired".to_owned(),
        }
    }
}
