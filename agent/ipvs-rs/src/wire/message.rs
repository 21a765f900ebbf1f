//! A message of the family: a command and its attributes.

use netlink_packet_core::{DecodeError, Emitable, NlaBuffer, NlasIterator, Parseable, ParseableParametrized};
use netlink_packet_generic::{GenlFamily, GenlHeader};

use super::attribute::attributes;
use super::{DaemonAttribute, DestinationAttribute, ServiceAttribute};

/// `IPVS_GENL_VERSION`.
const VERSION: u8 = 1;

/// `IPVS_CMD_*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Command {
    /// Add a service; in a dump, one of them.
    NewService,
    /// Change a service.
    SetService,
    /// Delete a service and its destinations.
    DelService,
    /// One service, or a dump of all.
    GetService,
    /// Add a destination; in a dump, one of them.
    NewDest,
    /// Change a destination.
    SetDest,
    /// Delete a destination.
    DelDest,
    /// A dump of a service's destinations.
    GetDest,
    /// Start a sync daemon; in a dump, one of them.
    NewDaemon,
    /// Stop a sync daemon.
    DelDaemon,
    /// A dump of the sync daemons.
    GetDaemon,
    /// Set the timeouts; also the answer to [`Command::GetConfig`].
    SetConfig,
    /// Ask for the timeouts.
    GetConfig,
    /// The answer to [`Command::GetInfo`].
    SetInfo,
    /// Ask for version and table size.
    GetInfo,
    /// Set counters to zero.
    Zero,
    /// Delete all services.
    Flush,
    /// None of these.
    Other(u8),
}

const COMMANDS: [Command; 17] = [
    Command::NewService,
    Command::SetService,
    Command::DelService,
    Command::GetService,
    Command::NewDest,
    Command::SetDest,
    Command::DelDest,
    Command::GetDest,
    Command::NewDaemon,
    Command::DelDaemon,
    Command::GetDaemon,
    Command::SetConfig,
    Command::GetConfig,
    Command::SetInfo,
    Command::GetInfo,
    Command::Zero,
    Command::Flush,
];

impl Command {
    /// Of the kernel's number.
    pub fn from_number(number: u8) -> Self {
        let known = number.checked_sub(1).and_then(|place| COMMANDS.get(usize::from(place)));
        known.copied().unwrap_or(Command::Other(number))
    }

    /// The kernel's number.
    pub fn number(self) -> u8 {
        match self {
            Command::Other(number) => number,
            known => {
                (1..).zip(COMMANDS).find_map(|(number, command)| (command == known).then_some(number)).unwrap_or(0)
            }
        }
    }
}

attributes! {
    /// `IPVS_CMD_ATTR_*`.
    MainAttribute {
        /// A service.
        Service(Vec<ServiceAttribute>) = 1,
        /// A destination.
        Destination(Vec<DestinationAttribute>) = 2,
        /// A sync daemon.
        Daemon(Vec<DaemonAttribute>) = 3,
        /// Of idle TCP connections, in seconds.
        TimeoutTcp(u32) = 4,
        /// Of TCP connections after a FIN, in seconds.
        TimeoutTcpFin(u32) = 5,
        /// Of UDP, in seconds.
        TimeoutUdp(u32) = 6,
    }
}

attributes! {
    /// `IPVS_INFO_ATTR_*`: the attributes of [`Command::SetInfo`], whose numbers mean something else elsewhere.
    InfoAttribute {
        /// Three octets: major, minor, patch.
        Version(u32) = 1,
        /// Buckets of the connection table.
        TableSize(u32) = 2,
    }
}

/// An attribute of a message: of which kind is the command's matter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// Of every command but one.
    Main(MainAttribute),
    /// Of [`Command::SetInfo`].
    Info(InfoAttribute),
}

impl netlink_packet_core::Nla for Attribute {
    fn value_len(&self) -> usize {
        match self {
            Attribute::Main(main) => main.value_len(),
            Attribute::Info(info) => info.value_len(),
        }
    }

    fn kind(&self) -> u16 {
        match self {
            Attribute::Main(main) => main.kind(),
            Attribute::Info(info) => info.kind(),
        }
    }

    fn emit_value(&self, buffer: &mut [u8]) {
        match self {
            Attribute::Main(main) => main.emit_value(buffer),
            Attribute::Info(info) => info.emit_value(buffer),
        }
    }
}

/// A message of the family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IpvsMessage {
    /// What is asked or told.
    pub command: Command,
    /// In their order.
    pub attributes: Vec<Attribute>,
}

impl IpvsMessage {
    /// With attributes of any command but [`Command::SetInfo`].
    pub fn new(command: Command, attributes: impl IntoIterator<Item = MainAttribute>) -> Self {
        IpvsMessage { command, attributes: attributes.into_iter().map(Attribute::Main).collect() }
    }

    /// Those that are not of [`Command::SetInfo`].
    pub fn main(&self) -> impl Iterator<Item = &MainAttribute> {
        self.attributes.iter().filter_map(|attribute| match attribute {
            Attribute::Main(main) => Some(main),
            Attribute::Info(_) => None,
        })
    }
}

impl GenlFamily for IpvsMessage {
    fn family_name() -> &'static str {
        "IPVS"
    }

    fn command(&self) -> u8 {
        self.command.number()
    }

    fn version(&self) -> u8 {
        VERSION
    }
}

impl Emitable for IpvsMessage {
    fn buffer_len(&self) -> usize {
        self.attributes.as_slice().buffer_len()
    }

    fn emit(&self, buffer: &mut [u8]) {
        self.attributes.as_slice().emit(buffer);
    }
}

impl ParseableParametrized<[u8], GenlHeader> for IpvsMessage {
    fn parse_with_param(buffer: &[u8], header: GenlHeader) -> Result<Self, DecodeError> {
        let command = Command::from_number(header.cmd);
        let one = |nla: NlaBuffer<&[u8]>| match command {
            Command::SetInfo => InfoAttribute::parse(&nla).map(Attribute::Info),
            _ => MainAttribute::parse(&nla).map(Attribute::Main),
        };
        let attributes = NlasIterator::new(buffer).map(|nla| nla.and_then(one)).collect::<Result<_, _>>()?;
        Ok(IpvsMessage { command, attributes })
    }
}
