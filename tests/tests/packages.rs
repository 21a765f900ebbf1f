//! The packages: made twice they are the same, and a Debian root is left as it was before them. Needs root, and the programs
//! built beside the test.
#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use keepone_tests::binary;
use keepone_tests::debian::{NAMES, build, debian, package, packages, run, tree};

/// That Debian with changes of one's own, which end with the value.
struct Root {
    room: tempfile::TempDir,
    lower: PathBuf,
}

impl Root {
    fn new() -> Self {
        let room = tempfile::Builder::new().prefix("keepone-packages").tempdir().unwrap();
        ["upper", "work", "merged", "packages"].iter().for_each(|name| fs::create_dir(room.path().join(name)).unwrap());
        Root { room, lower: debian("bookworm") }
    }

    /// Runs a line of shell in it, as root, with the packages in /mnt.
    #[track_caller]
    fn shell(&self, line: &str) -> String {
        let (room, lower) = (self.room.path().display(), self.lower.display());
        let script = format!(
            "set -e; cd {room}; mount -t overlay overlay -o lowerdir={lower},upperdir=upper,workdir=work merged; \
             mount --bind packages merged/mnt; mount -t proc proc merged/proc; mount -t tmpfs tmpfs merged/run; \
             exec chroot merged env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin sh -ec \"$1\""
        );
        let mut command = Command::new("unshare");
        run(command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh", line]))
    }

    /// What is otherwise than in the Debian that nothing was installed in, the books of dpkg and of the users apart.
    fn changes(&self) -> BTreeSet<String> {
        let upper = self.room.path().join("upper");
        let mut found = BTreeSet::new();
        let mut open = vec![upper.clone()];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(&directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(&upper).unwrap();
                if path.is_dir() && !path.is_symlink() {
                    // A directory that was there is copied up when something in it changes.
                    if !self.lower.join(name).is_dir() {
                        found.insert(name.display().to_string());
                    }
                    open.push(path);
                } else {
                    found.insert(name.display().to_string());
                }
            }
        }
        let books = [
            "var/lib/dpkg/",
            "var/log/",
            "var/cache/",
            "var/lib/rpm/",
            "root/.rpmdb",
            "etc/passwd",
            "etc/group",
            "etc/shadow",
            "etc/gshadow",
            "etc/.pwd.lock",
            "etc/subuid",
            "etc/subgid",
        ];
        found.retain(|name| !books.iter().any(|book| name.starts_with(book)));
        found
    }
}

fn copy(from: &Path, root: &Root, to: &str) {
    fs::copy(from, root.room.path().join("packages").join(to)).unwrap();
}

#[test]
fn the_packages_are_a_function_of_their_contents() {
    let room = tempfile::tempdir().unwrap();
    let out = packages();
    let sums = [fs::read_to_string(out.join("SHA256SUMS")).unwrap(), build(room.path())];
    assert_eq!(sums[0].lines().count(), 6, "{}", sums[0]);
    assert_eq!(sums[0], sums[1], "made twice, and not the same");
    println!("the same twice:\n{}", sums[0]);
    for name in NAMES {
        let list = run(Command::new("dpkg-deb").arg("--contents").arg(package(&out, name, ".deb")));
        let rpm = run(Command::new("rpm").args(["-qlp", "--nosignature"]).arg(package(&out, name, ".rpm")));
        for file in [
            format!("/usr/sbin/{name}"),
            format!("/usr/share/man/man8/{name}.8.gz"),
            format!("/usr/share/bash-completion/completions/{name}"),
            format!("/usr/share/doc/{name}/{name}.cdx.json"),
        ] {
            assert!(list.lines().any(|line| line.ends_with(&format!(".{file}"))), "no {file} in the .deb:\n{list}");
            assert!(rpm.lines().any(|line| line == file), "no {file} in the .rpm:\n{rpm}");
        }
        assert!(list.lines().all(|line| line.contains("root/root")), "{list}");
    }
    let agent = run(Command::new("rpm").args(["-qcp", "--nosignature"]).arg(package(&out, "keepone", ".rpm")));
    assert!(agent.contains("/etc/keepone/keepone.conf"), "{agent}");
}

#[test]
#[ignore = "fetches a Debian, and takes minutes: packaging/try"]
fn a_debian_is_as_before_once_the_packages_are_purged() {
    let out = packages();
    let root = Root::new();
    for name in NAMES {
        copy(&package(&out, name, ".deb"), &root, &format!("{name}.deb"));
        copy(&package(&out, name, ".rpm"), &root, &format!("{name}.rpm"));
    }
    root.shell("dpkg -i /mnt/*.deb");
    let said = root.shell(
        "keepone check /etc/keepone/keepone.conf; keepone version --json; getent passwd keepone-witness; \
         test ! -e /etc/systemd/system/multi-user.target.wants/keepone.service; \
         systemd-analyze verify --man=no /usr/lib/systemd/system/keepone.service /usr/lib/systemd/system/keepone-witness.service 2>&1",
    );
    println!("{said}");
    assert!(said.contains("keepone.conf is good: 0 virtual routers") && said.contains("\"version\""), "{said}");
    assert!(said.contains("keepone-witness:"), "no user: {said}");
    // Evaluated as needrestart(1) does it: both services are named, with "do not restart".
    let kept = root.shell(
        "perl -e 'my %nrconf; for my $file (</etc/needrestart/conf.d/*.conf>) { eval do { local (@ARGV, $/) = $file; <> }; die $@ if $@; } \
         for my $unit (qw(keepone.service keepone-witness.service keepone-x.service)) { \
         print \"$unit \" if grep { $unit =~ /$_/ && $nrconf{override_rc}{$_} eq 0 } keys %{$nrconf{override_rc}}; }'",
    );
    assert_eq!(kept, "keepone.service keepone-witness.service ");
    // An upgrade: what the operator has written stays.
    root.shell(
        "echo '# mine' >> /etc/keepone/keepone.conf; mkdir -p /var/lib/keepone; touch /var/lib/keepone/web.voter; \
         dpkg-deb -R /mnt/keepone.deb /tmp/next; sed -i 's/^Version: .*/Version: 99.0/' /tmp/next/DEBIAN/control; \
         echo '# another default' >> /tmp/next/etc/keepone/keepone.conf; \
         dpkg-deb -Znone -b /tmp/next /tmp/next.deb; dpkg -i --force-confold /tmp/next.deb; rm -r /tmp/next /tmp/next.deb",
    );
    let said =
        root.shell("tail -1 /etc/keepone/keepone.conf; dpkg-query -W -f '${Version}' keepone; ls /var/lib/keepone");
    assert_eq!(said, "# mine\n99.0web.voter\n");
    root.shell("dpkg -r keepone keepone-witness keepone-chaos");
    let kept: Vec<String> = root.changes().into_iter().filter(|name| !name.ends_with(".dpkg-dist")).collect();
    assert!(kept.contains(&"etc/keepone/keepone.conf".to_owned()), "a removal keeps what was configured: {kept:?}");
    assert!(!kept.iter().any(|name| name.starts_with("usr/")), "{kept:?}");
    root.shell("dpkg -P keepone keepone-witness keepone-chaos");
    let left = root.changes();
    assert!(left.is_empty(), "left behind: {left:?}");
    assert!(!root.shell("getent passwd; getent group").contains("keepone"), "the user is left behind");

    // The same with the other format, by the host's rpm.
    let rpm = |line: &str| {
        let at = root.room.path().join("merged");
        let (room, lower) = (root.room.path().display(), root.lower.display());
        let script = format!(
            "set -e; cd {room}; mount -t overlay overlay -o lowerdir={lower},upperdir=upper,workdir=work merged; \
             mount -t proc proc merged/proc; rpm --root {} --nodeps --nosignature {line}",
            at.display()
        );
        run(Command::new("unshare").args(["--mount", "--propagation", "private", "sh", "-c", &script]))
    };
    rpm("-i packages/keepone.rpm packages/keepone-witness.rpm packages/keepone-chaos.rpm");
    assert!(root.shell("keepone version; getent passwd keepone-witness").contains("keepone-witness:"));
    rpm("-U --replacepkgs packages/keepone.rpm");
    assert!(root.shell("keepone version").contains("keepone "), "gone with the upgrade");
    rpm("-e keepone keepone-witness keepone-chaos");
    let left = root.changes();
    assert!(left.is_empty(), "left behind: {left:?}");
}

/// How far a break-in through a service would reach, by systemd-analyze(1): 0 to 10.
#[test]
fn the_units_are_hardened() {
    for (unit, most) in [("keepone.service", 3.0), ("keepone-witness.service", 2.0)] {
        let path = tree().join("packaging/systemd").join(unit);
        let said = run(Command::new("systemd-analyze").args(["security", "--offline=yes", "--no-pager"]).arg(&path));
        let line = said.lines().rev().find(|line| line.contains("exposure level")).unwrap().to_owned();
        println!("{line}");
        let number = line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap();
        assert!(number < most, "{line}, where less than {most} is wanted:\n{said}");
    }
}

/// What is linked is under a licence that was read, and from the registry.
#[test]
fn nothing_is_linked_that_may_not_be() {
    let said = run(Command::new(binary::find("keepone-packaging")).arg("deny"));
    println!("{said}");
    assert!(said.contains(", 0 complaints"), "{said}");
}
