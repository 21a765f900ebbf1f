//! The document.

use std::fmt::Write as _;

use super::{COMMANDS, Moment, Told, seconds};

const HEAD: &str = "# What `keepone why` says

Made by `keepone-chaos why --out docs/why.md`, on real packets: do not edit. A test checks that each inequality in it is true,
and that `why` and `status` agree.

For each of the scenarios of `keepone-chaos list` that everybody asks about, what each node says shortly before the repair,
and when all is over. n1 is the MASTER of the beginning, n2 the other node, w the witness; the lease is 500 ms, a heartbeat
100 ms.

`status` says what a node is, and which alerts stand, with what to do. `why` begins with the same, in a sentence; then comes
the row of the decision: five words into which the evidence is folded, and what follows from them; then the evidence, with
its numbers. Where a number decides, the line is an inequality. A line with `SILENT`, `DOWN`, `FAILED` or a comparison that is
not what one would wish for is where to look.

| | |
|---|---|
| `D` | the deadline: until then the voters have lent to this node, counted from when it asked |
| `L_h` | how long one grant counts for who got it, from when it asked: the lease, less the margins |
| `L_a` | the lease: so long a voter lends to a node from when it has heard it |
| `m·h` | the heartbeats that may be missing: a peer that is not heard for longer is silent |
| `Master_Down_Interval` | how long a router that only speaks VRRP would wait for the next Advertisement |
";

/// The document, of all that was told.
pub fn page(told: &[Told]) -> String {
    let mut page = String::from(HEAD);
    told.iter().for_each(|told| one(told, &mut page));
    page
}

fn one(told: &Told, page: &mut String) {
    let scenario = &told.scenario;
    let _ = write!(page, "\n## {}\n\n{}.\n\n", scenario.name, scenario.what);
    let mut done: Vec<String> =
        scenario.course().iter().map(|step| format!("- {} s: {}\n", seconds(step.at_ms), step.label)).collect();
    // Steps of one instant share a label.
    done.dedup();
    page.push_str(&done.concat());
    let outcome = &told.outcome;
    let _ = writeln!(
        page,
        "\nOn the wire: two holders for {:.0} ms; the longest that a client was not answered: {:.0} ms.",
        outcome.dual_holder_wire_ms, outcome.client_outage_ms
    );
    let is_repaired = told.moments.iter().any(|moment| moment.is_over);
    for moment in &told.moments {
        let when = match (is_repaired, moment.is_over) {
            (false, _) => "nothing is repaired",
            (true, false) => "before the repair",
            (true, true) => "repaired",
        };
        spoken(moment, when, page);
    }
}

fn spoken(moment: &Moment, when: &str, page: &mut String) {
    let _ = writeln!(page, "\nAfter {} s, {when}:", seconds(moment.at_ms));
    for said in &moment.said {
        page.push_str("\n```\n");
        for (words, answer) in COMMANDS.iter().zip(&said.answers) {
            let _ = writeln!(page, "{}# keepone {}\n{}", said.node, words.join(" "), answer.trim_end());
        }
        page.push_str("```\n");
    }
}
