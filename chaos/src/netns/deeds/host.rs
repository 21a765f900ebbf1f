//! Addresses, interfaces, disks and eBPF programs of a node, in the hands of others.

use std::fs;
use std::io::Write;
use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use keepone_bpf::Link;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::LinkAttribute;
use rtnetlink::{Handle, LinkBridge, LinkUnspec};

use crate::fault::Network;
use crate::netns::configuration::SCRIPT_FAILS;
use crate::netns::error::{Error, io_error};
use crate::netns::etcd;
use crate::netns::namespace::Namespace;
use crate::netns::topology::{GATEWAY, Host, Kind, interface, lan6, link_index, netlink_error};
use crate::netns::world::World;

/// What fills a disk.
const FILLER: &str = "filler";
/// The copy of etcd.
const SNAPSHOT: &str = "etcd-snapshot";
/// RFC 863.
const DISCARD: u16 = 9;

/// The addresses of the interface `index`, with the messages that remove them.
async fn addresses(handle: &Handle, index: u32) -> Result<Vec<(IpAddr, AddressMessage)>, Error> {
    let mut found = Vec::new();
    let mut messages = handle.address().get().set_link_index_filter(index).execute();
    while let Some(message) = messages.try_next().await.map_err(netlink_error("list addresses"))? {
        let address = message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address @ IpAddr::V4(_)) | AddressAttribute::Address(address @ IpAddr::V6(_)) => {
                Some(*address)
            }
            _ => None,
        });
        found.extend(address.map(|address| (address, message)));
    }
    Ok(found)
}

/// Removes every address of the LAN interface that `keep` does not name; link-local ones are the kernel's.
async fn remove_addresses(handle: &Handle, keep: &[IpAddr]) -> Result<u32, Error> {
    let index = link_index(handle, &interface(Network::Lan)).await?;
    let local = |address: &IpAddr| matches!(address, IpAddr::V6(address) if address.is_unicast_link_local());
    let all = addresses(handle, index).await?.into_iter();
    for (_, message) in all.filter(|(address, _)| !keep.contains(address) && !local(address)) {
        // The agent may have removed it first.
        let _ = handle.address().del(message).execute().await;
    }
    Ok(index)
}

fn copy_all(from: &Path, to: &Path) -> Result<(), Error> {
    let what = || io_error(format!("copy {} to {}", from.display(), to.display()));
    fs::create_dir_all(to).map_err(what())?;
    for entry in fs::read_dir(from).map_err(what())?.flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            fs::copy(entry.path(), to.join(entry.file_name())).map_err(what())?;
        }
    }
    Ok(())
}

impl World {
    fn lan(&self, kind: Kind) -> Option<(Namespace, Ipv4Addr)> {
        let host = self.topology.host(kind)?;
        Some((host.namespace.clone(), host.port(Network::Lan)?.address))
    }

    fn state_dir(&mut self, kind: Kind) -> Option<PathBuf> {
        self.program(kind).map(|agent| agent.state_dir())
    }

    /// Removes every address of the LAN interface but the machine's own.
    pub(super) fn remove_vips(&mut self, kind: Kind) -> Result<(), Error> {
        let Some((namespace, own)) = self.lan(kind) else { return Ok(()) };
        namespace.netlink(|handle| async move {
            remove_addresses(&handle, &[own.into(), lan6(own).into()]).await.map(|_| ())
        })
    }

    /// Removes every address of the LAN interface and puts the machine's own back.
    pub(super) fn flush_addresses(&mut self, kind: Kind) -> Result<(), Error> {
        let Some((namespace, own)) = self.lan(kind) else { return Ok(()) };
        namespace.netlink(|handle| async move {
            let index = remove_addresses(&handle, &[]).await?;
            for (address, length) in [(IpAddr::from(own), 24), (lan6(own).into(), 64)] {
                let add = handle.address().add(index, address, length).execute();
                add.await.map_err(netlink_error("put a machine's own address back"))?;
            }
            Ok(())
        })
    }

    /// Makes and removes bridges without pause, on a thread that ends by itself.
    pub(super) fn churn(&mut self, kind: Kind, for_ms: u64) -> Result<(), Error> {
        let Some((namespace, _)) = self.lan(kind) else { return Ok(()) };
        let over = self.works.over.clone();
        thread::spawn(move || {
            let begin = Instant::now();
            let churned = namespace.netlink(|handle| async move {
                while begin.elapsed() < Duration::from_millis(for_ms) && !over.is_set() {
                    let name = "churn";
                    handle.link().add(LinkBridge::new(name).build()).execute().await.map_err(netlink_error("churn"))?;
                    let index = link_index(&handle, name).await?;
                    handle.link().del(index).execute().await.map_err(netlink_error("churn"))?;
                }
                Ok(())
            });
            if let Err(error) = churned {
                eprintln!("keepone-chaos: the churn of interfaces ended early: {error}");
            }
        });
        Ok(())
    }

    /// A slow line with a long queue (bufferbloat), and twice as much traffic as it takes, to the gateway.
    pub(super) fn bloat(&mut self, kind: Kind, for_ms: u64) -> Result<(), Error> {
        let Some((namespace, own)) = self.lan(kind) else { return Ok(()) };
        let over = self.works.over.clone();
        let interface = interface(Network::Lan);
        let shape = move |arguments: &str| {
            let what = format!("run tc qdisc {arguments}");
            let status =
                Command::new("tc").arg("qdisc").args(arguments.split(' ')).status().map_err(io_error(&what))?;
            status.success().then_some(()).ok_or_else(|| io_error(what)(std::io::Error::other("tc failed")))
        };
        let on = format!("replace dev {interface} root tbf rate 400kbit burst 3000 limit 15000");
        namespace.run(|| shape(&on))?;
        thread::spawn(move || {
            let flood = || {
                let socket = UdpSocket::bind((own, 0)).map_err(io_error("bind the flood"))?;
                let begin = Instant::now();
                while begin.elapsed() < Duration::from_millis(for_ms) && !over.is_set() {
                    // A full queue drops it: that is what is wanted.
                    let _ = socket.send_to(&[0; 1000], (GATEWAY, DISCARD));
                    thread::sleep(Duration::from_millis(10));
                }
                shape(&format!("del dev {interface} root"))
            };
            if let Err(error) = namespace.run(flood) {
                eprintln!("keepone-chaos: the slow line ended early: {error}");
            }
        });
        Ok(())
    }

    /// Leaves no octet free where the voter's record is.
    pub(super) fn fill_disk(&mut self, kind: Kind) -> Result<(), Error> {
        let Some(directory) = self.state_dir(kind) else { return Ok(()) };
        let path = directory.join(FILLER);
        let mut file = fs::File::create(&path).map_err(io_error(format!("create {}", path.display())))?;
        for size in [4096, 256, 16, 1] {
            while file.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    /// The tracked script looks for a file that means that it fails.
    pub(super) fn turn_script(&mut self, kind: Kind, fails: bool) -> Result<(), Error> {
        let Some(directory) = self.program(kind).map(|agent| agent.directory.clone()) else { return Ok(()) };
        let path = directory.join(SCRIPT_FAILS);
        let done = if fails { fs::write(&path, "") } else { fs::remove_file(&path) };
        done.map_err(io_error(format!("make or remove {}", path.display())))
    }

    /// Makes room again.
    pub(super) fn free_disk(&mut self, kind: Kind) -> Result<(), Error> {
        let Some(directory) = self.state_dir(kind) else { return Ok(()) };
        let path = directory.join(FILLER);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(io_error(format!("remove {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    fn aside(&self, kind: Kind) -> PathBuf {
        self.plan.room.join(format!("saved-{kind:?}"))
    }

    fn etcd_member(&self, kind: Kind) -> Option<&Host> {
        let host = self.topology.host(kind)?;
        (self.plan.shape.etcd && matches!(kind, Kind::Witness(_))).then_some(host)
    }

    /// Keeps the voter's record aside, or a snapshot of all that etcd knows.
    pub(super) fn save_record(&mut self, kind: Kind) -> Result<(), Error> {
        let aside = self.aside(kind);
        if let Some(member) = self.etcd_member(kind) {
            return etcd::save(member, &self.plan.room.join(SNAPSHOT), &self.processes);
        }
        self.state_dir(kind).map_or(Ok(()), |directory| copy_all(&directory, &aside))
    }

    /// Empties the disk of a program that does not run, and perhaps puts back what was kept aside.
    pub(super) fn lose_record(&mut self, kind: Kind, restore: bool) -> Result<(), Error> {
        let Some(directory) = self.state_dir(kind) else { return Ok(()) };
        if let (Some(member), true) = (self.etcd_member(kind), restore) {
            let snapshot = self.plan.room.join(SNAPSHOT);
            return etcd::restore(member, &self.topology, &directory, &snapshot, &self.processes);
        }
        for entry in fs::read_dir(&directory).map_err(io_error("read a voter's record"))?.flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_file()) {
                fs::remove_file(entry.path()).map_err(io_error("remove a voter's record"))?;
            }
        }
        if restore { copy_all(&self.aside(kind), &directory) } else { Ok(()) }
    }

    fn pins(&mut self, kind: Kind) -> Vec<PathBuf> {
        let Some(directory) = self.program(kind).map(|agent| agent.bpf_dir()) else { return Vec::new() };
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        // The file system's own files, `maps.debug` and `progs.debug`, are nobody's pins.
        let is_pin = |path: &PathBuf| path.extension().is_none_or(|extension| extension != "debug");
        let files = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
        files.map(|entry| entry.path()).filter(is_pin).collect()
    }

    /// Detaches the gate's programs from the LAN interface, as another program with the right may.
    pub(super) fn detach_gate(&mut self, kind: Kind) -> Result<(), Error> {
        let Some((namespace, _)) = self.lan(kind) else { return Ok(()) };
        let index = namespace.netlink(|handle| async move { link_index(&handle, &interface(Network::Lan)).await })?;
        for pin in self.pins(kind) {
            let name = pin.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if [format!("-in-{index}"), format!("-out-{index}")].iter().any(|suffix| name.ends_with(suffix)) {
                Link::open_pinned(&pin)?.detach()?;
            }
        }
        Ok(())
    }

    /// Removes every pin of the gate.
    pub(super) fn remove_pins(&mut self, kind: Kind) -> Result<(), Error> {
        for pin in self.pins(kind) {
            fs::remove_file(&pin).map_err(io_error(format!("remove {}", pin.display())))?;
        }
        Ok(())
    }

    /// Takes an interface down, gives it another name, or its own again, and takes it up.
    pub(super) fn rename(&mut self, kind: Kind, on: Network, away: bool) -> Result<(), Error> {
        let Some(host) = self.topology.host(kind) else { return Ok(()) };
        let (own, other) = (interface(on), format!("{}x", interface(on)));
        let (from, to) = if away { (own, other) } else { (other, own) };
        host.namespace.netlink(|handle| async move {
            let index = link_index(&handle, &from).await?;
            let link = || LinkUnspec::new_with_index(index);
            for link in [link().down(), link().name(&to), link().up()] {
                handle.link().set(link.build()).execute().await.map_err(netlink_error("rename an interface"))?;
            }
            Ok(())
        })
    }

    /// Gives an interface another hardware address.
    pub(super) fn change_mac(&mut self, kind: Kind, on: Network) -> Result<(), Error> {
        let Some(host) = self.topology.host(kind) else { return Ok(()) };
        let Some(mut mac) = host.port(on).map(|port| port.mac.to_vec()) else { return Ok(()) };
        if let Some(octet) = mac.get_mut(3) {
            *octet = 0x77;
        }
        host.namespace.netlink(|handle| async move {
            let index = link_index(&handle, &interface(on)).await?;
            let link = LinkUnspec::new_with_index(index).append_extra_attribute(LinkAttribute::Address(mac)).build();
            handle.link().set(link).execute().await.map_err(netlink_error("change a hardware address"))
        })
    }
}
