//! Virtual servers that differ, without the others: there may be ten thousand, of which a reload changes a few.

use std::collections::HashMap;

use crate::model::{Protocol, Service, VirtualServer};

/// What is compared of both models' virtual servers.
#[derive(Debug, Default)]
pub(super) struct Apart {
    pub old: Vec<VirtualServer>,
    pub new: Vec<VirtualServer>,
    /// How many more differ.
    pub more: usize,
}

fn key(server: &VirtualServer) -> (&Service, Protocol) {
    (&server.service, server.protocol)
}

/// Those that are not the same in both, and of these the first `most`. `None`: those of both stand in another order, or
/// one stands there twice; then all are to be compared.
pub(super) fn apart(old: &[VirtualServer], new: &[VirtualServer], most: usize) -> Option<Apart> {
    let mut places: HashMap<_, usize> = old.iter().enumerate().map(|(at, server)| (key(server), at)).collect();
    if places.len() != old.len() {
        return None;
    }
    let mut apart = Apart::default();
    let (mut next, mut differ) = (0, 0);
    let mut changed = Vec::new();
    for server in new {
        match places.remove(&key(server)) {
            Some(at) if at < next => return None,
            Some(at) => {
                next = at + 1;
                if old.get(at).is_some_and(|before| before == server) {
                    continue;
                }
                changed.extend((differ < most).then_some(at));
            }
            None => {}
        }
        differ += 1;
        if differ <= most {
            apart.new.push(server.clone());
        }
    }
    let mut gone: Vec<usize> = places.into_values().collect();
    gone.sort_unstable();
    differ += gone.len();
    gone.truncate(most.saturating_sub(apart.new.len()));
    changed.extend(gone);
    changed.sort_unstable();
    apart.old = changed.into_iter().filter_map(|at| old.get(at)).cloned().collect();
    apart.more = differ.saturating_sub(most);
    Some(apart)
}
