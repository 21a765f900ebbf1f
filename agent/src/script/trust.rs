//! Whether a program that would run as root is root's alone to change: `enable_script_security` of keepalived.conf(5).
//!
//! What must stay true: it is asked right before each run, since files change; and where it can't be told, the program
//! is refused.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

/// Of the whole process, like the user that it runs as: whatever starts a program passes [`check`].
static DEMANDED: AtomicBool = AtomicBool::new(false);

/// The group or others may write; `S_IWGRP`, `S_IWOTH` and `S_ISVTX` (linux/stat.h).
const GROUP_WRITES: u32 = 0o020;
const OTHERS_WRITE: u32 = 0o002;
const STICKY: u32 = 0o1000;

/// From now on a program that others could change is not run as root.
pub(crate) fn demand(demanded: bool) {
    DEMANDED.store(demanded, Ordering::Relaxed);
}

/// Whether `program` may run as root.
///
/// # Errors
/// What others could change, and the remedy.
pub(super) fn check(program: &str) -> Result<(), String> {
    if DEMANDED.load(Ordering::Relaxed) { examine(Path::new(program)) } else { Ok(()) }
}

fn examine(program: &Path) -> Result<(), String> {
    if !program.is_absolute() {
        return Err(format!("enable_script_security: `{}` is no absolute path: write it in full", program.display()));
    }
    let unknown = |path: &Path, error: std::io::Error| format!("{}: {error}", path.display());
    // As it is written, links on the way included, and where it really is.
    let real = program.canonicalize().map_err(|error| unknown(program, error))?;
    for part in program.ancestors().chain(real.ancestors()) {
        let of = part.metadata().map_err(|error| unknown(part, error))?;
        let mode = of.mode();
        // In a sticky directory nobody can replace what is root's.
        let is_shared = of.is_dir() && mode & STICKY != 0;
        let group_writes = mode & GROUP_WRITES != 0 && of.gid() != 0;
        let who = if of.uid() != 0 {
            Some("is not root's")
        } else if !is_shared && mode & OTHERS_WRITE != 0 {
            Some("may be written by everybody")
        } else if !is_shared && group_writes {
            Some("may be written by its group")
        } else {
            None
        };
        if let Some(who) = who {
            return Err(format!(
                "enable_script_security: it would run as root, and {} {who}: make it root's alone, or name another user",
                part.display()
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    #[test]
    fn a_program_and_its_way_are_roots_alone() {
        let room = tempfile::tempdir().unwrap();
        let (dir, program) = (room.path().join("bin"), room.path().join("bin/check"));
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(&program, "#!/bin/sh\n").unwrap();
        let mode = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let says = |path: &Path, words: &str| {
            let error = examine(path).unwrap_err();
            assert!(
                error.contains(words) && (error.contains("make it root's") || !words.contains("written")),
                "{error}"
            );
        };
        mode(&dir, 0o755);
        mode(&program, 0o755);
        examine(&program).unwrap();
        mode(&program, 0o757);
        says(&program, "check may be written by everybody");
        mode(&program, 0o775);
        examine(&program).unwrap();
        chown(&program, None, Some(65534)).unwrap();
        says(&program, "check may be written by its group");
        chown(&program, Some(65534), Some(0)).unwrap();
        says(&program, "check is not root's");
        chown(&program, Some(0), None).unwrap();
        mode(&dir, 0o777);
        says(&program, "bin may be written by everybody");
        let link = dir.join("link");
        symlink("/bin/true", &link).unwrap();
        says(&link, "bin may be written by everybody");
        mode(&dir, 0o1777);
        examine(&program).unwrap();
        says(&dir.join("missing"), "No such file");
        says(Path::new("check"), "no absolute path");
    }
}
