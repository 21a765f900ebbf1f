//! No text makes the reading panic, in either language, and every complaint can be shown.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

use std::path::Path;

use keepone_config::{Environment, load_text, render_all, to_json};
use proptest::prelude::*;

fn survives(path: &str, text: &str) {
    let environment = Environment {
        variables: vec![(String::from("KEEPONE_NODE__NAME"), String::from("n1"))],
        config_id: String::from("n1"),
    };
    let (Ok((_, diagnostics)) | Err(diagnostics)) = load_text(Path::new(path), text, &environment);
    let shown = render_all(&diagnostics, false);
    assert!(diagnostics.is_empty() || !shown.is_empty());
    assert!(to_json(&diagnostics).starts_with('['));
}

/// Pieces that make the parser go deep more often than plain noise does.
fn piece() -> impl Strategy<Value = String> {
    let words = [
        "vrrp_instance",
        "virtual_server",
        "real_server",
        "virtual_server_group",
        "HTTP_GET",
        "url",
        "virtual_routes",
        "virtual_rules",
        "track_script",
        "vrrp_script",
        "use_vmac",
        "auth_hmac",
        "192.0.2.0/24",
        "192.0.2.1-9",
        "nexthop",
        "via",
        "fwmark",
        "global_defs",
        "cluster",
        "member",
        "arbiter",
        "heartbeat_link",
        "reference_ip",
        "virtual_ipaddress",
        "unicast_peer",
        "authentication",
        "auth_pass",
        "auth_type",
        "PASS",
        "virtual_router_id",
        "interface",
        "eth0",
        "192.0.2.1/24",
        "2001:db8::1",
        "priority",
        "300",
        "type",
        "quorum",
        "voters",
        "n1",
        "{",
        "}",
        "\n",
        "\n",
        "\"",
        "'",
        "#",
        "!",
        "$A=",
        "$A",
        "${A",
        "@n1",
        "@^n1",
        "include",
        "*.conf",
        "~SEQ(",
        "\\",
        "\u{fc}",
        "\u{202e}",
        "\0",
        "[",
        "]",
        "=",
        "[[",
        "]]",
        "[node]",
        "name",
        "\t",
        "brd",
        "+",
        "dev",
        "weight",
        "-300",
        "peers",
    ];
    prop_oneof![
        8 => proptest::sample::select(words.to_vec()).prop_map(str::to_owned),
        1 => ".{0,12}",
    ]
}

fn fixture(name: &str) -> String {
    std::fs::read_to_string(Path::new("tests/fixtures").join(name)).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_text_is_survived(text in "\\PC*|(?s).{0,200}") {
        survives("t.conf", &text);
        survives("t.toml", &text);
    }

    #[test]
    fn any_heap_of_pieces_is_survived(pieces in proptest::collection::vec(piece(), 0..80), gap in "[ \n]?") {
        let text = pieces.join(if gap.is_empty() { " " } else { &gap });
        survives("t.conf", &text);
        survives("t.toml", &text);
    }

    #[test]
    fn a_good_file_with_a_hole_or_a_piece_too_many_is_survived(
        at in 0.0..1.0_f64, len in 0_usize..40, insert in piece(), which in 0_usize..4,
    ) {
        let name = ["cluster.toml", "cluster.conf", "balanced.toml", "balanced.conf"][which];
        let text: Vec<char> = fixture(name).chars().collect();
        let at = (at * text.len() as f64) as usize;
        let mut broken: String = text[..at].iter().collect();
        broken.push_str(&insert);
        broken.extend(&text[(at + len).min(text.len())..]);
        survives(name, &broken);
    }
}
