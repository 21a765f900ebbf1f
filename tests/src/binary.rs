//! Where the programs under test are.

use std::path::PathBuf;

/// The program `name` of this workspace, built beside the running test.
///
/// # Panics
/// It is not there: a test without the program that it tests can only fail.
#[allow(clippy::panic, reason = "a test's precondition; the message is its remedy")]
pub fn find(name: &str) -> PathBuf {
    // target/PROFILE/deps/TEST: the programs are two levels up.
    let directory = std::env::current_exe().ok().and_then(|test| Some(test.parent()?.parent()?.to_owned()));
    let path = directory.map(|directory| directory.join(name));
    match path.filter(|path| path.is_file()) {
        Some(path) => path,
        None => panic!("no {name} beside the tests: build keepone first: cargo build --workspace"),
    }
}

/// The installed keepalived, or the one that the environment names in `KEEPALIVED`.
///
/// # Panics
/// There is none.
#[allow(clippy::panic, reason = "a test's precondition; the message is its remedy")]
pub fn keepalived() -> PathBuf {
    if let Some(path) = std::env::var_os("KEEPALIVED").map(PathBuf::from) {
        assert!(path.is_file(), "KEEPALIVED is {}, where no file is: give the program's path", path.display());
        return path;
    }
    match keepone_chaos::netns::agent::keepalived() {
        Some(path) => path,
        None => panic!("no keepalived to interoperate with: install it first: apt-get install keepalived"),
    }
}
