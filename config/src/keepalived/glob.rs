//! Patterns of `include`: `*`, `?`, `[a-z]`, `{a,b}`.

use std::path::{Path, PathBuf};

/// A pattern with more alternatives or matches than this is a mistake.
const LIMIT: usize = 256;

/// Whether the pattern can name more than one file.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The files that match, in the order of their names, the first few; an unreadable directory has none.
pub(super) fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for alternative in braces(&pattern.to_string_lossy()) {
        let mut paths = vec![PathBuf::new()];
        for component in Path::new(&alternative).components() {
            let name = component.as_os_str().to_string_lossy();
            paths = if is_pattern(&name) {
                paths.iter().flat_map(|directory| matching(directory, &name)).take(LIMIT).collect()
            } else {
                paths.iter().map(|path| path.join(component)).collect()
            };
        }
        found.extend(paths.into_iter().filter(|path| path.is_file()));
    }
    found.truncate(LIMIT);
    found
}

fn matching(directory: &Path, pattern: &str) -> Vec<PathBuf> {
    let read = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
    let Ok(entries) = std::fs::read_dir(read) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| matches(pattern, name)).collect();
    names.sort();
    names.into_iter().map(|name| directory.join(name)).collect()
}

/// The patterns that one with braces stands for.
pub(super) fn alternatives(pattern: &Path) -> Vec<PathBuf> {
    braces(&pattern.to_string_lossy()).into_iter().map(PathBuf::from).collect()
}

/// The alternatives that `{a,b{c,d}}` stands for.
fn braces(pattern: &str) -> Vec<String> {
    let mut done = Vec::new();
    let mut open = vec![pattern.to_owned()];
    while let Some(next) = open.pop() {
        match group(&next) {
            Some((before, parts, after)) if done.len() + open.len() < LIMIT => {
                open.extend(parts.iter().rev().map(|one| format!("{before}{one}{after}")));
            }
            _ => done.push(next),
        }
    }
    done
}

/// The first outermost group of braces: what is before it, its parts, what is after it.
fn group(pattern: &str) -> Option<(&str, Vec<&str>, &str)> {
    let start = pattern.find('{')?;
    let (mut depth, mut parts, mut from) = (0_usize, Vec::new(), start + 1);
    for (at, c) in pattern.get(start..)?.char_indices().map(|(at, c)| (start + at, c)) {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 1 => {
                parts.push(pattern.get(from..at)?);
                from = at + 1;
            }
            _ => {}
        }
        if depth == 0 {
            parts.push(pattern.get(from..at)?);
            return Some((pattern.get(..start)?, parts, pattern.get(at + 1..)?));
        }
    }
    None
}

/// Whether a name matches a pattern without braces. A leading dot must be matched by a dot.
fn matches(pattern: &str, name: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut p, mut n) = (0, 0);
    // After the last star, where to try again with the star one character longer.
    let mut retry: Option<(usize, usize)> = None;
    while let Some(&c) = name.get(n) {
        if pattern.get(p) == Some(&'*') {
            p += 1;
            retry = Some((p, n));
        } else if let Some(next) = one(&pattern, p, c) {
            (p, n) = (next, n + 1);
        } else if let Some((star, from)) = retry {
            (p, n) = (star, from + 1);
            retry = Some((star, from + 1));
        } else {
            return false;
        }
    }
    pattern.get(p..).unwrap_or(&[]).iter().all(|c| *c == '*')
}

/// Where the pattern goes on after it has matched one character; `None` if it doesn't match.
fn one(pattern: &[char], at: usize, c: char) -> Option<usize> {
    match pattern.get(at)? {
        '?' => Some(at + 1),
        '[' => {
            let end = at + 2 + pattern.get(at + 2..)?.iter().position(|c| *c == ']')?;
            let class = pattern.get(at + 1..end)?;
            let (negated, class) = match class.split_first() {
                Some(('!' | '^', rest)) => (true, rest),
                _ => (false, class),
            };
            let ranges = class.windows(3).any(|w| matches!(w, [from, '-', to] if (*from..=*to).contains(&c)));
            ((ranges || class.contains(&c)) != negated).then_some(end + 1)
        }
        literal => (*literal == c).then_some(at + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_classes_and_braces_match_what_a_shell_would() {
        for (pattern, name, expected) in [
            ("*.conf", "a.conf", true),
            ("*.conf", ".hidden.conf", false),
            ("*a*b*", "xxaxxbxx", true),
            ("[a-c]?.conf", "b1.conf", true),
            ("[!a-c]?.conf", "b1.conf", false),
            ("a", "ab", false),
            ("[", "x", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
        assert_eq!(braces("x.{a,b}{1,2}"), ["x.a1", "x.a2", "x.b1", "x.b2"]);
        assert_eq!(braces("{a"), ["{a"]);
        assert_eq!(braces("{a/{,b,c},d}"), ["a/", "a/b", "a/c", "d"]);
    }
}
