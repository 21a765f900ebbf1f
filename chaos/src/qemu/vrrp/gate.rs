//! The gate beneath and beside interfaces that stand on others: an agent that stands still must be silent on all of them.
//!
//! One node holds an address of each family on each kind of interface, talks in its name without end and is talked to. Then all
//! processes of its agent are stopped: within the time that the gate is opened for, the client's cables carry nothing more that
//! names one of the addresses, in IP, ARP or a Neighbor Advertisement, and the node is delivered nothing more for one.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::thread;
use std::time::Duration;

use super::Guest;
use crate::netns::error::Error;

/// A virtual router on one kind of interface. Construct number I of the set-up has the virtual addresses 10.0.I.100 and
/// fd00:I::100.
struct Construct {
    what: &'static str,
    number: u8,
    /// Of the instance.
    interface: &'static str,
    /// Of the client.
    client: &'static str,
    /// Further lines of the instance.
    own: &'static str,
    /// Whether talk has to name the interface, as its routes are not in the main table.
    bound: bool,
}

const fn on(what: &'static str, number: u8, interface: &'static str, client: &'static str) -> Construct {
    Construct { what, number, interface, client, own: "", bound: false }
}

const CONSTRUCTS: [Construct; 14] = [
    on("an interface", 1, "e7", "c7"),
    on("a VLAN", 2, "e0.10", "c0.10"),
    on("another VLAN of the trunk, with the same VRID", 3, "e0.20", "c0.20"),
    on("a VLAN whose tags are in the frame", 4, "e0.30", "c0.30"),
    on("a VLAN in a VLAN", 5, "e0.40.5", "c0.40.5"),
    Construct { own: "use_ipvlan ipv6", ..on("an ipvlan", 6, "e1", "c1") },
    Construct { bound: true, ..on("an interface of a VRF", 7, "e2", "c2") },
    Construct { bound: true, ..on("a VLAN of a VRF", 8, "e0.80", "c0.80") },
    on("a bond", 9, "bond0", "cb"),
    on("a VLAN on a bond", 10, "bond0.50", "cb.50"),
    on("a bridge", 11, "br0", "c5"),
    on("a VLAN on a bridge", 12, "br0.60", "c5.60"),
    Construct { own: "use_vmac vmac13\n    use_vmac_addr", ..on("a virtual MAC on a VLAN", 13, "e6.70", "c6.70") },
    Construct { own: "use_ipvlan ipv14", ..on("an ipvlan on a VLAN", 14, "e6.90", "c6.90") },
];

const SETUP: &str = include_str!("gate.setup");

/// How long after the stop frames may still come: the gate is opened 1.5 s ahead (m·h), and an emulated machine needs
/// time to stop the processes and to stamp the frames.
const GRACE_MS: u64 = 2500;
/// How long silence is listened for, and again after the client has forgotten who has the IPv6 addresses.
const SILENCE: Duration = Duration::from_millis(1500);

impl Construct {
    fn addresses(&self) -> [String; 2] {
        let number = self.number;
        [format!("10.0.{number}.100"), format!("fd00:{number}::100")]
    }

    fn instance(&self) -> String {
        let Construct { number, interface, own, .. } = self;
        let [four, six] = self.addresses();
        // The VLANs of the trunk have one number, as they would where each was set up by itself; all others have their own.
        let vrid = if (2..=5).contains(number) { 51 } else { 100 + number };
        format!(
            "vrrp_instance V{number} {{\n    interface {interface}\n    virtual_router_id {vrid}\n    version 3\n    \
             advert_int 0.5\n    priority 100\n    {own}\n    virtual_ipaddress {{ {four}/24 }}\n    \
             virtual_ipaddress_excluded {{ {six}/64 }}\n}}\n"
        )
    }
}

/// The configuration, the two lists of talks, and how the client asks by ARP.
pub(super) fn files() -> Vec<(String, String)> {
    let mut files = vec![("gate.setup".to_owned(), SETUP.to_owned())];
    for means in MEANS {
        let mut text = format!("gate {{\n    means {means}\n}}\nheartbeat {{\n    period 500ms\n}}\n");
        text.extend(CONSTRUCTS.iter().map(Construct::instance));
        files.push((format!("gate-{means}.conf"), text));
    }
    let (mut node, mut client, mut ask) = (String::new(), String::new(), String::new());
    for one in &CONSTRUCTS {
        let number = one.number;
        let [four, six] = one.addresses();
        let by = if one.bound { format!("/{}", one.interface) } else { String::new() };
        let _ = write!(node, "{four}/10.0.{number}.2{by} {six}/fd00:{number}::2{by} ");
        let _ = write!(client, "10.0.{number}.2/{four} fd00:{number}::2/{six} ");
        let _ = writeln!(ask, "arping -q -b -I {} {four} </dev/null >/dev/null 2>&1 &", one.client);
    }
    let watched: Vec<String> = CONSTRUCTS.iter().flat_map(Construct::addresses).collect();
    let start = format!(
        ". /vrrp/lib\n\
         there client keepone-chaos guest watch c0,c1,c2,c3,c4,c5,c6,c7 {} >>/tmp/wire 2>/tmp/wire.log </dev/null &\necho $! >/tmp/talkers\n\
         there node keepone-chaos guest talk {node} >>/tmp/node.heard 2>/tmp/node.talk </dev/null &\necho $! >>/tmp/talkers\n\
         there client keepone-chaos guest talk {client} >>/tmp/client.heard 2>/tmp/client.talk </dev/null &\necho $! >>/tmp/talkers\n\
         there client sh /vrrp/gate.ask\n",
        watched.join(",")
    );
    files.push(("gate.talk".to_owned(), start));
    files.push(("gate.ask".to_owned(), ask));
    files
}

/// The means that shut when the agent stands still.
pub(super) const MEANS: [&str; 2] = ["bpf", "nft"];

/// What was counted, by when, address and how it was named.
type Counts = BTreeMap<(String, String, String), u64>;

fn counts(said: &str) -> Counts {
    let one = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (count, rest) = words.split_last()?;
        let word = |at: usize| rest.get(at).copied().unwrap_or_default().to_owned();
        Some(((word(0), word(1), word(2)), count.parse().ok()?))
    };
    said.lines().filter_map(one).collect()
}

/// One means, with forwarding or without.
pub(super) fn play(guest: &mut Guest, means: &str, forwards: bool) -> Result<(), Error> {
    guest.must("sh /vrrp/gate.setup")?;
    let forward = u8::from(forwards);
    guest.must(&format!(
        "ip netns exec node sh -c 'for f in 4 6; do echo {forward} >/proc/sys/net/ipv$f/conf/all/forwarding; done'"
    ))?;
    guest.must(&format!("run node keepone run -c /vrrp/gate-{means}.conf"))?;
    guest.must("sh /vrrp/gate.talk")?;
    let all: Vec<String> = CONSTRUCTS.iter().flat_map(Construct::addresses).collect();
    // Each request costs an emulated machine a moment: one for all.
    let count = all.len();
    guest.wait_for("a Master of all", &format!("[ $(ip -n node addr | grep -c '100/') = {count} ]"))?;
    // From now on the client's neighbor cache keeps no IPv4 packet back.
    thread::sleep(Duration::from_millis(1500));
    guest.must(
        "ip -n client -4 neigh show | while read -r a _ d _ m _; do ip -n client neigh replace $a lladdr $m dev $d nud permanent; done",
    )?;
    guest.must(": >/tmp/wire; : >/tmp/node.heard; ip -n client -6 neigh flush all; ip -n client -6 neigh flush all")?;
    thread::sleep(Duration::from_millis(2500));
    let stop = guest.must("kill -STOP $(agents node); now")?.trim().parse::<u64>().unwrap_or(0);
    thread::sleep(Duration::from_millis(GRACE_MS) + SILENCE);
    guest.must("ip -n client -6 neigh flush all")?;
    thread::sleep(SILENCE);
    let end = guest.must("now; kill -CONT $(agents node)")?.trim().parse::<u64>().unwrap_or(0);
    let shut = stop + GRACE_MS * 1_000_000;
    let mut seen =
        [("wire", "on the wire"), ("node.heard", "delivered")].map(|(file, where_)| (file, where_, Counts::new()));
    for (file, _, found) in &mut seen {
        *found = counts(&guest.must(&format!("tally /tmp/{file} {stop} {shut} {end}"))?);
    }
    for one in &CONSTRUCTS {
        judge(guest, one, &seen);
    }
    after(guest, &all)
}

fn judge(guest: &mut Guest, one: &Construct, seen: &[(&str, &str, Counts); 2]) {
    let [four, six] = one.addresses();
    let [(_, _, wire), (_, _, delivered)] = seen;
    let kinds = [(&four, "ip"), (&four, "arp"), (&six, "ip"), (&six, "nd")];
    for (address, kind) in kinds {
        let count = |when: &str| {
            let of = |(key, count): (&(String, String, String), &u64)| {
                (key.0 == when && key.1 == *address && key.2 == kind).then_some(*count)
            };
            wire.iter().filter_map(of).sum::<u64>()
        };
        if count("before") == 0 {
            guest.violations.push(format!("{}: {address} was never named by {kind} while it was held", one.what));
        }
        if count("shut") > 0 {
            let shut = count("shut");
            guest.violations.push(format!("{}: {shut} frames named {address} by {kind} behind a shut gate", one.what));
        }
    }
    for address in [&four, &six] {
        let count = |when: &str| {
            let key = (when.to_owned(), address.clone(), String::new());
            delivered.get(&key).copied().unwrap_or(0)
        };
        if count("before") == 0 {
            guest.violations.push(format!("{}: nothing was delivered for {address} while it was held", one.what));
        }
        if count("shut") > 0 {
            let shut = count("shut");
            guest
                .violations
                .push(format!("{}: {shut} datagrams for {address} were delivered behind a shut gate", one.what));
        }
    }
}

/// An agent that goes on serves again; one that ends leaves no address and none of its interfaces.
fn after(guest: &mut Guest, all: &[String]) -> Result<(), Error> {
    guest.must(": >/tmp/client.heard")?;
    let count = all.len();
    guest.wait_for("it goes on", &format!("[ $(cut -d ' ' -f 2 /tmp/client.heard | sort -u | wc -l) = {count} ]"))?;
    guest.must("kill -TERM $(cat /tmp/node.pid)")?;
    guest.wait_for("the end", "! kill -0 $(cat /tmp/node.pid)")?;
    guest.expect("no address stays", "! ip -n node addr | grep '100/'")?;
    guest.expect("no interface stays", "! ip -n node link | grep 'ipv[0-9]\\|vmac'")?;
    guest.expect("no panic", "! grep panicked /tmp/node.log")?;
    guest.must("kill $(cat /tmp/talkers) $(pidof arping); for s in node client; do ip netns del $s; done; cat /tmp/node.log >/dev/console; rm -f /tmp/*")
        .map(drop)
}
