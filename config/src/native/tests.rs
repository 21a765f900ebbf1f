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
