//! `~SEQ(NAME, START, STEP, END)`, `~SEQx(...)`, `~LST(NAME, VALUE, ...)`, `~LST({A, B}, {1, 2}, ...)`.
//!
//! What must stay true: the values are made one at a time, so that a sequence costs nothing before it is read.

use super::line::is_blank;

/// What stands before the rest of its line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head<'a> {
    pub kind: Kind,
    /// Between the brackets.
    pub inside: &'a str,
    /// Where that begins.
    pub at: usize,
    /// Where the rest of the line begins.
    pub end: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Decimal,
    Hexadecimal,
    List,
}

/// The names, and the values that they have one after the other.
#[derive(Debug)]
pub(super) enum Sequence {
    Numbers { name: String, next: i64, step: i64, end: i64, hexadecimal: bool },
    List { names: Vec<String>, rows: std::vec::IntoIter<Vec<String>> },
}

impl Iterator for Sequence {
    /// Each name with its value.
    type Item = Vec<(String, String)>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Sequence::Numbers { name, next, step, end, hexadecimal } => {
                let value = *next;
                if (*step > 0 && value > *end) || (*step < 0 && value < *end) {
                    return None;
                }
                // Far from the ends of the type: `number` takes 32 bits.
                *next = value.saturating_add(*step);
                let text = if *hexadecimal { format!("{value:x}") } else { value.to_string() };
                Some(vec![(name.clone(), text)])
            }
            Sequence::List { names, rows } => {
                let mut row = rows.next()?.into_iter();
                Some(names.iter().map(|name| (name.clone(), row.next().unwrap_or_default())).collect())
            }
        }
    }
}

/// Reads `~SEQ(...)` at the start of a line; the error says what to write.
pub(super) fn head(text: &str) -> Result<Head<'_>, &'static str> {
    const FORMS: &str =
        "write ~SEQ(NAME, START, STEP, END), ~SEQx(...) or ~LST(NAME, VALUE, ...), then what is repeated";
    let open = text.find('(').ok_or(FORMS)?;
    let kind = match text.get(..open).unwrap_or("").trim_end_matches(is_blank) {
        "~SEQ" => Kind::Decimal,
        "~SEQx" => Kind::Hexadecimal,
        "~LST" => Kind::List,
        _ => return Err(FORMS),
    };
    let (inside, _) = text.get(open + 1..).and_then(|rest| rest.split_once(')')).ok_or("close it with a `)`")?;
    Ok(Head { kind, inside, at: open + 1, end: open + 1 + inside.len() + 1 })
}

/// Reads what stands between the brackets, names filled in; the error says what is wrong with it.
pub(super) fn sequence(kind: Kind, inside: &str) -> Result<Sequence, String> {
    match kind {
        Kind::List => list(inside),
        Kind::Decimal | Kind::Hexadecimal => numbers(inside, kind == Kind::Hexadecimal),
    }
}

fn numbers(inside: &str, hexadecimal: bool) -> Result<Sequence, String> {
    let mut parts = inside.split(',').map(|part| part.trim_matches(is_blank));
    let name = name(parts.next().unwrap_or(""))?;
    let values = parts.map(number).collect::<Result<Vec<i64>, String>>()?;
    let (start, step, end) = match *values.as_slice() {
        [end] => (if end < 0 { -1 } else { 1 }, None, end),
        [start, end] => (start, None, end),
        [start, step, end] => (start, Some(step), end),
        _ => return Err(String::from("a name and one to three numbers are wanted: NAME, START, STEP, END")),
    };
    let step = step.unwrap_or(if end < start { -1 } else { 1 });
    if step == 0 || (step > 0) != (end >= start) && start != end {
        return Err(format!("from {start} in steps of {step} it never comes to {end}"));
    }
    Ok(Sequence::Numbers { name, next: start, step, end, hexadecimal })
}

/// Decimal, `0x` hexadecimal, or octal with a leading zero, as C reads them.
fn number(text: &str) -> Result<i64, String> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u32::from_str_radix(hex, 16),
        None if digits.starts_with('0') => u32::from_str_radix(digits, 8),
        None => digits.parse(),
    };
    let value = value.map(i64::from).map_err(|_| format!("`{text}` is not a whole number below 4294967296"))?;
    Ok(if negative { -value } else { value })
}

fn name(text: &str) -> Result<String, String> {
    let starts = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(text.to_owned());
    }
    Err(format!("`{text}` is not a name: letters, digits and `_`"))
}

fn list(inside: &str) -> Result<Sequence, String> {
    let mut parts = split(inside)?.into_iter();
    let names: Vec<String> =
        parts.next().unwrap_or_default().iter().map(|part| name(part)).collect::<Result<_, _>>()?;
    let rows: Vec<Vec<String>> = parts.collect();
    if rows.is_empty() {
        return Err(String::from("at least one value is wanted after the name"));
    }
    if let Some(row) = rows.iter().find(|row| row.len() > names.len()) {
        return Err(format!("{} values, where there are {} names", row.len(), names.len()));
    }
    if rows.iter().flatten().any(|value| value.contains(is_blank) || value.contains('"')) {
        return Err(String::from("a value can't hold a blank or a quote"));
    }
    Ok(Sequence::List { names, rows: rows.into_iter() })
}

/// `a, {b, c}` as its parts, each a row.
fn split(inside: &str) -> Result<Vec<Vec<String>>, String> {
    let mut parts = Vec::new();
    let mut rest = inside;
    loop {
        rest = rest.trim_start_matches(is_blank);
        let after = match rest.strip_prefix('{') {
            Some(group) => {
                let (group, after) = group.split_once('}').ok_or_else(|| String::from("a `{` is not closed"))?;
                parts.push(group.split(',').map(|part| part.trim_matches(is_blank).to_owned()).collect());
                after.trim_start_matches(is_blank)
            }
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                let (part, after) = rest.split_at(end);
                parts.push(vec![part.trim_matches(is_blank).to_owned()]);
                after
            }
        };
        match after.strip_prefix(',') {
            Some(more) => rest = more,
            None if after.is_empty() => return Ok(parts),
            None => return Err(String::from("a comma is wanted between the values")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(kind: Kind, inside: &str) -> Result<Vec<String>, String> {
        let row = |row: Vec<(String, String)>| {
            row.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
        };
        Ok(sequence(kind, inside)?.take(100).map(row).collect())
    }

    #[test]
    fn numbers_run_from_start_to_end_in_steps() {
        for (inside, expected) in [
            ("A,3", "A=1 A=2 A=3"),
            ("A,-2", "A=-1 A=-2"),
            ("A,3,1", "A=3 A=2 A=1"),
            (" A , 0 , 2 , 5", "A=0 A=2 A=4"),
            ("A,1,2,2", "A=1"),
            ("A,4,4", "A=4"),
            ("A,0x10,-1,017", "A=16 A=15"),
        ] {
            assert_eq!(values(Kind::Decimal, inside).unwrap().join(" "), expected, "{inside}");
        }
        assert_eq!(values(Kind::Hexadecimal, "A,0xe,0x10").unwrap(), ["A=e", "A=f", "A=10"]);
        assert_eq!(values(Kind::Decimal, "A,4294967295,4294967295").unwrap().len(), 1);
        for wrong in ["A", "A,x", "A,1,0,3", "A,1,2,3,4", "A,1,-1,3", "1,3", "", "A,99999999999"] {
            assert!(values(Kind::Decimal, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn lists_fill_one_name_or_several() {
        for (inside, expected) in [
            ("A,x,y", "A=x;A=y"),
            ("{A, B},{1,a},{2}", "A=1 B=a;A=2 B="),
            ("{A,B},1,2", "A=1 B=;A=2 B="),
            ("A,", "A="),
            ("A, x , y ", "A=x;A=y"),
        ] {
            assert_eq!(values(Kind::List, inside).unwrap().join(";"), expected, "{inside}");
        }
        for wrong in ["A", "A,x y", "A,{1,2}", "A,\"x\"", "{A,B", "{A}x,1", "{A,},1"] {
            assert!(values(Kind::List, wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_head_ends_at_its_bracket() {
        let found = head("~SEQ (A,1,2)x").unwrap();
        assert_eq!((found.kind, found.inside, found.at, found.end), (Kind::Decimal, "A,1,2", 6, 12));
        assert!(head("~SEQ(A,1").is_err() && head("~SEQY(A,1)").is_err() && head("~x").is_err());
    }
}
