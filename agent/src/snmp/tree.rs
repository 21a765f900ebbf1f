//! All objects that there are, and how a master's questions find them.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::pdu::{Binding, Oid, Range, Value};

/// Bindings in one answer to GetBulk: more would not fit a datagram anyway.
const MOST: usize = 1000;

/// The objects, in SNMP's order.
#[derive(Debug, Default)]
pub(super) struct Tree(BTreeMap<Oid, Value>);

impl Tree {
    /// An object that is no part of a table.
    pub(super) fn scalar(&mut self, base: &[u32], value: Value) {
        self.put(base, &[0], value);
    }

    /// A column of a row.
    pub(super) fn put(&mut self, column: &[u32], index: &[u32], value: Value) {
        self.0.insert([column, index].concat(), value);
    }

    /// The columns of a row, by their numbers in the table's entry.
    pub(super) fn row(&mut self, entry: &[u32], index: &[u32], columns: impl IntoIterator<Item = (u32, Value)>) {
        for (column, value) in columns {
            self.put(&[entry, &[column]].concat(), index, value);
        }
    }

    pub(super) fn get(&self, range: &Range) -> Binding {
        let value = self.0.get(&range.start).cloned().unwrap_or(Value::NoSuchInstance);
        (range.start.clone(), value)
    }

    /// The first object in a range.
    pub(super) fn next(&self, range: &Range) -> Binding {
        let start = if range.include { Bound::Included(&range.start) } else { Bound::Excluded(&range.start) };
        let found = self.0.range::<Oid, _>((start, Bound::Unbounded)).next();
        match found.filter(|(name, _)| range.end.is_empty() || **name < range.end) {
            Some((name, value)) => (name.clone(), value.clone()),
            None => (range.start.clone(), Value::EndOfMibView),
        }
    }

    /// The first `non_repeaters` ranges once, all others again and again (RFC 2741, 7.2.3.3).
    pub(super) fn bulk(&self, non_repeaters: u16, max_repetitions: u16, ranges: &[Range]) -> Vec<Binding> {
        let (once, again) = ranges.split_at(usize::from(non_repeaters).min(ranges.len()));
        let mut found: Vec<Binding> = once.iter().map(|range| self.next(range)).collect();
        let mut again = again.to_vec();
        for _ in 0..max_repetitions {
            if found.len() + again.len() > MOST || again.is_empty() {
                break;
            }
            let round: Vec<Binding> = again.iter().map(|range| self.next(range)).collect();
            let is_over = round.iter().all(|(_, value)| *value == Value::EndOfMibView);
            for (range, (name, _)) in again.iter_mut().zip(&round) {
                (range.start, range.include) = (name.clone(), false);
            }
            found.extend(round);
            if is_over {
                break;
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> Tree {
        let mut tree = Tree::default();
        tree.scalar(&[1, 1], Value::Gauge(1));
        tree.row(&[1, 2, 1], &[9], [(2, Value::Gauge(2)), (10, Value::Gauge(3))]);
        tree
    }

    fn range(start: &[u32], include: bool, end: &[u32]) -> Range {
        Range { start: start.to_vec(), include, end: end.to_vec() }
    }

    #[test]
    fn the_next_object_is_the_next_number_and_not_the_next_text() {
        let next = |start: &[u32], include, end: &[u32]| tree().next(&range(start, include, end));
        assert_eq!(next(&[1], false, &[]), (vec![1, 1, 0], Value::Gauge(1)));
        assert_eq!(next(&[1, 1, 0], true, &[]).0, [1, 1, 0]);
        assert_eq!(next(&[1, 1, 0], false, &[]).0, [1, 2, 1, 2, 9]);
        assert_eq!(next(&[1, 2, 1, 2, 9], false, &[]).0, [1, 2, 1, 10, 9]);
        assert_eq!(next(&[1, 1, 0], false, &[1, 2]), (vec![1, 1, 0], Value::EndOfMibView));
        assert_eq!(next(&[1, 2, 1, 10, 9], false, &[]).1, Value::EndOfMibView);
        assert_eq!(tree().get(&range(&[1, 1, 0], false, &[])).1, Value::Gauge(1));
        assert_eq!(tree().get(&range(&[1, 1], false, &[])).1, Value::NoSuchInstance);
    }

    #[test]
    fn a_bulk_goes_on_where_each_range_was_and_ends_with_all_of_them() {
        let found = tree().bulk(1, 50, &[range(&[1], false, &[]), range(&[1, 2], false, &[])]);
        let names: Vec<_> = found.iter().map(|(name, _)| name.clone()).collect();
        let last = vec![1, 2, 1, 10, 9];
        assert_eq!(names, [vec![1, 1, 0], vec![1, 2, 1, 2, 9], last.clone(), last]);
        assert_eq!(found[3].1, Value::EndOfMibView);
        assert!(tree().bulk(0, u16::MAX, &vec![range(&[1], false, &[]); 900]).len() <= MOST);
    }
}
