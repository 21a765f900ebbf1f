//! Scripts of virtual and real servers: `quorum_up`, `quorum_down`, `notify_up`, `notify_down`.
//!
//! What must stay true: those of one virtual server run one after the other, in the order of what happened, and none is
//! left out; a slow one keeps no other virtual server's waiting, and nobody waits to put one in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};

use keepone_config::model::Script;

use super::run::{Rules, run};

/// One script to be run, and what it is told.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) script: Script,
    /// The virtual server, as FIFOs call it.
    pub(crate) service: String,
    /// The real server, if it is about one.
    pub(crate) server: Option<String>,
    /// `UP` or `DOWN`.
    pub(crate) state: &'static str,
    /// Why.
    pub(crate) why: String,
}

/// The way to them. Queues have no bound: each entry is a change of state, of which checks make few.
#[derive(Debug)]
pub(crate) struct ServerScripts {
    rules: Rules,
    /// How many run or wait.
    left: Arc<AtomicUsize>,
    threads: BTreeMap<String, (Sender<Told>, JoinHandle<()>)>,
}

impl ServerScripts {
    pub(crate) fn new(rules: Rules) -> Self {
        ServerScripts { rules, left: Arc::default(), threads: BTreeMap::new() }
    }

    /// Puts one in. A virtual server's thread begins with its first.
    pub(crate) fn put(&mut self, told: Told) {
        if !self.threads.contains_key(&told.service) {
            let (queue, scripts) = channel();
            let (rules, left) = (self.rules.clone(), Arc::clone(&self.left));
            let name = format!("notify {}", told.service);
            match thread::Builder::new().name(name).spawn(move || serve(&scripts, &rules, &left)) {
                Ok(thread) => _ = self.threads.insert(told.service.clone(), (queue, thread)),
                Err(error) => {
                    tracing::error!(%error, "no thread for notify scripts: raise the limit of tasks");
                    return;
                }
            }
        }
        if let Some((queue, _)) = self.threads.get(&told.service) {
            self.left.fetch_add(1, Ordering::Relaxed);
            // A thread that has panicked says nothing more.
            let _ = queue.send(told);
        }
    }

    /// Whether any runs or waits.
    pub(crate) fn are_any(&self) -> bool {
        self.left.load(Ordering::Relaxed) > 0
    }

    /// What still waits is run; the threads that do so.
    pub(crate) fn finish(self) -> Vec<(String, JoinHandle<()>)> {
        let threads = self.threads.into_iter();
        threads.map(|(name, (_, thread))| (format!("notify scripts of {name}"), thread)).collect()
    }
}

fn serve(scripts: &Receiver<Told>, rules: &Rules, left: &AtomicUsize) {
    while let Ok(told) = scripts.recv() {
        let mut variables = vec![
            ("KEEPONE_VIRTUAL_SERVER", told.service.as_str()),
            ("KEEPONE_STATE", told.state),
            ("KEEPONE_REASON", told.why.as_str()),
        ];
        variables.extend(told.server.as_deref().map(|server| ("KEEPONE_REAL_SERVER", server)));
        run(&told.script, rules, &[], &variables);
        left.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn scripts_of_one_server_run_in_order_and_a_slow_one_keeps_no_other_waiting() {
        let room = tempfile::tempdir().unwrap();
        let file = |name: &str| room.path().join(name);
        let mut scripts = ServerScripts::new(Rules { user: None, timeout: Duration::from_secs(60) });
        let mut put = |service: &str, words: String, state| {
            let command = ["/bin/sh".to_owned(), "-c".to_owned(), words].to_vec();
            let script = Script { command, user: None, group: None };
            scripts.put(Told {
                script,
                service: service.to_owned(),
                server: Some("[10.0.0.2]:tcp:80".to_owned()),
                state,
                why: "refused".to_owned(),
            });
        };
        let log = |name: &str| {
            format!("echo $KEEPONE_STATE $KEEPONE_REAL_SERVER $KEEPONE_REASON >> {}", file(name).display())
        };
        // It ends when the other one has been run.
        put("slow", format!("until test -e {}; do sleep 0.05; done; {}", file("quick").display(), log("slow")), "DOWN");
        put("slow", log("slow"), "UP");
        put("quick", log("quick"), "UP");
        assert!(scripts.are_any());
        let left = Arc::clone(&scripts.left);
        for (_, thread) in scripts.finish() {
            thread.join().unwrap();
        }
        assert_eq!(left.load(Ordering::Relaxed), 0);
        let slow = std::fs::read_to_string(file("slow")).unwrap();
        assert_eq!(slow, "DOWN [10.0.0.2]:tcp:80 refused\nUP [10.0.0.2]:tcp:80 refused\n");
    }
}
