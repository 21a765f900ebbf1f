//! Passwords overwritten before a text is shown.
//!
//! Two nets, one behind the other: places that the reading found to be a password, and the text itself, so that a
//! line that was never understood is masked too.
//!
//! What must stay true: nothing else moves: the masked text has the length, lines and columns of the other.

use std::ops::Range;

/// A word with one of these in it is followed by a password. `pass` is in `auth_pass`, `password`, `--passwd`.
const SECRET: [&str; 4] = ["pass", "secret", "auth_", "hmac"];
/// How each of these begins: looked for first, since nearly all words and lines hold none.
const BEGINS: [[u8; 4]; 4] = [*b"pass", *b"secr", *b"auth", *b"hmac"];
/// Words that hold one of them and are not.
const PLAIN: [&str; 6] = ["auth_type", "passive", "bypass", "passthrough", "pass_through", "encompass"];

/// Whether what follows the word is a password.
pub(crate) fn is_secret(word: &str) -> bool {
    // Every keyword of a file is asked for this, and nearly all are none.
    let starts = |window: &[u8]| match *window {
        [a, b, c, d] => BEGINS.contains(&[a | 32, b | 32, c | 32, d | 32]),
        _ => false,
    };
    if !word.as_bytes().windows(4).any(starts) {
        return false;
    }
    let word = PLAIN.iter().fold(word.to_ascii_lowercase(), |word, plain| word.replace(plain, " "));
    SECRET.iter().any(|secret| word.contains(secret))
}

/// The text with what follows a secret word, and the given ranges, overwritten byte for byte.
pub(crate) fn masked(text: &str, secrets: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let ranges = secret_ranges(text).into_iter().chain(secrets.iter().cloned());
    for range in ranges {
        if let Some(range) = bytes.get_mut(range.start..range.end.min(text.len())) {
            range.iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b'*');
        }
    }
    // Whole characters were overwritten with ASCII, so this is text still.
    String::from_utf8(bytes).unwrap_or_default()
}

/// Where the words of [`SECRET`] end: by one look at the text, which may be megabytes.
fn found(lower: &[u8]) -> Vec<usize> {
    let mut ends = Vec::new();
    for (at, begin) in lower.windows(4).enumerate() {
        if BEGINS.iter().any(|known| begin == known) {
            let rest = lower.get(at..).unwrap_or(&[]);
            ends.extend(SECRET.iter().filter(|word| rest.starts_with(word.as_bytes())).map(|word| at + word.len()));
        }
    }
    ends
}

fn secret_ranges(text: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let lower = text.to_ascii_lowercase();
    for inside in found(lower.as_bytes()) {
        let start = lower.get(..inside).and_then(|before| before.rfind(|c| !is_word(c))).map_or(0, |at| at + 1);
        let rest = text.get(inside..).unwrap_or("");
        let end = inside + rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let word = lower.get(start..end).unwrap_or("");
        // `auth_type PASS` is none, `?user=x&pass=y` is one.
        let is_type = word == "pass" && !lower.get(end..).is_some_and(|rest| rest.starts_with(['=', ':']));
        if !is_secret(word) || is_type {
            continue;
        }
        let rest = text.get(end..).unwrap_or("");
        ranges.extend(match rest.trim_start_matches([' ', '\t']).starts_with(['=', ':']) {
            true => value(text, end),
            false => to_the_end(text, end),
        });
    }
    ranges
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-' || !c.is_ascii()
}

/// All that follows at `at` on its line, a comment too (it may hold the password before this one): however many words
/// a lost quote or brace makes of it. Not a brace that stands alone at the end.
fn to_the_end(text: &str, at: usize) -> Option<Range<usize>> {
    let line = text.get(at..)?.lines().next()?.trim_end();
    let words = line.strip_suffix(" }").unwrap_or(line).trim_end();
    let start = at + words.len() - words.trim_start().len();
    Some(start..at + words.len())
}

/// The word that follows at `at`, after `=` or `:` and perhaps a quote.
fn value(text: &str, at: usize) -> Option<Range<usize>> {
    let rest = text.get(at..)?;
    let value = rest.trim_start_matches([' ', '\t', '=', ':', '"', '\'']);
    let skipped = rest.get(..rest.len() - value.len())?;
    if skipped.is_empty() {
        return None;
    }
    let mut quote = skipped.chars().rev().find(|c| matches!(c, '"' | '\''));
    let quoted = quote.is_some();
    let ends = |c: char| match (c, quote) {
        ('\n', _) => true,
        (c, Some(open)) if c == open => {
            quote = None;
            quoted
        }
        (_, Some(_)) => false,
        ('"', None) => {
            quote = Some(c);
            false
        }
        (c, None) => matches!(c, ' ' | '\t' | '\r' | ','),
    };
    let len = value.find(ends).unwrap_or(value.len());
    Some(at + skipped.len()..at + skipped.len() + len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_masked_in_both_languages_and_nothing_else_moves() {
        for (text, expected) in [
            ("auth_pass geheim # x", "auth_pass **********"),
            ("auth_pass = \"ge heim\"\nx", "auth_pass = \"*******\"\nx"),
            ("{ auth_pass schl\u{fc}ssel }", "{ auth_pass ********** }"),
            ("auth_pass a${B}c\"d e\"f g", "auth_pass **************"),
            ("auth_pass ${_ENV A}b}c # d", "auth_pass ****************"),
            ("\t@n1 auth_pass a b\nc", "\t@n1 auth_pass ***\nc"),
            ("@n1 auth_pass a b\nc", "@n1 auth_pass ***\nc"),
            ("auth_p\u{fc}ss x", "auth_p\u{fc}ss *"),
            ("auth_psas x", "auth_psas *"),
            ("auht_pass x", "auht_pass *"),
            ("auth_type PASS # x", "auth_type PASS # x"),
            ("path /?user=x&pass=y&z=1", "path /?user=x&pass=*****"),
            ("authentication {\n x", "authentication {\n x"),
            ("$DB_PASSWORD=geheim y", "$DB_PASSWORD=****** y"),
            ("script \"/x --password=geheim --host y\"", "script \"/x --password=****** --host y\""),
            ("script \"/x --password 'ge heim'\"", "script \"/x --password **********"),
            ("auth_typeauth_pass x", "auth_typeauth_pass *"),
            ("xauth_pass# a b\nc", "xauth_pass*****\nc"),
            ("auth_pass", "auth_pass"),
            ("auth_pass '", "auth_pass *"),
            ("My_Secret x", "My_Secret *"),
            ("auth_hmac_key x\nHMAC = y", "auth_hmac_key *\nHMAC = *"),
        ] {
            assert_eq!(masked(text, &[]), expected);
            assert_eq!(expected.len(), text.len());
        }
    }

    #[test]
    fn whatever_is_secret_begins_as_is_looked_for() {
        for word in SECRET {
            assert!(BEGINS.iter().any(|begin| word.as_bytes().starts_with(begin)), "{word} would be shown");
        }
    }

    #[test]
    fn a_place_that_was_found_to_be_a_password_is_masked() {
        assert_eq!(masked("$A=geheim\nx", std::slice::from_ref(&(3..9))), "$A=******\nx");
    }
}
