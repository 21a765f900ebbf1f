//! Every keyword path of keepalived is known, and what becomes of each is counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::collections::BTreeMap;

use keepone_config::{KeywordEntry, KeywordStatus, keywords};

/// `parent keyword tier`, a line each: the paths that keepalived 2.4.3 installs.
fn facts() -> Vec<(String, String, char)> {
    let text = std::fs::read_to_string("tests/keywords.txt").unwrap();
    let line = |line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        let parent = if words[0] == "-" { "" } else { words[0] };
        (parent.to_owned(), words[1].to_owned(), words[2].chars().next().unwrap())
    };
    text.lines().map(line).collect()
}

fn known() -> BTreeMap<(String, String), KeywordEntry> {
    let by_path = |entry: KeywordEntry| ((entry.parent.clone(), entry.name.to_owned()), entry);
    keywords().into_iter().map(by_path).collect()
}

/// Keywords that are in the model and not yet active: only to become fewer.
const LATER: usize = 3;

#[test]
fn every_keyword_of_keepalived_is_known_with_its_tier() {
    let known = known();
    let facts = facts();
    assert_eq!(facts.len(), 531);
    for (parent, name, tier) in &facts {
        let entry = known.get(&(parent.clone(), name.clone())).unwrap_or_else(|| panic!("{parent}/{name} is unknown"));
        assert_eq!(entry.tier, Some(*tier), "{parent}/{name}");
    }
    let paths: Vec<_> = facts.iter().map(|(parent, name, _)| (parent.clone(), name.clone())).collect();
    for (path, entry) in &known {
        assert!(entry.tier.is_none() || paths.contains(path), "{path:?} is none of keepalived's");
    }
}

#[test]
fn what_becomes_of_them_is_counted() {
    let known = known();
    let mut counts: BTreeMap<(char, &str), usize> = BTreeMap::new();
    let mut totals: BTreeMap<char, usize> = BTreeMap::new();
    for (parent, name, tier) in facts() {
        let status = match known[&(parent, name)].status {
            KeywordStatus::Active => "active",
            KeywordStatus::Later => "not yet active",
            KeywordStatus::Ignored => "ignored",
            KeywordStatus::Refused => "refused",
        };
        *counts.entry((tier, status)).or_default() += 1;
        *totals.entry(tier).or_default() += 1;
    }
    let count = |tier, status| counts.get(&(tier, status)).copied().unwrap_or(0);
    println!("known {} of 531", totals.values().sum::<usize>());
    for tier in ['A', 'B', 'C'] {
        let honoured = count(tier, "active") + count(tier, "not yet active");
        println!(
            "{tier}: {honoured} of {} honoured ({} active, {} in the model and not yet active), {} ignored, {} refused",
            totals[&tier],
            count(tier, "active"),
            count(tier, "not yet active"),
            count(tier, "ignored"),
            count(tier, "refused"),
        );
    }
    let honoured = |tier| count(tier, "active") + count(tier, "not yet active");
    assert_eq!(honoured('A'), totals[&'A'], "all of tier A are honoured");
    assert!(honoured('B') * 100 >= totals[&'B'] * 95, "{} of {} of tier B", honoured('B'), totals[&'B']);
    let later: usize = ['A', 'B', 'C'].into_iter().map(|tier| count(tier, "not yet active")).sum();
    assert!(later <= LATER, "{later} are not yet active, and were {LATER}: what was active must stay so");
    assert_eq!(later, LATER, "fewer than before: lower LATER to {later}");
}
