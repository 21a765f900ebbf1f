use std::path::Path;

use super::*;
use crate::diagnostic::Report;
use crate::tree::Item;

fn read(text: &str) -> (Vec<Item>, Vec<String>) {
    let mut report = Report::default();
    let file = report.sources.add(String::from("t.conf"), text);
    let items = parse(&mut report, file, Path::new("t.conf"), &Parsing { config_id: String::from("n1") });
    (items, report.finish().iter().map(ToString::to_string).collect())
}

/// The tree on one line: `a b { c; d { } }`.
fn show(items: &[Item]) -> String {
    let one = |item: &Item| {
        let words: Vec<String> = item.line().map(|word| word.text.replace(' ', "_")).collect();
        match &item.block {
            Some(block) => format!("{} {{ {} }}", words.join(" "), show(block)),
            None => words.join(" "),
        }
    };
    items.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn tree(text: &str) -> String {
    let (items, complaints) = read(text);
    assert!(complaints.is_empty(), "{complaints:?}");
    show(&items)
}

#[test]
fn blocks_quotes_and_comments_are_read() {
    assert_eq!(tree("a b { c d # x\n ! y\n e 'f g' \"h \\\" i\" }\nk"), "a b { c d; e f_g h_\"_i }; k");
    assert_eq!(tree("a\n{\n b }"), "a { b }");
    assert_eq!(tree("a{\nb\n}"), "a { b }");
    assert_eq!(tree("\u{feff}a\r\nb\r\n"), "a; b");
    assert_eq!(tree("a x{1,2} {\n}"), "a x{1,2} {  }");
}

#[test]
fn definitions_are_filled_in_and_unknown_ones_stay() {
    assert_eq!(tree("$A=1 2\nx $A ${A}b $B '$A' \"$A\""), "x 1 2 1 2b $B $A 1_2");
    assert_eq!(tree("$A=$A$A\nx y"), "x y");
    assert_eq!(tree("$A=eth\n$B=${A}0\nx $B"), "x eth0");
}

#[test]
fn a_definition_that_holds_itself_ends() {
    let (items, _) = read("$A=$A$A$A$A\nx $A");
    assert_eq!(items.len(), 1);
}

#[test]
fn a_condition_keeps_or_drops_its_line_with_its_block() {
    assert_eq!(tree("@n1 a\n@n2 b\n@^n1 c\n@^n2 d"), "a; d");
    assert_eq!(tree("z\n@n2 b {\n x {\n y }\n }\nk"), "z; k");
    assert_eq!(tree("z\n@n2 b\n{\n x\n }\nk"), "z; k");
}

#[test]
fn a_missing_brace_is_blamed_where_the_next_block_begins() {
    let (items, complaints) = read("vrrp_instance A {\n x {\n\nvrrp_instance B {\n y\n}\n");
    assert_eq!(show(&items), "vrrp_instance A { x {  } }; vrrp_instance B { y }");
    assert_eq!(
        complaints[0],
        "t.conf:4:1: error: `vrrp_instance` begins here, but `x` (t.conf:2:2) is still open; \
         close the block before it with a `}`"
    );
    assert!(complaints[1].contains("`vrrp_instance A` (t.conf:1:1) is still open"), "{complaints:?}");
}

#[test]
fn stray_and_missing_braces_and_quotes_have_their_place() {
    for (text, expected) in [
        ("a\n}\n", "t.conf:2:1: error: `}` closes nothing"),
        ("{ a }", "t.conf:1:1: error: `{` without a keyword before it"),
        ("a b {\n c", "t.conf:1:1: error: the block `a b` is never closed"),
        ("a \"b\nc", "t.conf:1:3: error: a quote that is not closed on its line"),
        ("~SEQ(x, 1, 3) a", "t.conf:1:1: error: `~SEQ(x,` is not read yet"),
        ("$A=\\\nx", "t.conf:1:1: error: a definition over several lines is not read yet"),
    ] {
        let (_, complaints) = read(text);
        assert_eq!(complaints.len(), 1, "{text}: {complaints:?}");
        assert!(complaints[0].starts_with(expected), "{complaints:?}");
    }
}

#[test]
fn too_many_blocks_within_each_other_are_refused_and_do_not_overflow() {
    let (_, complaints) = read(&"a {\n".repeat(20_000));
    assert!(complaints.iter().any(|c| c.contains("more than 32 deep")), "{}", complaints.len());
}

#[test]
fn includes_are_relative_and_missing_ones_are_warned_of() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("main.conf", "include a.conf\ninclude none.conf\ninclude *.none\nincludem *.none\nincluder none.conf\n");
    write("a.conf", "a {\n include b.conf\n}\ninclude main.conf\n");
    write("b.conf", "b");
    let path = dir.path().join("main.conf");
    let mut report = Report::default();
    let text = std::fs::read_to_string(&path).unwrap();
    let file = report.sources.add(String::from("main.conf"), &text);
    let items = parse(&mut report, file, &path, &Parsing::default());
    assert_eq!(show(&items), "a { b }");
    let complaints: Vec<String> = report.finish().iter().map(ToString::to_string).collect();
    assert_eq!(complaints.len(), 4, "{complaints:#?}");
    assert!(complaints[0].starts_with("main.conf:2:9: warning: can't read the included file"), "{complaints:#?}");
    assert!(complaints[1].starts_with("main.conf:4:10: error: no file matches"), "{complaints:#?}");
    assert!(complaints[2].starts_with("main.conf:5:10: error: can't read"), "{complaints:#?}");
    assert!(complaints[3].contains("a.conf:4:9: error:") && complaints[3].contains("without end"), "{complaints:#?}");
}

#[test]
fn an_endless_chain_of_includes_under_new_names_ends() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("x")).unwrap();
    let path = dir.path().join("a.conf");
    std::fs::write(&path, "k\ninclude x/../a.conf\n").unwrap();
    let mut report = Report::default();
    let file = report.sources.add(String::from("a.conf"), &std::fs::read_to_string(&path).unwrap());
    let items = parse(&mut report, file, &path, &Parsing::default());
    assert!((2..40).contains(&items.len()), "{}", items.len());
    assert!(report.finish().iter().any(|d| d.message.contains("without end")));
}
