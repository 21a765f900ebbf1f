//! The differences between keepalived and keepone that are meant, or are not worth their removal; the reasons are in
//! docs/keepalived-differences.md.

/// Who is the stricter one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// keepalived rejects, we accept.
    Keepalived,
    /// We reject, keepalived accepts.
    Ours,
}

/// A kind of difference.
pub struct Class {
    /// As in the page's table.
    pub name: &'static str,
    pub side: Side,
    /// Any of these in a complaint of the stricter one.
    pub says: &'static [&'static str],
    /// Any of these in a warning of ours; empty: none is wanted.
    pub warned: &'static [&'static str],
}

/// All of them.
pub const CLASSES: &[Class] = &[
    Class {
        name: "missing-interface",
        side: Side::Keepalived,
        says: &["doesn't exist", "Non-existent interface"],
        warned: &[],
    },
    Class { name: "missing-script", side: Side::Keepalived, says: &["not found/accessible"], warned: &[] },
    Class { name: "own-interface", side: Side::Keepalived, says: &["since own interface"], warned: &[] },
    Class { name: "no-addresses", side: Side::Keepalived, says: &["No VIP specified"], warned: &[] },
    Class { name: "conditional-include", side: Side::Keepalived, says: &["already defined"], warned: &[] },
    Class { name: "missing-include", side: Side::Keepalived, says: &["Config files missing"], warned: &[] },
    Class {
        name: "quotes-left-out",
        side: Side::Keepalived,
        says: &["Unterminated quote", "Unmatched quote"],
        warned: &[],
    },
    Class { name: "crash", side: Side::Keepalived, says: &["Segmentation fault", "(hangs)"], warned: &[] },
    Class {
        name: "given-twice",
        side: Side::Keepalived,
        says: &["already specified", "Weight already set"],
        warned: &[],
    },
    Class {
        name: "default-taken",
        side: Side::Keepalived,
        says: &["no scheduler set", "no protocol set"],
        warned: &[],
    },
    Class {
        name: "strayed",
        side: Side::Keepalived,
        says: &["Unknown keyword", "Unexpected '{'"],
        warned: &["means nothing in"],
    },
    Class {
        name: "extra-words",
        side: Side::Ours,
        says: &["wants one value", "wants one name", "wants no word", "at most one word"],
        warned: &[],
    },
    Class { name: "missing-block", side: Side::Ours, says: &["has no block"], warned: &[] },
    Class { name: "list-braces", side: Side::Ours, says: &["not a sequence"], warned: &[] },
    Class { name: "condition-after-brace", side: Side::Ours, says: &["unknown keyword `@"], warned: &[] },
];
