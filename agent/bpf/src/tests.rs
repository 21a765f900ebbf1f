//! Tests against the running kernel; they need root, and work on `lo` of a namespace of their own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

use crate::*;

/// A program of one verdict.
fn constant(verdict: i32) -> Program {
    let mut asm = Asm::new();
    asm.mov(Reg::R0, verdict).exit();
    Program::load("constant", "Dual MIT/GPL", &asm.assemble().unwrap()).unwrap()
}

/// Puts this thread (libtest gives each test one) into a network and mount namespace of its own.
fn own_namespace() {
    // SAFETY: plain system calls on this thread alone.
    unsafe {
        assert_eq!(libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS), 0, "these tests need root");
        let none = std::ptr::null();
        assert_eq!(libc::mount(none, c"/".as_ptr(), none, libc::MS_REC | libc::MS_PRIVATE, none.cast()), 0);
    }
}

struct Dir(std::path::PathBuf);

impl Dir {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("keepone-bpf-{name}-{}", std::process::id()));
        ensure_bpffs(&dir).unwrap();
        Dir(dir)
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let path = std::ffi::CString::new(self.0.to_str().unwrap()).unwrap();
        // SAFETY: a valid path.
        unsafe { libc::umount2(path.as_ptr(), libc::MNT_DETACH) };
        let _ = std::fs::remove_dir(&self.0);
    }
}

#[test]
fn jumps_are_counted_from_the_next_instruction() {
    let mut asm = Asm::new();
    let (back, ahead) = (asm.label(), asm.label());
    asm.bind(back).mov(Reg::R0, 7).jump_if(Cond::Eq, Reg::R0, 1, ahead).jump(back);
    asm.bind(ahead).exit();
    let insns = asm.assemble().unwrap();
    let text = format!("{insns:?}");
    assert!(text.contains("off: 1") && text.contains("off: -3"), "{text}");
}

#[test]
fn a_label_that_leads_nowhere_or_to_two_places_is_refused() {
    let mut asm = Asm::new();
    let label = asm.label();
    asm.jump(label).exit();
    assert_eq!(asm.assemble(), Err(AsmError::Unbound(0)));
    asm.bind(label).bind(label);
    assert_eq!(asm.assemble(), Err(AsmError::BoundTwice(0)));
}

#[test]
fn a_jump_too_far_is_refused() {
    let mut asm = Asm::new();
    let end = asm.label();
    asm.jump(end);
    for _ in 0..40_000 {
        asm.mov(Reg::R0, 0);
    }
    asm.bind(end).exit();
    assert_eq!(asm.assemble(), Err(AsmError::TooFar(40_000)));
}

#[test]
fn the_program_computes_what_was_assembled() {
    let mut asm = Asm::new();
    asm.mov64(Reg::R0, 0x1234_5678_9abc_def0).alu(Alu::Rsh, Reg::R0, 32).to_be(Reg::R0, 32).exit();
    let program = Program::load("arith", "Dual MIT/GPL", &asm.assemble().unwrap()).unwrap();
    let run = program.test_run(&[0; 64], 1).unwrap();
    assert_eq!(run.verdict.cast_unsigned(), 0x1234_5678_u32.to_be());
}

#[test]
fn the_verifier_says_why() {
    let mut asm = Asm::new();
    asm.load(Size::Double, Reg::R0, Reg::R9, 0).exit();
    let error = Program::load("bad", "Dual MIT/GPL", &asm.assemble().unwrap()).unwrap_err();
    assert!(matches!(&error, BpfError::Verifier { log, .. } if log.contains("R9 !read_ok")), "{error}");
}

#[test]
fn a_hash_keeps_what_it_is_given() {
    let map = Map::create(MapKind::Hash, "t", 4, 8, 4).unwrap();
    assert_eq!(map.lookup(&[1; 4]).unwrap(), None);
    map.update(&[1; 4], &[2; 8]).unwrap();
    map.update(&[3; 4], &[4; 8]).unwrap();
    assert_eq!(map.lookup(&[1; 4]).unwrap(), Some(vec![2; 8]));
    let mut keys = map.keys().unwrap();
    keys.sort();
    assert_eq!(keys, [[1; 4], [3; 4]]);
    assert!(map.delete(&[1; 4]).unwrap() && !map.delete(&[1; 4]).unwrap());
    assert!(matches!(map.update(&[1; 3], &[0; 8]), Err(BpfError::Length { have: 3, want: 4, .. })));
}

#[test]
fn all_elements_of_a_large_hash_are_shown_once() {
    for count in [0_u32, 1, 511, 4096, 20_000] {
        let map = Map::create(MapKind::Hash, "t", 4, 4, 32_768).unwrap();
        (0..count).for_each(|n| map.update(&n.to_be_bytes(), &(n ^ 7).to_ne_bytes()).unwrap());
        let mut shown = Vec::new();
        let number = |octets: &[u8]| u32::from_ne_bytes(octets.try_into().unwrap());
        map.for_each(|key, value| shown.push((u32::from_be(number(key)), number(value)))).unwrap();
        shown.sort_unstable();
        assert_eq!(shown, (0..count).map(|n| (n, n ^ 7)).collect::<Vec<_>>());
    }
}

#[test]
fn memory_and_system_call_see_the_same_array() {
    let map = Map::create(MapKind::MmapArray, "t", 4, 16, 3).unwrap();
    let mapping = map.mmap(true).unwrap();
    assert!(mapping.store(2, 1, 77));
    assert_eq!(map.lookup(&2_u32.to_ne_bytes()).unwrap().unwrap()[8..], 77_u64.to_ne_bytes());
    assert!(!mapping.store(2, 2, 0), "beyond the element");
    assert_eq!(mapping.load(3, 0), None);
    let reader = map.mmap(false).unwrap();
    assert_eq!(reader.load(2, 1), Some(77));
    assert!(!reader.store(0, 0, 1), "a read-only mapping stays so");
}

#[test]
fn a_map_is_found_again_by_its_pin() {
    own_namespace();
    let dir = Dir::new("map");
    let path = dir.0.join("a-map");
    Map::create(MapKind::Hash, "t", 4, 8, 4).unwrap().pin(&path).unwrap();
    let map = Map::open_pinned(&path).unwrap();
    map.update(&[1; 4], &[2; 8]).unwrap();
    assert_eq!((map.value_size(), map.max_entries()), (8, 4));
    assert!(matches!(map.pin(&dir.0.join("a.map")), Err(BpfError::Name(_))));
    assert!(matches!(map.pin(&std::env::temp_dir().join("a-map")), Err(BpfError::NotBpffs(_))));
    assert!(Map::open_pinned(&dir.0.join("none")).unwrap_err().is_not_found());
}

#[test]
fn a_link_lives_as_long_as_its_pin_and_tells_when_it_is_detached() {
    own_namespace();
    let dir = Dir::new("link");
    let path = dir.0.join("a-link");
    let link = Link::attach(&constant(verdict::NEXT), 1, Attach::TcxEgress, Place::First).unwrap();
    link.pin(&path).unwrap();
    drop(link);
    let link = Link::open_pinned(&path).unwrap();
    let info = link.info().unwrap();
    assert_eq!((info.ifindex, info.attach), (Some(1), Some(Attach::TcxEgress)));
    Link::open_pinned(&path).unwrap().detach().unwrap();
    assert_eq!(link.info().unwrap().ifindex, None);
}

#[test]
fn an_interface_that_is_not_there_is_an_error_of_its_own() {
    own_namespace();
    let error = Link::attach(&constant(0), 4711, Attach::TcxIngress, Place::Last).unwrap_err();
    assert_eq!(error.errno(), Some(libc::ENODEV), "{error}");
}

#[test]
fn without_rights_the_remedy_is_named() {
    let error = BpfError::new("making a map", std::io::Error::from_raw_os_error(libc::EPERM), "");
    assert!(error.to_string().contains("CAP_BPF"), "{error}");
    let error = BpfError::new("attaching", std::io::Error::from_raw_os_error(libc::EINVAL), "Linux 6.6");
    assert!(error.to_string().contains("Linux 6.6"), "{error}");
}
