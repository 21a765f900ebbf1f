//! The guest: a Debian kernel, and a first file system with busybox, our programs and what they are linked to.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::cpio::Archive;
use crate::netns::error::{Error, io_error};

/// Modules that a guest loads, in this order. What a kernel has built in is not there as a module.
const MODULES: [&str; 6] = ["crc32c_generic", "virtio_pci", "virtio_net", "dummy", "nf_tables", "watchdog"];
/// Modules that are only brought along, for tests to load.
const AT_HAND: [&str; 1] = ["softdog"];
/// Programs of ours that are brought along.
const PROGRAMS: [&str; 3] = ["keepone", "keepone-witness", "keepone-chaos"];

/// Directories in which a program of the host is looked for.
const HOST: [&str; 4] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// What some guests are given beside what all have.
#[derive(Debug, Clone, Copy, Default)]
pub struct Extra<'a> {
    /// Modules, for the test to load by what `modules/extra` lists.
    pub modules: &'a [&'a str],
    /// Programs of the host that go to `sbin`, each with its Debian package.
    pub programs: &'a [(&'a str, &'a str)],
}

/// The first process of a guest. It prepares the machine, then serves the host's commands on the second
/// serial line: a line `NUMBER COMMAND` is answered by the command's output and a line `\x01NUMBER STATUS`.
const INIT: &str = r#"#!/bin/busybox sh
export PATH=/bin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
/bin/busybox mount -t bpf bpf /sys/fs/bpf
/bin/busybox mount -t tmpfs run /run
/bin/busybox --install -s /bin
for module in $(cat /modules/order); do
    insmod /modules/$module.ko || echo "module $module can't be loaded"
done
ip link set lo up
exec 3<>/dev/ttyS1
stty -F /dev/ttyS1 raw -echo
printf '\0010 0\n' >&3
while read -r number command <&3; do
    eval "$command" </dev/null >&3 2>&1
    printf '\001%s %s\n' "$number" "$?" >&3
done
poweroff -f
"#;

/// An unpacked Debian kernel package.
#[derive(Debug, Clone)]
pub struct Kernel {
    /// The kernel.
    pub image: PathBuf,
    /// Its version, as its modules' directory is called.
    pub version: String,
    modules: PathBuf,
}

impl Kernel {
    /// Finds it below `root`: `boot/vmlinuz-VERSION`, and `lib/modules/VERSION` or `usr/lib/modules/VERSION`.
    ///
    /// # Errors
    /// [`Error::Io`] when there is none, naming the directory.
    pub fn find(root: &Path) -> Result<Self, Error> {
        let boot = root.join("boot");
        let what = || {
            format!(
                "find a kernel in {}: unpack a Debian kernel there with `tests/kernel DIRECTORY`, and name it with --kernel",
                root.display()
            )
        };
        let missing = || io_error(what())(std::io::Error::from(std::io::ErrorKind::NotFound));
        let entries = fs::read_dir(&boot).map_err(io_error(what()))?;
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        let version = names.filter_map(|name| name.strip_prefix("vmlinuz-").map(str::to_owned)).max();
        let version = version.ok_or_else(missing)?;
        let homes = ["lib/modules", "usr/lib/modules"].into_iter().map(|home| root.join(home).join(&version));
        let modules = homes.into_iter().find(|home| home.is_dir()).ok_or_else(missing)?;
        Ok(Kernel { image: boot.join(format!("vmlinuz-{version}")), version, modules })
    }

    /// A module's contents, unpacked; `None`: it has none of that name.
    fn module(&self, name: &str) -> Result<Option<Vec<u8>>, Error> {
        // A file is called by either of two letters for one name.
        let file = name.replace('_', "-");
        let names = [name, &file].map(|name| [format!("{name}.ko"), format!("{name}.ko.xz")]).concat();
        let Some(path) = find_file(&self.modules, &names) else {
            return Ok(None);
        };
        if path.extension().is_some_and(|extension| extension == "xz") {
            return output(Command::new("xz").arg("-dc").arg(&path), "xz-utils").map(Some);
        }
        fs::read(&path).map(Some).map_err(io_error(format!("read {}", path.display())))
    }
}

fn find_file(below: &Path, names: &[String]) -> Option<PathBuf> {
    for entry in fs::read_dir(below).ok()?.flatten() {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_file(&path, names) {
                return Some(found);
            }
        } else if names.iter().any(|name| path.file_name().is_some_and(|own| own == name.as_str())) {
            return Some(path);
        }
    }
    None
}

/// What a program of the package `package` writes.
fn output(command: &mut Command, package: &str) -> Result<Vec<u8>, Error> {
    let shown = format!("{command:?}");
    let done = command.output().map_err(io_error(format!("run {shown} (Debian package {package})")))?;
    if done.status.success() {
        return Ok(done.stdout);
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Err(Error::Command { command: shown, status: done.status.to_string(), output: said })
}

/// The files that the dynamic linker needs for a program, in the words of ldd(1).
fn libraries_in(ldd: &str) -> Vec<&str> {
    let paths = ldd.lines().filter_map(|line| {
        let (words, _) = line.trim().rsplit_once(" (")?;
        let path = words.rsplit_once("=> ").map_or(words, |(_, path)| path).trim();
        path.starts_with('/').then_some(path)
    });
    paths.collect()
}

/// A program without what only a debugger reads, which is most of it and would have to be unpacked by an
/// emulated processor; `room` is for the copy.
fn stripped(program: &Path, room: &Path) -> Result<Vec<u8>, Error> {
    let copy = room.join("stripped");
    output(Command::new("strip").arg("-o").arg(&copy).arg(program), "binutils")?;
    let bytes = fs::read(&copy).map_err(io_error(format!("read {}", copy.display())))?;
    fs::remove_file(&copy).map_err(io_error(format!("remove {}", copy.display())))?;
    Ok(bytes)
}

/// The part of the first file system that all guests of a run share; `room` is for passing files.
///
/// # Errors
/// [`Error::NoBinary`] for a program that is not in `bin_dir`; [`Error::Io`] and [`Error::Command`] for
/// tools that are missing.
pub fn base(kernel: &Kernel, bin_dir: &Path, room: &Path) -> Result<Vec<u8>, Error> {
    with(kernel, bin_dir, room, Extra::default())
}

/// The same with more in it.
///
/// # Errors
/// As of [`base`]; [`Error::Io`] for a program of the host that is not there.
pub fn with(kernel: &Kernel, bin_dir: &Path, room: &Path, extra: Extra<'_>) -> Result<Vec<u8>, Error> {
    let mut archive = Archive::default();
    let read = |path: &Path| fs::read(path).map_err(io_error(format!("read {}", path.display())));
    let busybox = Path::new("/bin/busybox");
    let busybox = fs::read(busybox).map_err(io_error("read /bin/busybox (Debian package busybox-static)"))?;
    archive.file("bin/busybox", 0o755, &busybox);
    archive.file("init", 0o755, INIT.as_bytes());
    for directory in ["proc", "sys", "dev", "run", "tmp", "var/lib"] {
        archive.directory(directory);
    }
    let mut libraries = BTreeSet::new();
    for name in PROGRAMS {
        let path = bin_dir.join(name);
        if !path.is_file() {
            return Err(Error::NoBinary { name: name.to_owned(), looked: bin_dir.to_owned() });
        }
        archive.file(&format!("bin/{name}"), 0o755, &stripped(&path, room)?);
        let said = output(Command::new("ldd").arg(&path), "libc-bin")?;
        libraries.extend(libraries_in(&String::from_utf8_lossy(&said)).into_iter().map(str::to_owned));
    }
    for (name, package) in extra.programs {
        let missing = || std::io::Error::from(std::io::ErrorKind::NotFound);
        let path = HOST.iter().map(|home| Path::new(home).join(name)).find(|path| path.is_file());
        let path = path.ok_or_else(missing).map_err(io_error(format!("find {name} (Debian package {package})")))?;
        archive.file(&format!("sbin/{name}"), 0o755, &read(&path)?);
        let said = output(Command::new("ldd").arg(&path), "libc-bin")?;
        libraries.extend(libraries_in(&String::from_utf8_lossy(&said)).into_iter().map(str::to_owned));
    }
    for library in &libraries {
        archive.file(library.trim_start_matches('/'), 0o755, &read(Path::new(library))?);
    }
    let mut order = Vec::new();
    for name in MODULES {
        add_module(kernel, name, &mut archive, &mut order)?;
    }
    archive.file("modules/order", 0o644, order.join("\n").as_bytes());
    for name in AT_HAND {
        add_module(kernel, name, &mut archive, &mut order)?;
    }
    let known = order.len();
    for name in extra.modules {
        add_module(kernel, name, &mut archive, &mut order)?;
    }
    archive.file("modules/extra", 0o644, order.get(known..).unwrap_or_default().join("\n").as_bytes());
    Ok(archive.finish())
}

/// Adds a module behind those that it needs. One that is not there is built in, or its kernel has none.
fn add_module(kernel: &Kernel, name: &str, archive: &mut Archive, order: &mut Vec<String>) -> Result<(), Error> {
    if order.iter().any(|known| known == name) {
        return Ok(());
    }
    let Some(module) = kernel.module(name)? else { return Ok(()) };
    for needed in needs(&module) {
        add_module(kernel, &needed, archive, order)?;
    }
    archive.file(&format!("modules/{name}.ko"), 0o644, &module);
    order.push(name.to_owned());
    Ok(())
}

/// The modules that a module needs, by its own `depends=` note (the kernel's scripts/mod/modpost.c).
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(at) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let rest = module.get(at + KEY.len()..).unwrap_or_default();
    let end = rest.iter().position(|octet| *octet == 0).unwrap_or(rest.len());
    let names = String::from_utf8_lossy(rest.get(..end).unwrap_or_default()).into_owned();
    names.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linkers_list_is_read_without_what_the_kernel_provides() {
        let said = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n\tnot a line\n";
        assert_eq!(libraries_in(said), ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn a_module_names_what_it_needs() {
        assert_eq!(
            needs(b"\x7fELF\0license=GPL\0depends=nfnetlink,libcrc32c\0retpoline=Y\0"),
            ["nfnetlink", "libcrc32c"]
        );
        assert_eq!(needs(b"x\0depends=\0"), Vec::<String>::new());
        assert_eq!(needs(b"x\0depends=cut"), ["cut"]);
    }

    #[test]
    fn a_directory_without_a_kernel_is_named_with_the_remedy() {
        let error = Kernel::find(Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("/nowhere") && error.contains("tests/kernel"), "{error}");
    }
}
