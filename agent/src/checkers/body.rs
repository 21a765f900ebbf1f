//! The body of an HTTP answer: its digest, and what it must match.

use keepone_config::model::Url;
use md5::{Digest, Md5};

/// Of a body that is looked at, so many bytes are read at most: 16 MiB.
pub(crate) const READ: u64 = 16 << 20;
/// And of those so many are kept, for a pattern: 1 MiB.
pub(crate) const KEPT: usize = 1 << 20;
/// Of one that is not looked at so many are read, so that one that is cut short shows.
const GLANCE: u64 = 1 << 20;

/// A body, as it comes in.
#[derive(Debug)]
pub(crate) struct Body {
    digest: Option<Md5>,
    kept: Option<Vec<u8>>,
    length: u64,
}

/// A body is longer than it may be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooLong;

/// What is still wanted of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum More {
    /// The rest.
    Wanted,
    /// Nothing.
    Enough,
}

impl Body {
    /// With its digest, and kept as far as a pattern sees it.
    pub(crate) fn new(digest: bool, keep: bool) -> Self {
        Body { digest: digest.then(Md5::new), kept: keep.then(Vec::new), length: 0 }
    }

    /// Takes a part of it.
    ///
    /// # Errors
    /// It is to be looked at, and too long for that.
    pub(crate) fn take(&mut self, part: &[u8]) -> Result<More, TooLong> {
        self.length = self.length.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
        if let Some(digest) = &mut self.digest {
            digest.update(part);
        }
        if let Some(kept) = &mut self.kept {
            let room = KEPT.saturating_sub(kept.len());
            kept.extend(part.iter().take(room));
        }
        match (&self.digest, &self.kept) {
            (Some(_), _) if self.length > READ => Err(TooLong),
            (None, Some(kept)) if kept.len() >= KEPT => Ok(More::Enough),
            (None, None) if self.length >= GLANCE => Ok(More::Enough),
            _ => Ok(More::Wanted),
        }
    }

    /// How long it was, as far as it was read.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Its MD5, if that was wanted.
    pub(crate) fn digest(&self) -> Option<[u8; 16]> {
        self.digest.clone().map(|digest| digest.finalize().into())
    }

    /// Whether it is as `url` wants it.
    ///
    /// # Errors
    /// How it is not.
    pub(crate) fn judge(&self, url: &Url) -> Result<(), String> {
        if let Some((wanted, found)) = url.digest.zip(self.digest()).filter(|(wanted, found)| wanted != found) {
            return Err(format!("the body's digest is {}, where {} is wanted", hex(&found), hex(&wanted)));
        }
        let Some(wanted) = &url.regex else { return Ok(()) };
        let kept = self.kept.as_deref().unwrap_or(&[]);
        match (wanted.is_in(kept)?, wanted.negate) {
            (true, false) | (false, true) => Ok(()),
            (false, false) => Err(format!("the body does not match `{}`", wanted.pattern)),
            (true, true) => Err(format!("the body matches `{}`, which it must not", wanted.pattern)),
        }
    }
}

/// A digest as the configuration has it.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(digest: Option<[u8; 16]>) -> Url {
        Url {
            path: "/".to_owned(),
            virtualhost: None,
            digest,
            status_codes: vec![(200, 299)],
            regex: None,
            tls_compliant: false,
        }
    }

    #[test]
    fn the_digest_is_md5_of_the_whole_body() {
        let mut body = Body::new(true, false);
        assert_eq!((body.take(b"ab"), body.take(b"c")), (Ok(More::Wanted), Ok(More::Wanted)));
        // RFC 1321, A.5.
        let abc = [0x90, 0x01, 0x50, 0x98, 0x3c, 0xd2, 0x4f, 0xb0, 0xd6, 0x96, 0x3f, 0x7d, 0x28, 0xe1, 0x7f, 0x72];
        assert_eq!(body.digest(), Some(abc));
        assert_eq!(body.judge(&url(Some(abc))), Ok(()));
        let error = body.judge(&url(Some([0; 16]))).unwrap_err();
        assert!(error.contains("900150983cd24fb0d6963f7d28e17f72"), "{error}");
    }

    #[test]
    fn what_never_ends_is_read_to_its_bound_and_kept_to_its_own() {
        let part = vec![b'x'; 100_000];
        let mut body = Body::new(true, true);
        let ends = (0..1000).find_map(|_| body.take(&part).err());
        assert_eq!(ends, Some(TooLong));
        assert!(body.length() <= READ + 100_000 && body.kept.unwrap().len() == KEPT);
        let mut unread = Body::new(false, false);
        let enough = (0..1000).position(|_| unread.take(&part) == Ok(More::Enough));
        assert_eq!(enough, Some(10), "after the first MiB");
    }
}
