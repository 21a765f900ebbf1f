//! What the body of a page must match: PCRE2's language as far as it can be matched in linear time.
//!
//! A health check must end whatever a server sends. So patterns are those of the `regex` crate: no look-around, no
//! back-references, and no pattern that takes for ever.

use regex::bytes::{Regex, RegexBuilder};

use super::BodyPattern;

/// Options of PCRE2 that change nothing of what can be said here.
const WITHOUT_EFFECT: [&str; 12] = [
    "alt_bsux",
    "alt_verbnames",
    "auto_callout",
    "dupnames",
    "never_backslash_c",
    "never_ucp",
    "never_utf",
    "no_auto_capture",
    "no_auto_possess",
    "no_dotstar_anchor",
    "no_start_optimize",
    "use_offset_limit",
];
/// Those that do.
const WITH_EFFECT: [&str; 9] =
    ["caseless", "dollar_endonly", "dotall", "extended", "firstline", "multiline", "ucp", "ungreedy", "utf"];

impl BodyPattern {
    /// Whether it can be used.
    ///
    /// # Errors
    /// Why not: an option that there is not, or a pattern that can't be matched in linear time.
    pub fn check(&self) -> Result<(), String> {
        self.compile().map(drop)
    }

    /// Whether a match begins within its offsets.
    ///
    /// # Errors
    /// Those of [`Self::check`].
    pub fn is_in(&self, body: &[u8]) -> Result<bool, String> {
        let pattern = self.compile()?;
        if self.begins_in(&pattern, body) {
            return Ok(true);
        }
        // PCRE2's dollar stands before a last newline too.
        let is_loose = !self.has("dollar_endonly") && !self.has("multiline");
        Ok(is_loose && body.strip_suffix(b"\n").is_some_and(|body| self.begins_in(&pattern, body)))
    }

    fn begins_in(&self, pattern: &Regex, body: &[u8]) -> bool {
        let from = usize::try_from(self.min_offset).unwrap_or(usize::MAX);
        if from > body.len() {
            return false;
        }
        let most = self.max_offset.and_then(|most| usize::try_from(most).ok()).unwrap_or(usize::MAX);
        let line = body.get(from..).and_then(|rest| rest.iter().position(|byte| *byte == b'\n'));
        let line = if self.has("firstline") { line.map_or(usize::MAX, |line| from + line) } else { usize::MAX };
        // The first one begins before all others.
        pattern.find_at(body, from).is_some_and(|found| found.start() <= most.min(line))
    }

    fn compile(&self) -> Result<Regex, String> {
        let known = |option: &&String| WITHOUT_EFFECT.iter().chain(&WITH_EFFECT).any(|known| *known == *option);
        if let Some(option) = self.options.iter().find(|option| !known(option)) {
            return Err(format!("there is no option `{option}` here"));
        }
        // Bytes, as PCRE2 takes them, unless letters are meant.
        let letters = self.has("utf") || self.has("ucp") || !self.pattern.is_ascii();
        let mut builder = RegexBuilder::new(&self.pattern);
        builder
            .unicode(letters)
            .case_insensitive(self.has("caseless"))
            .dot_matches_new_line(self.has("dotall"))
            .ignore_whitespace(self.has("extended"))
            .multi_line(self.has("multiline"))
            .swap_greed(self.has("ungreedy"));
        builder.build().map_err(|error| one_line(&error.to_string()))
    }

    fn has(&self, option: &str) -> bool {
        self.options.iter().any(|own| own == option)
    }
}

/// What is wrong, without the picture of where.
fn one_line(words: &str) -> String {
    let last = words.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(words);
    last.trim().trim_start_matches("error: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(pattern: &str, options: &[&str]) -> BodyPattern {
        BodyPattern {
            pattern: pattern.to_owned(),
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            negate: false,
            min_offset: 0,
            max_offset: None,
            stack: None,
        }
    }

    #[test]
    fn options_mean_what_pcre2_means_by_them() {
        let is_in = |words: &str, options: &[&str], body: &str| pattern(words, options).is_in(body.as_bytes()).unwrap();
        assert!(is_in("ok", &["caseless"], "all OK") && !is_in("ok", &[], "all OK"));
        assert!(is_in("a.b", &["dotall"], "a\nb") && !is_in("a.b", &[], "a\nb"));
        assert!(is_in("^b", &["multiline"], "a\nb") && !is_in("^b", &[], "a\nb"));
        assert!(is_in("a b # c", &["extended"], "ab"));
        assert!(is_in("b", &["firstline"], "ab\n") && !is_in("b", &["firstline"], "a\nb"));
        assert!(is_in("^OK$", &[], "OK\n") && !is_in("^OK$", &["dollar_endonly"], "OK\n"));
        assert!(is_in("ä", &[], "ä") && is_in("no_start_optimize", &["no_start_optimize"], "no_start_optimize"));
    }

    #[test]
    fn offsets_are_of_the_matchs_first_byte() {
        let of = |min_offset, max_offset| BodyPattern { min_offset, max_offset, ..pattern("ab", &[]) };
        let body = b"..ab..ab";
        assert!(of(2, Some(2)).is_in(body).unwrap());
        assert!(!of(0, Some(1)).is_in(body).unwrap());
        assert!(of(3, None).is_in(body).unwrap());
        assert!(!of(3, Some(5)).is_in(body).unwrap());
        assert!(!of(7, None).is_in(body).unwrap() && !of(99, None).is_in(body).unwrap());
    }

    #[test]
    fn what_is_not_linear_or_not_known_is_refused() {
        for words in ["(?=a)b", r"(a)\1", "("] {
            assert!(pattern(words, &[]).check().is_err(), "{words}");
        }
        assert!(pattern("a", &["alt_circumflex"]).check().unwrap_err().contains("alt_circumflex"));
    }
}
