use super::*;
use crate::keyword::Keyword;

fn word(text: &str) -> Word {
    Word { text: text.into(), place: Place::Variable("X".into()) }
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
    let line = |path: &str| Item { keyword: word("reload_check_config"), words: vec![word(path)], block: None };
    let block = Some(vec![line("/one"), line("/two")]);
    let mut report = Report::default();
    let (_, inactive) = lower(&mut report, &[Item { keyword: word("global_defs"), words: vec![], block }]);
    let named: Vec<_> = inactive.iter().map(|inactive| (inactive.what.as_str(), inactive.count)).collect();
    assert_eq!(named, [("reload_check_config in global_defs", 2)]);
    let said: Vec<_> = report.diagnostics.iter().map(|d| d.message.as_str()).collect();
    let once = "`reload_check_config in global_defs` is read and checked, but not yet active (2 of them)";
    assert_eq!(said.iter().filter(|said| **said == once).count(), 1, "{said:?}");
}

#[test]
fn what_only_says_the_default_is_not_named() {
    let global = |keyword: &str, words: Vec<Word>| Item {
        keyword: word("global_defs"),
        words: vec![],
        block: Some(vec![Item { keyword: word(keyword), words, block: None }]),
    };
    let named = |item: Item| lower(&mut Report::default(), &[item]).1.len();
    assert_eq!(named(global("reload_check_config", vec![word("on")])), 0);
    assert_eq!(named(global("reload_check_config", vec![word("/tmp/log")])), 1);
}

#[test]
fn an_agentx_master_is_a_unix_socket_or_an_address_and_a_port() {
    let socket = |text: Option<&str>| {
        let words = text.map(word).into_iter().collect();
        let item = Item { keyword: word("snmp_socket"), words, block: None };
        let mut report = Report::default();
        let global = Item { keyword: word("global_defs"), words: vec![], block: Some(vec![item]) };
        let (raw, _) = lower(&mut report, &[global]);
        (raw.global.snmp.socket, report.diagnostics.len())
    };
    for good in ["unix:/run/agentx", "/run/agentx", "tcp:127.0.0.1:705", "tcp:[::1]:705"] {
        assert_eq!(socket(Some(good)), (Some(good.to_owned()), 0));
    }
    assert_eq!(socket(None), (Some("tcp:127.0.0.1:705".to_owned()), 0));
    for bad in ["udp:localhost:705", "tcp:localhost:705", "tcp:127.0.0.1", "agentx"] {
        assert_eq!(socket(Some(bad)).1, 1, "{bad}");
    }
}
