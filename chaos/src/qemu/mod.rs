//! Machines with clocks of their own: the programs in virtual machines under QEMU.
//!
//! A network namespace shares its kernel and its clocks with everybody. What needs a kernel of one's own is
//! here: a watchdog that resets the machine, a reboot, and pauses of the whole machine that its clocks see
//! or don't see. The guest is a Debian kernel with an initial file system that is made for the run; nothing
//! is installed, no disk is used.

pub mod boot;
pub mod cpio;
pub mod guest;
pub mod image;
pub mod ladder;
pub mod lvs;
pub mod named;
pub mod pauses;
pub mod qmp;
mod serial;
mod session;
pub mod talk;
pub mod vm;
pub mod vrrp;

/// Shell functions that say which process of a guest is who. The guardian's number is written down by whoever starts it:
/// a child of the worker that has not begun its own program yet is called `keepone` too.
const WHO: &str = "guardian() { cat /guardian; }\n\
    worker() { for p in $(pidof keepone); do \
        grep -qs \"^PPid:.$(guardian)$\" /proc/$p/status && grep -qs worker /proc/$p/cmdline && echo $p; done; }\n";
