//! A client that asks the virtual address each millisecond, and what of it was answered between two moments.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::namespace::Namespace;
use keepone_chaos::netns::observe::Stop;
use keepone_chaos::netns::observe::responder::{PORT, PROBE};
use keepone_chaos::netns::priority;

use crate::Error;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(500);

/// Asks until it is dropped. Who answers is chaos' responder, which says on which node it is.
#[derive(Debug)]
pub struct Probes {
    /// The number of the next one.
    next: Arc<AtomicU64>,
    /// By number: which node answered it.
    answers: Arc<Mutex<BTreeMap<u64, u8>>>,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

/// What became of the probes of a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// How many there were.
    pub asked: u64,
    /// How many of them nobody has answered.
    pub lost: u64,
    /// The longest row of lost ones, which is the silence in milliseconds.
    pub longest: u64,
    /// Who answered, in order: each change a further element. Two that hold an address in turns would be a long list.
    pub by: Vec<u8>,
}

impl fmt::Display for Seen {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by: Vec<String> = self.by.iter().map(|node| format!("n{}", node + 1)).collect();
        let Seen { asked, lost, longest, .. } = self;
        write!(to, "{asked} probes, {lost} lost, {longest} in a row; answered by {}", by.join(", then "))
    }
}

impl Probes {
    /// Begins, from a machine of that namespace.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn start(client: &Namespace, vip: Ipv4Addr) -> Result<Self, Error> {
        let socket = client.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(io_error("bind a client"))?;
            socket.set_read_timeout(Some(ANSWER)).map_err(io_error("set a timeout"))?;
            Ok(socket)
        })?;
        let hears = socket.try_clone().map_err(io_error("copy a descriptor"))?;
        let (next, answers, stop) = (Arc::<AtomicU64>::default(), Arc::<Mutex<_>>::default(), Stop::default());
        let (number, ends) = (Arc::clone(&next), stop.clone());
        let asking = thread::spawn(move || {
            priority::raise();
            while !ends.is_set() {
                // What does not leave is not answered.
                let _ = socket.send_to(&number.fetch_add(1, Ordering::Relaxed).to_be_bytes(), (vip, PORT));
                thread::sleep(Duration::from_millis(1));
            }
        });
        let (noted, ends) = (Arc::clone(&answers), stop.clone());
        let hearing = thread::spawn(move || {
            priority::raise();
            let mut octets = [0; PROBE + 1];
            while !ends.is_set() {
                let Ok((length, _)) = hears.recv_from(&mut octets) else { continue };
                if let (true, Some(number), Some(node)) = (length > PROBE, octets.first_chunk(), octets.last()) {
                    let mut noted: std::sync::MutexGuard<'_, BTreeMap<u64, u8>> =
                        noted.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.insert(u64::from_be_bytes(*number), *node);
                }
            }
        });
        Ok(Probes { next, answers, stop, threads: vec![asking, hearing] })
    }

    /// Now, as the number of the probe that goes next.
    pub fn now(&self) -> u64 {
        self.next.load(Ordering::Relaxed)
    }

    /// What became of all since `from`; waits for the answers of the last ones.
    pub fn since(&self, from: u64) -> Seen {
        let to = self.now();
        thread::sleep(ANSWER);
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        seen(&answers, from, to)
    }
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn seen(answers: &BTreeMap<u64, u8>, from: u64, to: u64) -> Seen {
    let mut seen = Seen { asked: to.saturating_sub(from), lost: 0, longest: 0, by: Vec::new() };
    let mut row = 0;
    for number in from..to {
        match answers.get(&number) {
            Some(node) => {
                row = 0;
                if seen.by.last() != Some(node) {
                    seen.by.push(*node);
                }
            }
            None => {
                row += 1;
                seen.lost += 1;
                seen.longest = seen.longest.max(row);
            }
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_counted_and_each_change_of_who_answers_is_seen() {
        let answers = BTreeMap::from([(1, 0), (2, 0), (5, 1), (7, 1), (8, 0), (9, 1)]);
        assert_eq!(seen(&answers, 1, 10), Seen { asked: 9, lost: 3, longest: 2, by: vec![0, 1, 0, 1] });
        assert_eq!(seen(&answers, 1, 3), Seen { asked: 2, lost: 0, longest: 0, by: vec![0] });
        let words = seen(&answers, 2, 6).to_string();
        assert_eq!(words, "4 probes, 2 lost, 2 in a row; answered by n1, then n2");
    }
}
