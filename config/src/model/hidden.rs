//! Secrets of the model as serde sees them: something that is equal where they are equal, and tells nothing of them.
//!
//! What must stay true: no serialiser is given a password. What it gets is a hash under a key that each process draws
//! for itself and gives to nobody.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;

use serde::Serializer;

/// The name of the newtype that a secret is serialised as.
pub(crate) const SECRET: &str = "Secret";

/// For `Serialize` of a type that holds a secret.
pub(super) fn serialize<S: Serializer>(secret: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    let hash = KEY.get_or_init(RandomState::new).hash_one(secret);
    serializer.serialize_newtype_struct(SECRET, &hash)
}

#[cfg(test)]
mod tests {
    use super::super::Secret;

    #[test]
    fn a_serialised_password_tells_nothing_but_whether_it_is_the_same() {
        let text = |password| serde_json::to_string(&Secret::new(password)).unwrap();
        assert_eq!(text("geheim"), text("geheim"));
        assert_ne!(text("geheim"), text("geheim2"));
        let shown = text("a");
        assert!(shown.parse::<u64>().is_ok(), "{shown}");
        assert_ne!(shown, u64::from(b'a').to_string());
    }
}
