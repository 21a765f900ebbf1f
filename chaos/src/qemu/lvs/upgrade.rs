//! `keepone-chaos qemu lvs-upgrade`: a director is upgraded in place (docs/decisions/0210) under connections that last. What the
//! kernel's table holds meanwhile is ipvsadm's word, asked all the time.

use std::path::Path;

use super::guest::{self, Guest, answers};
use crate::netns::error::Error;

/// Loaded at once, each after what it needs.
const MODULES: [&str; 11] = [
    "libcrc32c",
    "bridge",
    "veth",
    "tunnel4",
    "ip_tunnel",
    "ipip",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "nf_conntrack",
    "ip_vs",
    "ip_vs_rr",
];
const PROGRAMS: [(&str, &str); 2] = [("ipvsadm", "ipvsadm"), ("ip", "iproute2")];

const CONFIG: &str = include_str!("upgrade.toml");
const HOLD: &str = include_str!("hold");
/// The witness, in the namespace of the other director.
const WITNESS: &str = "name = \"w\"\nid = 2\nkey_file = \"/keys/w.key\"\nlisten = \"10.0.0.253:7947\"\n\
    state_dir = \"/run/w-state\"\n\n[[cluster]]\nname = \"lb\"\nvoters = [\"w\"]\nlease = \"20s\"\n";

/// How often it is upgraded.
const TIMES: u32 = 2;
/// Requests meanwhile.
const REQUESTS: u8 = 100;
/// Lines on the connection that lasts, one a second: an upgrade says how it went once the former D is over, 20 s.
const LINES: usize = 60;

/// What was seen.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct Report {
    /// The guest's own word.
    pub kernel: String,
    /// How often the table and the sync daemon were looked at meanwhile.
    pub looks: usize,
    /// Answers of the client's requests meanwhile, and failures.
    pub requests: [usize; 2],
    /// Lines that came back on a connection that outlived the agent's processes.
    pub held: usize,
    /// What does not hold; empty is success.
    pub violations: Vec<String>,
}

/// Boots the guest and does it all.
///
/// # Errors
/// When the guest can't be made or does not answer.
pub fn run(kernel: &Path, bin_dir: &Path, room: &Path) -> Result<Report, Error> {
    let files = [("lb.toml", CONFIG), ("w.toml", WITNESS), ("hold", HOLD)];
    let files = files.map(|(name, text)| (name, text.to_owned()));
    let mut guest = guest::boot(kernel, bin_dir, room, &MODULES, &PROGRAMS, &files, false)?;
    let mut report = Report { kernel: guest.must("uname -r")?.trim().to_owned(), ..Report::default() };
    begin(&mut guest)?;
    upgrade(&mut guest, &mut report)?;
    end(&mut guest)?;
    report.violations = guest.violations;
    Ok(report)
}

/// One real server is down, one is emptied.
fn begin(guest: &mut Guest) -> Result<(), Error> {
    guest.must(
        "export PATH=/sbin:/bin; for m in $(cat /modules/extra); do insmod /modules/$m.ko; done; sh /lvs/setup",
    )?;
    guest.must("mkdir /keys; keepone keys --cluster lb --out /keys lb w")?;
    let address = r#"echo 'witness = "10.0.0.253:7947"'"#;
    guest.must(&format!("(cat /keys/members.toml; {address}) >>/lvs/lb.toml"))?;
    let lb = r#"sed -n '/name = "lb"/,/public_key/p' /keys/members.toml"#;
    guest.must(&format!("(echo; echo '[[cluster.member]]'; {lb}) >>/lvs/w.toml"))?;
    guest.must(
        "(nsenter -n/run/netns/other keepone-witness run -c /lvs/w.toml >/run/w.log 2>&1 </dev/null &); \
         (keepone run -c /lvs/lb.toml >>/run/log 2>&1 </dev/null & echo $! >/guardian)",
    )?;
    guest.wait_for("a Master", "ip addr show br0 | grep -q 10.0.0.200")?;
    guest.wait_for("all services", "test $(ipvsadm -Sn | grep -c '^-A') = 3")?;
    guest.wait_for("one is down", "! ipvsadm -Sn | grep -q '10.0.0.201:80 -r 10.0.0.2:80'")?;
    guest.expect("one is emptied", "keepone drain 10.0.0.2 --of 192.0.2.200:80")?;
    guest.wait_for("it is", "ipvsadm -Sn | grep -q '192.0.2.200:80 -r 10.0.0.2:80 -m -w 0'")?;
    guest.wait_for("the sync daemon of a Master", "ipvsadm -L --daemon | grep -q 'master sync daemon'")
}

fn upgrade(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    guest.must(&format!("(sh /lvs/hold {LINES} >/run/held 2>&1 </dev/null &)"))?;
    guest.wait_for("a connection", "test $(wc -l </run/held) -ge 3")?;
    // What is not what it was before is a line of its own.
    let table = "$(ipvsadm -Sn | sort; ipvsadm -L --daemon | grep -o '[a-z]* sync daemon')";
    let look = format!("t=\"{table}\"; echo look; [ \"$t\" = \"$was\" ] || echo \"$t\"");
    guest.must(&format!(
        "(was=\"{table}\"; while ! test -e /run/seen; do {look}; done >/run/looks 2>&1 </dev/null &)"
    ))?;
    guest.must(&format!("(sh /lvs/flow 192.0.2.200 {REQUESTS} >/run/flow 2>&1; echo end >>/run/flow) </dev/null &"))?;
    guest.must("cat /run/log >/run/former; : >/run/log")?;
    for _ in 0..TIMES {
        let said = guest.long("keepone upgrade || true", 60)?;
        if !said.starts_with("in place: ") {
            let log = guest.must("tail -n 40 /run/log")?;
            guest.violations.push(format!("keepone upgrade: {}\n{log}", said.trim()));
            break;
        }
    }
    guest.expect("two processes went on", &format!("test $(grep -c 'this process goes on' /run/log) = {TIMES}"))?;
    guest.must("touch /run/seen")?;
    let looks = guest.must("cat /run/looks")?;
    report.looks = looks.lines().filter(|line| line.trim() == "look").count();
    let others: Vec<&str> = looks.lines().map(str::trim).filter(|line| *line != "look").take(20).collect();
    if report.looks == 0 || !others.is_empty() {
        guest.violations.push(format!("{} looks at the table, which was {others:#?}", report.looks));
    }
    guest.expect("no change was made or told of", "! grep -E 'ipvs: |real server is|quorum is' /run/log")?;
    guest.wait_for("the client's end", "grep -q end /run/flow")?;
    let [first, second, failed] = answers(&guest.must("cat /run/flow")?);
    report.requests = [first + second, failed];
    if [first, second, failed] != [usize::from(REQUESTS), 0, 0] {
        guest.violations.push(format!("{first} answers, {second} of who is emptied, {failed} failures"));
    }
    report.held = guest.held(LINES, "a connection across two upgrades")?;
    Ok(())
}

/// The new process takes out what the first one made.
fn end(guest: &mut Guest) -> Result<(), Error> {
    guest.must("kill -TERM $(cat /guardian)")?;
    guest.wait_for("the end", "! kill -0 $(cat /guardian)")?;
    guest.expect("nothing stays", "test -z \"$(ipvsadm -Sn)$(ipvsadm -L --daemon)\"")?;
    let log = guest.must("cat /run/former /run/log")?;
    guest.violations.extend(log.lines().filter(|line| line.contains("panicked")).map(str::to_owned));
    Ok(())
}
