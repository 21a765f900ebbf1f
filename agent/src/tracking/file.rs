//! Tracked files: numbers that are read when inotify says that something about them has changed.
//!
//! What must stay true: inotify only says when to look. Each file is also read every few seconds, by its name, so that no
//! lost word, link or directory that came later leaves an old number standing.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use keepone_config::model::FileTracker;
use keepone_proto::watch::{RETELL, Reading};
use nix::libc::{O_NOFOLLOW, O_NONBLOCK};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

use super::teller::{Gone, Teller};
use crate::clock;

/// A number, its sign and the blanks around it are shorter.
const LONGEST: u64 = 64;
/// `echo 5 > FILE` empties it first. So long an empty file may still be one that is being written.
const WRITTEN_WITHIN: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_millis(5);

/// Changes of what a name stands for.
const NAMES: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);
/// Changes of what is in a file, or of who may read it.
const CONTENTS: AddWatchFlags = AddWatchFlags::IN_MODIFY
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVE_SELF);

/// `IN_MASK_ADD` (inotify(7)): what was asked of an inode before stays.
const MASK_ADD: AddWatchFlags = AddWatchFlags::from_bits_retain(nix::libc::IN_MASK_ADD);

/// Watches them until the core is gone.
pub(crate) fn serve(mut files: Vec<(FileTracker, Teller)>) {
    let paths: Vec<PathBuf> = files.iter().map(|(file, _)| file.file.clone()).collect();
    for (file, _) in &files {
        if let Err(error) = begin(file, false) {
            tracing::warn!("{error}");
        }
    }
    let mut names = None;
    let mut fault = String::new();
    loop {
        // First the watch, then the look: what changes between the two is told.
        if names.is_none() {
            names = Names::of(&paths).inspect_err(|error| say_once(&mut fault, error)).ok();
        }
        if tell(&mut files).is_err() {
            return;
        }
        match &names {
            Some(watched) if watched.wait() => names = None,
            Some(_) => {}
            None => thread::sleep(Duration::from_secs(1)),
        }
    }
}

fn say_once(said: &mut String, error: &io::Error) {
    let words = error.to_string();
    if *said != words {
        tracing::warn!(
            "no inotify, so tracked files are read each second: {words}; raise fs.inotify.max_user_instances"
        );
        *said = words;
    }
}

fn tell(files: &mut [(FileTracker, Teller)]) -> Result<(), Gone> {
    files.iter_mut().try_for_each(|(file, teller)| teller.tell(read(&file.file)))
}

/// What a file says now. One that is just being written is waited for, shortly.
fn read(path: &Path) -> Reading {
    let mut waited = Duration::ZERO;
    loop {
        let reading = match contents(path) {
            Ok(text) if text.trim().is_empty() && waited < WRITTEN_WITHIN => {
                thread::sleep(LOOK);
                waited += LOOK;
                continue;
            }
            Ok(text) => number(&text).map_or_else(Reading::Unreadable, Reading::Number),
            Err(error) if error.kind() == ErrorKind::NotFound => Reading::Missing,
            Err(error) => Reading::Unreadable(format!("{}: {error}", path.display())),
        };
        return reading;
    }
}

fn contents(path: &Path) -> io::Result<String> {
    // A pipe without a writer would keep all files waiting.
    let file = OpenOptions::new().read(true).custom_flags(O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other(format!("more than {LONGEST} bytes, where one whole number is wanted")));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// keepalived's range for what is in a file.
fn number(text: &str) -> Result<i64, String> {
    let number = text.trim().parse::<i32>().map(i64::from);
    number.map_err(|error| format!("`{}` is no whole number that it can be: {error}", text.trim().escape_debug()))
}

/// `init_file`: makes a file that is not there, and with `may_overwrite` writes one anew where the operator wants that:
/// at the start of the program, and not at that of each worker.
///
/// # Errors
/// What could not be written, with the remedy.
pub(crate) fn begin(file: &FileTracker, may_overwrite: bool) -> Result<(), String> {
    let Some(init) = file.init else { return Ok(()) };
    let overwrite = init.overwrite && may_overwrite;
    let mut options = OpenOptions::new();
    // A link that somebody has put there is not followed: we write as root.
    options.write(true).custom_flags(O_NOFOLLOW | O_NONBLOCK).mode(0o644);
    options.create(overwrite).truncate(overwrite).create_new(!overwrite);
    match options.open(&file.file).and_then(|mut opened| writeln!(opened, "{}", init.value)) {
        Err(error) if overwrite || error.kind() != ErrorKind::AlreadyExists => {
            Err(format!("init_file of track_file {}: {}: {error}: make its directory", file.name, file.file.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The watches of all files and of the directories on the way to them.
struct Names {
    inotify: Inotify,
    /// Of a directory, the names in it that matter.
    wanted: BTreeMap<WatchDescriptor, BTreeSet<OsString>>,
}

impl Names {
    fn of(paths: &[PathBuf]) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        let mut names = Names { inotify, wanted: BTreeMap::new() };
        for path in paths {
            names.add(path)?;
        }
        Ok(names)
    }

    /// What is not there yet has no watch; its directory, or that of its directory, has.
    fn add(&mut self, path: &Path) -> io::Result<()> {
        for step in path.ancestors() {
            if let (Some(parent), Some(name)) = (step.parent(), step.file_name()) {
                self.put(parent, NAMES | AddWatchFlags::IN_ONLYDIR, Some(name))?;
            }
        }
        self.put(path, CONTENTS, None)
    }

    fn put(&mut self, path: &Path, flags: AddWatchFlags, name: Option<&OsStr>) -> io::Result<()> {
        // One inode may be several things here: what was asked before stays.
        match self.inotify.add_watch(path, flags | MASK_ADD) {
            Ok(watch) => {
                self.wanted.entry(watch).or_default().extend(name.map(OsStr::to_owned));
                Ok(())
            }
            Err(nix::Error::ENOSPC | nix::Error::ENOMEM) => Err(io::Error::other("no more watches")),
            // Not there, or not for us to see: reading it will say so.
            Err(_) => Ok(()),
        }
    }

    /// Waits for a change, or for the time to tell again. Whether the watches are to be made anew.
    fn wait(&self) -> bool {
        // Not from each change: others' changes in a busy directory must not put it off.
        let until = clock::now() + RETELL;
        loop {
            let timeout = PollTimeout::try_from(until.since(clock::now())).unwrap_or(PollTimeout::ZERO);
            let ready = poll(&mut [PollFd::new(self.inotify.as_fd(), PollFlags::POLLIN)], timeout);
            match ready {
                // Files behind a link that changed, or on a network: their watches are made anew from time to time.
                Ok(0) => return true,
                Ok(_) => {}
                Err(nix::Error::EINTR) => continue,
                Err(_) => {
                    thread::sleep(LOOK);
                    return true;
                }
            }
            match self.inotify.read_events() {
                Err(nix::Error::EAGAIN | nix::Error::EINTR) => {}
                Err(_) => return true,
                Ok(events) => {
                    let matters = events.iter().filter(|event| match &event.name {
                        Some(name) => self.wanted.get(&event.wd).is_none_or(|wanted| wanted.contains(name)),
                        None => true,
                    });
                    let kinds = matters.fold(None, |kinds, event| Some(kinds.unwrap_or(event.mask) | event.mask));
                    // Others' files in the same directory are none of ours.
                    if let Some(kinds) = kinds {
                        let only_contents = AddWatchFlags::IN_MODIFY | AddWatchFlags::IN_CLOSE_WRITE;
                        return !only_contents.contains(kinds);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
