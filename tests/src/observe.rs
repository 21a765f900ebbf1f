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

/// A look at a node's addresses. It takes a while, on a busy machine many milliseconds: the kernel's answer is of some
/// instant between the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Look {
    before: u64,
    after: u64,
    present: bool,
}

/// Watches a virtual address on both nodes, and asks it from the client; ends when dropped.
#[derive(Debug)]
pub struct Watch {
    /// At each node's addresses, in order.
    looks: [Arc<Mutex<Vec<Look>>>; 2],
    answers: Sightings,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

fn lock<T>(seen: &Mutex<Vec<T>>) -> MutexGuard<'_, Vec<T>> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
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
            looks: Default::default(),
            answers: Sightings::default(),
            stop: Stop::default(),
            threads: Vec::new(),
        };
        for (node, looks) in watch.looks.clone().into_iter().enumerate() {
            let namespace = lan.node(node).namespace.clone();
            let stop = watch.stop.clone();
            let number = u8::try_from(node).unwrap_or(u8::MAX);
            match vip {
                IpAddr::V4(_) => responder::start(&namespace, number, watch.stop.clone())?,
                IpAddr::V6(_) => watch.threads.push(answer(&namespace, number, watch.stop.clone())?),
            }
            watch.threads.push(thread::spawn(move || {
                if namespace.enter().is_ok() {
                    look(vip, &looks, &stop);
                }
            }));
        }
        let asker = ask(&lan.host(Kind::Client(0)).namespace, vip, &watch.answers, step, watch.stop.clone())?;
        watch.threads.extend(asker);
        Ok(watch)
    }

    /// When each of the two nodes had the address: from the first sighting with it to the first one without, so up to a
    /// look too long at the end.
    pub fn spans(&self) -> [Spans; 2] {
        self.looks.each_ref().map(|looks| between(&lock(looks)))
    }

    /// Who has the address now.
    pub fn holders(&self) -> Vec<usize> {
        let holds = |looks: &Mutex<Vec<Look>>| lock(looks).last().is_some_and(|look| look.present);
        self.looks.iter().enumerate().filter(|(_, looks)| holds(looks)).map(|(node, _)| node).collect()
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

    /// How long, in all, both nodes certainly had the address within `[from, to)`: what lies between two looks that
    /// differ is nobody's. One that gives up a moment before the other takes over would be called a second holder
    /// otherwise, for as long as two looks are apart.
    pub fn overlap(&self, from: u64, to: u64) -> Duration {
        let [one, other] = self.looks.each_ref().map(|looks| certainly(&lock(looks)));
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
fn between(looks: &[Look]) -> Spans {
    let of = |run: &[Look], next: Option<&Look>| {
        // Still there at the last look.
        let end = next.or(run.last()).map_or(0, |look| look.after + u64::from(next.is_none()));
        run.first().map(|first| (first.after, end))
    };
    runs(looks, of)
}

/// From where the first sighting with it was surely over to where the last one had surely not begun.
fn certainly(looks: &[Look]) -> Spans {
    runs(looks, |run, _| run.first().zip(run.last()).map(|(first, last)| (first.after, last.before)))
}

/// What `of` makes of each run of sightings with the address, and of the look that ends it.
fn runs(looks: &[Look], of: impl Fn(&[Look], Option<&Look>) -> Option<(u64, u64)>) -> Spans {
    let mut rest = looks;
    let mut pairs = Vec::new();
    while !rest.is_empty() {
        let (_, from_first) = rest.split_at(rest.iter().take_while(|look| !look.present).count());
        let (run, after) = from_first.split_at(from_first.iter().take_while(|look| look.present).count());
        pairs.extend(of(run, after.first()).filter(|(from, to)| from < to));
        rest = after;
    }
    Spans::from_pairs(pairs)
}

fn look(vip: IpAddr, looks: &Mutex<Vec<Look>>, stop: &Stop) {
    while !stop.is_set() {
        let before = clock::now();
        let Ok(addresses) = nix::ifaddrs::getifaddrs() else { return };
        let after = clock::now();
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
        lock(looks).push(Look { before, after, present });
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

    fn looks(all: &[(u64, bool)]) -> Vec<Look> {
        all.iter().map(|(after, present)| Look { before: after - 2, after: *after, present: *present }).collect()
    }

    fn spans(pairs: &[(u64, u64)]) -> Spans {
        Spans::from_pairs(pairs.to_vec())
    }

    #[test]
    fn an_address_is_held_from_the_first_sighting_with_to_the_first_without() {
        let seen = [(10, false), (20, true), (30, true), (40, false), (50, false), (60, true), (70, false)];
        assert_eq!(between(&looks(&seen)), spans(&[(20, 40), (60, 70)]));
        assert_eq!(between(&looks(&seen[..3])), spans(&[(20, 31)]));
        assert_eq!(between(&looks(&seen[..1])), Spans::new());
    }

    #[test]
    fn what_lies_between_two_looks_that_differ_is_certainly_nobodys() {
        let seen = [(10, false), (20, true), (30, true), (40, true), (50, false), (60, true), (70, false)];
        assert_eq!(certainly(&looks(&seen)), spans(&[(20, 38)]));
        assert_eq!(certainly(&looks(&seen[..3])), spans(&[(20, 28)]));
        // It gave up right after the look at 20, and the other took over before the one at 25.
        let (former, next) =
            (looks(&[(10, true), (20, true), (30, false)]), looks(&[(15, false), (25, true), (35, true)]));
        assert_eq!(certainly(&former).intersection(&certainly(&next)), Spans::new());
        assert_ne!(between(&former).intersection(&between(&next)), Spans::new());
        // The other had it while the former still had it.
        let next = looks(&[(5, false), (12, true), (22, true)]);
        assert_eq!(certainly(&former).intersection(&certainly(&next)), spans(&[(12, 18)]));
    }
}
