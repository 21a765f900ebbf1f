//! Observers that ask neither program: addresses in the nodes' kernels, and a client's answers.

use std::net::{IpAddr, Ipv6Addr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_chaos::netns::clock;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::namespace::Namespace;
use keepone_chaos::netns::observe::Stop;
use keepone_chaos::netns::observe::responder::{self, PORT, PROBE};
use keepone_chaos::netns::topology::Kind;
use keepone_chaos::spans::Spans;

use nix::ifaddrs::InterfaceAddress;
use nix::net::if_::InterfaceFlags;

use crate::Error;
use crate::lan::{INTERFACE, Lan};

/// Between two looks at the addresses, and between two probes.
const STEP: Duration = Duration::from_millis(5);

/// A sighting: when, and which node.
type Sightings = Arc<Mutex<Vec<(u64, usize)>>>;

/// Watches a virtual address on both nodes, and asks it from the client; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    /// When each node was seen with the address, and when it was seen without.
    holds: Sightings,
    lacks: Sightings,
    answers: Sightings,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

fn lock(sightings: &Sightings) -> MutexGuard<'_, Vec<(u64, usize)>> {
    sightings.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Watch {
    /// Begins.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start(lan: &Lan, vip: IpAddr) -> Result<Self, Error> {
        Watch::start_asking(lan, vip, STEP)
    }

    /// The same with so long between two probes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start_asking(lan: &Lan, vip: IpAddr, step: Duration) -> Result<Self, Error> {
        let mut watch = Watch {
            holds: Sightings::default(),
            lacks: Sightings::default(),
            answers: Sightings::default(),
            stop: Stop::default(),
            threads: Vec::new(),
        };
        for node in 0..2 {
            let namespace = lan.node(node).namespace.clone();
            let (holds, lacks, stop) = (watch.holds.clone(), watch.lacks.clone(), watch.stop.clone());
            let number = u8::try_from(node).unwrap_or(u8::MAX);
            match vip {
                IpAddr::V4(_) => responder::start(&namespace, number, watch.stop.clone())?,
                IpAddr::V6(_) => watch.threads.push(answer(&namespace, number, watch.stop.clone())?),
            }
            watch.threads.push(thread::spawn(move || {
                if namespace.enter().is_ok() {
                    look(vip, node, &holds, &lacks, &stop);
                }
            }));
        }
        let asker = ask(&lan.host(Kind::Client(0)).namespace, vip, &watch.answers, step, watch.stop.clone())?;
        watch.threads.extend(asker);
        Ok(watch)
    }

    /// When each of the two nodes had the address.
    pub fn spans(&self) -> [Spans; 2] {
        let (holds, lacks) = (lock(&self.holds).clone(), lock(&self.lacks).clone());
        [0, 1].map(|node| {
            let of =
                |all: &[(u64, usize)]| all.iter().filter(|(_, n)| *n == node).map(|(at, _)| *at).collect::<Vec<_>>();
            between(&of(&holds), &of(&lacks))
        })
    }

    /// Who has the address now.
    pub fn holders(&self) -> Vec<usize> {
        let last =
            |sightings: &Sightings, node| lock(sightings).iter().rev().find(|(_, n)| *n == node).map(|(at, _)| *at);
        (0..2).filter(|node| last(&self.holds, *node) > last(&self.lacks, *node)).collect()
    }

    /// Waits until `node` alone has the address; returns the instant, or `None` after `limit`.
    pub fn alone(&self, node: usize, limit: Duration) -> Option<u64> {
        self.until(limit, || self.holders() == [node])
    }

    /// Waits until `node` has the address, alone or not.
    pub fn has(&self, node: usize, limit: Duration) -> Option<u64> {
        self.until(limit, || self.holders().contains(&node))
    }

    /// Waits until `node` answers the client, from now on.
    pub fn answered_by(&self, node: usize, limit: Duration) -> Option<u64> {
        let begin = clock::now();
        self.until(limit, || {
            lock(&self.answers).iter().rev().take_while(|(at, _)| *at > begin).any(|(_, n)| *n == node)
        })
    }

    /// The nodes that answered within `[from, to)`, each once, and how many answers there were.
    pub fn answers(&self, from: u64, to: u64) -> (Vec<usize>, usize) {
        let answers = lock(&self.answers);
        let within: Vec<usize> = answers.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, n)| *n).collect();
        let mut nodes = within.clone();
        nodes.sort_unstable();
        nodes.dedup();
        (nodes, within.len())
    }

    /// When `node` answered within `[from, to)`, in order.
    pub fn answers_of(&self, node: usize, from: u64, to: u64) -> Vec<u64> {
        let answers = lock(&self.answers);
        answers.iter().filter(|(at, n)| *n == node && (from..to).contains(at)).map(|(at, _)| *at).collect()
    }

    /// How long, in all, both nodes had the address within `[from, to)`.
    pub fn overlap(&self, from: u64, to: u64) -> Duration {
        let [one, other] = self.spans();
        Duration::from_nanos(one.intersection(&other).within(from, to).total())
    }

    fn until(&self, limit: Duration, mut done: impl FnMut() -> bool) -> Option<u64> {
        let end = clock::now().saturating_add(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX));
        loop {
            if done() {
                return Some(clock::now());
            }
            if clock::now() > end {
                return None;
            }
            thread::sleep(STEP);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// From the first sighting with to the first one without.
fn between(holds: &[u64], lacks: &[u64]) -> Spans {
    let mut pairs = Vec::new();
    let mut since = None;
    let mut looks: Vec<(u64, bool)> = holds.iter().map(|at| (*at, true)).collect();
    looks.extend(lacks.iter().map(|at| (*at, false)));
    looks.sort_unstable();
    for (at, present) in looks {
        match (present, since) {
            (true, None) => since = Some(at),
            (false, Some(from)) => {
                pairs.push((from, at));
                since = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
    }
    // Still there at the last look.
    pairs.extend(since.zip(holds.last().map(|at| at + 1)));
    Spans::from_pairs(pairs)
}

fn look(vip: IpAddr, node: usize, holds: &Sightings, lacks: &Sightings, stop: &Stop) {
    while !stop.is_set() {
        let Ok(addresses) = nix::ifaddrs::getifaddrs() else { return };
        // FRR leaves an address on its macvlan, and takes the carrier away.
        let works = |interface: &InterfaceAddress| {
            interface.interface_name == INTERFACE || interface.flags.contains(InterfaceFlags::IFF_RUNNING)
        };
        let mut ips = addresses.filter(works).filter_map(|interface| {
            let storage = interface.address?;
            let v4 = storage.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
            v4.or_else(|| storage.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
        });
        let present = ips.any(|ip| ip == vip);
        lock(if present { holds } else { lacks }).push((clock::now(), node));
        thread::sleep(STEP);
    }
}

/// The service over IPv6. Its answer comes from whichever address the kernel chooses: what counts is who
/// received the question.
fn answer(namespace: &Namespace, node: u8, stop: Stop) -> Result<JoinHandle<()>, Error> {
    let socket = namespace.run(|| {
        let socket = UdpSocket::bind((Ipv6Addr::UNSPECIFIED, PORT)).map_err(io_error("bind the service's port"))?;
        socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(io_error("set a timeout"))?;
        Ok(socket)
    })?;
    Ok(thread::spawn(move || {
        let mut octets = [0; PROBE + 1];
        while !stop.is_set() {
            let Ok((PROBE, from)) = socket.recv_from(&mut octets) else { continue };
            if let Some(last) = octets.last_mut() {
                *last = node;
            }
            let _ = socket.send_to(&octets, from);
        }
    }))
}

/// The client: a probe each step, and a note of each answer.
fn ask(
    namespace: &Namespace,
    vip: IpAddr,
    answers: &Sightings,
    step: Duration,
    stop: Stop,
) -> Result<[JoinHandle<()>; 2], Error> {
    let socket = namespace.run(|| {
        let any = if vip.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4([0; 4].into()) };
        let socket = UdpSocket::bind((any, 0)).map_err(io_error("bind the client"))?;
        socket.set_read_timeout(Some(Duration::from_millis(100))).map_err(io_error("set a timeout"))?;
        Ok(socket)
    })?;
    let sender = socket.try_clone().map_err(io_error("copy a descriptor"))?;
    let sending_stop = stop.clone();
    let sending = thread::spawn(move || {
        while !sending_stop.is_set() {
            // Nobody there, or no room: the probe is not answered, and that is what is noted.
            let _ = sender.send_to(&[0; PROBE], (vip, PORT));
            thread::sleep(step);
        }
    });
    let answers = answers.clone();
    let receiving = thread::spawn(move || {
        let mut octets = [0; PROBE + 1];
        while !stop.is_set() {
            let Ok((length, _)) = socket.recv_from(&mut octets) else { continue };
            if let (true, Some(node)) = (length > PROBE, octets.last()) {
                lock(&answers).push((clock::now(), usize::from(*node)));
            }
        }
    });
    Ok([sending, receiving])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_held_from_the_first_sighting_with_to_the_first_without() {
        let spans = |pairs: &[(u64, u64)]| Spans::from_pairs(pairs.to_vec());
        assert_eq!(between(&[20, 30, 60], &[10, 40, 50, 70]), spans(&[(20, 40), (60, 70)]));
        assert_eq!(between(&[20, 30], &[10]), spans(&[(20, 31)]));
        assert_eq!(between(&[], &[10]), Spans::new());
    }
}
