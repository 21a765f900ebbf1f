//! The tables of a directory as a whole, for a hand from outside too: whether they are there, what their run held,
//! shutting and taking them away.
//!
//! What must stay true: "there is none" is said only where there can be none; a kernel that is out of files or
//! memory has not been asked, and its table may be open.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use keepone_proto::id::{DomainId, Epoch, hash_name};

use super::sets::{self, COPIES, HELD, KINDS, WRITER};
use super::socket::{Nft, NftError};
use super::wire::{self, Batch, INET, NETDEV, message};

/// Lists of a long set until two in a row agree; the kernel reorders once for each doubling.
const LISTINGS: u32 = 10;

/// Of all keepones of one network namespace, each has a directory of pins, and so a table, of its own.
pub(super) fn table_name(bpf_dir: &Path) -> String {
    format!("keepone_{:016x}", hash_name(&bpf_dir.to_string_lossy()))
}

pub(super) fn exists(nft: &mut Nft, family: u8, table: &str) -> Result<bool, NftError> {
    let object = nft.get("asking for a table", message::GET_TABLE, family, |a| {
        a.text(1, table);
    })?;
    Ok(object.is_some())
}

pub(super) fn delete_table(batch: &mut Batch, family: u8, table: &str) {
    batch.add("removing a table", message::DELETE_TABLE, 0, family, |a| {
        a.text(1, table);
    });
}

/// What is in a set. The kernel tells a long one in parts, each from the place at which the last ended, and its table of
/// elements may be ordered anew in between (it grows a moment after it was filled): some are then told twice and others
/// not at all. Such a list counts when the next one has the same elements.
pub(super) fn list_set(nft: &mut Nft, table: &str, set: &'static str) -> Result<Vec<sets::Found>, NftError> {
    let mut former = BTreeSet::new();
    for _ in 0..LISTINGS {
        let objects = nft.list(set, message::GET_ELEMENTS, NETDEV, |a| {
            a.text(1, table).text(2, set);
        })?;
        let found: Vec<_> = objects.iter().flat_map(|object| sets::found(object)).collect();
        let keys: BTreeSet<_> = found.iter().map(|found| found.key.clone()).collect();
        if objects.len() <= 1 || (keys.len() == found.len() && keys == former) {
            return Ok(found);
        }
        former = keys;
    }
    Err(NftError { what: set.into(), source: io::Error::other("no two lists of it are the same") })
}

/// A rule as the kernel tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// No two rules of a table ever have the same.
    pub(super) handle: u64,
    /// Its expressions, in the kernel's words.
    pub(super) words: Vec<u8>,
}

/// The rules of each chain of a table, in their order. A chain without a rule is not among them.
pub(super) fn list_rules(nft: &mut Nft, family: u8, table: &str) -> Result<BTreeMap<String, Vec<Told>>, NftError> {
    let objects = nft.list("reading the rules", message::GET_RULE, family, |a| {
        a.text(1, table);
    })?;
    let mut rules: BTreeMap<String, Vec<Told>> = BTreeMap::new();
    for object in &objects {
        let field = |kind| wire::find(object, kind).unwrap_or_default();
        if wire::text(field(1)) == table {
            let told = Told { handle: wire::double(field(3)).unwrap_or_default(), words: field(4).to_vec() };
            rules.entry(wire::text(field(2)).to_owned()).or_default().push(told);
        }
    }
    Ok(rules)
}

/// What a table says that its run held; nothing if it is not there, or not whole.
pub(super) fn read_held(nft: &mut Nft, table: &str) -> Vec<(DomainId, Epoch)> {
    let found = list_set(nft, table, HELD).unwrap_or_default();
    found.into_iter().filter_map(|element| element.held).collect()
}

/// Shuts and seals the table of a directory; how many names were open.
///
/// # Errors
/// The kernel's answer, but for a kernel or a namespace without such a table.
pub(in crate::gate) fn shut_and_seal(bpf_dir: &Path) -> Result<usize, NftError> {
    let table = table_name(bpf_dir);
    let Some(mut nft) = open_if_there(&table)? else { return Ok(0) };
    let mut open = 0;
    let mut batch = Batch::new();
    sets::empty(&mut batch, &table, WRITER);
    for kind in KINDS {
        let [a, b] = COPIES.map(|copy| list_set(&mut nft, &table, kind.open(copy)).unwrap_or_default());
        open += a.iter().filter(|one| b.iter().any(|other| other.key == one.key)).count();
        COPIES.iter().for_each(|copy| sets::empty(&mut batch, &table, kind.open(*copy)));
    }
    nft.transact(&batch)?;
    Ok(open)
}

/// Shuts the table of a former run and takes it away; what that run had held.
pub(in crate::gate) fn end(bpf_dir: &Path) -> Result<Vec<(DomainId, Epoch)>, NftError> {
    let table = table_name(bpf_dir);
    let Some(mut nft) = open_if_there(&table)? else { return Ok(Vec::new()) };
    let held = read_held(&mut nft, &table);
    remove(&mut nft, &table)?;
    Ok(held)
}

/// `None`: no nf_tables, or no such table.
fn open_if_there(table: &str) -> Result<Option<Nft>, NftError> {
    if_there(Nft::open(), table)
}

fn if_there(opened: Result<Nft, NftError>, table: &str) -> Result<Option<Nft>, NftError> {
    let asked = opened.and_then(|mut nft| Ok(exists(&mut nft, NETDEV, table)?.then_some(nft)));
    match asked {
        Err(error) if is_absence(&error) => Ok(None),
        other => other,
    }
}

/// Who may not even ask has made none; and a kernel without nf_tables, or without nfnetlink, has none. The latter
/// calls the question invalid.
fn is_absence(error: &NftError) -> bool {
    use libc::{EACCES, EAFNOSUPPORT, EINVAL, ENOENT, EOPNOTSUPP, EPERM, EPROTONOSUPPORT};
    let none = [ENOENT, EPERM, EACCES, EOPNOTSUPP, EPROTONOSUPPORT, EAFNOSUPPORT, EINVAL];
    error.errno().is_some_and(|errno| none.contains(&errno))
}

pub(super) fn remove(nft: &mut Nft, table: &str) -> Result<(), NftError> {
    let mut batch = Batch::new();
    for family in [NETDEV, INET] {
        if exists(nft, family, table)? {
            delete_table(&mut batch, family, table);
        }
    }
    nft.transact(&batch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(errno: i32) -> Result<Option<Nft>, NftError> {
        let source = std::io::Error::from_raw_os_error(errno);
        if_there(Err(NftError { what: "opening a netlink socket".into(), source }), "keepone_0")
    }

    #[test]
    fn a_kernel_that_could_not_be_asked_is_not_one_without_a_table() {
        for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM, libc::ENOBUFS, libc::EINTR] {
            assert_eq!(asked(errno).unwrap_err().errno(), Some(errno));
        }
        for errno in [libc::EPERM, libc::EACCES, libc::EPROTONOSUPPORT, libc::EAFNOSUPPORT, libc::EOPNOTSUPP] {
            assert!(asked(errno).unwrap().is_none(), "{errno}");
        }
    }
}
