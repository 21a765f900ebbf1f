//! The memory of the last long answer, kept for the next one: a scrape of a few million octets into new pages costs more in
//! page faults than in writing them.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;

/// More octets are given back to the system.
const KEPT: usize = 16 << 20;

/// One text's memory, or none while an answer has it.
#[derive(Debug, Clone, Default)]
pub(super) struct Spare(Arc<Mutex<String>>);

impl Spare {
    /// An empty text, in the memory that is left.
    pub(super) fn take(&self) -> String {
        core::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A body whose memory comes back here when it has been sent, or won't be.
    pub(super) fn lend(&self, text: String) -> Bytes {
        Bytes::from_owner(Lent { text, home: self.clone() })
    }

    fn keep(&self, mut text: String) {
        text.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if (kept.capacity()..=KEPT).contains(&text.capacity()) {
            *kept = text;
        }
    }
}

/// A text that is under way.
struct Lent {
    text: String,
    home: Spare,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.text.as_bytes()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.home.keep(core::mem::take(&mut self.text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_comes_back_empty_when_the_body_is_done_with_and_the_larger_one_stays() {
        let spare = Spare::default();
        let mut text = spare.take();
        text.push_str(&"x".repeat(1000));
        let body = spare.lend(text);
        assert_eq!((body.len(), spare.take().capacity()), (1000, 0), "it is lent");
        drop(body);
        drop(spare.lend(String::from("short")));
        let again = spare.take();
        assert!(again.is_empty() && again.capacity() >= 1000, "{} octets", again.capacity());
    }

    #[test]
    fn what_is_very_long_is_not_kept() {
        let spare = Spare::default();
        drop(spare.lend(String::with_capacity(KEPT + 1)));
        assert_eq!(spare.take().capacity(), 0);
    }
}
