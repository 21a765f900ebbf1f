//! What was there before a reload, found by name.

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// Each until it is taken. A director may have ten thousand: looking through a list for each would be seconds.
#[derive(Debug)]
pub(super) struct Former<T>(BTreeMap<String, Vec<T>>);

impl<T> Former<T> {
    pub(super) fn new(list: Vec<T>, name: impl Fn(&T) -> &str) -> Self {
        let mut known: BTreeMap<String, Vec<T>> = BTreeMap::new();
        // From the end, so that of those with one name the first is taken first.
        for one in list.into_iter().rev() {
            known.entry(String::from(name(&one))).or_default().push(one);
        }
        Former(known)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<T> {
        self.0.get_mut(name)?.pop()
    }

    /// Those that were not taken, by their names.
    pub(super) fn rest(self) -> impl Iterator<Item = T> {
        self.0.into_values().flat_map(|list| list.into_iter().rev())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_those_with_one_name_the_first_is_taken_first() {
        let mut former = Former::new(alloc::vec!["b1", "a1", "b2", "b3"], |one| &one[..1]);
        assert_eq!([former.take("b"), former.take("c"), former.take("b")], [Some("b1"), None, Some("b2")]);
        assert_eq!(former.rest().collect::<Vec<_>>(), ["a1", "b3"]);
    }
}
