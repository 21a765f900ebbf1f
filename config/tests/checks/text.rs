//! Words, places, files, variables.

use super::*;

#[test]
fn the_sound_file_is_sound() {
    let (config, diagnostics) = load(&sound()).unwrap();
    assert!(diagnostics.is_empty(), "{diagnostics:#?}");
    assert_eq!(config.domains().len(), 2);
}

#[test]
fn one_mistake_brings_no_others_with_it() {
    for (from, to) in [
        ("virtual_router_id 51", "virtual_router_id 999"),
        ("priority 100", "prioritty 100"),
        ("interface lan0", "interface lan0/1"),
        ("192.0.2.100/24", "192.0.2.100/33"),
        ("id 2", "id x"),
        ("public_key bjI", "public_key @"),
        ("type quorum", "type quorums"),
        ("lease 500ms", "lease 500xs"),
        ("address 10.1.0.1", "address 10.1.0"),
        ("peer n2 10.1.0.2", "peer n2 10.1.0.2x"),
        ("node n1", "node n9"),
        ("key_file n1.key", "key_file"),
        ("means auto", "means magic"),
        ("198.51.100.1", "targets x"),
        ("cluster demo {", "cluster {"),
        ("need 1", "need 0"),
        ("advert_int 1", "unicast_src_ip 192.0.2.1\n unicast_peer {\n bogus\n }"),
        ("priority 100", "priority \"100"),
    ] {
        let errors = load(&changed(from, to)).expect_err(to);
        assert_eq!(errors.len(), 1, "{to}: {errors:#?}");
    }
}

#[test]
fn all_mistakes_come_at_once_in_the_order_of_the_file() {
    let text = changed("virtual_router_id 51", "virtual_router_id 0").replace("period 100ms", "perriod 100ms");
    let errors = load(&text.replace("52", "300")).unwrap_err();
    let places: Vec<_> = errors.iter().map(|d| (d.line.unwrap(), d.column.unwrap())).collect();
    assert_eq!(places, [(19, 5), (46, 23), (56, 23)], "{errors:#?}");
}

#[test]
fn an_unknown_keyword_has_its_place_and_a_guess() {
    let error = refused(
        &changed("priority 100", "prioritiy 100"),
        "k.conf:47:5: error: unknown keyword `prioritiy`",
        "did you mean `priority`?",
    );
    assert_eq!((error.line, error.column), (Some(47), Some(5)));
    assert_eq!(error.text.as_deref(), Some("    prioritiy 100"));
    let shown = error.render(false);
    assert!(
        shown.contains("k.conf:47:5") && shown.contains("    prioritiy 100") && shown.contains("^^^^^^^^^"),
        "{shown}"
    );
    assert!(shown.contains("help: did you mean `priority`?"), "{shown}");
    let json = keepone_config::to_json(&[error]);
    assert!(json.contains(r#""severity":"error","file":"k.conf","line":47,"column":5"#), "{json}");
}

#[test]
fn a_keyword_at_the_wrong_place_is_sent_home() {
    refused(
        &changed("means auto", "virtual_router_id 5"),
        "k.conf:37:5: error: `virtual_router_id` means nothing in gate",
        "vrrp_instance",
    );
}

#[test]
fn a_wrong_word_count_says_what_the_keyword_wants() {
    refused(
        &changed("priority 100", "priority"),
        "k.conf:47:5: error: `priority` wants one value",
        "one statement a line",
    );
    refused(
        &changed("priority 100", "priority 100 200"),
        "k.conf:47:5: error: `priority` wants one value: `priority VALUE`; found 2",
        "",
    );
    refused(&changed("priority 100", "priority 100 {\n}"), "k.conf:47:5: error: `priority` takes no block", "braces");
    refused(&changed("vrrp_instance A {", "vrrp_instance {"), "k.conf:43:1: error: `vrrp_instance` wants one name", "");
    warned(
        &changed("priority 100", "priority 100\n    priority 110"),
        "k.conf:48:5: warning: `priority` was given before, at k.conf:47:5",
        "last one counts",
    );
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let errors =
        keepone_config::load_with(Path::new("/nonexistent/keepone.toml"), &Environment::default()).unwrap_err();
    assert!(errors[0].to_string().starts_with("/nonexistent/keepone.toml: error: can't read it:"), "{}", errors[0]);
    let errors = keepone_config::load_with(Path::new("/dev/zero"), &Environment::default()).unwrap_err();
    assert!(errors[0].message.contains("not a plain file"), "{}", errors[0]);
}

#[test]
fn a_line_too_long_to_show_still_has_its_place() {
    let text = format!("vrrp_instance A {{ {} bogus 1 }}\n", " ".repeat(5000));
    let error = refused(&text, "k.conf:1:5020: error: unknown keyword `bogus`", "");
    let shown = error.render(false);
    assert!(shown.contains("k.conf:1:5020") && shown.len() < 400, "{shown}");
}

#[test]
fn a_file_of_noise_ends_after_500_complaints() {
    let errors = load(&"noise\n".repeat(100_000)).unwrap_err();
    assert_eq!(errors.len(), 500);
}

#[test]
fn a_wrong_variable_is_named() {
    let text = "[[vrrp_instance]]\nname = \"A\"\ninterface = \"lan0\"\nvirtual_router_id = 1\nvirtual_ipaddress = [\"192.0.2.1\"]\n";
    let environment = Environment {
        variables: vec![(String::from("KEEPONE_HEARTBEAT__PERIOD"), String::from("soon"))],
        config_id: String::new(),
    };
    let errors = load_text(Path::new("k.toml"), text, &environment).unwrap_err();
    assert_eq!(errors[0].variable.as_deref(), Some("KEEPONE_HEARTBEAT__PERIOD"));
    assert!(
        errors[0].to_string().starts_with("KEEPONE_HEARTBEAT__PERIOD: error: period: `soon` is not a duration"),
        "{}",
        errors[0]
    );
    assert!(errors[0].render(false).contains("environment variable KEEPONE_HEARTBEAT__PERIOD"));
}

#[test]
fn a_toml_mistake_has_its_line_and_column() {
    let text = "[[vrrp_instance]]\nname = \"A\"\ninterface = \"lan0\"\nvirtual_router_id = 256\nprioritty = 3\nvirtual_ipaddress = [\"192.0.2.1\", \"192.0.2.300\"]\n";
    let errors = load_text(Path::new("k.toml"), text, &Environment::default()).unwrap_err();
    found(
        &errors,
        Severity::Error,
        "k.toml:4:21: error: virtual_router_id: `256` is not a whole number from 1 to 255",
        "same number",
    );
    found(&errors, Severity::Error, "k.toml:5:1: error: unknown keyword `prioritty`", "did you mean `priority`?");
    let nameless = format!("{text}[[vrrp_instance]]\ninterface = \"lan0\"\n[cluster]\nname = \"x\"\n");
    let all = load_text(Path::new("k.toml"), &nameless, &Environment::default()).unwrap_err();
    found(&all, Severity::Error, "k.toml:7:1: error: `vrrp_instance` without a name", "name = ");
    found(&all, Severity::Error, "k.toml:10:8: error: cluster `x` has no members", "member");
    found(&errors, Severity::Error, "k.toml:6:35: error: virtual_ipaddress: `192.0.2.300`", "");
    assert_eq!(errors.len(), 3);
}
