//! That the reading keeps up with the largest files; what the checks say is tested in `tests/checks`.

use std::path::Path;
use std::time::{Duration, Instant};

use super::check;
use crate::diagnostic::Report;
use crate::keepalived::{Parsing, parse};
use crate::lower::lower;

/// About a kilobyte each, with four real servers.
fn director(services: u32) -> String {
    let mut text =
        String::from("vrrp_instance A {\n interface eth0\n virtual_router_id 1\n virtual_ipaddress { 10.0.0.1 }\n}\n");
    for n in 0..services {
        let [_, b, c, d] = n.to_be_bytes();
        text.push_str(&format!(
            "virtual_server 10.{b}.{c}.{d} 443 {{\n    delay_loop 10\n    lvs_sched wrr\n    lvs_method DR\n"
        ));
        text.push_str("    persistence_timeout 300\n    protocol TCP\n    quorum 2\n    sorry_server 10.255.0.9 443\n");
        for real in 1..=4 {
            text.push_str(&format!(
                "    real_server 172.{real}.{c}.{d} 443 {{\n        weight {real}\n        inhibit_on_failure\n        \
                 TCP_CHECK {{\n            connect_port 443\n            connect_timeout 3\n            retry 2\n            \
                 delay_before_retry 1\n        }}\n    }}\n"
            ));
        }
        text.push_str("}\n");
    }
    text
}

/// How long lowering and checking take.
fn measure(services: u32) -> Duration {
    let text = director(services);
    let mut report = Report::default();
    let file = report.sources.add(String::from("k.conf"), &text);
    let begun = Instant::now();
    let items = parse(&mut report, file, Path::new("k.conf"), &Parsing::default()).unwrap();
    let parsed = begun.elapsed();
    let (raw, inactive) = lower(&mut report, &items);
    let lowered = begun.elapsed() - parsed;
    let config = check(&mut report, &raw, inactive).unwrap();
    let took = begun.elapsed() - parsed;
    println!("{} bytes: parsed in {parsed:?}, lowered in {lowered:?}, lowered and checked in {took:?}", text.len());
    assert_eq!(config.virtual_servers.len(), usize::try_from(services).unwrap());
    assert!(report.diagnostics.len() < 5, "what is not yet active is named once");
    took
}

#[test]
fn ten_thousand_virtual_servers_are_read_and_checked_in_time() {
    // Built for debugging it takes longer, and a tenth shows as well that nothing is quadratic.
    let (services, bound) =
        if cfg!(debug_assertions) { (1_000, Duration::from_secs(2)) } else { (10_000, Duration::from_millis(500)) };
    let least = (0..3).map(|_| measure(services)).min().unwrap();
    assert!(least < bound, "{least:?}, where {bound:?} are allowed");
}
