//! `docs/interop.md`: one section for each program that was run beside keepone.

use std::path::PathBuf;
use std::sync::Mutex;

/// What was seen beside one program.
#[derive(Debug)]
pub struct Section {
    /// Program and version.
    pub title: String,
    /// The tables.
    pub lines: Vec<String>,
}

/// Two tests write to one page.
static PAGE: Mutex<()> = Mutex::new(());

fn path() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/interop.md"))
}

impl Section {
    fn text(&self) -> String {
        format!("## {}\n\n{}", self.title, self.lines.join("\n"))
    }
}

/// What stands before the first section, and the sections.
fn sections(page: &str) -> Vec<String> {
    let mut parts = page.split("\n## ");
    let head = parts.next().unwrap_or("").to_owned();
    std::iter::once(head).chain(parts.map(|part| format!("## {part}"))).map(|part| part.trim_end().to_owned()).collect()
}

/// Fails where the page says something else; with `UPDATE=1` makes it say the same. A failed cell is a failure
/// whatever the page says.
pub fn compare(section: &Section, failures: &[String]) {
    let _alone = PAGE.lock();
    let page = std::fs::read_to_string(path()).unwrap();
    let mut sections = sections(&page);
    let (text, title) = (section.text(), format!("## {}\n", section.title));
    let said = sections.iter_mut().find(|said| said.starts_with(&title));
    if std::env::var_os("UPDATE").is_some() {
        match said {
            Some(said) => *said = text,
            None => sections.push(text),
        }
        std::fs::write(path(), sections.join("\n\n") + "\n").unwrap();
    } else if let Some(said) = said {
        assert!(
            *said == text,
            "docs/interop.md says otherwise of {} (UPDATE=1 writes what was seen):\n{text}\n\ninstead of\n{said}\n{}",
            section.title,
            failures.join("\n\n")
        );
    } else {
        // Another version of the program than those of the page: every cell must hold, and nothing is compared.
        let program = section.title.split(' ').next().unwrap_or("");
        let known = sections.iter().any(|said| said.starts_with(&format!("## {program} ")));
        assert!(known, "docs/interop.md has nothing of {}: UPDATE=1 writes what was seen:\n{text}", section.title);
        println!("docs/interop.md has no section for {}; UPDATE=1 writes it:\n{text}", section.title);
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
