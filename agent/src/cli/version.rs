//! `keepone version`: from what and how the program was built.
//!
//! `packaging/build` names the commit, its date and the compiler in the environment of the build; a build without it says
//! that it does not know. Nothing here depends on when or where the build ran.

use serde_json::json;

const COMMIT: Option<&str> = option_env!("KEEPONE_COMMIT");
const DATE: Option<&str> = option_env!("KEEPONE_COMMIT_DATE");
const RUSTC: Option<&str> = option_env!("KEEPONE_RUSTC");

/// One line, or a JSON object.
pub(super) fn text(as_json: bool) -> String {
    let version = env!("CARGO_PKG_VERSION");
    if as_json {
        return json!({
            "version": version,
            "commit": COMMIT,
            "commit_date": DATE,
            "rustc": RUSTC,
            "os": std::env::consts::OS,
            "arch": std::env::consts::ARCH,
            "debug_assertions": cfg!(debug_assertions),
        })
        .to_string();
    }
    let built = if cfg!(debug_assertions) { ", with debug assertions" } else { "" };
    format!(
        "keepone {version} (commit {} of {}, {}, {}{built})",
        COMMIT.unwrap_or("unknown"),
        DATE.unwrap_or("unknown date"),
        RUSTC.unwrap_or("compiler unknown"),
        std::env::consts::ARCH,
    )
}
