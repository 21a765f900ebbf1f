//! FRR's bfdd, for sessions with another program.
#![allow(clippy::unwrap_used, reason = "a test's precondition")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use keepone_chaos::netns::topology::Kind;

use crate::lan::Lan;
use crate::program::Program;

const FRR: &str = "/usr/lib/frr";
/// What bfdd tells and asks for, in ms, and how many of ours it lets miss.
const INTERVAL: u32 = 60;
const MULTIPLIER: u32 = 3;

/// FRR's daemons on the client's machine, with a directory that their own user may write to.
#[derive(Debug)]
pub struct Frr {
    room: PathBuf,
}

impl Frr {
    /// `peers`: each with our address, and what follows it there.
    ///
    /// # Panics
    /// FRR is not installed, or has no directory.
    pub fn new(lan: &Lan, peers: &[(String, String, &str)]) -> Self {
        assert!(Path::new(FRR).join("bfdd").exists(), "there is no {FRR}/bfdd: install frr");
        let room = lan.room().join("frr");
        fs::create_dir(&room).unwrap();
        fs::set_permissions(lan.room(), fs::Permissions::from_mode(0o755)).unwrap();
        let peers: String = peers
            .iter()
            .map(|(peer, local, how)| {
                format!(
                    " peer {peer} {how} local-address {local}\n  detect-multiplier {MULTIPLIER}\n  \
                     receive-interval {INTERVAL}\n  transmit-interval {INTERVAL}\n exit\n"
                )
            })
            .collect();
        fs::write(room.join("bfdd.conf"), format!("bfd\n{peers}exit\n")).unwrap();
        fs::write(room.join("zebra.conf"), "hostname zebra\n").unwrap();
        let owner = nix::unistd::User::from_name("frr").unwrap().unwrap();
        for path in [room.clone(), room.join("bfdd.conf"), room.join("zebra.conf")] {
            nix::unistd::chown(&path, Some(owner.uid), Some(owner.gid)).unwrap();
        }
        Frr { room }
    }

    /// Starts `zebra` or `bfdd`.
    ///
    /// # Panics
    /// It can't be started.
    pub fn start(&self, lan: &Lan, daemon: &str) -> Program {
        let at = |name: String| self.room.join(name).display().to_string();
        let program = format!("{FRR}/{daemon}");
        let (file, pid) = (at(format!("{daemon}.conf")), at(format!("{daemon}.pid")));
        let (zserv, directory, log) =
            (at("zserv.api".to_owned()), self.room.display().to_string(), format!("file:{}", at("log".to_owned())));
        let mut command = vec![
            &*program,
            "-f",
            &file,
            "-i",
            &pid,
            "-z",
            &zserv,
            "--vty_socket",
            &directory,
            "-P",
            "0",
            "--log",
            &log,
        ];
        let control = at("bfdd.sock".to_owned());
        if daemon == "bfdd" {
            command.extend(["--bfdctl", &control]);
        }
        lan.start_at(Kind::Client(0), &command).unwrap()
    }
}
