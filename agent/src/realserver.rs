//! A real server behind a director that passes packets on as they are (DR), or in a tunnel (TUN): it has the virtual
//! address too, and must not answer for it on the network.
//!
//! What must stay true: what is set up is written down first, so that [`RealServer::undo`] takes away that and nothing else.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::net::addresses_here;
use crate::netlink::address::VirtualAddress;
use crate::netlink::at_once::{remove_now, set_now};
use crate::netlink::link::Links;
use crate::sysctl::{Setting, Sysctls, Value};

/// In the directory: lines of address and interface.
const FILE: &str = "addresses";
/// Where what comes through a tunnel arrives: made by the modules `ipip` and `ip6_tunnel`.
const TUNNELS: [&str; 2] = ["tunl0", "ip6tnl0"];

/// Virtual addresses that this host has as a real server.
#[derive(Debug)]
pub struct RealServer {
    addresses: Vec<VirtualAddress>,
    tunnel: bool,
    directory: PathBuf,
}

impl RealServer {
    /// Of these addresses, on `lo`, or with `tunnel` on the device that packets leave their tunnel by. What is changed is
    /// written down in `directory`.
    pub fn new(addresses: &[IpAddr], tunnel: bool, directory: &Path) -> Self {
        let one = |address: &IpAddr| {
            let [v4, v6] = TUNNELS;
            let (device, length) = if address.is_ipv4() { (v4, 32) } else { (v6, 128) };
            VirtualAddress::new(if tunnel { device } else { "lo" }, *address, length)
        };
        RealServer { addresses: addresses.iter().map(one).collect(), tunnel, directory: directory.to_owned() }
    }

    /// What is not as a real server needs it, and the remedy; none if all is well.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn faults(&self) -> Result<Vec<String>, String> {
        let mut faults: Vec<String> = self
            .missing()?
            .iter()
            .map(|one| format!("{} is not on {}: run `keepone realserver setup`", one.address, one.interface))
            .collect();
        for (name, value, wanted) in self.sysctls().differing(&self.settings()) {
            let why = match name.rsplit('/').next() {
                Some("arp_ignore") => "this host answers ARP for the virtual address, and takes it from the director",
                Some("arp_announce") => "this host asks by ARP in the name of the virtual address",
                _ => "what comes through the tunnel is dropped",
            };
            faults.push(format!("{} is {value} and should be {wanted}: {why}", name.replace('/', ".")));
        }
        Ok(faults)
    }

    /// Sets up what [`RealServer::faults`] finds: first what keeps this host silent, then the addresses.
    ///
    /// # Errors
    /// What could not be set up.
    pub fn set_up(&self) -> Result<(), String> {
        let missing = self.missing()?;
        fs::create_dir_all(&self.directory).map_err(|error| self.unusable(&error))?;
        let faults = self.sysctls().apply(&self.settings());
        if !faults.is_empty() {
            return Err(faults.join("; "));
        }
        let mut known = self.written().map_err(|error| self.unusable(&error))?;
        known.extend(missing.iter().cloned());
        let lines: String = known.iter().map(|one| format!("{} {}\n", one.address, one.interface)).collect();
        fs::write(self.directory.join(FILE), lines).map_err(|error| self.unusable(&error))?;
        if self.tunnel {
            let links = Links::open().map_err(|error| format!("cannot open a netlink socket: {error}"))?;
            for device in TUNNELS.iter().filter(|device| self.addresses.iter().any(|one| one.interface == **device)) {
                links.raise(device).map_err(|error| {
                    format!("{error}: load the module that makes it, with `modprobe {}`", module_of(device))
                })?;
            }
        }
        set_now(&missing)
    }

    /// Takes away what was set up, by whatever calls.
    ///
    /// # Errors
    /// What is still there.
    pub fn undo(&self) -> Result<(), String> {
        let known = self.written().map_err(|error| self.unusable(&error))?;
        remove_now(&known, &[], Duration::from_secs(1), || {})?;
        match fs::remove_file(self.directory.join(FILE)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(self.unusable(&error)),
            Ok(()) | Err(_) => {}
        }
        let faults = self.sysctls().restore();
        if faults.is_empty() { Ok(()) } else { Err(faults.join("; ")) }
    }

    /// The greater of the values of `all` and of an interface counts (ip-sysctl.rst), so `all` suffices.
    fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        if self.addresses.iter().any(|one| one.address.is_ipv4()) {
            settings.push(Setting::ipv4("all", "arp_ignore", Value::AtLeast(1)).returning());
            settings.push(Setting::ipv4("all", "arp_announce", Value::AtLeast(2)).returning());
            if self.tunnel {
                let [v4, _] = TUNNELS;
                settings.push(Setting::ipv4(v4, "rp_filter", Value::NoReversePath).returning());
            }
        }
        settings
    }

    fn missing(&self) -> Result<Vec<VirtualAddress>, String> {
        let there = addresses_here().map_err(|error| format!("addresses can't be listed: {error}"))?;
        let is_missing = |one: &&VirtualAddress| !there.contains(&(one.interface.clone(), one.address));
        Ok(self.addresses.iter().filter(is_missing).cloned().collect())
    }

    /// What earlier calls have set up.
    fn written(&self) -> io::Result<Vec<VirtualAddress>> {
        let text = match fs::read_to_string(self.directory.join(FILE)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        let line = |line: &str| {
            let (address, device) = line.split_once(' ')?;
            let address: IpAddr = address.parse().ok()?;
            Some(VirtualAddress::new(device, address, if address.is_ipv4() { 32 } else { 128 }))
        };
        Ok(text.lines().filter_map(line).collect())
    }

    fn sysctls(&self) -> Sysctls {
        Sysctls::new(&self.directory)
    }

    fn unusable(&self, error: &io::Error) -> String {
        format!(
            "{} can't be used: {error}: make it writable, or name another with --state-dir",
            self.directory.display()
        )
    }
}

fn module_of(device: &str) -> &'static str {
    if device == "tunl0" { "ipip" } else { "ip6_tunnel" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::namespace::{NEAR_V4, World, ip};

    /// A sysctl of the namespace that this thread is in.
    fn arp_ignore() -> String {
        fs::read_to_string("/proc/sys/net/ipv4/conf/all/arp_ignore").unwrap().trim().to_owned()
    }

    #[test]
    fn what_is_set_up_is_silent_on_the_network_and_undo_takes_away_that_and_nothing_else() {
        World::run(async |world: &World| {
            let directory = tempfile::tempdir().unwrap();
            let vips: Vec<IpAddr> = ["10.9.0.200", "10.9.0.201", "fd00::200"].map(|vip| vip.parse().unwrap()).to_vec();
            let server = RealServer::new(&vips, false, directory.path());
            // The operator's own.
            ip("addr add 10.9.0.201/32 dev lo");
            // Of a host with the address on lo the network learns by ARP, unless it is told not to.
            let _service = std::net::TcpListener::bind("0.0.0.0:7000").unwrap();
            let heard = |vip: &str| {
                world.far(|| {
                    ip("neigh flush dev far0");
                    let to = std::net::SocketAddr::new(vip.parse().unwrap(), 7000);
                    std::net::TcpStream::connect_timeout(&to, Duration::from_secs(2)).is_ok()
                })
            };
            assert_eq!((arp_ignore().as_str(), heard("10.9.0.201")), ("0", true));
            let faults = server.faults().unwrap();
            assert_eq!(faults.len(), 4, "{faults:?}");
            assert!(faults.iter().any(|fault| fault.starts_with("10.9.0.200 is not on lo: run")), "{faults:?}");
            assert!(faults.iter().any(|fault| fault.contains("arp_ignore is 0 and should be 1")), "{faults:?}");
            server.set_up().unwrap();
            server.set_up().unwrap();
            assert_eq!(server.faults().unwrap(), [""; 0]);
            assert!(!heard("10.9.0.200") && !heard("10.9.0.201") && heard(NEAR_V4));
            // What comes to this host for it is taken, as from a director.
            world.far(|| ip(&format!("route add 10.9.0.200/32 via {NEAR_V4}")));
            assert!(heard("10.9.0.200"));
            server.undo().unwrap();
            let there = ip("addr show dev lo");
            assert!(!there.contains("10.9.0.200") && !there.contains("fd00::200") && there.contains("10.9.0.201"));
            assert_eq!((arp_ignore().as_str(), fs::read_dir(directory.path()).unwrap().count()), ("0", 0));
            server.undo().unwrap();
        });
    }

    #[test]
    fn a_tunnel_that_the_kernel_does_not_have_is_an_error_with_the_remedy() {
        World::run(async |_: &World| {
            let directory = tempfile::tempdir().unwrap();
            let server = RealServer::new(&["fd00::200".parse().unwrap()], true, directory.path());
            if nix::net::if_::if_nametoindex("ip6tnl0").is_err() {
                let error = server.set_up().unwrap_err();
                assert!(error.contains("ip6tnl0") && error.contains("modprobe ip6_tunnel"), "{error}");
            } else {
                server.set_up().unwrap();
                assert_eq!(server.faults().unwrap(), [""; 0]);
                server.undo().unwrap();
            }
        });
    }
}
