//! keepone's packages, made of the programs beside the test, and a Debian to install them in.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "preconditions of tests")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// Of the packages.
pub const NAMES: [&str; 3] = ["keepone", "keepone-witness", "keepone-chaos"];

/// This tree.
pub fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// What it printed; it must end with 0.
///
/// # Panics
/// It can't be started, or ends otherwise.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let wrong = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}\n{said}{wrong}", output.status);
    said
}

/// The programs that are there already, packed into `out`; the sums of the packages.
pub fn build(out: &Path) -> String {
    let bin_dir = crate::binary::find("keepone").parent().unwrap().to_owned();
    let mut command = Command::new(tree().join("packaging/build"));
    command.args(["--profile", "dev", "--bin-dir"]).arg(bin_dir).arg("--out").arg(out);
    run(command.env("SOURCE_DATE_EPOCH", "1700000000"))
}

/// The package of that name and ending.
///
/// # Panics
/// There is none.
pub fn package(out: &Path, name: &str, ending: &str) -> PathBuf {
    let files = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
    let mut fits = files.filter(|path| {
        let file = path.file_name().unwrap().to_str().unwrap();
        file.ends_with(ending)
            && file
                .strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(['_', '-']) && rest.as_bytes()[1].is_ascii_digit())
    });
    fits.next().unwrap_or_else(|| panic!("no {ending} of {name} in {}", out.display()))
}

/// What is in it beside the least: the service manager, and `ip`.
const INCLUDED: &str = "systemd,iproute2";

/// A minimal Debian of that suite: made once, and kept beside the programs.
///
/// # Panics
/// debootstrap fails: it needs root and Debian's archive.
pub fn debian(suite: &str) -> PathBuf {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock();
    let root = crate::binary::find("keepone").parent().unwrap().parent().unwrap().join(format!("debian-{suite}"));
    // One that was made with less is made again.
    if fs::read_to_string(root.join("complete")).ok().as_deref() != Some(INCLUDED) {
        let _ = fs::remove_dir_all(&root);
        let include = format!("--include={INCLUDED}");
        run(Command::new("debootstrap").args(["--variant=minbase", &include, suite]).arg(&root));
        fs::write(root.join("complete"), INCLUDED).unwrap();
    }
    root
}

/// The package anew under a higher version, with a program of other octets that does the same.
///
/// # Panics
/// dpkg-deb fails.
pub fn next_version(package: &Path, program: &str, out: &Path) {
    let script = "set -e; next=$(mktemp -d); dpkg-deb -R \"$1\" $next; \
        sed -i 's/^Version: .*/Version: 99.0/' $next/DEBIAN/control; printf next >> $next/usr/sbin/$2; \
        sed -i \"s|^[0-9a-f]*  usr/sbin/$2\\$|$(md5sum < $next/usr/sbin/$2 | cut -d' ' -f1)  usr/sbin/$2|\" $next/DEBIAN/md5sums; \
        dpkg-deb --root-owner-group -Znone -b $next \"$3\"; rm -r $next";
    run(Command::new("sh").args(["-c", script, "sh"]).arg(package).arg(program).arg(out));
}

/// All packages, made once for this test program; beside the programs.
///
/// # Panics
/// They can't be made.
pub fn packages() -> PathBuf {
    static MADE: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.get_or_insert_with(|| {
        let test = std::env::current_exe().unwrap().file_stem().unwrap().to_str().unwrap().to_owned();
        let out = crate::binary::find("keepone").parent().unwrap().join(format!("packages-of-{test}"));
        let _ = fs::remove_dir_all(&out);
        build(&out);
        out
    })
    .clone()
}
