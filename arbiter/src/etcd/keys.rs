//! The names of the keys, and what they hold: JSON, so that an operator can read it with etcdctl.
//!
//! ```text
//! PREFIX/CLUSTER/generations            the oldest generation that is still granted under, and the newest that was
//! PREFIX/CLUSTER/DOMAIN/holder          who holds it, and the highest epoch that ever did
//! PREFIX/CLUSTER/DOMAIN/wanted/NODE     a better node's word for the holder
//! PREFIX/CLUSTER/sessions/NODE-LIFE     there as long as that life's etcd lease, where grants hang on one
//! ```
//!
//! CLUSTER and DOMAIN are the ids that the beats bear, in hexadecimal.

use keepone_proto::id::{ClusterId, DomainId, Epoch, Incarnation, NodeId};
use keepone_proto::lease::register::keeper::StoreRecord;
use keepone_proto::lease::register::{Content, Life};

const SESSIONS: &str = "sessions";

/// A better node's word for the holder (R11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Word {
    /// Its priority.
    pub priority: u8,
    /// The epoch that a Transfer may name.
    pub next: Epoch,
}

/// The names of one cluster's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    root: String,
}

/// What a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Of who holds a domain.
    Holder(DomainId),
    /// Of a word for that one.
    Wanted(DomainId),
    /// Of a node's session.
    Session(Life),
}

impl Keys {
    /// Of a cluster, below the operator's prefix.
    pub fn new(prefix: &str, cluster: ClusterId) -> Self {
        Keys { root: format!("{}/{:016x}/", prefix.trim_end_matches('/'), cluster.0) }
    }

    /// How all of them begin.
    pub fn root(&self) -> &str {
        &self.root
    }

    /// The same without the cluster: what etcd must let the agents have.
    pub fn prefix(&self) -> &str {
        self.root.trim_end_matches('/').rsplit_once('/').map_or("", |(prefix, _)| prefix)
    }

    /// Of the record of generations.
    pub fn record(&self) -> String {
        format!("{}generations", self.root)
    }

    /// Of who holds a domain.
    pub fn holder(&self, domain: DomainId) -> String {
        format!("{}{:016x}/holder", self.root, domain.0)
    }

    /// Of a node's word for the holder.
    pub fn wanted(&self, domain: DomainId, node: NodeId) -> String {
        format!("{}{:016x}/wanted/{node}", self.root, domain.0)
    }

    /// How those of sessions begin.
    pub fn sessions(&self) -> String {
        format!("{}{SESSIONS}/", self.root)
    }

    /// Of a node's session.
    pub fn session(&self, (node, incarnation): Life) -> String {
        format!("{}{SESSIONS}/{node}-{:016x}", self.root, incarnation.0)
    }

    /// What a key is; `None`: none of ours.
    pub fn read(&self, key: &[u8]) -> Option<Key> {
        let (domain, rest) = std::str::from_utf8(key).ok()?.strip_prefix(&self.root)?.split_once('/')?;
        if domain == SESSIONS {
            let (node, life) = rest.split_once('-')?;
            let life = u64::from_str_radix(life, 16).ok().filter(|_| life.len() == 16)?;
            return Some(Key::Session((NodeId::new(node.parse().ok()?)?, Incarnation(life))));
        }
        let domain = DomainId(u64::from_str_radix(domain, 16).ok().filter(|_| domain.len() == 16)?);
        match rest.split_once('/') {
            None if rest == "holder" => Some(Key::Holder(domain)),
            Some(("wanted", _)) => Some(Key::Wanted(domain)),
            _ => None,
        }
    }
}

/// What stands under a holder's key.
pub fn emit(content: &Content) -> Vec<u8> {
    // Numbers and options: nothing that JSON could not say.
    serde_json::to_vec(content).unwrap_or_default()
}

/// What stands under the record's key.
pub fn emit_record(record: &StoreRecord) -> Vec<u8> {
    serde_json::to_vec(record).unwrap_or_default()
}

/// The same, read.
pub fn parse_record(value: &[u8]) -> Option<StoreRecord> {
    serde_json::from_slice(value).ok()
}

/// The same, read; `None` for what nobody of us has written: it counts as lost (V7).
pub fn parse(value: &[u8]) -> Option<Content> {
    serde_json::from_slice(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use keepone_proto::lease::register::Held;
    use std::time::Duration;

    #[test]
    fn keys_and_values_are_read_as_they_were_written() {
        let keys = Keys::new("/keepone/", ClusterId(0xab));
        let node = NodeId::new(2).unwrap();
        assert_eq!((keys.root(), keys.prefix()), ("/keepone/00000000000000ab/", "/keepone"));
        assert_eq!(keys.holder(DomainId(7)), "/keepone/00000000000000ab/0000000000000007/holder");
        assert_eq!(keys.read(keys.holder(DomainId(7)).as_bytes()), Some(Key::Holder(DomainId(7))));
        let life = (node, Incarnation(u64::MAX - 1));
        assert_eq!(keys.session(life), "/keepone/00000000000000ab/sessions/2-fffffffffffffffe");
        assert_eq!(keys.read(keys.session(life).as_bytes()), Some(Key::Session(life)));
        assert_eq!(keys.read(keys.wanted(DomainId(7), node).as_bytes()), Some(Key::Wanted(DomainId(7))));
        for strange in [
            "/keepone/00000000000000ab/sessions/2",
            "/keepone/00000000000000ab/sessions/0-fffffffffffffffe",
            "",
            "/keepone/00000000000000ab/7/holder",
            "/other/x",
            "/keepone/00000000000000ab/holder",
        ] {
            assert_eq!(keys.read(strange.as_bytes()), None, "{strange}");
        }
        let epoch = Epoch { counter: u64::MAX, incarnation: Incarnation(u64::MAX), attempt: 3, node };
        let held = Some(Held { epoch, lease: Duration::from_micros(1_500_001), priority: 255, session: true });
        for content in [Content { highest: epoch, held }, Content { highest: epoch, held: None }] {
            assert_eq!(parse(&emit(&content)), Some(content));
        }
        assert_eq!(parse(b"{\"highest\":1}"), None);
        // What was written before there were sessions has none.
        let old = String::from_utf8(emit(&Content { highest: epoch, held })).unwrap().replace(",\"session\":true", "");
        assert_eq!(parse(old.as_bytes()).unwrap().held, held.map(|held| Held { session: false, ..held }));
    }
}
