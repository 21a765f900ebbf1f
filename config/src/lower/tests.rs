use super::*;
use crate::keyword::Keyword;

fn word(text: &str) -> Word {
    Word { text: text.to_owned(), place: Place::Variable("X".into()) }
}

fn item(keyword: &Keyword, block: Vec<Item>) -> Item {
    let (words, block) = match keyword.form {
        Form::Flag => (vec![], None),
        Form::Value | Form::Words => (vec![word("1")], None),
        Form::Lines | Form::Block(_) => (vec![], Some(block)),
        Form::Named(_) | Form::Section(_) | Form::Any => (vec![word("x")], Some(block)),
    };
    Item { keyword: word(keyword.name), words, block }
}

/// Every active keyword at its place in the tree, alone.
fn trees(table: &'static Table) -> Vec<Item> {
    let mut trees = Vec::new();
    for keyword in table.active {
        match keyword.form {
            Form::Block(inner) | Form::Named(inner) => {
                trees.extend(trees_of(keyword, inner));
            }
            _ => trees.push(item(keyword, vec![])),
        }
    }
    trees
}

fn trees_of(keyword: &Keyword, inner: &'static Table) -> Vec<Item> {
    trees(inner).into_iter().map(|tree| item(keyword, vec![tree])).collect()
}

#[test]
fn every_active_keyword_is_read() {
    let trees = trees(&ROOT);
    assert!(trees.len() > 60);
    for tree in trees {
        let mut report = Report::default();
        lower(&mut report, std::slice::from_ref(&tree));
        let unread = report.diagnostics.iter().find(|d| d.message.contains("nothing reads it"));
        assert!(unread.is_none(), "{tree:?}: {unread:?}");
        let unknown = report.diagnostics.iter().find(|d| d.message.contains("unknown keyword"));
        assert!(unknown.is_none(), "{tree:?}: {unknown:?}");
    }
}
