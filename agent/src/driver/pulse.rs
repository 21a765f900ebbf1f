//! The worker's end of the pipe to its guardian.
//!
//! What must stay true: telling it never waits; and a worker whose guardian has gone learns of it, by whichever
//! comes first, the kernel's SIGTERM (PR_SET_PDEATHSIG, which says nothing of a guardian that was gone before it
//! was asked for) or the pipe that has no reader any more.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use keepone_proto::time::Instant;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::guardian::pulse;

/// Parts of the guardian's patience in which it is told at least once that the loop runs.
const PARTS: u32 = 6;

/// What the worker tells its guardian, if it has one.
#[derive(Debug)]
pub(crate) struct Pulse {
    pipe: Option<File>,
    /// How long the guardian waits for a word.
    patience: Duration,
    told_at: Instant,
    /// The core says that the watchdog may be fed; the next octet says so to the guardian.
    pub(crate) harmless: bool,
    /// What is answered, or asked for, until it has found room: a word must not take another's place.
    answers: Vec<u8>,
}

impl Pulse {
    pub(crate) fn new(pipe: Option<File>, patience: Duration, now: Instant) -> Self {
        Pulse { pipe, patience, told_at: now, harmless: false, answers: Vec::new() }
    }

    /// The guardian waits so long from now on.
    pub(crate) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// When it is to be told next, whatever else there is to do.
    pub(crate) fn due(&self) -> Instant {
        self.told_at + self.patience / PARTS
    }

    /// Tells the guardian that the loop runs. `false`, once: it has gone.
    pub(crate) fn beat(&mut self, now: Instant) -> bool {
        // On the way of something else a little sooner, which spares the loop a turn of its own.
        if now.since(self.told_at) < self.patience / (2 * PARTS) {
            return true;
        }
        self.told_at = now;
        let Some(pipe) = &mut self.pipe else { return true };
        // Of so few octets a pipe takes all or none (PIPE_BUF).
        if !self.answers.is_empty() && pipe.write(&self.answers).is_ok() {
            self.answers.clear();
        }
        // Full: the guardian is behind, and will find enough to read.
        match pipe.write(&[if std::mem::take(&mut self.harmless) { pulse::HARMLESS } else { pulse::ALIVE }]) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.pipe = None;
                false
            }
            Ok(_) | Err(_) => true,
        }
    }

    /// Answers an order of the guardian's, or asks for one, with the next octets.
    pub(crate) fn answer(&mut self, octet: u8) {
        if !self.answers.contains(&octet) {
            self.answers.push(octet);
        }
    }

    /// Tells the guardian that the loop has ended and nothing is held any more.
    pub(crate) fn last(&mut self) {
        if let Some(pipe) = &mut self.pipe {
            let _ = pipe.write(&[pulse::DONE]);
        }
    }
}

/// Whether a pipe has lost its reader.
pub(crate) fn is_broken(pipe: &File) -> bool {
    let mut fds = [PollFd::new(pipe.as_fd(), PollFlags::POLLOUT)];
    let asked = poll(&mut fds, PollTimeout::ZERO);
    let [fd] = fds;
    asked.is_ok() && fd.revents().is_some_and(|events| events.contains(PollFlags::POLLERR))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    /// Told each 20 ms, and each 40 ms at the latest.
    const PATIENCE: Duration = Duration::from_millis(240);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn pipe() -> (io::PipeReader, File) {
        let (reader, writer) = io::pipe().unwrap();
        (reader, File::from(OwnedFd::from(writer)))
    }

    #[test]
    fn what_is_said_twice_between_two_beats_is_told_once_and_takes_no_other_words_place() {
        let (mut reader, writer) = pipe();
        let mut pulse = Pulse::new(Some(writer), PATIENCE, at(0));
        for octet in [pulse::TAKEN, pulse::UPGRADE, pulse::UPGRADE] {
            pulse.answer(octet);
        }
        assert!(pulse.beat(at(20)) && pulse.beat(at(40)));
        drop(pulse);
        let mut octets = Vec::new();
        reader.read_to_end(&mut octets).unwrap();
        assert_eq!(octets, [pulse::TAKEN, pulse::UPGRADE, pulse::ALIVE, pulse::ALIVE]);
    }

    #[test]
    fn a_guardian_that_has_gone_is_noticed_once() {
        let (reader, writer) = pipe();
        assert!(!is_broken(&writer));
        let mut pulse = Pulse::new(Some(writer.try_clone().unwrap()), PATIENCE, at(0));
        assert!(pulse.beat(at(20)));
        drop(reader);
        assert!(is_broken(&writer));
        assert!(pulse.beat(at(21)), "not its turn");
        assert!(!pulse.beat(at(40)));
        assert!(pulse.beat(at(60)), "told already");
        pulse.last();
    }

    #[test]
    fn the_guardian_is_told_at_intervals_and_that_the_node_is_harmless_once() {
        let (mut reader, writer) = pipe();
        let mut pulse = Pulse::new(Some(writer), PATIENCE, at(0));
        pulse.harmless = true;
        for ms in 0..=60 {
            assert!(pulse.beat(at(ms)));
        }
        pulse.last();
        drop(pulse);
        let mut told = Vec::new();
        reader.read_to_end(&mut told).unwrap();
        assert_eq!(told, [pulse::HARMLESS, pulse::ALIVE, pulse::ALIVE, pulse::DONE]);
        let mut alone = Pulse::new(None, PATIENCE, at(0));
        assert!(alone.beat(at(40)), "a worker that was started by hand");
        assert_eq!(alone.due(), at(80), "nor does its loop spin for nobody");
    }
}
