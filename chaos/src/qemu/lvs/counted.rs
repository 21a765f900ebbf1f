//! What the agent says of connections, beside ipvsadm.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::guest::Guest;
use crate::netns::clock;
use crate::netns::error::Error;

/// The agent looks at the table every five seconds; wide, as a guest may be slow.
const SOON: Duration = Duration::from_secs(30);

/// Active and inactive connections, and connections since the entry is there, by virtual and real server (`10.0.0.1:80`).
pub(super) type Counted = BTreeMap<(String, String), [u64; 3]>;

/// Waits until both say the same while nothing happens; what that is. Marks, groups and UDP are left out.
pub(super) fn alike(guest: &mut Guest, what: &str) -> Result<Counted, Error> {
    let begin = clock::now();
    loop {
        let mut kernel = of_ipvsadm(&guest.must("ipvsadm -Ln")?, &guest.must("ipvsadm -Ln --stats --exact")?);
        let ours = of_agent(&guest.must("keepone servers --json")?);
        // The addresses of a group are one virtual server of the agent's.
        kernel.retain(|(service, _), _| ours.keys().any(|(of, _)| of == service));
        if ours == kernel && !kernel.is_empty() {
            scraped(guest, what, &kernel)?;
            return Ok(kernel);
        }
        if clock::now().saturating_sub(begin) > SOON.as_nanos().try_into().unwrap_or(u64::MAX) {
            guest.violations.push(format!("{what}: counted {ours:#?}, and the kernel has {kernel:#?}"));
            return Ok(kernel);
        }
        thread::sleep(Duration::from_secs(1));
    }
}

/// The metrics are of the same look.
fn scraped(guest: &mut Guest, what: &str, kernel: &Counted) -> Result<(), Error> {
    let text = guest.must("keepone metrics")?;
    let named = |name: &str| format!("[{}", name.replacen(':', "]:tcp:", 1));
    for ((of, real), [active, inactive, all]) in kernel {
        let labels = format!("{{virtual_server=\"{}\",real_server=\"{}\"}}", named(of), named(real));
        for (family, count) in
            [("active_connections", active), ("inactive_connections", inactive), ("connections_total", all)]
        {
            let line = format!("keepone_real_server_{family}{labels} {count}");
            if !text.lines().any(|found| found == line) {
                guest.violations.push(format!("{what}: the metrics have no {line}"));
            }
        }
    }
    Ok(())
}

/// Of `ipvsadm -Ln` and `ipvsadm -Ln --stats`, which have the same lines in the same order.
fn of_ipvsadm(now: &str, ever: &str) -> Counted {
    let connections = |line: &str| line.split_whitespace().nth(2).and_then(|count| count.parse().ok());
    let mut service = None;
    let mut counted = Counted::new();
    for (line, ever) in now.lines().zip(ever.lines()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["TCP", address, ..] => service = Some((*address).to_owned()),
            ["->", real, _, _, active, inactive] => {
                if let (Some(service), Ok(active), Ok(inactive), Some(all)) =
                    (&service, active.parse(), inactive.parse(), connections(ever))
                {
                    counted.insert((service.clone(), (*real).to_owned()), [active, inactive, all]);
                }
            }
            _ => service = None,
        }
    }
    counted
}

fn of_agent(answer: &str) -> Counted {
    let answer: Value = serde_json::from_str(answer).unwrap_or_default();
    let list = |of: &Value, what: &str| of.get(what).and_then(Value::as_array).cloned().unwrap_or_default();
    let mut counted = Counted::new();
    for service in list(&answer, "virtual_servers") {
        for server in list(&service, "real_servers") {
            let number = |path: &str| server.pointer(path).and_then(Value::as_u64);
            let counts = ["/connections/active", "/connections/inactive", "/traffic/connections"].map(number);
            if let ([Some(active), Some(inactive), Some(all)], Some(of), Some(real)) =
                (counts, plain(&service), plain(&server))
            {
                counted.insert((of, real), [active, inactive, all]);
            }
        }
    }
    counted
}

/// `[10.0.0.1]:tcp:80`, as ipvsadm writes it.
fn plain(of: &Value) -> Option<String> {
    let (address, port) = of.get("name")?.as_str()?.strip_prefix('[')?.split_once("]:tcp:")?;
    Some(format!("{address}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_are_read_alike() {
        let now = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\n\
                   TCP  192.0.2.200:80 rr\n  -> 10.0.0.1:80                  Masq    1      2          3         \n\
                   FWM  9 wlc\n  -> 10.0.0.2:0                   Route   1      1          1         \n";
        let ever = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\n\
                    TCP  192.0.2.200:80                     7       36       24     2400     2100\n  -> 10.0.0.1:80                         5       18       12     1200     1050\n\
                    FWM  9                                  1        1        1        1        1\n  -> 10.0.0.2:0                         1       1       1     1     1\n";
        let wanted = Counted::from([(("192.0.2.200:80".to_owned(), "10.0.0.1:80".to_owned()), [2, 3, 5])]);
        assert_eq!(of_ipvsadm(now, ever), wanted);
        let answer = serde_json::json!({ "virtual_servers": [
            { "name": "[192.0.2.200]:tcp:80", "real_servers": [
                { "name": "[10.0.0.1]:tcp:80", "connections": { "active": 2, "inactive": 3, "kept": 0 }, "traffic": { "connections": 5 } },
                { "name": "[10.0.0.9]:tcp:80", "connections": null, "traffic": null } ] },
            { "name": "FWM 9", "real_servers": [
                { "name": "[10.0.0.2]:tcp:0", "connections": { "active": 1, "inactive": 1 }, "traffic": { "connections": 1 } } ] },
            { "name": "[192.0.2.200]:udp:53", "real_servers": [] } ] });
        assert_eq!(of_agent(&answer.to_string()), wanted);
    }
}
