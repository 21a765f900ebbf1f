//! Somebody else who answers for a virtual address: asked by ARP and ND without claiming anything (RFC 5227, RFC 4862).
//!
//! One answer is nothing wrong where another node holds the address. Two different ones are, and one is where this
//! node has the address itself.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use keepone_proto::wire::{arp, ndp};

use super::{Finding, Report};
use crate::assemble::Plan;
use crate::net::neighbor::{ClaimWatch, FrameSender};
use crate::net::{Sent, addresses_here};

/// Answers are waited for so long after the last question.
const WAIT: Duration = Duration::from_millis(700);
/// A question may be lost.
const ASKS: usize = 2;
/// More addresses of an interface than that are not asked for.
const MOST: usize = 256;

pub(super) fn look(plan: &Plan, report: &mut Report) {
    let mut of: BTreeMap<&str, Vec<IpAddr>> = BTreeMap::new();
    for address in plan.addresses.values().flatten() {
        // One that is made for a virtual router is not there before the agent is.
        let link = plan.own_links.iter().find(|link| link.name == address.interface);
        of.entry(link.map_or(address.interface.as_str(), |link| link.base.as_str())).or_default().push(address.address);
    }
    let own: BTreeSet<IpAddr> = addresses_here().unwrap_or_default().into_iter().map(|(_, address)| address).collect();
    for (interface, addresses) in of {
        let asked: Vec<IpAddr> = addresses.into_iter().take(MOST).collect();
        match ask(interface, &asked) {
            Ok(answers) => report.findings.extend(answers.iter().filter_map(|(address, macs)| {
                let is_own = own.contains(address);
                (macs.len() + usize::from(is_own) > 1).then(|| finding(interface, *address, macs, is_own))
            })),
            Err(why) => report.skipped.push(format!("who answers for virtual addresses on {interface}: {why}")),
        }
    }
}

fn finding(interface: &str, address: IpAddr, macs: &BTreeSet<[u8; 6]>, is_own: bool) -> Finding {
    let macs: Vec<String> = macs.iter().map(|mac| mac.map(|octet| format!("{octet:02x}")).join(":")).collect();
    let besides = if is_own { ", and this node has it" } else { "" };
    Finding::fault(
        "duplicate-address",
        &format!("{interface}, {address}"),
        format!("{} answers for it{besides}", macs.join(" and ")),
        "find the hardware address in the switches' tables and take the address from that host",
    )
}

/// Who answers.
fn ask(interface: &str, addresses: &[IpAddr]) -> Result<BTreeMap<IpAddr, BTreeSet<[u8; 6]>>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let words = |error: &dyn std::error::Error| crate::exit::chain(error);
        let watch = ClaimWatch::open(interface, addresses.iter().copied()).map_err(|error| words(&error))?;
        let sender = FrameSender::open(interface).map_err(|error| words(&error))?;
        let mac = sender.mac().ok_or("it is not Ethernet")?;
        let mut answers = BTreeMap::<IpAddr, BTreeSet<[u8; 6]>>::new();
        for _ in 0..ASKS {
            for address in addresses {
                let frame = match address {
                    IpAddr::V4(address) => arp::probe(mac, *address),
                    IpAddr::V6(address) => ndp::probe(mac, *address),
                };
                let sent = sender.send(&frame).map_err(|error| words(&error))?;
                if matches!(sent, Sent::Refused) {
                    return Err(String::from(
                        "this node's gate is shut and lets no question out: ask on another machine",
                    ));
                }
            }
            let hear = async {
                while let Ok(claim) = watch.recv().await {
                    if addresses.contains(&claim.address) {
                        answers.entry(claim.address).or_default().insert(claim.mac);
                    }
                }
            };
            let _ = tokio::time::timeout(WAIT, hear).await;
        }
        Ok(answers)
    })
}
