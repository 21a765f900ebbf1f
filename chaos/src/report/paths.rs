//! Which paths a scenario had cut when: the ground truth that a timeline shows beside what was seen.

use crate::fault::{Class, Fault, Network, Who};
use crate::netns::record::Record;
use crate::scenario::Scenario;
use crate::spans::Spans;

/// A path between two machines, or of one protocol between them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path {
    /// As the timeline names it.
    pub name: String,
    /// When it was cut, in one direction at least.
    pub cut: Spans,
}

/// One path as the faults touch it.
struct Kind {
    name: String,
    ends: (Who, Who),
    network: Network,
    class: Class,
}

impl Kind {
    fn is_cut_by(&self, fault: &Fault) -> bool {
        let Fault::Drop { from, to, on, class, .. } = fault else { return false };
        let ends = (*from, *to) == self.ends || (*to, *from) == self.ends;
        let class = *class == Class::All || *class == self.class;
        ends && class && on.covers(self.network)
    }

    /// A machine that stands still reaches nobody.
    fn stands_still(&self, fault: &Fault) -> Option<bool> {
        match fault {
            Fault::Pause { who } if self.has_end(*who) => Some(true),
            Fault::Resume { who } if self.has_end(*who) => Some(false),
            Fault::Kill { who: Who::Witness, .. } if self.has_end(Who::Witness) => Some(true),
            Fault::Start { who: Who::Witness } if self.has_end(Who::Witness) => Some(false),
            _ => None,
        }
    }

    fn has_end(&self, who: Who) -> bool {
        self.ends.0 == who || self.ends.1 == who
    }
}

fn kinds(record: &Record, heartbeats: u8, witness: bool) -> Vec<Kind> {
    let name = |node: usize| record.nodes.get(node).map_or("?", |node| node.name.as_str()).to_owned();
    let backup = usize::from(record.first_holder == 0);
    let pair = (Who::Master, Who::Backup);
    let mut kinds = vec![Kind { name: "VRRP".to_owned(), ends: pair, network: Network::Lan, class: Class::Vrrp }];
    kinds.extend((0..heartbeats).map(|number| {
        let network = Network::Heartbeat(number);
        Kind { name: format!("heartbeat {network}"), ends: pair, network, class: Class::All }
    }));
    if witness {
        for (who, node) in [(Who::Master, record.first_holder), (Who::Backup, backup)] {
            let ends = (who, Who::Witness);
            let name = format!("witness – {}", name(node));
            kinds.push(Kind { name, ends, network: Network::Witness, class: Class::All });
        }
    }
    kinds
}

/// The paths of a run's cluster and when each was cut; `heartbeats` and `witness` say which it has.
pub fn of(scenario: &Scenario, record: &Record, heartbeats: u8, witness: bool) -> Vec<Path> {
    let paths = kinds(record, heartbeats, witness).into_iter().map(|kind| {
        let (mut pairs, mut dropped, mut still): (Vec<(u64, u64)>, Option<u64>, Option<u64>) = (Vec::new(), None, None);
        for step in scenario.steps {
            let at = record.begin + record.shift + step.at_ms * 1_000_000;
            match kind.stands_still(&step.fault) {
                Some(true) => still = still.or(Some(at)),
                Some(false) => pairs.extend(still.take().map(|since| (since, at))),
                None if kind.is_cut_by(&step.fault) => dropped = dropped.or(Some(at)),
                None if step.fault == Fault::Heal => pairs.extend(dropped.take().map(|since| (since, at))),
                None => {}
            }
        }
        pairs.extend(dropped.into_iter().chain(still).map(|since| (since, record.end)));
        Path { name: kind.name, cut: Spans::from_pairs(pairs) }
    });
    paths.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::record::NodeRecord;
    use crate::scenario;

    #[test]
    fn a_cut_of_everything_shows_on_every_line_between_the_nodes_until_the_heal() {
        let node = |name: &str| NodeRecord { name: name.to_owned(), ..NodeRecord::default() };
        let record = Record { nodes: vec![node("n1"), node("n2")], end: 13_000_000_000, ..Record::default() };
        let scenario = scenario::find("cut-all-heartbeats").unwrap();
        let paths = of(scenario, &record, 2, true);
        let cut: Vec<u64> = paths.iter().map(|path| path.cut.total() / 1_000_000_000).collect();
        assert_eq!(cut, [8, 8, 8, 0, 0]);
        assert_eq!(paths[4].name, "witness – n2");
    }
}
