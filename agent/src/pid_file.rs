//! Files with the PID of a process, for whoever sends it signals.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// A file with a PID; it goes with this value, unless somebody else has written it meanwhile.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    pid: u32,
}

impl PidFile {
    /// Writes the file, over a former one. A symbolic link is not followed.
    ///
    /// # Errors
    /// The system's answer.
    pub fn write(path: &Path, pid: u32) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.create(true).write(true).truncate(true).mode(0o644).custom_flags(libc::O_NOFOLLOW);
        options.open(path)?.write_all(format!("{pid}\n").as_bytes())?;
        Ok(PidFile { path: path.to_owned(), pid })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        let ours = fs::read_to_string(&self.path).is_ok_and(|text| text.trim() == self.pid.to_string());
        if ours {
            // Nothing is left to do where that fails: the next start writes over it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_file_goes_with_its_owner_and_no_other_does() {
        let room = tempfile::tempdir().unwrap();
        let path = room.path().join("x.pid");
        fs::write(&path, "123456 stale and longer").unwrap();
        let first = PidFile::write(&path, 7).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "7\n");
        let second = PidFile::write(&path, 8).unwrap();
        drop(first);
        assert_eq!(fs::read_to_string(&path).unwrap(), "8\n");
        drop(second);
        assert!(!path.exists());
        std::os::unix::fs::symlink(room.path().join("victim"), &path).unwrap();
        assert!(PidFile::write(&path, 9).is_err());
        assert!(!room.path().join("victim").exists());
    }
}
