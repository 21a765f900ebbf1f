use std::path::Path;

use proptest::prelude::*;

use super::*;
use crate::tree::Word;
use crate::{Config, load_text};

fn environment() -> Environment {
    Environment { variables: Vec::new(), config_id: String::from("n1") }
}

fn converted(name: &str, text: &str, to: Language) -> String {
    let converted = convert_text(Path::new(name), text, to, &environment());
    converted.unwrap_or_else(|errors| panic!("{name}: {errors:#?}")).0
}

/// Without the comment that every file begins with.
fn body(text: &str) -> &str {
    text.split_once("\n\n").unwrap().1
}

/// The model without the places of what is not yet active, which are others by nature.
fn model(path: &Path, text: &str) -> (Config, Vec<String>) {
    let (mut config, _) = load_text(path, text, &environment()).unwrap_or_else(|errors| panic!("{errors:#?}\n{text}"));
    let mut inactive: Vec<String> = std::mem::take(&mut config.inactive).into_iter().map(|one| one.what).collect();
    inactive.sort();
    (config, inactive)
}

fn tree(path: &Path, text: &str, language: Language) -> Vec<Item> {
    statements(&mut Report::default(), path, text, language, &environment()).unwrap()
}

/// There and back again: the same statements, and the same model where there is one.
fn means_the_same(path: &Path) {
    let text = std::fs::read_to_string(path).unwrap();
    for to in [Language::Toml, Language::Conf] {
        let other = converted(path.to_str().unwrap(), &text, to);
        let beside = path.with_file_name(to.file());
        let back = converted(beside.to_str().unwrap(), &other, Language::of(path));
        assert_eq!(model(path, &text), model(&beside, &other), "{other}");
        assert_eq!(model(path, &text), model(path, &back), "{back}");
        let (first, second) = (tree(path, &text, Language::of(path)), tree(&beside, &other, to));
        assert!(same::are_same(&first, &second), "{other}");
    }
}

#[test]
fn every_fixture_means_the_same_in_both_languages() {
    assert!(files("tests/fixtures").inspect(|path| means_the_same(path)).count() >= 4);
}

#[test]
fn every_good_configuration_of_a_site_means_the_same_in_both_languages() {
    let good = files("tests/golden").filter(|path| crate::load_with(path, &environment()).is_ok());
    assert!(good.inspect(|path| means_the_same(path)).count() >= 20);
}

fn files(directory: &str) -> impl Iterator<Item = PathBuf> {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|e| e == "conf" || e == "toml"))
}

#[test]
fn what_a_site_has_means_the_same_in_both_languages() {
    let directory = tempfile::tempdir().unwrap();
    for (at, text) in SITES.iter().enumerate() {
        let path = directory.path().join(format!("{at}.conf"));
        std::fs::write(&path, text).unwrap();
        means_the_same(&path);
    }
}

const SITES: [&str; 3] = [
    "vrrp_sync_group G {\n group {\n  A\n  B\n }\n notify_master \"/bin/x a\" root\n}\n\
     vrrp_instance A {\n interface eth0\n virtual_router_id 1\n nopreempt\n authentication {\n  auth_type PASS\n  \
     auth_pass 0123\n }\n virtual_ipaddress {\n  192.0.2.1/24 dev eth1\n }\n virtual_routes {\n  192.0.2.0/24 via \
     192.0.2.254 dev eth1\n }\n}\n\
     vrrp_instance B {\n interface eth1\n virtual_router_id 1\n virtual_ipaddress {\n  2001:db8::1/64\n }\n}\n",
    "virtual_server 192.0.2.1 53 {\n lvs_sched rr\n protocol UDP\n real_server 192.0.2.2 53 {\n  DNS_CHECK {\n   type \
     TXT\n   name example.net\n  }\n }\n real_server 192.0.2.3 53 {\n  MISC_CHECK {\n   misc_path \"/bin/c $A 'x'\"\n  \
     }\n  HTTP_GET {\n   url {\n    path /\n    digest 00112233445566778899aabbccddeeff\n   }\n   url {\n    path /b\n   }\n  }\n }\n}\n",
    "global_defs {\n router_id x\n notification_email {\n  a@b.example\n }\n}\nglobal_defs {\n vrrp_version 3\n}\n\
     reference_ip {\n 192.0.2.254\n 192.0.2.253\n need 1\n}\n",
];

#[test]
fn comments_go_with_their_lines() {
    let conf = "! top\na 1 # of a\n# above b\nb x {  # of b\n c 2\n # end of b\n}\n# last\n";
    assert_eq!(
        body(&converted("t.conf", conf, Language::Conf)),
        "# top\na 1  # of a\n\n# above b\nb x {  # of b\n    c 2\n    # end of b\n}\n\n# last\n"
    );
    let toml = body(&converted("t.conf", conf, Language::Toml)).to_owned();
    assert_eq!(toml, "# top\na = 1  # of a\n\n# above b\n[b]  # of b\nname = \"x\"\nc = 2\n# end of b\n\n# last\n");
    assert_eq!(
        body(&converted("t.toml", &toml, Language::Conf)),
        "# top\na 1  # of a\n\n# above b\nb x {  # of b\n    c 2\n}\n\n# end of b\n# last\n"
    );
}

#[test]
fn comments_stay_with_values_and_with_elements_of_arrays() {
    let conf = "vrrp_instance A {\n virtual_ipaddress {\n  # one\n  192.0.2.1 # first\n  192.0.2.2\n }\n}\n";
    let toml = "[[vrrp_instance]]\nname = \"A\"\nvirtual_ipaddress = [\n    # one\n    \"192.0.2.1\",  # first\n    \
                \"192.0.2.2\",\n]\n";
    assert_eq!(body(&converted("t.conf", conf, Language::Toml)), toml);
    assert!(converted("t.toml", toml, Language::Conf).contains("# one\n        192.0.2.1  # first\n"));
}

#[test]
fn no_comment_of_a_fixture_is_lost() {
    for name in ["director.conf", "cluster.conf", "cluster.toml"] {
        let path = Path::new("tests/fixtures").join(name);
        let text = std::fs::read_to_string(&path).unwrap();
        for to in [Language::Conf, Language::Toml] {
            let out = converted(path.to_str().unwrap(), &text, to);
            for comment in comment::marks(&text, Language::of(&path)).comments {
                assert_eq!(out.matches(&format!("#{}\n", comment.text)).count(), 1, "{}\n{out}", comment.text);
            }
        }
    }
}

#[test]
fn included_files_and_their_paths_are_resolved() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("d")).unwrap();
    std::fs::write(directory.path().join("d/a.conf"), "node n1 {\n key_file k\n state_dir /s\n}\n").unwrap();
    let main = directory.path().join("m.conf");
    std::fs::write(&main, "$X=5\n@n2 z\n@n1 y $X\ninclude d/*.conf\nnode n2 {\n key_file k\n}\n").unwrap();
    let (out, _) = convert(&main, Language::Conf, &environment()).unwrap();
    assert_eq!(body(&out), "y 5\n\nnode n1 {\n    key_file d/k\n    state_dir /s\n}\n\nnode n2 {\n    key_file k\n}\n");
    assert!(out.contains("conditions are resolved for the node n1"), "{out}");
}

#[test]
fn every_keyword_with_a_path_is_known_here() {
    let (mut found, mut open) = (Vec::new(), vec![PathBuf::from("src/lower")]);
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        for line in std::fs::read_to_string(path).unwrap().lines() {
            if line.contains(".path(item)") {
                found.extend(line.split('"').nth(1).map(str::to_owned));
            }
        }
    }
    assert!(found.len() >= 6, "{found:?}");
    for keyword in found {
        assert!(PATHS.iter().any(|(_, path)| *path == keyword), "{keyword}");
    }
}

#[test]
fn a_directive_in_a_toml_file_is_refused_with_its_place() {
    let errors = convert_text(Path::new("t.toml"), "[a]\ninclude = \"x\"\n", Language::Conf, &environment());
    let errors = errors.unwrap_err();
    assert_eq!(
        errors[0].to_string(),
        "t.toml:2:1: error: `include` is a directive of keepalived.conf, and no statement; remove it, or put in what \
         it stands for"
    );
}

#[test]
fn a_mistake_of_syntax_is_told_and_nothing_is_written() {
    let errors = convert_text(Path::new("t.conf"), "a {\n b", Language::Toml, &environment()).unwrap_err();
    assert!(errors[0].to_string().starts_with("t.conf:1:1: error: the block `a` is never closed"), "{errors:?}");
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z]{1,4}|[0-9]{1,3}|0\\.[0-9]{1,2}|true|false|name|192\\.0\\.2\\.[0-9]",
        2 => "[ -~]{0,6}",
        1 => "[\\PC\n\t\r\0'\"$]{0,5}",
    ]
}

fn keyword() -> impl Strategy<Value = String> {
    let known = [
        "vrrp_instance",
        "virtual_ipaddress",
        "priority",
        "nopreempt",
        "authentication",
        "notify",
        "virtual_server",
        "real_server",
        "DNS_CHECK",
        "name",
        "type",
        "global_defs",
        "reference_ip",
        "targets",
        "cluster",
        "192.0.2.9",
    ];
    // Inside another block the language takes these for the sign of a missing brace.
    prop_oneof![6 => proptest::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => word()]
        .prop_filter("a directive", |text| !text.starts_with("include") && !text.starts_with('~'))
}

fn item() -> impl Strategy<Value = Item> {
    let place = || Place::Variable("none".into());
    let new = move |keyword: String, words: Vec<String>, block| Item {
        keyword: Word { text: keyword.into(), place: place() },
        words: words.into_iter().map(|text: String| Word { text: text.into(), place: place() }).collect(),
        block,
    };
    let leaf = (keyword(), proptest::collection::vec(word(), 0..3)).prop_map(move |(k, w)| new(k, w, None));
    leaf.prop_recursive(4, 24, 5, move |inner| {
        let block = proptest::option::weighted(0.8, proptest::collection::vec(inner, 0..5));
        (keyword(), proptest::collection::vec(word(), 0..3), block).prop_map(move |(k, w, b)| new(k, w, b))
    })
}

/// Blocks that keepalived.conf has at the top only.
fn is_top(keyword: &str) -> bool {
    ["vrrp_instance", "global_defs", "virtual_server", "cluster", "reference_ip"].contains(&keyword)
}

fn has_nested_top(items: &[Item], depth: usize) -> bool {
    let wrong = |item: &Item| depth > 0 && item.block.is_some() && is_top(&item.keyword.text);
    items.iter().any(|item| wrong(item) || has_nested_top(item.items(), depth + 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn any_tree_is_carried_by_both_languages(items in proptest::collection::vec(item(), 0..5)) {
        prop_assume!(!has_nested_top(&items, 0));
        let sources = Sources::default();
        for to in [Language::Toml, Language::Conf] {
            let written = match write(&items, &sources, Path::new("t.conf"), to, &environment()) {
                Ok(written) => written,
                // What has neither can stand anywhere.
                Err(words) => {
                    let special = ["\"", "\n", "\r", "${_"];
                    prop_assert!(to == Language::Conf);
                    prop_assert!(words.iter().all(|word| special.iter().any(|s| word.text.contains(s))), "{:?}", words);
                    continue;
                }
            };
            let mut report = Report::default();
            let back = statements(&mut report, Path::new(to.file()), &written, to, &environment()).unwrap_or_default();
            prop_assert!(!report.has_errors(), "{:?}\n{}", report.finish(), written);
            prop_assert!(same::are_same(&items, &back), "{:#?}\n{}", back, written);
        }
    }

    #[test]
    fn whatever_can_be_read_is_carried_with_all_its_comments(
        pieces in proptest::collection::vec(piece(), 0..40), toml in any::<bool>(),
    ) {
        let (text, to) = (pieces.join(" "), if toml { Language::Toml } else { Language::Conf });
        match convert_text(Path::new("t.conf"), &text, to, &environment()) {
            Ok((out, _)) => {
                let comments = comment::marks(&text, Language::Conf).comments;
                let kept = comment::marks(&out, to).comments.len();
                // Its own, and no other.
                prop_assert_eq!(kept, comments.len() + out.lines().take_while(|line| !line.is_empty()).count(), "{}", out);
            }
            Err(errors) => {
                prop_assert!(!errors.iter().any(|error| error.message.contains("something else")), "{}", text);
            }
        }
    }
}

fn piece() -> impl Strategy<Value = String> {
    let pieces = [
        "vrrp_instance",
        "virtual_ipaddress",
        "reference_ip",
        "192.0.2.1",
        "x",
        "name",
        "a{1,2}",
        "{",
        "{",
        "}",
        "}",
        "\n",
        "\n",
        "\n",
        "# one\n",
        "! two # three\n",
        "\"",
        "\"q # r\"",
        "'s ! t'",
        "it's",
        "$A=5\n",
        "$A",
        "${A}",
        "@n1",
        "@n2",
        "\\",
        "\"\\\"#\"",
        "\u{fc}",
        "#",
    ];
    proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned)
}
