//! The operator's book as tests read it: what is between its fences, and whom it is for.
#![allow(clippy::unwrap_used, clippy::panic, reason = "preconditions of tests")]

use std::fs;
use std::path::{Path, PathBuf};

/// What is between two fences.
#[derive(Debug)]
pub struct Block {
    /// Behind the language.
    pub words: Vec<String>,
    /// `sh`, `toml`, …
    pub language: String,
    /// With its line ends.
    pub text: String,
    /// `PAGE:LINE`.
    pub place: String,
}

impl Block {
    /// What is behind the language, to match on.
    pub fn words(&self) -> Vec<&str> {
        self.words.iter().map(String::as_str).collect()
    }
}

/// `docs/` of this tree.
pub fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs")
}

/// All of a page, in its order.
///
/// # Panics
/// It can't be read, or its last block is never closed.
pub fn blocks(page: &Path) -> Vec<Block> {
    let (mut found, mut open) = (Vec::<Block>::new(), false);
    for (number, line) in fs::read_to_string(page).unwrap().lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(_), true) => open = false,
            (Some(info), false) => {
                let mut words = info.split_whitespace().map(str::to_owned);
                let language = words.next().unwrap_or_default();
                let place = format!("{}:{}", page.display(), number + 1);
                found.push(Block { language, words: words.collect(), text: String::new(), place });
                open = true;
            }
            (None, true) => {
                if let Some(block) = found.last_mut() {
                    block.text += &format!("{line}\n");
                }
            }
            (None, false) => {}
        }
    }
    assert!(!open, "{}: a block is never closed", page.display());
    found
}

/// What a line must end with: 0, or what its comment says.
///
/// # Panics
/// The comment has no number.
pub fn exit_code(line: &str) -> i32 {
    let digits = |rest: &str| rest.split(|sign: char| !sign.is_ascii_digit()).next().unwrap_or_default().to_owned();
    line.split_once("# exits with ").map_or(0, |(_, rest)| digits(rest).parse().unwrap())
}
