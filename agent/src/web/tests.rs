//! The page as made from a status.

use std::time::Duration;

use serde_json::{Value, json};

use super::recent::Recent;
use super::{headline, parts};

fn domain(name: &str, role: &str, holder: Value, by: Value) -> Value {
    json!({ "name": name, "role": role, "holder": holder, "holder_by": by, "for_ms": 61_000.0, "what": "it is elected",
        "lease_ms": 400.0, "lease_length_ms": 450.0, "epoch": "1-1-a-1", "instances": [{ "addresses": [name] }] })
}

fn status(domains: Vec<Value>) -> Value {
    json!({ "node": "n1", "at_ns": 1, "maintenance": false, "gate_passes": true, "domains": domains, "alerts": [],
        "voters": [{ "name": "w", "answers": true, "answered_ms": 3.0 }],
        "peers": [{ "name": "n2", "silent": false, "heard_ms": 3.0, "links": [
            { "name": "hb0", "up": true, "heard_ms": 3.0 }, { "name": "hb1", "up": false, "heard_ms": null } ] }] })
}

fn page(status: &Value, servers: &Value) -> Vec<(&'static str, String)> {
    let recent = Recent::new(std::path::Path::new("/nowhere"));
    let parts = parts("keepone on n1", status, servers, &recent, Duration::from_secs(7200));
    parts.into_iter().map(|part| (part.id, part.html.as_str().to_owned())).collect()
}

#[test]
fn no_name_of_a_configuration_or_a_peer_breaks_out() {
    let bad = "\"><script>x</script>";
    let mut all = status(vec![domain(bad, bad, json!(bad), json!("heartbeat"))]);
    all["node"] = bad.into();
    all["peers"] = json!([{ "name": bad, "links": [{ "name": bad }] }]);
    all["voters"] = json!([{ "name": bad }]);
    all["alerts"] =
        json!([{ "name": bad, "domain": bad, "severity": bad, "what": bad, "evidence": bad, "remedy": bad }]);
    let servers = json!({ "virtual_servers": [
        { "name": bad, "real_servers": [{ "name": bad, "fault": bad }] }, { "name": bad, "real_servers": [] } ] });
    for (id, html) in page(&all, &servers) {
        assert!(!html.contains("<script"), "{id}: {html}");
    }
}

#[test]
fn the_headline_says_who_holds_what_and_what_is_wrong() {
    let text = |status: &Value| headline::html("", status).as_str().replace("<h1></h1>", "");
    let held = |name: &str, by: &str| domain(name, "BACKUP", json!(by), json!("heartbeat"));
    let good = status(vec![held("A", "n1"), held("B", "n2"), held("C", "n1")]);
    assert_eq!(
        text(&good),
        "<p class=\"headline\">n1 holds A and C and n2 holds B.</p><p>Down: hb1 to n2. No alerts.</p>"
    );
    let mut bad = status(vec![held("A", "n1"), domain("B", "FENCED", json!(null), json!(null))]);
    bad["peers"][0]["silent"] = true.into();
    bad["gate_passes"] = false.into();
    bad["maintenance"] = true.into();
    bad["alerts"] = json!([{}, {}]);
    assert_eq!(
        text(&bad),
        "<p class=\"headline\">Nobody is known to hold B. n1 holds A.</p><p>This node is in maintenance: it stands for \
         nothing. n2 is silent. The gate FAILS its test. 2 alerts stand.</p>"
    );
}

#[test]
fn of_a_thousand_instances_those_that_need_looking_at_come_first_and_the_page_stays_a_page() {
    let all = (0..1000).map(|n| match n {
        700 => domain("bad", "FAULT", json!("n2"), json!("heartbeat")),
        n => domain(&format!("VI_{n:03}"), "MASTER", json!("n1"), json!("gate")),
    });
    let page = page(&status(all.collect()), &Value::Null);
    let part = |id: &str| page.iter().find(|(found, _)| *found == id).map(|(_, html)| html.as_str()).unwrap();
    let rows: Vec<&str> = part("domains").split("<tr data-key=\"").skip(1).collect();
    assert!(rows.len() == 100 && rows[0].starts_with("bad\""), "{}", rows.len());
    assert!(part("domains").contains("and 900 more"));
    assert!(part("headline").contains("n1 holds 999 instances"), "{}", part("headline"));
    let octets: usize = page.iter().map(|(_, html)| html.len()).sum();
    assert!(octets < 200_000, "{octets}");
    assert_eq!(part("servers"), "");
}
