//! The table of keywords as a manual page, keepone.conf(5), in roff.
//!
//! What must stay true: what it says of a keyword comes from the table that the reading uses.

use std::fmt::Write as _;

use crate::keyword::{Form, Path, Status, Tier, walk};

const HEAD: &str = r#".TH KEEPONE.CONF 5 "" "keepone" "keepone"
.SH NAME
keepone.conf \- configuration of the keepone agent
.SH DESCRIPTION
A file whose name ends in
.B .toml
is in TOML; any other is in the language of keepalived.conf, with the same keywords: where they are spelt in capitals here,
TOML has them in small letters.
.PP
.B keepone check
.I FILE
says everything that is wrong with a file,
.B keepone convert
writes it in the other language, and
.B keepone explain
.I KEYWORD
says what stands below of one keyword.
"#;

/// The page, from `.TH` on.
pub fn manual() -> String {
    let mut page = HEAD.to_owned();
    let mut block = None;
    let mut paths = walk();
    // Each block in one piece, in the order of the table.
    let mut order: Vec<String> = Vec::new();
    for path in &paths {
        if !order.contains(&path.parent) {
            order.push(path.parent.clone());
        }
    }
    paths.sort_by_key(|path| order.iter().position(|parent| *parent == path.parent));
    for path in paths {
        if block.as_ref() != Some(&path.parent) {
            let title = if path.parent.is_empty() { "TOP OF THE FILE".to_owned() } else { escape(&path.parent) };
            line(&mut page, format_args!(".SH \"{title}\""));
            block = Some(path.parent.clone());
        }
        entry(&mut page, &path);
    }
    page.push_str(".SH SEE ALSO\n.BR keepone (8),\n.BR keepone\\-witness (8)\n");
    page
}

fn entry(page: &mut String, path: &Path) {
    let keyword = path.keyword;
    let form = match keyword.form {
        Form::Flag => "[on|off]",
        Form::Value => "VALUE",
        Form::Words => "WORD...",
        Form::Maybe => "[WORD...]",
        Form::Lines | Form::Block(_) => "{ ... }",
        Form::NamedLines | Form::Named(_) => "NAME { ... }",
        Form::Server(_) => "ADDRESS [PORT] { ... }",
        Form::Any => "...",
    };
    line(page, format_args!(".TP\n.BI \"{} \" \"{}\"", escape(keyword.name), escape(form)));
    line(page, format_args!("{}", escape(&sentence(keyword.meaning))));
    let more = [("Range", keyword.range), ("Unit", keyword.unit), ("Default", keyword.default)];
    for (what, text) in more.into_iter().filter(|(_, text)| !text.is_empty()) {
        line(page, format_args!("{what}: {}", escape(&sentence(text))));
    }
    if keyword.adds {
        line(page, format_args!("May be written more than once."));
    }
    if keyword.tier == Tier::Own {
        line(page, format_args!("Of keepone alone."));
    }
    match path.status {
        Status::Active => {}
        Status::Later => line(page, format_args!("Read and checked; the agent does not do it yet.")),
        Status::Ignored(instead) => line(page, format_args!("Nothing follows from it: {}", escape(&sentence(instead)))),
        Status::Refused(instead) => line(page, format_args!("Refused: {}", escape(&sentence(instead)))),
    }
}

fn sentence(text: &str) -> String {
    if text.ends_with(['.', '!', '?']) { text.to_owned() } else { format!("{text}.") }
}

fn line(page: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a String never fails.
    let _ = writeln!(page, "{text}");
}

/// As text in roff: no line of it is a request, no hyphen a dash.
fn escape(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('"', "\\(dq");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_has_every_keyword_at_its_place_and_no_request_of_a_texts() {
        let page = manual();
        let requests = [".TH", ".SH", ".TP", ".PP", ".B ", ".I ", ".BI", ".BR"];
        for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
            assert!(requests.iter().any(|request| line.starts_with(request)), "{line}");
        }
        let entries = page.lines().filter(|line| line.starts_with(".BI ")).count();
        assert_eq!(entries, walk().len());
        let (_, instance) = page.split_once(".SH \"vrrp_instance\"\n").unwrap();
        let (instance, _) = instance.split_once("\n.SH ").unwrap();
        assert!(instance.contains(".BI \"virtual_router_id \"") && instance.contains("Range: 1..255."), "{instance}");
        assert_eq!(escape(".x-\"y"), "\\&.x\\-\\(dqy");
    }
}
