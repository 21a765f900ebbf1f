use super::*;

fn read(text: &str, variables: &[(&str, &str)]) -> (Vec<Item>, Vec<String>) {
    let mut report = Report::default();
    report.sources.add(String::from("t.toml"), text);
    let variables: Vec<_> = variables.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
    let items = parse(&mut report, text, &variables).unwrap_or_default();
    (items, report.finish().iter().map(ToString::to_string).collect())
}

fn find<'a>(items: &'a [Item], path: &[&str]) -> &'a Item {
    let (first, rest) = path.split_first().unwrap();
    let item = items.iter().find(|item| item.keyword.text == *first).unwrap();
    if rest.is_empty() { item } else { find(item.items(), rest) }
}

#[test]
fn a_variable_overrides_the_file_and_is_named_as_the_place() {
    let (items, complaints) = read(
        "[node]\nname = \"n1\"\nrun_dir = \"/run/x\"\n",
        &[("KEEPONE_NODE__NAME", "007"), ("KEEPONE_HEARTBEAT__PERIOD", "50ms"), ("KEEPONE_LOG", "debug")],
    );
    assert!(complaints.is_empty(), "{complaints:?}");
    let node = find(&items, &["node"]);
    assert_eq!(node.words[0].text, "007");
    assert_eq!(node.words[0].place, Place::Variable("KEEPONE_NODE__NAME".into()));
    assert_eq!(find(&items, &["node", "run_dir"]).words[0].place, Place::Text { file: 0, start: 29, end: 37 });
    assert_eq!(find(&items, &["heartbeat", "period"]).words[0].text, "50ms");
    assert_eq!(items.len(), 2, "KEEPONE_LOG is no key");
}

#[test]
fn a_variable_may_hold_a_list_or_a_table() {
    let (items, _) = read(
        "[arbiter]\nvoters = [\"a\"]\n",
        &[("KEEPONE_ARBITER__VOTERS", "[\"n1\", \"n2\"]"), ("KEEPONE_MEMBER", "[{name=\"n1\", id=1}]")],
    );
    let voters: Vec<_> = find(&items, &["arbiter", "voters"]).words.iter().map(|w| w.text.as_str()).collect();
    assert_eq!(voters, ["n1", "n2"]);
    assert_eq!(find(&items, &["member", "id"]).words[0].text, "1");
}

#[test]
fn all_mistakes_of_syntax_come_at_once_with_their_lines() {
    let (items, complaints) = read("a = \n[node]\nb = 1x\nc = 2\n", &[]);
    assert!(items.is_empty());
    assert!(complaints.iter().any(|c| c.starts_with("t.toml:1:")), "{complaints:?}");
    assert!(complaints.iter().any(|c| c.starts_with("t.toml:3:")), "{complaints:?}");
}

#[test]
fn wrong_shapes_are_named() {
    for (text, expected) in [
        ("node = 1\n", "t.toml:1:1: error: `node` is a table with a name"),
        ("heartbeat = 1\n", "t.toml:1:1: error: `heartbeat` is a table"),
        ("[[vrrp_instance]]\npriority = 1\n", "t.toml:1:1: error: `vrrp_instance` without a name"),
        ("[heartbeat]\nperiod = { a = 1 }\n", "t.toml:2:10: error: `period` is a single value here"),
        ("vrrp_instance = [1]\n", "t.toml:1:18: error: `vrrp_instance` is an array of tables"),
    ] {
        let (_, complaints) = read(text, &[]);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].starts_with(expected), "{complaints:?}");
    }
}

/// A statement in both languages, with what is in its block.
fn both(keyword: &crate::keyword::Keyword, inner: &(String, String)) -> (String, String) {
    let (name, key) = (keyword.name, crate::keyword::snake(keyword.name));
    let (conf, toml) = inner;
    let comma = if toml.is_empty() { "" } else { ", " };
    match keyword.form {
        Form::Flag | Form::Any => (format!("{name}\n"), format!("{key} = true")),
        Form::Value => (format!("{name} 1\n"), format!("{key} = 1")),
        Form::Words => (format!("{name} a 2\n"), format!("{key} = [\"a\", 2]")),
        Form::Maybe => (format!("{name} a\n"), format!("{key} = [\"a\"]")),
        Form::Lines => (format!("{name} {{\na b\nc\n}}\n"), format!("{key} = [\"a b\", \"c\"]")),
        Form::NamedLines => {
            (format!("{name} x {{\na b\n}}\n"), format!("{key} = {{ name = \"x\", members = [\"a b\"] }}"))
        }
        Form::Block(_) => (format!("{name} {{\n{conf}}}\n"), format!("{key} = {{ {toml} }}")),
        Form::Named(_) => (format!("{name} x {{\n{conf}}}\n"), format!("{key} = {{ name = \"x\"{comma}{toml} }}")),
        Form::Server(_) => (
            format!("{name} 192.0.2.1 80 {{\n{conf}}}\n"),
            format!("{key} = {{ address = \"192.0.2.1\", port = 80{comma}{toml} }}"),
        ),
    }
}

/// Every keyword alone, in the blocks around it.
fn texts(table: &'static Table) -> Vec<(String, String)> {
    let mut texts = Vec::new();
    for keyword in table.keywords() {
        texts.push(both(keyword, &(String::new(), String::new())));
        let inner = keyword.form.table().map(self::texts).unwrap_or_default();
        texts.extend(inner.iter().map(|inner| both(keyword, inner)));
    }
    texts
}

/// Without the places.
fn bare(items: &[Item]) -> Vec<String> {
    let one = |item: &Item| {
        let words: Vec<&str> = item.line().map(|word| word.text.as_str()).collect();
        format!("{words:?} {:?}", item.block.as_deref().map(bare))
    };
    items.iter().map(one).collect()
}

#[test]
fn every_keyword_is_the_same_statement_in_both_languages() {
    let texts = texts(&ROOT);
    assert!(texts.len() > 531, "{}", texts.len());
    for (conf, toml) in texts {
        let mut report = Report::default();
        let file = report.sources.add(String::from("t.conf"), &conf);
        let parsing = crate::keepalived::Parsing::default();
        let keepalived = crate::keepalived::parse(&mut report, file, std::path::Path::new("t.conf"), &parsing).unwrap();
        let (native, complaints) = read(&toml, &[]);
        assert!(complaints.is_empty(), "{toml}: {complaints:?}");
        assert_eq!(bare(&keepalived), bare(&native), "{conf}{toml}");
    }
}

#[test]
fn a_keyword_can_be_there_twice_and_tables_keep_their_order() {
    let (items, _) =
        read("vrrp_instance = { name = \"x\", auth_hmac = { key = [[2, \"b\"], [1, \"a\"]], mode = \"m\" } }\n", &[]);
    let hmac = find(&items, &["vrrp_instance", "auth_hmac"]);
    assert_eq!(bare(hmac.items()), [r#"["key", "2", "b"] None"#, r#"["key", "1", "a"] None"#, r#"["mode", "m"] None"#]);
    let text = "[[virtual_server]]\naddress = \"192.0.2.1\"\n[[virtual_server.real_server]]\naddress = \"10.0.0.2\"\nudp_check = {}\ndns_check = {}\n";
    let (items, complaints) = read(text, &[]);
    assert!(complaints.is_empty(), "{complaints:?}");
    let checks: Vec<_> =
        find(&items, &["virtual_server", "real_server"]).items().iter().map(|i| i.keyword.text.as_str()).collect();
    assert_eq!(checks, ["UDP_CHECK", "DNS_CHECK"], "in the order of the text");
}

#[test]
fn a_server_in_toml_has_one_address_mark_or_group() {
    for (text, expected) in [
        ("[[virtual_server]]\nport = 80\n", "t.toml:1:1: error: `virtual_server` wants an address"),
        (
            "[[virtual_server]]\naddress = \"192.0.2.1\"\nfwmark = 3\n",
            "t.toml:1:1: error: `virtual_server` wants an address",
        ),
        (
            "[[virtual_server_group]]\nname = \"G\"\nlines = [\"x\"]\n",
            "t.toml:1:1: error: `lines` in virtual_server_group",
        ),
        ("[[virtual_server_group]]\nmembers = [\"x\"]\n", "t.toml:1:1: error: `virtual_server_group` without a name"),
    ] {
        let (_, complaints) = read(text, &[]);
        assert_eq!(complaints.len(), 1, "{complaints:?}");
        assert!(complaints[0].starts_with(expected), "{complaints:?}");
    }
}
