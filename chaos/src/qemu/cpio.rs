//! The archive that a kernel unpacks as its first file system: "newc", as in the kernel's
//! Documentation/driver-api/early-userspace/buffer-format.rst.

use std::collections::BTreeSet;

/// What a header of "newc" begins with.
const MAGIC: &str = "070701";
/// The name of the entry that ends an archive.
const TRAILER: &str = "TRAILER!!!";

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

/// An archive in the making.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    inode: u32,
    directories: BTreeSet<String>,
}

impl Archive {
    /// Adds a file with permission bits `mode`; the directories above it are added where they are missing.
    pub fn file(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.parents(path);
        self.entry(path, FILE | mode, contents);
    }

    /// Adds a symbolic link to `target`.
    pub fn link(&mut self, path: &str, target: &str) {
        self.parents(path);
        self.entry(path, LINK | 0o777, target.as_bytes());
    }

    /// Adds an empty directory, with those above it.
    pub fn directory(&mut self, path: &str) {
        self.parents(path);
        if self.directories.insert(path.to_owned()) {
            self.entry(path, DIRECTORY | 0o755, &[]);
        }
    }

    /// The whole archive. Several may stand one after the other: the kernel unpacks each.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, &[]);
        self.bytes
    }

    fn parents(&mut self, path: &str) {
        for (at, _) in path.match_indices('/') {
            let above = path.get(..at).unwrap_or_default();
            if !above.is_empty() && self.directories.insert(above.to_owned()) {
                self.entry(above, DIRECTORY | 0o755, &[]);
            }
        }
    }

    fn entry(&mut self, path: &str, mode: u32, contents: &[u8]) {
        self.inode += 1;
        let (length, name) = (contents.len(), path.len() + 1);
        // Inode, mode, owner, group, links, time, length, four device numbers, length of the name, checksum.
        let header = format!(
            "{MAGIC}{:08x}{mode:08x}{:08x}{:08x}{:08x}{:08x}{length:08x}{:08x}{:08x}{:08x}{:08x}{name:08x}{:08x}",
            self.inode, 0, 0, 1, 0, 0, 0, 0, 0, 0
        );
        self.bytes.extend(header.as_bytes());
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend(contents);
        self.pad();
    }

    /// Names and contents begin at multiples of four.
    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of an archive, read back by the letter of the format.
    fn read(bytes: &[u8]) -> Vec<(String, u32, Vec<u8>)> {
        let (mut at, mut entries) = (0, Vec::new());
        loop {
            let field = |number: usize| {
                let from = at + 6 + number * 8;
                let text = std::str::from_utf8(&bytes[from..from + 8]).unwrap();
                usize::from_str_radix(text, 16).unwrap()
            };
            assert_eq!(&bytes[at..at + 6], b"070701");
            let (mode, length, name) = (field(1), field(6), field(11));
            let from = at + 110;
            let path = std::str::from_utf8(&bytes[from..from + name - 1]).unwrap().to_owned();
            assert_eq!(bytes[from + name - 1], 0);
            let contents = (from + name).next_multiple_of(4);
            at = (contents + length).next_multiple_of(4);
            if path == "TRAILER!!!" {
                assert_eq!(at, bytes.len());
                return entries;
            }
            entries.push((path, u32::try_from(mode).unwrap(), bytes[contents..contents + length].to_vec()));
        }
    }

    #[test]
    fn an_archive_reads_back_with_its_parents_once_and_first() {
        let mut archive = Archive::default();
        archive.file("a/b/c", 0o755, b"12345");
        archive.file("a/b/d", 0o600, b"");
        archive.link("a/e", "b/c");
        archive.directory("a/f");
        archive.directory("a/f");
        let entries = read(&archive.finish());
        let names: Vec<&str> = entries.iter().map(|(path, _, _)| path.as_str()).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d", "a/e", "a/f"]);
        assert_eq!((entries[2].1, entries[2].2.as_slice()), (0o100_755, b"12345".as_slice()));
        assert_eq!((entries[4].1, entries[4].2.as_slice()), (0o120_777, b"b/c".as_slice()));
        assert_eq!(entries[0].1, 0o040_755);
    }
}
