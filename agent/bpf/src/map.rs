//! Maps: hash and array, their elements, and the shared mapping of an array.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::BpfError;
use crate::{fs, sys};

const F_NO_PREALLOC: u32 = 1;
const F_MMAPABLE: u32 = 1 << 10;

/// What a map is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapKind {
    /// BPF_MAP_TYPE_HASH.
    Hash,
    /// BPF_MAP_TYPE_ARRAY; the key is a `u32` index.
    Array,
    /// An array that can be mapped into memory (Linux 5.5).
    MmapArray,
}

/// A map, open in this process. It lives as long as any process, program or pin refers to it.
#[derive(Debug)]
pub struct Map {
    fd: OwnedFd,
    key_size: usize,
    value_size: usize,
    max_entries: u32,
}

/// A name as the kernel allows it: at most 15 bytes of letters, digits, `_` and `.`; others become `_`.
pub(crate) fn kernel_name(name: &str) -> [u8; 16] {
    let mut out = [0; 16];
    for (to, from) in out.iter_mut().take(15).zip(name.bytes()) {
        *to = if from.is_ascii_alphanumeric() { from } else { b'_' };
    }
    out
}

impl Map {
    /// A new map; sizes in bytes.
    ///
    /// # Errors
    /// No permission, no memory, a kernel without the kind.
    pub fn create(
        kind: MapKind,
        name: &str,
        key_size: u32,
        value_size: u32,
        max_entries: u32,
    ) -> Result<Self, BpfError> {
        let (map_type, map_flags) = match kind {
            MapKind::Hash => (1, F_NO_PREALLOC),
            MapKind::Array => (2, 0),
            MapKind::MmapArray => (2, F_MMAPABLE),
        };
        let mut attr = sys::MapCreate {
            map_type,
            key_size,
            value_size,
            max_entries,
            map_flags,
            map_name: kernel_name(name),
            ..Default::default()
        };
        let fd = sys::bpf_fd(sys::MAP_CREATE, &mut attr).map_err(|error| {
            BpfError::new(format!("making the map {name:?}"), error, "Linux 5.8 with CONFIG_BPF_SYSCALL=y")
        })?;
        Ok(Map { fd, key_size: key_size as usize, value_size: value_size as usize, max_entries })
    }

    /// The map that is pinned at `path`.
    ///
    /// # Errors
    /// See [`BpfError::is_not_found`]; also if what is pinned there is no map.
    pub fn open_pinned(path: &Path) -> Result<Self, BpfError> {
        let fd = fs::get(path)?;
        let info: sys::RawMapInfo = sys::info(fd.as_fd())
            .map_err(|error| BpfError::new(format!("reading about the map {}", path.display()), error, ""))?;
        Ok(Map {
            fd,
            key_size: info.key_size as usize,
            value_size: info.value_size as usize,
            max_entries: info.max_entries,
        })
    }

    /// Pins the map, so that it outlives this process.
    ///
    /// # Errors
    /// A name with a dot (bpffs allows none), an existing name, not a bpffs.
    pub fn pin(&self, path: &Path) -> Result<(), BpfError> {
        fs::pin(self.fd.as_fd(), path)
    }

    pub(crate) fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// How many elements it can have.
    pub fn max_entries(&self) -> u32 {
        self.max_entries
    }

    /// Bytes of a value.
    pub fn value_size(&self) -> usize {
        self.value_size
    }

    fn check(&self, key: &[u8], value: Option<&[u8]>) -> Result<(), BpfError> {
        if key.len() != self.key_size {
            return Err(BpfError::Length { what: "a key", have: key.len(), want: self.key_size });
        }
        match value {
            Some(value) if value.len() != self.value_size => {
                Err(BpfError::Length { what: "a value", have: value.len(), want: self.value_size })
            }
            _ => Ok(()),
        }
    }

    /// The value of a key, if there is one.
    ///
    /// # Errors
    /// A key of the wrong length, or what the kernel says.
    pub fn lookup(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BpfError> {
        self.check(key, None)?;
        let mut value = vec![0; self.value_size];
        let mut attr = sys::MapElem {
            map_fd: sys::number(self.fd.as_fd()),
            key: sys::address(key),
            value: sys::address_mut(&mut value),
            ..Default::default()
        };
        match sys::bpf(sys::MAP_LOOKUP_ELEM, &mut attr) {
            Ok(_) => Ok(Some(value)),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(BpfError::new("looking up a map's element", error, "")),
        }
    }

    /// Sets the value of a key.
    ///
    /// # Errors
    /// A wrong length, a full map.
    pub fn update(&self, key: &[u8], value: &[u8]) -> Result<(), BpfError> {
        self.check(key, Some(value))?;
        let mut attr = sys::MapElem {
            map_fd: sys::number(self.fd.as_fd()),
            key: sys::address(key),
            value: sys::address(value),
            ..Default::default()
        };
        sys::bpf(sys::MAP_UPDATE_ELEM, &mut attr)
            .map_err(|error| BpfError::new("setting a map's element", error, ""))?;
        Ok(())
    }

    /// Takes a key out of a hash; `false` if it was not there.
    ///
    /// # Errors
    /// A wrong length, or an array, which always has all its elements.
    pub fn delete(&self, key: &[u8]) -> Result<bool, BpfError> {
        self.check(key, None)?;
        let mut attr =
            sys::MapElem { map_fd: sys::number(self.fd.as_fd()), key: sys::address(key), ..Default::default() };
        match sys::bpf(sys::MAP_DELETE_ELEM, &mut attr) {
            Ok(_) => Ok(true),
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(BpfError::new("deleting a map's element", error, "")),
        }
    }

    /// All keys, in no order.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn keys(&self) -> Result<Vec<Vec<u8>>, BpfError> {
        let mut keys: Vec<Vec<u8>> = Vec::new();
        // Bounded by the map's size, should somebody else write to it meanwhile.
        while keys.len() < self.max_entries as usize {
            let mut next = vec![0; self.key_size];
            let mut attr = sys::MapElem {
                map_fd: sys::number(self.fd.as_fd()),
                key: keys.last().map_or(0, |key| sys::address(key)),
                value: sys::address_mut(&mut next),
                ..Default::default()
            };
            match sys::bpf(sys::MAP_GET_NEXT_KEY, &mut attr) {
                Ok(_) => keys.push(next),
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => break,
                Err(error) => return Err(BpfError::new("listing a map's keys", error, "")),
            }
        }
        Ok(keys)
    }

    /// Shows each element of a hash, in no order: thousands in some system calls (Linux 5.6). What others change
    /// meanwhile may be shown twice or not at all.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn for_each(&self, mut show: impl FnMut(&[u8], &[u8])) -> Result<(), BpfError> {
        // A bucket goes as a whole: the kernel has no fewer buckets than elements.
        const ROOM: usize = 4096;
        let (mut keys, mut values) = (vec![0; ROOM * self.key_size], vec![0; ROOM * self.value_size]);
        let mut place = [0_u8; 8];
        let mut begun = false;
        // Bounded, should somebody else write to it meanwhile.
        for _ in 0..=self.max_entries as usize {
            let mut next = [0_u8; 8];
            let mut attr = sys::MapBatch {
                in_batch: if begun { sys::address(&place) } else { 0 },
                out_batch: sys::address_mut(&mut next),
                keys: sys::address_mut(&mut keys),
                values: sys::address_mut(&mut values),
                count: ROOM as u32,
                map_fd: sys::number(self.fd.as_fd()),
                ..Default::default()
            };
            let ended = match sys::bpf(sys::MAP_LOOKUP_BATCH, &mut attr) {
                Ok(_) => false,
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => true,
                Err(error) => return Err(BpfError::new("reading a map's elements", error, "Linux 5.6")),
            };
            let found = keys.chunks_exact(self.key_size).zip(values.chunks_exact(self.value_size));
            found.take(attr.count as usize).for_each(|(key, value)| show(key, value));
            if ended {
                break;
            }
            (place, begun) = (next, true);
        }
        Ok(())
    }

    /// The values of a [`MapKind::MmapArray`] as shared memory.
    ///
    /// # Errors
    /// A map that was not made for it.
    pub fn mmap(&self, writable: bool) -> Result<Mapping, BpfError> {
        // Elements lie at multiples of 8 bytes (kernel/bpf/arraymap.c).
        let stride = self.value_size.next_multiple_of(8);
        let bytes = stride.saturating_mul(self.max_entries as usize);
        let raw = sys::RawMapping::new(self.fd.as_fd(), bytes, writable)
            .map_err(|error| BpfError::new("mapping an array into memory", error, "an array made as MmapArray"))?;
        Ok(Mapping { raw, writable, stride_words: stride / 8 })
    }
}

impl AsFd for Map {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// An array's values as shared memory, word by word. Loads and stores are atomic and no system calls.
#[derive(Debug)]
pub struct Mapping {
    raw: sys::RawMapping,
    writable: bool,
    stride_words: usize,
}

impl Mapping {
    fn word(&self, element: usize, word: usize) -> Option<&AtomicU64> {
        if word >= self.stride_words {
            return None;
        }
        self.raw.words().get(element.checked_mul(self.stride_words)?.checked_add(word)?)
    }

    /// How many elements there are.
    pub fn elements(&self) -> usize {
        self.raw.words().len().checked_div(self.stride_words).unwrap_or(0)
    }

    /// The 8 bytes at `8 * word` of an element, native byte order; `None` beyond the end.
    pub fn load(&self, element: usize, word: usize) -> Option<u64> {
        Some(self.word(element, word)?.load(Ordering::SeqCst))
    }

    /// Sets them; `false` beyond the end, or if the mapping is read-only.
    #[must_use]
    pub fn store(&self, element: usize, word: usize, value: u64) -> bool {
        match self.word(element, word) {
            Some(place) if self.writable => {
                place.store(value, Ordering::SeqCst);
                true
            }
            _ => false,
        }
    }
}
