//! Routes and rules of a Master that need more of the kernel than every one has: a VRF's, and `encap` of MPLS and ILA. They are
//! compared with iproute2's word.

use std::fmt::Write;

use super::Guest;
use crate::netns::error::Error;

/// A line of the configuration, how iproute2 shows it, and by which words it is asked.
const ROUTES: [(&str, &str, &str); 8] = [
    ("10.20.0.0/24 via 10.0.1.2 dev e0 vrf red", "10.20.0.0/24 via 10.0.1.2 dev e0", "-4 route show vrf red proto 18"),
    (
        "10.21.0.0/24 via 10.0.1.2 dev e0 vrf red metric 5",
        "10.21.0.0/24 via 10.0.1.2 dev e0 metric 5",
        "-4 route show vrf red proto 18",
    ),
    ("blackhole 10.22.0.0/24 vrf red", "blackhole 10.22.0.0/24", "-4 route show vrf red proto 18"),
    (
        "fd20::/64 via fd00:1::2 dev e0 vrf red",
        "fd20::/64 via fd00:1::2 dev e0 metric 1024 pref medium",
        "-6 route show vrf red proto 18",
    ),
    (
        "10.30.0.0/24 encap mpls 100/200 via 10.0.2.2 dev e1",
        "10.30.0.0/24 encap mpls 100/200 via 10.0.2.2 dev e1",
        "-4 route show proto 18",
    ),
    (
        "10.31.0.0/24 encap mpls 300 ttl 9 via 10.0.2.2 dev e1",
        "10.31.0.0/24 encap mpls 300 ttl 9 via 10.0.2.2 dev e1",
        "-4 route show proto 18",
    ),
    (
        "fd31::/64 encap mpls 400 via fd00:2::2 dev e1",
        "fd31::/64 encap mpls 400 via fd00:2::2 dev e1 metric 1024 pref medium",
        "-6 route show proto 18",
    ),
    (
        "fd32:0:0:1:2000:0:0:1/128 encap ila 2001:db8:0:1 via fd00:2::2 dev e1",
        "fd32::1:2000:0:0:1 encap ila 2001:db8:0:1 csum-mode no-action ident-type use-format hook-type output via fd00:2::2 dev e1 metric 1024 pref medium",
        "-6 route show proto 18",
    ),
];

const SETUP: &str = "set -e\nip() { /sbin/ip \"$@\"; }\nn() { ip -n node \"$@\"; }\nip netns add node\nip netns add client\n\
    n link set lo up\nn link add red type vrf table 100\nn link set red up\n\
    for k in 0 1; do ip link add e$k netns node type veth peer name c$k netns client; ip -n client link set c$k up; done\n\
    n link set e0 master red\n\
    for k in 0 1; do n link set e$k up; n addr add 10.0.$((k + 1)).1/24 dev e$k; n addr add fd00:$((k + 1))::1/64 dev e$k nodad; done\n";

pub(super) fn files() -> Vec<(String, String)> {
    let mut text =
        "vrrp_instance A {\n    interface e1\n    virtual_router_id 51\n    version 3\n    advert_int 0.3\n    \
                    virtual_ipaddress { 10.0.2.100/24 }\n    virtual_routes {\n"
            .to_owned();
    for (line, ..) in ROUTES {
        let _ = writeln!(text, "        {line}");
    }
    text.push_str("    }\n    virtual_rules {\n        from 10.0.9.0/24 table 100 preference 900\n    }\n}\n");
    vec![("routes.conf".to_owned(), text), ("routes.setup".to_owned(), SETUP.to_owned())]
}

pub(super) fn play(guest: &mut Guest) -> Result<(), Error> {
    guest.must("sh /vrrp/routes.setup")?;
    guest.must("run node keepone run -c /vrrp/routes.conf")?;
    guest.wait_for("a Master", "ip -n node addr show e1 | grep -q ' 10.0.2.100/24 '")?;
    guest.wait_for("its rules, which come last", "ip -n node rule | grep -q '^900:'")?;
    for (line, shown, command) in ROUTES {
        let there = guest.must(&format!("ip -n node {command}"))?;
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        // A shown route ends with what nobody asked for, such as `onlink` or the state of its link.
        if !there.lines().any(|route| words(route) == words(shown)) {
            guest.violations.push(format!("`{line}` is not `{shown}` among {:?}", there.trim()));
        }
    }
    guest.must("kill -TERM $(cat /tmp/node.pid)")?;
    guest.wait_for("the end", "! kill -0 $(cat /tmp/node.pid)")?;
    guest.expect("no route stays", "! ip -n node -4 route show table all proto 18 | grep . && ! ip -n node -6 route show table all proto 18 | grep .")?;
    guest.expect("no rule stays", "! ip -n node rule | grep '^900:'")?;
    guest.expect("no panic", "! grep panicked /tmp/node.log")?;
    guest
        .must("cat /tmp/node.log >/dev/console; for s in node client; do ip netns del $s; done; rm -f /tmp/*")
        .map(drop)
}
