//! Statements as text: what a file stands for.
//!
//! What must stay true: no password is in it.

use crate::mask;
use crate::source::Sources;
use crate::tree::Item;

/// One statement a line, each with the place of its keyword.
pub(crate) fn show(sources: &Sources, items: &[Item]) -> String {
    let mut out = String::new();
    lines(sources, items, 0, &mut out);
    out
}

fn lines(sources: &Sources, items: &[Item], depth: usize, out: &mut String) {
    let indent = "    ".repeat(depth);
    for item in items {
        let mut line = format!("{indent}{}", quoted(&item.keyword.text));
        let secret = mask::is_secret(&item.keyword.text);
        for word in &item.words {
            line.push(' ');
            line.push_str(&if secret { String::from("***") } else { quoted(&word.text) });
        }
        let mut line = mask::masked(&line, &[]);
        if item.block.is_some() {
            line.push_str(" {");
        }
        let place = sources.describe(&item.keyword.place);
        out.push_str(&format!("{line}  # {place}\n"));
        if item.block.is_some() {
            lines(sources, item.items(), depth + 1, out);
            out.push_str(&format!("{indent}}}\n"));
        }
    }
}

/// A word as it would be written, on one line.
fn quoted(word: &str) -> String {
    let plain = !word.is_empty()
        && !word.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '{' | '}' | '"' | '#' | '!'));
    if plain { word.to_owned() } else { format!("{word:?}") }
}
