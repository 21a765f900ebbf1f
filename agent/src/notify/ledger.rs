//! Which FIFOs are ours: those that we have made go with us, those of the operator stay.
//!
//! Kept in the run directory, so that a worker takes over what one that died had made.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A path a line.
const NAME: &str = "notify-fifos";

/// FIFOs that a run has made.
#[derive(Debug)]
pub(super) struct Ledger {
    file: PathBuf,
    former: BTreeSet<PathBuf>,
    made: BTreeSet<PathBuf>,
}

impl Ledger {
    /// With those of a former run that did not end in good order.
    pub(super) fn open(run_dir: &Path) -> Self {
        let file = run_dir.join(NAME);
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        Ledger { file, former: text.lines().map(PathBuf::from).collect(), made: BTreeSet::new() }
    }

    /// Whether a FIFO that is there was made by us.
    pub(super) fn is_ours(&self, path: &Path) -> bool {
        self.former.contains(path)
    }

    /// We have made it, or taken it over.
    pub(super) fn add(&mut self, path: &Path) {
        self.made.insert(path.to_owned());
    }

    /// Writes them down; former ones that nobody wants any more go.
    pub(super) fn keep(self) {
        for path in self.former.difference(&self.made) {
            let _ = std::fs::remove_file(path);
        }
        let lines = self.made.iter().map(|path| format!("{}\n", path.display())).collect::<String>();
        let kept = match lines.is_empty() {
            true => std::fs::remove_file(&self.file).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
            false => std::fs::write(&self.file, lines),
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "{} can't be written: after a crash FIFOs may stay", self.file.display());
        }
    }
}
