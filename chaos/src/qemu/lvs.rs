//! `keepone-chaos qemu lvs`: virtual servers on a kernel that has IPVS.
//!
//! One machine: the director, and in network namespaces of it another one, a client and two real servers. What the kernel's table
//! holds is taken from ipvsadm, not from our own reading; what works is what the client's requests say.

pub mod bare;
pub mod bench;
pub mod checked;
mod counted;
mod guest;
pub mod more;
pub mod upgrade;

use std::path::Path;
use std::thread;
use std::time::Duration;

use guest::{Guest, answers, lines};

use crate::netns::clock;
use crate::netns::error::Error;

/// What is loaded only after the agent has met a kernel without it.
const MODULES: [&str; 24] = [
    "bridge",
    "veth",
    "ipip",
    "ip_vs",
    "ip_vs_rr",
    "ip_vs_wrr",
    "ip_vs_lc",
    "ip_vs_wlc",
    "ip_vs_lblc",
    "ip_vs_lblcr",
    "ip_vs_sh",
    "ip_vs_mh",
    "ip_vs_dh",
    "ip_vs_fo",
    "ip_vs_ovf",
    "ip_vs_sed",
    "ip_vs_nq",
    "ip_vs_twos",
    "ip_vs_pe_sip",
    "nf_conntrack",
    "nf_defrag_ipv4",
    "nf_defrag_ipv6",
    "tunnel4",
    "ip_tunnel",
];
const PROGRAMS: [(&str, &str); 2] = [("ipvsadm", "ipvsadm"), ("ip", "iproute2")];

const HOLD: &str = include_str!("lvs/hold");
const CONFIG: &str = include_str!("lvs/a.conf");
/// What `ipvsadm -Sn` shows of it.
const TABLE: &str = include_str!("lvs/a.table");

/// Of no configuration of ours.
const FOREIGN: &str = "-A -t 198.51.100.1:80 -s rr";

/// What was seen.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Report {
    /// The guest's own word.
    pub kernel: String,
    /// Lines of the table that were compared with ipvsadm's.
    pub lines: usize,
    /// Answers of the two real servers to requests through NAT, DR and TUN.
    pub answers: [[usize; 2]; 3],
    /// Connections as the agent tells them beside ipvsadm: real servers that were compared, and how many connections they have
    /// had and have.
    pub counted: [u64; 3],
    /// Answers and failures while the configuration was reloaded.
    pub reload: [usize; 2],
    /// How long until a change by another's hand was put right.
    pub put_right_ms: u64,
    /// How long a real server was in the table after its line was cut, and not in it after that was mended.
    pub checked_ms: [u64; 2],
    /// How long `keepone drain --wait` waited for a connection to end, and lines that came back on it meanwhile.
    pub drained: (u64, usize),
    /// Lines that came back on a connection that outlived a worker.
    pub held_by_a_new_worker: usize,
    /// Lines that came back on a connection that outlived its director.
    pub held_by_the_other: usize,
    /// What does not hold; empty is success.
    pub violations: Vec<String>,
}

/// Boots the guest and does it all.
///
/// # Errors
/// When the guest can't be made or does not answer.
pub fn run(kernel: &Path, bin_dir: &Path, room: &Path) -> Result<Report, Error> {
    let files = [("hold", HOLD), ("a.conf", CONFIG)].map(|(name, text)| (name, text.to_owned()));
    let made = [("b.conf", other()), ("c.conf", checked()), ("d.conf", drained())];
    let mut guest = guest::boot(
        kernel,
        bin_dir,
        room,
        &MODULES,
        &PROGRAMS,
        &files.into_iter().chain(made).collect::<Vec<_>>(),
        false,
    )?;
    let mut report = Report {
        kernel: guest.must("uname -r")?.trim().to_owned(),
        lines: 0,
        answers: [[0; 2]; 3],
        counted: [0; 3],
        reload: [0; 2],
        put_right_ms: 0,
        checked_ms: [0; 2],
        drained: (0, 0),
        held_by_a_new_worker: 0,
        held_by_the_other: 0,
        violations: Vec::new(),
    };
    begin(&mut guest)?;
    table(&mut guest, &mut report)?;
    traffic(&mut guest, &mut report)?;
    counted(&mut guest, &mut report)?;
    by_others_hands(&mut guest, &mut report)?;
    reload(&mut guest, &mut report)?;
    health(&mut guest, &mut report)?;
    drain(&mut guest, &mut report)?;
    worker(&mut guest, &mut report)?;
    end(&mut guest, &mut report)?;
    report.violations = guest.violations;
    Ok(report)
}

/// A kernel without IPVS: one error with the remedy, and everything else goes on; once it is there, the table is made.
fn begin(guest: &mut Guest) -> Result<(), Error> {
    guest.must("export PATH=/sbin:/bin; grep -v ip_vs /modules/extra >/modules/first; grep ip_vs /modules/extra >/modules/then")?;
    guest.must("for m in $(cat /modules/first); do insmod /modules/$m.ko; done; sh /lvs/setup")?;
    guest.must(
        "cp /lvs/a.conf /lvs/keepalived.conf; (keepone run -c /lvs/keepalived.conf >>/run/log 2>&1 </dev/null & echo $! >/guardian)",
    )?;
    guest.wait_for("a Master without IPVS", "ip addr show br0 | grep -q 10.0.0.200")?;
    guest.wait_for("the remedy", "grep -q 'modprobe ip_vs' /run/log")?;
    // Two looks later it has not been said again.
    thread::sleep(Duration::from_secs(11));
    guest.expect("it is said once", "test $(grep -c 'modprobe ip_vs' /run/log) = 1")?;
    guest.must("for m in $(cat /modules/then); do insmod /modules/$m.ko; done").map(drop)
}

fn table(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    let wanted = lines(TABLE);
    guest.wait_for_table("every keyword", &wanted)?;
    report.lines = wanted.len();
    let daemon = "ipvsadm -L --daemon | grep -q 'master sync daemon (mcast=br0, syncid=7, maxlen=1400, group=224.0.0.99, port=8849, ttl=3)'";
    guest.wait_for("the sync daemon of a Master", daemon)?;
    guest.wait_for("thresholds", "ipvsadm -Ln --thresholds | grep -q '10.0.0.1:2905  *100  *50 '")?;
    guest.expect("only one", "! ipvsadm -L --daemon | grep -q backup")?;
    guest.wait_for("lvs_timeouts", "ipvsadm -L --timeout | grep -q '1000 100 50'")
}

fn traffic(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    for (place, (way, address)) in
        [("NAT", "192.0.2.200"), ("DR", "10.0.0.200"), ("TUN", "10.0.0.201")].into_iter().enumerate()
    {
        let [first, second, failed] = guest.requests(address, 6)?;
        if first == 0 || second == 0 || failed > 0 {
            guest.violations.push(format!("{way}: {first} and {second} answers of 6, {failed} failures"));
        }
        if let Some(known) = report.answers.get_mut(place) {
            *known = [first, second];
        }
    }
    Ok(())
}

/// While one connection lasts and others have ended, the agent says of each real server what ipvsadm says.
fn counted(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    const LINES: usize = 30;
    guest.must(&format!("(sh /lvs/hold {LINES} >/run/held 2>&1 </dev/null &)"))?;
    guest.wait_for("a connection", "test $(wc -l </run/held) -ge 3")?;
    let counts = counted::alike(guest, "connections")?;
    let sum = |of: fn(&[u64; 3]) -> u64| counts.values().map(of).sum::<u64>();
    report.counted = [counts.len() as u64, sum(|[.., all]| *all), sum(|[active, inactive, _]| active + inactive)];
    if sum(|[active, ..]| *active) != 1 || sum(|[_, inactive, _]| *inactive) == 0 {
        guest.violations.push(format!("one connection lasts and others have ended: {counts:?}"));
    }
    guest.expect(
        "a line with all of them",
        "keepone status | grep -q 'virtual servers: .* 1 active, [0-9]* inactive'",
    )?;
    guest.held(LINES, "a connection that is counted").map(drop)
}

/// Deleted, changed and added by ipvsadm: what is ours is put right, what is not stays.
fn by_others_hands(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    let mut wanted = lines(TABLE);
    wanted.push(FOREIGN.to_owned());
    wanted.sort_unstable();
    let hands = "ipvsadm -d -t 192.0.2.200:80 -r 10.0.0.1:80 && ipvsadm -e -t 10.0.0.200:80 -r 10.0.0.2:80 -g -w 9 && \
                 ipvsadm -E -t 10.0.0.201:80 -s wlc && ipvsadm -D -f 9 && \
                 ipvsadm -a -t 10.0.0.200:80 -r 10.0.0.9:80 -g";
    guest.must(&format!("ipvsadm {FOREIGN} && {hands}"))?;
    report.put_right_ms = guest.wait_for_table("after others' hands", &wanted)?;
    for words in [
        "somebody deleted the real server 10.0.0.1:80 of TCP 192.0.2.200:80",
        "somebody changed the real server 10.0.0.2:80 of TCP 10.0.0.200:80",
        "somebody changed the virtual server TCP 10.0.0.201:80",
        "somebody deleted the virtual server fwmark 9",
        "somebody added the real server 10.0.0.9:80 to TCP 10.0.0.200:80",
    ] {
        guest.expect("it is said", &format!("grep -q '{words}' /run/log"))?;
    }
    let alert = "alert servers-changed-by-others";
    guest.wait_for("an alert", &format!("grep -q '{alert}: somebody .*; somebody ' /run/log"))?;
    guest.wait_for("its end after a quiet look", &format!("grep -q '{alert} is over' /run/log"))
}

/// The configuration that is reloaded.
fn other() -> String {
    let config = CONFIG.replace("lb_algo rr\n", "lb_algo wlc\n");
    let config = config.replace("real_server 10.0.0.2 80 { weight 1 }", "real_server 10.0.0.2 80 { weight 4 }");
    config.replace("virtual_server 192.0.2.200 306 {", "virtual_server 192.0.2.200 307 {")
}

/// Another scheduler, another weight, a virtual server less and one more, while a client asks.
fn reload(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    const COUNT: u8 = 40;
    guest.must(&format!(
        "(sh /lvs/flow 192.0.2.200 {COUNT} >/run/flow 2>&1; echo end >>/run/flow) </dev/null >/dev/null 2>&1 &"
    ))?;
    guest.configure("b.conf")?;
    let table = TABLE
        .replace("-A -t 192.0.2.200:80 -s rr", "-A -t 192.0.2.200:80 -s wlc")
        .replace("-a -t 192.0.2.200:80 -r 10.0.0.2:80 -m -w 1", "-a -t 192.0.2.200:80 -r 10.0.0.2:80 -m -w 4")
        .replace("192.0.2.200:306", "192.0.2.200:307");
    let mut wanted = lines(&format!("{table}\n{FOREIGN}"));
    guest.wait_for_table("a reload", &wanted)?;
    guest.expect("it is taken over in place", "grep -q 'reload: taken over' /run/log")?;
    guest.expect("nothing else was touched", "! grep -q 'MASTER -> ' /run/log && ! grep -q 'Master -> ' /run/log")?;
    guest.wait_for("the client's end", "grep -q end /run/flow")?;
    let [first, second, failed] = answers(&guest.must("cat /run/flow")?);
    report.reload = [first + second, failed];
    if failed > 0 || first + second != usize::from(COUNT) {
        guest.violations.push(format!("a reload: {} of {COUNT} answers, {failed} failures", first + second));
    }
    guest.configure("a.conf")?;
    wanted = lines(&format!("{TABLE}\n{FOREIGN}"));
    guest.wait_for_table("a reload back", &wanted).map(drop)
}

/// The real servers of one virtual server are looked at each second, and another machine stands in for both.
fn checked() -> String {
    const CHECK: &str = "TCP_CHECK {\n            connect_timeout 2\n            delay_before_retry 1\n        }";
    let text = CONFIG.replacen("lb_kind NAT\n", "lb_kind NAT\n    delay_loop 1\n    sorry_server 10.0.0.253 80\n", 1);
    ["10.0.0.1", "10.0.0.2"].into_iter().fold(text, |text, server| {
        let checked = format!("real_server {server} 80 {{\n        weight 1\n        {CHECK}\n    }}");
        text.replacen(&format!("real_server {server} 80 {{ weight 1 }}"), &checked, 1)
    })
}

/// A real server whose line is cut leaves the table, and comes back; where both are gone, the sorry server stands in.
fn health(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    let all = lines(&format!("{TABLE}\n{FOREIGN}"));
    let is_of = |server: u8| format!("-a -t 192.0.2.200:80 -r 10.0.0.{server}:80 -m -w 1");
    let without = |gone: &[u8]| -> Vec<String> {
        let gone: Vec<String> = gone.iter().map(|server| is_of(*server)).collect();
        all.iter().filter(|line| !gone.contains(line)).cloned().collect()
    };
    let cut = |server: u8| format!("/sbin/ip -n rs{server} link set back down");
    let mend = |server: u8| {
        format!("/sbin/ip -n rs{server} link set back up && /sbin/ip -n rs{server} route add default via 10.0.0.254")
    };
    guest.configure("c.conf")?;
    guest.wait_for_table("servers that are well", &all)?;
    guest.must(&cut(1))?;
    let gone = guest.wait_for_table("a server that is cut off", &without(&[1]))?;
    let [first, second, failed] = guest.requests("192.0.2.200", 4)?;
    if [first, second, failed] != [0, 4, 0] {
        guest.violations.push(format!("one server is cut off: {first} and {second} answers of 4, {failed} failures"));
    }
    guest.must(&cut(2))?;
    let mut sorry = without(&[1, 2]);
    sorry.push(is_of(253));
    sorry.sort_unstable();
    guest.wait_for_table("the sorry server", &sorry)?;
    guest.must(&mend(2))?;
    guest.wait_for_table("one of both is back", &without(&[1]))?;
    guest.must(&mend(1))?;
    let back = guest.wait_for_table("both are back", &all)?;
    report.checked_ms = [gone, back];
    guest.configure("a.conf")?;
    guest.wait_for_table("without checks", &all).map(drop)
}

/// What is closed is forgotten soon.
fn drained() -> String {
    CONFIG.replace("tcpfin 100", "tcpfin 5")
}

/// A real server that is emptied gets no new connections from any of its virtual servers, and keeps the one that it has
/// until that ends; whether it is empty the kernel says.
fn drain(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    const LINES: usize = 20;
    guest.configure("d.conf")?;
    guest.wait_for("shorter times", "ipvsadm -L --timeout | grep -q '1000 5 50'")?;
    guest.must(&format!("(sh /lvs/hold {LINES} >/run/held 2>&1 </dev/null &)"))?;
    guest.wait_for("a connection", "test $(wc -l </run/held) -ge 3")?;
    let which = "ipvsadm -Lcn | sed -n 's/.*ESTABLISHED.*10.0.0.200:7 *10.0.0.\\([12]\\):7.*/\\1/p' | head -n 1";
    let which = guest.must(which)?.trim().to_owned();
    let mut wanted = [0, 4, 0];
    if which == "2" {
        wanted.swap(0, 1);
    }
    let server = format!("10.0.0.{which}");
    guest.expect("a real server of many virtual servers", &format!("keepone drain {server} >/run/drain"))?;
    guest.expect("all of them", "test $(grep -c 'gets no new connections' /run/drain) -ge 4")?;
    let found = guest.requests("192.0.2.200", 4)?;
    if found != wanted {
        guest.violations.push(format!("while {server} is emptied: {found:?} instead of {wanted:?}"));
    }
    let left = "1 active and [0-9]* inactive connections left";
    guest.expect("what is left", &format!("keepone servers | grep -q '{server}.*draining.*{left}'"))?;
    let of = format!("keepone drain {server} --of 10.0.0.200:7 --wait --timeout");
    guest.expect("it is not empty yet", &format!("! {of} 1 >/run/drain && grep -q '{left}' /run/drain"))?;
    let begin = clock::now();
    guest.expect("it is empty", &format!("{of} 50 >/run/drain && grep -q 'it is empty' /run/drain"))?;
    report.drained.0 = clock::now().saturating_sub(begin) / 1_000_000;
    guest.expect("the kernel says so", &format!("ipvsadm -Ln | grep -q '{server}:7 *Route *0 *0 *0 *$'"))?;
    report.drained.1 = guest.held(LINES, "a connection of a real server that is emptied")?;
    guest.expect("it is filled again", &format!("keepone drain {server} --undo"))?;
    guest.configure("a.conf")?;
    guest.wait_for_table("nobody is emptied", &lines(&format!("{TABLE}\n{FOREIGN}"))).map(drop)
}

/// A worker that dies leaves the table as it is, and the next one finds nothing to do: a connection outlives it.
fn worker(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    const LINES: usize = 15;
    guest.must(&format!("(sh /lvs/hold {LINES} >/run/held 2>&1 </dev/null &)"))?;
    guest.wait_for("a connection", "test $(wc -l </run/held) -ge 3")?;
    guest.must("cat /run/log >>/run/former; : >/run/log; . /lvs/who; kill -9 $(worker)")?;
    let wanted = lines(&format!("{TABLE}\n{FOREIGN}"));
    for _ in 0..10 {
        if guest.table()? != wanted {
            guest.violations.push("a dead worker: the table is another one".to_owned());
            break;
        }
    }
    guest.wait_for("a new worker", "ip addr show br0 | grep -q 10.0.0.200")?;
    guest.wait_for("its sync daemon", "ipvsadm -L --daemon | grep -q master")?;
    report.held_by_a_new_worker = guest.held(LINES, "a connection across a worker's death")?;
    guest.expect("it makes differences only", "! grep -q 'ipvs: [acd].* \\(real\\|virtual\\) server' /run/log")
}

/// At the end ours go, and others' stay; the other director, which has heard of the connection, goes on with it.
fn end(guest: &mut Guest, report: &mut Report) -> Result<(), Error> {
    const LINES: usize = 25;
    guest.must("sed 's/priority 100/priority 90/' /lvs/a.conf >/lvs/other.conf")?;
    // With directories of its own.
    let own = "mount -t tmpfs run /run; mount -t bpf bpf /sys/fs/bpf; exec keepone run -c /lvs/other.conf";
    guest.must(&format!("(nsenter -n/run/netns/other unshare -m sh -c '{own}' >/tmp/other 2>&1 </dev/null &)"))?;
    let other = "nsenter -n/run/netns/other ipvsadm";
    guest.wait_for(
        "a Backup listens",
        &format!("{other} -L --daemon | grep -q 'backup sync daemon (mcast=br0, syncid=7'"),
    )?;
    guest.wait_for("the same table there", &format!("test $({other} -Sn | wc -l) = {}", report.lines))?;
    guest.must(&format!("(sh /lvs/hold {LINES} >/run/held 2>&1 </dev/null &)"))?;
    guest.wait_for("a connection", "test $(wc -l </run/held) -ge 6")?;
    guest.wait_for("it is told of", &format!("{other} -Lcn | grep -q 'ESTABLISHED.*10.0.0.200:7 '"))?;
    guest.must("kill -TERM $(cat /guardian)")?;
    guest.wait_for("the end", "! kill -0 $(cat /guardian)")?;
    guest.wait_for_table("the end", &lines(FOREIGN))?;
    guest.expect("no sync daemon stays", "test -z \"$(ipvsadm -L --daemon)\"")?;
    guest.wait_for("the other one sends", &format!("{other} -L --daemon | grep -q 'master sync daemon'"))?;
    report.held_by_the_other = guest.held(LINES, "a connection across a failover")?;
    let log = guest.must("cat /run/former /run/log /tmp/other")?;
    let panics = log.lines().filter(|line| line.contains("panicked"));
    let panics: Vec<String> = panics.map(str::to_owned).collect();
    guest.violations.extend(panics);
    Ok(())
}
