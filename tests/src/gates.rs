//! Both nodes' gates, seen from outside: what an address that stands behind a shut gate, or a client that knows only one
//! node's MAC, does not show.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use keepone_chaos::netns::observe::gate::{self, GateDiary, Peephole};
use keepone_chaos::netns::observe::{Live, Stop};
use keepone_chaos::spans::Spans;

use crate::program::Program;

/// Watches the gates of BPF of running agents for one domain, each 2 ms.
#[derive(Debug)]
pub struct Gates {
    stop: Stop,
    thread: JoinHandle<Vec<Vec<GateDiary>>>,
}

impl Gates {
    /// Begins. The agents may stop and go on, but must not end before [`Gates::end`]: their pins would be out of sight.
    pub fn watch(nodes: &[Program], domain: &str) -> Self {
        // The bpffs is private to the program, and seen by way of it.
        let pins = |node: &Program| Peephole::of_pins(PathBuf::from(format!("/proc/{}/root/sys/fs/bpf", node.pid())));
        let (live, stop) = (Arc::new(Live::new(nodes.len(), 0)), Stop::default());
        let peepholes = nodes.iter().map(pins).collect();
        Gates { thread: gate::start(peepholes, &[domain.to_owned()], live, stop.clone()), stop }
    }

    /// When each was certainly open.
    ///
    /// # Panics
    /// If the thread that watched has.
    pub fn end(self) -> Vec<Spans> {
        self.stop.set();
        let seen = self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        seen.iter().map(|of_domains| of_domains.first().map(GateDiary::open).unwrap_or_default()).collect()
    }
}
