//! What must hold of the document, however long things took when it was made.

use crate::netns::configuration::INSTANCE;
use crate::scenario::Scenario;

/// The two nodes of the cluster.
const NODES: [&str; 2] = ["n1", "n2"];
/// Signs that stand between two quantities.
const SIGNS: [char; 4] = ['<', '≤', '>', '≥'];

/// What does not hold of a document about these scenarios, in words; nothing: all does.
pub fn faults(page: &str, scenarios: &[&Scenario]) -> Vec<String> {
    let mut faults = Vec::new();
    for scenario in scenarios {
        let head = format!("\n## {}\n", scenario.name);
        let Some((_, rest)) = page.split_once(&head) else {
            faults.push(format!("{}: it has no section", scenario.name));
            continue;
        };
        let section = rest.split("\n## ").next().unwrap_or_default();
        faults.extend(of_section(section, scenario).into_iter().map(|fault| format!("{}: {fault}", scenario.name)));
    }
    faults
}

fn of_section(section: &str, scenario: &Scenario) -> Vec<String> {
    let mut faults = Vec::new();
    let is_repaired = scenario.course().iter().any(|step| step.fault.is_repair());
    let blocks: Vec<&str> = section.split("```\n").skip(1).step_by(2).collect();
    let wanted = NODES.len() * if is_repaired { 2 } else { 1 };
    if blocks.len() != wanted {
        faults.push(format!("{} blocks instead of {wanted}", blocks.len()));
    }
    for (block, node) in blocks.iter().zip(NODES.iter().cycle()) {
        faults.extend(of_block(block, node).into_iter().map(|fault| format!("{node}: {fault}")));
    }
    if !blocks.iter().any(|block| Why::of(block).is_some_and(|why| why.role == "MASTER")) {
        faults.push("nobody is MASTER".to_owned());
    }
    faults
}

/// One node at one moment: `status`, then `why`.
fn of_block(block: &str, node: &str) -> Vec<String> {
    let (status, why) = (format!("{node}# keepone status\n"), format!("{node}# keepone why {INSTANCE}\n"));
    let Some((status, told)) = block.strip_prefix(&status).and_then(|rest| rest.split_once(&why)) else {
        return vec![format!("it does not begin with {status:?} and go on with {why:?}")];
    };
    // Who is dead or stopped says so twice.
    if status.starts_with("keepone: ") || told.starts_with("keepone: ") {
        let alike = status.starts_with("keepone: ") == told.starts_with("keepone: ");
        return if alike { Vec::new() } else { vec!["only one of the commands was answered".to_owned()] };
    }
    let Some(why) = Why::of(block) else { return vec!["`why` does not begin as it should".to_owned()] };
    let mut faults = why.faults();
    match status.lines().find_map(|line| line.strip_prefix(INSTANCE)) {
        Some(row) if row.split_whitespace().next() == Some(why.role) => {}
        row => faults.push(format!("`why` says {}, `status` {row:?}", why.role)),
    }
    faults.extend(told.lines().filter_map(untrue));
    faults
}

/// What `why` said.
struct Why<'a> {
    role: &'a str,
    reason: &'a str,
    /// The row of the table: what each of the words is, and what follows.
    row: &'a str,
    evidence: Vec<&'a str>,
}

impl<'a> Why<'a> {
    fn of(block: &'a str) -> Option<Self> {
        let (_, told) = block.split_once(&format!("# keepone why {INSTANCE}\n"))?;
        let first = told.lines().next()?;
        let (role, rest) = first.strip_prefix(INSTANCE)?.split_once(": ")?.1.split_once(" for ")?;
        let reason = rest.rsplit_once(", ")?.1;
        let row = told.lines().find_map(|line| line.strip_prefix("the row that holds: "))?;
        let evidence = told.lines().skip_while(|line| *line != "evidence:").skip(1);
        let evidence = evidence.take_while(|line| line.starts_with("  ")).collect();
        Some(Why { role, reason, row, evidence })
    }

    fn is(&self, word: &str) -> bool {
        self.row.split(' ').any(|answer| answer == word)
    }

    /// Whether a line of the evidence that begins so has this sign.
    fn has(&self, begin: &str, sign: char) -> bool {
        self.evidence.iter().any(|line| line.trim_start().starts_with(begin) && line.contains(sign))
    }

    /// Where words and numbers do not agree, or numbers are missing.
    fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let mut demand = |holds: bool, words: &str| {
            if !holds {
                faults.push(format!("{words}: {} ({}): {:?}", self.role, self.row, self.evidence));
            }
        };
        demand(self.row.ends_with(&format!("→ {}", self.reason)), "the row leads elsewhere");
        demand((self.role == "MASTER") == self.is("lease=held"), "MASTER, and no lease, or a lease and no MASTER");
        if self.is("lease=held") {
            demand(self.has("lease: ", '>'), "a lease without its time");
            demand(self.has("voters: ", '≥'), "a lease without a majority");
        }
        // Each refusal has its inequality.
        if self.is("lease=unanswered") {
            demand(self.has("voters: ", '<'), "voters that do not answer, and do");
        }
        if self.is("lease=refused") {
            let refuses = |line: &&&str| line.contains(" refuses: ") && line.contains(SIGNS);
            demand(self.evidence.iter().any(|line| refuses(&line)), "a refusal without its numbers");
        }
        if self.is("peers=master") {
            let is_heard = |line: &&str| line.contains(" ≤ ") && line.contains("is MASTER");
            demand(self.evidence.iter().any(is_heard), "a MASTER among the peers, and none is heard");
        }
        let silent = self.evidence.iter().any(|line| line.contains("SILENT") && line.contains(" > "));
        demand(self.is("peers=silent") == silent, "silent peers, by the words or the numbers alone");
        let sign = if self.is("references=reachable") { '≥' } else { '<' };
        demand(self.has("references: ", sign), "references that answer, by the words or the numbers alone");
        faults
    }
}

/// A comparison in that line which does not hold.
fn untrue(line: &str) -> Option<String> {
    let at = line.find(SIGNS)?;
    let (left, rest) = line.split_at(at);
    let mut rest = rest.chars();
    let sign = rest.next()?;
    let words = |text: &'_ str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let (left, right) = (words(left), words(rest.as_str()));
    let left = (0..left.len()).rev().find_map(|place| quantity(left.get(place..)?));
    let (Some(left), Some(right)) = (left, quantity(&right)) else {
        return Some(format!("no two quantities around {sign}: {line}"));
    };
    let holds = match sign {
        '<' => left < right,
        '≤' => left <= right,
        '>' => left > right,
        _ => left >= right,
    };
    (!holds).then(|| format!("it is not so: {line}"))
}

/// What the first words say: a time in milliseconds, or a number.
fn quantity(words: &[String]) -> Option<f64> {
    let [number, rest @ ..] = words else { return None };
    let number: f64 = number.replace('−', "-").parse().ok()?;
    let unit = rest.first().map_or("", |unit| unit.trim_end_matches([',', ';', ':']));
    Some(if unit == "s" { number * 1000.0 } else { number })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::ASKED_ABOUT;

    fn kept() -> &'static str {
        include_str!("../../../docs/why.md")
    }

    fn all() -> Vec<&'static Scenario> {
        ASKED_ABOUT.iter().collect()
    }

    #[test]
    fn the_kept_document_holds() {
        assert_eq!(faults(kept(), &all()), Vec::<String>::new());
    }

    #[test]
    fn a_comparison_is_read_with_its_units_and_its_sign() {
        let true_ones = [
            "  lease: run out, D − now = −12.5 ms ≤ 0",
            "    w granted what was asked 1.013 s ago ≥ 469.999 ms = L_h",
            "  peer n2: SILENT, last heard 8.064 s ago > 300 ms = m·h, was BACKUP",
            "  voters: 2 answer ≥ 2 needed",
            "  gate: shut",
        ];
        assert_eq!(true_ones.iter().filter_map(|line| untrue(line)).collect::<Vec<_>>(), Vec::<String>::new());
        let false_ones = [
            "  lease: held, D − now = −12.5 ms > 0",
            "    w granted what was asked 1.013 s ago < 469.999 ms = L_h",
            "  voters: 1 answer ≥ 2 needed",
            "  voters: some answer ≥ 2 needed",
        ];
        assert_eq!(false_ones.iter().filter_map(|line| untrue(line)).count(), false_ones.len());
    }

    #[test]
    fn a_document_with_another_role_another_sign_or_without_a_block_is_seen() {
        let broken = |from: &str, to: &str| {
            assert!(kept().contains(from), "{from} is not in it");
            faults(&kept().replacen(from, to, 1), &all()).len()
        };
        assert!(broken("\n## witness-down\n", "\n## witness-up\n") > 0);
        assert!(broken("VI_1 on n1: MASTER for", "VI_1 on n1: BACKUP for") > 0);
        assert!(broken("answer ≥ 2 needed", "answer < 2 needed") > 0);
        assert!(broken("n2# keepone status\n", "n3# keepone status\n") > 0);
        assert!(broken("lease=unanswered →", "lease=refused →") > 0);
        assert!(broken("it refuses: ", "it is silent: ") > 0);
    }

    #[test]
    fn no_two_sections_are_of_one_scenario_and_none_is_of_another() {
        let heads: Vec<&str> = kept().lines().filter_map(|line| line.strip_prefix("## ")).collect();
        let names: BTreeSet<&str> = ASKED_ABOUT.iter().map(|scenario| scenario.name).collect();
        assert_eq!((heads.len(), heads.into_iter().collect::<BTreeSet<_>>()), (names.len(), names));
    }
}
