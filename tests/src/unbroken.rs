//! A service that nobody may notice a change on: a client that asks each millisecond, and a tap on the holder's cable.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use keepone_chaos::fault::Network;
use keepone_chaos::netns::error::io_error;
use keepone_chaos::netns::observe::responder::{PORT, PROBE};
use keepone_chaos::netns::observe::sniffer::{self, Naming, Sighting};
use keepone_chaos::netns::observe::{Live, Stop};
use keepone_chaos::netns::priority;
use keepone_chaos::netns::topology::Kind;

use crate::Error;
use crate::lan::Lan;

/// How long an answer may take.
const ANSWER: Duration = Duration::from_millis(500);

/// The observers; they end with [`Unbroken::end`].
#[derive(Debug)]
pub struct Unbroken {
    asker: JoinHandle<(u64, BTreeSet<u64>)>,
    tap: JoinHandle<Vec<Sighting>>,
    stop: Stop,
}

impl Unbroken {
    /// Begins: who answers has to be there already.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn watch(lan: &Lan, node: usize, vip: Ipv4Addr) -> Result<Self, Error> {
        let (stop, live) = (Stop::default(), Arc::new(Live::new(2, 1)));
        let missing = || io_error("find the node's cable")(std::io::Error::from(std::io::ErrorKind::NotFound));
        let port = lan.node(node).port(Network::Lan).ok_or_else(missing)?;
        let tap = sniffer::start(lan.topology(), port, node, vip.into(), live, stop.clone())?;
        let socket = lan.host(Kind::Client(0)).namespace.run(|| {
            let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).map_err(io_error("bind a client"))?;
            socket.set_read_timeout(Some(ANSWER)).map_err(io_error("set a timeout"))?;
            Ok(socket)
        })?;
        let hears = socket.try_clone().map_err(io_error("copy a descriptor"))?;
        let ends = stop.clone();
        let asker = thread::spawn(move || ask(&socket, hears, vip, &ends));
        Ok(Unbroken { asker, tap, stop })
    }

    /// What was seen, in words.
    ///
    /// # Panics
    /// A question was not answered, or two Advertisements were further apart than `latest`; `said` is told then.
    #[track_caller]
    pub fn end(self, latest: Duration, said: &dyn Fn() -> String) -> String {
        self.end_with(latest, 0, said)
    }

    /// The same where up to `most` questions, one each millisecond, may be lost.
    ///
    /// # Panics
    /// As [`Unbroken::end`].
    #[track_caller]
    pub fn end_with(self, latest: Duration, most: usize, said: &dyn Fn() -> String) -> String {
        self.stop.set();
        let (asked, answered) = self.asker.join().unwrap_or_default();
        let lost: Vec<u64> = (0..asked).filter(|number| !answered.contains(number)).collect();
        let sightings = self.tap.join().unwrap_or_default();
        let adverts = sightings.iter().filter(|seen| seen.naming == Naming::Advertisement);
        let adverts: Vec<u64> = adverts.map(|seen| seen.at).collect();
        let gaps = adverts.iter().zip(adverts.iter().skip(1)).map(|(one, next)| next.saturating_sub(*one));
        let longest = gaps.max().map(Duration::from_nanos);
        let words = format!("{asked} asked, {} lost; {} Advertisements, {longest:?} apart", lost.len(), adverts.len());
        assert!(asked > 0 && lost.len() <= most, "{words}: {lost:?}\n{}", said());
        assert!(longest.is_some_and(|longest| longest < latest), "{words}, {latest:?} at most\n{}", said());
        words
    }
}

/// How many questions there were, and which of them were answered.
fn ask(socket: &UdpSocket, hears: UdpSocket, vip: Ipv4Addr, stop: &Stop) -> (u64, BTreeSet<u64>) {
    let heard = thread::spawn(move || {
        priority::raise();
        let (mut answered, mut octets) = (BTreeSet::new(), [0; PROBE + 1]);
        // The last answer is waited for.
        while let Ok((length, _)) = hears.recv_from(&mut octets) {
            if let (true, Some(number)) = (length > PROBE, octets.first_chunk()) {
                answered.insert(u64::from_be_bytes(*number));
            }
        }
        answered
    });
    priority::raise();
    let mut number = 0_u64;
    while !stop.is_set() {
        // What does not leave is not answered.
        let _ = socket.send_to(&number.to_be_bytes(), (vip, PORT));
        number += 1;
        thread::sleep(Duration::from_millis(1));
    }
    (number, heard.join().unwrap_or_default())
}
