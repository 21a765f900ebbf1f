//! The file that says that the operator has taken this node out: it outlives a worker, and goes with the run
//! directory, so that a machine that was started anew serves again.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Its name in the run directory.
const NAME: &str = "maintenance";

fn path(run_dir: &Path) -> PathBuf {
    run_dir.join(NAME)
}

/// Whether the node is out.
pub(crate) fn is_on(run_dir: &Path) -> bool {
    path(run_dir).exists()
}

/// Takes it out, or back in. The next worker goes by this.
///
/// # Errors
/// The file can't be written or removed.
pub(crate) fn set(run_dir: &Path, on: bool, who: &str) -> io::Result<()> {
    if on {
        return fs::write(path(run_dir), format!("{who}\n"));
    }
    match fs::remove_file(path(run_dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_on_until_it_is_off() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_on(dir.path()));
        set(dir.path(), true, "uid 0").unwrap();
        set(dir.path(), true, "uid 0").unwrap();
        assert!(is_on(dir.path()));
        set(dir.path(), false, "uid 0").unwrap();
        set(dir.path(), false, "uid 0").unwrap();
        assert!(!is_on(dir.path()));
    }
}
