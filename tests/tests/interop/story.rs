//! Two routers, what happens to them, and what is seen of it.

use std::any::Any;
use std::net::IpAddr;
use std::panic::Location;
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::program;
use nix::sys::signal::Signal;

use crate::parallel;
use crate::routers::{self, Router};
use crate::speech::Speech;

/// The better node, and the worse one.
pub const A: usize = 0;
pub const B: usize = 1;
/// The client's probes go out each 5 ms; an answer within this is neither luck nor a leftover.
const ANSWER: Duration = Duration::from_secs(2);

/// A pair of routers under observation. The programs end before the network does.
pub struct Story {
    programs: [Option<program::Program>; 2],
    watch: Watch,
    pub lan: Lan,
    pub speech: Speech,
    kinds: [Router; 2],
    /// What a router needs beside itself.
    _helpers: [Option<program::Program>; 2],
}

impl Story {
    /// On a LAN of its own; no router runs yet.
    pub fn new(speech: Speech, kinds: [Router; 2]) -> Self {
        Story::on(parallel::lan(), speech, kinds)
    }

    /// All that runs ends; the LAN stays.
    pub fn leave(self) -> Lan {
        self.lan
    }

    /// On this LAN.
    pub fn on(lan: Lan, speech: Speech, kinds: [Router; 2]) -> Self {
        if speech.ipv6 {
            lan.add_ipv6().unwrap();
        }
        let helpers = [A, B].map(|node| kinds[node].prepare(&lan, node, speech).unwrap());
        let watch = Watch::start(&lan, speech.vip()).unwrap();
        Story { programs: [None, None], watch, lan, speech, kinds, _helpers: helpers }
    }

    /// A router of keepone's is told to speak otherwise, by a reload, and takes it over in place.
    #[track_caller]
    pub fn reload(&mut self, node: usize, speech: Speech) {
        let times = |story: &Self| story.said(node).matches("reload: taken over").count();
        let (before, addresses) = (times(self), [node, 1 - node].map(|node| self.lan.address(node)));
        let text = self.kinds[node].configuration(speech, node, addresses, true);
        self.lan.write(&format!("{node}.conf"), &text).unwrap();
        self.programs[node].as_ref().unwrap().signal(Part::Guardian, Signal::SIGHUP);
        let end = clock::now() + nanos(Duration::from_secs(20));
        while times(self) == before {
            self.must(clock::now() < end, "it does not take it over in place");
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn start(&mut self, node: usize) {
        self.start_with(node, true);
    }

    /// Starts a router that preempts, or not.
    pub fn start_with(&mut self, node: usize, preempt: bool) {
        let kind = self.kinds[node];
        let own =
            |node| -> IpAddr { if self.speech.ipv6 { self.lan.address6(node).into() } else { self.lan.address(node) } };
        let text = kind.configuration(self.speech, node, [own(node), own(1 - node)], preempt);
        let file = self.lan.write(&format!("{node}.conf"), &text).unwrap();
        let directory = routers::directory(&self.lan, node).unwrap();
        let command = kind.command(&file, &directory);
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let times = |story: &Self, words| story.said(node).matches(words).count();
        let before = kind.begins_with().map(|words| (words, times(self, words)));
        kind.begin(&self.lan, node).unwrap();
        self.programs[node] = Some(self.lan.start(node, &command).unwrap());
        let Some((words, before)) = before else { return };
        let end = clock::now() + nanos(Duration::from_secs(10));
        // Its word for the kernel has to get there, too.
        while times(self, words) == before || self.watch.holders().contains(&node) {
            self.must(clock::now() < end, "it does not begin");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Fails with all that is known unless `good`.
    #[track_caller]
    pub fn must(&self, good: bool, what: &str) {
        if good {
            return;
        }
        let spans: Vec<Vec<(u64, u64)>> = self.watch.spans().iter().map(|spans| spans.iter().collect()).collect();
        let logs = [A, B].map(|node| self.said(node));
        panic!(
            "{what}\n  {}, {:?}, {:?}\n  held, in ns, by n1: {:?}\n  by n2: {:?}\n  now {}\nn1 said:\n{}\nn2 said:\n{}",
            Location::caller(),
            self.speech,
            self.kinds,
            spans[A],
            spans[B],
            clock::now(),
            logs[A],
            logs[B]
        );
    }

    /// All that a node has said.
    pub fn said(&self, node: usize) -> String {
        std::fs::read_to_string(self.lan.room().join(format!("n{}.log", node + 1))).unwrap_or_default()
    }

    /// A node says this, within `time`.
    #[track_caller]
    pub fn says(&self, node: usize, words: &str, time: Duration) {
        let end = clock::now() + nanos(time);
        while !self.said(node).contains(words) {
            self.must(clock::now() < end, &format!("n{} never says: {words}", node + 1));
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the better node, then the other one, and sees that it follows.
    pub fn begin(&mut self) {
        self.start(A);
        // Nothing is said of how soon: the machine may be busy with other networks being made.
        let alone = self.watch.alone(A, self.speech.preempts() + Duration::from_secs(20));
        self.must(alone.is_some(), "the first node does not become MASTER");
        self.start(B);
        // Long enough for a node that does not hear its Master to have taken over.
        self.stays(A, self.speech.down_interval(B) + Duration::from_secs(1));
    }

    /// Nothing changes for `time`, and the client hears from `node` alone.
    #[track_caller]
    pub fn stays(&self, node: usize, time: Duration) {
        self.must(self.watch.answered_by(node, ANSWER).is_some(), "the holder does not answer the client");
        let begin = clock::now();
        while clock::now() < begin + nanos(time) {
            self.must(self.watch.holders() == [node], "somebody else, nobody or both hold the address");
            thread::sleep(Duration::from_millis(10));
        }
        let (nodes, count) = self.watch.answers(begin, clock::now());
        self.must(nodes == [node], "the client was answered by another node, too");
        // A probe each 5 ms, by a thread that may starve on a busy machine.
        self.must(count > usize::try_from(time.as_millis() / 50).unwrap(), "the client was answered rarely");
    }

    /// The better node is told to end: it resigns, and the other one takes over after its Skew_Time.
    pub fn terminate_a(&mut self) {
        self.terminate(A);
    }

    /// A Master is told to end: it resigns, and the other one takes over after its Skew_Time.
    pub fn terminate(&mut self, node: usize) {
        let (heir, at) = (1 - node, clock::now());
        self.programs[node].as_ref().unwrap().signal(Part::Guardian, Signal::SIGTERM);
        self.takes_over(heir, at, self.speech.takes_over_from_resigned(heir));
        self.must(self.watch.alone(heir, ANSWER).is_some(), "the stopped node keeps the address");
        let overlap = self.watch.overlap(at, clock::now());
        self.must(overlap == Duration::ZERO, &format!("both held the address for {overlap:?} of an orderly handover"));
        self.ends(node);
        self.must(self.watch.answered_by(heir, ANSWER).is_some(), "the new MASTER does not answer the client");
    }

    /// A node without another one is told to end.
    pub fn end(&mut self, node: usize) {
        self.programs[node].as_ref().unwrap().signal(Part::Guardian, Signal::SIGTERM);
        self.ends(node);
    }

    fn ends(&mut self, node: usize) {
        let ended = self.programs[node].as_mut().unwrap().wait(Duration::from_secs(5));
        self.must(ended.and_then(|status| status.code()) == Some(0), "it did not end in good order");
    }

    /// Every process of the better node dies at once: the other one waits for its timer.
    pub fn kill_a(&mut self) {
        let at = clock::now();
        self.programs[A].as_mut().unwrap().kill();
        self.takes_over(B, at, self.speech.takes_over_from_silent());
        self.must(self.watch.answered_by(B, ANSWER).is_some(), "the new MASTER does not answer the client");
        match self.kinds[A] {
            // What it leaves behind for up to 30 s is silent: its gate has run out.
            Router::Keepone => {
                let begin = clock::now();
                thread::sleep(Duration::from_secs(1));
                let (nodes, _) = self.watch.answers(begin, clock::now());
                self.must(nodes == [B], "a dead agent's address answers");
            }
            // It leaves its address behind, and nobody is there to take it away.
            Router::Keepalived | Router::Frr => {}
        }
    }

    /// The better node comes (back) and takes over from a working Master, which gives way.
    pub fn preempt(&mut self) {
        let at = self.preempts();
        self.gives_way(at);
    }

    /// The better node comes (back) and takes over from a working Master; when that began.
    pub fn preempts(&mut self) -> u64 {
        let at = clock::now();
        self.start(A);
        self.must(self.watch.has(A, self.speech.preempts()).is_some(), "the better node does not preempt");
        at
    }

    /// The worse node gives way to the better one, which came at `at`.
    pub fn gives_way(&mut self, at: u64) {
        self.must(self.watch.alone(A, ANSWER).is_some(), "the worse node does not give way");
        let overlap = self.watch.overlap(at, clock::now());
        // FRR's first Advertisement over IPv6 is lost: its interface, just come up, has no address to send from.
        let lost = self.kinds[A] == Router::Frr && self.speech.ipv6;
        let most = self.speech.overlap() + if lost { self.speech.advert_int } else { Duration::ZERO };
        self.must(overlap <= most, &format!("both held the address for {overlap:?}"));
        self.stays(A, self.speech.advert_int * 4);
    }

    /// The better node comes back, but does not preempt: the worse one stays, until it ends.
    pub fn does_not_preempt(&mut self) {
        self.start_with(A, false);
        // Whatever a dead program left there is cleared away by the new one.
        self.must(self.watch.alone(B, Duration::from_secs(4)).is_some(), "the better node's address stays");
        self.stays(B, self.speech.down_interval(A) + Duration::from_secs(1));
        self.terminate(B);
    }

    /// `node` has the address so long after `at`.
    #[track_caller]
    pub fn takes_over(&self, node: usize, at: u64, (least, most): (Duration, Duration)) {
        let taken = self.watch.has(node, most + Duration::from_secs(3));
        let begun = self.watch.spans()[node].iter().map(|(from, _)| from).find(|from| *from > at);
        self.must(taken.is_some() && begun.is_some(), "no takeover");
        let after = Duration::from_nanos(begun.unwrap_or(0).saturating_sub(at));
        self.must((least..=most).contains(&after), &format!("takeover after {after:?}, not {least:?} to {most:?}"));
    }

    /// The observers.
    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// Each node has held the address so many times, and nobody flapped.
    pub fn ends_with(&self, times: [usize; 2]) {
        let seen = self.watch.spans().map(|spans| spans.iter().count());
        self.must(seen == times, &format!("the nodes held the address {seen:?} times, not {times:?}"));
    }
}

/// What a test said that failed.
pub fn words_of(cause: Box<dyn Any + Send>) -> String {
    let text = cause.downcast_ref::<String>().cloned();
    text.or_else(|| cause.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default()
}

pub fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap()
}
