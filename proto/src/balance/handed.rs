//! What the checks of one process hand on to those of the next, when the program is replaced in place (docs/decisions/0210):
//! all that they know of virtual and real servers.
//!
//! The next process goes on with it as after a reload: by names, under its own configuration. So nobody who is down comes
//! back by it, and nobody who is up goes. A try that was under way is made again.
//!
//! What must stay true: both processes are of one boot, since times are of its clock; the first one judges nothing any more
//! after it has handed on.

use alloc::string::String;
use alloc::vec::Vec;
use core::time::Duration;

use super::checker::{Checker, RESUME, Say};
use super::machine::Balance;
use super::service::{Server, Service};
use super::settings::{CheckerKind, CheckerSettings, ServerSettings, ServiceSettings};
use crate::jitter::Jitter;
use crate::time::{Instant, nanos};
use crate::wire::{Reader, Writer};

/// Version of the form. Who reads another one is none that goes on.
pub const VERSION: u32 = 1;

/// What was handed on. Of settings it has only by what a reload knows them again.
#[derive(Debug, Clone)]
pub struct Handed(Vec<Service>);

impl Balance {
    /// The octets of all that is known.
    pub fn hand_on(&self) -> Vec<u8> {
        let mut w = Writer::new();
        put_list(&mut w, self.services(), put_service);
        w.finish()
    }
}

impl Handed {
    /// From the octets that [`Balance::hand_on`] made; `None`: they are not.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut r = Reader::new(bytes);
        let services = list(&mut r, service)?;
        (r.remaining() == 0).then_some(Handed(services))
    }

    /// As they were. Tries that were under way are spread over a second.
    pub(super) fn services(self, now: Instant, jitter: &mut Jitter) -> Vec<Service> {
        let mut services = self.0;
        let servers = services.iter_mut().flat_map(|service| &mut service.servers);
        for checker in servers.flat_map(|server| &mut server.checkers) {
            if checker.running.take().is_some() {
                checker.next_at = now + jitter.up_to(checker.settings.interval.min(RESUME));
            }
        }
        services
    }
}

fn put_service(w: &mut Writer, service: &Service) {
    put_text(w, &service.settings.name);
    put_flags(w, [service.settings.omega, service.has_quorum, service.is_suspended, false, false]);
    put_list(w, &service.servers, put_server);
}

fn service(r: &mut Reader<'_>) -> Option<Service> {
    let name = text(r)?;
    let [omega, has_quorum, is_suspended, ..] = flags(r)?;
    let servers = list(r, server)?;
    let settings = ServiceSettings {
        name,
        quorum: 1,
        hysteresis: 0,
        omega,
        ha_suspend: is_suspended,
        has_sorry: false,
        slow_start: Duration::ZERO,
        servers: Vec::new(),
    };
    Some(Service { settings, servers, has_quorum, is_suspended, told: None })
}

fn put_server(w: &mut Writer, server: &Server) {
    put_text(w, &server.settings.name);
    put_flags(w, [server.is_up, server.is_draining, server.ramp.is_some(), false, false]);
    w.u64(server.ramp.unwrap_or_default().as_nanos()).u64(server.checks).u64(server.failed);
    put_list(w, &server.checkers, put_checker);
}

fn server(r: &mut Reader<'_>) -> Option<Server> {
    let name = text(r)?;
    let [is_up, is_draining, has_ramp, ..] = flags(r)?;
    let ramp = Some(Instant::from_nanos(r.u64()?)).filter(|_| has_ramp);
    let (checks, failed) = (r.u64()?, r.u64()?);
    let checkers = list(r, checker)?;
    let settings = ServerSettings { name, weight: 0, inhibit: false, checkers: Vec::new() };
    Some(Server { settings, checkers, is_up, ramp, is_draining, checks, failed })
}

fn put_checker(w: &mut Writer, checker: &Checker) {
    put_text(w, &checker.settings.key);
    put_text(w, &checker.fault);
    let weighs = checker.say != Say::Nothing;
    put_flags(w, [checker.is_up, checker.is_new, checker.is_suspended, checker.running.is_some(), weighs]);
    match checker.say {
        Say::Nothing => {}
        Say::Weight(weight) => _ = w.u8(0).u64(u64::from(weight)),
        Say::Added(added) => _ = w.u8(1).bytes(&added.to_be_bytes()),
    }
    w.u32(checker.failures).u32(checker.step).u32(checker.passed);
    w.u64(nanos(checker.settings.interval)).u64(checker.next_at.as_nanos());
}

fn checker(r: &mut Reader<'_>) -> Option<Checker> {
    let (key, fault) = (text(r)?, text(r)?);
    let [is_up, is_new, is_suspended, runs, weighs] = flags(r)?;
    let say = match weighs.then(|| r.u8()) {
        None => Say::Nothing,
        Some(Some(0)) => Say::Weight(u32::try_from(r.u64()?).ok()?),
        Some(Some(1)) => Say::Added(i64::from_be_bytes(r.array()?)),
        Some(_) => return None,
    };
    let (failures, step, passed) = (r.u32()?, r.u32()?, r.u32()?);
    let (interval, next_at) = (Duration::from_nanos(r.u64()?), Instant::from_nanos(r.u64()?));
    let settings = CheckerSettings {
        key: key.into(),
        kind: CheckerKind::Told,
        interval,
        warmup: Duration::ZERO,
        retry: 0,
        delay_before_retry: Duration::ZERO,
        alpha: false,
        timeout: Duration::ZERO,
        tell_all: false,
    };
    let running = runs.then_some((0, Instant::BOOT));
    Some(Checker {
        settings,
        is_up,
        failures,
        step,
        passed,
        is_new,
        next_at,
        timer: None,
        running,
        say,
        fault,
        is_suspended,
    })
}

fn put_text(w: &mut Writer, text: &str) {
    w.u32(u32::try_from(text.len()).unwrap_or(u32::MAX)).bytes(text.as_bytes());
}

fn text(r: &mut Reader<'_>) -> Option<String> {
    let len = usize::try_from(r.u32()?).ok()?;
    core::str::from_utf8(r.slice(len)?).ok().map(String::from)
}

fn put_flags(w: &mut Writer, flags: [bool; 5]) {
    w.u8(flags.iter().rev().fold(0, |octet, flag| octet << 1 | u8::from(*flag)));
}

fn flags(r: &mut Reader<'_>) -> Option<[bool; 5]> {
    let octet = r.u8().filter(|octet| *octet < 1 << 5)?;
    Some([0, 1, 2, 3, 4].map(|bit| octet >> bit & 1 == 1))
}

fn put_list<T>(w: &mut Writer, list: &[T], put: impl Fn(&mut Writer, &T)) {
    w.u32(u32::try_from(list.len()).unwrap_or(u32::MAX));
    list.iter().for_each(|one| put(w, one));
}

/// Not made room for by what it says: it ends where the octets do.
fn list<T>(r: &mut Reader<'_>, read: impl Fn(&mut Reader<'_>) -> Option<T>) -> Option<Vec<T>> {
    let count = r.u32()?;
    let mut list = Vec::new();
    for _ in 0..count {
        list.push(read(r)?);
    }
    Some(list)
}
