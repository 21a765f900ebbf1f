//! `$NAME` and `${NAME}`: definitions, and lines with their values filled in.
//!
//! Values are filled in where they are used, not where they are defined, so a value may name what is defined later.
//! `$NAME` counts only before a blank or the line's end, `${NAME}` anywhere, in quotes too.
//!
//! What must stay true: a definition that holds itself, and values that grow without bound, are refused before they
//! cost memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::diagnostic::{Report, Severity};
use crate::source::{Place, Step};

use super::lexer;
use super::line::{Line, Name, Use, is_blank};

/// Bytes that a line can become.
const MAX_LINE: usize = 64 << 10;
/// Values that can be filled into one line, those within values counted: some may be empty.
const MAX_USES: usize = 4096;

/// What a name stands for.
#[derive(Debug)]
pub(super) struct Definition {
    /// One line, or the lines that stand for the one that holds the name.
    pub lines: Vec<Line<'static>>,
    /// Where the value was written.
    pub place: Place,
    /// What a word that is partly the value says of it.
    pub step: Step,
    /// Whether the value was written byte for byte.
    pub verbatim: bool,
}

/// All that can be filled in.
#[derive(Debug)]
pub(super) struct Definitions {
    named: BTreeMap<Name, Rc<Definition>>,
    /// `${_INSTANCE}`
    pub config_id: String,
    /// `${_ENV NAME}`
    environment: BTreeMap<String, String>,
    /// The file that is being read.
    pub file: PathBuf,
    pub random: Random,
    /// Bytes of all lines that values were filled into.
    pub filled: usize,
    /// Values that were filled in.
    pub uses: usize,
}

/// The numbers of `${_RANDOM}`: the same at every load of this node, until the file says another seed.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers that this seed stands for; they are not keepalived's.
    pub(super) fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// Numbers of this node's own.
    pub(super) fn of_node(config_id: &str) -> Self {
        // FNV-1a: a name's numbers must not change with the compiler.
        Random(
            config_id
                .bytes()
                .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)),
        )
    }

    /// Splitmix64.
    fn between(&mut self, min: u64, max: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        min + (z ^ (z >> 31)) % (max - min).saturating_add(1)
    }
}

/// A `$NAME` in a text.
#[derive(Debug, PartialEq, Eq)]
struct Reference<'a> {
    name: &'a str,
    /// What follows the name inside the braces.
    arguments: &'a str,
    /// All of it, from the `$` on, in bytes.
    len: usize,
    braced: bool,
}

/// The reference at the start of a text.
fn reference(text: &str) -> Option<Reference<'_>> {
    let after = text.strip_prefix('$')?;
    let (inside, braced) = match after.strip_prefix('{') {
        Some(inside) => (inside, true),
        None => (after, false),
    };
    let end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
    let (name, rest) = inside.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if !braced {
        return Some(Reference { name, arguments: "", len: 1 + name.len(), braced });
    }
    let (arguments, _) = rest.split_once('}')?;
    if !arguments.is_empty() && !arguments.starts_with(is_blank) {
        return None;
    }
    Some(Reference { name, arguments: arguments.trim(), len: 3 + name.len() + arguments.len(), braced })
}

/// `$NAME=`: the name, and where its value begins.
pub(super) fn definition(text: &str) -> Option<(&str, usize)> {
    let (name, _) = text.strip_prefix('$')?.split_once('=')?;
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_name = starts && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    is_name.then_some((name, name.len() + 2))
}

/// A line that can't be used; it was complained of.
#[derive(Debug)]
pub(super) struct Refused;

/// One line being filled.
struct Filling<'a> {
    definitions: &'a mut Definitions,
    report: &'a mut Report,
    out: Line<'static>,
    /// Names whose values are being filled in.
    open: Vec<Name>,
    /// Whether a name also ends before a comma or a bracket.
    loose: bool,
    /// Whether a name that is not defined may well be meant for a script.
    script: bool,
    uses: usize,
    /// The line that is being filled.
    at: Place,
    /// Names that are not defined: nothing to say of them before a sequence has been read.
    undefined: Vec<(Severity, Place, String)>,
}

impl Definitions {
    pub(super) fn new(config_id: &str, environment: &[(String, String)]) -> Self {
        Definitions {
            named: BTreeMap::new(),
            config_id: config_id.to_owned(),
            environment: environment.iter().cloned().collect(),
            file: PathBuf::new(),
            random: Random::of_node(config_id),
            filled: 0,
            uses: 0,
        }
    }

    pub(super) fn define(&mut self, name: &str, definition: Definition) {
        self.named.insert(Name::from(name), Rc::new(definition));
    }

    /// The definition of several lines that a line consists of, and its name.
    pub(super) fn lines_of(&self, line: &str) -> Option<(Name, Rc<Definition>)> {
        let reference = reference(line).filter(|found| found.len == line.len())?;
        let (name, definition) = self.named.get_key_value(reference.name)?;
        (definition.lines.len() != 1).then(|| (name.clone(), definition.clone()))
    }

    /// The line with its values filled in. `loose`: the line is a list, in which a name also ends before a comma.
    pub(super) fn fill(&mut self, report: &mut Report, line: &Line<'_>, loose: bool) -> Result<Line<'static>, Refused> {
        let keyword = line.text.split(is_blank).next().unwrap_or("");
        let (out, script) = (Line::like(line), lexer::as_shell(keyword));
        let span = line.span(0..line.text.len());
        let at = Place::Text { file: line.file, start: span.start, end: span.end };
        let (open, undefined) = (Vec::new(), Vec::new());
        let mut filling = Filling { definitions: self, report, out, open, loose, script, uses: 0, at, undefined };
        let (added, uses) = (filling.add(line, None), filling.uses);
        let Filling { out, undefined, .. } = filling;
        self.filled += out.text.len();
        self.uses += uses;
        added?;
        if out.text.starts_with('~') && !loose {
            return Ok(out);
        }
        let fatal = undefined.iter().any(|(severity, ..)| *severity == Severity::Error);
        for (severity, place, name) in undefined {
            let stays = if severity == Severity::Error { "" } else { ", and stays as it is" };
            let help = format!("define it on a line above: `${name}=VALUE`, with no blank before the `=`");
            report.push(severity, &place, format!("`${name}` is not defined{stays}"), help);
        }
        if fatal { Err(Refused) } else { Ok(out) }
    }

    /// What keepalived itself defines; `None` if the name is not one of these.
    fn built_in(&mut self, name: &str, arguments: &str) -> Option<Result<String, String>> {
        Some(match name {
            "_PWD" => Ok(directory(&self.file)),
            "_INSTANCE" => Ok(self.config_id.clone()),
            "_HASH" => Ok(String::from("#")),
            "_BANG" => Ok(String::from("!")),
            "_RANDOM" => {
                let mut numbers = arguments.split_whitespace().map(str::parse::<u32>);
                let (min, max) = (numbers.next().unwrap_or(Ok(0)), numbers.next().unwrap_or(Ok(32767)));
                match (min, max, numbers.next()) {
                    (Ok(min), Ok(max), None) if min <= max => {
                        Ok(self.random.between(u64::from(min), u64::from(max)).to_string())
                    }
                    _ => Err(String::from("write ${_RANDOM}, ${_RANDOM MIN} or ${_RANDOM MIN MAX}, MIN not above MAX")),
                }
            }
            "_ENV" => match self.environment.get(arguments) {
                Some(value) => Ok(value.replace(['\n', '\r'], " ")),
                None => Err(format!("no environment variable `{arguments}` is set: set it, or write the value")),
            },
            _ => return None,
        })
    }
}

/// Of a file, as a full path.
fn directory(file: &Path) -> String {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let full = std::fs::canonicalize(parent).or_else(|_| std::path::absolute(parent));
    full.unwrap_or_else(|_| parent.to_owned()).display().to_string()
}

impl Filling<'_> {
    /// Adds a line and what its names stand for; `by` is the use that it is the value of.
    fn add(&mut self, line: &Line<'_>, by: Option<usize>) -> Result<(), Refused> {
        let text = &*line.text;
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| rest.find('$')) {
            let dollar = at + found;
            self.copy(line, at..dollar, by)?;
            at = dollar;
            let rest = text.get(dollar..).unwrap_or("");
            let Some(found) = reference(rest) else {
                self.copy(line, dollar..dollar + 1, by)?;
                at += 1;
                continue;
            };
            let range = dollar..dollar + found.len;
            if self.ends(text, &found, range.clone(), line) {
                self.value(line, &found, range.clone(), by)?;
            } else {
                self.copy(line, range.clone(), by)?;
            }
            at = range.end;
        }
        self.copy(line, at..text.len(), by)
    }

    /// Whether the name ends where keepalived would see its end; says so if it doesn't and is defined.
    fn ends(&mut self, text: &str, found: &Reference<'_>, range: Range<usize>, line: &Line<'_>) -> bool {
        let next = text.get(range.end..).and_then(|rest| rest.chars().next());
        let ends = match next {
            _ if found.braced => true,
            None => true,
            Some(c) => is_blank(c) || (self.loose && matches!(c, ',' | ')' | '}')),
        };
        if !ends && self.definitions.named.contains_key(found.name) {
            let message = format!("`${}` is not filled in here, since no blank follows it", found.name);
            let help = format!("write `${{{}}}`", found.name);
            self.report.warning(&self.place(line, range), message, help);
        }
        ends
    }

    fn place(&self, line: &Line<'_>, range: Range<usize>) -> Place {
        let span = line.span(range);
        Place::Text { file: line.file, start: span.start, end: span.end }
    }

    fn copy(&mut self, line: &Line<'_>, range: Range<usize>, by: Option<usize>) -> Result<(), Refused> {
        if range.is_empty() {
            return Ok(());
        }
        if self.out.text.len() + range.len() > MAX_LINE {
            let message = format!("with its values filled in this line has more than {} KiB", MAX_LINE >> 10);
            return self.too_much(message);
        }
        match by {
            Some(by) => self.out.push_value(line, range, line.file, by),
            None => self.out.push(line, range),
        }
        Ok(())
    }

    fn too_much(&mut self, message: String) -> Result<(), Refused> {
        let help = "look for a value that grows with every use, or write several lines";
        self.report.error(&self.at, message, help);
        Err(Refused)
    }

    fn value(
        &mut self,
        line: &Line<'_>,
        found: &Reference<'_>,
        range: Range<usize>,
        by: Option<usize>,
    ) -> Result<(), Refused> {
        let place = self.place(line, range.clone());
        let Some((name, definition)) = self.definitions.named.get_key_value(found.name) else {
            return self.undefined(line, found, range, by);
        };
        let (name, definition) = (name.clone(), definition.clone());
        let [value] = definition.lines.as_slice() else {
            let message = format!("`${name}` stands for several lines, and this is a part of one");
            self.report.error(&place, message, "write it alone on its line");
            return Err(Refused);
        };
        self.uses += 1;
        if self.uses > MAX_USES {
            let message = format!("more than {MAX_USES} values are filled into this line");
            return self.too_much(message);
        }
        if self.open.contains(&name) {
            self.report.error(&definition.place, format!("the value of `${name}` holds itself"), "define it without");
            return Err(Refused);
        }
        let by = by.unwrap_or_else(|| {
            let (step, defined) = (definition.step.clone(), Some(definition.place.clone()));
            self.out.add_use(Use::new(line.span(range), step, defined))
        });
        if !definition.verbatim {
            self.out.push_made(&value.text, by);
            return Ok(());
        }
        let reading = self.report.sources.again(value.file, Step::Filled(name.clone()), place, line.file);
        self.open.push(name);
        let filled = self.add(&value.in_reading(reading), Some(by));
        self.open.pop();
        filled
    }

    /// A name of keepalived's own, or one that stays as it is.
    fn undefined(
        &mut self,
        line: &Line<'_>,
        found: &Reference<'_>,
        range: Range<usize>,
        by: Option<usize>,
    ) -> Result<(), Refused> {
        let place = self.place(line, range.clone());
        match self.definitions.built_in(found.name, found.arguments) {
            Some(Ok(value)) => {
                let step = Step::Defined(Name::from(found.name));
                let by = by.unwrap_or_else(|| self.out.add_use(Use::new(line.span(range), step, None)));
                self.out.push_made(&value, by);
                return Ok(());
            }
            Some(Err(help)) => {
                self.report.error(&place, format!("`${}` can't be filled in", found.name), help);
                return Err(Refused);
            }
            None => {}
        }
        let quoted = self.out.text.matches('"').count() % 2 == 1;
        if found.braced && !quoted {
            // Its braces would be taken for a block's.
            self.undefined.push((Severity::Error, place, found.name.to_owned()));
        } else if !self.script && !quoted && !self.out.text.trim().is_empty() {
            self.undefined.push((Severity::Warning, place, found.name.to_owned()));
        }
        self.copy(line, range, by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_after_a_dollar() {
        let found = |text| reference(text).map(|found| (found.name, found.arguments, found.len));
        assert_eq!(found("$A b"), Some(("A", "", 2)));
        assert_eq!(found("${A_1}b"), Some(("A_1", "", 6)));
        assert_eq!(found("${_RANDOM 1 2}b"), Some(("_RANDOM", "1 2", 14)));
        for text in ["$1", "$", "${}", "${A", "$$A", "${A-b}", "A"] {
            assert_eq!(found(text), None, "{text}");
        }
        assert_eq!(definition("$A=b"), Some(("A", 3)));
        for text in ["$A =b", "$1=b", "$=b", "${A}=b", "A=b"] {
            assert_eq!(definition(text), None, "{text}");
        }
    }

    #[test]
    fn random_numbers_are_within_their_bounds_and_follow_the_seed() {
        let numbers = |seed| {
            let mut random = Random::new(seed);
            std::array::from_fn::<u64, 100, _>(|_| random.between(3, 5))
        };
        assert_eq!(numbers(7), numbers(7));
        assert_ne!(numbers(7), numbers(8));
        assert!((3..=5).all(|n| numbers(7).contains(&n)) && numbers(7).iter().all(|n| (3..=5).contains(n)));
    }
}
