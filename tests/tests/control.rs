//! What the operator is told and may do, on a live pair with a witness: `keepone status`, `why`, `epoch`, `events`,
//! `maintenance`, `handover`, `log`, `metrics` and `top`. Needs root, and `script` of util-linux.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread;
use std::time::Duration;

use keepone_chaos::fault::Part;
use keepone_chaos::netns::clock;
use keepone_chaos::netns::topology::{Kind, VIP};
use keepone_tests::binary;
use keepone_tests::cluster::Cluster;
use keepone_tests::lan::Lan;
use keepone_tests::observe::Watch;
use keepone_tests::patience::eventually;
use keepone_tests::program::Program;
use keepone_tests::terminal::Terminal;
use nix::sys::signal::Signal;
use serde_json::Value;

/// The machine may be busy.
const SOON: Duration = Duration::from_secs(30);
/// L_a.
const LEASE: Duration = Duration::from_millis(500);

struct Pair {
    nodes: [Program; 2],
    witness: Program,
    watch: Watch,
    files: [PathBuf; 2],
    lan: Lan,
}

impl Pair {
    fn steady() -> Self {
        let lan = Lan::build(2).unwrap();
        let mut cluster = Cluster::new(&lan).unwrap();
        cluster.quorum();
        let program = binary::find("keepone-witness");
        let file = cluster.write_witness(&lan, 0).unwrap();
        let witness = [program.to_str().unwrap(), "run", "-c", file.to_str().unwrap()];
        let witness = lan.start_at(Kind::Witness(0), &witness).unwrap();
        let files = [0, 1].map(|node| cluster.write(&lan, node).unwrap());
        let nodes = [0, 1].map(|node| start(&lan, &files, node));
        let watch = Watch::start(&lan, VIP.into()).unwrap();
        let pair = Pair { nodes, witness, watch, files, lan };
        pair.holds(0);
        pair
    }

    fn said(&self) -> String {
        format!("{}\n--\n{}\n--\n{}", self.nodes[0].said(), self.nodes[1].said(), self.witness.said())
    }

    /// From now on this node alone answers, after what was under way.
    #[track_caller]
    fn holds(&self, node: usize) {
        let seen = self.watch.answered_by(node, SOON);
        assert!(seen.is_some(), "n{} does not answer\n{}", node + 1, self.said());
        eventually(SOON, || self.said(), || (self.watch.holders() == [node]).then_some(()));
    }

    fn run_dir(&self, node: usize) -> PathBuf {
        self.lan.room().join(format!("n{}-run", node + 1))
    }

    fn run(&self, node: usize, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary::find("keepone"));
        command.args(arguments).arg("--run-dir").arg(self.run_dir(node)).output().unwrap()
    }

    #[track_caller]
    fn says(&self, node: usize, arguments: &[&str]) -> String {
        let output = self.run(node, arguments);
        let (out, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{arguments:?}: {}\n{out}{error}\n{}", output.status, self.said());
        out
    }

    #[track_caller]
    fn status(&self, node: usize) -> Value {
        serde_json::from_str(&self.says(node, &["status", "--json"])).unwrap()
    }

    #[track_caller]
    fn has(&self, text: &str, words: &[&str]) {
        for word in words {
            assert!(text.contains(word), "{word:?} is missing in:\n{text}\n{}", self.said());
        }
    }

    fn code(&self, node: usize, arguments: &[&str]) -> i32 {
        self.run(node, arguments).status.code().unwrap()
    }
}

fn start(lan: &Lan, files: &[PathBuf; 2], node: usize) -> Program {
    let keepone = binary::find("keepone");
    lan.start(node, &[keepone.to_str().unwrap(), "run", "-c", files[node].to_str().unwrap()]).unwrap()
}

#[test]
fn the_operator_is_told_who_holds_it_and_why_and_hands_it_over_and_back() {
    let pair = Pair::steady();
    let mode = std::fs::metadata(pair.run_dir(0).join("control")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    counts(&pair);

    // Who holds the address, on both.
    for node in 0..2 {
        eventually(SOON, || pair.said(), || (pair.status(node)["domains"][0]["holder"] == "n1").then_some(()));
    }
    let text = pair.says(0, &["status"]);
    pair.has(&text, &["node n1", "VI_1", "MASTER", "elected", &VIP.to_string(), "peer n2: heard", "hb0", "hb1"]);
    assert!(!text.contains('\x1b'), "colours without a terminal");

    // Round trip and loss of each link. Half a second is beyond what a busy machine makes of a round trip; 64 beats that
    // are known are 6 s of one that has come up, and the first ones may have been made for a connection that was not there.
    eventually(
        SOON,
        || pair.said(),
        || {
            let status = pair.status(0);
            let links = status["peers"][0]["links"].as_array().unwrap();
            let is_good = |link: &Value| {
                let (rtt, beats) = (link["rtt_ms"].as_f64()?, link["beats"].as_u64()?);
                Some(rtt > 0.0 && rtt < 500.0 && beats > 20 && link["loss"].as_f64()? < 0.5)
            };
            (links.len() == 2 && links.iter().all(|link| is_good(link) == Some(true))).then_some(())
        },
    );
    pair.has(&pair.says(0, &["status"]), &[", RTT ", " % lost"]);
    let why = pair.says(0, &["why", "VI_1"]);
    pair.has(&why, &["VI_1 on n1: MASTER", "elected", "D − now = ", "> 0 (epoch ", "w last granted", "≥ 2 needed"]);
    pair.has(&why, &["CLAIMING → MASTER: it is elected"]);
    pair.has(&pair.says(1, &["why"]), &["VI_1 on n2: BACKUP", "holder: n1", "peer n1: heard", "is MASTER"]);
    assert_eq!(pair.code(0, &["why", "VI_9"]), 1);

    // The fencing token, for whoever holds it and for nobody else.
    let epoch = pair.says(0, &["epoch", "VI_1"]).trim().to_owned();
    assert_eq!(pair.status(0)["domains"][0]["epoch"], epoch.as_str());
    assert_eq!(pair.code(1, &["epoch", "VI_1"]), 21);
    assert!(pair.run(1, &["epoch", "VI_1"]).stdout.is_empty());

    // Over, where it stays, and back.
    thread::sleep(Duration::from_millis(1200));
    let begin = clock::now();
    pair.has(&pair.says(0, &["handover", "VI_1", "--to", "n2"]), &["VI_1: n2 holds it, "]);
    pair.holds(1);
    assert_eq!(pair.code(0, &["epoch", "VI_1"]), 21);
    let later = pair.says(1, &["epoch", "VI_1"]).trim().to_owned();
    let counter = |epoch: &str| epoch.split('-').next().unwrap().parse::<u64>().unwrap();
    assert!(counter(&later) > counter(&epoch), "{later} after {epoch}");
    assert_eq!(pair.code(0, &["handover", "VI_1"]), 1, "it is not there any more");
    thread::sleep(Duration::from_secs(3));
    assert_eq!(pair.watch.holders(), [1], "the better node asks for it back\n{}", pair.said());
    pair.has(&pair.says(0, &["why", "VI_1"]), &["MASTER → BACKUP: it has handed over", "it stands back"]);
    pair.has(&pair.says(1, &["handover", "VI_1"]), &["VI_1: n1 holds it, "]);
    pair.holds(0);
    assert_eq!(pair.watch.overlap(begin, clock::now()), Duration::ZERO, "two holders");
    let answers: Vec<u64> = {
        let mut all: Vec<u64> = (0..2).flat_map(|node| pair.watch.answers_of(node, begin, clock::now())).collect();
        all.sort_unstable();
        all
    };
    let longest = answers.windows(2).map(|two| two[1] - two[0]).max().map_or(SOON, Duration::from_nanos);
    // Who lets a lease run out needs at least that long; probes come each 5 ms.
    assert!(longest < LEASE * 9 / 10, "silent for {longest:?}: nothing was handed over\n{}", pair.said());

    // An agent that is stopped holds nothing, and is not waited for.
    pair.nodes[0].signal(Part::Both, Signal::SIGSTOP);
    assert_eq!(pair.code(0, &["epoch", "VI_1"]), 22);
    pair.nodes[0].signal(Part::Both, Signal::SIGCONT);

    pair.says(0, &["log", "debug"]);
    assert_eq!(pair.code(0, &["log", "loud"]), 1);
    let metrics = pair.says(0, &["metrics"]);
    let wanted = [
        "keepone_domain_role{domain=\"VI_1\",role=\"MASTER\"}",
        "keepone_bad_beats_total ",
        "keepone_link_rtt_seconds{peer=\"n2\",link=\"hb0\"} 0.",
        "keepone_link_beats_lost_total{peer=\"n2\",link=\"hb1\"} ",
    ];
    pair.has(&metrics, &wanted);
    assert!(metrics.ends_with("# EOF\n"), "{metrics}");
    for file in ["alert-rules.yml", "grafana-dashboard.json"] {
        let asked = asked_for(file);
        assert!(asked.len() > 3, "{file}: {asked:?}");
        for name in asked {
            let of_family = name.strip_suffix("_total").unwrap_or(&name);
            assert!(metrics.contains(&format!("# TYPE {of_family} ")), "{file}: nobody tells {name}\n{metrics}");
        }
    }
}

/// Nothing changes hands: the counters of a virtual router are the same by keepalived's names and by ours.
fn counts(pair: &Pair) {
    let metrics = pair.says(0, &["metrics"]);
    let status = pair.status(0);
    let counted = &status["domains"][0]["instances"][0]["statistics"];
    let told = |family: &str| {
        let of = format!("keepone_vrrp_{family}_total{{domain=\"VI_1\",instance=\"VI_1\"}} ");
        metrics.lines().find_map(|line| line.strip_prefix(&of)?.parse::<u64>().ok())
    };
    assert!(told("advertisements_sent") > Some(0) && told("became_master") > Some(0), "{metrics}");
    assert_eq!(told("became_master"), counted["become_master"].as_u64(), "{status}");
    assert_eq!(told("became_master"), told("released_master").map(|times| times + 1), "it is MASTER now: {metrics}");
    // Since the metrics were asked more may have been sent.
    assert!(told("advertisements_sent") <= counted["advert_sent"].as_u64(), "{status}");
    assert_eq!(counted["checksum_err"], 0, "{status}");
}

/// The metrics that a file of the documentation names.
fn asked_for(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs").join(file);
    let text = std::fs::read_to_string(path).unwrap();
    if file.ends_with(".json") {
        let dashboard: Value = serde_json::from_str(&text).unwrap();
        assert!(dashboard["panels"].as_array().unwrap().len() > 5);
    }
    let words = text.split(|sign: char| !sign.is_ascii_alphanumeric() && sign != '_');
    words.filter(|word| word.starts_with("keepone_")).map(str::to_owned).collect()
}

#[test]
fn maintenance_outlives_a_worker_and_events_outlive_the_agent() {
    let mut pair = Pair::steady();
    pair.has(&pair.says(0, &["maintenance", "on"]), &["nothing is held here"]);
    pair.holds(1);
    pair.has(&pair.says(0, &["status"]), &["MAINTENANCE", "maintenance"]);
    pair.nodes[0].signal(Part::Worker, Signal::SIGKILL);
    eventually(SOON, || pair.said(), || pair.run(0, &["status"]).status.success().then_some(()));
    assert_eq!(pair.status(0)["maintenance"], true, "the next worker knows nothing of it");
    // It stands for nothing, not even when the other is gone.
    pair.nodes[1].signal(Part::Guardian, Signal::SIGTERM);
    thread::sleep(LEASE * 6);
    assert_eq!(pair.watch.holders(), Vec::<usize>::new(), "{}", pair.said());
    pair.says(0, &["maintenance", "off"]);
    pair.holds(0);

    // After a restart of the whole agent what was before is still told, and more follows.
    pair.nodes[0].signal(Part::Guardian, Signal::SIGTERM);
    assert!(pair.nodes[0].wait(SOON).is_some());
    assert_eq!(pair.code(0, &["status"]), 22, "nobody answers");
    let before = pair.says(0, &["events"]);
    pair.has(&before, &["BACKUP: the operator has taken this node out", "turns maintenance on", "MASTER → INIT"]);
    let mut command = Command::new(binary::find("keepone"));
    let follow = command.args(["events", "--follow", "--since", "1h", "--run-dir"]).arg(pair.run_dir(0));
    let out = pair.lan.room().join("followed");
    let mut following = follow.stdout(std::fs::File::create(&out).unwrap()).spawn().unwrap();
    pair.nodes[0] = start(&pair.lan, &pair.files, 0);
    let followed = || std::fs::read_to_string(&out).unwrap();
    eventually(SOON, followed, || {
        let (text, masters) = (followed(), "→ MASTER: it is elected");
        // Before maintenance, after it, and after the restart.
        (text.starts_with(&before) && text.matches(masters).count() == 3).then_some(())
    });
    following.kill().unwrap();
    following.wait().unwrap();
    assert_eq!(pair.says(0, &["events", "--since", "2999-01-01"]), "");
    assert_eq!(pair.code(0, &["events", "--since", "then"]), 2);
    let lines = pair.says(0, &["events", "--json", "--domain", "VI_1"]);
    let events: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let transitions = events.iter().filter(|event| event["kind"] == "transition");
    for event in transitions {
        for field in ["at", "node", "from", "to", "reason", "what", "evidence"] {
            assert!(event[field].is_string(), "{field} is missing: {event}");
        }
    }
}

/// `keepone top` on a terminal of 80 columns and 24 lines.
struct Top(Terminal);

impl Top {
    fn of(pair: &Pair, node: usize) -> Self {
        let (program, run_dir) = (binary::find("keepone"), pair.run_dir(node));
        let words = [program.to_str().unwrap(), "top", "--interval", "0.2", "--run-dir", run_dir.to_str().unwrap()];
        Top(Terminal::start(pair.lan.room(), &words).unwrap())
    }

    #[track_caller]
    fn shows(&self, words: &[&str]) -> String {
        let all = || self.0.shows();
        eventually(SOON, all, || Some(all()).filter(|text| words.iter().all(|word| text.contains(word))))
    }

    /// It has ended, with that code, and the terminal is as it was.
    #[track_caller]
    fn ended(&self, code: u8) {
        let text = self.shows(&[&format!("ENDED={code}"), " echo ", " icanon "]);
        assert!(!self.0.is_taken(), "{text}");
    }
}

#[test]
fn top_shows_what_goes_on_tells_when_nobody_answers_and_gives_the_terminal_back() {
    let mut pair = Pair::steady();
    let mut top = Top::of(&pair, 0);
    top.shows(&["keepone ", " on n1: its gate passes its test", "Instances: 1 MASTER", "VI_1", &VIP.to_string()]);
    top.shows(&[
        "1 lease held",
        " ms of ",
        "3, 2 needed",
        "Links: 1 of 1 peer heard",
        "hb0",
        " ms ",
        " 0 % (",
        "BACKUP → ",
    ]);
    assert!(top.0.is_taken() && top.0.is_coloured(), "{}", top.0.shows());
    top.0.press(b"?").unwrap();
    top.shows(&["another pane", "Ctrl-C"]);
    top.0.press(b"?\t\r").unwrap();
    eventually(SOON, || top.0.shows(), || (!top.0.shows().contains("Instances:")).then_some(()));
    top.shows(&["DOMAIN", "EPOCH"]);
    top.0.press(b"\r").unwrap();

    // It follows what goes on, and waits for an agent that is gone.
    // What has only just come here is not handed over.
    eventually(SOON, || pair.said(), || (pair.code(0, &["handover", "VI_1"]) == 0).then_some(()));
    top.shows(&["Instances: 1 BACKUP", "MASTER → BACKUP"]);
    pair.nodes[0].signal(Part::Guardian, Signal::SIGTERM);
    assert!(pair.nodes[0].wait(SOON).is_some());
    top.shows(&["NO ANSWER, asked again; below is what was ", "Instances: 1 BACKUP"]);
    pair.nodes[0] = start(&pair.lan, &pair.files, 0);
    eventually(SOON, || top.0.shows(), || (!top.0.shows().contains("NO ANSWER")).then_some(()));
    top.0.press(b"q").unwrap();
    top.ended(0);

    // A signal ends it no worse than a key; one that would stop it does nothing.
    let top = Top::of(&pair, 1);
    top.shows(&["on n2:", "Instances: 1 MASTER"]);
    top.0.signal(Signal::SIGTSTP).unwrap();
    top.0.signal(Signal::SIGTERM).unwrap();
    top.ended(0);

    // Without a terminal, and without an agent.
    let output = pair.run(1, &["top"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    pair.has(&error, &["`keepone top` wants a terminal", "`keepone status`"]);
    assert!(output.stdout.is_empty());
    pair.nodes[1].signal(Part::Guardian, Signal::SIGTERM);
    assert!(pair.nodes[1].wait(SOON).is_some());
    Top::of(&pair, 1).ended(22);
}
