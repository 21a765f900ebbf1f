use super::*;
use crate::keyword::Keyword;

fn word(text: &str) -> Word {
    Word { text: text.to_owned(), place: Place::Variable("X".into()) }
}

fn item(keyword: &Keyword, block: Vec<Item>) -> Item {
    let (words, block) = match keyword.form {
        Form::Flag | Form::Maybe => (vec![], None),
        Form::Value | Form::Words => (vec![word("1")], None),
        Form::Lines | Form::Block(_) => (vec![], Some(block)),
        Form::Server(_) => (vec![word("192.0.2.1")], Some(block)),
        Form::Named(_) | Form::NamedLines | Form::Any => (vec![word("x")], Some(block)),
    };
    Item { keyword: word(keyword.name), words, block }
}

/// Every keyword at its place in the tree, alone.
fn trees(table: &'static Table) -> Vec<Item> {
    let mut trees = Vec::new();
    for keyword in table.keywords() {
        trees.push(item(keyword, vec![]));
        if let Some(inner) = keyword.form.table() {
            trees.extend(self::trees(inner).into_iter().map(|tree| item(keyword, vec![tree])));
        }
    }
    trees
}

#[test]
fn every_keyword_is_read_unless_it_is_ignored_or_refused() {
    let trees = trees(&ROOT);
    assert!(trees.len() > 531, "{}", trees.len());
    for tree in trees {
        let mut report = Report::default();
        lower(&mut report, std::slice::from_ref(&tree));
        let unread = report.diagnostics.iter().find(|d| d.message.contains("nothing reads it"));
        assert!(unread.is_none(), "{tree:?}: {unread:?}");
        let unknown = report.diagnostics.iter().find(|d| d.message.contains("unknown keyword"));
        assert!(unknown.is_none(), "{tree:?}: {unknown:?}");
    }
}

#[test]
fn a_keyword_that_is_not_yet_active_is_named_once_with_its_count() {
    let server = |address: &str| Item {
        keyword: word("virtual_server"),
        words: vec![word(address), word("80")],
        block: Some(vec![Item { keyword: word("snmp_name"), words: vec![word(address)], block: None }]),
    };
    let mut report = Report::default();
    let (raw, inactive) = lower(&mut report, &[server("192.0.2.1"), server("192.0.2.2")]);
    assert_eq!(raw.virtual_servers.len(), 2);
    let named: Vec<_> = inactive.iter().map(|inactive| (inactive.what.as_str(), inactive.count)).collect();
    assert_eq!(named, [("snmp_name in virtual_server", 2)]);
    let said: Vec<_> = report.diagnostics.iter().map(|d| d.message.as_str()).collect();
    assert_eq!(said, ["`snmp_name in virtual_server` is read and checked, but not yet active (2 of them)"]);
}

#[test]
fn what_only_says_the_default_is_not_named() {
    let global = |keyword: &str, words: Vec<Word>| Item {
        keyword: word("global_defs"),
        words: vec![],
        block: Some(vec![Item { keyword: word(keyword), words, block: None }]),
    };
    let named = |item: Item| lower(&mut Report::default(), &[item]).1.len();
    assert_eq!(named(global("snmp_socket", vec![word("unix:/var/agentx/master")])), 0);
    assert_eq!(named(global("snmp_socket", vec![word("unix:/run/agentx")])), 1);
    assert_eq!(named(global("enable_traps", vec![word("off")])), 0);
    assert_eq!(named(global("enable_traps", vec![])), 1);
}
