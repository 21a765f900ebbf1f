//! What a reload asks before it gives anything up: whether a worker could start with the new configuration.

use std::io::ErrorKind;
use std::net::{SocketAddr, UdpSocket};

use keepone_config::Config;
use keepone_config::diff::digest_beside_servers;

use crate::assemble::Plan;
use crate::exit::{ExitCode, Failure};
use crate::guardian::OTHER;
use crate::reload::ALIKE;
use crate::upgrade;
use crate::worker::{check_interfaces, load_keys};

/// Whether its interfaces, its keys and the addresses of its heartbeat links are there.
///
/// # Errors
/// What the operator has to mend first.
pub fn could_start(config: &Config) -> Result<(), Failure> {
    let plan = Plan::new(config);
    check_interfaces(&plan)?;
    plan.links.iter().try_for_each(|link| check_address(&link.name, link.local))?;
    config.cluster.as_ref().map(load_keys).transpose().map(drop)
}

/// How the process ends that has found a configuration good: with 0, or with [`ALIKE`] where all but the virtual servers is
/// what the guardian knows by this digest; with [`OTHER`] where it is not what an upgrade can go on with.
pub fn end(config: &Config, known: Option<u64>, mark: Option<&str>) -> u8 {
    let own = || upgrade::place(config).mark.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    if mark.is_some_and(|mark| own() != mark) {
        return OTHER;
    }
    if known.is_some_and(|known| digest_beside_servers(config) == known) { ALIKE } else { 0 }
}

/// Not the port: it is in use, by whom the new worker is to follow.
fn check_address(link: &str, local: SocketAddr) -> Result<(), Failure> {
    match UdpSocket::bind((local.ip(), 0)) {
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => {
            let address = local.ip();
            let words = format!(
                "heartbeat link {link}: {address} is no address of this machine: add it, or correct `address` \
                 (`ip address` lists what there is)"
            );
            Err(Failure::say(ExitCode::InUse, words))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_link_needs_an_address_of_this_machine() {
        check_address("hb0", SocketAddr::from(([127, 0, 0, 1], 7946))).unwrap();
        let failure = check_address("hb0", SocketAddr::from(([203, 0, 113, 9], 7946))).unwrap_err();
        assert!(failure.message.starts_with("heartbeat link hb0: 203.0.113.9 is no address"), "{}", failure.message);
        assert_eq!(failure.code, ExitCode::InUse);
    }
}
