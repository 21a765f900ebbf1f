//! The table of keywords as help: `keepone explain WORD`.
//!
//! What must stay true: what is printed comes from the table that the reading uses, and from nowhere else.

use std::fmt;

use crate::keyword::{Form, Keyword, Path, Status, Tier, nearest, snake, walk};

/// A keyword at its place, for whoever counts or lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeywordEntry {
    /// The blocks around it, outermost first, joined by `/`; empty at the top of a file.
    pub parent: String,
    /// Its name in keepalived.conf.
    pub name: &'static str,
    /// How common it is: A, B or C; `None` for keepone's own.
    pub tier: Option<char>,
    /// What becomes of it.
    pub status: KeywordStatus,
}

/// What becomes of a keyword.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeywordStatus {
    /// The agent does it.
    Active,
    /// Read into the model and checked; not yet active.
    Later,
    /// Nothing follows from it.
    Ignored,
    /// A file that has it is refused.
    Refused,
}

/// Every keyword of both languages, in the order of the table.
pub fn keywords() -> Vec<KeywordEntry> {
    let entry = |path: Path| KeywordEntry {
        parent: path.parent,
        name: path.keyword.name,
        tier: tier(path.keyword.tier),
        status: match path.status {
            Status::Active => KeywordStatus::Active,
            Status::Later => KeywordStatus::Later,
            Status::Ignored(_) => KeywordStatus::Ignored,
            Status::Refused(_) => KeywordStatus::Refused,
        },
    };
    walk().into_iter().map(entry).collect()
}

/// There is no such keyword.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct UnknownKeyword {
    /// What was asked for.
    pub word: String,
    /// Keywords that it may have been meant for, the likeliest first.
    pub suggestions: Vec<&'static str>,
}

impl fmt::Display for UnknownKeyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no keyword `{}`", self.word)?;
        match self.suggestions.as_slice() {
            [] => f.write_str("; docs/configuration.md lists them by their blocks"),
            words => write!(f, "; did you mean {}?", words.join(", ")),
        }
    }
}

/// What a keyword means, wherever it stands; `block/keyword` asks for one place alone. Several lines.
pub fn explain_keyword(word: &str) -> Result<String, UnknownKeyword> {
    let (block, name) = match word.rsplit_once('/') {
        Some((block, name)) => (Some(block), name),
        None => (None, word),
    };
    let all = walk();
    let fits = |path: &&Path| {
        let named = path.keyword.name == name || snake(path.keyword.name) == name;
        named && block.is_none_or(|block| path.parent == block || path.parent.ends_with(&format!("/{block}")))
    };
    let found: Vec<&Path> = all.iter().filter(fits).collect();
    if found.is_empty() {
        return Err(UnknownKeyword { word: word.to_owned(), suggestions: suggestions(name, &all) });
    }
    // Places where it means the same are told of once.
    let mut groups: Vec<(&Path, Vec<&str>)> = Vec::new();
    for path in found {
        let place = if path.parent.is_empty() { "the top of the file" } else { path.parent.as_str() };
        match groups.iter_mut().find(|(first, _)| is_same(first, path)) {
            Some((_, places)) => places.push(place),
            None => groups.push((path, vec![place])),
        }
    }
    let texts: Vec<String> = groups.iter().map(|(path, places)| describe(path, places)).collect();
    Ok(texts.join("\n\n"))
}

fn is_same(a: &Path, b: &Path) -> bool {
    let words = |k: &Keyword| (k.meaning, k.default, k.range, k.unit, k.tier);
    words(a.keyword) == words(b.keyword) && a.status == b.status
}

fn describe(path: &Path, places: &[&str]) -> String {
    let keyword = path.keyword;
    let mut lines = vec![format!("{}: {}", keyword.name, keyword.meaning)];
    let mut line = |label: &str, text: &str| {
        if !text.is_empty() {
            lines.push(format!("  {:<9}{text}", format!("{label}:")));
        }
    };
    line("in", &places.join(", "));
    line("write", &usage(keyword));
    line("takes", keyword.range);
    line("unit", keyword.unit);
    line("default", keyword.default);
    line("status", &status(path));
    let source = match keyword.tier {
        Tier::A => "keepalived.conf(5); in most installations",
        Tier::B => "keepalived.conf(5); in some installations",
        Tier::C => "keepalived.conf(5); rare or deprecated",
        Tier::Own => "keepone's own",
    };
    line("source", source);
    lines.join("\n")
}

/// How it is written in both languages.
fn usage(keyword: &Keyword) -> String {
    let (name, key) = (keyword.name, snake(keyword.name));
    match keyword.form {
        Form::Flag => format!("`{name}`, TOML `{key} = true`"),
        Form::Value => format!("`{name} VALUE`, TOML `{key} = VALUE`"),
        Form::Words => format!("`{name} VALUE...`, TOML `{key} = [VALUE, ...]`"),
        Form::Maybe => format!("`{name} [VALUE...]`, TOML `{key} = true` or `{key} = [VALUE, ...]`"),
        Form::Lines => format!("`{name} {{` lines `}}`, TOML `{key} = [\"LINE\", ...]`"),
        Form::NamedLines => format!("`{name} NAME {{` lines `}}`, TOML `[[{key}]]` with `name` and `members`"),
        Form::Block(_) => format!("`{name} {{ ... }}`, TOML `[{key}]`"),
        Form::Named(_) => format!("`{name} NAME {{ ... }}`, TOML `[[{key}]]` with `name`"),
        Form::Server(_) => format!("`{name} ADDRESS [PORT] {{ ... }}`, TOML `[[{key}]]` with `address` and `port`"),
        Form::Any => name.to_owned(),
    }
}

fn status(path: &Path) -> String {
    match path.status {
        Status::Active => String::from("active"),
        Status::Later => String::from("read and checked, but not yet active"),
        Status::Ignored(instead) => format!("nothing follows from it: {instead}"),
        Status::Refused(instead) => format!("refused, because to ignore it is not safe: {instead}"),
    }
}

fn tier(tier: Tier) -> Option<char> {
    match tier {
        Tier::A => Some('A'),
        Tier::B => Some('B'),
        Tier::C => Some('C'),
        Tier::Own => None,
    }
}

/// The most like it, and those that contain it.
fn suggestions(name: &str, all: &[Path]) -> Vec<&'static str> {
    let mut names: Vec<&'static str> = all.iter().map(|path| path.keyword.name).collect();
    names.sort_unstable();
    names.dedup();
    let mut found: Vec<&'static str> = nearest(name, names.iter().copied()).into_iter().collect();
    let holding = names.iter().filter(|known| name.len() >= 3 && known.contains(name)).copied();
    found.extend(holding.filter(|known| !found.contains(known)).take(8).collect::<Vec<_>>());
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keyword_says_what_it_means_takes_and_where_it_stands() {
        let text = explain_keyword("advert_int").unwrap();
        for part in
            ["time between two advertisements", "vrrp_instance", "0.01..255", "unit:    s", "default: 1", "active"]
        {
            assert!(text.contains(part), "{part} in {text}");
        }
    }

    #[test]
    fn places_with_one_meaning_are_told_of_once_and_others_apart() {
        let text = explain_keyword("weight").unwrap();
        assert!(text.matches("weight:").count() >= 4, "{text}");
        let one = explain_keyword("real_server/weight").unwrap();
        assert!(one.contains("its share") && one.matches("weight:").count() == 1, "{one}");
        assert_eq!(explain_keyword("tcp_check").unwrap(), explain_keyword("TCP_CHECK").unwrap());
    }

    #[test]
    fn an_unknown_word_brings_suggestions() {
        let error = explain_keyword("prioritty").unwrap_err();
        assert_eq!(error.suggestions.first(), Some(&"priority"));
        let error = explain_keyword("snmp").unwrap_err();
        assert!(error.suggestions.contains(&"enable_snmp_vrrp"), "{error}");
        assert!(explain_keyword("xyzzy").unwrap_err().suggestions.is_empty());
    }

    #[test]
    fn what_is_ignored_says_what_to_do_instead() {
        let text = explain_keyword("net_namespace").unwrap();
        assert!(text.contains("refused") && text.contains("ip netns exec"), "{text}");
    }
}
