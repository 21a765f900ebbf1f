use std::path::Path;

use super::*;
use crate::cost::{assert_grows_with_the_size, spent};
use crate::diagnostic::Report;
use crate::tree::Item;

fn read(text: &str) -> (Vec<Item>, Vec<String>) {
    let mut report = Report::default();
    let file = report.sources.add(String::from("t.conf"), text);
    let items = parse(&mut report, file, Path::new("t.conf"), &parsing());
    (items, report.finish().iter().map(ToString::to_string).collect())
}

fn parsing() -> Parsing {
    let environment = vec![(String::from("HOME"), String::from("/root"))];
    Parsing { config_id: String::from("n1"), environment }
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
    assert_eq!(tree("a b { c d # x\n ! y\n e \"f g\" h }\nk"), "a b { c d; e f_g h }; k");
    assert_eq!(tree("notify 'f g' \"h \\\" i\""), "notify f_g h_\"_i");
    assert_eq!(tree("a\n{\n b }"), "a { b }");
    assert_eq!(tree("a{\nb\n}"), "a { b }");
    assert_eq!(tree("a { b { c } d } e"), "a { b { c }; d }; e");
    assert_eq!(tree("\u{feff}a\r\nb\r\n"), "a; b");
}

#[test]
fn definitions_are_filled_in_where_a_name_ends() {
    assert_eq!(tree("$A=1 2\nx $A ${A}b \"${A}\""), "x 1 2 1 2b 1_2");
    assert_eq!(tree("$A=$A$A\ny"), "y");
    assert_eq!(tree("$A=eth\n$B=${A}0\nx $B"), "x eth0");
    assert_eq!(tree("$B=${A}0\n$A=eth\nx $B\n$A=lo\nx $B"), "x eth0; x lo0", "filled in at its use");
    assert_eq!(tree("$A=1 # one\nx ${A}y\n$A=\nx ${A}y"), "x 1y; x y");
    assert_eq!(tree("a {\n$A=2\n}\nx $A"), "a {  }; x 2", "a block is no scope");
    assert_eq!(tree("script \"$HOME/$1 ${HOME}\""), "script $HOME/$1_${HOME}", "undefined ones stay");
}

#[test]
fn what_is_filled_in_may_be_a_condition_or_a_sequence() {
    assert_eq!(tree("$I=@n1\n$I a\n$I=@n2\n$I b"), "a");
    assert_eq!(tree("$S=~SEQ(N, 1, 2)\n$S x $N"), "x 1; x 2");
    assert_eq!(tree("@n1 $A=1\n@n2 $A=2\nx $A"), "x 1");
}

#[test]
fn lines_of_a_definition_are_read_where_its_name_stands_alone() {
    let instance = "$I= \\\nv VI_${N} { \\\n  @n1 p 1 \\\n  @n2 p 2 # not here \\\n}\n";
    assert_eq!(tree(&format!("{instance}$N=0\n$I\n$N=1\n$I\nz")), "v VI_0 { p 1 }; v VI_1 { p 1 }; z");
    assert_eq!(tree("$A=x \\\ny\n@n1 $A\n@n2 $A"), "x; y");
    assert_eq!(
        tree("$R= \\\nr ${N} { \\\n} \n$V= \\\nv { \\\n$N=1 \\\n$R \\\n$N=2 \\\n$R \\\n}\n$V"),
        "v { r 1 {  }; r 2 {  } }"
    );
    assert_eq!(tree("@n2 $A= \\\nx\n@n1 $A= \\\ny\n$A"), "y");
}

#[test]
fn sequences_repeat_the_rest_of_their_line() {
    assert_eq!(tree("~SEQ(N, 3) x $N"), "x 1; x 2; x 3");
    assert_eq!(tree("~SEQx(N, 0x0e, 0x10) x:$N"), "x:e; x:f; x:10");
    assert_eq!(tree("~SEQ(A,1,2) ~LST({B,C},{x,y},{z}) ${A}${B}${C}"), "1xy; 1z; 2xy; 2z");
    assert_eq!(tree("$K=2\n~SEQ(N,1,$K) @n1 x $N"), "x 1; x 2");
    assert_eq!(tree("$V= \\\nv ${N} { \\\n}\n~SEQ(N,1,2) $V"), "v 1 {  }; v 2 {  }");
    assert_eq!(tree("x ~SEQ(N,1,2)"), "x ~SEQ(N,1,2)", "at the start of a line only");
}

#[test]
fn the_names_that_are_always_there() {
    assert_eq!(tree("x ${_INSTANCE} a${_HASH}${_BANG}b ${_ENV HOME}"), "x n1 a#!b /root");
    assert!(tree("x ${_PWD}").starts_with("x /"));
    let seeded = tree("global_defs {\nrandom_seed 5\n}\nx ${_RANDOM} ${_RANDOM 7 7} ${_RANDOM 32767}");
    assert!(seeded.ends_with(" 7 32767"), "{seeded}");
    assert_eq!(tree("global_defs {\nrandom_seed 5\n}\nx ${_RANDOM} ${_RANDOM 7 7} ${_RANDOM 32767}"), seeded);
    assert_ne!(tree("global_defs {\nrandom_seed 6\n}\nx ${_RANDOM} ${_RANDOM 7 7} ${_RANDOM 32767}"), seeded);
}

#[test]
fn a_condition_keeps_or_drops_its_line() {
    assert_eq!(tree("@n1 a\n@n2 b\n@^n1 c\n@^n2 d"), "a; d");
    assert_eq!(tree("@n1 a {\n@n2 b {\n x\n }\nk"), "a { x }; k", "one body under two heads");
}

#[test]
fn a_block_whose_head_was_left_out_is_explained() {
    let (_, complaints) = read("@n2 b {\n x\n}\n");
    assert_eq!(
        complaints,
        ["t.conf:3:1: error: `}` closes nothing; remove it, or look for a `{` that is missing above; \
          t.conf:1:5: a condition left out this line with its brace"]
    );
}

#[test]
fn what_a_line_can_not_be_is_said_with_its_place() {
    for (text, expected) in [
        ("a\n}\n", "t.conf:2:1: error: `}` closes nothing"),
        ("{ a }", "t.conf:1:1: error: `{` without a keyword before it"),
        ("a b {\n c", "t.conf:1:1: error: the block `a b` is never closed"),
        ("a \"b\nc", "t.conf:1:3: error: a quote that is not closed on its line"),
        ("~SEQ(x, 1, 0, 3) a", "t.conf:1:1: error: not a sequence: from 1 in steps of 0"),
        ("~SQ(x, 1, 0, 3) a", "t.conf:1:1: error: a `~` that begins no sequence"),
        ("a \\\nb", "t.conf:1:3: error: a backslash at the end of a line that defines nothing"),
        ("$A=$A\nx $A", "t.conf:1:4: error: the value of `$A` holds itself"),
        ("$A=x$B\n$B=y$A\nx $A", "t.conf:1:4: error: the value of `$A` holds itself"),
        ("$A= \\\nx \\\n$A\n$A", "t.conf:1:4: error: the value of `$A` holds itself"),
        ("x ${A}", "t.conf:1:3: error: `$A` is not defined"),
        ("$A =1", "t.conf:1:1: error: a line begins with a name that is not defined"),
        ("x $A y", "t.conf:1:3: warning: `$A` is not defined, and stays as it is"),
        ("$A=1\nx $A.5", "t.conf:2:3: warning: `$A` is not filled in here, since no blank follows it"),
        ("$A=1\nx \"$A\"", "t.conf:2:4: warning: `$A` is not filled in here"),
        ("$A= \\\nx \\\ny\nb $A", "t.conf:4:3: error: `$A` stands for several lines"),
        ("$A= \\\nx \\\n\n$A", "t.conf:3:1: warning: this empty line ends the definition of `$A`"),
        ("x ${_RANDOM 3 2}", "t.conf:1:3: error: `$_RANDOM` can't be filled in"),
        ("x ${_ENV NONE}", "t.conf:1:3: error: `$_ENV` can't be filled in; no environment variable `NONE`"),
        ("global_defs {\ninclude_check match nonsense\n}", "t.conf:2:1: error: include_check: `nonsense`"),
    ] {
        let (_, complaints) = read(text);
        assert_eq!(complaints.len(), 1, "{text}: {complaints:?}");
        assert!(complaints[0].starts_with(expected), "{complaints:?}");
    }
}

#[test]
fn a_missing_brace_is_blamed_where_the_next_block_begins() {
    let (items, complaints) = read("vrrp_instance A {\n x {\n\nvrrp_instance B {\n y\n}\n");
    assert_eq!(show(&items), "vrrp_instance A { x {  } }; vrrp_instance B { y }");
    assert_eq!(
        complaints[0],
        "t.conf:4:1: error: `vrrp_instance` begins here, but `x` (t.conf:2:2) is still open; \
         close the block before it with a `}`; t.conf:2:2: `x` is opened here"
    );
    assert!(complaints[1].contains("`vrrp_instance A` (t.conf:1:1) is still open"), "{complaints:?}");
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
    write(
        "main.conf",
        "include a.conf\ninclude none.conf\ninclude *.none\nincludem *.none\nincludew *.none\nincludem none.conf\n",
    );
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
    assert!(complaints[1].starts_with("main.conf:5:10: error: no file matches"), "{complaints:#?}");
    assert!(complaints[2].starts_with("main.conf:6:10: error: can't read"), "{complaints:#?}");
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

/// A virtual server of four real servers each, about 1.2 kB: what a large site generates.
fn large(servers: usize) -> String {
    let mut text = String::from("global_defs {\n    router_id LARGE\n}\n");
    for n in 0..servers {
        let (a, b) = (n / 250, n % 250 + 1);
        text.push_str(&format!(
            "virtual_server 10.{a}.{b}.1 443 {{\n    delay_loop 6\n    lb_algo wrr\n    lb_kind DR\n    \
             persistence_timeout 50\n    protocol TCP\n\n"
        ));
        for real in 1..=4 {
            text.push_str(&format!(
                "    real_server 192.168.{b}.{real} 443 {{\n        weight {real}\n        SSL_GET {{\n            \
                 url {{\n                path /health\n                status_code 200\n            }}\n            \
                 connect_timeout 3\n            retry 3\n            delay_before_retry 2\n        }}\n    }}\n"
            ));
        }
        text.push_str("}\n");
    }
    text
}

#[test]
fn a_large_file_is_read_in_one_pass() {
    assert_grows_with_the_size(100, |servers| {
        let text = large(servers);
        let began = spent();
        let (items, complaints) = read(&text);
        let took = spent() - began;
        assert_eq!(items.len(), servers + 1);
        assert!(complaints.is_empty(), "{:?}", complaints[0]);
        took
    });
}
