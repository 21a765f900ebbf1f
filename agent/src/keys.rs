//! `keepone keys`: the keys of a small cluster in one command.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use keepone_arbiter::quic::{Identity, KeyError};
use keepone_arbiter::witness::state::is_file_name;

/// Name of the file with the public halves.
const MEMBERS_FILE: &str = "members.toml";

/// Keys that were not made.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// No members.
    #[error(
        "no members named: `keepone keys --cluster NAME --out DIR MEMBER...` wants the name of each node and witness"
    )]
    NoMembers,
    /// More than there are ids.
    #[error("{0} members: at most 65535 have an id")]
    TooMany(usize),
    /// A name that is no file name.
    #[error("{0:?} can't name a member: use 1 to 100 letters, digits, '-', '_' and '.', not beginning with '.'")]
    Name(String),
    /// A name given twice.
    #[error("member {0:?} is named twice: each has its own key")]
    Twice(String),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// There are keys already.
    #[error(
        "{path} exists and is not overwritten: remove it first if this cluster is to have new keys, and give all members the new list"
    )]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// A file or directory that can't be written.
    #[error("can't write {path}: {source}; choose another --out, or run as its owner")]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Makes `dir/NAME.key` for each member (mode 0600) and `dir/members.toml` with their names, ids from 1 in
/// the order given, and public keys; returns the text of the latter. Nothing that exists is overwritten.
pub fn make(cluster: &str, dir: &Path, members: &[String]) -> Result<String, KeysError> {
    check(cluster, members)?;
    let write = |path: &Path, source| KeysError::Write { path: path.into(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| write(dir, e))?;
    // All are looked for before the first is made, so that a refusal leaves nothing behind.
    let keys: Vec<PathBuf> = members.iter().map(|name| dir.join(format!("{name}.key"))).collect();
    let list = dir.join(MEMBERS_FILE);
    if let Some(path) = keys.iter().chain([&list]).find(|path| path.symlink_metadata().is_ok()) {
        return Err(KeysError::Exists { path: path.clone() });
    }
    let mut text = format!("# The members of cluster {cluster}. The same on every node and witness.\n");
    for ((path, name), id) in keys.iter().zip(members).zip(1_u16..) {
        let identity = Identity::generate()?;
        identity.save(path)?;
        let key = identity.public_key();
        // Writing to a string does not fail.
        let _ = write!(text, "\n[[member]]\nname = \"{name}\"\nid = {id}\npublic_key = \"{key}\"\n");
    }
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o644).open(&list);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|e| write(&list, e))?;
    Ok(text)
}

fn check(cluster: &str, members: &[String]) -> Result<(), KeysError> {
    if members.is_empty() {
        return Err(KeysError::NoMembers);
    }
    if members.len() > usize::from(u16::MAX) {
        return Err(KeysError::TooMany(members.len()));
    }
    for (at, name) in members.iter().enumerate() {
        if !is_file_name(name) {
            return Err(KeysError::Name(name.clone()));
        }
        if members.iter().take(at).any(|other| other == name) {
            return Err(KeysError::Twice(name.clone()));
        }
    }
    if is_file_name(cluster) { Ok(()) } else { Err(KeysError::Name(cluster.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_member_gets_a_key_and_a_place_in_the_list() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("keys");
        let text = make("demo", &out, &names(&["n1", "n2", "w"])).unwrap();
        assert_eq!(fs::read_to_string(out.join("members.toml")).unwrap(), text);
        assert_eq!(text.matches("[[member]]").count(), 3);
        let key = Identity::load(&out.join("w.key")).unwrap().public_key();
        assert!(text.contains(&format!("name = \"w\"\nid = 3\npublic_key = \"{key}\"")), "{text}");
    }

    #[test]
    fn nothing_is_overwritten_and_a_refusal_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("n2.key"), "precious").unwrap();
        let error = make("demo", dir.path(), &names(&["n1", "n2"])).unwrap_err();
        assert!(matches!(error, KeysError::Exists { .. }), "{error}");
        assert!(!dir.path().join("n1.key").exists());
        assert_eq!(fs::read_to_string(dir.path().join("n2.key")).unwrap(), "precious");
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refuse = |members: &[&str]| make("demo", dir.path(), &names(members)).unwrap_err();
        assert!(matches!(refuse(&[]), KeysError::NoMembers));
        assert!(matches!(refuse(&["../n1"]), KeysError::Name(_)));
        assert!(matches!(refuse(&["n1", "n1"]), KeysError::Twice(_)));
        assert!(matches!(make("a/b", dir.path(), &names(&["n1"])).unwrap_err(), KeysError::Name(_)));
    }
}
