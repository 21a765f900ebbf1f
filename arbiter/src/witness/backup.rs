//! Copies of the records, and their way back.
//!
//! What must stay true: a record that is put back leads to no second grant. It is older than what the witness has said
//! since, so it is treated like a lost disk: for the longest lease nobody is served, the holder that it names included
//! (V7), and the highest epochs are kept (V4). [Why so](../../../docs/decisions/0125-a-restored-record-names-nobody.md).
//!
//! ```text
//! {"keepone-witness-backup":1,"name":"w","clusters":2}
//! {"cluster":"web","record":"…base64…","crc":123}
//! …
//! {"end":2}
//! ```

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use keepone_proto::id::{Epoch, Incarnation};
use keepone_proto::lease::record::Record;
use serde::{Deserialize, Serialize};

use super::report::Kept;
use super::state::{StateDir, StoreError};

/// Of the file.
const FORMAT: u32 = 1;
/// New epochs begin so far above the highest on record: no witness has granted more since its backup.
const LOST: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
struct Head {
    #[serde(rename = "keepone-witness-backup")]
    format: u32,
    name: String,
    clusters: usize,
}

#[derive(Serialize, Deserialize)]
struct End {
    end: usize,
}

/// A backup that can't be put back.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The file can't be read.
    #[error("can't read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is none, or not whole.
    #[error("{path}, line {line}: {why}; nothing was changed: take another copy")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// It is another witness's.
    #[error(
        "{path} is of witness {found:?}, and this is {wanted:?}: a vote belongs to one witness; take the right file"
    )]
    OtherWitness {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        found: String,
        /// Whose it should be.
        wanted: String,
    },
    /// The witness runs, or its directory can't be used.
    #[error("{error}{}", if matches!(.error, StoreError::Locked { .. }) { "; if it is this witness, stop it first" } else { "" })]
    Store {
        /// Which.
        #[from]
        error: StoreError,
    },
}

/// The text of a backup.
pub fn write(name: &str, records: &[Kept]) -> String {
    let head = serde_json::to_string(&Head { format: FORMAT, name: name.into(), clusters: records.len() });
    let lines = records.iter().map(serde_json::to_string).chain([serde_json::to_string(&End { end: records.len() })]);
    // Maps of texts and numbers always have a form.
    [head].into_iter().chain(lines).filter_map(Result::ok).map(|line| line + "\n").collect()
}

/// Puts the records of a backup into the state directory of a witness that does not run. In words, what it did.
///
/// # Errors
/// The file is not whole or another's, or the directory can't be used. Nothing is changed then, unless a disk fails
/// between two clusters.
pub fn restore(dir: &Path, name: &str, file: &Path) -> Result<Vec<String>, RestoreError> {
    let text = std::fs::read_to_string(file).map_err(|source| RestoreError::Read { path: file.into(), source })?;
    let records = read(file, name, &text)?;
    let state = StateDir::open(dir)?;
    let mut words = Vec::new();
    for (cluster, kept) in records {
        let store = state.store(&cluster)?;
        // A damaged one is what a backup is for.
        let present = store.load().unwrap_or(None);
        let record = unowned(kept, present);
        store.save(&record.emit())?;
        words.push(format!(
            "cluster {cluster}: {} domains, new epochs begin above {}",
            record.domains.len(),
            record.forgotten
        ));
    }
    Ok(words)
}

fn read(path: &Path, name: &str, text: &str) -> Result<Vec<(String, Record)>, RestoreError> {
    let damaged = |line: usize, why: String| RestoreError::Damaged { path: path.into(), line, why };
    let mut lines = text.lines().zip(1..);
    let (first, _) = lines.next().ok_or_else(|| damaged(1, "it is empty".into()))?;
    let head: Head = serde_json::from_str(first).map_err(|_| damaged(1, "not a backup of keepone-witness".into()))?;
    if head.format != FORMAT {
        return Err(damaged(
            1,
            format!("format {}, and {FORMAT} is known: use the program that wrote it", head.format),
        ));
    }
    if head.name != name {
        return Err(RestoreError::OtherWitness { path: path.into(), found: head.name, wanted: name.into() });
    }
    let mut records = Vec::new();
    for (text, line) in lines {
        if let Ok(end) = serde_json::from_str::<End>(text) {
            if end.end != records.len() || head.clusters != records.len() {
                return Err(damaged(line, format!("{} records where {} belong", records.len(), head.clusters)));
            }
            return Ok(records);
        }
        let kept: Kept = serde_json::from_str(text).map_err(|error| damaged(line, error.to_string()))?;
        let octets = BASE64.decode(&kept.record).map_err(|error| damaged(line, error.to_string()))?;
        if crc32fast::hash(&octets) != kept.crc {
            return Err(damaged(line, "the record's checksum is wrong".into()));
        }
        let record = Record::parse(&octets).map_err(|_| damaged(line, "a record of another version".into()))?;
        records.push((kept.cluster, record));
    }
    Err(damaged(text.lines().count(), "its end is missing".into()))
}

/// The highest of both in all things, and no epoch that anybody could renew.
fn unowned(kept: Record, present: Option<Record>) -> Record {
    let present = present.unwrap_or_default();
    let mut domains = kept.domains;
    for (id, epoch) in present.domains {
        domains.entry(id).and_modify(|kept| *kept = (*kept).max(epoch)).or_insert(epoch);
    }
    let highest = domains.values().map(|epoch| epoch.counter).max().unwrap_or(0);
    // Below every epoch of its counter, so that whoever still holds under one is lent it anew once the wait is over.
    let unowned = |epoch: Epoch| Epoch { incarnation: Incarnation(0), attempt: 0, ..epoch };
    Record {
        floor: kept.floor.max(present.floor),
        opened: if present.opened.generation > kept.opened.generation { present.opened } else { kept.opened },
        lease_max: kept.lease_max.max(present.lease_max),
        domains: domains.into_iter().map(|(id, epoch)| (id, unowned(epoch))).collect(),
        forgotten: highest.max(kept.forgotten).max(present.forgotten).saturating_add(LOST),
    }
}

#[cfg(test)]
#[path = "backup_tests.rs"]
mod tests;
