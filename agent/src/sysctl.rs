//! Settings of the kernel that hold while the agent runs. What they were before is written down first, so that whoever
//! ends last, or starts next, can put it back.
//!
//! What must stay true: nothing is changed whose former value is not on disk; what somebody else has changed meanwhile
//! is theirs.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Where the kernel has them.
const ROOT: &str = "/proc/sys";
/// The file in the run directory: lines of name, former value, ours.
const FILE: &str = "sysctl";

/// A setting as it is to be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Setting {
    /// Below /proc/sys: `net/ipv4/conf/eth0/arp_ignore`.
    pub(crate) name: String,
    pub(crate) value: Value,
    /// Whether it is put back: what goes with its interface is not.
    pub(crate) returns: bool,
}

/// To what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Value {
    Exactly(u8),
    /// More is as good.
    AtLeast(u8),
    /// `rp_filter` of an interface: off, or where that of `all` is on, which prevails, loose, which prevails over it.
    NoReversePath,
}

impl Setting {
    pub(crate) fn ipv4(interface: &str, name: &str, value: Value) -> Self {
        Setting { name: format!("net/ipv4/conf/{interface}/{name}"), value, returns: false }
    }

    pub(crate) fn ipv6(interface: &str, name: &str, value: Value) -> Self {
        Setting { name: format!("net/ipv6/conf/{interface}/{name}"), value, returns: false }
    }

    pub(crate) fn returning(self) -> Self {
        Setting { returns: true, ..self }
    }
}

/// The directories.
#[derive(Debug, Clone)]
pub(crate) struct Sysctls {
    root: PathBuf,
    file: PathBuf,
}

impl Sysctls {
    pub(crate) fn new(run_dir: &Path) -> Self {
        Sysctls { root: PathBuf::from(ROOT), file: run_dir.join(FILE) }
    }

    /// Sets them all; what an earlier call has set and this one does not want is put back. What could not be set, and
    /// why.
    pub(crate) fn apply(&self, wanted: &[Setting]) -> Vec<String> {
        let mut former = self.former();
        let (mut faults, mut to_set) = (Vec::new(), Vec::new());
        for setting in wanted {
            match self.read(&setting.name) {
                Ok(present) => {
                    let Some(ours) = self.target(setting.value, &present) else { continue };
                    if setting.returns {
                        former.entry(setting.name.clone()).or_insert_with(|| (present, ours.clone()));
                    }
                    to_set.push((setting.name.clone(), ours));
                }
                // A kernel without IPv6, for one.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => faults.push(format!("{} can't be read: {error}", setting.name)),
            }
        }
        let names: BTreeSet<&str> = wanted.iter().map(|setting| setting.name.as_str()).collect();
        let is_wanted = |name: &str| names.contains(name);
        let (stays, goes): (BTreeMap<_, _>, BTreeMap<_, _>) = former.into_iter().partition(|(name, _)| is_wanted(name));
        // The former values of those that go stay on disk until they are back.
        let all = stays.iter().chain(&goes).map(|(name, pair)| (name.clone(), pair.clone())).collect();
        if let Err(error) = self.write_down(&all) {
            faults.push(format!("{} can't be written, so no setting is changed: {error}", self.file.display()));
            return faults;
        }
        for (name, value) in to_set {
            if let Err(error) = fs::write(self.root.join(&name), &value) {
                faults.push(format!("{name} can't be set to {value}: {error}"));
            }
        }
        if !goes.is_empty() {
            faults.extend(self.give_back(&goes));
            faults.extend(self.write_down(&stays).err().map(|error| error.to_string()));
        }
        faults
    }

    /// Which of them are not as they are to be: name, value, and what it should be.
    pub(crate) fn differing(&self, wanted: &[Setting]) -> Vec<(String, String, String)> {
        let differs = |setting: &Setting| {
            let present = self.read(&setting.name).ok()?;
            let target = self.target(setting.value, &present)?;
            Some((setting.name.clone(), present, target))
        };
        wanted.iter().filter_map(differs).collect()
    }

    /// Puts everything back. What could not be, and why.
    pub(crate) fn restore(&self) -> Vec<String> {
        let faults = self.give_back(&self.former());
        let _ = fs::remove_file(&self.file);
        faults
    }

    fn give_back(&self, former: &BTreeMap<String, (String, String)>) -> Vec<String> {
        let mut faults = Vec::new();
        for (name, (before, ours)) in former {
            match self.read(name) {
                Ok(present) if present == *ours => {
                    let written = fs::write(self.root.join(name), before);
                    faults.extend(written.err().map(|error| format!("{name} can't be put back to {before}: {error}")));
                }
                // Somebody else's by now, or gone with its interface.
                Ok(_) | Err(_) => {}
            }
        }
        faults
    }

    /// `None`: it is so already.
    fn target(&self, value: Value, present: &str) -> Option<String> {
        let wanted = match value {
            Value::Exactly(value) => value,
            Value::AtLeast(value) if present.parse::<u32>().is_ok_and(|present| present >= value.into()) => {
                return None;
            }
            Value::AtLeast(value) => value,
            Value::NoReversePath => {
                let all = self.read("net/ipv4/conf/all/rp_filter");
                if all.is_ok_and(|all| all != "0") { 2 } else { 0 }
            }
        };
        let wanted = wanted.to_string();
        (wanted != present).then_some(wanted)
    }

    fn read(&self, name: &str) -> io::Result<String> {
        fs::read_to_string(self.root.join(name)).map(|text| text.trim().to_owned())
    }

    /// Name, value before, ours.
    fn former(&self) -> BTreeMap<String, (String, String)> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let line = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            Some((words.next()?, (words.next()?, words.next()?)))
        };
        text.lines().filter_map(line).collect()
    }

    fn write_down(&self, former: &BTreeMap<String, (String, String)>) -> io::Result<()> {
        if former.is_empty() {
            return match fs::remove_file(&self.file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let text: String = former.iter().map(|(name, (before, ours))| format!("{name} {before} {ours}\n")).collect();
        // Whole, or as it was: a half would lose what is to be put back.
        let new = self.file.with_extension("new");
        fs::write(&new, text)?;
        fs::rename(&new, &self.file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Place {
        directory: tempfile::TempDir,
        sysctls: Sysctls,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let sysctls = Sysctls { root: directory.path().to_owned(), file: directory.path().join("run") };
            Place { directory, sysctls }
        }

        fn put(&self, setting: &Setting, value: &str) {
            let path = self.directory.path().join(&setting.name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, format!("{value}\n")).unwrap();
        }

        fn get(&self, setting: &Setting) -> String {
            fs::read_to_string(self.directory.path().join(&setting.name)).unwrap().trim().to_owned()
        }
    }

    #[test]
    fn what_was_before_comes_back_after_any_number_of_lives() {
        let place = Place::new();
        let ignore = Setting::ipv4("eth0", "arp_ignore", Value::AtLeast(1)).returning();
        let filter = Setting::ipv4("eth0", "arp_filter", Value::Exactly(1)).returning();
        let virtual_one = Setting::ipv4("vrrp.51", "accept_local", Value::Exactly(1));
        let missing = Setting::ipv6("eth0", "accept_ra", Value::Exactly(0)).returning();
        let all = [ignore.clone(), filter.clone(), virtual_one.clone(), missing];
        place.put(&ignore, "2");
        place.put(&filter, "0");
        place.put(&virtual_one, "0");
        for _life in 0..2 {
            assert_eq!(place.sysctls.apply(&all), Vec::<String>::new());
            assert_eq!([&ignore, &filter, &virtual_one].map(|one| place.get(one)), ["2", "1", "1"]);
        }
        assert_eq!(place.sysctls.restore(), Vec::<String>::new());
        assert_eq!([&ignore, &filter, &virtual_one].map(|one| place.get(one)), ["2", "0", "1"]);
        assert!(!place.sysctls.file.exists());
    }

    #[test]
    fn what_is_not_wanted_any_more_comes_back_and_what_somebody_has_changed_is_theirs() {
        let place = Place::new();
        let [one, two] = ["eth0", "eth1"].map(|name| Setting::ipv4(name, "arp_ignore", Value::Exactly(1)).returning());
        place.put(&one, "0");
        place.put(&two, "0");
        place.sysctls.apply(&[one.clone(), two.clone()]);
        place.sysctls.apply(std::slice::from_ref(&two));
        assert_eq!([&one, &two].map(|one| place.get(one)), ["0", "1"]);
        place.put(&two, "8");
        place.sysctls.restore();
        assert_eq!(place.get(&two), "8");
    }

    #[test]
    fn nothing_is_changed_that_can_not_be_written_down() {
        let place = Place::new();
        let one = Setting::ipv4("eth0", "arp_ignore", Value::Exactly(1)).returning();
        place.put(&one, "0");
        fs::create_dir(place.directory.path().join("run.new")).unwrap();
        let faults = place.sysctls.apply(std::slice::from_ref(&one));
        assert!(faults.concat().contains("no setting is changed"), "{faults:?}");
        assert_eq!(place.get(&one), "0");
    }

    #[test]
    fn the_reverse_path_is_not_asked_for_even_where_all_interfaces_are() {
        let place = Place::new();
        let all = Setting::ipv4("all", "rp_filter", Value::Exactly(1));
        let own = Setting::ipv4("vrrp.51", "rp_filter", Value::NoReversePath);
        for (everywhere, expected) in [("0", "0"), ("1", "2")] {
            place.put(&all, everywhere);
            place.put(&own, "1");
            place.sysctls.apply(std::slice::from_ref(&own));
            assert_eq!(place.get(&own), expected);
        }
    }
}
