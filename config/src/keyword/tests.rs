use super::*;

#[test]
fn the_nearest_keyword_is_found_and_a_far_one_is_not() {
    assert_eq!(VRRP_INSTANCE.nearest("prioritiy"), Some("priority"));
    assert_eq!(VRRP_INSTANCE.nearest("virtual_routre_id"), Some("virtual_router_id"));
    assert_eq!(VRRP_INSTANCE.nearest("xyzzy"), None);
    assert_eq!(ROOT.nearest("VRRP_instance"), Some("vrrp_instance"));
}

#[test]
fn no_table_names_a_keyword_twice_in_either_language() {
    for path in walk() {
        let Some(table) = path.keyword.form.table() else { continue };
        let mut names: Vec<_> = table.keywords().map(|keyword| snake(keyword.name)).collect();
        names.sort_unstable();
        for pair in names.windows(2) {
            assert_ne!(pair[0], pair[1], "in {}", table.name);
        }
    }
}

#[test]
fn the_manual_names_every_active_keyword() {
    let manual = std::fs::read_to_string("../docs/configuration.md").unwrap();
    let of = |others: &'static [char]| manual.split(|c: char| !c.is_ascii_alphanumeric() && !others.contains(&c));
    let words: std::collections::BTreeSet<&str> = of(&['_']).chain(of(&['_', '-'])).collect();
    for path in walk().iter().filter(|path| path.status == Status::Active) {
        assert!(words.contains(path.keyword.name), "{} of {}", path.keyword.name, path.parent);
    }
}

/// What `keepone explain` prints must be worth printing.
#[test]
fn every_keyword_says_what_it_means_and_an_ignored_one_what_to_do_instead() {
    for path in walk() {
        let Keyword { name, meaning, .. } = *path.keyword;
        assert!((10..=110).contains(&meaning.len()), "{name}: {meaning}");
        assert!(!meaning.ends_with('.'), "{name}: {meaning}");
        if let Status::Ignored(instead) | Status::Refused(instead) = path.keyword.status {
            assert!(instead.len() > 15, "{name}: {instead}");
            assert_eq!(path.keyword.tier, Tier::C, "{name}: what many rely on is not ignored");
        }
    }
}

#[test]
fn toml_names_are_found_by_their_snake_case() {
    let name = |table: &Table, name: &str| table.find_snake(name).map(|keyword| keyword.name);
    assert_eq!(name(&REAL_SERVER, "tcp_check"), Some("TCP_CHECK"));
    assert_eq!(name(&VIRTUAL_SERVER, "sh_port"), Some("sh-port"));
    assert_eq!(name(&REAL_SERVER, "TCP_CHECK"), Some("TCP_CHECK"));
    assert_eq!(name(&REAL_SERVER, "tcp-check"), None);
}
