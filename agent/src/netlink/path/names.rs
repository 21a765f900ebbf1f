//! Numbers by their names, as iproute2 keeps them: routing tables, protocols, realms, groups of interfaces; a table also by
//! the name of the VRF whose it is.

use std::path::{Path, PathBuf};

use keepone_config::model::Named;

use crate::netlink::batch::Batch;

/// Where names are; the later directory has the last word.
const DIRECTORIES: [&str; 2] = ["/usr/share/iproute2", "/etc/iproute2"];

/// A kind of name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Table,
    Protocol,
    Realm,
    Group,
}

impl Kind {
    fn file(self) -> &'static str {
        match self {
            Kind::Table => "rt_tables",
            Kind::Protocol => "rt_protos",
            Kind::Realm => "rt_realms",
            Kind::Group => "group",
        }
    }

    fn what(self) -> &'static str {
        match self {
            Kind::Table => "routing table",
            Kind::Protocol => "routing protocol",
            Kind::Realm => "realm",
            Kind::Group => "group of interfaces",
        }
    }

    /// What needs no file (linux/rtnetlink.h).
    fn built_in(self) -> &'static [(&'static str, u32)] {
        match self {
            Kind::Table => &[("default", 253), ("main", 254), ("local", 255)],
            Kind::Protocol => &[
                ("kernel", 2),
                ("boot", 3),
                ("static", 4),
                ("ra", 9),
                ("zebra", 11),
                ("bird", 12),
                ("dhcp", 16),
                ("keepalived", 18),
                ("babel", 42),
                ("bgp", 186),
                ("isis", 187),
                ("ospf", 188),
                ("rip", 189),
                ("eigrp", 192),
            ],
            Kind::Realm => &[("cosmos", 0)],
            Kind::Group => &[("default", 0)],
        }
    }
}

/// The directories, so that a test has its own.
#[derive(Debug, Clone)]
pub(super) struct Names(Vec<PathBuf>);

impl Default for Names {
    fn default() -> Self {
        Names(DIRECTORIES.map(PathBuf::from).to_vec())
    }
}

impl Names {
    #[cfg(test)]
    pub(super) fn of(directory: &Path) -> Self {
        Names(vec![directory.to_owned()])
    }

    pub(super) fn number(&self, kind: Kind, name: &Named) -> Result<u32, String> {
        match name {
            Named::Number(number) => Ok(*number),
            Named::Name(name) => self.named(kind, name),
        }
    }

    /// A word that is a number in decimal, or as 0x10, or a name.
    pub(super) fn word(&self, kind: Kind, word: &str) -> Result<u32, String> {
        match number(word) {
            Some(number) => Ok(number),
            None => self.named(kind, word),
        }
    }

    fn named(&self, kind: Kind, name: &str) -> Result<u32, String> {
        let in_files = self.0.iter().rev().flat_map(|directory| files(directory, kind.file()));
        let mut known = in_files.filter_map(|file| find(&std::fs::read_to_string(file).ok()?, name));
        let built_in = || kind.built_in().iter().find(|(known, _)| *known == name).map(|(_, number)| *number);
        let of_vrf = || if kind == Kind::Table { table_of_vrf(name) } else { None };
        known.next().or_else(built_in).or_else(of_vrf).ok_or_else(|| {
            let (what, file) = (kind.what(), kind.file());
            let vrf =
                if kind == Kind::Table { ", nor is a VRF (one is looked for again until it is there)" } else { "" };
            format!(
                "no {what} is named {name}{vrf}: write its number, or a line `NUMBER {name}` in /etc/iproute2/{file}"
            )
        })
    }
}

/// The table of the VRF of that name (drivers/net/vrf.c), if there is one in the network namespace of the thread.
fn table_of_vrf(name: &str) -> Option<u32> {
    let links = Batch::open().ok()?.links().ok()?;
    links.into_iter().find(|link| link.name.as_deref() == Some(name))?.vrf_table
}

/// The file, and those of the directory beside it.
fn files(directory: &Path, name: &str) -> Vec<PathBuf> {
    let beside = std::fs::read_dir(directory.join(format!("{name}.d")));
    let beside = beside.into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut beside: Vec<PathBuf> = beside.filter(|path| path.extension().is_some_and(|end| end == "conf")).collect();
    beside.sort();
    std::iter::once(directory.join(name)).chain(beside).collect()
}

/// A line is a number and a name; `#` begins a remark.
fn find(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let number = number(words.next()?)?;
        (words.next()? == name).then_some(number)
    })
}

pub(super) fn number(word: &str) -> Option<u32> {
    match word.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16).ok(),
        None => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_files_then_from_the_kernels_own() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("rt_tables"), "# remark\n100\tblue # one\n0x65 green\n").unwrap();
        std::fs::create_dir(directory.path().join("rt_tables.d")).unwrap();
        std::fs::write(directory.path().join("rt_tables.d/x.conf"), "102 red\n").unwrap();
        let names = Names::of(directory.path());
        let table = |name: &str| names.number(Kind::Table, &Named::Name(name.into()));
        assert_eq!([table("blue"), table("green"), table("red"), table("main")], [Ok(100), Ok(101), Ok(102), Ok(254)]);
        assert!(table("pink").unwrap_err().contains("rt_tables"));
        assert_eq!(names.word(Kind::Protocol, "bgp"), Ok(186));
        assert_eq!(names.word(Kind::Realm, "0x10"), Ok(16));
    }
}
