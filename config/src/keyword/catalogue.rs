//! The table as one list: every keyword with the way to it.

use super::{Keyword, ROOT, Status, Table};

/// A keyword at its place.
#[derive(Debug, Clone)]
pub(crate) struct Path {
    /// The blocks around it, outermost first, joined by `/`; empty at the top of the file.
    pub parent: String,
    pub keyword: &'static Keyword,
    /// Its own status, or that of a block around it that is not yet active.
    pub status: Status,
}

/// All keywords, in the order of the tables, blocks before what is in them.
pub(crate) fn walk() -> Vec<Path> {
    let mut found = Vec::new();
    below("", &ROOT, Status::Active, &mut found);
    found
}

fn below(parent: &str, table: &'static Table, around: Status, found: &mut Vec<Path>) {
    for keyword in table.keywords() {
        let status = match (around, keyword.status) {
            (Status::Later, Status::Active) => Status::Later,
            (_, own) => own,
        };
        found.push(Path { parent: parent.to_owned(), keyword, status });
        if let Some(inner) = keyword.form.table() {
            let path = if parent.is_empty() { keyword.name.to_owned() } else { format!("{parent}/{}", keyword.name) };
            below(&path, inner, status, found);
        }
    }
}
