//! Shutting the gate from outside: the guardian's deed when the worker has died or answers no more (R16).
//!
//! Few system calls, no allocation beyond the list of pins, no runtime. What must stay true: when
//! [`shut_all`] has answered with success, no former or present worker can open a gate in that
//! directory again, not even one that only seemed dead: every address has been led to the slot that
//! nobody opens. A new worker makes new maps, or adopts these and leads the addresses back, which it can
//! only when the former worker is dead and its lock is free.

use std::path::Path;

use keepone_bpf::{Map, is_bpffs};

use super::former::pins;
use super::{GateError, slot};

/// Shuts and seals every gate that is pinned in `bpf_dir`, and the nf_tables gate that is named after it in
/// this network namespace; how many deadlines were not zero before.
///
/// The pins stay, for the next worker to read what this one held. A directory that does not exist or
/// is no bpffs holds no gate: 0.
///
/// # Errors
/// A map or table that can't be opened or written. Everything else is shut all the same, and the first error told.
pub fn shut_all(bpf_dir: &Path) -> Result<usize, GateError> {
    let pinned = shut_pinned(bpf_dir);
    // By whichever means the worker had it; the other one finds nothing.
    let table = super::nft::shut_and_seal(bpf_dir);
    Ok(pinned? + table?)
}

fn shut_pinned(bpf_dir: &Path) -> Result<usize, GateError> {
    if !bpf_dir.exists() || !is_bpffs(bpf_dir)? {
        return Ok(0);
    }
    let paths = pins(bpf_dir)?;
    let suffix = |path: &Path| slot::parse_pin(path).map(|(_, suffix)| suffix.to_owned()).unwrap_or_default();
    let mut open = 0;
    let mut first_error = None;
    // The deadlines first: they shut a whole domain with one store.
    for path in paths.iter().filter(|path| suffix(path) == slot::DEADLINES) {
        match slot::shut_pinned(path) {
            Ok((_, was_open)) => open += was_open,
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    for path in paths.iter().filter(|path| slot::NAMES.contains(&suffix(path).as_str())) {
        if let Err(error) = seal(path) {
            first_error = first_error.or(Some(error));
        }
    }
    first_error.map_or(Ok(open), |error| Err(error.into()))
}

/// Leads every name to the slot that is always shut.
fn seal(path: &Path) -> Result<(), keepone_bpf::BpfError> {
    let map = Map::open_pinned(path)?;
    for key in map.keys()? {
        map.update(&key, &slot::SHUT_SLOT.to_ne_bytes())?;
    }
    Ok(())
}
