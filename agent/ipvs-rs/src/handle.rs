//! The kernel's IPVS, asked over a netlink socket.
//!
//! Every request has an end: an answer, a refusal, or [`PATIENCE`]. The kernel works them off in their order.

use std::time::Duration;

use futures_util::{Stream, StreamExt};
use netlink_packet_core::{
    DecodeError, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage,
    NetlinkPayload, NetlinkSerializable,
};
use netlink_packet_generic::constants::GENL_ID_CTRL;
use netlink_packet_generic::ctrl::nlas::GenlCtrlAttrs;
use netlink_packet_generic::ctrl::{GenlCtrl, GenlCtrlCmd};
use netlink_packet_generic::{GenlFamily, GenlMessage};
use netlink_proto::ConnectionHandle;
use netlink_proto::sys::{SocketAddr as Port, TokioSocket, protocols::NETLINK_GENERIC};

use crate::daemon::{Daemon, DaemonRole, Info, Timeouts};
use crate::destination::{Destination, DestinationEntry};
use crate::error::{ENOENT, Error};
use crate::plan::Change;
use crate::service::{Service, ServiceEntry, ServiceId};
use crate::table::{Entry, Table};
use crate::wire::{Command, IpvsMessage, MainAttribute};

/// How long the kernel may take over one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// What crosses the socket: the controller, which knows the family's number, and the family.
#[derive(Debug, Clone)]
enum Packet {
    Controller(GenlMessage<GenlCtrl>),
    Ipvs(GenlMessage<IpvsMessage>),
}

impl NetlinkSerializable for Packet {
    fn message_type(&self) -> u16 {
        match self {
            Packet::Controller(message) => message.message_type(),
            Packet::Ipvs(message) => message.message_type(),
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Packet::Controller(message) => NetlinkSerializable::buffer_len(message),
            Packet::Ipvs(message) => NetlinkSerializable::buffer_len(message),
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        match self {
            Packet::Controller(message) => message.serialize(buffer),
            Packet::Ipvs(message) => message.serialize(buffer),
        }
    }
}

impl NetlinkDeserializable for Packet {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, Self::Error> {
        if header.message_type == GENL_ID_CTRL {
            GenlMessage::deserialize(header, payload).map(Packet::Controller)
        } else {
            GenlMessage::deserialize(header, payload).map(Packet::Ipvs)
        }
    }
}

/// The way to the kernel's IPVS, in the network namespace of the thread that opened it.
#[derive(Debug, Clone)]
pub struct Handle {
    connection: ConnectionHandle<Packet>,
    family: u16,
}

impl Handle {
    /// Opens a socket and asks for the family. The connection is a task of the current tokio runtime, and ends with the
    /// last clone of the handle.
    ///
    /// # Errors
    /// [`Error::NoFamily`] without IPVS; [`Error::Socket`] without a socket.
    pub async fn open() -> Result<Self, Error> {
        let opened = netlink_proto::new_connection_with_socket::<Packet, TokioSocket>(NETLINK_GENERIC);
        let (task, connection, unsolicited) = opened.map_err(Error::Socket)?;
        // The family tells nothing of its own accord.
        drop(unsolicited);
        tokio::spawn(task);
        let mut handle = Handle { connection, family: 0 };
        handle.family = handle.family_number().await?;
        Ok(handle)
    }

    async fn family_number(&self) -> Result<u16, Error> {
        let name = GenlCtrlAttrs::FamilyName(IpvsMessage::family_name().to_owned());
        let request = GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] });
        let told = self.send(Packet::Controller(request), NLM_F_ACK)?;
        let told = collect(told).await.map_err(|error| match error {
            Error::Kernel(ENOENT) => Error::NoFamily,
            other => other,
        })?;
        let attributes = told.into_iter().filter_map(|packet| match packet {
            Packet::Controller(message) => Some(message.payload.nlas),
            Packet::Ipvs(_) => None,
        });
        let number = attributes.flatten().find_map(|attribute| match attribute {
            GenlCtrlAttrs::FamilyId(number) => Some(number),
            _ => None,
        });
        number.ok_or(Error::NoFamily)
    }

    fn send(&self, packet: Packet, flags: u16) -> Result<impl Stream<Item = NetlinkMessage<Packet>> + use<>, Error> {
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::InnerMessage(packet));
        message.header.flags = NLM_F_REQUEST | flags;
        message.finalize();
        self.connection.request(message, Port::new(0, 0)).map_err(|_| Error::Closed)
    }

    fn ask(
        &self,
        message: IpvsMessage,
        flags: u16,
    ) -> Result<impl Stream<Item = NetlinkMessage<Packet>> + use<>, Error> {
        let mut message = GenlMessage::from_payload(message);
        message.set_resolved_family_id(self.family);
        self.send(Packet::Ipvs(message), flags)
    }

    /// Sends a message and gathers what the kernel answers.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn request(&self, message: IpvsMessage, dump: bool) -> Result<Vec<IpvsMessage>, Error> {
        let told = self.ask(message, if dump { NLM_F_DUMP } else { NLM_F_ACK })?;
        let told = collect(told).await?.into_iter().filter_map(|packet| match packet {
            Packet::Ipvs(message) => Some(message.payload),
            Packet::Controller(_) => None,
        });
        Ok(told.collect())
    }

    async fn order(&self, command: Command, attributes: impl IntoIterator<Item = MainAttribute>) -> Result<(), Error> {
        self.request(IpvsMessage::new(command, attributes), false).await.map(drop)
    }

    /// All services.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn services(&self) -> Result<Vec<ServiceEntry>, Error> {
        let told = self.request(IpvsMessage::new(Command::GetService, []), true).await?;
        let services = told.iter().flat_map(IpvsMessage::main).filter_map(|attribute| match attribute {
            MainAttribute::Service(attributes) => Some(ServiceEntry::from_attributes(attributes)),
            _ => None,
        });
        Ok(services.collect::<Result<_, _>>()?)
    }

    /// The destinations of a service; none of one that is not there.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn destinations(&self, id: ServiceId) -> Result<Vec<DestinationEntry>, Error> {
        let service = MainAttribute::Service(id.attributes());
        let told = self.request(IpvsMessage::new(Command::GetDest, [service]), true).await?;
        let destinations = told.iter().flat_map(IpvsMessage::main).filter_map(|attribute| match attribute {
            MainAttribute::Destination(attributes) => Some(DestinationEntry::from_attributes(attributes, id.family())),
            _ => None,
        });
        Ok(destinations.collect::<Result<_, _>>()?)
    }

    /// All services, and the destinations of those for which `whole` says so, as of some moments that lie close together.
    ///
    /// One after the other: a socket has one dump at a time, and the kernel refuses a second one as busy.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn table(&self, whole: impl Fn(ServiceId) -> bool) -> Result<Table, Error> {
        self.table_and_counters(whole, |_, _| ()).await
    }

    /// The same; what the kernel counts of each whole service and of its destinations is shown to `seen`, and not kept here.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn table_and_counters(
        &self,
        whole: impl Fn(ServiceId) -> bool,
        mut seen: impl FnMut(&ServiceEntry, &[DestinationEntry]),
    ) -> Result<Table, Error> {
        let mut table = Table::default();
        for entry in self.services().await? {
            let mut known = Vec::new();
            if whole(entry.service.id) {
                known = self.destinations(entry.service.id).await?;
                seen(&entry, &known);
            }
            table.insert(Entry::new(entry.service, known.into_iter().map(|entry| entry.destination)));
        }
        Ok(table)
    }

    /// Makes changes in their order; the answer to each. A refusal of one does not keep those after it from being made;
    /// once an answer is late, nothing more is asked for.
    pub async fn apply(&self, changes: &[Change]) -> Vec<Result<(), Error>> {
        let mut answers = Vec::with_capacity(changes.len());
        for change in changes {
            let is_late = matches!(answers.last(), Some(Err(Error::Late(_))));
            answers.push(if is_late { Err(Error::Late(PATIENCE)) } else { self.change(change).await });
        }
        answers
    }

    async fn change(&self, change: &Change) -> Result<(), Error> {
        self.request(message_of(change), false).await.map(drop)
    }

    /// Adds a service.
    ///
    /// # Errors
    /// EEXIST: it is there; ENOENT: no such scheduler, or its module can't be loaded.
    pub async fn add_service(&self, service: &Service) -> Result<(), Error> {
        self.change(&Change::AddService(service.clone())).await
    }

    /// Changes a service in place.
    ///
    /// # Errors
    /// ESRCH: there is none; ENOENT: no such scheduler.
    pub async fn edit_service(&self, service: &Service) -> Result<(), Error> {
        self.change(&Change::EditService(service.clone())).await
    }

    /// Deletes a service and its destinations.
    ///
    /// # Errors
    /// ESRCH: there is none.
    pub async fn delete_service(&self, id: ServiceId) -> Result<(), Error> {
        self.change(&Change::DeleteService(id)).await
    }

    /// Adds a destination to a service.
    ///
    /// # Errors
    /// ESRCH: no such service; EEXIST: it is there; ERANGE: thresholds the wrong way round.
    pub async fn add_destination(&self, id: ServiceId, destination: &Destination) -> Result<(), Error> {
        self.change(&Change::AddDestination(id, destination.clone())).await
    }

    /// Changes a destination in place.
    ///
    /// # Errors
    /// ESRCH: no such service; ENOENT: no such destination.
    pub async fn edit_destination(&self, id: ServiceId, destination: &Destination) -> Result<(), Error> {
        self.change(&Change::EditDestination(id, destination.clone())).await
    }

    /// Deletes a destination.
    ///
    /// # Errors
    /// ESRCH: no such service; ENOENT: no such destination.
    pub async fn delete_destination(&self, id: ServiceId, address: std::net::SocketAddr) -> Result<(), Error> {
        self.change(&Change::DeleteDestination(id, address)).await
    }

    /// Deletes all services, whoever made them.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn flush(&self) -> Result<(), Error> {
        self.order(Command::Flush, []).await
    }

    /// Sets the counters of a service and its destinations to zero, or of all.
    ///
    /// # Errors
    /// ESRCH: no such service.
    pub async fn zero(&self, id: Option<ServiceId>) -> Result<(), Error> {
        self.order(Command::Zero, id.map(|id| MainAttribute::Service(id.attributes()))).await
    }

    /// Version and table size.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn info(&self) -> Result<Info, Error> {
        let told = self.request(IpvsMessage::new(Command::GetInfo, []), false).await?;
        let first = told.first().ok_or(crate::Incomplete("answer"))?;
        Ok(Info::from_message(first)?)
    }

    /// The timeouts.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn timeouts(&self) -> Result<Timeouts, Error> {
        let told = self.request(IpvsMessage::new(Command::GetConfig, []), false).await?;
        Ok(told.first().map(Timeouts::from_message).unwrap_or_default())
    }

    /// Sets timeouts.
    ///
    /// # Errors
    /// EINVAL: longer than the kernel counts.
    pub async fn set_timeouts(&self, timeouts: &Timeouts) -> Result<(), Error> {
        self.order(Command::SetConfig, timeouts.attributes()).await
    }

    /// The sync daemons that run.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn daemons(&self) -> Result<Vec<Daemon>, Error> {
        let told = self.request(IpvsMessage::new(Command::GetDaemon, []), true).await?;
        let daemons = told.iter().flat_map(IpvsMessage::main).filter_map(|attribute| match attribute {
            MainAttribute::Daemon(attributes) => Some(Daemon::from_attributes(attributes)),
            _ => None,
        });
        Ok(daemons.collect::<Result<_, _>>()?)
    }

    /// Starts a sync daemon.
    ///
    /// # Errors
    /// EEXIST: one of its role runs; ENODEV: no such interface; EINVAL: a destination is of another family than its
    /// service, which can't be told to others.
    pub async fn start_daemon(&self, daemon: &Daemon) -> Result<(), Error> {
        self.order(Command::NewDaemon, [MainAttribute::Daemon(daemon.attributes())]).await
    }

    /// Stops the sync daemon of a role.
    ///
    /// # Errors
    /// ESRCH: none runs.
    pub async fn stop_daemon(&self, daemon: &Daemon) -> Result<(), Error> {
        self.order(Command::DelDaemon, [MainAttribute::Daemon(daemon.attributes())]).await
    }

    /// The sync daemon of a role, if it runs.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn daemon(&self, role: DaemonRole) -> Result<Option<Daemon>, Error> {
        Ok(self.daemons().await?.into_iter().find(|daemon| daemon.role == role))
    }
}

fn message_of(change: &Change) -> IpvsMessage {
    let service = |attributes| MainAttribute::Service(attributes);
    let both = |command, id: ServiceId, destination| {
        IpvsMessage::new(command, [service(id.attributes()), MainAttribute::Destination(destination)])
    };
    match change {
        Change::AddService(new) => IpvsMessage::new(Command::NewService, [service(new.attributes())]),
        Change::EditService(new) => IpvsMessage::new(Command::SetService, [service(new.attributes())]),
        Change::DeleteService(id) => IpvsMessage::new(Command::DelService, [service(id.attributes())]),
        Change::AddDestination(id, new) => both(Command::NewDest, *id, new.attributes()),
        Change::EditDestination(id, new) => both(Command::SetDest, *id, new.attributes()),
        Change::DeleteDestination(id, address) => both(Command::DelDest, *id, Destination::key(*address)),
    }
}

/// What the kernel answers to one request.
async fn collect(told: impl Stream<Item = NetlinkMessage<Packet>>) -> Result<Vec<Packet>, Error> {
    let gather = async {
        let mut told = std::pin::pin!(told);
        let mut packets = Vec::new();
        while let Some(message) = told.next().await {
            match message.payload {
                NetlinkPayload::InnerMessage(packet) => packets.push(packet),
                NetlinkPayload::Error(error) if error.code.is_some() => {
                    return Err(Error::Kernel(error.raw_code().saturating_abs()));
                }
                _ => {}
            }
        }
        Ok(packets)
    };
    tokio::time::timeout(PATIENCE, gather).await.map_err(|_| Error::Late(PATIENCE))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The kernels that tests run under have it or not: both are seen, in the guests of `keepone-chaos qemu lvs` too.
    #[tokio::test]
    async fn a_kernel_without_ipvs_is_named_with_the_remedy() {
        match Handle::open().await {
            Ok(handle) => {
                let info = handle.info().await.unwrap();
                assert!(info.version >= [1, 2, 0] && info.table_size.is_power_of_two(), "{info:?}");
            }
            Err(error) => assert!(error.to_string().contains("modprobe ip_vs"), "{error:?}"),
        }
    }

    #[test]
    fn a_packet_of_the_controller_is_told_from_one_of_the_family() {
        let name = GenlCtrlAttrs::FamilyName("IPVS".to_owned());
        let asked =
            Packet::Controller(GenlMessage::from_payload(GenlCtrl { cmd: GenlCtrlCmd::GetFamily, nlas: vec![name] }));
        let mut bytes = vec![0; asked.buffer_len()];
        asked.serialize(&mut bytes);
        let mut header = NetlinkHeader::default();
        header.message_type = asked.message_type();
        assert!(matches!(Packet::deserialize(&header, &bytes).unwrap(), Packet::Controller(_)));
        header.message_type = 0x21;
        let Packet::Ipvs(message) = Packet::deserialize(&header, &bytes).unwrap() else { panic!("not the family's") };
        assert_eq!(message.payload.command, Command::DelService, "the controller's number 3 means another thing here");
    }
}
