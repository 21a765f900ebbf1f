//! The results, for people and for programs.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::room::Lateness;
use super::{Disturbance, Kind, Means};

/// The middle, the ninety-ninth of a hundred and the greatest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Spread {
    /// How many were measured.
    pub n: usize,
    /// Half are at most this.
    pub p50: i64,
    /// 99 of 100 are at most this.
    pub p99: i64,
    /// All are at most this.
    pub max: i64,
}

impl Spread {
    /// Of some numbers; all zero of none.
    pub fn of(numbers: impl IntoIterator<Item = i64>) -> Self {
        let mut numbers: Vec<i64> = numbers.into_iter().collect();
        numbers.sort_unstable();
        // Nearest rank.
        let at = |hundredths: usize| numbers.get((numbers.len() * hundredths).div_ceil(100).saturating_sub(1));
        let at = |hundredths| at(hundredths).copied().unwrap_or(0);
        Spread { n: numbers.len(), p50: at(50), p99: at(99), max: at(100) }
    }
}

/// One means under one disturbance; lateness in nanoseconds.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// How the gate was made.
    pub means: Means,
    /// What was done.
    pub disturbance: Disturbance,
    /// How many runs.
    pub runs: u32,
    /// Of each run, the latest frame of any kind.
    pub all: Spread,
    /// Of each kind.
    pub kinds: BTreeMap<Kind, Spread>,
    #[serde(skip)]
    samples: Vec<Lateness>,
}

impl Row {
    pub(super) fn new(means: Means, disturbance: Disturbance) -> Self {
        Row { means, disturbance, runs: 0, all: Spread::of([]), kinds: BTreeMap::new(), samples: Vec::new() }
    }

    pub(super) fn add(&mut self, lateness: &Lateness) {
        self.runs += 1;
        self.samples.push(lateness.clone());
    }

    pub(super) fn finish(&mut self) {
        self.all = Spread::of(self.samples.iter().filter_map(|run| run.values().max().copied()));
        let of = |kind: Kind| Spread::of(self.samples.iter().filter_map(|run| run.get(&kind).copied()));
        self.kinds = Kind::ALL.into_iter().map(|kind| (kind, of(kind))).collect();
    }
}

/// What a renewal costs, ns.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// How the gate was made.
    pub means: Means,
    /// How long it took.
    pub renewal: Spread,
}

impl Cost {
    pub(super) fn of(means: Means, nanos: Vec<u64>) -> Self {
        Cost { means, renewal: Spread::of(nanos.into_iter().map(|nanos| i64::try_from(nanos).unwrap_or(i64::MAX))) }
    }
}

/// Everything.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Table {
    /// In the order in which they were measured.
    pub rows: Vec<Row>,
    /// One a means.
    pub costs: Vec<Cost>,
}

/// Milliseconds with three places.
struct Millis(i64);

/// A lateness: no less than what was waited for is "never".
struct Late(i64);

/// Less than is waited for under means 3, in ns, by what the end of a run may be off.
const NEVER: i64 = 5_900_000_000;

impl fmt::Display for Late {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 >= NEVER { f.pad("never") } else { Millis(self.0).fmt(f) }
    }
}

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let micros = (self.0.unsigned_abs() + 500) / 1000;
        let text = format!("{}{}.{:03}", if self.0 < 0 { "-" } else { "" }, micros / 1000, micros % 1000);
        f.pad(&text)
    }
}

impl fmt::Display for Table {
    /// Markdown, as in `docs/gate.md`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Lateness of the last frame of any kind, ms (negative: early; never: not within 6 s)\n")?;
        writeln!(f, "| means | the agent is | runs | p50 | p99 | max |\n|---|---|--:|--:|--:|--:|")?;
        for row in &self.rows {
            let Spread { p50, p99, max, .. } = row.all;
            let (means, what) = (row.means.as_str(), row.disturbance.as_str());
            writeln!(f, "| {means} | {what} | {} | {} | {} | {} |", row.runs, Late(p50), Late(p99), Late(max))?;
        }
        writeln!(f, "\nThe greatest lateness of each kind, over all disturbances, ms\n")?;
        let means: Vec<Means> = self.costs.iter().map(|cost| cost.means).collect();
        let names: Vec<&str> = means.iter().map(|means| means.as_str()).collect();
        writeln!(f, "| kind | {} |\n|---|{}", names.join(" | "), "--:|".repeat(means.len()))?;
        for kind in Kind::ALL {
            let greatest = |means: &Means| {
                let rows = self.rows.iter().filter(|row| row.means == *means);
                rows.filter_map(|row| row.kinds.get(&kind)).map(|spread| spread.max).max().unwrap_or(0)
            };
            let cells: Vec<String> = means.iter().map(|means| Late(greatest(means)).to_string()).collect();
            writeln!(f, "| {} | {} |", kind.as_str(), cells.join(" | "))?;
        }
        writeln!(f, "\nA renewal, us\n\n| means | renewals | p50 | p99 | max |\n|---|--:|--:|--:|--:|")?;
        for Cost { means, renewal: Spread { n, p50, p99, max } } in &self.costs {
            // Microseconds with three places are milliseconds of a thousandth.
            let micros = |nanos: i64| Millis(nanos.saturating_mul(1000));
            writeln!(f, "| {} | {n} | {} | {} | {} |", means.as_str(), micros(*p50), micros(*p99), micros(*max))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_of_what_was_measured() {
        assert_eq!(Spread::of(1..=100), Spread { n: 100, p50: 50, p99: 99, max: 100 });
        assert_eq!(Spread::of([3, -1, 2]), Spread { n: 3, p50: 2, p99: 3, max: 3 });
        assert_eq!(Spread::of([]), Spread { n: 0, p50: 0, p99: 0, max: 0 });
    }

    #[test]
    fn milliseconds_are_rounded_and_keep_their_sign() {
        let text = [-1_234_567, 0, 499, 500, 4_000_000].map(|nanos| Millis(nanos).to_string());
        assert_eq!(text, ["-1.235", "0.000", "0.000", "0.001", "4.000"]);
    }
}
